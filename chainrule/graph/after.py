"""Effects: calls that are made for what they do, and values that come after them.

A trace remembers the effects in it. When it is closed, its results become values that come *after* them, so that no
pass drops an effect; each effect takes the one before as an argument, so that they stay in order. Derivatives pass
through: a derivative does not repeat what the function does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from .dtype import INT64
from .evaluate import CALLBACKS
from .node import Graph, Node, make, results
from .op import Call, Callback, Cond, Loop, Type
from .scope import Scope, current

AFTER: Final = "after"
"""The key of the callback that gives its first argument; the others are effects that come before."""

_TOKEN: Final = Type((), INT64)


def _first(value: Any, *_: Any) -> Any:
    return value


CALLBACKS[AFTER] = _first


def effect(key: str, function: Callable[..., Any], args: Sequence[Node]) -> None:
    """A call for its effect in the current trace, each time that the trace is run, after those before."""
    scope = current()
    assert scope is not None
    CALLBACKS.setdefault(key, function)
    scope.root.effects_made += 1
    # an argument of the trace keeps the call in it: what depends on none is done before, once
    inputs = sorted(scope.inputs, key=lambda n: len(n.shape))[:1]
    call = make(Callback(key, (_TOKEN,), scope.root.effects_made), (*args, *inputs, *_last(scope)))
    scope.effects.append(results(call)[0])


def _last(scope: Scope) -> list[Node]:
    """The effect before, which may be one of a trace around."""
    around: Scope | None = scope
    while around is not None and not around.effects:
        around = around.parent
    if around is None:
        return []
    found = around.effects[-1]
    scope.see(found)
    return [found]


def after(outputs: Sequence[Node], effects: Sequence[Node]) -> tuple[Node, ...]:
    """The same values, which come after the effects."""
    if not effects:
        return tuple(outputs)
    return tuple(results(make(Callback(AFTER, (o.type,)), (o, *effects)))[0] for o in outputs)


def noted(node: Node) -> Node:
    """A loop or branch that was just made: the effects in it are effects of the current trace."""
    scope = current()
    if scope is not None and has_effects([node]) and isinstance(node.type, tuple) and node.type:
        scope.effects.append(results(node)[0])
    return node


def has_effects(nodes: Iterable[Node]) -> bool:
    """Whether any of the nodes has an effect, or holds one in a body."""
    return any(_has_effect(n) for n in nodes)


def _has_effect(node: Node) -> bool:
    match node.op:
        case Callback():
            return node.op.effect is not None
        case Cond(branches):
            bodies: tuple[Graph, ...] = branches
        case Loop():
            bodies = (node.op.body,) if node.op.predicate is None else (node.op.body, node.op.predicate)
        case Call(body):
            bodies = (body,)
        case _:
            return False
    return any(has_effects(b.nodes) for b in bodies)
