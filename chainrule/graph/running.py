"""Running products and extrema, from which their derivatives are made."""

from __future__ import annotations

from .dtype import INT64
from .express import NODES, broadcast, reduce
from .node import Node, constant, make
from .op import Concatenate, Cumulative, Iota, SizeOf, Slice


def product_of_others(x: Node, axes: tuple[int, ...]) -> Node:
    """For each element the product of all others along ``axes``, without a division, so that zeros are right."""
    result: Node | None = None
    inner = x
    for axis in reversed(axes):
        # `inner` is x already reduced along the later axes
        own = _shifted_product(inner, axis, backwards=False) * _shifted_product(inner, axis, backwards=True)
        kept = tuple(i for i in range(len(x.shape)) if i not in axes or i <= axis)
        own = broadcast(own, x.shape, kept)
        result = own if result is None else result * own
        inner = reduce("prod", inner, (axis,))
    assert result is not None
    return result


def _shifted_product(x: Node, axis: int, *, backwards: bool) -> Node:
    """The running product of the elements before each one (after it: ``backwards``) along ``axis``."""
    return shifted(make(Cumulative("prod", axis, backwards), (x,)), axis, 1, backwards=backwards)


def shifted(x: Node, axis: int, by: int, *, backwards: bool) -> Node:
    """x moved along ``axis`` by some places, towards the end or ``backwards``, with ones moving in."""
    n = x.shape[axis]
    if isinstance(n, int) and by >= n:
        return broadcast(constant(1, x.dtype), x.shape, ())
    ones = broadcast(constant(1, x.dtype), tuple(by if i == axis else d for i, d in enumerate(x.shape)), ())
    starts = tuple(by if i == axis and backwards else 0 for i in range(len(x.shape)))
    counts = tuple(n - by if i == axis else d for i, d in enumerate(x.shape))
    rest = make(Slice(starts, counts, (1,) * len(x.shape)), (x,))
    return make(Concatenate(axis), (rest, ones) if backwards else (ones, rest))


def places_attained(x: Node, extremum: Node, op: Cumulative) -> Node:
    """The index along the axis at which each running extremum was attained last."""
    size = x.shape[op.axis]
    place = broadcast(make(Iota(size)), x.shape, (op.axis,))
    start = size - 1 if op.reverse else 0
    before = constant(start, INT64) if isinstance(start, int) else make(SizeOf(start))
    records = NODES.where(NODES.eq(x, extremum), place, before)
    return make(Cumulative("min" if op.reverse else "max", op.axis, op.reverse), (records,))
