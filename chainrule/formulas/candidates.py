"""Equal forms of an expression, among which the shortest is looked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import sympy as sp

from .decimals import Decimal
from .poles import NO_FORM
from .sums import bottom_up

Expr = Any
LARGE: Final = 250  # larger expressions are only factored term by term
SIMPLIFIED: Final = 60  # larger ones are not given to SymPy's ``simplify``
WILDEST: Final = 100  # numerators and denominators of exponents in what is taken for a polynomial
_OPAQUE: Final = (sp.Indexed, sp.Sum, sp.Product, sp.Piecewise)


def forms(expr: Expr, deadline: float, whole: frozenset[Any] = frozenset()) -> Iterator[Expr]:
    """Forms equal to ``expr``: as it is, factored, collected, over a common denominator, simplified.

    Subexpressions in ``whole`` stay as they are. No more are made once ``time.perf_counter()`` has passed ``deadline``.
    """
    yield expr
    size = sp.count_ops(expr)
    if size < 2:
        return
    atoms = _atoms(expr, whole)
    plain, back = _replaced(expr, atoms)
    for form in _plain_forms(plain, int(size), deadline):
        yield form.xreplace(back)


def _plain_forms(expr: Expr, size: int, deadline: float) -> Iterator[Expr]:
    def late() -> bool:
        return time.perf_counter() > deadline

    yield sp.factor_terms(expr)
    if size > LARGE or _has_wild_exponents(expr):
        return
    expanded = sp.expand_mul(expr)
    yield expanded
    if late():
        return
    yield from _powers(expr, late)
    if late():
        return
    yield from _collected(expanded, late)
    found = [expr]
    for attempt in (sp.factor, sp.together, sp.cancel, _factored_terms):
        if late() or size > LARGE // 2:
            return
        try:
            form = attempt(expr)
        except NO_FORM:
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
        yield from _collected(form, late)


def _has_wild_exponents(expr: Expr) -> bool:
    """Whether polynomials in its powers and exponentials would be of huge degree, as x**1000 and exp(1000·x) are."""
    exponents = [p.exp for p in expr.atoms(sp.Pow)] + [e.args[0] for e in expr.atoms(sp.exp)]
    terms = [term.as_coeff_Mul()[0] for exponent in exponents for term in sp.Add.make_args(exponent)]
    return any(c.is_Rational and max(abs(c.p), c.q) > WILDEST for c in terms)


def _powers(expr: Expr, late: Callable[[], bool]) -> Iterator[Expr]:
    if expr.has(sp.exp):
        merged = sp.powsimp(expr)
        yield merged
        if late():
            return
        yield sp.factor_terms(sp.powsimp(sp.expand_mul(expr)))
        if late():
            return
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


def _collected(expr: Expr, late: Callable[[], bool]) -> Iterator[Expr]:
    if not expr.is_Add and not any(f.is_Add for f in sp.Mul.make_args(expr)):
        return
    symbols = (s for s in expr.free_symbols if not isinstance(s, Decimal))
    generators = [*symbols, *(f for f in expr.atoms(sp.Function) if not f.is_number)]
    often = [(expr.count(g), g) for g in generators]
    most = [g for n, g in sorted(often, key=lambda pair: (-pair[0], pair[1].sort_key())) if n > 1][:4]
    for symbol in most:
        if late():
            return
        found = sp.collect(expr, symbol)
        yield sp.factor_terms(found)
        yield sp.factor_terms(sp.collect(expr, symbol, sp.factor_terms))


def _factored_terms(expr: Expr) -> Expr:
    return sp.Add(*[sp.factor(t) for t in sp.Add.make_args(sp.factor_terms(expr))])


def _simplified(expr: Expr, late: Callable[[], bool]) -> Iterator[Expr]:
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


def divisors(expr: Expr) -> frozenset[Any]:
    """The sums of terms that ``expr`` divides by."""
    found = set()
    for e in sp.preorder_traversal(expr):
        if e.is_Pow and e.base.is_Add and e.exp.is_number and e.exp.is_negative:
            found.add(e.base)
    return frozenset(found)


def _atoms(expr: Expr, whole: frozenset[Any]) -> list[Any]:
    """The largest subexpressions that algebra shall not look into."""
    found: dict[Any, None] = {}
    stack = [expr]
    while stack:
        e = stack.pop()
        if isinstance(e, _OPAQUE) or e in whole:
            found[e] = None
        else:
            stack.extend(e.args)
    return list(found)


def _replaced(expr: Expr, atoms: list[Any]) -> tuple[Expr, dict[Any, Any]]:
    to = {a: sp.Dummy(f"_{k}", real=True if a.is_extended_real is not False else None) for k, a in enumerate(atoms)}
    return expr.xreplace(to), {dummy: a for a, dummy in to.items()}
