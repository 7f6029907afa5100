"""Graphs as machine code: signatures, hidden inputs, workspaces, limits."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.codegen.function import call
from chainrule.codegen.kernel import Unsupported, compile_graph, signature_of
from chainrule.graph import express as ex
from chainrule.graph.dim import size
from chainrule.graph.dtype import COMPLEX64, COMPLEX128, FLOAT64, INT64
from chainrule.graph.express import NODES as m
from chainrule.graph.node import Graph, make
from chainrule.graph.op import Concatenate, Input, Random, Type
from tests.codegen.lowering import inputs

n, k = size("n"), size("k")


def test_signature_of_sizes_and_results() -> None:
    x, y = inputs((k, n), (n,))
    joined = make(Concatenate(0), (ex.reshape(x, (k * n,)), y))
    graph = Graph([x.type, y.type], [joined, ex.reduce("sum", y, (0,))])
    signature = signature_of(graph)
    assert signature.sizes == ("k", "n")
    assert signature.results[0].shape == (("+", ("*", "k", "n"), "n"),)
    assert signature.tree == (0, 1)
    kernel = compile_graph(graph, "joined")
    a, b = np.arange(6.0).reshape(2, 3), np.array([7.0, 8.0, 9.0])
    result, sum_ = call(kernel.address, kernel.signature, [a, b], [])
    assert result.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert sum_ == 24
    assert [p.name for p in kernel.ir.parameters] == ["x0", "x1", "k", "n", "result0", "result1"]
    assert "define void @joined" in kernel.llvm


def test_hidden_inputs_come_last() -> None:
    x, data, factor = inputs((), (n,), ())
    graph = Graph([x.type, data.type, factor.type], [ex.reduce("sum", data * x * factor, (0,))])
    kernel = compile_graph(graph, "hidden", hidden=2)
    assert len(kernel.signature.inputs) == 1
    assert len(kernel.signature.hidden) == 2
    assert call(kernel.address, kernel.signature, [2.0], [np.array([1.0, 2.0]), 5.0]) == 30


def test_names_of_arguments_never_meet_those_of_sizes_or_of_the_code() -> None:
    x, y, z = inputs((n,), (), ())
    graph = Graph(
        [x.type, y.type, z.type], [ex.reduce("sum", m.exp(x) * y - z, (0,))], names=("n", "t1", "result")
    )
    kernel = compile_graph(graph, "clash")
    assert call(kernel.address, kernel.signature, [np.zeros(3), 2.0, 1.0], []) == 3.0


def test_workspace_is_in_the_signature() -> None:
    (x,) = inputs((n,))
    y = m.exp(x)
    kernel = compile_graph(
        Graph([x.type], [ex.reduce("sum", y / ex.spread(ex.reduce("max", y, (0,)), (n,)), (0,))]), "w"
    )
    assert kernel.signature.workspace is not None
    for length in (2, 3, 1000):
        data = np.linspace(0, 1, length)
        result = call(kernel.address, kernel.signature, [data], [])
        np.testing.assert_allclose(result, (np.exp(data) / np.e).sum(), rtol=1e-13)


def test_complex_arguments_and_results() -> None:
    z, w = inputs((n,), (), dtype=COMPLEX128)
    kernel = compile_graph(Graph([z.type, w.type], [z * w, ex.reduce("sum", z, (0,)) / w]), "c")
    values = np.array([1 + 2j, 3 - 1j, 0.5j])
    product, mean = call(kernel.address, kernel.signature, [values, 3 + 0j], [])
    np.testing.assert_allclose(product, values * 3)
    np.testing.assert_allclose(mean, values.mean())


def test_unsupported() -> None:
    node = make(Random("normal", (3,)), (make(Input(0, 0, Type((), INT64))),))
    with pytest.raises(Unsupported, match=r"at fit\.py:7"):
        compile_graph(Graph([Type((), INT64)], [node], provenance={node: "fit.py:7"}), "samples")
    z = make(Input(0, 0, Type((), COMPLEX64)))
    with pytest.raises(Unsupported, match="complex64"):
        compile_graph(Graph([z.type], [z * z]), "narrow")
    odd = make(Input(0, 0, Type((2 * n,), FLOAT64)))
    with pytest.raises(Unsupported, match=r"2\*n"):
        compile_graph(Graph([odd.type], [odd * odd]), "odd")
    assert issubclass(Unsupported, TypeError)


def test_results_do_not_depend_on_what_was_compiled_before() -> None:
    def text() -> str:
        x, y = inputs((n,), ())
        return compile_graph(
            Graph([x.type, y.type], [ex.reduce("sum", m.sin(x) * y, (0,)), m.exp(y)]), "same"
        ).llvm

    first = text()
    inputs((k, 5, n))
    assert text() == first
