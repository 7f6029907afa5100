"""Random well-typed graphs, for hypothesis.

>>> from hypothesis import given
>>> @given(graphs())
... def test(program):
...     graph, args = program
...     assert len(evaluate(graph, args)) == len(graph.outputs)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from chainrule.graph import dim as dims
from chainrule.graph.dtype import BOOL, COMPLEX128, FLOAT64, INT64, DType
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, Node, constant, make, results, scalar
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Cond,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Loop,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Transpose,
    Type,
)

N = dims.size("n")
SIZES = {"n": 3}  # what named sizes are when the graphs are evaluated
SHAPES: tuple[dims.Shape, ...] = ((), (), (3,), (N,), (2, 3), (N, 2), (2, N, 1))


def _names(text: str) -> list[str]:
    return text.split()


UNARY = _names(
    "neg exp sin cos tanh sqrt log log1p expm1 abs square reciprocal asinh expit softplus erf atan"
)
BINARY = _names("add sub mul div maximum minimum hypot pow")
INTEGER = _names("add sub mul maximum minimum")
ROUGH = _names("floor ceil trunc round sign")  # where a last bit can change everything
COMPARISONS = _names("lt le gt ge eq ne")
LOGIC = _names("logical_and logical_or logical_xor")
FLOATS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -2.0, 4.0)

Program: TypeAlias = tuple[Graph, list[Any]]


@st.composite
def graphs(
    draw: st.DrawFn, *, smooth: bool = False, special: bool = False, structured: bool = True, size: int = 25
) -> Program:
    """A graph and arguments for it.

    ``smooth``: nothing in it jumps (no rounding, no comparison of floats), so that rewrites true
    over the reals keep its value. ``special``: the arguments hold ±0, infinities, NaN and
    denormals. ``structured``: with loops and branches. ``size``: at most so many steps of growth.
    The choices come from a seed: large graphs are as likely as small ones.
    """
    random = Random(draw(st.integers(0, 2**32)))
    kinds = [Type(random.choice(SHAPES), FLOAT64) for _ in range(random.randint(1, 3))]
    kinds += [Type((N,), FLOAT64), Type((), BOOL), Type((3,), INT64)]
    nodes = [make(Input(0, i, t)) for i, t in enumerate(kinds)]
    grow = _Grower(random, nodes, smooth)
    steps = [grow.elementwise] * 6 + [grow.along] * 2 + [grow.view] * 4 + [grow.index, grow.constant]
    steps += [grow.cond, grow.loop] if structured else []
    for _ in range(random.randint(1, size)):
        nodes.extend(random.choice(steps)())
    outputs = [nodes[-1], *random.sample(nodes, random.randint(0, 5))]
    return Graph(kinds, outputs), [draw(arguments(t, special=special)) for t in kinds]


def arguments(kind: Type, *, special: bool = False) -> st.SearchStrategy[Any]:
    """Arrays of a type; named sizes are those of ``SIZES``."""
    shape = tuple(dims.evaluate(d, SIZES) for d in kind.shape)
    count = int(np.prod(shape))
    return st.lists(_elements(kind.dtype, special), min_size=count, max_size=count).map(
        lambda values: np.array(values, kind.dtype).reshape(shape)
    )


def _elements(dtype: DType, special: bool) -> st.SearchStrategy[Any]:
    if dtype == BOOL:
        return st.booleans()
    if dtype == INT64:
        return st.integers(-1, 4)
    if dtype == COMPLEX128:
        return st.complex_numbers(max_magnitude=4, allow_nan=special)
    if special:
        return st.floats(allow_subnormal=True)
    return st.floats(-4, 4, allow_subnormal=False).map(lambda x: round(x, 3))


class _Grower:
    """Ways to make another node from those there are; each returns a list, empty where nothing fits."""

    def __init__(self, random: Random, nodes: list[Node], smooth: bool) -> None:
        self.random = random
        self.nodes = nodes
        self.smooth = smooth

    def pick(self, accept: Callable[[Node], bool]) -> Node | None:
        fitting = [n for n in self.nodes if accept(n)]
        recent = fitting[-4:] if self.random.random() < 0.5 else fitting
        return self.random.choice(recent) if fitting else None

    def array(self, kinds: str = "f", rank: int = 1) -> Node | None:
        return self.pick(lambda n: n.dtype.kind in kinds and len(n.shape) >= rank)

    def like(self, x: Node) -> Node:
        """A node that can stand beside ``x`` in an elementwise op."""
        return self.pick(lambda n: n.dtype == x.dtype and n.shape in ((), x.shape)) or x

    def axis(self, x: Node) -> int:
        return int(self.random.randint(0, len(x.shape) - 1))

    def constant(self) -> list[Node]:
        return [constant(self.random.choice(FLOATS))]

    def elementwise(self) -> list[Node]:
        x = self.pick(lambda n: True)
        assert x is not None
        y = self.like(x)
        if x.dtype == BOOL:
            z = self.array("f", 0)
            chosen = z if z is not None and x.shape in ((), z.shape) else constant(2.0)
            return [
                scalar(self.random.choice(LOGIC), x, y),
                scalar("logical_not", x),
                scalar("where", x, chosen, self.like(chosen)),
            ]
        if x.dtype == INT64:
            names = INTEGER + ([] if self.smooth else COMPARISONS)
            return [scalar(self.random.choice(names), x, y), make(Cast(FLOAT64), (x,))]
        names = UNARY + BINARY * 2 + ([] if self.smooth else ROUGH + COMPARISONS)
        name = self.random.choice(names)
        return [scalar(name, x) if name in UNARY + ROUGH else scalar(name, x, y)]

    def along(self) -> list[Node]:
        x = self.array()
        if x is None:
            return []
        axis = self.axis(x)
        axes = tuple(sorted(self.random.sample(range(len(x.shape)), self.random.randint(1, len(x.shape)))))
        choices: list[Any] = [Reduce(k, axes) for k in ("sum", "sum", "prod", "min", "max")]
        choices += [Cumulative("sum", axis, self.random.random() < 0.5), Cumulative("max", axis), Sort(axis)]
        return [make(self.random.choice(choices), (x,))]

    def view(self) -> list[Node]:
        x = self.array("fib", 0)
        assert x is not None
        rank = len(x.shape)
        where = self.random.randint(0, rank)
        repeated = (*x.shape[:where], self.random.choice((2, 3, N)), *x.shape[where:])
        made = [make(Broadcast(repeated, tuple(i for i in range(rank + 1) if i != where)), (x,))]
        if not rank or rank > 3:
            return made if rank < 3 else []
        axis, order = self.axis(x), tuple(self.random.sample(range(rank), rank))
        start, step = self.random.randint(0, 1), self.random.randint(1, 2)
        starts = tuple(start if d != 1 else 0 for d in x.shape)
        counts = tuple(
            (d - s - 1) // step + 1 if isinstance(d, int) else d - s
            for d, s in zip(x.shape, starts, strict=True)
        )
        steps = tuple(step if isinstance(d, int) else 1 for d in x.shape)
        part = make(Slice(starts, counts, steps), (x,))
        zero = (0,) * rank
        made += [
            make(Transpose(order), (x,)),
            make(Reshape((dims.product(x.shape),)), (x,)),
            make(Reshape((1, *x.shape)), (x,)),
            make(Reverse((axis,)), (x,)),
            part,
            make(Pad(zero, (1,) * rank, zero), (x,)),
            make(Concatenate(axis), (x, self.pick(lambda n: n.type == x.type) or x)),
            make(Insert(starts, steps), (x, part)),
        ]
        return [self.random.choice(made)]

    def index(self) -> list[Node]:
        x, i = self.array(), self.pick(lambda n: n.dtype == INT64 and len(n.shape) < 2)
        if x is None or i is None:
            return []
        axis = self.axis(x)
        taken = make(Gather((axis,)), (x, i))
        kind = self.random.choice(("add", "set"))
        product = make(Contract((0, 1), (0, 2), self.random.choice(((1, 2), (0,), (2, 0)))), (y, y)) if (
            y := self.pick(lambda n: n.dtype == FLOAT64 and len(n.shape) == 2)
        ) is not None else taken  # fmt: skip
        return [self.random.choice([taken, make(Scatter((axis,), kind), (x, taken, i)), product])]

    def body(self, kinds: Sequence[Type], like: Sequence[Type]) -> Graph:
        """A small closed graph with outputs of the types ``like``, which are among its inputs' types."""
        inputs = [make(Input(0, i, t)) for i, t in enumerate(kinds)]
        inner = _Grower(self.random, list(inputs), self.smooth)
        for _ in range(self.random.randint(0, 4)):
            inner.nodes.extend(inner.elementwise())
        outputs = [self.random.choice([n for n in inner.nodes if n.type == t]) for t in like]
        return Graph(kinds, outputs)

    def cond(self) -> list[Node]:
        which = self.pick(lambda n: n.dtype.kind in "bi" and not n.shape)
        assert which is not None
        operands = [n for n in (self.array("f", 0), self.array("fi", 0)) if n is not None]
        kinds = [n.type for n in operands]
        branches = tuple(self.body(kinds, kinds) for _ in range(2))
        return list(results(make(Cond(branches), (which, *operands))))

    def loop(self) -> list[Node]:
        carries = [n for n in (self.array("f", 0), self.array("f", 0)) if n is not None]
        captured = [n for n in (self.array("f", 0), self.array("b", 0), constant(2.0)) if n is not None]
        xs = self.array("f", 1)
        scanned = [] if xs is None else [xs]
        length = self.random.randint(0, 3) if xs is None else xs.shape[0]
        trips = constant(length) if isinstance(length, int) else make(SizeOf(length))
        slices = [Type(n.shape[1:], n.dtype) for n in scanned]
        kinds = [Type((), INT64), *(n.type for n in carries), *slices, *(n.type for n in captured)]
        like = [n.type for n in carries]
        if self.random.random() < 0.5:  # a map
            kinds = [kinds[0], *slices, *(n.type for n in captured)]
            body = self.body(kinds, [captured[0].type])
            return list(
                results(make(Loop("map", body, None, 0, len(scanned), length), (trips, *scanned, *captured)))
            )
        body = self.body(kinds, [*like, captured[0].type])
        op = Loop("count", body, None, len(carries), len(scanned), length, self.random.random() < 0.5)
        return list(results(make(op, (trips, *carries, *scanned, *captured))))


__all__ = ["SIZES", "Program", "arguments", "evaluate", "graphs"]
