"""Transforms as programs on traced arrays: they trace the user's function one level deeper, apply a graph pass, and inline
the result. So they nest, and capture whatever the functions around them have traced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import dim as dims
from .graph import express, tree
from .graph.array import Array, as_node, wrap
from .graph.batch import batch, fully
from .graph.differentiate import NotDifferentiable, jvp, loops_between, unit_seeds, vjp
from .graph.dim import Dim, show
from .graph.dtype import FLOAT64, is_complex, is_inexact, is_integer
from .graph.express import NODES
from .graph.node import Graph, Node, constant, make
from .graph.op import Input, Iota, Stop, Type
from .graph.trace import Traced, trace_flat
from .graph.where import error, of_function
from .simplify.pipeline import simplify

UNROLLED = 12  # so many scalar seeds are followed one by one, with structural zeros; more become a batch axis

Chosen = tuple[int | str, ...]  # top-level arguments: positions, or names of keyword arguments


# --- which arguments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """What to differentiate with respect to, as asked for; ``single``: one, not a tuple of one."""

    positions: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    single: bool = True

    def resolve(self, fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
        """Where the selected arguments stand in this call."""
        if not self.names:
            found = []
            for p in self.positions:
                at = p + len(args) if p < 0 else p
                if not 0 <= at < len(args):
                    name = _name(fun)
                    raise error(TypeError, f"argnums={p}, but {name} was called with {len(args)} positional arguments")
                found.append(at)
            return tuple(found)
        parameters = parameter_names(fun)
        chosen: list[int | str] = []
        for name in self.names:
            if name in kwargs:
                chosen.append(name)
            elif name in parameters and parameters.index(name) < len(args):
                chosen.append(parameters.index(name))
            else:
                listed = ", ".join(parameters)
                raise error(TypeError, f"wrt={name!r}: {_name(fun)}({listed}) was called without an argument of that name")
        return tuple(chosen)

    def contains(self, fun: Callable[..., Any], where: int | str) -> bool:
        """Whether the top-level argument at ``where`` may be one of the selected."""
        if isinstance(where, int):
            if where in self.positions or any(p < 0 for p in self.positions):
                return True
            parameters = parameter_names(fun)
            return where < len(parameters) and parameters[where] in self.names
        return where in self.names


def selection(argnums: int | Sequence[int] | None, wrt: Any) -> Selection:
    """``argnums`` as in JAX, or names: ``"a b"``, ``["a", "b"]``, SymPy symbols."""
    if wrt is not None:
        if argnums is not None:
            raise TypeError("give argnums or wrt, not both")
        if isinstance(wrt, str):
            names = tuple(wrt.replace(",", " ").split())
            single = len(names) == 1
        elif isinstance(wrt, (list, tuple)):
            names, single = tuple(str(w) for w in wrt), False
        else:
            names, single = (str(wrt),), True
        if not names or len(set(names)) < len(names):
            raise ValueError(f"wrt={wrt!r} names no argument, or one twice")
        return Selection(names=names, single=single)
    if argnums is None:
        argnums = 0
    if isinstance(argnums, (bool, np.bool_)) or not isinstance(argnums, (int, np.integer, list, tuple)):
        raise TypeError(f"argnums is an integer or a tuple of integers, not {argnums!r}")
    if isinstance(argnums, (int, np.integer)):
        return Selection((int(argnums),))
    if not argnums or len(set(argnums)) < len(argnums):
        raise ValueError(f"argnums={argnums!r} names no argument, or one twice")
    return Selection(tuple(int(a) for a in argnums), single=False)


def parameter_names(fun: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fun).parameters)
    except (TypeError, ValueError):
        return []


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


# --- tracing one level deeper -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inner:
    """A traced function of the selected leaves: ``graph`` takes them and the captured values, ``args`` are both outside."""

    graph: Graph
    args: tuple[Node, ...]
    number: int  # of leaves
    out: tree.TreeDef
    results: int  # outputs of the function proper; the rest is auxiliary
    spec: tree.TreeDef  # of the selected arguments

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.graph.arguments[: self.number]

    def inline(self, outputs: Sequence[Node]) -> list[Array]:
        """Outputs over the graph's inputs, as arrays of the current trace."""
        return [wrap(n) for n in Graph(self.graph.inputs, outputs).apply(self.args)]


