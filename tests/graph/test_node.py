"""Nodes are interned, traversals do not recurse, digests are the same in every process."""

import gc
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from chainrule.graph import node as nodes
from chainrule.graph.dim import size
from chainrule.graph.dtype import FLOAT64, INT64
from chainrule.graph.node import (
    Graph,
    const_value,
    constant,
    make,
    rebuild,
    results,
    scalar,
    substitute,
    topological,
)
from chainrule.graph.op import Concatenate, Input, Loop, Project, Reduce, Scalar, Type

S = Type((), FLOAT64)


def variable(position=0, level=0, kind=S):
    return make(Input(level, position, kind))


def chain(length, start=None):
    node = variable() if start is None else start
    for _ in range(length):
        node = scalar("sin", node)
    return node


def test_equal_structure_is_one_object():
    x, y = variable(0), variable(1)
    assert scalar("add", x, y) is scalar("add", x, y)
    assert scalar("add", x, y) is not scalar("add", y, x)
    assert variable(0, level=1) is not x
    assert constant(1.0) is constant(np.float64(1.0))


def test_constants_are_told_apart_by_type_and_bits():
    values = [constant(0.0), constant(-0.0), constant(0), constant(False),
              constant(0.0, np.dtype(np.float32)),
              constant([0.0]), constant(np.nan)]  # fmt: skip
    assert len(set(values)) == len(values)
    assert constant(np.nan) is constant(np.nan)
    assert const_value(constant(True)) is True
    assert const_value(constant([1.0])) is None
    assert const_value(variable()) is None
    assert const_value(constant(2)) == 2


def test_equality_is_identity():
    x = variable()
    assert (x == scalar("neg", x)) is False
    assert x == variable()
    assert len({x, variable()}) == 1


def test_operators_build_primitives():
    x, y = variable(0), variable(1)
    assert (x + y).op.name == "add"
    assert (2.0 / x).args[0] is constant(2.0)
    assert x.lt(y).op.name == "lt"
    assert abs(x).op.name == "abs"


def test_dead_nodes_leave_the_table():
    gc.collect()
    before = len(nodes._table)
    node = chain(1000, constant(0.123456789))
    assert len(nodes._table) >= before + 1000
    del node
    gc.collect()
    assert len(nodes._table) <= before + 1


def test_a_million_nodes_deep():
    node = chain(1_000_000)
    graph = Graph([S], [node])
    assert len(graph) == 1_000_001
    del node, graph
    gc.collect()


def test_topological_order_depends_on_structure_only():
    x, y = variable(0), variable(1)
    a = scalar("add", scalar("sin", x), scalar("cos", y))
    assert topological([a]) == [x, scalar("sin", x), y, scalar("cos", y), a]
    assert topological([scalar("cos", y), a])[0] is y


def test_shared_graphs_are_walked_once():
    x = variable()
    for _ in range(200):  # 2^200 paths
        x = scalar("add", x, x)
    assert len(topological([x])) == 201
    assert len(topological(substitute([x], {variable(): variable(1)}))) == 201


def test_substitute_all_at_once():
    x, y = variable(0), variable(1)
    assert substitute([scalar("sub", x, y)], {x: y, y: x}) == (scalar("sub", y, x),)


def test_rebuild_visits_each_node_once():
    x = variable()
    s = scalar("sin", x)
    visited = []

    def visit(node, args):
        visited.append(node)
        return make(node.op, args)

    (out,), mapping = rebuild([scalar("mul", s, s)], {}, visit)
    assert out is scalar("mul", s, s)
    assert len(visited) == len(set(visited)) == 3
    assert mapping[s] is s


def test_levels():
    inner, outer = variable(level=1), variable(level=0)
    assert constant(1.0).level == -1
    assert scalar("add", constant(1.0), outer).level == 0
    assert scalar("add", inner, outer).level == 1
    body = Graph([Type((), INT64), S], [scalar("neg", variable(1))])
    loop = make(Loop("count", body, None, 1, 0, None), (constant(3), outer))
    assert loop.level == 0  # closed bodies do not count


def test_results():
    x = variable()
    body = Graph([Type((), INT64), S], [scalar("neg", variable(1))])
    loop = make(Loop("count", body, None, 1, 0, None), (constant(3), x))
    assert [r.op for r in results(loop)] == [Project(0)]
    assert results(x) == (x,)


def test_graphs_are_equal_by_structure():
    x = variable()
    a, b = Graph([S], [scalar("sin", x)], names=["a"]), Graph([S], [scalar("sin", x)], names=["b"])
    assert a == b
    assert hash(a) == hash(b)
    assert a != Graph([S], [x])
    assert a != Graph([S, S], [scalar("sin", x)])
    assert a != "a"
    assert a.names == ("a",)


