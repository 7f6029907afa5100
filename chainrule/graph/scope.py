"""The trace in progress: which one is current, what it has captured, where its nodes come from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, final

import numpy as np

from .dtype import DType, canonical
from .node import Node, constant, make
from .op import Const, Input, Type
from .where import Where, _known, error, is_inside

LARGEST_CONSTANT: Final = 32  # arrays with more elements are never constants of the program
_current: Final[ContextVar[Scope | None]] = ContextVar("chainrule_scope", default=None)


class Bound(np.ndarray[Any, Any]):
    """Data that stay: read-only, and what a program computes of them alone is computed once."""


@final
class Block:
    """What is known of a trace that is a branch or a body of the program's own Python code, not a function of its own.

    ``adopted`` holds the outer arrays that were written to here, each with the node and scope that it had. In a
    ``trial`` the block may yet be run as plain Python, so that nothing may happen in it that cannot be taken back.
    ``outside`` are the identities of the containers that were there before. ``facts`` are conditions known here, and
    ``spoiled`` the arrays that became stale here (see ``sharing``), each with the reason. ``wrote``: whether one that
    may be another was written to.
    """

    __slots__ = ("adopted", "facts", "outside", "spoiled", "trial", "wrote")

    def __init__(self, trial: bool, outside: set[int]) -> None:
        self.adopted: dict[int, tuple[Any, Node, Scope]] = {}
        self.facts: dict[Node, bool] = {}
        self.outside = outside
        self.spoiled: dict[Any, str] = {}
        self.trial = trial
        self.wrote = False


@final
class Scope:
    """One trace in progress. ``level`` counts the traces around it; 0 is the root.

    ``inputs`` stand for the arguments. ``provenance`` says where nodes were first made. ``seen`` holds the nodes of
    outer handles that were read here: the values that a body captures. The root keeps the hidden inputs: snapshots of
    the concrete arrays that were used.
    """

    __slots__ = (
        "_external",
        "_held",
        "alive",
        "block",
        "effects",
        "effects_made",
        "elements",
        "function",
        "hidden",
        "inputs",
        "level",
        "made",
        "names",
        "nonnegative",
        "parent",
        "provenance",
        "rolled",
        "root",
        "seen",
        "types",
    )

    def __init__(self, function: Callable[..., Any], types: tuple[Type, ...], names: tuple[str, ...] = ()) -> None:
        self.parent: Scope | None = _current.get()
        self.level: int = 0 if self.parent is None else self.parent.level + 1
        self.root: Scope = self if self.parent is None else self.parent.root
        self.alive = True
        self.effects: list[Node] = []  # what is done here, in order
        self.effects_made = 0  # in all of the program (root only)
        self.block: Block | None = None
        self.function = function
        self.types = types
        self.inputs = tuple([make(Input(self.level, i, t)) for i, t in enumerate(types)])
        self.names = names
        self.provenance: dict[Node, Where] = {}
        self.seen: dict[Node, None] = {}
        self.elements: dict[tuple[Node, int], Node] = {}  # x[i] of vectors, which programs ask for again and again
        self.nonnegative: set[Node] = set()  # what is known to be so, such as a loop's counter
        self.hidden: list[np.ndarray[Any, Any]] = []
        self.rolled: dict[CodeType, Any] = {}  # what the body of a loop was found to change (root only)
        self.made: dict[int, Any] = {}  # by id, the concrete arrays that rewritten source has made (root only)
        # id of a concrete array → the array itself (so that the id stays its own) and the node of
        # its last snapshot
        self._held: dict[int, tuple[Any, int, Node]] = {}
        self._external: set[int] | None = None

    def record(self, node: Node) -> None:
        """Remember that the user's current line made ``node``, unless it was made before."""
        if node in self.provenance:
            return
        frame: Any = sys._getframe(2)
        while frame is not None:
            name = frame.f_code.co_filename
            inside = _known.get(name)
            if inside is None:
                inside = is_inside(name)
            if not inside:
                self.provenance[node] = Where(frame.f_code, frame.f_lasti)
                return
            frame = frame.f_back

    def lift(self, value: np.ndarray[Any, Any]) -> Node:
        """A concrete array as a node: a constant if it is small and local to the traced program, else a
        hidden input.
        """
        dtype = element_type(value)
        if value.ndim == 0 or (value.size <= LARGEST_CONSTANT and not self._is_external(value)):
            return constant(np.asarray(value).astype(dtype, copy=False))
        root = self.root
        held = root._held.get(id(value))
        if held is not None and _same_bytes(root.hidden[held[1]], value):
            return held[2]
        snapshot = np.array(value, dtype=dtype, order="C", subok=isinstance(value, Bound))
        snapshot.flags.writeable = False
        position = len(root.types) + len(root.hidden)
        node = make(Input(0, position, Type(snapshot.shape, dtype)))
        root._held[id(value)] = (value, len(root.hidden), node)
        root.hidden.append(snapshot)
        self.see(node)
        return node

    def value(self, node: Node) -> np.ndarray[Any, Any] | None:
        """The concrete value of a constant or of a hidden input, None for a node whose value is not known."""
        op = node.op
        if type(op) is Const:
            return op.value
        hidden = self.root.hidden
        position = op.position - len(self.root.types) if type(op) is Input and op.level == 0 else -1
        return hidden[position] if 0 <= position < len(hidden) else None

    def see(self, node: Node) -> None:
        """Note that a node of an outer trace is read here, and so in every trace in between."""
        scope: Scope | None = self
        while scope is not None and node.level < scope.level and node not in scope.seen:
            scope.seen[node] = None
            scope = scope.parent

    def adopt(self, array: Any) -> bool:
        """Makes an array of an outer trace one of this block, until the block ends; False where there is no block."""
        scope: Scope | None = self
        while scope is not None and scope is not array._scope:
            if scope.block is None:
                return False
            scope = scope.parent
        assert self.block is not None
        self.block.adopted[id(array)] = (array, array._node, array._scope)
        array._scope = self
        return True

    def all_nonnegative(self) -> frozenset[Node]:
        """The nodes known not to be negative, in this trace and those around it."""
        found: set[Node] = set()
        scope: Scope | None = self
        while scope is not None:
            found |= scope.nonnegative
            scope = scope.parent
        return frozenset(found)

    def _is_external(self, value: Any) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if scope._external is None:
                scope._external = {id(a) for a in reachable_arrays(scope.function)}
            if id(value) in scope._external:
                return True
            scope = scope.parent
        return False


