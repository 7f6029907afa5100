"""Loops: what they take to build, and what their reverse mode takes of memory and time, as they get longer.

Build: from the function to its first result, less a second call, for `fori_loop` and for Python's `for`. Memory: the
bytes of scratch memory of one call. Every derivative is compared with an adjoint or a complex step by hand.
"""

from __future__ import annotations

import cmath
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import harness
import numpy as np
from harness import Options

import chainrule as cr
from chainrule.codegen.lower import lower

DT = 1e-3
_fresh = itertools.count(1)


# --- the time to build ----------------------------------------------------------------------------


def oscillator(steps: int, loop: str) -> Callable[[float], Any]:
    """The place of an anharmonic oscillator after many steps; no two functions are the same program."""
    stiffness = 0.4 + 1e-6 * next(_fresh)

    def step(_: Any, state: Any) -> Any:
        q, p = state
        p = p - DT * q * (1.3 + stiffness * q * q)
        return q + DT * p, p

    def with_fori_loop(q: Any) -> Any:
        return cr.fori_loop(0, steps, step, (q, 0.0 * q))[0]

    def with_for(q: Any) -> Any:
        p = 0.0 * q
        for _ in range(steps):
            p = p - DT * q * (1.3 + stiffness * q * q)
            q = q + DT * p
        return q

    return with_fori_loop if loop == "fori_loop" else with_for


def build_seconds(transform: Callable[..., Any], function: Callable[..., Any]) -> float:
    """Of this thread, as compiled code gets better in another one meanwhile."""
    compiled = transform(function)
    start = time.thread_time()
    compiled(0.9)
    first = time.thread_time()
    compiled(0.9)
    return first - start - (time.thread_time() - first)


def compare_builds(rounds: int) -> None:
    transforms = {"value": cr.jit, "gradient, forward": cr.grad, "gradient, reverse": cr.jacrev}
    print("\n### time to build, ms: `fori_loop`, Python's `for`, their ratio\n")
    print(f"| steps | {' | '.join(transforms)} |\n|---|{'---|' * len(transforms)}")
    for steps in (10, 1000, 1_000_000):
        cells = []
        for transform in transforms.values():
            pairs = []
            for _ in range(rounds + 1):
                pairs.append([build_seconds(transform, oscillator(steps, k)) for k in ("fori_loop", "for")])
            ours, plain = (1e3 * statistics.median(column) for column in zip(*pairs[1:], strict=True))
            ratio = statistics.median(b / a for a, b in pairs[1:])
            cells.append(f"{ours:.1f}, {plain:.1f}, {ratio:.2f}")
        print(f"| {steps:,} | {' | '.join(cells)} |", flush=True)


# --- memory and time in reverse -------------------------------------------------------------------


def measured(function: Any, args: Sequence[Any], reference: Any, steps: int) -> tuple[int, float]:
    """(bytes of scratch memory, nanoseconds a step); raises ArithmeticError if a result is wrong."""
    result = harness.flat(function(*args))
    wanted = harness.flat(reference)
    if not np.allclose(result, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max()):
        raise ArithmeticError(f"derivative {result[:4]} instead of {wanted[:4]}")
    seconds = []
    for _ in range(5):
        start = time.process_time()
        function(*args)
        seconds.append(time.process_time() - start)
    workspace = lower(function.graph, "kernel").workspace
    assert isinstance(workspace, int)
    return workspace, min(seconds) / steps * 1e9


def decay(steps: int) -> Callable[[Any], Any]:
    def program(p: Any) -> Any:
        x = p[0]
        for _ in range(steps):
            x = x - 0.001 * p[1] * np.sin(x) * x + p[2] * p[3]
        return x

    return program


def decay_gradient(steps: int, p: np.ndarray) -> np.ndarray:
    x, states = float(p[0]), []
    for _ in range(steps):
        states.append(x)
        x = x - 0.001 * p[1] * cmath.sin(x).real * x + p[2] * p[3]
    bar, by = 1.0, [0.0, 0.0]
    for x in reversed(states):
        sine, cosine = cmath.sin(x).real, cmath.cos(x).real
        by[0] -= 0.001 * sine * x * bar
        by[1] += bar
        bar *= 1 - 0.001 * p[1] * (sine + x * cosine)
    return np.array([bar, by[0], by[1] * p[3], by[1] * p[2]])


def compare_checkpoints(sizes: Sequence[int]) -> None:
    p = np.array([0.5, 0.4, 1e-4, 0.3])
    print("\n### reverse mode of a loop with one number as its state: bytes, ns/step\n")
    print("| steps | all states | `checkpoint` | 10 states |\n|---|---|---|---|")
    for steps in sizes:
        reference, program = decay_gradient(steps, p), decay(steps)
        forms = (program, cr.checkpoint(program), cr.checkpoint(program, policy=10))
        cells = []
        for form in forms:
            memory, per_step = measured(cr.jacrev(form), [p], reference, steps)
            cells.append(f"{memory:,}, {per_step:.0f}")
        print(f"| {steps:,} | {' | '.join(cells)} |", flush=True)


def recurrence(x: Any) -> Any:
    y = np.zeros(len(x))
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = np.sin(y[i - 1]) * x[i]
    return y[-1]


def recurrence_gradient(x: np.ndarray) -> np.ndarray:
    y = np.array(x)
    for i in range(1, len(x)):
        y[i] = np.sin(y[i - 1]) * x[i]
    bar, out = 1.0, np.zeros(len(x))
    for i in range(len(x) - 1, 0, -1):
        out[i] = np.sin(y[i - 1]) * bar
        bar *= np.cos(y[i - 1]) * x[i]
    out[0] = bar
    return out


def compare_recurrence(sizes: Sequence[int]) -> None:
    print("\n### reverse mode of `for i in range(1, n): y[i] = sin(y[i-1])*x[i]`\n")
    print("| n | bytes | bytes/step | ns/step |\n|---|---|---|---|")
    for size in sizes:
        x = np.random.default_rng(size).uniform(0.9, 1.7, size)
        memory, per_step = measured(cr.grad(lambda x: recurrence(x)), [x], recurrence_gradient(x), size)
        print(f"| {size:,} | {memory:,} | {memory / size:.0f} | {per_step:.0f} |", flush=True)


def nested(p: Any, steps: int, sine: Callable[[Any], Any]) -> Any:
    x = p[0]
    for _ in range(steps):
        y = x
        for _ in range(steps):
            y = sine(y) * p[1] + p[2] * p[3]
        x = y + 0.1 * x
    return x


def compare_nested(sizes: Sequence[int]) -> None:
    print("\n### reverse mode of two loops, one in the other\n")
    print("| steps | carries in memory | bytes | ns/step |\n|---|---|---|---|")
    p = np.array([0.1, 0.9, 0.5, 0.3])
    for steps in sizes:
        gradient = [nested(p + 1e-30j * unit, steps, cmath.sin).imag / 1e-30 for unit in np.eye(4)]
        function = cr.grad(lambda p, steps=steps: nested(p, steps, np.sin))
        memory, per_step = measured(function, [p], gradient, steps * steps)
        print(f"| {steps:,} × {steps:,} | {memory // 8:,} | {memory:,} | {per_step:.0f} |", flush=True)


def main() -> None:
    options, found = Options.parse(__doc__, sizes="10000,100000,1000000", nested="100,1000")
    sizes = [int(size) for size in found.sizes.split(",")]
    print(harness.describe_machine())
    compare_builds(options.rounds)
    compare_checkpoints(sizes)
    compare_recurrence(sizes)
    compare_nested([int(size) for size in found.nested.split(",")])


if __name__ == "__main__":
    main()
