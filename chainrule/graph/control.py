"""Branches and loops as functions: ``cond``, ``switch``, ``scan``, ``fori_loop``, ``while_loop``, ``map``,
as in JAX.

On traced values each body is traced once and becomes a closed graph inside one ``Cond`` or ``Loop`` node.
What a body reads of the functions around it becomes an operand. Outside a trace they run as plain Python.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from . import dim as dims
from . import express, lift, tree
from .after import noted
from .array import Array, as_array, as_node, node_of, wrap
from .creation import as_size
from .dim import Dim, Size
from .dtype import BOOL, INT64, DType, promote
from .node import Graph, Node, constant, make, rebuild, results
from .op import Cond, Input, Loop, Type
from .scope import current, element_type
from .trace import Traced, call_user, trace_flat
from .where import error, of_function

PyTree = Any
_INDEX: Final = Type((), INT64)


@dataclass(slots=True)
class _Body:
    """A traced body: its graph, what it captures, and which of its results were Python numbers."""

    graph: Graph
    captures: tuple[Array, ...]
    tree: tree.TreeDef
    weak: list[bool]


def traced_body(
    function: Callable[..., Any],
    call: Callable[..., Any],
    types: Sequence[Type],
    *,
    read_only: bool = True,
    hoist: bool = True,
    counter: bool = False,
) -> _Body:
    """The body ``call(*flat arrays)`` of the user's ``function``; with ``counter`` its first argument is
    never negative.
    """
    weak: list[bool] = []

    def flat(*arrays: Array) -> Any:
        scope = current()
        assert scope is not None
        if counter:
            scope.nonnegative.add(node_of(arrays[0]))
        result = call(*arrays)
        weak[:] = [_is_weak(leaf) for leaf in tree.leaves(result)]
        return result

    flat.__wrapped__ = function  # type: ignore[attr-defined]
    found: Traced = trace_flat(flat, types, read_only=read_only, hoist=hoist)
    return _Body(found.graph, found.captures, found.tree, weak)


def _is_weak(value: Any) -> bool:
    return type(value) in lift.PYTHON_NUMBERS


def with_operands(body: _Body, own: int, captures: list[Node], dtypes: Sequence[DType] | None = None) -> Graph:
    """The body's graph taking its ``own`` arguments and then all of ``captures``; results converted to
    ``dtypes``.
    """
    graph = body.graph
    known: dict[Node, Node] = {}
    arguments = graph.arguments
    for node, handle in zip(arguments[own:], body.captures, strict=True):
        known[node] = make(Input(0, own + captures.index(handle.node), node.type))
    outputs, renamed = rebuild(graph.outputs, {**dict(zip(arguments[:own], arguments[:own], strict=True)), **known})
    if dtypes is not None:
        outputs = tuple(express.cast(o, d) for o, d in zip(outputs, dtypes, strict=True))
    provenance = {renamed[n]: w for n, w in graph.provenance.items() if n in renamed}
    inputs = (*graph.inputs[:own], *(c.type for c in captures))
    names = (*graph.names[:own], *(f"c{i}" for i in range(len(captures))))
    return Graph(inputs, outputs, names, provenance)


def captured_by(bodies: Sequence[_Body]) -> list[Node]:
    """The captured values of all bodies, each once. Checks them against the current trace."""
    return list(dict.fromkeys(node_of(h) for b in bodies for h in b.captures))


def _unpack(node: Node, structure: tree.TreeDef) -> PyTree:
    return tree.unflatten(structure, [wrap(n) for n in results(noted(node))])


def _check_functions(what: str, *functions: Any) -> None:
    for function in functions:
        if not callable(function):
            raise error(TypeError, f"{what} takes functions, not {function!r:.60}; a constant is lambda: value")


# --- branches -----------------------------------------------------------------------------------------------


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` where ``pred`` holds, else ``false_fun(*operands)``; only that one is computed.

    ``pred`` is one truth value; ``np.where`` chooses elementwise. Both functions return the same structure
    and shapes.

    >>> cond(2 > 1, lambda x: x + 1, lambda x: x - 1, 10)
    11
    """
    _check_functions("cond", true_fun, false_fun)
    if not isinstance(pred, Array) and np.ndim(pred) == 0:
        return true_fun(*operands) if pred else false_fun(*operands)
    if np.shape(pred):
        raise error(
            TypeError,
            f"cond takes one truth value, not an array of shape {dims.show(np.shape(pred))}; np.where chooses"
            f" elementwise,"
            " np.all and np.any make one of many",
        )
    index = express.cast(lift.to_bool(node_of(pred)), INT64)
    return _branch(index, [false_fun, true_fun], operands, ("false_fun", "true_fun"))


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, the index clamped to those that there are; only that one is computed.

    >>> switch(1, [np.sin, np.cos], 0.0)
    np.float64(1.0)
    """
    functions = list(branches)
    if not functions:
        raise error(ValueError, "switch needs a branch")
    _check_functions("switch", *functions)
    if not isinstance(index, Array):
        return functions[min(max(_whole(index, "the index of switch"), 0), len(functions) - 1)](*operands)
    if index.shape or index.dtype.kind not in "bi":
        raise error(TypeError, f"switch takes one integer, not {index!r}")
    if len(functions) == 1:
        return functions[0](*operands)
    names = tuple(f"branches[{i}]" for i in range(len(functions)))
    return _branch(express.cast(node_of(index), INT64), functions, operands, names)


def _branch(index: Node, functions: list[Callable[..., Any]], operands: tuple[Any, ...], names: tuple[str, ...]) -> Any:
    leaves, structure = tree.flatten(operands)
    nodes = [as_node(leaf) for leaf in leaves]
    types = [n.type for n in nodes]

    def body(function: Callable[..., Any]) -> _Body:
        def call(*flat: Array) -> Any:
            return call_user(function, *tree.unflatten(structure, flat))

        return traced_body(function, call, types, hoist=False)

    bodies = [body(f) for f in functions]
    for other, name in zip(bodies[1:], names[1:], strict=True):
        if other.tree != bodies[0].tree:
            where = tree.difference(bodies[0].tree, other.tree, "result")
            raise error(
                TypeError,
                f"the branches return different structures: {name} gives {where} (as {names[0]} does)",
            )
    dtypes = _agreed(bodies, names)
    captures = captured_by(bodies)
    graphs = tuple(with_operands(b, len(types), captures, dtypes) for b in bodies)
    return _unpack(make(Cond(graphs), (index, *nodes, *captures)), bodies[0].tree)


def _agreed(bodies: list[_Body], names: tuple[str, ...]) -> list[DType]:
    """The element type of each result, which all branches are converted to; their shapes must be the same."""
    found = []
    for i, path in enumerate(tree.paths(bodies[0].tree, "result")):
        kinds = [b.graph.outputs[i].type for b in bodies]
        if any(k.shape != kinds[0].shape for k in kinds) or len({k.dtype == BOOL for k in kinds}) > 1:
            shown = ", ".join(f"{n}: {k}" for n, k in zip(names, kinds, strict=True))
            raise error(TypeError, f"the branches return different types at {path} ({shown}); make them equal")
        strong = [k.dtype for k, b in zip(kinds, bodies, strict=True) if not b.weak[i]]
        weak = [np.zeros((), k.dtype).item() for k, b in zip(kinds, bodies, strict=True) if b.weak[i]]
        found.append(promote(*strong, *weak))
    return found


# --- loops --------------------------------------------------------------------------------------------------


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` for each x along the first axis of ``xs``: the last carry, and the y
    stacked.

    >>> scan(lambda s, x: (s + x, s), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 1., 3.]))
    """
    _check_functions("scan", f)
    if current() is None:
        return _scan_now(f, init, xs, length, reverse)
    pieces, piece_tree = tree.flatten(xs)
    scanned = [as_node(p) for p in pieces]
    count = _common_length(scanned, tree.paths(piece_tree, "xs"), length)
    slices = [Type(n.shape[1:], n.dtype) for n in scanned]

    def call(carry: Any, index: Array, parts: Sequence[Array]) -> tuple[Any, Any]:
        return _pair(call_user(f, carry, tree.unflatten(piece_tree, parts)), f)

    return _counted(f, call, init, scanned, slices, count, lift.size_value(count), reverse)


