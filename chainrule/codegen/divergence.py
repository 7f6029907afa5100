"""Which names of a ``lanes`` loop may differ between lanes, and which branches and loops may part them.

What is the same in all lanes stays a scalar, and a branch on it stays a branch. A name differs if its value
depends on the loop's index, on memory at a place that differs, or, for a variable, if some but not all lanes
run an assignment.

The answer is reachability from the index in a graph of dependences, so its cost is linear in the loop's size.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

from .ir import (
    Accumulate,
    Alloc,
    Assign,
    Block,
    Break,
    Declare,
    Expr,
    For,
    If,
    Let,
    Load,
    Name,
    Stmt,
    Var,
    While,
    blocks,
    walk,
)

Key: TypeAlias = Name | int
"""A name, or the identity of a branch or loop, which stands for "lanes may part here"."""


@dataclass(slots=True)
class Divergence:
    """What may differ between the lanes of one loop."""

    keys: frozenset[Key]

    def of_name(self, name: Name) -> bool:
        """Whether lanes may have different values of a name."""
        return name in self.keys

    def of_statement(self, stmt: If | For | While) -> bool:
        """Whether some lanes may take a branch that others do not, or leave a loop before others."""
        return id(stmt) in self.keys


def divergence(loop: For) -> Divergence:
    """The names and statements inside a ``lanes`` loop that may differ between lanes."""
    graph = _Dependences()
    graph.follow(loop)
    reached: set[Key] = {loop.index, *graph.sources}
    pending: list[Key] = list(reached)
    while pending:
        for key in graph.users[pending.pop()]:
            if key not in reached:
                reached.add(key)
                pending.append(key)
    return Divergence(frozenset(reached))


@dataclass(slots=True)
class _Dependences:
    """Edges from what a key depends on to the key; ``sources`` differ in any case."""

    users: defaultdict[Key, list[Key]] = field(default_factory=lambda: defaultdict(list))
    sources: list[Key] = field(default_factory=list)
    _private: set[Name] = field(default_factory=set)
    _declared_in: dict[Name, int] = field(default_factory=dict)

    def follow(self, loop: For) -> None:
        """All statements of the loop, in program order, each with the branches and loops around it."""
        pending: list[tuple[Stmt, tuple[Stmt, ...]]] = []
        self._push(pending, loop.body, ())
        while pending:
            stmt, around = pending.pop()
            self._statement(stmt, around)
            inside = (*around, stmt)
            for block in reversed(blocks(stmt)):
                self._push(pending, block, inside)

    def _push(
        self, pending: list[tuple[Stmt, tuple[Stmt, ...]]], block: Block, around: tuple[Stmt, ...]
    ) -> None:
        pending.extend((stmt, around) for stmt in reversed(block))

    def _statement(self, stmt: Stmt, around: tuple[Stmt, ...]) -> None:
        match stmt:
            case Let():
                self._uses(stmt.value, stmt.name)
            case Declare():
                self._uses(stmt.value, stmt.name)
                self._declared_in[stmt.name] = len(around)
            case Assign() | Accumulate():
                self._uses(stmt.value, stmt.name)
                if isinstance(stmt, Accumulate) and stmt.guard is not None:
                    self._uses(stmt.guard, stmt.name)
                for outer in around[self._declared_in.get(stmt.name, 0) :]:
                    self.users[id(outer)].append(stmt.name)
            case If() | While():
                self._uses(stmt.condition, id(stmt))
            case For():
                self._uses(stmt.extent, id(stmt))
            case Alloc():
                self._private.add(stmt.buffer)
            case Break():
                loop = max((i for i, s in enumerate(around) if isinstance(s, (For, While))), default=0)
                for outer in around[loop + 1 :]:
                    self.users[id(outer)].append(id(around[loop]))
            case _:
                pass

    def _uses(self, expr: Expr, key: Key) -> None:
        for part in walk(expr):
            if isinstance(part, Var):
                self.users[part.name].append(key)
            elif isinstance(part, Load) and part.buffer in self._private:
                self.sources.append(key)
