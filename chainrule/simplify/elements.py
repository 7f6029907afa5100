"""The elements of small arrays, op by op: nodes in place of arrays.

Axes of a few elements are *small*; the others (events: a named size, or a long one) are *kept*. An array with
small axes is a list of elements, in C order over the small axes, each an array over the kept axes (of rank 0 if
there are none). Views become a choice of elements, sums of products become additions; a factor that is 0 takes
its product away if the other factor is finite for every finite input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from itertools import pairwise
from itertools import product as tuples
from typing import Any, Final, cast, final

import numpy as np

from chainrule.graph.dim import Dim, Shape
from chainrule.graph.express import NODES, broadcast, reshape, simplified, slice_, spread, transpose, zeros
from chainrule.graph.express import cast as converted
from chainrule.graph.node import Node, constant, make
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Contract,
    Cumulative,
    Gather,
    Insert,
    Iota,
    Linalg,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    Slice,
    Stop,
    Transpose,
    Type,
)

from .known import uniform
from .small import PAIRWISE, Arithmetic, Parts, Sides

Numbers = np.ndarray[Any, np.dtype[np.int64]]

MOST: Final = 64  # elements that an op which computes may have
MOST_VIEWED: Final = 2048  # elements that a view may have
MOST_TERMS: Final = 512  # products in one contraction
LARGEST_MATRIX: Final = 8  # rows of a matrix that is factorised or solved as scalars

VIEWS: Final = (Broadcast, Transpose, Reshape, Slice, Reverse, Pad, Concatenate, Insert, Gather)


@final
class Elements:
    """Elements of nodes. ``whole(node)`` gives the node that stands for all of an array that is no list of elements."""

    def __init__(self, sides: Sides, whole: Callable[[Node], Node]) -> None:
        self.sides, self.whole = sides, whole
        self.arithmetic = Arithmetic()
        self.parts: dict[Node, Parts] = {}  # of the arrays taken apart
        self.read: dict[Node, tuple[Node, int]] = {}  # element that is read from memory → array and number
        self._reads: dict[Node, Parts] = {}

    def of(self, node: Node) -> Parts:
        """The elements of an argument."""
        found = self.parts.get(node)
        if found is None:
            found = self._reads.get(node)
        if found is None:
            found = self._reads[node] = self._elements_read(node, self.whole(node))
        return found

    def _elements_read(self, node: Node, source: Node) -> Parts:
        sides = self.sides
        small = sides.axes(node.shape)
        if not small:
            return (source,)
        kept = sides.kept(node.shape)
        repeated = uniform(source)
        if repeated is not None:
            return (spread(repeated, kept),) * sides.count(node.shape)
        if type(source.op) is Const:
            return tuple([constant(v) for v in source.op.value.reshape(-1)])
        if type(source.op) is Iota:
            return tuple([constant(i) for i in range(sides.count(node.shape))])
        steps = (1,) * len(node.shape)
        found = []
        for number, where in enumerate(tuples(*(range(n) for n in sides.sizes(node.shape)))):
            starts, counts = [0] * len(node.shape), list(node.shape)
            for axis, k in zip(small, where, strict=True):
                starts[axis], counts[axis] = k, 1
            part = reshape(slice_(source, tuple(starts), tuple(counts), steps), kept)
            self.read.setdefault(part, (source, number))
            found.append(part)
        return tuple(found)

    # --- what can be taken apart ---

    def supports(self, node: Node) -> bool:
        """Whether ``elements`` can give the elements of a node, from those of its arguments."""
        sides, op = self.sides, node.op
        if type(op) is Scalar and not node.type.shape:  # most nodes are
            return False
        if not isinstance(node.type, Type) or not all(isinstance(a.type, Type) for a in node.args):
            return False
        limit = MOST_VIEWED if type(op) in VIEWS else MOST
        if any(sides.count(s) > limit or 0 in s for s in (node.shape, *[a.shape for a in node.args])):
            return False
        match op:
            case Scalar() | Cast() | Stop():
                return bool(sides.axes(node.shape))
            case Reduce(kind, axes):
                mixing = any(sides.small(node.args[0].shape[a]) for a in axes)
                return mixing and kind in PAIRWISE and (node.dtype.kind in "fic" or kind in ("any", "all"))
            case Cumulative(_, axis):
                return sides.small(node.shape[axis]) and node.dtype.kind in "fic"
            case Contract():
                return self._supports_contract(node, op)
            case Linalg(kind, _, _):
                matrix, right = node.args[0].shape, node.args[-1].shape
                square = matrix[-1]
                return (
                    kind in ("cholesky", "solve_triangular")
                    and isinstance(square, int)
                    and square <= LARGEST_MATRIX
                    and all(sides.small(d) for d in (*matrix[-2:], right[-2]))
                    # right-hand sides for each event are solved with one matrix
                    and (sides.small(right[-1]) or not sides.kept(matrix))
                )
            case Broadcast() | Transpose() | Reverse() | Reshape() | Slice() | Pad() | Concatenate() | Insert():
                return self._supports_view(node)
            case Gather(axes) | Scatter(axes, _):
                return self._supports_index(node, axes)
            case _:
                return False

    def _supports_contract(self, node: Node, op: Contract) -> bool:
        sides = self.sides
        size_of = dict(zip(op.left, node.args[0].shape, strict=True)) | dict(
            zip(op.right, node.args[1].shape, strict=True)
        )
        kept = [label for label, d in size_of.items() if not sides.small(d)]
        terms = math.prod([cast(int, d) for d in size_of.values() if sides.small(d)])
        mixing = len(kept) < len(size_of)
        return mixing and len(kept) <= 1 and terms <= MOST_TERMS and node.dtype.kind in "fc"

    def _supports_view(self, node: Node) -> bool:
        sides, op = self.sides, node.op
        source = node.args[0].shape if node.args else ()
        small = [sides.small(d) for d in node.shape]
        match op:
            case Broadcast(_, axes):
                return any(small) and all(sides.small(d) == small[a] for d, a in zip(source, axes, strict=True))
            case Transpose() | Reverse():
                return any(small)
            case Reshape():
                either = any(small) or any(sides.small(d) for d in source)
                return either and self._segments(source) == self._segments(node.shape)
            case Slice(starts, counts, _):
                return any(small) and all(
                    sides.small(d) == s or (s and n == 1 and isinstance(start, int))
                    for d, s, start, n in zip(source, small, starts, counts, strict=True)
                )
            case Pad(low, high, inner):
                return any(small) and all(
                    sides.small(d) == s and (s or (lo == 0 and hi == 0 and gap == 0))
                    for d, s, lo, hi, gap in zip(source, small, low, high, inner, strict=True)
                )
            case Concatenate(axis):
                return any(small) and all(sides.small(a.shape[axis]) == small[axis] for a in node.args)
            case Insert(starts, steps):
                value = node.args[1].shape
                return any(small) and all(
                    sides.small(d) == s and (isinstance(start, int) if s else d == n and start == 0 and step == 1)
                    for d, s, n, start, step in zip(value, small, node.shape, starts, steps, strict=True)
                )
            case _:
                raise AssertionError(op)

    def _segments(self, shape: Shape) -> list[Dim]:
        """The kept lengths, and between them how many elements the small axes have."""
        found: list[Dim] = [1]
        for d in shape:
            if self.sides.small(d):
                found[-1] = found[-1] * d
            else:
                found += [d, 1]
        return found

    def _supports_index(self, node: Node, axes: tuple[int, ...]) -> bool:
        """Indices known beforehand, along small axes, with no others."""
        is_gather = type(node.op) is Gather
        indices = node.args[1:] if is_gather else node.args[2:]
        array = node.args[0].shape
        return (
            all(type(self.whole(i).op) is Const for i in indices)
            and bool(self.sides.axes(array))
            and all(self.sides.small(array[a]) for a in axes)
            and all(self.sides.small(d) for d in indices[0].shape)
        )

    # --- elements from those of the arguments ---

    def elements(self, node: Node) -> Parts:
        """The elements of a supported node."""
        op, sides = node.op, self.sides
        match op:
            case Scalar(name):
                args = [self.of(a) if sides.axes(a.shape) else self.of(a) * sides.count(node.shape) for a in node.args]
                return tuple([self.arithmetic.scalar(name, each) for each in zip(*args, strict=True)])
            case Cast(dtype):
                return tuple([converted(e, dtype) for e in self.of(node.args[0])])
            case Stop():
                return tuple([e if type(e.op) is Const else make(op, (e,)) for e in self.of(node.args[0])])
            case Reduce():
                return self._reduce(node, op)
            case Cumulative():
                return self._cumulative(node, op)
            case Contract():
                return self._contract(node, op)
            case Linalg():
                return self._linalg(node, op)
            case Gather() | Scatter():
                return self._index(node)
            case _:
                return self._view(node)

    def numbers(self, shape: Shape) -> Numbers:
        """The numbers of the elements of a shape, with an axis of length 1 for each kept one."""
        sizes = [cast(int, d) if self.sides.small(d) else 1 for d in shape]
        return np.arange(math.prod(sizes)).reshape(sizes)

    def _reduce(self, node: Node, op: Reduce) -> Parts:
        (x,) = node.args
        sides, parts = self.sides, self.of(x)
        small = [a for a in op.axes if sides.small(x.shape[a])]
        places = sides.places(x.shape)
        kept = tuple(places[a] for a in op.axes if a in places)
        grouped = np.moveaxis(self.numbers(x.shape), small, range(len(small)))
        rows = grouped.reshape(math.prod(grouped.shape[: len(small)]), -1).T
        found = []
        for row in rows.tolist():
            whole = self.arithmetic.fold(op.kind, [parts[k] for k in row])
            found.append(make(Reduce(op.kind, kept), (whole,)) if kept else whole)
        return tuple(found)

    def _cumulative(self, node: Node, op: Cumulative) -> Parts:
        parts = list(self.of(node.args[0]))
        rows = np.moveaxis(self.numbers(node.shape), op.axis, -1)
        for row in rows.reshape(-1, rows.shape[-1]).tolist():
            order = row[::-1] if op.reverse else row
            for before, k in pairwise(order):
                parts[k] = self.arithmetic.fold_pair(op.kind, parts[before], parts[k])
        return tuple(parts)

    def _contract(self, node: Node, op: Contract) -> Parts:
        sides, (left, right) = self.sides, node.args
        size_of = dict(zip(op.left, left.shape, strict=True)) | dict(zip(op.right, right.shape, strict=True))
        small = {label: cast(int, d) for label, d in size_of.items() if sides.small(d)}
        kept = [label for label in size_of if label not in small]
        outer = [label for label in op.out if label in small]
        summed = [label for label in small if label not in op.out]
        numbers = self.numbers(left.shape), self.numbers(right.shape)
        labels, parts = (op.left, op.right), (self.of(left), self.of(right))
        found = []
        for where in tuples(*(range(small[label]) for label in outer)):
            at = dict.fromkeys(kept, 0) | dict(zip(outer, where, strict=True))
            pairs = []
            for inner in tuples(*(range(small[label]) for label in summed)):
                at.update(zip(summed, inner, strict=True))
                one, other = (
                    parts[side][int(numbers[side][tuple(at[label] for label in labels[side])])] for side in (0, 1)
                )
                pairs.append((one, other))
            total = self.arithmetic.sum_of_products(pairs)
            if kept and kept[0] not in op.out:
                total = make(Reduce("sum", (0,)), (spread(total, (size_of[kept[0]],)),))
            found.append(total)
        return tuple(found)

    # --- views ---

    def _view(self, node: Node) -> Parts:
        sides, op = self.sides, node.op
        parts = [self.of(a) for a in node.args]
        flat = [p for part in parts for p in part]
        numbers = [self.numbers(a.shape) for a in node.args]
        kept = sides.places(node.shape)
        source = sides.places(node.args[0].shape)
        match op:
            case Broadcast(shape, axes):
                sizes = [1] * len(shape)
                for n, axis in zip(numbers[0].shape, axes, strict=True):
                    sizes[axis] = n
                full = [cast(int, d) if sides.small(d) else 1 for d in shape]
                chosen = np.broadcast_to(numbers[0].reshape(sizes), full)
                where = tuple(kept[a] for a in axes if a in kept)
                return tuple([broadcast(flat[k], sides.kept(shape), where) for k in chosen.reshape(-1).tolist()])
            case Transpose(axes):
                order = tuple(source[a] for a in axes if a in source)
                return tuple([transpose(flat[k], order) for k in numbers[0].transpose(axes).reshape(-1).tolist()])
            case Reverse(axes):
                chosen = np.flip(numbers[0], tuple(a for a in axes if a not in kept))
                turned = tuple(kept[a] for a in axes if a in kept)
                picked = [flat[k] for k in chosen.reshape(-1).tolist()]
                return tuple([make(Reverse(turned), (p,)) for p in picked] if turned else picked)
            case Reshape():
                return tuple(flat)
            case Slice():
                return self._slice(node, op, flat, numbers[0])
            case Pad(low, _, inner):
                empty = zeros(Type(sides.kept(node.shape), node.dtype))
                sizes = [cast(int, d) if sides.small(d) else 1 for d in node.shape]
                padded = np.full(sizes, -1)
                padded[_window(low, numbers[0].shape, [gap + 1 for gap in inner], kept)] = numbers[0]
                return tuple([flat[k] if k >= 0 else empty for k in padded.reshape(-1).tolist()])
            case Concatenate(axis) if axis in kept:
                columns = zip(*parts, strict=True)
                return tuple([make(Concatenate(kept[axis]), column) for column in columns])
            case Concatenate(axis):
                start = 0
                for own, part in zip(numbers, parts, strict=True):
                    own += start
                    start += len(part)
                return tuple([flat[k] for k in np.concatenate(numbers, axis).reshape(-1).tolist()])
            case Insert(starts, steps):
                result = numbers[0]
                result[_window(starts, numbers[1].shape, steps, kept)] = numbers[1] + len(parts[0])
                return tuple([flat[k] for k in result.reshape(-1).tolist()])
            case _:
                raise AssertionError(op)

    def _slice(self, node: Node, op: Slice, flat: Sequence[Node], numbers: Numbers) -> Parts:
        """A window: along small axes a choice, along kept ones of each element (one of a kept axis: it disappears)."""
        sides, (x,) = self.sides, node.args
        places = sides.places(x.shape)
        chosen = numbers[_window(op.starts, op.counts, op.steps, places)]
        axes = list(places)
        window = [tuple(v[a] for a in axes) for v in (op.starts, op.counts, op.steps)]
        kept = sides.kept(node.shape)
        return tuple([reshape(slice_(flat[k], *window), kept) for k in chosen.reshape(-1).tolist()])  # type: ignore[arg-type]

    def _index(self, node: Node) -> Parts:
        """Gather and scatter with known indices: outside ones are the nearest, or are dropped."""
        op = node.op
        assert isinstance(op, (Gather, Scatter))
        array, *rest = node.args
        moved = np.moveaxis(self.numbers(array.shape), op.axes, range(len(op.axes)))
        is_gather = type(op) is Gather
        indices = [cast(Const, self.whole(i).op).value.astype(np.int64) for i in (rest if is_gather else rest[1:])]
        limits = moved.shape[: len(op.axes)]
        if is_gather:
            inside = tuple(np.clip(i, 0, n - 1) for i, n in zip(indices, limits, strict=True))
            parts = self.of(array)
            return tuple([parts[k] for k in moved[inside].reshape(-1).tolist()])
        result, values = list(self.of(array)), self.of(rest[0])
        own = self.numbers(rest[0].shape).reshape(*indices[0].shape, -1)
        for at in np.ndindex(*indices[0].shape):
            where = tuple(int(i[at]) for i in indices)
            if all(0 <= w < n for w, n in zip(where, limits, strict=True)):
                for k, v in zip(moved[where].reshape(-1).tolist(), own[at].reshape(-1).tolist(), strict=True):
                    is_sum = cast(Scatter, op).kind == "add"
                    result[k] = self.arithmetic.scalar("add", (result[k], values[v])) if is_sum else values[v]
        return tuple(result)

    # --- matrices ---

    def _linalg(self, node: Node, op: Linalg) -> Parts:
        """Cholesky factors and triangular systems of a stack of small matrices, element by element."""
        numbers = [self.numbers(a.shape) for a in node.args]
        parts = [self.of(a) for a in node.args]
        rows, columns = numbers[0].shape[-2:]
        result: list[Node | None] = [None] * self.sides.count(node.shape)
        own = self.numbers(node.shape)
        own = own.reshape(-1, *own.shape[-2:])
        matrices = numbers[0].reshape(-1, rows, columns)
        for at, block in enumerate(own):
            a = [[parts[0][k] for k in row] for row in matrices[at].tolist()]
            if op.kind == "cholesky":
                solved = self._cholesky(a)
            else:
                right = numbers[1].reshape(-1, *block.shape)[at]
                solved = self._solve_triangular(a, [[parts[1][k] for k in row] for row in right.tolist()], op)
            for k, value in zip(block.reshape(-1).tolist(), [v for row in solved for v in row], strict=True):
                result[k] = value
        return tuple(cast("list[Node]", result))

    def _cholesky(self, a: list[list[Node]]) -> list[list[Node]]:
        """a = L·Lᴴ by rows, from the lower triangle of a."""
        n, less = len(a), self.arithmetic.sub
        empty = zeros(a[0][0].type)
        factor = [[empty] * n for _ in range(n)]
        for i in range(n):
            for j in range(i + 1):
                rest = NODES.complex(NODES.real(a[i][i]), 0.0) if i == j and a[i][i].dtype.kind == "c" else a[i][j]
                for k in range(j):
                    rest = less(rest, self.arithmetic.mul(factor[i][k], simplified("conj", (factor[j][k],))))
                factor[i][j] = NODES.sqrt(rest) if i == j else rest / factor[j][j]
        return factor

    def _solve_triangular(self, a: list[list[Node]], b: list[list[Node]], op: Linalg) -> list[list[Node]]:
        """Forward or backward substitution; ``transposed``: of the transposed matrix."""
        n = len(a)
        if op.transposed:
            a = [[a[j][i] for j in range(n)] for i in range(n)]
        ahead = op.lower != op.transposed
        order = range(n) if ahead else range(n - 1, -1, -1)
        x: list[list[Node]] = [list(row) for row in b]
        for i in order:
            for column in range(len(b[0])):
                rest = x[i][column]
                for k in range(i) if ahead else range(i + 1, n):
                    rest = self.arithmetic.sub(rest, self.arithmetic.mul(a[i][k], x[k][column]))
                x[i][column] = rest / a[i][i]
        return x


def _window(starts: Shape, counts: Shape, steps: Sequence[int], kept: Container[int]) -> tuple[slice, ...]:
    """The window as NumPy's slices, all of the kept axes."""
    found = []
    for axis, (start, count, step) in enumerate(zip(starts, counts, steps, strict=True)):
        if axis in kept:
            found.append(slice(None))
        else:
            assert isinstance(start, int) and isinstance(count, int)
            found.append(slice(start, start + (count - 1) * step + 1, step))
    return tuple(found)
