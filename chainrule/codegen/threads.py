"""How many threads kernels use, and the pool of native threads in which they run long loops.

A kernel with a loop over long data calls the pool by its symbol, without Python. The loop is cut in pieces that do not
depend on the number of threads, and what they give is combined in their order, so results are the same bits for any
number of threads. The pool is built when the first such kernel is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import threading
from typing import Final

from chainrule.graph.where import error

from . import interrupts, native
from .threads_text import PARALLEL, POSIX, SERIAL_TEXT, pool_text

__all__ = ["PARALLEL", "VARIABLE", "get_threads", "pool_address", "set_threads"]

VARIABLE: Final = "CHAINRULE_NUM_THREADS"
MOST: Final = 1024

_lock: Final = threading.Lock()
_chosen: int | None = None


def get_threads() -> int:
    """How many threads a kernel may use.

    What `set_threads` said last; before, what the environment variable ``CHAINRULE_NUM_THREADS`` said when it was
    first needed; without either, the number of processors that this process may use.

    >>> get_threads() >= 1
    True
    """
    global _chosen
    with _lock:
        if _chosen is None:
            _chosen = _from_environment()
        return _chosen


def set_threads(number: int) -> None:
    """Let kernels use ``number`` threads from now on, the calling one included.

    Results do not depend on it: they are the same bits for any number. Raises ValueError for a number below 1 or
    above 1024, TypeError for what is no integer.

    >>> before = get_threads()
    >>> set_threads(1)
    >>> get_threads()
    1
    >>> set_threads(before)
    """
    global _chosen
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise error(TypeError, f"the number of threads is an integer, not {number!r}")
    number = number.__index__()
    if not 1 <= number <= MOST:
        raise error(ValueError, f"the number of threads is between 1 and {MOST}, not {number}")
    with _lock:
        _chosen = number
        if _pool.cache_info().currsize:
            _tell_pool(number)


def pool_address() -> int:
    """The address of the function that runs a loop in the pool, as `threads_text` describes it."""
    number = get_threads()
    with _lock:
        built = _pool.cache_info().currsize
        address = _pool().address(PARALLEL)
        if not built:
            _tell_pool(number if _chosen is None else _chosen)
        return address


# --- the number of processors -------------------------------------------------------------------------------


def _from_environment() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return _processors()
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(f"the environment variable {VARIABLE} is a number from 1 to {MOST}, not {text!r}")
    return int(text)


def _processors() -> int:
    """The processors that this process may use: by its affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota(), MOST)))


def _quota(root: str = "/sys/fs/cgroup") -> float:
    """Processors that the control group grants per period; infinite where it sets no limit."""
    try:
        granted, period = _read(root, "cpu.max").split()
    except (OSError, ValueError):
        try:
            granted = _read(root, "cpu", "cpu.cfs_quota_us")
            period = _read(root, "cpu", "cpu.cfs_period_us")
        except OSError:
            return math.inf
    try:
        return float(granted) / float(period) if float(granted) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read().strip()


# --- the pool -----------------------------------------------------------------------------------------------


@functools.cache
def _pool() -> native.Module:
    """The pool's code. It is never unloaded: its threads outlive the interpreter by some microseconds."""
    from . import cache

    if sys.platform == "win32":
        text = SERIAL_TEXT
    else:
        import platform
        import signal

        process = ctypes.CDLL(None)
        native.define_symbols(
            {name: ctypes.cast(getattr(process, name), ctypes.c_void_p).value or 0 for name in POSIX}
        )
        interrupts.define()
        text = pool_text(int(signal.SIG_SETMASK), platform.machine().lower() in ("x86_64", "amd64", "i686"))
    module = native.load(cache.object_code(text, 1))
    module.keep_forever()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(module.address("cr_forget_threads")))
    return module


def _tell_pool(number: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(_pool().address("cr_set_threads"))(number)