def test_apply_and_replace():
    x, y = variable(0), variable(1)
    graph = Graph([S, S], [scalar("sub", x, y)], provenance={x: "line 1"})
    assert graph.apply([y, y]) == (scalar("sub", y, y),)
    assert graph.arguments == (x, y)
    other = graph.replace([x])
    assert other.outputs == (x,)
    assert other.provenance == {x: "line 1"}
    with pytest.raises(ValueError):
        graph.apply([x])


def test_printing():
    n = size("n")
    x = make(Input(0, 0, Type((n,), FLOAT64)))
    total = make(Reduce("sum", (0,)), (scalar("mul", x, constant(2.0)),))
    graph = Graph([x.type], [total], ["x"], {total: "model.py:3"})
    assert str(graph).splitlines() == [
        "%0: float64[n] = input x",
        "%1: float64 = const 2.0",
        "%2: float64[n] = mul %0 %1",
        "%3: float64 = reduce(kind=sum, axes=(0,)) %2    # model.py:3",
        "return %3",
    ]
    assert repr(graph) == str(graph)
    body = Graph([Type((), INT64), S], [scalar("neg", variable(1))])
    loop = make(Loop("count", body, None, 1, 0, None), (constant(3), variable()))
    assert "body=<graph of 2 nodes>" in str(Graph([S], results(loop)))


def test_printing_does_not_recurse():
    assert len(str(Graph([S], [chain(5000)]))) > 5000


# --- pickling and processes --------------------------------------------------------------------------------


def test_pickling_a_deep_node_is_flat():
    node = chain(100_000)
    assert pickle.loads(pickle.dumps(node)) is node


def test_pickling_a_deep_graph_is_flat():
    graph = Graph([S], [chain(100_000), variable()], ["a"])
    data = pickle.dumps(graph)
    found = pickle.loads(data)
    assert found == graph
    assert found.outputs[0] is graph.outputs[0]
    assert found.names == ("a",)
    assert len(data) < 40 * len(graph)


PROGRAM = """
import pickle, sys
from chainrule.graph.dim import size
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import Input, Loop, Reduce, Type
from chainrule.graph.dtype import FLOAT64, INT64
n = size("n")
x = make(Input(0, 0, Type((n * n + 2 * n - 1,), FLOAT64)))
i, c = make(Input(0, 0, Type((), INT64))), make(Input(0, 1, Type((), FLOAT64)))
body = Graph([i.type, c.type], [scalar("mul", c, constant(-0.1))])
total = make(Reduce("sum", (0,)), (scalar("exp", x),))
loop = make(Loop("count", body, None, 1, 0, None), (constant(3), total))
graph = Graph([x.type], results(loop))
print(graph.digest.hex())
if len(sys.argv) > 1:
    print(pickle.load(open(sys.argv[1], "rb")) == graph)
"""


def run(seed, *args):
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_digests_are_the_same_in_every_process(tmp_path):
    (first,) = run("1")
    (second,) = run("2")
    assert first == second
    space = {}
    exec(PROGRAM.split("print")[0], space)
    (tmp_path / "graph").write_bytes(pickle.dumps(space["graph"]))
    assert run("3", str(tmp_path / "graph")) == [first, "True"]


def test_interning_from_many_threads():
    made = []
    barrier = threading.Barrier(8)

    def build():
        barrier.wait()
        made.append(chain(2000, constant(0.987654321)))

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1


def calls_of(work) -> int:
    """The number of functions that are called meanwhile, ours and Python's."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_building_is_linear():
    small = calls_of(lambda: chain(1_000, constant(0.13579)))
    assert calls_of(lambda: chain(8_000, constant(0.24680))) < 9 * small


def test_wide_nodes_are_walked_once():
    def wide(width):
        parts = [make(Input(0, i, Type((1,), FLOAT64))) for i in range(width)]
        return make(Concatenate(0), tuple([scalar("sin", p) for p in parts]))

    few, many = wide(1_000), wide(8_000)
    assert len(topological([many])) == 16_001
    assert calls_of(lambda: topological([many])) < 9 * calls_of(lambda: topological([few]))


def test_equal_graphs_have_equal_digests():
    x = variable()
    a, b = Graph([S], [scalar("tan", x)], ["a"]), Graph([S], [scalar("tan", x)])
    assert a.digest == b.digest
    assert a.digest != Graph([S, S], a.outputs).digest
    assert scalar("tan", x).digest != scalar("tanh", x).digest


def test_a_dead_node_gives_its_place_to_a_new_one():
    # as when the collector has cleared the reference and not yet told the table
    node = scalar("cos", constant(0.314159))
    entry = next(e for e in nodes._table.values() if e() is node)
    key = entry.key
    del node
    nodes._table[key] = entry
    again = make(Scalar("cos"), key[1])
    assert nodes._table[key]() is again
    assert scalar("cos", constant(0.314159)) is again
    nodes._forget(entry)  # the late word changes nothing
    assert nodes._table[key]() is again
