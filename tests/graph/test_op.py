"""Ops as data: texts that tell them apart, and result types."""

from dataclasses import FrozenInstanceError, fields
from typing import get_args

import numpy as np
import pytest

from chainrule.graph import op as ops
from chainrule.graph.dim import size
from chainrule.graph.dtype import BOOL, COMPLEX128, FLOAT32, FLOAT64, INT64
from chainrule.graph.node import Graph, make, scalar
from chainrule.graph.op import Const, Input, Op, Type, encode, infer

N = size("n")
V = Type((N,), FLOAT64)
A = Type((N, 3), FLOAT64)
S = Type((), FLOAT64)
I0 = Type((), INT64)


def graph(*kinds):
    xs = [make(Input(0, i, t)) for i, t in enumerate(kinds)]
    return Graph(kinds, [scalar("neg", xs[-1])])


EXAMPLES = [
    Input(0, 0, S),
    Input(1, 0, S),
    Input(0, 1, S),
    Input(0, 0, V),
    Const(S, np.float64(0.0).tobytes()),
    Const(S, np.float64(-0.0).tobytes()),
    Const(S, np.float64(np.nan).tobytes()),
    Const(I0, np.int64(0).tobytes()),
    Const(Type((), BOOL), np.bool_(True).tobytes()),
    ops.SizeOf(N),
    ops.SizeOf(N + 1),
    ops.SizeOf(3),
    ops.Iota(N),
    ops.Iota(3),
    ops.Scalar("sin"),
    ops.Scalar("cos"),
    ops.Cast(FLOAT32),
    ops.Cast(FLOAT64),
    ops.Stop(),
    ops.Reduce("sum", (0,)),
    ops.Reduce("sum", (0, 1)),
    ops.Reduce("max", (0,)),
    ops.Cumulative("sum", 0),
    ops.Cumulative("sum", 0, True),
    ops.Broadcast((N, 3), (0,)),
    ops.Broadcast((N, 3), (1,)),
    ops.Transpose((1, 0)),
    ops.Transpose((0, 1)),
    ops.Reshape((6,)),
    ops.Reshape((N,)),
    ops.Slice((0,), (3,), (1,)),
    ops.Slice((0,), (3,), (2,)),
    ops.Reverse((0,)),
    ops.Reverse((1,)),
    ops.Pad((1,), (0,), (0,)),
    ops.Pad((0,), (1,), (0,)),
    ops.Concatenate(0),
    ops.Concatenate(1),
    ops.Insert((0,), (1,)),
    ops.Insert((1,), (1,)),
    ops.Gather((0,)),
    ops.Gather((1,)),
    ops.Scatter((0,), "add"),
    ops.Scatter((0,), "set"),
    ops.Contract((0,), (0,), ()),
    ops.Contract((0,), (0,), (0,)),
    ops.Linalg("solve"),
    ops.Linalg("solve", transposed=True),
    ops.Linalg("solve", lower=False),
    ops.Linalg("inv"),
    ops.Sort(0),
    ops.Sort(0, indices=True),
    ops.Random("normal", (3,)),
    ops.Random("uniform", (3,)),
    ops.Cond((graph(S),)),
    ops.Cond((graph(S), graph(S))),
    ops.Loop("map", graph(I0), None, 0, 0, 3),
    ops.Loop("map", graph(I0), None, 0, 0, N),
    ops.Call(graph(S), "a"),
    ops.Call(graph(S), "b"),
    ops.Callback("k", (S,)),
    ops.Callback("k", (S,), 0),
    ops.Callback("k", (S,), 1),
    ops.Project(0),
    ops.Project(1),
]


def test_every_family_has_an_example():
    assert {type(op) for op in EXAMPLES} == set(get_args(Op))


def test_texts_tell_ops_apart():
    texts = [encode(op) for op in EXAMPLES]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("op", EXAMPLES, ids=lambda op: type(op).__name__)
def test_ops_are_immutable_data(op):
    assert hash(op) == hash(op)
    name = fields(op)[0].name if fields(op) else "x"
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        setattr(op, name, None)


def test_constants_are_their_bits():
    value = Const(Type((2,), FLOAT64), np.array([-0.0, np.nan]).tobytes()).value
    assert np.signbit(value[0])
    assert np.isnan(value[1])


@pytest.mark.parametrize(
    ("op", "arguments", "expected"),
    [
        (ops.Scalar("add"), [V, S], V),
        (ops.Scalar("add"), [S, V], V),
        (ops.Scalar("lt"), [V, V], Type((N,), BOOL)),
        (ops.Scalar("where"), [Type((N,), BOOL), S, S], V),
        (ops.Scalar("exp"), [I0], S),
        (ops.Scalar("abs"), [Type((), COMPLEX128)], S),
        (ops.Scalar("complex"), [S, S], Type((), COMPLEX128)),
        (ops.Reduce("sum", (0,)), [A], Type((3,), FLOAT64)),
        (ops.Reduce("argmax", (1,)), [A], Type((N,), INT64)),
        (ops.Reduce("any", (0, 1)), [Type((N, 3), BOOL)], Type((), BOOL)),
        (ops.Cumulative("sum", 0), [A], A),
        (ops.Broadcast((N, 3), (0,)), [V], A),
        (ops.Transpose((1, 0)), [A], Type((3, N), FLOAT64)),
        (ops.Reshape((3 * N,)), [A], Type((3 * N,), FLOAT64)),
        (ops.Slice((0, 1), (N, 2), (1, 1)), [A], Type((N, 2), FLOAT64)),
        (ops.Pad((1,), (2,), (0,)), [V], Type((N + 3,), FLOAT64)),
        (ops.Pad((0,), (0,), (1,)), [V], Type((2 * N - 1,), FLOAT64)),
        (ops.Concatenate(0), [V, V], Type((2 * N,), FLOAT64)),
        (ops.Gather((0,)), [A, Type((5,), INT64)], Type((5, 3), FLOAT64)),
        (ops.Gather((1,)), [A, I0], V),
        (ops.Contract((0, 1), (1,), (0,)), [A, Type((3,), FLOAT64)], V),
        (ops.Linalg("slogdet"), [Type((4, 2, 2), FLOAT64)], (Type((4,), FLOAT64),) * 2),
        (ops.Linalg("eigh"), [Type((2, 2), COMPLEX128)], (Type((2,), FLOAT64), Type((2, 2), COMPLEX128))),
        (ops.Sort(0, indices=True), [V], Type((N,), INT64)),
        (ops.Random("bits", (3,)), [I0], Type((3,), INT64)),
        (ops.Loop("map", graph(I0, S), None, 0, 1, N), [I0, V], (V,)),
        (ops.Project(1), [(S, V)], V),
    ],
    ids=lambda x: type(x).__name__,
)
def test_result_types(op, arguments, expected):
    assert infer(op, arguments) == expected


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (ops.Scalar("add"), [V, Type((3,), FLOAT64)]),
        (ops.Broadcast((N, 3), (1,)), [V]),
        (ops.Reshape((N,)), [A]),
        (ops.Contract((0,), (0,), ()), [V, Type((N,), FLOAT32)]),
    ],
)
def test_ill_typed_nodes_are_refused(op, arguments):
    with pytest.raises(AssertionError):
        infer(op, arguments)
