"""Calls from kernels into Python: a C function for each foreign function and the types that it is called with.

A kernel passes pointers to its arguments and results, and the named sizes in their shapes. The function takes the
interpreter's lock, so that it may be called from any thread. What the foreign function raises cannot pass through
native code: it is kept, the results are NaN and no foreign function runs any more, until the kernel has returned and
its caller asks with `raise_pending`. In the main thread, loops whose length is not known end early.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from chainrule.graph.dim import Dim, Size
from chainrule.graph.dtype import is_inexact
from chainrule.graph.evaluate import CALLBACKS
from chainrule.graph.node import Graph, Node, result_types
from chainrule.graph.op import Call, Callback, Cond, Linalg, Loop, Type

from . import interrupts
from .lapack import is_for_lapack

__all__ = ["PREFIX", "asking", "call_address", "calls_python", "raise_pending", "size_arguments", "symbol_of"]

PREFIX: Final = "cr_python_"
_pending: Final = threading.local()
_lock: Final = threading.Lock()


class _Entered(NamedTuple):
    """A C function, and what must live as long as it."""

    address: int
    function: Any


class _Signature(NamedTuple):
    key: str
    arguments: tuple[Type, ...]
    results: tuple[Type, ...]


_signatures: Final[dict[str, _Signature]] = {}
_entered: Final[dict[str, _Entered]] = {}


def symbol_of(node: Node) -> str:
    """The symbol by which a kernel calls the foreign function of a node."""
    assert isinstance(node.op, Callback)
    signature = _Signature(node.op.key, tuple(a.type for a in node.args), result_types(node))
    text = f"{signature.key}|{'|'.join(map(str, signature.arguments))}>{'|'.join(map(str, signature.results))}"
    from hashlib import blake2b

    symbol = PREFIX + blake2b(text.encode(), digest_size=12).hexdigest()
    with _lock:
        _signatures[symbol] = signature
    return symbol


def size_arguments(kinds: Sequence[Type]) -> tuple[Dim, ...]:
    """The dimensions that a call passes: those that are not known when it is compiled."""
    return tuple(d for kind in kinds for d in kind.shape if isinstance(d, Size))


def call_address(symbol: str) -> int:
    """The address of the C function of a symbol that this process made."""
    with _lock:
        found = _entered.get(symbol)
        if found is None:
            signature = _signatures[symbol]
            pointers = len(signature.arguments) + len(signature.results)
            sizes = len(size_arguments((*signature.arguments, *signature.results)))
            prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers, *[ctypes.c_int64] * sizes)
            function = prototype(_entry(signature))
            address = ctypes.cast(function, ctypes.c_void_p).value
            assert address is not None
            found = _entered[symbol] = _Entered(address, function)
        return found.address


def _entry(signature: _Signature) -> Callable[..., None]:
    """What the C function runs."""
    kinds = (*signature.arguments, *signature.results)
    first = len(signature.arguments)

    def enter(*raw: int) -> None:
        try:
            sizes = iter(raw[len(kinds) :])
            arrays = [_array(place, kind, sizes) for place, kind in zip(raw, kinds, strict=False)]
        except BaseException as problem:  # no memory, an interrupt: nothing may pass through native code
            _keep(problem)
            return
        try:
            if getattr(_pending, "problem", None) is None:
                _run(signature.key, arrays[:first], arrays[first:])
                return
        except BaseException as problem:
            _keep(problem)
        for array in arrays[first:]:
            array[...] = np.nan if is_inexact(array.dtype) else 0

    return enter


def _array(place: int, kind: Type, sizes: Any) -> Any:
    """The memory of an argument or result as an array."""
    shape = tuple(d if isinstance(d, int) else next(sizes) for d in kind.shape)
    count = int(np.prod(shape, dtype=np.int64)) * kind.dtype.itemsize
    if not count:
        return np.empty(shape, kind.dtype)
    memory: Any = (ctypes.c_char * count).from_address(place)
    return np.frombuffer(memory, kind.dtype).reshape(shape)


def _run(key: str, arguments: Sequence[Any], results: Sequence[Any]) -> None:
    function = CALLBACKS.get(key)
    if function is None:
        raise ValueError(f"the foreign function {key!r} is not known in this process; declare it")
    found = function(*[a.copy() for a in arguments])
    values = found if isinstance(found, (tuple, list)) else (found,)
    for target, value in zip(results, values, strict=True):
        if np.shape(value) != target.shape:
            raise ValueError(f"a foreign function gave an array of shape {np.shape(value)}, not {target.shape}")
        target[...] = value if np.iscomplexobj(target) else np.real(value)


def _keep(problem: BaseException) -> None:
    if getattr(_pending, "problem", None) is None:
        _pending.problem = problem
        interrupts.stop()


def raise_pending() -> None:
    """Raises what a foreign function raised in this thread while the last kernel ran."""
    problem = getattr(_pending, "problem", None)
    if problem is not None:
        _pending.problem = None
        interrupts.raised()
        raise problem


def asking(kernel: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    """A kernel that calls functions of the user's: what they raise is raised when it has returned."""

    def call(*leaves: Any) -> Sequence[Any]:
        try:
            found = kernel(*leaves)
        except KeyboardInterrupt:  # maybe how the kernel was told to stop
            raise_pending()
            raise
        raise_pending()
        return found

    return call


def calls_python(graph: Graph) -> bool:
    """Whether the kernel of a graph may call a function of the user's."""
    return any(_calls_python(node) for node in graph.nodes)


def _calls_python(node: Node) -> bool:
    match node.op:
        case Callback():
            return True
        case Linalg():
            return is_for_lapack(node.op, node.args[0])
        case Cond(branches):
            return any(calls_python(b) for b in branches)
        case Call(body) | Loop(body=body, predicate=None):
            return calls_python(body)
        case Loop(body=body, predicate=predicate):
            return calls_python(body) or (predicate is not None and calls_python(predicate))
        case _:
            return False
