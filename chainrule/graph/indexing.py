"""NumPy's indexing on nodes: ``x[index]`` read, replaced, and added to, by Slice, Gather, Insert and Scatter.

An index is a tuple of ints, slices, None, Ellipsis and nodes (computed integers, or boolean masks for
writing). Concrete integer arrays come as constant nodes whose values were checked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import dim as dims
from . import express
from .dim import Dim, Shape, Size
from .dtype import BOOL, INT64
from .node import Node, constant, make
from .op import Concatenate, Const, Gather, Insert, Iota, Reverse, Scalar, Scatter, SizeOf
from .where import error


@dataclass(frozen=True, slots=True)
class Run:
    """A slice of one axis: ``count`` elements from ``start`` on, ``step`` apart, backwards from the last if
    ``reverse``.
    """

    start: Dim
    count: Dim
    step: int = 1
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class One:
    """A known position on one axis, which disappears."""

    position: Dim


@dataclass(frozen=True, slots=True)
class New:
    """A new axis of size 1."""


Item = Run | One | New | Node


@dataclass(frozen=True, slots=True)
class Plan:
    """An index brought into normal form for an array of a given shape.

    ``shape`` is the result's; ``items`` has one entry per index and axis, in order. ``first`` is the place
    of the gathered axes among the result's axes (their common shape is ``gathered``).
    """

    source: Shape
    items: tuple[Item, ...]
    shape: Shape
    gathered: Shape
    first: int

    @property
    def runs(self) -> list[Run]:
        """The slice of each axis of the array, whole where a computed index follows."""
        found = []
        axis = 0
        for item in self.items:
            if isinstance(item, New):
                continue
            if isinstance(item, Run):
                found.append(item)
            elif isinstance(item, One):
                found.append(Run(item.position, 1))
            else:
                found.append(Run(0, self.source[axis]))
            axis += 1
        return found

    @property
    def arrays(self) -> list[Node]:
        return [i for i in self.items if isinstance(i, Node)]

    @property
    def is_view(self) -> bool:
        """Whether NumPy gives a view: no array as index (a computed number is none), and an array as result."""
        return not any(i.type.shape for i in self.arrays) and bool(self.shape)

    @property
    def kept(self) -> list[Dim]:
        """Sizes of the axes that slices leave, in order."""
        return [i.count for i in self.items if isinstance(i, Run)]

    @property
    def cores(self) -> Shape:
        """The shape after slicing, known positions gone, before gathering."""
        shape = []
        for item, run in zip([i for i in self.items if not isinstance(i, New)], self.runs, strict=True):
            if not isinstance(item, One):
                shape.append(run.count)
        return tuple(shape)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the sliced array that computed indices stand for."""
        left = [i for i in self.items if isinstance(i, (Run, Node))]
        return tuple(a for a, i in enumerate(left) if isinstance(i, Node))


def plan(shape: Shape, index: tuple[Any, ...], nonnegative: frozenset[Node] = frozenset()) -> Plan:
    """The normal form of an index (``IndexError`` at the user's line for what does not fit).

    ``nonnegative`` are nodes that are known to be so.
    """
    entries = _expand(shape, index)
    items: list[Item] = []
    axis = 0
    for entry in entries:
        if entry is None:
            items.append(New())
            continue
        size = shape[axis]
        if isinstance(entry, slice):
            items.append(slice_run(entry, size))
        elif isinstance(entry, Node):
            items.append(wrap_negative(entry, size, nonnegative))
        else:
            items.append(One(position(entry, size, axis)))
        axis += 1
    arrays = [i for i in items if isinstance(i, Node)]
    try:
        gathered = dims.broadcast(*[a.shape for a in arrays])
    except ValueError as problem:
        raise error(IndexError, f"index arrays: {problem}") from None
    result: list[Dim] = [1 if isinstance(i, New) else i.count for i in items if isinstance(i, (New, Run))]
    first = _place(items) if gathered else 0
    result[first:first] = gathered
    return Plan(shape, tuple(items), tuple(result), gathered, first)


def _expand(shape: Shape, index: tuple[Any, ...]) -> list[Any]:
    """The index with one entry per axis, Ellipsis written out."""
    used = sum(1 for i in index if i is not None and i is not Ellipsis)
    if used > len(shape):
        raise error(IndexError, f"{used} indices for an array with {len(shape)} axes")
    if sum(1 for i in index if i is Ellipsis) > 1:
        raise error(IndexError, "an index can only have a single ellipsis ('...')")
    whole = [slice(None)] * (len(shape) - used)
    entries: list[Any] = []
    seen = False
    for entry in index:
        if entry is Ellipsis:
            entries += whole
            seen = True
        else:
            entries.append(entry)
    return entries if seen else entries + whole


