"""vmap as a program on traced arrays: the function is traced for one example, and its graph batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .graph import express, tree
from .graph.array import Array, as_node, wrap
from .graph.batch import batch, fully
from .graph.dim import Dim, show
from .graph.node import Graph, Node, make
from .graph.op import Input, Type
from .graph.trace import Traced, argument_paths, call_user, trace_flat
from .graph.where import error
from .simplify.pipeline import simplify


def vectorise(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], in_axes: Any, out_axes: Any
) -> Any:
    """``fun`` over a new axis of its arguments (keyword arguments along axis 0), as in ``jax.vmap``."""
    leaves, spec = tree.flatten((tuple(args), kwargs))
    axes = _spread_axes(in_axes, tuple(args), "in_axes") + [0] * (len(leaves) - len(tree.leaves(tuple(args))))
    paths = argument_paths(fun, args, kwargs)
    nodes = [as_node(v) for v in leaves]
    size: Dim | None = None
    mapped: list[Node | None] = []
    for node, axis, path in zip(nodes, axes, paths, strict=True):
        if axis is None:
            mapped.append(None)
            continue
        rank = len(node.shape)
        if not -rank <= axis < rank:
            raise error(
                ValueError, f"vmap: there is no axis {axis} in {path}, which has shape {show(node.shape)}"
            )
        axis %= rank
        own = node.shape[axis]
        if size is not None and own != size:
            raise error(
                ValueError, f"vmap: the mapped axes have different sizes, {size} and {own} ({path})"
            )
        size = own
        mapped.append(express.transpose(node, (axis, *[i for i in range(rank) if i != axis])))
    if size is None:
        raise error(ValueError, "vmap: in_axes names no axis to map over")
    kinds = [n.type if m is None else Type(m.shape[1:], m.dtype) for n, m in zip(nodes, mapped, strict=True)]

    def body(*arrays: Array) -> Any:
        values, named = tree.unflatten(spec, arrays)
        return call_user(fun, *values, **named)

    body.__wrapped__ = fun  # type: ignore[attr-defined]
    traced: Traced = trace_flat(body, kinds, paths)
    graph = simplify(traced.graph, "fast")
    captured = [c.node if isinstance(c, Array) else as_node(c) for c in traced.captures]
    given = [*[n if m is None else m for n, m in zip(nodes, mapped, strict=True)], *captured]
    free = [make(Input(0, i, n.type)) for i, n in enumerate(given)]
    flags = [m is not None for m in mapped] + [False] * len(captured)
    known = [f if flag else None for f, flag in zip(free, flags, strict=True)]
    # inputs that are not mapped keep their nodes; mapped ones are other nodes of the same positions
    lanes = batch(graph.outputs, graph.arguments, known, size)
    outs = _spread_axes(out_axes, tree.unflatten(traced.tree, range(traced.tree.num_leaves)), "out_axes")
    outputs = []
    for lane, axis in zip(lanes, outs, strict=True):
        if axis is None:
            if lane[1]:
                raise error(
                    ValueError, "vmap: out_axes is None for a result that differs along the mapped axis"
                )
            outputs.append(lane[0])
            continue
        node = fully(lane, size)
        rank = len(node.shape)
        if not -rank <= axis < rank:
            raise error(ValueError, f"vmap: out_axes={axis} for a result of {rank} axes")
        order = list(range(1, rank))
        order.insert(axis % rank, 0)
        outputs.append(express.transpose(node, tuple(order)))
    arrays = [wrap(n) for n in Graph([n.type for n in given], outputs).apply(given)]
    return tree.unflatten(traced.tree, arrays)


def _spread_axes(axes: Any, value: Any, what: str) -> list[int | None]:
    """One axis per leaf, from an integer, None, or a prefix of the structure of ``value``."""
    if axes is None or type(axes) is int:
        return [axes] * len(tree.leaves(value))
    if isinstance(axes, (tuple, list)) and isinstance(value, (tuple, list)):
        if len(axes) != len(value):
            raise error(ValueError, f"vmap: {what} has {len(axes)} entries for {len(value)} values")
        return [a for part, v in zip(axes, value, strict=True) for a in _spread_axes(part, v, what)]
    if isinstance(axes, dict) and isinstance(value, dict):
        if sorted(axes) != sorted(value):
            raise error(ValueError, f"vmap: {what} has keys {sorted(axes)} for {sorted(value)}")
        return [a for key in sorted(value) for a in _spread_axes(axes[key], value[key], what)]
    raise error(TypeError, f"vmap: {what} is an integer, None or a structure of them, not {axes!r}")
