"""How the time to build a gradient grows with the program: straight-line code of 10³ to 10⁵ operations.

Three shapes: a chain (every operation needs the one before), a balanced tree, and a random acyclic graph with
sharing. For each, in seconds: to trace the function; to trace, derive and simplify its gradient; from the
function to the first gradient, compilation included; one further call. Growth is the time over that of the
size before: for ten times more operations, 10 is linear.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Options

import chainrule as cr

INPUTS = 8
POINT = np.linspace(0.3, 0.9, INPUTS)
TOO_LONG = 120.0  # seconds that the next size may be expected to take

Program = Callable[[Any], Any]


def chain(operations: int) -> Program:
    """y ← sin(y)·x_k + c, again and again."""

    def program(x: Any) -> Any:
        y = x[0]
        for step in iter(range(operations // 3)):  # a plain range would stay a loop
            y = np.sin(y) * x[step % INPUTS] + 0.1
        return y

    return program


def tree(operations: int) -> Program:
    """Leaves sin(c·x_k), joined in pairs by products and means up to the root."""

    def program(x: Any) -> Any:
        leaves = iter(range(operations // 5))  # two operations a leaf, three a join
        level = [np.sin((1 + leaf / operations) * x[leaf % INPUTS]) for leaf in leaves]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            joined = [0.5 * (a * b + a) for a, b in pairs]
            level = joined + level[len(level) - len(level) % 2 :]
        return level[0]

    return program


def dag(operations: int) -> Program:
    """Every value a sine, a product or a mean of two random earlier ones; the last eight are summed."""

    choose = random.Random(operations)
    choices = [
        (choose.randrange(made), made - 1 - choose.randrange(min(100, made)), choose.randrange(3))
        for made in range(INPUTS, operations // 2)
    ]

    def program(x: Any) -> Any:
        values = [x[k] for k in range(INPUTS)]
        for first, second, kind in iter(choices):
            a, b = values[first], values[second]
            values.append(np.sin(a + b) if kind == 0 else a * np.cos(b) if kind == 1 else (a + b) * 0.5)
        return sum(values[-INPUTS:])

    return program


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def gradient_by_complex_step(program: Program) -> np.ndarray:
    """The right gradient: with a step of 10⁻³⁰ along the imaginary axis nothing cancels."""
    return np.array([program(POINT + 1e-30j * unit).imag / 1e-30 for unit in np.eye(INPUTS)])


def phases(program: Program) -> dict[str, float]:
    """Seconds for each phase; raises ArithmeticError if the gradient is wrong."""
    spec = cr.spec(INPUTS)
    trace, _ = timed(lambda: cr.trace(program, spec))
    derive, _ = timed(lambda: cr.trace(cr.grad(program), spec))
    grad = cr.grad(program)
    first, result = timed(lambda: grad(POINT))
    call = min(timed(lambda: grad(POINT))[0] for _ in range(5))
    expected = gradient_by_complex_step(program)
    if not np.allclose(result, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max()):
        raise ArithmeticError(f"gradient {result} instead of {expected}")
    return {"trace": trace, "derive and simplify": derive, "first gradient": first, "call": call}


def main() -> None:
    _, found = Options.parse(__doc__, sizes="1000,10000,100000", shapes="chain,tree,dag")
    sizes = [int(size) for size in found.sizes.split(",")]
    print(harness.describe_machine())
    for shape in found.shapes.split(","):
        print(f"\n### {shape}, seconds (growth)\n")
        print("| operations | trace | derive and simplify | first gradient | call |\n|---|---|---|---|---|")
        before: dict[str, float] = {}
        for position, size in enumerate(sizes):
            ratio = size / sizes[position - 1] if position else 1.0
            if before and sum(before.values()) * ratio**1.3 > TOO_LONG:
                print(f"| {size:,} | left out: expected to take more than {TOO_LONG:g} s | | | |")
                break
            now = phases({"chain": chain, "tree": tree, "dag": dag}[shape](size))
            cells = [f"{now[k]:.2g}" + (f" ({now[k] / before[k]:.1f}×)" if before else "") for k in now]
            print(f"| {size:,} | {' | '.join(cells)} |", flush=True)
            before = now


if __name__ == "__main__":
    main()
