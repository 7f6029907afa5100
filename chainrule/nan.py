"""``find_nan``: where a program's results stop being finite, in the user's own lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compiled import Function
from .graph import tree
from .graph.collector import paused
from .graph.node import Node
from .graph.nonfinite import Found, find_nonfinite
from .graph.op import Const, Input, Scalar
from .graph.trace import argument_paths, call_user, trace_flat, type_of_argument
from .graph.where import Where, error
from .selection import check_call


@dataclass(frozen=True, slots=True)
class NonFinite:
    """What ``find_nan`` found; prints as a report.

    ``op`` made ``value`` of ``inputs`` (by name). ``where`` is the user's line, with ``line`` its text;
    ``in_derivative``: the op is not on it, but part of the derivative of what is. ``steps`` are the steps of the loops
    around it.
    """

    op: str
    value: Any
    inputs: dict[str, Any]
    where: Where | None
    line: str
    in_derivative: bool
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        place = f" at {self.where}" if self.where is not None else ""
        if self.in_derivative:
            place = f" in the derivative of what is{place}"
        steps = f", {', '.join(self.steps)}" if self.steps else ""
        lines = [f"{self.op} gives {_shown(self.value)}{place}{steps}"]
        lines += [f"    {self.line}"] if self.line else []
        lines += [f"  with {name} = {_shown(value)}" for name, value in self.inputs.items()]
        return "\n".join(lines)


def find_nan(f: Callable[..., Any], *args: Any, **kwargs: Any) -> NonFinite | None:
    """The operation that first gave NaN or infinity on the way to a result of ``f(*args)``; None if all are finite.

    Its own inputs were finite. f may be a derivative (``find_nan(cr.grad(f), x)``). The program is run by the reference
    interpreter, loop by loop. What no result depends on, such as a branch that was not chosen, does not count.

    >>> import chainrule as cr
    >>> def f(x):
    ...     y = np.sqrt(x - 2.0)
    ...     return np.exp(y)
    >>> found = cr.find_nan(f, 1.0)
    >>> print(found.op, found.value, found.inputs)
    sqrt nan {'input 0': np.float64(-1.0)}
    >>> cr.find_nan(f, 3.0) is None
    True
    """
    if not callable(f):
        raise error(TypeError, f"find_nan takes a function, not {f!r:.60}")
    check_call(f, args, kwargs)
    leaves, structure = tree.flatten((args, kwargs))
    names = argument_paths(f, args, kwargs)
    if isinstance(f, Function):  # a derivative takes integers for floats
        leaves = f.leaves(args, kwargs)

    def flat(*arrays: Any) -> Any:
        own, named = tree.unflatten(structure, arrays)
        return call_user(f, *own, **named)

    flat.__wrapped__ = f  # type: ignore[attr-defined]
    with paused():
        types = [type_of_argument(v, n) for v, n in zip(leaves, names, strict=True)]
        traced = trace_flat(flat, types, names)
    found = find_nonfinite(traced.graph, [*leaves, *traced.captures])
    return None if found is None else _report(found)


def _report(found: Found) -> NonFinite:
    where, own = found.where
    inputs: dict[str, Any] = {}
    for number, (node, value) in enumerate(found.inputs):
        if not isinstance(node.op, Const):
            name = _name(found, node)
            inputs[f"input {number}" if name is None or name in inputs else name] = _plain(value)
    return NonFinite(
        op=_described(found),
        value=_plain(found.value),
        inputs=inputs,
        where=where,
        line="" if where is None else where.source,
        in_derivative=where is not None and not own,
        steps=found.place,
    )


def _described(found: Found) -> str:
    op = found.node.op
    match op:
        case Scalar(name):
            return name
        case Input(_, position):
            return f"the argument {found.graph.names[position]}"
        case Const():
            return "a constant"
        case _:
            return type(op).__name__.lower()


def _name(found: Found, node: Node) -> str | None:
    """What the user calls a value: an argument's or a variable's name."""
    if isinstance(node.op, Input):
        return found.graph.names[node.op.position]
    where = found.graph.provenance.get(node)
    return where.name if where is not None else None


def _plain(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) else value


def _shown(value: Any) -> str:
    if np.ndim(value) == 0:
        return f"{value}"
    array = np.asarray(value)
    bad = np.argwhere(~np.isfinite(array)) if array.dtype.kind in "fc" else np.zeros((0, array.ndim))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        return f"{array[at]} at {list(at)} of {array.shape} ({len(bad)} not finite)"
    return np.array2string(array, threshold=8, precision=6)
