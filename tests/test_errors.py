"""Bad input at every public name: the error is clear, names the user's line, and leaves everything whole."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp
import sympy

import chainrule as cr
import chainrule.cost as cost
import chainrule.numpy as jnp
import chainrule.scipy.stats as stats
from chainrule.graph.scope import current
from tests.unseen import unseen

X = np.array([1.0, 2.0, 3.0])
EDGES = np.arange(4.0)
MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
INTEGERS = np.array([1, 2, 3])
NAN = math.nan

Case = Callable[[], Any]


def square(x: Any) -> Any:
    return x**2


def total(x: Any) -> Any:
    return np.sum(x**2)


def product(a: Any, b: Any) -> Any:
    return a * b


def peak(x: Any, mu: Any, sigma: Any) -> Any:
    return np.exp(-(((x - mu) / sigma) ** 2) / 2) / sigma


def check_whole() -> None:
    """No trace is left open, and functions old and new work."""
    assert current() is None
    assert cr.jit(square)(3.0) == 9.0
    np.testing.assert_array_equal(cr.grad(total)(X), 2 * X)


def lines_of(function: Any) -> range:
    source, first = inspect.getsourcelines(function)
    return range(first, first + len(source))


def refused(case: Case, kind: type[Exception], words: str, lines: range | None = None) -> None:
    """``case`` raises, twice the same, with a line of this file (within ``lines``, where they are given)."""
    messages = []
    for _ in range(2):
        with pytest.raises(kind, match=words) as caught:
            case()
        check_whole()
        messages.append(str(caught.value))
    found = re.search(r"\(at \S*test_errors\.py:(\d+)", messages[0])
    assert found, messages[0]
    if lines is not None:
        assert int(found[1]) in lines, messages[0]
    assert len(messages[0]) < 700
    assert re.sub("0x[0-9a-f]+", "", messages[0]) == re.sub("0x[0-9a-f]+", "", messages[1])


# --- programs that cannot be traced -------------------------------------------------------------------------------


def with_if(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def with_while(x: Any) -> Any:
    while x < 10:
        x = x * 2
    return x


def with_range(n: Any) -> Any:
    s = 0.0
    for i in range(n.astype(int)):
        s += i
    return s


def with_and(x: Any) -> Any:
    return np.where(x > 0 and x < 1, x, 0.0)


def with_chain(x: Any) -> Any:
    return np.where(0 < x < 1, x, 0.0)


def with_max(x: Any) -> Any:
    return max(x, 2.0)


def with_iteration(x: Any) -> Any:
    return sum(v for v in x)


def with_math(x: Any) -> Any:
    return math.sin(x)


def with_int(x: Any) -> Any:
    return int(x) * 2.0


def with_list_index(x: Any) -> Any:
    return [1.0, 2.0, 3.0][x.astype(int)]


def with_array_index(x: Any) -> Any:
    return X[x.astype(int)]


def with_np_array(x: Any) -> Any:
    return np.array([x, 2 * x])


def with_assignment(x: Any) -> Any:
    a = np.zeros(3)
    a[0] = x
    return a


def with_augmented(x: Any) -> Any:
    a = np.zeros(())
    a += x
    return a


def with_out(x: Any) -> Any:
    return np.add(x, x, out=np.zeros(()))


def with_traced_size(x: Any) -> Any:
    return np.zeros(x.astype(int))


def with_traced_size_here(x: Any) -> Any:
    return jnp.zeros(x.astype(int))


def with_dictionary(x: Any) -> Any:
    return {x: 1.0}[x]


def with_format(x: Any) -> Any:
    print(f"{x:.3f}")
    return x


def with_item(x: Any) -> Any:
    return x.item()


def with_vectorize(x: Any) -> Any:
    return np.vectorize(math.sin)(x)


def with_pickle(x: Any) -> Any:
    return pickle.dumps(x)


def with_fft(x: Any) -> Any:
    return np.fft.fft(np.stack([x, x]))


def with_unique(x: Any) -> Any:
    return np.unique(x)


def with_nonzero(x: Any) -> Any:
    return np.nonzero(x)


def with_eigenvalues(x: Any) -> Any:
    return np.linalg.eig(x * np.eye(2))


def with_bessel(x: Any) -> Any:
    return sp.jv(1, x)


def with_scipy_routine(x: Any) -> Any:
    return sp.logsumexp(np.stack([x, x]))


def with_object(x: Any) -> Any:
    return x * np.array([None, 1])


def with_string(x: Any) -> Any:
    return x + "a"


def with_half(x: Any) -> Any:
    return x * np.ones(2, np.float16)


def with_long_double(x: Any) -> Any:
    return x * np.ones(2, np.longdouble)


def with_text_result(x: Any) -> Any:
    return "text"


def with_generator_result(x: Any) -> Any:
    return (x for _ in range(2))


def without_end(x: Any) -> Any:
    return cr.cond(x < 1, lambda: x, lambda: without_end(x / 2))


def with_global_random(x: Any) -> Any:
    return x**2 * np.random.normal()  # noqa: NPY002


def with_random_array(x: Any) -> Any:
    return np.sum(x**2 * np.random.normal(size=1000))  # noqa: NPY002


def with_python_random(x: Any) -> Any:
    return x**2 * random.random()


PROGRAMS: list[tuple[Callable[..., Any], type[Exception], str]] = [
    (unseen(with_if), TypeError, r"`if`.*np\.where.*cr\.cond"),
    (unseen(with_while), TypeError, r"`while`.*cr\.while_loop"),
    (unseen(with_range), TypeError, r"known integer.*fori_loop"),
    (unseen(with_and), TypeError, "`and`.*&"),
    (unseen(with_chain), TypeError, "`and`.*&"),
    (unseen(with_max), TypeError, r"np\.where"),
    (with_iteration, TypeError, "traced scalar"),
    (unseen(with_math), TypeError, r"np\.exp, not math\.exp"),
    (unseen(with_int), TypeError, "astype"),
    (unseen(with_list_index), TypeError, "take"),
    (unseen(with_array_index), TypeError, "take"),
    (unseen(with_np_array), TypeError, r"np\.stack"),
    (unseen(with_assignment), TypeError, r"chainrule\.numpy\.zeros"),
    (with_augmented, TypeError, "x = x \\+ y"),
    (with_out, TypeError, r"out="),
    (with_traced_size, TypeError, r"known sizes.*static argument"),
    (with_traced_size_here, TypeError, "known"),
    (with_dictionary, TypeError, "unhashable"),
    (with_format, TypeError, "no number yet"),
    (with_item, TypeError, "item"),
    (with_vectorize, TypeError, "concrete NumPy array"),
    (with_pickle, TypeError, "pickl"),
    (with_fft, TypeError, r"np\.fft\.fft"),
    (with_unique, TypeError, "unique"),
    (with_nonzero, TypeError, r"np\.where"),
    (with_eigenvalues, TypeError, "eig"),
    (with_bessel, TypeError, "jv"),
    (unseen(with_scipy_routine), TypeError, r"chainrule\.scipy"),
    (with_object, TypeError, "object"),
    (with_half, TypeError, "float16.*convert"),
    (with_long_double, TypeError, "convert"),
    (with_text_result, TypeError, "returns.*str"),
    (with_generator_result, TypeError, "returns.*generator"),
    (without_end, RecursionError, "calls itself"),
    (with_global_random, TypeError, "random numbers.*argument"),
    (with_random_array, TypeError, "random numbers.*argument"),
    (with_python_random, TypeError, "random numbers.*argument"),
]


@pytest.mark.parametrize(("program", "kind", "words"), PROGRAMS, ids=lambda v: getattr(v, "__name__", ""))
def test_programs_that_cannot_be_traced(program: Callable[..., Any], kind: type[Exception], words: str) -> None:
    for transform in (cr.jit, cr.grad, cr.jacfwd, cr.hessian, lambda f: lambda x: cr.vmap(f)(np.full(3, x))):
        refused(lambda t=transform: t(program)(0.5), kind, words, lines_of(program))


def test_python_adding_a_string() -> None:
    """Python's own words do for what Python itself refuses."""
    with pytest.raises(TypeError):
        cr.jit(with_string)(0.5)
    check_whole()


