"""Sums over an index: what does not depend on it leaves them, sums with equal coefficients are one."""

from __future__ import annotations

from typing import Any

import sympy as sp

Expr = Any


def pulled(expr: Expr) -> Expr:
    """``expr`` with every sum linear: factors and terms that do not depend on its index stand outside.

    >>> i, n, s = sp.Symbol("i", integer=True), sp.Symbol("n", integer=True, positive=True), sp.Symbol("s")
    >>> pulled(sp.Sum(sp.IndexedBase("z")[i]/s + 1, (i, 0, n - 1)))
    n + Sum(z[i], (i, 0, n - 1))/s
    """
    return bottom_up(expr, lambda e: _linear(e) if isinstance(e, sp.Sum) else _powers_out(e))


def bottom_up(expr: Expr, visit: Any) -> Expr:
    """``visit`` applied to every subexpression, innermost first."""
    if not getattr(expr, "args", ()) or isinstance(expr, (sp.Indexed, sp.IndexedBase, sp.Tuple)):
        return expr
    if isinstance(expr, (sp.Sum, sp.Product)):
        inner = bottom_up(expr.function, visit)
        return visit(expr if inner == expr.function else expr.func(inner, *expr.limits))
    args = [bottom_up(a, visit) for a in expr.args]
    if any(new is not old for new, old in zip(args, expr.args, strict=True)):
        expr = expr.func(*args)
    return visit(expr) if getattr(expr, "args", ()) else expr


def _powers_out(expr: Expr) -> Expr:
    """Products: a factor of a ``Product`` that does not depend on its index stands outside, to the power of its length."""
    if not isinstance(expr, sp.Product) or len(expr.limits) != 1:
        return expr
    i, first, last = expr.limits[0]
    free, rest = expr.function.as_independent(i, as_Add=False)
    return expr if free == 1 or not rest.has(i) else free ** (last - first + 1) * sp.Product(rest, (i, first, last))


def _linear(total: Any) -> Expr:
    """One sum taken apart, from the innermost index on."""
    value = total.function
    for limit in total.limits:
        value = sp.Add(*[_over(limit, term) for term in terms_of(value, limit[0])])
    return value


def terms_of(value: Expr, i: Any) -> list[Expr]:
    """The addends of a sum's body, with factors without ``i`` multiplied into those that have it."""
    free, rest = sp.sympify(value).as_independent(i, as_Add=False) if not value.is_Add else (sp.S.One, value)
    if not rest.is_Add:
        rest = sp.factor_terms(rest) if rest.has(i) else rest
        free_, rest = rest.as_independent(i, as_Add=False) if not rest.is_Add else (sp.S.One, rest)
        free = free * free_
    if rest.is_Add:
        common = sp.factor_terms(rest, sign=False)
        if not common.is_Add:
            free_, inner = common.as_independent(i, as_Add=False)
            if not inner.is_Add:
                return [free * common]  # a product of several factors stays one
            free, rest = free * free_, inner
        return [free * t for t in rest.args]
    return [free * rest]


def _over(limit: Any, term: Expr) -> Expr:
    """Σ of one term."""
    i, first, last = limit
    delta = next((d for d in term.atoms(sp.KroneckerDelta) if d.has(i)), None)
    if delta is not None:
        return _collapsed(term, delta, i, first, last)
    free, rest = term.as_independent(i, as_Add=False)
    if rest == 1 or not rest.has(i):
        return free * rest * (last - first + 1)
    if isinstance(rest, sp.Sum):
        return free * sp.Sum(rest.function, *rest.limits, limit)
    return free * sp.Sum(rest, limit)


def _collapsed(term: Expr, delta: Any, i: Any, first: Any, last: Any) -> Expr:
    """Σᵢ g(i)·δ(i + c, j) = g(j − c), where that is one of the indices."""
    solutions = sp.solve(sp.Eq(*delta.args), i)
    if len(solutions) != 1:
        return sp.Sum(term, (i, first, last))
    at = solutions[0]
    coefficient = term.subs(delta, 1).subs(i, at)
    shift = at - next(iter(s for s in delta.args if not s.has(i)), at)
    if shift == 0:  # the other index has the same range: it names an element of the same array
        return coefficient
    inside = sp.And(at >= first, at <= last)
    return sp.Piecewise((coefficient, inside), (0, True))


def compact(expr: Expr) -> Expr:
    """Numbers that all terms of a sum have in common outside of it, where SymPy by itself multiplies them in.

    >>> x, y = sp.symbols("x y")
    >>> compact(2*x - 2*y)
    2*(x - y)
    """

    def visit(e: Expr) -> Expr:
        if not e.is_Add:
            return e
        content, inner = e.primitive()
        if content == 1:
            return e
        found = sp.Mul(content, inner, evaluate=False)
        return found if sp.count_ops(found) < sp.count_ops(e) else e

    return bottom_up(expr, visit)


def merged(expr: Expr) -> Expr:
    """Sums with the same limits and, up to a number, the same coefficient as one sum."""

    def visit(e: Expr) -> Expr:
        if not e.is_Add:
            return e
        groups: dict[Any, Any] = {}
        rest = []
        for term in e.args:
            number, factors = term.as_coeff_mul()
            sums = [f for f in factors if isinstance(f, sp.Sum)]
            if len(sums) != 1:
                rest.append(term)
                continue
            others = sp.Mul(*[f for f in factors if f is not sums[0]])
            key = (others, sums[0].limits)
            groups[key] = groups.get(key, 0) + number * sums[0].function
        found = [others * sp.Sum(sp.factor_terms(f), *limits) for (others, limits), f in groups.items()]
        return sp.Add(*rest, *found)

    return bottom_up(expr, visit)


def at_index(value: Expr, formal: tuple[Any, ...], actual: tuple[Any, ...]) -> Expr:
    """``value`` with its formal index replaced; sums in it that use a letter of the actual one take another."""
    if formal == tuple(actual):
        return value
    used = {s for a in actual for s in sp.sympify(a).free_symbols}
    value = _renamed(value, used)
    return value.xreplace(dict(zip(formal, map(sp.sympify, actual), strict=True)))


def _renamed(value: Expr, used: set[Any]) -> Expr:
    clashing = {
        limit[0] for s in value.atoms(sp.Sum, sp.Product) for limit in s.limits if limit[0] in used
    }
    letters = iter(c for c in "jklmpqrst" if sp.Symbol(c, integer=True) not in used | value.free_symbols)
    for old in clashing:
        value = value.xreplace({old: sp.Symbol(next(letters), integer=True)})
    return value
