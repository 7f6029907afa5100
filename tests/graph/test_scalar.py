"""The table of scalar primitives: values, spellings and flags, each against mpmath or IEEE arithmetic."""

from __future__ import annotations

import ast
import ctypes
import itertools
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from chainrule.graph import scalar
from chainrule.graph.namespaces import mpmath_namespace, numpy_namespace, sympy_namespace
from chainrule.graph.scalar import PRIMITIVES, Primitive

ALL = list(PRIMITIVES.values())
GRID = [
    0.0, -0.0, 1e-300, 1e-200, 0.3, 0.5, -0.5, 1.0, -1.0, 2.0, -2.5, 3.0, 30.0, -800.0, 1e10, 1e200, 1.7e308,
    -1.7e308, math.inf, -math.inf,
]  # fmt: skip


def named(primitives: list[Primitive]) -> Any:
    return pytest.mark.parametrize("primitive", primitives, ids=lambda p: p.name)


def typed(primitive: Primitive, x: tuple[float, ...]) -> tuple[Any, ...]:
    """A point in the element types that the primitive takes."""
    if "f" in primitive.accepts:
        values: list[Any] = [np.float64(v) for v in x]
    else:
        values = [bool(v > 0.5) if "i" not in primitive.accepts else int(v) for v in x]
    if primitive.name == "where":
        values[0] = bool(x[0] > 0.5)
    if primitive.literals:
        values[0] = round(x[0])
    return tuple(values)


def number(value: Any) -> Any:
    """As mpmath's number; bools and integers as they are."""
    return value if isinstance(value, (bool, int)) else mp.mpf(float(value))


# --- the table itself ---------------------------------------------------------------------------------------


def test_the_table_imports_the_standard_library_only() -> None:
    nodes = list(ast.walk(ast.parse(Path(scalar.__file__).read_text(encoding="utf-8"))))
    assert {
        n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0
    } <= sys.stdlib_module_names | {"collections.abc"}
    assert {
        alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names
    } <= sys.stdlib_module_names
    assert {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level} == {"partials"}


@named(ALL)
def test_entry_is_well_formed(primitive: Primitive) -> None:
    assert PRIMITIVES[primitive.name] is primitive
    assert primitive.arity == len(primitive.domain) >= 1
    assert primitive.accepts and set(primitive.accepts) <= set("bifc")
    assert all(low < high for low, high in primitive.domain)
    names = [f"argument{i}" for i in range(primitive.arity)]
    for template in (primitive.numpy, primitive.c, primitive.cuda):
        if template is not None:
            spelled = template.format(*names)
            assert all(name in spelled for name in names), spelled
            assert spelled.count("(") == spelled.count(")"), spelled


@named([p for p in ALL if p.c is not None])
def test_cuda_has_what_c_has(primitive: Primitive) -> None:
    assert primitive.cuda is not None


@named(ALL)
def test_namespaces_have_every_primitive(primitive: Primitive) -> None:
    for namespace in (numpy_namespace(), mpmath_namespace(), sympy_namespace()):
        assert callable(getattr(namespace, primitive.name))


# --- values -------------------------------------------------------------------------------------------------


@named(ALL)
def test_numpy_value_is_within_its_ulp_of_mpmath(primitive: Primitive) -> None:
    rng = np.random.default_rng(1)
    with mp.workdps(50):
        for _ in range(200):
            x = typed(primitive, tuple(float(rng.uniform(*interval)) for interval in primitive.domain))
            found = getattr(numpy_namespace(), primitive.name)(*x)
            expected = getattr(mpmath_namespace(), primitive.name)(*map(number, x))
            if isinstance(expected, (bool, int)):
                assert found == expected, x
            else:
                error = abs(mp.mpmathify(complex(found)) - expected)
                assert error <= primitive.ulp * math.ulp(float(abs(expected))), (x, found, float(error))


@named([p for p in ALL if "c" in p.accepts and p.arity <= 2])
def test_complex_numpy_value_agrees_with_mpmath(primitive: Primitive) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        x = tuple(np.complex128(complex(*rng.uniform(0.1, 0.9, 2))) for _ in range(primitive.arity))
        found = complex(getattr(numpy_namespace(), primitive.name)(*x))
        expected = complex(getattr(mpmath_namespace(), primitive.name)(*(mp.mpc(complex(v)) for v in x)))
        assert found == pytest.approx(expected, rel=1e-13, abs=1e-15), x


@named([p for p in ALL if p.meaning is not None and p.name not in ("isnan", "where")])
def test_sympy_meaning_has_the_same_value(primitive: Primitive) -> None:
    import sympy as sp

    rng = np.random.default_rng(3)
    for _ in range(5):
        x = typed(primitive, tuple(float(rng.uniform(*interval)) for interval in primitive.domain))
        exact = [sp.sympify(v) if isinstance(v, (bool, int)) else sp.Rational(float(v)) for v in x]
        symbolic = getattr(sympy_namespace(), primitive.name)(*exact)
        expected = getattr(mpmath_namespace(), primitive.name)(*map(number, x))
        if isinstance(expected, bool):
            assert bool(symbolic) == expected
        else:
            assert abs(complex(sp.N(symbolic, 20)) - complex(expected)) <= 1e-14 * max(
                1.0, abs(complex(expected))
            )