def test_functions_that_raise_keep_their_exception() -> None:
    class Unusual(Exception):
        pass

    calls = []

    def raising(x: Any) -> Any:
        calls.append(x)
        if len(calls) < 3:
            raise Unusual("as it is")
        return x**2

    for transform in (cr.jit, cr.grad):
        calls.clear()
        f = transform(raising)
        for _ in range(2):
            with pytest.raises(Unusual, match="as it is"):
                f(3.0)
            check_whole()
        assert f(3.0) == (9.0 if transform is cr.jit else 6.0)  # the same Function, once it can be traced


def test_exceptions_in_bodies_leave_no_trace_open() -> None:
    def raising(*_: Any) -> Any:
        raise KeyError("inside")

    for program in (
        lambda x: cr.cond(x > 0, raising, lambda: x),
        lambda x: cr.scan(raising, x, np.ones(3)),
        lambda x: cr.fori_loop(0, 3, raising, x),
        lambda x: cr.while_loop(raising, raising, x),
        lambda x: cr.map(raising, x * np.ones(3)),
        lambda x: cr.grad(raising)(x),
        lambda x: cr.vmap(raising)(x * np.ones(3)),
        lambda x: cr.jvp(raising, (x,), (x,)),
        lambda x: cr.vjp(raising, x),
    ):
        with pytest.raises(KeyError, match="inside"):
            cr.jit(program)(1.0)
        check_whole()


def test_the_same_function_works_with_good_input_after_bad() -> None:
    f = cr.jit(lambda x, y: np.dot(x, y) + np.sum(x))
    for _ in range(2):
        refused(lambda: f(X, np.ones(4)), ValueError, r"\[3\] and \[4\]")
        refused(lambda: f("no", X), TypeError, "str")
        refused(lambda: f(X), TypeError, "y")
        assert f(X, X) == 14 + 6
    count = cr.debug.compilations()
    assert f(X, X) == 20
    assert cr.debug.compilations() == count


def test_a_seeded_generator_is_no_surprise() -> None:
    def seeded(x: Any) -> Any:
        np.random.seed(3)  # noqa: NPY002
        return x * np.random.normal(size=100)  # noqa: NPY002

    np.random.seed(3)  # noqa: NPY002
    expected = np.random.normal(size=100)  # noqa: NPY002
    np.testing.assert_array_equal(cr.jit(seeded)(1.0), expected)


# --- arguments and captured values -------------------------------------------------------------------------------


def writes(x: Any) -> Any:
    x[0] = 1.0
    return x


def adds_in_place(x: Any) -> Any:
    x += 1.0
    return x


def writes_through(x: Any) -> Any:
    y = x[1:]
    y[0] = 0.0
    return x


def writes_outside(x: Any) -> Any:
    y = x.copy()
    return cr.fori_loop(0, 3, lambda i, s: s + store(y, s), 0.0)


def store(y: Any, s: Any) -> Any:
    y[0] = s
    return s


def test_arguments_are_not_changed() -> None:
    for program in (writes, adds_in_place, writes_through):
        x = X.copy()
        refused(lambda p=program, x=x: cr.jit(p)(x), ValueError, r"x = x\.copy\(\)", lines_of(program))
        np.testing.assert_array_equal(x, X)
    refused(lambda: cr.jit(writes_outside)(X), ValueError, "enclosing function", lines_of(store))


LEAKED: list[Any] = []


def leaks(x: Any) -> Any:
    LEAKED.append(x * 2)
    return x


def test_values_that_left_their_trace() -> None:
    LEAKED.clear()
    cr.jit(leaks)(1.0)
    (leaked,) = LEAKED
    for use in (
        lambda: leaked + 1,
        lambda: np.sin(leaked),
        lambda: bool(leaked),
        lambda: float(leaked),
        lambda: cr.jit(lambda x: x + leaked)(1.0),
        lambda: cr.jit(square)(leaked),
        lambda: cr.grad(lambda x: np.sum(x * leaked))(X),
        lambda: copy.deepcopy(leaked),
    ):
        refused(use, RuntimeError, "left its function.*made at .*test_errors.py", None)
    assert "test_errors.py" in repr(leaked)


