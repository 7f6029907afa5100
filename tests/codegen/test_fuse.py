"""What is stored, what is recomputed, and which loops are one."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.codegen import ir
from chainrule.codegen.fma import fused_products
from chainrule.codegen.fuse import plan
from chainrule.codegen.lower import lower
from chainrule.graph import express as ex
from chainrule.graph.dim import size
from chainrule.graph.express import NODES as m
from chainrule.graph.node import Graph, Node
from tests.codegen.lowering import check, inputs, loops

n = size("n")
X = np.random.default_rng(3).normal(size=50)


def graph(arguments: tuple[Node, ...], *outputs: Node) -> Graph:
    return Graph([a.type for a in arguments], outputs)


def total(x: Node) -> Node:
    return ex.reduce("sum", x, tuple(range(len(x.shape))))


def count(kernel: ir.Kernel, name: str) -> int:
    """How often a primitive stands in a kernel."""
    return repr(kernel).count(f"name='{name}'")


def test_sums_of_one_space_and_stage_are_one_loop() -> None:
    (x,) = inputs((n,))
    e = m.exp(x)
    outputs = [total(e), total(e * x), total(e * x * x), ex.reduce("max", x, (0,)), m.sqrt(e)]
    exp = np.exp(X)
    kernel = check(
        [x],
        outputs,
        [X],
        [exp.sum(), (exp * X).sum(), (exp * X * X).sum(), X.max(), np.sqrt(exp)],
        rtol=1e-12,
    )
    assert loops(kernel) == [("lanes", 0)]
    assert count(kernel, "exp") == 1


def test_a_sum_that_needs_a_sum_is_a_second_loop() -> None:
    (x,) = inputs((n,))
    mean = total(x) / 50.0
    centred = x - ex.spread(mean, (n,))
    kernel = check([x], [total(centred * centred)], [X], [((X - X.mean()) ** 2).sum()], rtol=1e-12)
    assert loops(kernel) == [("lanes", 0), ("lanes", 0)]
    assert kernel.workspace == 0


def test_what_is_dear_is_stored_for_the_second_loop_and_what_is_cheap_is_not() -> None:
    (x,) = inputs((n,))
    for function, truth, exps in ((m.exp, np.exp, 1), (lambda v: v * v, np.square, 0)):
        y: Any = function(x)
        shares = y / ex.spread(total(y), (n,))
        kernel = check([x], [total(shares * x)], [X], [(truth(X) / truth(X).sum() * X).sum()], rtol=1e-12)
        assert count(kernel, "exp") == exps
        assert bool(plan(graph((x,), total(shares * x))).stored) == bool(exps)


def test_an_output_that_others_read_is_stored_once() -> None:
    (x,) = inputs((n,))
    y = m.exp(x)
    spread = y / ex.spread(total(y), (n,))
    exp = np.exp(X)
    kernel = check([x], [y, spread], [X], [exp, exp / exp.sum()], rtol=1e-12)
    assert count(kernel, "exp") == 1
    assert kernel.workspace == 0
    check([x], [y, y, x], [X], [exp, exp, X])


def test_contiguous_axes_collapse() -> None:
    a, b = inputs((n, 7), (n, 7))
    data = np.random.default_rng(1).normal(size=(9, 7))
    kernel = check(
        [a, b],
        [total(a * b), m.sin(a)],
        [data, data + 1],
        [(data * (data + 1)).sum(), np.sin(data)],
        rtol=1e-12,
    )
    assert loops(kernel) == [("lanes", 0)]
    (v,) = inputs((n,))
    wide = ex.broadcast(m.exp(v), (n, 7), (0,))
    outer = lower(graph((v,), total(wide * wide)), "kernel")
    assert loops(outer) == [("serial", 0), ("lanes", 1)]


def test_what_depends_on_the_outer_index_leaves_the_inner_loop() -> None:
    (v,) = inputs((n,))
    (pieces,) = [s for s in lower(graph((v,), _wide(v)), "kernel").body if isinstance(s, ir.For)]
    (kernel_loop,) = [s for s in pieces.body if isinstance(s, ir.For)]
    inner = [s for s in kernel_loop.body if isinstance(s, ir.For)]
    assert "name='exp'" in repr(kernel_loop.body)
    assert "name='exp'" not in repr(inner)


def _wide(v: Node) -> Node:
    return ex.broadcast(m.exp(v), (n, 9), (0,))


def test_small_axes_are_unrolled() -> None:
    (a,) = inputs((n, 3))
    data = np.random.default_rng(1).normal(size=(20, 3))
    columns = ex.reduce("sum", a, (0,))
    rows = ex.reduce("sum", m.exp(a), (1,))
    kernel = check([a], [columns, rows], [data], [data.sum(0), np.exp(data).sum(1)], rtol=1e-12)
    assert {kind for kind, _ in loops(kernel)} == {"lanes"}
    assert count(kernel, "exp") == 3


def test_fused_multiply_add() -> None:
    x, y, z = inputs((), (), ())
    for node, truth in [
        (x * y + z, 2 * 3 + 5),
        (z + x * y, 2 * 3 + 5),
        (x * y - z, 2 * 3 - 5),
        (z - x * y, 5 - 2 * 3),
        (m.square(x) + z, 4 + 5),
    ]:
        kernel = check([x, y, z], [node], [2.0, 3.0, 5.0], [truth])
        assert repr(kernel).count("Fma(") == 1
        assert count(kernel, "mul") == 0
    product = x * y
    assert not fused_products(graph((x, y, z), product + z, product))[1], "a product with another reader"
    assert len(fused_products(graph((x, y, z), x * y + y * z))[1]) == 1


def test_fused_multiply_add_rounds_once() -> None:
    x, y, z = inputs((), (), ())
    from fractions import Fraction

    from chainrule.codegen.function import call
    from chainrule.codegen.kernel import compile_graph

    kernel = compile_graph(graph((x, y, z), x * y - z), "kernel")
    a, b = 1 + 2.0**-30, 1 - 2.0**-30
    exact = Fraction(a) * Fraction(b) - 1
    assert float(call(kernel.address, kernel.signature, [a, b, 1.0], [])) == float(exact) == -(2.0**-60)
