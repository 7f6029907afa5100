"""Branches, loops and calls: their bodies are graphs, those of branches and loops lowered into blocks of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import TypeAlias, TypeVar, cast, final

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim
from chainrule.graph.dtype import DType, is_complex
from chainrule.graph.node import Graph, Node, const_value, result_types
from chainrule.graph.op import Call, Callback, Cond, Contract, Input, Loop, Reduce, SizeOf, Type

from . import affine, ir
from .affine import Affine
from .builder import Builder, literal
from .elements import Elements
from .fuse import Group, Root
from .inplace import updates_of
from .nests import Nests
from .pieces import Pieces
from .region import Buffer, Region, Value, Window, real_name
from .schedule import divergent_width, piece
from .trajectories import UNBOUNDED, counter_of, is_written_first, most_steps

__all__ = ["Bound", "StructuredOps"]

Bound: TypeAlias = "Value | Buffer | Window"
InPlace: TypeAlias = Mapping[Node, Buffer]
LowerRegion: TypeAlias = Callable[[Graph, tuple[Bound, ...], Sequence["Buffer | None"], InPlace], Region]
_Maybe = TypeVar("_Maybe", Buffer, "Buffer | None")
Variable: TypeAlias = "tuple[ir.Var, ...]"  # one, or two for a complex number

MAP_PIECE = 4096
"""Steps of a map that one thread takes at a time: they are longer than those of elementwise loops."""

PRIVATE = 64
"""A map whose bodies hold larger arrays runs one by one, with lanes inside."""


@final
class StructuredOps:
    """Emits `Cond` and `Loop`; ``lower`` lowers a body into the innermost block."""

    def __init__(self, builder: Builder, elements: Elements, nests: Nests, lower: LowerRegion) -> None:
        self.builder, self.elements, self.nests, self.lower = builder, elements, nests, lower

    def emit(self, region: Region, node: Node) -> None:
        match node.op:
            case Cond(branches):
                self._cond(region, node, branches)
            case Call(body):
                self._call(region, node, body)
            case Loop(condition="predicate"):
                self._while(region, node, node.op)
            case Loop():
                self._for(region, node, node.op)
            case _:
                raise AssertionError(node.op)

    # --- arguments and results ----------------------------------------------------------------------------

    def _bound(self, region: Region, arg: Node) -> Bound:
        """How a body sees an argument from outside."""
        return Window(region, arg) if arg.shape else self.elements.value(region, arg, ())

    def _declare(self, dtype: DType, start: Value | None = None) -> Variable:
        name = real_name(dtype)
        if start is None:
            start = cast(Value, (literal(0, name),) * 2) if is_complex(dtype) else literal(0, name)
        parts = start if isinstance(start, tuple) else (start,)
        return tuple(self.builder.declare(part, name) for part in parts)

    def _snapshot(self, variable: Variable) -> Value:
        parts = tuple(self.builder.let(v, v.dtype) for v in variable)
        return cast(Value, parts) if len(parts) == 2 else parts[0]

    def _assign(self, variable: Variable, value: Value) -> None:
        for var, part in zip(variable, value if isinstance(value, tuple) else (value,), strict=True):
            self.builder.add(ir.Assign(var.name, part))

    def _buffer(self, region: Region, result: Node | None, kind: Type) -> Buffer:
        """Where an array result is made: the region's buffer for it, or scratch memory if nobody reads it."""
        if result is not None:
            return region.buffers[result]
        return self._scratch(kind, region.depth)

    def _scratch(self, kind: Type, level: int) -> Buffer:
        parts = 2 if is_complex(kind.dtype) else 1
        return Buffer(
            self.builder.alloc(real_name(kind.dtype), dims.product(kind.shape) * parts), kind.dtype, level
        )

    def _fill(self, region: Region, source: Node, target: Buffer) -> None:
        """target[…] = source"""
        group = Group(source.shape, "natural", (), [Root(source, source.shape, into=0)])
        self.nests.group(region, group, (target,))

    # --- branches -----------------------------------------------------------------------------------------

    def _cond(self, region: Region, node: Node, branches: tuple[Graph, ...]) -> None:
        builder = self.builder
        selector, *operands = node.args
        index = self.elements.cast(
            self.elements.value(region, selector, ()), selector.dtype, np.dtype(np.int64)
        )
        used = sorted(region.projects.get(node, {}).items())
        inputs = tuple(self._bound(region, arg) for arg in operands)
        variables = {k: self._declare(result.dtype) for k, result in used if not result.shape}
        targets = [region.buffers[result] if result.shape else None for _, result in used]
        blocks = []
        for branch in branches:
            builder.open()
            with builder.floor_here():
                body = branch.replace([branch.outputs[k] for k, _ in used])
                inner = self.lower(body, inputs, [_deeper(t, builder.depth) for t in targets], {})
                for (k, _), output in zip(used, body.outputs, strict=True):
                    if k in variables:
                        self._assign(variables[k], inner.scalars.values[output])
            blocks.append(builder.close())
        chosen = blocks[-1]
        for k in range(len(branches) - 2, -1, -1):
            test = ir.Apply("le", (cast(ir.Expr, index), literal(k, "int64")), "bool")
            chosen = (ir.If(test, blocks[k], chosen),)
        for statement in chosen:
            builder.add(statement)
        self._results(region, node, variables)

    def _call(self, region: Region, node: Node, body: Graph) -> None:
        """The body here and now; what it computes is its own, and is gone when it ends."""
        used = sorted(region.projects.get(node, {}).items())
        inputs = tuple(self._bound(region, arg) for arg in node.args)
        body = body.replace([body.outputs[k] for k, _ in used])
        targets = [region.buffers[result] if result.shape else None for _, result in used]
        inner = self.lower(body, inputs, targets, {})
        for (_, result), output in zip(used, body.outputs, strict=True):
            if result.shape:
                region.complete.add(result)
            else:
                region.scalars.values[result] = inner.scalars.values[output]

    def _results(self, region: Region, node: Node, variables: dict[int, Variable]) -> None:
        """What the op gives becomes known in the region."""
        for k, result in region.projects.get(node, {}).items():
            if k in variables:
                region.scalars.values[result] = self._snapshot(variables[k])
            else:
                region.complete.add(result)

    # --- carries ------------------------------------------------------------------------------------------

    def _start(
        self, region: Region, node: Node, carries: Sequence[Node], unread: Set[int] = frozenset()
    ) -> tuple[dict[int, Variable], dict[int, Buffer]]:
        """The carries before the first step: variables, and buffers which are those of the results.

        Of those in ``unread`` nothing is read that the loop has not written.
        """
        variables: dict[int, Variable] = {}
        buffers: dict[int, Buffer] = {}
        results = region.projects.get(node, {})
        for k, carry in enumerate(carries):
            if carry.shape:
                buffers[k] = self._buffer(region, results.get(k), carry.type)
                if k not in unread and not _is_at(region, carry, buffers[k]):
                    self._fill(region, carry, buffers[k])
            else:
                variables[k] = self._declare(carry.dtype, self.elements.value(region, carry, ()))
        return variables, buffers

    def _carried(self, count: int, variables: dict[int, Variable], buffers: dict[int, Buffer]) -> list[Bound]:
        """The carries as a body sees them at its start."""
        depth = self.builder.depth
        return [
            self._snapshot(variables[k]) if k in variables else _deeper(buffers[k], depth)
            for k in range(count)
        ]

    def _step(
        self, body: Graph, inputs: tuple[Bound, ...],
        variables: dict[int, Variable], buffers: dict[int, Buffer], stacked: Sequence[Buffer | None],
    ) -> Region:  # fmt: skip
        """Lowers a body: its carries become the next ones, all at once."""
        depth = self.builder.depth
        following: dict[int, Buffer] = {}
        targets: list[Buffer | None] = []
        in_place: dict[Node, Buffer] = {}
        for k, output in enumerate(body.outputs[: len(variables) + len(buffers)]):
            carry = _input_of(body, inputs, buffers[k]) if k in buffers else None
            if carry is not None and output is not carry:
                updates = [] if body.outputs.count(output) > 1 else updates_of(body, output, carry)
                in_place.update(dict.fromkeys(updates, _deeper(buffers[k], depth)))
                if not updates:
                    following[k] = self._scratch(output.type, depth)
            targets.append(following.get(k))
        inner = self.lower(body, inputs, [*targets, *stacked], in_place)
        for k, variable in variables.items():
            self._assign(variable, inner.scalars.values[body.outputs[k]])
        for k, source in following.items():
            self.nests.copy(source, buffers[k], dims.product(body.outputs[k].shape))
        return inner

    # --- while --------------------------------------------------------------------------------------------

    def _while(self, region: Region, node: Node, op: Loop) -> None:
        builder = self.builder
        assert op.predicate is not None
        counter = counter_of(node)
        unread = {k for k in range(op.carries) if is_written_first(region.graph, node, k, counter)}
        variables, buffers = self._start(region, node, node.args[: op.carries], unread)
        captured = [self._bound(region, arg) for arg in node.args[op.carries :]]
        number = None if counter is None else builder.index(UNBOUNDED)

        def carried() -> list[Bound]:
            found = self._carried(op.carries, variables, buffers)
            if counter is not None and number is not None:
                found[counter] = number
            return found

        builder.open()
        inner = self.lower(op.predicate, (*carried(), *captured), [None], {})
        condition = inner.scalars.values[op.predicate.outputs[0]]
        head = builder.close()
        builder.open()
        self._step(op.body, (*carried(), *captured), variables, buffers, ())
        body = builder.close()
        builder.add(ir.While(head, cast(ir.Expr, condition), body, "" if number is None else number.name))
        self._results(region, node, variables)

    # --- for ----------------------------------------------------------------------------------------------

    def _for(self, region: Region, node: Node, op: Loop) -> None:
        builder, elements = self.builder, self.elements
        count = cast(ir.Expr, elements.value(region, node.args[0], ()))
        first_scanned = 1 + op.carries
        first_captured = first_scanned + op.scanned
        variables, buffers = self._start(region, node, node.args[1:first_scanned])
        captured = [self._bound(region, arg) for arg in node.args[first_captured:]]
        results = region.projects.get(node, {})
        private = op.condition == "map" and not self.nests.serial and _is_private(op.body)

        known = op.length if op.length is not None else _known(node.args[0])
        length = piece(known, most=MAP_PIECE) if private and known is not None else None
        pieces = None if length is None else Pieces(builder, count, length, known)
        if pieces is None:
            index = builder.index(most_steps(node.args[0]) if known is None else known)
            builder.open()
        else:
            index = pieces.open()
        if private:
            builder.private.append(builder.blocks[-1])
            self.nests.serial = True
        place = affine.variable(index.name)
        used = set(op.body.nodes)
        slices: list[Bound] = []
        for k, arg in enumerate(node.args[first_scanned:first_captured]):
            if len(arg.shape) > 1:
                slices.append(Window(region, arg, (place,)))
            elif op.body.arguments[first_scanned + k] in used:
                slices.append(elements.value(region, arg, (place,)))
            else:
                slices.append(literal(0, "int64"))
        inputs = (
            builder.shared(builder.integer(place), "int64"),
            *self._carried(op.carries, variables, buffers), *slices, *captured,
        )  # fmt: skip
        wanted = [k for k in range(len(op.body.outputs)) if k < op.carries or k in results]
        body = op.body.replace([op.body.outputs[k] for k in wanted])
        stacked = [_at(region.buffers[results[k]], place, op.body.outputs[k]) for k in wanted[op.carries :]]
        targets = [t if o.shape else None for t, o in zip(stacked, body.outputs[op.carries :], strict=True)]
        inner = self._step(body, inputs, variables, buffers, [_deeper(t, builder.depth) for t in targets])
        for target, output in zip(stacked, body.outputs[op.carries :], strict=True):
            if not output.shape:
                self.nests.store(target, affine.constant(0), inner.scalars.values[output])
        if private:
            builder.private.pop()
            self.nests.serial = False
        if pieces is not None:
            pieces.close("lanes", lanes=divergent_width(builder.blocks[-1]))
            pieces.finish()
        elif private:
            width = divergent_width(builder.blocks[-1])
            builder.add(ir.For(index.name, count, "lanes", builder.close(), (), width))
        else:
            builder.add(ir.For(index.name, count, "serial", builder.close(), descending=op.reverse))
        self._results(region, node, variables)


