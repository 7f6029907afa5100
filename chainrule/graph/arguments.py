"""What derivatives of branches and loops share: the arguments of the bodies they make, and places of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .dtype import BOOL, is_inexact
from .express import zeros
from .linear import Pairs, either, mask_array, materialise
from .node import Graph, Node, make
from .op import Input, Loop, Stop, Type

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


# --- loops --------------------------------------------------------------------------------------------------


def first_carry(op: Loop) -> int:
    """The number of the first carry among the arguments of a loop and the inputs of its body."""
    return 0 if op.condition == "predicate" else 1


def union(row: Pairs, kind: Type) -> Node | None:
    """Where some of the tangents are supported; None: everywhere."""
    total: Node | None = zeros(Type(kind.shape, BOOL))
    first = True
    for pair in row:
        if pair is not None:
            own = None if pair[1] is None else mask_array(pair, kind)
            total, first = own if first else either(total, own), False
    return total


def dependence(body: Graph) -> dict[Node, int]:
    """The inputs that the tangent of each node depends on, as bits."""
    depends: dict[Node, int] = {}
    for node in body.nodes:
        bits = 0
        if isinstance(node.op, Input):
            bits = 1 << node.op.position
        elif not isinstance(node.op, Stop):
            for arg in node.args:
                bits |= depends[arg]
        depends[node] = bits if isinstance(node.type, tuple) or is_inexact(node.dtype) else 0
    return depends


def carry_places(
    carried: list[Node], row: Pairs, active: Sequence[bool], support: Node | None, kind: Type
) -> list[tuple[int, int | None] | None]:
    """Adds what is carried of K tangents to ``carried``: their common support, if any, and the active ones."""
    values = [
        (zeros(kind) if p is None else materialise(p[0], kind)) if on else None
        for p, on in zip(row, active, strict=True)
    ]
    place = None if support is None else len(carried)
    carried.extend([] if support is None else [support])
    places: list[tuple[int, int | None] | None] = []
    for value in values:
        places.append(None if value is None else (len(carried), place))
        carried.extend([] if value is None else [value])
    return places
