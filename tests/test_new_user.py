"""What newcomers write and how they call it: programs, classes, containers, threads, processes, kinds of arrays."""

from __future__ import annotations

import collections
import copy
import functools
import itertools
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from chainrule.graph import tree
from tests import new_user_programs, new_user_statistics

X = np.arange(1.0, 7.0)
TABLE = np.arange(12.0).reshape(3, 4)

Program = Callable[..., Any]


def total(x: Any) -> Any:
    return np.sum(x**2)


# --- programs: value, gradient, Hessian, many at once --------------------------------------------------------------


def moved(point: Any, direction: Any, h: float) -> Any:
    """``point`` + h·``direction``, of pytrees."""
    return tree.map(lambda p, d: p + h * d, point, direction)


def along(f: Program, point: Any, direction: Any, h: float = 2e-3) -> Any:
    """The derivative of a function along a direction: central differences, extrapolated twice (Richardson)."""
    rows = [
        tree.map(lambda a, b, s=s: (a - b) / (2 * s), f(moved(point, direction, s)), f(moved(point, direction, -s)))
        for s in (h, h / 2, h / 4)
    ]
    for factor in (4, 16):
        rows = [tree.map(lambda a, b, k=factor: b + (b - a) / (k - 1), a, b) for a, b in itertools.pairwise(rows)]
    return rows[0]


def close(found: Any, expected: Any, rtol: float) -> None:
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1e-3, float(np.max(np.abs(b), initial=0.0))))


@pytest.mark.parametrize(
    ("f", "args"), new_user_programs.PROGRAMS + new_user_statistics.PROGRAMS, ids=lambda v: getattr(v, "__name__", "")
)
def test_program(f: Program, args: tuple[Any, ...]) -> None:
    point, rest = args[0], args[1:]
    gradient = cr.grad(f)
    found = gradient(*args)
    close(cr.jit(f)(*args), f(*args), 1e-12)

    rng = np.random.default_rng(0)
    direction = tree.map(lambda p: rng.normal(size=np.shape(p))[()] * (1e-3 + np.abs(p)), point)
    slope = sum(np.sum(g * d) for g, d in zip(tree.leaves(found), tree.leaves(direction), strict=True))
    close(slope, along(lambda p: f(p, *rest), point, direction), 2e-6)
    _, second = cr.jvp(lambda p: cr.grad(f)(p, *rest), (point,), (direction,))
    close(second, along(lambda p: gradient(p, *rest), point, direction), 2e-6)

    many = tree.map(lambda p: np.stack([p, p * 1.01]), point)
    each = cr.vmap(gradient, in_axes=(0, *[None] * len(rest)))(many, *rest)
    for k in range(2):
        one = tree.map(lambda p, k=k: p[k], many)
        close(tree.map(lambda g, k=k: g[k], each), gradient(one, *rest), 1e-9)


def test_check_grads_takes_what_grad_takes() -> None:
    """Programs that have to be rewritten, too: np.array of traced values, items assigned."""

    def residuals(x: Any) -> Any:
        return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    cr.check_grads(residuals, (np.array([1.0, 2.0]),), order=2)


def test_formula_of_a_small_table() -> None:
    """Constants as data: the cases of which row is meant do not multiply."""

    def loss(b: Any) -> Any:
        rows = np.array([[0.52, 1.12], [0.88, -1.08], [0.52, 0.06], [0.74, -2.49]])
        wanted = np.array([True, True, False, True])
        found = (np.tanh((rows @ np.array([0.1, 0.2]) + b) / 2) + 1) / 2
        return -np.sum(np.log(found * wanted + (1 - found) * (1 - wanted)))

    formula = cr.formula(loss, budget=0.1)
    (b,) = formula.expr.free_symbols
    assert float(formula.expr.subs(b, 0.5)) == pytest.approx(float(cr.grad(loss)(0.5)), rel=1e-12)


def test_formula_takes_an_array_for_its_shape() -> None:
    assert str(cr.formula(lambda p: p[0] * p[1], p=np.ones(2))) == str(cr.formula(lambda p: p[0] * p[1], p=2))


def test_arrays_of_ufuncs_are_the_programs_own() -> None:
    """Unless they are somebody else's, given as ``out``."""

    def own(x: Any) -> Any:
        y = np.sqrt(np.ones(3))
        for i in range(3):
            y[i] = x * i
        return np.sum(y)

    outer = np.zeros(3)

    def borrowed(x: Any) -> Any:
        y = np.sqrt(np.ones(3), out=outer)
        y[0] = x
        return np.sum(y)

    assert cr.grad(own)(2.0) == 3.0
    with pytest.raises(ValueError, match=r"array .*is written to.*test_new_user\.py"):
        cr.jit(borrowed)(2.0)


# --- classes and signatures -------------------------------------------------------------------------------------


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def cost(self, x: Any) -> Any:
        return np.sum((self.scale - x) ** 2)

    @property
    def gradient(self) -> Any:
        return cr.grad(self.cost)

    @functools.cached_property
    def curvature(self) -> Any:
        return cr.hessian(self.cost)

    @cr.jit
    def without(self, x: Any) -> Any:
        return self.scale * x

    @functools.partial(cr.jit, static_argnums=0)
    def times(self, x: Any) -> Any:
        return self.scale * x

    @staticmethod
    @cr.grad
    def slope(x: Any) -> Any:
        return x**3


def test_methods() -> None:
    model = Model(2.0)
    np.testing.assert_array_equal(model.gradient(X), -2 * (2 - X))
    np.testing.assert_array_equal(model.curvature(X), 2 * np.eye(6))
    assert (model.times(3.0), Model(4.0).times(3.0), model.slope(2.0)) == (6.0, 12.0, 12.0)
    with pytest.raises(TypeError, match=r"type Model.*static.*test_new_user\.py"):
        model.without(1.0)


