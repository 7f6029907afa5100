"""Linear algebra by loops, as in textbooks: eliminations, iterations, exponentials."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.linalg

import chainrule as cr
from tests.programs.precise import verify


def matrix(a: Any, b: Any) -> Any:
    return np.array([[4.0 + a, 1.0, 0.5 * b], [1.0, 3.0 - b, a * b], [0.5 * b, a * b, 2.0 + a * a]])


def exact_matrix(a: Any, b: Any) -> Any:
    return mpmath.matrix([[4 + a, 1, b / 2], [1, 3 - b, a * b], [b / 2, a * b, 2 + a * a]])


def power_iteration(a: Any, b: Any) -> Any:
    """The largest eigenvalue: multiply until it stays."""
    m = matrix(a, b)
    v = np.ones(3) / np.sqrt(3)
    eigenvalue = 0.0
    while True:
        w = m @ v
        new = v @ w
        v = w / np.sqrt(np.sum(w * w))
        if abs(new - eigenvalue) < 1e-15 * abs(new):
            break
        eigenvalue = new
    for _ in range(40):  # the vector converges half as fast, and its derivatives behind it
        w = m @ v
        v = w / np.sqrt(np.sum(w * w))
    return v @ m @ v


def test_power_iteration() -> None:
    def truth(a: Any, b: Any) -> Any:
        values, _ = mpmath.eigsy(exact_matrix(a, b))
        return max(values)

    verify(power_iteration, 0.3, 0.7, truth=truth, rtol=1e-7, atol=1e-8)


def expm(a: Any) -> Any:
    """The exponential of a matrix by scaling, Taylor's series and squaring."""
    n = a.shape[0]
    norm = np.max(np.sum(np.abs(a), axis=0))
    squarings = 0
    while norm > 0.5:
        norm = norm / 2
        squarings += 1
    a = a / 2.0**squarings
    result = np.eye(n)
    term = np.eye(n)
    for k in range(1, 20):
        term = term @ a / k
        result = result + term
    for _ in range(squarings):
        result = result @ result
    return result


def rotation_entry(angle: Any, damping: Any) -> Any:
    return expm(np.array([[-damping, -angle], [angle, -damping]]))[1, 0]


@pytest.mark.parametrize(("angle", "damping"), [(0.1, 0.2), (11.0, 1.5)])
def test_matrix_exponential(angle: float, damping: float) -> None:
    verify(rotation_entry, angle, damping, truth=lambda w, d: mpmath.exp(-d) * mpmath.sin(w))


def lu(a: Any) -> Any:
    """Doolittle's factors, in place of a copy, without pivoting."""
    a = a.copy()
    n = len(a)
    for k in range(n):
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
    return a


def lu_solve(factors: Any, b: Any) -> Any:
    n = len(b)
    x = np.zeros(n)
    for i in range(n):
        x[i] = b[i]
        for j in range(i):
            x[i] -= factors[i, j] * x[j]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            x[i] -= factors[i, j] * x[j]
        x[i] /= factors[i, i]
    return x


def solved(a: Any, b: Any) -> Any:
    return lu_solve(lu(matrix(a, b)), np.array([1.0, a, -b])).sum()


def determinant(a: Any, b: Any) -> Any:
    factors = lu(matrix(a, b))
    product = 1.0
    for i in range(3):
        product *= factors[i, i]
    return product


def test_lu_without_pivoting() -> None:
    def truth(a: Any, b: Any) -> Any:
        return mpmath.fsum(mpmath.lu_solve(exact_matrix(a, b), mpmath.matrix([1, a, -b])))

    verify(solved, 0.3, 0.7, truth=truth)
    verify(determinant, 0.3, 0.7, truth=lambda a, b: mpmath.det(exact_matrix(a, b)))


def test_lu_of_a_larger_matrix_stays_loops() -> None:
    rng = np.random.default_rng(8)
    m = rng.normal(size=(24, 24)) + 12 * np.eye(24)
    b = rng.normal(size=24)

    def f(m: Any, b: Any) -> Any:
        return lu_solve(lu(m), b).sum()

    by_m, by_b = cr.grad(f, argnums=(0, 1))(m, b)
    adjoint = np.linalg.solve(m.T, np.ones(24))
    np.testing.assert_allclose(by_b, adjoint, rtol=1e-10)
    np.testing.assert_allclose(by_m, -np.outer(adjoint, np.linalg.solve(m, b)), rtol=1e-9, atol=1e-12)
    tangent = cr.jvp(f, (m, b), (m, b))[1]
    np.testing.assert_allclose(tangent, 0.0, atol=1e-10)  # m⁻¹·b does not change if both are scaled


