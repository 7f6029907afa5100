"""What the user writes: the physics, in plain NumPy."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.polynomial.hermite import hermgauss
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LOW, HIGH = 70.0, 110.0  # the window of the fit, GeV
RESOLUTION = 0.01  # of each muon's momentum
PARAMETERS = ("fraction", "mass", "width", "slope")

# A Gaussian as a sum over nodes (Gauss–Hermite): a peak convolved with it keeps a closed form, and a closed integral.
NODES, WEIGHTS = hermgauss(20)
SHIFTS, SHARES = 2**0.5 * NODES, WEIGHTS / WEIGHTS.sum()


def pair_mass(p: FloatArray) -> FloatArray:
    """Invariant mass √((E₁+E₂)² − |p₁+p₂|²) of a pair; `p` is (E1, px1, py1, pz1, E2, px2, py2, pz2)."""
    e1, px1, py1, pz1, e2, px2, py2, pz2 = p
    squared: FloatArray = (e1 + e2) ** 2 - (px1 + px2) ** 2 - (py1 + py2) ** 2 - (pz1 + pz2) ** 2
    return np.sqrt(squared)


def momentum_covariance(p: FloatArray) -> FloatArray:
    """Covariance (8, 8, n) of the pairs (8, n) if the momentum of each muon is known to 1 %, its direction exactly."""
    covariance = np.zeros((8, 8, p.shape[1]))
    for muon in (slice(0, 4), slice(4, 8)):
        change = p[muon].copy()
        change[0] = np.sum(p[muon][1:] ** 2, axis=0) / p[muon][0]  # dE = p·dp/E
        covariance[muon, muon] = RESOLUTION**2 * change[:, None] * change[None, :]
    return covariance


def breit_wigner(m: FloatArray, mass: float, width: float) -> FloatArray:
    """The peak without resolution, not normalised."""
    half = width / 2
    return half / ((m - mass) ** 2 + half**2)


def area_below(m: FloatArray, mass: float, width: float) -> FloatArray:
    """Its integral up to `m`, but for a constant."""
    half = width / 2
    return np.arctan((m - mass) / half)


def peak(m: FloatArray, s: FloatArray, mass: float, width: float) -> FloatArray:
    """Breit–Wigner convolved with each event's resolution `s`, normalised on [LOW, HIGH]."""
    shift = s[:, None] * SHIFTS
    height = breit_wigner(m[:, None] - shift, mass, width)
    area = area_below(HIGH - shift, mass, width) - area_below(LOW - shift, mass, width)
    convolved: FloatArray = np.sum(SHARES * height, axis=1) / np.sum(SHARES * area, axis=1)
    return convolved


def background(m: FloatArray, slope: float) -> FloatArray:
    """Exponential, normalised on [LOW, HIGH]."""
    falling: FloatArray = np.exp(-slope * (m - LOW)) * slope / (1 - np.exp(-slope * (HIGH - LOW)))
    return falling


def density(m: FloatArray, s: FloatArray, fraction: float, mass: float, width: float, slope: float) -> FloatArray:
    """Signal and background."""
    return fraction * peak(m, s, mass, width) + (1 - fraction) * background(m, slope)


def nll(
    fraction: Annotated[float, 0.01:0.999],
    mass: Annotated[float, 80:100],
    width: Annotated[float, 0.5:10],
    slope: Annotated[float, 1e-4:1],
    m: FloatArray,
    s: FloatArray,
) -> np.float64:
    """Negative log-likelihood of masses `m` with errors `s`."""
    log_likelihood: np.float64 = np.sum(np.log(density(m, s, fraction, mass, width, slope)))
    return -log_likelihood


nll.errordef = 0.5  # type: ignore[attr-defined]  # one standard deviation, for iminuit
