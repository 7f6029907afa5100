"""From a traced program to the shortest certain formula of its derivatives."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sympy as sp

from chainrule.graph.algebra import Held, Maximum, Minimum, NoForm
from chainrule.graph.where import error, of_function

from .abbreviate import abbreviated
from .certificate import WORKING, Certificate
from .numeric import Numbers
from .poles import has_new_poles
from .program import Definition, Program, Step, blamed, expressions_of, inlined
from .recurrence import Recurrence
from .shorten import best, cost, measure, shortest
from .sums import pulled
from .tangents import Tangents

Expr = Any
EASY: Final = 40  # longer expressions are not simplified a second time
HOPELESS: Final = 3  # what is so many times longer than with steps will not become shorter
INLINED: Final = 400  # programs with more operations keep their steps in any case


@dataclass(frozen=True, slots=True)
class Wanted:
    """One derivative to be found: of result ``result`` by ``by``, a tuple of symbols and elements."""

    result: int
    label: str
    index: tuple[Any, ...]
    by: tuple[Any, ...]


@dataclass
class Found:
    """Derivatives over definitions."""

    wanted: list[Wanted]
    values: list[Expr]
    definitions: list[Definition]
    shown: dict[str, Any] = field(default_factory=dict)  # names of derived quantities: kind, carry, parameter

    @property
    def size(self) -> int:
        """Operations of the results, and of each step that they need, once."""
        used = needed(self.definitions, self.values)
        return sum(map(cost, self.values)) + sum(cost(e) for d in used for e in expressions_of(d))


def needed(definitions: Sequence[Definition], values: Sequence[Expr]) -> list[Definition]:
    """The definitions that the values lead to, in order."""
    names = {s for v in values for s in v.free_symbols}
    found: list[Definition] = []
    for definition in reversed(definitions):
        if isinstance(definition, Step):
            own = {definition.symbol}
        else:
            own = set(definition.carries)
        if own & names:
            found.append(definition)
            names |= {s for e in expressions_of(definition) for s in e.free_symbols}
    return found[::-1]


def derivatives(program: Program, by: Sequence[Any], order: int, mode: str, deadline: float) -> Found:
    """All derivatives of the order (and, for order 2, those of order 1 before them), shortened."""
    certificate = Certificate(program)
    wanted = _wanted(program, by, order)
    try:
        definitions, raw, shown = _with_steps(program, wanted, mode)
    except NoForm as problem:
        raise blamed(program.request, problem) from None
    except TypeError as problem:
        raise error(TypeError, str(problem), of_function(program.request.function)) from None
    originals = [*program.expressions()]
    definitions = _shorter_loops(definitions, deadline)
    values = []
    for k, value in enumerate(raw):
        share = deadline - time.perf_counter()
        limit = time.perf_counter() + max(share, 0.0) / (len(raw) - k) * 0.7
        values.append(shortest(value, originals, limit))
    found = Found(wanted, values, definitions, shown)
    found = _shorter_without_steps(program, found, raw, deadline)
    found = _abbreviated(program, found)
    return _certified(certificate, program, found, raw, definitions)


def _wanted(program: Program, by: Sequence[Any], order: int) -> list[Wanted]:
    found = []
    orders = (1, 2) if order == 2 else (order,)
    for k in orders:
        for number, (label, index, _) in enumerate(program.results):
            for chosen in itertools.combinations_with_replacement(range(len(by)), k):
                found.append(Wanted(number, label, index, _elements([by[c] for c in chosen], index, program)))
    return found


def _elements(by: Sequence[Any], index: tuple[Any, ...], program: Program) -> tuple[Any, ...]:
    """Arrays among what is differentiated by, as elements with indices of their own."""
    used = {i.name for i in index if i.is_Symbol} | program.taken
    found = []
    for symbol in by:
        shape = program.sizes.get(symbol)
        if shape is None:
            found.append(symbol)
            continue
        letters = []
        for _ in shape:
            name = next(c for c in "jklmpqrst" if c not in used)
            used.add(name)
            letters.append(sp.Symbol(name, integer=True))
        found.append(sp.IndexedBase(symbol)[tuple(letters)])
    return tuple(found)


def _with_steps(program: Program, wanted: Sequence[Wanted], mode: str) -> tuple[list[Definition], list[Expr], dict[str, Any]]:
    """The derivatives as the chain rule over the steps gives them, and definitions of derived steps."""
    tangents = Tangents(program, list({b: None for w in wanted for b in w.by}), mode)
    values: dict[tuple[Any, ...], Expr] = {}
    raw = []
    for w in wanted:
        for k in range(len(w.by) + 1):
            key = (w.result, w.by[:k])
            if key not in values:
                previous = values[w.result, w.by[: k - 1]] if k else pulled(program.results[w.result][2])
                values[key] = tangents.derivative(previous, w.by[k - 1]) if k else previous
        raw.append(values[w.result, w.by])
    return tangents.definitions, raw, tangents.shown


def _shorter_loops(definitions: Sequence[Definition], deadline: float) -> list[Definition]:
    """The steps of loops, each in its shortest form; what is linear in a dotted quantity is collected by it."""
    found: list[Definition] = []
    for definition in definitions:
        if isinstance(definition, Recurrence):
            nexts = []
            for value in definition.nexts:
                limit = min(deadline, time.perf_counter() + 0.2)
                nexts.append(_linear_in_dots(shortest(value, (), limit), definition))
            definition = definition.with_nexts(nexts)
        found.append(definition)
    return found


def _linear_in_dots(value: Expr, loop: Recurrence) -> Expr:
    """A·ẋ + b, where that is not much longer."""
    dots = [loop.at(c, loop.source) for c in loop.carries if c.name.endswith("dot")]
    found = value
    for dot in dots:
        if value.has(dot):
            found = sp.factor_terms(sp.collect(sp.expand(found), dot, sp.factor_terms))
    return found if cost(found) <= cost(value) + 1 and not has_new_poles(found, (value,)) else value


# --- without steps ------------------------------------------------------------------------------------------


def _shorter_without_steps(program: Program, found: Found, raw: Sequence[Expr], deadline: float) -> Found:
    """The formula with steps written out, where it is shorter than with them."""
    if any(isinstance(d, Recurrence) for d in found.definitions):
        return found
    definitions = [d for d in found.definitions if isinstance(d, Step)]
    used = [d for d in needed(definitions, found.values) if isinstance(d, Step)]
    if not used:
        return found
    flat = Found(found.wanted, list(found.values), found.definitions)
    for k in range(len(flat.values)):
        flat.values[k] = inlined(raw[k], definitions)
    plain = sum(map(cost, flat.values))
    if plain > INLINED or plain > HOPELESS * found.size:
        return found
    originals = [inlined(v, definitions) for _, _, v in program.results]
    for k, (value, w) in enumerate(zip(flat.values, found.wanted, strict=True)):
        limit = time.perf_counter() + max(0.03, (deadline - time.perf_counter()) / (len(flat.values) - k))
        forms = [shortest(value, originals, limit)]
        if len(w.by) == 1 and w.by[0].is_Symbol and not originals[w.result].has(sp.Piecewise, Held, Maximum, Minimum):
            forms += _of_sympy(originals[w.result], w.by[0], cost(forms[0]) <= EASY)
        flat.values[k] = best(forms, (forms[0], *originals))
    flat.definitions = []
    if flat.size >= found.size:
        return found
    return _mixed(found, flat)


def _of_sympy(value: Expr, by: Any, simplified: bool) -> list[Expr]:
    """SymPy's own derivative of the program with its steps written out, and its own short forms of that."""
    plain = sp.diff(value, by)
    forms = [plain, sp.factor_terms(plain)]
    if simplified and cost(plain) <= EASY:
        forms.append(sp.simplify(plain))
    return forms


