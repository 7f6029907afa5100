"""The shortest of several equal forms, by SymPy's count of operations; never one that divides by something new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import sympy as sp

from .candidates import forms
from .decimals import folded
from .poles import has_new_poles
from .sums import cases_joined, compact, merged, pulled

Expr = Any


@lru_cache(8192)
def cost(expr: Expr) -> int:
    """The number of operations, as SymPy counts them, where decimals beside each other are one number."""
    return int(sp.count_ops(compact(folded(expr))))


def shortest(
    expr: Expr, originals: Sequence[Expr], deadline: float, whole: frozenset[Any] = frozenset()
) -> Expr:
    """The shortest form found of ``expr`` that is singular only where it or one of the ``originals`` is.

    Subexpressions in ``whole`` stay as they are.
    """
    expr = cases_joined(pulled(expr))
    expr = _inside(expr, deadline)
    candidates = {expr: None, pulled(expr): None}
    both = merged(expr)
    if both != expr:
        candidates[_inside(both, deadline)] = None
    found: dict[Any, None] = {}
    for start in candidates:
        for form in forms(start, deadline, whole):
            found[form] = None
    known = (expr, *originals)
    return best(found, known)


def best(candidates: Iterable[Expr], known: Sequence[Expr]) -> Expr:
    """The first of the cheapest candidates without new poles."""
    ranked = sorted(candidates, key=measure)
    for candidate in ranked:
        if not candidate.has(sp.nan, sp.zoo, sp.oo) and not has_new_poles(candidate, known):
            return candidate
    return known[0]


def measure(expr: Expr) -> tuple[int, int, int]:
    """What is compared: operations, then signs, then length as text."""
    text = str(expr)
    return cost(expr), text.count("("), len(text)


def _inside(expr: Expr, deadline: float) -> Expr:
    """Bodies of sums and values of cases, each shortened by itself."""
    if not expr.has(sp.Sum, sp.Piecewise, sp.Product):
        return expr
    if isinstance(expr, sp.Sum):
        body = shortest(expr.function, (), deadline)
        free, rest = body.as_independent(*(limit[0] for limit in expr.limits), as_Add=False)
        if rest.is_Add:  # it was one sum, and stays so
            return free * sp.Sum(rest, *expr.limits)
        return pulled(sp.Sum(body, *expr.limits))
    if isinstance(expr, sp.Piecewise):
        return sp.Piecewise(*[(shortest(v, (), deadline), c) for v, c in expr.args])
    if isinstance(expr, (sp.Indexed, sp.Product)) or not expr.args or expr.is_Relational:
        return expr
    args = [_inside(a, deadline) if getattr(a, "args", ()) else a for a in expr.args]
    return expr.func(*args) if any(a is not b for a, b in zip(args, expr.args, strict=True)) else expr