def test_signatures() -> None:
    def keyword_only(x: Any, *, a: Any, b: Any = 2.0) -> Any:
        return a * x**b

    def many(*xs: Any) -> Any:
        return sum(x**2 for x in xs)

    def named(**k: Any) -> Any:
        return k["a"] * k["b"]

    assert cr.grad(keyword_only)(3.0, a=2.0) == 12.0
    assert cr.grad(keyword_only, wrt="a")(3.0, a=2.0) == 9.0
    assert cr.grad(keyword_only, wrt="b")(1.5, a=2.0, b=2.0) == pytest.approx(4.5 * np.log(1.5), rel=1e-15)
    assert cr.grad(many, argnums=(0, 2))(1.0, 2.0, 3.0) == (2.0, 6.0)
    assert cr.grad(named, wrt="a")(a=1.0, b=5.0) == 5.0
    assert cr.grad(lambda x, y=X: np.sum(x * y))(2.0) == 21.0
    power = cr.jit(lambda x, n: np.sin(x) if n == "sin" else x**n, static_argnums=1)
    assert (power(2.0, 3), power(2.0, "sin")) == (8.0, pytest.approx(np.sin(2.0), rel=1e-15))


class Pair(NamedTuple):
    a: Any
    b: Any


def test_containers() -> None:
    def product(p: Any) -> Any:
        return p["a"] * np.sum(p["b"])

    found = cr.grad(lambda p: p.a * np.sum(p.b))(Pair(2.0, X))
    assert isinstance(found, Pair)
    assert found.a == 21.0
    for kind in (dict, collections.OrderedDict):
        tables = cr.grad(product)(kind(a=2.0, b=X))
        assert type(tables) is kind
        np.testing.assert_array_equal(tables["b"], np.full(6, 2.0))
    assert cr.grad(lambda p: p[0] * p[1])([1.0, 2.0]) == [2.0, 1.0]
    assert cr.grad(lambda p: p[0] * 2)((1.0, None)) == (2.0, None)


# --- copies, threads, processes -------------------------------------------------------------------------------------


def test_copies() -> None:
    for transform in (cr.jit, cr.grad, cr.hessian, cr.value_and_grad, cr.value_grad_hess, cr.jacrev):
        f = transform(total)
        expected = f(X)
        for other in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
            close(other(X), expected, 1e-15)
    assert pickle.loads(pickle.dumps(cr.bind(total, x=X)))() == 91.0
    shown = cr.formula(total, x="n")
    assert str(pickle.loads(pickle.dumps(shown))) == str(copy.deepcopy(shown)) == str(shown)


def test_threads_share_a_function_of_many_sizes() -> None:
    f = cr.grad(lambda x: np.sum(np.sin(x) * x))
    right: list[bool] = []

    def work(n: int) -> None:
        x = np.linspace(0, 1, n)
        right.extend(np.allclose(f(x), np.cos(x) * x + np.sin(x), rtol=1e-13) for _ in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4, 7, 100, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 140


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_processes() -> None:
    gradient = cr.grad(total)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.map(gradient, [X, X + 1]), [2 * X, 2 * X + 2])


# --- kinds of arrays --------------------------------------------------------------------------------------------------


def kinds_of_arrays(folder: Path) -> list[Any]:
    """The same table in other layouts, types and places."""
    spread = np.zeros((6, 8))
    spread[::2, ::2] = TABLE
    frozen = TABLE.copy()
    frozen.flags.writeable = False
    shifted = np.zeros(97, np.uint8)[1:].view(np.float64)
    shifted[:] = TABLE.ravel()
    mapped = np.memmap(folder / "table", dtype=float, mode="w+", shape=TABLE.shape)
    mapped[:] = TABLE
    reverse = np.ascontiguousarray(TABLE[::-1, ::-1])[::-1, ::-1]
    return [
        np.asfortranarray(TABLE), reverse, spread[::2, ::2], frozen, shifted.reshape(3, 4), mapped, TABLE.astype(">f8"),
    ]  # fmt: skip


def test_kinds_of_arrays(tmp_path: Path) -> None:
    f = cr.jit(lambda a: np.sum(np.exp(-a) * np.arange(4.0), axis=1))
    expected = np.sum(np.exp(-TABLE) * np.arange(4.0), axis=1)
    for kind in kinds_of_arrays(tmp_path):
        np.testing.assert_allclose(f(kind), expected, rtol=1e-15)
        np.testing.assert_array_equal(cr.grad(total)(kind), 2 * TABLE)
        np.testing.assert_array_equal(cr.grad(lambda x, kind=kind: np.sum(x * kind))(np.ones((3, 4))), TABLE)


def test_numbers_and_precisions() -> None:
    square = cr.grad(lambda x: x**2)
    for value in (3, 3.0, np.float64(3.0), np.array(3.0)):
        assert square(value) == 6.0
    assert square(np.float32(3.0)).dtype == cr.grad(total)(X.astype(np.float32)).dtype == np.float32
    assert cr.grad(lambda z: np.abs(z) ** 2)(3 + 4j) == 6 - 8j
    assert cr.grad(lambda z: z**2, holomorphic=True)(1 + 2j) == 2 + 4j


def test_masked_arrays_are_refused() -> None:
    masked = np.ma.array(X, mask=X > 3)
    for case in (lambda: cr.jit(total)(masked), lambda: cr.grad(lambda x: np.sum(x * masked))(X)):
        with pytest.raises(TypeError, match=r"mask would be lost.*test_new_user\.py"):
            case()
