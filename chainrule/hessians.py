"""Second derivatives as programs on traced arrays, computed once where they are symmetric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .graph import express, tree
from .graph.differentiate import NotDifferentiable, needs_reverse
from .graph.dim import Shape, product
from .graph.node import Graph, Node
from .inner import Inner, stack, trace_inner
from .selection import Selection
from .simplify.pipeline import simplify
from .transform import (
    as_asked,
    blamed,
    check_inexact,
    check_real,
    forward_jacobian,
    gradient_nodes,
    reverse_jacobian,
    rows_are_cheaper,
    scalar_result,
)

_COMPLEX = "hessian takes real arguments of {name}, not {dtype}; give the real and imaginary parts"


def value_gradient_hessian(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any, Any]:
    """(value, gradient, Hessian, aux) of a function with one scalar result, in one graph: one pass over the data.

    Of scalar leaves only the lower triangle is computed.
    """
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="hessian", split=True)
    return _of_scalar(fun, inner, select, has_aux)


def hessian(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any]:
    """(Hessian, aux): out structure of in structure of in structure, each of shape out.shape + in.shape + in.shape.

    Of scalar leaves only the lower triangle is computed.
    """
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="hessian", split=True)
    if inner.results == 1 and not inner.graph.outputs[0].shape:
        _, _, found, aux = _of_scalar(fun, inner, select, has_aux)
        return found, aux
    check_inexact(fun, inner)
    check_real(fun, inner.inputs, _COMPLEX)
    outputs = inner.graph.outputs[: inner.results]
    try:
        if _reverse_first(outputs, inner.inputs):
            first = reverse_jacobian(outputs, inner.inputs)
        else:
            _, first = forward_jacobian(outputs, inner.inputs)
        flat = [part for row in first for part in row]
        slim = simplify(Graph(inner.graph.inputs, flat, provenance=inner.graph.provenance), "fast")
        _, second = forward_jacobian(slim.outputs, inner.inputs)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    count = len(inner.inputs)
    tables = [
        _joined_twice(inner, _symmetric(inner, second[k * count : (k + 1) * count]), output.shape)
        for k, output in enumerate(outputs)
    ]
    rest = inner.graph.outputs[inner.results :]
    parts = [part for table in tables for row in table for part in row]
    arrays = iter(inner.inline([*outputs, *rest, *parts], len(outputs) + len(rest)))
    result = tree.unflatten(inner.out, [next(arrays) for _ in inner.graph.outputs])
    value, aux = result if has_aux else (result, None)
    found = [
        as_asked(inner.spec, [as_asked(inner.spec, [next(arrays) for _ in row], select) for row in table], select)
        for table in tables
    ]
    return tree.unflatten(tree.structure(value), found), aux


def _reverse_first(outputs: Sequence[Node], inputs: Sequence[Node]) -> bool:
    """Whether first derivatives are to be computed in reverse mode; second ones are their tangents.

    By n scalars, twice forward is a triangle of n(n+1)/2 tangents; a row in reverse, about three times the function,
    has n tangents.
    """
    if not rows_are_cheaper(outputs, inputs) or needs_reverse(outputs, inputs) or any(i.shape for i in inputs):
        return rows_are_cheaper(outputs, inputs)
    rows = sum(int(product(o.shape)) for o in outputs)
    return len(inputs) + 1 > 6 * rows


def _of_scalar(fun: Callable[..., Any], inner: Inner, select: Selection, has_aux: bool) -> tuple[Any, Any, Any, Any]:
    value = scalar_result(fun, inner, holomorphic=False)
    check_real(fun, inner.inputs, _COMPLEX)
    results, gradient = gradient_nodes(fun, inner, value)
    slim = simplify(Graph(inner.graph.inputs, [*results, *gradient], provenance=inner.graph.provenance), "fast")
    outputs = list(slim.outputs[: len(inner.graph.outputs)])
    gradient = list(slim.outputs[len(outputs) :])
    try:
        values, table = forward_jacobian(gradient, inner.inputs)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    table = _joined_twice(inner, _symmetric(inner, table), ())
    values = inner.joined(values)
    arrays = iter(inner.inline([*outputs, *values, *[c for row in table for c in row]], len(outputs)))
    result = tree.unflatten(inner.out, [next(arrays) for _ in outputs])
    value_out, aux = result if has_aux else (result, None)
    first = as_asked(inner.spec, [next(arrays) for _ in values], select)
    rows = [as_asked(inner.spec, [next(arrays) for _ in row], select) for row in table]
    return value_out, first, as_asked(inner.spec, rows, select), aux


def _symmetric(inner: Inner, table: list[list[Node]]) -> list[list[Node]]:
    """Second derivatives by scalars, the upper triangle mirrored; by arrays they stay as they are."""
    if any(i.shape for i in inner.inputs):
        return table
    return [[table[max(i, j)][min(i, j)] for j in range(len(table))] for i in range(len(table))]


def _joined_twice(inner: Inner, table: list[list[Node]], shape: Shape) -> list[list[Node]]:
    """Second derivatives by input as second derivatives by leaf, of ``shape`` + first leaf + second leaf."""
    rows = iter([inner.joined(row) for row in table])
    result = []
    for leaf in inner.leaves:
        mine = [next(rows) for _ in leaf.inputs]
        row = []
        for column, other in enumerate(inner.leaves):
            parts = [m[column] for m in mine]
            if len(parts) == 1 and leaf.inputs[0].type == leaf.type:
                row.append(parts[0])
            else:
                row.append(express.reshape(stack(parts, len(shape)), (*shape, *leaf.type.shape, *other.type.shape)))
        result.append(row)
    return result