def _place(items: list[Item]) -> int:
    """Where the gathered axes go: in place if the advanced indices stand together, else in front (NumPy's
    rule).
    """
    advanced = [n for n, i in enumerate(items) if isinstance(i, (Node, One))]
    if advanced[-1] - advanced[0] + 1 != len(advanced):
        return 0
    return sum(1 for i in items[: advanced[0]] if isinstance(i, (New, Run)))


def position(index: Any, size: Dim, axis: int = 0) -> Dim:
    """A known position on an axis of this size, counted from the front."""
    found: Dim = index if not isinstance(index, int) or index >= 0 else size + index
    if dims.at_least(size - 1, found) and dims.at_least(found, 0):
        return found
    if isinstance(size, Size) or isinstance(found, Size):
        raise error(
            IndexError,
            f"index {index} may be outside of axis {axis}, whose size {size} is not known while tracing;"
            " give this axis a fixed size",
        )
    raise error(IndexError, f"index {index} is out of bounds for axis {axis} with size {size}")


def slice_run(index: slice, size: Dim) -> Run:
    """A slice of an axis of this size, clamped as NumPy does."""
    step = 1 if index.step is None else index.step
    if not isinstance(step, int):
        raise error(TypeError, "the step of a slice must be a known number")
    if step == 0:
        raise error(ValueError, "slice step cannot be zero")
    if step > 0:
        start = _bound(index.start, size, 0, 0, size)
        stop = _bound(index.stop, size, size, 0, size)
        count = dims.maximum(dims.floordiv(stop - start + (step - 1), step), 0)
        return Run(0, 0) if count == 0 else Run(start, count, step if count != 1 else 1)
    start = _bound(index.start, size, size - 1, -1, size - 1)
    stop = _bound(index.stop, size, -1, -1, size - 1)
    count = dims.maximum(dims.floordiv(start - stop + (-step - 1), -step), 0)
    if count == 0:
        return Run(0, 0)
    return Run(start + (count - 1) * step, count, -step if count != 1 else 1, reverse=count != 1)


def _bound(bound: Any, size: Dim, default: Dim, least: int, most: Dim) -> Dim:
    if bound is None:
        return default
    if isinstance(bound, Node):
        raise error(
            TypeError,
            "a slice bound is a traced value, so the size of the result is not known; select with"
            " np.where, or index"
            " with start + np.arange(length)",
        )
    found: Dim = size + bound if isinstance(bound, int) and bound < 0 else bound
    return dims.minimum(dims.maximum(found, least), most)


def wrap_negative(index: Node, size: Dim, nonnegative: frozenset[Node]) -> Node:
    """Computed indices with negative ones counted from the end."""
    index = express.cast(index, INT64)
    if never_negative(index, nonnegative):
        return index
    shift = _size_node(size)
    below = make(Scalar("lt"), (index, constant(0, INT64)))
    return make(Scalar("where"), (below, make(Scalar("add"), (index, shift)), index))


def never_negative(node: Node, nonnegative: frozenset[Node]) -> bool:
    """Whether an index is visibly not negative: nonnegative, sizes, constants, and their sums and
    products.
    """
    stack = [node]
    while stack:
        n = stack.pop()
        if n in nonnegative:
            continue
        match n.op:
            case Iota() | SizeOf():
                continue
            case Scalar("add") | Scalar("mul") | Scalar("minimum"):
                stack.extend(n.args)
            case Scalar("floordiv") | Scalar("mod") | Scalar("maximum") | Scalar("where"):
                return False
            case Const():
                if bool((n.op.value < 0).any()):
                    return False
            case _ if _is_view(n):
                stack.append(n.args[0])
            case _:
                return False
    return True


def _is_view(node: Node) -> bool:
    return type(node.op).__name__ in ("Broadcast", "Reshape", "Transpose", "Slice", "Reverse")


def _size_node(size: Dim) -> Node:
    return constant(size, INT64) if isinstance(size, int) else make(SizeOf(size))


# --- reading ------------------------------------------------------------------------------------------------


def read(x: Node, where: Plan) -> Node:
    """``x[index]``."""
    core = _sliced(x, where)
    arrays = where.arrays
    if not arrays:
        return express.reshape(core, where.shape)
    indices = tuple(express.broadcast_to(a, where.gathered) for a in arrays)
    found = make(Gather(where.axes), (core, *indices))  # gathered axes first
    return express.reshape(_moved(found, len(where.gathered), _after(where)), where.shape)


