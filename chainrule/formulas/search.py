"""From a traced program to the shortest certain formula of its derivatives."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sympy as sp

from chainrule.graph.algebra import Held, Maximum, Minimum, NoForm, index_symbol
from chainrule.graph.where import error, of_function

from .abbreviate import abbreviated, repeated
from .candidates import divisors
from .certificate import WORKING, Certificate
from .numeric import Numbers
from .poles import has_new_poles
from .program import Definition, Program, Step, blamed, expressions_of, inlined, inlined_size, inlined_sizes
from .recurrence import Recurrence
from .shorten import best, cost, measure, shortest
from .sums import apart, in_range, pulled, renamed
from .tangents import Tangents

Expr = Any
EASY: Final = 40  # longer expressions are not simplified a second time
HOPELESS: Final = 2  # what is so many times longer than with steps will not become shorter
MANY: Final = 30  # steps
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
    home: dict[Any, Definition] = {}
    for definition in definitions:
        own = definition.carries if isinstance(definition, Recurrence) else (definition.symbol,)
        home |= dict.fromkeys(own, definition)
    found: set[Definition] = set()
    waiting = [s for v in values for s in v.free_symbols]
    while waiting:
        definition_ = home.get(waiting.pop())
        if definition_ is not None and definition_ not in found:
            found.add(definition_)
            waiting += [s for e in expressions_of(definition_) for s in e.free_symbols]
    return [d for d in definitions if d in found]


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
    found = Found(wanted, _all_shortest(raw, originals, deadline), definitions, shown)
    found = _shorter_without_steps(program, found, raw, deadline)
    found = _abbreviated(program, found)
    found = _with_whole_divisors(program, found, raw, originals, deadline)
    for k, w in enumerate(wanted):
        free = {i for b in w.by if isinstance(b, sp.Indexed) for i in b.indices}
        found.values[k] = apart(found.values[k], frozenset({*w.index, *free}))
    found.definitions = [_apart(d) for d in found.definitions]
    return _renumbered(_certified(certificate, program, found, raw, definitions))


def _apart(definition: Definition) -> Definition:
    if not isinstance(definition, Step):
        return definition
    value = apart(definition.value, frozenset(definition.index))
    return Step(definition.symbol, definition.index, value, definition.own, definition.solved)


def _all_shortest(raw: Sequence[Expr], originals: Sequence[Expr], deadline: float) -> list[Expr]:
    values = []
    for k, value in enumerate(raw):
        share = deadline - time.perf_counter()
        limit = time.perf_counter() + max(share, 0.0) / (len(raw) - k) * 0.6
        values.append(shortest(value, originals, limit))
    return values


def _with_whole_divisors(
    program: Program, found: Found, raw: Sequence[Expr], originals: Sequence[Expr], deadline: float
) -> Found:
    """A formula in which results that divide by the same do so in the same words, where it gets shorter by that."""
    count = Counter(d for value in raw for d in divisors(value))
    whole = frozenset(d for d, n in count.items() if n > 1)
    if not whole:
        return found
    limit = max(deadline, time.perf_counter() + 0.05)
    values = [shortest(value, originals, limit, whole) for value in raw]
    other = _abbreviated(program, Found(found.wanted, values, found.definitions, found.shown))
    return other if other.size < found.size else found


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
    used = {i.name for i in index if i.is_Symbol} | program.taken | program.bound
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
            letters.append(index_symbol(name))
        found.append(sp.IndexedBase(symbol)[tuple(letters)])
    return tuple(found)


def _with_steps(
    program: Program, wanted: Sequence[Wanted], mode: str
) -> tuple[list[Definition], list[Expr], dict[str, Any]]:
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
        raw.append(_with_clear_indices(program, w, values[w.result, w.by]))
    return tangents.definitions, raw, tangents.shown


def _with_clear_indices(program: Program, wanted: Wanted, value: Expr) -> Expr:
    """``value`` without conditions that its indices meet anyway, and with no index of a sum that is also free."""
    lengths = dict(zip(wanted.index, program.lengths(wanted.result), strict=False))
    for b in wanted.by:
        if isinstance(b, sp.Indexed):
            lengths |= dict(zip(b.indices, program.sizes[b.base.label], strict=True))
    if not lengths:
        return value
    return renamed(in_range(value, lengths), set(lengths))


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
    if not all(isinstance(d, Step) for d in found.definitions):
        return found
    definitions = [d for d in found.definitions if isinstance(d, Step)]
    sizes = inlined_sizes(definitions)
    if sum(inlined_size(v, sizes) for v in (*raw, *(e for _, _, e in program.results))) > 2 * INLINED:
        return found
    flat = Found(found.wanted, [inlined(v, definitions) for v in raw], found.definitions)
    plain = sum(map(cost, flat.values))
    if plain > INLINED or plain > HOPELESS * found.size or (plain > EASY and time.perf_counter() > deadline):
        return found
    originals = [pulled(inlined(v, definitions)) for _, _, v in program.results]
    for k, (value, w) in enumerate(zip(flat.values, found.wanted, strict=True)):
        limit = time.perf_counter() + max(0.03, (deadline - time.perf_counter()) / (len(flat.values) - k))
        forms = [shortest(value, originals, limit)]
        own = originals[w.result]
        if len(w.by) == 1 and w.by[0].is_Symbol and not own.has(sp.Piecewise, Held, Maximum, Minimum, sp.re, sp.im):
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
    if simplified and cost(plain) <= EASY and not _has_roots(plain):
        forms.append(sp.simplify(plain))
    return forms


def _has_roots(expr: Expr) -> bool:
    """Whether there are roots of different sums, over whose products SymPy's ``simplify`` takes many seconds."""
    roots = (p for p in expr.atoms(sp.Pow) if p.exp.is_Rational and not p.exp.is_Integer and p.base.is_Add)
    return len({p.base for p in roots}) > 1


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
    found = Found(found.wanted, values, [*found.definitions, *steps], found.shown)
    values, steps = repeated(found.values, program)
    shorter = Found(found.wanted, values, [*found.definitions, *steps], found.shown)
    return shorter if shorter.size < found.size else found


