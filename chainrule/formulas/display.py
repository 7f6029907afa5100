"""A formula's results and steps put together: as SymPy objects without assumptions, as text, as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sympy as sp

from chainrule.graph.algebra import Held, Maximum, Minimum

from .decimals import Decimal, exact, folded
from .formula import Formula
from .latex import Latex
from .matrices import Inverted
from .naming import latex_name, subscript, unicode_name
from .printing import Printer
from .program import Program, Step, inlined, inlined_size, inlined_sizes
from .recurrence import Recurrence
from .search import Found, Wanted, needed
from .sums import compact
from .text import Ascii, Unicode

Expr = Any
LONG_WIDTH: Final = 150  # a loop and its result stand in one line up to this width
LARGEST: Final = 20_000  # longer expressions are not written out
WIDTH: Final = 100  # a single result and its steps stand in one line up to this width
PRIMES: Final = {1: "′", 2: "″", 3: "‴"}


@dataclass(frozen=True)
class Written:
    """Results and definitions as they are printed, with decimals whole and numbers multiplied out."""

    results: tuple[Any, ...]
    definitions: tuple[Any, ...]

    @property
    def steps(self) -> list[Step]:
        return [d for d in self.definitions if isinstance(d, Step)]

    @property
    def recurrences(self) -> list[Recurrence]:
        return [d for d in self.definitions if isinstance(d, Recurrence)]


def finished(program: Program, found: Found, by: Sequence[Any], order: int, names: Mapping[str, str]) -> Formula:
    """The formula with symbols as the user knows them: no assumptions, names replaced."""
    name = program.request.name
    single = len(program.request.inputs) == 1 and len(by) == 1 and len(program.results) == 1 and len(name) == 1
    single = single and by[0] not in program.sizes
    definitions = needed(found.definitions, found.values)
    bys = [b for w in found.wanted for b in w.by]
    plain = _plain([*found.values, *bys, *(s for d in definitions for s in _parts(d))], names)
    values = [_bare(v, plain) for v in found.values]
    results = {_key(name, w): exact(v) for w, v in zip(found.wanted, values, strict=True)}
    bare = [_bare_definition(d, plain) for d in definitions]
    written = Written(tuple(map(folded, values)), tuple(_with_each(d, folded) for d in bare))
    bare = [_with_each(d, exact) for d in bare]
    steps = {d.target: d.value for d in bare if isinstance(d, Step)}
    loops = tuple(d for d in bare if isinstance(d, Recurrence))
    inverses = tuple(d for d in bare if isinstance(d, Inverted))
    labels = tuple(_Label(name, w, [_bare(b, plain) for b in w.by], single) for w in found.wanted)
    constants = {_bare(s, plain): v for s, v in program.constants.items()}
    shown_symbols = {s for e in (*results.values(), *steps.values(), *loops) for s in e.free_symbols}
    constants = {s: v for s, v in constants.items() if s in shown_symbols}
    used = tuple(names.get(b.name, b.name) for b in by)
    tables = {d.symbol.name: _inverse_name(d.symbol.name) for d in inverses}
    shown = tables | {n: _partial_name(carry, b, plain) for n, (_, carry, b) in found.shown.items()}
    return Formula(name, order, used, results, steps, loops, constants, labels, tuple(bare), shown, written)


def _inverse_name(name: str) -> tuple[str, str]:
    """L⁻¹, as text and in LaTeX."""
    stem = name[: name.rindex("inv")]
    raised, plain = ("⁻ᵀ", stem[:-1]) if stem.endswith("T") and len(stem) > 1 else ("⁻¹", stem)
    return unicode_name(plain) + raised, latex_name(plain) + ("^{-1}" if raised == "⁻¹" else "^{-T}")


def _partial_name(carry: Any, by: Any, plain: Mapping[Any, Any]) -> tuple[str, str]:
    """∂σ x, as text and in LaTeX."""
    of, below = _bare(carry, plain), _bare(by, plain)
    below_text = Unicode().text(below)
    return f"∂{below_text} {unicode_name(of.name)}", rf"\partial_{{{Latex().text(below)}}} {latex_name(of.name)}"


def _parts(definition: Any) -> list[Any]:
    return [definition.symbol, definition.target, definition.value] if isinstance(definition, Step) else [definition]


def _plain(expressions: Sequence[Any], names: Mapping[str, str]) -> dict[Any, Any]:
    """Each symbol → the one of that name without assumptions.

    Where there are complex ones, all keep theirs: SymPy takes Re and Im of what it knows nothing of apart.
    """
    symbols = {s for e in expressions for s in e.atoms(sp.Symbol) if not isinstance(s, Decimal)}
    some_complex = any(not s.is_extended_real for s in symbols)
    kept = {s: s.assumptions0 if some_complex else {} for s in symbols}
    return {s: sp.Symbol(names.get(s.name, s.name), **kept[s]) for s in symbols}


def _bare(expr: Any, plain: Mapping[Any, Any]) -> Any:
    return compact(_with_sympys_own(expr.xreplace(dict(plain))))


def _with_sympys_own(expr: Any) -> Any:
    """Functions of ours, which are there for their derivatives, as SymPy's."""
    if expr.has(Maximum, Minimum, Held):
        expr = expr.replace(Maximum, sp.Max).replace(Minimum, sp.Min).replace(Held, lambda x: x)
    return expr