def _after(where: Plan) -> int:
    """How many sliced axes come before the gathered ones in the result."""
    seen = sliced = 0
    for item in where.items:
        if seen == where.first:
            break
        if isinstance(item, (New, Run)):
            seen += 1
            sliced += isinstance(item, Run)
    return sliced


def _moved(x: Node, front: int, to: int) -> Node:
    """The first ``front`` axes moved behind the ``to`` axes that follow them."""
    order = (*range(front, front + to), *range(front), *range(front + to, len(x.shape)))
    return express.transpose(x, order)


def _sliced(x: Node, where: Plan) -> Node:
    runs = where.runs
    x = express.slice_(x, tuple(r.start for r in runs), tuple(r.count for r in runs), tuple(r.step for r in runs))
    backwards = tuple(a for a, r in enumerate(runs) if r.reverse)
    x = make(Reverse(backwards), (x,)) if backwards else x
    return express.reshape(x, where.cores)


# --- writing ------------------------------------------------------------------------------------------------


def write(x: Node, where: Plan, value: Node, kind: str = "set") -> Node:
    """``x`` with ``x[index]`` replaced by ``value`` (``kind="add"``: increased, repeated indices
    accumulating).
    """
    value = fit(value, where.shape)
    arrays = where.arrays
    if not arrays:
        if kind == "add":
            value = make(Scalar("add"), (read(x, where), value))
        return _insert(x, where, express.reshape(value, where.cores))
    # take new axes out, bring the gathered axes to the front
    shape = list(where.kept)
    after = _after(where)
    shape[after:after] = where.gathered
    value = express.reshape(value, tuple(shape))
    front = len(where.gathered)
    order = (*range(after, after + front), *range(after), *range(after + front, len(shape)))
    value = express.transpose(value, order)
    indices = tuple(express.broadcast_to(a, where.gathered) for a in arrays)
    core = _sliced(x, where)
    new = make(Scatter(where.axes, "add" if kind == "add" else "set"), (core, value, *indices))
    return _insert(x, where, new)


def _insert(x: Node, where: Plan, core: Node) -> Node:
    """``x`` with the part that ``_sliced`` reads replaced by ``core``."""
    runs = where.runs
    core = express.reshape(core, tuple(r.count for r in runs))
    backwards = tuple(a for a, r in enumerate(runs) if r.reverse)
    core = make(Reverse(backwards), (core,)) if backwards else core
    if core.shape == x.shape:
        return core
    if any(r.count == 0 for r in runs):
        return x
    return make(Insert(tuple(r.start for r in runs), tuple(r.step for r in runs)), (x, core))


def fit(value: Node, shape: Shape) -> Node:
    """The value broadcast to the shape it is assigned to; leading axes of size 1 may be too many, as in
    NumPy.
    """
    while len(value.shape) > len(shape) and value.shape[0] == 1:
        value = express.reshape(value, value.shape[1:])
    try:
        matches = len(value.shape) <= len(shape) and dims.broadcast(value.shape, shape) == shape
    except ValueError:
        matches = False
    if not matches:
        raise error(
            ValueError,
            f"could not broadcast a value of shape {dims.show(value.shape)} into shape {dims.show(shape)}",
        )
    return express.broadcast_to(value, shape)


def masked(x: Node, mask: Node, value: Node) -> Node:
    """``x`` with ``value`` where the mask of its leading axes is true."""
    assert mask.dtype == BOOL
    rank = len(mask.shape)
    if rank > len(x.shape) or mask.shape != x.shape[:rank]:
        raise error(
            IndexError,
            f"a mask of shape {dims.show(mask.shape)} does not fit an array of shape {dims.show(x.shape)}",
        )
    trailing = x.shape[rank:]
    if value.shape != x.shape:
        if len(value.shape) > len(trailing):
            raise error(
                ValueError,
                "x[mask] = v takes a v of one value (or of the shape of x) where the number of true"
                " elements is not"
                " known; write x = np.where(mask, v, x)",
            )
        value = fit(value, trailing)
    condition = express.broadcast(mask, x.shape, tuple(range(rank)))
    value = express.broadcast_to(value, x.shape) if value.shape else value
    return make(Scalar("where"), (condition, value, x))


def concatenate(parts: list[Node], axis: int) -> Node:
    """Nodes one after the other along ``axis``."""
    return parts[0] if len(parts) == 1 else make(Concatenate(axis), tuple(parts))
