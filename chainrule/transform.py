"""Derivatives as programs on traced arrays: they trace the user's function one level deeper, apply a graph pass, and
inline the result. So they nest, and capture whatever the functions around them have traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .graph import dim as dims
from .graph import express, tree
from .graph.array import Array, as_node, wrap
from .graph.batch import batch, fully
from .graph.differentiate import NotDifferentiable, jvp, loops_between, needs_reverse, unit_seeds, value_and_vjp, vjp
from .graph.dim import Dim, show
from .graph.dtype import FLOAT64, is_complex, is_inexact, is_integer
from .graph.express import NODES
from .graph.node import Graph, Node, constant, make
from .graph.op import Input, Iota, Stop, Type
from .graph.where import error, of_function
from .inner import UNROLLED, Inner, stack, trace_inner
from .selection import Selection, check_call, function_name


def blamed(fun: Callable[..., Any], inner: Inner, problem: NotDifferentiable) -> Exception:
    where = inner.graph.provenance.get(problem.node) or of_function(fun)
    return error(TypeError, str(problem), where)


# --- gradients ----------------------------------------------------------------------------------------------


def value_and_gradient(
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    select: Selection,
    *,
    has_aux: bool,
    holomorphic: bool,
) -> tuple[Any, Any, Any]:
    """(value, gradient, aux) of a function with one scalar result."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="grad", split=True)
    value = scalar_result(fun, inner, holomorphic)
    values, gradient = gradient_nodes(fun, inner, value)
    arrays = inner.inline([*values, *inner.joined(gradient)], len(values))
    outputs, parts = arrays[: len(values)], arrays[len(values) :]
    result = tree.unflatten(inner.out, outputs)
    value_out, aux = result if has_aux else (result, None)
    return value_out, as_asked(inner.spec, parts, select), aux


def as_asked(spec: tree.TreeDef, parts: Sequence[Any], select: Selection) -> Any:
    derivative = tree.unflatten(spec, parts)
    return derivative[0] if select.single else derivative


def scalar_result(fun: Callable[..., Any], inner: Inner, holomorphic: bool) -> Node:
    if inner.results != 1:
        raise error(
            TypeError,
            f"grad needs one scalar result, but {function_name(fun)} returned {inner.results} values",
            of_function(fun),
        )
    value = inner.graph.outputs[0]
    if value.shape:
        shape = show(value.shape)
        raise error(
            TypeError,
            f"grad needs a scalar result, but {function_name(fun)} returned an array of shape {shape};"
            " sum it, or use jacobian",
            of_function(fun),
        )
    if not is_inexact(value.dtype):
        raise error(
            TypeError,
            f"grad needs a real result, but {function_name(fun)} returned {value.dtype}",
            of_function(fun),
        )
    if is_complex(value.dtype) and not holomorphic:
        raise error(
            TypeError,
            f"grad needs a real result, but {function_name(fun)} returned {value.dtype};"
            " take np.real or np.abs, or holomorphic=True",
            of_function(fun),
        )
    return value


FEW = 3
"""Through loops so many numbers are differentiated forward: nothing is stored, and no step is computed twice."""


def gradient_nodes(fun: Callable[..., Any], inner: Inner, value: Node) -> tuple[list[Node], list[Node]]:
    """(results, ∂value/∂leaf for each selected leaf), with loops in common.

    Reverse mode, or forward for one number, and for a few through loops.
    """
    inputs, outputs = inner.inputs, list(inner.graph.outputs)
    try:
        count = _seed_count(inputs)
        single = len(inputs) == 1 and not inputs[0].shape
        few = single or (count is not None and count <= FEW and loops_between([value], inputs))
        if few and not needs_reverse([value], inputs):
            found, gradient = _forward_gradient(inner, value)
            return [found if o is value else o for o in outputs], gradient
        seeds: list[list[Node | None]] = [[None] for _ in outputs]
        seeds[0] = [constant(1, value.dtype)]
        outputs, back = value_and_vjp(outputs, inputs, seeds)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    return outputs, [express.zeros(i.type) if row[0] is None else row[0] for i, row in zip(inputs, back, strict=True)]


