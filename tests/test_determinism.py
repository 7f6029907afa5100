"""The same program is the same graph, the same code and the same bits: twice, in other processes, for other data."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.graph import tree
from chainrule.graph.node import Graph
from chainrule.scipy.special import logsumexp

ROOT = Path(__file__).parents[1]


# --- programs, at module level so that another process finds them ------------------------------------------------


def mixture(p: dict[str, Any], x: Any) -> Any:
    z = (x[:, None] - p["mean"]) / p["scale"]
    return np.sum(logsumexp(np.log(p["weight"]) - z**2 / 2 - np.log(p["scale"]), axis=1))


def perceptron(p: list[tuple[Any, Any]], x: Any) -> Any:
    for w, b in p:
        x = np.tanh(x @ w + b)
    return np.sum(x**2)


def orbit(state: Any, steps: int = 50) -> Any:
    def step(s: Any, _: Any) -> Any:
        q, v = s
        a = -q / np.sum(q**2) ** 1.5
        v = v + 0.01 * a
        return (q + 0.01 * v, v), np.sum(v * v)

    (q, _), energies = cr.scan(step, (state[:2], state[2:]), None, length=steps)
    return np.sum(q**2) + np.sum(energies)


def pieces(x: Any) -> Any:
    return np.sum(np.where(x > 0, np.sqrt(x), np.exp(x)) * np.sort(x) + np.cumsum(x) / (1 + x**2))


def matrices(a: Any) -> Any:
    return np.sum(np.einsum("ij,jk,kl->il", a, a.T, a)) + np.trace(a @ a)


def data(name: str) -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    match name:
        case "mixture":
            p = {"mean": np.array([0.0, 2.0]), "scale": np.array([1.0, 0.5]), "weight": np.array([0.3, 0.7])}
            return p, rng.normal(size=1000)
        case "perceptron":
            return [(rng.normal(size=(3, 3)), rng.normal(size=3)) for _ in range(2)], rng.normal(size=(20, 3))
        case "orbit":
            return (np.array([1.0, 0.0, 0.0, 1.1]),)
        case "pieces":
            return (rng.normal(size=77),)
        case _:
            return (rng.normal(size=(4, 4)),)


PROGRAMS = {"mixture": mixture, "perceptron": perceptron, "orbit": orbit, "pieces": pieces, "matrices": matrices}
TRANSFORMS = {"jit": cr.jit, "value_and_grad": cr.value_and_grad, "hessian": cr.hessian, "jacfwd": cr.jacfwd}


def fingerprint(name: str, transform: str) -> list[str]:
    """The graph, the code and the bits of the result, each as a short text."""
    f = TRANSFORMS[transform](PROGRAMS[name])
    result = f(*data(name))
    leaves = tree.leaves(result)
    bits = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
    texts = (f.graph.digest, f.source("llvm").encode(), f.source("c").encode(), bits)
    return [hashlib.sha256(t).hexdigest()[:16] for t in texts]


def every_fingerprint() -> dict[str, list[str]]:
    return {f"{name} {transform}": fingerprint(name, transform) for name in PROGRAMS for transform in TRANSFORMS}


@pytest.fixture(scope="module")
def here() -> dict[str, list[str]]:
    return every_fingerprint()


def test_twice_in_one_process(here: dict[str, list[str]]) -> None:
    assert every_fingerprint() == here


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_in_another_process(here: dict[str, list[str]], seed: str) -> None:
    """Under another PYTHONHASHSEED, in another order, after other programs."""
    code = (
        "import json, tests.test_determinism as t\n"
        "t.cr.grad(lambda x: t.np.sum(x * t.np.exp(x)))(t.np.ones(5))\n"
        "names = list(t.PROGRAMS)[::-1]\n"
        "print(json.dumps({f'{n} {k}': t.fingerprint(n, k) for n in names for k in t.TRANSFORMS}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == here


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x = np.random.default_rng(2).normal(size=300_000)
    p = data("mixture")[0]
    before = cr.get_threads()
    try:
        found = []
        for number in (1, 2, 3):
            cr.set_threads(number)
            value, gradient = cr.value_and_grad(mixture)(p, x)
            found.append((value, gradient["mean"].tobytes(), gradient["scale"].tobytes()))
    finally:
        cr.set_threads(before)
    assert found[0] == found[1] == found[2]


# --- how often something is compiled -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 5000])
def test_gradients_made_anew_for_each_batch(n: int) -> None:
    """Data that a lambda captures are no part of the program, however few they are."""
    rng = np.random.default_rng(3)

    def loss(p: Any, batch: Any) -> Any:
        return np.mean((p[0] * batch + p[1] - np.sin(batch + 0 * p[0])) ** 2 * 1.0625)

    p = np.array([0.5, 0.1])
    before = cr.debug.compilations()
    for _ in range(10):
        batch = rng.normal(size=n)
        found = cr.grad(lambda p, batch=batch: loss(p, batch))(p)
        residual = 2 * (p[0] * batch + p[1] - np.sin(batch)) * 1.0625
        np.testing.assert_allclose(found, [np.mean(residual * batch), np.mean(residual)], rtol=1e-10, atol=1e-12)
        closed = cr.grad(lambda p: loss(p, batch))(p)  # noqa: B023
        np.testing.assert_array_equal(closed, found)
    assert cr.debug.compilations() - before <= 2  # one for data as an argument with a default, one for the closure


def test_one_compilation_for_closures_over_data() -> None:
    before = cr.debug.compilations()
    for seed in range(8):
        x = np.random.default_rng(seed).normal(size=200)
        found = cr.value_and_grad(lambda m: np.sum(np.cosh(x - m)) * 0.8125)(0.5)  # noqa: B023
        np.testing.assert_allclose(found, (np.sum(np.cosh(x - 0.5)) * 0.8125, -np.sum(np.sinh(x - 0.5)) * 0.8125))
    assert cr.debug.compilations() - before == 1


def test_a_hundred_lengths_of_data() -> None:
    f = cr.value_and_grad(lambda p, x, y: np.sum((y - p[0] * np.exp(-p[1] * x)) ** 2) * 0.6875)
    p = np.array([2.0, 0.3])
    before = cr.debug.compilations()
    for n in range(2, 102):
        x = np.linspace(0, 5, n)
        y = 1 / (1 + x)
        value, gradient = f(p, x, y)
        e = np.exp(-p[1] * x)
        residual = y - p[0] * e
        np.testing.assert_allclose(value, np.sum(residual**2) * 0.6875, rtol=1e-12)
        wanted = [-2 * np.sum(residual * e), 2 * np.sum(residual * p[0] * x * e)]
        np.testing.assert_allclose(gradient, np.multiply(wanted, 0.6875), rtol=1e-9, atol=1e-12)
    assert cr.debug.compilations() - before <= 2


def test_types_that_differ_are_kernels_that_differ() -> None:
    f = cr.jit(lambda x: x * 2.375)
    before = cr.debug.compilations()
    for _ in range(3):
        for x in (2.0, np.float32(2.0), np.ones(3), np.ones(3, np.float32), np.ones((2, 2))):
            np.testing.assert_allclose(f(x), np.multiply(x, 2.375))
    assert cr.debug.compilations() - before == 5


# --- pickling ----------------------------------------------------------------------------------------------------


@cr.jit
def decorated(x: Any) -> Any:
    """A function that was decorated where it stands."""
    return np.sum(np.sin(x) ** 2)


def test_pickle_of_functions() -> None:
    x = np.array([0.1, 0.2, 0.3])
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    for f in (
        cr.grad(pieces),
        cr.jit(pieces),
        cr.value_and_grad(pieces, argnums=0),
        cr.hessian(pieces),
        cr.vmap(cr.grad(pieces)),
        cr.grad(decorated),
        cr.jacfwd(cr.jacrev(pieces), wrt="x"),
        cr.bind(scaled, y=np.ones(3)),
        cr.grad(cr.bind(scaled, y=np.ones(3))),
    ):
        argument = np.stack([x, x]) if "vmap" in str(f.__reduce__()) else x
        fresh = pickle.loads(pickle.dumps(f))
        np.testing.assert_equal(fresh(argument), f(argument))
        again = pickle.loads(pickle.dumps(f))  # also after it was called
        np.testing.assert_equal(again(argument), f(argument))
        assert (again.__name__, str(again.__signature__)) == (f.__name__, str(f.__signature__))


def scaled(x: Any, y: Any) -> Any:
    return np.sum(np.exp(x) * y)


def test_pickle_of_a_large_graph() -> None:
    def long(x: Any) -> Any:
        y = x
        for i in iter(range(50_000)):  # of no known length, so not rolled into a loop
            y = y * 1.0000001 + i
        return y

    graph = cr.trace(long, cr.spec())
    assert len(graph) >= 100_000
    again: Graph = pickle.loads(pickle.dumps(graph))
    assert again == graph
    assert again.digest == graph.digest


def test_pickles_are_the_same_in_another_process() -> None:
    text = pickle.dumps(cr.trace(cr.grad(pieces), cr.spec("n")))
    code = (
        "import sys, pickle, numpy as np, tests.test_determinism as t\n"
        "graph = pickle.loads(sys.stdin.buffer.read())\n"
        "mine = t.cr.trace(t.cr.grad(t.pieces), t.cr.spec('n'))\n"
        "print(graph == mine and graph.digest == mine.digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, env=environment, check=False)
    assert done.stdout.strip() == b"True", done.stderr.decode()


def test_functions_of_a_local_name_say_why_they_cannot_be_pickled() -> None:
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match=r"local|lambda"):
        pickle.dumps(cr.grad(lambda x: x**2))
