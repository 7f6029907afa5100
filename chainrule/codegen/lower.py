"""Graph → LoopIR: stage by stage, straight-line scalars first, then the loops of the stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import final

from chainrule.graph import dim as dims
from chainrule.graph.dim import Size
from chainrule.graph.dtype import is_complex
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Call, Callback, Cond, Cumulative, Loop, Random, Scatter, Sort

from . import ir
from .affine import constant
from .builder import Builder
from .dense import without_linalg
from .elements import Elements
from .foreign_calls import ForeignCalls
from .fuse import Group, is_array, plan
from .nests import Nests
from .region import Buffer, Region, real_name
from .reuse import shared_buffers
from .serial import SerialOps
from .structured import Bound, StructuredOps
from .unsupported import Unsupported, unsupported
from .workspace import layout

__all__ = ["Unsupported", "lower", "size_names"]


def lower(graph: Graph, name: str) -> ir.Kernel:
    """The kernel ``name`` that computes the graph's outputs from its inputs, by the C ABI of `ir.Kernel`.

    Raises `Unsupported` for ops that have no native code.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.op import Input, Type
    >>> from chainrule.graph.node import make
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> [parameter.name for parameter in lower(Graph([x.type], [x * x]), "square").parameters]
    ['x0', 'result']
    """
    return _Lowering().kernel(without_linalg(graph), name)


def size_names(graph: Graph) -> tuple[str, ...]:
    """The named sizes of a graph's inputs, in order of first appearance."""
    found: dict[str, None] = {}
    for kind in graph.inputs:
        for dim in kind.shape:
            if isinstance(dim, Size):
                found.update(dict.fromkeys(dims.names(dim)))
    return tuple(found)


@final
class _Lowering:
    def __init__(self) -> None:
        self.builder = Builder()
        self.elements = Elements(self.builder)
        self.nests = Nests(self.builder, self.elements)
        self.serial = SerialOps(self.builder, self.elements, self.nests)
        self.foreign = ForeignCalls(self.builder, self.elements, self.nests)
        self.structured = StructuredOps(self.builder, self.elements, self.nests, self.region)

    # --- kernels ------------------------------------------------------------------------------------------

    def kernel(self, graph: Graph, name: str) -> ir.Kernel:
        builder = self.builder
        sizes = [builder.unique(size) for size in size_names(graph)]
        parameters: list[ir.Parameter] = []
        inputs = tuple(self._input(graph, k, parameters) for k in range(len(graph.inputs)))
        parameters.extend(ir.Parameter(size, "size", "int64") for size in sizes)
        targets = []
        for k, node in enumerate(graph.outputs):
            result = builder.unique("result" if len(graph.outputs) == 1 else f"result{k}")
            parameters.append(ir.Parameter(result, "result", real_name(node.dtype)))
            targets.append(Buffer(result, node.dtype, 0))
        for parameter in parameters:
            builder.levels[parameter.name] = 0
        region = self.region(graph, inputs, targets)
        for node, target in zip(graph.outputs, targets, strict=True):
            if not node.shape:
                self.nests.store(target, constant(0), region.scalars.values[node])
        body = shared_buffers((*builder.allocations, *builder.blocks[0]))
        return ir.Kernel(name, tuple(parameters), body, layout(body)[1])

    def _input(self, graph: Graph, position: int, parameters: list[ir.Parameter]) -> Bound:
        """An input's parameters, and where its elements are."""
        kind, builder, wanted = graph.inputs[position], self.builder, graph.names[position]
        dtype = real_name(kind.dtype)
        if kind.shape:
            name = builder.unique(wanted)
            parameters.append(ir.Parameter(name, "array", dtype))
            return Buffer(name, kind.dtype, 0, fixed=True)
        names = [wanted]
        if is_complex(kind.dtype):
            names = [f"{wanted}_re", f"{wanted}_im"]
        parts = [ir.Var(builder.unique(n), dtype) for n in names]
        parameters.extend(ir.Parameter(part.name, "scalar", dtype) for part in parts)
        return (parts[0], parts[1]) if len(parts) == 2 else parts[0]

    # --- graphs -------------------------------------------------------------------------------------------

    def region(
        self, graph: Graph, inputs: tuple[Bound, ...], targets: Sequence[Buffer | None],
        in_place: Mapping[Node, Buffer] = MappingProxyType({}),
    ) -> Region:  # fmt: skip
        """Lowers a graph into the innermost block.

        Array outputs go to ``targets`` (None for those that are not wanted, and for rank 0); outputs of rank
        0 are then in the region's ``scalars``. The updates ``in_place`` find their base already in their
        buffers.
        """
        planned = plan(graph)
        region = Region(self.builder, graph, planned, inputs)
        region.buffers.update(in_place)
        for node, target in zip(graph.outputs, targets, strict=True):
            if node in planned.stored and node not in region.buffers and target is not None:
                region.buffers[node] = target
        for node in graph.nodes:
            if node in planned.stored and node not in region.buffers:
                parts = 2 if is_complex(node.dtype) else 1
                count = dims.product(node.shape) * parts
                region.buffers[node] = Buffer(
                    self.builder.alloc(real_name(node.dtype), count), node.dtype, region.depth
                )
        for scalars, steps in zip(planned.scalars, planned.steps, strict=True):
            for node in scalars:
                self.elements.at(region.scalars, node)
            for step in steps:
                if isinstance(step, Group):
                    self._group(region, step, targets, in_place)
                else:
                    self._opaque(region, step)
        return region

    def _group(
        self, region: Region, group: Group, targets: Sequence[Buffer | None], in_place: Mapping[Node, Buffer]
    ) -> None:
        wanted = []
        for root in group.roots:
            if isinstance(root.into, int):
                needed = targets[root.into] is not None
            else:
                needed = root.into not in in_place or root.node is not root.into.args[0]
            if needed:
                wanted.append(root)
        if wanted:
            self.nests.group(region, Group(group.space, group.kind, group.axes, wanted), targets)
        left = region.plan.roots_left
        for root in group.roots:
            if isinstance(root.into, Node) and is_array(root.into):
                left[root.into] -= 1
                if not left[root.into] and not isinstance(root.into.op, Scatter):
                    region.complete.add(root.into)

    def _opaque(self, region: Region, node: Node) -> None:
        op = node.op
        match op:
            case Cumulative() | Scatter() | Sort():
                self.serial.emit(region, node)
                region.complete.add(node)
            case Cond() | Loop() | Call(rule="recompute"):
                self.structured.emit(region, node)
            case Callback():
                self.foreign.emit(region, node)
            case Random(kind):
                raise unsupported(
                    region.graph, node, f"random {kind}", "draw the numbers outside and pass them in"
                )
            case Call():
                raise unsupported(region.graph, node, "a derivative rule", "simplify the graph before")
            case _:
                raise AssertionError(op)