def _forward_gradient(inner: Inner, value: Node) -> tuple[Node, list[Node]]:
    """(value, gradient), all its numbers at once."""
    inputs = inner.inputs
    rows: list[list[Node | None]] = []
    units = [unit_seeds(i.type) for i in inputs]
    for place, node in enumerate(inputs):
        if is_complex(node.dtype) and not is_complex(value.dtype):  # along the real and the imaginary axis
            units[place] += [unit * constant(1j, node.dtype) for unit in units[place]]
    total = sum(len(u) for u in units)
    start = 0
    for unit in units:
        rows.append([None] * start + list(unit) + [None] * (total - start - len(unit)))
        start += len(unit)
    (found,), tangents = jvp([value], inputs, rows)
    flat = [express.zeros(value.type) if t is None else t for t in tangents[0]]
    result, start = [], 0
    for node, unit in zip(inputs, units, strict=True):
        part = flat[start : start + len(unit)]
        start += len(unit)
        if is_complex(node.dtype) and not is_complex(value.dtype):
            half = len(part) // 2
            part = [NODES.complex(a, -b) for a, b in zip(part[:half], part[half:], strict=True)]
        part = [express.cast(t, node.dtype) for t in part]
        result.append(part[0] if not node.shape else express.reshape(stack(part, 0), node.shape))
    return found, result


# --- Jacobians ----------------------------------------------------------------------------------------------


def jacobian_forward(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """(value, Jacobian, aux): out structure of in structure, each of shape out.shape + in.shape."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian", split=True)
    check_inexact(fun, inner)
    outputs = inner.graph.outputs[: inner.results]
    check_real(
        fun, inner.inputs, "jacfwd takes real arguments of {name}, not {dtype}; use jacrev if the results are real"
    )
    try:
        values, columns = forward_jacobian(outputs, inner.inputs)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    return _jacobian_result(inner, [*values, *inner.graph.outputs[inner.results :]], columns, select, has_aux)


def jacobian_reverse(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """As ``jacobian_forward``, by rows."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian", split=True)
    check_inexact(fun, inner)
    outputs = inner.graph.outputs[: inner.results]
    check_real(
        fun, outputs, "jacrev needs real results, but {name} returned {dtype}; use jacfwd, or np.real and np.imag"
    )
    try:
        columns = reverse_jacobian(outputs, inner.inputs)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    return _jacobian_result(inner, inner.graph.outputs, columns, select, has_aux)


