"""Blocks of ordinary Python (branches, bodies of loops) traced as graphs of the variables that they change.

A block reads and writes the local variables of the function around it. To trace one, the variables are given the values
that stand for them inside, the block is run, and what they hold then are its results. Arrays that it writes to are its
own while it lasts, and are results, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from . import tree
from .array import Array, View, argument, as_node, root_of, sharing_of
from .callees import names_in
from .dim import Size
from .node import Node
from .op import Type
from .scope import Block, Scope, current, entered
from .sharing import Sharing
from .where import Where, error

PYTHON_VALUES: Final = (int, float, bool, complex, str, bytes, type(None))


class NotRollable(Exception):
    """A loop of known length that has to be run as plain Python; the message says why."""


class Undefined:
    """What a variable holds that has no value: reading it is an error that says why."""

    __slots__ = ("name", "why")

    def __init__(self, name: str, why: str = "") -> None:
        self.name = name
        self.why = why

    def problem(self) -> Exception:
        """The error of reading the variable."""
        shown = self.name if self.name.startswith("the ") else f"the variable {self.name}"
        return error(UnboundLocalError, f"{shown} {self.why or 'is used before it gets a value'}")


class UndefinedReturnValue(Undefined):
    """What a function returns before it has come to a ``return``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("the result")


class Local:
    """A concrete array that the program made itself: it becomes traced when a traced value is written to it."""

    __slots__ = ("array", "made_in", "sharing", "traced")

    def __init__(self, array: np.ndarray[Any, Any], made_in: Scope) -> None:
        self.array, self.made_in = array, made_in
        self.traced: Array | None = None
        self.sharing: Sharing | None = None


def local(value: Any) -> Local | None:
    """What is known of a concrete array that the program made itself; None for other values."""
    scope = current()
    if type(value) is not np.ndarray or scope is None:
        return None
    found: Local | None = scope.root.made.get(id(value))
    return found


def resolved(value: Any) -> Any:
    """A value, or the traced array that it has become."""
    own = local(value)
    return value if own is None or own.traced is None else own.traced


def known(array: np.ndarray[Any, Any]) -> Local | None:
    """What is known of a concrete array that is read or written to."""
    scope = current()
    own = local(array)
    if own is None and scope is not None and array.base is not None:
        whole = scope.root.made.get(id(array.base))
        if whole is not None and whole.traced is not None:
            raise error(
                TypeError,
                "a part of an array that was taken before traced values were written to the array; take it again,"
                " or make the array with chainrule.numpy",
            )
    if own is not None and own.sharing is not None:
        own.sharing.check()
    return own


def shared(value: Any) -> Sharing | None:
    """Which arrays a value may be as well; None where it is no array that the program may write to."""
    if isinstance(value, Array):
        return sharing_of(value) if value.shape else None
    own = local(value)
    if own is not None and own.sharing is None:
        own.sharing = Sharing(own.made_in.level)
    return None if own is None else own.sharing


def stale(value: Any) -> str | None:
    """Why a value is not known: see ``sharing``."""
    known = root_of(value)._sharing if isinstance(value, Array) else None
    return None if known is None or known.stale is None else known.problem()


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables that a statement may change, in order, and where the statement is."""

    names: tuple[str, ...]
    read: Callable[[], tuple[Any, ...]]
    set: Callable[[tuple[Any, ...]], None]
    where: Where | None

    def get(self) -> tuple[Any, ...]:
        """What the variables hold."""
        return tuple([resolved(v) for v in self.read()])

    def show(self, i: int) -> str:
        """A variable's name as the user knows it."""
        if self.names[i] == "ag__expression":
            return "the conditional expression"
        return "the result" if self.names[i].startswith("ag__") else self.names[i]


def is_numeric(leaf: Any) -> bool:
    """Whether a traced block can give this value: numbers and arrays."""
    if isinstance(leaf, (Array, Size)):
        return True
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind in "biufc"
    return isinstance(leaf, (int, float, complex))


def is_traced(value: Any) -> bool:
    """Whether the truth or number of a value is only known at run time."""
    return isinstance(value, Array)


def kind_of(leaf: Any) -> Any:
    """A type for ``lift.common_dtype``: that of a Python number, which is weak, or an element type."""
    if type(leaf) in (int, float, bool, complex):
        return type(leaf)
    return leaf.dtype if isinstance(leaf, Array) else as_node(leaf).dtype


