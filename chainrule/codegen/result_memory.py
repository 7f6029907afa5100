"""Memory of results of some kilobytes: freed blocks are kept for the next result of the size.

NumPy keeps freed blocks up to a kilobyte; for larger ones each call pays for `malloc` and `free`, which may take longer
than the kernel. Blocks belong to arrays through a memory handler (NEP 49), so that NumPy gives them back.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

import numpy as np

from chainrule.codegen import capi, native

__all__ = ["LEAST", "MOST", "available", "keeps", "prepare"]

LEAST: Final = 1024
"""Bytes up to which NumPy's own cache serves."""
MOST: Final = 16384
"""Bytes beyond which computing the result takes longer than allocating it."""
_GRAIN: Final = 64
_SLOTS: Final = 2
"""Blocks kept of each size: a loop that assigns its result to one name has two in turn. That is 4 MB at most."""

_CLASSES: Final = MOST // _GRAIN
_CLASS: Final = f"{{ i64, [{_SLOTS} x ptr] }}"

# Sizes are rounded up to whole grains, always, as only the size says which class a freed block belongs to. NumPy calls
# these functions with the interpreter lock held, which guards the table.
_TEXT: Final = f"""\
@kept = internal global [{_CLASSES + 1} x {_CLASS}] zeroinitializer
declare ptr @PyMem_RawMalloc(i64)
declare ptr @PyMem_RawCalloc(i64, i64)
declare ptr @PyMem_RawRealloc(ptr, i64)
declare void @PyMem_RawFree(ptr)

define internal i64 @grains(i64 %bytes) alwaysinline {{
  %more = add i64 %bytes, {_GRAIN - 1}
  %grains = udiv i64 %more, {_GRAIN}
  ret i64 %grains
}}

define internal i1 @is_kept(i64 %bytes) alwaysinline {{
  %beyond = sub i64 %bytes, {LEAST + 1}
  %yes = icmp ult i64 %beyond, {MOST - LEAST}
  ret i1 %yes
}}

define ptr @block_malloc(ptr %context, i64 %bytes) {{
  %grains = call i64 @grains(i64 %bytes)
  %suits = call i1 @is_kept(i64 %bytes)
  br i1 %suits, label %look, label %new
look:
  %place = getelementptr {_CLASS}, ptr @kept, i64 %grains
  %count = load i64, ptr %place
  %empty = icmp eq i64 %count, 0
  br i1 %empty, label %new, label %take
take:
  %left = sub i64 %count, 1
  store i64 %left, ptr %place
  %slot = getelementptr {_CLASS}, ptr %place, i64 0, i32 1, i64 %left
  %block = load ptr, ptr %slot
  ret ptr %block
new:
  %rounded = mul i64 %grains, {_GRAIN}
  %made = call ptr @PyMem_RawMalloc(i64 %rounded)
  ret ptr %made
}}

define ptr @block_calloc(ptr %context, i64 %count, i64 %size) {{
  %product = call {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64 %count, i64 %size)
  %bytes = extractvalue {{ i64, i1 }} %product, 0
  %overflow = extractvalue {{ i64, i1 }} %product, 1
  br i1 %overflow, label %no, label %new
new:
  %grains = call i64 @grains(i64 %bytes)
  %made = call ptr @PyMem_RawCalloc(i64 %grains, i64 {_GRAIN})
  ret ptr %made
no:
  ret ptr null
}}

define ptr @block_realloc(ptr %context, ptr %block, i64 %bytes) {{
  %grains = call i64 @grains(i64 %bytes)
  %rounded = mul i64 %grains, {_GRAIN}
  %made = call ptr @PyMem_RawRealloc(ptr %block, i64 %rounded)
  ret ptr %made
}}

define void @block_free(ptr %context, ptr %block, i64 %bytes) {{
  %suits = call i1 @is_kept(i64 %bytes)
  br i1 %suits, label %look, label %free
look:
  %grains = call i64 @grains(i64 %bytes)
  %place = getelementptr {_CLASS}, ptr @kept, i64 %grains
  %count = load i64, ptr %place
  %full = icmp eq i64 %count, {_SLOTS}
  br i1 %full, label %free, label %keep
keep:
  %slot = getelementptr {_CLASS}, ptr %place, i64 0, i32 1, i64 %count
  store ptr %block, ptr %slot
  %more = add i64 %count, 1
  store i64 %more, ptr %place
  ret void
free:
  call void @PyMem_RawFree(ptr %block)
  ret void
}}

declare {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64, i64)
"""


class _Handler(ctypes.Structure):
    """NumPy's `PyDataMem_Handler`."""

    _fields_ = (
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p), ("calloc", ctypes.c_void_p), ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )  # fmt: skip


_kept: list[object] = []
"""What NumPy goes on pointing to."""


def keeps(count: int) -> bool:
    """Whether results of so many bytes come from here."""
    return LEAST < count <= MOST


@functools.cache
def available() -> bool:
    """Whether arrays hold their memory handler where we expect it."""
    if not capi.available():
        return False
    owner = np.zeros(300)
    capsule = capi.pointer_at(id(owner) + capi.ARRAY.HANDLER)
    return (
        capsule is not None
        and capi.pointer_at(capsule + capi.TYPE) == id(type(_numpy_api()))
        and capi.pointer_at(id(owner[1:]) + capi.ARRAY.HANDLER) is None
    )


def _numpy_api() -> Any:
    """Some capsule."""
    import importlib

    umath: Any = importlib.import_module("numpy._core._multiarray_umath")
    return umath._ARRAY_API


@functools.cache
def prepare() -> None:
    """Define `result_block(context, bytes)`, which gives memory, and `result_handler`, the capsule of what frees it."""
    capi.prepare()
    from chainrule.codegen import cache

    module = native.load(cache.object_code(_TEXT, 0, inline=True))
    module.keep_forever()
    names = ("malloc", "calloc", "realloc", "free")
    functions = [module.address(f"block_{name}") for name in names]
    handler = _Handler(b"chainrule", 1, None, *functions)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    name = ctypes.create_string_buffer(b"mem_handler")
    capsule = make(ctypes.addressof(handler), ctypes.cast(name, ctypes.c_char_p), None)
    _kept.extend((module, handler, name, capsule))
    native.define_symbols({"result_block": functions[0], "result_handler": id(capsule)})
