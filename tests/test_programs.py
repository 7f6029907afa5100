"""Programs as people write them, taken from textbooks and from SciPy's documentation, against independent truths."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.constants
import scipy.integrate
import scipy.optimize
import scipy.special as sp
import scipy.stats

import chainrule as cr
from chainrule.scipy.special import logsumexp

RNG = np.random.default_rng(5)


def close(found: Any, expected: Any, rtol: float = 1e-12, atol: float = 1e-13) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def exact(f: Any, x: Any, n: int = 1) -> float:
    """The n-th derivative by mpmath at fifty digits."""
    with mp.workdps(50):
        return float(mp.diff(f, x, n))


# --- optimisation -----------------------------------------------------------------------------------------------


def rosen(x: Any) -> Any:
    """The Rosenbrock function, as in SciPy's tutorial."""
    return sum(100.0 * (x[1:] - x[:-1] ** 2.0) ** 2.0 + (1 - x[:-1]) ** 2.0)


def test_rosenbrock() -> None:
    x = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    close(cr.grad(rosen)(x), scipy.optimize.rosen_der(x))
    close(cr.hessian(rosen)(x), scipy.optimize.rosen_hess(x))
    p = np.arange(5.0)
    close(cr.hvp(rosen, (x,), (p,)), scipy.optimize.rosen_hess_prod(x, p))
    for method in ("BFGS", "Newton-CG", "trust-ncg", "trust-exact"):
        hess = cr.hessian(rosen) if method != "BFGS" else None
        found = scipy.optimize.minimize(cr.jit(rosen), x, method=method, jac=cr.grad(rosen), hess=hess)
        close(found.x, np.ones(5), rtol=1e-3)


def test_exponential_decay_fit() -> None:
    """curve_fit's own example, with the Jacobian that it would else take by differences."""

    def func(x: Any, a: Any, b: Any, c: Any) -> Any:
        return a * np.exp(-b * x) + c

    x = np.linspace(0, 4, 50)
    y = func(x, 2.5, 1.3, 0.5) + 0.2 * RNG.normal(size=x.size)
    jac = cr.elementwise_grad(func, wrt="a b c")
    by_differences, _ = scipy.optimize.curve_fit(func, x, y)
    ours, covariance = scipy.optimize.curve_fit(func, x, y, jac=lambda *v: jac(*v).T)
    close(ours, by_differences, rtol=1e-5)
    e = np.exp(-ours[1] * x)
    design = np.stack([e, -ours[0] * x * e, np.ones_like(x)], axis=1)
    close(jac(x, *ours).T, design)
    residual = y - func(x, *ours)
    close(covariance, np.linalg.inv(design.T @ design) * (residual @ residual) / (50 - 3), rtol=1e-3)


def test_least_squares_of_the_banana() -> None:
    """SciPy's least_squares example: residuals of the Rosenbrock function."""

    def residuals(x: Any) -> Any:
        return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    def stacked(x: Any) -> Any:
        return np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    x = np.array([2.0, 2.0])
    close(cr.jacobian(stacked)(x), [[-40, 10], [-1, 0]])
    found = scipy.optimize.least_squares(residuals, x, jac=cr.jacobian(stacked))
    close(found.x, [1, 1], rtol=1e-9)


def test_roots_of_a_system() -> None:
    """scipy.optimize.root's example: x₀·cos x₁ = 4, x₀·x₁ − x₁ = 5."""

    def system(x: Any) -> Any:
        return np.stack([x[0] * np.cos(x[1]) - 4, x[1] * x[0] - x[1] - 5])

    found = scipy.optimize.root(cr.jit(system), [1.0, 1.0], jac=cr.jacfwd(system), method="lm")
    close(found.x, [6.50409711, 0.90841421], rtol=1e-8)


def test_polynomial_fit() -> None:
    x = np.linspace(-1, 1, 30)
    y = 1 - 2 * x + 3 * x**3 + 0.1 * RNG.normal(size=30)

    def chi2(c: Any) -> Any:
        return np.sum((np.polyval(c, x) - y) ** 2)

    start = np.zeros(4)
    _, gradient, hessian = cr.value_grad_hess(chi2)(start)
    close(start - np.linalg.solve(hessian, gradient), np.polyfit(x, y, 3), rtol=1e-9)


