"""Densities in pieces, filters, hidden states, splines: the likelihoods that people fit."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.interpolate
import scipy.stats

import chainrule as cr
from tests.programs.precise import derivatives, on_mpmath, verify


def crystal_ball(x: Any, alpha: Any, n: Any) -> Any:
    """A Gaussian core with a power-law tail, normalised."""
    a = (n / abs(alpha)) ** n * math.exp(-0.5 * alpha * alpha)
    b = n / abs(alpha) - abs(alpha)
    c = n / abs(alpha) / (n - 1) * math.exp(-0.5 * alpha * alpha)
    d = math.sqrt(math.pi / 2) * (1 + math.erf(abs(alpha) / math.sqrt(2)))
    norm = 1 / (c + d)
    if x > -alpha:
        return norm * math.exp(-0.5 * x * x)
    else:
        return norm * a * (b - x) ** -n


@pytest.mark.parametrize("x", [0.3, -4.0])
def test_crystal_ball(x: float) -> None:
    assert crystal_ball(x, 1.5, 3.0) == pytest.approx(scipy.stats.crystalball.pdf(x, 1.5, 3.0), rel=1e-13)
    verify(crystal_ball, x, 1.5, 3.0)


def test_crystal_ball_of_many_events() -> None:
    events = scipy.stats.crystalball.rvs(1.5, 3.0, size=200, random_state=4)

    def nll(alpha: Any, n: Any, events: Any) -> Any:
        total = 0.0
        for x in events:
            total -= np.log(crystal_ball(x, alpha, n))
        return total

    def truth(alpha: Any, n: Any) -> Any:
        f = on_mpmath(crystal_ball)
        return -mpmath.fsum(mpmath.log(f(mpmath.mpf(x), alpha, n)) for x in events)

    value, gradient, hessian = derivatives(truth, (1.4, 2.8))
    found, slopes = cr.value_and_grad(nll, argnums=(0, 1))(1.4, 2.8, events)
    assert found == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-9)
    second = cr.hessian(lambda p: nll(p[0], p[1], events))(np.array([1.4, 2.8]))
    np.testing.assert_allclose(second, hessian, rtol=1e-8)
    densities = cr.vmap(crystal_ball, in_axes=(0, None, None))(events, 1.4, 2.8)
    np.testing.assert_allclose(densities, scipy.stats.crystalball.pdf(events, 1.4, 2.8), rtol=1e-11)


# --- splines ------------------------------------------------------------------------------------------------


def natural_spline(xs: Any, ys: Any) -> Any:
    """Second derivatives at the knots: Numerical Recipes' spline."""
    n = len(xs)
    y2, u = np.zeros(n), np.zeros(n)
    for i in range(1, n - 1):
        sig = (xs[i] - xs[i - 1]) / (xs[i + 1] - xs[i - 1])
        p = sig * y2[i - 1] + 2.0
        y2[i] = (sig - 1.0) / p
        u[i] = (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i]) - (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1])
        u[i] = (6.0 * u[i] / (xs[i + 1] - xs[i - 1]) - sig * u[i - 1]) / p
    for k in range(n - 2, -1, -1):
        y2[k] = y2[k] * y2[k + 1] + u[k]
    return y2


def splint(xs: Any, ys: Any, y2: Any, x: Any) -> Any:
    """The spline at x; its interval is found by bisection."""
    low, high = 0, len(xs) - 1
    while high - low > 1:
        k = (high + low) // 2
        if xs[k] > x:
            high = k
        else:
            low = k
    h = xs[high] - xs[low]
    a = (xs[high] - x) / h
    b = (x - xs[low]) / h
    return a * ys[low] + b * ys[high] + ((a**3 - a) * y2[low] + (b**3 - b) * y2[high]) * h**2 / 6


KNOTS = np.array([0.0, 0.4, 1.0, 1.3, 2.1, 2.5, 3.4, 4.0])


def spline_of_sine(x: Any, scale: Any) -> Any:
    ys = np.sin(scale * KNOTS)
    return splint(KNOTS, ys, natural_spline(KNOTS, ys), x)


