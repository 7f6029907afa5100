"""Node and Graph: programs as shared expression DAGs.

Nodes are interned: equal subexpressions are one object, and identity is equality. A ``digest`` of the structure, the
same in every process, orders terms and keys caches; it is computed when it is asked for. Every traversal is iterative.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from struct import pack
from typing import Any, Final, final

import numpy as np

from .dtype import FLOAT64, DType
from .op import KEEPS_TYPE, Const, Input, Op, Project, Result, Scalar, Type, encode, infer
from .operators import Operators


@final
class Node(Operators):
    """An op applied to nodes. Made by ``make`` only.

    ``type`` is a ``Type``, or a tuple of them for ops with several results (read through ``Project``).
    ``level`` is the deepest level of a free ``Input`` below (−1: a constant).
    """

    __slots__ = ("__weakref__", "_digest", "args", "level", "op", "type")

    op: Op
    args: tuple[Node, ...]
    type: Any  # Type; a tuple of Types where the op has several results
    level: int
    _digest: bytes | None

    def __repr__(self) -> str:
        inner = ", ".join(type(a.op).__name__ for a in self.args)
        return f"<{self.op}({inner}): {self.type}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _first, (flatten((self,)),)

    def _apply(self, name: str, *args: Any) -> Node:
        return _expression(name, *args)

    @property
    def digest(self) -> bytes:
        """16 bytes that tell structures apart, the same in every process."""
        return self._digest or _digested(self)

    @property
    def shape(self) -> Any:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype  # type: ignore[no-any-return]


Key = tuple[str | bytes, tuple[Node, ...]]  # what a node is interned by: the code of its op, and its arguments


class _Entry(weakref.ref[Node]):
    """A weak reference to an interned node, which knows its key."""

    __slots__ = ("key",)
    key: Key


def _forget(entry: weakref.ref[Node]) -> None:
    key = entry.key  # type: ignore[attr-defined]
    with _lock:
        if _table.get(key) is entry:
            del _table[key]


# Not a WeakValueDictionary: nodes are made by the hundred thousand, and its methods are Python code.
_table: Final[dict[Key, _Entry]] = {}
_lock: Final = threading.RLock()  # a node may die, and its entry go, while another takes its place
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
    is_scalar = type(op) is Scalar
    key: Key = (op.name if is_scalar else encode(op), args)  # type: ignore[union-attr]
    entry = _table.get(key)
    if entry is not None:
        found = entry()
        if found is not None:
            return found
    node = Node()
    node.op, node.args, node._digest = op, args, None
    level = op.level if type(op) is Input else -1
    for a in args:
        if a.level > level:
            level = a.level
    node.level = level
    if is_scalar and op.name in KEEPS_TYPE and len(args) < 3 and args[0].type is args[-1].type:  # type: ignore[union-attr]
        node.type = args[0].type
    else:
        kind = infer(op, [a.type for a in args])
        if type(kind) is Type and not kind.shape:
            kind = _scalar_types.setdefault(kind.dtype, kind)
        node.type = kind
    made = _Entry(node, _forget)
    made.key = key
    entry = _table.setdefault(key, made)
    return node if entry is made else _settled(node, made)


def _settled(node: Node, made: _Entry) -> Node:
    """The node of an entry whose key was taken: by another thread, or by a node that is dead."""
    with _lock:
        entry = _table.get(made.key)
        found = None if entry is None else entry()
        if found is not None:
            return found
        _table[made.key] = made
        return node


def _digested(root: Node) -> bytes:
    """Gives the nodes from ``root`` down their digests."""
    from hashlib import blake2b  # brings all of OpenSSL with it

    stack = [(root, iter(root.args))]
    while stack:
        node, rest = stack[-1]
        for a in rest:
            if a._digest is None:
                stack.append((a, iter(a.args)))
                break
        else:
            stack.pop()
            op = node.op
            if type(op) is Scalar:
                code = _scalar_codes.get(op.name) or _scalar_codes.setdefault(op.name, encode(op))
            else:
                code = encode(op)
            code += b"".join([a._digest for a in node.args])  # type: ignore[misc]  # arguments come first
            node._digest = blake2b(code, digest_size=16).digest()
    assert root._digest is not None
    return root._digest


def constant(value: Any, dtype: DType | None = None) -> Node:
    """A scalar or (small) array as a node."""
    if type(value) is float and (dtype is FLOAT64 or dtype is None):
        dtype, data = FLOAT64, pack("d", value)
    else:
        array = np.asarray(value, dtype)
        dtype, data = array.dtype, array.tobytes()
        if array.ndim:
            return make(Const(Type(array.shape, dtype), data))
    key = (dtype, data)
    node = _numbers.get(key)
    if node is None:
        kind = _scalar_types.setdefault(dtype, Type((), dtype))
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
        if root in done or root in known:
            continue
        done.add(root)
        node, rest = root, iter(root.args)
        above: list[tuple[Node, Iterator[Node]]] = []
        while True:
            for a in rest:
                if a in done or a in known:
                    continue
                done.add(a)
                if a.args:
                    above.append((node, rest))
                    node, rest = a, iter(a.args)
                    break
                order.append(a)
            else:
                order.append(node)
                if not above:
                    break
                node, rest = above.pop()
    return order


def substitute(outputs: Sequence[Node], known: Mapping[Node, Node]) -> tuple[Node, ...]:
    """``outputs`` with the nodes of ``known`` replaced, all at once."""
    return rebuild(outputs, known)[0]


# --- graphs -------------------------------------------------------------------------------------------------


@final
class Graph:
    """A closed program: input types → output nodes over ``Input(0, position)``. Equal structure is equality.

    ``names`` and ``provenance`` (node → where it comes from in the user's program) are for people; they are no part
    of a graph's identity. The first graph of a digest gives them unless others are passed to ``annotate``.
    """

    __slots__ = ("__weakref__", "_digest", "_hash", "_nodes", "inputs", "names", "outputs", "provenance")

    inputs: tuple[Type, ...]
    outputs: tuple[Node, ...]
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
        self._nodes: tuple[Node, ...] | None = None
        self._digest: bytes | None = None
        self._hash = hash(self.outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.outputs == other.outputs and self.inputs == other.inputs

    def __hash__(self) -> int:
        return self._hash

    @property
    def digest(self) -> bytes:
        """16 bytes that tell programs apart, the same in every process."""
        if self._digest is None:
            from hashlib import blake2b

            text = "|".join(map(str, self.inputs)).encode()
            parts = [b"graph", text, *[o.digest for o in self.outputs]]
            self._digest = blake2b(b"".join(parts), digest_size=16).digest()
        return self._digest

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
