"""How accurate the elementary functions are: the largest error in ulp of compiled kernels, against mpmath.

Each function runs as the loop over lanes that every kernel inlines. The arguments are random bit patterns (all
magnitudes, subnormals and infinities included), the interval where the function varies, and the floats nearest to
its special points. An ulp is that of the true value; a wrong infinity or NaN counts as infinite.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import mpmath as mp
import numpy as np

import chainrule as cr
import chainrule.scipy.special as special

INF: Final = math.inf
DIGITS: Final = {"float64": 40, "float32": 25}


@dataclass(frozen=True)
class Function:
    """What is measured: the traced function and the truth, intervals to sample, points to go near to."""

    traced: Callable[..., Any]
    truth: Callable[..., Any]
    intervals: tuple[tuple[float, float], ...] = ((-1, 1), (-40, 40))
    points: tuple[float, ...] = (0.0,)
    domain: tuple[float, float] = (-INF, INF)  # where an error relative to the value is asked for


def softplus(x: Any) -> Any:
    return max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x)))


def cbrt(x: Any) -> Any:
    return mp.sign(x) * mp.cbrt(abs(x))


def erfc(x: Any) -> Any:
    return mp.erfc(x) if abs(x) < 1000 else 1 - mp.sign(x)


def digamma(x: Any) -> Any:
    return mp.digamma(x) if x < 1e30 else mp.log(x) - 1 / (2 * x)


def gammaln(x: Any) -> Any:
    return mp.loggamma(x) if x < 1e30 else (x - 0.5) * (mp.log(x) - 1) + (mp.log(2 * mp.pi) - 1) / 2


QUARTERS: Final = tuple(k * math.pi / 4 for k in range(1, 17)) + tuple(math.pi * 2.0**k for k in range(5, 900, 9))
ROUND_ONE: Final = ((0.5, 2), (0.99, 1.01))
UNIT: Final = ((-1, 1), (0.99, 1.0))
POSITIVE: Final = (0.0, INF)
FUNCTIONS: Final = {
    "exp": Function(np.exp, mp.exp, ((-1, 1), (-745, 709.7)), (0.0, 709.78, -745.13)),
    "expm1": Function(np.expm1, mp.expm1, ((-1, 1), (-40, 709.7))),
    "log": Function(np.log, mp.log, ROUND_ONE, (1.0,)),
    "log1p": Function(np.log1p, mp.log1p, ((-1, 2), (-0.01, 0.01)), (0.0, -1.0)),
    "log2": Function(np.log2, lambda x: mp.log(x, 2), ROUND_ONE, (1.0, 2.0, 1024.0)),
    "log10": Function(np.log10, mp.log10, ROUND_ONE, (1.0, 10.0, 1000.0)),
    "pow": Function(np.power, mp.power, ((0.5, 2), (-20, 20)), (1.0,)),
    "sqrt": Function(np.sqrt, mp.sqrt, ((0, 4),), (1.0, 4.0)),
    "cbrt": Function(np.cbrt, cbrt, ((-10, 10),), (1.0, 8.0)),
    "sin": Function(np.sin, mp.sin, ((-4, 4), (-1e6, 1e6)), QUARTERS),
    "cos": Function(np.cos, mp.cos, ((-4, 4), (-1e6, 1e6)), QUARTERS),
    "tan": Function(np.tan, mp.tan, ((-4, 4), (-1e6, 1e6)), QUARTERS),
    "asin": Function(np.arcsin, mp.asin, UNIT, (0.0, 0.5, 1.0)),
    "acos": Function(np.arccos, mp.acos, UNIT, (0.0, 0.5, 1.0)),
    "atan": Function(np.arctan, mp.atan, ((-3, 3),), (0.0, 1.0)),
    "atan2": Function(np.arctan2, mp.atan2, ((-3, 3), (-3, 3)), (0.0, 1.0)),
    "sinh": Function(np.sinh, mp.sinh, ((-1, 1), (-710, 710)), (0.0, 710.47)),
    "cosh": Function(np.cosh, mp.cosh, ((-1, 1), (-710, 710)), (0.0, 710.47)),
    "tanh": Function(np.tanh, mp.tanh, ((-1, 1), (-20, 20))),
    "asinh": Function(np.arcsinh, mp.asinh, ((-3, 3),)),
    "acosh": Function(np.arccosh, mp.acosh, ((1, 1.001), (1, 3)), (1.0,)),
    "atanh": Function(np.arctanh, mp.atanh, UNIT, (0.0, 1.0)),
    "erf": Function(special.erf, mp.erf, ((-1, 1), (-6, 6))),
    "erfc": Function(special.erfc, erfc, ((-1, 1), (-6, 27.2)), (0.0, 26.54)),
    "expit": Function(special.expit, lambda x: 1 / (1 + mp.exp(-x)), ((-40, 40), (-745, 0))),
    "softplus": Function(lambda x: np.logaddexp(0.0, x), softplus, ((-40, 40), (-745, 0))),
    "gammaln": Function(special.gammaln, gammaln, ((0, 3), (2, 20)), (1.0, 2.0), POSITIVE),
    "digamma": Function(special.digamma, digamma, ((0, 3), (2, 20)), (1.0, 1.4616321449683622), POSITIVE),
}
BINARY: Final = ("pow", "atan2")


def samples(function: Function, dtype: str, count: int, rng: np.random.Generator) -> Any:
    """``count`` arguments in random order, of the function's domain."""
    bits = np.uint64 if dtype == "float64" else np.uint32
    top = 2**64 if dtype == "float64" else 2**32
    third = count // 3
    patterns = rng.integers(0, top, count, dtype=bits).view(dtype)
    points = [p for p in function.points if abs(p) < np.finfo(dtype).max]
    near = np.repeat(np.array([*points, *(-p for p in points)], dtype), third)
    steps = rng.integers(0, 64, near.size, dtype=bits)
    near = np.subtract(np.add(near.view(bits), steps, dtype=bits), bits(32), dtype=bits).view(dtype)
    inside = np.concatenate([rng.uniform(low, high, count) for low, high in function.intervals]).astype(dtype)
    parts = []
    for part, wanted in ((patterns, count - 2 * third), (near, third), (inside, third)):
        part = part[(part >= function.domain[0]) & (part <= function.domain[1])]
        parts.append(rng.permutation(part)[:wanted])
    chosen = rng.permutation(np.concatenate(parts))
    return chosen + chosen.dtype.type(0)  # mpmath knows no -0.0


