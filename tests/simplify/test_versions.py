"""Versions of a program: chosen by conditions on numbers, each as if it had been written alone."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen.threads import get_threads
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Node
from chainrule.graph.op import Cond, Scalar
from chainrule.simplify.versions import MOST, versions
from tests.simplify.test_logarithms import branches, per_event

X = np.random.default_rng(5).normal(size=300)


def flag(p, x):
    return np.sum(np.where(p > 0, p * np.exp(x * p), np.sin(x) * np.log(2 - p)))


def names(graph):
    return {n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and n.shape}


def test_a_flag_is_tested_once():
    first, second = branches(versions(cr.trace(cr.jit(flag), 1.0, X)))
    assert names(first) == {"sin"}  # the false one
    assert names(second) == {"exp", "mul"}
    assert per_event(second)["mul"] == 1, "the coefficient has left the sum"


@pytest.mark.parametrize("p", [1.5, -0.7, 0.0, np.nan])
@pytest.mark.parametrize("transform", [cr.jit, cr.grad, cr.hessian])
def test_values(transform, p):
    found = transform(flag)(p, X)
    chosen = (lambda p, x: np.sum(p * np.exp(x * p))) if p > 0 else (lambda p, x: np.sum(np.sin(x) * np.log(2 - p)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, transform(chosen)(p, X), rtol=1e-13, atol=1e-13)


def test_one_program_has_few_versions():
    def many(p, x):
        total = x
        for k in range(3):
            total = np.where(p[k] > k, np.sin(total), np.exp(-total * (k + 2)))
        return np.sum(total)

    p = np.array([0.5, 0.5, 2.5])
    graph = cr.trace(cr.jit(many), p, X)
    chosen = versions(graph)
    assert 1 < len(branches(chosen)) <= MOST
    np.testing.assert_allclose(evaluate(chosen, [p, X])[0], evaluate(graph, [p, X])[0], rtol=1e-13)
    np.testing.assert_allclose(cr.jit(many)(p, X), many(p, X), rtol=1e-13)


def test_what_gains_nothing_stays():
    for program in (
        lambda p, x: np.sum(np.where(p > 0, x, -x)) + np.sum(np.exp(np.sin(x))),  # too little
        lambda p, x: np.sum(np.where(x > p, np.exp(x), np.sin(x))),  # no invariant
        lambda p, x: np.where(p > 0, np.exp(p), np.sin(p)) + x[0],  # no loop
        lambda p, x: np.sum(np.where(np.sum(x) > p, np.exp(x), np.sin(x))),  # a loop before the test
    ):
        graph = cr.trace(cr.jit(program), 1.0, X)
        assert versions(graph) is graph


def test_the_condition_is_computed_before_the_branch():
    graph = versions(cr.trace(cr.jit(flag), 1.0, X))
    (node,) = (n for n in graph.nodes if isinstance(n.op, Cond))
    selector: Node = node.args[0]
    assert not selector.shape
    assert all(not n.shape for n in graph.nodes if n.op.__class__ is Scalar)


def test_the_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(6).normal(size=150_000)
    function = cr.value_and_grad(lambda p, x: flag(p, x))
    before = get_threads()
    try:
        cr.set_threads(1)
        one = function(0.3, x), function(-0.3, x)
        cr.set_threads(3)
        three = function(0.3, x), function(-0.3, x)
    finally:
        cr.set_threads(before)
    assert one == three


def test_arrays_as_results_and_symbolic_sizes():
    function = cr.jit(lambda p, x: (np.where(p > 0, np.exp(x), np.sin(x)), np.where(p > 0, x[::-1], np.cos(x))))
    for n in (4, 7, 1, 300):
        x = X[:n]
        for p in (1.0, -1.0):
            first, second = function(p, x)
            np.testing.assert_allclose(first, np.exp(x) if p > 0 else np.sin(x), rtol=1e-15)
            np.testing.assert_allclose(second, x[::-1] if p > 0 else np.cos(x), rtol=1e-15)


def test_vmap_and_bound_data():
    p = np.array([1.5, -0.7])
    np.testing.assert_allclose(cr.vmap(cr.grad(lambda p: flag(p, X)))(p), [cr.grad(flag)(v, X) for v in p], rtol=1e-13)
    bound = cr.bind(flag, x=X)
    np.testing.assert_allclose([bound(v) for v in p], [flag(v, X) for v in p], rtol=1e-13)