STRANGE: list[tuple[Any, str]] = [
    ("text", "str"),
    (object(), "object"),
    ({1, 2}, "set"),
    (np.array([None, 1]), "object"),
    (np.array(["a", "b"]), "<U1"),
    (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
    (np.zeros(2, [("a", float)]), "array"),
    (X.astype(np.float16), "float16"),
    (X.astype(np.longdouble), "not supported"),
    (INTEGERS.astype(np.uint64), "uint64"),
    (MASKED, "mask would be lost"),
    ([X, "text"], "str"),
    ({"a": object()}, "object"),
]


@pytest.mark.parametrize(("value", "words"), STRANGE, ids=lambda v: type(v).__name__)
def test_arguments_of_strange_types(value: Any, words: str) -> None:
    identity = cr.jit(lambda x: x)
    refused(lambda: identity(value), TypeError, words)
    refused(lambda: cr.grad(total)(value), TypeError, words)
    refused(lambda: cr.vmap(square)(value), TypeError, words)
    refused(lambda: cr.jvp(square, (value,), (1.0,)), TypeError, words)
    refused(lambda: cr.vjp(square, value), TypeError, words)
    assert identity(2.0) == 2.0


def test_integers_beyond_64_bits() -> None:
    refused(lambda: cr.jit(square)(10**30), OverflowError, "64 bits.*float")
    refused(lambda: cr.jit(lambda n: n * 10**30)(2), OverflowError, "too large")
    assert cr.grad(square)(10**30) == 2e30


def test_empty_arrays() -> None:
    empty = np.zeros(0)
    assert cr.jit(np.sum)(empty) == 0
    assert cr.grad(total)(empty).shape == (0,)
    assert cr.hessian(total)(empty).shape == (0, 0)
    assert cr.jacfwd(square)(empty).shape == (0, 0)
    assert cr.jacrev(square)(empty).shape == (0, 0)
    assert cr.vmap(square)(empty).shape == (0,)
    assert cr.map(square, empty).shape == (0,)
    carry, ys = cr.scan(lambda c, x: (c + x, np.stack([x, x])), 1.0, empty)
    assert carry == 1.0
    assert ys.shape == (0, 2)
    carry, ys = cr.jit(lambda x: cr.scan(lambda c, v: (c + v, np.stack([v, v])), 1.0, x))(empty)
    assert carry == 1.0
    assert ys.shape == (0, 2)
    assert np.isnan(cr.jit(np.mean)(empty))
    refused(lambda: cr.jit(np.max)(empty), ValueError, "initial=")
    refused(lambda: cr.jit(lambda x: x[0])(empty), IndexError, "out of bounds")


def test_nan_goes_through() -> None:
    x = np.array([NAN, 1.0])
    value, gradient = cr.value_and_grad(lambda x: np.sum(np.sin(x)))(x)
    assert np.isnan(value)
    np.testing.assert_array_equal(gradient, [NAN, np.cos(1.0)])
    assert np.isnan(cr.grad(square)(NAN))
    assert np.isnan(cr.vmap(cr.grad(square))(x)).tolist() == [True, False]
    assert cr.jit(lambda x: cr.while_loop(lambda v: v < 10, lambda v: v * 2, x))(NAN) != 0


# --- every public name -------------------------------------------------------------------------------------------

TRANSFORMS = ("bind", "elementwise_grad", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "jit", "trace",
              "value_and_grad", "value_grad_hess", "vmap")  # fmt: skip
DERIVATIVES = ("elementwise_grad", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "value_and_grad",
               "value_grad_hess")  # fmt: skip
SCALARS = ("grad", "value_and_grad", "value_grad_hess")

two = lambda a, b: np.sum(a * b)  # noqa: E731

S, T = sympy.symbols("s t")

CASES: dict[str, list[tuple[Case, type[Exception], str]]] = {
    "Formula": [
        (lambda: cr.formula(lambda p: p[0]), IndexError, "p as numbers: say p=3"),
        (lambda: cr.formula(lambda p: sum(p)), TypeError, "p as numbers: say p=3"),
    ],
    "Function": [
        (lambda: cr.jit(square).source(), ValueError, "not been called"),
        (lambda: cr.jit(square).graph, ValueError, "not been called"),
        (lambda: called(cr.jit(square)).source("cuda"), ValueError, "'llvm', 'c' or 'ir'"),
        (lambda: cr.jit(product)(1.0), TypeError, "'b'"),
        (lambda: cr.jit(product)(1.0, 2.0, 3.0), TypeError, "too many"),
        (lambda: cr.jit(product)(1.0, c=2.0), TypeError, "'b'"),
    ],
    "associative_scan": [
        (lambda: cr.associative_scan(3, X), TypeError, "takes a function"),
        (lambda: cr.associative_scan(product, 1.0), ValueError, "axis 0"),
        (lambda: cr.associative_scan(product, X, axis=1), ValueError, "axis 1"),
        (lambda: cr.associative_scan(product, X, axis=1.5), TypeError, "an integer"),
        (lambda: cr.associative_scan(product, (X, np.ones(4))), ValueError, "one length"),
        (lambda: cr.associative_scan(lambda a, b: (a, b), X), TypeError, "structure"),
        (lambda: cr.associative_scan(lambda a, b: np.sum(a), X), TypeError, "slices"),
        (lambda: cr.jit(lambda x: cr.associative_scan(lambda a, b: np.sum(a), x))(X), TypeError, "slices"),
        (lambda: cr.jit(lambda x: cr.associative_scan(product, x))(1.0), ValueError, "axis 0"),
    ],
    "bind": [
        (lambda: cr.bind(product, c=X), TypeError, "no parameter 'c'"),
        (lambda: cr.bind(product, b=X)(1.0, 2.0), TypeError, "too many"),
        (lambda: cr.bind(product, b=X)(), TypeError, "'a'"),
        (lambda: cr.bind(product, b=np.array(["a"]))(1.0), TypeError, "<U1|str"),
        (lambda: cr.grad(cr.bind(two, b=X))(INTEGERS), TypeError, "astype"),
    ],
    "check_grads": [
        (lambda: cr.check_grads(3, (1.0,)), TypeError, "takes a function"),
        (lambda: cr.check_grads(square, (1.0,), order=0), ValueError, "order"),
        (lambda: cr.check_grads(square, (1.0,), modes=("up",)), ValueError, "'fwd' and 'rev'"),
        (lambda: cr.check_grads(square, 1.0), TypeError, "tuple"),
        (lambda: cr.check_grads(square, (INTEGERS,)), TypeError, "no float"),
    ],
    "checkpoint": [
        (lambda: cr.checkpoint(3), TypeError, "takes a function"),
        (lambda: cr.checkpoint(square, policy=0), TypeError, "greater than 0"),
        (lambda: cr.checkpoint(square, policy="all"), TypeError, "how many states"),
        (lambda: cr.grad(cr.checkpoint(product))(1.0), TypeError, "'b'"),
        (lambda: cr.grad(cr.checkpoint(square))(1.0, 2.0), TypeError, "too many"),
        (lambda: cr.grad(cr.checkpoint(square))(X), TypeError, "scalar result"),
    ],
    "compare": [
        (lambda: cr.compare(3, 1.0), TypeError, "callable"),
        (lambda: cr.compare(square), TypeError, "'x'"),
        (lambda: cr.compare(square, "text"), TypeError, "functions of numbers"),
        (lambda: cr.compare(square, X), TypeError, "functions of numbers"),
        (lambda: cr.compare(square, 1.0, wrt="q"), TypeError, "no|without"),
        (lambda: cr.compare(lambda x: None, 1.0), TypeError, "one number"),
        (lambda: cr.compare(lambda x: (x, x), 1.0), TypeError, "one number"),
        (lambda: cr.compare(lambda x: x * X, 1.0), TypeError, "one number"),
    ],
    "cond": [
        (lambda: cr.cond(X > 1, square, square, 1.0), TypeError, r"one truth value.*np\.where"),
        (lambda: cr.jit(lambda x: cr.cond(x > 1, square, square, x))(X), TypeError, r"one truth value.*np\.where"),
        (lambda: cr.cond(True, 1.0, 2.0), TypeError, "functions"),
        (lambda: cr.jit(lambda x: cr.cond(x > 1, 1.0, 2.0))(1.0), TypeError, "functions"),
        (lambda: cr.jit(lambda x: cr.cond(x > 1, lambda: x, lambda: (x, x)))(1.0), TypeError, "structures"),
        (lambda: cr.jit(lambda x: cr.cond(x > 1, lambda: x, lambda: X))(1.0), TypeError, "different types"),
    ],
    "covariance": [
        (lambda: cr.covariance(total, "text"), TypeError, "numbers and arrays"),
        (lambda: cr.covariance(total, np.ones((2, 2))), ValueError, "a vector"),
        (lambda: cr.covariance(lambda p: np.sum(p) * 0, X), ValueError, "singular"),
        (lambda: cr.covariance(lambda p: np.sum(p**2) * NAN, X), ValueError, "not finite"),
        (lambda: cr.covariance(total, X, errordef=-1), ValueError, "errordef"),
        (lambda: cr.covariance(total, X, errordef="text"), ValueError, "errordef"),
        (lambda: cr.covariance(total, X, weights=X), ValueError, "weights"),
        (lambda: cr.covariance(product, X), TypeError, "'b'"),
    ],
    "custom_jvp": [
        (lambda: cr.custom_jvp(3), TypeError, "takes a function"),
        (lambda: cr.custom_jvp(square, nondiff_argnums=-1), TypeError, "positions of arguments"),
        (lambda: cr.custom_jvp(square).defjvp(3), TypeError, "defjvp takes a function"),
        (lambda: cr.jit(cr.custom_jvp(square))(1.0), TypeError, "without a rule"),
    ],
    "custom_vjp": [
        (lambda: cr.custom_vjp(3), TypeError, "takes a function"),
        (lambda: cr.custom_vjp(square).defvjp(square, None), TypeError, "two functions"),
        (lambda: cr.grad(cr.custom_vjp(square))(1.0), TypeError, "without a rule"),
    ],
    "debug": [
        (lambda: cr.debug.print(3), TypeError, "a format first"),
        (lambda: cr.debug.print("{x}"), TypeError, "value for {x}"),
        (lambda: cr.debug.print("{} {}", 1), TypeError, "value for {1}"),
        (lambda: cr.jit(lambda x: (cr.debug.print("{y}", x=x), x)[1])(1.0), TypeError, "value for {y}"),
    ],
    "disable_jit": [],
    "elementwise_grad": [
        (lambda: cr.elementwise_grad(np.sum)(X), TypeError, "element by element"),
        (lambda: cr.elementwise_grad(lambda x: x[:2])(X), TypeError, "element by element"),
        (lambda: cr.elementwise_grad(lambda x: (x, x))(X), TypeError, "one result"),
    ],
    "explain": [
        (lambda: cr.explain(3, 1.0), TypeError, "callable"),
        (lambda: cr.explain(square), TypeError, "'x'"),
        (lambda: cr.explain(square, 1.0, 2.0), TypeError, "too many"),
        (lambda: cr.explain(square, "text"), TypeError, "str"),
        (lambda: cr.explain(square, X), TypeError, "one number"),
        (lambda: cr.explain(lambda x: None, 1.0), TypeError, "one number"),
        (lambda: cr.explain(square, 1.0, wrt="q"), TypeError, "without an argument"),
    ],
    "find_nan": [
        (lambda: cr.find_nan(3), TypeError, "takes a function"),
        (lambda: cr.find_nan(square), TypeError, "'x'"),
        (lambda: cr.find_nan(square, "text"), TypeError, "str"),
    ],
    "fixed_point": [
        (lambda: cr.fixed_point(3, 1.0), TypeError, "takes a function"),
        (lambda: cr.fixed_point(square, 1.0, tol=0), ValueError, "positive"),
        (lambda: cr.fixed_point(lambda x: (x, x), 1.0), TypeError, "structure"),
        (lambda: cr.fixed_point(lambda x: x * X, 1.0), TypeError, "shape"),
        (lambda: cr.fixed_point(square, 1j), TypeError, "real numbers"),
    ],
    "foreign": [
        (lambda: cr.foreign(3), TypeError, "takes a function"),
        (lambda: cr.foreign(square, derivative=3), TypeError, "takes a function"),
        (lambda: cr.jit(cr.foreign(lambda x: "text"))(1.0), TypeError, "str"),
        (lambda: cr.jit(cr.foreign(lambda x: 1 / (float(x) - 1)))(2.0), TypeError, "give like="),
    ],
    "formula": [
        (lambda: cr.formula(3), TypeError, "takes a function"),
        (lambda: cr.formula(lambda: 3), TypeError, "no arguments"),
        (lambda: cr.formula(square, wrt="q"), TypeError, "no such argument"),
        (lambda: cr.formula(square, wrt=""), ValueError, "no argument"),
        (lambda: cr.formula(square, order=1.5), ValueError, "Hessian"),
        (lambda: cr.formula(square, order=-1), ValueError, "Hessian"),
        (lambda: cr.formula(square, mode="up"), ValueError, "forward"),
        (lambda: cr.formula(square, names=3), TypeError, "names maps"),
        (lambda: cr.formula(square, budget="long"), TypeError, "seconds"),
        (lambda: cr.formula(square, q=3), TypeError, "no such argument"),
        (lambda: cr.formula(square, x="2n"), ValueError, "name"),
        (lambda: cr.formula(square, x=-1), ValueError, "negative"),
        (lambda: cr.formula(square, x=2.5), TypeError, "no shape"),
        (lambda: cr.formula(lambda x: "text"), TypeError, "str"),
        (lambda: cr.formula(np.argmax, a=3), TypeError, "no formula"),
        (lambda: cr.formula(lambda a: np.linalg.eig(a), a=(2, 2)), TypeError, "eig"),
    ],
    "fori_loop": [
        (lambda: cr.fori_loop(0, 2.5, product, 1.0), TypeError, "integer"),
        (lambda: cr.fori_loop(0, NAN, product, 1.0), TypeError, "integer"),
        (lambda: cr.jit(lambda x: cr.fori_loop(0, NAN, product, x))(1.0), TypeError, "integer"),
        (lambda: cr.jit(lambda x: cr.fori_loop(0, x, product, x))(1.0), TypeError, "integer"),
        (lambda: cr.fori_loop(0, 3, 1.0, 1.0), TypeError, "functions"),
        (lambda: cr.jit(lambda x: cr.fori_loop(0, 3, lambda i, v: (v, v), x))(1.0), TypeError, "structure"),
        (lambda: cr.jit(lambda x: cr.fori_loop(0, 3, lambda i, v: v * X, x))(1.0), TypeError, "shape of a carry"),
    ],
    "get_threads": [],
    "grad": [
        (lambda: cr.grad(lambda x: x * 1j)(1.0), TypeError, "real.*holomorphic"),
        (lambda: cr.grad(lambda x: None)(1.0), TypeError, "one scalar result"),
        (lambda: cr.grad(lambda x: 3)(1.0), TypeError, "int64"),
        (lambda: cr.grad(lambda: 1.0)(), TypeError, "argnums=0"),
        (lambda: cr.grad(square, has_aux=True)(1.0), TypeError, "has_aux"),
    ],
    "hessian": [
        (lambda: cr.hessian(lambda z: np.abs(z) ** 2)(1j), TypeError, "real"),
        (lambda: cr.hessian(square)(X * 1j), TypeError, "real arguments"),
        (lambda: cr.hessian(np.argmax)(X), TypeError, "int64"),
        (lambda: cr.hessian(lambda x: (x, np.argmax(x)))(X), TypeError, "int64"),
    ],
    "hvp": [
        (lambda: cr.hvp(3, (X,), (X,)), TypeError, "takes a function"),
        (lambda: cr.hvp(square, (X,), (X,)), TypeError, "scalar result"),
        (lambda: cr.hvp(total, X, X), TypeError, "tuple"),
        (lambda: cr.hvp(total, (X,), (np.ones(2),)), ValueError, r"\[2\]"),
    ],
    "jacfwd": [
        (lambda: cr.jacfwd(np.argmax)(X), TypeError, "int64"),
        (lambda: cr.jacfwd(square)(X * 1j), TypeError, "real arguments"),
    ],
    "jacobian": [(lambda: cr.jacobian(np.argmax)(X), TypeError, "int64")],
    "jacrev": [
        (lambda: cr.jacrev(np.argmax)(X), TypeError, "int64"),
        (lambda: cr.jacrev(lambda x: x * 1j)(X), TypeError, "real results"),
    ],
    "jit": [
        (lambda: cr.jit(product, static_argnums=1)(1.0, [1]), TypeError, "hashable"),
        (lambda: cr.jit(product, static_argnums=1)(1.0, X), TypeError, "hashable"),
        (lambda: cr.jit(product, static_argnums=5), ValueError, "no such argument"),
        (lambda: cr.jit(product, static_argnames="q"), ValueError, "no such argument"),
        (lambda: cr.jit(product, static_argnums=1.5), TypeError, "integers"),
        (lambda: cr.jit(product, static_argnames=3), TypeError, "names"),
    ],
    "jvp": [
        (lambda: cr.jvp(3, (X,), (X,)), TypeError, "takes a function"),
        (lambda: cr.jvp(square, (X,), (np.ones(2),)), ValueError, "shape"),
        (lambda: cr.jvp(square, (X,), (X, X)), TypeError, "tangents"),
        (lambda: cr.jvp(square, X, X), TypeError, "tuple"),
        (lambda: cr.jvp(square, (X,), (X * 1j,)), TypeError, "complex"),
        (lambda: cr.jvp(square, (INTEGERS,), (INTEGERS,)), TypeError, "astype"),
        (lambda: cr.jvp(product, (X,), (X,)), TypeError, "'b'"),
        (lambda: cr.jvp(square, (1.0,), (1.0,), has_aux=True), TypeError, "has_aux"),
    ],
    "lambdify": [
        (lambda: cr.lambdify(3, S), TypeError, "symbols"),
        (lambda: cr.lambdify(S, "s + 1"), TypeError, "sympify"),
        (lambda: cr.lambdify(S, None), TypeError, "NoneType"),
        (lambda: cr.lambdify(S, S + T), ValueError, "contains t"),
        (lambda: cr.lambdify((S, T), S * T)(1.0), TypeError, "'t'"),
        (lambda: cr.lambdify(S, S**2)(X, X), TypeError, "too many"),
        (lambda: cr.lambdify(S, S**2)("text"), TypeError, "str"),
        (lambda: cr.lambdify(S, S, printer="C"), TypeError, "printer"),
        (lambda: cr.grad(cr.lambdify(S, S**2))(X), TypeError, "scalar result"),
        (lambda: cr.lambdify(S, sympy.besselj(1, S))(1.0), ValueError, "modules={'besselj'"),
        (lambda: cr.lambdify(S, sympy.Function("g")(S))(1.0), ValueError, "modules={'g'"),
    ],
    "lax": [],
    "linearize": [
        (lambda: cr.linearize(3, X), TypeError, "takes a function"),
        (lambda: cr.linearize(product, X), TypeError, "'b'"),
        (lambda: cr.linearize(square, X)[1](np.ones(2)), ValueError, "shape"),
        (lambda: cr.linearize(square, X)[1](X, X), TypeError, "tangents"),
    ],
    "map": [
        (lambda: cr.map(3, X), TypeError, "functions"),
        (lambda: cr.map(square, 1.0), ValueError, "first axes"),
        (lambda: cr.jit(lambda x: cr.map(square, x))(1.0), TypeError, "no axis"),
        (lambda: cr.jit(lambda x: cr.map(square, (x, np.ones(4))))(X), ValueError, "length"),
    ],
    "numpy": [
        (lambda: cr.jit(lambda x: jnp.fft.fft(x))(X), AttributeError, ""),
        (lambda: cr.jit(lambda x: jnp.unique(x))(X), TypeError, "unique"),
        (lambda: cr.jit(lambda x: jnp.zeros(-1) + x)(1.0), ValueError, "negative"),
        (lambda: cr.jit(lambda x: jnp.zeros(NAN) + x)(1.0), TypeError, "whole number"),
        (lambda: cr.jit(lambda x: jnp.zeros((2, -3)) + x)(1.0), ValueError, "negative"),
        (lambda: cr.jit(lambda x: jnp.ones("3") + x)(1.0), TypeError, "whole number"),
        (lambda: cr.jit(lambda x: jnp.zeros(3, dtype="float16") + x)(1.0), TypeError, "float16"),
        (lambda: cr.jit(lambda x: x + np.ones(4))(X), ValueError, "broadcast"),
        (lambda: cr.jit(lambda x: np.ones((2, 4)) @ x)(X), ValueError, "match"),
        (lambda: cr.jit(lambda x: x.reshape(5))(X), ValueError, "reshape"),
        (lambda: cr.jit(lambda x: x[7])(X), IndexError, "out of bounds"),
        (lambda: cr.jit(lambda x: x[0, 0])(X), IndexError, "2 indices"),
        (lambda: cr.jit(lambda x: x[x > 1])(X), IndexError, r"np\.where"),
        (lambda: cr.jit(lambda x: np.sum(x, axis=5))(X), ValueError, "axis 5"),
        (lambda: cr.jit(lambda x: np.concatenate([x, np.ones((2, 2))]))(X), ValueError, "outside of axis 0"),
        (lambda: cr.jit(lambda x: np.stack([x, np.ones(2)]))(X), ValueError, "same shape"),
        (lambda: cr.jit(lambda x: np.einsum("ij,j", x, x))(X), ValueError, "einsum"),
        (lambda: cr.jit(lambda x: x.sort())(X), AttributeError, r"np\.sort"),
        (lambda: cr.jit(lambda x: ~x)(X), TypeError, "real numbers"),
        (lambda: cr.jit(lambda x: x * MASKED)(X), TypeError, "mask would be lost"),
        (lambda: cr.jit(lambda a: np.linalg.svd(a))(np.eye(2)), TypeError, "svd"),
        (lambda: cr.jit(lambda a: jnp.linalg.qr(a))(np.eye(2)), TypeError, "qr"),
        (lambda: cr.jit(np.linalg.inv)(np.ones((2, 3))), ValueError, "square"),
        (lambda: cr.jit(np.linalg.det)(1.0), ValueError, "square"),
        (lambda: cr.jit(np.linalg.cholesky)(X), ValueError, "square"),
        (lambda: cr.jit(lambda a: np.linalg.solve(a, X))(np.eye(2)), ValueError, "match"),
        (lambda: cr.jit(lambda a: np.linalg.norm(a, ord=7))(np.eye(2)), TypeError, "order 7"),
        (lambda: cr.jit(lambda a: np.linalg.matrix_power(a, 2.5))(np.eye(2)), TypeError, "integer"),
    ],
    "propagate": [
        (lambda: cr.propagate(3, X, np.eye(3)), TypeError, "function|callable"),
        (lambda: cr.propagate(square, X, np.eye(2)), ValueError, "fit together"),
        (lambda: cr.propagate(square, X, np.ones((3, 2))), ValueError, "fit together"),
        (lambda: cr.propagate(square, "text", 1.0), TypeError, "numbers and arrays"),
        (lambda: cr.propagate(square, X, "text"), TypeError, "numbers and arrays"),
        (lambda: cr.propagate(product, X, np.eye(3)), TypeError, "'b'"),
        (lambda: cr.propagate(square, X, np.eye(3), X), TypeError, "pairs"),
    ],
    "root": [
        (lambda: cr.root(3, 1.0), TypeError, "takes a function"),
        (lambda: cr.root(square, 1.0, max_steps=0), ValueError, "positive"),
        (lambda: cr.root(lambda x: (x, x), 1.0), TypeError, "structure"),
        (lambda: cr.root(lambda x: x * X, 1.0), TypeError, "shape"),
        (lambda: cr.root(square, 1j), TypeError, "real numbers"),
        (lambda: cr.root(product, 1.0), TypeError, "'b'"),
        (lambda: cr.root(square, 1.0, tol="small"), ValueError, "positive"),
        (lambda: cr.root(square, "text"), TypeError, "str"),
    ],
    "scan": [
        (lambda: cr.scan(3, 1.0, X), TypeError, "functions"),
        (lambda: cr.scan(product, 1.0, X), TypeError, "pair"),
        (lambda: cr.jit(lambda x: cr.scan(product, x, X))(1.0), TypeError, "pair"),
        (lambda: cr.scan(pair, 1.0, None, length=-1), ValueError, "negative"),
        (lambda: cr.scan(pair, 1.0, None, length=NAN), TypeError, "whole number"),
        (lambda: cr.scan(pair, 1.0), ValueError, "length="),
        (lambda: cr.scan(pair, 1.0, (X, np.ones(4))), ValueError, "one length"),
        (lambda: cr.jit(lambda x: cr.scan(pair, x, None, length=-1))(1.0), ValueError, "negative"),
        (lambda: cr.jit(lambda x: cr.scan(pair, x, None, length=NAN))(1.0), TypeError, "whole number"),
        (lambda: cr.jit(lambda x: cr.scan(pair, x))(1.0), TypeError, "length="),
        (lambda: cr.jit(lambda x: cr.scan(pair, x, (X, np.ones(4))))(1.0), ValueError, "length"),
        (lambda: cr.jit(lambda x: cr.scan(pair, x, 1.0))(1.0), TypeError, "no axis"),
        (lambda: cr.jit(lambda x: cr.scan(lambda c, _: ((c, c), None), x, X))(1.0), TypeError, "structure"),
        (lambda: cr.jit(lambda x: cr.scan(lambda c, v: (X * c, None), x, X))(1.0), TypeError, "shape of a carry"),
    ],
    "scipy": [
        (lambda: cr.jit(lambda x: sp.jv(0, x))(1.0), TypeError, "jv"),
        (lambda: cr.jit(lambda x: stats.gamma.pdf(x))(1.0), TypeError, "misses a"),
        (lambda: cr.jit(lambda x: stats.norm.pdf(x, 0.0, 1.0, 2.0))(1.0), TypeError, "other arguments"),
        (lambda: cr.jit(lambda x: stats.norm.pdf(x, q=2.0))(1.0), TypeError, "twice"),
        (lambda: cr.jit(lambda x: stats.norm.pdf(x, width=2.0))(1.0), TypeError, "other arguments"),
        (lambda: cr.jit(lambda x: stats.norm.pdf(x, X))(np.ones(2)), ValueError, "broadcast"),
    ],
    "set_threads": [
        (lambda: cr.set_threads(0), ValueError, "between 1 and"),
        (lambda: cr.set_threads(-3), ValueError, "between 1 and"),
        (lambda: cr.set_threads(NAN), TypeError, "integer"),
        (lambda: cr.set_threads("4"), TypeError, "integer"),
    ],
    "show": [
        (lambda: cr.show(3), TypeError, "takes a function"),
        (lambda: cr.show(square, "text"), TypeError, "str"),
        (lambda: cr.show(square, q=1), TypeError, "'x'"),
        (lambda: cr.show(product, cr.spec()), TypeError, "'b'"),
    ],
    "spec": [
        (lambda: cr.spec(-1), ValueError, "negative"),
        (lambda: cr.spec(NAN), TypeError, "number"),
        (lambda: cr.spec(2.5), TypeError, "number"),
        (lambda: cr.spec("2n"), ValueError, "name"),
        (lambda: cr.spec(3, dtype="float16"), TypeError, "float16"),
        (lambda: cr.spec(3, dtype="nonsense"), TypeError, "nonsense"),
    ],
    "stop_gradient": [(lambda: cr.jit(lambda x: cr.stop_gradient(x)[0])(1.0), IndexError, "0 axes")],
    "switch": [
        (lambda: cr.switch(0, []), ValueError, "branch"),
        (lambda: cr.switch(1.5, [square, square], 1.0), TypeError, "integer"),
        (lambda: cr.switch(NAN, [square, square], 1.0), TypeError, "integer"),
        (lambda: cr.switch(0, [1.0]), TypeError, "functions"),
        (lambda: cr.jit(lambda i: cr.switch(i, [square, square], 1.0))(1.0), TypeError, "integer"),
        (lambda: cr.jit(lambda i: cr.switch(i, [square, square], 1.0))(INTEGERS), TypeError, "integer"),
    ],
    "trace": [
        (lambda: cr.trace(square, "text"), TypeError, "str"),
        (lambda: cr.trace(product, cr.spec("n"), cr.spec("m")), ValueError, "same name"),
        (lambda: cr.trace(product, cr.spec("n")), TypeError, "'b'"),
    ],
    "value_and_grad": [(lambda: cr.value_and_grad(square, has_aux=True)(1.0), TypeError, "has_aux")],
    "value_grad_hess": [(lambda: cr.value_grad_hess(square, has_aux=True)(1.0), TypeError, "has_aux")],
    "vjp": [
        (lambda: cr.vjp(3, X), TypeError, "takes a function"),
        (lambda: cr.vjp(product, X), TypeError, "'b'"),
        (lambda: cr.vjp(square, X)[1](np.ones(2)), ValueError, "shape"),
        (lambda: cr.vjp(square, X)[1]((X, X)), TypeError, "structure"),
        (lambda: cr.vjp(square, X)[1]("text"), TypeError, "str"),
        (lambda: cr.vjp(square, INTEGERS)[1](X), TypeError, "astype"),
        (lambda: cr.vjp(square, 1.0, has_aux=True), TypeError, "has_aux"),
    ],
    "vmap": [
        (lambda: cr.vmap(square, in_axes=None)(X), ValueError, "in_axes"),
        (lambda: cr.vmap(square)(1.0), ValueError, "no axis 0 in x"),
        (lambda: cr.vmap(square, in_axes="a")(X), TypeError, "in_axes"),
        (lambda: cr.vmap(square, in_axes=1.5)(X), TypeError, "in_axes"),
        (lambda: cr.vmap(square, in_axes=(0, 0))(X), ValueError, "2 entries for 1"),
        (lambda: cr.vmap(product)(X, np.ones(4)), ValueError, "different sizes, 3 and 4"),
        (lambda: cr.vmap(square, out_axes=(0, 0))(X), TypeError, "out_axes"),
        (lambda: cr.vmap(square, out_axes=3)(X), ValueError, "out_axes=3"),
        (lambda: cr.vmap(square, out_axes=None)(X), ValueError, "out_axes"),
    ],
    "while_loop": [
        (lambda: cr.while_loop(True, square, 1.0), TypeError, "functions"),
        (lambda: cr.jit(lambda x: cr.while_loop(lambda v: v < X, square, x))(1.0), TypeError, "one truth value"),
        (lambda: cr.jit(lambda x: cr.while_loop(lambda v: v < 1, lambda v: (v, v), x))(1.0), TypeError, "structure"),
        (lambda: cr.jit(lambda x: cr.while_loop(lambda v: v < 1, lambda v: v * X, x))(1.0), TypeError, "shape"),
    ],
}  # fmt: skip

for name in TRANSFORMS:
    CASES.setdefault(name, []).append((lambda t=name: getattr(cr, t)(3.0), TypeError, "takes a function, not 3.0"))
for name in DERIVATIVES:
    CASES[name] += [
        (lambda t=name: getattr(cr, t)(two, argnums=2)(X, X), TypeError, "argnums=2.*2 positional"),
        (lambda t=name: getattr(cr, t)(two, argnums="a")(X, X), TypeError, "integer.*wrt"),
        (lambda t=name: getattr(cr, t)(two, argnums=(0, 0.5))(X, X), TypeError, "integer"),
        (lambda t=name: getattr(cr, t)(two, argnums=(0, 0))(X, X), ValueError, "twice"),
        (lambda t=name: getattr(cr, t)(two, argnums=())(X, X), ValueError, "no argument"),
        (lambda t=name: getattr(cr, t)(two, wrt="c")(X, X), TypeError, r"two|lambda.*\(a, b\)"),
        (lambda t=name: getattr(cr, t)(two, wrt="")(X, X), ValueError, "no argument"),
        (lambda t=name: getattr(cr, t)(two, 0, wrt="a")(X, X), TypeError, "not both"),
        (lambda t=name: getattr(cr, t)(two)(INTEGERS, X), TypeError, r"a.astype\(float\)"),
        (lambda t=name: getattr(cr, t)(two)(X > 1, X), TypeError, "astype"),
        (lambda t=name: getattr(cr, t)(two)(X, np.ones(4)), ValueError, "broadcast"),
        (lambda t=name: getattr(cr, t)(two)(X), TypeError, "'b'"),
        (lambda t=name: getattr(cr, t)(lambda x: "text")(X), TypeError, "str"),
    ]
for name in SCALARS:
    CASES[name] += [
        (lambda t=name: getattr(cr, t)(square)(X), TypeError, r"scalar result, but square returned.*\[3\].*jacobian"),
        (lambda t=name: getattr(cr, t)(np.argmax)(X), TypeError, "int64"),
        (lambda t=name: getattr(cr, t)(lambda x: (x, x))(1.0), TypeError, "returned 2 values"),
    ]


def called(f: Any) -> Any:
    f(1.0)
    return f


def pair(c: Any, x: Any) -> Any:
    return c, x


def test_every_public_name_has_its_cases() -> None:
    assert set(CASES) == set(cr.__all__)


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [pytest.param(*case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)],
)
def test_public_names(case: Case, kind: type[Exception], words: str) -> None:
    if kind is AttributeError and not words:
        with pytest.raises(AttributeError, match="fft"):
            case()
        return
    refused(case, kind, words)


