"""Names in a loop that may be one array: what a variable that goes round may be as well (see ``sharing``).

In the body a variable stands for what it begins with, and for what any pass leaves in it: another variable's array,
an array from around the loop, or one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from . import tree
from .array import Array, View, as_node, sharing_of
from .blocks import Slot, Variables, shared, stale
from .node import Node
from .scope import Scope, current
from .sharing import Merge, Sharing, contradicts, facts_of

Key = tuple[int, int]  # a slot's variable, and which of its arrays
FLAGS: Final = ("ag__do_return", "ag__break")


class Carried:
    """What the variables of a loop may be: found by the passes, used by those that follow, and after the loop."""

    __slots__ = ("after", "entered", "inside", "lost", "stale", "start", "variables")

    def __init__(self, variables: Variables, start: Sequence[Any]) -> None:
        self.variables, self.start = variables, start
        self.stale: dict[Sharing | Key, str] = {}  # what is so before the loop
        for i, value in enumerate(start):
            for k, leaf in enumerate(tree.leaves(value)):
                why = stale(leaf)
                if why is not None:
                    self.stale[i, k] = why
        self.entered: dict[Key, Array] = {}
        # what a pass leaves in a variable: outer arrays, and other variables; in the next pass, and after the loop
        self.inside: dict[Key, dict[Sharing | Key, bool]] = {}
        self.after: dict[Key, dict[Sharing | Key, bool]] = {}
        self.lost: dict[Sharing | Key, str] = {}  # what is stale at the end of a pass

    def enter(self, slots: Sequence[Slot], values: Sequence[Any], scope: Scope) -> None:
        """The beginning of a pass: ``values`` are the variables' inside."""
        for slot in slots:
            if isinstance(slot.place, Array) and slot.place._sharing is not None:
                slot.place._sharing.written()  # in the pass before
        self.entered = dict(_arrays(slots, values))
        self._link(self.entered, self.inside, True)
        for which, why in (self.stale | self.lost).items():
            if isinstance(which, Sharing):
                which.spoil(why, scope)
            elif which in self.entered:
                sharing_of(self.entered[which]).spoil(why, scope)

    def leave(self, slots: Sequence[Slot], values: Sequence[Any], scope: Scope) -> bool:
        """The end of a pass; whether there is more than was known when it began."""
        assert scope.block is not None
        left = dict(_arrays(slots, values))
        goes_on = _goes_on(self.variables, values)
        roots = {key: sharing_of(array) for key, array in left.items()}
        grown = False
        reached: list[tuple[Sharing, bool, Mapping[Node, bool]]]
        for key, own in roots.items():
            is_part = isinstance(left[key], View)
            reached = [(own, is_part, {}), *((o, is_part, case) for o, f in own.others.items() for case in f.cases)]
            for other, part, facts in reached:
                targets: list[Sharing | Key] = [k for k, s in roots.items() if s is other and k != key]
                if other.level < scope.level:
                    targets.append(other)
                for target in targets:
                    self.after.setdefault(key, {}).setdefault(target, part)
                    if contradicts(facts, goes_on):  # the loop has ended then
                        continue
                    known = self.inside.setdefault(key, {})
                    grown |= target not in known
                    known.setdefault(target, part)
            why = stale(left[key])
            if why is not None and key not in self.lost:
                self.lost[key] = why
                grown = True
        for sharing, why in scope.block.spoiled.items():
            if sharing.level < scope.level and sharing not in self.lost:
                self.lost[sharing] = why
                grown = True
        wrote = scope.block.wrote or bool(scope.block.adopted)
        return grown and wrote  # if nothing is written to, names do not matter

    def finish(self, slots: Sequence[Slot], values: Sequence[Any], at_least_once: bool) -> None:
        """After the loop: what its variables may be, and what is stale."""
        final = dict(_arrays(slots, values))
        self._link(final, self.after, not at_least_once, True)
        before: dict[Sharing | Key, str] = {} if at_least_once else self.stale
        for which, why in (before | self.lost).items():
            if isinstance(which, Sharing):
                which.spoil(why, current())
            elif which in final:
                sharing_of(final[which]).spoil(why, current())

    def _link(
        self,
        arrays: dict[Key, Array],
        known: dict[Key, dict[Sharing | Key, bool]],
        with_start: bool,
        is_over: bool = False,
    ) -> None:
        """Links what variables may be. Two that may be one outer array are it in different passes: not each other."""
        begin = {key: _part(self.start, key) for key in arrays} if with_start else {}
        found = []
        for key, array in arrays.items():
            name = self.variables.show(key[0])
            merge = Merge(name, self.variables.where)
            own, start = sharing_of(array), begin.get(key)
            own.passive = name == "the result"
            origin = shared(start) if start is not None else None
            if origin is not None:
                is_part = isinstance(start, View)
                for other in (origin, *origin.others):
                    found.append((own, other, merge, is_part))
                for another, value in begin.items():
                    same = shared(value)
                    if another != key and same is not None and (same is origin or same in origin.others):
                        found.append((own, sharing_of(arrays[another]), merge, is_part))
            for target, is_part in known.get(key, {}).items():
                if isinstance(target, Sharing):
                    found.append((own, target, merge, is_part))
                elif target in arrays:
                    found.append((own, sharing_of(arrays[target]), merge, is_part))
        for own, other, merge, is_part in found:
            own.join(other, merge, {}, is_part and not is_over)


def _part(values: Sequence[Any], key: Key) -> Any:
    leaves = tree.leaves(values[key[0]])
    return leaves[key[1]] if key[1] < len(leaves) else None


def node_at_end(value: Any) -> Node:
    """``as_node`` of what a pass leaves; what is stale there is so in the next, where it may be read or not."""
    if stale(value) is None:
        return as_node(value)
    known = sharing_of(value)
    why, known.stale = known.stale, None
    found = as_node(value)
    known.stale = why
    return found


def _arrays(slots: Iterable[Slot], values: Sequence[Any]) -> Iterable[tuple[Key, Array]]:
    for slot in slots:
        if isinstance(slot.place, int):
            for k, leaf in enumerate(tree.leaves(values[slot.place])):
                if isinstance(leaf, Array) and leaf.shape:
                    yield (slot.place, k), leaf


def _goes_on(variables: Variables, values: Sequence[Any]) -> dict[Node, bool]:
    """What holds where another pass follows: no flag says that the loop has ended."""
    found: dict[Node, bool] = {}
    for name, value in zip(variables.names, values, strict=True):
        if name.startswith(FLAGS) and isinstance(value, Array):
            found |= facts_of(value.node, False)
    return found
