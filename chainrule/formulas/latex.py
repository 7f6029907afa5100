"""Formulas in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sympy as sp

from .naming import latex_name, latex_stem, parts
from .printing import ATOM, POWER, PREFIX, PRODUCT, SPACED, TRIGONOMETRIC, Printer, in_order
from .text import decimal

_NAMES: Final = {
    "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan", "asinh": r"\operatorname{arsinh}",
    "acosh": r"\operatorname{arcosh}", "atanh": r"\operatorname{artanh}", "log": r"\log", "exp": r"\exp",
    "gamma": r"\Gamma", "loggamma": r"\log\Gamma", "Max": r"\max",
    "Min": r"\min", "re": r"\operatorname{Re}", "im": r"\operatorname{Im}", "sech": r"\operatorname{sech}",
}  # fmt: skip
_KNOWN: Final = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "sec", "csc", "cot", "arg"})
_RELATIONS: Final = {"≠": r"\ne", "≥": r"\ge", "≤": r"\le"}


class Latex(Printer):
    r"""``\frac{f G z}{\sigma}``"""

    bracketed_quotients = False

    def name(self, symbol: Any) -> str:
        known = self.shown.get(symbol.name)
        if known is not None:
            return known[1]
        if symbol.name.endswith("dot") and len(symbol.name) > 3:
            stem, below = parts(symbol.name.removesuffix("dot"))
            return rf"\dot{{{latex_stem(stem)}}}" + (f"_{{{','.join(below)}}}" if below else "")
        return latex_name(symbol.name)

    def element(self, element: Any) -> str:
        shown = [self.place(i) for i in element.indices]
        inner = ("" if all(len(s) == 1 for s in shown) else ",").join(shown)
        label = self.name(element.base.label)
        if label.endswith("}") and "_{" in label:
            return f"{label[:-1]},{inner}}}"
        return f"{label}_{inner}" if len(inner) == 1 else f"{label}_{{{inner}}}"

    def number(self, value: Any) -> str:
        if value < 0:
            return "-" + self.number(-value)
        if (value.q > 12 or (value.q == 1 and value.p >= 10**6)) and decimal(value) is not None:
            return self.decimal(value)
        return str(value.p) if value.q == 1 else rf"\frac{{{value.p}}}{{{value.q}}}"

    def decimal(self, value: Any) -> str:
        digits, power = decimal(value) or (str(value), 0)
        ten = rf"10^{{{power}}}"
        return digits if not power else ten if digits == "1" else rf"{digits} \times {ten}"

    def vulgar(self, value: Any) -> str | None:
        return rf"\frac{{{value.p}}}{{{value.q}}}" if value.q <= 12 else None

    def constant(self, value: Any) -> str:
        return {sp.pi: r"\pi", sp.E: "e", sp.I: "i", sp.oo: r"\infty"}.get(value, str(value))

    def product(self, parts: Sequence[tuple[str, Any]]) -> str:
        text = parts[0][0]
        for part, _ in parts[1:]:
            if text[-1].isdigit() and part[0].isdigit():
                text += r" \cdot "
            elif (text[-1].isalpha() and part[0].isalpha()) or not part.startswith(("(", r"\left(")):
                text += " "
            text += part
        return text

    def fraction(self, above: str, below: str, above_level: int, below_level: int) -> tuple[str, int]:
        return rf"\frac{{{above}}}{{{below}}}", PRODUCT

    def power(self, base: Any, exponent: Any) -> tuple[str, int]:
        raised = self.text(exponent)
        raised = raised if len(raised) == 1 else f"{{{raised}}}"
        if type(base).__name__ in TRIGONOMETRIC and exponent.is_Integer:
            return self._applied(type(base).__name__, base.args, f"^{raised}"), PREFIX
        return f"{self.text(base, ATOM)}^{raised}", POWER

    def root(self, inside: str, degree: int, is_atom: bool) -> str:
        return rf"\sqrt{{{inside}}}" if degree == 2 else rf"\sqrt[{degree}]{{{inside}}}"

    def function(self, name: str, args: Sequence[Any]) -> tuple[str, int]:
        match name:
            case "Abs":
                return rf"\left|{self.inside_bars(args[0])}\right|", ATOM
            case "conjugate":
                return f"{self.text(args[0], ATOM)}^*", ATOM
            case "exp":
                return f"e^{{{self.text(args[0])}}}", POWER
            case "Iverson":
                return f"[{self.relation(self.place(args[0]), '≥', self.place(args[1]))}]", ATOM
            case "KroneckerDelta":
                return rf"\delta_{{{' '.join(self.text(a) for a in args[:2])}}}", ATOM
            case "polygamma":
                order = "" if args[0] == 0 else f"^{{({self.text(args[0])})}}"
                return rf"\psi{order}{self.bracket(self.text(args[1]))}", ATOM
            case "floor" | "ceiling":
                side = name[:5].replace("ceili", "ceil")
                return rf"\left\l{side} {self.text(args[0])} \right\r{side}", ATOM
        return self._applied(name, args), PREFIX if name in SPACED else ATOM

    def _applied(self, name: str, args: Sequence[Any], raised: str = "") -> str:
        shown = _NAMES.get(name) or (f"\\{name}" if name in _KNOWN else rf"\operatorname{{{name}}}")
        if name in SPACED and isinstance(args[0], (sp.Symbol, sp.Indexed)):
            return f"{shown}{raised} {self.text(args[0])}"
        return shown + raised + self.bracket(", ".join(self.text(a) for a in in_order(name, args)))

    def over(self, kind: str, limits: Sequence[tuple[Any, Any, Any]], full: bool, body: str) -> str:
        sign = r"\sum" if kind == "sum" else r"\prod"
        if full:
            below = ",".join(self.text(i) for i, _, _ in limits)
            return f"{sign}_{below if len(below) == 1 else f'{{{below}}}'} {body}"
        written = [f"{sign}_{{{self.text(i)}={self.place(a)}}}^{{{self.place(b)}}}" for i, a, b in limits]
        return " ".join([*written, body])

    def cases(self, cases: Sequence[tuple[str, str | None]]) -> str:
        rows = [rf"{v} & \text{{otherwise}}" if c is None else rf"{v} & \text{{if }} {c}" for v, c in cases]
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def bracket(self, text: str) -> str:
        tall = r"\frac" in text or r"\sum" in text or r"\begin" in text
        return rf"\left({text}\right)" if tall else f"({text})"

    def relation(self, left: str, symbol: str, right: str) -> str:
        return f"{left} {_RELATIONS.get(symbol, symbol)} {right}"


__all__ = ["Latex"]