def cholesky(a: Any) -> Any:
    n = a.shape[0]
    factor = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = sum(factor[i, k] * factor[j, k] for k in range(j))
            if i == j:
                factor[i, j] = math.sqrt(a[i, i] - s)
            else:
                factor[i, j] = (a[i, j] - s) / factor[j, j]
    return factor


def log_determinant(a: Any, b: Any) -> Any:
    factor = cholesky(matrix(a, b))
    return 2 * sum(math.log(factor[i, i]) for i in range(3))


def test_choleskys_factor() -> None:
    verify(log_determinant, 0.3, 0.7, truth=lambda a, b: mpmath.log(mpmath.det(exact_matrix(a, b))))


def gram_schmidt(vectors: Any) -> Any:
    basis = []
    for v in vectors:
        w = v - sum(np.dot(v, b) * b for b in basis)
        if np.sqrt(np.dot(w, w)) > 1e-10:
            basis.append(w / np.sqrt(np.dot(w, w)))
    return np.array(basis)


def modified_gram_schmidt(a: Any) -> tuple[Any, Any]:
    a = a.copy()
    rows, columns = a.shape
    q, r = np.zeros((rows, columns)), np.zeros((columns, columns))
    for k in range(columns):
        r[k, k] = np.sqrt(np.sum(a[:, k] ** 2))
        q[:, k] = a[:, k] / r[k, k]
        for j in range(k + 1, columns):
            r[k, j] = q[:, k] @ a[:, j]
            a[:, j] -= r[k, j] * q[:, k]
    return q, r


def qr_corner(a: Any, b: Any) -> Any:
    q, r = modified_gram_schmidt(matrix(a, b))
    return r[2, 2] + q[0, 1]


def test_gram_schmidt() -> None:
    def truth(a: Any, b: Any) -> Any:
        m = exact_matrix(a, b)
        _, r = mpmath.qr(m)
        second = m[:, 1] - (m[:, 0].T * m[:, 1])[0] / (m[:, 0].T * m[:, 0])[0] * m[:, 0]
        return abs(r[2, 2]) + second[0] / mpmath.norm(second)

    verify(qr_corner, 0.3, 0.7, truth=truth)


def test_a_basis_whose_length_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match=r"list\.append in a branch or loop that is not known.*test_matrices\.py:\d+"):
        cr.jit(gram_schmidt)(np.eye(3))


def jacobi_eigenvalues(a: Any, b: Any) -> Any:
    """Jacobi's rotations, the largest element first; returns the smallest eigenvalue."""
    m = matrix(a, b)
    for _ in range(30):
        p, q = 0, 1
        for i, j in ((0, 2), (1, 2)):
            if abs(m[i, j]) > abs(m[p, q]):
                p, q = i, j
        if abs(m[p, q]) < 1e-14:
            break
        theta = (m[q, q] - m[p, p]) / (2 * m[p, q])
        t = np.sign(theta) / (abs(theta) + np.sqrt(theta**2 + 1))
        c = 1 / np.sqrt(t * t + 1)
        s = t * c
        rotation = np.eye(3)
        rotation[p, p] = rotation[q, q] = c
        rotation[p, q], rotation[q, p] = s, -s
        m = rotation.T @ m @ rotation
    return min(m[0, 0], m[1, 1], m[2, 2])


def test_jacobis_rotations() -> None:
    def truth(a: Any, b: Any) -> Any:
        values, _ = mpmath.eigsy(exact_matrix(a, b))
        return min(values)

    verify(jacobi_eigenvalues, 0.3, 0.7, truth=truth, rtol=1e-7, atol=1e-8)