def test_logistic_regression() -> None:
    x, w, b = RNG.normal(size=(200, 3)), np.array([0.5, -1.0, 2.0]), 0.3
    labels = (RNG.random(200) < sp.expit(x @ w + b)).astype(float)

    def loss(p: Any, x: Any, labels: Any) -> Any:
        z = x @ p["w"] + p["b"]
        return np.mean(np.log(1 + np.exp(z)) - labels * z)

    value, gradient = cr.value_and_grad(loss)({"w": w, "b": b}, x, labels)
    z = x @ w + b
    close(value, np.mean(np.logaddexp(0, z) - labels * z))
    close(gradient["w"], x.T @ (sp.expit(z) - labels) / 200)
    close(gradient["b"], np.mean(sp.expit(z) - labels))
    hessian = cr.hessian(loss)({"w": w, "b": b}, x, labels)
    weight = sp.expit(z) * sp.expit(-z) / 200
    close(hessian["w"]["w"], x.T @ (weight[:, None] * x))
    close(hessian["w"]["b"], x.T @ weight)


# --- statistics -------------------------------------------------------------------------------------------------


def test_gaussian_mixture() -> None:
    x = np.concatenate([RNG.normal(-1, 0.5, 300), RNG.normal(2, 1, 200)])

    def log_likelihood(logits: Any, mean: Any, log_scale: Any, x: Any) -> Any:
        z = (x[:, None] - mean) / np.exp(log_scale)
        log_weight = logits - logsumexp(logits)
        return np.sum(logsumexp(log_weight - z**2 / 2 - log_scale - np.log(2 * np.pi) / 2, axis=1))

    logits, mean, log_scale = np.array([0.3, -0.1]), np.array([-0.8, 1.5]), np.array([-0.5, 0.1])
    weight, scale = sp.softmax(logits), np.exp(log_scale)
    density = weight * scipy.stats.norm.pdf(x[:, None], mean, scale)
    share = density / density.sum(1, keepdims=True)  # the responsibilities of EM
    z = (x[:, None] - mean) / scale
    value, gradient = cr.value_and_grad(log_likelihood, argnums=(0, 1, 2))(logits, mean, log_scale, x)
    close(value, np.log(density.sum(1)).sum())
    close(gradient[0], share.sum(0) - len(x) * weight, rtol=1e-10)
    close(gradient[1], (share * z / scale).sum(0), rtol=1e-10)
    close(gradient[2], (share * (z**2 - 1)).sum(0), rtol=1e-10)


def test_multivariate_normal() -> None:
    """With respect to the mean and to the factor L of the precision Λ = L·Lᵀ."""
    root = np.tril(RNG.normal(size=(3, 3))) + 3 * np.eye(3)
    x, mean = RNG.normal(size=(40, 3)), np.array([0.1, -0.2, 0.3])

    def log_density(mean: Any, root: Any, x: Any) -> Any:
        y = (x - mean) @ root
        return -0.5 * np.sum(y**2) + len(x) * (np.sum(np.log(np.diagonal(root))) - 1.5 * np.log(2 * np.pi))

    precision = root @ root.T
    density = scipy.stats.multivariate_normal(mean, np.linalg.inv(precision))
    close(cr.jit(log_density)(mean, root, x), density.logpdf(x).sum())
    by_mean, by_root = cr.grad(log_density, (0, 1))(mean, root, x)
    close(by_mean, precision @ (x - mean).sum(0), rtol=1e-10)
    scatter = (x - mean).T @ (x - mean)
    close(by_root, 40 * np.diag(1 / np.diagonal(root)) - scatter @ root, rtol=1e-10)
    close(cr.hessian(log_density)(mean, root, x), -40 * precision, rtol=1e-10)