def map(f: Callable[..., Any], xs: Any) -> Any:
    """``f(x)`` for each x along the first axis of ``xs``, stacked. The calls are independent of each other.

    >>> map(lambda x: x**2, np.arange(3.0))
    array([0., 1., 4.])
    """
    _check_functions("map", f)
    if current() is None:
        return _scan_now(lambda _, x: (None, f(x)), None, xs, None, False)[1]
    pieces, piece_tree = tree.flatten(xs)
    scanned = [as_node(p) for p in pieces]
    count = _common_length(scanned, tree.paths(piece_tree, "xs"), None)
    types = [_INDEX, *(Type(n.shape[1:], n.dtype) for n in scanned)]
    body = traced_body(f, lambda _, *parts: call_user(f, tree.unflatten(piece_tree, parts)), types, counter=True)
    captures = captured_by([body])
    graph = with_operands(body, len(types), captures)
    op = Loop("map", graph, None, 0, len(scanned), count)
    return _unpack(make(op, (lift.size_value(count), *scanned, *captures)), body.tree)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[..., Any], init_val: Any, *, unroll: Any = None) -> Any:
    """``val = body_fun(i, val)`` for i = lower, …, upper−1, from ``init_val`` on; the bounds may be traced.

    >>> fori_loop(1, 4, lambda i, product: product * i, 1)
    6
    """
    _check_functions("fori_loop", body_fun)
    if current() is None:
        value = _own(init_val)
        for i in range(_whole(lower, "a loop bound"), _whole(upper, "a loop bound")):
            value = body_fun(i, value)
        return value
    known = all(isinstance(b, (int, np.integer, Size)) for b in (lower, upper))
    if known:
        count: Dim | None = dims.maximum(_bound(upper) - _bound(lower), 0)
        trips = lift.size_value(count)
    else:
        count = None
        difference = lift.apply("sub", _integer(upper), _integer(lower))
        trips = lift.apply("maximum", difference, constant(0, INT64))

    def call(carry: Any, index: Array, parts: Sequence[Array]) -> tuple[Any, Any]:
        i = index if known and _bound(lower) == 0 else index + as_array(wrap(_integer(lower)))
        return call_user(body_fun, i, carry), None

    return _counted(body_fun, call, init_val, [], [], count, trips, False)[0]


