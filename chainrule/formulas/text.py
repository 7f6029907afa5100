"""Formulas as text: with Greek letters, small indices and signs, or in plain ASCII as Python writes them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import sympy as sp

from .decimals import Decimal
from .naming import SMALL, dotted, subscript, superscript, unicode_name
from .printing import ATOM, POWER, PREFIX, PRODUCT, SPACED, SUM, TRIGONOMETRIC, Printer, in_order

_VULGAR: Final = {
    (1, 2): "½", (1, 3): "⅓", (2, 3): "⅔", (1, 4): "¼", (3, 4): "¾", (1, 5): "⅕", (2, 5): "⅖", (3, 5): "⅗",
    (4, 5): "⅘", (1, 6): "⅙", (5, 6): "⅚", (1, 8): "⅛", (3, 8): "⅜", (5, 8): "⅝", (7, 8): "⅞",
}  # fmt: skip
_NAMES: Final = {
    "loggamma": "logΓ", "gamma": "Γ", "re": "Re", "im": "Im", "Max": "max", "Min": "min", "Mod": "mod",
}  # fmt: skip


def decimal(value: Any) -> tuple[str, int] | None:
    """(digits, power of ten) of a rational number with a long fraction and a short decimal; None for others."""
    fraction = Fraction(value.p, value.q)
    text = repr(float(fraction))
    if Fraction(text) != fraction:
        return None
    digits, _, power = text.partition("e")
    if not power and fraction.denominator == 1 and abs(fraction) >= 10**6:
        text = f"{float(fraction):e}"
        digits, _, power = text.partition("e")
        digits = digits.rstrip("0").rstrip(".")
        if len(digits) > 6:
            return None
    if not power and 0 < abs(fraction) < 1e-3:
        digits, _, power = f"{float(fraction):.15e}".partition("e")
        digits = digits.rstrip("0").rstrip(".")
        if Fraction(f"{digits}e{power}") != fraction:
            digits, power = text, ""
    return digits.removesuffix(".0"), int(power or 0)


class Unicode(Printer):
    """``f·G·z/σ``"""

    tight_minus = "−"
    dot = "·"

    def name(self, symbol: Any) -> str:
        known = self.shown.get(symbol.name)
        if known is not None:
            return known[0]
        if symbol.name.endswith("dot") and len(symbol.name) > 3:
            return dotted(unicode_name(symbol.name.removesuffix("dot")))
        return unicode_name(symbol.name)

    def element(self, element: Any) -> str:
        return self.name(element.base.label) + self._below(element.indices)

    def _below(self, indices: Sequence[Any]) -> str:
        shown = [self.place(i) for i in indices]
        return subscript(("," if any(len(s) > 1 for s in shown) and len(shown) > 1 else "").join(shown))

    def number(self, value: Any) -> str:
        if value < 0:
            return self.tight_minus + self.number(-value)
        small = self.vulgar(value)
        if small is not None:
            return small
        if value.q > 12 or (value.q == 1 and value.p >= 10**6):
            found = decimal(value)
            if found is not None and len(self._scientific(*found)) <= len(f"{value.p}/{value.q}"):
                return self._scientific(*found)
        return str(value.p) if value.q == 1 else f"{value.p}/{value.q}"

    def decimal(self, value: Any) -> str:
        found = decimal(value)
        return self._scientific(*found) if found is not None else str(value)

    def _scientific(self, digits: str, power: int) -> str:
        if not power:
            return digits
        ten = f"10{superscript(str(power).replace('-', '−'))}"
        return ten if digits == "1" else f"{digits}×{ten}"

    def vulgar(self, value: Any) -> str | None:
        return _VULGAR.get((value.p, value.q))

    def constant(self, value: Any) -> str:
        return {sp.pi: "π", sp.E: "e", sp.I: "i", sp.oo: "∞", sp.EulerGamma: "γ"}.get(value, str(value))

    def product(self, parts: Sequence[tuple[str, Any]]) -> str:
        text = ""
        for k, (part, factor) in enumerate(parts):
            if k == 0:
                text = part
                continue
            before, value = parts[k - 1]
            text += ("" if self._touching(before, value, part, factor, k == len(parts) - 1) else self.dot) + part
        return text

    def _touching(self, before: str, value: Any, part: str, factor: Any, last: bool) -> bool:
        """Whether two factors stand side by side: 2x, 2π, 2√x, ½(a+b)."""
        if not value.is_Rational or not (before.isdigit() or before in _VULGAR.values()):
            return False
        if part.startswith("("):
            return last
        base = factor.base if factor.is_Pow else factor
        if part.startswith("√") or factor is sp.pi:
            return True
        return isinstance(base, (sp.Symbol, sp.Indexed)) and len(self.text(base).rstrip(SMALL)) == 1

    def fraction(self, above: str, below: str, above_level: int, below_level: int) -> tuple[str, int]:
        top = above if above_level >= PRODUCT else self.bracket(above)
        bottom = below if below_level >= POWER else self.bracket(below)
        return f"{top}/{bottom}", PRODUCT

    def power(self, base: Any, exponent: Any) -> tuple[str, int]:
        small = exponent.is_Integer or (exponent.is_Symbol and not isinstance(exponent, Decimal))
        raised = superscript(self.text(exponent)) if small else None
        name = type(base).__name__
        if raised is not None and name in TRIGONOMETRIC:
            return self._applied(name + raised, base.args), PREFIX
        if raised is not None:
            if isinstance(base, sp.Indexed) and "_" in self._below(base.indices):
                return self.name(base.base.label) + raised + self._below(base.indices), POWER
            return self.text(base, ATOM) + raised, POWER
        shown = self.text(exponent)
        return f"{self.text(base, ATOM)}^{shown if shown.replace('.', '').isalnum() else f'({shown})'}", POWER

    def root(self, inside: str, degree: int, is_atom: bool) -> str:
        bare = is_atom or (inside.startswith("|") and inside.count("|") == 2 and inside.endswith("|"))
        return ("√" if degree == 2 else "∛") + (inside if bare else f"({inside})")

    def function(self, name: str, args: Sequence[Any]) -> tuple[str, int]:
        match name:
            case "Abs":
                return f"|{self.inside_bars(args[0])}|", ATOM
            case "conjugate":
                return self.text(args[0], ATOM) + "*", ATOM
            case "Iverson":
                return f"[{self.relation(self.place(args[0]), '≥', self.place(args[1]))}]", ATOM
            case "KroneckerDelta":
                return "δ" + self._below(args[:2]), ATOM
            case "polygamma" if args[0] in (0, 1):
                return f"ψ{'′' if args[0] == 1 else ''}({self.text(args[1])})", ATOM
            case "polygamma":
                return f"ψ^({self.text(args[0])})({self.text(args[1])})", ATOM
        return self._applied(name, args), PREFIX if name in SPACED else ATOM

    def _applied(self, name: str, args: Sequence[Any]) -> str:
        stem = name.rstrip("⁰¹²³⁴⁵⁶⁷⁸⁹")
        shown = _NAMES.get(name, name)
        if stem in SPACED and isinstance(args[0], (sp.Symbol, sp.Indexed)):
            space = "" if name != stem else " "  # sin²x, sin x
            return f"{shown}{space}{self.text(args[0])}"
        return f"{shown}({', '.join(self.text(a) for a in in_order(name, args))})"

    def over(self, kind: str, limits: Sequence[tuple[Any, Any, Any]], full: bool, body: str) -> str:
        sign = "Σ" if kind == "sum" else "Π"
        if full:
            return f"{sign}{self._below([i for i, _, _ in limits])} {body}"
        written = [f"{sign}_{{{self.text(i)}={self.place(a)}}}^{{{self.place(b)}}}" for i, a, b in limits]
        return " ".join([*written, body])

    def cases(self, cases: Sequence[tuple[str, str | None]]) -> str:
        return "{ " + "; ".join(f"{v} otherwise" if c is None else f"{v} if {c}" for v, c in cases) + " }"

    def bracket(self, text: str) -> str:
        return f"({text})"

    def relation(self, left: str, symbol: str, right: str) -> str:
        return f"{left} {symbol} {right}"


_ASCII_RELATIONS: Final = {"≠": "!=", "=": "==", "≥": ">=", "≤": "<="}


class Ascii(Unicode):
    """``f*G*z/sigma``"""

    tight_minus = "-"
    dot = "*"

    def name(self, symbol: Any) -> str:
        return str(symbol.name)

    def element(self, element: Any) -> str:
        return f"{element.base.label}[{', '.join(self.place(i) for i in element.indices)}]"

    def _scientific(self, digits: str, power: int) -> str:
        return f"{digits}e{power}" if power else digits

    def vulgar(self, value: Any) -> str | None:
        return None

    def constant(self, value: Any) -> str:
        return {sp.pi: "pi", sp.E: "e", sp.I: "I"}.get(value, str(value))

    def _touching(self, before: str, value: Any, part: str, factor: Any, last: bool) -> bool:
        return False

    def power(self, base: Any, exponent: Any) -> tuple[str, int]:
        return f"{self.text(base, ATOM)}**{self.text(exponent, ATOM)}", POWER

    def root(self, inside: str, degree: int, is_atom: bool) -> str:
        return f"{'sqrt' if degree == 2 else 'cbrt'}({inside})"

    def function(self, name: str, args: Sequence[Any]) -> tuple[str, int]:
        if name == "KroneckerDelta":
            args = args[:2]
        if name == "Iverson":
            return f"[{self.relation(self.place(args[0]), '≥', self.place(args[1]))}]", ATOM
        if name == "Abs":
            return f"abs({self.inside_bars(args[0])})", ATOM
        known = {"Max": "max", "Min": "min", "Mod": "mod"}
        return f"{known.get(name, name)}({', '.join(self.text(a) for a in in_order(name, args))})", ATOM

    def over(self, kind: str, limits: Sequence[tuple[Any, Any, Any]], full: bool, body: str) -> str:
        shown = [self.text(i) if full else f"{self.text(i)}={self.place(a)}..{self.place(b)}" for i, a, b in limits]
        return f"{kind}_{{{', '.join(shown)}}} {body}"

    def relation(self, left: str, symbol: str, right: str) -> str:
        return f"{left} {_ASCII_RELATIONS.get(symbol, symbol)} {right}"


__all__ = ["SUM", "Ascii", "Unicode"]