def test_sympy_chooses_by_a_piecewise() -> None:
    from sympy.abc import a, x

    chosen = sympy_namespace().where(x > 0, a, 2 * a)
    assert chosen.subs(x, 1) == a and chosen.subs(x, -1) == 2 * a


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("mod", (-7.0, 3.0), 2.0),
        ("mod", (7.0, -3.0), -2.0),
        ("fmod", (-7.0, 3.0), -1.0),
        ("floordiv", (-7.0, 2.0), -4.0),
        ("round", (0.5,), 0.0),
        ("round", (1.5,), 2.0),
        ("round", (2.5,), 2.0),
        ("round", (-0.5,), 0.0),
        ("round", (-1.5,), -2.0),
        ("trunc", (-1.5,), -1.0),
        ("ceil", (-1.5,), -1.0),
        ("sign", (0.0,), 0.0),
        ("pow", (0.0, 0.0), 1.0),
        ("pow", (0.0, 2.0), 0.0),
        ("pow", (0.0, -1.0), math.inf),
        ("pow", (-8.0, 3.0), -512.0),
        ("pow", (-8.0, 0.5), math.nan),
        ("div", (1.0, 0.0), math.inf),
        ("div", (-1.0, 0.0), -math.inf),
        ("div", (0.0, 0.0), math.nan),
        ("mul", (0.0, math.inf), math.nan),
        ("sub", (math.inf, math.inf), math.nan),
        ("reciprocal", (0.0,), math.inf),
        ("sqrt", (-1.0,), math.nan),
        ("log", (0.0,), -math.inf),
        ("log", (-1.0,), math.nan),
        ("log1p", (-1.0,), -math.inf),
        ("log2", (0.0,), -math.inf),
        ("xlogy", (0.0, 0.0), 0.0),
        ("xlogy", (2.0, 0.0), -math.inf),
        ("xlog1py", (0.0, -1.0), 0.0),
        ("logit", (1.0,), math.inf),
        ("logit", (0.0,), -math.inf),
        ("expit", (-math.inf,), 0.0),
        ("softplus", (math.inf,), math.inf),
        ("softplus", (-math.inf,), 0.0),
        ("log_expit", (-math.inf,), -math.inf),
        ("logaddexp", (-math.inf, -math.inf), -math.inf),
        ("logaddexp", (-math.inf, 1.0), 1.0),
        ("asin", (2.0,), math.nan),
        ("acosh", (0.5,), math.nan),
        ("atanh", (1.0,), math.inf),
        ("atanh", (2.0,), math.nan),
        ("sin", (math.inf,), math.nan),
        ("tanh", (math.inf,), 1.0),
        ("sech", (math.inf,), 0.0),
        ("sinc", (0.0,), 1.0),
        ("erfinv", (1.0,), math.inf),
        ("erfcx", (math.inf,), 0.0),
        ("erfcx", (-math.inf,), math.inf),
        ("ndtr", (-math.inf,), 0.0),
        ("log_ndtr", (-math.inf,), -math.inf),
        ("ndtri", (0.0,), -math.inf),
        ("gamma", (0.0,), math.inf),
        ("gammaln", (0.0,), math.inf),
        ("gammaln", (-1.0,), math.inf),
        ("digamma", (0.0,), -math.inf),
        ("maximum", (1.0, math.nan), math.nan),
        ("maximum", (math.nan, 1.0), math.nan),
        ("minimum", (math.nan, 1.0), math.nan),
        ("fmax", (math.nan, 1.0), 1.0),
        ("fmin", (1.0, math.nan), 1.0),
        ("eq", (math.nan, math.nan), False),
        ("ne", (math.nan, math.nan), True),
        ("lt", (math.nan, 1.0), False),
        ("isnan", (math.nan,), True),
        ("isinf", (-math.inf,), True),
        ("isfinite", (math.inf,), False),
        ("pow", (1.0, math.nan), 1.0),
        ("pow", (math.nan, 0.0), 1.0),
        ("mod", (1.0, 0.0), math.nan),
        ("sinc", (math.inf,), math.nan),
        ("where", (True, 1.0, math.nan), 1.0),
        ("angle", (-2.0,), math.pi),
    ],
)
def test_conventions_at_singular_points(name: str, x: tuple[float, ...], expected: float) -> None:
    """NumPy and mpmath agree on them, and NumPy is silent."""
    with np.errstate(all="raise"):
        values = [getattr(numpy_namespace(), name)(*(v if v is True else np.float64(v) for v in x))]
    values.append(getattr(mpmath_namespace(), name)(*map(number, x)))
    for value in values:
        assert float(value) == pytest.approx(float(expected), rel=1e-15, abs=0.0, nan_ok=True)


