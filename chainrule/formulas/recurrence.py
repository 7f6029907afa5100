"""Loops without a closed form: what goes round, from where to where, and as long as what."""

from __future__ import annotations

from typing import Any, final

import sympy as sp


@final
class Recurrence(sp.Basic):  # type: ignore[misc]  # SymPy has no types
    """A loop as a SymPy object.

    ``carries`` are the symbols of what goes round; ``starts`` their values at index ``origin``. Each step computes
    them at ``target`` (an expression in ``k``) from those at ``source``: ``nexts``. ``k`` begins at ``first`` and
    goes up by 1, or down (``backwards``). It runs while ``condition`` holds, or ``count`` times (the other is None).
    Afterwards the carries are at index ``last``.
    """

    def __new__(
        cls,
        k: Any,
        carries: Any,
        starts: Any,
        nexts: Any,
        source: Any,
        target: Any,
        first: Any,
        last: Any,
        condition: Any = None,
        count: Any = None,
        backwards: Any = False,
    ) -> Any:
        test = sp.true if condition is None else condition
        trips = sp.oo if count is None else count
        parts = (k, sp.Tuple(*carries), sp.Tuple(*starts), sp.Tuple(*nexts), source, target, first, last, test, trips)
        return super().__new__(cls, *map(sp.sympify, parts), sp.true if backwards else sp.false)

    @property
    def k(self) -> Any:
        return self.args[0]

    @property
    def carries(self) -> tuple[Any, ...]:
        return tuple(self.args[1])

    @property
    def starts(self) -> tuple[Any, ...]:
        return tuple(self.args[2])

    @property
    def nexts(self) -> tuple[Any, ...]:
        return tuple(self.args[3])

    @property
    def source(self) -> Any:
        return self.args[4]

    @property
    def target(self) -> Any:
        return self.args[5]

    @property
    def first(self) -> Any:
        return self.args[6]

    @property
    def last(self) -> Any:
        return self.args[7]

    @property
    def condition(self) -> Any:
        return None if self.count is not None else self.args[8]

    @property
    def count(self) -> Any:
        return None if self.args[9] is sp.oo else self.args[9]

    @property
    def backwards(self) -> bool:
        return bool(self.args[10])

    @property
    def origin(self) -> Any:
        """The index of the start."""
        return self.source.xreplace({self.k: self.first})

    @property
    def end(self) -> Any:
        """The last value of ``k``, where the number of steps is known."""
        return self.first + (1 - self.count if self.backwards else self.count - 1)

    def at(self, carry: Any, index: Any) -> Any:
        return sp.IndexedBase(carry)[index]

    def with_carries(self, carries: Any, starts: Any, nexts: Any) -> Recurrence:
        """The same loop with more going round."""
        found: Recurrence = Recurrence(
            self.k, (*self.carries, *carries), (*self.starts, *starts), (*self.nexts, *nexts), self.source,
            self.target, self.first, self.last, self.condition, self.count, self.backwards,
        )  # fmt: skip
        return found

    def with_nexts(self, nexts: Any) -> Recurrence:
        """The same loop with the steps written otherwise."""
        args = list(self.args)
        args[3] = sp.Tuple(*nexts)
        found: Recurrence = self.func(*args)
        return found

    @property
    def free_symbols(self) -> set[Any]:
        """What the loop takes from outside."""
        inner: set[Any] = set()
        for e in (*self.starts, *self.nexts, self.args[8], self.args[9], self.first):
            inner |= e.free_symbols
        own = {self.k, self.last, *self.carries, *(sp.IndexedBase(c) for c in self.carries)}
        return {s for s in inner - own if not (isinstance(s, sp.Indexed) and s.base.label in self.carries)}

    def _sympystr(self, printer: Any) -> str:
        from .display import recurrence_text
        from .text import Ascii

        return recurrence_text(self, Ascii())

    def _latex(self, printer: Any) -> str:
        from .display import recurrence_latex
        from .latex import Latex

        return recurrence_latex(self, Latex())
