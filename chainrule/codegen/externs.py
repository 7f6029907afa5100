"""C functions from outside that generated code calls by name: from the C library and from SciPy.

Generated text holds names such as ``cr_gamma``, never addresses. `resolve` finds the names in a text and
makes them known; SciPy is imported only when a text needs a function of it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import re
import sys
from typing import Any, Final, NamedTuple

from .calls import PREFIX, call_address
from .interrupts import POLL, define
from .native import define_symbols
from .threads import PARALLEL, pool_address


class Extern(NamedTuple):
    """An outside function ``double symbol(double, …)``.

    ``source`` is its name in the C library, or in ``scipy.special.cython_special``, whose functions may take
    one more argument, an int that does nothing.
    """

    symbol: str
    source: str
    from_scipy: bool

    @property
    def skip_dispatch(self) -> bool:
        return self.from_scipy


def _c(name: str, source: str) -> Extern:
    return Extern(f"cr_{name}", source, from_scipy=False)


def _scipy(name: str, source: str) -> Extern:
    return Extern(f"cr_{name}", source, from_scipy=True)


SYMBOLS: Final[dict[str, Extern]] = {
    "fmod": _c("fmod", "fmod"),
    "gamma": _c("gamma", "tgamma"),
    "erfinv": _scipy("erfinv", "__pyx_fuse_0erfinv"),
    "ndtri": _scipy("ndtri", "ndtri"),
}
"""By the name of the primitive."""

_BY_SYMBOL: Final = {extern.symbol: extern for extern in SYMBOLS.values()}
_NAMES: Final = re.compile(r"^declare [^@\n]*@(cr_\w+)\(", re.MULTILINE)


def resolve(ir_text: str) -> None:
    """Make the outside functions that LLVM text declares known to the compiler, before it is compiled.

    Raises ImportError where SciPy is needed and missing.
    """
    if f"@{POLL}(" in ir_text:
        define()
    define_symbols({symbol: address(symbol) for symbol in _NAMES.findall(ir_text)})


@functools.cache
def address(symbol: str) -> int:
    """The address of an outside function, by its symbol in generated code.

    >>> address("cr_fmod") != 0
    True
    """
    if symbol == PARALLEL:
        return pool_address()
    if symbol.startswith(PREFIX):
        return call_address(symbol)
    extern = _BY_SYMBOL[symbol]
    return _scipy_address(extern.source) if extern.from_scipy else _c_address(extern.source)


def _c_address(name: str) -> int:
    found = ctypes.cast(getattr(_c_library(), name), ctypes.c_void_p).value
    assert found is not None
    return found


@functools.cache
def _c_library() -> ctypes.CDLL:
    """The library with C's mathematical functions: usually part of the process already."""
    if sys.platform == "win32":
        return ctypes.CDLL("ucrtbase")
    process = ctypes.CDLL(None)
    return process if hasattr(process, "tgamma") else ctypes.CDLL(ctypes.util.find_library("m"))


def _scipy_address(name: str) -> int:
    from scipy.special import cython_special

    capsule: Any = cython_special.__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    if signature is None or not signature.startswith(b"double (double"):
        raise ImportError(
            f"scipy.special.cython_special.{name} has the signature {signature!r}, not one of doubles"
        )
    pointer: int = get_pointer(capsule, signature)
    return pointer
