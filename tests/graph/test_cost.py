"""Costs rank alternatives: the orders of magnitude that everyone agrees on."""

import pytest

from chainrule.graph.cost import UNKNOWN, Cost, graph_cost, node_cost, primitive_cost
from chainrule.graph.dim import size
from chainrule.graph.dtype import FLOAT64, INT64
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import Broadcast, Cond, Contract, Input, Linalg, Loop, Reduce, SizeOf, Type
from chainrule.graph.scalar import PRIMITIVES

N = size("n")
S = Type((), FLOAT64)
I0 = Type((), INT64)


def variable(kind=S, position=0):
    return make(Input(0, position, kind))


def test_primitives_are_ranked():
    cost = {name: primitive_cost(name).operations for name in PRIMITIVES}
    assert min(cost.values()) > 0
    assert cost["mul"] < cost["div"] < cost["exp"] < cost["pow"] < cost["gamma"]


def test_elementwise_counts_elements_once():
    x = variable(Type((N,), FLOAT64))
    y = scalar("exp", x)
    graph = Graph([x.type], [scalar("mul", y, y)])
    assert graph_cost(graph).operations == 19 * UNKNOWN
    assert graph_cost(graph, {"n": 10}).operations == 190
    assert graph_cost(graph, {"n": 10}).bytes == 160
    assert graph_cost(graph).latency == graph_cost(graph, {"n": 10}).latency


def test_views_are_free():
    x = variable()
    assert node_cost(make(Broadcast((N,), ()), (x,)), {}) == Cost(0, 0)


def test_latency_is_the_longest_chain():
    x = variable()
    chain = scalar("exp", scalar("exp", x))
    wide = scalar("add", scalar("exp", x), scalar("sin", x))
    assert graph_cost(Graph([S], [chain])).latency == 2 * primitive_cost("exp").latency
    assert (
        graph_cost(Graph([S], [wide])).latency
        == primitive_cost("exp").latency + primitive_cost("add").latency
    )


def loop(condition, trips, length=None):
    body = Graph([I0, S], [scalar("exp", variable(S, 1))])
    return results(make(Loop(condition, body, None, 1, 0, length), (trips, variable(S, 0))))[0]


def test_loops_cost_their_trips():
    ten, thousand = (graph_cost(Graph([S], [loop("count", constant(t))])) for t in (10, 1000))
    assert thousand.operations == 100 * ten.operations
    named = graph_cost(Graph([S], [loop("count", make(SizeOf(N)))]), {"n": 10})
    assert named == ten
    unknown = graph_cost(Graph([S, I0], [loop("count", variable(I0, 1))]))
    assert unknown.operations == thousand.operations


def test_a_branch_costs_its_dearest():
    x = variable()
    branches = (Graph([S], [x]), Graph([S], [scalar("gamma", x)]))
    node = make(Cond(branches), (variable(I0, 1), x))
    assert node_cost(node, {}).operations == primitive_cost("gamma").operations


@pytest.mark.parametrize("kind", ["cholesky", "solve", "inv", "det", "eigh", "solve_triangular"])
def test_linear_algebra_grows_with_the_size(kind):
    def cost(n):
        a, b = variable(Type((n, n), FLOAT64)), variable(Type((n, 2), FLOAT64), 1)
        return node_cost(make(Linalg(kind), (a, b) if "solve" in kind else (a,)), {}).operations

    assert 3.5 < cost(100) / cost(50) < 8.5


def test_matrix_product_and_sum():
    a, b = variable(Type((10, 20), FLOAT64)), variable(Type((20, 30), FLOAT64), 1)
    assert node_cost(make(Contract((0, 1), (1, 2), (0, 2)), (a, b)), {}).operations == 12000
    assert node_cost(make(Reduce("sum", (0, 1)), (a,)), {}).operations == 200


def test_printing():
    assert str(Cost(1234.0, 5.0, 8.0)) == "1.23e+03 operations, latency 5 cycles, 8 bytes"
