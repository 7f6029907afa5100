"""The total derivative of steps by the chain rule: ``∂pdf/∂μ = f·G·z/σ`` with the user's ``G`` and ``z`` left in it.

Scalar elements are differentiated, never matrices: SymPy holds matrices as symbols, whose derivatives it takes for 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import sympy as sp

from chainrule.graph.algebra import Held, index_symbol, total

from .decimals import is_constant
from .matrices import Inverted, derivative_of_inverse, derivative_of_solution
from .poles import has_new_poles
from .program import Definition, Step
from .sums import at_index, pulled

Expr = Any


@final
class Derivative:
    """d/d``by`` of expressions over the steps of a program; ``by`` is a symbol, or an element of an array."""

    def __init__(self, by: Any, definitions: list[Definition], shape: tuple[Any, ...] = ()) -> None:
        self.by = by
        self._shape = shape
        self._base = by.base.label if isinstance(by, sp.Indexed) else by
        self._steps: dict[Any, tuple[tuple[Any, ...], Any]] = {}  # symbol → its index, its derivative
        self._dependent: set[Any] = {self._base}
        self.carries: Mapping[Any, Any] = {}  # symbols of what goes round in loops
        self.named: Callable[[Step, Any], Any] = lambda step, value: value  # a long derivative may get a name
        self.through_loops: Callable[[Any], Any] = lambda label: None  # such a symbol → its derivative's, or None
        for definition in definitions:
            if isinstance(definition, Step):
                self.define(definition)
            elif isinstance(definition, Inverted):
                self.define_inverse(definition)

    def define(self, step: Step) -> None:
        """Takes the next step in."""
        if not self.depends(step.value):
            return
        if step.solved is not None:
            value = pulled(derivative_of_solution(step.solved, step.target, step.index, self))
        else:
            value = recognised_in(pulled(self(step.value)), step)
        self.know(step.symbol, step.index, self.named(step, value))

    def define_inverse(self, inverse: Inverted) -> None:
        """Takes the next inverse in."""
        if self.depends(inverse.element):
            self.know(inverse.symbol, inverse.index, pulled(derivative_of_inverse(inverse, self)))

    def know(self, symbol: Any, index: tuple[Any, ...], value: Expr) -> None:
        """Says what the derivative of a symbol is."""
        if value != 0:
            self._dependent.add(symbol)
            self._steps[symbol] = (index, value)

    def depends(self, expr: Expr) -> bool:
        symbols = expr.free_symbols
        return self.moves(symbols) or any(s in self.carries for s in symbols)

    def moves(self, symbols: Iterable[Any]) -> bool:
        """Whether one of the symbols depends on ``by``, loops aside."""
        return not self._dependent.isdisjoint(symbols)

    def __call__(self, expr: Expr) -> Expr:
        if not self.depends(expr):
            return sp.S.Zero
        if expr == self.by:
            return sp.S.One
        if isinstance(expr, sp.Indexed):
            return self._indexed(expr)
        if expr.is_Symbol:
            known = self._steps.get(expr)
            return known[1] if known is not None else sp.S.Zero
        if expr.is_Add:
            return sp.Add(*[self(a) for a in expr.args])
        if expr.is_Mul:
            args = expr.args
            return sp.Add(*[
                sp.Mul(*args[:k], self(a), *args[k + 1 :]) for k, a in enumerate(args) if self.depends(a)
            ])
        if expr.is_Pow:
            return self._power(*expr.args)
        match expr:
            case sp.Sum():
                return total(self(expr.function), *expr.limits)
            case sp.Product():
                return self._product(expr)
            case sp.Piecewise():
                cases = [(self(value), condition) for value, condition in expr.args]
                return sp.Piecewise(*cases)
            case sp.Abs():
                return self._absolute(expr.args[0])
            case sp.re() | sp.im() | sp.conjugate():
                return _linear_part(type(expr), self(expr.args[0]))
            case sp.arg():
                (u,) = expr.args
                return sp.im(sp.conjugate(u) * self(u)) / sp.Abs(u) ** 2
            case sp.exp():
                return expr * self(expr.args[0])
            case Held() | sp.sign() | sp.floor() | sp.ceiling():
                return sp.S.Zero
            case sp.Mod():
                a, b = expr.args
                return self(a) - sp.floor(a / b) * self(b)
            case sp.tanh():
                return (1 - expr**2) * self(expr.args[0])
            case sp.Function():
                return sp.Add(*[
                    _partial(expr, k) * self(a) for k, a in enumerate(expr.args) if self.depends(a)
                ])
        raise TypeError(f"no derivative is known of {expr}")

    def _indexed(self, element: Any) -> Expr:
        label = element.base.label
        if label == self._base:
            triples = zip(element.indices, self.by.indices, self._shape, strict=True)
            return sp.Mul(*[sp.KroneckerDelta(a, b, (0, n - 1)) for a, b, n in triples])
        if label in self.carries:
            dot = self.through_loops(label)
            return sp.S.Zero if dot is None else sp.IndexedBase(dot)[element.indices]
        known = self._steps.get(label)
        if known is None:
            return sp.S.Zero
        index, value = known
        return at_index(value, index, element.indices)

    def _power(self, base: Any, exponent: Any) -> Expr:
        if is_constant(exponent):
            inner = base.args[0] if isinstance(base, sp.Abs) else None
            if inner is not None and exponent == 2:
                if inner.is_extended_real:
                    return 2 * inner * self(inner)
                return 2 * _linear_part(sp.re, sp.conjugate(inner) * self(inner))
            return exponent * base ** (exponent - 1) * self(base)
        value = base**exponent
        found: Expr = sp.S.Zero
        if self.depends(base):
            found += exponent * value * (self(base) / base)
        if self.depends(exponent):
            found += value * sp.log(base) * self(exponent)
        return found

    def _absolute(self, u: Any) -> Expr:
        if u.is_extended_real:
            return sp.sign(u) * self(u)
        return _linear_part(sp.re, sp.conjugate(u) * self(u)) / sp.Abs(u)

    def _product(self, product: Any) -> Expr:
        (i, first, last), body = product.limits[0], product.function
        if len(product.limits) > 1:
            raise TypeError("the derivative of a product over several indices has no short form")
        used = {s.name for s in product.free_symbols | self.by.free_symbols | {i}}
        j = index_symbol(next(c for c in "jklmpqrst" if c not in used))
        if body.is_positive or isinstance(body, sp.exp):
            return product * sp.Sum(self(body) / body, (i, first, last))
        other = body.xreplace({i: j})
        before, after = sp.Product(other, (j, first, i - 1)), sp.Product(other, (j, i + 1, last))
        return sp.Sum(before * self(body) * after, (i, first, last))


def _partial(function: Any, k: int) -> Expr:
    """A partial derivative of a function, without double angles and the like."""
    found = function.fdiff(k + 1)
    if isinstance(function, sp.tan):
        return 1 + function**2
    return found


def _linear_part(kind: Any, value: Expr) -> Expr:
    """Re, Im or conjugate of a value, with real factors outside, and i taken through."""
    if value.is_Add:
        return sp.Add(*[_linear_part(kind, v) for v in value.args])
    if kind is sp.conjugate:
        return sp.conjugate(value)
    factors = sp.Mul.make_args(value)
    real = [f for f in factors if f.is_extended_real]
    units = [f for f in factors if f == sp.I]
    rest = [f for f in factors if not f.is_extended_real and f != sp.I]
    scale = sp.Mul(*real)
    for _ in units:  # Re(i·u) = −Im u, Im(i·u) = Re u
        kind, scale = (sp.im, -scale) if kind is sp.re else (sp.re, scale)
    if not rest:
        return scale if kind is sp.re else sp.S.Zero
    inner = sp.Mul(*rest)
    return scale * kind(inner, evaluate=False) if scale != 0 else sp.S.Zero


def recognised_in(value: Expr, step: Step) -> Expr:
    """The derivative of a step in terms of the step itself, where that is shorter: ∂G = −z·G·∂z of G = exp(−z²/2)."""
    own, target = step.value, step.target
    candidates = [value]
    if own.args:
        candidates.append(value.xreplace({own: target}))
        if own.is_Pow and own.exp.is_Rational and own.exp.q > 1:
            root = own.base ** sp.Rational(1, own.exp.q)
            if own.exp.p == 1:
                candidates.append(value.xreplace({1 / root: 1 / target}))
        if not own.has(sp.Piecewise):
            ratio = sp.Add(*[sp.powsimp(t / own) if t.has(sp.exp) else t / own for t in sp.Add.make_args(value)])
            if not has_new_poles(ratio, (value, own)):
                candidates.append(target * sp.factor_terms(ratio))
    return min(candidates, key=lambda e: (sp.count_ops(e), sum(1 for _ in sp.preorder_traversal(e))))


__all__ = ["Derivative", "recognised_in"]
