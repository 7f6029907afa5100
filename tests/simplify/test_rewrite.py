"""The driver: to a fixed point, iteratively, in linear time, keeping provenance."""

import numpy as np
import pytest

from chainrule.graph.dtype import FLOAT64, INT64
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import Call, Cond, Input, Loop, Type
from chainrule.simplify.pattern import P, Wild, on, rule
from chainrule.simplify.pipeline import FULL
from chainrule.simplify.rewrite import Driver, Table, rewrite

x, y = Wild("x"), Wild("y")
S, I0 = Type((), FLOAT64), Type((), INT64)


def variable(i=0, kind=S):
    return make(Input(0, i, kind))


def run(table, *outputs, kinds=(S, S)):
    return rewrite(Graph(kinds, outputs), Table(table)).outputs


def test_to_a_fixed_point():
    a = variable()
    deep = a
    for _ in range(10):
        deep = scalar("neg", deep)
    assert run([rule(P.neg(P.neg(x)), x)], deep) == (a,)


def test_replacements_are_rewritten_in_turn():
    a = variable()
    table = [rule(P.tan(x), P.sin(x) / P.cos(x)), rule(P.sin(x), P.exp(x)), rule(P.cos(x), P.log(x))]
    assert run(table, scalar("tan", a)) == (scalar("div", scalar("exp", a), scalar("log", a)),)


def test_the_first_rule_wins():
    a = variable()
    assert run([rule(P.sin(x), x), rule(P.sin(x), -x)], scalar("sin", a)) == (a,)
    assert run([rule(P.sin(x), -x), rule(P.sin(x), x)], scalar("sin", a)) == (scalar("neg", a),)


def test_tables_add():
    first, second = Table([rule(P.sin(x), x)]), Table([[rule(P.cos(x), x)]])
    assert len(first + second) == 2
    assert [r.root for r in first + second] == ["sin", "cos"]


@pytest.mark.parametrize(
    "rules",
    [
        [rule(P.sin(x), P.cos(x)), rule(P.cos(x), P.sin(x))],
        [rule(x + y, y + x)],
        [rule(P.sin(x), P.exp(P.sin(x)))],
        [rule(P.exp(x), P.exp(x + 1))],
        [rule(P.sin(x), P.sin(P.exp(x)) + P.sin(x))],
    ],
    ids=lambda rules: rules[0].name,
)
def test_rules_that_run_in_circles_end(rules):
    a = variable()
    node = scalar("add", scalar("sin", a), scalar("exp", variable(1)))
    once = run(rules, node)
    assert once == run(rules, node)


def test_deep_graphs_do_not_recurse():
    node = variable()
    for _ in range(100_000):
        node = scalar("sin", node)
    assert run([rule(P.cos(x), x)], node) == (node,)


def test_steps_are_linear():
    def steps(length):
        a = b = variable()
        for _ in range(length):
            a, b = (
                scalar("add", scalar("mul", a, constant(1.0)), b),
                scalar("exp", scalar("neg", scalar("neg", a))),
            )
        driver = Driver(FULL)
        driver.graph(Graph([S], [a, b]))
        return driver.steps

    small, large = steps(500), steps(5000)
    assert large < 10.5 * small


def test_shared_nodes_are_rewritten_once():
    calls = []

    @on("sin")
    def count(node):
        calls.append(node)

    node = scalar("sin", variable())
    for _ in range(100):
        node = scalar("add", node, node)
    run([count], node)
    assert len(calls) == 1


def test_provenance_is_inherited():
    a = variable()
    old = scalar("mul", scalar("exp", a), constant(1.0))
    other = scalar("neg", scalar("neg", a))
    graph = Graph([S], [old, other], ["a"], {old: "line 1", other: "line 2", a: "line 0"})
    found = rewrite(graph, Table([rule(x * 1, x), rule(P.neg(P.neg(x)), x)]))
    assert found.provenance[scalar("exp", a)] == "line 1"
    assert found.provenance[a] == "line 0"
    assert found.names == ("a",)


def test_bodies_are_rewritten_wherever_they_are():
    a = variable()
    table = [rule(P.sin(x), x)]
    inner = Graph([S], [scalar("sin", a)])
    cond = Graph(
        [S, I0],
        results(make(Cond((inner, Graph([S], [scalar("sin", scalar("exp", a))]))), (variable(1, I0), a))),
    )
    call = Graph([S], results(make(Call(inner, "rule"), (a,))))
    body = Graph([I0, S], results(make(Call(inner, "rule"), (variable(1),))))
    loop = Graph([S], results(make(Loop("count", body, None, 1, 0, None), (constant(5), a))))
    plain = Graph([S], [a])
    assert rewrite(cond, Table(table)).outputs[0].args[0].op.branches == (
        plain,
        Graph([S], [scalar("exp", a)]),
    )
    assert rewrite(call, Table(table)).outputs[0].args[0].op.body == plain
    assert rewrite(loop, Table(table)).outputs[0].args[0].op.body.outputs[0].args[0].op.body == plain


def test_a_body_inside_its_own_context():
    # the same node occurs in the graph and, closed, in a body, while it waits for its replacement
    a = variable()
    body = Graph([S], [scalar("sin", a)])

    @on("sin")
    def call(node):
        if node.args[0] is a:
            return results(make(Call(Graph([S], [scalar("sin", scalar("exp", a))]), "r"), node.args))[0]
        return node.args[0]

    found = run([call], scalar("sin", a), results(make(Call(body, "r"), (a,)))[0])
    assert found[0].args[0].op.body.outputs[0] is scalar("exp", a)


def test_results_of_a_node_are_replaced_together():
    a, b = variable(0), variable(1)
    body = Graph([S, S], [a, b])
    swap = results(make(Call(body, "swap"), (b, a)))

    @on(Call)
    def inline(node):
        return node.op.body.apply(node.args)

    assert run([inline], scalar("sub", swap[0], swap[1])) == (scalar("sub", b, a),)


def test_ill_typed_rules_are_caught():
    array = make(Input(0, 0, Type((3,), FLOAT64)))

    @on("exp")
    def wrong(node):
        return constant(1.0)

    with pytest.raises(AssertionError):
        run([wrong], scalar("exp", array), kinds=(array.type,))


def test_deterministic_in_spite_of_hashes():
    rng = np.random.default_rng(0)
    nodes = [variable(i) for i in range(2)]
    for _ in range(300):
        a, b = (nodes[i] for i in rng.integers(0, len(nodes), 2))
        nodes.append(scalar(str(rng.choice(["add", "mul", "sub", "div"])), a, b))
    graph = Graph([S, S], [nodes[-1]])
    assert rewrite(graph, FULL).digest == rewrite(graph, FULL).digest
