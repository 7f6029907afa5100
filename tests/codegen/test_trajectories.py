"""Memory that a loop fills step by step: what it begins with matters only if something reads it.

The interpreter's scratch memory begins as NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen.kernel import signature_of
from chainrule.codegen.lower import lower
from chainrule.codegen.trajectories import counter_of, is_written_first
from chainrule.codegen.verify import verify
from chainrule.graph.dtype import FLOAT64
from chainrule.graph.express import NODES as m
from chainrule.graph.express import zeros
from chainrule.graph.node import Graph, Node, constant, make
from chainrule.graph.op import Gather, Input, Loop, Scatter, Type
from tests.codegen.loopir_interpreter import run
from tests.graph.test_structured import count, until

STARTS = [0.5, 1.5, 3.0, 9.0, 20.0, 30.0]


def filled(x: Any) -> Any:
    """x, x/2, … as long as they are greater than 1, and how many they are."""
    y, k = np.zeros(6), 0
    while x > 1.0:
        y[k] = x
        x = x / 2
        k = k + 1
    return y, k


def halves(x: float) -> np.ndarray:
    steps = max(0, int(np.ceil(np.log2(x))))
    return np.array([x / 2.0**k if k < steps else 0.0 for k in range(6)])


def read_back(x: Any) -> Any:
    y, k = filled(x)
    total = 0.0
    for i in range(k):
        total = total + y[i]
    return total


def read_beyond(x: Any) -> Any:
    y, k = filled(x)
    total = 0.0
    for i in range(k + 1):
        total = total + y[i]
    return total


def read_elsewhere(x: Any) -> Any:
    y, k = filled(x)
    total = 0.0
    for i in range(k):
        total = total + y[i] + y[5 - i]
    return total


def read_inside(x: Any) -> Any:
    y, k, total = np.zeros(6), 0, 0.0
    while x > 1.0:
        y[k] = x
        total = total + y[5]
        x = x / 2
        k = k + 1
    for i in range(k):
        total = total + y[i]
    return total


def written_elsewhere(x: Any) -> Any:
    y, k = np.zeros(6), 0
    while x > 1.0:
        y[5 - k] = x
        x = x / 2
        k = k + 1
    total = 0.0
    for i in range(k):
        total = total + y[i]
    return total


def whole(x: Any) -> Any:
    return np.sum(filled(x)[0])


def _elsewhere(y: np.ndarray) -> float:
    steps = np.count_nonzero(y)
    return float(np.sum(y) + np.sum(y[::-1][:steps]))


def _from_the_end(y: np.ndarray) -> float:
    return float(np.sum(y[::-1][: np.count_nonzero(y)]))


# name: (function, its value from the halves)
PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[np.ndarray], float]]] = {
    "read back": (read_back, lambda y: float(np.sum(y))),
    "beyond": (read_beyond, lambda y: float(np.sum(y))),
    "elsewhere": (read_elsewhere, _elsewhere),
    "inside": (read_inside, lambda y: float(np.sum(y) + y[5] * np.count_nonzero(y))),
    "written elsewhere": (written_elsewhere, _from_the_end),
    "whole": (whole, lambda y: float(np.sum(y))),
    "gradient": (cr.jacrev(whole), lambda y: float(np.sum(y) / y[0]) if y[0] else 0.0),
}


def first_of(graph: Graph) -> list[bool]:
    """For the arrays that `while` loops carry, whether they are written first."""
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Loop) and node.op.condition == "predicate":
            arrays = [k for k in range(node.op.carries) if node.args[k].shape]
            found += [is_written_first(graph, node, k, counter_of(node)) for k in arrays]
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_an_array_begins_with(name: str) -> None:
    function, value = PROGRAMS[name]
    graph = cr.trace(cr.jit(function), cr.spec())
    kernel = lower(graph, "kernel")
    verify(kernel)
    signature = signature_of(graph, workspace=kernel.workspace)
    for x in STARTS:
        expected = value(halves(x))
        (found,) = run(kernel, signature, x)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        np.testing.assert_allclose(cr.jit(function)(x), expected, rtol=1e-14)
    if name != "gradient":  # an index of the program's may count from the end
        assert first_of(graph) == [False]


def test_the_trajectory_of_a_loop_in_reverse_is_written_first() -> None:
    def root(x: Any) -> Any:
        y, step = x, 1.0
        while np.abs(step) > 1e-12:
            step = 0.5 * (y - x / y)
            y = y - step
        return y

    graph = cr.trace(cr.jit(cr.jacrev(root)), cr.spec())
    stacks = first_of(graph)
    assert stacks and all(stacks)
    kernel = lower(graph, "kernel")
    (slope,) = run(kernel, signature_of(graph, workspace=kernel.workspace), 9.0)
    np.testing.assert_allclose(slope, 1 / 6, rtol=1e-14)


# name: (number of steps back, place that step i reads, whether that was written)
READERS: dict[str, tuple[Callable[[Node], Node], Callable[[Node], Node], bool]] = {
    "as many steps": (lambda n: n, lambda i: i, True),
    "at most as many": (lambda n: m.minimum(n, 4), lambda i: i, True),
    "one more": (lambda n: n + 1, lambda i: i, False),
    "another place": (lambda n: n, lambda i: 5 - i, False),
    "the place before": (lambda n: n, lambda i: i - 1, False),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_of_a_trajectory(name: str) -> None:
    steps, place, written = READERS[name]
    get, put = Gather((0,)), Scatter((0,), "set")

    def program(*, whole: bool) -> Graph:
        x = make(Input(0, 0, Type((), FLOAT64)))
        _, n, y = until(
            lambda x, k, y: m.gt(x, 1.0),
            lambda x, k, y: (x * 0.5, k + 1, make(put, (y, x, k))),
            [x, constant(0), zeros(Type((6,), FLOAT64))],
        )
        (total,) = count(
            steps(n), lambda i, total, y: total + make(get, (y, place(i))), [constant(0.0)], captured=[y], reverse=True
        )
        return Graph([x.type], [total, y] if whole else [total])

    graph = program(whole=False)
    assert first_of(graph) == [written] and first_of(program(whole=True)) == [False]
    kernel = lower(graph, "kernel")
    verify(kernel)
    for x in STARTS:
        y = halves(x)
        n = {"at most as many": min(4, np.count_nonzero(y)), "one more": np.count_nonzero(y) + 1}
        places = {"another place": lambda i: 5 - i, "the place before": lambda i: max(i - 1, 0)}
        read = [y[places.get(name, lambda i: i)(i)] for i in range(n.get(name, np.count_nonzero(y)))]
        (found,) = run(kernel, signature_of(graph, workspace=kernel.workspace), x)
        np.testing.assert_allclose(found, np.sum(read), rtol=1e-14)


def test_a_loop_that_counts_from_elsewhere_has_no_counter() -> None:
    def counts(start: int, by: int) -> list[int | None]:
        def program(x: Any) -> Any:
            k = start
            while k < x:
                k = k + by
            return k

        graph = cr.trace(program, cr.spec())
        loops: list[Node] = [n for n in graph.nodes if isinstance(n.op, Loop)]
        assert graph.inputs == (Type((), FLOAT64),)
        return [counter_of(n) for n in loops]

    assert counts(0, 1) == [0]
    assert counts(1, 1) == [None]
    assert counts(0, 2) == [None]
