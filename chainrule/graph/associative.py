"""``associative_scan``: running results of an operation, as in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dim as dims
from . import tree
from .array import Array
from .control import scan
from .scope import current
from .trace import call_user
from .where import error, of_function


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """y₀ = x₀, yᵢ = ``fn(yᵢ₋₁, xᵢ)`` along ``axis`` of the arrays ``elems`` (a pytree); with ``reverse`` from the end.

    ``fn`` is associative, and works on slices of ``elems`` along the axis, of whatever length, as in JAX. It is run
    one element after the other, which for a processor is the least work; so an operation that is not associative
    gives what the formula says.

    Raises ValueError if the arrays are of different lengths or have no such axis, TypeError if ``fn`` gives another
    structure than it takes.

    >>> associative_scan(np.maximum, np.array([1.0, 3.0, 2.0, 5.0]))
    array([1., 3., 3., 5.])
    >>> associative_scan(lambda a, b: a @ b, np.stack([np.eye(2) * k for k in (1, 2, 3)]))[:, 0, 0]
    array([1., 2., 6.])
    """
    if not callable(fn):
        raise error(TypeError, f"associative_scan takes a function, not {fn!r:.60}")
    if not isinstance(axis, (int, np.integer)):
        raise error(TypeError, f"associative_scan goes along an axis, an integer, not {axis!r:.60}")
    leaves, structure = tree.flatten(elems)
    arrays = [_array(leaf) for leaf in leaves]
    if not arrays:
        raise error(ValueError, "associative_scan needs an array to go along")
    for array in arrays:
        if not -array.ndim <= axis < array.ndim:
            raise error(ValueError, f"associative_scan along axis {axis} of an array of shape {dims.show(array.shape)}")
    lengths = [array.shape[axis] for array in arrays]
    if any(n != lengths[0] for n in lengths):
        shown = ", ".join(map(str, lengths))
        raise error(ValueError, f"associative_scan goes along axes of one length, not of {shown}")
    if isinstance(lengths[0], int) and lengths[0] < 2:
        return elems
    moved = [np.moveaxis(array, axis, 0) for array in arrays]
    first, rest = (slice(-1, None), slice(0, -1)) if reverse else (slice(0, 1), slice(1, None))

    call = _apply if current() is None else call_user

    def one(slices: list[Any]) -> Any:
        """Slices of length 1 along the axis, in the user's structure."""
        return tree.unflatten(structure, [np.moveaxis(part, 0, axis) for part in slices])

    def step(carry: list[Any], part: list[Any]) -> tuple[list[Any], list[Any]]:
        found, shape = tree.flatten(call(fn, one(carry), one([p[None] for p in part])))
        if shape != structure:
            where = tree.difference(structure, shape, "result")
            message = f"the function of associative_scan returns another structure: {where}"
            raise error(TypeError, message, of_function(fn))
        for value, given in zip(found, part, strict=True):
            if np.ndim(value) != given.ndim + 1:
                message = f"the function of associative_scan returns slices as it takes them, of {given.ndim + 1} axes"
                raise error(TypeError, f"{message}, not of {np.ndim(value)}", of_function(fn))
        following = [np.moveaxis(_array(f), axis, 0) for f in found]
        return following, [f[0] for f in following]

    start = [array[first] for array in moved]
    _, running = scan(step, start, [array[rest] for array in moved], reverse=reverse)
    parts = [[r, s] if reverse else [s, r] for s, r in zip(start, running, strict=True)]
    joined = [np.concatenate(pair) for pair in parts]
    return tree.unflatten(structure, [np.moveaxis(array, 0, axis) for array in joined])


def _array(value: Any) -> Any:
    return value if isinstance(value, Array) else np.asarray(value)


def _apply(fn: Callable[..., Any], *args: Any) -> Any:
    """The function of the arguments."""
    return fn(*args)


__all__ = ["associative_scan"]