def test_kalman_filter() -> None:
    """Constant velocity, noisy positions: the innovations' likelihood is the Gaussian density of all measurements."""
    transition, measure = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    start, spread = np.zeros(2), np.eye(2)
    z = np.cumsum(RNG.normal(size=12))

    def log_likelihood(q: Any, r: Any) -> Any:
        noise = q * np.array([[0.25, 0.5], [0.5, 1.0]])

        def step(state: Any, z: Any) -> Any:
            x, p, total = state
            x, p = transition @ x, transition @ p @ transition.T + noise
            residual = z - measure @ x
            s = measure @ p @ measure.T + r
            gain = p @ measure.T / s
            total = total - 0.5 * (residual[0] ** 2 / s[0, 0] + np.log(2 * np.pi * s[0, 0]))
            return (x + gain @ residual, (np.eye(2) - gain @ measure) @ p, total), None

        (_, _, total), _ = cr.scan(step, (start, spread, 0.0), z)
        return total

    def at_once(q: float, r: float) -> float:
        powers = [np.linalg.matrix_power(transition, k) for k in range(13)]
        noise = q * np.array([[0.25, 0.5], [0.5, 1.0]])
        covariance = np.empty((12, 12))
        for i in range(12):
            for j in range(12):
                state = powers[i + 1] @ powers[j + 1].T
                for k in range(min(i, j) + 1):
                    state = state + powers[i - k] @ noise @ powers[j - k].T
                covariance[i, j] = state[0, 0] + (r if i == j else 0)
        return float(scipy.stats.multivariate_normal(np.zeros(12), covariance).logpdf(z))

    value, gradient = cr.value_and_grad(log_likelihood, (0, 1))(0.3, 0.5)
    close(value, at_once(0.3, 0.5))
    h = 1e-3
    for i, found in enumerate(gradient):
        at = [lambda t, i=i: at_once(0.3 + t * (i == 0), 0.5 + t * (i == 1))][0]
        difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        close(found, difference, rtol=1e-8)


def test_negative_binomial_counts() -> None:
    counts = RNG.poisson(4, 60)

    def nll(p: Any) -> Any:
        r, mu = p
        return -np.sum(
            sp.gammaln(counts + r) - sp.gammaln(r) - sp.gammaln(counts + 1)
            + r * np.log(r / (r + mu)) + counts * np.log(mu / (r + mu))
        )  # fmt: skip

    p = np.array([3.0, 4.5])
    close(cr.jit(nll)(p), -scipy.stats.nbinom.logpmf(counts, 3.0, 3.0 / 7.5).sum())
    by_r = np.sum(sp.digamma(counts + 3.0) - sp.digamma(3.0) + np.log(3.0 / 7.5) + 1 - (3.0 + counts) / 7.5)
    by_mu = np.sum(counts / 4.5 - (3.0 + counts) / 7.5)
    close(cr.grad(nll)(p), [-by_r, -by_mu], rtol=1e-10)


# --- machine learning ---------------------------------------------------------------------------------------------


def test_perceptron_of_two_layers() -> None:
    sizes = [4, 6, 3]
    parameters = [(RNG.normal(size=(m, n)), RNG.normal(size=n)) for m, n in itertools.pairwise(sizes)]
    x, labels = RNG.normal(size=(32, 4)), RNG.integers(0, 3, 32)

    def loss(parameters: Any, x: Any, labels: Any) -> Any:
        for w, b in parameters[:-1]:
            x = np.tanh(x @ w + b)
        w, b = parameters[-1]
        logits = x @ w + b
        return -np.mean(logits[np.arange(32), labels] - logsumexp(logits, axis=1))

    value, gradient = cr.value_and_grad(loss)(parameters, x, labels)
    (w1, b1), (w2, b2) = parameters
    hidden = np.tanh(x @ w1 + b1)
    softmax = sp.softmax(hidden @ w2 + b2, axis=1)
    close(value, -np.mean(np.log(softmax[np.arange(32), labels])))
    error = (softmax - np.eye(3)[labels]) / 32
    back = (error @ w2.T) * (1 - hidden**2)
    close(gradient[1][0], hidden.T @ error, rtol=1e-10)
    close(gradient[1][1], error.sum(0), rtol=1e-10)
    close(gradient[0][0], x.T @ back, rtol=1e-10)
    close(gradient[0][1], back.sum(0), rtol=1e-10)
    one_by_one = cr.vmap(cr.grad(lambda p, x, y: loss_of_one(p, x, y)), in_axes=(None, 0, 0))(parameters, x, labels)
    close(one_by_one[0][0].mean(0), gradient[0][0], rtol=1e-10)


def loss_of_one(parameters: Any, x: Any, label: Any) -> Any:
    (w1, b1), (w2, b2) = parameters
    logits = np.tanh(x @ w1 + b1) @ w2 + b2
    return logsumexp(logits) - cr.numpy.take(logits, label)


def test_attention() -> None:
    q, k, v = RNG.normal(size=(3, 5, 4))

    def attention(q: Any, k: Any, v: Any) -> Any:
        scores = q @ k.T / np.sqrt(4)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ v

    close(cr.jit(attention)(q, k, v), sp.softmax(q @ k.T / 2, axis=-1) @ v)
    cr.check_grads(attention, (q, k, v), order=1)


