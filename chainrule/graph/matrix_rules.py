"""Tangents of dense linear algebra, as formulas of the tangents of the matrices.

Source: M. B. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation
(2008); for complex matrices, transposes there become adjoints here where the function has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, assert_never

from .dtype import is_complex
from .express import NODES, broadcast, cast, reduce, reshape, slice_, transpose
from .node import Node, constant, make, results
from .op import Concatenate, Contract, Iota, Linalg

COFACTORS: Final = 3
"""Determinants of matrices up to this size are differentiated by cofactors, which singular matrices have, too."""


def tangents(op: Linalg, args: Sequence[Node], moving: Sequence[Node | None]) -> list[Node | None]:
    """The tangent of each result for tangents of the arguments (None: zero)."""
    a, da = args[0], moving[0]
    assert da is not None
    match op.kind:
        case "solve" | "solve_triangular":
            return [_solution(op, args, da, moving[1])]
        case "inv":  # dC = −C·dA·C
            inverse = make(op, (a,))
            return [-matmul(matmul(inverse, da), inverse)]
        case "det":  # d det A = det A·tr(A⁻¹·dA), which is Σ cofactorᵢⱼ·dAᵢⱼ
            n = a.shape[-1]
            if isinstance(n, int) and n <= COFACTORS:
                return [_total(_cofactors(a, n) * da, 2)]
            return [make(op, (a,)) * _trace_of_product(make(Linalg("inv"), (a,)), da)]
        case "slogdet":  # log det, the sign of complex determinants turns
            trace = _trace_of_product(make(Linalg("inv"), (a,)), da)
            if not is_complex(a.dtype):
                return [None, trace]
            sign = results(make(op, (a,)))[0]
            return [sign * NODES.complex(constant(0.0), NODES.imag(trace)), cast(NODES.real(trace), a.dtype)]
        case "cholesky":
            return [_factor(op, a, da)]
        case "eigh":
            return list(_eigen(op, a, da))
        case _:
            assert_never(op.kind)


def _solution(op: Linalg, args: Sequence[Node], da: Node, db: Node | None) -> Node:
    """dX = A⁻¹·(dB − dA·X); of a triangular matrix only the triangle counts."""
    a, b = args
    if op.kind == "solve_triangular":
        da = triangle(da, "lower" if op.lower else "upper")
    change = matmul(adjoint(da, conjugate=False) if op.transposed else da, make(op, (a, b)))
    return make(op, (a, -change if db is None else db - change))


def _factor(op: Linalg, a: Node, da: Node) -> Node:
    """dL = L·Φ(L⁻¹·dA·L⁻ᴴ), Φ taking the lower triangle and half of the diagonal; dA by its lower triangle."""
    factor = make(op, (a,)) if op.lower else adjoint(make(op, (a,)))
    change = hermitian(da, lower=op.lower)
    solve = Linalg("solve_triangular", lower=True)
    left = make(solve, (factor, change))  # L⁻¹·dA
    both = adjoint(make(solve, (factor, adjoint(left))))  # L⁻¹·dA·L⁻ᴴ
    found = matmul(factor, triangle(both, "lower", diagonal=0.5))
    return found if op.lower else adjoint(found)


def _eigen(op: Linalg, a: Node, da: Node) -> tuple[Node, Node]:
    """dλ = diag(Vᴴ·dA·V), dV = V·(F ∘ (Vᴴ·dA·V)) with Fᵢⱼ = 1/(λⱼ − λᵢ), and 0 on the diagonal.

    Vectors of eigenvalues that are equal have no derivative: NaN or infinite.
    """
    values, vectors = results(make(op, (a,)))
    rotated = matmul(matmul(adjoint(vectors), hermitian(da, lower=op.lower)), vectors)
    batch, n = a.shape[:-2], a.shape[-1]
    on_diagonal = _compared("eq", rotated)
    diagonal = NODES.where(on_diagonal, rotated, 0)
    real = NODES.real(diagonal) if is_complex(a.dtype) else diagonal
    axes = tuple(range(len(batch)))
    row = broadcast(values, (*batch, n, n), (*axes, len(batch)))
    column = broadcast(values, (*batch, n, n), (*axes, len(batch) + 1))
    gap = NODES.where(on_diagonal, constant(1.0, values.dtype), column - row)
    inverse = NODES.where(on_diagonal, constant(0.0, values.dtype), 1 / gap)
    return reduce("sum", real, (len(batch) + 1,)), matmul(vectors, cast(inverse, a.dtype) * rotated)


# --- matrices -------------------------------------------------------------------------------------------------


def matmul(a: Node, b: Node) -> Node:
    """The product of two stacks of matrices of the same batch."""
    batch = tuple(range(len(a.shape) - 2))
    i, k, j = (len(batch) + x for x in range(3))
    return make(Contract((*batch, i, k), (*batch, k, j), (*batch, i, j)), (a, b))


def _trace_of_product(a: Node, b: Node) -> Node:
    batch = tuple(range(len(a.shape) - 2))
    i, k = len(batch), len(batch) + 1
    return make(Contract((*batch, i, k), (*batch, k, i), batch), (a, b))


def adjoint(a: Node, *, conjugate: bool = True) -> Node:
    """Aᴴ, or Aᵀ."""
    rank = len(a.shape)
    turned = transpose(a, (*range(rank - 2), rank - 1, rank - 2))
    return NODES.conj(turned) if conjugate and is_complex(a.dtype) else turned


def triangle(a: Node, which: Literal["lower", "upper"], diagonal: float = 1.0) -> Node:
    """The triangle of a, with its diagonal times a number."""
    kept = NODES.where(_compared("ge" if which == "lower" else "le", a), a, 0)
    if diagonal == 1.0:
        return kept
    return NODES.where(_compared("eq", a), kept * constant(diagonal, a.dtype), kept)


def hermitian(a: Node, *, lower: bool) -> Node:
    """The Hermitian matrix with the given triangle of a, the diagonal of a complex one being real."""
    half = triangle(a, "lower" if lower else "upper", diagonal=0.5)
    return half + adjoint(half)


def _compared(name: str, a: Node) -> Node:
    """Whether row ≥, = or ≤ column, in the shape of a."""
    rank = len(a.shape)
    row = broadcast(make(Iota(a.shape[-2])), a.shape, (rank - 2,))
    column = broadcast(make(Iota(a.shape[-1])), a.shape, (rank - 1,))
    found: Node = getattr(NODES, name)(row, column)
    return found


def _total(a: Node, axes: int) -> Node:
    rank = len(a.shape)
    return reduce("sum", a, tuple(range(rank - axes, rank)))


def _cofactors(a: Node, n: int) -> Node:
    """The matrix of cofactors of matrices of one to three rows."""
    batch = a.shape[:-2]
    if n == 1:
        return broadcast(constant(1, a.dtype), a.shape, ())

    def element(i: int, j: int) -> Node:
        starts = (*(0 for _ in batch), i % n, j % n)
        return reshape(slice_(a, starts, (*batch, 1, 1), (1,) * len(starts)), batch)

    def cofactor(i: int, j: int) -> Node:  # by indices modulo n, which have the sign of 3×3 minors in them
        if n == 2:
            return _signed(element(1 - i, 1 - j), i + j)
        return element(i + 1, j + 1) * element(i + 2, j + 2) - element(i + 1, j + 2) * element(i + 2, j + 1)

    parts = [reshape(cofactor(i, j), (*batch, 1)) for i in range(n) for j in range(n)]
    return reshape(make(Concatenate(len(batch)), tuple(parts)), a.shape)


def _signed(a: Node, power: int) -> Node:
    return -a if power % 2 else a