@pytest.mark.parametrize("x", [0.1, 1.7])
def test_cubic_spline_with_search(x: float) -> None:
    found = scipy.interpolate.CubicSpline(KNOTS, np.sin(1.2 * KNOTS), bc_type="natural")
    assert spline_of_sine(x, 1.2) == pytest.approx(found(x), rel=1e-12)
    assert cr.grad(spline_of_sine)(x, 1.2) == pytest.approx(found(x, 1), rel=1e-11)
    verify(spline_of_sine, x, 1.2)


# --- filters ------------------------------------------------------------------------------------------------

POSITIONS = [0.9, 2.3, 2.8, 4.4, 4.9, 6.3, 7.1, 7.8]


def kalman(q: Any, r: Any, positions: Any = POSITIONS) -> Any:
    """The log-likelihood of noisy positions at constant velocity; all 2 × 2 algebra written out."""
    x, v = 0.0, 1.0
    pxx, pxv, pvv = 1.0, 0.0, 1.0
    total = 0.0
    for z in positions:
        x = x + v
        pxx, pxv, pvv = pxx + 2 * pxv + pvv + q / 4, pxv + pvv + q / 2, pvv + q
        s = pxx + r
        residual = z - x
        if abs(residual) > 10 * math.sqrt(s):
            continue  # an outlier
        total -= 0.5 * (residual**2 / s + math.log(2 * math.pi * s))
        kx, kv = pxx / s, pxv / s
        x, v = x + kx * residual, v + kv * residual
        pxx, pxv, pvv = (1 - kx) * pxx, (1 - kx) * pxv, pvv - kv * pxv
    return total


def test_kalman_filter() -> None:
    verify(kalman, 0.3, 0.5)


def kalman_with_matrices(q: Any, r: Any) -> Any:
    transition = np.array([[1.0, 1.0], [0.0, 1.0]])
    noise = q * np.array([[0.25, 0.5], [0.5, 1.0]])
    measure = np.array([[1.0, 0.0]])
    x, p = np.array([0.0, 1.0]), np.eye(2)
    total = 0.0
    for z in np.array(POSITIONS[:3]):
        x = transition @ x
        p = transition @ p @ transition.T + noise
        s = measure @ p @ measure.T + r * np.eye(1)
        residual = z - measure @ x
        gain = np.linalg.solve(s, measure @ p).T
        total -= 0.5 * (residual @ np.linalg.inv(s) @ residual + np.log(2 * np.pi * s[0, 0]))
        x = x + gain @ residual
        p = (np.eye(2) - gain @ measure) @ p
    return total


def test_kalman_filter_with_matrices() -> None:
    verify(kalman_with_matrices, 0.3, 0.5, truth=lambda q, r: on_mpmath(kalman)(q, r, POSITIONS[:3]))


# --- hidden states ------------------------------------------------------------------------------------------

OBSERVED = [0, 1, 1, 0, 2, 2, 1, 0, 0, 2, 1, 1, 2, 0, 1, 2, 2, 2, 0, 1]
EMISSION = np.array([[0.6, 0.3, 0.1], [0.1, 0.4, 0.5]])


def forward(stay: Any, start: Any) -> Any:
    """The log-likelihood of the symbols: the forward algorithm with scaling."""
    transition = np.array([[stay, 1 - stay], [0.3, 0.7]])
    alpha = np.array([start, 1 - start]) * EMISSION[:, OBSERVED[0]]
    log_likelihood = 0.0
    for t in range(1, len(OBSERVED)):
        scale = alpha.sum()
        log_likelihood += np.log(scale)
        alpha = (alpha / scale) @ transition * EMISSION[:, OBSERVED[t]]
    return log_likelihood + np.log(alpha.sum())