def trace_inner(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], chosen: Chosen, *, has_aux: bool, what: str
) -> Inner:
    """Traces ``fun`` as a function of the leaves of the chosen arguments."""
    selected = tuple(args[c] if isinstance(c, int) else kwargs[c] for c in chosen)
    leaves, spec = tree.flatten(selected)
    names = [n for c, value in zip(chosen, selected, strict=True) for n in tree.paths(value, _argument_name(fun, c))]
    nodes = [_differentiable(value, name, what) for value, name in zip(leaves, names, strict=True)]
    split: list[int] = []

    def body(*arrays: Array) -> Any:
        values, named = list(args), dict(kwargs)
        for place, value in zip(chosen, tree.unflatten(spec, arrays), strict=True):
            if isinstance(place, int):
                values[place] = value
            else:
                named[place] = value
        result = fun(*values, **named)
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise error(TypeError, f"has_aux: {_name(fun)} must return a pair (value, auxiliary)", of_function(fun))
        split.append(len(tree.leaves(result[0] if has_aux else result)))
        return result

    body.__wrapped__ = fun  # type: ignore[attr-defined]  # what it captured is looked for there
    traced: Traced = trace_flat(body, [n.type for n in nodes], names)
    graph = simplify(traced.graph, "fast")
    captured = [c.node if isinstance(c, Array) else as_node(c) for c in traced.captures]
    return Inner(graph, (*nodes, *captured), len(nodes), traced.tree, split[-1], spec)


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
            TypeError, f"{what} with respect to {name} of type {node.type}: give floats, e.g. {name}.astype(float)"
        )
    return node


def _blamed(fun: Callable[..., Any], inner: Inner, problem: NotDifferentiable) -> Exception:
    where = inner.graph.provenance.get(problem.node) or of_function(fun)
    return error(TypeError, str(problem), where)


# --- gradients ------------------------------------------------------------------------------------------------------------------


