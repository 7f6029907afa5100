"""``Sum`` and ``Product`` over a range of integers: as a reduction over arrays, or as a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.graph.array import Array
from chainrule.graph.control import fori_loop
from chainrule.graph.where import error

from .translate import Meanings, Values, evaluate


def evaluate_sum(node: Any, values: Values, meanings: Meanings) -> Any:
    """The value of Sum(f, (i, a, b), …) or Product(…): bounds included; the first index varies fastest."""
    *inner, (index, low, high) = node.limits
    function = node.function if not inner else node.func(node.function, *inner)
    start, stop = (_bound(evaluate(b, values, meanings), node) for b in (low, high))
    symbols = function.free_symbols - {index}
    known = {k: v for k, v in values.items() if k in symbols or getattr(k, "is_symbol", False)}
    if isinstance(start, int) and isinstance(stop, int) and not inner and _scalars(function, index, values):
        return _reduced(node, function, index, np.arange(start, stop + 1), known, meanings)
    combine, neutral = (np.add, 0.0) if type(node).__name__ == "Sum" else (np.multiply, 1.0)
    body: Callable[[Any, Any], Any] = lambda i, total: combine(total, evaluate(function, {**known, index: i}, meanings))  # noqa: E731
    first = _like(body(start, neutral), neutral)
    return fori_loop(start, stop + 1, body, first)


def _reduced(
    node: Any,
    function: Any,
    index: Any,
    places: Any,
    known: Values,
    meanings: Meanings,
) -> Any:
    """All terms at once as an array, and its sum or product."""
    terms = evaluate(function, {**known, index: places}, meanings)
    terms = terms * np.ones(len(places)) if np.ndim(terms) == 0 else terms
    return np.sum(terms) if type(node).__name__ == "Sum" else np.prod(terms)


def _scalars(function: Any, index: Any, values: Values) -> bool:
    """Whether everything but indexed arrays is a number, and arrays are indexed by the index alone, so that the terms
    are a vector.
    """
    for part in function.free_symbols - {index}:
        if type(part).__name__ == "Indexed" or part not in values:
            continue
        if np.ndim(values[part]) and not any(i.base.label == part or i.base == part for i in _indexed(function)):
            return False
    return all(sum(index in i.free_symbols for i in part.indices) <= 1 for part in _indexed(function)) and not any(
        type(part).__name__ in ("Sum", "Product") for part in _subexpressions(function)
    )


def _indexed(function: Any) -> list[Any]:
    return [part for part in _subexpressions(function) if type(part).__name__ == "Indexed"]


def _subexpressions(function: Any) -> list[Any]:
    import sympy

    return list(sympy.preorder_traversal(function))


def _bound(value: Any, node: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            raise error(ValueError, f"{node} has infinitely many terms; SymPy's doit() may find a closed form")
        if value != int(value):
            raise error(ValueError, f"{node} has a bound that is no integer: {value}")
        return int(value)
    if isinstance(value, Array) and value.dtype.kind == "f":
        return value.astype(np.int64)
    return value


def _like(value: Any, neutral: float) -> Any:
    """The neutral element in the shape and type of a value."""
    return value * 0 + neutral if isinstance(value, Array) or np.ndim(value) else type(value)(neutral)
