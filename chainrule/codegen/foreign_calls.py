"""Calls of foreign functions: arguments into memory, the call, results out of it."""

from __future__ import annotations

from typing import final

from chainrule.graph import dim as dims
from chainrule.graph.after import AFTER
from chainrule.graph.dtype import is_complex
from chainrule.graph.node import Node, result_types
from chainrule.graph.op import Callback, Type

from . import affine, ir
from .affine import Affine
from .builder import Builder
from .calls import size_arguments, symbol_of
from .elements import Elements
from .fuse import Group, Root
from .nests import Nests
from .region import Buffer, Region, real_name

__all__ = ["ForeignCalls"]


@final
class ForeignCalls:
    """Emits `Callback`."""

    def __init__(self, builder: Builder, elements: Elements, nests: Nests) -> None:
        self.builder, self.elements, self.nests = builder, elements, nests

    def emit(self, region: Region, node: Node) -> None:
        if isinstance(node.op, Callback) and node.op.key == AFTER:
            self._pass_on(region, node)
            return
        builder = self.builder
        kinds = result_types(node)
        memory = [self._scratch(region, kind) for kind in (*(a.type for a in node.args), *kinds)]
        for arg, buffer in zip(node.args, memory, strict=False):
            if arg.shape:
                group = Group(arg.shape, "natural", (), [Root(arg, arg.shape, into=0)])
                self.nests.group(region, group, (buffer,))
            else:
                self.nests.store(buffer, affine.constant(0), self.elements.value(region, arg, ()))
        sizes = [builder.dim(d) for d in size_arguments([*(a.type for a in node.args), *kinds])]
        builder.add(ir.Call(symbol_of(node), (*[b.name for b in memory], *sizes)))
        for index, buffer in enumerate(memory[len(node.args) :]):
            self._result(region, node, index, kinds[index], buffer)

    def _pass_on(self, region: Region, node: Node) -> None:
        """The first argument: the others are effects, which came before."""
        value = node.args[0]
        result = region.projects.get(node, {}).get(0)
        if result is None:
            return
        if value.shape:
            group = Group(value.shape, "natural", (), [Root(value, value.shape, into=0)])
            self.nests.group(region, group, (region.buffers[result],))
            region.complete.add(result)
        else:
            region.scalars.values[result] = self.elements.value(region, value, ())

    def _scratch(self, region: Region, kind: Type) -> Buffer:
        count = dims.product(kind.shape)
        parts = 2 if is_complex(kind.dtype) else 1
        return Buffer(self.builder.alloc(real_name(kind.dtype), count * parts), kind.dtype, region.depth)

    def _result(self, region: Region, node: Node, index: int, kind: Type, source: Buffer) -> None:
        result = node if not isinstance(node.type, tuple) else region.projects.get(node, {}).get(index)
        if result is None:
            return
        if kind.shape:
            self.nests.copy(source, region.buffers[result], dims.product(kind.shape))
            region.complete.add(result)
        else:
            now = Buffer(source.name, source.dtype, self.builder.depth)
            region.scalars.values[result] = self.elements.load(now, Affine(()), None)


