"""``x[index]`` of traced arrays: Python's index objects brought to the form that ``indexing`` takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import express, indexing, lift
from .array import Array, call, current_scope, implements, node_of, operand, scope_of, view_of, wrap
from .dim import Dim, Shape, Size
from .dtype import BOOL, is_complex
from .node import Node
from .scope import Scope
from .where import error


@implements("getitem")
def getitem(x: Array, index: Any) -> Array:
    """``x[index]``: a view for ints and slices, as in NumPy."""
    scope = scope_of(x)
    node = node_of(x)
    shape = node.type.shape
    if type(index) is int and len(shape) == 1:
        return wrap(_element(node, index, scope), scope)
    entries = index_entries(index, shape, scope)
    if _mask_in(entries) is not None:
        raise error(
            IndexError,
            "x[mask] has a size that depends on data; use np.where(mask, x, 0), np.sum(x, where=mask),"
            " or select"
            " before the traced function",
        )
    plan = indexing.plan(shape, entries, scope.all_nonnegative())
    found = wrap(indexing.read(node, plan), scope)
    if not plan.is_view or (not found.shape and Ellipsis not in entries):  # one element is a value, no view
        return found

    def read_now(node: Node) -> Node:
        _see(plan)
        return indexing.read(node, plan)

    def written(node: Node, value: Node) -> Node:
        _see(plan)
        return indexing.write(node, plan, value)

    return view_of(found, x, read_now, written)


def _see(plan: indexing.Plan) -> None:
    """The numbers that are computed for an index are read where the view is."""
    for node in plan.arrays:
        current_scope().see(node)


def _element(node: Node, index: int, scope: Scope) -> Node:
    found = scope.elements.get((node, index))
    if found is None:
        found = indexing.read(node, indexing.plan(node.type.shape, (index,)))
        scope.elements[node, index] = found
    return found


@implements("updated")
def updated(x: Array, index: Any, value: Any, kind: str) -> Array:
    """``x`` after ``x[index] = value`` (``"set"``), ``+=`` (``"add"``, repeated indices accumulate), or
    another primitive.
    """
    scope = scope_of(x)
    node = node_of(x)
    entries = index_entries(index, node.type.shape, scope)
    new = lift.strong(operand(value, scope))
    if is_complex(new.type.dtype) and not is_complex(node.type.dtype):
        raise error(TypeError, f"complex values do not fit into a {node.type.dtype} array; take .real or .imag")
    new = express.cast(new, node.type.dtype)
    if _mask_in(entries) is not None:
        return wrap(_masked(node, entries, new, kind), scope)
    plan = indexing.plan(node.type.shape, entries, scope.all_nonnegative())
    if kind not in ("set", "add"):
        if plan.arrays and not _distinct(plan, scope):
            raise error(
                TypeError,
                f".at[...].{kind} with computed indices, which may repeat; only set and add take them:"
                f" use a mask, or"
                " cr.fori_loop",
            )
        new = express.cast(lift.apply(kind, indexing.read(node, plan), new), node.type.dtype)
        kind = "set"
    return wrap(indexing.write(node, plan, new, kind), scope)


def _masked(node: Node, entries: tuple[Any, ...], new: Node, kind: str) -> Node:
    if len(entries) > 1:
        raise error(IndexError, "a traced mask together with other indices; use np.where")
    mask = entries[0]
    if kind != "set":
        if new.type.shape and new.type.shape != node.type.shape:
            new = indexing.fit(new, node.type.shape[mask.type.rank :])
        new = express.cast(lift.apply(kind, node, new), node.type.dtype)
    return indexing.masked(node, mask, new)


def _distinct(plan: indexing.Plan, scope: Scope) -> bool:
    """Whether the computed indices name each place once: one traced position, or known different ones."""
    if not plan.gathered:
        return True
    known = [scope.value(a) for a in plan.arrays]
    if any(k is None for k in known):
        return False
    rows = np.stack([np.broadcast_to(k, plan.gathered).ravel() for k in known], axis=1)  # type: ignore[arg-type]
    return len(np.unique(rows, axis=0)) == len(rows)


def index_entries(index: Any, shape: Shape, scope: Scope) -> tuple[Any, ...]:
    """A Python index as ``indexing`` takes it."""
    entries = index if type(index) is tuple else (index,)
    used = sum(_axes_used(e) for e in entries)
    axis = 0
    found: list[Any] = []
    for entry in entries:
        if entry is None or entry is Ellipsis:
            found.append(entry)
            axis += len(shape) - used if entry is Ellipsis else 0
        else:
            taken = _entry(entry, shape, axis, scope)
            found.extend(taken)
            axis += _axes_used(entry)
    return tuple(found)


def _axes_used(entry: Any) -> int:
    """How many axes an index stands for: a mask as many as it has."""
    if entry is None or entry is Ellipsis:
        return 0
    kind = getattr(getattr(entry, "dtype", None), "kind", "")
    return int(entry.ndim) if kind == "b" and entry.ndim else 1


def _entry(entry: Any, shape: Shape, axis: int, scope: Scope) -> tuple[Any, ...]:
    if type(entry) is int or isinstance(entry, Size):
        return (entry,)
    if isinstance(entry, slice):
        return (slice(*[_slice_part(p) for p in (entry.start, entry.stop, entry.step)]),)
    if isinstance(entry, Array):
        node = node_of(entry)
        if node.type.dtype.kind not in "bi":
            raise error(IndexError, f"an index must be an integer, not {node.type.dtype}")
        return (node,)
    if isinstance(entry, (bool, np.bool_)):
        raise error(IndexError, "a boolean is no index")
    if isinstance(entry, (list, tuple)):
        if any(isinstance(e, Array) for e in entry):
            return (node_of(call("array", entry)),)
        entry = np.asarray(entry, dtype=None if len(entry) else int)
    if isinstance(entry, np.ndarray):
        return _concrete_entry(entry, shape, axis, scope)
    if hasattr(entry, "__index__"):
        return (entry.__index__(),)
    raise error(IndexError, f"no index: {entry!r:.60}")


def _slice_part(part: Any) -> Any:
    if part is None or isinstance(part, (int, Size)):
        return part
    return node_of(part) if isinstance(part, Array) else part.__index__()


def _concrete_entry(entry: np.ndarray[Any, Any], shape: Shape, axis: int, scope: Scope) -> tuple[Any, ...]:
    """Integer arrays are checked and counted from the front; a concrete mask selects known places."""
    if entry.dtype.kind == "b":
        if entry.shape != shape[axis : axis + entry.ndim]:
            if any(isinstance(d, Size) for d in shape[axis : axis + entry.ndim]):
                return (scope.lift(entry),)
            raise error(IndexError, f"a mask of shape {entry.shape} does not fit the axes from {axis} on")
        return tuple(_concrete_entry(place, shape, axis + i, scope)[0] for i, place in enumerate(np.nonzero(entry)))
    if entry.dtype.kind not in "iu":
        raise error(IndexError, f"an index must be an integer, not {entry.dtype}")
    if entry.ndim == 0:
        return (int(entry),)
    size: Dim = shape[axis] if axis < len(shape) else 0
    if isinstance(size, int) and entry.size and axis < len(shape):
        for extreme in (int(entry.min()), int(entry.max())):
            indexing.position(extreme, size, axis)
        if entry.min() < 0:
            entry = np.where(entry < 0, entry + size, entry)
    node = scope.lift(entry)
    if entry.size == 0 or entry.min() >= 0:
        scope.nonnegative.add(node)
    return (node,)


def _mask_in(entries: tuple[Any, ...]) -> Node | None:
    return next((e for e in entries if isinstance(e, Node) and e.type.dtype == BOOL), None)


@implements("take")
def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Array:
    """``np.take``; a computed index outside is clamped to the nearest element (``mode="wrap"`` wraps)."""
    from .array import as_array

    x = as_array(a)
    if axis is None:
        x, axis = call("ravel", x), 0
    axis = axis + x.ndim if axis < 0 else axis
    if mode == "wrap":
        indices = call("remainder", indices, x.shape[axis])
    if not isinstance(indices, (Array, int)):
        indices = np.asarray(indices)
    return getitem(x, (*[slice(None)] * axis, indices))
