"""What generated entries know about CPython and NumPy: offsets in their structures, addresses of their names.

None of the offsets is promised by a public interface of Python, so `available` compares them with probe
objects once. Where it says no (another implementation, a free-threaded build, a future layout), kernels are
called through ctypes instead.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import struct
import sys
from typing import Any

import numpy as np

from chainrule.codegen import native
from chainrule.codegen.signature import DTYPES

__all__ = [
    "ARRAY",
    "DESCR",
    "FUNCTION",
    "HEADER",
    "TYPE",
    "available",
    "is_cpython_with_gil",
    "make_base",
    "mark_vectorcall",
    "pointer_at",
    "prepare",
]

HEADER = 16
"""Size of an object's head: reference count and type. A float's value, a NumPy scalar's value start here."""
TYPE = 8


class ARRAY:
    """Offsets in an ndarray, and the flags that say that a kernel may read it."""

    DATA, RANK, SHAPE, DESCR, FLAGS = HEADER, HEADER + 8, HEADER + 16, HEADER + 40, HEADER + 48
    HANDLER = HEADER + 72
    CONTIGUOUS_ALIGNED = 0x1 | 0x100
    OWNS_DATA, WRITEABLE = 0x4, 0x400


class DESCR:
    """Offsets in a dtype object. Unpickled arrays carry dtypes of their own, so identity would not do."""

    BYTEORDER, NUMBER = HEADER + 10, HEADER + 12
    SWAPPED = ord(">" if sys.byteorder == "little" else "<")


class FUNCTION:
    """Offsets in a `function.Function`: two fields of its base, then its slots in alphabetical order."""

    VECTORCALL, TABLE, OWNER, SLOW = HEADER, HEADER + 8, HEADER + 16, HEADER + 24
    BASE_SIZE = HEADER + 16


_TYPE_FLAGS = 168
_HAVE_VECTORCALL, _METHOD_DESCRIPTOR, _BASETYPE = 1 << 11, 1 << 17, 1 << 10
_PY_TP_ALLOC, _PY_TP_CALL, _PY_TP_DESCR_GET, _PY_TP_MEMBERS = 47, 50, 54, 72
_T_PYSSIZET, _READONLY = 19, 1
_PYARRAY_TYPE, _PYARRAY_NEW_FROM_DESCR = 2, 94

is_cpython_with_gil = (
    sys.implementation.name == "cpython" and object.__basicsize__ == HEADER and struct.calcsize("P") == 8
)
"""The other layouts differ from the start (a free-threaded build has a longer head)."""

_C_API = (
    "PyBool_Type", "PyComplex_Type", "PyErr_Clear", "PyErr_NoMemory", "PyErr_Occurred", "PyErr_SetString",
    "PyEval_RestoreThread", "PyEval_SaveThread", "PyExc_ReferenceError", "PyFloat_Type", "PyList_New",
    "PyList_SetItem", "PyLong_AsDouble", "PyLong_AsLongLongAndOverflow", "PyLong_Type",
    "PyMem_RawCalloc", "PyMem_RawFree", "PyMem_RawMalloc", "PyMem_RawRealloc",
    "PyObject_Vectorcall", "PyTuple_New", "PyTuple_SetItem", "Py_DecRef", "Py_IncRef",
    "_Py_NoneStruct", "_Py_TrueStruct",
)  # fmt: skip


@functools.cache
def prepare() -> None:
    """Define the names that entries refer to: Python's own, and NumPy's, which start with `np_`."""
    symbols = {name: _address(name) for name in _C_API}
    table = _numpy_table()
    symbols |= {
        "np_ndarray": table[_PYARRAY_TYPE],
        "np_new_from_descr": table[_PYARRAY_NEW_FROM_DESCR],
        "np_true": id(np.True_),
        "np_false": id(np.False_),
    }
    for dtype in DTYPES:
        scalar_type = np.dtype(dtype).type
        symbols[f"np_{dtype}"] = id(scalar_type)
        symbols[f"np_descr_{dtype}"] = id(np.dtype(dtype))
        symbols[f"np_alloc_{dtype}"] = _slot(scalar_type, _PY_TP_ALLOC)
    native.define_symbols(symbols)


@functools.cache
def available() -> bool:
    """Whether this Python and this NumPy have the layout that entries are generated for."""
    if not is_cpython_with_gil:
        return False
    try:
        return _numpy_table()[_PYARRAY_TYPE] == id(np.ndarray) and _scalars_fit() and _arrays_fit()
    except (ImportError, AttributeError, ValueError):
        return False