def value_and_gradient(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool, holomorphic: bool
) -> tuple[Any, Any, Any]:
    """(value, gradient, aux) of a function with one scalar result."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="grad")
    value = _scalar_result(fun, inner, holomorphic)
    gradient = gradient_nodes(fun, inner, value)
    arrays = inner.inline([*inner.graph.outputs, *gradient])
    outputs, parts = arrays[: len(inner.graph.outputs)], arrays[len(inner.graph.outputs) :]
    result = tree.unflatten(inner.out, outputs)
    value_out, aux = result if has_aux else (result, None)
    return value_out, _as_asked(inner.spec, parts, select), aux


def _as_asked(spec: tree.TreeDef, parts: Sequence[Any], select: Selection) -> Any:
    derivative = tree.unflatten(spec, parts)
    return derivative[0] if select.single else derivative


def _scalar_result(fun: Callable[..., Any], inner: Inner, holomorphic: bool) -> Node:
    if inner.results != 1:
        raise error(
            TypeError, f"grad needs one scalar result, but {_name(fun)} returned {inner.results} values", of_function(fun)
        )
    value = inner.graph.outputs[0]
    if value.shape:
        shape = show(value.shape)
        raise error(
            TypeError,
            f"grad needs a scalar result, but {_name(fun)} returned an array of shape {shape}; sum it, or use jacobian",
            of_function(fun),
        )
    if not is_inexact(value.dtype):
        raise error(TypeError, f"grad needs a real result, but {_name(fun)} returned {value.dtype}", of_function(fun))
    if is_complex(value.dtype) and not holomorphic:
        raise error(
            TypeError,
            f"grad needs a real result, but {_name(fun)} returned {value.dtype}; take np.real or np.abs, or holomorphic=True",
            of_function(fun),
        )
    return value


def gradient_nodes(fun: Callable[..., Any], inner: Inner, value: Node) -> list[Node]:
    """∂value/∂leaf for each selected leaf: reverse mode, or forward for one number and through loops."""
    inputs = inner.inputs
    try:
        loops = loops_between([value], inputs)
        single = len(inputs) == 1 and not inputs[0].shape
        if loops or single:
            return _forward_gradient(inner, value, loops)
        back = vjp([value], inputs, [[constant(1, value.dtype)]])
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    return [express.zeros(i.type) if row[0] is None else row[0] for i, row in zip(inputs, back, strict=True)]


def _forward_gradient(inner: Inner, value: Node, loops: Sequence[Node]) -> list[Node]:
    inputs = inner.inputs
    for node in inputs:
        if not all(isinstance(d, int) for d in node.shape):
            where = inner.graph.provenance.get(loops[0])
            raise error(
                TypeError,
                "reverse mode through a loop is not supported, and forward mode needs arrays of known size;"
                " give the sizes as numbers",
                where,
            )
    rows: list[list[Node | None]] = []
    units = [unit_seeds(i.type) for i in inputs]
    total = sum(len(u) for u in units)
    start = 0
    for unit in units:
        rows.append([None] * start + list(unit) + [None] * (total - start - len(unit)))
        start += len(unit)
    _, tangents = jvp([value], inputs, rows)
    flat = [express.zeros(value.type) if t is None else t for t in tangents[0]]
    result, start = [], 0
    for node, unit in zip(inputs, units, strict=True):
        part = flat[start : start + len(unit)]
        start += len(unit)
        result.append(part[0] if not node.shape else express.reshape(_stack(part), node.shape))
    return result


def _stack(parts: Sequence[Node]) -> Node:
    """Nodes of one shape, stacked along a new axis 0."""
    from .graph.op import Concatenate

    shape = (1, *parts[0].shape)
    rows = tuple(express.broadcast(p, shape, tuple(range(1, len(shape)))) for p in parts)
    return rows[0] if len(rows) == 1 else make(Concatenate(0), rows)


# --- Jacobians --------------------------------------------------------------------------------------------------------------------


def jacobian_forward(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """(value, Jacobian, aux): out structure of in structure, each of shape out.shape + in.shape."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian")
    _check_inexact(fun, inner)
    outputs = inner.graph.outputs[: inner.results]
    try:
        values, columns = forward_jacobian(outputs, inner.inputs)
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    return _jacobian_result(inner, [*values, *inner.graph.outputs[inner.results :]], columns, select, has_aux)


def jacobian_reverse(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """As ``jacobian_forward``, by rows."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian")
    _check_inexact(fun, inner)
    try:
        columns = reverse_jacobian(inner.graph.outputs[: inner.results], inner.inputs)
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    return _jacobian_result(inner, inner.graph.outputs, columns, select, has_aux)


def jacobian_cheapest(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """Forward or reverse, whichever needs fewer seeds; forward through loops and where sizes do not tell."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian")
    outputs = inner.graph.outputs[: inner.results]
    columns = _seed_count(inner.inputs)
    rows = _seed_count(outputs)
    use_rows = rows is not None and (columns is None or rows < columns) and not loops_between(outputs, inner.inputs)
    mode = jacobian_reverse if use_rows else jacobian_forward
    return mode(fun, args, kwargs, select, has_aux=has_aux)


def _seed_count(nodes: Sequence[Node]) -> int | None:
    total = 0
    for node in nodes:
        number = dims.product(node.shape)
        if not isinstance(number, int):
            return None
        total += number
    return total


def _check_inexact(fun: Callable[..., Any], inner: Inner) -> None:
    for node in inner.graph.outputs[: inner.results]:
        if is_integer(node.dtype) or node.dtype.kind == "b":
            raise error(TypeError, f"{_name(fun)} returned {node.dtype}, which has no derivative", of_function(fun))


