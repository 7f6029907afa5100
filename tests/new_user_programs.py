"""Programs as newcomers write them: from textbooks and from the documentation of JAX, autograd, SciPy and iminuit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

import chainrule as cr
from chainrule import lax
from chainrule.scipy.special import log_ndtr

RNG = np.random.default_rng(3)


# --- optimisation and dynamics ---


def exponential_decay(p: Any, x: Any, y: Any) -> Any:
    a, b, c = p
    return np.sum((a * np.exp(-b * x) + c - y) ** 2)


def enzyme(x: Any, u: Any) -> Any:
    return np.sum((x[0] * (u**2 + x[1] * u) / (u**2 + x[2] * u + x[3]) - 0.1) ** 2)


def ackley(x: Any) -> Any:
    arg1 = -0.2 * np.sqrt(0.5 * (x[0] ** 2 + x[1] ** 2))
    arg2 = 0.5 * (np.cos(2.0 * np.pi * x[0]) + np.cos(2.0 * np.pi * x[1]))
    return -20.0 * np.exp(arg1) - np.exp(arg2) + 20.0 + np.e


def eggholder(x: Any) -> Any:
    return -(x[1] + 47) * np.sin(np.sqrt(abs(x[0] / 2 + (x[1] + 47)))) - x[0] * np.sin(np.sqrt(abs(x[0] - (x[1] + 47))))


def pendulum_rk4(p: Any) -> Any:
    b, c = p

    def rhs(y):
        theta, omega = y
        return np.array([omega, -b * omega - c * np.sin(theta)])

    y = np.array([np.pi - 0.1, 0.0])
    h = 0.01
    for _ in range(30):
        k1 = rhs(y)
        k2 = rhs(y + h / 2 * k1)
        k3 = rhs(y + h / 2 * k2)
        k4 = rhs(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y[0] ** 2 + y[1]


def lotka_volterra(p: Any) -> Any:
    a, b, c, d = p
    z = np.array([10.0, 5.0])
    for _ in range(50):
        x, y = z
        z = z + 0.01 * np.array([a * x - b * x * y, -c * y + d * x * y])
    return z.sum()


def lorenz(sigma: Any, rho: Any, beta: Any) -> Any:
    x, y, z = (1.0, 1.0, 1.0)
    dt = 0.005
    for _ in range(30):
        x, y, z = (x + dt * sigma * (y - x), y + dt * (x * (rho - z) - y), z + dt * (x * y - beta * z))
    return x + y * z


def van_der_pol(mu: Any) -> Any:
    y, v = (2.0, 0.0)
    t = 0.0
    while t < 2.0:
        y, v = (y + 0.01 * v, v + 0.01 * (mu * (1 - y * y) * v - y))
        t += 0.01
    return y * v


def sir_model(p: Any) -> Any:
    beta, gamma = p
    S, ill, R = (0.99, 0.01, 0.0)
    for _ in range(60):
        new = beta * S * ill
        rec = gamma * ill
        S, ill, R = (S - new, ill + new - rec, R + rec)
    return ill


def kepler(M: Any) -> Any:
    E = M
    for _ in range(20):
        E = E - (E - 0.3 * np.sin(E) - M) / (1 - 0.3 * np.cos(E))
    return E


def heat_equation(alpha: Any) -> Any:
    u = np.sin(np.pi * np.linspace(0, 1, 21))
    for _ in range(50):
        u[1:-1] = u[1:-1] + alpha * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u.sum()


def laplace_equation(v: Any) -> Any:
    g = np.zeros((8, 8))
    g[0, :] = v
    g[-1, :] = 1
    for _ in range(20):
        new = g.copy()
        new[1:-1, 1:-1] = 0.25 * (g[2:, 1:-1] + g[:-2, 1:-1] + g[1:-1, 2:] + g[1:-1, :-2])
        g = new
    return np.sum(g**2)


# --- machine learning ---


def logistic_regression(W: Any, b: Any) -> Any:
    inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.3], [0.74, -2.49, 1.39]])
    targets = np.array([True, True, False, True])
    preds = 0.5 * (np.tanh((np.dot(inputs, W) + b) / 2) + 1)
    label_probs = preds * targets + (1 - preds) * (1 - targets)
    return -np.sum(np.log(label_probs))


def perceptron(params: Any, x: Any, y: Any) -> Any:
    for W, b in params[:-1]:
        x = np.maximum(0, x @ W + b)
    W, b = params[-1]
    logits = np.dot(x, W) + b
    logp = logits - logsumexp(logits, axis=1, keepdims=True)
    return -np.mean(np.sum(logp * y, axis=1))


def recurrent_by_scan(p: Any, xs: Any) -> Any:

    def step(h, x):
        h = np.tanh(p["wh"] @ h + p["wx"] @ x + p["b"])
        return (h, h)

    _, hs = cr.scan(step, np.zeros(4), xs)
    return np.sum(hs**2)


def recurrent_by_for(p: Any, xs: Any) -> Any:
    h = np.zeros(4)
    t = 0.0
    for x in xs:
        h = np.tanh(p["wh"] @ h + p["wx"] @ x + p["b"])
        t = t + np.sum(h**2)
    return t


def attention(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.T / np.sqrt(q.shape[-1])
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return np.sum((e / e.sum(-1, keepdims=True) @ v) ** 2)


def convolution(k: Any, img: Any) -> Any:
    H, W = img.shape
    out = 0
    for i in range(3):
        for j in range(3):
            out = out + k[i, j] * img[i : H - 2 + i, j : W - 2 + j]
    return np.sum(np.maximum(out, 0) ** 2)


def cross_entropy(x: Any) -> Any:
    p = np.exp(x - np.max(x))
    p = p / p.sum()
    return -np.log(p[2])


def mandelbrot(c: Any) -> Any:
    z = c[0] + 1j * c[1]
    w = 0j
    for _ in range(5):
        w = w * w + z * 0.3
    return np.abs(w) ** 2


def horner(x: Any, n: Any) -> Any:
    r = np.zeros_like(x)
    for _ in range(n):
        r = r * x + 1
    return r.sum()


def logdet(A: Any) -> Any:
    return np.linalg.slogdet(A @ A.T + np.eye(3))[1]


def square_root(a: Any) -> Any:

    def cond_fun(c):
        xp, x = c
        return abs(xp - x) > 1e-12

    def body_fun(c):
        _, x = c
        return (x, (x + a / x) / 2)

    _, x = lax.while_loop(cond_fun, body_fun, (a * 1.0, a / 2 + 1.5))
    return x


def ridge(w: Any, X: Any, y: Any) -> Any:
    return np.mean((y - X @ w) ** 2) + 0.1 * np.sum(w**2)


def huber(w: Any, X: Any, y: Any) -> Any:
    r = y - X @ w
    return np.sum(np.where(np.abs(r) < 1, 0.5 * r**2, np.abs(r) - 0.5))


def probit(w: Any, X: Any, y: Any) -> Any:
    return -np.sum(log_ndtr((2 * y - 1) * (X @ w)))


# --- physics ---


def kallen(a: Any, b: Any, c: Any) -> Any:
    return a * a + b * b + c * c - 2 * a * b - 2 * b * c - 2 * c * a


def breit_wigner(E: Any, M: Any, G: Any) -> Any:
    gamma = np.sqrt(M**2 * (M**2 + G**2))
    k = 2 * np.sqrt(2) * M * G * gamma / (np.pi * np.sqrt(M**2 + gamma))
    return k / ((E**2 - M**2) ** 2 + M**2 * G**2)


def dalitz_amplitude(p: Any, s12: Any, s13: Any) -> Any:
    m, g, a, phi = p
    mpi = 0.13957

    def bw(s):
        q = np.sqrt(kallen(s, mpi**2, mpi**2)) / (2 * np.sqrt(s))
        q0 = np.sqrt(kallen(m * m, mpi**2, mpi**2)) / (2 * m)
        G = g * (q / q0) ** 3 * m / np.sqrt(s)
        return 1 / (m * m - s - 1j * m * G)

    A = bw(s12) + a * np.exp(1j * phi) * bw(s13)
    return np.sum(np.log(np.abs(A) ** 2))


def neutrino_oscillation(th: Any, E: Any) -> Any:
    t12, t13, t23, d = th
    c12, s12, c13, s13, c23, s23 = (np.cos(t12), np.sin(t12), np.cos(t13), np.sin(t13), np.cos(t23), np.sin(t23))
    e = np.exp(1j * d)
    U = np.array(
        [
            [c12 * c13, s12 * c13, s13 * np.conj(e)],
            [-s12 * c23 - c12 * s23 * s13 * e, c12 * c23 - s12 * s23 * s13 * e, s23 * c13],
            [s12 * s23 - c12 * c23 * s13 * e, -c12 * s23 - s12 * c23 * s13 * e, c23 * c13],
        ]
    )
    dm = np.array([0, 7.5e-05, 0.0025])
    L = 1300.0
    amp = 0
    for i in range(3):
        amp = amp + np.conj(U[1, i]) * U[0, i] * np.exp(-1j * 2 * 1.267 * dm[i] * L / E)
    return np.sum(np.abs(amp) ** 2)


def invariant_mass(eta: Any, pt: Any) -> Any:
    phi = np.array([0.3, 2.5])
    px = pt * np.cos(phi)
    py = pt * np.sin(phi)
    pz = pt * np.sinh(eta)
    E = np.sqrt(px**2 + py**2 + pz**2 + 0.105**2)
    return np.sqrt(E.sum() ** 2 - px.sum() ** 2 - py.sum() ** 2 - pz.sum() ** 2)


def boost_energy(beta: Any, p4: Any) -> Any:
    b2 = np.dot(beta, beta)
    gamma = 1 / np.sqrt(1 - b2)
    return gamma * (p4[0] - np.dot(beta, p4[1:]))


def fresnel_rs(theta: Any, n: Any) -> Any:
    c = np.cos(theta)
    ct = np.sqrt(1 - (np.sin(theta) / n) ** 2)
    return ((c - n * ct) / (c + n * ct)) ** 2


def planck(T: Any, lmb: Any) -> Any:
    h, c, k = (6.62607015e-34, 299792458.0, 1.380649e-23)
    return 2 * h * c**2 / lmb**5 / np.expm1(h * c / (lmb * k * T))


def nbody_energy(x: Any) -> Any:
    v = np.array([[0.0, 0.5, 0.0], [-0.4, -0.2, 0.1], [0.4, -0.3, 0.0]])

    def acc(x):
        d = x[None, :, :] - x[:, None, :]
        r2 = np.sum(d**2, axis=-1) + 0.01
        return np.sum(d * r2[:, :, None] ** (-1.5), axis=1)

    dt = 0.01
    a = acc(x)
    for _ in range(50):
        v = v + 0.5 * dt * a
        x = x + dt * v
        a = acc(x)
        v = v + 0.5 * dt * a
    return 0.5 * np.sum(v**2)


def ising_energy(J: Any, s: Any, h: Any) -> Any:
    return -J * np.sum(s * (np.roll(s, 1, axis=0) + np.roll(s, 1, axis=1))) - h * np.sum(s)


def ising_chain(p: Any) -> Any:
    K, h = p
    T = np.array([[np.exp(K + h), np.exp(-K)], [np.exp(-K), np.exp(K - h)]])
    return np.log(np.trace(np.linalg.matrix_power(T, 10)))


def lennard_jones(p: Any) -> Any:
    e, s = p
    r = np.array([1.2, 1.5, 2.0])
    return np.sum(4 * e * ((s / r) ** 12 - (s / r) ** 6))


def debye(T: Any) -> Any:
    x = np.linspace(0.01, 400 / T, 50)
    y = x**3 / (np.exp(x) - 1)
    return np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) * 9 * (T / 400) ** 3


def luminosity_distance(p: Any) -> Any:
    Om, h = p
    z = np.linspace(0, 1.5, 200)
    E = np.sqrt(Om * (1 + z) ** 3 + 1 - Om)
    return np.trapezoid(1 / E, z) * 2998 / h


def oscillator_state(p: Any, x: Any) -> Any:
    w, t = p
    psi = (w / np.pi) ** 0.25 * np.exp(-w * x**2 / 2) * np.exp(-1j * w * t / 2)
    return np.sum(np.abs(psi) ** 2 * x**2) + np.real(psi[3])


def spin_in_field(b: Any) -> Any:
    sx = np.array([[0, 1], [1, 0]], complex)
    sy = np.array([[0, -1j], [1j, 0]])
    sz = np.array([[1, 0], [0, -1]], complex)
    H = b[0] * sx + b[1] * sy + b[2] * sz
    n = np.sqrt(b @ b)
    U = np.cos(n) * np.eye(2) - 1j * np.sin(n) * H / n
    psi = U @ np.array([1, 0])
    return np.real(np.vdot(psi, sz @ psi))


def euler_rotation(a: Any) -> Any:
    cx, sx, cy, sy, cz, sz = (np.cos(a[0]), np.sin(a[0]), np.cos(a[1]), np.sin(a[1]), np.cos(a[2]), np.sin(a[2]))
    Rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    Ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    Rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (Rz @ Ry @ Rx @ np.array([1.0, 2.0, 3.0]))[0]


def lorentz_force(E: Any, v: Any) -> Any:
    B = np.array([0.0, 1.0, 0.5])
    F = E + np.cross(v, B)
    return np.linalg.norm(F)


# --- with what they are called: the first argument is differentiated by ---

X = RNG.normal(size=30)
DESIGN = RNG.normal(size=(20, 3))
GRID = np.linspace(0.0, 4.0, 20)
WEIGHTS = np.array([0.1, 0.2, 0.3])
RECURRENT = {"wh": 0.4 * RNG.normal(size=(4, 4)), "wx": RNG.normal(size=(4, 2)), "b": np.zeros(4)}
LAYERS = [(0.5 * RNG.normal(size=(4, 6)), np.zeros(6)), (0.5 * RNG.normal(size=(6, 3)), np.zeros(3))]
STARS = np.array([[1.0, 0.0, 0.0], [-0.5, 0.8, 0.0], [-0.5, -0.8, 0.1]])

PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (exponential_decay, (np.array([2.5, 1.3, 0.5]), GRID, np.exp(-GRID))),
    (enzyme, (np.array([0.1, 0.2, 0.3, 0.4]), GRID)),
    (ackley, (np.array([0.3, -0.2]),)),
    (eggholder, (np.array([5.3, 4.2]),)),
    (pendulum_rk4, (np.array([0.25, 5.0]),)),
    (lotka_volterra, (np.array([1.5, 1.0, 3.0, 1.0]),)),
    (lorenz, (10.0, 28.0, 8 / 3)),
    (van_der_pol, (1.2,)),
    (sir_model, (np.array([0.3, 0.1]),)),
    (kepler, (2.0,)),
    (heat_equation, (0.3,)),
    (laplace_equation, (0.3,)),
    (logistic_regression, (WEIGHTS, 0.5)),
    (perceptron, (LAYERS, RNG.normal(size=(8, 4)), np.eye(3)[RNG.integers(0, 3, 8)])),
    (recurrent_by_scan, (RECURRENT, RNG.normal(size=(9, 2)))),
    (recurrent_by_for, (RECURRENT, RNG.normal(size=(9, 2)))),
    (attention, tuple(RNG.normal(size=(3, 5, 4)))),
    (convolution, (RNG.normal(size=(3, 3)), RNG.normal(size=(8, 8)))),
    (cross_entropy, (np.array([1.0, 2.0, 3.5, 4.0]),)),
    (mandelbrot, (np.array([0.5, 0.6]),)),
    (horner, (np.array([1.0, 2.0, -3.0]), 5)),
    (logdet, (RNG.normal(size=(3, 3)),)),
    (square_root, (2.0,)),
    (ridge, (WEIGHTS, DESIGN, X[:20])),
    (huber, (WEIGHTS, DESIGN, X[:20])),
    (probit, (WEIGHTS, DESIGN, RNG.integers(0, 2, 20))),
    (breit_wigner, (91.2, 91.19, 2.5)),
    (dalitz_amplitude, (np.array([0.775, 0.149, 1.0, 0.3]), np.array([0.5, 0.7, 0.9]), np.array([1.0, 0.6, 1.5]))),
    (neutrino_oscillation, (np.array([0.59, 0.15, 0.78, 1.2]), np.linspace(0.5, 5, 20))),
    (invariant_mass, (np.array([0.5, -0.3]), np.array([20.0, 15.0]))),
    (boost_energy, (np.array([0.1, 0.2, 0.6]), np.array([5.0, 1.0, 2.0, 3.0]))),
    (fresnel_rs, (0.7, 1.5)),
    (planck, (5800.0, 5e-7)),
    (nbody_energy, (STARS,)),
    (ising_energy, (0.4, RNG.choice([-1, 1], size=(8, 8)), 0.1)),
    (ising_chain, (np.array([0.1, 0.4]),)),
    (lennard_jones, (np.array([1.1, 1.0]),)),
    (debye, (300.0,)),
    (luminosity_distance, (np.array([0.3, 0.7]),)),
    (oscillator_state, (np.array([1.0, 0.5]), np.linspace(-4, 4, 50))),
    (spin_in_field, (np.array([0.3, -0.4, 0.8]),)),
    (euler_rotation, (np.array([0.2, 0.5, 1.0]),)),
    (lorentz_force, (np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0, 1.0]))),
]
