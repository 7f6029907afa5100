"""Equal forms of an expression, among which the shortest is looked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import sympy as sp

from .sums import bottom_up

Expr = Any
LARGE: Final = 250  # larger expressions are only factored term by term
SIMPLIFIED: Final = 60  # larger ones are not given to SymPy's ``simplify``
_OPAQUE: Final = (sp.Indexed, sp.Sum, sp.Product, sp.Piecewise)


def forms(expr: Expr, deadline: float) -> Iterator[Expr]:
    """Forms equal to ``expr``: as it is, factored, collected, over a common denominator, simplified.

    No more are made once ``time.perf_counter()`` has passed ``deadline``.
    """
    yield expr
    size = sp.count_ops(expr)
    if size < 2:
        return
    atoms = _atoms(expr)
    plain, back = _replaced(expr, atoms)
    for form in _plain_forms(plain, int(size), deadline):
        yield form.xreplace(back)


def _plain_forms(expr: Expr, size: int, deadline: float) -> Iterator[Expr]:
    def late() -> bool:
        return time.perf_counter() > deadline

    yield sp.factor_terms(expr)
    if size > LARGE:
        return
    expanded = sp.expand_mul(expr)
    yield expanded
    yield from _powers(expr)
    found = [expr, expanded]
    for attempt in (sp.factor, sp.together, sp.cancel, _factored_terms):
        if late() or size > LARGE // 2:
            return
        try:
            form = attempt(expr)
        except (sp.PolynomialError, NotImplementedError, RecursionError):
            continue
        if form not in found:
            found.append(form)
            yield form
            yield sp.factor_terms(form)
    if size <= SIMPLIFIED and not late():
        yield from _simplified(expr, late)
    for form in found:
        if late():
            return
        yield from _collected(form)


def _powers(expr: Expr) -> Iterator[Expr]:
    if expr.has(sp.exp):
        merged = sp.powsimp(expr)
        yield merged
        yield sp.factor_terms(sp.powsimp(sp.expand_mul(expr)))
        yield over_exponentials(sp.together(merged))
        yield over_exponentials(sp.factor_terms(expr))


def over_exponentials(expr: Expr) -> Expr:
    """exp(−u)/(1 − exp(−u)) as 1/(exp(u) − 1), wherever a product has such factors."""

    def visit(e: Expr) -> Expr:
        if not e.is_Mul:
            return e
        for factor in e.args:
            if not isinstance(factor, sp.exp):
                continue
            for k, other in enumerate(e.args):
                if other.is_Pow and other.exp == -1 and other.base.is_Add and other.base.has(factor):
                    inner = sp.expand_mul(other.base / factor)
                    rest = [a for j, a in enumerate(e.args) if j != k and a is not factor]
                    return sp.Mul(*rest, 1 / inner)
        return e

    return bottom_up(expr, visit)


def _collected(expr: Expr) -> Iterator[Expr]:
    if not expr.is_Add and not any(f.is_Add for f in sp.Mul.make_args(expr)):
        return
    symbols = sorted(expr.free_symbols, key=lambda s: (-expr.count(s), s.sort_key()))[:3]
    for symbol in symbols:
        found = sp.collect(expr, symbol)
        yield sp.factor_terms(found)
        yield sp.factor_terms(sp.collect(expr, symbol, sp.factor_terms))


def _factored_terms(expr: Expr) -> Expr:
    return sp.Add(*[sp.factor(t) for t in sp.Add.make_args(sp.factor_terms(expr))])


def _simplified(expr: Expr, late: Any) -> Iterator[Expr]:
    trigonometric = expr.has(sp.sin, sp.cos, sp.sinh, sp.cosh)
    own = expr.atoms(sp.Function)
    for attempt in (sp.simplify, sp.trigsimp if trigonometric else sp.radsimp):
        try:
            found = attempt(expr)
        except Exception:  # SymPy's simplifiers fail in many ways, and all that is lost is a candidate
            continue
        if attempt is sp.simplify or found.atoms(sp.Function) <= own:  # no double angles that nobody wrote
            yield found
            yield sp.factor_terms(found)
        if late():
            return


def _atoms(expr: Expr) -> list[Any]:
    """The largest subexpressions that algebra shall not look into."""
    found: dict[Any, None] = {}
    stack = [expr]
    while stack:
        e = stack.pop()
        if isinstance(e, _OPAQUE):
            found[e] = None
        else:
            stack.extend(e.args)
    return list(found)


def _replaced(expr: Expr, atoms: list[Any]) -> tuple[Expr, dict[Any, Any]]:
    to = {a: sp.Dummy(f"_{k}", real=True if a.is_extended_real is not False else None) for k, a in enumerate(atoms)}
    return expr.xreplace(to), {dummy: a for a, dummy in to.items()}