def _with_each(definition: Any, change: Callable[[Any], Any]) -> Any:
    """A definition with its expressions changed."""
    if isinstance(definition, Step):
        return replace(definition, value=change(definition.value))
    if isinstance(definition, Inverted):
        return exact(definition)
    parts = [sp.Tuple(*map(change, a)) if isinstance(a, sp.Tuple) else a for a in definition.args]
    return definition.func(*parts)


def _bare_definition(definition: Any, plain: Mapping[Any, Any]) -> Any:
    if isinstance(definition, Step):
        index = tuple(_bare(i, plain) for i in definition.index)
        return Step(_bare(definition.symbol, plain), index, _bare(definition.value, plain), definition.own)
    return _bare(definition, plain)


def _key(name: str, wanted: Wanted) -> str:
    above = name + wanted.label + _position(wanted.index)
    if not wanted.by:
        return above
    if len(wanted.by) == 1:
        return f"∂{above}/∂{wanted.by[0]}"
    powers = {b: wanted.by.count(b) for b in wanted.by}
    below = "".join(f"∂{b}" + ("" if n == 1 else "²³⁴⁵⁶⁷⁸⁹"[n - 2]) for b, n in powers.items())
    return f"∂{'²³⁴⁵⁶⁷⁸⁹'[len(wanted.by) - 2]}{above}/{below}"


