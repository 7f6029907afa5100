"""What ordinary Python iterates over, where it is traced: ranges with traced bounds, arrays, ``enumerate``, ``zip``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from . import dim as dims
from . import express, lift
from .array import Array, as_array, as_node, wrap
from .blocks import NotRollable, known, local
from .dim import Dim, Size
from .dtype import INT64
from .node import Node, constant
from .scope import current
from .where import error, over_traced


@dataclass(frozen=True, slots=True)
class Items:
    """``count`` items (None: known at run time only, as ``trips``): ``at(index, slices of the arrays)`` is one."""

    count: Dim | None
    trips: Node
    arrays: list[Array]
    at: Callable[[Array, Sequence[Array]], Any]
    concrete: tuple[np.ndarray[Any, Any], ...] = ()  # those that the program has made, and may write to


def going_through(value: Any) -> Iterator[Any]:
    """``value``'s items one by one: while that lasts, an array may be written to, and so become traced."""
    if type(value) is not np.ndarray or current() is None:
        return iter(value)
    return (_now(value)[i] for i in range(len(value)))


def _now(array: np.ndarray[Any, Any]) -> Any:
    own = known(array)
    return array if own is None or own.traced is None else own.traced


class Reversed:
    """``reversed(array)``."""

    __slots__ = ("_iterator", "of")

    def __init__(self, of: Any) -> None:
        self.of = of
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        concrete = type(self.of) is np.ndarray
        return ((_now(self.of) if concrete else self.of)[i] for i in range(len(self.of) - 1, -1, -1))

    def __next__(self) -> Any:
        self._iterator = self._iterator or iter(self)
        return next(self._iterator)


class TracedRange:
    """``range`` with bounds that are traced, or sizes."""

    __slots__ = ("start", "step", "stop")

    def __init__(self, *bounds: Any) -> None:
        bounds = tuple(int(b) if isinstance(b, np.integer) else b for b in bounds)
        self.start, self.stop, self.step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        for value in (self.start, self.stop, self.step):
            if isinstance(value, Array) and (value.shape or value.dtype.kind not in "biu"):
                raise error(TypeError, f"the bounds of range are integers, not {value!r}")
        if not isinstance(self.step, Array) and self.step == 0:
            raise error(ValueError, "range() arg 3 must not be zero")

    def __iter__(self) -> NoReturn:
        raise over_traced(
            error(TypeError, "a range whose bounds are not known while tracing; write a `for` statement over it")
        )

    def __reversed__(self) -> TracedRange:
        items = self.items()
        count = items.count if items.count is not None else wrap(items.trips)
        last = self.start + (count - 1) * self.step
        return TracedRange(last, self.start - self.step, -self.step)

    def items(self) -> Items:
        start, step = self.start, self.step
        sized = not any(isinstance(v, Array) for v in (start, self.stop, step))
        count: Dim | None = None
        if sized:
            length = self.stop - start if step > 0 else start - self.stop
            count = dims.maximum(dims.floordiv(length + (abs(step) - 1), abs(step)), 0)
            trips = lift.size_value(count)
        else:
            trips = _trips(as_array(start), as_array(self.stop), step)
        upwards = not isinstance(step, Array) and step > 0
        counts = sized and (dims.at_least(start, 0) if upwards else dims.at_least(self.stop, -1))

        def at(index: Array, _: Sequence[Array]) -> Array:
            value = index if _is(start, 0) and _is(step, 1) else as_array(start) + index * step
            scope = current()
            if counts and scope is not None:
                scope.nonnegative.add(value.node)
            return value

        return Items(count, trips, [], at)


def _is(value: Any, number: int) -> bool:
    return isinstance(value, int) and value == number


def _trips(start: Array, stop: Array, step: Any) -> Node:
    """How many numbers a range has: max(0, ceil((stop − start)/step))."""
    steps = as_array(step)
    difference = stop - start
    count = difference if _is(step, 1) else -((-difference) // steps)
    return lift.apply("maximum", express.cast(as_node(count), INT64), constant(0, INT64))


class Enumerated:
    """``enumerate(items, start)`` of what may be traced."""

    __slots__ = ("_iterator", "of", "start")

    def __init__(self, of: Any, start: Any = 0) -> None:
        self.of, self.start = of, start
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(enumerate(going_through(self.of), self.start))

    def __next__(self) -> Any:
        self._iterator = self._iterator or iter(self)
        return next(self._iterator)


class Zipped:
    """``zip(...)`` of what may be traced."""

    __slots__ = ("_iterator", "of", "strict")

    def __init__(self, *of: Any, strict: bool = False) -> None:
        self.of, self.strict = of, strict
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*map(going_through, self.of), strict=self.strict))

    def __next__(self) -> Any:
        self._iterator = self._iterator or iter(self)
        return next(self._iterator)


