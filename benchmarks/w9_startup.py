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
    "NumPy": "import numpy",
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


def measured(entries: dict[str, Callable[[], float]], rounds: int, empty: float) -> list[Row]:
    """Every entry in turn, round after round; one that fails is named and left out."""
    samples: dict[str, list[float]] = {label: [] for label in entries}
    for _ in range(rounds):
        for label in list(samples):
            try:
                samples[label].append(entries[label]() - empty)
            except RuntimeError as problem:
                print(f"\nleft out: {label}: {problem}")
                del samples[label]
    return [Row(label, statistics.median(found), min(found), None, 0.0, 0.0) for label, found in samples.items()]


def imports(options: Options) -> dict[str, Callable[[], float]]:
    names = [name for name in IMPORTS if name == "NumPy" or options.peer(name)]
    return {name: lambda name=name: seconds(IMPORTS[name], os.devnull)[0] for name in names}  # type: ignore[misc]


def first_gradients(options: Options, filled: str) -> dict[str, Callable[[], float]]:
    """Entries for each library; ``filled`` is a folder for the disk cache of one."""
    reference: list[float] = []

    def first(name: str, cache: str) -> float:
        spent, out = seconds(MODEL + GRADIENTS[name] + "\nprint(*map(float, r))", cache)
        values = [float(v) for v in out.split()]
        reference.extend(values if not reference else [])
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(values, reference, strict=True)):
            raise RuntimeError(f"wrong: {values} instead of {reference}")
        return spent

    def cold(name: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return first(name, folder)

    entries = {name: lambda name=name: cold(name) for name in GRADIENTS if options.peer(name)}  # type: ignore[misc]
    if "chainrule" in entries:
        first("chainrule", filled)
        entries["chainrule, disk cache"] = lambda: first("chainrule", filled)
    return entries


def show(title: str, rows: list[Row]) -> None:
    print(f"\n### {title}\n\n| | s | best |\n|---|---|---|")
    for found in sorted(rows, key=lambda r: r.median):
        print(f"| {found.label} | {found.median:.3f} | {found.best:.3f} |")


def main() -> None:
    options, _ = Options.parse(__doc__)
    print(harness.describe_machine())
    rounds = max(3, options.rounds // 2)
    empty = statistics.median(seconds("pass", os.devnull)[0] for _ in range(rounds))
    with tempfile.TemporaryDirectory() as filled:
        results = {
            "W9 import, s": measured(imports(options), rounds, empty),
            "W9 first gradient in a fresh process, s": measured(first_gradients(options, filled), rounds, empty),
        }
    for title, rows in results.items():
        show(title, rows)
    harness.finish(options, results)


if __name__ == "__main__":
    main()
