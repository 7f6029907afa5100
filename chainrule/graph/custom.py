"""``custom_jvp`` and ``custom_vjp``: functions with derivatives that the user gives, as in JAX.

Inside a trace a call of such a function becomes one ``Call`` node that holds its body and its rule, traced there and
then. What body and rule read of the functions around them become arguments of the node. A rule that calls the function
itself gets a call with the same rule, so that derivatives of any order use it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import numpy as np

from . import express, tree
from .array import Array, as_node, node_of, wrap
from .dtype import is_inexact
from .node import Graph, Node, make, rebuild, results
from .op import Call, Input, Type
from .rule import Rule
from .scope import current
from .trace import Traced, call_user, trace_flat
from .where import error, of_function

KEPT: Final = 16
"""Rules that a function keeps for one structure of arguments: they differ in what they read of what is around."""


@dataclass(slots=True)
class _Traced:
    """A call being traced: its rule, the graph of its body, and what both read of the functions around them."""

    rule: Rule
    body: Graph
    structure: tree.TreeDef
    captures: tuple[Array, ...]
    graphs: dict[str, Graph] = field(default_factory=dict)


_open: Final[ContextVar[tuple[tuple[Any, _Traced], ...]]] = ContextVar("chainrule_open_rules", default=())
_number: Final = count()


def new_rule(name: str, later: Callable[[], Graph] | None = None) -> Rule:
    """A rule unlike all others; ``later`` makes its graph for forward mode, if it captures nothing."""
    return Rule(name, next(_number), later)


class CustomRule:
    """What both have in common: calls, and ``nondiff_argnums``."""

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] | int = ()) -> None:
        if not callable(fun):
            raise error(TypeError, f"{type(self).__name__} takes a function, not {fun!r:.60}")
        numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise error(TypeError, f"nondiff_argnums are positions of arguments, not {nondiff_argnums!r}")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = tuple(sorted(set(numbers)))
        self._rules: dict[Any, list[_Traced]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value; inside a trace with its rule."""
        if current() is None:
            return self.fun(*args, **kwargs)
        self._check_rule()
        given = self._positional(args, kwargs)
        for n in self.nondiff_argnums:
            if n >= len(given):
                raise error(TypeError, f"nondiff_argnums={n}: {self._name} was called with {len(given)} arguments")
        moving = tuple(a for i, a in enumerate(given) if i not in self.nondiff_argnums)
        leaves, structure = tree.flatten(moving)
        nodes = [as_node(leaf) for leaf in leaves]
        types = [n.type for n in nodes]
        key = (id(self), structure, tuple(types), tuple(_identity(given[n]) for n in self.nondiff_argnums))
        traced = next((t for k, t in _open.get() if k == key), None)
        if traced is None:
            traced = self._trace(given, structure, types, key)
        captured = [node_of(c) for c in traced.captures]
        made = make(Call(traced.body, traced.rule), (*nodes, *captured))
        return tree.unflatten(traced.structure, [wrap(r) for r in results(made)])

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    @property
    def _name(self) -> str:
        return getattr(self.fun, "__name__", type(self.fun).__name__)

    def _check_rule(self) -> None:
        raise AssertionError

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with the defaults: rules take no keywords."""
        try:
            bound = inspect.signature(self.fun).bind(*args, **kwargs)
        except TypeError as problem:
            raise error(TypeError, f"{self._name}: {problem}") from None
        except ValueError:  # some builtins have no signature
            return args
        bound.apply_defaults()
        if bound.kwargs:
            names = ", ".join(bound.kwargs)
            message = f"{self._name} has a derivative rule, which takes no keyword-only arguments: {names}"
            raise error(TypeError, message)
        return bound.args

    def _whole(self, given: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
        """All arguments, those that move replaced."""
        rest = iter(moving)
        return [a if i in self.nondiff_argnums else next(rest) for i, a in enumerate(given)]

    def _static(self, given: Sequence[Any]) -> list[Any]:
        return [given[n] for n in self.nondiff_argnums]

    # --- tracing ---

    def _trace(self, given: Sequence[Any], structure: tree.TreeDef, types: list[Type], key: Any) -> _Traced:
        """Body and rule, with a rule that is the same object where it is the same in content."""

        def flat(*arrays: Array) -> Any:
            return call_user(self.fun, *self._whole(given, tree.unflatten(structure, arrays)))

        body = _traced(self.fun, flat, types)
        known = self._rules.setdefault(key[1:], [])
        candidates = [t.rule for t in known if t.body == _with_captures(body, len(types), _nodes(t.captures, body))]
        rule = candidates[-1] if candidates else new_rule(self._name)
        while True:
            found = self._settled(rule, body, given, structure, types, key)
            same = [t for t in known if t.rule is rule]
            if not same:
                break
            if same[0].body == found.body and same[0].graphs == found.graphs:
                return found
            rule = new_rule(self._name)
        rule.define(len(found.captures), **found.graphs)
        known.append(found)
        del known[:-KEPT]
        return found

    def _settled(
        self, rule: Rule, body: Traced, given: Sequence[Any], structure: tree.TreeDef, types: list[Type], key: Any
    ) -> _Traced:
        """Body and rule with the values that they capture, which the rule's own calls of the function capture, too."""
        captures: list[Node] = _nodes((), body)
        while True:
            handles = tuple(wrap(c) for c in captures)
            graph = _with_captures(body, len(types), captures)
            found = _Traced(rule, graph, body.tree, handles)
            with _opened(key, found):
                parts = self._rule_parts(found, given, structure, types)
            more = list(dict.fromkeys([*captures, *(node_of(h) for part, _ in parts.values() for h in part.captures)]))
            if len(more) == len(captures):
                found.graphs = {
                    name: _with_captures(part, own, captures, place) for name, (part, (own, place)) in parts.items()
                }
                return found
            captures = more

    def _rule_parts(
        self, call: _Traced, given: Sequence[Any], structure: tree.TreeDef, types: list[Type]
    ) -> dict[str, tuple[Traced, tuple[int, int]]]:
        """The parts of the rule, each with its number of own arguments, and where among them the captured values go."""
        raise AssertionError


