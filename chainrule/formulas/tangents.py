"""Derivatives through loops: dotted quantities that go round with the others, or adjoints that go back."""

from __future__ import annotations

from typing import Any, Final, final

import sympy as sp

from chainrule.graph.algebra import NoForm

from .derive import Derivative, recognised_in
from .matrices import Inverted
from .program import Definition, Program, Step, inlined
from .recurrence import Recurrence
from .shorten import cost
from .sums import pulled

Expr = Any
LONG: Final = 40  # derivatives of steps with more operations become steps themselves


@final
class Tangents:
    """Derivatives by each parameter of a program's expressions, and the definitions with what these need."""

    def __init__(self, program: Program, by: list[Any], mode: str) -> None:
        self.program = program
        self.by, self.mode = by, mode
        self.shown: dict[str, tuple[str, Any, Any]] = {}  # name → kind, carry, parameter
        self._known: dict[Any, Derivative] = {}
        self._loops: dict[Any, Recurrence] = {}
        self._extra: dict[Recurrence, list[tuple[Any, Any, Any]]] = {}
        self._family: dict[Any, Any] = {}  # of a dotted carry: what it is the derivative by
        self._dots: dict[tuple[Any, Any], Any] = {}
        self._adjoints: dict[tuple[Any, Expr], list[Any]] = {}
        self._backward: list[Recurrence] = []
        self._steps: list[Step] = []  # derivatives of steps that are too long to be written out
        self._defined: dict[Any, int] = {}  # per parameter, so many of them are known to its derivative
        for definition in program.definitions:
            if isinstance(definition, Recurrence):
                self._extra[definition] = []
                self._loops |= dict.fromkeys(definition.carries, definition)

    @property
    def definitions(self) -> list[Definition]:
        """The program's definitions, loops with their dotted carries, and the loops that run back."""
        found: list[Definition] = []
        for definition in self.program.definitions:
            extra = self._extra.get(definition) if isinstance(definition, Recurrence) else None
            if extra:
                assert isinstance(definition, Recurrence)
                definition = definition.with_carries(*zip(*extra, strict=True))
            found.append(definition)
        return [*found, *self._steps, *self._backward]

    def derivative(self, expr: Expr, by: Any) -> Expr:
        """d expr/d by."""
        if not {s.symbol for s in self._steps}.isdisjoint(expr.free_symbols):
            self._define_derived(by)
        flat = pulled(self._over_loops(expr)) if self._extra else expr
        loops = [loop for loop in self._extra if not set(loop.carries).isdisjoint(flat.free_symbols)]
        if loops and self._backwards(loops, flat):
            return pulled(self._by_adjoints(flat, by, loops[0]))
        return pulled(self.of(by)(expr))

    def of(self, by: Any) -> Derivative:
        """The derivative by ``by`` of any expression, dotted."""
        if by not in self._known:
            found = self._known[by] = self._plain(by)
            found.through_loops = lambda label: self._dotted(label, by)
            found.named = lambda step, value: self._derived(step, value, by)
            found.carries = self._loops
            for definition in self.program.definitions:
                if isinstance(definition, Step):
                    found.define(definition)
                elif isinstance(definition, Inverted):
                    found.define_inverse(definition)
        return self._known[by]

    def _over_loops(self, expr: Expr) -> Expr:
        """``expr`` with those steps written out that depend on a loop."""
        moving: set[Any] = set(self._loops)
        steps: list[Step] = []
        for definition in self.program.definitions:
            if isinstance(definition, Step) and not moving.isdisjoint(definition.value.free_symbols):
                moving.add(definition.symbol)
                steps.append(definition)
        return inlined(expr, steps)

    def _plain(self, by: Any) -> Derivative:
        shape = self.program.sizes[by.base.label] if isinstance(by, sp.Indexed) else ()
        return Derivative(by, [], shape)

    def _derived(self, step: Step, value: Expr, by: Any) -> Expr:
        """The derivative of a step; a step of its own where it is long."""
        if cost(value) <= LONG or isinstance(by, sp.Indexed):
            return value
        name = self.program.fresh(f"d{step.symbol.name}_d{by}")
        symbol = sp.Symbol(name, real=step.symbol.is_real)
        self.shown[name] = ("partial", step.symbol, by)
        made = Step(symbol, step.index, value, own=True)
        if step.index:
            self.program.sizes[symbol] = self.program.sizes[step.symbol]
        self._steps.append(made)
        return made.target

    def _define_derived(self, by: Any) -> None:
        """Makes the derived steps known to the derivative by ``by``."""
        derivative = self.of(by)
        while self._defined.get(by, 0) < len(self._steps):
            k = self._defined.get(by, 0)
            self._defined[by] = k + 1
            derivative.define(self._steps[k])

    # --- dots ---

    def _dotted(self, carry: Any, by: Any) -> Any | None:
        """The symbol of the derivative of a carry, which from then on goes round, too; None where it is zero."""
        key = (carry, by)
        if key in self._dots:
            return self._dots[key]
        loop = self._loops[carry]
        moving = self._moving(loop, by)
        if carry not in moving:
            self._dots[key] = None
            return None
        family = self._family.get(carry)
        group = [c for c, _, _ in self._entries(loop) if c in moving and self._family.get(c) == family]
        for c in group:
            single = len(self.by) == 1 and not c.name.endswith("dot")
            name = f"{c.name}dot" if single else f"d{c.name}_d{by}".replace("[", "_").replace("]", "")
            self._dots[c, by] = sp.Symbol(self.program.fresh(name), real=c.is_real)
            if not single:
                self.shown[self._dots[c, by].name] = ("partial", c, by)
            self._loops[self._dots[c, by]] = loop
            self._family[self._dots[c, by]] = (family, by)
        derivative = self.of(by)
        entries = {c: (start, step) for c, start, step in self._entries(loop)}
        for c in group:
            start, step = entries[c]
            dot = self._dots[c, by]
            after = Step(c, (), step)
            value = _in_terms_of(pulled(derivative(step)), after, loop.at(c, loop.target))
            self._extra[loop].append((dot, pulled(derivative(start)), value))
        return self._dots[key]

    def _entries(self, loop: Recurrence) -> list[tuple[Any, Any, Any]]:
        return [*zip(loop.carries, loop.starts, loop.nexts, strict=True), *self._extra[loop]]

    def _moving(self, loop: Recurrence, by: Any) -> set[Any]:
        """The carries that depend on ``by``."""
        base = by.base.label if isinstance(by, sp.Indexed) else by
        steps = self.of(by)
        found: set[Any] = set()
        changed = True
        while changed:
            changed = False
            for c, start, step in self._entries(loop):
                symbols = start.free_symbols | step.free_symbols
                moving = base in symbols or found & symbols or steps.moves(symbols)
                if c not in found and (moving or self._from_others(symbols, loop, by)):
                    found.add(c)
                    changed = True
        return {c for c in found if c.is_real or c.is_complex} - {c for c in found if c.is_integer}

    def _from_others(self, symbols: set[Any], loop: Recurrence, by: Any) -> bool:
        """Whether another loop's result among the symbols depends on ``by``."""
        others = [s for s in symbols if s in self._loops and self._loops[s] is not loop]
        return any(self._dotted(s, by) is not None for s in others)

    # --- adjoints ---

    def _backwards(self, loops: list[Recurrence], expr: Expr) -> bool:
        """Whether adjoints are taken: as asked for, else for a loop over data whose steps all count."""
        possible = len(loops) == 1 and loops[0].count is not None and not self._extra[loops[0]]
        possible = possible and len(loops[0].carries) == 1 and not loops[0].backwards
        if self.mode == "reverse" and not possible:
            raise NoForm(
                "adjoints are shown for one loop of known length with one number going round;"
                ' mode="forward" shows the derivative of any loop',
                self.program.request.graph.outputs[0],
            )
        if not possible or self.mode == "forward":
            return False
        return self.mode == "reverse" or expr.has(sp.Sum)

    def _by_adjoints(self, expr: Expr, by: Any, loop: Recurrence) -> Expr:
        """∂expr/∂by + Σ λ·∂next/∂by, where λ is the derivative of ``expr`` by the carry after a step."""
        (carry,), (start,), (step,) = loop.carries, loop.starts, loop.nexts
        direct = self._without_loop(by)
        adjoint = self._adjoint(expr, loop, carry, step)
        after = Step(carry, (), step)
        own = _in_terms_of(pulled(direct(step)), after, loop.at(carry, loop.target))
        begin = direct(start)
        found = direct(expr)
        if own != 0:
            k = loop.k
            term = loop.at(adjoint, loop.target) * own
            found += sp.Sum(term, (k, loop.first, loop.first + loop.count - 1))
        if begin != 0:
            first = loop.target.xreplace({loop.k: loop.first})
            slope = self._slope(loop, carry, step).xreplace({loop.k: loop.first})
            found += begin * (loop.at(adjoint, first) * slope + self._direct_at(expr, loop, carry, loop.origin))
        return found

    def _without_loop(self, by: Any) -> Derivative:
        """The derivative that takes the carries as they are."""
        found = self._plain(by)
        for definition in self.program.definitions:
            if isinstance(definition, Step):
                found.define(definition)
        return found

    def _slope(self, loop: Recurrence, carry: Any, step: Expr) -> Expr:
        """∂ next / ∂ carry in one step, in terms of the carry after it."""
        before = sp.Symbol("before", real=True)
        partial = Derivative(before, [])(step.xreplace({loop.at(carry, loop.source): before}))
        partial = pulled(partial).xreplace({before: loop.at(carry, loop.source)})
        return _in_terms_of(partial, Step(carry, (), step), loop.at(carry, loop.target))

    def _direct_at(self, expr: Expr, loop: Recurrence, carry: Any, index: Any) -> Expr:
        """∂ expr / ∂ carry[index], where only expr itself is looked at."""
        return pulled(Derivative(loop.at(carry, index), [], (loop.count,))(expr))

    def _adjoint(self, expr: Expr, loop: Recurrence, carry: Any, step: Expr) -> Any:
        key = (carry, expr)
        for other, symbol in self._adjoints.items():
            if other == key:
                return symbol
        k = loop.k
        symbol = sp.Symbol(self.program.fresh("lambda" if not self._adjoints else f"lambda_{carry}"), real=True)
        here = loop.target  # the carry's index after step k
        slope = self._slope(loop, carry, step).xreplace({k: k + 1})
        end = loop.first + loop.count
        sums = expr.has(sp.Sum)
        if sums:
            inner = self._direct_at(expr, loop, carry, here)
            start, first, count = sp.S.Zero, end - 1, loop.count
        else:
            inner, start = sp.S.Zero, self._direct_at(expr, loop, carry, loop.last)
            first, count = end - 2, loop.count - 1
        value = inner + slope * loop.at(symbol, here + 1)
        self._backward.append(Recurrence(
            k, [symbol], [start], [value], here + 1, here, first, here.xreplace({k: loop.first}), None, count, True
        ))
        self._adjoints[key] = symbol
        return symbol


def _in_terms_of(value: Expr, step: Step, after: Any) -> Expr:
    """A derivative of a step's value with the value itself named ``after`` where that is shorter."""
    marker = sp.Symbol("after", real=True)
    return recognised_in(value, Step(marker, (), step.value)).xreplace({marker: after})
