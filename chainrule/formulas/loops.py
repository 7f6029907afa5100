"""Loops: those that only add or multiply are a ``Sum`` or ``Product``; all others are shown as their recurrence."""

from __future__ import annotations

import re
from typing import Any, Final

import sympy as sp

from chainrule.graph.algebra import Elements, Maximum, NoForm, index_symbol
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Input, Loop

from .recurrence import Recurrence

Expr = Any
_LETTERS: Final = "kjilmpq"
_MADE_UP: Final = re.compile(r"(x|c)\d+")


class LoopForms:
    """The loops of one program, as expressions over its elements."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.known: dict[Node, _Body] = {}
        self.recurrences: dict[Node, Recurrence] = {}

    def element(self, node: Node, which: int, index: tuple[Any, ...]) -> Expr:
        """An element of result ``which`` of a loop."""
        op = node.op
        assert isinstance(op, Loop)
        body = self.known.get(node)
        if body is None:
            body = self.known[node] = _Body(self, node)
        if op.condition == "map":
            return body.output(which, index[1:]).xreplace({body.k: index[0]})
        if op.condition == "count":
            closed = self._closed(body, which, index)
            if closed is not None:
                return closed
        loop = self._recurrence(body)
        if which < op.carries:
            return loop.at(body.carries[which, tuple(map(int, index))], loop.last)
        value = body.output(which, index[1:], after=loop)
        return value.xreplace({loop.k: index[0]})

    def _closed(self, body: _Body, which: int, index: tuple[Any, ...]) -> Expr | None:
        """A sum or product, where that is all that the loop does to this result."""
        op = body.op
        if which >= op.carries:
            value = body.output(which, index[1:])
            return None if body.has_carries(value) else value.xreplace({body.k: index[0]})
        value = body.output(which, index)
        own = body.carry(which, index)
        start = self.builder.elements.element(body.node.args[1 + which], index)
        if value == own:
            return start
        for kind in (sp.Sum, sp.Product):
            change = _change(value, own, kind)
            if change is None or body.has_carries(change):
                continue
            total = _over(kind, change, body.k, body.trips, self.builder, index)
            return start + total if kind is sp.Sum else start * total
        return None

    def _recurrence(self, body: _Body) -> Recurrence:
        known = self.recurrences.get(body.node)
        if known is None:
            known = self.recurrences[body.node] = body.recurrence()
            self.builder.made.definitions.append(known)
        return known


class _Body:
    """The body of a loop, with symbols for what goes round."""

    def __init__(self, forms: LoopForms, node: Node) -> None:
        op = node.op
        assert isinstance(op, Loop)
        self.node, self.op, self.builder = node, op, forms.builder
        made = self.builder.made
        letters = _LETTERS if not op.scanned else "t" + _LETTERS
        name = next((c for c in letters if c not in made.taken | self.builder.reserved), "k_1")
        self.k = index_symbol(name)
        self.counted = op.condition != "predicate"
        self.scanning = bool(op.scanned) or (op.condition == "count" and len(op.body.outputs) > op.carries)
        self.carries: dict[tuple[int, tuple[int, ...]], Any] = {}
        self._name_carries()
        if op.reverse:  # k runs down, and carries come from k + 1
            self.source, self.target = self.k + 1, self.k
        else:
            self.source = self.k - 1 if self.scanning else self.k
            self.target = self.k if self.scanning else self.k + 1
        self.elements = self._elements_of(op.body)

    @property
    def trips(self) -> Expr:
        """How many steps there are."""
        count = self.builder.elements.element(self.node.args[0])
        if isinstance(count, Maximum) and count.args[1] == 0:
            return count.args[0]
        return count

    def _name_carries(self) -> None:
        made, body = self.builder.made, self.op.body
        for c in range(self.op.carries):
            output = body.outputs[c]
            where = body.provenance.get(output)
            given = body.names[c + (1 if self.counted else 0)]
            name = given if not _MADE_UP.fullmatch(given) else (where.name if where is not None else None)
            name = name or next((letter for letter in "stuvpq" if letter not in made.taken), "s")
            if not all(isinstance(d, int) for d in output.shape):
                continue  # a Sum or Product of arrays may still be found
            positions = _all_positions(output.shape)
            for position in positions:
                shown = "_".join([name, *map(str, position)])
                kind = {"f": "real", "c": "complex"}.get(output.dtype.kind, "integer")
                self.carries[c, position] = sp.Symbol(made.fresh(shown), **{kind: True})

    def _elements_of(self, graph: Graph) -> Elements:
        first = 1 if self.counted else 0
        own = first + self.op.carries
        outer = self.builder.elements
        operands = self.node.args

        def leaf(node: Node, index: tuple[Any, ...]) -> Any:
            if not isinstance(node.op, Input):
                return None
            position = node.op.position
            if self.counted and position == 0:
                return self.k
            if position < own:
                return self.carry(position - first, index)
            if position < own + self.op.scanned:
                return outer.element(operands[position], (self.k, *index))
            return outer.element(operands[position], index)

        def loop(node: Node, which: int, index: tuple[Any, ...]) -> Any:
            return _Nested(self, self.builder).element(node, which, index)

        taken = {n for n in self.builder.made.taken if len(n) == 1} | {self.k.name}
        return Elements(leaf, self.builder._number, loop, tuple(taken))

    def carry(self, which: int, index: tuple[Any, ...]) -> Expr:
        """A carry at the beginning of a step."""
        if all(i.is_Integer for i in index) and (which, tuple(map(int, index))) in self.carries:
            return sp.IndexedBase(self.carries[which, tuple(map(int, index))])[self.source]
        return sp.IndexedBase(sp.Symbol(f"carry{which}", real=True))[(self.k, *index)]

    def has_carries(self, expr: Expr) -> bool:
        names = {*self.carries.values()}
        return any(e.base.label in names or e.base.label.name.startswith("carry") for e in expr.atoms(sp.Indexed))

    def output(self, which: int, index: tuple[Any, ...], after: Recurrence | None = None) -> Expr:
        """A result of a step; with ``after``, the carries at its end are named where it reads them."""
        value = self.elements.element(self.op.body.outputs[which], index)
        if after is not None:
            ends = zip(after.nexts, after.carries, strict=True)
            for end, carry in sorted(ends, key=lambda pair: -sp.count_ops(pair[0])):
                if end.args and not isinstance(end, sp.Indexed):
                    value = value.xreplace({end: after.at(carry, after.target)})
        return value

    def recurrence(self) -> Recurrence:
        """The loop as a recurrence. NoForm where what goes round is an array of unknown length."""
        made, outer = self.builder.made, self.builder.elements
        first = 1 if self.counted else 0
        if any(not all(isinstance(d, int) for d in self.op.body.outputs[c].shape) for c in range(self.op.carries)):
            raise NoForm("a loop carries an array of unknown length", self.node)
        starts = [outer.element(self.node.args[first + c], _integers(p)) for c, p in self.carries]
        nexts = [self.output(c, _integers(p)) for c, p in self.carries]
        condition = count = None
        if self.counted:
            count = self.trips
            last = sp.S.Zero if self.op.reverse else count - 1 if self.scanning else count
        else:
            assert self.op.predicate is not None
            condition = self._elements_of(self.op.predicate).element(self.op.predicate.outputs[0])
            last = sp.Symbol(made.fresh(self.k.name.upper()), integer=True)
        begin = count - 1 if self.op.reverse and count is not None else sp.S.Zero
        carries, reverse = self.carries.values(), self.op.reverse
        found: Recurrence = Recurrence(
            self.k, carries, starts, nexts, self.source, self.target, begin, last, condition, count, reverse
        )
        return found


class _Nested(LoopForms):
    """Loops inside the body of another: sums and products only."""

    def __init__(self, outer: _Body, builder: Any) -> None:
        super().__init__(_Inside(outer, builder))

    def _recurrence(self, body: _Body) -> Recurrence:
        raise NoForm("a loop inside a loop that is no sum has no short form", body.node)


class _Inside:
    """What a nested loop sees of the loop around it."""

    def __init__(self, outer: _Body, builder: Any) -> None:
        self.elements, self.made, self._number = outer.elements, builder.made, builder._number
        self.reserved = builder.reserved | {outer.k.name}


def _integers(position: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(sp.Integer(p) for p in position)


def _all_positions(shape: tuple[Any, ...]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for d in shape:
        found = [(*p, k) for p in found for k in range(int(d))]
    return found


def _change(value: Expr, own: Expr, kind: Any) -> Expr | None:
    """What a step adds to a carry (multiplies it with); None where it does something else."""
    if isinstance(value, sp.Piecewise):
        parts = [(_change(v, own, kind), c) for v, c in value.args]
        return None if any(p is None for p, _ in parts) else sp.Piecewise(*parts)
    change = value - own if kind is sp.Sum else value / own
    if not change.has(own):
        return change
    change = sp.expand(value) - own if kind is sp.Sum else sp.cancel(value / own)
    return None if change.has(own) else change


def _over(kind: Any, body: Expr, k: Any, trips: Any, builder: Any, index: tuple[Any, ...]) -> Expr:
    """The sum (product) of ``body`` over k = 0, …, trips − 1, with the index as the program has it."""
    if any(k in e.free_symbols for e in body.atoms(sp.Indexed)):
        i = builder.elements.index(index)
        return kind(body.xreplace({k: i}), (i, 0, trips - 1))
    shift = next((c for c in sorted(_shifts(body, k), key=abs)), sp.S.Zero)
    used = {i.name for i in index if i.is_Symbol} | builder.made.taken | builder.reserved
    name = next(c for c in (*_LETTERS, "k_1") if c not in used)
    letter = sp.Symbol(name, integer=True) if shift.is_negative else index_symbol(name)
    shifted = sp.expand_mul(body).subs(k, letter - shift) if shift else body.xreplace({k: letter})
    moved = body.subs(k, letter - shift) if shift else shifted
    shortest = min((moved, shifted), key=sp.count_ops)
    return kind(shortest, (letter, shift, trips - 1 + shift))


def _shifts(body: Expr, k: Any) -> set[Any]:
    """The c in every k + c."""
    return {a - k for a in body.atoms(sp.Add) if (a - k).is_Integer}