def _at(buffer: Buffer, place: Affine, output: Node) -> Buffer:
    """The part of a stacked result that one step writes."""
    return Buffer(
        buffer.name,
        buffer.dtype,
        buffer.level,
        offset=buffer.offset + place.scaled(dims.product(output.shape)),
    )


def _deeper(buffer: _Maybe, level: int) -> _Maybe:
    """The buffer as it is seen in an inner block, in which it changes."""
    if buffer is None:
        return buffer
    return Buffer(buffer.name, buffer.dtype, level, offset=buffer.offset)


def _input_of(body: Graph, inputs: tuple[Bound, ...], buffer: Buffer) -> Node | None:
    """The argument of a body that is bound to ``buffer``."""
    for argument, bound in zip(body.arguments, inputs, strict=True):
        if isinstance(bound, Buffer) and bound.name == buffer.name:
            return argument
    return None


def _is_at(region: Region, value: Node, buffer: Buffer) -> bool:
    """Whether an array of a body is in ``buffer`` already: a carry that a loop inside changes in place."""
    found: Bound | None = region.buffers.get(value)
    if found is None and isinstance(value.op, Input):
        found = region.inputs[value.op.position]
    return isinstance(found, Buffer) and (found.name, found.offset) == (buffer.name, buffer.offset)


def _known(count: Node) -> Dim | None:
    """A trip count that is a number or a size."""
    if isinstance(count.op, SizeOf):
        return count.op.dim
    value = const_value(count)
    return None if value is None else max(int(value), 0)


def _is_private(body: Graph) -> bool:
    """Whether a step needs so little memory and so short loops that steps side by side, as lanes, pay."""
    for graph in _bodies(body):
        for node in graph.nodes:
            if isinstance(node.op, Callback):
                return False
            types = list(chain.from_iterable(result_types(a) for a in node.args)) if node.args else []
            if not isinstance(node.op, (Reduce, Contract)):
                types = []
            if node.args:
                types.extend(result_types(node))
            if any(kind.shape and not _is_little(kind) for kind in types):
                return False
    return True


def _is_little(kind: Type) -> bool:
    size = dims.product(kind.shape)
    return isinstance(size, int) and size <= PRIVATE


def _bodies(body: Graph) -> Iterator[Graph]:
    stack = [body]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.nodes:
            if isinstance(node.op, Cond):
                stack.extend(node.op.branches)
            elif isinstance(node.op, Loop):
                stack.append(node.op.body)
                if node.op.predicate is not None:
                    stack.append(node.op.predicate)