COSTS: list[tuple[Case, type[Exception], str]] = [
    (lambda: cost.UnbinnedNLL(X, 3), TypeError, "names of its parameters"),
    (lambda: cost.UnbinnedNLL(X, lambda x, *p: x), TypeError, r"name=\[…\]"),
    (lambda: cost.UnbinnedNLL(X, peak, name=["a"]), ValueError, "1 names"),
    (lambda: cost.UnbinnedNLL(X, peak)(1.0), TypeError, "takes 2 numbers, not 1"),
    (lambda: cost.UnbinnedNLL(X, peak)(1.0, 2.0, 3.0), TypeError, "takes 2 numbers, not 3"),
    (lambda: cost.UnbinnedNLL(X, lambda x, mu: np.sum(x * mu))(1.0), ValueError, "shape"),
    (lambda: cost.ExtendedUnbinnedNLL(X, lambda x, a: x * a)(1.0), TypeError, "pair"),
    (lambda: cost.LeastSquares(X, np.ones(2), 1.0, peak), ValueError, "fit together"),
    (lambda: cost.LeastSquares(X, X, 1.0, peak, loss="cubic"), ValueError, "soft_l1"),
    (lambda: cost.LeastSquares(X, X, 1.0, lambda x, a: np.ones(2) * a)(1.0), ValueError, "shape"),
    (lambda: cost.BinnedNLL(X, X, peak), ValueError, "edges"),
    (lambda: cost.ExtendedBinnedNLL(X, X, peak), ValueError, "edges"),
    (lambda: cost.BinnedNLL(X, EDGES, peak, use_pdf="exact"), ValueError, "approximate"),
    (lambda: cost.NormalConstraint("a", [1, 2], [1, 1]), ValueError, "as many values"),
    (lambda: cost.NormalConstraint(["a", "a"], [1, 2], [1, 1]), ValueError, "twice"),
    (lambda: cost.NormalConstraint(["a", "b"], [1, 2], np.ones((3, 3))), ValueError, "2×2"),
    (lambda: cost.CostSum(3, "a"), TypeError, "added"),
    (lambda: cost.UnbinnedNLL(X, peak) + "a", TypeError, "added"),
    (lambda: cost.normalised(peak), ValueError, "over="),
    (lambda: cost.normalised(peak, over=(1, 0)), ValueError, "interval"),
    (lambda: cost.normalised(peak, over=(0, 1), panels=0), ValueError, "panels"),
]


@pytest.mark.parametrize(("case", "kind", "words"), [pytest.param(*c, id=str(i)) for i, c in enumerate(COSTS)])
def test_costs(case: Case, kind: type[Exception], words: str) -> None:
    refused(case, kind, words)


def test_disable_jit_ends_with_its_block() -> None:
    def blocks() -> None:
        with cr.disable_jit():
            assert cr.jit(square)(3.0) == 9.0
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            blocks()
        f = cr.jit(lambda x: x * 1.25 + 17)
        count = cr.debug.compilations()
        assert f(4.0) == 22.0
        assert cr.debug.compilations() == count + 1 or count > 0


def test_errors_under_the_interpreter() -> None:
    with cr.disable_jit():
        refused(lambda: cr.grad(square)(X), TypeError, "scalar result")
        refused(lambda: cr.jit(unseen(with_if))(1.0), TypeError, r"cr\.cond", lines_of(with_if))