def _identity(value: Any) -> Any:
    """What tells static arguments apart."""
    if isinstance(value, Array):
        return id(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return (type(value), value)


@contextmanager
def _opened(key: Any, call: _Traced) -> Iterator[None]:
    token = _open.set((*_open.get(), (key, call)))
    try:
        yield
    finally:
        _open.reset(token)


def _traced(function: Any, flat: Callable[..., Any], types: Sequence[Type]) -> Traced:
    flat.__wrapped__ = function  # type: ignore[attr-defined]
    return trace_flat(flat, types)


def _nodes(captures: Sequence[Array], body: Traced) -> list[Node]:
    return list(dict.fromkeys([*(c.node for c in captures), *(node_of(c) for c in body.captures)]))


def _with_captures(part: Traced, own: int, captures: Sequence[Node], place: int | None = None) -> Graph:
    """The graph of a part with ``captures`` as arguments from ``place`` (default: the end) among its ``own`` ones."""
    graph, at = part.graph, own if place is None else place
    positions = [*range(at), *range(at + len(captures), own + len(captures))]
    known = {
        node: make(Input(0, p, node.type)) for node, p in zip(graph.arguments[:own], positions, strict=True)
    }
    for node, handle in zip(graph.arguments[own:], part.captures, strict=True):
        known[node] = make(Input(0, at + captures.index(handle.node), node.type))
    outputs, renamed = rebuild(graph.outputs, known)
    provenance = {renamed[n]: w for n, w in graph.provenance.items() if n in renamed}
    kinds = [*graph.inputs[:at], *(c.type for c in captures), *graph.inputs[at:own]]
    names = [*graph.names[:at], *(f"c{i}" for i in range(len(captures))), *graph.names[at:own]]
    return Graph(kinds, outputs, names, provenance)


def _tangent_types(types: Sequence[Type]) -> list[Type]:
    return [t for t in types if is_inexact(t.dtype)]


def _with_zeros(types: Sequence[Type], moving: Sequence[Any]) -> list[Any]:
    """A tangent for each leaf: zeros for those that are no floats."""
    rest = iter(moving)
    return [
        next(rest) if is_inexact(t.dtype) else wrap(express.zeros(Type(t.shape, np.dtype(np.float64)))) for t in types
    ]


def _checked(leaf: Any, kind: Type, what: str, function: Any) -> Array:
    """A leaf that a rule gave, as an array of the type that it must have."""
    node = as_node(leaf)
    if node.shape != kind.shape or (node.dtype.kind == "c") > (kind.dtype.kind == "c"):
        raise error(TypeError, f"{what} is {node.type}, where {kind} is expected", of_function(function))
    return wrap(express.cast(node, kind.dtype))


def _checked_tree(value: Any, structure: tree.TreeDef, types: Sequence[Type], what: str, function: Any) -> list[Array]:
    found, other = tree.flatten(value)
    if other != structure:
        shown = tree.difference(structure, other)
        raise error(TypeError, f"{what} has another structure: {shown}", of_function(function))
    paths = tree.paths(structure, what)
    return [_checked(leaf, t, p, function) for leaf, t, p in zip(found, types, paths, strict=True)]


def _moving_only(leaves: Sequence[Array], types: Sequence[Type]) -> list[Array]:
    return [leaf for leaf, t in zip(leaves, types, strict=True) if is_inexact(t.dtype)]


def _pair(value: Any, what: str, function: Any) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise error(TypeError, f"{what}, not {type(value).__name__}", of_function(function))
    return value[0], value[1]


class custom_jvp(CustomRule):
    """A function whose derivative is given as a rule for forward mode; reverse mode runs it transposed.

    As in JAX: ``f.defjvp(rule)`` with ``rule(primals, tangents) → (value, tangent)``, linear in the tangents, or
    ``f.defjvps(rule, …)`` with one ``rule(tangent, value, *primals) → tangent`` per argument (None: zero). Arguments
    at ``nondiff_argnums`` come first, and are not differentiated. Arguments and results are pytrees; keywords are put
    in their places. Outside of a trace the function is called as it is. Usable as a decorator.

    A rule that is not linear, of another structure or shape, or a derivative with respect to a traced value that the
    function reads from outside, is a TypeError.

    >>> import numpy as np
    >>> @custom_jvp
    ... def log1pexp(x):
    ...     return np.log(1 + np.exp(x))
    >>> @log1pexp.defjvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1 - 1 / (1 + np.exp(x)))
    >>> import chainrule as cr
    >>> cr.grad(log1pexp)(100.0)
    np.float64(1.0)
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] | int = ()) -> None:
        super().__init__(fun, nondiff_argnums)
        self._rule: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the rule; returns it, so that it may decorate."""
        if not callable(jvp):
            raise error(TypeError, f"defjvp takes a function, not {jvp!r:.60}")
        self._rule = jvp
        self._rules.clear()
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Gives the rule argument by argument: ``jvp(tangent, value, *primals)``, or None for a zero."""
        if self.nondiff_argnums:
            raise error(TypeError, "defjvps does not go with nondiff_argnums; use defjvp")

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            if len(jvps) != len(primals):
                raise error(TypeError, f"{self._name} has {len(primals)} arguments, but rules for {len(jvps)}")
            value = self(*primals)
            parts = [jvp(t, value, *primals) for jvp, t in zip(jvps, tangents, strict=True) if jvp is not None]
            if not parts:
                return value, tree.map(lambda v: np.zeros(np.shape(v)), value)
            return value, functools.reduce(lambda a, b: tree.map(lambda x, y: x + y, a, b), parts)

        self._rule = rule
        self._rules.clear()

    def _check_rule(self) -> None:
        if self._rule is None:
            message = f"{self._name} is a custom_jvp without a rule; give one with defjvp"
            raise error(TypeError, message, of_function(self.fun))

    def _rule_parts(
        self, call: _Traced, given: Sequence[Any], structure: tree.TreeDef, types: list[Type]
    ) -> dict[str, tuple[Traced, tuple[int, int]]]:
        rule = self._rule
        assert rule is not None
        moving = _tangent_types(types)
        kinds = [o.type for o in call.body.outputs]

        def flat(*arrays: Array) -> Any:
            primals = tree.unflatten(structure, arrays[: len(types)])
            tangents = tree.unflatten(structure, _with_zeros(types, arrays[len(types) :]))
            what = f"the rule of {self._name} returns a pair (value, tangent)"
            value, tangent = _pair(call_user(rule, *self._static(given), primals, tangents), what, rule)
            values = _checked_tree(value, call.structure, kinds, f"the value of the rule of {self._name}", rule)
            inexact = [
                t if is_inexact(t.dtype) else Type(t.shape, np.dtype(np.float64)) for t in kinds
            ]
            slopes = _checked_tree(tangent, call.structure, inexact, f"the tangent of the rule of {self._name}", rule)
            return values, _moving_only(slopes, kinds)

        part = _traced(rule, flat, [*types, *moving])
        return {"push": (part, (len(types) + len(moving), len(types)))}


class custom_vjp(CustomRule):
    """A function whose derivative is given as a pair of functions for reverse mode.

    As in JAX: ``f.defvjp(fwd, bwd)`` with ``fwd(*args) → (value, residuals)`` and ``bwd(residuals, cotangent) →``
    one cotangent per argument (None: zero). ``bwd`` gets the arguments at ``nondiff_argnums`` first. Arguments,
    residuals and results are pytrees of arrays; keywords are put in their places. Outside of a trace the function is
    called as it is. Usable as a decorator.

    Forward mode (``jvp``, ``jacfwd``, ``hessian`` through ``fwd``) transposes ``bwd`` if it is linear in the cotangent,
    as derivatives are; one that is not (a clipped gradient) is for reverse mode only, and a TypeError in forward mode.
    Wrong structures and shapes are TypeErrors, and so is a derivative with respect to a traced value that the function
    reads from outside.

    >>> import numpy as np, chainrule as cr
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, g: (np.clip(g, -1, 1),))
    >>> cr.grad(lambda x: 10 * clipped(x))(2.0)
    np.float64(1.0)
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] | int = ()) -> None:
        super().__init__(fun, nondiff_argnums)
        self._fwd: Callable[..., Any] | None = None
        self._bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Gives the rule."""
        if not callable(fwd) or not callable(bwd):
            raise error(TypeError, "defvjp takes two functions, fwd and bwd")
        self._fwd, self._bwd = fwd, bwd
        self._rules.clear()

    def _check_rule(self) -> None:
        if self._fwd is None:
            message = f"{self._name} is a custom_vjp without a rule; give one with defvjp"
            raise error(TypeError, message, of_function(self.fun))

    def _rule_parts(
        self, call: _Traced, given: Sequence[Any], structure: tree.TreeDef, types: list[Type]
    ) -> dict[str, tuple[Traced, tuple[int, int]]]:
        fwd, bwd = self._fwd, self._bwd
        assert fwd is not None and bwd is not None
        kinds = [o.type for o in call.body.outputs]
        kept: list[tree.TreeDef] = []

        def forward(*arrays: Array) -> Any:
            args = self._whole(given, tree.unflatten(structure, arrays))
            what = f"fwd of {self._name} returns a pair (value, residuals)"
            value, residuals = _pair(call_user(fwd, *args), what, fwd)
            kept[:] = [tree.structure(residuals)]
            return _checked_tree(value, call.structure, kinds, f"the value of fwd of {self._name}", fwd), residuals

        first = _traced(fwd, forward, types)
        saved = [o.type for o in first.graph.outputs[len(kinds) :]]
        arriving = _tangent_types(kinds)

        def backward(*arrays: Array) -> Any:
            residuals = tree.unflatten(kept[0], arrays[: len(saved)])
            cotangent = tree.unflatten(call.structure, _with_zeros(kinds, arrays[len(saved) :]))
            found = call_user(bwd, *self._static(given), residuals, cotangent)
            return self._cotangents(found, structure, types)

        second = _traced(bwd, backward, [*saved, *arriving])
        own = len(saved) + len(arriving)
        return {"forward": (first, (len(types), len(types))), "pull": (second, (own, own))}

    def _cotangents(self, found: Any, structure: tree.TreeDef, types: list[Type]) -> list[Array]:
        """What ``bwd`` returned, as cotangents of the inexact leaves."""
        number = structure.num_children
        if not isinstance(found, (tuple, list)) or len(found) != number:
            shown = f"{len(found)}" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
            raise error(
                TypeError,
                f"bwd of {self._name} returns a tuple with one cotangent per argument ({number}), not {shown}",
                of_function(self._bwd),
            )
        result: list[Array] = []
        start = 0
        for place, (value, spec) in enumerate(zip(found, structure.children(), strict=True)):
            own = types[start : start + spec.num_leaves]
            start += spec.num_leaves
            if value is None:
                result.extend(wrap(express.zeros(t)) for t in own if is_inexact(t.dtype))
            elif any(is_inexact(t.dtype) for t in own):
                what = f"the cotangent of argument {place} of bwd of {self._name}"
                inexact = [t if is_inexact(t.dtype) else Type(t.shape, np.dtype(np.float64)) for t in own]
                result.extend(_moving_only(_checked_tree(value, spec, inexact, what, self._bwd), own))
        return result
