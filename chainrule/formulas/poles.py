"""Where expressions are singular: no simplification may add a place where something is divided by zero."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import sympy as sp

from .decimals import exact, is_constant

Expr = Any
LARGE: Final = 30  # denominators with more operations are not factored

NO_FORM: Final = (sp.PolynomialError, NotImplementedError, RecursionError)
"""What SymPy raises where an expression is no polynomial it can factor: then it stays as it is."""


@lru_cache(4096)
def poles(expr: Expr) -> frozenset[Any]:
    """The factors that ``expr`` divides by, and the arguments of its logarithms; numbers and exponentials aside."""
    found: set[Any] = set()
    for e in sp.preorder_traversal(expr):
        if e.is_Pow and not (is_constant(e.exp) and exact(e.exp).is_positive):
            found |= _factors(e.base)
        elif isinstance(e, (sp.log, sp.loggamma, sp.polygamma, sp.gamma)):
            found |= _factors(e.args[-1])
        elif isinstance(e, (sp.tan, sp.sec)):
            found |= {sp.cos(e.args[0])}
        elif isinstance(e, (sp.cot, sp.csc)):
            found |= {sp.sin(e.args[0])}
    return frozenset(found)


@lru_cache(4096)
def _factors(base: Expr) -> frozenset[Any]:
    found: set[Any] = set()
    for factor in sp.Mul.make_args(_factored(base)):
        inner = factor.base if factor.is_Pow else factor
        if is_constant(inner) or isinstance(inner, (sp.exp, sp.cosh)) or (factor.is_Pow and is_constant(factor.base)):
            continue
        if isinstance(inner, sp.Abs):
            inner = inner.args[0]
        if inner.is_Pow:
            inner = inner.base
        found.add(_monic(inner))
    return frozenset(found)


def _factored(base: Expr) -> Expr:
    if not base.is_Add or sp.count_ops(base) > LARGE:
        return base
    opaque = {f: sp.Dummy(real=True) for f in base.atoms(sp.Function, sp.Indexed, sp.Sum)}
    try:
        return sp.factor(base.xreplace(opaque)).xreplace({dummy: f for f, dummy in opaque.items()})
    except NO_FORM:
        return base


def _monic(factor: Expr) -> Expr:
    """One of ±factor and its multiples."""
    if isinstance(factor, (sp.sinh, sp.tanh)):
        factor = sp.exp(2 * factor.args[0]) - 1  # zero where that is
    if not factor.is_Add:
        return factor
    growing = [t for t in factor.args if t.has(sp.exp)]
    if len(factor.args) == 2 and len(growing) == 1 and isinstance(growing[0], sp.exp) | isinstance(-growing[0], sp.exp):
        exponent = (growing[0] if isinstance(growing[0], sp.exp) else -growing[0]).args[0]
        if factor - growing[0] in (1, -1) and exponent.could_extract_minus_sign():
            return _monic(sp.expand(factor * sp.exp(-exponent)))  # exp(−u) − 1 vanishes where exp(u) − 1 does
    _, primitive = factor.primitive()
    return -primitive if primitive.could_extract_minus_sign() else primitive


def has_new_poles(expr: Expr, originals: Iterable[Expr]) -> bool:
    """Whether ``expr`` divides by something that none of the ``originals`` divides by."""
    new = poles(expr)
    if not new:
        return False
    known: set[Any] = set()
    for original in originals:
        known |= poles(original)
    return not new <= known
