"""Dense linear algebra for the reference interpreter: stacks of matrices on NumPy, SciPy or mpmath.

A matrix that has no answer (singular, not positive definite) gives NaN, as in a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Array = Any
One = Callable[..., tuple[Array, ...]]  # on one matrix, and for solvers one matrix of right-hand sides


def numpy_linalg(kind: str, lower: bool, transposed: bool, args: Sequence[Array]) -> tuple[Array, ...]:
    """The results of the linear algebra operation ``kind`` on stacks of float or complex matrices."""
    return _stacked(_numpy_one, kind, lower, transposed, args)


def mpmath_linalg(kind: str, lower: bool, transposed: bool, args: Sequence[Array]) -> tuple[Array, ...]:
    """The same on object arrays of ``mpf`` or ``mpc``, at mpmath's working precision."""
    return _stacked(_mpmath_one, kind, lower, transposed, args)


def _stacked(one: One, kind: str, lower: bool, transposed: bool, args: Sequence[Array]) -> tuple[Array, ...]:
    matrices = np.asarray(args[0])
    rhs = args[1] if len(args) > 1 else None
    vector = rhs is not None and rhs.ndim == matrices.ndim - 1
    if rhs is not None and vector:
        rhs = rhs[..., None]
    batch = matrices.shape[:-2]
    shapes = _shapes(kind, matrices, rhs)
    results = tuple(np.empty(batch + s, matrices.dtype) for s in shapes)
    for i in np.ndindex(*batch):
        extra = () if rhs is None else (rhs[i],)
        try:
            values = one(kind, lower, transposed, matrices[i], *extra)
        except (np.linalg.LinAlgError, ZeroDivisionError, ValueError):
            values = tuple(np.full(s, np.nan) for s in shapes)
        for result, value in zip(results, values, strict=True):
            result[i] = value
    return (results[0][..., 0],) if vector else results


def _shapes(kind: str, matrices: Array, rhs: Array | None) -> list[tuple[int, ...]]:
    n = matrices.shape[-1]
    match kind:
        case "cholesky" | "inv":
            return [(n, n)]
        case "solve" | "solve_triangular":
            assert rhs is not None
            return [rhs.shape[-2:]]
        case "det":
            return [()]
        case "slogdet":
            return [(), ()]
        case _:
            return [(n,), (n, n)]


def _numpy_one(kind: str, lower: bool, transposed: bool, a: Array, *rhs: Array) -> tuple[Array, ...]:
    match kind:
        case "cholesky":
            return (np.linalg.cholesky(a, upper=not lower),)
        case "solve":
            return (np.linalg.solve(a.T if transposed else a, rhs[0]),)
        case "solve_triangular":
            from scipy.linalg import solve_triangular

            return (solve_triangular(a, rhs[0], trans=int(transposed), lower=lower, check_finite=False),)
        case "inv":
            return (np.linalg.inv(a),)
        case "det":
            return (np.linalg.det(a),)
        case "slogdet":
            return tuple(np.linalg.slogdet(a))
        case _:
            return tuple(np.linalg.eigh(a, "L" if lower else "U"))


def _mpmath_one(kind: str, lower: bool, transposed: bool, a: Array, *rhs: Array) -> tuple[Array, ...]:
    import mpmath as mp

    def matrix(x: Array) -> Any:
        return mp.matrix(x.tolist())

    def array(m: Any) -> Array:
        return np.array(m.tolist(), object).reshape(m.rows, m.cols)

    match kind:
        case "cholesky":
            factor = array(mp.cholesky(matrix(a if lower else _adjoint(a))))
            return (factor if lower else _adjoint(factor),)
        case "solve":
            system = matrix(a.T if transposed else a)
            return (np.column_stack([array(mp.lu_solve(system, matrix(b[:, None]))) for b in rhs[0].T]),)
        case "solve_triangular":
            triangle = np.tril(a) if lower else np.triu(a)
            return (_substitute(triangle.T if transposed else triangle, rhs[0], lower != transposed),)
        case "inv":
            return (array(mp.inverse(matrix(a))),)
        case "det":
            return (mp.det(matrix(a)),)
        case "slogdet":
            det = mp.det(matrix(a))
            return (mp.sign(det), mp.log(abs(det)) if det else -mp.inf)
        case _:
            values, vectors = mp.eighe(matrix(_hermitian(a, lower)))
            return array(values)[:, 0], array(vectors)


def _adjoint(a: Array) -> Array:
    return np.conjugate(a.T)


def _hermitian(a: Array, lower: bool) -> Array:
    """The Hermitian matrix of which one triangle is given."""
    half = np.tril(a, -1) if lower else np.triu(a, 1)
    return half + _adjoint(half) + np.diag(np.diag(a))


def _substitute(a: Array, b: Array, forward: bool) -> Array:
    """Solution of the triangular system a·x = b, forwards from the first row or backwards from the last."""
    x = np.zeros_like(b)
    n = len(b)
    for i in _order(n, forward):
        x[i] = (b[i] - a[i] @ x) / a[i, i]
    return x


def _order(n: int, forward: bool) -> Iterator[int]:
    return iter(range(n)) if forward else reversed(range(n))
