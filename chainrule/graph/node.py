"""Node and Graph: programs as shared expression DAGs.

Nodes are interned: equal subexpressions are one object, and identity is equality. A ``digest`` of the structure, the
same in every process, orders terms and keys caches. Every traversal is iterative.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, final

import numpy as np

from .dtype import DType
from .op import Const, Input, Op, Project, Result, Scalar, Type, encode, infer
from .operators import Operators


@final
class Node(Operators):
    """An op applied to nodes. Made by ``make`` only.

    ``type`` is a ``Type``, or a tuple of them for ops with several results (read through ``Project``).
    ``level`` is the deepest level of a free ``Input`` below (−1: a constant).
    """

    __slots__ = ("__weakref__", "args", "digest", "level", "op", "type")

    op: Op
    args: tuple[Node, ...]
    type: Any  # Type; a tuple of Types where the op has several results
    digest: bytes
    level: int

    def __repr__(self) -> str:
        inner = ", ".join(type(a.op).__name__ for a in self.args)
        return f"<{self.op}({inner}): {self.type}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _first, (flatten((self,)),)

    def _apply(self, name: str, *args: Any) -> Node:
        return _expression(name, *args)

    @property
    def shape(self) -> Any:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype  # type: ignore[no-any-return]


class _Entry(weakref.ref[Node]):
    """A weak reference to an interned node, which knows its key."""

    __slots__ = ("key",)
    key: bytes


def _forget(entry: weakref.ref[Node]) -> None:
    key = entry.key  # type: ignore[attr-defined]
    with _lock:
        if _table.get(key) is entry:
            del _table[key]


# Not a WeakValueDictionary: nodes are made by the hundred thousand, and its methods are Python code.
_table: Final[dict[bytes, _Entry]] = {}
_lock: Final = threading.RLock()  # a node may die, and its entry go, while an entry is made
_scalar_codes: Final[dict[str, bytes]] = {}
_numbers: Final[dict[tuple[DType, bytes], Node]] = {}  # recent scalar constants, which derivatives make over and over
_values: Final[dict[tuple[DType, bytes], Any]] = {}  # what the constants among them are in Python
_NUMBERS_KEPT: Final = 4096
_scalar_types: Final[dict[DType, Type]] = {}  # one object each, so that equal types are mostly found by identity


def _expression(name: str, *args: Any) -> Node:
    """``express.apply``, bound on first use: expressions are built over nodes, so that file comes later."""
    global _expression
    from .express import apply

    _expression = apply
    return apply(name, *args)


def make(op: Op, args: tuple[Node, ...] = ()) -> Node:
    """The node ``op(*args)``, interned."""
    if type(op) is Scalar:
        code = _scalar_codes.get(op.name)
        if code is None:
            code = _scalar_codes.setdefault(op.name, encode(op))
    else:
        code = encode(op)
    for a in args:
        code += a.digest
    digest = blake2b(code, digest_size=16).digest()
    entry = _table.get(digest)
    if entry is not None:
        found = entry()
        if found is not None:
            return found
    node = Node()
    node.op, node.args, node.digest = op, args, digest
    node.type = infer(op, [a.type for a in args])
    level = op.level if type(op) is Input else -1
    for a in args:
        if a.level > level:
            level = a.level
    node.level = level
    made = _Entry(node, _forget)
    made.key = digest
    with _lock:
        entry = _table.get(digest)
        found = None if entry is None else entry()
        if found is not None:
            return found
        _table[digest] = made
    return node


def constant(value: Any, dtype: DType | None = None) -> Node:
    """A scalar or (small) array as a node."""
    array = np.asarray(value, dtype)
    data = array.tobytes()
    if array.ndim:
        return make(Const(Type(array.shape, array.dtype), data))
    key = (array.dtype, data)
    node = _numbers.get(key)
    if node is None:
        kind = _scalar_types.setdefault(array.dtype, Type((), array.dtype))
        node = make(Const(kind, data))
        if len(_numbers) >= _NUMBERS_KEPT:
            _numbers.clear()
        _numbers[key] = node
    return node


def results(node: Node) -> tuple[Node, ...]:
    """The results of a node, one node each."""
    if isinstance(node.type, tuple):
        return tuple(make(Project(i), (node,)) for i in range(len(node.type)))
    return (node,)


def scalar(name: str, *args: Node) -> Node:
    """The primitive ``name`` applied elementwise; arguments have one shape, or rank 0."""
    return make(Scalar(name), args)


def const_value(node: Node) -> Any:
    """The Python value of a scalar constant, None for any other node."""
    op = node.op
    if type(op) is not Const or op.type.shape:
        return None
    key = (op.type.dtype, op.data)
    value = _values.get(key)
    if value is None:
        value = np.frombuffer(op.data, op.type.dtype)[0].item()
        if len(_values) >= _NUMBERS_KEPT:
            _values.clear()
        _values[key] = value
    return value


# --- traversal ----------------------------------------------------------------------------------------------


def topological(outputs: Iterable[Node]) -> list[Node]:
    """All nodes below ``outputs``, arguments first, in an order that depends on the structure only."""
    return topological_until(outputs, ())


def rebuild(
    outputs: Sequence[Node],
    known: Mapping[Node, Node],
    visit: Callable[[Node, tuple[Node, ...]], Node] | None = None,
) -> tuple[tuple[Node, ...], dict[Node, Node]]:
    """``outputs`` with nodes replaced: by ``known``, else by ``visit(node, new arguments)`` (default: the same op).

    Returns the new outputs and the whole mapping.
    """
    done: dict[Node, Node] = dict(known)
    for node in topological_until(outputs, done):
        args = tuple([done[a] for a in node.args])
        if visit is not None:
            done[node] = visit(node, args)
        else:
            done[node] = node if args == node.args else make(node.op, args)
    return tuple(done[o] for o in outputs), done


def topological_until(outputs: Iterable[Node], known: Container[Node]) -> list[Node]:
    """As ``topological``, without the nodes in ``known`` and what only they need."""
    order: list[Node] = []
    done: set[Node] = set()
    for root in outputs:
        stack = [root]
        while stack:
            node = stack[-1]
            if node in done or node in known:
                stack.pop()
                continue
            waiting = [a for a in node.args if a not in done]
            if waiting and known:
                waiting = [a for a in waiting if a not in known]
            if waiting:
                waiting.reverse()
                stack.extend(waiting)
            else:
                done.add(node)
                order.append(node)
                stack.pop()
    return order


def substitute(outputs: Sequence[Node], known: Mapping[Node, Node]) -> tuple[Node, ...]:
    """``outputs`` with the nodes of ``known`` replaced, all at once."""
    return rebuild(outputs, known)[0]


# --- graphs -------------------------------------------------------------------------------------------------


@final
class Graph:
    """A closed program: input types → output nodes over ``Input(0, position)``. Interned by digest.

    ``names`` and ``provenance`` (node → where it comes from in the user's program) are for people; they are no part
    of a graph's identity. The first graph of a digest gives them unless others are passed to ``annotate``.
    """

    __slots__ = ("__weakref__", "_nodes", "digest", "inputs", "names", "outputs", "provenance")

    inputs: tuple[Type, ...]
    outputs: tuple[Node, ...]
    digest: bytes
    names: tuple[str, ...]
    provenance: Mapping[Node, Any]

    def __init__(
        self,
        inputs: Iterable[Type],
        outputs: Iterable[Node],
        names: Iterable[str] = (),
        provenance: Mapping[Node, Any] | None = None,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.names = tuple(names) or tuple(f"x{i}" for i in range(len(self.inputs)))
        self.provenance = provenance if provenance is not None else {}
        text = "|".join(map(str, self.inputs)).encode()
        self.digest = blake2b(
            b"".join([b"graph", text, *[o.digest for o in self.outputs]]), digest_size=16
        ).digest()
        self._nodes: tuple[Node, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_graph, (self.inputs, flatten(self.outputs), self.names)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, arguments first."""
        if self._nodes is None:
            self._nodes = tuple(topological(self.outputs))
        return self._nodes

    @property
    def arguments(self) -> tuple[Node, ...]:
        """The input nodes, by position."""
        return tuple(make(Input(0, i, t)) for i, t in enumerate(self.inputs))

    def apply(self, args: Sequence[Node]) -> tuple[Node, ...]:
        """The outputs with the inputs replaced by ``args``: inlining."""
        return substitute(self.outputs, dict(zip(self.arguments, args, strict=True)))

    def replace(self, outputs: Iterable[Node], provenance: Mapping[Node, Any] | None = None) -> Graph:
        """The same inputs with other outputs."""
        return Graph(self.inputs, outputs, self.names, self.provenance if provenance is None else provenance)

    def __str__(self) -> str:
        """Typed, numbered lines, one a node."""
        number = {node: i for i, node in enumerate(self.nodes)}
        lines = []
        for node, i in number.items():
            if isinstance(node.op, Input):
                text = f"input {self.names[node.op.position]}"
            elif isinstance(node.op, Const):
                text = f"const {node.op.value.tolist()}"
            elif isinstance(node.op, Scalar):
                text = f"{node.op.name} " + " ".join(f"%{number[a]}" for a in node.args)
            else:
                text = f"{_describe(node.op)} " + " ".join(f"%{number[a]}" for a in node.args)
            kind = node.type if isinstance(node.type, Type) else "(" + ", ".join(map(str, node.type)) + ")"
            where = self.provenance.get(node)
            lines.append(f"%{i}: {kind} = {text}" + (f"    # {where}" if where else ""))
        return "\n".join([*lines, "return " + " ".join(f"%{number[o]}" for o in self.outputs)])

    def __repr__(self) -> str:
        return str(self)


def _describe(op: Op) -> str:
    from dataclasses import fields

    shown = []
    for field in fields(op):
        value = getattr(op, field.name)
        if isinstance(value, Graph):
            value = f"<graph of {len(value)} nodes>"
        elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
            value = f"<{len(value)} graphs>"
        shown.append(f"{field.name}={value}")
    return type(op).__name__.lower() + ("(" + ", ".join(shown) + ")" if shown else "")


# --- flat pickling ------------------------------------------------------------------------------------------

Flat = tuple[list[tuple[Op, tuple[int, ...]]], list[int]]


def flatten(outputs: Sequence[Node]) -> Flat:
    """Nodes as a list of (op, argument numbers), so that pickling does not recurse."""
    order = topological(outputs)
    number = {node: i for i, node in enumerate(order)}
    return [(n.op, tuple(number[a] for a in n.args)) for n in order], [number[o] for o in outputs]


def unflatten(flat: Flat) -> tuple[Node, ...]:
    """The inverse of ``flatten``."""
    entries, outputs = flat
    nodes: list[Node] = []
    for op, args in entries:
        nodes.append(make(op, tuple(nodes[a] for a in args)))
    return tuple(nodes[o] for o in outputs)


def _first(flat: Flat) -> Node:
    return unflatten(flat)[0]


def _unpickle_graph(inputs: tuple[Type, ...], flat: Flat, names: tuple[str, ...]) -> Graph:
    return Graph(inputs, unflatten(flat), names)


def result_types(node: Node) -> tuple[Type, ...]:
    """The result types of a node as a tuple, also for the usual node with one."""
    kind: Result = node.type
    return kind if isinstance(kind, tuple) else (kind,)
