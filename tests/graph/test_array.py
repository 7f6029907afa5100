"""Operators, ufuncs, protocols and in-place changes of traced arrays."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

from chainrule.graph.array import Array
from chainrule.graph.evaluate import evaluate
from chainrule.graph.trace import spec, trace
from tests.graph.traced import ARRAYS, agree, expression_agrees, table
from tests.unseen import unseen

OPERATORS = table(
    """
    v + w
    v - 1
    2 - v
    v * n
    v / n
    n / 4
    n / 2.5
    v // 0.7
    n // 3
    5 // k
    v % 0.3
    -7 % k
    n % 3
    divmod(v, 0.7)
    divmod(3, v)
    abs(v)**1.5
    v**2
    v**-1
    2**v
    n**2
    n**0.5
    k**n[0]
    -v
    +v
    abs(n)
    ~n
    ~b
    n & 3
    6 | n
    n ^ k
    b & (v > 0)
    True ^ b
    n << 1
    n >> 1
    3 << k
    v < w
    v <= 0
    v > n
    v >= w
    n == 3
    n != k
    c == c.conj()
    b + b
    b * b
    b * v
    b + 1
    b / 2
    r * 2
    r + 1j
    r * v
    r * np.float32(2)
    r * np.float64(2)
    np.float64(2) * r
    np.int64(3) * n
    np.bool_(True) & (n > 1)
    c.real * c.imag + c.conj()
    abs(c)
    c * 1j - c / c
    c**2
    x + x[0] + x[:, :1]
    x * [1.0, 2, 3, 4, 5]
    (1, 2, 3, 4, 5) + x
    np.arange(5) * x
    x - np.array(2.0)
    np.eye(4, 5) - x
    a + a
    a * v
    q * v
    v[0] + v[1]
    v.real + v.imag
    v.T
    v.conj()
    """
)

UFUNCS = table(
    """
    np.add(v, w) + np.subtract(v, 1) * np.multiply(2, v) / np.divide(v, w)
    np.true_divide(n, 2) + np.floor_divide(n, 2) + np.remainder(n, 3) + np.fmod(n, 3) + np.mod(v, 2)
    np.negative(v) + np.positive(v) + np.absolute(v) + np.fabs(n)
    np.power(u, v) + np.float_power(n, 2) + np.square(v) + np.sqrt(u) + np.cbrt(v)
    np.reciprocal(v)
    np.hypot(v, w) + np.arctan2(v, w) + np.logaddexp(v, w) + np.logaddexp2(v, w)
    np.sign(v) + np.sign(n) + np.copysign(v, -w) + np.heaviside(v, 0.5)
    np.heaviside(h, 0.5)
    np.exp(v) + np.exp2(v) + np.expm1(v) + np.log(u) + np.log2(u) + np.log10(u) + np.log1p(u)
    np.sin(v) + np.cos(v) + np.tan(v) + np.arcsin(u) + np.arccos(u) + np.arctan(v)
    np.sinh(v) + np.cosh(v) + np.tanh(v) + np.arcsinh(v) + np.arccosh(u + 1) + np.arctanh(u)
    np.asin(u) + np.acos(u) + np.atan(u) + np.asinh(u) + np.acosh(u + 1) + np.atanh(u)
    np.atan2(u, v) + np.pow(u, 2)
    np.deg2rad(v) + np.rad2deg(v) + np.radians(n) + np.degrees(n)
    np.floor(v) + np.ceil(v) + np.trunc(v) + np.rint(v)
    np.floor(n) + np.ceil(n) + np.trunc(n)
    np.rint(n)
    np.modf(v)
    np.modf(h)
    np.divmod(v, w)
    np.ldexp(v, k)
    np.maximum(v, w) + np.minimum(v, 0) + np.fmax(v, w) + np.fmin(v, w)
    np.maximum(n, 2.5)
    np.maximum(h, 1) + np.fmin(h, 1)
    np.isfinite(h) | np.isnan(h) | np.isinf(h)
    np.isnan(n) | np.isfinite(b)
    np.signbit(h)
    np.signbit(n)
    np.less(v, w) | np.less_equal(v, w) | np.greater(v, w) | np.greater_equal(v, w)
    np.equal(v, w) | np.not_equal(v, w)
    np.logical_and(v, n) | np.logical_or(n, 0) | np.logical_xor(b, n) | np.logical_not(v)
    np.bitwise_and(n, 3) + np.bitwise_or(n, 1) + np.bitwise_xor(n, k) + np.invert(n) + np.left_shift(n, 1)
    np.right_shift(n, 1) + np.bitwise_invert(n)
    np.conjugate(c) + np.conj(v)
    np.sqrt(n) + np.sin(n) + np.exp(n)
    np.exp(c) + np.sin(c) + np.sqrt(c) + np.log(c)
    np.sin(r) + np.exp(r)
    np.add(n, k, dtype=np.float64)
    np.sin(v, where=True)
    sp.erf(v) + sp.erfc(v) + sp.erfcx(v) + sp.erfinv(u) + sp.ndtr(v) + sp.log_ndtr(v) + sp.ndtri(u)
    sp.gammaln(u) + sp.gamma(u) + sp.digamma(u) + sp.psi(u) + sp.beta(u, 2) + sp.betaln(u, 2)
    sp.expit(v) + sp.logit(u) + sp.log_expit(v) + sp.xlogy(u, u) + sp.xlog1py(u, v**2)
    sp.entr(v)
    sp.rel_entr(u, u**2) + sp.kl_div(u, u**2)
    sp.rel_entr(v, w)
    """
)


@pytest.mark.parametrize("expression", OPERATORS)
def test_operators(expression: str) -> None:
    expression_agrees(expression, rtol=1e-6 if expression.startswith("r ") else 1e-13)


@pytest.mark.parametrize("expression", UFUNCS)
def test_ufuncs(expression: str) -> None:
    expression_agrees(expression, rtol=1e-6 if "(r)" in expression else 1e-12)


def test_reductions_of_ufuncs_in_place() -> None:
    def scattered(places: Any, values: Any) -> Any:
        total = values[:1] * np.zeros(6)
        np.add.at(total, places, values)
        np.subtract.at(total, places, 2 * values)
        return total

    agree(scattered, np.array([0, 0, 2, 5]), np.array([1.0, 2.0, 3.0, 4.0]))


# --- in place -----------------------------------------------------------------------------------------------


def element(v: Any) -> Any:
    y = v.copy()
    y[0] = 3
    y[-1] = y[0] * v[1]
    return y


def slices(v: Any) -> Any:
    y = v * 1
    y[1:3] = v[3:5]
    y[::-2] = [7.0, 8.0, 9.0]
    y[4:0:-3] += 1
    return y


def rows_and_columns(x: Any) -> Any:
    y = x.copy()
    y[1] = 0
    y[:, 2] = x[:, 0]
    y[..., -1] = np.arange(4)
    y[2:, :2] *= 2
    y[None, 0] = 5
    return y


def whole(x: Any) -> Any:
    y = x.copy()
    y[...] = x[0]
    y[:] = y + 1
    return y


def through_views(x: Any) -> Any:
    y = x.copy()
    top = y[:2]
    row = top[1]
    row[0] = 10.0
    top[:, 1] = -1.0
    y[0, 2] = 4.0
    return y, top, row, top.T, y.sum()


def through_other_views(x: Any) -> Any:
    y = x.copy()
    turned, wide, swapped, line = y.T, y[None], np.swapaxes(y, 0, 1), y.ravel()
    turned[1, 2] = 5.0
    wide[0, 3, 3] = 6.0
    swapped[0] = 7.0
    np.flip(y, 0)[0, 4] = 8.0
    np.squeeze(wide)[2, 4] = 9.0
    np.expand_dims(y, 1)[0, 0, 3] = 11.0
    np.moveaxis(y, 0, 1)[4, 1] = 12.0
    return y, turned, wide, swapped, line, y.reshape(5, 4)


def augmented(v: Any) -> Any:
    y = v.copy()
    alias, part = y, y[2:]
    y += 1
    y *= v
    y -= 0.5
    y /= 2
    y **= 2
    y //= 0.1
    y %= 1.7
    part += 100
    return y, alias, part


def augmented_integers(n: Any) -> Any:
    y = n.copy()
    y += 1
    y |= 4
    y &= 7
    y ^= 1
    y[1:3] -= 5
    return y


def augmented_scalar(a: Any) -> Any:
    total = a
    before = total
    total += 1
    total *= 2
    return total, before


def by_mask(v: Any) -> Any:
    y = v.copy()
    y[v > 0] = 0
    y[y < -1] = v[0]
    return y


def by_mask_of_rows(x: Any) -> Any:
    y = x.copy()
    y[x[:, 0] > 0] = np.arange(5.0)
    y[np.array([True, False, False, True])] += 1
    return y


def by_arrays(x: Any) -> Any:
    y = x.copy()
    y[[0, 2]] = x[1]
    y[[0, 1], [2, -1]] = [5.0, 6.0]
    y[:, [1, 3]] = 0
    y[np.array([[0], [3]]), [0, 4]] = np.array([[1.0, 2.0], [3.0, 4.0]])
    y[1:, [0, 0]] += 1
    return y


def keeps_type(n: Any) -> Any:
    y = n.copy()
    y[0] = 2.9
    y[1:] = np.array([1.5, -1.5, 0.0, 2.0, 3.0])
    return y


def expressions_are_not_views(v: Any) -> Any:
    y = v.copy()
    z, w, f = y + 0, y[[0, 1]], y.flatten()
    s = y[0]
    y[:] = 0
    return y, z, w, f, s


IN_PLACE = [
    (element, "v"), (slices, "v"), (rows_and_columns, "x"), (whole, "x"), (through_views, "x"),
    (through_other_views, "x"),
    (augmented, "v"), (augmented_integers, "n"), (augmented_scalar, "a"), (by_mask, "v"),
    (by_mask_of_rows, "x"), (by_arrays, "x"), (keeps_type, "n"), (expressions_are_not_views, "v"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name"), IN_PLACE, ids=[f.__name__ for f, _ in IN_PLACE])
def test_in_place(function: Callable[..., Any], name: str) -> None:
    agree(function, ARRAYS[name])


def test_a_long_chain_of_views_does_not_recurse() -> None:
    def chain(v: Any) -> Any:
        base = v.copy()
        y = base
        for _ in range(3000):
            y = y[:]
        base[0] = 2.0
        y[1] = 3.0
        return base, y

    agree(chain, ARRAYS["v"])


# --- what is refused ----------------------------------------------------------------------------------------

leaked: list[Array] = []


def refused(function: Callable[..., Any], kind: type[Exception], *parts: str, shape: tuple[Any, ...] = (3,)) -> None:
    with pytest.raises(kind) as caught:
        trace(function, spec(*shape))
    for part in (*parts, "test_array.py:"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda x: x[0].item(), "item()"),
        (lambda x: operator.iadd(np.zeros(3), x), "x = x + y"),
        (lambda x: np.add(x, x, out=np.zeros(3)), "out="),
        (lambda x: np.sum(x, out=np.zeros(())), "out="),
        (lambda x: np.sin(x, where=x > 0), "np.where"),
        (lambda x: np.fft.fft(x), "fft.fft"),
        (lambda x: np.histogram(x), "histogram"),
        (lambda x: np.unique(x), "unique"),
        (lambda x: np.nonzero(x), "np.where"),
        (lambda x: np.where(x > 0), "np.where(condition, a, b)"),
        (lambda x: np.arange(x[0]), "concrete"),
        (lambda x: np.reshape(x, (x[0], 1)), "known sizes"),
        (lambda x: len(x[0]), "len() of a traced scalar"),
        (lambda x: list(x[0]), "iteration over a traced scalar"),
        (lambda x: x + np.array([1, "a", None], dtype=object), "object"),
        (lambda x: x + np.array(["a", "b", "c"]), "not supported"),
        (lambda x: x + np.ones(3, np.float16), "float16"),
        (lambda x: x + np.ones(3, np.longdouble), "not supported"),
        (lambda x: (x > 0) - (x > 1), "logical_xor"),
        (lambda x: -(x > 0), "logical_not"),
        (lambda x: x & 1, "bitwise_and does not take real numbers"),
        (lambda x: (1j * x) < 2, "< does not take complex numbers"),
        (lambda x: np.floor(1j * x), "complex"),
        (lambda x: np.max(1j * x), "complex"),
        (lambda x: (1j * x).astype(float), "x.real.astype"),
        (lambda x: np.nextafter(x, 1), "nextafter"),
        (lambda x: sp.polygamma(x.astype(int), x), "concrete NumPy array"),
        (lambda x: np.roll(x, x[0]), "concrete"),
        (lambda x: np.repeat(x, x.astype(int)), "known numbers"),
        (lambda x: np.bincount(x.astype(int)), "minlength"),
        (lambda x: np.lexsort((x, x)), "lexsort"),
    ],
)  # fmt: skip
def test_refused_with_line_and_advice(function: Callable[..., Any], part: str) -> None:
    refused(function, (TypeError, ValueError), part)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda x: 1 if x.sum() > 1 else 2, "np.where"),
        (lambda x: x.sum() and 1, "cr.while_loop"),
        (lambda x: np.median(x, out=x) and 0, "np.where"),
        (lambda x: float(x[0]), "float() of a traced value"),
        (lambda x: int(x[0]), ".astype(int)"),
        (lambda x: complex(x[0]), ".astype(complex)"),
        (lambda x: [1, 2, 3][x[0]], "Python needs a known integer"),
        (lambda x: range(x[0]), "fori_loop"),
        (lambda x: np.asarray(x), "concrete NumPy array"),
        (lambda x: np.array([x[0], 1.0]), "chainrule.numpy.array"),
        (lambda x: np.arange(3)[x[0].astype(int)], "chainrule.numpy.take"),
        (lambda x: np.zeros(3).__setitem__(0, x[0]), "chainrule.numpy.zeros"),
    ],
)  # fmt: skip
def test_refused_where_the_source_is_not_available(function: Callable[..., Any], part: str) -> None:
    refused(unseen(function), TypeError, part, "cannot be rewritten: its source is not available")


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda x: x + np.ones(4), "[3] and [4] do not broadcast"),
        (lambda x: x.reshape(2, 2), "cannot reshape"),
        (lambda x: np.concatenate([x, x[None]]), "do not match"),
        (lambda x: np.stack([x, x[:2]]), "same shape"),
        (lambda x: x @ np.ones(4), "do not match"),
        (lambda x: np.dot(x, np.ones((4, 3))), "do not match"),
        (lambda x: np.einsum("i,i", x, np.ones(4)), "do not match"),
        (lambda x: np.einsum("ij->i", x), "1 axes"),
        (lambda x: np.einsum("i->ii", x), "repeat"),
        (lambda x: np.linalg.inv(x), "square"),
        (lambda x: np.sum(x, axis=1), "out of bounds"),
        (lambda x: np.transpose(x, (0, 1)), "bounds"),
        (lambda x: np.squeeze(x, 0), "size not equal to one"),
        (lambda x: np.broadcast_to(x, (2, 4)), "broadcast"),
        (lambda x: np.max(x[:0]), "initial="),
        (lambda x: np.argmax(x[:0]), "empty"),
        (lambda x: x.astype(int) ** -1, "negative integer powers"),
        (lambda x: np.split(x, 2), "equal division"),
    ],
)
def test_wrong_shapes_name_the_line(function: Callable[..., Any], part: str) -> None:
    refused(function, ValueError, part)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda x: operator.setitem(x, 0, 1.0), "arguments are not changed in place"),
        (lambda x: operator.setitem(x[1:], 0, 1.0), "copy first"),
        (lambda x: operator.setitem(x.T, 0, 1.0), "copy first"),
        (lambda x: operator.iadd(x, 1.0), "copy first"),
        (lambda x: np.add.at(x, [0], 1.0), "copy first"),
        (lambda x: operator.setitem(x.copy().reshape(3, 1), 0, 1.0), "reshape"),
        (lambda x: operator.setitem(np.broadcast_to(x, (2, 3)), 0, 1.0), "read-only"),
        (lambda x: operator.setitem(x.copy(), slice(0, 2), np.ones(3)), "could not broadcast"),
        (lambda x: operator.iadd(x.copy(), np.ones((2, 3))), "does not change the shape"),
    ],
)
def test_forbidden_writes(function: Callable[..., Any], part: str) -> None:
    refused(function, ValueError, part)


def test_values_that_do_not_fit() -> None:
    refused(lambda x: operator.iadd(x.astype(int), 1.5), TypeError, "do not fit")
    refused(lambda x: operator.setitem(x.copy(), 0, 1j), TypeError, "complex")
    with pytest.raises(TypeError):
        trace(lambda x: x + "a", spec(3))
    with pytest.raises(TypeError):
        trace(lambda x: x + object(), spec(3))


def test_a_leaked_value_is_named() -> None:
    trace(lambda x: leaked.append(2 * x), spec(3))
    refused(lambda x: x + leaked[0], RuntimeError, "left its function", "made at")
    with pytest.raises(RuntimeError, match="left its function"):
        leaked[0] + 1
    with pytest.raises(RuntimeError, match="left its function"):
        np.sin(leaked[0])


def test_comparison_with_none() -> None:
    agree(lambda x: (1.0 if x == None else 2.0, 3.0 if x != None else 4.0), 0.5)  # noqa: E711


def test_unhashable_and_unknown_attributes() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        trace(lambda x: {x: 1}, spec(3))
    with pytest.raises(AttributeError):
        trace(lambda x: x.nothing, spec(3))


def test_what_it_prints() -> None:
    shown = []

    def f(x: Any) -> Any:
        shown.append(repr(x))
        total = x * 2
        shown.append(repr(total))
        return total

    trace(f, spec("n"))
    assert shown[0].startswith("x: float64[n] (tests/graph/test_array.py:")
    assert shown[1].startswith("total: float64[n] (tests/graph/test_array.py:")


def test_sizes_are_numbers_of_the_program() -> None:
    agree(lambda x: (x.shape[0], x.ndim, x.size * x.sum(), len(x), [row.sum() for row in x]), ARRAYS["x"])
    refused(unseen(lambda x: len(x)), TypeError, "length n", shape=("n",))
    refused(lambda x: list(x), TypeError, "cr.scan", shape=("n",))
    graph = trace(lambda x: x.sum() / x.shape[0] + x.mean(), spec("n"))
    assert graph.outputs[0].type.shape == ()


@pytest.mark.parametrize(
    "function",
    [
        lambda n, s: n * s,
        lambda n, s: s * n,
        lambda n, s: 0.5 * n + s,
        lambda n, s: n * 0.5 - s,
        lambda n, s: n / 2 * s,
        lambda n, s: 3 / n + s,
        lambda n, s: n + s,
        lambda n, s: n - s,
        lambda n, s: (n + 1) * (n - 1) / n * s,
    ],
)
def test_unknown_sizes_are_numbers(function: Callable[[Any, Any], Any]) -> None:
    x = np.arange(1.0, 5.0)
    graph = trace(lambda x: function(x.shape[0], x.sum()), spec("n"))
    assert evaluate(graph, [x])[0] == function(4, x.sum())