# --- finance ------------------------------------------------------------------------------------------------------


def black_scholes(s: Any, k: Any, t: Any, r: Any, sigma: Any) -> Any:
    """The price of a European call."""
    d1 = (np.log(s / k) + (r + sigma**2 / 2) * t) / (sigma * np.sqrt(t))
    d2 = d1 - sigma * np.sqrt(t)
    return s * sp.ndtr(d1) - k * np.exp(-r * t) * sp.ndtr(d2)


def test_greeks() -> None:
    s, k, t, r, sigma = 100.0, 105.0, 0.75, 0.03, 0.25
    d1 = (np.log(s / k) + (r + sigma**2 / 2) * t) / (sigma * np.sqrt(t))
    d2 = d1 - sigma * np.sqrt(t)
    pdf, cdf = scipy.stats.norm.pdf(d1), scipy.stats.norm.cdf(d1)
    gamma = pdf / (s * sigma * np.sqrt(t))
    vega = s * pdf * np.sqrt(t)
    rho = k * t * np.exp(-r * t) * scipy.stats.norm.cdf(d2)
    theta = s * pdf * sigma / (2 * np.sqrt(t)) + r * rho / t
    args = (s, k, t, r, sigma)
    delta = cr.grad(black_scholes, wrt="s")
    close(cr.grad(black_scholes, wrt="s t r sigma")(*args), (cdf, theta, rho, vega), rtol=1e-11)
    close(cr.grad(delta, wrt="s")(*args), gamma, rtol=1e-11)
    close(cr.grad(delta, wrt="sigma")(*args), -pdf * d2 / sigma, rtol=1e-11)  # vanna
    close(cr.grad(cr.grad(black_scholes, wrt="sigma"), wrt="sigma")(*args), vega * d1 * d2 / sigma, rtol=1e-10)
    speed = cr.grad(cr.grad(delta, wrt="s"), wrt="s")
    close(speed(*args), -gamma / s * (d1 / (sigma * np.sqrt(t)) + 1), rtol=1e-10)
    zomma = cr.grad(cr.grad(delta, wrt="s"), wrt="sigma")
    close(zomma(*args), gamma * (d1 * d2 - 1) / sigma, rtol=1e-10)
    strikes = np.linspace(80, 120, 9)
    many = cr.vmap(speed, in_axes=(None, 0, None, None, None))(s, strikes, t, r, sigma)
    close(many, [speed(s, x, t, r, sigma) for x in strikes])


def test_implied_volatility() -> None:
    """Newton's method inside a loop, differentiated: dσ/dprice = 1/vega."""
    s, k, t, r = 100.0, 105.0, 0.75, 0.03
    vega = cr.grad(black_scholes, wrt="sigma")

    def implied(price: Any) -> Any:
        def step(_: Any, sigma: Any) -> Any:
            return sigma - (black_scholes(s, k, t, r, sigma) - price) / vega(s, k, t, r, sigma)

        return cr.fori_loop(0, 8, step, 0.4)

    price = black_scholes(s, k, t, r, 0.25)
    close(cr.value_and_grad(implied)(price), (0.25, 1 / vega(s, k, t, r, 0.25)), rtol=1e-9)


# --- physics ------------------------------------------------------------------------------------------------------


def lennard_jones(x: Any) -> Any:
    i, j = np.triu_indices(20, 1)
    r2 = np.sum((x[i] - x[j]) ** 2, axis=1)
    return np.sum(4 * (r2**-6 - r2**-3))


def test_lennard_jones() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), axis=-1).reshape(-1, 3)[:20]
    x = 1.2 * grid + 0.05 * RNG.normal(size=(20, 3))
    value, gradient = cr.value_and_grad(lennard_jones)(x)
    difference = x[:, None] - x[None]
    r2 = np.sum(difference**2, axis=-1) + np.eye(20)
    close(value, np.sum(np.triu(4 * (r2**-6 - r2**-3), 1)))
    slope = (4 * (-12 * r2**-7 + 6 * r2**-4)) * (1 - np.eye(20))
    close(gradient, np.sum(slope[:, :, None] * difference, axis=1), rtol=1e-10, atol=1e-10)
    close(gradient.sum(0), np.zeros(3), atol=1e-11)  # no net force
    hessian = cr.hessian(lennard_jones)(x)
    assert hessian.shape == (20, 3, 20, 3)
    close(hessian.sum(2), np.zeros((20, 3, 3)), atol=1e-10)  # nor from a translation
    direction = RNG.normal(size=(20, 3))
    close(cr.hvp(lennard_jones, (x,), (direction,)), np.einsum("iajb,jb->ia", hessian, direction), rtol=1e-9, atol=1e-9)


