"""Formulas as numbers: SymPy expressions over steps, evaluated with mpmath at the working precision."""

from __future__ import annotations

import itertools
from typing import Any, Final, final

import mpmath as mp
import sympy as sp

from chainrule.graph.algebra import Held, Maximum, Minimum

from .decimals import Decimal
from .matrices import Inverted
from .program import Definition, Step
from .recurrence import Recurrence

Expr = Any
LONGEST: Final = 10_000  # steps of a loop

_FUNCTIONS: Final[dict[str, Any]] = {
    "Abs": abs, "re": mp.re, "im": mp.im, "conjugate": mp.conj, "arg": mp.arg, "sign": mp.sign,
    "floor": mp.floor, "ceiling": mp.ceil, "loggamma": lambda x: mp.re(mp.loggamma(x)),
    "polygamma": lambda n, x: mp.polygamma(int(n), x), "Mod": lambda a, b: a - b * mp.floor(a / b),
    "Max": max, "Min": min, "Maximum": max, "Minimum": min, "Held": lambda x: x,
    "KroneckerDelta": lambda a, b, *_: mp.mpf(1 if a == b else 0), "sinc": lambda x: mp.sinc(x),
    "Iverson": lambda a, b: mp.mpf(1 if a >= b else 0), "LambertW": mp.lambertw,
}  # fmt: skip


