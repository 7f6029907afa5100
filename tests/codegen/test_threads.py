"""Long loops run in threads, and the number of threads never changes a bit."""

from __future__ import annotations

import math
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
from chainrule.codegen import externs, ir, threads
from chainrule.codegen.native import compile_module
from chainrule.codegen.schedule import PIECE, piece
from chainrule.codegen.to_llvm import emit
from chainrule.codegen.verify import verify
from chainrule.graph import tree
from tests.codegen.kernels import SIZE, N, array, index, integer, iop, kernel, lanes, load, result, var

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards() -> Iterator[None]:
    before = threads.get_threads()
    yield
    threads.set_threads(before)


def bits(value: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in tree.leaves(value)]


def for_each_number(function: Callable[..., Any], *args: Any) -> list[list[bytes]]:
    found = []
    for number in (1, 2, 3, 7, 1):
        threads.set_threads(number)
        found.append(bits(function(*args)))
    return found


def kepler(mean: Any, eccentricity: Any) -> Any:
    def goes_on(state: Any) -> Any:
        return abs(state[1]) > 1e-12

    def newton(state: Any) -> Any:
        e = state[0]
        step = (e - eccentricity * np.sin(e) - mean) / (1 - eccentricity * np.cos(e))
        return e - step, step

    return cr.while_loop(goes_on, newton, (mean, 1.0 + 0.0 * mean))[0]


