"""The statistics that costs are made of, written with NumPy so that they can be traced.

All are distributed like χ² near the minimum (or are twice a negative log-likelihood, up to a constant), so that one
standard deviation is a rise by 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TINY = float(np.finfo(float).tiny)


def log_or_zero(x: Any) -> Any:
    """log x, and 0 where x ≤ 0: empty bins add nothing."""
    return np.where(x > 0, np.log(x), 0.0)


def twice_nll(density: Any) -> Any:
    """−2 Σ log density; a density that underflows counts as the smallest normal float, as in iminuit."""
    return -2.0 * np.sum(np.log(density + TINY))


def chi2(y: Any, error: Any, model: Any) -> Any:
    """Σ ((y − model)/error)²."""
    return np.sum(((y - model) / error) ** 2)


def soft_l1(y: Any, error: Any, model: Any) -> Any:
    """2 Σ (√(1 + z²) − 1), z the pull: χ² for small pulls, linear for outliers."""
    return 2.0 * np.sum(np.sqrt(1.0 + ((y - model) / error) ** 2) - 1.0)


def multinomial_chi2(n: Any, mu: Any) -> Any:
    """2 Σ n log(n/μ), for Σ n = Σ μ.

    Baker & Cousins, Nucl. Instrum. Meth. 221 (1984) 437.
    """
    return 2.0 * np.sum(n * (log_or_zero(n) - log_or_zero(mu)))


def poisson_chi2(n: Any, mu: Any) -> Any:
    """2 Σ (n log(n/μ) + μ − n).

    Baker & Cousins, Nucl. Instrum. Meth. 221 (1984) 437.
    """
    return 2.0 * np.sum(n * (log_or_zero(n) - log_or_zero(mu)) + mu - n)
