"""Statistics and finance as newcomers write them: likelihoods, hidden states, prices of options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf, gammaln, logsumexp, ndtr

import chainrule as cr

RNG = np.random.default_rng(4)

# --- statistics ---


def gaussian_mixture(p: Any, x: Any) -> Any:
    w, m1, m2, s1, s2 = p
    a = np.log(w) - 0.5 * ((x - m1) / s1) ** 2 - np.log(s1)
    b = np.log(1 - w) - 0.5 * ((x - m2) / s2) ** 2 - np.log(s2)
    return -np.sum(np.logaddexp(a, b))


def hidden_markov(lt: Any, le: Any) -> Any:
    obs = [0, 1, 3, 2, 1, 1, 0, 2]
    T = lt - logsumexp(lt, axis=1, keepdims=True)
    E = le - logsumexp(le, axis=1, keepdims=True)
    a = np.full(3, -np.log(3)) + E[:, obs[0]]
    for o in obs[1:]:
        a = logsumexp(a[:, None] + T, axis=0) + E[:, o]
    return logsumexp(a)


def hidden_markov_by_scan(lt: Any, le: Any) -> Any:
    obs = np.array([0, 1, 3, 2, 1, 1, 0, 2])
    T = lt - logsumexp(lt, axis=1)[:, None]
    E = le - logsumexp(le, axis=1)[:, None]

    def step(a, o):
        return (logsumexp(a[:, None] + T, axis=0) + E[:, o], None)

    a, _ = cr.scan(step, np.full(3, -np.log(3)) + E[:, obs[0]], obs[1:])
    return logsumexp(a)


def poisson_regression(b: Any, X: Any, y: Any) -> Any:
    eta = X @ b
    return np.sum(np.exp(eta) - y * eta + gammaln(y + 1))


def neg_binomial(p: Any, k: Any) -> Any:
    r, q = p
    return -np.sum(gammaln(k + r) - gammaln(k + 1) - gammaln(r) + r * np.log(q) + k * np.log1p(-q))


def student_t(p: Any, x: Any) -> Any:
    nu, mu, s = p
    z = (x - mu) / s
    return -np.sum(
        gammaln((nu + 1) / 2)
        - gammaln(nu / 2)
        - 0.5 * np.log(nu * np.pi)
        - np.log(s)
        - (nu + 1) / 2 * np.log1p(z * z / nu)
    )


def truncated_normal(p: Any, x: Any) -> Any:
    mu, s = p
    Z = 0.5 * (erf((2 - mu) / (s * np.sqrt(2))) - erf((-1 - mu) / (s * np.sqrt(2))))
    return np.sum(0.5 * ((x - mu) / s) ** 2 + np.log(s)) + len(x) * np.log(Z)


def gaussian_process(h: Any, x: Any, y: Any) -> Any:
    length, sf, sn = h
    K = sf**2 * np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2 / length**2) + (sn**2 + 0.01) * np.eye(len(x))
    L = np.linalg.cholesky(K)
    a = np.linalg.solve(L.T, np.linalg.solve(L, y))
    return 0.5 * y @ a + np.sum(np.log(np.diag(L))) + len(x) / 2 * np.log(2 * np.pi)


def multivariate_normal(m: Any, C: Any) -> Any:
    d = np.array([1.0, 2.0, 3.0]) - m
    return -0.5 * d @ np.linalg.inv(C) @ d - 0.5 * np.log(np.linalg.det(C))


def beta_likelihood(p: Any, x: Any) -> Any:
    a, b = p
    return -np.sum((a - 1) * np.log(x) + (b - 1) * np.log(1 - x) - (gammaln(a) + gammaln(b) - gammaln(a + b)))


def autoregression(p: Any, x: Any) -> Any:
    phi, s = p
    return np.sum((x[1:] - phi * x[:-1]) ** 2) / (2 * s**2) + len(x) * np.log(s)


def garch(p: Any, r: Any) -> Any:
    w, a, b = p
    s2 = np.var(r)
    ll = 0.0
    for t in range(len(r)):
        ll += np.log(s2) + r[t] ** 2 / s2
        s2 = w + a * r[t] ** 2 + b * s2
    return ll / 2


def kalman(p: Any, y: Any) -> Any:
    q, r = p
    m, P, ll = (0.0, 1.0, 0.0)
    for yt in y:
        P = P + q
        S = P + r
        K = P / S
        e = yt - m
        ll = ll - 0.5 * (np.log(2 * np.pi * S) + e * e / S)
        m = m + K * e
        P = (1 - K) * P
    return ll


def censored_weibull(p: Any, t: Any, d: Any) -> Any:
    k, scale = p
    return -np.sum(d * (np.log(k / scale) + (k - 1) * np.log(t / scale)) - (t / scale) ** k)


def dirichlet(a: Any, x: Any) -> Any:
    return -np.sum(np.sum((a - 1) * np.log(x), axis=1) + gammaln(np.sum(a)) - np.sum(gammaln(a)))


# --- finance ---


def black_scholes(S: Any, K: Any, T: Any, r: Any, v: Any) -> Any:
    d1 = (np.log(S / K) + (r + v**2 / 2) * T) / (v * np.sqrt(T))
    d2 = d1 - v * np.sqrt(T)
    return S * ndtr(d1) - K * np.exp(-r * T) * ndtr(d2)


def black_scholes_by_erf(S: Any, K: Any, T: Any, r: Any, v: Any) -> Any:

    def N(x: Any) -> Any:
        return 0.5 * (1 + erf(x / np.sqrt(2)))

    d1 = (np.log(S / K) + (r + v**2 / 2) * T) / (v * np.sqrt(T))
    d2 = d1 - v * np.sqrt(T)
    return S * N(d1) - K * np.exp(-r * T) * N(d2)


def binomial_tree(S: Any, v: Any) -> Any:
    n = 20
    dt = 0.5 / n
    u = np.exp(v * np.sqrt(dt))
    d = 1 / u
    p = (np.exp(0.02 * dt) - d) / (u - d)
    j = np.arange(n + 1)
    V = np.maximum(105 - S * u**j * d ** (n - j), 0)
    for i in range(n - 1, -1, -1):
        j = np.arange(i + 1)
        V = np.exp(-0.02 * dt) * (p * V[1:] + (1 - p) * V[:-1])
        V = np.maximum(V, 105 - S * u**j * d ** (i - j))
    return V[0]


def bond_price(y: Any, c: Any) -> Any:
    t = np.arange(1, len(c) + 1)
    return np.sum(c / (1 + y) ** t)


def portfolio(w: Any) -> Any:
    C = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.02], [0.0, 0.02, 0.16]])
    m = np.array([0.05, 0.08, 0.1])
    return (w @ m - 0.01) / np.sqrt(w @ C @ w)


def asian_option(S: Any, v: Any, Z: Any) -> Any:
    dt = 0.1
    path = S * np.exp(np.cumsum((0.01 - v * v / 2) * dt + v * np.sqrt(dt) * Z, axis=1))
    return np.mean(np.maximum(path.mean(axis=1) - 100, 0))


# --- with what they are called: the first argument is differentiated by ---

X = RNG.normal(size=30)
DESIGN = RNG.normal(size=(20, 3))
WEIGHTS = np.array([0.1, 0.2, 0.3])

PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (gaussian_mixture, (np.array([0.3, -1.0, 1.0, 1.0, 2.0]), X)),
    (hidden_markov, (RNG.normal(size=(3, 3)), RNG.normal(size=(3, 4)))),
    (hidden_markov_by_scan, (RNG.normal(size=(3, 3)), RNG.normal(size=(3, 4)))),
    (poisson_regression, (WEIGHTS, DESIGN, RNG.poisson(1.5, 20))),
    (neg_binomial, (np.array([2.0, 0.3]), RNG.negative_binomial(3, 0.4, 30))),
    (student_t, (np.array([3.0, 0.1, 1.2]), X)),
    (truncated_normal, (np.array([0.1, 1.2]), np.clip(X, -1, 2))),
    (gaussian_process, (np.array([0.5, 0.8, 0.4]), X[:12], np.sin(X[:12]))),
    (multivariate_normal, (WEIGHTS, np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.3], [0.2, 0.3, 1.5]]))),
    (beta_likelihood, (np.array([1.0, 2.0]), np.array([0.2, 0.5, 0.7]))),
    (autoregression, (np.array([0.3, 0.5]), X)),
    (garch, (np.array([0.1, 0.1, 0.8]), X)),
    (kalman, (np.array([0.5, 1.0]), X)),
    (censored_weibull, (np.array([1.5, 2.0]), np.array([1.0, 2.0, 3.0, 0.5]), np.array([1, 1, 0, 1]))),
    (dirichlet, (np.array([1.0, 2.0, 0.5]), RNG.dirichlet([1, 2, 0.5], 20))),
    (black_scholes, (100.0, 105.0, 0.5, 0.02, 0.25)),
    (black_scholes_by_erf, (100.0, 105.0, 0.5, 0.02, 0.25)),
    (binomial_tree, (100.3, 0.25)),
    (bond_price, (0.05, np.array([5.0, 5.0, 5.0, 105.0]))),
    (portfolio, (np.array([0.3, 0.3, 0.4]),)),
    (asian_option, (100.0, 0.2, RNG.normal(size=(40, 10)))),
]
