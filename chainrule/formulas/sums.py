"""Sums over an index: what does not depend on it leaves them, sums with equal coefficients are one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp

from chainrule.graph.algebra import index_symbol

Expr = Any


def pulled(expr: Expr) -> Expr:
    """``expr`` with every sum linear: factors and terms that do not depend on its index stand outside.

    >>> i, n, s = index_symbol("i"), sp.Symbol("n", integer=True, positive=True), sp.Symbol("s")
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
    """A factor of a ``Product`` that does not depend on its index stands outside, to the power of its length."""
    if not isinstance(expr, sp.Product) or len(expr.limits) != 1:
        return expr
    i, first, last = expr.limits[0]
    count = last - first + 1
    if not expr.function.has(i):
        return expr.function**count
    free, rest = expr.function.as_independent(i, as_Add=False)
    return expr if free == 1 else free**count * sp.Product(rest, (i, first, last))


def _linear(total: Any) -> Expr:
    """One sum taken apart, from the innermost index on."""
    value = total.function
    if value.has(sp.KroneckerDelta):
        value = sp.Add(*[t for term in sp.Add.make_args(sp.expand(value)) for t in _by_cases(term)])
    for limit in total.limits:
        value = sp.Add(*[_over(limit, term) for term in terms_of(value, limit[0])])
    return value


def terms_of(value: Expr, i: Any) -> list[Expr]:
    """The addends of a sum's body, with factors without ``i`` multiplied into those that have it."""
    free, rest = sp.sympify(value).as_independent(i, as_Add=False) if not value.is_Add else (sp.S.One, value)
    if not rest.is_Add:
        rest = sp.factor_terms(rest) if rest.has(i) and not rest.has(sp.Product, sp.Piecewise) else rest
        free_, rest = rest.as_independent(i, as_Add=False) if not rest.is_Add else (sp.S.One, rest)
        free = free * free_
    if rest.is_Add and not rest.has(sp.Product, sp.Piecewise, sp.KroneckerDelta):
        common = sp.factor_terms(rest, sign=False)
        if not common.is_Add:
            free_, inner = common.as_independent(i, as_Add=False)
            if not inner.is_Add:
                return [free * common]  # a product of several factors stays one
            free, rest = free * free_, inner
    return [free * t for t in sp.Add.make_args(rest)]


def _by_cases(term: Expr) -> list[Expr]:
    """An addend with elements of the unit matrix inside of cases as several, each with one of these as a factor."""
    factors = sp.Mul.make_args(term)
    cases = next((f for f in factors if isinstance(f, sp.Piecewise) and f.has(sp.KroneckerDelta)), None)
    if cases is None:
        return [term]
    others = sp.Mul(*[f for f in factors if f is not cases])
    found = []
    before: Any = sp.true  # none of the cases before
    for value, condition in cases.args:
        holds = sp.And(before, condition)
        before = sp.And(before, sp.Not(condition))
        for part in sp.Add.make_args(sp.expand(others * value)):
            if part != 0:
                found += _by_cases(part * sp.Piecewise((1, holds), (0, True)))
    return found


def _over(limit: Any, term: Expr) -> Expr:
    """Σ of one term."""
    i, first, last = limit
    factors = sp.Mul.make_args(term)
    delta = next((f for f in factors if isinstance(f, sp.KroneckerDelta) and f.has(i)), None)
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
    solutions = sp.solve(sp.Eq(*delta.args[:2]), i)
    if len(solutions) != 1:
        return sp.Sum(term, (i, first, last))
    at = solutions[0]
    coefficient = term.xreplace({delta: sp.S.One}).xreplace({i: at})
    other = next(iter(s for s in delta.args[:2] if not s.has(i)))
    range_ = delta.delta_range
    lengths = {other: range_[1] + 1} if range_ is not None and other.is_Symbol else {}
    bounds = ((at - first, sp.Ge(at, first)), (last - at, sp.Le(at, last)))
    conditions = [holds for excess, holds in bounds if not _least(excess, lengths).is_nonnegative]
    return sp.Piecewise((coefficient, sp.And(*conditions)), (0, True)) if conditions else coefficient