def forward_by_loops(stay: Any, start: Any) -> Any:
    """The same over logarithms, state by state."""
    transition = [[stay, 1 - stay], [0.3, 0.7]]
    alpha = [math.log(start * EMISSION[0][OBSERVED[0]]), math.log((1 - start) * EMISSION[1][OBSERVED[0]])]
    for symbol in OBSERVED[1:]:
        new = []
        for j in range(2):
            terms = [alpha[i] + math.log(transition[i][j]) for i in range(2)]
            largest = max(terms)
            total = sum(math.exp(t - largest) for t in terms)
            new.append(largest + math.log(total) + math.log(EMISSION[j][symbol]))
        alpha = new
    largest = max(alpha)
    return largest + math.log(sum(math.exp(a - largest) for a in alpha))


def forward_exactly(stay: Any, start: Any) -> Any:
    emission = [[mpmath.mpf(e) for e in row] for row in EMISSION.tolist()]
    transition = [[stay, 1 - stay], [mpmath.mpf(0.3), mpmath.mpf(0.7)]]
    alpha = [start * emission[0][OBSERVED[0]], (1 - start) * emission[1][OBSERVED[0]]]
    for symbol in OBSERVED[1:]:
        alpha = [sum(alpha[i] * transition[i][j] for i in range(2)) * emission[j][symbol] for j in range(2)]
    return mpmath.log(sum(alpha))


@pytest.mark.parametrize("program", [forward, forward_by_loops])
def test_forward_algorithm(program: Any) -> None:
    verify(program, 0.8, 0.4, truth=forward_exactly)