LONG = RNG.uniform(0.0, 10.0, 5 * PIECE + 7)
TALL = RNG.normal(size=(3 * PIECE // 40, 200))
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (lambda x: np.sin(x) * np.exp(-x * x / 2), (LONG,)),
    "several sums": (lambda x: (np.sum(x), np.sum(x * x), np.sum(np.log1p(x))), (LONG,)),
    "other reductions": (
        lambda x: (np.max(x), np.min(x), np.prod(1 + 1e-6 * x), np.any(x > 9.99), np.all(x < 9.99)),
        (LONG,),
    ),
    "sum of complex numbers": (lambda x: np.sum(np.exp(1j * x)), (LONG,)),
    "sum of integers": (lambda x: np.sum(x * 3), (np.arange(5 * PIECE),)),
    "argmax": (np.argmax, (LONG,)),
    "rows": (lambda a: np.sum(np.exp(-a * a), axis=1), (TALL,)),
    "columns": (lambda a: np.sum(np.exp(-a * a), axis=0), (TALL,)),
    "both axes, not contiguous": (lambda a: np.sum(a[1:, :-1] * np.cos(a[:-1, 1:])), (TALL,)),
    "map of a while loop": (cr.vmap(kepler), (RNG.uniform(0, 6, 5 * PIECE), RNG.uniform(0, 0.9, 5 * PIECE))),
    "gradient": (cr.grad(lambda x: np.sum(np.sqrt(1 + x * x))), (LONG,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_bits_do_not_depend_on_the_number_of_threads(name: str) -> None:
    program, args = PROGRAMS[name]
    function = cr.jit(program)
    first, *others = for_each_number(function, *args)
    assert all(other == first for other in others)
    with cr.disable_jit():
        expected = tree.leaves(function(*args))
    for leaf, wanted in zip(tree.leaves(function(*args)), expected, strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("name", ["elementwise", "several sums", "gradient", "map of a while loop"])
def test_long_loops_are_cut_in_pieces(name: str) -> None:
    program, args = PROGRAMS[name]
    function = cr.jit(program)
    function(*args)
    assert "kind='parallel'" in function.source("ir")
    assert "@cr_parallel" in function.source("llvm")


def test_short_loops_of_known_length_are_not() -> None:
    function = cr.jit(lambda x: np.sum(x * x))
    function(np.ones(PIECE))
    assert "kind='parallel'" not in function.source("ir")


def test_pieces_depend_on_the_loop_alone() -> None:
    assert piece(PIECE) is None
    assert piece(PIECE + 1) == PIECE
    assert piece(100, PIECE) == 1
    assert piece(10 * PIECE, 4) == PIECE // 4


@pytest.mark.parametrize(
    "length", [2, 15, 16, 17, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 4 * PIECE - 1, 4 * PIECE, 6 * PIECE + 17]
)
def test_one_kernel_for_all_lengths(length: int) -> None:
    """The kernel of a named length gives the bits of the kernel made for that very length."""
    general = cr.jit(lambda x: (np.sum(np.exp(-x)), np.sin(x)))
    general(np.ones(8))
    general(np.ones(9))
    exact = cr.jit(lambda x: (np.sum(np.exp(-x)), np.sin(x)))
    data = RNG.uniform(0, 3, length)
    threads.set_threads(3)
    assert bits(general(data)) == bits(exact(data))
    np.testing.assert_allclose(general(data)[0], math.fsum(np.exp(-data)), rtol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_sum_of_a_million_is_accurate_to_a_few_ulp(offset: float) -> None:
    data = RNG.uniform(0, 1, 1_000_000) + offset
    total = float(cr.jit(np.sum)(data))
    exact = math.fsum(data)
    assert abs(total - exact) <= 8 * math.ulp(exact)


def test_several_python_threads_share_the_pool() -> None:
    function = cr.jit(lambda x: (np.sum(np.exp(-x * x)), np.cos(x)))
    arrays = [RNG.normal(size=6 * PIECE) for _ in range(4)]
    threads.set_threads(1)
    expected = [bits(function(x)) for x in arrays]
    threads.set_threads(3)
    wrong: list[int] = []

    def run(number: int) -> None:
        for _ in range(30):
            if bits(function(arrays[number])) != expected[number]:
                wrong.append(number)

    running = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=120, env=os.environ | environment,
    )  # fmt: skip


def test_a_forked_process_has_a_pool_of_its_own() -> None:
    done = run_python(
        "import os, sys, numpy as np, chainrule as cr\n"
        "if not hasattr(os, 'fork'): sys.exit()\n"
        "f, x = cr.jit(lambda x: np.sum(np.sin(x))), np.arange(300_000.0)\n"
        "before = f(x)\n"
        "child = os.fork()\n"
        "same = all(f(x) == before for _ in range(20))\n"
        "fresh = cr.jit(lambda x: np.sum(np.cos(x * x) + x))(x)\n"
        "if child == 0: os._exit(0 if same else 3)\n"
        "assert same and os.waitpid(child, 0)[1] == 0\n",
        CHAINRULE_NUM_THREADS="3",
    )
    assert done.returncode == 0, done.stderr


def test_the_interpreter_ends_while_workers_are_awake() -> None:
    program = (
        "import numpy as np, chainrule as cr\n"
        "f, x = cr.jit(lambda x: np.sum(np.sin(x))), np.arange(300_000.0)\n"
        "for _ in range(5): f(x)\n"
    )
    for _ in range(3):
        done = run_python(program, CHAINRULE_NUM_THREADS="4")
        assert (done.returncode, done.stderr) == (0, "")


# --- how many -----------------------------------------------------------------------------------------------


def test_number_of_threads_is_what_was_set() -> None:
    cr.set_threads(5)
    assert cr.get_threads() == 5
    cr.set_threads(np.int64(2))  # type: ignore[arg-type]
    assert cr.get_threads() == 2


@pytest.mark.parametrize("number", [0, -1, 5000])
def test_impossible_numbers_are_refused(number: int) -> None:
    before = cr.get_threads()
    with pytest.raises(ValueError, match="between 1 and 1024"):
        cr.set_threads(number)
    assert cr.get_threads() == before


@pytest.mark.parametrize("number", [1.5, "2", None, True])
def test_numbers_of_threads_are_integers(number: Any) -> None:
    with pytest.raises(TypeError, match="is an integer"):
        cr.set_threads(number)


def test_the_environment_variable_is_read() -> None:
    program = "import chainrule; print(chainrule.get_threads())"
    assert run_python(program, CHAINRULE_NUM_THREADS="3").stdout == "3\n"
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert 1 <= int(run_python(program, CHAINRULE_NUM_THREADS="").stdout) <= available


@pytest.mark.parametrize("text", ["0", "many", "-2", "1.5"])
def test_a_senseless_environment_variable_is_named(text: str) -> None:
    done = run_python("import chainrule; chainrule.get_threads()", CHAINRULE_NUM_THREADS=text)
    assert "ValueError: the environment variable CHAINRULE_NUM_THREADS is a number" in done.stderr
    assert repr(text) in done.stderr


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert threads._quota(str(tmp_path)) == expected


# --- the emitter --------------------------------------------------------------------------------------------


def in_pieces(body: list[ir.Stmt], reductions: tuple[ir.Reduction, ...] = (), size: int = 64) -> ir.For:
    """A parallel loop over pieces of ``size`` of the n indices; ``body`` sees ``start`` and ``length``."""
    start = ir.Let("start", iop("mul", index("p"), integer(size)))
    length = ir.Let("length", iop("minimum", integer(size), iop("sub", N, index("start"))))
    pieces = iop("floordiv", iop("add", N, integer(size - 1)), integer(size))
    return ir.For("p", pieces, "parallel", (start, length, *body), reductions)


def run_both(tested: ir.Kernel, *args: Any) -> tuple[list[bytes], list[bytes]]:
    """The bits of the results without and with threads."""
    from ctypes import CFUNCTYPE, c_int64, c_void_p

    verify(tested)
    found = []
    for with_threads in (False, True):
        text = emit(tested, threads=with_threads)
        assert ("@cr_parallel(" in text) == with_threads
        externs.resolve(text)
        module = compile_module(text, level=1)
        kinds = [c_int64 if isinstance(a, int) else c_void_p for a in args]
        copies = [a if isinstance(a, int) else a.copy() for a in args]
        CFUNCTYPE(None, *kinds)(module.address("k"))(*(a if isinstance(a, int) else a.ctypes.data for a in copies))
        found.append([a.tobytes() for a in copies if not isinstance(a, int)])
    return found[0], found[1]


SUM = ir.Reduction("s", "sum", "float64")
TOTAL = ir.Reduction("total", "sum", "float64")


@pytest.mark.parametrize("n", [0, 1, 64, 200, 64 * 300 + 1])
@pytest.mark.parametrize("number", [1, 4])
def test_emitted_threads_give_the_bits_of_the_serial_text(n: int, number: int) -> None:
    threads.set_threads(number)
    place = iop("add", index("start"), index())
    body: list[ir.Stmt] = [
        ir.Declare("s", ir.Literal(0, "float64")),
        lanes([ir.Accumulate("s", load("x", place))], [SUM], extent=index("length")),
        ir.Accumulate("total", var("s")),
    ]
    tested = kernel(
        [array("x"), SIZE, result("y")],
        [
            ir.Declare("total", load("y", integer(0))),
            in_pieces(body, (TOTAL,)),
            ir.Store("y", integer(0), var("total")),
        ],
    )
    x = RNG.normal(size=n)
    serial, threaded = run_both(tested, x, n, np.array([0.5]))
    assert serial == threaded
    assert np.frombuffer(threaded[1])[0] == pytest.approx(0.5 + math.fsum(x), abs=1e-11)


def test_scratch_memory_of_lanes_belongs_to_the_thread() -> None:
    threads.set_threads(4)
    place = iop("add", index("start"), index())
    body = lanes(
        [
            ir.Alloc("w", "float64", 3),
            ir.Store("w", integer(2), load("x", place)),
            ir.Store("y", place, load("w", integer(2))),
        ],
        extent=index("length"),
    )
    tested = kernel([array("x"), SIZE, result("y")], [in_pieces([body])], 3 * 8 * 8)
    x = RNG.normal(size=5000)
    space = np.empty(1000)
    from ctypes import CFUNCTYPE, c_int64, c_void_p

    verify(tested)
    text = emit(tested, threads=True)
    externs.resolve(text)
    module = compile_module(text, level=1)
    for _ in range(50):
        y = np.empty_like(x)
        CFUNCTYPE(None, c_void_p, c_int64, c_void_p, c_void_p)(module.address("k"))(
            x.ctypes.data, x.size, y.ctypes.data, space.ctypes.data
        )
        assert y.tobytes() == x.tobytes()


def test_a_loop_with_very_many_sums_runs_in_one_thread() -> None:
    sums = [ir.Reduction(f"s{k}", "sum", "float64") for k in range(100)]
    body: list[ir.Stmt] = []
    for k in range(100):
        body.append(ir.Accumulate(f"s{k}", load("x", index("start"))))
    tested = kernel(
        [array("x"), SIZE, result("y")],
        [
            *(ir.Declare(f"s{k}", ir.Literal(0, "float64")) for k in range(100)),
            in_pieces(body, tuple(sums)),
            *(ir.Store("y", integer(k), var(f"s{k}")) for k in range(100)),
        ],
    )
    verify(tested)
    assert "@cr_parallel(" not in emit(tested, threads=True)
