"""The derivatives of a function by all of its arguments at once, as plain arrays: what minimisers look for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import hessians, transform
from .graph import tree
from .graph.array import Array
from .graph.where import error
from .selection import function_name, selection

if TYPE_CHECKING:
    from .compiled import Function


class Packed:
    """Gives a function of numbers and arrays with one scalar result the attributes ``grad`` and ``hessian``.

    iminuit finds them by these names: ``Minuit(cr.bind(nll, x=data), mu=1, sigma=2)``.
    """

    @property
    def grad(self) -> Function:
        """The gradient by all positional arguments, as one array: the derivatives one after the other.

        >>> import chainrule as cr
        >>> cr.jit(lambda a, b: a * b**2).grad(2.0, 3.0)
        array([ 9., 12.])
        """
        return self._of_all_arguments("grad", packed_gradient)

    @property
    def hessian(self) -> Function:
        """The matrix of second derivatives by all positional arguments.

        >>> import chainrule as cr
        >>> cr.jit(lambda a, b: a * b**2).hessian(2.0, 3.0)
        array([[0., 6.],
               [6., 4.]])
        """
        return self._of_all_arguments("hessian", packed_hessian)

    def _of_all_arguments(self, name: str, derivative: Callable[..., Any]) -> Function:
        known: dict[str, Function] = self.__dict__.setdefault("_packed", {})
        if name not in known:
            fun: Any = self

            def program(*args: Any) -> Any:
                return derivative(fun, args)

            program.__wrapped__ = fun  # type: ignore[attr-defined]
            known[name] = type(fun)(program, fun, floats=lambda where: True, recipe=(getattr, (fun, name), {}))
        return known[name]


def packed_gradient(fun: Callable[..., Any], args: Sequence[Any]) -> Any:
    """∂f/∂(every number of the arguments), rank 1."""
    _check(fun, args)
    select = selection(tuple(range(len(args))), None)
    _, gradient, _ = transform.value_and_gradient(fun, args, {}, select, has_aux=False, holomorphic=False)
    return _joined([_flat(part) for part in gradient])


def packed_hessian(fun: Callable[..., Any], args: Sequence[Any]) -> Any:
    """∂²f/∂(every number of the arguments)², rank 2."""
    _check(fun, args)
    select = selection(tuple(range(len(args))), None)
    _, _, blocks, _ = hessians.value_gradient_hessian(fun, args, {}, select, has_aux=False)
    if len(args) == 1 and np.ndim(args[0]) == 1:
        return blocks[0][0]
    sizes = [np.size(a) for a in args]
    rows = [
        _joined([np.reshape(part, (rows, columns)) for part, columns in zip(row, sizes, strict=True)], axis=1)
        for row, rows in zip(blocks, sizes, strict=True)
    ]
    return _joined(rows)


def _flat(part: Any) -> Any:
    return part if np.ndim(part) == 1 else np.reshape(part, (-1,))


def _joined(parts: Sequence[Any], axis: int = 0) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _check(fun: Callable[..., Any], args: Sequence[Any]) -> None:
    if not args or any(not isinstance(a, (Array, float)) for a in args):
        structure = tree.structure(tuple(args))
        raise error(
            TypeError,
            f"{function_name(fun)}.grad and .hessian take numbers and arrays, not {structure}; use cr.grad, cr.hessian",
        )