def _jacobian_result(
    inner: Inner, outputs: Sequence[Node], table: list[list[Node]], select: Selection, has_aux: bool
) -> tuple[Any, Any, Any]:
    arrays = iter(inner.inline([*outputs, *[c for row in table for c in row]]))
    result = tree.unflatten(inner.out, [next(arrays) for _ in outputs])
    value, aux = result if has_aux else (result, None)
    rows = [_as_asked(inner.spec, [next(arrays) for _ in row], select) for row in table]
    return value, tree.unflatten(tree.structure(value), rows), aux


def forward_jacobian(outputs: Sequence[Node], inputs: Sequence[Node]) -> tuple[list[Node], list[list[Node]]]:
    """(values, table): ``table[output][input]`` of shape output.shape + input.shape, from tangents."""
    if all(not i.shape for i in inputs) and len(inputs) <= UNROLLED:
        rows: list[list[Node | None]] = [
            [constant(1, i.dtype) if j == k else None for k in range(len(inputs))] for j, i in enumerate(inputs)
        ]
        values, tangents = jvp(outputs, inputs, rows)
        return values, [
            [_zero_like(o) if t is None else t for t in row] for o, row in zip(outputs, tangents, strict=True)
        ]
    table: list[list[Node]] = [[] for _ in outputs]
    for position, node in enumerate(inputs):
        seed = make(Input(_FRESH, 0, node.type))
        seeds: list[list[Node | None]] = [[seed] if p == position else [None] for p in range(len(inputs))]
        values, tangents = jvp(outputs, inputs, seeds)
        found = [_zero_like(o) if row[0] is None else row[0] for o, row in zip(outputs, tangents, strict=True)]
        size = dims.product(node.shape)
        many = batch(found, [seed], [basis(node.type, size)], size)
        for output, lane, row in zip(outputs, many, table, strict=True):
            row.append(_batch_last(fully(lane, size), output, node))
    return list(outputs), table


def reverse_jacobian(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[list[Node]]:
    """``table[output][input]`` from cotangents."""
    if all(not o.shape for o in outputs) and len(outputs) <= UNROLLED:
        rows: list[list[Node | None]] = [
            [constant(1, o.dtype) if j == k else None for k in range(len(outputs))] for j, o in enumerate(outputs)
        ]
        back = vjp(outputs, inputs, rows)
        return [
            [express.zeros(i.type) if row[k] is None else _known(row[k]) for i, row in zip(inputs, back, strict=True)]
            for k in range(len(outputs))
        ]
    table = []
    for position, node in enumerate(outputs):
        seed = make(Input(_FRESH, 0, node.type))
        back = vjp(outputs, inputs, [[seed] if p == position else [None] for p in range(len(outputs))])
        found = [express.zeros(i.type) if row[0] is None else _known(row[0]) for i, row in zip(inputs, back, strict=True)]
        size = dims.product(node.shape)
        many = batch(found, [seed], [basis(node.type, size)], size)
        table.append(
            [express.reshape(fully(lane, size), (*node.shape, *i.shape)) for lane, i in zip(many, inputs, strict=True)]
        )
    return table


_FRESH = 1 << 30  # the level of seeds that are replaced by a basis at once, below no trace


def _known(node: Node | None) -> Node:
    assert node is not None
    return node


def _zero_like(node: Node) -> Node:
    return express.zeros(node.type)


def basis(kind: Type, size: Dim) -> Node:
    """The unit arrays of a type, stacked along axis 0."""
    rows = express.broadcast(make(Iota(size)), (size, size), (0,))
    columns = express.broadcast(make(Iota(size)), (size, size), (1,))
    unit = NODES.where(NODES.eq(rows, columns), constant(1, kind.dtype), constant(0, kind.dtype))
    return express.reshape(unit, (size, *kind.shape))


def _batch_last(node: Node, output: Node, leaf: Node) -> Node:
    """Axis 0, which counts the elements of ``leaf``, moved behind the output's axes and unfolded."""
    rank = len(output.shape)
    moved = express.transpose(node, (*range(1, rank + 1), 0))
    return express.reshape(moved, (*output.shape, *leaf.shape))


# --- Hessians -----------------------------------------------------------------------------------------------------------------------


def value_gradient_hessian(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any, Any]:
    """(value, gradient, Hessian, aux) in one graph, so that one pass over the data computes all three.

    Of scalar leaves only the lower triangle is computed.
    """
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="hessian")
    value = _scalar_result(fun, inner, holomorphic=False)
    gradient = gradient_nodes(fun, inner, value)
    slim = simplify(Graph(inner.graph.inputs, [*inner.graph.outputs, *gradient], provenance=inner.graph.provenance), "fast")
    outputs = list(slim.outputs[: len(inner.graph.outputs)])
    gradient = list(slim.outputs[len(outputs) :])
    try:
        values, table = forward_jacobian(gradient, inner.inputs)
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    if all(not i.shape for i in inner.inputs):
        table = [[table[max(i, j)][min(i, j)] for j in range(len(table))] for i in range(len(table))]
    arrays = iter(inner.inline([*outputs, *values, *[c for row in table for c in row]]))
    result = tree.unflatten(inner.out, [next(arrays) for _ in outputs])
    value_out, aux = result if has_aux else (result, None)
    first = _as_asked(inner.spec, [next(arrays) for _ in values], select)
    rows = [_as_asked(inner.spec, [next(arrays) for _ in row], select) for row in table]
    return value_out, first, _as_asked(inner.spec, rows, select), aux