def _scalars_fit() -> bool:
    probes: list[tuple[object, bytes]] = [
        (1.5, struct.pack("d", 1.5)),
        (1.5 - 2j, struct.pack("dd", 1.5, -2.0)),
    ]
    for dtype in DTYPES:
        probe = np.dtype(dtype).type(3)
        probes.append((probe, probe.tobytes()))
    return all(
        _read(id(value) + TYPE, "P") == id(type(value))
        and ctypes.string_at(id(value) + HEADER, len(data)) == data
        for value, data in probes
    )


def _arrays_fit() -> bool:
    base = np.zeros((3, 4))
    for array in (
        base,
        base.T,
        base.astype(">f8"),
        np.zeros(2, np.int64),
        np.zeros((1, 0, 2), "?"),
        np.zeros(3, "c16"),
    ):
        address, descr = id(array), id(array.dtype)
        shape = ctypes.string_at(_read(address + ARRAY.SHAPE, "P"), 8 * array.ndim)
        fits = (
            _read(address + ARRAY.DATA, "P") == array.ctypes.data
            and _read(address + ARRAY.RANK, "i") == array.ndim
            and shape == struct.pack(f"{array.ndim}q", *array.shape)
            and _read(address + ARRAY.DESCR, "P") == descr
            and _read(address + ARRAY.FLAGS, "i") == array.flags.num
            and _read(descr + DESCR.NUMBER, "i") == array.dtype.num
            and _read(descr + DESCR.BYTEORDER, "c") == array.dtype.byteorder.encode()
        )
        if not fits:
            return False
    return True


def pointer_at(address: int) -> int | None:
    """The pointer that stands at an address, None if it is null."""
    return ctypes.c_void_p.from_address(address).value


def _read(address: int, format: str) -> Any:
    return struct.unpack(format, ctypes.string_at(address, struct.calcsize(format)))[0]


def _address(name: str) -> int:
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None
    return address


def _slot(cls: type, slot: int) -> int:
    get_slot = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(
        ("PyType_GetSlot", ctypes.pythonapi)
    )
    address: int = get_slot(cls, slot)
    return address


@functools.cache
def _numpy_table() -> list[int]:
    """NumPy's table of C functions and types, as far as it is used here."""
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    umath: Any = importlib.import_module("numpy._core._multiarray_umath")
    table = get_pointer(umath._ARRAY_API, None)
    return list((ctypes.c_size_t * (_PYARRAY_NEW_FROM_DESCR + 1)).from_address(table))


# --- the base type of Function


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint), ("slots", ctypes.POINTER(_Slot)),
    )  # fmt: skip


_kept: list[object] = []
"""Structures that Python may go on pointing to."""


def make_base() -> type:
    """A type whose instances hold a pointer to the C function that a call runs, and one word more.

    While the pointer is null, a call goes to `__call__`. Attribute access binds instances as it binds Python
    functions.
    """
    members = (_Member * 2)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, FUNCTION.VECTORCALL, _READONLY, None), _Member()
    )
    slots = (_Slot * 4)(
        _Slot(_PY_TP_MEMBERS, ctypes.addressof(members)),
        _Slot(_PY_TP_CALL, _address("PyVectorcall_Call")),
        _Slot(_PY_TP_DESCR_GET, _slot(type(make_base), _PY_TP_DESCR_GET)),
        _Slot(0, None),
    )
    spec = _Spec(
        b"chainrule.codegen.capi.NativeBase", FUNCTION.BASE_SIZE, 0, _HAVE_VECTORCALL | _BASETYPE, slots
    )
    _kept.extend((members, slots, spec))
    from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))
    base: type = from_spec(ctypes.addressof(spec))
    return base


def mark_vectorcall(cls: type) -> None:
    """Let calls go straight to the C function, and calls as a method do without a bound method.

    A class made by a class statement inherits neither mark, as it may override `__call__` and `__get__`; this
    is for classes that do not, or whose `__call__` does the same as the C function.
    """
    flags = ctypes.c_ulong.from_address(id(cls) + _TYPE_FLAGS)
    if flags.value == cls.__flags__:
        flags.value |= _HAVE_VECTORCALL | _METHOD_DESCRIPTOR
