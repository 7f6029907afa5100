"""The Z boson from CMS data: masses of muon pairs, and an unbinned maximum-likelihood fit of the peak.

The likelihood is an ordinary NumPy function. Its value, gradient and Hessian are compiled by chainrule and
used by SciPy's minimiser; what they cost is measured next to NumPy and finite differences.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import chainrule as cr

FloatArray = NDArray[np.float64]

DATA = Path(__file__).parent / "data" / "zmumu.csv.gz"
COLUMNS = ("E1", "px1", "py1", "pz1", "E2", "px2", "py2", "pz2")
LOW, HIGH = 70.0, 110.0  # the window of the fit, GeV
PARAMETERS = ("fraction", "mass", "width", "slope")
START = np.array([0.8, 90.0, 3.0, 0.05])
BOUNDS = [(0.01, 0.999), (80.0, 100.0), (0.5, 10.0), (1e-4, 1.0)]
FEWEST_EVENTS = 100
NEWTON_STEPS = 3


# What the user writes: plain NumPy ----------------------------------------------------------------


def pair_mass(events: FloatArray) -> FloatArray:
    """Invariant mass √((E₁+E₂)² − |p₁+p₂|²) of each pair; `events` has the rows `COLUMNS`."""
    e1, px1, py1, pz1, e2, px2, py2, pz2 = events
    squared: FloatArray = (e1 + e2) ** 2 - (px1 + px2) ** 2 - (py1 + py2) ** 2 - (pz1 + pz2) ** 2
    return np.sqrt(squared)


def density(p: FloatArray, m: FloatArray) -> FloatArray:
    """Breit–Wigner peak plus exponential background, each normalised on [LOW, HIGH]; p = `PARAMETERS`."""
    fraction, mass, width, slope = p
    half = width / 2
    peak = half / ((m - mass) ** 2 + half**2)
    peak_area = np.arctan((HIGH - mass) / half) - np.arctan((LOW - mass) / half)
    background = np.exp(-slope * (m - LOW))
    background_area = (1 - np.exp(-slope * (HIGH - LOW))) / slope
    total: FloatArray = fraction * peak / peak_area + (1 - fraction) * background / background_area
    return total


def nll(p: FloatArray, m: FloatArray) -> np.float64:
    """Negative log-likelihood of the masses `m`."""
    log_likelihood: np.float64 = np.sum(np.log(density(p, m)))
    return -log_likelihood


# The fit ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Result of a fit: parameters in the order of `PARAMETERS`, errors, and the state at the minimum."""

    parameters: FloatArray
    errors: FloatArray
    covariance: FloatArray
    gradient: FloatArray
    nll: float
    evaluations: int

    @property
    def distance(self) -> float:
        """Estimated vertical distance to the minimum, gᵀ·H⁻¹·g/2 (0.5 is one standard deviation)."""
        return float(self.gradient @ self.covariance @ self.gradient / 2)


def fit(masses: FloatArray) -> Fit:
    """Minimise `nll` for the masses (GeV, one dimension), all inside [LOW, HIGH].

    L-BFGS-B with the exact gradient comes near the minimum; Newton steps with the exact Hessian end on it.
    Raises ValueError if the minimum is not found or lies at a bound.
    """
    from scipy.optimize import minimize

    value_and_grad = cr.value_and_grad(nll)
    hessian = cr.hessian(nll)
    near = minimize(value_and_grad, START, args=(masses,), jac=True, method="L-BFGS-B", bounds=BOUNDS)
    p: FloatArray = near.x
    for _ in range(NEWTON_STEPS):
        p = p - np.linalg.solve(hessian(p, masses), value_and_grad(p, masses)[1])
    value, gradient = value_and_grad(p, masses)
    curvature = hessian(p, masses)
    inside = all(low < value < high for value, (low, high) in zip(p, BOUNDS, strict=True))
    if not inside or not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min() <= 0:
        raise ValueError("the fit found no minimum inside its bounds; do the data contain a Z peak?")
    covariance = np.linalg.inv(curvature)
    evaluations = int(near.nfev) + NEWTON_STEPS + 1
    return Fit(p, np.sqrt(np.diag(covariance)), covariance, gradient, float(value), evaluations)


# Data ---------------------------------------------------------------------------------------------


def read_events(path: Path = DATA) -> FloatArray:
    """Energies and momenta of muon pairs from a CSV file (also .csv.gz), as float64[8, n].

    The columns are found by their names, `COLUMNS`; others are ignored. Raises OSError if the file cannot be
    read, ValueError if columns are missing or hold no numbers.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")
        try:
            table = np.loadtxt(file, delimiter=",", usecols=[header.index(name) for name in COLUMNS], ndmin=2)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return np.ascontiguousarray(table.T)


def select(masses: FloatArray) -> FloatArray:
    """The masses inside the window of the fit; ValueError if they are too few to be fitted."""
    selected = masses[(masses > LOW) & (masses < HIGH)]
    if selected.size < FEWEST_EVENTS:
        raise ValueError(
            f"only {selected.size} events have a mass between {LOW:g} and {HIGH:g} GeV; "
            f"the fit needs at least {FEWEST_EVENTS}"
        )
    return selected


# What it costs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds: NumPy's call, our first call (trace, derive, simplify, compile, run) and every further one."""

    name: str
    numpy: float | None
    first: float
    ours: float


def measure(events: FloatArray) -> list[Timing]:
    """Time the same functions under NumPy and compiled, in turn.

    What has been compiled before in this process is not compiled again: measure first, then use.
    """
    from scipy.optimize import approx_fprime

    masses = select(pair_mass(events))

    def numpy_value_and_gradient(p: FloatArray, m: FloatArray) -> tuple[np.float64, FloatArray]:
        return nll(p, m), approx_fprime(p, nll, 1e-7, m)

    return [
        _time("pair masses", lambda: pair_mass(events), cr.jit(pair_mass), (events,)),
        _time("likelihood", lambda: nll(START, masses), cr.jit(nll), (START, masses)),
        _time(
            "likelihood and gradient",
            lambda: numpy_value_and_gradient(START, masses),
            cr.value_and_grad(nll),
            (START, masses),
        ),
        _time("Hessian", None, cr.hessian(nll), (START, masses)),
    ]


def _time(
    name: str, numpy: Callable[[], Any] | None, ours: Callable[..., Any], args: tuple[Any, ...]
) -> Timing:
    first = _seconds(lambda: ours(*args))
    rounds = [(_seconds(numpy) if numpy else None, _seconds(lambda: ours(*args))) for _ in range(15)]
    return Timing(
        name,
        min(theirs for theirs, _ in rounds if theirs is not None) if numpy else None,
        first,
        min(mine for _, mine in rounds),
    )


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
