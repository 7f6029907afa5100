"""foreign: values, derivatives, errors of numerical derivatives, and what happens when a foreign function raises."""

import ctypes
import ctypes.util
import math
import threading
import traceback
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import chainrule as cr
from chainrule.ridders import jacobian

gamma = cr.foreign(math.gamma)
sine = cr.foreign(math.sin, derivative=math.cos)
exact_sine = cr.foreign(math.sin, derivative=cr.foreign(math.cos, derivative=lambda x: -math.sin(x)))


def _exact(f: Callable[[Any], Any], at: float, order: int) -> float:
    with mp.workdps(40):
        return float(mp.diff(f, at, order))


@pytest.mark.parametrize("x", [0.3, 1.0, 2.3, 7.0])
def test_numerical_derivatives_are_as_good_as_they_say(x: float) -> None:
    f = cr.foreign(math.gamma)
    assert f.last_error is None
    assert cr.jit(f)(x) == f(x) == math.gamma(x)
    first = abs(cr.grad(f)(x) - _exact(mp.gamma, x, 1))
    assert f.last_error is not None
    assert first <= f.last_error < 1e-9 * math.gamma(x)
    second = abs(cr.grad(cr.grad(f))(x) - _exact(mp.gamma, x, 2))
    assert second <= f.last_error < 1e-5 * math.gamma(x)
    assert f.largest_error is not None
    assert f.largest_error >= f.last_error
    assert abs(cr.jacrev(f)(x) - _exact(mp.gamma, x, 1)) <= f.largest_error


def test_ridders_at_a_border() -> None:
    """Steps out of the domain are taken back; where all are, the derivative is NaN."""
    table, error = jacobian(lambda x: [math.log(x[()])], [np.array(1e-3)], [0])
    assert abs(table[0][0] - 1000) <= error < 1e-6
    table, error = jacobian(lambda x: [math.sqrt(x[()])], [np.array(0.0)], [0])
    assert np.isnan(table[0][0])
    assert error == np.inf


def test_derivatives_given_by_the_user() -> None:
    for derivative in (cr.grad, cr.jacfwd, cr.jacrev):
        assert derivative(sine)(0.3) == math.cos(0.3)
    assert sine.last_error is None
    assert abs(cr.grad(cr.grad(sine))(0.3) + math.sin(0.3)) < 1e-11  # numerical
    assert cr.grad(cr.grad(exact_sine))(0.3) == -math.sin(0.3)
    assert cr.hessian(exact_sine)(0.3) == -math.sin(0.3)
    assert exact_sine.last_error is None


def test_arrays_of_any_length() -> None:
    def f(a: float, v: Any) -> Any:
        return a * v**2

    weighted = cr.foreign(f)
    exact = cr.foreign(f, derivative=lambda a, v: (v**2, np.diag(2 * a * v)))
    for n in (3, 5, 8):
        v = np.linspace(0.5, 1.5, n)
        np.testing.assert_array_equal(cr.jit(weighted)(2.0, v), 2 * v**2)
        np.testing.assert_allclose(cr.jacrev(weighted, argnums=1)(2.0, v), np.diag(4 * v), atol=1e-9)
        for derivative in (cr.jacfwd, cr.jacrev):
            by_a, by_v = derivative(exact, argnums=(0, 1))(2.0, v)
            np.testing.assert_array_equal(by_a, v**2)
            np.testing.assert_array_equal(by_v, np.diag(4 * v))
    np.testing.assert_allclose(cr.hessian(lambda v: np.sum(exact(2.0, v)))(np.ones(3)), 4 * np.eye(3), atol=1e-8)


def test_declared_results_and_named_sizes() -> None:
    calls: list[Any] = []

    def f(x: Any) -> Any:
        calls.append(x)
        return {"sum": x.sum(), "twice": np.array([1, 2])}

    g = cr.foreign(f, like={"sum": 0.0, "twice": cr.spec(2, dtype="int64")})
    found = cr.jit(g)(np.arange(3.0))
    assert len(calls) == 1
    assert found["sum"] == 3.0
    assert found["twice"].dtype == np.int64
    slope = cr.jacfwd(lambda x: g(x)["sum"])(np.arange(3.0))
    np.testing.assert_allclose(slope, np.ones(3), atol=1e-10)


def _loop(x: Any, n: Any) -> Any:
    total = 0.0
    for i in range(n):
        total = total + sine(x * i)
    return total