def viterbi(stay: Any) -> Any:
    """The log-probability of the best path, and the path itself, traced back through an array."""
    log_transition = np.log(np.array([[stay, 1 - stay], [0.3, 0.7]]))
    log_emission = np.log(EMISSION)
    n = len(OBSERVED)
    score = np.zeros((n, 2))
    back = np.zeros((n, 2), dtype=int)
    score[0] = np.log(0.5) + log_emission[:, OBSERVED[0]]
    for t in range(1, n):
        for j in range(2):
            best, which = -np.inf, 0
            for i in range(2):
                candidate = score[t - 1, i] + log_transition[i, j]
                if candidate > best:
                    best, which = candidate, i
            score[t, j] = best + log_emission[j, OBSERVED[t]]
            back[t, j] = which
    path = np.zeros(n, dtype=int)
    path[-1] = 0 if score[-1, 0] > score[-1, 1] else 1
    for t in range(n - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return np.max(score[-1]), path


def test_viterbi() -> None:
    best, path = cr.jit(viterbi)(0.8)
    expected_best, expected_path = viterbi(0.8)
    assert best == pytest.approx(expected_best, rel=1e-14)
    np.testing.assert_array_equal(path, expected_path)
    steps = list(zip(expected_path[:-1], expected_path[1:], strict=True))
    stays, leaves = steps.count((0, 0)), steps.count((0, 1))
    assert stays and leaves
    slope = stays / 0.8 - leaves / 0.2
    curvature = -stays / 0.64 - leaves / 0.04
    for inner in (cr.jacfwd, cr.jacrev):
        assert inner(lambda s: viterbi(s)[0])(0.8) == pytest.approx(slope, rel=1e-12)
        for outer in (cr.jacfwd, cr.jacrev):
            assert outer(inner(lambda s: viterbi(s)[0]))(0.8) == pytest.approx(curvature, rel=1e-11)


# --- time series --------------------------------------------------------------------------------------------

RETURNS = np.round(scipy.stats.t.rvs(5, size=40, random_state=3), 3)


def garch(omega: Any, alpha: Any, beta: Any) -> Any:
    """The negative log-likelihood of a GARCH(1, 1) with a leverage term for losses."""
    variance = omega / (1 - alpha - beta)
    nll = 0.0
    for r in RETURNS:
        nll += 0.5 * (np.log(2 * np.pi * variance) + r * r / variance)
        variance = omega + alpha * r**2 + beta * variance
        if r < 0:
            variance += 0.1 * r**2
    return nll


def test_garch() -> None:
    verify(garch, 0.2, 0.1, 0.7)


def random_walk(drift: Any, barrier: Any) -> Any:
    """The log-likelihood of steps that are reflected at a barrier."""
    position, total = 0.0, 0.0
    for step in RETURNS:
        expected = drift if position < barrier else -drift
        total -= 0.5 * (step - expected) ** 2
        position += step
        if position > barrier:
            position = 2 * barrier - position
    return total + 0.01 * position**2


def test_random_walk_with_a_barrier() -> None:
    verify(random_walk, 0.1, 1.3)


def run_length(p: Any) -> Any:
    """The log-probability of the longest run of gains, which a loop counts."""
    longest = current = 0
    for r in RETURNS:
        if r > 0:
            current += 1
        else:
            current = 0
        if current > longest:
            longest = current
    return longest * math.log(p)


def test_counting_runs_of_data() -> None:
    signs = "".join("+" if r > 0 else "-" for r in RETURNS)
    longest = max(map(len, signs.split("-")))
    verify(run_length, 0.4, truth=lambda p: longest * mpmath.log(p))


def mixture_by_em(start: Any, scale: Any) -> Any:
    """The mean of one of two components after EM has converged to 1e-3."""
    mean1, mean2 = start, -start
    for _ in range(50):
        sum1 = weight1 = sum2 = weight2 = 0.0
        for x in RETURNS:
            d1 = math.exp(-0.5 * ((x - mean1) / scale) ** 2)
            d2 = math.exp(-0.5 * ((x - mean2) / scale) ** 2)
            share = d1 / (d1 + d2)
            sum1 += share * x
            weight1 += share
            sum2 += (1 - share) * x
            weight2 += 1 - share
        old = mean1
        mean1, mean2 = sum1 / weight1, sum2 / weight2
        if abs(mean1 - old) < 1e-3:
            break
    return mean1


def test_expectation_maximisation() -> None:
    verify(mixture_by_em, 1.0, 0.9, rtol=1e-8)


def kde(x: Any, bandwidth: Any) -> Any:
    """A kernel density with a compact kernel: far events are passed over."""
    total, used = 0.0, 0
    for event in RETURNS:
        u = (x - event) / bandwidth
        if not -1 < u < 1:
            continue
        total += 0.75 * (1 - u * u)
        used += 1
    return total / (len(RETURNS) * bandwidth) if used > 0 else 0.0


def test_kernel_density() -> None:
    verify(kde, 0.3, 0.8)
    verify(kde, 50.0, 0.8, truth=lambda x, b: 0 * x * b)


def poisson_cdf(mu: Any, k: int = 6) -> Any:
    term = total = math.exp(-mu)
    for i in range(1, k + 1):
        term *= mu / i
        total += term
    return total


def test_poisson_sum() -> None:
    verify(poisson_cdf, 4.2, truth=lambda mu: mpmath.gammainc(7, mu, regularized=True))


def metropolis(scale: Any) -> Any:
    """A chain with the random numbers given: the mean of where it has been is a function in pieces of the scale."""
    proposals = np.sin(np.arange(60) * 12.9898) * 2
    uniforms = np.abs(np.sin(1 + np.arange(60) * 78.233))
    x, total = 0.0, 0.0
    for step, u in zip(proposals, uniforms, strict=True):
        proposal = x + scale * step
        if np.log(u) < 0.5 * (x**2 - proposal**2):
            x = proposal
        total += x
    return total / len(proposals)


def test_markov_chain_with_given_numbers() -> None:
    def truth(scale: Any) -> Any:
        proposals = [mpmath.mpf(v) for v in np.sin(np.arange(60) * 12.9898) * 2]
        uniforms = [mpmath.mpf(v) for v in np.abs(np.sin(1 + np.arange(60) * 78.233))]
        x = total = mpmath.mpf(0)
        for step, u in zip(proposals, uniforms, strict=True):
            proposal = x + scale * step
            if mpmath.log(u) < (x**2 - proposal**2) / 2:
                x = proposal
            total += x
        return total / 60

    verify(metropolis, 0.8, truth=truth)
