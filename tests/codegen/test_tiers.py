"""Kernels in several qualities: the same bits, swapped under the calls of a program."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import cache, externs, native, tiers
from chainrule.codegen.foreign import call
from chainrule.codegen.kernel import signature_of
from chainrule.codegen.lower import lower
from chainrule.codegen.to_llvm import emit
from chainrule.graph import tree

RNG = np.random.default_rng(3)
DATA = RNG.uniform(0.1, 5.0, 1003)
MATRIX = RNG.normal(size=(37, 11))


@pytest.fixture(autouse=True)
def _nothing_from_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(cache.VARIABLE, "")
    yield
    assert cr.debug.settle(60)


def likelihood(x: Any, f: Any, tau: Any, mu: Any, s: Any) -> Any:
    signal = np.exp(-0.5 * ((x - mu) / s) ** 2) / (s * np.sqrt(2 * np.pi))
    background = np.exp(-x / tau) / (tau * (1 - np.exp(-10 / tau)))
    return -np.sum(np.log(f * signal + (1 - f) * background))


def pendulum(p: Any) -> Any:
    def step(state: Any, _: Any) -> Any:
        x, v = state
        v = v - 0.01 * p[0] * np.sin(x)
        return (x + 0.01 * v, v), x * v

    (x, _), trajectory = cr.scan(step, (p[1], p[2]), None, length=50)
    return x * x + np.sum(trajectory)


def root(a: Any) -> Any:
    return cr.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a)


POINT = (0.3, 4.0, 5.0, 0.7)
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "scalars": (cr.grad(lambda x: np.exp(-x * x / 2) * np.sin(3 * x) / (1 + x * x)), (0.7,)),
    "elementwise": (cr.jit(lambda x: (np.tanh(x) * np.log(x), np.arctan2(x, 2.0))), (DATA,)),
    "likelihood": (cr.value_grad_hess(likelihood, argnums=(1, 2, 3, 4)), (DATA, *POINT)),
    "rows": (cr.jit(lambda a: np.exp(a - np.max(a, axis=1)[:, None]).sum(axis=1)), (MATRIX,)),
    "products of matrices": (cr.grad(lambda a: np.sum((a.T @ a) ** 2)), (MATRIX,)),
    "scan": (cr.value_and_grad(pendulum), (np.array([1.0, 0.4, 0.1]),)),
    "while in lanes": (cr.jit(cr.vmap(root)), (DATA,)),
    "integers and choices": (cr.jit(lambda x: np.where(x > 2, np.floor(x) % 3, x**3)), (DATA,)),
    "complex numbers": (cr.jit(lambda x: np.sum(np.exp(1j * x) / (1 + 1j * x))), (DATA,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_levels_give_the_same_bits(name: str) -> None:
    function, args = PROGRAMS[name]
    function(*args)
    graph = function.graph  # type: ignore[attr-defined]
    kernel = lower(graph, "k")
    text = emit(kernel)
    externs.resolve(text)
    signature = signature_of(graph, workspace=kernel.workspace)
    found = []
    for level in native.LEVELS:
        module = native.compile_module(text, level=level)
        values = call(module.address("k"), signature, [np.asarray(a)[()] for a in args], [])
        found.append([np.asarray(leaf).tobytes() for leaf in tree.leaves(values)])
    assert all(other == found[0] for other in found)


def fresh_likelihood() -> Any:
    """A kernel that no other test has: long enough to be compiled fast at first."""
    number = float(RNG.uniform())
    return cr.value_grad_hess(lambda x, *p: likelihood(x, *p) + number * p[0] ** 3, argnums=(1, 2, 3, 4))


def kernel_of(function: Any) -> tiers.CompiledKernel:
    found: tiers.CompiledKernel = function._used().kernel("k")
    return found


def test_a_kernel_that_runs_once_is_compiled_fast_one_that_runs_often_well() -> None:
    function = fresh_likelihood()
    before = cr.debug.compilations()
    first = repr(function(DATA, *POINT))
    assert kernel_of(function).level == 0 < kernel_of(function).best
    for _ in range(200):
        assert repr(function(DATA, *POINT)) == first
    assert cr.debug.settle(60)
    assert kernel_of(function).level == kernel_of(function).best
    assert repr(function(DATA, *POINT)) == first
    assert cr.debug.compilations() - before == 1


def test_a_small_kernel_is_compiled_well_at_once() -> None:
    function = cr.grad(lambda x: x**3 - 2 * x)
    function(1.5)
    assert kernel_of(function).is_best


def test_calls_from_many_threads_during_the_swap_give_the_same_bits() -> None:
    function = fresh_likelihood()
    expected = repr(function(DATA, *POINT))
    wrong: list[str] = []

    def run() -> None:
        for _ in range(300):
            if (found := repr(function(DATA, *POINT))) != expected:
                wrong.append(found)

    running = [threading.Thread(target=run) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong
    assert cr.debug.settle(60)
    assert kernel_of(function).is_best


def test_a_function_of_a_container_is_improved_too() -> None:
    inner = fresh_likelihood()
    function = cr.jit(lambda p: inner(p["x"], *p["q"]))
    given = {"x": DATA, "q": POINT}
    first = repr(function(given))
    for _ in range(100):
        assert repr(function(given)) == first
    assert cr.debug.settle(60)
    assert kernel_of(function).is_best
    assert repr(function(given)) == first


def test_an_address_is_that_of_the_best_code_and_stays_valid() -> None:
    function = fresh_likelihood()
    function(DATA, *POINT)
    assert not kernel_of(function).is_best
    early = kernel_of(function)
    address = function.address
    assert kernel_of(function).is_best
    assert function.address == address != early.address
    kept: Any = kernel_of(function).keep
    assert early.keep in kept


def test_a_new_function_with_the_same_program_gets_the_better_code() -> None:
    number = float(RNG.uniform())

    def make() -> Any:
        return cr.value_grad_hess(lambda x, *p: likelihood(x, *p) + number * p[0] ** 2, argnums=(1, 2, 3, 4))

    first = make()
    first(DATA, *POINT)
    assert first.address
    second = make()
    second(DATA, *POINT)
    assert kernel_of(second) is kernel_of(first)


def test_what_cannot_be_improved_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    function = fresh_likelihood()
    first = repr(function(DATA, *POINT))

    def fails(*args: Any, **kwargs: Any) -> bytes:
        raise native.CompileError("no memory")

    monkeypatch.setattr(native, "emit", fails)
    monkeypatch.setattr(cr.Function, "_go_native", lambda *args: None)
    for _ in range(100):
        assert repr(function(DATA, *POINT)) == first
    assert cr.debug.settle(60)
    assert kernel_of(function).level == 0


def test_better_code_is_found_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    number = float(RNG.uniform())
    program = (
        "import numpy as np, chainrule as cr\n"
        "def f(x, f, tau, mu, s):\n"
        "    signal = np.exp(-0.5 * ((x - mu) / s) ** 2) / s\n"
        f"    background = np.exp(-x / tau) / (tau * (1 - np.exp(-{number} / tau)))\n"
        "    return -np.sum(np.log(f * signal + (1 - f) * background))\n"
        "h = cr.value_grad_hess(f, argnums=(1, 2, 3, 4))\n"
        "h(np.arange(0.1, 9.0, 0.1), 0.3, 4.0, 5.0, 0.7)\n"
        "print(h._used().kernel('k').level, h._used().kernel('k').best)\n"
        "h.address\n"
    )
    levels = [run_python(program).stdout.split() for _ in range(2)]
    assert levels[0][0] == "0" != levels[0][1]
    assert levels[1][0] == levels[1][1] == levels[0][1]


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, env=dict(os.environ)
    )


def test_the_interpreter_ends_cleanly_while_something_is_compiled() -> None:
    program = (
        "import numpy as np, chainrule as cr\n"
        "def f(x):\n"
        "    a, b, c = x\n"
        "    for i in range(150):\n"
        "        a, b, c = a + 0.1 * b * c, b - 0.1 * a / (1 + c * c), c + 0.01 * a * b\n"
        "    return a + b + c\n"
        "g = cr.grad(f)\n"
        "for i in range(40): g(np.array([0.1, 0.2, 0.3]))\n"
    )
    done = run_python(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_process_compiles_on_its_own() -> None:
    program = (
        "import os, sys, numpy as np, chainrule as cr\n"
        "if not hasattr(os, 'fork'): sys.exit()\n"
        "def make(k):\n"
        "    def f(x):\n"
        "        a, b, c = x\n"
        "        for i in range(100):\n"
        "            a, b, c = a + 0.1 * b * c, b - k * a / (1 + c * c), c + 0.01 * a * b\n"
        "        return a + b + c\n"
        "    return cr.grad(f)\n"
        "x, g = np.array([0.1, 0.2, 0.3]), make(0.1)\n"
        "for i in range(40): r = g(x)\n"
        "child = os.fork()\n"
        "h = make(0.2)\n"
        "for i in range(40): assert (g(x) == r).all() and (h(x) == h(x)).all()\n"
        "assert cr.debug.settle(60)\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
    )
    done = run_python(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_heat_counts_calls_and_time() -> None:
    heat = tiers.Heat()
    for _ in range(3):
        assert not heat.is_hot(1.0)
        heat.add(0.001)
    assert heat.is_hot(0.01) and not heat.is_hot(1.0)
    heat.add(2.0)
    assert heat.is_hot(1.0)
    frequent = tiers.Heat()
    for _ in range(1000):
        frequent.add(1e-5)
    assert frequent.is_hot(20.0)