def _renumbered(found: Found) -> Found:
    """Names of our own without gaps in their numbers: what was tried and given up has used some."""
    used = needed(found.definitions, found.values)
    own = [d.symbol for d in used if isinstance(d, Step) and d.own and d.symbol.name not in found.shown]
    others = {s.name for d in used for e in expressions_of(d) for s in e.free_symbols} - {s.name for s in own}
    others |= {s.name for v in found.values for s in v.free_symbols if s not in own}
    new: dict[Any, Any] = {}
    for symbol in own:
        stem, _, number = symbol.name.rpartition("_")
        stem = stem if stem and number.isdigit() else symbol.name
        name, k = stem, 0
        while name in others:
            k += 1
            name = f"{stem}_{k}"
        others.add(name)
        new[symbol] = sp.Symbol(name, **symbol.assumptions0)
    if all(a == b for a, b in new.items()):
        return found
    definitions: list[Definition] = []
    for d in used:
        if isinstance(d, Step):
            definitions.append(Step(new.get(d.symbol, d.symbol), d.index, d.value.xreplace(new), d.own, d.solved))
        else:
            definitions.append(d.xreplace(new))
    return Found(found.wanted, [v.xreplace(new) for v in found.values], definitions, found.shown)


# --- the certificate ----------------------------------------------------------------------------------------


def _certified(
    certificate: Certificate, program: Program, found: Found, raw: Sequence[Expr], definitions: list[Definition]
) -> Found:
    """``found``, whose values agree with the program each; where one does not, its unsimplified form, which must."""
    import mpmath as mp

    numbers: dict[int, Numbers] = {}
    with mp.workdps(WORKING):
        for k, point in enumerate(certificate.points):
            numbers[k] = Numbers(point.values, found.definitions)
            for d in definitions:
                numbers[k].define(d)
            if len(definitions) > MANY:
                numbers[k].prepare()
        for w, (k, value) in zip(found.wanted, enumerate(found.values), strict=True):
            if _agrees(certificate, program, numbers, w, value):
                continue
            if _agrees(certificate, program, numbers, w, raw[k]):
                found.values[k] = raw[k]
                found.definitions = list(dict.fromkeys([*definitions, *found.definitions]))
                continue
            name = program.request.name
            by = ", ".join(map(str, w.by))
            message = f"the formula found for the derivative of {name} by {by} does not agree with it to 50 digits"
            raise error(ArithmeticError, message, of_function(program.request.function))
    return found


def _agrees(
    certificate: Certificate, program: Program, numbers: dict[int, Numbers], wanted: Wanted, value: Expr
) -> bool:
    unsettled = 0  # points at which the program is too wild for a difference quotient
    for k, point in enumerate(certificate.points):
        for bound, position, by in program.elements_at(wanted.result, wanted.index, wanted.by, point.sizes):
            truth = certificate.derivative(point, position[0], by)[position[1]]
            if not certificate.agrees(value, numbers[k], bound, truth):
                if certificate.is_reliable(point, position, by):
                    return False
                unsettled += 1
                break
    return unsettled < len(certificate.points)


__all__ = ["Found", "Wanted", "best", "derivatives", "inlined", "measure", "needed"]