def test_planck_and_wien() -> None:
    """The maximum of B(λ) is at b/T, b Wien's constant; its total power is σ·T⁴/π."""
    h, c, k = scipy.constants.h, scipy.constants.c, scipy.constants.k

    def radiance(wavelength: Any, t: Any) -> Any:
        return 2 * h * c**2 / wavelength**5 / np.expm1(h * c / (wavelength * k * t))

    peak = scipy.optimize.brentq(lambda w: cr.grad(radiance)(w, 5800.0), 1e-7, 2e-6, xtol=1e-20, rtol=1e-14)
    close(peak, scipy.constants.Wien / 5800.0, rtol=1e-10)
    x = h * c / (5e-7 * k * 5800.0)
    close(cr.grad(radiance, wrt="t")(5e-7, 5800.0), radiance(5e-7, 5800.0) * x / -np.expm1(-x) / 5800.0)


def kepler(mean: Any, e: Any) -> Any:
    """E − e·sin E = M by Newton's method."""
    return cr.fori_loop(0, 12, lambda _, E: E - (E - e * np.sin(E) - mean) / (1 - e * np.cos(E)), mean + e)


def test_kepler() -> None:
    mean, e = 1.1, 0.6
    anomaly, (by_mean, by_e) = cr.value_and_grad(kepler, (0, 1))(mean, e)
    with mp.workdps(40):
        close(anomaly, float(mp.findroot(lambda E: E - mp.mpf(e) * mp.sin(E) - mp.mpf(mean), 1.5)), rtol=1e-15)
    slope = 1 - e * np.cos(anomaly)
    close((by_mean, by_e), (1 / slope, np.sin(anomaly) / slope))
    close(cr.grad(cr.grad(kepler))(mean, e), -e * np.sin(anomaly) / slope**3)
    orbit = np.linspace(0, 6, 13)
    anomalies = cr.vmap(kepler, in_axes=(0, None))(orbit, e)
    close(anomalies - e * np.sin(anomalies), orbit)


def runge_kutta(f: Any, y: Any, t: Any, steps: int) -> Any:
    h = t / steps

    def step(y: Any, _: Any) -> Any:
        a = f(y)
        b = f(y + h / 2 * a)
        c = f(y + h / 2 * b)
        d = f(y + h * c)
        y = y + h / 6 * (a + 2 * b + 2 * c + d)
        return y, y[0]

    return cr.scan(step, y, None, length=steps)


def test_oscillator_by_runge_kutta() -> None:
    def position(omega: Any, t: Any) -> Any:
        end, _ = runge_kutta(lambda y: np.stack([y[1], -(omega**2) * y[0]]), np.array([1.0, 0.0]), t, 4000)
        return end[0]

    close(cr.grad(position, (0, 1))(2.0, 1.5), (-1.5 * np.sin(3.0), -2 * np.sin(3.0)), rtol=1e-10)
    close(cr.hessian(position)(2.0, 1.5), -(1.5**2) * np.cos(3.0), rtol=1e-9)


