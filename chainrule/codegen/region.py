"""Where the values of a graph are while it is lowered.

A `Region` is one graph being lowered (the program, or the body of a loop or branch) and knows where its
inputs and stored nodes are. A `Frame` is a region at one index under one guard; it remembers what was
computed there, so that a shared subexpression is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast, final

from chainrule.graph.dtype import DType, real_of
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Project

from . import ir
from .affine import Affine, Flat, Index
from .builder import Builder
from .fuse import Plan

START = Affine(())

__all__ = ["Buffer", "Frame", "Pair", "Region", "Value", "Window", "real_name"]

Pair: TypeAlias = tuple[ir.Expr, ir.Expr]
Value: TypeAlias = "ir.Expr | Pair"
"""A name or literal, or a pair of them for a complex element."""


def real_name(dtype: DType) -> ir.DTypeName:
    """The dtype of the real numbers that elements of ``dtype`` consist of."""
    return cast(ir.DTypeName, real_of(dtype).name)


@final
@dataclass(frozen=True, slots=True)
class Buffer:
    """C-ordered elements in memory, the first at ``offset``.

    ``level``: the number of the block in which they are final; ``fixed``: nothing in the kernel ever changes
    them.
    """

    name: str
    dtype: DType
    level: int
    fixed: bool = False
    offset: Affine = START


@final
@dataclass(frozen=True, slots=True)
class Window:
    """An input that is an array of an outer region at the leading indices ``prefix``."""

    region: Region
    node: Node
    prefix: tuple[Affine, ...] = ()


@final
class Frame:
    """What is computed of a region at one index. ``outer``: the same, as seen from outside the branch."""

    __slots__ = ("guard", "index", "level", "outer", "region", "values")

    def __init__(
        self, region: Region, index: Index, guard: ir.Expr | None, level: int, outer: Frame | None
    ) -> None:
        self.region, self.index, self.guard, self.level, self.outer = region, index, guard, level, outer
        self.values: dict[Node, Value] = {}

    def find(self, node: Node) -> Value | None:
        frame: Frame | None = self
        while frame is not None:
            found = frame.values.get(node)
            if found is not None:
                return found
            frame = frame.outer
        return None


@final
class Region:
    """A graph that is being lowered into the block that is innermost when the region is made."""

    def __init__(
        self, builder: Builder, graph: Graph, plan: Plan, inputs: tuple[Value | Buffer | Window, ...]
    ) -> None:
        self.builder, self.graph, self.plan, self.inputs = builder, graph, plan, inputs
        self.depth = builder.depth
        self.buffers: dict[Node, Buffer] = {}  # of stored nodes
        self.complete: set[Node] = set()  # those that can be read
        self.constants: dict[Node, Buffer] = {}
        self._frames: dict[tuple[Index, ir.Expr | None, int], Frame] = {}
        self.projects: dict[
            Node, dict[int, Node]
        ] = {}  # node with several results → its results that are used
        for node in graph.nodes:
            if isinstance(node.op, Project):
                self.projects.setdefault(node.args[0], {})[node.op.index] = node
        self.scalars = Frame(self, (), None, self.depth, None)
        self._frames[(), None, builder.floor] = self.scalars

    def frame(self, index: Index, guard: ir.Expr | None = None) -> Frame:
        """The frame at an index, where loads are guarded by ``guard``."""
        builder = self.builder
        key = (index, guard, builder.floor)
        found = self._frames.get(key)
        if found is None:
            terms = index.position.terms if isinstance(index, Flat) else [t for a in index for t in a.terms]
            level = max([builder.levels[name] for name, _ in terms], default=0)
            level = max(level, builder.level(guard), builder.floor, self.depth)
            seen = (self._frames.get((index, guard, floor)) for floor in reversed(builder.floors[:-1]))
            found = Frame(self, index, guard, level, next((f for f in seen if f is not None), None))
            self._frames[key] = found
            builder.on_close(level, lambda: self._forget(key))
        return found

    def _forget(self, key: tuple[Index, ir.Expr | None, int]) -> None:
        del self._frames[key]
