"""Ops whose loops run in order: running sums, scatter, sort."""

from __future__ import annotations

from typing import cast, final

import numpy as np

from chainrule.graph.dim import Dim
from chainrule.graph.dtype import is_complex
from chainrule.graph.node import Node
from chainrule.graph.op import Cumulative, Scatter, Sort

from . import affine, ir
from .affine import Affine
from .builder import Builder, literal
from .elements import Elements
from .nests import Nests
from .region import Buffer, Region, Value, real_name
from .unsupported import unsupported

__all__ = ["SerialOps"]

_INT = np.dtype(np.int64)


@final
class SerialOps:
    """Emits one op at a time, into the buffer that the region has for it."""

    def __init__(self, builder: Builder, elements: Elements, nests: Nests) -> None:
        self.builder, self.elements, self.nests = builder, elements, nests

    def emit(self, region: Region, node: Node) -> None:
        match node.op:
            case Cumulative():
                self._cumulative(region, node, node.op)
            case Scatter():
                self._scatter(region, node, node.op)
            case Sort():
                self._sort(region, node, node.op)
            case _:
                raise AssertionError(node.op)

    # --- loops --------------------------------------------------------------------------------------------

    def _open(self, extent: Dim) -> ir.Var:
        index = self.builder.index(extent)
        self.builder.open()
        return index

    def _close(self, index: ir.Var, extent: Dim, kind: str = "serial") -> None:
        self.nests.close(index, extent, "serial" if self.nests.serial else kind, ())

    # --- running sums -------------------------------------------------------------------------------------

    def _cumulative(self, region: Region, node: Node, op: Cumulative) -> None:
        """The other axes around the axis; the last of them as lanes if it is the contiguous one."""
        builder, shape, (arg,) = self.builder, node.shape, node.args
        outer = [k for k in range(len(shape)) if k != op.axis]
        loops: list[tuple[ir.Var, Dim, str]] = []
        at: list[Affine] = [affine.constant(0)] * len(shape)
        for k in outer:
            index = self._open(shape[k])
            at[k] = affine.variable(index.name)
            loops.append((index, shape[k], "lanes" if k == len(shape) - 1 else "serial"))
        name = real_name(node.dtype)
        parts = 2 if is_complex(node.dtype) else 1
        start = 1 if op.kind == "prod" else 0
        total = [builder.declare(literal(start if k == 0 else 0, name), name) for k in range(parts)]
        step = self._open(shape[op.axis])
        first = affine.variable(step.name)
        at[op.axis] = first.scaled(-1) + (shape[op.axis] - 1) if op.reverse else first
        before = (
            cast(Value, tuple(builder.let(v, name) for v in total))
            if parts == 2
            else builder.let(total[0], name)
        )
        element = self.elements.value(region, arg, tuple(at))
        after = self._combined(op.kind, before, element, node, builder.integer(first))
        for var, part in zip(total, after if isinstance(after, tuple) else (after,), strict=True):
            builder.add(ir.Assign(var.name, part))
        self.nests.store(region.buffers[node], affine.ravel(tuple(at), shape), after)
        self._close(step, shape[op.axis])
        for index, extent, kind in reversed(loops):
            self._close(index, extent, kind)

    def _combined(self, kind: str, before: Value, element: Value, node: Node, step: ir.Expr) -> Value:
        builder, dtype = self.builder, node.dtype
        if isinstance(before, tuple) and isinstance(element, tuple):
            if kind == "prod":
                return self.elements.product(before, element, dtype)
            re, im = (
                builder.apply("add", pair, real_name(dtype)) for pair in zip(before, element, strict=True)
            )
            return re, im
        names = {"sum": "add", "prod": "mul", "min": "minimum", "max": "maximum"}
        if dtype.kind == "b":
            names = {"sum": "logical_or", "prod": "logical_and", "min": "logical_and", "max": "logical_or"}
        value = builder.apply(names[kind], (cast(ir.Expr, before), cast(ir.Expr, element)), real_name(dtype))
        if kind in ("sum", "prod"):
            return value
        first = builder.apply("eq", (step, literal(0, "int64")), "bool")
        return builder.apply("where", (first, cast(ir.Expr, element), value), real_name(dtype))

    # --- scatter ------------------------------------------------------------------------------------------

    def _scatter(self, region: Region, node: Node, op: Scatter) -> None:
        """Index by index, as they may repeat; the axes that are not indexed may be lanes."""
        builder, elements = self.builder, self.elements
        base, values, *indices = node.args
        rank = len(indices[0].shape)
        loops: list[tuple[ir.Var, Dim, str]] = []
        at: list[Affine] = []
        for k, extent in enumerate(values.shape):
            index = self._open(extent)
            at.append(affine.variable(index.name))
            loops.append((index, extent, "lanes" if k >= rank and k == len(values.shape) - 1 else "serial"))
        inside: ir.Expr | None = None
        places: dict[int, Affine] = {}
        for axis, number in zip(op.axes, indices, strict=True):
            index_value = elements.value(region, number, tuple(at[:rank]))
            place = builder.affine(cast(ir.Expr, elements.cast(index_value, number.dtype, _INT)))
            inside = builder.both(inside, elements.within(place, 0, base.shape[axis]))
            places[axis] = place
        if inside != literal(False, "bool"):
            rest = iter(at[rank:])
            target = tuple(places[k] if k in places else next(rest) for k in range(len(base.shape)))
            position = affine.ravel(target, base.shape)
            buffer = region.buffers[node]
            value = elements.value(region, values, tuple(at))
            if op.kind == "add":
                value = self._added(self._current(buffer, position, inside), value, node)
            self.nests.store(buffer, position, value, inside)
        for index, extent, kind in reversed(loops):
            self._close(index, extent, kind)

    def _current(self, buffer: Buffer, position: Affine, guard: ir.Expr | None) -> Value:
        """What is in memory here and now."""
        now = Buffer(buffer.name, buffer.dtype, self.builder.depth, offset=buffer.offset)
        return self.elements.load(now, position, guard)

    def _added(self, a: Value, b: Value, node: Node) -> Value:
        name = real_name(node.dtype)
        if isinstance(a, tuple) and isinstance(b, tuple):
            re, im = (self.builder.apply("add", pair, name) for pair in zip(a, b, strict=True))
            return re, im
        add = "logical_or" if node.dtype.kind == "b" else "add"
        return self.builder.apply(add, (cast(ir.Expr, a), cast(ir.Expr, b)), name)

    # --- sort ---------------------------------------------------------------------------------------------

    def _sort(self, region: Region, node: Node, op: Sort) -> None:
        """Merge sort from the bottom up, of a permutation: stable, NaN last, n·log n for every input."""
        builder, (arg,) = self.builder, node.args
        if is_complex(arg.dtype):
            raise unsupported(
                region.graph, node, "sorting complex numbers", "sort their real parts or absolute values"
            )
        shape, name = arg.shape, real_name(arg.dtype)
        n = shape[op.axis]
        keys, order, merged = (builder.alloc(dtype, n) for dtype in (name, "int64", "int64"))
        loops: list[tuple[ir.Var, Dim]] = []
        at: list[Affine] = [affine.constant(0)] * len(shape)
        for k in range(len(shape)):
            if k != op.axis:
                index = self._open(shape[k])
                at[k] = affine.variable(index.name)
                loops.append((index, shape[k]))
        step = self._open(n)
        at[op.axis] = affine.variable(step.name)
        builder.add(ir.Store(keys, step, cast(ir.Expr, self.elements.value(region, arg, tuple(at)))))
        builder.add(ir.Store(order, step, step))
        self._close(step, n)
        self._merge_all(keys, order, merged, n, name)
        step = self._open(n)
        at[op.axis] = affine.variable(step.name)
        chosen: ir.Expr = builder.let(ir.Load(order, step, "int64"), "int64")
        if not op.indices:
            chosen = builder.let(ir.Load(keys, chosen, real_name(arg.dtype)), name)
        self.nests.store(region.buffers[node], affine.ravel(tuple(at), shape), chosen)
        self._close(step, n)
        for index, extent in reversed(loops):
            self._close(index, extent)

    def _merge_all(self, keys: str, order: str, merged: str, n: Dim, name: ir.DTypeName) -> None:
        builder, size = self.builder, self.builder.dim(n)
        width = builder.declare(literal(1, "int64"), "int64")
        builder.open()
        low = builder.declare(literal(0, "int64"), "int64")
        builder.open()
        self._merge(keys, order, merged, size, width, low, name)
        runs = builder.close()
        builder.add(ir.While((), ir.Apply("lt", (low, size), "bool"), runs))
        step = self._open(n)
        builder.add(ir.Store(order, step, builder.let(ir.Load(merged, step, "int64"), "int64")))
        self._close(step, n)
        builder.add(ir.Assign(width.name, _int("add", width, width)))
        passes = builder.close()
        builder.add(ir.While((), ir.Apply("lt", (width, size), "bool"), passes))

    def _merge(
        self, keys: str, order: str, merged: str,
        size: ir.Expr, width: ir.Var, low: ir.Var, name: ir.DTypeName,
    ) -> None:  # fmt: skip
        """Merges the sorted runs [low, middle) and [middle, high) of ``order`` into ``merged``."""
        builder = self.builder
        start = builder.let(low, "int64")
        middle = builder.let(_int("minimum", _int("add", start, width), size), "int64")
        high = builder.let(_int("minimum", _int("add", middle, width), size), "int64")
        left, right = builder.declare(start, "int64"), builder.declare(middle, "int64")
        index = builder.index(None)
        builder.open()
        has_left = builder.let(ir.Apply("lt", (left, middle), "bool"), "bool")
        has_right = builder.let(ir.Apply("lt", (right, high), "bool"), "bool")
        a = builder.let(ir.Load(order, left, "int64", has_left), "int64")
        b = builder.let(ir.Load(order, right, "int64", has_right), "int64")
        key_a, key_b = (builder.let(ir.Load(keys, place, name), name) for place in (a, b))
        less: ir.Expr = ir.Apply("lt", (key_b, key_a), "bool")
        if name in ("float32", "float64"):
            number = ir.Apply("logical_not", (ir.Apply("isnan", (key_b,), "bool"),), "bool")
            before_nan = ir.Apply("logical_and", (ir.Apply("isnan", (key_a,), "bool"), number), "bool")
            less = ir.Apply("logical_or", (less, before_nan), "bool")
        take_right = ir.Apply("logical_and", (has_right, less), "bool")
        no_left = ir.Apply("logical_not", (has_left,), "bool")
        right_next = builder.let(ir.Apply("logical_or", (no_left, take_right), "bool"), "bool")
        chosen = ir.Apply("where", (right_next, b, a), "int64")
        builder.add(ir.Store(merged, _int("add", start, index), chosen))
        one = builder.let(ir.Cast(right_next, "int64"), "int64")
        builder.add(ir.Assign(right.name, _int("add", right, one)))
        builder.add(ir.Assign(left.name, _int("add", left, _int("sub", literal(1, "int64"), one))))
        body = builder.close()
        builder.add(ir.For(index.name, _int("sub", high, start), "serial", body))
        builder.add(ir.Assign(low.name, high))


def _int(name: str, a: ir.Expr, b: ir.Expr) -> ir.Expr:
    return ir.Apply(name, (a, b), "int64")