def conjugate_gradients(a: Any, b: Any) -> Any:
    m, x = matrix(a, b), np.zeros(3)
    r = np.array([1.0, a, -b])
    p = r
    rr = r @ r
    steps = 0
    while rr > 1e-28 and steps < 20:
        mp = m @ p
        alpha = rr / (p @ mp)
        x = x + alpha * p
        r = r - alpha * mp
        new = r @ r
        p = r + new / rr * p
        rr = new
        steps += 1
    return np.sum(x)


def test_conjugate_gradients() -> None:
    def truth(a: Any, b: Any) -> Any:
        return mpmath.fsum(mpmath.lu_solve(exact_matrix(a, b), mpmath.matrix([1, a, -b])))

    verify(conjugate_gradients, 0.3, 0.7, truth=truth, rtol=1e-8)


def gauss_seidel(a: Any, b: Any) -> Any:
    m, right = matrix(a, b), np.array([1.0, a, -b])
    x = np.zeros(3)
    for _ in range(200):
        change = 0.0
        for i in range(3):
            old = x[i]
            x[i] = (right[i] - np.dot(m[i], x) + m[i, i] * old) / m[i, i]
            change = max(change, abs(x[i] - old))
        if change < 1e-16:
            break
    return x[0] - x[2]


def test_gauss_seidel() -> None:
    def truth(a: Any, b: Any) -> Any:
        x = mpmath.lu_solve(exact_matrix(a, b), mpmath.matrix([1, a, -b]))
        return x[0] - x[2]

    verify(gauss_seidel, 0.3, 0.7, truth=truth, rtol=1e-8)


def inverse_by_newton(a: Any, b: Any) -> Any:
    """Schulz's iteration X ← X·(2 − M·X)."""
    m = matrix(a, b)
    x = m.T / (np.max(np.sum(np.abs(m), axis=0)) * np.max(np.sum(np.abs(m), axis=1)))
    identity = np.eye(3)
    while np.max(np.abs(m @ x - identity)) > 1e-14:
        x = x @ (2 * identity - m @ x)
    x = x @ (2 * identity - m @ x)
    return x[0, 2]


def test_inverse_by_iteration() -> None:
    verify(inverse_by_newton, 0.3, 0.7, truth=lambda a, b: mpmath.inverse(exact_matrix(a, b))[0, 2])


def with_pivots(a: Any, b: Any) -> Any:
    """Gauss's elimination with partial pivoting: rows are swapped where the data say so."""
    m = np.array([[1e-3 * a, 1.0, 2.0], [1.0, b, -1.0], [3.0, a, 1.0]])
    right = np.array([1.0, 2.0, b])
    n = 3
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(m[i, k]) > abs(m[pivot, k]):
                pivot = i
        if pivot != k:
            row = m[k].copy()
            m[k] = m[pivot]
            m[pivot] = row
            right[k], right[pivot] = right[pivot], right[k]
        for i in range(k + 1, n):
            factor = m[i, k] / m[k, k]
            m[i] -= factor * m[k]
            right[i] -= factor * right[k]
    x = np.zeros(n)
    for i in reversed(range(n)):
        x[i] = (right[i] - m[i, i + 1 :] @ x[i + 1 :]) / m[i, i]
    return x[1]


def test_elimination_with_pivots() -> None:
    def truth(a: Any, b: Any) -> Any:
        m = mpmath.matrix([[a * mpmath.mpf(1e-3), 1, 2], [1, b, -1], [3, a, 1]])
        return mpmath.lu_solve(m, mpmath.matrix([1, 2, b]))[1]

    verify(with_pivots, 0.8, 1.6, truth=truth)


def test_functions_that_do_not_dispatch_are_taken_as_they_are() -> None:
    a = np.array([[2.0, 0.5], [0.25, 1.0]])
    np.testing.assert_allclose(cr.jit(scipy.linalg.det)(a), 1.875, rtol=1e-15)
    np.testing.assert_allclose(cr.grad(scipy.linalg.det)(a), [[1.0, -0.25], [-0.5, 2.0]], rtol=1e-14)
    cr.check_grads(scipy.linalg.det, (a,))
    cr.check_grads(lambda a: np.sum(scipy.linalg.inv(a)), (a,), order=2)
    np.testing.assert_allclose(cr.grad(math.sin)(0.5), math.cos(0.5), rtol=1e-15)
