"""The part of ``scipy.linalg`` that works on traced values."""

from __future__ import annotations

from typing import Any

from chainrule.dispatch import is_traced, with_at
from chainrule.graph.functions import FUNCTIONS as _FUNCTIONS


def cholesky(a: Any, lower: bool = False) -> Any:
    """The Cholesky factor of ``a``: upper triangular, as in SciPy, unless ``lower``."""
    if is_traced(a):
        return _FUNCTIONS["linalg.cholesky"](a, upper=not lower)
    import scipy.linalg

    return with_at(scipy.linalg.cholesky(a, lower=lower))


def cho_factor(a: Any, lower: bool = False) -> tuple[Any, bool]:
    """``(factor, lower)`` for ``cho_solve``."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Any:
    """a⁻¹·b from the Cholesky factor of a."""
    if is_traced((c_and_lower[0], b)):
        return _FUNCTIONS["cho_solve"](c_and_lower, b)
    import scipy.linalg

    return with_at(scipy.linalg.cho_solve(c_and_lower, b))


def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """a⁻¹·b for a triangular matrix a; ``trans`` is 0 or "N", 1 or "T", 2 or "C"."""
    if is_traced((a, b)):
        return _FUNCTIONS["solve_triangular"](a, b, trans, lower, unit_diagonal)
    import scipy.linalg

    return with_at(scipy.linalg.solve_triangular(a, b, trans, lower, unit_diagonal))


def solve(a: Any, b: Any) -> Any:
    """a⁻¹·b."""
    if is_traced((a, b)):
        return _FUNCTIONS["linalg.solve"](a, b)
    import scipy.linalg

    return with_at(scipy.linalg.solve(a, b))


def inv(a: Any) -> Any:
    """The inverse of a square matrix."""
    if is_traced(a):
        return _FUNCTIONS["linalg.inv"](a)
    import scipy.linalg

    return with_at(scipy.linalg.inv(a))


def det(a: Any) -> Any:
    """The determinant of a square matrix."""
    if is_traced(a):
        return _FUNCTIONS["linalg.det"](a)
    import scipy.linalg

    return with_at(scipy.linalg.det(a))