def in_range(expr: Expr, ranges: Mapping[Any, Any]) -> Expr:
    """``expr`` without conditions that hold anyway: each index goes from 0 to its length in ``ranges`` − 1."""
    decided = {}
    for relation in expr.atoms(sp.core.relational.Relational):
        if isinstance(relation, (sp.Ge, sp.Le, sp.Gt, sp.Lt)):
            difference = relation.gts - relation.lts - (1 if relation.func in (sp.Gt, sp.Lt) else 0)
            if _least(difference, ranges).is_nonnegative:
                decided[relation] = sp.true
            elif _least(-difference - 1, ranges).is_nonnegative:
                decided[relation] = sp.false
    return expr.xreplace(decided) if decided else expr


def _least(difference: Expr, ranges: Mapping[Any, Any]) -> Expr:
    """The least value of an expression that is linear in the indices."""
    for index, length in ranges.items():
        slope = difference.coeff(index)
        if slope.is_number:
            difference = difference.xreplace({index: length - 1 if slope < 0 else sp.S.Zero})
    return sp.expand(difference)


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
            body, limits = sums[0].function, sums[0].limits
            for known in groups:
                if known[0] == others and len(limits) == 1 == len(known[1]) and known[1][0][1:] == limits[0][1:]:
                    index = known[1][0][0]
                    if index not in body.free_symbols:
                        body, limits = body.xreplace({limits[0][0]: index}), known[1]
            key = (others, limits)
            groups[key] = groups.get(key, 0) + number * body
        found = [others * sp.Sum(sp.factor_terms(f), *limits) for (others, limits), f in groups.items()]
        return sp.Add(*rest, *found)

    return bottom_up(expr, visit)


def at_index(value: Expr, formal: tuple[Any, ...], actual: tuple[Any, ...]) -> Expr:
    """``value`` with its formal index replaced; sums in it that use a letter of the actual one take another."""
    if formal == tuple(actual):
        return value
    used = {s for a in actual for s in sp.sympify(a).free_symbols}
    value = renamed(value, used)
    return value.xreplace(dict(zip(formal, map(sp.sympify, actual), strict=True)))


def renamed(value: Expr, used: set[Any]) -> Expr:
    """``value`` with the indices of sums that are in ``used`` replaced by others."""

    def visit(e: Expr) -> Expr:
        return renamed_here(e, used) if isinstance(e, (sp.Sum, sp.Product)) else e

    return bottom_up(value, visit) if value.has(sp.Sum, sp.Product) else value


def apart(expr: Expr, used: frozenset[Any] = frozenset()) -> Expr:
    """``expr`` with sums inside of sums, and beside free indices, over indices of their own."""
    if not expr.has(sp.Sum, sp.Product):
        return expr
    if isinstance(expr, (sp.Sum, sp.Product)):
        expr = renamed_here(expr, used)
        inner = apart(expr.function, used | {limit[0] for limit in expr.limits})
        return expr.func(inner, *expr.limits)
    args = [apart(a, used) for a in expr.args]
    return expr.func(*args) if any(a is not b for a, b in zip(args, expr.args, strict=True)) else expr


def renamed_here(total: Any, used: Iterable[Any]) -> Any:
    """One sum with those of its indices replaced that are in ``used``."""
    clashing = [limit[0] for limit in total.limits if limit[0] in used]
    if not clashing:
        return total
    taken = {*used} | total.function.free_symbols | {limit[0] for limit in total.limits}
    letters = iter(s for s in map(index_symbol, "ijklmpqt") if s not in taken)
    new = {old: next(letters) for old in clashing}
    return total.func(total.function.xreplace(new), *[limit.xreplace(new) for limit in total.limits])


def cases_joined(expr: Expr) -> Expr:
    """Addends by the same cases as one, factors of cases inside of them."""

    def visit(e: Expr) -> Expr:
        if not e.is_Add:
            return e
        groups: dict[Any, list[Any]] = {}
        rest = []
        for term in e.args:
            factors = sp.Mul.make_args(term)
            cases = [f for f in factors if isinstance(f, sp.Piecewise)]
            if len(cases) != 1:
                rest.append(term)
                continue
            others = sp.Mul(*[f for f in factors if f is not cases[0]])
            conditions = tuple(c for _, c in cases[0].args)
            groups.setdefault(conditions, []).append([others * v for v, _ in cases[0].args])
        joined = [
            sp.Piecewise(*[(sp.Add(*values), c) for values, c in zip(zip(*rows, strict=True), key, strict=True)])
            for key, rows in groups.items()
        ]
        return sp.Add(*rest, *joined)

    return bottom_up(expr, visit) if expr.has(sp.Piecewise) else expr
