"""How expressions are laid out, whatever the alphabet: orders of terms and factors, fractions, roots, brackets.

Terms: positive before negative, numbers first, short before long. Factors: numbers, parameters, what belongs to a step
or an event; each names, then functions, then brackets. Subclasses say how the parts are written.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import sympy as sp

from .decimals import Decimal, is_constant, powers_joined

Expr = Any
ATOM, POWER, PREFIX, PRODUCT, SUM, CONDITION = 6, 5, 4, 3, 2, 1

TRIGONOMETRIC: Final = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "sech", "sec", "csc", "cot"})
SPACED: Final = TRIGONOMETRIC | {"log"}  # written without brackets before a name


class Printer(ABC):
    """Expressions as text of one kind.

    ``steps`` are the symbols of steps, ``shown`` names with a form of their own, ``indices`` those that are free.
    """

    tight_minus = "-"

    def __init__(
        self,
        steps: Sequence[Any] = (),
        shown: dict[str, tuple[str, str]] | None = None,
        indices: Sequence[Any] = (),
    ) -> None:
        self.steps = frozenset(steps)
        self.indices = frozenset(indices)
        self.shown = shown or {}
        self._names_first = False

    # --- what is written by the subclasses ---

    @abstractmethod
    def name(self, symbol: Any) -> str: ...
    @abstractmethod
    def element(self, element: Any) -> str: ...
    @abstractmethod
    def number(self, value: Any) -> str: ...
    @abstractmethod
    def decimal(self, value: Any) -> str: ...
    @abstractmethod
    def constant(self, value: Any) -> str: ...
    @abstractmethod
    def product(self, parts: Sequence[tuple[str, Any]]) -> str: ...
    @abstractmethod
    def fraction(self, above: str, below: str, above_level: int, below_level: int) -> tuple[str, int]: ...
    @abstractmethod
    def power(self, base: Any, exponent: Any) -> tuple[str, int]: ...
    @abstractmethod
    def root(self, inside: str, degree: int, is_atom: bool) -> str: ...
    @abstractmethod
    def function(self, name: str, args: Sequence[Any]) -> tuple[str, int]: ...
    @abstractmethod
    def over(self, kind: str, limits: Sequence[tuple[Any, Any, Any]], full: bool, body: str) -> str: ...
    @abstractmethod
    def cases(self, cases: Sequence[tuple[str, str | None]]) -> str: ...
    @abstractmethod
    def bracket(self, text: str) -> str: ...
    @abstractmethod
    def relation(self, left: str, symbol: str, right: str) -> str: ...
    @abstractmethod
    def vulgar(self, value: Any) -> str | None:
        """A fraction of two small numbers as a coefficient, None where it is written as any other."""

    # --- the layout ---

    def text(self, expr: Expr, level: int = 0, *, below: bool = False) -> str:
        """``expr``, in brackets if it binds less tightly than ``level``; ``below``: it is a denominator."""
        found, own = self.write(sp.sympify(expr), nested=own_bracket(expr, level), below=below)
        return self.bracket(found) if own < level else found

    def place(self, index: Expr) -> str:
        """An index: k+1, not 1+k."""
        before, self._names_first = self._names_first, True
        found = self.text(index)
        self._names_first = before
        return found

    def write(self, expr: Expr, *, nested: bool = False, below: bool = False) -> tuple[str, int]:
        """The text of an expression and how tightly it binds."""
        match expr:
            case sp.Integer() | sp.Rational():
                text = self.number(expr)
                return text, ATOM if expr >= 0 and "/" not in text and "×" not in text else PRODUCT
            case sp.NumberSymbol() | sp.core.numbers.ImaginaryUnit() | sp.core.numbers.Infinity():
                return self.constant(expr), ATOM
            case Decimal():
                text = self.decimal(expr.exact)
                return text, PRODUCT if "10" in text and not text.replace(".", "").isdigit() else ATOM
            case sp.Symbol():
                return self.name(expr), ATOM
            case sp.Indexed():
                return self.element(expr), ATOM
            case sp.Add():
                return self._add(expr, nested, below)
            case sp.Mul():
                return self._mul(expr)
            case sp.Pow():
                if _is_below(expr):
                    return self._mul(expr)
                return self._pow(expr)
            case sp.Sum() | sp.Product():
                return self._over(expr), PREFIX
            case sp.Piecewise():
                return self.cases([self._case(v, c) for v, c in expr.args]), ATOM
            case sp.core.relational.Relational():
                symbol = {sp.Ne: "≠", sp.Eq: "=", sp.Gt: ">", sp.Ge: "≥", sp.Lt: "<", sp.Le: "≤"}[type(expr)]
                return self.relation(self.text(expr.args[0]), symbol, self.text(expr.args[1])), CONDITION
            case sp.And() | sp.Or() | sp.Not() | sp.Xor():
                return self._logic(expr), CONDITION
            case _ if expr in (sp.true, sp.false):
                return str(expr), ATOM
            case _:
                return self.function(type(expr).__name__, expr.args)

    def _case(self, value: Any, condition: Any) -> tuple[str, str | None]:
        return self.text(value), None if condition == sp.true else self.text(condition)

    def _logic(self, expr: Any) -> str:
        if isinstance(expr, sp.Not):
            return "not " + self.text(expr.args[0], ATOM)
        word = {sp.And: " and ", sp.Or: " or ", sp.Xor: " xor "}[type(expr)]
        return word.join(self.text(a, CONDITION) for a in sorted(expr.args, key=str))

    # --- sums of terms ---

    def _add(self, expr: Any, nested: bool, below: bool) -> tuple[str, int]:
        plain = self._terms(expr.args, nested, below)
        content, primitive = expr.primitive()
        if content == 1 or expr.has(Decimal):
            grouped = self._grouped(expr, nested, below)
            return (grouped if grouped is not None and len(grouped) < len(plain) else plain), SUM
        factored, level = self._mul_parts(content, [primitive], [])
        return (factored, level) if len(factored) < len(plain) else (plain, SUM)

    def _grouped(self, expr: Any, nested: bool, below: bool) -> str | None:
        """Terms with a common number in brackets: 2(h−y) + …, which SymPy takes apart."""
        sizes: dict[Any, list[Any]] = {}
        for term in expr.args:
            sizes.setdefault(abs(term.as_coeff_Mul()[0]), []).append(term)
        for size, terms in sizes.items():
            if size != 1 and 1 < len(terms) < len(expr.args):
                group = sp.Mul(size, sp.Add(*[t / size for t in terms]), evaluate=False)
                rest = [t for t in expr.args if t not in terms]
                return self._terms([group, *rest], nested, below)
        return None

    def _terms(self, args: Sequence[Any], nested: bool, below: bool) -> str:
        terms = sorted(args, key=self._term_key)
        written = []
        for k, term in enumerate(terms):
            negative = term.could_extract_minus_sign()
            written.append((negative, self.text(-term if negative else term, SUM + (1 if negative or k else 0))))
        wide = self._is_wide(terms, nested, below)
        text = ""
        for k, (negative, part) in enumerate(written):
            sign = self.sign(negative, wide) if k or negative else ""
            text += (self.sign(True, False) if k == 0 and negative else sign) + part
        return text

    def sign(self, negative: bool, wide: bool) -> str:
        sign = self.tight_minus if negative else "+"
        return f" {sign} " if wide else sign

    def _term_key(self, term: Any) -> tuple[Any, ...]:
        negative = term.could_extract_minus_sign()
        dotted = any(self._is_dotted(s) for s in term.free_symbols)
        return negative, is_constant(term) == self._names_first, not dotted, sp.count_ops(term) - negative, str(term)

    def _is_wide(self, terms: Sequence[Any], nested: bool, below: bool) -> bool:
        """Whether there is space around the signs: where a term has brackets, in a denominator never."""
        if below:
            return False
        for term in terms:
            text = self.text(term)
            if "{ " in text:
                return True
            if nested and any(a.is_Add for a in sp.Mul.make_args(term)):
                return True
            if nested and any(f"{name} " in text for name in SPACED):
                return True
            if not nested and ("(" in text or text.startswith("[") or any(f"{name} " in text for name in SPACED)):
                return True
        return False

    # --- products ---

    def _mul(self, expr: Any) -> tuple[str, int]:
        coefficient, factors = expr.as_coeff_mul()
        above, below = [], []
        for factor in factors:
            for part in sp.Mul.make_args(factor):
                if part.is_Pow and _is_below(part):
                    below.append(sp.Pow(part.base, -part.exp))
                else:
                    above.append(part)
        number = sp.Integer(1)
        for k, part in enumerate(above):
            if part.is_Add and not part.has(Decimal):
                content, primitive = part.primitive()
                if content != 1:
                    number, above[k] = number * content, primitive
        above, below = powers_joined(above, below)
        return self._mul_parts(coefficient * number, above, below)

    def _mul_parts(self, coefficient: Any, above: list[Any], below: list[Any]) -> tuple[str, int]:
        if not coefficient.is_Rational:
            above, coefficient = [coefficient, *above], sp.S.One
        negative = bool(coefficient < 0)
        if negative:
            above, negative = self._turned(above)
        p, q = abs(coefficient.p), coefficient.q
        if q > 12 and len(self.number(abs(coefficient))) < len(f"{p}/{q}"):  # a decimal
            p, q = abs(coefficient), 1
        else:
            above, below, p, q = _roots_below(above, below, p, q)
        sums = [f for f in above if isinstance(f, sp.Sum)]
        adds = [f for f in above if f.is_Add]
        small = self.vulgar(sp.Rational(p, q)) if q != 1 and not below else None
        if small is not None and len(above) == 1 and (adds or sums):
            text = self.product([(small, sp.Rational(p, q)), (self._factor(above[0], last=True), above[0])])
        elif sums and (below or q != 1) and len(above) > len(sums) - 1:
            rest = [f for f in above if f not in sums]
            outer, level = self._quotient(p, q, rest, below)
            if outer != "1":
                level_needed = self.bracketed_quotients and level < ATOM
                outer = self.bracket(outer) if level_needed and "/" in outer else outer
            parts = [(outer, sp.Symbol("_"))] if outer != "1" else []
            parts += [(self._factor(s, last=k == len(sums) - 1), s) for k, s in enumerate(sums)]
            text = self.product(parts)
        else:
            text, level = self._quotient(p, q, above, below)
            if not negative:
                return text, level
        return (self.tight_minus + text, SUM) if negative else (text, PRODUCT)

    def _turned(self, above: list[Any]) -> tuple[list[Any], bool]:
        """A minus taken into the one bracket above, if that begins with a minus or has as few: −(a−b) is b−a."""
        adds = [k for k, f in enumerate(above) if f.is_Add]
        if len(adds) != 1 or any(isinstance(f, sp.Sum) for f in above):
            return above, True
        (k,) = adds
        minuses = sum(t.could_extract_minus_sign() for t in above[k].args)
        if 2 * minuses < len(above[k].args):
            return above, True
        return [*above[:k], -above[k], *above[k + 1 :]], False

    bracketed_quotients = True

    def _quotient(self, p: Any, q: int, above: list[Any], below: list[Any]) -> tuple[str, int]:
        top, top_level = self._row(p, above)
        if q == 1 and not below:
            return top, top_level
        bottom, bottom_level = self._row(q, below, below=True)
        return self.fraction(top, bottom, top_level, bottom_level)

    def _row(self, number: Any, factors: list[Any], *, below: bool = False) -> tuple[str, int]:
        """A product without a denominator."""
        roots = [f for f in factors if _is_constant_root(f)]
        rest = sorted([f for f in factors if not _is_constant_root(f)], key=self._factor_key)
        parts: list[tuple[str, Any]] = []
        if number != 1:
            parts.append((self.number(sp.sympify(number)), sp.sympify(number)))
        if roots:
            inside = sp.Mul(*[f.base for f in roots])
            short = inside.is_Symbol or inside.is_Integer or inside is sp.pi
            parts.append((self.root(self.text(inside), 2, short), inside))
        single = len(rest) + len(parts) == 1
        for k, factor in enumerate(rest):
            if single:
                return self.write(factor, below=below)
            parts.append((self._factor(factor, last=k == len(rest) - 1), factor))
        if not parts:
            return "1", ATOM
        if len(parts) == 1:
            return parts[0][0], ATOM
        return self.product(parts), PRODUCT

    def _factor(self, factor: Any, *, last: bool) -> str:
        needed = PREFIX if last and isinstance(factor, (sp.Sum, sp.Product)) else PRODUCT
        if isinstance(factor, (sp.Sum, sp.Product)) and not last:
            needed = ATOM
        return self.text(factor, needed)

    def _factor_key(self, factor: Any) -> tuple[Any, ...]:
        base = factor.base if factor.is_Pow else factor
        symbols = factor.free_symbols
        moving = not self.steps.isdisjoint(symbols) or factor.has(sp.Indexed)
        late = isinstance(base, sp.Indexed) and not all(i.is_Symbol or i.is_Integer for i in base.indices)
        late = late or any(self._is_dotted(s) for s in base.free_symbols)
        shape = 0 if isinstance(base, (sp.Symbol, sp.Indexed)) else 2 if base.is_Add else 1
        if is_constant(base):
            return (0, 0, 0, not isinstance(base, Decimal), not is_constant(factor), str(base))
        if isinstance(base, (sp.Sum, sp.Product)):
            return (3, 0, 0, 0, str(base))
        if isinstance(base, sp.conjugate):
            shape = 0
        return (1 + moving, late, shape, 0, str(base).lower())

    def _is_dotted(self, symbol: Any) -> bool:
        return isinstance(symbol, sp.Symbol) and (symbol.name.endswith("dot") or symbol.name in self.shown)

    def inside_bars(self, expr: Expr) -> str:
        """The argument of an absolute value, of two signs the one that begins with what moves: |xₖ²−a|."""
        if expr.is_Add:
            first, turned = (sorted(e.args, key=self._term_key)[0] for e in (expr, -expr))
            if self._moves(turned) and not self._moves(first) and not turned.could_extract_minus_sign():
                return self.text(-expr)
        return self.text(expr)

    def _moves(self, expr: Expr) -> bool:
        return bool(expr.has(sp.Indexed)) or not self.steps.isdisjoint(expr.free_symbols)

    # --- powers, sums ---

    def _pow(self, expr: Any) -> tuple[str, int]:
        base, exponent = expr.args
        if exponent.is_Rational and exponent.p == 1 and exponent.q in (2, 3):
            short = base.is_Symbol or base.is_Integer or isinstance(base, sp.Indexed)
            return self.root(self.text(base), exponent.q, short), ATOM
        return self.power(base, exponent)

    def _over(self, expr: Any) -> str:
        limits = [tuple(limit) for limit in expr.limits]
        body = expr.function
        indices = {i for i, _, _ in limits}
        over_data = any(indices & e.free_symbols for e in body.atoms(sp.Indexed))
        bounds = {s for _, _, last in limits for s in last.free_symbols}
        full = over_data and all(first == 0 for _, first, _ in limits) and bounds.isdisjoint(indices | self.indices)
        limits = limits if full else limits[::-1]
        kind = "sum" if isinstance(expr, sp.Sum) else "product"
        return self.over(kind, limits, full, self.text(body, PRODUCT))


def in_order(name: str, args: Sequence[Any]) -> list[Any]:
    """The arguments of a function, of max and min the numbers last."""
    return sorted(args, key=lambda a: (is_constant(a), str(a))) if name in ("Max", "Min") else list(args)


def own_bracket(expr: Any, level: int) -> bool:
    """Whether a sum stands in brackets of its own."""
    return getattr(expr, "is_Add", False) and level > SUM


def _is_below(power: Any) -> bool:
    """Whether a power is written in the denominator: x⁻², but not 10^(a−b)."""
    mixed = power.base.is_number and any(not t.could_extract_minus_sign() for t in sp.Add.make_args(power.exp))
    return bool(power.exp.could_extract_minus_sign() and not mixed)


def _is_constant_root(factor: Any) -> bool:
    return bool(factor.is_Pow and factor.exp == sp.S.Half and factor.base.is_number)


def _roots_below(above: list[Any], below: list[Any], p: int, q: int) -> tuple[list[Any], list[Any], int, int]:
    """√2/(2·√π) as 1/√(2π): roots of numbers that divide the denominator go below."""
    kept = []
    for factor in above:
        if _is_constant_root(factor) and factor.base.is_Integer and q % int(factor.base) == 0:
            q //= int(factor.base)
            below = [factor, *below]
        else:
            kept.append(factor)
    common = math.gcd(p, q)
    return kept, below, p // common, q // common
