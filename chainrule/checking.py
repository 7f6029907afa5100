"""``check_grads``: derivatives against numerical differences, in both modes, at any order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import api
from .graph import tree
from .graph.trace import argument_paths, call_user
from .graph.where import error
from .selection import function_name

_STEP = 1e-3  # of the variable's scale: the extrapolated difference has an error of about step⁴
_STEP_SINGLE = 1e-2
_TOLERANCE = 1e-6
_TOLERANCE_SINGLE = 1e-3

Leaves = list[Any]


def check_grads(
    fun: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compares the derivatives of ``fun`` at ``args`` up to ``order`` with numerical ones.

    Arguments and results are pytrees of numbers and arrays; integer arrays are taken as constants. ``modes`` are
    "fwd" (jvp) and "rev" (vjp). The numerical derivative is a central difference with step ``eps`` (default: 1e-3
    of the largest argument), extrapolated once (Richardson), along a random direction. Tolerances default to 1e-6
    (1e-3 where there are float32). Raises AssertionError with the mode, the argument, the element and both numbers.
    Functions whose derivative jumps near the point do not pass.

    >>> check_grads(lambda x: np.sum(np.sin(x)**2), (np.array([0.1, 0.2]),), order=2)
    """
    if order < 1:
        raise error(ValueError, f"order is at least 1, not {order}")
    unknown = set(modes) - {"fwd", "rev"}
    if unknown:
        raise error(ValueError, f"modes are 'fwd' and 'rev', not {sorted(unknown)}")
    if not callable(fun):
        raise error(TypeError, f"check_grads takes a function, not {fun!r:.60}")
    if not isinstance(args, (tuple, list)):
        raise error(TypeError, f"check_grads: args is a tuple with one entry per argument, not {type(args).__name__}")
    leaves, spec = tree.flatten(tuple(args))
    moving = [i for i, leaf in enumerate(leaves) if type(leaf) is int or np.asarray(leaf).dtype.kind in "fc"]
    if not moving:
        raise error(TypeError, "check_grads: there is no float among the arguments")
    point = [np.asarray(leaves[i], float if type(leaves[i]) is int else None) for i in moving]
    names = argument_paths(fun, args, {})

    def flat(*values: Any) -> Any:
        every = list(leaves)
        for place, value in zip(moving, values, strict=True):
            every[place] = value
        return tree.leaves(call_user(fun, *tree.unflatten(spec, every)))

    single = any(p.dtype in (np.float32, np.complex64) for p in point)
    tolerance = _TOLERANCE_SINGLE if single else _TOLERANCE
    scale = max([1.0, *[float(np.max(np.abs(p), initial=0.0)) for p in point]])
    check = _Check(
        _named(flat, fun, len(point)),
        point,
        [names[i] for i in moving],
        function_name(fun),
        tolerance if atol is None else atol,
        tolerance if rtol is None else rtol,
        (_STEP_SINGLE if single else _STEP) * scale if eps is None else eps,
    )
    check.run(order, modes, np.random.default_rng(0))


def _named(function: Callable[..., Any], fun: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``function`` of ``count`` leaves as a face of ``fun``, whose captures and place in the source are the user's."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    function.__wrapped__ = fun  # type: ignore[attr-defined]
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(f"leaf{i}", kind) for i in range(count)]
    )
    return function