def _mixed(found: Found, flat: Found) -> Found:
    """As few results as possible written out, as long as no formula gets longer by that."""
    values = list(flat.values)
    for k, value in enumerate(found.values):
        kept = Found(found.wanted, [*values[:k], value, *values[k + 1 :]], found.definitions, found.shown)
        if kept.size <= flat.size:
            values[k] = value
            flat = kept
    return flat


def _abbreviated(program: Program, found: Found) -> Found:
    values, steps = abbreviated(found.values, program)
    if not steps:
        return found
    return Found(found.wanted, values, [*found.definitions, *steps], found.shown)


# --- the certificate ----------------------------------------------------------------------------------------


def _certified(
    certificate: Certificate, program: Program, found: Found, raw: Sequence[Expr], definitions: list[Definition]
) -> Found:
    """``found``, each of whose values agrees with the program; where one does not, its unsimplified form, which must."""
    import mpmath as mp

    numbers: dict[int, Numbers] = {}
    with mp.workdps(WORKING - 40):
        for k, point in enumerate(certificate.points):
            numbers[k] = Numbers(point.values, found.definitions)
            for d in definitions:
                numbers[k].define(d)
        for w, (k, value) in zip(found.wanted, enumerate(found.values), strict=True):
            if _agrees(certificate, program, numbers, w, value):
                continue
            if _agrees(certificate, program, numbers, w, raw[k]):
                found.values[k] = raw[k]
                found.definitions = list(dict.fromkeys([*definitions, *found.definitions]))
                continue
            name = program.request.name
            message = f"the formula of the derivative of {name} by {w.by} is not equal to it at 50 digits: it is not given"
            raise error(ArithmeticError, message, of_function(program.request.function))
    return found


def _agrees(
    certificate: Certificate, program: Program, numbers: dict[int, Numbers], wanted: Wanted, value: Expr
) -> bool:
    for k, point in enumerate(certificate.points):
        for bound, position, by in program.elements_at(wanted.result, wanted.index, wanted.by, point.sizes):
            truth = certificate.derivative(point, position[0], by)[position[1]]
            if not certificate.agrees(value, numbers[k], bound, truth):
                return False
    return True


__all__ = ["Found", "Wanted", "best", "derivatives", "inlined", "measure", "needed"]
