"""The user's function traced one level deeper, as a graph of the arguments that a transform is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .graph import dim as dims
from .graph import express, tree
from .graph.after import after, has_effects
from .graph.array import Array, as_node, wrap
from .graph.dtype import is_inexact
from .graph.node import Graph, Node, make, rebuild, topological
from .graph.op import Concatenate, Input, Type
from .graph.trace import Traced, call_user, trace_flat
from .graph.where import error, of_function
from .selection import Chosen, function_name, parameter_names
from .simplify.pipeline import simplify

UNROLLED = 12  # so many scalar seeds are followed one by one, with structural zeros; more become a batch axis


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array to differentiate with respect to, and the graph inputs that stand for it: itself, or its elements."""

    type: Type
    inputs: tuple[Node, ...]

    def joined(self, parts: Sequence[Node]) -> Node:
        """One array of shape (*part, *leaf) from a part for each input."""
        if self.inputs[0].type == self.type:
            return parts[0]
        shape = parts[0].shape
        return express.reshape(stack(parts, len(shape)), (*shape, *self.type.shape))


@dataclass(frozen=True, slots=True)
class Inner:
    """A traced function of the selected leaves.

    ``graph`` takes the leaves, the captured values and the elements of split leaves; ``args`` are all these outside.
    """

    graph: Graph
    args: tuple[Node, ...]
    leaves: tuple[Leaf, ...]
    out: tree.TreeDef
    results: int  # outputs of the function proper; the rest is auxiliary
    spec: tree.TreeDef  # of the selected arguments

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The graph inputs to differentiate with respect to."""
        return tuple(i for leaf in self.leaves for i in leaf.inputs)

    def joined(self, parts: Sequence[Node]) -> list[Node]:
        """Derivatives by input as derivatives by leaf."""
        rest = iter(parts)
        return [leaf.joined([next(rest) for _ in leaf.inputs]) for leaf in self.leaves]

    def inline(self, outputs: Sequence[Node], values: int = 0) -> list[Array]:
        """Outputs over the graph's inputs, as arrays of the current trace.

        The first ``values`` are the function's; the others, its derivatives, come after what it does.
        """
        if has_effects(self.graph.nodes):
            done = [o for o in outputs[:values] if has_effects(topological([o]))]
            outputs = [*outputs[:values], *after(outputs[values:], done)]
        return [wrap(n) for n in Graph(self.graph.inputs, outputs).apply(self.args)]


def trace_inner(
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    chosen: Chosen,
    *,
    has_aux: bool,
    what: str,
    split: bool = False,
) -> Inner:
    """Traces ``fun`` as a function of the leaves of the chosen arguments.

    With ``split``, small arrays that the function takes apart (``mu, sigma = p``) are replaced by their elements, so
    that derivatives with respect to them have structural zeros and symmetry.
    """
    selected = tuple(args[c] if isinstance(c, int) else kwargs[c] for c in chosen)
    values, spec = tree.flatten(selected)
    names = [
        n
        for c, value in zip(chosen, selected, strict=True)
        for n in tree.paths(value, _argument_name(fun, c))
    ]
    nodes = [_differentiable(value, name, what) for value, name in zip(values, names, strict=True)]
    number: list[int] = []

    def body(*arrays: Array) -> Any:
        positional, named = list(args), dict(kwargs)
        for place, value in zip(chosen, tree.unflatten(spec, arrays), strict=True):
            if isinstance(place, int):
                positional[place] = value
            else:
                named[place] = value
        result = call_user(fun, *positional, **named)
        if has_aux and (not isinstance(result, tuple) or len(result) != 2):
            message = f"has_aux: {function_name(fun)} must return a pair (value, auxiliary)"
            raise error(TypeError, message, of_function(fun))
        number.append(len(tree.leaves(result[0] if has_aux else result)))
        return result

    body.__wrapped__ = fun  # type: ignore[attr-defined]  # what it captured is looked for there
    traced: Traced = trace_flat(body, [n.type for n in nodes], names)
    graph = traced.graph
    captured = [c.node if isinstance(c, Array) else as_node(c) for c in traced.captures]
    outer = (*nodes, *captured)
    leaves = tuple(Leaf(n.type, (i,)) for n, i in zip(nodes, graph.arguments, strict=False))
    inner = Inner(graph, outer, leaves, traced.tree, number[-1], spec)
    return by_elements(inner) if split else replace(inner, graph=simplify(graph, "smooth"))


def by_elements(inner: Inner) -> Inner:
    """The graph simplified, with those small leaves as scalars that are only read element by element."""
    small = [i for i, leaf in enumerate(inner.leaves) if _is_small(leaf.type)]
    while small:
        graph, args = inner.graph, list(inner.args)
        parted = list(inner.leaves)
        whole: dict[Node, int] = {}
        known: dict[Node, Node] = {}
        kinds = list(graph.inputs)
        for i in small:
            (node,) = parted[i].inputs
            scalar = Type((), node.dtype)
            count = int(dims.product(node.shape))
            parts = tuple(make(Input(0, len(kinds) + k, scalar)) for k in range(count))
            kinds.extend([scalar] * count)
            flat = express.reshape(args[i], (count,))
            args.extend(express.reshape(express.slice_(flat, (k,), (1,), (1,)), ()) for k in range(count))
            parted[i] = Leaf(node.type, parts)
            joined = stack(parts, 0)
            whole[joined] = i
            known[node] = express.reshape(joined, node.shape)
        outputs, moved = rebuild(graph.outputs, known)
        provenance = {moved.get(n, n): w for n, w in graph.provenance.items()}
        slim = simplify(Graph(kinds, outputs, provenance=provenance), "smooth")
        still = {i for node, i in whole.items() if node in slim.nodes}
        if not still:
            return replace(inner, graph=slim, args=tuple(args), leaves=tuple(parted))
        small = [i for i in small if i not in still]
    return replace(inner, graph=simplify(inner.graph, "smooth"))


def _is_small(kind: Type) -> bool:
    count = dims.product(kind.shape)
    return bool(kind.shape) and isinstance(count, int) and 0 < count <= UNROLLED


def stack(parts: Sequence[Node], axis: int) -> Node:
    """Nodes of one shape, stacked along a new axis."""
    own = parts[0].shape
    shape = (*own[:axis], 1, *own[axis:])
    kept = tuple(i for i in range(len(shape)) if i != axis)
    rows = tuple(express.broadcast(p, shape, kept) for p in parts)
    return rows[0] if len(rows) == 1 else make(Concatenate(axis), rows)


def _argument_name(fun: Callable[..., Any], where: int | str) -> str:
    if isinstance(where, str):
        return where
    names = parameter_names(fun)
    return names[where] if where < len(names) else f"argument {where}"


def _differentiable(value: Any, name: str, what: str) -> Node:
    """A leaf to differentiate with respect to, or the error that says why it cannot be."""
    if type(value) is int:
        value = float(value)
    node = as_node(value)
    if not is_inexact(node.dtype):
        raise error(
            TypeError,
            f"{what} with respect to {name} of type {node.type}: give floats, e.g. {name}.astype(float)",
        )
    return node
