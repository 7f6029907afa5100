"""Sixty programs whose gradients `formulas.py` prints: textbook densities and likelihoods, and formulas of physics.

Each is (program, what to differentiate by, shapes of its arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import gammaln

Program = tuple[Callable[..., Any], str, dict[str, Any]]
C = 299792458.0
H = 6.62607015e-34
K_B = 1.380649e-23
G_N = 6.6743e-11

# --- densities and likelihoods ------------------------------------------------------------------------------


def normal(x, mu, sigma):
    z = (x - mu) / sigma
    return np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * sigma)


def normal_log(x, mu, sigma):
    z = (x - mu) / sigma
    return -(z**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2


def exponential(x, tau):
    return np.exp(-x / tau) / tau


def gamma_log(x, alpha, beta):
    return alpha * np.log(beta) + (alpha - 1) * np.log(x) - beta * x - gammaln(alpha)


def beta_log(x, a, b):
    return (a - 1) * np.log(x) + (b - 1) * np.log(1 - x) + gammaln(a + b) - gammaln(a) - gammaln(b)


def cauchy(x, x0, gamma):
    z = (x - x0) / gamma
    return 1 / (np.pi * gamma * (1 + z**2))


def laplace(x, mu, b):
    return np.exp(-np.abs(x - mu) / b) / (2 * b)


def logistic(x, mu, s):
    e = np.exp(-(x - mu) / s)
    return e / (s * (1 + e) ** 2)


def lognormal(x, mu, sigma):
    z = (np.log(x) - mu) / sigma
    return np.exp(-(z**2) / 2) / (x * sigma * np.sqrt(2 * np.pi))


def student_log(x, nu, mu, sigma):
    z = (x - mu) / sigma
    norm = gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(np.pi * nu) / 2 - np.log(sigma)
    return norm - (nu + 1) / 2 * np.log(1 + z**2 / nu)


def weibull_log(x, k, lam):
    return np.log(k / lam) + (k - 1) * np.log(x / lam) - (x / lam) ** k


def pareto_log(x, alpha, xm):
    return np.log(alpha) + alpha * np.log(xm) - (alpha + 1) * np.log(x)


def gumbel(x, mu, beta):
    z = (x - mu) / beta
    return np.exp(-z - np.exp(-z)) / beta


def rayleigh(x, sigma):
    return x / sigma**2 * np.exp(-(x**2) / (2 * sigma**2))


def maxwell(x, a):
    return np.sqrt(2 / np.pi) * x**2 * np.exp(-(x**2) / (2 * a**2)) / a**3


def inverse_gauss_log(x, mu, lam):
    return np.log(lam / (2 * np.pi * x**3)) / 2 - lam * (x - mu) ** 2 / (2 * mu**2 * x)


def breit_wigner(E, M, Gamma):
    return 1 / ((E**2 - M**2) ** 2 + M**2 * Gamma**2)


def mixture(x, f, mu, sigma, tau):
    z = (x - mu) / sigma
    G = np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    B = np.exp(-x / tau) / tau
    return f * G + (1 - f) * B


def two_gaussians_log(x, f, mu, sigma, k):
    core = np.exp(-(((x - mu) / sigma) ** 2) / 2) / sigma
    tail = np.exp(-(((x - mu) / (k * sigma)) ** 2) / 2) / (k * sigma)
    return np.log(f * core + (1 - f) * tail)


def bifurcated(x, mu, left, right):
    width = np.where(x < mu, left, right)
    return np.exp(-(((x - mu) / width) ** 2) / 2) * np.sqrt(2 / np.pi) / (left + right)


def normal_nll(mu, sigma, x):
    z = (x - mu) / sigma
    return np.sum(z**2 / 2 + np.log(sigma))


def exponential_nll(tau, x):
    return np.sum(x / tau + np.log(tau))


def poisson_nll(a, b, x, k):
    nu = np.exp(a + b * x)
    return np.sum(nu - k * np.log(nu))


def binomial_nll(p, k, n):
    return -k * np.log(p) - (n - k) * np.log(1 - p)


def logistic_nll(a, b, x, y):
    eta = a + b * x
    return np.sum(np.log(1 + np.exp(eta)) - y * eta)


def line_chi2(a, b, x, y, s):
    r = (y - a - b * x) / s
    return np.sum(r**2)


def decay_chi2(A, tau, c, t, y):
    r = y - A * np.exp(-t / tau) - c
    return np.sum(r**2)


def extended_nll(S, B, s, b):
    return S + B - np.sum(np.log(S * s + B * b))


def laplace_nll(mu, b, x):
    return np.sum(np.abs(x - mu) / b + np.log(2 * b))


def truncated_exponential(x, tau, L):
    return np.exp(-x / tau) / (tau * (1 - np.exp(-L / tau)))


# --- physics ------------------------------------------------------------------------------------------------


def pair_mass(pt1, pt2, eta1, eta2, phi1, phi2):
    return np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2)))


def lorentz_factor(v):
    return 1 / np.sqrt(1 - (v / C) ** 2)


def kinetic_energy(m, v):
    gamma = 1 / np.sqrt(1 - v**2)
    return (gamma - 1) * m


def energy(m, px, py, pz):
    return np.sqrt(m**2 + px**2 + py**2 + pz**2)


def planck(nu, T):
    return 2 * H * nu**3 / C**2 / (np.exp(H * nu / (K_B * T)) - 1)


def lennard_jones(r, epsilon, sigma):
    q = (sigma / r) ** 6
    return 4 * epsilon * (q**2 - q)


def morse(r, D, a, r0):
    e = np.exp(-a * (r - r0))
    return D * (1 - e) ** 2


def coulomb(x, y, z, q):
    r = np.sqrt(x**2 + y**2 + z**2)
    return q / r


def yukawa(r, g, m):
    return -(g**2) * np.exp(-m * r) / r


def pendulum_period(L, g, theta):
    return 2 * np.pi * np.sqrt(L / g) * (1 + theta**2 / 16)


def kepler_period(a, M):
    return 2 * np.pi * np.sqrt(a**3 / (G_N * M))


def oscillator(t, A, omega, gamma, phi):
    return A * np.exp(-gamma * t) * np.cos(omega * t + phi)


def resonance(omega, omega0, gamma, F):
    return F / np.sqrt((omega0**2 - omega**2) ** 2 + (gamma * omega) ** 2)


def relativistic_doppler(f, beta):
    return f * np.sqrt((1 + beta) / (1 - beta))


def compton(E, theta, m):
    return E / (1 + E / m * (1 - np.cos(theta)))


def rutherford(theta, Z, E):
    return (Z / (4 * E)) ** 2 / np.sin(theta / 2) ** 4


def thin_lens(f, g):
    return f * g / (g - f)


def snell(theta, n1, n2):
    return np.arcsin(n1 * np.sin(theta) / n2)


def ideal_gas(n, T, V):
    R = 8.314
    return n * R * T / V


def van_der_waals(V, T, a, b):
    R = 8.314
    return R * T / (V - b) - a / V**2


def boltzmann_two_level(E, T):
    w = np.exp(-E / T)
    return E * w / (1 + w)


def fermi(E, mu, T):
    return 1 / (np.exp((E - mu) / T) + 1)


def bose(E, T):
    return 1 / (np.exp(E / T) - 1)


def debye_length(T, n):
    return np.sqrt(T / n)


def rc_charge(t, U, R, Ck):
    return U * (1 - np.exp(-t / (R * Ck)))


def impedance(omega, R, L, Ck):
    X = omega * L - 1 / (omega * Ck)
    return np.sqrt(R**2 + X**2)


def projectile_range(v, alpha, g):
    return v**2 * np.sin(2 * alpha) / g


def escape_velocity(M, r):
    return np.sqrt(2 * G_N * M / r)


def oscillation_probability(theta, dm2, L, E):
    return np.sin(2 * theta) ** 2 * np.sin(1.27 * dm2 * L / E) ** 2


def gaussian_beam(r, z, w0, lam):
    zR = np.pi * w0**2 / lam
    w = w0 * np.sqrt(1 + (z / zR) ** 2)
    return (w0 / w) ** 2 * np.exp(-2 * r**2 / w**2)


def bethe(beta, a, k):
    g2 = beta**2 / (1 - beta**2)
    return k / beta**2 * (np.log(a * g2) - beta**2)


DENSITIES: list[Program] = [
    (normal, "x mu sigma", {}), (normal_log, "x mu sigma", {}), (exponential, "x tau", {}),
    (gamma_log, "x alpha beta", {}), (beta_log, "x a b", {}), (cauchy, "x x0 gamma", {}), (laplace, "x mu b", {}),
    (logistic, "x mu s", {}), (lognormal, "x mu sigma", {}), (student_log, "x nu mu sigma", {}),
    (weibull_log, "x k lam", {}), (pareto_log, "x alpha xm", {}), (gumbel, "x mu beta", {}), (rayleigh, "x sigma", {}),
    (maxwell, "x a", {}), (inverse_gauss_log, "x mu lam", {}), (breit_wigner, "E M Gamma", {}),
    (mixture, "f mu sigma tau", {}), (two_gaussians_log, "f mu sigma k", {}), (bifurcated, "mu left right", {}),
    (normal_nll, "mu sigma", {"x": "n"}), (exponential_nll, "tau", {"x": "n"}),
    (poisson_nll, "a b", {"x": "n", "k": "n"}), (binomial_nll, "p", {}), (logistic_nll, "a b", {"x": "n", "y": "n"}),
    (line_chi2, "a b", {"x": "n", "y": "n", "s": "n"}), (decay_chi2, "A tau c", {"t": "n", "y": "n"}),
    (extended_nll, "S B", {"s": "n", "b": "n"}), (laplace_nll, "mu b", {"x": "n"}),
    (truncated_exponential, "x tau L", {}),
]  # fmt: skip

PHYSICS: list[Program] = [
    (pair_mass, "pt1 pt2 eta1 eta2 phi1 phi2", {}), (lorentz_factor, "v", {}), (kinetic_energy, "m v", {}),
    (energy, "m px py pz", {}), (planck, "nu T", {}), (lennard_jones, "r epsilon sigma", {}), (morse, "r D a r0", {}),
    (coulomb, "x y z q", {}), (yukawa, "r g m", {}), (pendulum_period, "L g theta", {}), (kepler_period, "a M", {}),
    (oscillator, "t A omega gamma phi", {}), (resonance, "omega omega0 gamma F", {}),
    (relativistic_doppler, "f beta", {}), (compton, "E theta m", {}), (rutherford, "theta Z E", {}),
    (thin_lens, "f g", {}), (snell, "theta n1 n2", {}), (ideal_gas, "n T V", {}), (van_der_waals, "V T a b", {}),
    (boltzmann_two_level, "E T", {}), (fermi, "E mu T", {}), (bose, "E T", {}), (debye_length, "T n", {}),
    (rc_charge, "t U R Ck", {}), (impedance, "omega R L Ck", {}), (projectile_range, "v alpha g", {}),
    (escape_velocity, "M r", {}), (oscillation_probability, "theta dm2 L E", {}), (gaussian_beam, "r z w0 lam", {}),
    (bethe, "beta a k", {}),
]  # fmt: skip
