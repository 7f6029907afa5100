"""Groups of roots as loops: stores and reductions that share an iteration space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, cast, final

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim, Shape
from chainrule.graph.dtype import DType, is_complex
from chainrule.graph.node import Node
from chainrule.graph.op import Broadcast, Contract, Input, Iota, Reduce, Reshape, Slice

from . import affine, ir
from .affine import Affine, Flat, Index
from .builder import Builder, literal
from .elements import Elements, is_leading
from .fuse import ELEMENTWISE, LEAVES, Group, Root, contract_space
from .pieces import Pieces
from .region import Buffer, Region, Value, Window, real_name
from .schedule import LANES, PIECE, Nest, contraction_lanes, nest, piece, width

__all__ = ["Nests"]

MOST_SUMS = 8
"""Sums in a loop up to which one of logarithms has registers for the three parts of each lane's (`vecmath_logs`)."""


@dataclass(slots=True)
class _Sum:
    """A reduction while its loops are built. ``depth``: how many loops are outside of it.

    ``of_logs``: it is given what it sums the logarithms of.
    """

    root: Root
    kind: str
    dtype: DType
    depth: int
    variables: dict[tuple[int, ...], Value] = field(default_factory=dict)  # by unrolled kept index
    places: dict[tuple[int, ...], ir.Var] = field(default_factory=dict)  # of argmin and argmax
    of_logs: bool = False

    def reductions(self, kind: str = "") -> Iterator[ir.Reduction]:
        for value in self.variables.values():
            for part in value if isinstance(value, tuple) else (value,):
                assert isinstance(part, ir.Var)
                yield ir.Reduction(part.name, cast(Any, kind or self.kind), part.dtype)


@final
class Nests:
    """Emits loops. ``serial`` while a loop of lanes is open: then no other may be."""

    def __init__(self, builder: Builder, elements: Elements) -> None:
        self.builder, self.elements = builder, elements
        self.serial = False

    # --- a group ------------------------------------------------------------------------------------------

    def group(self, region: Region, group: Group, targets: Sequence[Buffer | None]) -> None:
        """The loops of a group; its reductions become known in ``region``, its stores are made."""
        loops = self._nest(region, group)
        sums: list[_Sum] = []
        stores: list[Root] = []
        for root in group.roots:
            if root.is_reduction:
                sums.append(self._sum(root, loops))
            else:
                stores.append(root)
        _Body(self, region, group.space, loops, sums, stores, targets).emit()

    def _nest(self, region: Region, group: Group) -> Nest:
        space = group.space
        whole = all(len(r.axes) in (0, len(space)) and r.place is None for r in group.roots)
        flat = whole and group.kind == "natural" and len(space) > 1 and _is_flat(region, group.roots, space)
        lanes = None
        reduced = frozenset(group.axes)
        if group.kind == "contract":
            contract = group.roots[0].node
            lanes = contraction_lanes(cast(Contract, contract.op), contract_space(contract)[0], space)
        elif group.kind == "natural":
            reduced = frozenset[int]().union(*(r.axes for r in group.roots if len(r.axes) < len(space)))
        serial = self.serial or group.kind == "serial"
        size = len(group.roots) if all(not isinstance(n, int) for n in space) else _size(region, group.roots)
        return nest(space, reduced, flat=flat, serial=serial, size=size, lanes=lanes)

    @staticmethod
    def _sum(root: Root, loops: Nest) -> _Sum:
        op = root.node.op
        kind: str = op.kind if isinstance(op, Reduce) else "sum"
        if root.node.dtype.kind == "b":
            kind = _OF_BOOLS.get(kind, kind)
        if loops.flat:
            depth = 0
        else:
            depth = sum(axis not in root.axes for axis, _ in loops.loops)
            assert all(axis not in root.axes for axis, _ in loops.loops[:depth]), "reduced axes come last"
        return _Sum(root, kind, root.node.dtype, depth)

    # --- stores -------------------------------------------------------------------------------------------

    def store(self, buffer: Buffer, position: Affine, value: Value, guard: ir.Expr | None = None) -> None:
        builder, position = self.builder, position + buffer.offset
        parts = value if isinstance(value, tuple) else (value,)
        for k, part in enumerate(parts):
            at = position.scaled(len(parts)) + k
            builder.add(ir.Store(buffer.name, builder.integer(at), part, guard))

    def copy(self, source: Buffer, target: Buffer, count: Dim) -> None:
        """target[…] = source[…]"""
        builder, scale = self.builder, 2 if is_complex(source.dtype) else 1
        dtype = real_name(source.dtype)
        index = builder.index(count * scale)
        builder.open()
        place = affine.variable(index.name)
        first, into = place + source.offset.scaled(scale), place + target.offset.scaled(scale)
        value = builder.let(ir.Load(source.name, builder.integer(first), dtype), dtype)
        builder.add(ir.Store(target.name, builder.integer(into), value))
        self.close(index, count * scale, "serial" if self.serial else "lanes", ())

    def close(self, index: ir.Var, extent: Dim, kind: str, reductions: tuple[ir.Reduction, ...]) -> None:
        """Closes the innermost block as the body of a loop."""
        body = self.builder.close()
        lanes = width(extent) if kind == "lanes" else 1
        self.builder.add(
            ir.For(index.name, self.builder.dim(extent), cast(Any, kind), body, reductions, lanes)
        )