def test_lotka_volterra_by_runge_kutta() -> None:
    """Sensitivities of SciPy's example, against SciPy's solution of the variational equations."""
    p = np.array([1.5, 1.0, 3.0, 1.0])

    def flow(y: Any, p: Any) -> Any:
        return np.stack([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]])

    def end(p: Any) -> Any:
        return runge_kutta(lambda y: flow(y, p), np.array([10.0, 5.0]), 2.0, 20_000)[0]

    def variational(_: float, state: Any) -> Any:
        y, s = state[:2], state[2:].reshape(2, 4)
        by_y = np.array([[p[0] - p[1] * y[1], -p[1] * y[0]], [p[3] * y[1], -p[2] + p[3] * y[0]]])
        by_p = np.array([[y[0], -y[0] * y[1], 0, 0], [0, 0, -y[1], y[0] * y[1]]])
        rate = np.array([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]])
        return np.concatenate([rate, (by_y @ s + by_p).ravel()])

    start = np.concatenate([[10.0, 5.0], np.zeros(8)])
    truth = scipy.integrate.solve_ivp(variational, (0, 2), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    close(cr.jit(end)(p), truth[:2], rtol=1e-8)
    close(cr.jacfwd(end)(p), truth[2:].reshape(2, 4), rtol=1e-7)


def test_impedance() -> None:
    """|Z(ω)| of R, L and C in series: resonant at 1/√(LC), where it is R and flat."""
    r, inductance, c = 50.0, 1e-3, 1e-9

    def impedance(omega: Any, r: Any, inductance: Any, c: Any) -> Any:
        return np.abs(r + 1j * omega * inductance + 1 / (1j * omega * c))

    resonance = 1 / np.sqrt(inductance * c)
    close(cr.jit(impedance)(resonance, r, inductance, c), r, rtol=1e-9)
    close(cr.grad(impedance)(resonance, r, inductance, c) * resonance / r, 0, atol=1e-9)
    omega = 1.1 * resonance
    reactance = omega * inductance - 1 / (omega * c)
    size = np.hypot(r, reactance)
    wanted = (reactance * (inductance + 1 / (omega**2 * c)), r, reactance * omega, reactance / (omega * c**2))
    close(cr.grad(impedance, (0, 1, 2, 3))(omega, r, inductance, c), np.divide(wanted, size), rtol=1e-9)


def test_breit_wigner() -> None:
    def intensity(m: Any, mass: Any, width: Any, phase: Any) -> Any:
        amplitude = 1 / (mass**2 - m**2 - 1j * mass * width) + 0.3 * np.exp(1j * phase)
        return np.abs(amplitude) ** 2

    def reference(m: Any, mass: Any, width: Any, phase: Any) -> Any:
        return abs(1 / (mass**2 - m**2 - 1j * mass * width) + mp.mpf(0.3) * mp.exp(1j * phase)) ** 2

    m, mass, width, phase = 0.8, 0.775, 0.149, 0.4
    at = (m, mass, width, phase)
    gradient = cr.grad(intensity, (0, 1, 2, 3))(*at)
    with mp.workdps(40):
        for i in range(4):
            order = tuple(int(i == j) for j in range(4))
            close(gradient[i], float(mp.diff(reference, at, order)), rtol=1e-11)
        hessian = cr.hessian(intensity, (1, 2))(*at)
        close(hessian[0][1], float(mp.diff(reference, at, (0, 1, 1, 0))), rtol=1e-10)
    masses = np.linspace(0.4, 1.2, 101)
    close(cr.vmap(intensity, (0, None, None, None))(masses, mass, width, phase), intensity(masses, mass, width, phase))
    by_mass = cr.elementwise_grad(intensity, wrt="mass")(masses, mass, width, phase)
    close(by_mass[50], cr.grad(intensity, 1)(*at), rtol=1e-11)


def test_relativistic_pair_mass() -> None:
    """m² = 2·pT₁·pT₂·(cosh Δη − cos Δφ), and the mass from the four-vectors."""

    def mass(p: Any) -> Any:
        pt, eta, phi = p[:, 0], p[:, 1], p[:, 2]
        momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
        energy = np.sqrt(np.sum(momentum**2, axis=0))
        return np.sqrt(np.sum(energy) ** 2 - np.sum(np.sum(momentum, axis=1) ** 2))

    p = np.array([[40.0, 0.5, 0.1], [50.0, -0.7, 2.9]])
    (pt1, eta1, phi1), (pt2, eta2, phi2) = p
    m = np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2)))
    found, gradient = cr.value_and_grad(mass)(p)
    close(found, m)
    by_eta, by_phi = pt1 * pt2 * np.sinh(eta1 - eta2) / m, pt1 * pt2 * np.sin(phi1 - phi2) / m
    close(gradient, [[m / (2 * pt1), by_eta, by_phi], [m / (2 * pt2), -by_eta, -by_phi]], rtol=1e-11)


