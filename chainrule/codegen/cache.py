"""Object code on disk, shared by all processes of a user.

Whatever is wrong with the cache (no directory, no permission, a full disk, a damaged file) only makes a program
slower, never wrong: a file carries a checksum of its own, because LLVM does not survive damaged object code.

``CHAINRULE_CACHE_DIR`` names another directory; set to the empty string, it turns the cache off.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from . import native

__all__ = ["LIMIT", "VARIABLE", "clear", "directory", "find", "object_code"]

VARIABLE: Final = "CHAINRULE_CACHE_DIR"
LIMIT: Final = 256 * 2**20
"""Bytes that the files may take together before those unused for the longest time are deleted."""

_FORMAT: Final = b"chainrule object 1\n"
_SUFFIX: Final = ".o"
_DIGEST: Final = 32
_CHECK_EVERY: Final = 4 * 2**20
"""Bytes that a process writes between two looks at the size of the whole cache."""

_lock: Final = threading.Lock()
_written: int = _CHECK_EVERY  # so that the first file a process writes makes it look


def directory() -> Path | None:
    """Where the files are; None if the cache is turned off or there is no place for it.

    Read anew each time, so a program may set the variable after its imports.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home directory
        return None
    return base / "chainrule"


def object_code(ir_text: str, level: int, inline: bool = False) -> bytes:
    """What `native.emit` gives, from disk if some process has asked for it before."""
    folder = directory()
    if folder is None:
        return native.emit(ir_text, level, inline)
    path = folder / _name(ir_text, level, inline)
    code = _read(path)
    if code is None:
        code = native.emit(ir_text, level, inline)
        _write(path, code)
    return code


def find(ir_text: str, level: int, inline: bool = False) -> bytes | None:
    """As `object_code`, but None if the object code is not on disk."""
    folder = directory()
    return None if folder is None else _read(folder / _name(ir_text, level, inline))


def clear() -> None:
    """Delete every file of the cache."""
    folder = directory()
    if folder is not None:
        for path, _, _ in _files(folder):
            with suppress(OSError):
                path.unlink()


def _name(ir_text: str, level: int, inline: bool) -> str:
    """The file for object code: everything that it depends on, hashed.

    The text itself says which emitter wrote it; what LLVM makes of it depends on the passes that `native` runs.
    """
    key = hashlib.blake2b(digest_size=_DIGEST)
    for part in (native.target(), native.PASSES, str(level), str(inline), ir_text):
        key.update(part.encode())
        key.update(b"\0")
    return key.hexdigest() + _SUFFIX


def _checksum(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST).digest()


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name with a null byte
        return None
    start = len(_FORMAT) + _DIGEST
    code = data[start:]
    if not code or data[: len(_FORMAT)] != _FORMAT or data[len(_FORMAT) : start] != _checksum(code):
        with suppress(OSError):
            path.unlink()
        return None
    with suppress(OSError):
        os.utime(path)  # what is used stays
    return code


def _write(path: Path, code: bytes) -> None:
    """A file appears under its name only when it is whole, whoever else writes the same one."""
    global _written
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            with open(temporary, "xb") as file:
                file.write(_FORMAT + _checksum(code) + code)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
    except (OSError, ValueError):
        return
    with _lock:
        _written += len(code)
        look = _written >= _CHECK_EVERY
        if look:
            _written = 0
    if look:
        _evict(path.parent)


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """The files of a cache with their sizes and times of last use."""
    found = []
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((_SUFFIX, ".tmp")):
                with suppress(OSError):
                    status = entry.stat()
                    found.append((Path(entry.path), status.st_size, status.st_mtime))
    return found


def _evict(folder: Path) -> None:
    """Delete what was unused for the longest time, until the cache is well below its limit."""
    files = _files(folder)
    total = sum(size for _, size, _ in files)
    if total <= LIMIT:
        return
    for path, size, _ in sorted(files, key=lambda file: file[2]):
        with suppress(OSError):
            path.unlink()
            total -= size
        if total <= LIMIT * 3 // 4:
            break
