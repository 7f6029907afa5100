"""Which nodes of a graph are stored, and which loops are one.

Elementwise nodes and views are *virtual*: computed where they are read, inside the loop of their reader.
Results of reductions and of structured ops, and what several loops read and is dear to recompute, are
*stored*. Everything that is computed by a loop is a `Root` (something to store, or a reduction); roots of one
iteration space at one *stage* (the number of loops that must have ended before) share a loop. The plan
depends on the graph's structure only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from chainrule.graph.dim import Dim, Shape
from chainrule.graph.dtype import is_complex
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import (
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
)  # fmt: skip

from .fma import Fused, fused_products, summed_logs

__all__ = ["Group", "Plan", "Root", "Step", "contract_space", "is_array", "plan"]

LEAVES = (Input, Const, SizeOf, Iota)
ELEMENTWISE = (Scalar, Cast, Stop)
VIEWS = (Broadcast, Transpose, Reshape, Slice, Reverse, Pad, Concatenate, Insert, Gather)
REDUCTIONS = (Reduce, Contract)
OPAQUE = (Cumulative, Scatter, Sort, Cond, Loop, Linalg, Random, Call, Callback)

DEAR = 12
"""Operations from which on recomputing costs more than a store and a load."""
MANY_PIECES = 4
"""Concatenating more arrays than this is stored piece by piece rather than selected element by element."""
SCALAR_READERS = 8
"""So many elements read one by one make it worth storing the whole array."""

_CHEAP = frozenset({
    "add", "sub", "mul", "neg", "abs", "square", "sign", "copysign", "floor", "ceil", "trunc", "round",
    "maximum", "minimum", "where", "lt", "le", "gt", "ge", "eq", "ne",
    "isfinite", "isnan", "isinf", "signbit",
    "logical_and", "logical_or", "logical_xor", "logical_not",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
    "shift_left", "shift_right", "real", "imag", "conj", "complex",
})  # fmt: skip
_MIDDLE = {"div": 4, "reciprocal": 4, "sqrt": 4, "floordiv": 8, "mod": 8, "fmod": 8}
_ELEMENTARY = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where in memory a piece of an array goes: element ``index`` to ``offset + Σ strides·index``."""

    offset: Dim
    strides: Shape


@dataclass(frozen=True, slots=True)
class Root:
    """Something that a loop over ``space`` leaves behind.

    A store: ``node`` goes ``into`` the buffer of a node, or of an output by its number, in C order or, a piece of
    it, to its ``place``. A reduction: ``node`` is the `Reduce` or `Contract`, ``axes`` are the axes of the space
    that it reduces.
    """

    node: Node
    space: Shape
    axes: tuple[int, ...] = ()
    into: Node | int = -1
    place: Place | None = None

    @property
    def is_reduction(self) -> bool:
        return self.into is self.node and type(self.node.op) in REDUCTIONS


Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Group:
    """Roots that share the loops over ``space``. ``axes``: those that all reduce, if not the last ones."""

    space: Shape
    kind: str  # "natural", "reduce", "contract", "serial"
    axes: tuple[int, ...]
    roots: list[Root] = field(default_factory=list)


Step: TypeAlias = "Group | Node"
"""A group of roots, or an op that brings loops of its own."""


@dataclass(slots=True)
class Plan:
    """What happens at each stage: first ``scalars`` (rank 0, straight-line), then ``steps``."""

    stored: set[Node]
    fused: dict[Node, Fused]
    summed: dict[Node, tuple[Node, Node]]  # sums of products, and the factors
    logs: set[Node]  # sums of logarithms that may be logarithms of products
    scalars: list[list[Node]]
    steps: list[list[Step]]
    roots_left: dict[Node, int]  # stored node → how many roots have still to fill it
    ready: dict[Node, int]  # the stage from which on the node can be computed in a loop, or is known
    after: dict[Node, int]  # the stage from which on all of it is in memory


def is_array(node: Node) -> bool:
    """Whether the node is one array of rank ≥ 1."""
    return isinstance(node.type, Type) and bool(node.type.shape)


