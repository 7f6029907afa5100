"""Calling a kernel through ctypes: slow, and without assumptions on how Python lays out its objects."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from chainrule.codegen import interrupts
from chainrule.codegen.signature import Argument, Dtype, Signature, Tree, evaluate_size

__all__ = ["Value", "call", "conform"]

Value: TypeAlias = "np.ndarray[Any, np.dtype[Any]] | np.generic | complex"
"""An array or a scalar (complex stands for float, int and bool, too)."""

_CTYPE: dict[Dtype, type[ctypes._SimpleCData[Any]]] = {
    "float64": ctypes.c_double, "int64": ctypes.c_int64, "bool": ctypes.c_uint8, "float32": ctypes.c_float,
    "complex128": ctypes.c_double,
}  # fmt: skip
_ALIGNMENT = 64


def call(kernel: int, signature: Signature, leaves: Sequence[Value], hidden: Sequence[Value]) -> Any:
    """Call the kernel at an address and return its results in the signature's tree.

    Arrays must have the element type and shape of the signature; they are copied where they are not
    contiguous. Raises TypeError or ValueError for arguments that do not fit, sizes that disagree and guards
    that do not hold.
    """
    if len(leaves) != len(signature.inputs) or len(hidden) != len(signature.hidden):
        raise TypeError(f"the kernel takes {len(signature.inputs)} arguments, not {len(leaves)}")
    expected = (*signature.inputs, *signature.hidden)
    values = [conform(argument, value) for argument, value in zip(expected, (*leaves, *hidden), strict=True)]
    sizes = named_sizes(expected, values)
    for relation, left, right in signature.guards:
        if not _holds(relation, evaluate_size(left, sizes), evaluate_size(right, sizes)):
            raise ValueError(
                f"the kernel was compiled for sizes with {left} {relation} {right}; here they are {sizes}"
            )
    results = [
        np.empty([evaluate_size(dim, sizes) for dim in result.shape], result.dtype)
        for result in signature.results
    ]
    words: list[complex | None] = [word for value in values for word in _words(value)]
    words += [sizes[name] for name in signature.sizes]
    words += [result.ctypes.data for result in results]
    if signature.workspace is not None:
        scratch = np.empty(evaluate_size(signature.workspace, sizes) + _ALIGNMENT, np.uint8)
        words.append(scratch.ctypes.data + -scratch.ctypes.data % _ALIGNMENT)
    try:
        _prototype(signature)(kernel)(*words)
    except SystemError:  # a call through ctypes expects no exception of Python's
        if interrupts.raised():
            raise KeyboardInterrupt from None
        raise
    return _arrange(signature.tree, [result if result.shape else result[()] for result in results])


def conform(argument: Argument, value: Value) -> np.ndarray[Any, np.dtype[Any]]:
    """The value as a C-contiguous array of an argument's type and rank, or TypeError."""
    array = np.asarray(value)
    if not np.can_cast(array.dtype, argument.dtype, "safe" if array.ndim == 0 else "equiv"):
        raise TypeError(f"the kernel takes elements of type {argument.dtype}, not {array.dtype}")
    if array.ndim != len(argument.shape):
        raise TypeError(f"the kernel takes an array of rank {len(argument.shape)}, not {array.ndim}")
    return np.require(array, argument.dtype, ["C", "A"])


def named_sizes(
    arguments: Iterable[Argument], values: Iterable[np.ndarray[Any, np.dtype[Any]]]
) -> dict[str, int]:
    """What each named size is in some arrays. ValueError if arrays disagree, also with a fixed size."""
    sizes: dict[str, int] = {}
    for argument, value in zip(arguments, values, strict=True):
        for dim, found in zip(argument.shape, value.shape, strict=True):
            wanted = sizes.setdefault(dim, found) if isinstance(dim, str) else dim
            if found != wanted:
                raise ValueError(
                    f"an array of shape {value.shape} does not fit {argument.shape} with sizes {sizes}"
                )
    return sizes


def _words(value: np.ndarray[Any, np.dtype[Any]]) -> list[complex | None]:
    """The C arguments for one argument of a kernel."""
    if value.shape:
        return [value.ctypes.data]
    number = value[()]
    return [float(number.real), float(number.imag)] if value.dtype.kind == "c" else [number.item()]


@functools.lru_cache(maxsize=256)
def _prototype_of(kinds: tuple[type[Any], ...]) -> Any:
    return ctypes.CFUNCTYPE(None, *kinds)


def _prototype(signature: Signature) -> Any:
    kinds: list[type[Any]] = []
    for argument in (*signature.inputs, *signature.hidden):
        if argument.shape:
            kinds.append(ctypes.c_void_p)
        else:
            kinds += [_CTYPE[argument.dtype]] * (2 if argument.dtype == "complex128" else 1)
    kinds += [ctypes.c_int64] * len(signature.sizes)
    kinds += [ctypes.c_void_p] * (len(signature.results) + (signature.workspace is not None))
    return _prototype_of(tuple(kinds))


def _holds(relation: str, left: int, right: int) -> bool:
    return {"==": left == right, ">=": left >= right, "!=": left != right}[relation]


def _arrange(tree: Tree, results: Sequence[Any]) -> Any:
    match tree:
        case None:
            return None
        case int(number):
            return results[number]
        case tuple():
            return tuple(_arrange(child, results) for child in tree)
    return [_arrange(child, results) for child in tree]
