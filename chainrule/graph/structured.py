"""Derivatives of the ops that hold bodies: a branch derives its bodies, a loop carries its tangents along.

Forward, value and tangents come from one loop or branch, which replaces the primal one, so that nothing runs twice.
A branch is transposed branch by branch. The transpose of a loop is refused here; callers run such programs forward.
Tangents go in and come out with their supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .dtype import BOOL, is_inexact
from .express import zeros
from .linear import Pairs, Structured, Var, either, mask_array, materialise, plus
from .node import Graph, Node, make, results, substitute
from .op import Cond, Input, Loop, Stop, Type


def forward_structured(
    node: Node, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    """Tangents of the results of a Cond or Loop for K tangents per argument (None: does not depend)."""
    rows: list[Pairs] = [[None] * count if row is None else row for row in tangents]
    if isinstance(node.op, Cond):
        return _forward_cond(node, node.op, rows, replaced)
    assert isinstance(node.op, Loop)
    return _forward_loop(node, node.op, rows, replaced)


def transpose_structured(instruction: Structured, cotangents: dict[int, Pairs], count: int) -> dict[Var, Pairs]:
    """Cotangents of the arguments of a Cond, per variable."""
    from .differentiate import NotDifferentiable

    node = instruction.node
    if not isinstance(node.op, Cond):
        raise NotDifferentiable(
            node,
            "reverse mode through a loop is not supported; use forward mode (jvp, jacfwd, grad of few numbers)",
        )
    return _transpose_cond(instruction, node.op, cotangents, count)


# --- arguments and results of bodies ------------------------------------------------------------------------


@dataclass(slots=True)
class Arguments:
    """The arguments of a node that is being made, and the types of the inputs of its body."""

    outer: list[Node] = field(default_factory=list)
    kinds: list[Type] = field(default_factory=list)
    known: dict[tuple[Node, Type], Node] = field(default_factory=dict)

    def add(self, node: Node, kind: Type) -> Node:
        """One more argument; returns the input of the body that stands for it."""
        self.outer.append(node)
        self.kinds.append(kind)
        return make(Input(0, len(self.kinds) - 1, kind))

    def share(self, node: Node, kind: Type) -> Node:
        """An argument that does not change: the same one where it was shared before."""
        key = (node, kind)
        if key not in self.known:
            self.known[key] = self.add(node, kind)
        return self.known[key]

    def share_pairs(self, row: Pairs) -> Pairs:
        """K tangents as arguments."""
        return [
            None if p is None else (self.share(p[0], p[0].type), None if p[1] is None else self.share(p[1], p[1].type))
            for p in row
        ]

    def share_slices(self, row: Pairs, kind: Type) -> Pairs:
        """K tangents of an array of this type, of which the body gets one slice along axis 0 at a time."""
        inside: Pairs = []
        for pair in row:
            if pair is None:
                inside.append(None)
                continue
            value = self.share(materialise(pair[0], kind), slice_type(kind))
            mask = None if pair[1] is None else mask_array(pair, kind)
            inside.append((value, None if mask is None else self.share(mask, slice_type(mask.type))))
        return inside


def slice_type(kind: Type) -> Type:
    return Type(kind.shape[1:], kind.dtype)


Places = list[list[tuple[int, int | None] | None]]  # per row and seed, where value and mask stand in a list of results


def aligned(
    bodies: Sequence[Sequence[Pairs]], kinds: Sequence[Type], first: int = 0
) -> tuple[list[list[Node]], Places]:
    """Rows of tangents that several bodies give for the same arrays, as lists of outputs of the same types.

    A tangent that is None in one body only is zeros there; its support is nowhere. The places count from ``first``.
    """
    flat: list[list[Node]] = [[] for _ in bodies]
    places: Places = []
    for position, kind in enumerate(kinds):
        row: list[tuple[int, int | None] | None] = []
        for pairs in zip(*[body[position] for body in bodies], strict=True):
            if all(p is None for p in pairs):
                row.append(None)
                continue
            value, mask = first + len(flat[0]), None
            for outputs, pair in zip(flat, pairs, strict=True):
                outputs.append(zeros(kind) if pair is None else materialise(pair[0], kind))
            if all(p is None or p[1] is not None for p in pairs):
                mask = first + len(flat[0])
                for outputs, pair in zip(flat, pairs, strict=True):
                    outputs.append(mask_array(pair, kind))
            row.append((value, mask))
        places.append(row)
    return flat, places


def pairs_at(places: Places, nodes: Sequence[Node]) -> list[Pairs]:
    """The tangents that stand at the places in a list of results."""
    return [
        [None if p is None else (nodes[p[0]], None if p[1] is None else nodes[p[1]]) for p in row] for row in places
    ]


def _replace(node: Node, instead: Sequence[Node], replaced: dict[Node, Node]) -> None:
    """Notes that the results of ``node`` are computed elsewhere: not where nothing moves, and it is itself."""
    replaced.update((old, new) for old, new in zip(results(node), instead, strict=True) if old is not new)


# --- branches -----------------------------------------------------------------------------------------------


def _forward_cond(node: Node, op: Cond, tangents: Sequence[Pairs], replaced: dict[Node, Node]) -> list[Pairs]:
    from .differentiate import push_pairs

    arguments = Arguments()
    inputs = [arguments.add(a, a.type) for a in node.args[1:]]
    seeds = [arguments.share_pairs(row) for row in tangents[1:]]
    derived = [push_pairs(branch.outputs, inputs, seeds) for branch in op.branches]
    kinds = [o.type for o in op.branches[0].outputs]
    flat, places = aligned([rows for _, rows in derived], kinds, len(kinds))
    branches = [Graph(arguments.kinds, [*values, *more]) for (values, _), more in zip(derived, flat, strict=True)]
    every = results(make(Cond(tuple(branches)), (node.args[0], *arguments.outer)))
    _replace(node, every[: len(kinds)], replaced)
    return pairs_at(places, every)


def _transpose_cond(instruction: Structured, op: Cond, cotangents: dict[int, Pairs], count: int) -> dict[Var, Pairs]:
    from .differentiate import pull_pairs

    node = instruction.node
    moving = [(i, s) for i, s in enumerate(instruction.sources[1:]) if s is not None]
    arguments = Arguments()
    inputs = [arguments.add(a, a.type) for a in node.args[1:]]
    arriving: list[Pairs] = [[None] * count for _ in op.branches[0].outputs]
    for index, row in cotangents.items():
        arriving[index] = arguments.share_pairs(row)
    wanted = [inputs[i] for i, _ in moving]
    flat, places = aligned([pull_pairs(b.outputs, wanted, arriving) for b in op.branches], [n.type for n in wanted])
    if not flat[0]:
        return {}
    branches = [Graph(arguments.kinds, outputs) for outputs in flat]
    every = results(make(Cond(tuple(branches)), (node.args[0], *arguments.outer)))
    total: dict[Var, Pairs] = {}
    for (_, source), row in zip(moving, pairs_at(places, every), strict=True):
        before = total.get(source, [None] * count)
        total[source] = [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


# --- loops --------------------------------------------------------------------------------------------------


def _forward_loop(node: Node, op: Loop, tangents: Sequence[Pairs], replaced: dict[Node, Node]) -> list[Pairs]:
    """The loop whose carries are (values, tangents, supports), and with it the stacked outputs.

    A carry of which some seed's tangent may become nonzero carries one for that seed. The K tangents of a carry share
    one support, their union, which starts as it comes and is given up where the body supports everything.
    """
    first = _first_carry(op)
    kinds = op.body.inputs[first : first + op.carries]
    active = _active_carries(op, tangents)
    rows = tangents[first : first + op.carries]
    entering = [_union(row, kind) if any(own) else None for row, kind, own in zip(rows, kinds, active, strict=True)]
    while True:
        step = _derive_body(node, op, tangents, active, entering)
        leaving = [
            None if mask is None else _union(row, kind)
            for mask, row, kind in zip(entering, step.rows, kinds, strict=False)
        ]
        if all(a is None or b is not None for a, b in zip(entering, leaving, strict=True)):
            break
        entering = [None if b is None else a for a, b in zip(entering, leaving, strict=True)]
    carried = list(step.values[: op.carries])
    places: Places = []
    for row, kind, own, mask in zip(step.rows, kinds, active, leaving, strict=False):
        values = [
            (zeros(kind) if p is None else materialise(p[0], kind)) if on else None
            for p, on in zip(row, own, strict=True)
        ]
        support = None if mask is None else len(carried)
        carried.extend([] if mask is None else [mask])
        places.append([])
        for value in values:
            places[-1].append(None if value is None else (len(carried), support))
            carried.extend([] if value is None else [value])
    results_of_step = [o.type for o in op.body.outputs[op.carries :]]
    (outputs,), more = aligned([step.rows[op.carries :]], results_of_step, len(carried) + len(results_of_step))
    body = Graph(step.arguments.kinds, [*carried, *step.values[op.carries :], *outputs])
    predicate = None
    if op.predicate is not None:
        predicate = Graph(step.arguments.kinds, substitute(op.predicate.outputs, step.moved))
    dual = Loop(op.condition, body, predicate, len(carried), step.scanned, op.length, op.reverse)
    every = results(make(dual, tuple(step.arguments.outer)))
    primal = [*every[: op.carries], *every[len(carried) : len(carried) + len(results_of_step)]]
    _replace(node, primal, replaced)
    return pairs_at([*places, *more], every)


def _first_carry(op: Loop) -> int:
    """The number of the first carry among the arguments of a loop and the inputs of its body."""
    return 0 if op.condition == "predicate" else 1


def _union(row: Pairs, kind: Type) -> Node | None:
    """Where some of the tangents are supported; None: everywhere."""
    total: Node | None = zeros(Type(kind.shape, BOOL))
    first = True
    for pair in row:
        if pair is not None:
            own = None if pair[1] is None else mask_array(pair, kind)
            total, first = own if first else either(total, own), False
    return total


def _active_carries(op: Loop, tangents: Sequence[Pairs]) -> list[list[bool]]:
    """For each carry and seed, whether the carry's tangent may become nonzero in some step."""
    depends: dict[Node, int] = {}  # the inputs that a node's tangent depends on, as bits
    for node in op.body.nodes:
        bits = 0
        if isinstance(node.op, Input):
            bits = 1 << node.op.position
        elif not isinstance(node.op, Stop):
            for arg in node.args:
                bits |= depends[arg]
        depends[node] = bits if isinstance(node.type, tuple) or is_inexact(node.dtype) else 0
    first = _first_carry(op)
    leaving = [depends[o] for o in op.body.outputs[: op.carries]]
    columns = []
    for k in range(len(tangents[0])):
        moving = sum(1 << i for i, row in enumerate(tangents) if row[k] is not None)
        before = -1
        while moving != before:
            before = moving
            moving |= sum(1 << first + c for c, bits in enumerate(leaving) if bits & before)
        columns.append([bool(moving >> first + c & 1) for c in range(op.carries)])
    return [[column[c] for column in columns] for c in range(op.carries)]


