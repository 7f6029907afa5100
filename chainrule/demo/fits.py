"""The fit, by SciPy and by iminuit, with exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr

from .model import PARAMETERS, FloatArray, nll

START = {"fraction": 0.8, "mass": 90.0, "width": 3.0, "slope": 0.05}
BOUNDS = ((0.01, 0.999), (80.0, 100.0), (0.5, 10.0), (1e-4, 1.0))
NEWTON_STEPS = 3


@dataclass(frozen=True)
class Fit:
    """Result of a fit: parameters in the order of `PARAMETERS`, errors, and the state at the minimum.

    ``lower`` and ``upper`` are Minos errors, where the likelihood has risen by 1/2; None if they were not computed.
    """

    method: str
    parameters: FloatArray
    errors: FloatArray
    covariance: FloatArray
    gradient: FloatArray
    nll: float
    calls: str
    lower: FloatArray | None = None
    upper: FloatArray | None = None

    @property
    def distance(self) -> float:
        """Estimated vertical distance to the minimum, gᵀ·H⁻¹·g/2 (0.5 is one standard deviation)."""
        return float(self.gradient @ self.covariance @ self.gradient / 2)


def likelihood(m: FloatArray, s: FloatArray) -> Any:
    """The negative log-likelihood of these events, a compiled function of the parameters by name."""
    return cr.bind(nll, m=m, s=s)


def fit_scipy(m: FloatArray, s: FloatArray) -> Fit:
    """L-BFGS-B with the exact gradient comes near the minimum; Newton steps with the exact Hessian end on it.

    Raises ValueError if the minimum is not found or lies at a bound.
    """
    from scipy.optimize import minimize

    cost = likelihood(m, s)
    value_and_grad = cr.value_and_grad(cost, argnums=(0, 1, 2, 3))

    def at(p: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = value_and_grad(*p)
        return float(value), np.array(gradient)

    near = minimize(at, list(START.values()), jac=True, method="L-BFGS-B", bounds=BOUNDS)
    p: FloatArray = near.x
    for _ in range(NEWTON_STEPS):
        p = p - np.linalg.solve(cost.hessian(*p), at(p)[1])
    value, gradient = at(p)
    curvature = cost.hessian(*p)
    inside = all(low < value < high for value, (low, high) in zip(p, BOUNDS, strict=True))
    if not inside or not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min() <= 0:
        raise ValueError("the fit found no minimum inside its bounds; do the data contain a Z peak?")
    covariance = np.linalg.inv(curvature)
    calls = f"{near.nfev + NEWTON_STEPS + 1} of value and gradient, {NEWTON_STEPS + 1} of the Hessian"
    return Fit("SciPy", p, np.sqrt(np.diag(covariance)), covariance, gradient, value, calls)


def fit_iminuit(m: FloatArray, s: FloatArray) -> Fit:
    """Migrad and Minos. Names, limits, gradient, Hessian and ``errordef`` are found in the likelihood itself.

    Raises ImportError without iminuit, ValueError if the minimum is not valid.
    """
    from iminuit import Minuit

    cost = likelihood(m, s)
    minuit = Minuit(cost, **START)
    minuit.migrad()
    minuit.hesse()
    if not minuit.valid:
        raise ValueError("iminuit found no valid minimum; do the data contain a Z peak?")
    minuit.minos()
    p = np.array(minuit.values)
    calls = f"{minuit.nfcn} of value, {minuit.ngrad} of gradient, {minuit.nhessian} of the Hessian"
    return Fit(
        "iminuit", p, np.array(minuit.errors), np.array(minuit.covariance), cost.grad(*p), float(minuit.fval), calls,
        lower=np.array([minuit.merrors[name].lower for name in PARAMETERS]),
        upper=np.array([minuit.merrors[name].upper for name in PARAMETERS]),
    )  # fmt: skip
