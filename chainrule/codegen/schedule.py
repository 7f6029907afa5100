"""In which order, and how, loops run over an iteration space.

A `Nest` has one loop of *lanes*, the axis along which memory is contiguous where there is a choice; axes of a
few elements are unrolled, the others run in order. What is contiguous throughout collapses to one loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim, Shape
from chainrule.graph.op import Contract

from . import ir

__all__ = [
    "DIVERGENT_LANES", "LANES", "PIECE", "Nest", "contraction_lanes", "divergent_width", "nest", "piece", "width",
]  # fmt: skip

LANES = 16
"""Elements a step of a ``lanes`` loop."""
DIVERGENT_LANES = 32
"""The same at most where lanes part at branches and loops: so many at once hide what each step waits for."""

SMALL = 4
"""Axes shorter than this are unrolled."""
SHORT = 16
"""A reduced innermost axis shorter than this runs inside the lanes of an outer one."""
PIECE = 16384
"""Elements of a long loop that one thread takes at a time."""
FEWEST_DIVERGENT = 8
MOST_WORK = 8192
"""Statements times lanes: wide lanes of much code are compiled slowly, and leave the registers."""
MOST_MEMORY = 12288
"""Elements of memory that lanes have together, in the first level of the cache."""
MOST_COPIES = 64
MOST_STATEMENTS = 1500


def width(extent: Dim) -> int:
    """How many lanes a loop has: no more than its elements need."""
    if isinstance(extent, int):
        return min(LANES, 1 << max(extent - 1, 1).bit_length())
    return LANES


def divergent_width(body: Iterable[ir.Stmt]) -> int:
    """How many lanes a loop has in which they part: fewer for long bodies, and where each has much memory."""
    statements, memory = 0, 0
    for stmt in ir.statements(tuple(body)):
        statements += 1
        if isinstance(stmt, ir.Alloc) and isinstance(stmt.count, int):
            memory += stmt.count
    width = DIVERGENT_LANES
    while width > FEWEST_DIVERGENT and (statements * width > MOST_WORK or memory * width > MOST_MEMORY):
        width //= 2
    return width


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops from the outside in, as (axis, kind); ``unrolled`` axes are written out innermost.

    ``flat``: one loop over all elements in C order. Axes of one element are in neither list.
    """

    loops: tuple[tuple[int, str], ...]
    unrolled: tuple[int, ...] = ()
    flat: bool = False


def piece(extent: Dim, inner: Dim = 1, most: int = PIECE) -> Dim | None:
    """How many steps of a loop that may be long make one piece; None if the loop is too short to be cut.

    Each step runs ``inner`` elements. A loop that is not cut gives the bits of a cut one that has a single piece.

    >>> piece(1000), piece(100_000), piece(100_000, 100)
    (None, 16384, 163)
    """
    total = extent * inner
    if isinstance(total, int) and total <= most:
        return None
    return dims.maximum(dims.floordiv(most, dims.maximum(inner, 1)), 1)


def is_small(dim: Dim) -> bool:
    return isinstance(dim, int) and dim < SMALL


def is_short(dim: Dim) -> bool:
    return isinstance(dim, int) and dim < SHORT


def nest(
    space: Shape, reduced: frozenset[int], *, flat: bool, serial: bool, size: int, lanes: int | None = None
) -> Nest:
    """The loops over ``space`` for a body of about ``size`` statements.

    ``reduced``: the axes that come inside the others, because all roots reduce them. ``flat``: everything is
    read in C order. ``serial``: the order matters, or a loop of lanes is around. ``lanes``: the axis that
    they should run along.
    """
    axes = [k for k, n in enumerate(space) if not (isinstance(n, int) and n == 1)]
    if all(isinstance(space[k], int) for k in axes):
        count = int(dims.product(space))
        if count <= SMALL and count * size <= MOST_STATEMENTS:
            return Nest((), tuple(axes))
    if flat and axes:
        return Nest(((0, "serial" if serial else "lanes"),), (), flat=True)
    unrolled = _unrolled(space, axes, size)
    loops = [k for k in axes if k not in unrolled]
    if not loops:
        return Nest((), unrolled)
    if serial:
        return Nest(tuple((k, "serial") for k in _order(loops, reduced)), unrolled)
    if lanes is None or lanes not in loops:
        lanes = _lane_axis(space, loops, reduced)
    order = [k for k in _order(loops, reduced) if k != lanes]
    if lanes in reduced:
        order.append(lanes)
    else:
        order.insert(sum(k not in reduced and (k < lanes or bool(reduced)) for k in order), lanes)
    return Nest(tuple((k, "lanes" if k == lanes else "serial") for k in order), unrolled)


def _order(axes: list[int], reduced: frozenset[int]) -> list[int]:
    return [k for k in axes if k not in reduced] + [k for k in axes if k in reduced]


def _unrolled(space: Shape, axes: list[int], size: int) -> tuple[int, ...]:
    """The small axes, as many as the code may grow."""
    chosen, copies = [], 1
    for k in reversed(axes):
        n = space[k]
        if (
            isinstance(n, int)
            and n < SMALL
            and copies * n <= MOST_COPIES
            and copies * n * size <= MOST_STATEMENTS
        ):
            chosen.append(k)
            copies *= n
    return tuple(reversed(chosen))


def _lane_axis(space: Shape, loops: list[int], reduced: frozenset[int]) -> int:
    """The innermost axis, or if that is a short reduction the innermost one that is kept."""
    last = loops[-1]
    kept = [k for k in loops if k not in reduced and not is_short(space[k])]
    if last in reduced and is_short(space[last]) and kept:
        return kept[-1]
    return last


def contraction_lanes(op: Contract, labels: tuple[int, ...], space: Shape) -> int | None:
    """The axis of a contraction's space along which most of its memory is contiguous or stays in place."""
    best, best_score = None, -100
    for axis, label in enumerate(labels):
        if isinstance(space[axis], int) and (is_small(space[axis]) or space[axis] == 1):
            continue
        score = 0
        for operand in (op.left, op.right):
            score += 1 if label not in operand or operand[-1] == label else -1
        if op.out and op.out[-1] == label:
            score += 1
        if is_short(space[axis]) and label not in op.out:
            score -= 2  # lanes that end in a sum of few elements
        if score > best_score:
            best, best_score = axis, score
    return best
