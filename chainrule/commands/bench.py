"""`chainrule bench`: what this machine reaches, beside what is installed."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.inspection.table import duration

DESCRIPTION = """\
Times value and gradient of an unbinned likelihood (signal and background) for several numbers of events, and a single
call on a number: NumPy with finite differences, JAX if it is installed, and chainrule. The best of several rounds, in
turn."""
SIZES = (1_000, 100_000, 1_000_000)
START = (0.3, 5.0, 0.7, 4.0)
ROUNDS = 7


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("bench", help="time gradients on this machine", description=DESCRIPTION)
    events = "numbers of events (default: 1e3, 1e5, 1e6)"
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES), metavar="N", help=events)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does it. Raises ValueError for numbers of events that are none."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    console = Console(highlight=False)
    if min(options.events) < 1:
        raise ValueError("--events takes positive numbers")
    rows: list[tuple[str, dict[str, float], float]] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("timing", total=len(options.events) + 1)
        rows.append(("derivative of a number, a call", *_scalar()))
        progress.advance(task)
        for n in options.events:
            rows.append((f"value and gradient, {n:,} events", *_likelihood(n)))
            progress.advance(task)
    others = list(dict.fromkeys(who for _, seconds, _ in rows for who in seconds if who != "chainrule"))
    table = Table(title=f"Seconds a call; chainrule with {cr.get_threads()} threads", title_justify="left")
    for heading in ("", *others, "chainrule", "first call, compiling"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds, first in rows:
        ours = seconds["chainrule"]
        cells = [f"{duration(seconds[w])} ({seconds[w] / ours:.1f}×)" if w in seconds else "" for w in others]
        table.add_row(name, *cells, duration(ours), duration(first))
    console.print(table)


def nll(p: Any, x: Any) -> Any:
    """Gaussian signal and exponential background."""
    f, mu, sigma, tau = p
    signal = np.exp(-(((x - mu) / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    background = np.exp(-x / tau) / tau
    return -np.sum(np.log(f * signal + (1 - f) * background))


def wave(x: Any) -> Any:
    """A function of one number."""
    return np.exp(-0.3 * x) * np.sin(2.0 * x)


def _likelihood(n: int) -> tuple[dict[str, float], float]:
    from scipy.optimize import approx_fprime

    rng = np.random.default_rng(1)
    x, p = np.abs(rng.normal(5.0, 2.0, n)), np.array(START)
    ours = cr.value_and_grad(nll)
    calls: dict[str, Callable[[], Any]] = {
        "NumPy, differences": lambda: (nll(p, x), approx_fprime(p, nll, 1e-7, x)),
        "chainrule": lambda: ours(p, x),
    }
    if importlib.util.find_spec("jax") is not None:
        calls["JAX"] = _jax(p, x)
    return _timed(calls)


def _jax(p: Any, x: Any) -> Callable[[], Any]:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def their_nll(p: Any, x: Any) -> Any:
        f, mu, sigma, tau = p
        signal = jnp.exp(-(((x - mu) / sigma) ** 2) / 2) / (jnp.sqrt(2 * jnp.pi) * sigma)
        return -jnp.sum(jnp.log(f * signal + (1 - f) * jnp.exp(-x / tau) / tau))

    derived, given = jax.jit(jax.value_and_grad(their_nll)), jnp.asarray(x)
    return lambda: np.asarray(derived(p, given)[1])


def _scalar() -> tuple[dict[str, float], float]:
    ours = cr.grad(wave)
    h = 6e-6
    calls: dict[str, Callable[[], Any]] = {
        "NumPy, differences": lambda: (wave(1.0 + h) - wave(1.0 - h)) / (2 * h),
        "chainrule": lambda: ours(1.0),
    }
    return _timed(calls)


def _timed(calls: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], float]:
    """(seconds a call of each, seconds of our first call)."""
    start = time.perf_counter()
    calls["chainrule"]()
    first = time.perf_counter() - start
    counts = {}
    for who, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        counts[who] = max(1, min(10_000, int(0.01 / max(time.perf_counter() - start, 1e-9))))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for who, call in calls.items():
            start = time.perf_counter()
            for _ in range(counts[who]):
                call()
            best[who] = min(best[who], (time.perf_counter() - start) / counts[who])
    return best, first
