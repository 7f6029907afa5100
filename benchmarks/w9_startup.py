"""W9: what a fresh process waits for: the import, and the first gradient of the likelihood W3, N = 100,000.

Every figure is of new processes, wall time less that of an empty one; our first gradient with an empty and with a
filled disk cache.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import harness
from harness import Options, Row

MODEL = """
import math, numpy as np
x = np.clip(np.random.default_rng(1).normal(5, 2, 100_000), 0, 10)
p = np.array([0.3, 4.0, 5.0, 0.7])
def density(m, erf, p, x):
    f, tau, mu, s = p[0], p[1], p[2], p[3]
    z = (x - mu) / s
    area = (erf((10 - mu) / (s * math.sqrt(2))) + erf(mu / (s * math.sqrt(2)))) / 2
    signal = m.exp(-0.5 * z * z) / (s * math.sqrt(2 * math.pi) * area)
    return f * signal + (1 - f) * m.exp(-x / tau) / (tau * (1 - m.exp(-10 / tau)))
"""

IMPORTS = {
    "numpy": "import numpy",
    "chainrule": "import chainrule",
    "jax": "import jax",
    "casadi": "import casadi",
    "numba": "import numba",
    "symengine": "import symengine",
    "sympy": "import sympy",
}

GRADIENTS = {
    "chainrule": """
import chainrule as cr
from chainrule.scipy.special import erf
r = cr.grad(lambda p, x: -np.log(density(np, erf, p, x)).sum())(p, x)
""",
    "jax": """
import jax
jax.config.update("jax_enable_x64", True)
jnp, erf = jax.numpy, jax.scipy.special.erf
r = np.asarray(jax.jit(jax.grad(lambda p, x: -jnp.log(density(jnp, erf, p, x)).sum()))(p, x))
""",
    "casadi": """
import casadi
P, X = casadi.MX.sym("p", 4), casadi.MX.sym("x", len(x))
nll = -casadi.sum1(casadi.log(density(casadi, casadi.erf, [P[i] for i in range(4)], X)))
r = np.asarray(casadi.Function("g", [P, X], [casadi.gradient(nll, P)])(p, x)).ravel()
""",
    "symengine": """
import symengine as se
v = se.symbols("f tau mu s x")
nll = -se.log(density(se, se.erf, v[:4], v[4]))
function = se.Lambdify(v, [nll.diff(t) for t in v[:4]], backend="llvm", cse=True)
given = np.empty((len(x), 5)); given[:, :4] = p; given[:, 4] = x
r = function(given).sum(0)
""",
}


def seconds(code: str, cache: str) -> tuple[float, str]:
    """Wall time and output of a new process that runs the code."""
    environment = {**os.environ, "CHAINRULE_CACHE_DIR": cache}
    start = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    spent = time.perf_counter() - start
    if found.returncode:
        raise RuntimeError(found.stderr.strip().splitlines()[-1][:150])
    return spent, found.stdout


def row(label: str, measure: Callable[[], float], rounds: int, empty: float) -> Row | None:
    try:
        samples = [measure() - empty for _ in range(rounds)]
    except RuntimeError as problem:
        print(f"\nleft out: {label}: {problem}")
        return None
    return Row(label, statistics.median(samples), min(samples), None, 0.0, 0.0)


def compare_imports(options: Options, rounds: int, empty: float) -> list[Row]:
    found = []
    for name, code in IMPORTS.items():
        if name == "numpy" or options.peer(name):
            found.append(row(name, lambda code=code: seconds(code, os.devnull)[0], rounds, empty))  # type: ignore[misc]
    return [r for r in found if r is not None]


def compare_gradients(options: Options, rounds: int, empty: float) -> list[Row]:
    found: list[Row | None] = []
    reference: list[float] = []

    def first(code: str, cache: str) -> float:
        spent, out = seconds(MODEL + code + "\nprint(*map(float, r))", cache)
        values = [float(v) for v in out.split()]
        reference.extend(values if not reference else [])
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(values, reference, strict=True)):
            raise RuntimeError(f"wrong: {values} instead of {reference}")
        return spent

    for name, code in GRADIENTS.items():
        if not options.peer(name):
            continue
        with tempfile.TemporaryDirectory() as filled:

            def cold(code: str = code) -> float:
                with tempfile.TemporaryDirectory() as folder:
                    return first(code, folder)

            def warm(code: str = code, cache: str = filled) -> float:
                return first(code, cache)

            found.append(row(name, cold, rounds, empty))
            if name == "chainrule":
                first(code, filled)
                found.append(row("chainrule, disk cache", warm, rounds, empty))
    return [r for r in found if r is not None]


def show(title: str, rows: list[Row]) -> None:
    print(f"\n### {title}\n\n| | s | best |\n|---|---|---|")
    for found in sorted(rows, key=lambda r: r.median):
        print(f"| {found.label} | {found.median:.3f} | {found.best:.3f} |")


def main() -> None:
    options, _ = Options.parse(__doc__)
    print(harness.describe_machine())
    rounds = max(3, options.rounds // 3)
    empty = statistics.median(seconds("pass", os.devnull)[0] for _ in range(rounds))
    results = {
        "W9 import": compare_imports(options, rounds, empty),
        "W9 first gradient in a fresh process": compare_gradients(options, rounds, empty),
    }
    for title, rows in results.items():
        show(title, rows)
    harness.finish(options, results)


if __name__ == "__main__":
    main()