def _bound(value: Any) -> Dim:
    return value if isinstance(value, Size) else int(value)


def _integer(value: Any) -> Node:
    node = as_node(value)
    if node.shape or node.dtype.kind not in "bi":
        raise error(TypeError, f"a loop bound is one integer, not {node.type}")
    return express.cast(node, INT64)


def while_loop(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any) -> Any:
    """``while cond_fun(val): val = body_fun(val)``, from ``init_val`` on.

    >>> while_loop(lambda x: x < 100, lambda x: 2*x, 1)
    128
    """
    _check_functions("while_loop", cond_fun, body_fun)
    if current() is None:
        value = _own(init_val)
        while cond_fun(value):
            value = body_fun(value)
        return value
    carry = _Carry(init_val)

    def trace_body(types: list[Type]) -> _Body:
        return traced_body(body_fun, lambda *flat: call_user(body_fun, carry.join(flat)), types, read_only=False)

    body = carry.fixed_point(trace_body, lambda b: b.tree, "body_fun")
    types = carry.types
    test = traced_body(cond_fun, lambda *flat: call_user(cond_fun, carry.join(flat)), types)
    if len(test.graph.outputs) != 1 or test.graph.outputs[0].shape:
        raise error(TypeError, "the condition of while_loop is one truth value; np.all and np.any make one of many")
    captures = captured_by([body, test])
    predicate = with_operands(test, len(types), captures)
    predicate = predicate.replace([lift.to_bool(predicate.outputs[0])])
    graph = with_operands(body, len(types), captures, [t.dtype for t in types])
    op = Loop("predicate", graph, predicate, len(types), 0, None)
    return _unpack(make(op, (*carry.nodes, *captures)), carry.tree)


def _counted(
    f: Callable[..., Any],
    call: Callable[[Any, Array, Sequence[Array]], tuple[Any, Any]],
    init: Any,
    scanned: list[Node],
    slices: list[Type],
    count: Dim | None,
    trips: Node,
    reverse: bool,
) -> tuple[Any, Any]:
    carry = _Carry(init)
    n = len(carry.nodes)

    def trace_body(types: list[Type]) -> _Body:
        def flat(index: Array, *rest: Array) -> Any:
            return call(carry.join(rest[:n]), index, rest[n:])

        return traced_body(f, flat, [_INDEX, *types, *slices], read_only=False, counter=True)

    body = carry.fixed_point(trace_body, lambda b: b.tree.child(0), getattr(f, "__name__", "the body"))
    own = 1 + n + len(slices)
    captures = captured_by([body])
    outputs = body.graph.outputs
    dtypes = [*(t.dtype for t in carry.types), *(o.dtype for o in outputs[n:])]
    graph = with_operands(body, own, captures, dtypes)
    op = Loop("count", graph, None, n, len(slices), count, reverse)
    found = [wrap(r) for r in results(noted(make(op, (trips, *carry.nodes, *scanned, *captures))))]
    return tree.unflatten(carry.tree, found[:n]), tree.unflatten(body.tree.child(1), found[n:])


