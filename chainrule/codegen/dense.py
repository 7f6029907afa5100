"""Dense linear algebra as loops: each ``Linalg`` op replaced by a program for one matrix, mapped over stacks.

The programs are written with NumPy and traced, so that they are compiled like any other. A matrix that has no answer
(singular, not positive definite) gives NaN, as in the reference interpreter. Determinants of singular matrices are 0.

Source: G. H. Golub & C. F. Van Loan, Matrix Computations (2013), ch. 3 and 4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.array import Array, wrap
from chainrule.graph.collector import paused
from chainrule.graph.control import fori_loop
from chainrule.graph.dtype import INT64
from chainrule.graph.express import reshape
from chainrule.graph.node import Graph, Node, constant, make, rebuild, results
from chainrule.graph.op import Call, Cond, Input, Iota, Linalg, Loop, Project, SizeOf, Type
from chainrule.graph.scope import outside
from chainrule.graph.trace import trace_flat

from .lapack import by_lapack, is_for_lapack

__all__ = ["without_linalg"]


def without_linalg(graph: Graph) -> Graph:
    """``graph`` with its linear algebra as loops, or as calls of LAPACK where matrices are large."""
    return _expanded(graph, {})


def _expanded(graph: Graph, known: dict[Graph, Graph]) -> Graph:
    """Recursion over nesting only."""
    found = known.get(graph)
    if found is not None:
        return found
    if not any(type(n.op) in (Linalg, Loop, Cond, Call) for n in graph.nodes):
        return graph
    inside: dict[Node, tuple[Node, ...]] = {}

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Linalg():
                every = _on_stacks(op, args)
                if isinstance(node.type, Type):
                    return every[0]
                stand_in = make(op, args)
                inside[stand_in] = every
                return stand_in
            case Project(index) if args[0] in inside:
                return inside[args[0]][index]
            case Loop():
                predicate = op.predicate and _expanded(op.predicate, known)
                return make(replace(op, body=_expanded(op.body, known), predicate=predicate), args)
            case Cond(branches):
                return make(Cond(tuple(_expanded(b, known) for b in branches)), args)
            case Call(body):
                return make(replace(op, body=_expanded(body, known)), args)
            case _:
                return node if args == node.args else make(op, args)

    outputs, moved = rebuild(graph.outputs, {}, visit)
    provenance = {moved[n]: w for n, w in graph.provenance.items() if n in moved}
    found = known[graph] = graph.replace(outputs, provenance)
    return found


def _on_stacks(op: Linalg, args: tuple[Node, ...]) -> tuple[Node, ...]:
    """The results of an op, from those of single matrices."""
    batch = args[0].shape[:-2]
    kinds = tuple(Type(a.shape[len(batch) :], a.dtype) for a in args)
    if is_for_lapack(op, args[0]):
        return by_lapack(op, args)
    single = _program(op, kinds)
    if not batch:
        return single.apply(args)
    count = dims.product(batch)
    flat = [reshape(a, (count, *k.shape)) for a, k in zip(args, kinds, strict=True)]
    inputs = [make(Input(0, 1 + i, k)) for i, k in enumerate(kinds)]
    body = Graph([Type((), INT64), *kinds], single.apply(inputs))
    trips = constant(count, INT64) if isinstance(count, int) else make(SizeOf(count))
    mapped = results(make(Loop("map", body, None, 0, len(flat), count), (trips, *flat)))
    return tuple(reshape(r, (*batch, *r.shape[1:])) for r in mapped)


@functools.lru_cache(maxsize=256)
def _program(op: Linalg, kinds: tuple[Type, ...]) -> Graph:
    """The program for one matrix."""

    def run(*args: Array) -> Any:
        return _PROGRAMS[op.kind](op, *args)

    with outside(), paused():
        graph = trace_flat(run, kinds).graph
    return _expanded(graph, {})


# --- programs of one matrix ---------------------------------------------------------------------------------


def _numbers(a: Any) -> Any:
    """0, 1, … as many as a has rows."""
    return wrap(make(Iota(a.shape[0])))


def _eliminated(a: Array, b: Array) -> tuple[Any, Any]:
    """(upper triangle beside the right-hand sides, sign of the permutation): elimination with row pivoting."""
    rows = _numbers(a)

    def step(k: Any, carry: Any) -> Any:
        m, sign = carry
        pivot = np.argmax(np.where(rows >= k, np.abs(m[:, k]), -1.0))
        top, own = m[pivot], m[k]
        row = rows[:, None]
        m = np.where(row == k, top, np.where(row == pivot, own, m))
        factor = np.where((rows > k) & (top[k] != 0), m[:, k] / top[k], 0)
        return m - factor[:, None] * top, np.where(pivot == k, sign, -sign)

    return fori_loop(0, a.shape[0], step, (np.concatenate([a, b], axis=1), np.ones_like(a[0, 0])))  # type: ignore[no-any-return]


def _solve(op: Linalg, a: Array, b: Array) -> Any:
    n = a.shape[0]
    right = b if len(b.shape) == 2 else b[:, None]
    m, _ = _eliminated(a.T if op.transposed else a, right)
    x = _substituted(m[:, :n], m[:, n:], ahead=False)
    x = np.where(np.all(np.diagonal(m[:, :n]) != 0), x, np.nan)
    return x if len(b.shape) == 2 else x[:, 0]


def _inverse(op: Linalg, a: Array) -> Any:
    rows = _numbers(a)
    unit: Any = np.where(rows[:, None] == rows, np.ones_like(a), 0)
    return _solve(op, a, unit)


def _determinant(op: Linalg, a: Array) -> Any:
    m, sign = _eliminated(a, a[:, :0])
    return sign * np.prod(np.diagonal(m))


def _sign_and_log(op: Linalg, a: Array) -> Any:
    m, sign = _eliminated(a, a[:, :0])
    diagonal = np.diagonal(m)
    size = np.abs(diagonal)
    unit = np.where(size == 0, 0, diagonal / np.where(size == 0, 1, size))
    return sign * np.prod(unit), np.zeros_like(a[0, 0]) + np.sum(np.log(size))


def _cholesky(op: Linalg, a: Array) -> Any:
    """Column after column, from the lower triangle."""
    rows = _numbers(a)
    source = a if op.lower else np.conj(a.T)

    def step(j: Any, factor: Any) -> Any:
        column = source[:, j] - factor @ np.conj(factor[j])
        root = np.sqrt(np.real(column[j]))
        return factor.at[:, j].set(np.where(rows > j, column / root, np.where(rows == j, root, 0)))

    factor = fori_loop(0, a.shape[0], step, np.zeros_like(a))
    factor = np.where(np.all(np.real(np.diagonal(factor)) > 0), factor, np.nan)
    return factor if op.lower else np.conj(factor.T)


def _triangular(op: Linalg, a: Array, b: Array) -> Any:
    right = b if len(b.shape) == 2 else b[:, None]
    x = _substituted(a.T if op.transposed else a, right, ahead=op.lower != op.transposed)
    x = np.where(np.all(np.diagonal(a) != 0), x, np.nan)
    return x if len(b.shape) == 2 else x[:, 0]


def _substituted(a: Any, b: Any, *, ahead: bool) -> Any:
    """The solution of a triangular system, row after row: of a, only that triangle is read."""
    n = a.shape[0]
    columns = _numbers(a)

    def step(i: Any, x: Any) -> Any:
        j = i if ahead else n - 1 - i
        row = np.where(columns < j if ahead else columns > j, a[j], 0)
        return x.at[j].set((b[j] - row @ x) / a[j, j])

    return fori_loop(0, n, step, np.zeros_like(b))


_PROGRAMS: Final[dict[str, Callable[..., Any]]] = {
    "solve": _solve, "inv": _inverse, "det": _determinant, "slogdet": _sign_and_log, "cholesky": _cholesky,
    "solve_triangular": _triangular,
}  # fmt: skip
