"""Ctrl-C in compiled code: loops whose length is not known ask now and then whether the program was interrupted.

Every so many steps such a loop calls a function of its module, `poll_text`. In the main thread, to which signals
belong, that one lets Python handle them, some times a second, with the interpreter lock, which other threads that wait
for it get meanwhile. If a handler raises (Ctrl-C does), the kernel returns at once and leaves garbage; its entry sees
the flag, drops the results, and the call raises. Workers of the pool that help the main thread end with it; kernels
that other Python threads run are not interrupted.

Nothing is held or changed while a kernel runs but its own memory, so that the process and all caches stay whole.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from typing import Final

from . import native

__all__ = ["POLL", "STEPS", "STEPS_WITH_LOOPS", "TAKE_TEXT", "define", "poll_text", "raised", "stop"]

POLL: Final = "cr_poll"
"""The function that says whether to stop."""

STEPS: Final = 4096
"""Steps of a loop between two questions, which is a power of two: a few microseconds and more."""

STEPS_WITH_LOOPS: Final = 64
"""The same for a loop that holds loops: each of its steps may take long."""

_MILLISECONDS: Final = 50
"""How long Python is not asked again: the lock may have to be waited for."""

_GLOBALS: Final = ("cr_interrupted", "cr_main_thread", "cr_for_main", "cr_asked")
_memory: Final = (ctypes.c_int64 * len(_GLOBALS))()
"""The flag; the main thread's number; whether the pool works for the main thread; when Python was asked last."""

_OF_PYTHON: Final = (
    "PyThread_get_thread_ident", "PyGILState_GetThisThreadState", "PyGILState_Ensure", "PyGILState_Release",
    "PyErr_CheckSignals", "PyErr_SetNone", "PyEval_SaveThread", "PyEval_RestoreThread",
)  # fmt: skip
"""What the texts call of the interpreter."""

_DECLARED: Final = """\
@cr_interrupted = external global i64
@cr_main_thread = external global i64
declare i64 @PyThread_get_thread_ident()
"""

TAKE_TEXT: Final = f"""\
{_DECLARED}
@PyExc_KeyboardInterrupt = external global ptr
declare void @PyErr_SetNone(ptr)

; Whether it is this thread's kernel that was interrupted: then an exception is set, and the flag is not any more.
define internal i1 @cr_take_interrupt() noinline cold nounwind {{
entry:
  %self = call i64 @PyThread_get_thread_ident()
  %main = load i64, ptr @cr_main_thread
  %mine = icmp eq i64 %self, %main
  br i1 %mine, label %take, label %leave
take:
  store i64 0, ptr @cr_interrupted
  %problem = call ptr @PyErr_Occurred()
  %none = icmp eq ptr %problem, null
  br i1 %none, label %set, label %taken
set:
  %kind = load ptr, ptr @PyExc_KeyboardInterrupt
  call void @PyErr_SetNone(ptr %kind)
  br label %taken
taken:
  ret i1 true
leave:
  ret i1 false
}}
"""
"""What an entry needs, after its declaration of ``PyErr_Occurred``."""


def poll_text() -> str:
    """The function `POLL` of a module with such loops, and what it declares."""
    if sys.platform == "win32":
        return f"define internal i1 @{POLL}() noinline cold nounwind {{\n  ret i1 false\n}}\n"
    monotonic = 6 if sys.platform == "darwin" else 1  # C's CLOCK_MONOTONIC
    return f"""\
{_DECLARED}
@cr_for_main = external global i64
@cr_asked = external global i64
declare ptr @PyGILState_GetThisThreadState()
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyErr_CheckSignals()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @clock_gettime(i32, ptr)

define internal i1 @{POLL}() noinline cold nounwind {{
entry:
  %time = alloca [2 x i64]
  %self = call i64 @PyThread_get_thread_ident()
  %main = load i64, ptr @cr_main_thread
  %is.main = icmp eq i64 %self, %main
  %flag = load atomic i64, ptr @cr_interrupted monotonic, align 8
  %is.set = icmp ne i64 %flag, 0
  br i1 %is.main, label %own, label %other
other:
  %helped = load atomic i64, ptr @cr_for_main monotonic, align 8
  %for.main = icmp ne i64 %helped, 0
  %both = and i1 %for.main, %is.set
  br i1 %both, label %worker, label %go.on
worker:
  %state = call ptr @PyGILState_GetThisThreadState()
  %is.worker = icmp eq ptr %state, null
  ret i1 %is.worker
own:
  br i1 %is.set, label %stop, label %clock
clock:
  call i32 @clock_gettime(i32 {monotonic}, ptr %time)
  %seconds = load i64, ptr %time
  %second = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %second
  %thousands = mul i64 %seconds, 1000
  %rest = sdiv i64 %nanoseconds, 1000000
  %now = add i64 %thousands, %rest
  %asked = load i64, ptr @cr_asked
  %since = sub i64 %now, %asked
  %soon = icmp ult i64 %since, {_MILLISECONDS}
  br i1 %soon, label %go.on, label %ask
ask:
  store i64 %now, ptr @cr_asked
  %lock = call i32 @PyGILState_Ensure()
  %failed = call i32 @PyErr_CheckSignals()
  %state.now = call ptr @PyEval_SaveThread()
  call void @PyEval_RestoreThread(ptr %state.now)
  call void @PyGILState_Release(i32 %lock)
  %raised = icmp ne i32 %failed, 0
  br i1 %raised, label %set, label %go.on
set:
  store atomic i64 1, ptr @cr_interrupted monotonic, align 8
  br label %stop
stop:
  ret i1 true
go.on:
  ret i1 false
}}
"""


def define() -> None:
    """Make what the texts refer to known to the compiler."""
    if not _memory[1]:
        _memory[1] = threading.main_thread().ident or threading.get_ident()
    native.define_symbols(_symbols())


@functools.cache
def _symbols() -> dict[str, int]:
    place, size = ctypes.addressof(_memory), ctypes.sizeof(ctypes.c_int64)
    found = {name: place + k * size for k, name in enumerate(_GLOBALS)}
    found.update((name, _address(getattr(ctypes.pythonapi, name))) for name in _OF_PYTHON)
    found["PyExc_KeyboardInterrupt"] = ctypes.addressof(
        ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyExc_KeyboardInterrupt")
    )
    if sys.platform != "win32":
        found["clock_gettime"] = _address(ctypes.CDLL(None).clock_gettime)
    return found


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


def stop() -> None:
    """Let the kernel that this thread runs return at its next question, if it is the main thread; see `raised`."""
    if threading.get_ident() == _memory[1]:
        _memory[0] = 1


def raised() -> bool:
    """Whether a kernel that this thread has called by itself, without an entry, was interrupted; it is no more then."""
    if not _memory[0] or threading.get_ident() != _memory[1]:
        return False
    _memory[0] = 0
    return True


def _forked() -> None:
    """The thread that forks is the new process's main thread."""
    if _memory[1]:
        _memory[1] = threading.get_ident()
    _memory[0] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