def test_loops_branches_and_lanes() -> None:
    np.testing.assert_allclose(cr.jit(_loop)(0.1, 1000), sum(math.sin(0.1 * i) for i in range(1000)), rtol=1e-12)
    slope = sum(i * math.cos(0.1 * i) for i in range(1000))
    np.testing.assert_allclose(cr.grad(_loop)(0.1, 1000), slope, rtol=1e-10)
    np.testing.assert_allclose(cr.jacrev(_loop)(0.1, 1000), slope, rtol=1e-10)
    x = np.array([0.1, 0.7, 2.0])
    np.testing.assert_array_equal(cr.vmap(sine)(x), [math.sin(v) for v in x])
    np.testing.assert_array_equal(cr.vmap(cr.grad(sine))(x), [math.cos(v) for v in x])
    calls: list[float] = []
    seen = cr.foreign(lambda x: calls.append(float(x)) or 2 * x)

    def f(x: Any) -> Any:
        return seen(x) if x < 5 else -x

    cr.jit(f)(0.0)
    calls.clear()
    np.testing.assert_array_equal(cr.vmap(f)(np.array([1.0, 10.0, 2.0])), [2.0, -10.0, 4.0])
    assert calls[-2:] == [1.0, 2.0]
    assert 10.0 not in calls


def _limited(x: float) -> float:
    if x > 5:
        raise OverflowError(f"{x} is too large")
    return 2 * x


limited = cr.foreign(_limited)


@cr.jit
def summed(v: Any) -> Any:
    return sum(limited(v[i]) for i in range(4))


def test_exceptions_reach_the_caller_and_leave_the_kernel_whole() -> None:
    good = np.arange(4.0)
    assert summed(good) == 12.0
    before = cr.debug.compilations()
    with pytest.raises(OverflowError, match=r"6.0 is too large") as caught:
        summed(good + 5)
    frames = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "_limited"
    assert summed(good) == 12.0
    with pytest.raises(OverflowError), cr.disable_jit():
        cr.jit(limited)(6.0)
    assert cr.debug.compilations() == before
    with pytest.raises(OverflowError):
        cr.vmap(limited)(good + 3)
    np.testing.assert_array_equal(cr.vmap(limited)(good), 2 * good)


def test_an_interrupt_is_raised_after_the_kernel() -> None:
    def interrupt(x: float) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cr.jit(cr.foreign(interrupt, like=0.0))(1.0)


def test_a_loop_that_would_go_on_for_ever_ends() -> None:
    @cr.jit
    def f(x: Any) -> Any:
        while not limited(x) > 100:  # what raised gives NaN
            x = x + 1.0
        return x

    with pytest.raises(OverflowError, match=r"6.0 is too large"):
        f(0.0)
    assert summed(np.arange(4.0)) == 12.0
    assert cr.jit(lambda x: x + 1)(1.0) == 2.0


def test_threads() -> None:
    found: list[float] = []
    wrong: list[BaseException] = []

    def work(k: int) -> None:
        for _ in range(50):
            found.append(float(summed(np.arange(4.0))))
            try:
                summed(np.arange(4.0) + 3 + k)
            except OverflowError as problem:
                wrong.append(problem)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {12.0}
    assert len(wrong) == 200


def test_c_functions() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.cbrt.restype, library.cbrt.argtypes = ctypes.c_double, [ctypes.c_double]
    cbrt = cr.foreign(library.cbrt)
    assert cr.jit(cbrt)(8.0) == 2.0
    assert abs(cr.grad(cbrt)(8.0) - 1 / 12) < 1e-12
    from scipy import LowLevelCallable

    low = LowLevelCallable(library.cbrt, signature="double (double)")
    assert cr.jit(cr.foreign(low))(8.0) == 2.0


def test_decorator() -> None:
    @cr.foreign
    def cube(x: float) -> float:
        """x³"""
        return x**3

    assert cube.__doc__ == "x³"
    assert abs(cr.grad(cube)(2.0) - 12) < 1e-9


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: cr.foreign(3), TypeError, "foreign takes a function, not 3"),
        (lambda: cr.jit(cr.foreign(lambda x: "a"))(1.0), TypeError, "of the result of <lambda> is a str"),
        (lambda: cr.jit(cr.foreign(lambda x: math.log(x - 1)))(2.0), TypeError, "raised ValueError: .*; give like="),
        (
            lambda: cr.jit(cr.foreign(lambda x: np.ones(int(x)), like=np.ones(2)))(3.0),
            ValueError,
            r"gave an array of shape \(3,\), not \(2,\)",
        ),
        (
            lambda: cr.grad(cr.foreign(lambda x, y: x * y, derivative=lambda x, y: (y,)))(1.0, 2.0),
            ValueError,
            "gives 1 parts for 2 arguments",
        ),
        (
            lambda: cr.jacrev(lambda z: np.real(cr.foreign(lambda z: z * z)(z)))(1j),
            TypeError,
            "takes real arguments",
        ),
    ],
)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
    assert cr.grad(sine)(0.3) == math.cos(0.3)
