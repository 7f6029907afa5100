"""Dense linear algebra in programs: values against NumPy, derivatives against closed forms, mpmath and differences.

Small matrices are loops of the kernel, large ones and eigenvalues calls of LAPACK: sizes on both sides are tested.
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.linalg

import chainrule as cr
from chainrule.codegen.lapack import LARGEST

SIZES = (1, 3, LARGEST, LARGEST + 4)
DTYPES = (np.float64, np.complex128)


def matrix(n: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) + 2 * np.sqrt(n) * np.eye(n)
    return a + 1j * rng.normal(size=(n, n)) if dtype is np.complex128 else a


def right(n: int, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(9)
    b = rng.normal(size=(n, 2))
    return b + 1j * rng.normal(size=(n, 2)) if dtype is np.complex128 else b


def positive(n: int, dtype: Any = np.float64) -> Any:
    a = matrix(n, dtype)
    return a @ a.conj().T + n * np.eye(n)


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * (1 + np.max(np.abs(expected))))


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_values(n: int, dtype: Any) -> None:
    a, b, s = matrix(n, dtype), right(n, dtype), positive(n, dtype)
    det = np.linalg.det(a)

    def everything(a: Any, b: Any, s: Any) -> Any:
        inverse = np.linalg.inv(a)
        sign, logarithm = np.linalg.slogdet(a)
        factor = np.linalg.cholesky(s)
        solved = np.linalg.solve(a, b), np.linalg.solve(a, b[:, 0])
        return inverse, np.linalg.det(a) / det, sign, logarithm, factor, np.linalg.eigvalsh(s), *solved

    for found, expected in zip(cr.jit(everything)(a, b, s), everything(a, b, s), strict=True):
        assert found.dtype == expected.dtype
        close(found, expected)


@pytest.mark.parametrize("n", [3, LARGEST + 4])
def test_triangular_systems(n: int) -> None:
    a, b = matrix(n), right(n)
    spoilt = np.where(np.tri(n).T == 0, np.nan, a)  # the other triangle is not read
    close(cr.jit(lambda a, b: scipy.linalg.solve_triangular(a, b))(spoilt, b), scipy.linalg.solve_triangular(a, b))
    for lower in (False, True):
        for trans in (0, 1):
            f = lambda a, b: cr.scipy.linalg.solve_triangular(a, b, trans=trans, lower=lower)  # noqa: B023, E731
            close(cr.jit(f)(a, b), scipy.linalg.solve_triangular(a, b, trans=trans, lower=lower))
    s = positive(n)
    close(cr.jit(lambda s, b: cr.scipy.linalg.cho_solve(cr.scipy.linalg.cho_factor(s), b))(s, b), np.linalg.solve(s, b))


def test_stacks_and_lanes() -> None:
    a = np.stack([matrix(3, seed=k) for k in range(5)])
    b = np.random.default_rng(3).normal(size=(5, 3, 2))
    close(cr.jit(np.linalg.solve)(a, b), np.linalg.solve(a, b))
    close(cr.vmap(np.linalg.solve)(a, b), np.linalg.solve(a, b))
    close(cr.vmap(np.linalg.solve, in_axes=(None, 0))(a[0], b), np.linalg.solve(a[:1], b))
    close(cr.vmap(lambda a: np.linalg.eigh(a @ a.T)[0])(a), np.linalg.eigvalsh(a @ np.swapaxes(a, 1, 2)))
    close(cr.vmap(cr.grad(np.linalg.det))(a), np.stack([np.linalg.det(m) * np.linalg.inv(m).T for m in a]))


def test_one_kernel_for_all_sizes() -> None:
    f = cr.jit(lambda a: np.linalg.solve(a, a[:, 0]))
    for n in (20, 25, 30, 35):
        close(f(matrix(n)), np.eye(n)[0])


def test_without_an_answer() -> None:
    """NaN, as LAPACK's errors cannot be raised; the determinant is 0, and has a gradient."""
    ones = np.ones((4, 4))
    assert np.isnan(cr.jit(np.linalg.inv)(ones)).all()
    assert np.isnan(cr.jit(np.linalg.solve)(ones, np.ones(4))).all()
    assert np.isnan(cr.jit(np.linalg.cholesky)(-np.eye(LARGEST + 1))).all()
    assert cr.jit(np.linalg.det)(ones) == 0
    sign, logarithm = cr.jit(lambda a: tuple(np.linalg.slogdet(a)))(ones)
    assert (sign, logarithm) == (0, -np.inf)
    singular = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    cofactors = [[4.0, 4.0, -4.0], [-2.0, -2.0, 2.0], [0.0, 0.0, 0.0]]
    close(cr.grad(np.linalg.det)(singular), cofactors)
    close(cr.grad(np.linalg.det)(singular[:2, :2]), [[4.0, -2.0], [-2.0, 1.0]])


