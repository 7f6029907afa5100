"""From a Python function to a ``Graph``: the function is called once with traced arrays and what it
computes is closed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from . import dim as dims
from . import randomness, tree
from .after import after
from .array import Array, argument, as_node
from .dim import Dim
from .dtype import canonical
from .functions import FUNCTIONS
from .node import Graph, Node, make, rebuild
from .op import Const, Input, Type
from .scope import Scope, current, element_type, entered, outside
from .where import error, here, is_of_user, of_function, raised_at

__all__ = ["FUNCTIONS", "Scope", "Traced", "current", "outside", "spec", "trace", "trace_flat"]


@dataclass(frozen=True, slots=True)
class Traced:
    """What ``trace_flat`` found.

    ``graph`` takes the arguments, then the captured values. ``captures`` are these values: concrete
    read-only arrays for a trace of its own, Arrays of the outer trace for one inside another. ``tree`` is
    the structure of the result.
    """

    graph: Graph
    captures: tuple[Any, ...]
    tree: tree.TreeDef


def trace_flat(
    function: Callable[..., Any],
    types: Sequence[Type],
    names: Iterable[str] = (),
    *,
    read_only: bool = True,
    hoist: bool = True,
) -> Traced:
    """The graph of ``function(*arrays)`` on arrays of these types; it may return any pytree of arrays and
    numbers.

    Random numbers drawn from a global generator on the way are an error: they would be the same in every call.

    A trace inside a trace captures what it reads of the outer one: with ``hoist`` the largest values that
    do not depend on its own arguments (invariants of a loop), else just the outer values that it names (a
    branch computes only when it is taken).
    """
    if current() is not None:
        return _trace(function, types, tuple(names), read_only, hoist)
    before = randomness.state()
    try:
        found = _trace(function, types, tuple(names), read_only, hoist)
    except RecursionError:
        raise error(RecursionError, _ENDLESS, of_function(function)) from None
    if randomness.drawn(before):  # maybe by another thread, or after np.random.seed: is it the same again?
        _check_equal(found, _trace(function, types, tuple(names), read_only, hoist), function)
    return found


_ENDLESS: Final = (
    "the traced function calls itself without end: a condition on traced values stops no recursion, for all branches"
    " are traced; write cr.while_loop, or make what the depth depends on a static argument"
)
_FROZEN: Final = (
    "random numbers are drawn while the function is traced, and would be the same in every later call; draw them before"
    " and pass them as an argument"
)


def _check_equal(found: Traced, again: Traced, function: Callable[..., Any]) -> None:
    """Two traces of a function that may have drawn random numbers: where they differ, it has."""
    captures = zip(found.captures, again.captures, strict=False)
    if found.graph == again.graph and all(a.tobytes() == b.tobytes() for a, b in captures):
        return
    known = set(again.graph.nodes)
    places = [found.graph.provenance.get(n) for n in found.graph.nodes if n not in known]
    inside = [w for w in places if w is not None and w != here()]  # not what transforms made of it
    raise error(TypeError, _FROZEN, inside[0] if inside else of_function(function))


def _trace(
    function: Callable[..., Any], types: Sequence[Type], given: tuple[str, ...], read_only: bool, hoist: bool
) -> Traced:
    scope = Scope(function, tuple(types), given)
    with entered(scope):
        handles = [argument(node, scope, read_only) for node in scope.inputs]
        where = of_function(function)
        if where is not None:
            scope.provenance.update(dict.fromkeys(scope.inputs, where))
        result = _call(function, handles)
        leaves, structure = tree.flatten(result)
        outputs = tuple([_output(leaf, function) for leaf in leaves])
    if scope.parent is None:
        hidden = scope.hidden
        outputs = _after_effects(scope, outputs)
        inputs = (*scope.types, *(Type(h.shape, h.dtype) for h in hidden))
        graph = Graph(inputs, outputs, _names(given, len(types), len(hidden)), scope.provenance)
        return Traced(graph, tuple(hidden), structure)
    graph, captured = close_inner(scope, outputs, _names(given, len(types), 0), hoist)
    parent = scope.parent
    return Traced(graph, tuple(argument(node, parent) for node in captured), structure)


def close_inner(
    scope: Scope, outputs: Sequence[Node], names: tuple[str, ...], hoist: bool
) -> tuple[Graph, list[Node]]:
    """The graph of a trace inside another, and the outer values that it takes after its own arguments."""
    outputs = _after_effects(scope, outputs)
    captured = _captured(scope, outputs, hoist)
    known = {node: make(Input(0, i, t)) for i, (node, t) in enumerate(zip(scope.inputs, scope.types, strict=True))}
    for node in captured:
        known[node] = make(Input(0, len(known), node.type))
    closed, renamed = rebuild(outputs, known)
    provenance = {renamed[n]: w for n, w in scope.provenance.items() if n in renamed}
    inputs = (*scope.types, *(n.type for n in captured))
    return Graph(inputs, closed, _names(names, len(names), len(captured)), provenance), captured


def _after_effects(scope: Scope, outputs: Sequence[Node]) -> tuple[Node, ...]:
    """The results of a trace, which come after what is done in it."""
    if scope.effects and not outputs and scope.parent is None:
        message = "a program that prints returns something: without a result there is nothing to run"
        raise error(TypeError, message, of_function(scope.function))
    return after(outputs, scope.effects)


def call_user(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The user's function of these arguments; ordinary Python control flow on traced values works in it."""
    from . import syntax

    return syntax.call_user(function, args, kwargs)