def ulps(value: float, truth: Any, digits: int, smallest: int, largest: Any) -> float:
    """The error of ``value``, in units of the last place of ``truth`` in a type of so many bits."""
    if isinstance(truth, mp.mpc) or mp.isnan(truth):
        return 0.0 if math.isnan(value) else INF
    if math.isnan(value):
        return INF
    if abs(truth) >= largest or math.isinf(value):
        return 0.0 if abs(truth) >= largest and value == math.copysign(INF, truth) else INF
    exponent = max(mp.mag(truth) if truth else smallest, smallest)
    return float(abs(mp.mpf(value) - truth) * mp.mpf(2) ** (digits - exponent))


def true_value(function: Function, xs: tuple[float, ...]) -> Any:
    try:
        return function.truth(*(mp.mpf(x) for x in xs))
    except (ValueError, ZeroDivisionError):
        return None  # a pole, or outside the domain: other tests say what C99 wants there


def measured(task: tuple[str, str, int]) -> tuple[int, float, tuple[float, ...]]:
    """(number of arguments, largest error, where) of a function in a type."""
    name, dtype, count = task
    function = FUNCTIONS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    arguments = [samples(function, dtype, count, rng) for _ in range(2 if name in BINARY else 1)]
    shortest = min(map(len, arguments))
    arguments = [a[:shortest] for a in arguments]
    values = cr.jit(function.traced)(*arguments)
    assert values.dtype == dtype
    limits = np.finfo(dtype)
    digits, smallest = limits.nmant + 1, int(limits.minexp) + 1
    worst, compared = 0.0, 0
    where: tuple[float, ...] = ()
    with mp.workdps(DIGITS[dtype]):
        largest = mp.mpf(float(limits.max)) * (1 + mp.mpf(2) ** -(digits + 1))
        for value, *xs in zip(values.tolist(), *(a.tolist() for a in arguments), strict=True):
            if not all(map(math.isfinite, xs)):
                continue
            truth = true_value(function, tuple(xs))
            if truth is None:
                continue
            compared += 1
            error = ulps(value, truth, digits, smallest, largest)
            if error > worst:
                worst, where = error, tuple(xs)
    return compared, worst, where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000, help="arguments a function and type")
    parser.add_argument("--only", default="", help="functions, separated by commas")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(FUNCTIONS)
    start = time.perf_counter()
    tasks = [(name, dtype, options.points) for name in names for dtype in DIGITS]
    print("| function | range | max ulp, float64 | at | max ulp, float32 | at |\n|---|---|---|---|---|---|")
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    compared = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        found = pool.imap(measured, tasks)
        for name in names:
            cells = []
            for _ in DIGITS:
                count, worst, where = next(found)
                compared += count
                cells += [f"{worst:.2f}", ", ".join(f"{x:.6g}" for x in where)]
            span = "all" if FUNCTIONS[name].domain == (-INF, INF) else "x > 0"
            print(f"| {name} | {span} | {' | '.join(cells)} |", flush=True)
    print(f"\n{compared:,} values in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