# --- tangents and cotangents ------------------------------------------------------------------------------------------------------------


def push_forward(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool) -> tuple[Any, Any, Any]:
    """(value, tangent, aux) of ``fun(*primals)`` for tangents of the primals."""
    _check_sequence(primals, "primals", "jvp")
    _check_sequence(tangents, "tangents", "jvp")
    inner = trace_inner(fun, primals, {}, tuple(range(len(primals))), has_aux=has_aux, what="jvp")
    given = tree.flatten_as(tree.structure(tuple(primals)), tuple(tangents), "tangents")
    seeds = _check_types(given, inner.args[: inner.number], "tangents", tree.paths(tuple(primals)))
    free = [make(Input(0, len(inner.graph.inputs) + i, s.type)) for i, s in enumerate(seeds)]
    outputs = inner.graph.outputs[: inner.results]
    try:
        values, rows = jvp(outputs, inner.inputs, [[f] for f in free])
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    moved = [express.zeros(o.type) if row[0] is None else row[0] for o, row in zip(outputs, rows, strict=True)]
    every = [*values, *inner.graph.outputs[inner.results :], *moved]
    kinds = [*inner.graph.inputs, *[s.type for s in seeds]]
    arrays = [wrap(n) for n in Graph(kinds, every).apply([*inner.args, *seeds])]
    result = tree.unflatten(inner.out, arrays[: len(inner.graph.outputs)])
    value, aux = result if has_aux else (result, None)
    return value, tree.unflatten(tree.structure(value), arrays[len(inner.graph.outputs) :]), aux


def pull_back(fun: Callable[..., Any], primals: Sequence[Any], cotangents: Any) -> tuple[Any, ...]:
    """The cotangents of the primals for a cotangent of ``fun(*primals)``."""
    inner = trace_inner(fun, primals, {}, tuple(range(len(primals))), has_aux=False, what="vjp")
    outputs = inner.graph.outputs
    given = tree.flatten_as(inner.out, cotangents, "the cotangent")
    seeds = _check_types(given, outputs, "the cotangent", tree.paths(inner.out))
    free = [make(Input(0, len(inner.graph.inputs) + i, s.type)) for i, s in enumerate(seeds)]
    try:
        back = vjp(outputs, inner.inputs, [[f] for f in free])
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    found = [express.zeros(i.type) if row[0] is None else _known(row[0]) for i, row in zip(inner.inputs, back, strict=True)]
    kinds = [*inner.graph.inputs, *[s.type for s in seeds]]
    arrays = [wrap(n) for n in Graph(kinds, found).apply([*inner.args, *seeds])]
    result: tuple[Any, ...] = tree.unflatten(inner.spec, arrays)
    return result


