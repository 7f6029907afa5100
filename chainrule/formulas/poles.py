"""Where expressions are singular: no simplification may add a place where something is divided by zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

Expr = Any
LARGE = 40  # denominators with more operations are not factored


def poles(expr: Expr) -> set[Any]:
    """The factors that ``expr`` divides by, and the arguments of its logarithms; numbers and exponentials aside."""
    found: set[Any] = set()
    for e in sp.preorder_traversal(expr):
        if e.is_Pow and not (e.exp.is_number and e.exp.is_positive):
            found |= _factors(e.base)
        elif isinstance(e, (sp.log, sp.loggamma, sp.polygamma, sp.gamma)):
            found |= _factors(e.args[-1])
        elif isinstance(e, (sp.tan, sp.sec)):
            found |= {sp.cos(e.args[0])}
        elif isinstance(e, (sp.cot, sp.csc)):
            found |= {sp.sin(e.args[0])}
    return found


def _factors(base: Expr) -> set[Any]:
    found: set[Any] = set()
    for factor in sp.Mul.make_args(_factored(base)):
        inner = factor.base if factor.is_Pow else factor
        if inner.is_number or isinstance(inner, (sp.exp, sp.cosh)) or (factor.is_Pow and factor.base.is_number):
            continue
        if isinstance(inner, sp.Abs):
            inner = inner.args[0]
        if inner.is_Pow:
            inner = inner.base
        found.add(_monic(inner))
    return found


def _factored(base: Expr) -> Expr:
    if not base.is_Add or sp.count_ops(base) > LARGE:
        return base
    try:
        return sp.factor(base)
    except (sp.PolynomialError, NotImplementedError):
        return base


def _monic(factor: Expr) -> Expr:
    """One of ±factor and its multiples."""
    if not factor.is_Add:
        return factor
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
