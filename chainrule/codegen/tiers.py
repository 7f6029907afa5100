"""Two qualities of machine code: what runs once is compiled fast, what runs often is compiled well, meanwhile.

A kernel that takes long to compile well starts with code that no pass has improved. `Heat` says when it has been used
enough, `improve_later` compiles it well in a background thread, one after the other. All tiers give the same bits.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, final

from . import native
from .signature import Signature

if TYPE_CHECKING:
    from . import ir

__all__ = ["CompiledKernel", "Heat", "compiled", "improve_later", "improved", "seconds_to_compile", "settle"]

AT_ONCE: Final = 0.04
"""Seconds that compiling well may take on the first call."""
_SECONDS_PER_CHARACTER: Final = (0.45e-6, 1.6e-6, 2.6e-6, 5e-6)
"""What LLVM needs at each level, for the text of a kernel."""
MOST_SECONDS: Final = 60.0
"""Kernels that would take longer are left as they are: the program might end before."""


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Machine code and where it came from. ``keep`` must live as long as ``address`` is used.

    ``level`` is that of the code, ``best`` the one that pays for a kernel that runs often.
    """

    signature: Signature
    address: int
    ir: ir.Kernel
    llvm: str
    keep: object
    level: int
    best: int
    state: _State = field(repr=False)

    @property
    def is_best(self) -> bool:
        return self.level == self.best or seconds_to_compile(self.llvm, self.best) > MOST_SECONDS


@final
class _State:
    """What is known about better code for a kernel. All fields belong to the lock."""

    __slots__ = ("better", "waiting")

    def __init__(self) -> None:
        self.better: CompiledKernel | None = None
        self.waiting: list[Callable[[CompiledKernel], None]] = []


@final
class Heat:
    """How much a kernel has been used, to tell when compiling it well will pay.

    >>> heat = Heat()
    >>> [heat.is_hot(0.01) for heat.calls in (1, 2, 3)]
    [False, False, True]
    """

    __slots__ = ("asked", "calls", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.asked = False  # for better code

    def add(self, seconds: float) -> None:
        """One call more, which took so long."""
        self.calls += 1
        self.seconds += seconds

    def is_hot(self, price: float) -> bool:
        """Whether what was used so often, or so long, is worth so many seconds."""
        return self.calls > 2 + 20 * price or self.seconds > price


def seconds_to_compile(llvm: str, level: int) -> float:
    """About how long LLVM will take."""
    return len(llvm) * _SECONDS_PER_CHARACTER[level]


def compiled(kernel: ir.Kernel, signature: Signature, llvm: str, best: int, *, well: bool) -> CompiledKernel:
    """The machine code of a kernel's text: well if that is quick, if some process has done it, or if asked for."""
    from . import cache, externs

    externs.resolve(llvm)
    level = best
    if not well and seconds_to_compile(llvm, best) > AT_ONCE and cache.find(llvm, best) is None:
        level = 0
    module = native.load(cache.object_code(llvm, level))
    address = module.address(kernel.name)
    return CompiledKernel(signature, address, kernel, llvm, module, level, best, _State())


def improved(kernel: CompiledKernel) -> CompiledKernel:
    """The same kernel, compiled well. The old code stays valid."""
    if kernel.is_best:
        return kernel
    with _lock:
        better = kernel.state.better
    if better is None:
        from . import cache

        module = native.load(cache.object_code(kernel.llvm, kernel.best))
        address = module.address(kernel.ir.name)
        better = replace(kernel, address=address, keep=(module, kernel.keep), level=kernel.best)
        with _lock:
            better = kernel.state.better = kernel.state.better or better
    return better


def improve_later(kernel: CompiledKernel, then: Callable[[CompiledKernel], None]) -> None:
    """Compile a kernel well in the background, then call ``then`` with it, from the thread that compiled it.

    Called at once where there is nothing to improve, or it was done before.
    """
    with _lock:
        better = kernel if kernel.is_best else kernel.state.better
        if better is None:
            kernel.state.waiting.append(then)
            if len(kernel.state.waiting) == 1:
                _queue.append(kernel)
                _start()
            return
    then(better)


def settle(timeout: float | None = None) -> bool:
    """Wait until nothing is being compiled in the background; whether that was so in time."""
    with _changed:
        return _changed.wait_for(lambda: not _queue and _working is None, timeout)


# --- the background thread ----------------------------------------------------------------------------------

_lock: Final = threading.RLock()
_changed: Final = threading.Condition(_lock)
_queue: Final[deque[CompiledKernel]] = deque()
_thread: threading.Thread | None = None
_working: CompiledKernel | None = None
_leaving = False


def _start() -> None:
    global _thread
    if _thread is None and not _leaving:
        _thread = threading.Thread(target=_work, name="chainrule-compiler", daemon=True)
        _thread.start()


def _work() -> None:
    """Compile what is queued; the thread ends when nothing is left."""
    global _thread, _working
    while True:
        with _changed:
            _working = None
            _changed.notify_all()
            if not _queue or _leaving:
                _thread = None
                return
            _working = kernel = _queue.popleft()
        try:
            better = improved(kernel)
        except Exception:  # the code in use is as right as the better one
            better = kernel
        with _lock:
            waiting = list(kernel.state.waiting)
            kernel.state.waiting.clear()
        for then in waiting:
            with suppress(Exception):
                then(better)


def _leave() -> None:
    """LLVM must not be at work while the interpreter takes itself apart."""
    global _leaving
    with _lock:
        _leaving = True
        _queue.clear()
        thread = _thread
    if thread is not None:
        thread.join()


def _forget() -> None:
    """In a new process, which has no such thread: what was queued there stays as it is here."""
    global _thread, _working
    for kernel in (*_queue, *(() if _working is None else (_working,))):
        kernel.state.waiting.clear()
    _queue.clear()
    _thread = _working = None
    _lock.release()


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget)