def _check_sequence(value: Any, name: str, what: str) -> None:
    if not isinstance(value, (tuple, list)):
        raise error(TypeError, f"{what}: {name} is a tuple with one entry per argument, not {type(value).__name__}")


def _check_types(values: Sequence[Any], like: Sequence[Node], what: str, paths: Sequence[str]) -> list[Node]:
    """Leaves as nodes of the types of ``like``; shapes must agree, real numbers adapt their precision."""
    nodes = []
    for value, node, path in zip(values, like, paths, strict=True):
        found = as_node(value)
        if found.shape != node.shape:
            raise error(
                ValueError, f"{what}{path} has shape {show(found.shape)}, but the value it goes with {show(node.shape)}"
            )
        if is_complex(found.dtype) and not is_complex(node.dtype):
            raise error(TypeError, f"{what}{path} is complex, but the value it goes with is {node.dtype}")
        nodes.append(express.cast(found, node.dtype if is_inexact(node.dtype) else FLOAT64))
    return nodes


def stop(value: Any) -> Any:
    """The value, a constant to differentiation; concrete values are that already."""

    def leaf(x: Any) -> Any:
        if not isinstance(x, Array):
            return x
        node = as_node(x)
        return wrap(make(Stop(), (node,))) if is_inexact(node.dtype) else x

    return tree.map(leaf, value)


def elementwise_derivatives(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection) -> list[Array]:
    """∂f/∂(each selected argument), element by element, for a function that computes element by element."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=False, what="elementwise_grad")
    if inner.results != 1:
        raise error(TypeError, f"elementwise_grad needs one result, but {_name(fun)} returned {inner.results}", of_function(fun))
    _check_inexact(fun, inner)
    output = inner.graph.outputs[0]
    count = inner.number
    rows: list[list[Node | None]] = [
        [constant(1, node.dtype) if j == k else None for k in range(count)] for j, node in enumerate(inner.inputs)
    ]
    try:
        _, tangents = jvp([output], inner.inputs, rows)
    except NotDifferentiable as problem:
        raise _blamed(fun, inner, problem) from None
    found = [_zero_like(output) if t is None else t for t in tangents[0]]
    return inner.inline(found)


# --- vmap -----------------------------------------------------------------------------------------------------------------------------


def vectorise(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], in_axes: Any, out_axes: Any) -> Any:
    """``fun`` over a new axis of its arguments (keyword arguments along axis 0), as in ``jax.vmap``."""
    leaves, spec = tree.flatten((tuple(args), kwargs))
    axes = _spread_axes(in_axes, tuple(args), "in_axes") + [0] * (len(leaves) - len(tree.leaves(tuple(args))))
    paths = tree.paths(spec)
    nodes = [as_node(v) for v in leaves]
    size: Dim | None = None
    mapped: list[Node | None] = []
    for node, axis, path in zip(nodes, axes, paths, strict=True):
        if axis is None:
            mapped.append(None)
            continue
        rank = len(node.shape)
        if not -rank <= axis < rank:
            raise error(ValueError, f"vmap: axis {axis} of argument {path}, which has shape {show(node.shape)}")
        axis %= rank
        own = node.shape[axis]
        if size is not None and own != size:
            raise error(ValueError, f"vmap: the mapped axes have different sizes, {size} and {own} (argument {path})")
        size = own
        mapped.append(express.transpose(node, (axis, *[i for i in range(rank) if i != axis])))
    if size is None:
        raise error(ValueError, "vmap: in_axes names no axis to map over")
    kinds = [n.type if m is None else Type(m.shape[1:], m.dtype) for n, m in zip(nodes, mapped, strict=True)]

    def body(*arrays: Array) -> Any:
        values, named = tree.unflatten(spec, arrays)
        return fun(*values, **named)

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
                raise error(ValueError, "vmap: out_axes is None for a result that differs along the mapped axis")
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


__all__ = [
    "Selection", "elementwise_derivatives", "jacobian_cheapest", "jacobian_forward", "jacobian_reverse",
    "pull_back", "push_forward", "selection", "stop", "value_and_gradient", "value_gradient_hessian", "vectorise",
]  # fmt: skip