@final
class Numbers:
    """Values for symbols: ``values`` maps scalar symbols to numbers, and arrays' symbols to {index: number}."""

    def __init__(self, values: dict[Any, Any], definitions: list[Definition]) -> None:
        self.values = dict(values)
        self._steps: dict[Any, Step] = {}
        self._recurrences: dict[Any, Recurrence] = {}
        self._inverses: dict[Any, Inverted] = {}
        self._known: dict[Any, Any] = {}
        for definition in definitions:
            self.define(definition)

    def define(self, definition: Definition) -> None:
        if isinstance(definition, Step):
            self._steps[definition.symbol] = definition
            return
        if isinstance(definition, Inverted):
            self._inverses[definition.symbol] = definition
            return
        for symbol in definition.carries:
            self._recurrences[symbol] = definition
        if definition.count is None:
            self._recurrences[definition.last] = definition

    def prepare(self) -> None:
        """Computes all scalar steps in their order, so that long chains of them are no deep recursion."""
        for symbol, step in self._steps.items():
            if not step.index and symbol not in self.values:
                try:
                    self.symbol(symbol)
                except (ArithmeticError, ValueError):  # it is met again where it is needed
                    continue

    def of(self, expr: Expr, bound: dict[Any, int] | None = None) -> Any:
        """The value of an expression; ``bound`` are the indices."""
        bound = bound or {}
        if expr.is_Number:
            return mp.mpf(expr.p) / expr.q if expr.is_Rational else mp.mpmathify(expr)
        if isinstance(expr, Decimal):
            return self.of(expr.exact)
        if expr.is_Symbol:
            return mp.mpf(bound[expr]) if expr in bound else self.symbol(expr)
        if isinstance(expr, sp.NumberSymbol) or expr is sp.I:
            return mp.mpmathify(sp.N(expr, mp.mp.dps + 5)) if expr is not sp.I else mp.j
        if isinstance(expr, sp.Indexed):
            index = tuple(int(mp.nint(self.of(i, bound))) for i in expr.indices)
            return self.element(expr.base.label, index)
        if not bound and expr in self._known:
            return self._known[expr]
        value = self._compound(expr, bound)
        if not bound:
            self._known[expr] = value
        return value

    def _compound(self, expr: Expr, bound: dict[Any, int]) -> Any:
        match expr:
            case sp.Add():
                return mp.fsum([self.of(a, bound) for a in expr.args])
            case sp.Mul():
                return mp.fprod([self.of(a, bound) for a in expr.args])
            case sp.Pow():
                base, exponent = self.of(expr.base, bound), self.of(expr.exp, bound)
                if expr.exp.is_Integer:
                    return base ** int(expr.exp)
                if base == 0 and mp.re(exponent) > 0:
                    return mp.mpf(0)
                return mp.power(base, exponent)
            case sp.Sum() | sp.Product():
                return self._over(expr, bound)
            case sp.Piecewise():
                for value, condition in expr.args:
                    if self.truth(condition, bound):
                        return self.of(value, bound)
                return mp.nan
            case sp.exp():
                return mp.exp(self.of(expr.args[0], bound))
        if isinstance(expr, (sp.Function, Held, Maximum, Minimum)):
            name = expr.func.__name__
            args = [self.of(a, bound) for a in (expr.args[:2] if name == "KroneckerDelta" else expr.args)]
            function = _FUNCTIONS.get(name) or getattr(mp, name)
            return function(*args)
        raise TypeError(f"no number is known for {expr}")

    def _over(self, expr: Expr, bound: dict[Any, int]) -> Any:
        limits = list(expr.limits)[::-1]  # the last is the outermost

        def terms(k: int, inner: dict[Any, int]) -> Any:
            if k == len(limits):
                yield self.of(expr.function, inner)
                return
            i, first, last = limits[k]
            start, end = (int(mp.nint(mp.re(self.of(e, inner)))) for e in (first, last))
            for at in range(start, end + 1):
                yield from terms(k + 1, {**inner, i: at})

        total = mp.fsum if isinstance(expr, sp.Sum) else mp.fprod
        return total(terms(0, bound))

    def truth(self, condition: Any, bound: dict[Any, int]) -> bool:
        if condition in (sp.true, sp.false):
            return bool(condition)
        match condition:
            case sp.And():
                return all(self.truth(a, bound) for a in condition.args)
            case sp.Or():
                return any(self.truth(a, bound) for a in condition.args)
            case sp.Not():
                return not self.truth(condition.args[0], bound)
            case sp.Xor():
                return sum(self.truth(a, bound) for a in condition.args) % 2 == 1
            case sp.ITE():
                asked, first, second = condition.args
                return self.truth(first if self.truth(asked, bound) else second, bound)
        a, b = (self.of(x, bound) for x in condition.args)
        match condition:
            case sp.StrictLessThan():
                return bool(a < b)
            case sp.LessThan():
                return bool(a <= b)
            case sp.StrictGreaterThan():
                return bool(a > b)
            case sp.GreaterThan():
                return bool(a >= b)
            case sp.Eq():
                return bool(a == b)
            case sp.Ne():
                return bool(a != b)
        raise TypeError(f"no truth value is known for {condition}")

    def symbol(self, symbol: Any) -> Any:
        if symbol not in self.values:
            if symbol in self._steps:
                self.values[symbol] = self.of(self._steps[symbol].value)
            elif symbol in self._recurrences:
                self._run(self._recurrences[symbol])
            else:
                raise TypeError(f"no number is known for {symbol}")
        return self.values[symbol]

    def element(self, label: Any, index: tuple[int, ...]) -> Any:
        table = self.values.setdefault(label, {})
        if index not in table:
            if label in self._recurrences:
                self._run(self._recurrences[label])
                return table.get(index, mp.mpf(0))
            if label in self._inverses:
                self._invert(self._inverses[label], table)
                return table[index]
            step = self._steps[label]
            table[index] = self.of(step.value, dict(zip(step.index, index, strict=True)))
        return table[index]

    def _invert(self, inverse: Inverted, table: dict[tuple[int, ...], Any]) -> None:
        """All elements of an inverse."""
        n = int(mp.nint(self.of(inverse.size)))
        p, q = inverse.index
        rows = [[self.of(inverse.element, {p: i, q: j}) for j in range(n)] for i in range(n)]
        found = mp.matrix(rows) ** -1
        table |= {(i, j): found[i, j] for i in range(n) for j in range(n)}

    def _run(self, loop: Recurrence) -> None:
        """All carries of a loop, up to the last."""
        tables = [self.values.setdefault(c, {}) for c in loop.carries]
        k, step = int(mp.nint(self.of(loop.first))), -1 if loop.backwards else 1
        place = int(mp.nint(self.of(loop.origin)))
        for table, value in zip(tables, loop.starts, strict=True):
            table[place,] = self.of(value)
        count = None if loop.count is None else int(mp.nint(self.of(loop.count)))
        for done in itertools.count():
            if done == count or (count is None and not self.truth(loop.condition, {loop.k: k})):
                break
            if done > LONGEST:
                raise ArithmeticError("a loop does not end")
            place = int(self.of(loop.target, {loop.k: k}))
            for table, value in zip(tables, loop.nexts, strict=True):
                table[place,] = self.of(value, {loop.k: k})
            k += step
        if count is None:
            self.values[loop.last] = mp.mpf(place)