def length_of(value: Any) -> Dim | None:
    """How many items ``value`` has; None where that is not known, or asking for it would use it up."""
    if isinstance(value, (Enumerated, Reversed)):
        return length_of(value.of)
    if isinstance(value, Zipped):
        lengths = [length_of(v) for v in value.of]
        known = [n for n in lengths if n is not None]
        return _least(known) if known and len(known) == len(lengths) else None
    if isinstance(value, TracedRange):
        return value.items().count
    if isinstance(value, (Array, np.ndarray)):
        return value.shape[0] if value.ndim else None
    return len(value) if isinstance(value, (range, list, tuple)) else None


def must_roll(value: Any) -> bool:
    """Whether Python cannot go through ``value``: how long it is shows only at run time."""
    if isinstance(value, (Enumerated, Reversed)):
        return must_roll(value.of)
    if isinstance(value, Zipped):
        return any(map(must_roll, value.of))
    if isinstance(value, TracedRange):
        return not isinstance(value.items().count, int)
    return isinstance(value, Array) and bool(value.shape) and isinstance(value.shape[0], Size)


def _least(counts: Sequence[Dim]) -> Dim:
    count = counts[0]
    for other in counts[1:]:
        count = dims.minimum(count, other)
    return count


def items_of(value: Any) -> Items:
    """``value`` as items that a loop can count through; ``NotRollable`` where they have no common type."""
    if isinstance(value, TracedRange):
        return value.items()
    if isinstance(value, range):
        return TracedRange(value.start, value.stop, value.step).items()
    if isinstance(value, Enumerated):
        inner, start = items_of(value.of), value.start

        def numbered(index: Array, parts: Sequence[Array]) -> Any:
            return index + start, inner.at(index, parts)

        return Items(inner.count, inner.trips, inner.arrays, numbered, inner.concrete)
    if isinstance(value, Reversed):
        return items_of(value.of[::-1])
    if isinstance(value, Zipped):
        return _zipped([items_of(v) for v in value.of])
    if isinstance(value, (list, tuple)):
        value = _uniform(value)
    concrete: tuple[np.ndarray[Any, Any], ...] = ()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        concrete = tuple(v for v in (value, value.base) if v is not None and local(v) is not None)
        value = as_array(value)
        value._frozen = "a part of a concrete array is written to; write to the array itself: x[i, j] = ..."
    if isinstance(value, Array):
        if not value.shape:
            raise error(TypeError, "iteration over a traced scalar")
        count = value.shape[0]
        return Items(count, lift.size_value(count), [value], lambda _, parts: parts[0], concrete)
    raise NotRollable(f"it goes over a {type(value).__name__}")


def _uniform(values: Sequence[Any]) -> Any:
    """A list of numbers or arrays of one type as an array."""
    kinds = {type(v) for v in values}
    if kinds <= {float} or kinds <= {int} or kinds <= {complex} or kinds <= {np.float64}:
        return np.array(values)
    types = {v.node.type for v in values if isinstance(v, Array)}
    if kinds == {Array} and len(types) == 1:
        from .array import call

        return call("stack", list(values))
    raise NotRollable("the list that it goes over holds values of several types")


def _zipped(parts: list[Items]) -> Items:
    counts = [p.count for p in parts if p.count is not None]
    trips = parts[0].trips
    count: Dim | None = None
    if len(counts) == len(parts):
        count = _least(counts)
        trips = lift.size_value(count)
        arrays = [a if a.shape[0] == count else a[:count] for p in parts for a in p.arrays]
    else:
        for other in parts[1:]:
            trips = lift.apply("minimum", trips, other.trips)
        arrays = [a for p in parts for a in p.arrays]

    def at(index: Array, slices: Sequence[Array]) -> tuple[Any, ...]:
        rest = list(slices)
        found = []
        for part in parts:
            own, rest = rest[: len(part.arrays)], rest[len(part.arrays) :]
            found.append(part.at(index, own))
        return tuple(found)

    return Items(count, trips, arrays, at, tuple(c for p in parts for c in p.concrete))
