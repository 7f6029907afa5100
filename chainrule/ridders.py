"""Numerical Jacobians with an estimate of their error: central differences, extrapolated to step 0.

Source: C. J. F. Ridders, Accurate computation of F'(x) and F'(x)F''(x), Advances in Engineering Software 4 (1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

Run = Callable[..., Sequence[Any]]  # arrays → arrays

RATIO: Final = 1.4
"""By which the steps shrink."""

STEPS: Final = 12
EPSILON: Final = float(np.finfo(float).eps)

FIRST: Final = 0.05
"""The first step, relative to the argument."""


def jacobian(
    run: Run, args: Sequence[Any], wanted: Sequence[int], noise: Callable[[], float] = lambda: 0.0
) -> tuple[list[list[Any]], float]:
    """(Jacobians, error): ``table[result][wanted argument]`` of shape result.shape + argument.shape.

    The error is the largest of the estimated absolute errors of all elements. ``noise`` says how wrong the values of
    ``run`` were so far, which adds to it, as their rounding does. Where ``run`` raises an ArithmeticError
    or ValueError, or gives NaN, the step was too long; an element for which all were is NaN, with an infinite error.

    >>> table, error = jacobian(lambda x: [np.sin(x)], [np.array(1.0)], [0])
    >>> bool(abs(table[0][0] - np.cos(1.0)) <= error < 1e-10)
    True
    """
    centre = [np.asarray(v, float) for v in run(*args)]
    table: list[list[Any]] = [[] for _ in centre]
    rounding = EPSILON * max([float(abs(c).max(initial=0.0)) for c in centre if np.isfinite(c).all()], default=0.0)
    worst = 0.0
    for place in wanted:
        columns: list[list[Any]] = [[] for _ in centre]
        argument = np.asarray(args[place])
        for index in np.ndindex(argument.shape):
            slopes, error = _slope(run, args, place, index, [c.shape for c in centre])
            step = _first_step(argument[index]) / RATIO ** (STEPS - 2)
            worst = max(worst, error + (rounding + noise()) / step)
            for column, slope in zip(columns, slopes, strict=True):
                column.append(slope)
        for row, column, value in zip(table, columns, centre, strict=True):
            whole = np.stack(column, -1) if column else np.zeros((*value.shape, 0))
            row.append(whole.reshape(value.shape + argument.shape))
    return table, worst


def _first_step(x: Any) -> float:
    return FIRST * abs(float(x)) if x else FIRST


def _slope(
    run: Run, args: Sequence[Any], place: int, index: tuple[int, ...], shapes: Sequence[tuple[int, ...]]
) -> tuple[list[Any], float]:
    """The derivative of all results by one element of an argument, by Neville's scheme in h²."""
    x = float(np.asarray(args[place])[index])
    step = _first_step(x)
    best: Any = None
    before: list[Any] = []
    for k in range(STEPS):
        row = [_difference(run, args, place, index, step / RATIO**k, shapes)]
        for j in range(1, k + 1):
            factor = RATIO ** (2 * j)
            row.append((row[j - 1] * factor - before[j - 1]) / (factor - 1))
            error = np.maximum(abs(row[j] - row[j - 1]), abs(row[j] - before[j - 1]))
            error = np.where(np.isfinite(error), error, np.inf)
            if best is None:
                best, least = np.where(np.isfinite(error), row[j], np.nan), error
            else:
                better = error < least
                best, least = np.where(better, row[j], best), np.where(better, error, least)
        before = row
    split = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]
    parts = [part.reshape(shape) for part, shape in zip(np.split(best, split), shapes, strict=True)]
    return parts, float(least.max(initial=0.0))


def _difference(
    run: Run, args: Sequence[Any], place: int, index: tuple[int, ...], h: float, shapes: Sequence[tuple[int, ...]]
) -> Any:
    """A central difference of all results, one after the other in one vector."""
    values = []
    places = []
    for sign in (1.0, -1.0):
        moved = [np.array(a, copy=True) for a in args]
        moved[place][index] += sign * h
        places.append(float(moved[place][index]))
        try:
            found = [np.asarray(v, float).reshape(-1) for v in run(*moved)]
            values.append(np.concatenate(found) if found else np.zeros(0))
        except (ArithmeticError, ValueError):
            values.append(np.full(sum(int(np.prod(s)) for s in shapes), np.nan))
    return (values[0] - values[1]) / (places[0] - places[1])
