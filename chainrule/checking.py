"""``check_grads``: derivatives against numerical differences, in both modes, at any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import api
from .graph import tree

_STEP = 1e-3  # of the variable's scale; the extrapolated difference has an error of about step⁴


def check_grads(
    fun: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compares the derivatives of ``fun`` at ``args`` up to ``order`` with numerical ones along random directions.

    ``modes`` are "fwd" (jvp) and "rev" (vjp). Tolerances default to 1e-6; ``eps`` is the step of the central
    differences, which are extrapolated once (Richardson). Raises AssertionError with the mode, the order and both numbers.
    Functions whose derivative jumps near the point do not pass.

    >>> check_grads(lambda x: np.sum(np.sin(x)**2), (np.array([0.1, 0.2]),), order=2)
    """
    if order < 1:
        raise ValueError(f"order is at least 1, not {order}")
    unknown = set(modes) - {"fwd", "rev"}
    if unknown:
        raise ValueError(f"modes are 'fwd' and 'rev', not {sorted(unknown)}")
    leaves, spec = tree.flatten(tuple(args))
    point = [
        np.asarray(leaf, dtype=float if np.asarray(leaf).dtype.kind in "iub" else None) for leaf in leaves
    ]
    tolerance = (1e-6 if atol is None else atol, 1e-6 if rtol is None else rtol)

    def flat(*values: Any) -> Any:
        return fun(*tree.unflatten(spec, values))

    flat.__wrapped__ = fun  # type: ignore[attr-defined]
    _check(
        flat,
        point,
        order,
        modes,
        tolerance,
        eps,
        np.random.default_rng(0),
        getattr(fun, "__name__", "function"),
    )


def _check(
    fun: Callable[..., Any],
    point: list[Any],
    order: int,
    modes: Sequence[str],
    tolerance: tuple[float, float],
    eps: float | None,
    rng: np.random.Generator,
    name: str,
) -> None:
    direction = [
        rng.standard_normal(p.shape) + (1j * rng.standard_normal(p.shape) if p.dtype.kind == "c" else 0)
        for p in point
    ]
    compiled = api.jit(fun)
    expected = _difference(compiled, point, direction, eps)
    if "fwd" in modes:
        _, tangent = api.jvp(fun, tuple(point), tuple(direction))
        _compare(tree.leaves(tangent), expected, tolerance, f"{name}: forward mode")
    if "rev" in modes:
        value, pull_back = api.vjp(fun, *point)
        weights = [rng.standard_normal(np.shape(v)) for v in tree.leaves(value)]
        back = pull_back(tree.unflatten(tree.structure(value), weights))
        left = sum(np.sum(w * e) for w, e in zip(weights, expected, strict=True))
        right = sum(np.sum(b * d) for b, d in zip(back, direction, strict=True))
        _compare([right], [left], tolerance, f"{name}: reverse mode")
    if order > 1:

        def along(*values: Any) -> Any:
            return api.jvp(fun, values, tuple(direction))[1]

        def back_along(*values: Any) -> Any:
            _, pull = api.vjp(fun, *values)
            ones = tree.map(lambda v: np.ones(np.shape(v)), value_like)
            return pull(ones)

        value_like = compiled(*point)
        if "fwd" in modes:
            _check(along, point, order - 1, modes, tolerance, eps, rng, f"forward derivative of {name}")
        if "rev" in modes:
            _check(back_along, point, order - 1, modes, tolerance, eps, rng, f"reverse derivative of {name}")


def _difference(
    fun: Callable[..., Any], point: list[Any], direction: list[Any], eps: float | None
) -> list[Any]:
    """d fun(point + t·direction)/dt at 0: central differences with steps h and h/2, extrapolated."""
    scale = max(1.0, max((float(np.max(np.abs(p), initial=0.0)) for p in point), default=1.0))
    step = _STEP * scale if eps is None else eps

    def central(h: float) -> list[Any]:
        ahead = tree.leaves(fun(*[p + h * d for p, d in zip(point, direction, strict=True)]))
        behind = tree.leaves(fun(*[p - h * d for p, d in zip(point, direction, strict=True)]))
        return [(np.asarray(a) - np.asarray(b)) / (2 * h) for a, b in zip(ahead, behind, strict=True)]

    coarse, fine = central(step), central(step / 2)
    return [(4 * f - c) / 3 for f, c in zip(fine, coarse, strict=True)]


def _compare(
    found: Sequence[Any], expected: Sequence[Any], tolerance: tuple[float, float], what: str
) -> None:
    atol, rtol = tolerance
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        bad = ~np.isclose(a, b, atol=atol, rtol=rtol)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            at = f"result {position}" + (f", element {list(where)}" if where else "")
            raise AssertionError(
                f"{what} differs from numerical differences at {at}: {a[where]!r} against {b[where]!r}"
            )