def jacobian_cheapest(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection, *, has_aux: bool
) -> tuple[Any, Any, Any]:
    """Forward or reverse, whichever is cheaper: by the number of seeds, forward where sizes do not tell."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=has_aux, what="jacobian", split=True)
    outputs = inner.graph.outputs[: inner.results]
    mode = jacobian_reverse if rows_are_cheaper(outputs, inner.inputs) else jacobian_forward
    return mode(fun, args, kwargs, select, has_aux=has_aux)


def rows_are_cheaper(outputs: Sequence[Node], inputs: Sequence[Node]) -> bool:
    """Whether a Jacobian is to be computed in reverse mode."""
    columns, rows = _seed_count(inputs), _seed_count(outputs)
    use_rows = rows is not None and (columns is None or rows < columns)
    use_rows = use_rows and not any(is_complex(o.dtype) for o in outputs)
    if use_rows and columns is not None and columns <= FEW:
        use_rows = not loops_between(outputs, inputs)
    return use_rows or any(is_complex(i.dtype) for i in inputs) or needs_reverse(outputs, inputs)


def _seed_count(nodes: Sequence[Node]) -> int | None:
    total = 0
    for node in nodes:
        number = dims.product(node.shape)
        if not isinstance(number, int):
            return None
        total += number
    return total


def check_inexact(fun: Callable[..., Any], inner: Inner) -> None:
    for node in inner.graph.outputs[: inner.results]:
        if is_integer(node.dtype) or node.dtype.kind == "b":
            raise error(
                TypeError,
                f"{function_name(fun)} returned {node.dtype}, which has no derivative",
                of_function(fun),
            )


def check_real(fun: Callable[..., Any], nodes: Sequence[Node], message: str) -> None:
    """Derivatives of complex results by complex arguments are more than one number each."""
    for node in nodes:
        if is_complex(node.dtype):
            text = message.format(name=function_name(fun), dtype=node.dtype)
            raise error(TypeError, text, of_function(fun))


def _jacobian_result(
    inner: Inner, outputs: Sequence[Node], table: list[list[Node]], select: Selection, has_aux: bool
) -> tuple[Any, Any, Any]:
    table = [inner.joined(row) for row in table]
    arrays = iter(inner.inline([*outputs, *[c for row in table for c in row]], len(outputs)))
    result = tree.unflatten(inner.out, [next(arrays) for _ in outputs])
    value, aux = result if has_aux else (result, None)
    rows = [as_asked(inner.spec, [next(arrays) for _ in row], select) for row in table]
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
        found = [
            express.zeros(i.type) if row[0] is None else _known(row[0]) for i, row in zip(inputs, back, strict=True)
        ]
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


# --- tangents and cotangents --------------------------------------------------------------------------------


def push_forward(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool
) -> tuple[Any, Any, Any]:
    """(value, tangent, aux) of ``fun(*primals)`` for tangents of the primals."""
    _check_sequence(primals, "primals", "jvp")
    _check_sequence(tangents, "tangents", "jvp")
    check_call(fun, primals, {})
    inner = trace_inner(fun, primals, {}, tuple(range(len(primals))), has_aux=has_aux, what="jvp")
    given = tree.flatten_as(tree.structure(tuple(primals)), tuple(tangents), "tangents")
    seeds = _check_types(given, inner.args[: len(inner.leaves)], "tangents", tree.paths(tuple(primals)))
    free = [make(Input(0, len(inner.graph.inputs) + i, s.type)) for i, s in enumerate(seeds)]
    outputs = inner.graph.outputs[: inner.results]
    try:
        values, rows = jvp(outputs, inner.inputs, [[f] for f in free])
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    moved = [express.zeros(o.type) if row[0] is None else row[0] for o, row in zip(outputs, rows, strict=True)]
    every = [*values, *inner.graph.outputs[inner.results :], *moved]
    kinds = [*inner.graph.inputs, *[s.type for s in seeds]]
    arrays = [wrap(n) for n in Graph(kinds, every).apply([*inner.args, *seeds])]
    result = tree.unflatten(inner.out, arrays[: len(inner.graph.outputs)])
    value, aux = result if has_aux else (result, None)
    return value, tree.unflatten(tree.structure(value), arrays[len(inner.graph.outputs) :]), aux


def pull_back(fun: Callable[..., Any], primals: Sequence[Any], cotangents: Any) -> tuple[Any, ...]:
    """The cotangents of the primals for a cotangent of ``fun(*primals)``."""
    check_call(fun, primals, {})
    inner = trace_inner(fun, primals, {}, tuple(range(len(primals))), has_aux=False, what="vjp")
    outputs = inner.graph.outputs
    given = tree.flatten_as(inner.out, cotangents, "the cotangent")
    seeds = _check_types(given, outputs, "the cotangent", tree.paths(inner.out))
    free = [make(Input(0, len(inner.graph.inputs) + i, s.type)) for i, s in enumerate(seeds)]
    try:
        back = vjp(outputs, inner.inputs, [[f] for f in free])
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    found = [
        express.zeros(i.type) if row[0] is None else _known(row[0]) for i, row in zip(inner.inputs, back, strict=True)
    ]
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
                ValueError,
                f"{what}{path} has shape {show(found.shape)}, but the value it goes with {show(node.shape)}",
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


def elementwise_derivatives(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], select: Selection
) -> list[Array]:
    """∂f/∂(each selected argument), element by element, for a function that computes element by element."""
    chosen = select.resolve(fun, args, kwargs)
    inner = trace_inner(fun, args, kwargs, chosen, has_aux=False, what="elementwise_grad")
    if inner.results != 1:
        raise error(
            TypeError,
            f"elementwise_grad needs one result, but {function_name(fun)} returned {inner.results}",
            of_function(fun),
        )
    check_inexact(fun, inner)
    check_real(fun, inner.inputs, "elementwise_grad takes real arguments of {name}, not {dtype}; use vmap of grad")
    output = inner.graph.outputs[0]
    for node, leaf in zip(inner.inputs, inner.graph.names, strict=False):
        rest = output.shape[-len(node.shape) :] if node.shape else ()
        if len(rest) != len(node.shape) or any(a not in (b, 1) for a, b in zip(node.shape, rest, strict=True)):
            raise error(
                TypeError,
                f"elementwise_grad needs a function that computes element by element, but {function_name(fun)} makes"
                f" {show(output.shape)} of {leaf}, which is {show(node.shape)}; use jacobian, or vmap of grad",
                of_function(fun),
            )
    count = len(inner.leaves)
    rows: list[list[Node | None]] = [
        [constant(1, node.dtype) if j == k else None for k in range(count)] for j, node in enumerate(inner.inputs)
    ]
    try:
        values, tangents = jvp([output], inner.inputs, rows)
    except NotDifferentiable as problem:
        raise blamed(fun, inner, problem) from None
    found = [_zero_like(output) if t is None else t for t in tangents[0]]
    return inner.inline([*values, *found], 1)[1:]