@dataclass(slots=True)
class _Step:
    """The derivative of a loop's body: the dual loop's arguments, and values and tangents after one step."""

    arguments: Arguments
    scanned: int
    moved: dict[Node, Node]  # inputs of the body → of the dual body
    values: list[Node]
    rows: list[Pairs]


def _derive_body(
    node: Node, op: Loop, tangents: Sequence[Pairs], active: list[list[bool]], entering: Sequence[Node | None]
) -> _Step:
    from .differentiate import push_pairs

    arguments = Arguments()
    first = _first_carry(op)
    last = first + op.carries
    # the trip count stands where the body has its index
    inputs = [arguments.add(a, op.body.inputs[i]) for i, a in enumerate(node.args[:last])]
    seeds = list(tangents[:first])
    for row, own, mask, start in zip(tangents[first:last], active, entering, node.args[first:last], strict=True):
        kind = start.type
        support = None if mask is None else arguments.add(mask, mask.type)
        values = [zeros(kind) if p is None else materialise(p[0], kind) for p in row]
        seeds.append([(arguments.add(v, kind), support) if on else None for v, on in zip(values, own, strict=True)])
    carried = len(arguments.outer)
    for row, array in zip(tangents[last : last + op.scanned], node.args[last : last + op.scanned], strict=True):
        inputs.append(arguments.add(array, slice_type(array.type)))
        seeds.append(arguments.share_slices(row, array.type))
    scanned = len(arguments.outer) - carried
    for row, value in zip(tangents[last + op.scanned :], node.args[last + op.scanned :], strict=True):
        inputs.append(arguments.add(value, value.type))
        seeds.append(arguments.share_pairs(row))
    moved = dict(zip(op.body.arguments, inputs, strict=True))
    values_after, rows = push_pairs(substitute(op.body.outputs, moved), inputs, seeds)
    return _Step(arguments, scanned, moved, values_after, rows)