def test_pendulum_energy_is_conserved() -> None:
    """Hamilton's equations from the gradient of the Hamiltonian, by leapfrog."""

    def hamiltonian(q: Any, p: Any) -> Any:
        return p**2 / 2 - np.cos(q)

    force, velocity = cr.grad(hamiltonian, 0), cr.grad(hamiltonian, 1)

    def simulate(q: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            q, p = state
            p = p - 0.5e-3 * force(q, p)
            q = q + 1e-3 * velocity(q, p)
            return q, p - 0.5e-3 * force(q, p)

        return cr.fori_loop(0, 5000, step, (q, 0.0))

    q, p = cr.jit(simulate)(1.0)
    close(hamiltonian(q, p), hamiltonian(1.0, 0.0), rtol=1e-6)
    t, k = 5.0, np.sin(0.5)
    sn, _, _, _ = sp.ellipj(sp.ellipk(k**2) - t, k**2)
    close(q, 2 * np.arcsin(k * sn), rtol=1e-5)


# --- mathematics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "reference", "x"),
    [
        (lambda x: x * np.sin(x) ** 2, lambda x: x * mp.sin(x) ** 2, 0.7),
        (lambda x: np.exp(-(x**2)) * np.cos(3 * x), lambda x: mp.exp(-(x**2)) * mp.cos(3 * x), 0.4),
        (lambda x: np.arctan(x) / (1 + x**2), lambda x: mp.atan(x) / (1 + x**2), 1.3),
        (lambda x: x**x, lambda x: x**x, 1.7),
        (lambda x: np.log(np.log(x)), lambda x: mp.log(mp.log(x)), 3.1),
        (lambda x: np.sqrt(1 + np.sqrt(1 + np.sqrt(x))), lambda x: mp.sqrt(1 + mp.sqrt(1 + mp.sqrt(x))), 2.0),
        (lambda x: sp.erf(x) * sp.gammaln(x + 1), lambda x: mp.erf(x) * mp.loggamma(x + 1), 1.9),
        (lambda x: np.tanh(x) ** 3 / np.cosh(x), lambda x: mp.tanh(x) ** 3 / mp.cosh(x), 0.9),
        (lambda x: np.arcsin(x) * np.arccosh(1 + x), lambda x: mp.asin(x) * mp.acosh(1 + x), 0.3),
    ],
)
def test_one_variable_to_the_fifth_order(f: Any, reference: Any, x: float) -> None:
    g = f
    close(cr.jit(g)(x), float(reference(mp.mpf(x))))
    for n in range(1, 6):
        g = cr.grad(g)
        close(g(x), exact(reference, mp.mpf(x), n), rtol=1e-12 * 10**n)


def test_partial_sums_of_a_fourier_series() -> None:
    def square_wave(x: Any, terms: int) -> Any:
        return cr.fori_loop(0, terms, lambda k, s: s + np.sin((2 * k + 1) * x) / (2 * k + 1), 0.0)

    f = cr.grad(lambda x: square_wave(x, 50))
    x = 0.3
    close(f(x), np.sin(2 * 50 * x) / (2 * np.sin(x)), rtol=1e-11)  # Σ cos((2k+1)x)


def test_arithmetic_geometric_mean() -> None:
    """π/(2·agm(1, √(1−m))) is K(m), whose derivative is (E − (1−m)·K)/(2m(1−m))."""

    def k(m: Any) -> Any:
        def step(state: Any) -> Any:
            a, b = state
            return (a + b) / 2, np.sqrt(a * b)

        a, _ = cr.while_loop(lambda s: np.abs(s[0] - s[1]) > 1e-12, step, (1.0, np.sqrt(1 - m)))
        return np.pi / (2 * a)

    m = 0.37
    close(cr.jit(k)(m), sp.ellipk(m))
    close(cr.grad(k)(m), (sp.ellipe(m) - (1 - m) * sp.ellipk(m)) / (2 * m * (1 - m)), rtol=1e-10)
    ms = np.linspace(0.1, 0.9, 7)
    close(cr.vmap(cr.grad(k))(ms), (sp.ellipe(ms) - (1 - ms) * sp.ellipk(ms)) / (2 * ms * (1 - ms)), rtol=1e-10)


def test_rayleigh_quotient_is_flat_at_eigenvectors() -> None:
    a = RNG.normal(size=(5, 5))
    a = a + a.T
    values, vectors = np.linalg.eigh(a)

    def quotient(v: Any) -> Any:
        return v @ a @ v / (v @ v)

    for value, vector in zip(values, vectors.T, strict=True):
        found, gradient = cr.value_and_grad(quotient)(vector)
        close(found, value)
        close(gradient, np.zeros(5), atol=1e-12)
        close(cr.hessian(quotient)(vector), 2 * (a - value * np.eye(5)), rtol=1e-10, atol=1e-11)
