"""Rules of loops, branches and calls: what goes in, what comes out, and what need not be inside.

Bodies are simplified by the driver; the rules here move things between a body and the graph around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from chainrule.graph.express import reshape, zeros
from chainrule.graph.node import Graph, Node, const_value, constant, make, rebuild, result_types, results
from chainrule.graph.op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Const,
    Gather,
    Input,
    Iota,
    Loop,
    Pad,
    Project,
    Reshape,
    Reverse,
    SizeOf,
    Slice,
    Stop,
    Transpose,
    Type,
)

from .known import uniform
from .pattern import on
from .rewrite import Table

_VIEWS: Final = (Broadcast, Transpose, Reshape, Slice, Reverse, Pad, Concatenate, Stop, Cast, Gather)
_LEAVES: Final = (Const, SizeOf, Iota)


# --- graphs with other inputs -------------------------------------------------------------------------------


def with_inputs(body: Graph, values: Sequence[Node], kinds: Sequence[Type], names: Sequence[str]) -> Graph:
    """``body`` over other inputs, the old ones being ``values`` of the new."""
    outputs, mapping = rebuild(body.outputs, dict(zip(body.arguments, values, strict=True)))
    provenance = {mapping[n]: where for n, where in body.provenance.items() if n in mapping}
    return Graph(kinds, outputs, names, provenance)


def keep_inputs(
    body: Graph, constants: Mapping[int, Node], merged: Mapping[int, int], kept: Sequence[int]
) -> Graph:
    """``body`` with the inputs ``kept`` only; others are constants, or equal to a kept one, or not used."""
    position = {old: new for new, old in enumerate(kept)}
    values = []
    for i, kind in enumerate(body.inputs):
        if i in constants:
            values.append(constants[i])
        else:
            values.append(make(Input(0, position.get(merged.get(i, i), -1), kind)))
    return with_inputs(body, values, [body.inputs[i] for i in kept], [body.names[i] for i in kept])


def used_inputs(*graphs: Graph | None) -> set[int]:
    """The positions of the inputs that some of the graphs read."""
    return {n.op.position for g in graphs if g is not None for n in g.nodes if isinstance(n.op, Input)}


def first_captured(op: Loop) -> int:
    """The number of arguments of a loop, and of inputs of its body, before the captured ones."""
    return op.carries if op.condition == "predicate" else 1 + op.carries + op.scanned


# --- arguments ----------------------------------------------------------------------------------------------


@on(Loop)
def loop_arguments(node: Node) -> Node | None:
    """Constants go inside, the same value comes in once, what is not used not at all."""
    op = node.op
    assert isinstance(op, Loop)
    first = first_captured(op)
    needed = first - op.scanned  # the trip count and the carries
    used = used_inputs(op.body, op.predicate)
    constants, merged, kept = _sort_out(node.args, range(needed, len(node.args)), first, used)
    if len(kept) == len(node.args):
        return None
    scanned = sum(needed <= i < first for i in kept)
    body = keep_inputs(op.body, constants, merged, kept)
    predicate = op.predicate and keep_inputs(op.predicate, constants, merged, kept)
    new = replace(op, body=body, predicate=predicate, scanned=scanned)
    return make(new, tuple(node.args[i] for i in kept))


@on(Cond)
def cond_arguments(node: Node) -> Node | None:
    op = node.op
    assert isinstance(op, Cond)
    operands = node.args[1:]
    constants, merged, kept = _sort_out(operands, range(len(operands)), 0, used_inputs(*op.branches))
    if len(kept) == len(operands):
        return None
    branches = tuple(keep_inputs(b, constants, merged, kept) for b in op.branches)
    return make(Cond(branches), (node.args[0], *(operands[i] for i in kept)))


@on(Call)
def call_arguments(node: Node) -> Node | None:
    op = node.op
    assert isinstance(op, Call)
    constants, merged, kept = _sort_out(node.args, range(len(node.args)), 0, used_inputs(op.body))
    if op.rule != "recompute" or len(kept) == len(node.args):
        return None
    return make(replace(op, body=keep_inputs(op.body, constants, merged, kept)), tuple(node.args[i] for i in kept))


def _sort_out(
    args: Sequence[Node], removable: Sequence[int], first: int, used: set[int]
) -> tuple[dict[int, Node], dict[int, int], list[int]]:
    """Of the arguments: the constants (from ``first`` on), those equal to others, those that remain."""
    constants: dict[int, Node] = {}
    merged: dict[int, int] = {}
    seen: dict[tuple[bool, Node], int] = {}
    kept = []
    free = set(removable)
    for i, arg in enumerate(args):
        if i in free:
            if i not in used:
                continue
            if i >= first and _is_literal(arg):
                constants[i] = arg
                continue
            twin = seen.setdefault((i >= first, arg), i)
            if twin != i:
                merged[i] = twin
                continue
        kept.append(i)
    return constants, merged, kept


def _is_literal(node: Node) -> bool:
    source = uniform(node) or node
    return type(source.op) in _LEAVES and not source.shape


# --- results ------------------------------------------------------------------------------------------------


@on(Loop)
def constant_carry(node: Node) -> tuple[Node, ...] | None:
    """A carry that the body hands on unchanged is no carry."""
    op = node.op
    assert isinstance(op, Loop)
    body, offset = op.body, 0 if op.condition == "predicate" else 1
    still = [k for k in range(op.carries) if body.outputs[k] is body.arguments[offset + k]]
    if not still:
        return None
    moving = [k for k in range(op.carries) if k not in still]
    order = [*range(offset), *(offset + k for k in moving), *range(offset + op.carries, len(node.args)),
             *(offset + k for k in still)]  # fmt: skip

    def reordered(graph: Graph, outputs: bool) -> Graph:
        moved = keep_inputs(graph, {}, {}, order)
        return moved.replace([o for k, o in enumerate(moved.outputs) if k not in still]) if outputs else moved

    args = tuple(node.args[i] for i in order)
    new = replace(
        op,
        body=reordered(body, True),
        predicate=op.predicate and reordered(op.predicate, False),
        carries=len(moving),
    )
    remaining = iter(results(make(new, args)) if moving or len(body.outputs) > op.carries else ())
    return tuple(
        node.args[offset + k] if k in still else next(remaining) for k in range(len(result_types(node)))
    )


@on(Cond)
def equal_results(node: Node) -> tuple[Node, ...] | None:
    """A result that all branches take from the same operand, or the same constant, is no result."""
    op = node.op
    assert isinstance(op, Cond)
    known: dict[int, Node] = {}
    for i, outputs in enumerate(zip(*(b.outputs for b in op.branches), strict=True)):
        first = outputs[0]
        if any(o is not first for o in outputs):
            continue
        if isinstance(first.op, Input):
            known[i] = node.args[1 + first.op.position]
        elif _is_literal(first):
            known[i] = first
    if not known:
        return None
    branches = tuple(b.replace([o for i, o in enumerate(b.outputs) if i not in known]) for b in op.branches)
    rest = iter(results(make(Cond(branches), node.args)) if branches[0].outputs else ())
    return tuple(known[i] if i in known else next(rest) for i in range(len(result_types(node))))


@on(Cond)
def known_branch(node: Node) -> tuple[Node, ...] | None:
    """A branch that is known, or the same in any case, takes the place of the choice."""
    op = node.op
    assert isinstance(op, Cond)
    index = const_value(node.args[0])
    if index is not None:
        return op.branches[min(max(int(index), 0), len(op.branches) - 1)].apply(node.args[1:])
    if all(b == op.branches[0] for b in op.branches):
        return op.branches[0].apply(node.args[1:])
    return None


@on(Loop)
def few_trips(node: Node) -> tuple[Node, ...] | None:
    """A loop that runs no time or once is no loop."""
    op = node.op
    assert isinstance(op, Loop)
    if op.condition == "predicate":
        assert op.predicate is not None
        goes_on = const_value(op.predicate.outputs[0])
        return tuple(node.args[: op.carries]) if goes_on is False else None
    trips = const_value(node.args[0])
    if trips is None or trips > 1:
        return None
    carries = node.args[1 : 1 + op.carries]
    first = first_captured(op)
    if trips <= 0:
        return (*carries, *(zeros(t) for t in result_types(node)[op.carries :]))
    slices = [reshape_first(s) for s in node.args[1 + op.carries : first]]
    inlined = op.body.apply((constant(0, op.body.inputs[0].dtype), *carries, *slices, *node.args[first:]))
    stacked = [reshape(o, (1, *o.shape)) for o in inlined[op.carries :]]
    return (*inlined[: op.carries], *stacked)


def reshape_first(x: Node) -> Node:
    """The only slice along axis 0."""
    return reshape(x, x.shape[1:])


# --- invariants ---------------------------------------------------------------------------------------------


@on(Loop)
def invariants(node: Node) -> Node | None:
    """What depends on captured values only is computed before the loop.

    Views stay, for they cost nothing inside, and so does what may not end or is foreign, for the
    loop may run no time.
    """
    op = node.op
    assert isinstance(op, Loop)
    first = first_captured(op)
    bodies = [g for g in (op.body, op.predicate) if g is not None]
    found = list(dict.fromkeys(n for g in bodies for n in _invariants(g, first)))
    if not found:
        return None
    outside = dict(zip(op.body.arguments[first:], node.args[first:], strict=True))
    values, _ = rebuild(found, outside)
    kinds = [*op.body.inputs, *(n.type for n in found)]
    names = [*op.body.names, *(f"invariant{len(op.body.inputs) + i}" for i in range(len(found)))]
    inputs = {n: make(Input(0, len(op.body.inputs) + i, n.type)) for i, n in enumerate(found)}

    def inside(graph: Graph) -> Graph:
        outputs, mapping = rebuild(graph.outputs, inputs)
        provenance = {mapping[n]: where for n, where in graph.provenance.items() if n in mapping}
        return Graph(kinds, outputs, names, provenance)

    new = replace(op, body=inside(op.body), predicate=op.predicate and inside(op.predicate))
    return make(new, (*node.args, *values))


def _invariants(body: Graph, first: int) -> list[Node]:
    """The largest expressions worth computing outside a body whose inputs from ``first`` on are captured."""
    invariant: set[Node] = set()
    wanted: dict[Node, None] = {}

    def want(nodes: Sequence[Node]) -> None:
        stack = [n for n in nodes if n in invariant]
        while stack:
            n = stack.pop()
            if type(n.op) in _VIEWS:
                stack.extend(n.args)
            elif n.level >= 0 and type(n.op) is not Input and isinstance(n.type, Type):
                wanted[n] = None

    for n in body.nodes:
        if isinstance(n.op, Input):
            captured = n.op.position >= first
        else:
            captured = all(a in invariant for a in n.args) and _ends(n.op)
        if captured:
            invariant.add(n)
        else:
            want(n.args)
    want(body.outputs)
    return list(wanted)


@lru_cache(maxsize=256)
def _ends(op: Any) -> bool:
    """Whether an op ends for sure and calls nothing foreign."""
    match op:
        case Callback():
            return False
        case Loop(condition, body):
            return condition != "predicate" and all(_ends(n.op) for n in body.nodes)
        case Cond(branches):
            return all(_ends(n.op) for b in branches for n in b.nodes)
        case Call(body):
            return all(_ends(n.op) for n in body.nodes)
        case _:
            return True


BODIES: Final = Table([
    known_branch, few_trips, constant_carry, equal_results, loop_arguments, cond_arguments, call_arguments,
    invariants,
])  # fmt: skip


# --- results that nobody reads ------------------------------------------------------------------------------


def prune(graph: Graph) -> Graph:
    """``graph`` without the results of loops and branches that nobody reads, and what only they need."""
    if not any(type(node.op) in (Loop, Cond, Call) for node in graph.nodes):
        return graph
    used: dict[Node, set[int]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Project):
            used.setdefault(node.args[0], set()).add(node.op.index)
    places: dict[Node, dict[int, int]] = {}  # node of the old graph → old index of a result → new index

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Project(index) if node.args[0] in places:
                return make(Project(places[node.args[0]][index]), args)
            case Loop():
                new, kept, args = _pruned_loop(op, used.get(node, set()), args)
                places[node] = kept
                return make(new, args)
            case Cond():
                branch, places[node] = _pruned_cond(op, used.get(node, set()))
                return make(branch, args)
            case Call(body, "recompute"):
                call, places[node] = _pruned_call(op, used.get(node, set()))
                return make(call, args)
            case Call(body, key):
                return make(Call(prune(body), key), args)
            case _:
                return node if args == node.args else make(op, args)

    outputs, mapping = rebuild(graph.outputs, {}, visit)
    provenance = {mapping[n]: where for n, where in graph.provenance.items() if n in mapping}
    return graph.replace(outputs, provenance)


Pruned = tuple[Loop, dict[int, int], tuple[Node, ...]]


def _pruned_loop(op: Loop, used: set[int], args: tuple[Node, ...]) -> Pruned:
    offset = 0 if op.condition == "predicate" else 1
    carries = _live_carries(op, used, offset)
    kept = [*carries, *sorted(i for i in used if i >= op.carries)]
    positions = [*range(offset), *(offset + k for k in carries), *range(offset + op.carries, len(args))]

    def smaller(graph: Graph) -> Graph:
        return keep_inputs(prune(graph), {}, {}, positions)

    body = smaller(op.body.replace([op.body.outputs[i] for i in kept]))
    new = replace(op, body=body, predicate=op.predicate and smaller(op.predicate), carries=len(carries))
    return new, {old: i for i, old in enumerate(kept)}, tuple(args[i] for i in positions)


def _live_carries(op: Loop, used: set[int], offset: int) -> list[int]:
    """The carries that a used result, or the condition, depends on through any number of steps."""
    live = {i for i in used if i < op.carries}
    stack = [op.body.outputs[i] for i in used]
    if op.predicate is not None:
        stack.extend(op.predicate.outputs)
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(node.args)
        if isinstance(node.op, Input):
            k = node.op.position - offset
            if 0 <= k < op.carries and k not in live:
                live.add(k)
                stack.append(op.body.outputs[k])
    return sorted(live)


def _pruned_call(op: Call, used: set[int]) -> tuple[Call, dict[int, int]]:
    kept = sorted(used)
    body = prune(op.body.replace([op.body.outputs[i] for i in kept]))
    return replace(op, body=body), {old: i for i, old in enumerate(kept)}


def _pruned_cond(op: Cond, used: set[int]) -> tuple[Cond, dict[int, int]]:
    kept = sorted(used)
    branches = tuple(prune(b.replace([b.outputs[i] for i in kept])) for b in op.branches)
    return Cond(branches), {old: i for i, old in enumerate(kept)}