def _position(index: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


class _Label:
    """What stands left of a result's equals sign."""

    def __init__(self, name: str, wanted: Wanted, by: Sequence[Any], single: bool) -> None:
        self.name, self.wanted, self.by, self.single = name, wanted, tuple(by), single

    def text(self, printer: Printer) -> str:
        order = len(self.by)
        unicode = type(printer) is Unicode
        name = self.name + self.wanted.label
        name = unicode_name(self.name) + subscript(_place(self.wanted.label)) if unicode else name
        if self.wanted.index:
            index = sp.IndexedBase(name)[self.wanted.index]
            name = printer.text(index)
        if self.single and order <= 3:
            prime = (PRIMES[order] if unicode else "'" * order) if order else ""
            return f"{name}{prime}({printer.text(self.by[0])})" if order else name
        shown = [printer.text(b) for b in self.by]
        if order == 0:
            return name
        d = "∂" if unicode else "d"
        if order == 1:
            return f"{d}{name}/{d}{shown[0]}"
        if order == 2:
            return f"H_{''.join(shown)}" if unicode else f"H_{'_'.join(shown)}"
        power = "²³⁴⁵⁶⁷⁸⁹"[order - 2] if unicode else str(order)
        return f"{d}{power}{name}/" + "".join(f"{d}{s}" for s in shown)

    def latex(self, printer: Printer) -> str:
        order = len(self.by)
        name = latex_name(self.name) + (f"_{{{_place(self.wanted.label)}}}" if self.wanted.label else "")
        if self.wanted.index:
            name += "_{" + ",".join(printer.text(i) for i in self.wanted.index) + "}"
        if self.single and order <= 3:
            return f"{name}{chr(39) * order}({printer.text(self.by[0])})" if order else name
        shown = [printer.text(b) for b in self.by]
        if order == 0:
            return name
        if order == 2:
            return "H_{" + " ".join(shown) + "}"
        power = "" if order == 1 else f"^{order}"
        return rf"\frac{{\partial{power} {name}}}{{" + " ".join(rf"\partial {s}" for s in shown) + "}"


def _place(label: str) -> str:
    """Where in a structure of results: ``[0]['a']`` → 0,a."""
    return ",".join(re.findall(r"\w+", label))


# --- text ---------------------------------------------------------------------------------------------------


def as_text(formula: Formula, *, ascii: bool) -> str:
    """See ``Formula.text``."""
    written = formula._written
    printer = (Ascii if ascii else Unicode)(_step_symbols(formula), dict(formula._shown), _indices(formula))
    results = [
        f"{label.text(printer)} = {printer.text(value)}"
        for label, value in zip(formula._labels, written.results, strict=True)
    ]
    steps = [f"{printer.text(step.target)} = {printer.text(step.value)}" for step in written.steps]
    steps = [*_inverses(formula, printer), *steps]
    steps += [f"{printer.text(s)} = {printer.text(v)}" for s, v in formula.constants.items()]
    if written.recurrences:
        loops = [recurrence_text(loop, printer) for loop in written.recurrences]
        line = "; ".join([*loops, *results])
        body = [line] if len(results) == 1 and len(line) <= LONG_WIDTH else [*loops, *results]
        return "\n".join([*body, *(_where(steps) if steps else [])])
    if not steps:
        return "\n".join(results)
    line = ",  ".join(steps)
    if len(results) == 1 and len(results[0]) + 6 + len(line) <= WIDTH:
        return f"{results[0]}      {line}"
    return "\n".join([*results, *_where(steps)])


def _step_symbols(formula: Formula) -> list[Any]:
    return [d.symbol for d in formula._definitions if isinstance(d, Step)]


def _inverses(formula: Formula, printer: Any) -> list[str]:
    """What each inverse is the inverse of."""
    found = []
    for d in formula._definitions:
        if isinstance(d, Inverted):
            plain = isinstance(d.element, sp.Indexed) and f"{d.element.base.label}inv" == d.symbol.name
            word = r" = \text{inverse of } " if isinstance(printer, Latex) else " = inverse of "
            if not plain:
                found.append(f"{printer.name(d.symbol)}{word}{printer.text(d.element)}")
    return found


def _indices(formula: Formula) -> list[Any]:
    """The indices of results and of what they are derivatives by."""
    found = [i for label in formula._labels for b in label.by if isinstance(b, sp.Indexed) for i in b.indices]
    return [*found, *(sp.Symbol(i.name) for label in formula._labels for i in label.wanted.index)]


def recurrence_text(loop: Recurrence, printer: Any) -> str:
    """A loop in a line: starts; condition or range: steps."""
    starts, steps = _equations(loop, printer, " = ")
    k = printer.text(loop.k)
    if loop.condition is not None:
        head = f"while {printer.text(loop.condition)}"
    else:
        head = f"for {k} = {printer.text(loop.first)}…{printer.text(loop.end)}"
        head = head if type(printer) is Unicode else head.replace("…", "..")
    return f"{', '.join(starts)}; {head}: {', '.join(steps)}"


def recurrence_latex(loop: Recurrence, printer: Any) -> str:
    """A loop in LaTeX."""
    starts, steps = _equations(loop, printer, " = ")
    if loop.condition is not None:
        head = rf"\text{{while }} {printer.text(loop.condition)}"
    else:
        head = rf"\text{{for }} {printer.text(loop.k)} = {printer.text(loop.first)}, \dots, {printer.text(loop.end)}"
    return rf"{', '.join(starts)}; \quad {head}: \quad {', '.join(steps)}"


def _equations(loop: Recurrence, printer: Any, equals: str) -> tuple[list[str], list[str]]:
    starts, steps = [], []
    for carry, start, value in zip(loop.carries, loop.starts, loop.nexts, strict=True):
        starts.append(printer.text(loop.at(carry, loop.origin)) + equals + printer.text(start))
        steps.append(printer.text(loop.at(carry, loop.target)) + equals + printer.text(value))
    return starts, steps


def _where(steps: Sequence[str]) -> list[str]:
    """``where`` and the steps, as many a line as fit."""
    lines, current = [], "where "
    for k, step in enumerate(steps):
        part = step + ("" if k == len(steps) - 1 else ",")
        if len(current) > 6 and len(current) + 2 + len(part) > WIDTH:
            lines.append(current)
            current = "      " + part
        else:
            current += ("  " if len(current) > 6 else "") + part
    return [*lines, current]


def as_latex(formula: Formula, env: str | None) -> str:
    """See ``Formula.latex``."""
    written = formula._written
    printer = Latex(_step_symbols(formula), dict(formula._shown), _indices(formula))
    rows = [
        (label.latex(printer), printer.text(value))
        for label, value in zip(formula._labels, written.results, strict=True)
    ]
    rows += [("", text) for text in _inverses(formula, printer)]
    rows += [("", recurrence_latex(loop, printer)) for loop in written.recurrences]
    rows += [(printer.text(step.target), printer.text(step.value)) for step in written.steps]
    rows += [(printer.text(s), printer.text(v)) for s, v in formula.constants.items()]
    equals = " &= " if env is not None and ("align" in env or env == "split") else " = "
    amp = "& " if "&" in equals else ""
    body = " \\\\\n".join(f"{left}{equals}{right}" if left else f"{amp}{right}" for left, right in rows)
    return body if env is None else f"\\begin{{{env}}}\n{body}\n\\end{{{env}}}"


# --- SymPy --------------------------------------------------------------------------------------------------


def written_out(formula: Formula) -> Any:
    """See ``Formula.expr``."""
    if any(isinstance(d, Inverted) for d in formula._definitions):
        message = f"{formula.name} has an inverse of a matrix, whose elements SymPy has no expression for; see .steps"
        raise ValueError(message)
    if formula.recurrences:
        message = (
            f"{formula.name} has a loop that is no sum and no product, for which SymPy has no expression;"
            " see .results, .steps and .recurrences"
        )
        raise ValueError(message)
    steps = [d for d in formula._definitions if isinstance(d, Step)]
    sizes = inlined_sizes(steps)
    size = sum(inlined_size(v, sizes) for v in formula.results.values())
    if size > LARGEST:
        message = f"{formula.name} with its steps written out would be {size} operations; see .results and .steps"
        raise ValueError(message)
    values = [inlined(v, steps) for v in formula.results.values()]
    values = [v.xreplace(dict(formula.constants)) for v in values]
    return values[0] if len(values) == 1 else sp.Tuple(*values)
