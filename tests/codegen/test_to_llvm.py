"""Primitives, conversions, literals and memory in LLVM text: each against NumPy, as scalars and as lanes."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from scipy import special

from chainrule.codegen import externs, ir
from chainrule.codegen.llvm_vecmath import has_lane_code
from chainrule.codegen.to_llvm import emit, suggested_level
from chainrule.graph.scalar import PRIMITIVES

from .kernels import (
    SIZE,
    N,
    array,
    compiled,
    index,
    integer,
    iop,
    kernel,
    lanes,
    literal,
    load,
    op,
    predicate,
    result,
    scalar,
    var,
)

RNG = np.random.default_rng(20)
FLOATS = [name for name, entry in PRIMITIVES.items() if "f" in entry.accepts and entry.result != "complex"]
BOOL_ARGUMENTS = {"where": [0]}


def elementwise(name: str, dtypes: list[str], out: str, width: int, order: int = 1) -> ir.Kernel:
    """A kernel out[i] = name(a0[i], …), in lanes or one by one."""
    arguments: list[ir.Expr] = [load(f"a{k}", index(), dtype) for k, dtype in enumerate(dtypes)]
    if name == "polygamma":
        arguments.insert(0, integer(order))
    body = (ir.Store("y", index(), op(name, *arguments, dtype=out)),)
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", body, (), width)
    return kernel(
        [*(array(f"a{k}", dtype) for k, dtype in enumerate(dtypes)), SIZE, result("y", out)], [loop]
    )


def apply(name: str, *arguments: Any, out: str, width: int, order: int = 1) -> Any:
    """The primitive on arrays, compiled."""
    arrays = [np.ascontiguousarray(a) for a in np.broadcast_arrays(*arguments)]
    y = np.empty(arrays[0].shape, out)
    compiled(elementwise(name, [a.dtype.name for a in arrays], out, width, order))(*arrays, y.size, y)
    return y


def by_numpy(name: str, arguments: list[Any], order: int = 1) -> Any:
    """What the table says that NumPy or SciPy calls it."""
    given = [order, *arguments] if name == "polygamma" else arguments
    text = PRIMITIVES[name].numpy.format(*(f"a[{k}]" for k in range(len(given))))
    with np.errstate(all="ignore"):
        return eval(text, {"np": np, "special": special, "a": given})


def ulps(got: Any, expected: Any) -> float:
    """The largest distance in units of the last place; what is not finite must agree."""
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    assert np.all(same | (np.isfinite(got) & np.isfinite(expected)))
    with np.errstate(all="ignore"):
        return float(np.max(np.where(same, 0.0, np.abs(got - expected) / np.spacing(np.abs(expected)))))


# --- primitives on floats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FLOATS)
def test_every_primitive_agrees_with_numpy(name: str, dtype: str, width: int) -> None:
    entry = PRIMITIVES[name]
    domain = entry.domain[entry.literals :]
    arguments: list[Any] = [RNG.uniform(low, high, 45).astype(dtype) for low, high in domain]
    if name == "where":
        arguments[0] = arguments[0] > 0.5
    out = "bool" if entry.result == "bool" else dtype
    got = apply(name, *arguments, out=out, width=width)
    wide = [a.astype("float64") if a.dtype != bool else a for a in arguments]
    expected = np.asarray(by_numpy(name, wide)).astype(out)
    # Both sides may be off by the entry's tolerance; in float32 by rounding the arguments' exact function.
    allowed = 2 * entry.ulp + 2 if dtype == "float64" else 1
    if name == "mod" or name == "fmod" or name == "floordiv":
        expected, allowed = by_numpy(name, arguments), 0
    assert ulps(got, expected) <= allowed if out != "bool" else np.array_equal(got, expected)


SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e300, -1e300, 5e-324, np.inf, -np.inf, np.nan, 3.0]
)
EXACT_1 = [
    "neg",
    "abs",
    "sign",
    "square",
    "sqrt",
    "reciprocal",
    "floor",
    "ceil",
    "trunc",
    "round",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
]
EXACT_2 = [
    "add",
    "sub",
    "mul",
    "div",
    "fmod",
    "mod",
    "floordiv",
    "copysign",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
]


def same_bits(got: Any, expected: Any) -> bool:
    """Equal, zeros with their signs; any NaN is as good as another."""
    numbers = ~np.isnan(expected)
    return bool(
        np.array_equal(got, expected, equal_nan=True)
        and np.array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])
    )


@pytest.mark.parametrize("width", [1, 16])
@pytest.mark.parametrize("name", [*EXACT_1, *EXACT_2])
def test_special_values(name: str, width: int) -> None:
    arguments = [SPECIAL] if name in EXACT_1 else [a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL)]
    boolean = PRIMITIVES[name].result == "bool"
    got = apply(name, *arguments, out="bool" if boolean else "float64", width=width)
    expected = by_numpy(name, arguments)
    if name in ("maximum", "minimum", "fmax", "fmin"):  # which of two zeros they give is open
        assert np.array_equal(got, expected, equal_nan=True)
    else:
        assert np.array_equal(got, expected) if boolean else same_bits(got, expected)


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("name", ["fmod", "mod", "floordiv"])
def test_remainders_are_exact(name: str, width: int) -> None:
    """Quotients of all sizes, and quotients that round up to the next integer."""
    b = np.exp2(RNG.uniform(-30, 30, 4000)) * RNG.choice([-1, 1], 4000)
    a = b * np.exp2(RNG.uniform(-5, 80, 4000)) * RNG.choice([-1, 1], 4000)
    near = np.nextafter(b * RNG.integers(1, 2**40, 4000), RNG.choice([-np.inf, np.inf], 4000))
    for dividend in (a, near):
        assert same_bits(apply(name, dividend, b, out="float64", width=width), by_numpy(name, [dividend, b]))


def test_where_takes_the_chosen_operand_only() -> None:
    condition = np.array([True, False, True])
    a, b = np.array([1.0, np.nan, -0.0]), np.array([np.nan, 2.0, np.inf])
    assert same_bits(apply("where", condition, a, b, out="float64", width=8), np.array([1.0, 2.0, -0.0]))


@pytest.mark.parametrize("order", [0, 1, 4])
def test_polygamma_of_each_order(order: int) -> None:
    x = RNG.uniform(0.2, 30, 50)
    got = apply("polygamma", x, out="float64", width=8, order=order)
    assert np.allclose(got, special.polygamma(order, x), rtol=1e-13, atol=0)


def test_outside_functions_are_named_and_never_addressed() -> None:
    for name in set(externs.SYMBOLS) - {"fmod"}:
        assert not has_lane_code(name)
        text = emit(elementwise(name, ["float64"], "float64", 8))
        assert f"@cr_{name}(" in text
        assert "inttoptr" not in text


# --- integers and bools -------------------------------------------------------------------------------------

INTEGERS = np.array([0, 1, -1, 2, 7, -7, 63, 64, 2**62, -(2**63), 2**63 - 1, 12345678901])


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(
    "name",
    [
        "add",
        "sub",
        "mul",
        "floordiv",
        "mod",
        "fmod",
        "maximum",
        "minimum",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
    ],
)
def test_integers_agree_with_numpy(name: str, dtype: str, width: int) -> None:
    a, b = (x.ravel().astype(dtype) for x in np.meshgrid(INTEGERS, INTEGERS))
    out = "bool" if PRIMITIVES[name].result == "bool" else dtype
    assert np.array_equal(apply(name, a, b, out=out, width=width), by_numpy(name, [a, b]))


@pytest.mark.parametrize("divisor", [1, 3, 8, -1, -5, 0])
def test_division_by_a_literal(divisor: int) -> None:
    a = np.arange(-20, 20)
    for name, function in (("floordiv", np.floor_divide), ("mod", np.mod)):
        body = ir.Store("y", index(), iop(name, load("a", index(), "int64"), integer(divisor)))
        y = np.empty_like(a)
        compiled(kernel([array("a", "int64"), SIZE, result("y", "int64")], [lanes([body])]))(a, a.size, y)
        with np.errstate(divide="ignore"):
            assert np.array_equal(y, function(a, divisor))


@pytest.mark.parametrize("width", [1, 8])
def test_shifts_and_powers(width: int) -> None:
    a, count = (x.ravel() for x in np.meshgrid(INTEGERS, [0, 1, 5, 31, 63, 64, 100]))
    for name in ("shift_left", "shift_right"):
        assert np.array_equal(apply(name, a, count, out="int64", width=width), by_numpy(name, [a, count]))
    assert np.array_equal(apply("pow", a, count, out="int64", width=width), np.power(a, count))
    for name in ("neg", "abs", "sign", "square", "bitwise_not", "floor", "round"):
        assert np.array_equal(apply(name, a, out="int64", width=width), by_numpy(name, [a]))


@pytest.mark.parametrize("width", [1, 8])
def test_bools_agree_with_numpy(width: int) -> None:
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    for name, entry in PRIMITIVES.items():
        if "b" in entry.accepts and entry.arity == 2:
            assert np.array_equal(apply(name, a, b, out="bool", width=width), by_numpy(name, [a, b])), name
    for name in ("logical_not", "bitwise_not"):
        assert np.array_equal(apply(name, a, out="bool", width=width), ~a)


def test_integers_become_floats_where_the_result_is_one() -> None:
    a = np.arange(1, 20)
    assert ulps(apply("div", a, a[::-1].copy(), out="float64", width=8), a / a[::-1]) == 0
    assert ulps(apply("log", a, out="float64", width=8), np.log(a)) <= 1


# --- conversions and literals -------------------------------------------------------------------------------

DTYPES = ["bool", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_casts_agree_with_astype(source: str, target: str, width: int) -> None:
    numbers = np.array([0.0, 1.0, -1.0, 2.75, -2.75, 1e6, -1e6, 0.1, -0.0, 300.0])
    given = numbers.astype(source)
    body = (ir.Store("y", index(), ir.Cast(load("a", index(), source), target)),)  # type: ignore[arg-type]
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", body, (), width)
    y = np.empty(given.shape, target)
    compiled(kernel([array("a", source), SIZE, result("y", target)], [loop]))(given, given.size, y)
    assert np.array_equal(y, given.astype(target))


def test_casts_outside_the_range_end_at_the_nearest_integer() -> None:
    given = np.array([1e30, -1e30, np.nan])
    body = (ir.Store("y", index(), ir.Cast(load("a", index()), "int64")),)
    y = np.empty(3, "int64")
    compiled(kernel([array("a"), SIZE, result("y", "int64")], [lanes(body)]))(given, 3, y)
    assert y.tolist() == [2**63 - 1, -(2**63), 0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_literals_keep_their_bits(dtype: Any) -> None:
    width = 64 if dtype == "float64" else 32
    values = [0.0, -0.0, 0.1, math.pi, 1e-310 if width == 64 else 1e-40, math.inf, -math.inf]
    patterns = [int.from_bytes(np.asarray(v, dtype).tobytes(), "little") for v in values]
    patterns.append(0x7FF8000000000123 if width == 64 else 0x7FC00123)  # a NaN with a payload
    stores = [ir.Store("y", integer(k), ir.Literal(bits, dtype)) for k, bits in enumerate(patterns)]
    y = np.empty(len(patterns), dtype)
    compiled(kernel([result("y", dtype)], stores))(y)
    assert y.view(f"uint{width}").tolist() == patterns


def test_integer_and_bool_literals() -> None:
    numbers = [0, -1, 2**63 - 1, -(2**63)]
    stores: list[ir.Stmt] = [ir.Store("y", integer(k), integer(v)) for k, v in enumerate(numbers)]
    stores.append(ir.Store("b", integer(0), literal(True, "bool")))
    y, b = np.empty(4, "int64"), np.zeros(1, bool)
    compiled(kernel([result("y", "int64"), result("b", "bool")], stores))(y, b)
    assert y.tolist() == numbers
    assert b[0]


def test_fma_rounds_once() -> None:
    a, b = 1 + 2.0**-30, 1 - 2.0**-30
    body: list[ir.Stmt] = [ir.Store("y", integer(0), ir.Fma(var("a"), var("b"), literal(-1.0), "float64"))]
    y = np.empty(1)
    compiled(kernel([scalar("a"), scalar("b"), result("y")], body))(a, b, y)
    assert y[0] == -(2.0**-60)


# --- the text -----------------------------------------------------------------------------------------------


def straight(count: int) -> ir.Kernel:
    """A chain of statements."""
    body: list[ir.Stmt] = [ir.Let("v0", var("a"))]
    for k in range(1, count):
        body.append(ir.Let(f"v{k}", op("add" if k % 2 else "mul", var(f"v{k - 1}"), var("a"))))
    return kernel([scalar("a"), result("y")], [*body, ir.Store("y", integer(0), var(f"v{count - 1}"))])


def test_same_kernel_same_text() -> None:
    assert emit(straight(50)) == emit(straight(50))


def test_no_flag_that_changes_results() -> None:
    text = emit(elementwise("exp", ["float64"], "float64", 16))
    assert not any(
        f" {flag} " in text for flag in ("fast", "contract", "reassoc", "nnan", "ninf", "nsz", "arcp", "afn")
    )


def test_all_levels_give_the_same_bits() -> None:
    """Sums, elementary functions and ends of arrays, from unoptimised code to the highest level."""
    value = op("mul", op("exp", load("x", index())), op("sin", load("x", index())))
    body: list[ir.Stmt] = [ir.Accumulate("s", value), ir.Store("y", index(), op("log", op("abs", value)))]
    tested = kernel(
        [array("x"), SIZE, result("y"), result("t")],
        [
            ir.Declare("s", literal(0.0)),
            lanes(body, [ir.Reduction("s", "sum", "float64")], ir.LANES),
            ir.Store("t", integer(0), var("s")),
        ],
    )
    x = RNG.normal(size=1003)
    results = []
    for level in range(4):
        y, t = np.empty_like(x), np.empty(1)
        compiled(tested, level)(x, x.size, y, t)
        results.append(y.tobytes() + t.tobytes())
    assert len(set(results)) == 1


def test_only_loops_in_order_are_given_to_loop_passes() -> None:
    assert suggested_level(straight(30_000)) == suggested_level(straight(50)) == 1
    assert suggested_level(kernel([SIZE], [ir.For("i", N, "serial", ())])) == 2
    assert suggested_level(kernel([SIZE], [lanes([])])) == 1
    y, tested = np.empty(1), straight(20_000)
    compiled(tested, 0)(0.5, y)
    expected = 0.5
    for k in range(1, 20_000):
        expected = expected + 0.5 if k % 2 else expected * 0.5
    assert y[0] == expected


def test_deep_expressions_need_no_recursion() -> None:
    expr: ir.Expr = var("a")
    for _ in range(20_000):
        expr = op("add", expr, literal(1.0))
    y = np.empty(1)
    compiled(kernel([scalar("a"), result("y")], [ir.Store("y", integer(0), expr)]), 0)(1.0, y)
    assert y[0] == 20_001


def test_an_elementary_function_stands_once_in_the_text() -> None:
    stores = [ir.Store("y", integer(k), op("exp", literal(float(k)))) for k in range(40)]
    text = emit(kernel([result("y")], stores))
    assert text.count("define internal double @exp.f64") == 1
    y = np.empty(40)
    compiled(kernel([result("y")], stores))(y)
    assert ulps(y, np.exp(np.arange(40.0))) <= 1


@pytest.mark.parametrize("width", [1, 8])
def test_sine_and_cosine_of_one_name_are_computed_together(width: int) -> None:
    def run(*body: ir.Stmt) -> Any:
        y, z = np.empty(x.size), np.empty(x.size)
        loop = ir.For(
            "i", N, "lanes" if width > 1 else "serial", (ir.Let("v", load("x", index())), *body), (), width
        )
        tested = kernel([array("x"), SIZE, result("y"), result("z")], [loop])
        compiled(tested)(x, x.size, y, z)
        return emit(tested), y, z

    x = np.concatenate([RNG.normal(size=30) * 10, [1e22, np.inf, np.nan, -0.0]])
    sine, cosine = ir.Store("y", index(), op("sin", var("v"))), ir.Store("z", index(), op("cos", var("v")))
    text, y, z = run(sine, cosine)
    assert text.count("@sincos.") == 2  # its definition and one call
    assert np.array_equal(y, run(sine)[1], equal_nan=True)
    assert np.array_equal(z, run(cosine)[2], equal_nan=True)
    apart = ir.If(predicate("gt", var("v"), literal(0.0)), (sine,), (sine,))
    assert np.array_equal(run(apart, cosine)[1], y, equal_nan=True)


def test_scalar_parameters_of_every_type() -> None:
    kinds = ["bool", "int32", "int64", "float32", "float64"]
    stores = [ir.Store("y", integer(k), ir.Cast(var(f"p{k}", d), "float64")) for k, d in enumerate(kinds)]
    y = np.empty(5)
    compiled(kernel([*(scalar(f"p{k}", d) for k, d in enumerate(kinds)), result("y")], stores))(
        True, -3, 2**40, 0.5, 0.1, y
    )
    assert y.tolist() == [1.0, -3.0, 2.0**40, 0.5, 0.1]


def test_names_that_llvm_would_not_take_as_they_are() -> None:
    tested = kernel(
        (scalar("μ"), scalar("entry"), result("y")),
        (
            ir.Let("a b", op("add", var("μ"), var("entry"))),
            ir.Store("y", integer(0), var("a b")),
        ),
    )
    y = np.empty(1)
    compiled(tested)(1.0, 2.0, y)
    assert y[0] == 3.0


def test_float32_is_stored_as_its_own_bits() -> None:
    number = np.float32(0.1)
    assert literal(number, "float32").bits == struct.unpack("<I", struct.pack("<f", 0.1))[0]


def test_comparison_of_sizes() -> None:
    y = np.zeros(1, bool)
    body: list[ir.Stmt] = [ir.Store("y", integer(0), predicate("lt", N, integer(5)))]
    run = compiled(kernel([SIZE, result("y", "bool")], body))
    run(4, y)
    assert y[0]
    run(5, y)
    assert not y[0]
