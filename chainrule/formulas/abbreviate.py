"""Steps of our own that make a formula readable: the share of a term in a sum, and what is constant in a sum.

Of Σᵢ f·Gᵢ·(zᵢ + …)/(f·Gᵢ + (1−f)·Bᵢ) the ratio becomes wᵢ, and a long expression without i becomes κ.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import sympy as sp

from chainrule.graph.algebra import LETTERS

from .decimals import Decimal
from .program import Program, Step
from .shorten import cost
from .sums import bottom_up

Expr = Any
MOST: Final = 4  # so many repeated expressions are named
REPEATED: Final = 4  # what is shorter is written again
LONG: Final = 6  # so many operations without the index of a sum get a name


def abbreviated(results: list[Expr], program: Program) -> tuple[list[Expr], list[Step]]:
    """The results with shares and constants of sums named, and the steps that name them."""
    found: dict[Any, Step] = {}

    def visit(e: Expr) -> Expr:
        sums = [a for a in sp.Mul.make_args(e) if isinstance(a, sp.Sum) and len(a.limits) == 1]
        if sums:
            outer = [a for a in sp.Mul.make_args(e) if a is not sums[0]]
            return _named_inside(sums[0], outer, found, program)
        if not e.args or isinstance(e, (sp.Indexed, sp.Piecewise)):
            return e
        return e.func(*[visit(a) for a in e.args])

    return [visit(r) for r in results], list(found.values())


def repeated(results: list[Expr], program: Program) -> tuple[list[Expr], list[Step]]:
    """The results with what occurs in them again and again named, the longest first."""
    steps: list[Step] = []
    while len(steps) < MOST:
        count: Counter[Any] = Counter()
        for result in results:
            count.update(e for e in sp.preorder_traversal(result) if _nameable(e))
        gains = [((n - 1) * _weight(e) - 1, str(e), e) for e, n in count.items() if n > 1 and _weight(e) >= REPEATED]
        if not gains or max(gains)[0] < 2 * REPEATED - 1:
            break
        _, _, chosen = max(gains)
        real = True if chosen.is_extended_real is not False else None
        step = Step(sp.Symbol(program.fresh("t"), real=real), (), chosen, own=True)
        results = [r.xreplace({chosen: step.symbol}) for r in results]
        steps.append(step)
    return results, steps[::-1] if len(steps) > 1 else steps


def _weight(e: Expr) -> int:
    """The operations of an expression, and one more for long numbers in it."""
    return cost(e) + bool(e.has(Decimal))


def _nameable(e: Expr) -> bool:
    if not (e.is_Add or e.is_Mul or isinstance(e, (sp.Function, sp.Sum))) or isinstance(e, sp.Piecewise):
        return False
    return not any(s.is_integer and s.name in LETTERS for s in e.free_symbols)


def _named_inside(total: Any, outer: list[Any], found: dict[Any, Step], program: Program) -> Expr:
    i = total.limits[0][0]
    coefficient, body = _share(total, i, outer, found, program)
    return coefficient * sp.Sum(_constants(body, i, found, program), total.limits[0])


def _share(total: Any, i: Any, outside: list[Any], found: dict[Any, Step], program: Program) -> tuple[Expr, Expr]:
    """(coefficient, body) of a sum, with the share of a term in a denominator as a step."""
    body = total.function
    factors = list(sp.Mul.make_args(body))
    for below in factors:
        if not (below.is_Pow and below.exp == -1 and below.base.is_Add and below.base.has(i)):
            continue
        for term in below.base.args:
            parts = [f for f in sp.Mul.make_args(term) if f.has(i)]
            outer = [f for f in sp.Mul.make_args(term) if not f.has(i)]
            if not parts or not all(p in factors for p in parts):
                continue
            sign = sp.S.One
            for k, f in enumerate(outer):
                if f not in outside and -f in outside:  # (f − 1) beside a share of 1 − f
                    outer[k], sign = -f, -sign
            if not all(f in outside for f in outer):
                continue
            rest = [f for f in factors if f is not below]
            for p in parts:
                rest.remove(p)
            if not any(r.has(i) for r in rest) or cost(term / below.base) < 4:
                continue
            weight = _named(term / below.base, (i,), "w", found, program)
            kept = [f for f in outside if f not in outer]
            return sp.Mul(sign, *kept), sp.Mul(weight, *rest)
    return sp.Mul(*outside), body


def _constants(body: Expr, i: Any, found: dict[Any, Step], program: Program) -> Expr:
    def visit(e: Expr) -> Expr:
        if not (e.is_Add or e.is_Mul):
            return e
        free, rest = e.as_independent(i, as_Add=e.is_Add)
        if rest in (0, 1) or not rest.has(i) or cost(free) < LONG:
            return e
        negative = e.is_Add  # z − κ
        named = _named(-free if negative else free, (), "kappa", found, program)
        return e.func(-named if negative else named, rest)

    return bottom_up(body, visit)


def _named(value: Expr, index: tuple[Any, ...], name: str, found: dict[Any, Step], program: Program) -> Expr:
    step = found.get(value)
    if step is None:
        real = True if value.is_extended_real is not False else None
        step = found[value] = Step(sp.Symbol(program.fresh(name), real=real), index, value, own=True)
    return step.target
