"""Loops of which one computes all that another computes."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule.graph.node import Graph
from chainrule.graph.op import Call, Cond, Loop


def loops(graph: Graph) -> int:
    """All loops, those inside bodies too."""
    count = 0
    for node in graph.nodes:
        op = node.op
        inner = [op.body] if isinstance(op, (Loop, Call)) else op.branches if isinstance(op, Cond) else []
        count += isinstance(op, Loop) + sum(map(loops, inner))
    return count


def energy(p: Any) -> Any:
    def step(state: Any, _: Any) -> Any:
        q, v = state
        v = v - 0.01 * q * (p[1] + p[2] * q * q)
        return (q + 0.01 * v, v), None

    (q, v), _ = cr.scan(step, (p[0], 0.0 * p[0]), None, length=100)
    return v * v + q * q * p[3]


def value_and_pull(function: Any) -> Any:
    def both(p: Any) -> Any:
        value, pull = cr.vjp(function, p)
        return value, pull(1.0)[0]

    return both


P = np.array([0.9, 1.3, 0.4, 0.2])


def test_a_value_and_its_reverse_mode_share_the_loop() -> None:
    graph = cr.trace(cr.jit(value_and_pull(energy)), cr.spec(4))
    assert loops(graph) == 2
    value, gradient = cr.jit(value_and_pull(energy))(P)
    assert value == energy(P)
    np.testing.assert_allclose(gradient, cr.jacfwd(energy)(P), rtol=1e-12)


def test_inside_another_loop() -> None:
    def descend(p: Any) -> Any:
        total = 0.0
        for _ in range(30):
            value, pull = cr.vjp(energy, p)
            p = p - 0.01 * pull(1.0)[0]
            total = total + value
        return total

    graph = cr.trace(cr.jit(descend), cr.spec(4))
    assert loops(graph) == 3
    p, total = P, 0.0
    for _ in range(30):
        total += energy(p)
        p = p - 0.01 * cr.jacfwd(energy)(p)
    np.testing.assert_allclose(cr.jit(descend)(P), total, rtol=1e-12)


def test_a_value_and_its_forward_mode_share_the_loop() -> None:
    def both(p: Any, t: Any) -> Any:
        value, push = cr.linearize(energy, p)
        return value, push(t)

    assert loops(cr.trace(cr.jit(both), cr.spec(4), cr.spec(4))) == 1


def test_loops_of_unknown_length() -> None:
    def root(a: Any) -> Any:
        return cr.while_loop(lambda x: np.abs(x * x - a[0]) > 1e-13, lambda x: (x + a[0] / x) / 2, a[0] + a[1])

    value, gradient = cr.jit(value_and_pull(root))(np.array([2.0, 1.0]))
    np.testing.assert_allclose(value, np.sqrt(2), rtol=1e-13)  # what the loop ends with
    np.testing.assert_allclose(gradient, [0.5 / np.sqrt(2), 0.0], atol=1e-12)


def test_what_depends_on_the_other_is_not_shared() -> None:
    """The second loop reads a result of the first, with which it has its carry in common."""

    def program(x: Any) -> Any:
        first = cr.fori_loop(0, 50, lambda i, s: np.sin(s) + x, x)
        return cr.fori_loop(0, 50, lambda i, s: (np.sin(s[0]) + x, s[1] * first), (x, x))

    graph = cr.trace(cr.jit(program), cr.spec())
    assert loops(graph) == 2
    first = 0.3
    for _ in range(50):
        first = np.sin(first) + 0.3
    np.testing.assert_allclose(cr.jit(program)(0.3), [first, 0.3 * first**50], rtol=1e-12)


def test_other_loops_stay() -> None:
    def program(x: Any) -> Any:
        a = cr.fori_loop(0, 50, lambda i, s: np.sin(s) + x, x)
        b = cr.fori_loop(0, 51, lambda i, s: np.sin(s) + x, x)
        c = cr.fori_loop(0, 50, lambda i, s: np.cos(s) + x, x)
        return a, b, c

    assert loops(cr.trace(cr.jit(program), cr.spec())) == 3


def test_three_numbers_go_forward_through_a_loop_and_four_in_reverse() -> None:
    three = cr.trace(cr.grad(lambda p: energy([p[0], p[1], p[2], 1.0])), cr.spec(3))
    assert (loops(three), loops(cr.trace(cr.grad(energy), cr.spec(4)))) == (1, 2)
