"""Ctrl-C ends loops that would never end, and leaves everything whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from chainrule.codegen import ir
from chainrule.codegen.builder import literal
from chainrule.codegen.interrupts import POLL, STEPS, STEPS_WITH_LOOPS
from chainrule.codegen.to_c import emit_c
from chainrule.codegen.to_llvm import emit

PRELUDE = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
import numpy as np
import chainrule as cr

def endless(x):
    while x > -1.0:
        x = x * 0.5 + 1.0
    return x

def run(function, *args, ends):
    function(*ends)                                 # compiles
    try:
        print("ready", flush=True)
        function(*args)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    result = function(*ends)                        # and it still works
    again = cr.jit(lambda x: x * 3.0 + 1.0)(2.0)
    print(np.asarray(result).ravel()[:1].tolist(), again, flush=True)
"""

PROGRAMS = {
    "scalar": "run(cr.jit(endless), 2.0, ends=(-2.0,))",
    "gradient": "run(cr.jacrev(endless), 2.0, ends=(-2.0,))",
    "a loop inside": """
        def nested(x):
            while x > -1.0:
                for _ in range(1000):
                    x = np.sin(x) + 2.0
            return x
        run(cr.jit(nested), 2.0, ends=(-2.0,))
        """,
    "lanes": "run(cr.jit(cr.vmap(endless)), np.linspace(1, 2, 100), ends=(np.full(100, -2.0),))",
    "threads": """
        cr.set_threads(2)
        run(cr.jit(cr.vmap(endless)), np.linspace(1, 2, 50_000), ends=(np.full(50_000, -2.0),))
        """,
    "with other threads at work": """
        stop, counted = threading.Event(), [0]
        def count():
            double = cr.jit(lambda x: x * 2.0)
            while not stop.is_set():
                assert double(float(counted[0])) == 2.0 * counted[0]
                counted[0] += 1
        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        run(cr.jit(endless), 2.0, ends=(-2.0,))
        stop.set()
        thread.join()
        assert counted[0] > 0
        """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_endless_loop_is_interrupted(name: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PRELUDE + textwrap.dedent(PROGRAMS[name]))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        time.sleep(0.2)  # by then it is in the loop
        process.send_signal(signal.SIGINT)
        out, problem = process.communicate()
    finally:
        guard.cancel()
        process.kill()
    assert ready == "ready\n", problem
    first = "1.0" if name == "gradient" else "-2.0"
    assert (out, process.returncode) == (f"interrupted\n[{first}] 7.0\n", 0), problem


def counting(body: ir.Block) -> ir.Kernel:
    """A kernel that counts down to zero."""
    x = ir.Var("x", "float64")
    state, now = ir.Var("v", "float64"), ir.Var("n", "float64")
    head = (ir.Let("n", state),)
    test = ir.Apply("gt", (now, literal(0.0, "float64")), "bool")
    step = (*body, ir.Assign("v", ir.Apply("sub", (now, literal(1.0, "float64")), "float64")))
    parameters = (ir.Parameter("x", "scalar", "float64"), ir.Parameter("result", "result", "float64"))
    end = ir.Store("result", ir.Literal(0, "int64"), state)
    return ir.Kernel("count", parameters, (ir.Declare("v", x), ir.While(head, test, step), end), 0)


def test_only_loops_of_unknown_length_ask_and_only_in_this_process() -> None:
    kernel = counting(())
    assert emit(kernel, threads=True).count(f"call i1 @{POLL}(") == 1
    assert POLL not in emit(kernel)
    assert POLL not in emit_c(kernel).text
    straight = ir.Kernel(kernel.name, kernel.parameters, (kernel.body[0], kernel.body[-1]), 0)
    assert POLL not in emit(straight, threads=True)


def test_loops_that_hold_loops_ask_more_often() -> None:
    inner = ir.For("i", ir.Literal(9, "int64"), "serial", ())
    assert f", {STEPS - 1}" in emit(counting(()), threads=True)
    assert f", {STEPS_WITH_LOOPS - 1}" in emit(counting((inner,)), threads=True)
