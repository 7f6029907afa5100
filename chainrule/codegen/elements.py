"""One element of a node at an index: how virtual nodes are computed where they are read.

Evaluation is iterative: an element's computation is a generator that yields the elements that it needs.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, cast, final

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim, Shape
from chainrule.graph.dtype import DType, is_complex, real_of
from chainrule.graph.node import Graph, Node, const_value
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Gather,
    Input,
    Insert,
    Iota,
    Pad,
    Reshape,
    Reverse,
    Scalar,
    SizeOf,
    Slice,
    Stop,
    Transpose,
)  # fmt: skip
from chainrule.graph.scalar import PRIMITIVES

from . import affine, complex, ir
from .affine import Affine, Flat, Index
from .builder import Builder, literal, literal_int
from .fma import Fused
from .region import Buffer, Frame, Pair, Region, Value, Window, real_name
from .unsupported import unsupported

__all__ = ["Elements"]

Task: TypeAlias = Generator[tuple[Frame, Node], Value, Value]


@final
class Elements:
    """Computes elements by adding statements to the builder's blocks."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def value(self, region: Region, node: Node, index: Index, guard: ir.Expr | None = None) -> Value:
        """The element of ``node`` at ``index``; where ``guard`` is false anything, read from nowhere."""
        if not node.shape:
            index, guard = (), None
        return self.at(region.frame(index, guard) if node.shape else region.scalars, node)

    def at(self, frame: Frame, node: Node) -> Value:
        found = frame.find(node)
        if found is not None:
            return found
        stack: list[tuple[Frame, Node, Task]] = [(frame, node, self._compute(frame, node))]
        answer: Value | None = None
        while stack:
            here, what, task = stack[-1]
            try:
                request = next(task) if answer is None else task.send(answer)
            except StopIteration as done:
                answer = here.values[what] = done.value
                stack.pop()
                continue
            answer = request[0].find(request[1])
            if answer is None:
                stack.append((*request, self._compute(*request)))
        assert answer is not None
        return answer

    def load(self, buffer: Buffer, position: Affine, guard: ir.Expr | None = None) -> Value:
        """The element at a position; zero where the guard is false."""
        position = position + buffer.offset
        if not is_complex(buffer.dtype):
            return self._load(buffer, position, guard)
        twice = position.scaled(2)
        return self._load(buffer, twice, guard), self._load(buffer, twice + 1, guard)

    def _load(self, buffer: Buffer, position: Affine, guard: ir.Expr | None) -> ir.Expr:
        builder, dtype = self.builder, real_name(buffer.dtype)
        index = builder.integer(position)
        load = ir.Load(buffer.name, index, dtype, guard)
        if buffer.fixed:
            return builder.shared(load, dtype)
        return builder.bind(load, dtype, max(builder.level(index), builder.level(guard), buffer.level))

    # --- one element, by family ---------------------------------------------------------------------------

    def _compute(self, frame: Frame, node: Node) -> Task:
        region, op = frame.region, node.op
        if node in region.complete:
            return self._stored(frame, node, region.buffers[node])
        if type(op) is Scalar:
            fused = region.plan.fused.get(node)
            return self._scalar(frame, node, op.name) if fused is None else self._fma(frame, node, fused)
        match op:
            case Input(_, position, _):
                return self._input(frame, node, region.inputs[position])
            case Const():
                return self._const(frame, node)
            case SizeOf(dim):
                return _done(self.builder.dim(dim))
            case Iota():
                return _done(
                    self.builder.shared(
                        self.builder.integer(self.by_axis(frame.index, node.shape)[0]), "int64"
                    )
                )
            case Cast(dtype):
                return self._cast(frame, node, dtype)
            case Stop():
                return self._pass(frame, node.args[0])
            case Concatenate(axis):
                return self._concatenate(frame, node, axis)
            case Insert(starts, steps):
                return self._insert(frame, node, starts, steps)
            case Pad(low, _, inner):
                return self._pad(frame, node, low, inner)
            case Gather(axes):
                return self._gather(frame, node, axes)
            case Broadcast() | Transpose() | Reshape() | Slice() | Reverse():
                return self._view(frame, node)
            case _:
                raise AssertionError(f"{op} is computed by a loop")

    def _stored(self, frame: Frame, node: Node, buffer: Buffer) -> Task:
        return _done(self.load(buffer, self.position(frame.index, node.shape), frame.guard))

    def _input(self, frame: Frame, node: Node, bound: Value | Buffer | Window) -> Task:
        if isinstance(bound, Buffer):
            return self._stored(frame, node, bound)
        if not isinstance(bound, Window):
            return _done(bound)
        return self._window(frame, node, bound)

    def _window(self, frame: Frame, node: Node, window: Window) -> Task:
        index: Index
        if not window.prefix:
            index = frame.index
        elif isinstance(frame.index, Flat):
            ahead = affine.ravel(window.prefix, window.node.shape[: len(window.prefix)])
            index = Flat(ahead.scaled(dims.product(node.shape)) + frame.index.position)
        else:
            index = (*window.prefix, *frame.index)
        inner = window.region.frame(index, frame.guard) if window.node.shape else window.region.scalars
        return (yield inner, window.node)

    def _const(self, frame: Frame, node: Node) -> Task:
        assert isinstance(node.op, Const)
        array = node.op.value.reshape(-1)
        same = array.size > 0 and array.tobytes() == array[:1].tobytes() * array.size
        if same:
            return _done(_literal(array[0]))
        position = self.position(frame.index, node.shape)
        if not position.terms and isinstance(position.constant, int) and 0 <= position.constant < array.size:
            return _done(_literal(array[position.constant]))
        return self._stored(frame, node, self._constant_buffer(frame.region, node))

    def _constant_buffer(self, region: Region, node: Node) -> Buffer:
        """A constant array in memory, written at the start of the kernel."""
        found = region.constants.get(node)
        if found is None:
            assert isinstance(node.op, Const)
            values = node.op.value.reshape(-1)
            reals = values.view(real_of(node.dtype)) if is_complex(node.dtype) else values
            name = self.builder.alloc(real_name(node.dtype), len(reals), common=True)
            store = self.builder.blocks[0].append
            for k, number in enumerate(reals):
                store(ir.Store(name, literal(k, "int64"), literal(number, real_name(node.dtype))))
            found = region.constants[node] = Buffer(name, node.dtype, 0, fixed=True)
        return found

    def _pass(self, frame: Frame, arg: Node) -> Task:
        return (yield self._operand(frame, arg), arg)

    @staticmethod
    def _operand(frame: Frame, arg: Node) -> Frame:
        """Where an elementwise op reads an argument."""
        return frame if arg.shape else frame.region.scalars

    def _scalar(self, frame: Frame, node: Node, name: str) -> Task:
        args: list[Value] = []
        for arg in node.args:
            args.append((yield self._operand(frame, arg), arg))
        return self.primitive(frame.region.graph, node, name, args)

    def _fma(self, frame: Frame, node: Node, fused: Fused) -> Task:
        dtype, values = node.dtype, []
        for arg in (fused.a, fused.b, fused.c):
            value = yield self._operand(frame, arg), arg
            values.append(self.cast(value, arg.dtype, dtype))
        a, b, c = cast(list[ir.Expr], values)
        name = real_name(dtype)
        if fused.negative_product:
            a = self.builder.apply("neg", (a,), name)
        if fused.negative_addend:
            c = self.builder.apply("neg", (c,), name)
        return self.builder.bind(ir.Fma(a, b, c, name), name)

    def _cast(self, frame: Frame, node: Node, dtype: DType) -> Task:
        (arg,) = node.args
        return self.cast((yield self._operand(frame, arg), arg), arg.dtype, dtype)

    # --- views --------------------------------------------------------------------------------------------

    def _view(self, frame: Frame, node: Node) -> Task:
        (arg,) = node.args
        if not arg.shape:
            return (yield frame.region.scalars, arg)
        return (yield frame.region.frame(self._source(frame.index, node), frame.guard), arg)

    def _source(self, index: Index, node: Node) -> Index:
        """The index in the argument of a view."""
        (arg,), op = node.args, node.op
        if isinstance(op, Reshape):
            if len(arg.shape) == 1:
                return (self.position(index, node.shape),)
            return self.simplest(Flat(self.position(index, node.shape)), arg.shape)
        if isinstance(op, Slice) and isinstance(index, Flat) and is_leading(op, arg.shape):
            return Flat(index.position + op.starts[0] * dims.product(arg.shape[1:]))
        at = self.by_axis(index, node.shape)
        match op:
            case Broadcast(_, axes):
                return tuple(
                    affine.constant(0) if arg.shape[k] == 1 else at[axis] for k, axis in enumerate(axes)
                )
            case Transpose(axes):
                return tuple(at[axes.index(k)] for k in range(len(axes)))
            case Slice(starts, _, steps):
                return tuple(a.scaled(step) + start for a, start, step in zip(at, starts, steps, strict=True))
            case Reverse(axes):
                return tuple(
                    a.scaled(-1) + (n - 1) if k in axes else a
                    for k, (a, n) in enumerate(zip(at, node.shape, strict=True))
                )
            case _:
                raise AssertionError(op)

    def _pad(self, frame: Frame, node: Node, low: Shape, inner: tuple[int, ...]) -> Task:
        (arg,), builder = node.args, self.builder
        guard, source = frame.guard, cast("list[Affine]", [])
        inside: ir.Expr | None = None
        for a, below, gap, size in zip(
            self.by_axis(frame.index, node.shape), low, inner, arg.shape, strict=True
        ):
            place = a + (-below)
            extent = (size - 1) * (gap + 1) + 1 if gap else size
            inside = builder.both(inside, self.within(place, 0, extent))
            if gap:
                place, remainder = self.divide(place, gap + 1)
                if remainder.terms or remainder.constant != 0:
                    inside = builder.both(inside, builder.compare("eq", remainder, 0))
            source.append(place)
        if inside == literal(False, "bool"):
            return _zero(node.dtype)
        value = yield frame.region.frame(tuple(source), builder.both(guard, inside)), arg
        return value if inside is None else self.select(inside, value, _zero(node.dtype), node.dtype)

    def _concatenate(self, frame: Frame, node: Node, axis: int) -> Task:
        builder, at = self.builder, self.by_axis(frame.index, node.shape)
        start: Dim = 0
        pieces: list[tuple[ir.Expr | None, Value]] = []
        for arg in node.args:
            end = start + arg.shape[axis]
            inside = self.within(at[axis], start, end)
            if inside != literal(False, "bool"):
                source = (*at[:axis], at[axis] + (-start), *at[axis + 1 :])
                value = yield frame.region.frame(source, builder.both(frame.guard, inside)), arg
                pieces.append((inside, value))
            start = end
        result = pieces[-1][1]
        for inside, value in reversed(pieces[:-1]):
            result = value if inside is None else self.select(inside, value, result, node.dtype)
        return result

    def _insert(self, frame: Frame, node: Node, starts: Shape, steps: tuple[int, ...]) -> Task:
        (base, inserted), builder = node.args, self.builder
        source: list[Affine] = []
        inside: ir.Expr | None = None
        at = self.by_axis(frame.index, node.shape)
        for a, start, step, size in zip(at, starts, steps, inserted.shape, strict=True):
            place = a + (-start)
            if step != 1:
                inside = builder.both(inside, self.within(place, 0, (size - 1) * step + 1))
                place, remainder = self.divide(place, step)
                if remainder.terms or remainder.constant != 0:
                    inside = builder.both(inside, builder.compare("eq", remainder, 0))
            else:
                inside = builder.both(inside, self.within(place, 0, size))
            source.append(place)
        if inside == literal(False, "bool"):
            return (yield frame, base)
        value = yield frame.region.frame(tuple(source), builder.both(frame.guard, inside)), inserted
        if inside is None:
            return value
        return self.select(inside, value, (yield frame, base), node.dtype)

    def _gather(self, frame: Frame, node: Node, axes: tuple[int, ...]) -> Task:
        array, *indices = node.args
        rank = len(indices[0].shape)
        at: tuple[Affine, ...] = self.by_axis(frame.index, node.shape) if node.shape else ()
        rest = iter(at[rank:])
        places: dict[int, Affine] = {}
        for axis, number in zip(axes, indices, strict=True):
            inner = frame.region.frame(at[:rank], frame.guard) if rank else frame.region.scalars
            places[axis] = self.clamped((yield inner, number), number.dtype, array.shape[axis])
        source = tuple(places[k] if k in places else next(rest) for k in range(len(array.shape)))
        return (yield frame.region.frame(source, frame.guard), array)

    def clamped(self, value: Value, dtype: DType, size: Dim) -> Affine:
        """A computed index as the nearest one inside."""
        number = cast(ir.Expr, self.cast(value, dtype, np.dtype(np.int64)))
        known = literal_int(number)
        if known is not None and isinstance(size, int):
            return affine.constant(min(max(known, 0), size - 1))
        place = self.builder.affine(number)
        if self.builder.is_inside(place, size):
            return place
        last = self.builder.dim(size - 1)
        low = self.builder.shared(ir.Apply("minimum", (number, last), "int64"), "int64")
        return self.builder.affine(ir.Apply("maximum", (low, literal(0, "int64")), "int64"), size)

    # --- indices ------------------------------------------------------------------------------------------

    def position(self, index: Index, shape: Shape) -> Affine:
        return index.position if isinstance(index, Flat) else affine.ravel(index, shape)

    def by_axis(self, index: Index, shape: Shape) -> tuple[Affine, ...]:
        """An index an axis; a flat position is taken apart, with divisions where it must."""
        if not isinstance(index, Flat):
            return index
        position, result = index.position, []
        for size in reversed(shape[1:]):
            position, place = self.divide(position, size)
            result.append(place)
        return (position, *reversed(result)) if shape else ()

    def simplest(self, index: Flat, shape: Shape) -> Index:
        """A flat position as one index an axis if that needs no division."""
        position, result = index.position, []
        for size in reversed(shape[1:]):
            parts = affine.split(position, size, self.builder.ranges)
            if parts is None:
                return index
            position, place = parts
            result.append(place)
        return (position, *reversed(result))

    def divide(self, position: Affine, divisor: Dim) -> tuple[Affine, Affine]:
        """Quotient and remainder."""
        if isinstance(divisor, int) and divisor == 1:
            return position, affine.constant(0)
        parts = affine.split(position, divisor, self.builder.ranges)
        if parts is not None:
            return parts
        builder = self.builder
        dividend, by = builder.integer(position), builder.dim(divisor)
        quotient = builder.affine(ir.Apply("floordiv", (dividend, by), "int64"))
        return quotient, builder.affine(ir.Apply("mod", (dividend, by), "int64"), divisor)

    def within(self, a: Affine, start: Dim, end: Dim) -> ir.Expr | None:
        """The test start ≤ a < end; None where it always holds, a literal ``False`` where it never does."""
        highest, lowest = affine.upper(a, self.builder.ranges), affine.lower(a, self.builder.ranges)
        never = (lowest is not None and dims.at_least(lowest, end)) or (
            highest is not None and dims.at_least(start - 1, highest)
        )
        if never:
            return literal(False, "bool")
        test: ir.Expr | None = None
        if lowest is None or not dims.at_least(lowest, start):
            test = self.builder.compare("ge", a, start)
        if highest is None or not dims.at_least(end - 1, highest):
            test = self.builder.both(test, self.builder.compare("lt", a, end))
        return test

    # --- scalars ------------------------------------------------------------------------------------------

    def select(self, test: ir.Expr, yes: Value, no: Value, dtype: DType) -> Value:
        if yes == no:
            return yes
        name = real_name(dtype)
        if isinstance(yes, tuple) and isinstance(no, tuple):
            re, im = (self.builder.apply("where", (test, y, n), name) for y, n in zip(yes, no, strict=True))
            return re, im
        return self.builder.apply("where", (test, cast(ir.Expr, yes), cast(ir.Expr, no)), name)

    def cast(self, value: Value, source: DType, target: DType) -> Value:
        """Conversion as NumPy's ``astype``; of complex numbers to real ones, the real part."""
        if source == target:
            return value
        if is_complex(source):
            re, im = cast(Pair, value)
            if is_complex(target):
                return self._convert(re, source, target), self._convert(im, source, target)
            if target.kind == "b":
                tests = [self._convert(part, source, target) for part in (re, im)]
                return self.builder.apply("logical_or", tuple(tests), "bool")
            return self._convert(re, source, target)
        real = self._convert(cast(ir.Expr, value), source, target)
        return (real, literal(0, real_name(target))) if is_complex(target) else real

    def _convert(self, value: ir.Expr, source: DType, target: DType) -> ir.Expr:
        name = real_name(target)
        if real_name(source) == name:
            return value
        return self.builder.bind(ir.Cast(value, name), name)

    def primitive(self, graph: Graph, node: Node, name: str, args: list[Value]) -> Value:
        """The primitive ``name`` of elements, converted to the type in which it computes."""
        types = [a.dtype for a in node.args]
        if name == "where":
            yes, no = self._all_as(args[1:], types[1:], node.dtype)
            return self.select(cast(ir.Expr, args[0]), yes, no, node.dtype)
        skip = PRIMITIVES[name].literals
        common = node.dtype
        if PRIMITIVES[name].result in ("bool", "real", "complex"):
            common = np.result_type(*types[skip:])
            if name == "abs" and common.kind == "b":
                common = node.dtype
        if name == "complex":
            re, im = self._all_as(args, types, real_of(node.dtype))
            return cast(ir.Expr, re), cast(ir.Expr, im)
        if common.kind != "c":
            if name in ("real", "conj"):
                return args[0]
            if name == "imag":
                return literal(0, real_name(node.dtype))
            reals = [*args[:skip], *self._all_as(args[skip:], types[skip:], common)]
            return self.builder.apply(name, cast("tuple[ir.Expr, ...]", tuple(reals)), real_name(node.dtype))
        pairs = cast("tuple[Pair, ...]", tuple(self._all_as(args, types, common)))
        if name == "pow":
            exponent = const_value(node.args[1])
            if exponent is not None and exponent == int(np.real(exponent)) and abs(exponent) <= 64:
                return complex.integer_power(
                    self.builder, pairs[0], int(np.real(exponent)), real_name(common)
                )
        result = complex.parts(self.builder, name, pairs, real_name(common))
        if result is None:
            raise unsupported(
                graph, node, f"{name} of complex numbers", "take the real part, or use float arguments"
            )
        return result

    def product(self, a: Value, b: Value, dtype: DType) -> Value:
        """a·b of two elements of ``dtype``; a real product is left to the sum that reads it."""
        if isinstance(a, tuple) and isinstance(b, tuple):
            return cast(Pair, complex.parts(self.builder, "mul", (a, b), real_name(dtype)))
        name = "logical_and" if dtype.kind == "b" else "mul"
        return ir.Apply(name, (cast(ir.Expr, a), cast(ir.Expr, b)), real_name(dtype))

    def _all_as(self, args: list[Value], types: list[DType], target: DType) -> list[Value]:
        return [self.cast(a, t, target) for a, t in zip(args, types, strict=True)]


def is_leading(op: Slice, shape: Shape) -> bool:
    """Whether the slice is one contiguous piece: whole rows along axis 0."""
    whole = all(s == 0 for s in op.starts[1:]) and op.counts[1:] == shape[1:]
    return whole and all(step == 1 for step in op.steps)


def _done(value: Value) -> Task:
    """The generator of what is already known."""
    yield from ()
    return value


def _literal(number: np.generic) -> Value:
    dtype = number.dtype
    name = real_name(dtype)
    if is_complex(dtype):
        return literal(np.real(number), name), literal(np.imag(number), name)
    return literal(number, name)


def _zero(dtype: DType) -> Value:
    zero = literal(0, real_name(dtype))
    return (zero, zero) if is_complex(dtype) else zero
