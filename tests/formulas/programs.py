"""The programs of the tests, as their authors write them: they need source files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erf

import chainrule as cr
from chainrule.scipy.linalg import solve_triangular

M_Z = 91.1876


def pdf(x, f, mu, sigma, tau):
    z = (x - mu) / sigma
    G = np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    B = np.exp(-x / tau) / tau
    return f * G + (1 - f) * B


def wave(x):
    return x * np.sin(x) ** 2


def nll(p, x):
    mu, sigma = p
    z = (x - mu) / sigma
    return np.sum(z**2 / 2 + np.log(sigma))


def log_density(p, x):
    f, tau, mu, sigma = p[0], p[1], p[2], p[3]
    z = (x - mu) / sigma
    area = (erf((10 - mu) / (sigma * np.sqrt(2))) + erf(mu / (sigma * np.sqrt(2)))) / 2
    signal = np.exp(-0.5 * z * z) / (sigma * np.sqrt(2 * np.pi) * area)
    background = np.exp(-x / tau) / (tau * (1 - np.exp(-10 / tau)))
    return np.log(f * signal + (1 - f) * background)


def truncated_nll(p, x):
    return -log_density(p, x).sum()


def root(x):
    return np.where(x > 0, np.sqrt(x), 0)


def newton(a):
    x = a
    while abs(x * x - a) > 1e-12:
        x = (x + a / x) / 2
    return x


def f(x, n):
    s = 0.0
    for k in range(1, n + 1):
        s = s + np.sin(k * x) / k
    return s


def falling(x, n):
    p = 1.0
    for k in range(n):
        p = p * (x - k)
    return p


def intensity(a, phi, m, m0, G0):
    D = m0**2 - m**2 - 1j * m0 * G0
    E = np.exp(1j * phi) / D
    A = 1 + a * E
    return np.abs(A) ** 2


def recurrent(w, u, x, y):
    def step(h, xy):
        xt, yt = xy
        h = np.tanh(w * h + u * xt)
        return h, (h - yt) ** 2

    _, losses = cr.scan(step, 0.0, (x, y))
    return np.sum(losses)


def partial_sums(x):
    s = 0.0
    t = 1.0
    for k in range(20):
        s = s + t
        t = t * x / (k + 1)
    return s


def shape(m, Gamma):
    return Gamma / ((m - M_Z) ** 2 + Gamma**2 / 4)


def branch(x, a):
    if x > a:
        return a * np.log(x - a)
    return a * x**2


def quadratic(x, A):
    return x @ A @ x


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def softmax(x):
    e = np.exp(x)
    return e / np.sum(e)


def polar(r, phi):
    return r * np.cos(phi), r * np.sin(phi)


def long_chain(x, steps: Any = 300):
    y = x
    for _ in range(steps):
        y = np.sin(y) + x * y
    return y


def normal_log_likelihood(mu, L, x):
    y = solve_triangular(L, (x - mu).T, lower=True)
    return -0.5 * np.sum(y**2) - x.shape[0] * np.sum(np.log(np.diag(L)))


def decaying(x, data):
    s = 0.0
    for i in range(data.shape[0]):
        s = s + np.exp(-x * data[i])
    return s


def double_sum(x, n, m):
    s = 0.0
    for i in range(n):
        for j in range(m):
            s = s + np.sin(i * x) * j
    return s


def above(x, data):
    s = 0.0
    for i in range(data.shape[0]):
        if data[i] > x:
            s = s + (data[i] - x) ** 2
    return s


def rotated(theta, x, y):
    R = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    return R @ np.stack([x, y])
