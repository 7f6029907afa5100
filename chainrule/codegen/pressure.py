"""Straight-line code in an order in which fewer values are alive at once.

Graphs list their nodes level by level. In a large closed form that leaves hundreds of values waiting for their readers,
and registers spill: a store, a load and sixteen bytes of code each. A list scheduler puts the readers forward.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, final

from . import ir
from .ir import Block, Name, Stmt

__all__ = ["ENOUGH", "with_low_pressure"]

ENOUGH: Final = 40
"""Values that may be alive at once without a reason to change the order: the registers, and some more on the stack."""

WORTH: Final = 0.9
"""How much better the order made from the end must be: it computes values just before they are read, and one waits."""


def with_low_pressure(kernel: ir.Kernel) -> ir.Kernel:
    """The same kernel with bindings and stores outside of loops in an order that needs fewer registers.

    It computes the same bits. Of the order as it is, one made from the start and one made from the end, the one is
    taken in which values are alive for the shortest time.

    >>> x = ir.Var("x", "float64")
    >>> names = [f"y{k}" for k in range(50)]
    >>> lets = [ir.Let(name, ir.Apply("mul", (x, x), "float64")) for name in names]
    >>> stores = [ir.Store("r", ir.Literal(k, "int64"), ir.Var(n, "float64")) for k, n in enumerate(names)]
    >>> kernel = ir.Kernel("k", (), (*lets, *stores))
    >>> [type(stmt).__name__ for stmt in with_low_pressure(kernel).body[:4]]
    ['Let', 'Store', 'Let', 'Store']
    """
    body: list[Stmt] = []
    for straight, group in groupby(kernel.body, key=lambda stmt: isinstance(stmt, (ir.Let, ir.Store))):
        statements = tuple(group)
        body.extend(_reordered(statements) if straight and len(statements) > ENOUGH else statements)
    return replace(kernel, body=tuple(body))


def _reordered(statements: Block) -> Block:
    run = _Run(statements)
    given = range(len(statements))
    if run.alive(given)[0] <= ENOUGH:
        return statements
    forwards, backwards = run.forwards(), run.backwards()
    order = min((given, forwards), key=lambda order: run.alive(order)[1])
    if run.alive(backwards)[1] < WORTH * run.alive(order)[1]:
        order = backwards
    return tuple(statements[k] for k in order)


@final
class _Run:
    """Statements by their numbers: what each reads of the others, and who reads it.

    ``before`` also holds statements that come first because they touch the same memory.
    """

    def __init__(self, statements: Block) -> None:
        self.count = len(statements)
        self.binds = [isinstance(stmt, ir.Let) for stmt in statements]
        self.reads: list[list[int]] = []
        self.before: list[list[int]] = []
        self.after: list[list[int]] = [[] for _ in statements]
        self.readers: list[list[int]] = [[] for _ in statements]
        self._connect(statements)
        self.height = [0] * self.count
        """The longest way to a statement that nobody waits for."""
        for k in reversed(range(self.count)):
            self.height[k] = max((self.height[u] + 1 for u in self.after[k]), default=0)
        self.depth = [0] * self.count
        """The longest way to one that waits for nobody."""
        for k in range(self.count):
            self.depth[k] = max((self.depth[j] + 1 for j in self.before[k]), default=0)

    def _connect(self, statements: Block) -> None:
        stored = {stmt.buffer for stmt in statements if isinstance(stmt, ir.Store)}
        loaded = {e.buffer for stmt in statements for e in _parts(stmt) if isinstance(e, ir.Load)}
        in_order = stored & loaded
        home: dict[Name, int] = {}
        last: dict[Name, int] = {}  # buffer → the last statement that touched it, for those to be kept in order
        for k, stmt in enumerate(statements):
            parts = _parts(stmt)
            reads = dict.fromkeys(home[e.name] for e in parts if isinstance(e, ir.Var) and e.name in home)
            touched = {e.buffer for e in parts if isinstance(e, ir.Load)}
            if isinstance(stmt, ir.Store):
                touched.add(stmt.buffer)
            self.reads.append(list(reads))
            self.before.append(list(dict.fromkeys([*reads, *sorted(last[b] for b in touched & last.keys())])))
            for j in reads:
                self.readers[j].append(k)
            for j in self.before[k]:
                self.after[j].append(k)
            last.update(dict.fromkeys(touched & in_order, k))
            if isinstance(stmt, ir.Let):
                home[stmt.name] = k

    def alive(self, order: Sequence[int]) -> tuple[int, int]:
        """How many values are alive at the worst place of an order, and their number summed over all places."""
        left = [len(readers) for readers in self.readers]
        alive = most = total = 0
        for k in order:
            alive += self.binds[k] and left[k] > 0
            most = max(most, alive)
            for j in self.reads[k]:
                left[j] -= 1
                alive -= left[j] == 0
            total += alive
        return most, total

    def forwards(self) -> list[int]:
        """Of the statements that can run, always the one that frees most; of equals, that whose values are youngest."""
        left = [len(readers) for readers in self.readers]
        waiting = [len(before) for before in self.before]
        youngest = [0] * self.count
        done = [False] * self.count
        order: list[int] = []
        ready: list[tuple[int, int, int, int]] = []

        def offer(k: int) -> None:
            growth = self.binds[k] - sum(left[j] == 1 for j in self.reads[k])
            heapq.heappush(ready, (growth, -youngest[k], self.height[k], k))

        for k in range(self.count):
            if not waiting[k]:
                offer(k)
        while ready:
            k = heapq.heappop(ready)[-1]
            if done[k]:  # it was offered again when it came to free more
                continue
            done[k] = True
            order.append(k)
            for j in self.reads[k]:
                left[j] -= 1
                if left[j] == 1:
                    for reader in self.readers[j]:
                        if not done[reader] and not waiting[reader]:
                            offer(reader)
            for u in self.after[k]:
                waiting[u] -= 1
                youngest[u] = len(order)
                if not waiting[u]:
                    offer(u)
        return order

    def backwards(self) -> list[int]:
        """From the last statement to the first, always the one that needs fewest values which nobody yet needs.

        Of equals, the one that was needed last; of these, the one with most before it.
        """
        waiting = [len(after) for after in self.after]
        needed = [False] * self.count
        latest = [0] * self.count
        done = [False] * self.count
        order: list[int] = []
        ready: list[tuple[int, int, int, int]] = []

        def offer(k: int) -> None:
            growth = sum(not needed[j] for j in self.reads[k]) - self.binds[k]
            heapq.heappush(ready, (growth, -latest[k], -self.depth[k], -k))

        for k in range(self.count):
            if not waiting[k]:
                offer(k)
        while ready:
            k = -heapq.heappop(ready)[-1]
            if done[k]:  # it was offered again when it came to need fewer
                continue
            done[k] = True
            order.append(k)
            for j in self.reads[k]:
                if not needed[j]:
                    needed[j] = True
                    for reader in self.readers[j]:
                        if not done[reader] and not waiting[reader]:
                            offer(reader)
            for j in self.before[k]:
                waiting[j] -= 1
                latest[j] = len(order)
                if not waiting[j]:
                    offer(j)
        order.reverse()
        return order


def _parts(stmt: Stmt) -> list[ir.Expr]:
    """Every expression in a statement."""
    return [part for root in ir.expressions(stmt) for part in ir.walk(root)]