@final
class _Body:
    """One nest of loops under construction."""

    def __init__(
        self, nests: Nests, region: Region, space: Shape, loops: Nest, sums: list[_Sum], stores: list[Root],
        targets: Sequence[Buffer | None],
    ) -> None:  # fmt: skip
        self.nests, self.region, self.space, self.nest = nests, region, space, loops
        self.builder, self.elements = nests.builder, nests.elements
        self.sums, self.stores, self.targets = sums, stores, targets
        self.at: list[Affine] = [affine.constant(0)] * len(space)
        self.flat: Affine | None = None
        lanes = [k for k, (_, kind) in enumerate(loops.loops) if kind == "lanes"]
        self.lanes = lanes[0] if lanes else -1

    def emit(self) -> None:
        length = self._piece()
        if self._are_few(length):
            for s in self.sums:
                s.of_logs = s.root.node in self.region.plan.logs and s.root.node.args[0] not in self.region.complete
        if length is None:
            self._level(0)
        else:
            self._in_pieces(length)

    def _piece(self) -> Dim | None:
        """The length of the pieces of the outermost loop, if that may be long."""
        if self.lanes < 0 or any(s.depth == 0 and self._assigned(s) for s in self.sums):
            return None
        axis, _ = self.nest.loops[0]
        if self.nest.flat:
            return piece(dims.product(self.space))
        return piece(self.space[axis], dims.product(n for k, n in enumerate(self.space) if k != axis))

    def _are_few(self, length: Dim | None) -> bool:
        """Whether the one loop of lanes adds up no more elements than one piece has, in registers."""
        if len(self.nest.loops) != 1 or self.lanes != 0 or len(self.sums) > MOST_SUMS:
            return False
        total = dims.product(self.space)
        return length is not None or (isinstance(total, int) and total <= PIECE)

    def _in_pieces(self, length: Dim) -> None:
        """The outermost loop in pieces, with variables for the sums of one piece and for those of all."""
        axis, kind = self.nest.loops[0]
        extent = dims.product(self.space) if self.nest.flat else self.space[axis]
        sums = [s for s in self.sums if s.depth == 0]
        for s in sums:
            self._declare(s)
        totals = [dict(s.variables) for s in sums]
        outer = [reduction for s in sums for reduction in s.reductions()]
        pieces = Pieces(self.builder, self.builder.dim(extent), length, extent)
        for s in sums:
            self._declare(s)
        parts = [part for s in sums for value in s.variables.values() for part in _parts(value)]
        self._enter(axis, pieces.open())
        self._level(1)
        pieces.close(cast(Any, kind), self._reductions(0), LANES)
        pieces.finish(list(zip(outer, parts, strict=True)))
        for s, total in zip(sums, totals, strict=True):
            s.variables = total
            self._finish(s)

    def _enter(self, axis: int, index: ir.Var) -> None:
        if self.nest.flat:
            self.flat = affine.variable(index.name)
        else:
            self.at[axis] = affine.variable(index.name)

    def _level(self, depth: int) -> None:
        """The loops from number ``depth`` inwards."""
        loops, builder = self.nest.loops, self.builder
        here = [s for s in self.sums if s.depth == depth]
        for s in here:
            self._declare(s)
        if depth == len(loops):
            self._body()
        else:
            axis, kind = loops[depth]
            extent = dims.product(self.space) if self.nest.flat else self.space[axis]
            index = builder.index(extent)
            self._enter(axis, index)
            builder.open()
            self._level(depth + 1)
            self.nests.close(index, extent, kind, self._reductions(depth))
        for s in here:
            self._finish(s)

    def _reductions(self, depth: int) -> tuple[ir.Reduction, ...]:
        """The reductions that loop number ``depth`` declares: only a loop of lanes has any."""
        found: list[ir.Reduction] = []
        for s in self.sums:
            if self.lanes == depth and depth >= s.depth and not self._assigned(s):
                found.extend(s.reductions("sum_of_logs" if s.of_logs else ""))
        return tuple(found)

    def _assigned(self, s: _Sum) -> bool:
        """Whether it is made of assignments: no loop of lanes is in it, or it is of a kind of its own."""
        return (
            self.lanes < s.depth
            or s.kind in ("argmin", "argmax")
            or (s.kind == "prod" and is_complex(s.dtype))
        )

    # --- innermost ----------------------------------------------------------------------------------------

    def _body(self) -> None:
        for where in product(*(range(cast(int, self.space[k])) for k in self.nest.unrolled)):
            for axis, k in zip(self.nest.unrolled, where, strict=True):
                self.at[axis] = affine.constant(k)
            index: Index = tuple(self.at) if self.flat is None else Flat(self.flat)
            # All values first: a store may be to memory that another root reads.
            values = [self._summand(s, index) for s in self.sums]
            stored = [self.elements.value(self.region, r.node, index) for r in self.stores]
            for s, value in zip(self.sums, values, strict=True):
                self._accumulate(s, self._kept(s), value, index)
            for root, element in zip(self.stores, stored, strict=True):
                self.nests.store(self._target(root), self._position(root, index), element)

    def _summand(self, s: _Sum, index: Index) -> Value:
        if s.of_logs:
            return self.elements.value(self.region, s.root.node.args[0].args[0], index)
        return self._value(s.root, index)

    def _value(self, root: Root, index: Index) -> Value:
        node, elements = root.node, self.elements
        if isinstance(node.op, Reduce):
            factors = self.region.plan.summed.get(node)
            if factors is None or node.args[0] in self.region.complete:
                return elements.value(self.region, node.args[0], index)
            a, b = (
                elements.cast(elements.value(self.region, f, index), f.dtype, node.dtype) for f in factors
            )
            return elements.product(a, b, node.dtype)
        op = node.op
        assert isinstance(op, Contract)
        sides: list[Value] = []
        labels, _ = contract_space(node)
        for arg, own in ((node.args[0], op.left), (node.args[1], op.right)):
            place = index if isinstance(index, Flat) else tuple(index[labels.index(i)] for i in own)
            sides.append(elements.value(self.region, arg, place))
        return elements.product(sides[0], sides[1], node.dtype)

    def _target(self, root: Root) -> Buffer:
        if isinstance(root.into, int):
            target = self.targets[root.into]
            assert target is not None
            return target
        return self.region.buffers[root.into]

    def _position(self, root: Root, index: Index) -> Affine:
        if root.place is None:
            return self.elements.position(index, root.space)
        position = affine.constant(root.place.offset)
        for a, stride in zip(self.elements.by_axis(index, root.space), root.place.strides, strict=True):
            position = position + a.scaled(stride)
        return position

    # --- reductions ---------------------------------------------------------------------------------------

    def _kept(self, s: _Sum) -> tuple[int, ...]:
        """The unrolled kept indices, which number a reduction's variables."""
        return tuple(cast(int, self.at[k].constant) for k in self.nest.unrolled if k not in s.root.axes)

    def _declare(self, s: _Sum) -> None:
        kept = [k for k in self.nest.unrolled if k not in s.root.axes]
        name = real_name(s.dtype)
        for where in product(*(range(cast(int, self.space[k])) for k in kept)):
            if s.kind in ("argmin", "argmax"):
                source = s.root.node.args[0].dtype
                s.variables[where] = self.builder.declare(literal(0, real_name(source)), real_name(source))
                s.places[where] = self.builder.declare(literal(0, "int64"), "int64")
                continue
            start = _neutral(s.kind, s.dtype)
            re = self.builder.declare(start, name)
            s.variables[where] = (
                (re, self.builder.declare(literal(0, name), name)) if is_complex(s.dtype) else re
            )

    def _accumulate(self, s: _Sum, where: tuple[int, ...], value: Value, index: Index) -> None:
        variable, builder = s.variables[where], self.builder
        if s.kind in ("argmin", "argmax"):
            self._arg(s, where, cast(ir.Expr, value), index)
        elif not self._assigned(s):
            for var, part in zip(_parts(variable), _parts(value), strict=True):
                builder.add(ir.Accumulate(var.name, part))
        elif s.kind == "prod" and is_complex(s.dtype):
            snapshot = cast(Value, tuple(builder.let(v, v.dtype) for v in _parts(variable)))
            for var, part in zip(
                _parts(variable), _parts(self.elements.product(snapshot, value, s.dtype)), strict=True
            ):
                builder.add(ir.Assign(var.name, part))
        else:
            combine = _COMBINE[s.kind]
            for var, part in zip(_parts(variable), _parts(value), strict=True):
                builder.add(ir.Assign(var.name, _combined(combine, var, part)))

    def _arg(self, s: _Sum, where: tuple[int, ...], value: ir.Expr, index: Index) -> None:
        """The first extreme element's place: a NaN is more extreme than any number."""
        builder, best = self.builder, s.variables[where]
        assert isinstance(best, ir.Var)
        (axis,) = s.root.axes
        place = builder.integer(self.elements.by_axis(index, self.space)[axis])
        better = ir.Apply("gt" if s.kind == "argmax" else "lt", (value, best), "bool")
        test: ir.Expr = ir.Apply(
            "logical_or", (ir.Apply("eq", (place, literal(0, "int64")), "bool"), better), "bool"
        )
        if best.dtype in ("float32", "float64"):
            known = ir.Apply("logical_not", (ir.Apply("isnan", (best,), "bool"),), "bool")
            appears = ir.Apply("logical_and", (ir.Apply("isnan", (value,), "bool"), known), "bool")
            test = ir.Apply("logical_or", (test, appears), "bool")
        place_name = s.places[where].name
        builder.add(
            ir.If(builder.let(test, "bool"), (ir.Assign(best.name, value), ir.Assign(place_name, place)))
        )

    def _finish(self, s: _Sum) -> None:
        """A reduction's result becomes a value, or is stored."""
        node = s.root.node
        results: dict[tuple[int, ...], Value] = dict(s.places) if s.places else s.variables
        if not node.shape:
            self.region.scalars.values[node] = next(iter(results.values()))
            return
        kept_axes = [k for k in range(len(self.space)) if k not in s.root.axes]
        for where, value in results.items():
            unrolled = iter(where)
            at = [
                affine.constant(next(unrolled)) if k in self.nest.unrolled else self.at[k] for k in kept_axes
            ]
            shape = tuple(self.space[k] for k in kept_axes)
            snapshot = tuple(self.builder.let(v, v.dtype) for v in _parts(value))
            element = cast(Value, snapshot) if is_complex(node.dtype) else snapshot[0]
            self.nests.store(self.region.buffers[node], affine.ravel(tuple(at), shape), element)


