"""What to store of a computation, so that a reader of some of its values can have them again: a minimum cut.

The values to store are those of fewest numbers together that separate the readers from the sources; among such sets the
one nearest to the readers, so that least is computed again. Where computing again counts too, they are those for which
storing them and computing the rest again costs least.

Source: L. R. Ford & D. R. Fulkerson, Maximal flow through a network (1956), with capacities on the nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from . import dim as dims
from .dim import Dim, Size
from .node import Node
from .op import Type

ASSUMED: Final = 1000
"""What a named size counts as."""

LARGE: Final = 3000
"""Nodes from which on the sources themselves are stored: a search would take longer than it saves."""

WEIGHED: Final = 300
"""Nodes up to which it is weighed what computing them again costs, which takes a search for each."""

STORED: Final = 8
"""Operations that it costs to store a number and load it again."""

NEAR: Final = 64
FAR: Final = 4
"""How many times as much it costs for arrays of more than ``NEAR`` numbers, which go to memory far away."""

_UNLIMITED: Final = 1 << 60
Vertex = tuple[Node | None, bool]  # a node as it is entered (False) and left (True)
_START: Final[Vertex] = (None, True)


def minimum_cut(
    order: Sequence[Node],
    sources: Iterable[Node],
    readers: Iterable[Node],
    operations: Callable[[Node], int] = lambda node: 0,
) -> list[Node]:
    """The nodes of ``order`` (arguments first) to store, so that ``readers`` need none of ``sources``.

    ``operations``: what it costs to compute a node again from its arguments.
    """
    wanted = set(readers)
    reached: set[Node] = set()
    given = set(sources)
    for node in order:
        if node in given or not reached.isdisjoint(node.args):
            reached.add(node)
    nodes = [n for n in order if n in reached]
    if len(nodes) > LARGE:
        return [n for n in nodes if n in given]
    weighed = len(nodes) <= WEIGHED
    net = _Network(nodes, {n: _UNLIMITED if n in given else operations(n) if weighed else 0 for n in nodes})
    while path := net.path(wanted):
        net.push(path)
    behind = net.behind(wanted)
    return [n for n in nodes if (n, True) in behind and (n, False) not in behind]


class _Network:
    """Flow from the start to the readers: into a node as much as computing it costs (a source: without a limit),
    through it as much as storing it does, between nodes without a limit.
    """

    def __init__(self, nodes: Sequence[Node], entry: dict[Node, int]) -> None:
        self.entry = {n: room for n, room in entry.items() if room}
        self.room = {n: _price(_numbers(n)) for n in nodes}
        self.before = {n: [a for a in dict.fromkeys(n.args) if a in self.room] for n in nodes}
        self.after: dict[Node, list[Node]] = {n: [] for n in nodes}
        for node, args in self.before.items():
            for arg in args:
                self.after[arg].append(node)
        self.flow: dict[tuple[Vertex, Vertex], int] = {}

    def path(self, readers: set[Node]) -> list[Vertex]:
        """A shortest way on which more can flow; empty if there is none."""
        came: dict[Vertex, Vertex | None] = {_START: None}
        queue = deque(came)
        while queue:
            vertex = queue.popleft()
            if vertex is not _START and vertex[1] and vertex[0] in readers:
                path: list[Vertex] = []
                step: Vertex | None = vertex
                while step is not None:
                    path.append(step)
                    step = came[step]
                return path[::-1]
            for other in self._neighbours(vertex):
                if other not in came and self._left(vertex, other) > 0:
                    came[other] = vertex
                    queue.append(other)
        return []

    def push(self, path: Sequence[Vertex]) -> None:
        """Fills a way."""
        pairs = list(pairwise(path))
        most = min(self._left(a, b) for a, b in pairs)
        for a, b in pairs:
            self.flow[a, b] = self.flow.get((a, b), 0) + most
            self.flow[b, a] = self.flow.get((b, a), 0) - most

    def behind(self, readers: set[Node]) -> set[Vertex]:
        """The vertices from which more can flow to a reader."""
        found: set[Vertex] = {(n, True) for n in self.room if n in readers}
        pending = list(found)
        while pending:
            vertex = pending.pop()
            for other in self._neighbours(vertex):
                if other not in found and self._left(other, vertex) > 0:
                    found.add(other)
                    pending.append(other)
        return found

    def _neighbours(self, vertex: Vertex) -> list[Vertex]:
        node, left = vertex
        if node is None:
            return [(n, False) for n in self.entry]
        others: list[Vertex] = [(n, not left) for n in (self.after[node] if left else self.before[node])]
        return [(node, not left), *others, *([_START] if node in self.entry and not left else [])]

    def _left(self, start: Vertex, end: Vertex) -> int:
        """How much more can flow along an edge."""
        forward, most = not end[1], _UNLIMITED
        if start[0] is end[0]:
            forward, most = end[1], self.room[start[0]] if start[0] is not None else 0
        elif start[0] is None:
            assert end[0] is not None
            most = self.entry[end[0]]
        return (most if forward else 0) - self.flow.get((start, end), 0)


def _price(numbers: int) -> int:
    """What it costs to store so many numbers."""
    return STORED * numbers * (1 if numbers <= NEAR else FAR)


def _numbers(node: Node) -> int:
    """How many numbers a node has; those with several results are not stored."""
    if not isinstance(node.type, Type):
        return _UNLIMITED
    return max(1, _assumed(dims.product(node.shape)))


def _assumed(size: Dim) -> int:
    return dims.evaluate(size, dict.fromkeys(dims.names(size), ASSUMED)) if isinstance(size, Size) else size
