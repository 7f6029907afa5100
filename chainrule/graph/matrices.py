"""Linear algebra: norms, Cholesky factors, solutions, determinants, inverses and eigenvalues of Hermitian
matrices.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import dim as dims
from . import express
from .array import Array, as_array, as_node, call, elementwise, implements, wrap
from .dtype import inexact_of, promote
from .node import Node, make, results
from .op import Linalg
from .reductions import abs_squared
from .shapes import axes_of, axis_of
from .where import error

NEEDS_SQUARE = "a stack of square matrices is needed, not an array of shape "


class EighResult(NamedTuple):
    eigenvalues: Array
    eigenvectors: Array


class SlogdetResult(NamedTuple):
    sign: Array
    logabsdet: Array


def _square(a: Any) -> Node:
    node = as_node(a)
    if len(node.shape) < 2 or node.shape[-1] != node.shape[-2]:
        raise error(ValueError, NEEDS_SQUARE + dims.show(node.shape))
    return express.cast(node, inexact_of(node.dtype))


@implements("linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """The lower triangular L with ``L @ L.conj().T == a`` (``upper``: its adjoint); reads the lower
    triangle of a.
    """
    factor = wrap(make(Linalg("cholesky"), (_square(a),)))
    return call("matrix_transpose", factor).conj() if upper else factor


def _system(a: Any, b: Any, op: Linalg) -> Array:
    """a⁻¹·b for matrices b, or vectors (NumPy 2: only a one-dimensional b is one)."""
    matrix, right = _square(a), as_node(b)
    dtype = promote(matrix.dtype, right.dtype)
    matrix, right = express.cast(matrix, dtype), express.cast(right, inexact_of(dtype))
    vector = len(right.shape) == 1
    if not right.shape or right.shape[-1 if vector else -2] != matrix.shape[-1]:
        raise error(ValueError, f"solve: {dims.show(matrix.shape)} and {dims.show(right.shape)} do not match")
    if vector:
        right = express.reshape(right, (*right.shape, 1))
    batch = dims.broadcast(matrix.shape[:-2], right.shape[:-2])
    matrix = express.broadcast_to(matrix, (*batch, *matrix.shape[-2:]))
    right = express.broadcast_to(right, (*batch, *right.shape[-2:]))
    found = make(op, (matrix, right))
    return wrap(express.reshape(found, found.shape[:-1]) if vector else found)


@implements("linalg.solve")
def solve(a: Any, b: Any) -> Array:
    """As ``np.linalg.solve``."""
    return _system(a, b, Linalg("solve"))


@implements("solve_triangular")
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Array:
    """As ``scipy.linalg.solve_triangular``; ``trans`` is 0 or "N", 1 or "T", 2 or "C"."""
    if unit_diagonal:
        raise error(TypeError, "solve_triangular with unit_diagonal=True is not supported in traced programs")
    kind = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}[trans]
    if kind == 2:
        a = as_array(a).conj()
    return _system(a, b, Linalg("solve_triangular", lower=lower, transposed=kind > 0))


@implements("cho_solve")
def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Array:
    """As ``scipy.linalg.cho_solve``."""
    factor, lower = c_and_lower
    first = solve_triangular(factor, b, 0 if lower else 2, lower)
    return solve_triangular(factor, first, 2 if lower else 0, lower)


@implements("linalg.inv")
def inv(a: Any) -> Array:
    """As ``np.linalg.inv``."""
    return wrap(make(Linalg("inv"), (_square(a),)))


@implements("linalg.det")
def det(a: Any) -> Array:
    """As ``np.linalg.det``."""
    return wrap(make(Linalg("det"), (_square(a),)))


@implements("linalg.slogdet")
def slogdet(a: Any) -> SlogdetResult:
    """As ``np.linalg.slogdet``."""
    sign, logabsdet = results(make(Linalg("slogdet"), (_square(a),)))
    return SlogdetResult(wrap(sign), wrap(logabsdet).real)


@implements("linalg.eigh")
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """As ``np.linalg.eigh``."""
    values, vectors = results(make(Linalg("eigh", lower=UPLO.upper() == "L"), (_square(a),)))
    return EighResult(wrap(values), wrap(vectors))


@implements("linalg.eigvalsh")
def eigvalsh(a: Any, UPLO: str = "L") -> Array:
    """As ``np.linalg.eigvalsh``."""
    return eigh(a, UPLO).eigenvalues


@implements("linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """As ``np.linalg.norm``: vector norms of any order, matrix norms ``"fro"``, ±1 and ±inf."""
    array = as_array(x)
    array = array.astype(inexact_of(array.dtype))
    if axis is None and ord is not None and array.ndim == 2:
        axis = (0, 1)
    if isinstance(axis, (tuple, list)) and len(axis) == 2 and ord is not None:
        return _matrix_norm(array, ord, axis, keepdims)
    if axis is None and ord is not None and array.ndim != 1:
        raise error(ValueError, "Improper number of dimensions to norm.")
    return _vector_norm(array, 2 if ord is None else ord, axis, keepdims)


@implements("linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Array:
    array = as_array(x)
    return _vector_norm(array.astype(inexact_of(array.dtype)), ord, axis, keepdims)


@implements("linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    array = as_array(x)
    return _matrix_norm(array.astype(inexact_of(array.dtype)), ord, (-2, -1), keepdims)


def _vector_norm(x: Array, ord: Any, axis: Any, keepdims: bool) -> Array:
    axes = axes_of(axis, x.ndim)

    def total(values: Array) -> Array:
        return values.sum(axis=axes, keepdims=keepdims)

    if ord == 2:
        return elementwise("sqrt", total(abs_squared(x)))
    if ord == 1:
        return total(abs(x))
    if ord == math.inf:
        return abs(x).max(axis=axes, keepdims=keepdims)
    if ord == -math.inf:
        return abs(x).min(axis=axes, keepdims=keepdims)
    if ord == 0:
        return total((x != 0).astype(x.real.dtype))
    if isinstance(ord, str):
        raise error(ValueError, f"Invalid norm order {ord!r} for vectors")
    return call("power", total(call("power", abs(x), ord)), 1.0 / ord)


def _matrix_norm(x: Array, ord: Any, axis: Any, keepdims: bool) -> Array:
    if ord in ("fro", "f"):
        return _vector_norm(x, 2, axis, keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise error(TypeError, f"the matrix norm of order {ord!r} is not supported; 'fro', 1, -1, inf and -inf are")
    rows, columns = (axis_of(a, x.ndim) for a in axis)
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = abs(x).sum(axis=summed, keepdims=True)
    found = sums.max(axis=kept, keepdims=True) if ord > 0 else sums.min(axis=kept, keepdims=True)
    return found if keepdims else call("squeeze", found, (rows, columns))
