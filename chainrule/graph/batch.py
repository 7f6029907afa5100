"""vmap: a program for one example → one for many, with the batch as axis 0 of whatever depends on it.

Simple families get an axis. Loops, and branches whose predicate differs between the lanes, go into a ``map`` loop over
the lanes as they are, so that each lane runs its own branch and ends with its own loop. There is one such map, with
everything between them in its body too: what one loop leaves to the next (the trajectory of a loop, to the loop that
runs backwards) is then memory of a lane, not of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, assert_never, final

from . import dim as dims
from .dim import Dim
from .dtype import INT64
from .express import broadcast, transpose
from .node import Graph, Node, constant, make, result_types, results, substitute, topological_until
from .op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Const,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Project,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Stop,
    Transpose,
    Type,
)

LITTLE: Final = 64

Lane = tuple[Node, bool]  # a node, and whether its axis 0 is the batch


def batch(outputs: Sequence[Node], inputs: Sequence[Node], batched: Sequence[Node | None], size: Dim) -> list[Lane]:
    """``outputs`` with each input replaced by its batched node (None: left alone), and which of them are batched."""
    known: dict[Node, list[Lane]] = {}
    for node, many in zip(inputs, batched, strict=True):
        known[node] = [(node, False) if many is None else (many, True)]
    mapped = _Mapped(topological_until(outputs, known), known)
    for node in mapped.before:
        known[node] = _batch_node(node, known, size)
    _map_lanes(mapped.nodes, (*mapped.after, *outputs), known, size)
    for node in mapped.after:
        known[node] = _batch_node(node, known, size)
    return [known[o][0] for o in outputs]


def fully(lane: Lane, size: Dim) -> Node:
    """The batched node, repeated where it does not depend on the batch."""
    node, flag = lane
    if flag:
        return node
    return broadcast(node, (size, *node.shape), tuple(range(1, len(node.shape) + 1)))


@final
class _Mapped:
    """A program cut in three: what runs before the lanes, what runs lane by lane, and what runs after it.

    Lane by lane run loops, branches that lanes choose for themselves, and what is between them; also what makes few
    numbers of the few that they give, so that these need no memory.
    """

    def __init__(self, order: Sequence[Node], known: Mapping[Node, Sequence[Lane]]) -> None:
        batched = {node for node, lanes in known.items() if lanes[0][1]}
        below: set[Node] = set()  # which depend on what runs lane by lane
        seeds: set[Node] = set()
        for node in order:
            if batched.isdisjoint(node.args):
                continue
            batched.add(node)
            if isinstance(node.op, (Loop, Callback, Call)) or (isinstance(node.op, Cond) and node.args[0] in batched):
                seeds.add(node)
            if node in seeds or not below.isdisjoint(node.args):
                below.add(node)
        above = set(seeds)  # on which it depends
        for node in reversed(order):
            if node in above:
                above.update(node.args)
        inside = below & above
        for node in order:
            if node in below and _is_little(node) and all(a in inside or a not in batched for a in node.args):
                inside.add(node)
        self.nodes = [n for n in order if n in inside]
        self.before = [n for n in order if n not in below]
        self.after = [n for n in order if n in below and n not in inside]


def _is_little(node: Node) -> bool:
    """Whether a node picks, or computes with, few numbers one by one."""
    if not isinstance(node.op, (Scalar, Cast, Stop, Project, Transpose, Reshape, Slice, Reverse, Gather, Reduce)):
        return False
    kinds = [t for n in (node, *node.args) for t in result_types(n)]
    sizes = [dims.product(t.shape) for t in kinds]
    return all(isinstance(size, int) and size <= LITTLE for size in sizes)


def _batch_node(node: Node, known: Mapping[Node, Sequence[Lane]], size: Dim) -> list[Lane]:
    if isinstance(node.op, Project):
        return [known[node.args[0]][node.op.index]]
    lanes = [known[a][0] for a in node.args]
    if not any(flag for _, flag in lanes):
        args = tuple(a for a, _ in lanes)
        same = node if args == node.args else make(node.op, args)
        return [(r, False) for r in results(same)]
    if isinstance(node.op, Cond):
        return _batch_branches(node.op, lanes, size)
    return [(r, True) for r in results(_batch_simple(node, lanes, size))]


def _batch_simple(node: Node, lanes: list[Lane], size: Dim) -> Node:
    op = node.op
    first, rank = lanes[0][0], len(node.args[0].shape) if node.args else 0
    match op:
        case Scalar():
            return make(op, tuple(_aligned(lane, a, node, size) for lane, a in zip(lanes, node.args, strict=True)))
        case Cast() | Stop() | Linalg() if len(lanes) == 1:
            return make(op, (first,))
        case Linalg():
            return make(op, tuple(fully(lane, size) for lane in lanes))
        case Reduce(kind, axes):
            return make(Reduce(kind, _later(axes)), (first,))
        case Cumulative(running, axis, backwards):
            return make(Cumulative(running, axis + 1, backwards), (first,))
        case Sort(axis, indices):
            return make(Sort(axis + 1, indices), (first,))
        case Broadcast(shape, axes):
            return make(Broadcast((size, *shape), (0, *_later(axes))), (first,))
        case Transpose(axes):
            return make(Transpose((0, *_later(axes))), (first,))
        case Reshape(shape):
            return make(Reshape((size, *shape)), (first,))
        case Slice(starts, counts, steps):
            return make(Slice((0, *starts), (size, *counts), (1, *steps)), (first,))
        case Reverse(axes):
            return make(Reverse(_later(axes)), (first,))
        case Pad(low, high, inner):
            return make(Pad((0, *low), (0, *high), (0, *inner)), (first,))
        case Concatenate(axis):
            return make(Concatenate(axis + 1), tuple(fully(lane, size) for lane in lanes))
        case Insert(starts, steps):
            return make(Insert((0, *starts), (1, *steps)), tuple(fully(lane, size) for lane in lanes))
        case Gather(axes):
            return _gather(axes, lanes, rank, size)
        case Scatter(axes, kind):
            base, target, *places = [fully(lane, size) for lane in lanes]
            return make(
                Scatter((0, *_later(axes)), kind),
                (base, target, _lane_number(places[0].shape, size), *places),
            )
        case Contract(left, right, out):
            label = max((*left, *right, *out), default=-1) + 1
            own = [(label, *labels) if flag else labels for labels, (_, flag) in zip((left, right), lanes, strict=True)]
            return make(Contract(own[0], own[1], (label, *out)), (lanes[0][0], lanes[1][0]))
        case Random():
            raise TypeError("vmap over the keys of random numbers is not supported")
        case (
            Input() | Const() | SizeOf() | Iota() | Project() | Cond() | Loop() | Call() | Callback() | Cast() | Stop()
        ):
            raise AssertionError(op)
        case _:
            assert_never(op)


def _later(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + 1 for a in axes)


def _aligned(lane: Lane, original: Node, node: Node, size: Dim) -> Node:
    """An elementwise argument in the shape (size, *result shape), or of rank 0 where it is the same for all."""
    value, flag = lane
    if not flag:
        return fully(lane, size) if original.shape else value
    return value if len(original.shape) == len(node.shape) else broadcast(value, (size, *node.shape), (0,))


def _lane_number(shape: tuple[Dim, ...], size: Dim) -> Node:
    return broadcast(make(Iota(size)), shape, (0,))


def _gather(axes: tuple[int, ...], lanes: list[Lane], rank: int, size: Dim) -> Node:
    source, *indices = lanes
    if not any(flag for _, flag in indices):
        result = make(Gather(_later(axes)), (source[0], *[i for i, _ in indices]))
        place = len(indices[0][0].shape)  # the batch follows the index axes
        order = (place, *range(place), *range(place + 1, len(result.shape)))
        return transpose(result, order)
    many = [fully(i, size) for i in indices]
    if not source[1]:
        return make(Gather(axes), (source[0], *many))
    return make(Gather((0, *_later(axes))), (source[0], _lane_number(many[0].shape, size), *many))


def _batch_branches(op: Cond, lanes: list[Lane], size: Dim) -> list[Lane]:
    """A branch that all lanes take together stays lazy; its bodies are batched."""
    branches = []
    types = [value.type for value, _ in lanes[1:]]
    for body in op.branches:
        fresh = [make(Input(0, i, t)) for i, t in enumerate(types)]
        many = [f if flag else None for f, (_, flag) in zip(fresh, lanes[1:], strict=True)]
        outputs = batch(body.outputs, body.arguments, many, size)
        branches.append(Graph(types, [fully(o, size) for o in outputs]))
    node = make(Cond(tuple(branches)), tuple(value for value, _ in lanes))
    return [(r, True) for r in results(node)]


def _map_lanes(nodes: Sequence[Node], readers: Sequence[Node], known: dict[Node, list[Lane]], size: Dim) -> None:
    """One map loop over the lanes that runs ``nodes`` in each; ``known`` gets what the ``readers`` read of it."""
    inside = set(nodes)
    if not inside:
        return
    given = dict.fromkeys(a for n in nodes for a in n.args if a not in inside and not isinstance(a.op, Const))
    many = [a for a in given if known[a][0][1]]
    order = [*many, *(a for a in given if not known[a][0][1])]
    kinds = [Type((), INT64), *[a.type for a in order]]
    places = {a: make(Input(0, 1 + k, a.type)) for k, a in enumerate(order)}
    read = [a for reader in readers for a in (reader, *reader.args) if a in inside]
    wanted = list(dict.fromkeys(r for a in read for r in results(a)))
    body = Graph(kinds, substitute(wanted, places))
    trips = constant(size, INT64) if isinstance(size, int) else make(SizeOf(size))
    loop = make(Loop("map", body, None, 0, len(many), size), (trips, *[known[a][0][0] for a in order]))
    lanes = dict(zip(wanted, results(loop), strict=True))
    for node in read:
        known[node] = [(lanes[r], True) for r in results(node)]