_COMBINE = {
    "sum": "add", "prod": "mul", "min": "minimum", "max": "maximum",
    "any": "logical_or", "all": "logical_and",
}  # fmt: skip


_OF_BOOLS = {"sum": "any", "max": "any", "prod": "all", "min": "all"}


def _combined(name: str, variable: ir.Var, value: ir.Expr) -> ir.Expr:
    is_product = isinstance(value, ir.Apply) and value.name == "mul"
    if name == "add" and is_product and variable.dtype in ("float32", "float64"):
        assert isinstance(value, ir.Apply)
        a, b = value.args
        return ir.Fma(a, b, variable, variable.dtype)
    return ir.Apply(name, (variable, value), variable.dtype)


def _parts(value: Value) -> tuple[ir.Var, ...]:
    return cast("tuple[ir.Var, ...]", value if isinstance(value, tuple) else (value,))


def _neutral(kind: str, dtype: DType) -> ir.Literal:
    """The value of an empty reduction."""
    import numpy as np

    name = real_name(dtype)
    if kind in ("min", "max"):
        if dtype.kind == "i":
            info = np.iinfo(dtype)
            return literal(info.max if kind == "min" else info.min, name)
        return literal(np.inf if kind == "min" else -np.inf, name)
    return literal(1 if kind in ("prod", "all") else 0, name)