def _call(function: Callable[..., Any], handles: list[Array]) -> Any:
    try:
        return function(*handles)
    except (TypeError, ValueError) as problem:
        hidden = problem.__cause__ or problem.__context__
        if hidden is not None and is_of_user(hidden) and not is_of_user(problem):
            raise hidden from None  # NumPy puts words about sequences over our error
        if "sequence of integers" in str(problem):  # np.zeros(n): only the words are left
            message = "a shape is made of known sizes, not of traced values; pass a static argument, or use x.shape"
            raise error(TypeError, message, raised_at(problem)) from None
        raise


def _output(leaf: Any, function: Callable[..., Any]) -> Node:
    known = isinstance(leaf, (Array, np.ndarray, np.generic, int, float, complex, dims.Size))
    if not known and not hasattr(leaf, "__array__"):
        shown = f"{type(leaf).__name__}: {leaf!r:.60}"
        message = f"a traced function returns arrays, numbers and containers of them, not a {shown}"
        raise error(TypeError, message, of_function(function))
    return as_node(leaf)


def _names(given: tuple[str, ...], arguments: int, captured: int) -> tuple[str, ...]:
    own = given or tuple(f"x{i}" for i in range(arguments))
    return (*own, *(f"c{i}" for i in range(captured)))


def _captured(scope: Scope, outputs: Sequence[Node], hoist: bool) -> list[Node]:
    """The outer values that the body of ``scope`` uses, in the order in which it meets them."""
    found: dict[Node, None] = {}
    visited: set[Node] = set()
    stack = list(reversed(outputs))
    while stack:
        node = stack.pop()
        if node in visited:
            continue
        visited.add(node)
        is_outer = node.level < scope.level and (node in scope.seen or (hoist and node.level >= 0))
        if is_outer and type(node.op) is not Const:
            found[node] = None
            continue
        stack.extend(reversed(node.args))
    return list(found)


# --- for people ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape and element type of an argument, for ``trace`` and ``export``."""

    type: Type

    def __repr__(self) -> str:
        return f"spec({self.type})"


def spec(*shape: Any, dtype: Any = "float64") -> Spec:
    """An argument of this shape: numbers are fixed sizes, identifiers named ones.

    >>> spec(), spec("n", 3), spec(10, dtype="int64")
    (spec(float64), spec(float64[n, 3]), spec(int64[10]))
    """
    try:
        element = canonical(dtype)
    except TypeError as problem:
        raise error(TypeError, str(problem)) from None
    return Spec(Type(tuple(_dim(d) for d in shape), element))


def _dim(size: Any) -> Dim:
    if isinstance(size, dims.Size):
        return size
    if isinstance(size, str) and size.isidentifier():
        return dims.size(size)
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0:
        return int(size)
    kind = ValueError if isinstance(size, (str, int, np.integer)) else TypeError
    raise error(kind, f"a size is a number that is not negative, or a name, not {size!r}")


def type_of_argument(value: Any, path: str) -> Type:
    """The type of an argument that is given as a spec, an array or a number."""
    if isinstance(value, Spec):
        return value.type
    if isinstance(value, Array):
        return Type(value.shape, value.dtype)
    if not isinstance(value, (int, float, complex, np.ndarray, np.generic)) and not hasattr(value, "__array__"):
        raise error(TypeError, f"argument {path} is a {type(value).__name__}, no array or number: {value!r:.60}")
    array = np.asarray(value)
    return Type(array.shape, element_type(array))


def trace(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The graph of ``function`` on arguments given as ``spec``s, arrays or numbers (only their types
    matter), or pytrees.

    >>> print(trace(lambda x: 2*x + 1, spec("n")))                      # doctest: +ELLIPSIS
    %0: float64 = const 2.0
    ...
    """
    if not callable(function):
        raise error(TypeError, f"trace takes a function, not {function!r:.60}")
    leaves, structure = tree.flatten((args, kwargs))
    paths = argument_paths(function, args, kwargs, unnamed="x")
    types = [type_of_argument(leaf, path) for leaf, path in zip(leaves, paths, strict=True)]

    def flat(*arrays: Array) -> Any:
        positional, named = tree.unflatten(structure, arrays)
        return call_user(function, *positional, **named)

    flat.__wrapped__ = function  # type: ignore[attr-defined]
    return trace_flat(flat, types, paths).graph


def argument_paths(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], unnamed: str = "argument "
) -> list[str]:
    """A name for each leaf of the arguments: ``x``, ``p['mu']``; without a name, ``unnamed`` and a number."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        parameters = []
    declared = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    found = []
    for i, arg in enumerate(args):
        found += tree.paths(arg, declared[i] if i < len(declared) else f"{unnamed}{i}")
    for key in sorted(kwargs):
        found += tree.paths(kwargs[key], key)
    return found
