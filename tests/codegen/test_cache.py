"""Object code on disk: found again, never trusted blindly, never in the way."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import cache, native

TEXT = "define double @third(double %x) {\n  %y = fdiv double %x, 3.0\n  ret double %y\n}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(path))
    return path


def third(code: bytes) -> float:
    module = native.load(code)
    value: float = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(module.address("third"))(6.0)
    return value


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The levels at which LLVM compiles something from now on."""
    compiled: list[int] = []
    emit: Callable[..., bytes] = native.emit

    def counting(text: str, level: int, inline: bool = False) -> bytes:
        compiled.append(level)
        return emit(text, level, inline)

    monkeypatch.setattr(native, "emit", counting)
    return compiled


def test_what_was_compiled_is_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = counted(monkeypatch)
    assert cache.find(TEXT, 1) is None
    first = cache.object_code(TEXT, 1)
    assert cache.object_code(TEXT, 1) == cache.find(TEXT, 1) == first
    assert compiled == [1]
    assert third(first) == 2.0
    assert [p.suffix for p in folder.iterdir()] == [".o"]


def test_text_level_inlining_and_machine_are_all_in_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = counted(monkeypatch)
    cache.object_code(TEXT, 0)
    cache.object_code(TEXT, 1)
    cache.object_code(TEXT, 0, inline=True)
    cache.object_code(TEXT.replace("3.0", "4.0"), 0)
    monkeypatch.setattr(native, "target", lambda: "another processor")
    cache.object_code(TEXT, 0)
    assert compiled == [0, 1, 0, 0, 0]
    assert len(list(folder.iterdir())) == 5


def test_the_empty_name_turns_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = counted(monkeypatch)
    assert cache.directory() is None
    assert third(cache.object_code(TEXT, 1)) == third(cache.object_code(TEXT, 1)) == 2.0
    assert cache.find(TEXT, 1) is None
    cache.clear()
    assert compiled == [1, 1] and not list(tmp_path.iterdir())


def test_without_a_name_it_is_in_the_user_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "chainrule"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache" / "chainrule"


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"\0",
        flipped,
        lambda data: b"chainrule object 0\n" + data[19:],
        lambda data: os.urandom(len(data)),
    ],
)
def test_damaged_files_are_compiled_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    good = cache.object_code(TEXT, 1)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    compiled = counted(monkeypatch)
    assert cache.object_code(TEXT, 1) == good
    assert compiled == [1]
    assert path.read_bytes() == whole


def test_a_place_where_nothing_can_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null/x"), Path("nul\0byte")):
        monkeypatch.setattr(cache, "directory", lambda place=place: place)
        assert third(cache.object_code(TEXT, 1)) == 2.0
        cache.clear()


def test_a_full_disk_does_no_harm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert third(cache.object_code(TEXT, 1)) == 2.0
    assert list(folder.iterdir()) == []


def test_what_was_unused_for_longest_is_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT.replace("3.0", f"{k}.0") for k in range(2, 12)]
    for age, text in enumerate(texts):
        cache.object_code(text, 1)
        newest = max(folder.iterdir(), key=lambda p: p.stat().st_ctime_ns)
        os.utime(newest, (10_000.0 + age, 10_000.0 + age))
    cache.find(texts[0], 1)  # used: no longer the oldest
    size = sum(p.stat().st_size for p in folder.iterdir())
    monkeypatch.setattr(cache, "LIMIT", size * 8 // 10)
    monkeypatch.setattr(cache, "_CHECK_EVERY", 1)
    cache.object_code(TEXT.replace("3.0", "99.0"), 1)
    assert sum(p.stat().st_size for p in folder.iterdir()) <= cache.LIMIT
    assert cache.find(texts[0], 1) is not None
    assert cache.find(texts[-1], 1) is not None
    assert cache.find(texts[1], 1) is None


def test_clear_empties_it(folder: Path) -> None:
    cache.object_code(TEXT, 1)
    cache.clear()
    assert list(folder.iterdir()) == []


PROGRAM = """
import sys, numpy as np, chainrule as cr
from chainrule.codegen import native
compiled, emit = [], native.emit
native.emit = lambda text, level, inline=False: compiled.append(level) or emit(text, level, inline)
x = np.linspace(0.1, 9.0, 200_000)
for k in range(6):
    f = cr.value_and_grad(lambda x, a, b: np.sum(np.log(a * np.exp(-x / b) + k)), argnums=(1, 2))
    print(repr(f(x, 2.0, 3.0)), repr(f(x, 2.5, 3.0)))
    f.address
print(len(compiled), file=sys.stderr)
"""


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_processes_share_it_and_race_safely(folder: Path) -> None:
    running = [start() for _ in range(2)]
    results = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], results
    assert results[0][0] == results[1][0]
    later = start()
    out, err = later.communicate(timeout=120)
    assert (out, err) == (results[0][0], "0\n")
    assert {p.suffix for p in folder.iterdir()} == {".o"}


def test_functions_of_outside_libraries_are_resolved_before_loading(folder: Path) -> None:
    program = (
        "import numpy as np, chainrule as cr, chainrule.scipy.special as sp\n"
        "print(repr(cr.jit(lambda x: sp.gamma(x) + np.fmod(x, 2.0))(np.array([3.5, 4.0]))))\n"
    )
    printed = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True).stdout
        for _ in range(2)
    ]
    assert printed[0] == printed[1]
    assert list(folder.iterdir())


def test_results_do_not_depend_on_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.linspace(0.1, 3.0, 1001)
    program = lambda x: np.sum(np.sqrt(x) * np.log1p(x) + 0.37)  # noqa: E731
    stored = cr.grad(program)(data)
    monkeypatch.setenv(cache.VARIABLE, "")
    assert np.array_equal(cr.grad(program)(data), stored)