@pytest.mark.parametrize("x", [(1, 0), (1.0, 0.0), (np.float64(1), 0), (1, np.int64(0))])
def test_numpy_division_by_zero_is_infinite_for_python_numbers_too(x: tuple[Any, Any]) -> None:
    assert numpy_namespace().div(*x) == math.inf


def test_numpy_literals_are_weak() -> None:
    x = np.ones(3, np.float32)
    assert numpy_namespace().mul(x, 2.0).dtype == np.float32
    assert numpy_namespace().where(x > 0, x, 0.0).dtype == np.float32


# --- flags --------------------------------------------------------------------------------------------------


def grid_values(primitive: Primitive) -> list[Any]:
    points = itertools.product(*([GRID] * primitive.arity))
    return [getattr(numpy_namespace(), primitive.name)(*typed(primitive, x)) for x in points]


REAL_VALUED = [p for p in ALL if p.name not in ("imag", "complex") and "f" in p.accepts and not p.literals]


@named(REAL_VALUED)
def test_total_means_no_nan_from_numbers(primitive: Primitive) -> None:
    assert primitive.total == (not np.isnan(np.asarray(grid_values(primitive), float)).any())


@named(REAL_VALUED)
def test_bounded_means_one_bound_for_all(primitive: Primitive) -> None:
    assert primitive.bounded == bool(np.nanmax(np.abs(np.asarray(grid_values(primitive), float))) <= 4.0)


@named([p for p in ALL if p.arity == 2])
def test_commutative_means_equal_floats(primitive: Primitive) -> None:
    rng = np.random.default_rng(4)
    function = getattr(numpy_namespace(), primitive.name)
    differs = False
    for _ in range(50):
        a, b = typed(primitive, tuple(float(rng.uniform(*interval)) for interval in primitive.domain))
        differs = differs or function(a, b) != function(b, a)
    assert primitive.commutative == (not differs)


@named([p for p in ALL if p.associative])
def test_associative_over_the_reals(primitive: Primitive) -> None:
    rng = np.random.default_rng(4)
    function = getattr(mpmath_namespace(), primitive.name)
    for _ in range(20):
        a, b = map(
            number, typed(primitive, tuple(float(rng.uniform(*interval)) for interval in primitive.domain))
        )
        (c, _) = map(
            number, typed(primitive, tuple(float(rng.uniform(*interval)) for interval in primitive.domain))
        )
        one, other = function(a, function(b, c)), function(function(a, b), c)
        assert one == other or abs(one - other) < 1e-14 * abs(one)


# --- C ------------------------------------------------------------------------------------------------------

COMPLEX = ("real", "imag", "conj", "angle", "complex")
IN_C = [p for p in ALL if p.c is not None and "f" in p.accepts and p.name not in COMPLEX]

QUIRKS = {("pow", (-math.inf, 0.5)), ("gammaln", (-math.inf,))}
"""Where C has +inf, and NumPy takes the square root (NaN), SciPy gives −inf."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Every C spelling as a function of doubles, compiled without a warning."""
    lines = ["#include <math.h>"]
    for primitive in IN_C:
        assert primitive.c is not None
        names = [f"x{i}" for i in range(primitive.arity)]
        parameters = ", ".join(f"double {name}" for name in names)
        lines.append(f"double p_{primitive.name}({parameters}) {{ return {primitive.c.format(*names)}; }}")
    folder = tmp_path_factory.mktemp("spellings")
    source, target = (
        folder / "spellings.c",
        folder / ("spellings.dll" if sys.platform == "win32" else "spellings.so"),
    )
    source.write_text("\n".join(lines) + "\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, str(source), "-o", str(target), "-lm"], check=True)
    return ctypes.CDLL(str(target))


@named(IN_C)
def test_c_spelling_gives_numpys_value(primitive: Primitive, library: ctypes.CDLL) -> None:
    function = library[f"p_{primitive.name}"]
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * primitive.arity
    rng = np.random.default_rng(9)
    samples = [tuple(float(rng.uniform(*interval)) for interval in primitive.domain) for _ in range(100)]
    for x in [*samples, *itertools.product(*([[*GRID, math.nan]] * primitive.arity))]:
        if (primitive.name, x) in QUIRKS:
            continue
        if primitive.name == "where":
            x = (float(x[0] > 0.5), *x[1:])
        expected = float(getattr(numpy_namespace(), primitive.name)(*typed(primitive, x)))
        assert function(*x) == pytest.approx(
            expected, rel=(primitive.ulp + 4) * 2.3e-16, abs=1e-307, nan_ok=True
        ), x