# --- what a loop would read ---------------------------------------------------------------------------------


def _virtual_below(region: Region, roots: Sequence[Root]) -> Iterator[Node]:
    """The array nodes that evaluating the roots meets."""
    seen: set[Node] = set()
    stack: list[Node] = []
    for root in roots:
        stack.extend(reversed(root.node.args if root.is_reduction else (root.node,)))
    while stack:
        node = stack.pop()
        if node in seen or not node.shape:
            continue
        seen.add(node)
        yield node
        if node not in region.complete:
            stack.extend(reversed(node.args))


def _size(region: Region, roots: Sequence[Root]) -> int:
    """About how many statements the roots' elements take."""
    return len(roots) + sum(1 for _ in _virtual_below(region, roots))


def _is_flat(region: Region, roots: Sequence[Root], space: Shape) -> bool:
    """Whether everything that the roots read is read in C order along the space."""
    for node in _virtual_below(region, roots):
        op = node.op
        if node in region.complete or type(op) in ELEMENTWISE:
            continue
        if isinstance(op, Broadcast) and not node.args[0].shape:
            continue
        if isinstance(op, Reshape) or (isinstance(op, Slice) and is_leading(op, node.args[0].shape)):
            continue
        if isinstance(op, Input):
            bound = region.inputs[op.position]
            if isinstance(bound, Buffer) or (isinstance(bound, Window) and _is_flat_window(bound)):
                continue
        elif type(op) in LEAVES and (not isinstance(op, Iota) or len(space) == 1):
            continue
        return False
    return True


def _is_flat_window(window: Window) -> bool:
    region, node = window.region, window.node
    if node in region.complete:
        return True
    if isinstance(node.op, Input):
        bound = region.inputs[node.op.position]
        return isinstance(bound, Buffer) or (isinstance(bound, Window) and _is_flat_window(bound))
    return False
