"""Names of which it depends on data whether they are one array: what is written to one shows in the other, or not.

``b = a``, then ``if x < z: b = a.copy()``: the merged ``b`` is a value of its own, while in Python it may be ``a``.
That is the same as long as neither is written to. Once one is, the other is stale: reading it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from weakref import WeakKeyDictionary

from .node import Node
from .op import Scalar
from .scope import Block, Scope, current
from .where import Where, error, here


class Sharing:
    """What is known of an array that may be another one, too: ``others``, each under the ``facts`` where it may.

    ``stale`` says where one of the others was written to since; then this one's value is not known. ``level`` is that
    of the trace that the array was made in. A ``passive`` one is what a function returns: nothing shows in it before.
    """

    __slots__ = ("__weakref__", "level", "others", "passive", "stale")

    def __init__(self, level: int) -> None:
        self.level = level
        self.passive = False
        self.others: WeakKeyDictionary[Sharing, Facts] = WeakKeyDictionary()
        self.stale: str | None = None

    def link(self, other: Sharing, merge: Merge, facts: Mapping[Node, bool], is_part: bool = False) -> None:
        """Notes that this array, which comes of a merge, may be ``other``, and so what that may be.

        Of one that may be a part of ``other`` it is not known whether what is written to that shows in it.
        """
        self.join(other, merge, facts, is_part)
        for which, found in list(other.others.items()):
            for known in found.cases:
                if not contradicts(known, facts):
                    self.join(which, merge, {**known, **facts}, is_part)

    def join(self, which: Sharing, merge: Merge, facts: Mapping[Node, bool], is_part: bool) -> None:
        """``link`` to this one alone."""
        if which is self or contradicts(facts, _known_now()):
            return
        before = self.others.get(which)
        cases = [dict(facts)] if before is None else [*before.cases, dict(facts)]
        self.others[which] = Facts(merge, cases if len(cases) <= _CASES else [{}])
        if not is_part:
            which.others[self] = self.others[which]

    def written(self) -> None:
        """The array has been written to, in the current trace: what may be it becomes stale."""
        scope = current()
        if scope is None:
            return
        for block in _blocks(scope):
            block.wrote = True
        known = _known_now()
        for other, facts in list(self.others.items()):
            if not other.passive and not all(contradicts(case, known) for case in facts.cases):
                other.spoil(f"{facts.merge}; one of them was written to at {here()}", scope)

    def spoil(self, why: str, scope: Scope | None) -> None:
        """Makes the array stale: for the block that is traced, and what it leaves."""
        if self.stale is None:
            self.stale = why
            if scope is not None and scope.block is not None:
                scope.block.spoiled[self] = why

    def check(self) -> None:
        """An error if the array is stale."""
        if self.stale is not None:
            raise error(TypeError, self.problem())

    def problem(self) -> str:
        """What is wrong with reading a stale array."""
        return f"{self.stale}, and here the other is used: write .copy() on one of them, or choose with np.where"


class Merge:
    """Where a name came to be one of several arrays."""

    __slots__ = ("name", "where")

    def __init__(self, name: str, where: Where | None) -> None:
        self.name, self.where = name, where

    def __str__(self) -> str:
        which = f"{self.name} may be another name of an array, or an array of its own"
        return f"{which}, which depends on data ({self.where})"


class Facts:
    """In which cases two may be one array, and by which merge."""

    __slots__ = ("cases", "merge")

    def __init__(self, merge: Merge, cases: list[dict[Node, bool]]) -> None:
        self.merge, self.cases = merge, cases


_CASES: Final = 64  # more are not told apart


def _known_now() -> dict[Node, bool]:
    """The conditions that hold in the block that is traced."""
    scope = current()
    known: dict[Node, bool] = {}
    for block in () if scope is None else _blocks(scope):
        known |= block.facts
    return known


def _blocks(scope: Scope) -> Iterator[Block]:
    around: Scope | None = scope
    while around is not None and around.block is not None:
        yield around.block
        around = around.parent


def contradicts(facts: Mapping[Node, bool], known: Mapping[Node, bool]) -> bool:
    """Whether the facts show that something known is not so."""
    return bool(facts) and any(_value(node, facts) is (not holds) for node, holds in known.items())


def _value(node: Node, facts: Mapping[Node, bool]) -> bool | None:
    """The truth of a condition as far as it follows from the facts."""
    found: dict[Node, bool | None] = dict(facts)
    stack = [node]
    while stack:
        n = stack[-1]
        name = n.op.name if isinstance(n.op, Scalar) else ""
        if n in found or name not in ("logical_not", "logical_and", "logical_or"):
            found.setdefault(n, None)
            stack.pop()
            continue
        missing = [a for a in n.args if a not in found]
        if missing:
            stack += missing
            continue
        parts = [found[a] for a in n.args]
        decides = name == "logical_or"
        if name == "logical_not":
            found[n] = None if parts[0] is None else not parts[0]
        else:
            found[n] = decides if decides in parts else (None if None in parts else not decides)
    return found[node]


def facts_of(condition: Node, holds: bool) -> dict[Node, bool]:
    """What follows from a condition: of all of ``a & b`` if it holds, of ``a | b`` if it does not."""
    found: dict[Node, bool] = {}
    stack = [(condition, holds)]
    while stack:
        node, value = stack.pop()
        if node in found:
            continue
        found[node] = value
        name = node.op.name if isinstance(node.op, Scalar) else ""
        if name == "logical_not":
            stack.append((node.args[0], not value))
        elif name == ("logical_and" if value else "logical_or"):
            stack.extend((a, value) for a in node.args)
    return found