# --- derivatives ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 6, LARGEST + 2])
def test_gradients_in_closed_form(n: int) -> None:
    a, b = matrix(n), right(n)[:, 0]
    inverse, x = np.linalg.inv(a), np.linalg.solve(a, b)
    adjoint = np.linalg.solve(a.T, np.ones(n))
    by_a, by_b = cr.grad(lambda a, b: np.sum(np.linalg.solve(a, b)), argnums=(0, 1))(a, b)
    close(by_a, -np.outer(adjoint, x))
    close(by_b, adjoint)
    close(cr.grad(np.linalg.det)(a) / np.linalg.det(a), inverse.T)
    close(cr.grad(lambda a: np.linalg.slogdet(a)[1])(a), inverse.T)
    close(cr.grad(lambda a: np.trace(np.linalg.inv(a)))(a), -(inverse @ inverse).T)
    s = positive(n)
    vectors = np.linalg.eigh(s)[1]
    lowest = cr.grad(lambda s: np.linalg.eigvalsh(s)[0])(s)
    close(lowest + lowest.T, 2 * np.outer(vectors[:, 0], vectors[:, 0]))


W = np.random.default_rng(5).normal(size=(3, 3))

CASES: dict[str, Callable[[Any], Any]] = {
    "solve": lambda a: np.sum(W * np.linalg.solve(a, W)),
    "solve vector": lambda a: W[0] @ np.linalg.solve(a, a[0] ** 2),
    "inv": lambda a: np.sum(W * np.linalg.inv(a)),
    "det": lambda a: np.linalg.det(a),
    "slogdet": lambda a: np.linalg.slogdet(a)[1] ** 2,
    "cholesky": lambda a: np.sum(W * np.linalg.cholesky(a @ a.T)),
    "triangular": lambda a: np.sum(W * cr.scipy.linalg.solve_triangular(a, a @ W, trans=1)),
    "cho_solve": lambda a: np.sum(cr.scipy.linalg.cho_solve(cr.scipy.linalg.cho_factor(a @ a.T), W)),
    "eigh": lambda a: np.sum(np.linalg.eigh(a @ a.T)[0] ** 2 * W[0]),
    "eigenvectors": lambda a: np.sum(np.linalg.eigh(a @ a.T)[1] ** 2 * W),
    "norm": lambda a: np.linalg.norm(a) * np.linalg.norm(a, 1),
    "matrix_power": lambda a: np.sum(W * np.linalg.matrix_power(a, -2)),
    "multi_dot": lambda a: np.sum(np.linalg.multi_dot([a, W, a.T])),
}


@pytest.mark.parametrize("name", CASES)
def test_both_modes_and_orders(name: str) -> None:
    gradient = cr.grad(CASES[name])(matrix(3))
    with cr.disable_jit():
        close(cr.grad(CASES[name])(matrix(3)), gradient)
        cr.check_grads(CASES[name], (matrix(3),), order=2)


