"""Two threads against one: y and dy/dx of a million elements (W2), value and gradient of a likelihood (W3).

In wall time, in turn, with the results of one and of several threads compared bit for bit.

    python benchmarks/threads.py [--n 1000000] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import chainrule as cr

ROUNDS, CALLS = 9, 20


def wave(x: Any) -> Any:
    """W2's function."""
    return np.exp(-x / 10) * np.sin(x) + np.log(1 + x * x)


def nll(p: Any, x: Any) -> Any:
    """A peak on a falling background, as in W3."""
    f, mu, sigma, tau = p
    peak = np.exp(-(((x - mu) / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    return -np.sum(np.log(f * peak + (1 - f) * np.exp(-x / tau) / tau))


def seconds(call: Callable[[], Any], count: int) -> float:
    """Wall time of a call with so many threads, which are at work already."""
    cr.set_threads(count)
    for _ in range(CALLS):
        call()
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def compare(name: str, call: Callable[[], Any], threads: int, n: int) -> None:
    """One line of the table."""
    results = {}
    for count in (1, threads):
        cr.set_threads(count)
        for _ in range(20):  # until the optimised kernel has come
            results[count] = call()
            time.sleep(0.02)
    same = all(
        np.array_equal(a, b) for a, b in zip(results[1], results[threads], strict=True)
    )
    times: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(ROUNDS):
        for count, row in times.items():
            row.append(seconds(call, count))
    ratio = median(a / b for a, b in zip(times[1], times[threads], strict=True))
    shown = " | ".join(f"{median(row) / n * 1e9:.2f}" for row in times.values())
    print(f"| {name} | {shown} | {ratio:.2f} | {'the same' if same else 'DIFFERENT'} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    x, p = rng.uniform(0.5, 9.5, options.n), np.array([0.3, 5.0, 0.7, 4.0])
    print(f"| N = {options.n:,}, ns | 1 thread | {options.threads} threads | ratio | bits |\n|---|---|---|---|---|")
    slope = cr.elementwise_grad(wave)
    both = cr.jit(lambda x: (wave(x), slope(x)))
    value_and_grad, value_grad_hess = cr.value_and_grad(nll), cr.value_grad_hess(nll)
    compare("y and dy/dx", lambda: both(x), options.threads, options.n)
    compare("value and gradient", lambda: value_and_grad(p, x), options.threads, options.n)
    compare("value, gradient and Hessian", lambda: value_grad_hess(p, x), options.threads, options.n)


if __name__ == "__main__":
    main()