def contract_space(node: Node) -> tuple[tuple[int, ...], Shape]:
    """The labels of a contraction, the result's first, and their sizes."""
    op = node.op
    assert isinstance(op, Contract)
    size_of: dict[int, Dim] = dict(zip(op.left, node.args[0].shape, strict=True))
    size_of |= dict(zip(op.right, node.args[1].shape, strict=True))
    labels = (*op.out, *dict.fromkeys(i for i in (*op.left, *op.right) if i not in op.out))
    return labels, tuple(size_of[i] for i in labels)


def is_dot(op: Contract) -> bool:
    """Whether both operands are read along the iteration space, element by element."""
    return op.left == op.right and op.out == op.left[: len(op.out)]


def operations(node: Node) -> int:
    """What one element of the node costs, without its arguments."""
    op = node.op
    if type(op) is not Scalar:
        return 0 if type(op) is not Gather else 2
    own = 1 if op.name in _CHEAP else _MIDDLE.get(op.name, _ELEMENTARY)
    return own * 4 if is_complex(node.args[-1].dtype) else own


def plan(graph: Graph) -> Plan:
    """The plan of a graph; time and memory are linear in its size."""
    return _Planner(graph).plan()


class _Planner:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.number = {node: i for i, node in enumerate(self.nodes)}
        self.stored: set[Node] = {
            n for n in self.nodes if is_array(n) and type(n.op) in (*REDUCTIONS, *OPAQUE, Project)
        }
        self.stored |= {n for n in graph.outputs if is_array(n) and type(n.op) not in LEAVES}
        self.ready: dict[Node, int] = {}
        self.after: dict[Node, int] = {}
        self.contexts: dict[Node, set[int]] = {n: set() for n in self.nodes}
        self.ids: dict[Key, int] = {}
        self.stacks: dict[Node, Node | None] = {}  # stored node → the `Concatenate` in it, as first found
        self.of_scalar: set[int] = set()  # contexts that read single elements outside any loop

    def plan(self) -> Plan:
        absorbed, fused, summed = fused_products(self.graph)
        self.stages()
        self.store_what_is_dear()
        self.stages()
        last = max(self.after.values(), default=0)
        scalars: list[list[Node]] = [[] for _ in range(last + 1)]
        steps: list[list[Step]] = [[] for _ in range(last + 1)]
        groups: dict[Key, Group] = {}
        roots: dict[Node, int] = {}
        for node in self.nodes:
            if node in absorbed and not is_array(node):
                continue
            if type(node.op) in OPAQUE:
                if isinstance(node.op, Scatter):
                    self.add(
                        Root(node.args[0], node.shape, into=node),
                        self.stage_of_base(node),
                        groups,
                        steps,
                        roots,
                    )
                steps[self.ready[node] - 1].append(node)
            elif type(node.op) in REDUCTIONS or (node in self.stored and type(node.op) is not Project):
                for stage, root in self.roots(node):
                    self.add(root, stage, groups, steps, roots)
            elif isinstance(node.type, Type) and not node.type.shape:
                scalars[self.ready[node]].append(node)
        seen: set[Node] = set()
        for k, node in enumerate(self.graph.outputs):
            if is_array(node):
                if node in seen or node not in self.stored:
                    stage = self.ready[node] if type(node.op) in (*ELEMENTWISE, *VIEWS) else self.after[node]
                    self.add(Root(node, node.shape, into=k), stage, groups, steps, roots)
                seen.add(node)
        return Plan(self.stored, fused, summed, summed_logs(self.graph), scalars, steps, roots, self.ready, self.after)

    @staticmethod
    def add(
        root: Root, stage: int, groups: dict[Key, Group], steps: list[list[Step]], roots: dict[Node, int]
    ) -> None:
        kind, axes, detail = classify(root)
        key = (stage, root.space, kind, axes, detail)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(root.space, kind, axes)
            steps[stage].append(group)
        group.roots.append(root)
        if isinstance(root.into, Node):
            roots[root.into] = roots.get(root.into, 0) + 1

    # --- stages -------------------------------------------------------------------------------------------

    def stages(self) -> None:
        """``ready`` and ``after`` of every node, for what is stored now."""
        ready, after = self.ready, self.after
        for node in self.nodes:
            op = node.op
            if type(op) in ELEMENTWISE:
                stage = max(ready[a] for a in node.args)
                ready[node] = stage
                after[node] = stage + 1 if node in self.stored else stage
            elif type(op) in LEAVES:
                ready[node] = after[node] = 0
            elif isinstance(op, Reduce) or (isinstance(op, Contract) and is_dot(op)):
                ready[node] = after[node] = max(ready[a] for a in node.args) + 1
            elif type(op) in OPAQUE or type(op) is Contract:
                stage = max([after[a] for a in node.args], default=0)
                if isinstance(op, Scatter):
                    stage = max(stage, self.stage_of_base(node) + 1)
                ready[node] = after[node] = stage + 1
            elif type(op) is Project:
                ready[node] = after[node] = after[node.args[0]]
            else:  # a view reads other elements than its own index: whole arrays
                stage = max([after[a] for a in node.args], default=0)
                ready[node] = stage
                after[node] = stage + (2 if type(op) is Insert else 1) if node in self.stored else stage

    def stage_of_base(self, scatter: Node) -> int:
        """When the base of a scatter is copied to where the result is made."""
        return self.ready[scatter.args[0]]

    def roots(self, node: Node) -> list[tuple[int, Root]]:
        """How a stored node, or a reduction, is computed by loops: (stage, root)."""
        op, stage = node.op, self.ready[node]
        if isinstance(op, Reduce):
            return [(stage - 1, Root(node, node.args[0].shape, op.axes, node))]
        if isinstance(op, Contract):
            _, space = contract_space(node)
            return [(stage - 1, Root(node, space, tuple(range(len(op.out), len(space))), node))]
        if isinstance(op, Insert):
            base, value = node.args
            return [
                (stage, Root(base, node.shape, (), node)),
                (stage + 1, piece(value, node, node.shape, op.starts, op.steps)),
            ]
        stack = self.stack_in(node)
        if stack is None:
            return [(stage, Root(node, node.shape, (), node))]
        assert isinstance(stack.op, Concatenate)
        axis, steps = stack.op.axis, (1,) * len(stack.shape)
        start: Dim = 0
        pieces = []
        for arg in stack.args:
            starts: list[Dim] = [0] * len(stack.shape)
            starts[axis] = start
            pieces.append((stage, piece(arg, node, stack.shape, tuple(starts), steps)))
            start = start + arg.shape[axis]
        return pieces

    def stack_in(self, node: Node) -> Node | None:
        """The `Concatenate` whose elements are those of a stored node in C order, if it is not stored itself."""
        if type(node.op) is Concatenate:
            return node
        if node not in self.stacks:
            found = node
            while type(found.op) is Reshape and (found is node or found not in self.stored):
                (found,) = found.args
            is_stack = type(found.op) is Concatenate and found not in self.stored
            self.stacks[node] = found if is_stack else None
        return self.stacks[node]

    # --- what is dear -------------------------------------------------------------------------------------

    def store_what_is_dear(self) -> None:
        """Adds to ``stored`` what would be computed in several loops, or at several indices, at a high cost.

        A *context* is a loop together with the way of views from it to a node. Contexts flow from readers to
        what they read, so one pass in reverse order decides.
        """
        cost = self.costs()
        for node in reversed(self.nodes):
            if not isinstance(node.type, Type) or not node.type.shape:
                self.scalar_reads(node)
                continue
            contexts = self.contexts[node]
            in_loops = len(contexts - self.of_scalar)
            if type(node.op) in (*ELEMENTWISE, Concatenate, Insert) and node not in self.stored:
                often = in_loops > 1 or len(contexts) >= SCALAR_READERS
                pieces = type(node.op) in (Concatenate, Insert) and in_loops > 0
                many = pieces and len(node.args) > MANY_PIECES
                if ((often or pieces) and cost[node] >= DEAR) or many:
                    self.stored.add(node)
            if node in self.stored:
                self.read_by_root(node)
            else:
                self.read_by_virtual(node)

    def costs(self) -> dict[Node, int]:
        cost: dict[Node, int] = {}
        for node in self.nodes:
            total = 0
            if is_array(node) and node not in self.stored:
                total = operations(node) + sum(cost[a] for a in node.args)
            cost[node] = min(total, 1 << 20)
        return cost

    def context(self, *key: object) -> int:
        return self.ids.setdefault(key, len(self.ids))

    def reads(self, node: Node, contexts: set[int]) -> None:
        held = self.contexts[node]
        if len(held) < SCALAR_READERS:
            held |= contexts

    def often(self, node: Node, reader: Node) -> None:
        """``reader`` reads elements of ``node`` more than once, or in a slow loop."""
        number = self.number[reader]
        self.reads(node, {self.context("often", number, k) for k in range(2)})

    def scalar_reads(self, node: Node) -> None:
        if type(node.op) in OPAQUE or type(node.op) in REDUCTIONS:
            self.read_by_root(node)
            return
        for arg in node.args:
            if is_array(arg):
                context = self.context("scalar", self.number[node])
                self.of_scalar.add(context)
                self.reads(arg, {context})

    def read_by_root(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Loop) and op.condition == "map":
            for k, arg in enumerate(node.args):
                if 1 <= k <= op.scanned:
                    self.reads(arg, {self.context("map", self.number[node])})
                else:
                    self.often(arg, node)
        elif isinstance(op, (Cond, Loop, Cumulative, Linalg, Callback, Call, Random)):
            for arg in node.args:
                self.often(arg, node)
        elif isinstance(op, Sort):
            self.reads(node.args[0], {self.context("sort", self.number[node])})
        elif isinstance(op, Scatter):
            base = Root(node.args[0], node.shape, into=node)
            self.reads(node.args[0], {self.context(self.stage_of_base(node), base.space, *classify(base))})
            for arg in node.args[1:]:
                self.often(arg, node)
        elif isinstance(op, Contract) and not is_dot(op):
            for arg, own, other in ((node.args[0], op.left, op.right), (node.args[1], op.right, op.left)):
                if set(other) - set(own):
                    self.often(arg, node)
                else:
                    self.reads(arg, {self.context("contract", self.number[node])})
        elif isinstance(op, Reduce) and op.kind in ("argmin", "argmax"):
            self.often(node.args[0], node)
        elif type(op) is not Project:
            for stage, root in self.roots(node):
                context = self.context(stage, root.space, *classify(root))
                if root.node is node:
                    self.read_by_virtual(node, {context})
                else:
                    self.reads(root.node, {context})

    def read_by_virtual(self, node: Node, contexts: set[int] | None = None) -> None:
        op = node.op
        contexts = self.contexts[node] if contexts is None else contexts
        if type(op) in (*ELEMENTWISE, *REDUCTIONS):
            for arg in node.args:
                if is_array(arg):
                    self.reads(arg, contexts)
            return
        for k, arg in enumerate(node.args):
            if not is_array(arg):
                continue
            repeated = isinstance(op, Broadcast) and op.axes != tuple(range(len(op.axes)))
            if repeated or (isinstance(op, Gather) and k == 0):
                self.often(arg, node)
            else:
                derived = set()
                for context in sorted(contexts):
                    inner = self.context("view", self.number[node], k, context)
                    derived.add(inner)
                    if context in self.of_scalar:
                        self.of_scalar.add(inner)
                self.reads(arg, derived)


