"""Affine index expressions over loop indices, and positions in C-ordered arrays.

An index into an array is a tuple of `Affine`, one an axis, or one `Flat` position. As long as nothing
computed at run time comes in, every view turns affine indices into affine indices, so that the loops read
memory with known strides. What is not affine (a quotient, a gathered index) enters as a variable of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim, Shape

__all__ = ["Affine", "Flat", "Index", "Ranges", "constant", "ravel", "split", "upper", "variable"]

Ranges: TypeAlias = Mapping[str, Dim]
"""For an index variable i the number n for which 0 ≤ i < n; a variable that is absent may be anything."""


@dataclass(frozen=True, slots=True)
class Affine:
    """constant + Σ coefficient·variable, the variables in order of their names, no coefficient 0.

    >>> i = variable("i")
    >>> (i + 1).scaled(3)
    Affine(terms=(('i', 3),), constant=3)
    """

    terms: tuple[tuple[str, Dim], ...]
    constant: Dim = 0

    def __add__(self, other: Affine | Dim) -> Affine:
        if not isinstance(other, Affine):
            return Affine(self.terms, self.constant + other)
        if not other.terms or not self.terms:
            return Affine(self.terms or other.terms, self.constant + other.constant)
        total = dict(self.terms)
        for name, coefficient in other.terms:
            total[name] = total.get(name, 0) + coefficient
        kept = sorted((n, c) for n, c in total.items() if c != 0)
        return Affine(tuple(kept), self.constant + other.constant)

    def scaled(self, factor: Dim) -> Affine:
        if isinstance(factor, int) and factor == 1:
            return self
        terms = tuple((n, c * factor) for n, c in self.terms) if factor != 0 else ()
        return Affine(terms, self.constant * factor)


@dataclass(frozen=True, slots=True)
class Flat:
    """The position of an element in C order."""

    position: Affine


Index: TypeAlias = "tuple[Affine, ...] | Flat"


def constant(value: Dim) -> Affine:
    return Affine((), value)


def variable(name: str) -> Affine:
    return Affine(((name, 1),))


def ravel(index: tuple[Affine, ...], shape: Shape) -> Affine:
    """The position in C order of the element at ``index``.

    >>> ravel((variable("i"), constant(1)), (5, 3))
    Affine(terms=(('i', 3),), constant=1)
    """
    position, stride = constant(0), 1
    for axis in range(len(shape) - 1, -1, -1):
        position = position + index[axis].scaled(stride)
        stride = shape[axis] * stride
    return position


def split(position: Affine, divisor: Dim, ranges: Ranges) -> tuple[Affine, Affine] | None:
    """(q, r) with position = q·divisor + r and 0 ≤ r < divisor, both affine; None where that cannot be told.

    >>> split(Affine((("i", 3), ("j", 1)), 6), 3, {"i": 5, "j": 3})
    (Affine(terms=(('i', 1),), constant=2), Affine(terms=(('j', 1),), constant=0))
    """
    whole: list[tuple[str, Dim]] = []
    rest: list[tuple[str, Dim]] = []
    for name, coefficient in position.terms:
        if dims.remainder(coefficient, divisor) == 0:
            whole.append((name, dims.floordiv(coefficient, divisor)))
        else:
            rest.append((name, coefficient))
    quotient, remainder = _split_constant(position.constant, divisor)
    below = Affine(tuple(rest), remainder)
    highest, lowest = upper(below, ranges), lower(below, ranges)
    if (
        highest is None
        or lowest is None
        or not dims.at_least(lowest, 0)
        or not dims.at_least(divisor - 1, highest)
    ):
        return None
    return Affine(tuple(whole), quotient), below


def _split_constant(value: Dim, divisor: Dim) -> tuple[Dim, Dim]:
    if isinstance(value, int) and isinstance(divisor, int):
        return value // divisor, value % divisor
    if dims.remainder(value, divisor) == 0:
        return dims.floordiv(value, divisor), 0
    return 0, value


def upper(a: Affine, ranges: Ranges) -> Dim | None:
    """The greatest value that ``a`` takes, None if it is not known."""
    return _extreme(a, ranges, highest=True)


def lower(a: Affine, ranges: Ranges) -> Dim | None:
    """The least value that ``a`` takes, None if it is not known."""
    return _extreme(a, ranges, highest=False)


def _extreme(a: Affine, ranges: Ranges, highest: bool) -> Dim | None:
    total = a.constant
    for name, coefficient in a.terms:
        extent = ranges.get(name)
        if extent is None:
            return None
        if dims.at_least(coefficient, 0):
            total = total + coefficient * (extent - 1) if highest else total
        elif dims.at_least(-coefficient, 0):
            total = total if highest else total + coefficient * (extent - 1)
        else:
            return None
    return total