class _Carry:
    """The values that go round in a loop: their start, and the types that they settle on."""

    def __init__(self, init: Any) -> None:
        leaves, self.tree = tree.flatten(init)
        self.nodes = [as_node(leaf) for leaf in leaves]
        self.weak = [_is_weak(leaf) for leaf in leaves]

    @property
    def types(self) -> list[Type]:
        return [n.type for n in self.nodes]

    def join(self, flat: Sequence[Array]) -> Any:
        return tree.unflatten(self.tree, flat)

    def fixed_point(
        self, trace_body: Callable[[list[Type]], _Body], structure: Callable[[_Body], tree.TreeDef], name: str
    ) -> _Body:
        """The body, traced again while a start that is a Python number adapts to what the body makes of
        it.
        """
        while True:
            body = trace_body(self.types)
            if structure(body) != self.tree:
                where = tree.difference(self.tree, structure(body), "carry")
                raise error(TypeError, f"{name} returns a carry of another structure than it gets: {where}")
            if not self._adapt(body, name):
                return body

    def _adapt(self, body: _Body, name: str) -> bool:
        """Whether a start had to be converted to the type that the body returns."""
        changed = False
        for i, path in enumerate(tree.paths(self.tree, "carry")):
            begin, end = self.nodes[i].type, body.graph.outputs[i].type
            if begin.shape != end.shape:
                raise error(
                    TypeError,
                    f"{path} is {begin} when the loop begins, but {name} returns {end}; the shape of a"
                    f" carry cannot"
                    " change",
                )
            if body.weak[i]:
                wanted = promote(begin.dtype, np.zeros((), end.dtype).item())
            elif self.weak[i]:
                wanted = promote(end.dtype, np.zeros((), begin.dtype).item())
            else:
                wanted = promote(begin.dtype, end.dtype)
            if wanted == begin.dtype and (begin.dtype == BOOL) == (end.dtype == BOOL):
                continue
            if not self.weak[i] or (begin.dtype == BOOL) != (end.dtype == BOOL):
                raise error(
                    TypeError,
                    f"{path} is {begin} when the loop begins, but {name} returns {end}; begin with"
                    f" .astype({end.dtype})",
                )
            self.nodes[i] = express.cast(self.nodes[i], wanted)
            changed = True
        return changed


def _common_length(scanned: list[Node], paths: list[str], length: Any) -> Dim:
    count: Dim | None = None if length is None else as_size(length)
    for node, path in zip(scanned, paths, strict=True):
        if not node.shape:
            raise error(TypeError, f"{path} is a scalar and has no axis to go along")
        if count is not None and node.shape[0] != count:
            raise error(ValueError, f"{path} has length {node.shape[0]} where {count} is expected")
        count = node.shape[0]
    if count is None:
        raise error(TypeError, "scan without xs needs length=")
    return count


# --- outside a trace ----------------------------------------------------------------------------------------


def _own(init: Any) -> Any:
    """The start of a loop as values that its body may change."""
    return tree.map(lambda v: v.copy() if isinstance(v, np.ndarray) else v, init)


def _whole(value: Any, what: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise error(TypeError, f"{what} is one integer, not {value!r}") from None


def _pair(result: Any, f: Callable[..., Any]) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise error(TypeError, f"the function of scan returns a pair, (carry, y), not {result!r:.60}", of_function(f))
    return result


def _empty(f: Callable[..., Any], carry: Any, pieces: Sequence[Any], structure: tree.TreeDef) -> Any:
    """The y of a scan over nothing: arrays of the types that the body would have given."""
    leaves, carry_tree = tree.flatten(carry)
    starts = [np.asarray(leaf) for leaf in leaves]
    rows = [Type(a.shape, element_type(a)) for a in starts] + [Type(a.shape[1:], element_type(a)) for a in pieces]

    def flat(*arrays: Array) -> Any:
        start = tree.unflatten(carry_tree, arrays[: len(starts)])
        return _pair(f(start, tree.unflatten(structure, arrays[len(starts) :])), f)[1]

    flat.__wrapped__ = f  # type: ignore[attr-defined]
    found = trace_flat(flat, rows)
    return tree.unflatten(found.tree, [np.zeros((0, *o.shape), o.dtype) for o in found.graph.outputs])


def _scan_now(f: Callable[..., Any], init: Any, xs: Any, length: Any, reverse: bool) -> tuple[Any, Any]:
    pieces, structure = tree.flatten(xs)
    arrays = [np.asarray(p) for p in pieces]
    lengths = {a.shape[0] for a in arrays if a.ndim} | ({as_size(length)} if length is not None else set())
    if len(lengths) != 1 or any(not a.ndim for a in arrays):
        shown = f"not {sorted(lengths)}" if len(lengths) > 1 else "and there is none: give xs arrays, or length="
        raise error(ValueError, f"scan and map go along first axes of one length, {shown}")
    count = lengths.pop()
    carry = _own(init)
    found: list[Any] = []
    for i in reversed(range(count)) if reverse else range(count):
        carry, y = _pair(f(carry, tree.unflatten(structure, [a[i] for a in arrays])), f)
        found.append(y)
    if reverse:
        found.reverse()
    if not found:
        return carry, _empty(f, carry, arrays, structure)
    return carry, tree.map(lambda *rows: np.stack(rows), found[0], *found[1:])