def piece(node: Node, into: Node, shape: Shape, starts: Shape, steps: tuple[int, ...]) -> Root:
    """The root that puts ``node`` to ``starts + steps·index`` of an array of this shape; axes of length 1 go."""
    strides: list[Dim] = []
    offset: Dim = 0
    stride: Dim = 1
    for size, start, step in reversed(list(zip(shape, starts, steps, strict=True))):
        offset = offset + start * stride
        strides.insert(0, stride * step)
        stride = size * stride
    while isinstance(node.op, Broadcast):
        axes = node.op.axes
        if any(d != 1 for axis, d in enumerate(node.shape) if axis not in axes):
            break
        strides = [strides[axis] for axis in axes]
        (node,) = node.args
    return Root(node, node.shape, (), into, Place(offset, tuple(strides)))


def classify(root: Root) -> tuple[str, tuple[int, ...], object]:
    """What roots of one space and stage must have in common to share a loop: (kind, axes, detail)."""
    op = root.node.op
    if not root.is_reduction:
        return "natural", (), None
    if isinstance(op, Contract) and not is_dot(op):
        return "contract", root.axes, op
    kind = op.kind if isinstance(op, Reduce) else "sum"
    if kind in ("argmin", "argmax") or (kind == "prod" and is_complex(root.node.dtype)):
        return "serial", root.axes, None
    rank = len(root.space)
    if root.axes == tuple(range(rank - len(root.axes), rank)):
        return "natural", (), None
    return "reduce", root.axes, None