def same(a: Any, b: Any) -> bool:
    """Whether a variable still holds what it held."""
    a, b = resolved(a), resolved(b)
    if a is b or (isinstance(a, Undefined) and isinstance(b, Undefined)):
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (*PYTHON_VALUES, np.generic)):
        return bool(a == b) and str(a) == str(b)  # 0.0 is not −0.0
    if isinstance(a, Array):
        return not a.shape and a.node is b.node
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return False


def _block(*_: Any) -> None:
    """What the scope of a block is a trace of: it holds no arrays that constants would have to be told from."""


@contextmanager
def block_scope(types: Sequence[Type], names: Sequence[str], trial: bool, blocks: Sequence[Any]) -> Iterator[Scope]:
    """A trace of a block; arrays that it adopted are the outer trace's again at the end."""
    scope = Scope(_block, tuple(types), tuple(names))
    parent = scope.parent
    assert parent is not None
    outer = parent.block
    outside = {id(c) for b in blocks for c in containers(b)} | (outer.outside if outer is not None else set())
    scope.block = Block(trial or (outer is not None and outer.trial), outside)
    try:
        with entered(scope):
            yield scope
    finally:
        for array, node, home in scope.block.adopted.values():
            array._node, array._scope = node, home
        for sharing in scope.block.spoiled:
            sharing.stale = None


def containers(block: Any) -> Iterator[Any]:
    """The lists, dicts, sets and objects that a block can reach through its variables, and through their attributes."""
    if isinstance(block, FunctionType):
        named = (block.__globals__.get(name) for name in names_in(block.__code__))
        yield from (value for value in named if isinstance(value, (list, dict, set)))
    for cell in getattr(block, "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:  # no value yet
            continue
        if isinstance(value, (list, dict, set)):
            yield value
        elif hasattr(value, "__dict__") and not isinstance(value, (type, FunctionType, ModuleType)):
            yield value
            yield from (part for part in vars(value).values() if isinstance(part, (list, dict, set)))


def in_trial() -> bool:
    """Whether the code that runs may yet be run again as plain Python."""
    scope = current()
    return scope is not None and scope.block is not None and scope.block.trial


def reaches_traced(*blocks: Any) -> bool:
    """Whether a block's variables hold traced values: if none do, it is plain Python."""
    stack = [(b, 3) for b in blocks if b is not None]
    seen: set[int] = set()
    while stack:
        value, depth = stack.pop()
        if isinstance(value, Array):
            return True
        if id(value) in seen or depth == 0:
            continue
        seen.add(id(value))
        for cell in getattr(value, "__closure__", None) or ():
            try:
                stack.append((cell.cell_contents, depth))
            except ValueError:  # no value yet
                continue
        if isinstance(value, (list, tuple)):
            stack.extend((v, depth - 1) for v in value)
        elif isinstance(value, dict):
            stack.extend((v, depth - 1) for v in value.values())
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            stack.extend((v, depth - 1) for v in list(vars(value).values()))
    return False


@dataclass(slots=True)
class Slot:
    """A variable, or an array that is written to, as an argument and result of a body."""

    place: int | Array
    spec: tree.TreeDef
    kinds: list[Any]
    nodes: list[Node]
    born: bool = False  # it gets its value inside

    def show(self, variables: Variables) -> str:
        return variables.show(self.place) if isinstance(self.place, int) else "an array that is written to"


def enter_slots(slots: Sequence[Slot], nodes: Sequence[Node], start: Sequence[Any], scope: Scope) -> tuple[Any, ...]:
    """The variables' values inside a block whose arguments ``nodes`` stand for the slots; arrays are adopted."""
    values = list(start)
    rest = iter(nodes)
    for slot in slots:
        own = [next(rest) for _ in slot.nodes]
        if isinstance(slot.place, Array):
            scope.see(slot.place.node)
            scope.adopt(slot.place)
            slot.place._node = own[0]
        else:
            values[slot.place] = tree.unflatten(slot.spec, [argument(n, scope, read_only=False) for n in own])
    return tuple(values)


def is_buffer(value: Any) -> bool:
    """Whether a variable's value is an array that may be written to in place: it stays the same handle inside."""
    if isinstance(value, Array):
        return bool(value.shape) and (value._frozen is None or isinstance(value, View))
    return local(value) is not None