def current() -> Scope | None:
    """The innermost trace of this thread, None outside all."""
    return _current.get()


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """The scope as the current one; it dies at the end."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)
        scope.alive = False


@contextmanager
def outside() -> Iterator[None]:
    """No current trace: for concrete computations inside one."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def element_type(value: Any) -> DType:
    """The supported element type of a concrete array, or an error at the user's line."""
    if type(value) is not np.ndarray and hasattr(value, "filled"):  # of numpy.ma, which not every program imports
        message = "a masked array: its mask would be lost; give x.filled(0.0), and the mask as an argument for np.where"
        raise error(TypeError, message)
    try:
        return canonical(value.dtype)
    except TypeError as problem:
        raise error(TypeError, str(problem)) from None


def _same_bytes(snapshot: np.ndarray[Any, Any], value: Any) -> bool:
    if snapshot.shape != value.shape:
        return False
    fresh = np.ascontiguousarray(value, dtype=snapshot.dtype)
    return bool((snapshot.reshape(-1).view(np.uint8) == fresh.reshape(-1).view(np.uint8)).all())


def reachable_arrays(function: Any) -> Iterator[np.ndarray[Any, Any]]:
    """The concrete arrays that a function can reach: closure, defaults, the globals its code names, the
    bound self.

    Nested functions are followed, containers and instances looked into one level deep.
    """
    stack: list[tuple[Any, int]] = [(function, 1)]
    visited: set[int] = set()
    while stack:
        value, depth = stack.pop()
        if isinstance(value, np.ndarray):
            yield value
            continue
        if id(value) in visited:
            continue
        visited.add(id(value))
        if isinstance(value, FunctionType):
            stack.extend((v, 1) for v in _captured_by(value))
        elif isinstance(value, MethodType):
            stack.extend(((value.__func__, 1), (value.__self__, 1)))
        elif isinstance(value, (ModuleType, type, str, bytes, int, float, complex, CodeType)) or value is None:
            continue
        elif depth > 0:
            stack.extend((v, depth - 1) for v in _parts(value))


def _captured_by(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield wrapped
    if is_inside(function.__code__.co_filename):
        return  # this package's own globals are no user's data
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        for name in code.co_names:
            if name in function.__globals__:
                yield function.__globals__[name]
        codes.extend(c for c in code.co_consts if isinstance(c, CodeType))


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    else:
        func = getattr(value, "func", None)  # functools.partial
        if callable(func):
            yield func
            yield from getattr(value, "args", ())
            yield from getattr(value, "keywords", {}).values()
        yield from getattr(value, "__dict__", {}).values()
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            yield wrapped
