"""Native functions: Python objects whose call goes straight to compiled code.

`entry` gives the native function for a signature, `Function` is the type whose instances call it, and `call`
calls a kernel through ctypes where this Python has no native entries.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.codegen import capi, interrupts, native, result_memory
from chainrule.codegen.foreign import Value, call, conform, named_sizes
from chainrule.codegen.signature import DTYPES, Argument, Dtype, Signature, SizeExpr, Tree

__all__ = ["Argument", "Dtype", "Function", "Signature", "SizeExpr", "Tree", "Value", "call", "entry"]

_lock = threading.RLock()
_addresses: dict[str, int] = {}
_signatures: dict[int, Signature] = {}
_modules: list[native.Module] = []
"""Entries live as long as the process: functions hold no reference to theirs, and signatures are few."""


def entry(signature: Signature) -> int:
    """The address of the native function for kernels of a signature, or 0 if this Python allows none.

    It has the vectorcall convention `PyObject *entry(self, args, nargsf, kwnames)`, `self` a `Function`. It
    takes the leaves of the arguments by position. An array fits if it is exactly an ndarray of the type in
    native byte order, C-contiguous, of the right shape; a scalar if it is a float, np.float64 or int for
    float64, an int or np.int64 for int64, a bool or np.bool for bool, np.float32 for float32, a complex or
    np.complex128 for complex128. If all fit, if sizes agree and guards hold, the kernel is called;
    otherwise the function's slow path gets the call as it is.

    Results are new C-contiguous arrays and NumPy scalars. Other threads run meanwhile if the work is large.
    """
    if not capi.available():
        return 0
    key = repr(signature)
    with _lock:
        if key not in _addresses:
            from chainrule.codegen import cache
            from chainrule.codegen.entry import ENTRY, entry_text, may_keep

            capi.prepare()
            interrupts.define()
            type_numbers: dict[Dtype, int] = {dtype: np.dtype(dtype).num for dtype in DTYPES}
            # Small checks, inlined: better code would save two nanoseconds a call and cost forty milliseconds.
            keep = any(map(may_keep, signature.results)) and result_memory.available()
            if keep:
                result_memory.prepare()
            code = cache.object_code(entry_text(signature, type_numbers, keep=keep), 0, inline=True)
            module = native.load(code)
            _modules.append(module)
            _addresses[key] = module.address(ENTRY)
            _signatures[_addresses[key]] = signature
        return _addresses[key]


if TYPE_CHECKING:

    class _NativeBase:
        pass

elif capi.is_cpython_with_gil:
    _NativeBase = capi.make_base()
else:
    _NativeBase = object


class Function(_NativeBase):
    """A callable that starts on its slow path, a Python callable, and calls a kernel once one is installed.

    The slow path has to handle every call; from `install` on it gets those that the kernel's entry does not
    take. Instances have attributes and weak references, are collected in cycles, and bind as methods of
    classes. Like Python's functions they are their own copies. Calls and installations may come from several
    threads.

    >>> double = Function(lambda x: 2 * x)
    >>> double("ab")
    'abab'
    """

    __slots__ = ("__dict__", "__weakref__", "_owner", "_slow")

    _slow: Callable[..., Any]
    _owner: object

    def __init__(self, slow: Callable[..., Any]) -> None:
        if not callable(slow):
            raise TypeError(f"the slow path of a function is a callable, not {slow!r}")
        self._slow = slow
        self._owner = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _mark(cls)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        # Python comes here only while no entry is installed.
        return self._slow(*args, **kwargs)

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        return self

    def install(self, entry: int, kernel: int, hidden: Sequence[Value], keep: object) -> None:
        """From now on calls go to an entry with the kernel at an address.

        `hidden` are the values for the signature's hidden inputs: arrays must have the right type and be
        contiguous, or are copied. `keep` is kept alive as long as the kernel may run; it should own
        the kernel's code. Raises TypeError or ValueError for values that do not fit the signature.
        """
        signature = _signatures.get(entry)
        if signature is None:
            raise ValueError(
                "install takes an address that `entry` gave; where it gave 0, use `call` instead"
            )
        table, arrays = _table(signature, kernel, hidden)
        self._swap(entry, ctypes.addressof(table), (table, arrays, keep))

    def uninstall(self) -> None:
        """From now on calls go to the slow path again."""
        if capi.available():
            self._swap(0, 0, None)

    def _swap(self, entry: int, table: int, owner: object) -> None:
        """Write entry, table and owner at once: the copy keeps the interpreter lock.

        The owner's field has the place of a slot, so the references are counted here by hand.
        """
        with _lock:
            former = self._owner
            fields = struct.pack("3P", entry, table, id(owner))
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
            _copy(id(self) + capi.FUNCTION.VECTORCALL, fields, len(fields))
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(former))


_copy = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)


def _mark(cls: type[Function]) -> None:
    """Native calls and bindings for a class that overrides neither `__call__` nor `__get__`."""
    overridden = any(
        "__call__" in base.__dict__ or "__get__" in base.__dict__
        for base in cls.__mro__[: cls.__mro__.index(Function)]
    )
    if capi.is_cpython_with_gil and not overridden:
        capi.mark_vectorcall(cls)


_mark(Function)


def _table(signature: Signature, kernel: int, hidden: Sequence[Value]) -> tuple[Any, list[Any]]:
    """What an entry reads of one kernel, as `entry_text` expects it, and the arrays that it points to."""
    if len(hidden) != len(signature.hidden):
        raise ValueError(f"the kernel has {len(signature.hidden)} hidden inputs, not {len(hidden)}")
    arrays = [conform(argument, value) for argument, value in zip(signature.hidden, hidden, strict=True)]
    named_sizes(signature.hidden, arrays)
    words = struct.pack("P", kernel)
    for array in arrays:
        if array.shape:
            words += struct.pack(f"P{array.ndim}q", array.ctypes.data, *array.shape)
        else:
            words += array.tobytes().ljust(8, b"\0")
    return (ctypes.c_char * len(words)).from_buffer_copy(words), arrays