@dataclass(slots=True)
class _Check:
    """A function of arrays that gives a list of arrays, at a point, and what counts as equal."""

    fun: Callable[..., Any]
    point: Leaves
    names: list[str]
    title: str
    atol: float
    rtol: float
    step: float
    compiled: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.compiled = api.jit(self.fun)

    def run(self, order: int, modes: Sequence[str], rng: np.random.Generator) -> None:
        """Both modes along a random direction; where they are wrong, which argument is to blame."""
        direction = [_random(p, rng) for p in self.point]
        weights = [_random(np.asarray(v), rng) for v in self.compiled(*self.point)]
        if "fwd" in modes and not self._agrees(self._forward(direction), self._difference(direction)):
            self._blame("forward mode", lambda unit: (self._forward(unit), self._difference(unit)))
        if "rev" in modes:
            back = self._reverse(weights)

            def paired(unit: Leaves) -> tuple[Leaves, Leaves]:
                return [_pairing(back, unit)], [_pairing(weights, self._difference(unit))]

            if not self._agrees(*paired(direction)):
                self._blame("reverse mode", paired)
        if order == 1:
            return

        def along(*values: Any) -> Any:
            return api.jvp(self.fun, values, tuple(direction))[1]

        def back_along(*values: Any) -> Any:
            return list(api.vjp(self.fun, *values)[1](weights))

        for mode, derived, what in (("fwd", along, "forward"), ("rev", back_along, "reverse")):
            if mode in modes:
                title = f"the {what} derivative of {self.title}"
                fun = _named(derived, self.fun, len(self.point))
                _Check(fun, self.point, self.names, title, self.atol, self.rtol, self.step).run(order - 1, modes, rng)

    def _forward(self, direction: Leaves) -> Leaves:
        return list(api.jvp(self.fun, tuple(self.point), tuple(direction))[1])

    def _reverse(self, weights: Leaves) -> Leaves:
        return list(api.vjp(self.fun, *self.point)[1](weights))

    def _difference(self, direction: Leaves) -> Leaves:
        """d fun(point + t·direction)/dt at 0: central differences with steps h and h/2, extrapolated."""

        def moved(t: float) -> Leaves:
            shifted = [(p + t * d).astype(p.dtype) for p, d in zip(self.point, direction, strict=True)]
            return [np.asarray(v) for v in self.compiled(*shifted)]

        def central(h: float) -> Leaves:
            return [(a - b) / (2 * h) for a, b in zip(moved(h), moved(-h), strict=True)]

        coarse, fine = central(self.step), central(self.step / 2)
        return [(4 * f - c) / 3 for f, c in zip(fine, coarse, strict=True)]

    def _agrees(self, found: Leaves, expected: Leaves) -> bool:
        return all(
            np.allclose(a, b, atol=self.atol, rtol=self.rtol, equal_nan=True)
            for a, b in zip(found, expected, strict=True)
        )

    def _blame(self, mode: str, compare: Callable[[Leaves], tuple[Leaves, Leaves]]) -> None:
        """Raises for the first element of the arguments whose derivative differs."""
        for position, (leaf, name) in enumerate(zip(self.point, self.names, strict=True)):
            for place in np.ndindex(leaf.shape):
                for unit in (1, 1j) if leaf.dtype.kind == "c" else (1,):
                    direction = [np.zeros_like(p) for p in self.point]
                    direction[position][place] = unit
                    found, expected = compare(direction)
                    if not self._agrees(found, expected):
                        element = f"{name}{list(place)}" if place else name
                        raise AssertionError(self._report(f"{mode}, by {element}", found, expected))
        raise AssertionError(f"{mode} of {self.title} and numerical differences do not agree along a random direction")

    def _report(self, what: str, found: Leaves, expected: Leaves) -> str:
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            bad = ~np.isclose(a, b, atol=self.atol, rtol=self.rtol, equal_nan=True)
            if np.any(bad):
                place = tuple(int(i) for i in np.argwhere(bad)[0])
                result = f", result {number}" if len(found) > 1 else ""
                element = f", element {list(place)}" if place else ""
                one, two = np.asarray(a)[place], np.asarray(b)[place]
                return f"{what}: the derivative of {self.title}{result}{element} is {one}, but numerically {two}"
        return f"{what}: the derivative of {self.title} differs from the numerical one"


def _random(like: Any, rng: np.random.Generator) -> Any:
    values = rng.standard_normal(like.shape)
    if like.dtype.kind == "c":
        values = values + 1j * rng.standard_normal(like.shape)
    return np.asarray(values).astype(like.dtype if like.dtype.kind in "fc" else float)


def _pairing(a: Leaves, b: Leaves) -> Any:
    """Re Σ a·b, in which gradients of complex arguments are given."""
    return sum(np.sum(np.real(np.asarray(x) * np.asarray(y))) for x, y in zip(a, b, strict=True))