@pytest.mark.parametrize("name", ["solve", "inv", "cholesky"])
def test_second_derivatives_at_high_precision(name: str) -> None:
    """Along a line, against mpmath's own linear algebra at 40 digits."""
    a, direction = matrix(3), W

    def at(t: Any) -> Any:
        m = mp.matrix(a.tolist()) + t * mp.matrix(direction.tolist())
        weights = mp.matrix(W.tolist())
        match name:
            case "solve":
                found = mp.inverse(m) * weights
            case "inv":
                found = mp.inverse(m)
            case _:
                found = mp.cholesky(m * m.T)
        return mp.fsum(weights[i, j] * found[i, j] for i in range(3) for j in range(3))

    f = lambda t: CASES[name](a + t * direction)  # noqa: E731
    with mp.workdps(40):
        first, second = (float(mp.diff(at, 0, k)) for k in (1, 2))
    np.testing.assert_allclose(cr.grad(f)(0.0), first, rtol=1e-12)
    np.testing.assert_allclose(cr.jacrev(f)(0.0), first, rtol=1e-12)
    np.testing.assert_allclose(cr.grad(cr.grad(f))(0.0), second, rtol=1e-11)
    np.testing.assert_allclose(cr.jacfwd(cr.jacrev(f))(0.0), second, rtol=1e-11)


def test_complex_matrices() -> None:
    a = matrix(3, np.complex128)

    def f(t: Any, how: Any) -> Any:
        return how(a + t * W)

    for how in (
        lambda m: np.abs(np.linalg.det(m)) ** 2,
        lambda m: np.linalg.slogdet(m)[1],
        lambda m: np.real(np.linalg.slogdet(m)[0]),
        lambda m: np.sum(np.abs(np.linalg.solve(m, W)) ** 2),
        lambda m: np.sum(np.real(np.linalg.cholesky(m @ m.conj().T)) * W),
        lambda m: np.sum(np.linalg.eigvalsh(m @ m.conj().T) * W[0]),
    ):
        with cr.disable_jit():
            cr.check_grads(lambda t: f(t, how), (0.1,), order=2)  # noqa: B023
    exact = np.trace(np.linalg.solve(a, W)).real
    close(cr.grad(lambda t: np.linalg.slogdet(a + t * W)[1])(0.0), exact)


def test_only_the_triangle_counts() -> None:
    """The gradient is that of the function as NumPy has it, which reads one triangle."""
    s = positive(3)
    by_s = cr.grad(lambda s: np.sum(W * np.linalg.cholesky(s)))(s)
    assert np.triu(by_s, 1).any() == np.False_
    by_t = cr.grad(lambda t: np.sum(cr.scipy.linalg.solve_triangular(t, W)))(matrix(3))
    assert np.tril(by_t, -1).any() == np.False_


def test_in_loops_and_unselected_branches() -> None:
    a, b = matrix(3), np.arange(1.0, 4.0)

    def f(b: Any, n: Any) -> Any:
        for _ in range(n):
            b = np.linalg.solve(a, b)
        return np.sum(b)

    power = np.linalg.matrix_power(np.linalg.inv(a), 4)
    close(cr.grad(f)(b, 4), power.T @ np.ones(3))
    close(cr.jacfwd(f)(b, 4), power.T @ np.ones(3))

    def guarded(s: Any) -> Any:
        return np.where(s > 0, np.sum(np.linalg.solve(s * a, b)), s)

    assert cr.grad(guarded)(0.0) == 1.0
    assert cr.grad(cr.grad(guarded))(0.0) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: np.linalg.inv(a[:2]), "a stack of square matrices"),
        (lambda a: np.linalg.solve(a, a[:2]), "do not match"),
        (lambda a: np.linalg.norm(a, 2), "the matrix norm of order 2 is not supported"),
        (lambda a: np.linalg.svd(a), "np.linalg.svd does not work on traced values"),
    ],
)
def test_bad_input(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        cr.jit(call)(matrix(3))
