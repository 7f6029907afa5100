"""Loops in LLVM text: lanes, their ends, strides and masks; reductions; where lanes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from chainrule.codegen import ir
from chainrule.codegen.to_llvm import emit
from chainrule.codegen.workspace import layout
from chainrule.graph.dim import size

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

RNG = np.random.default_rng(21)
LENGTHS = [0, 1, 3, 7, 8, 9, 16, 23, 100]


def store(place: ir.Expr, value: ir.Expr, guard: ir.Expr | None = None, to: str = "y") -> ir.Store:
    return ir.Store(to, place, value, guard)


def padded(count: int, dtype: str = "float64") -> tuple[Any, Any]:
    """An array, and a longer one that holds it and shows what is written beside it."""
    whole = np.full(count + 64, 77, dtype)
    return whole[32 : 32 + count], whole


def untouched(whole: Any) -> bool:
    return bool(np.all(whole[:32] == 77) and np.all(whole[-32:] == 77))


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 8, 16])
@pytest.mark.parametrize("count", LENGTHS)
def test_the_end_of_an_array_is_masked(count: int, width: int) -> None:
    body: list[ir.Stmt] = [store(index(), op("mul", load("x", index()), literal(2.0)))]
    for extent in (N, integer(count)):
        x = RNG.normal(size=count)
        y, whole = padded(count)
        compiled(kernel([array("x"), SIZE, result("y")], [lanes(body, width=width, extent=extent)]))(
            x, count, y
        )
        assert np.array_equal(y, 2 * x)
        assert untouched(whole)


@pytest.mark.parametrize("count", [3, 8, 21])
@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
def test_every_element_type_in_memory(dtype: str, count: int) -> None:
    x = (RNG.normal(size=count) * 3).astype(dtype)
    body: list[ir.Stmt] = [store(iop("sub", iop("sub", N, integer(1)), index()), load("x", index(), dtype))]
    y = np.empty_like(x)
    compiled(kernel([array("x", dtype), SIZE, result("y", dtype)], [lanes(body)]))(x, count, y)
    assert np.array_equal(y, x[::-1])


PLACES: dict[str, tuple[ir.Expr, Callable[[Any], Any]]] = {
    "constant": (integer(2), lambda i: 2 + 0 * i),
    "index": (index(), lambda i: i),
    "offset": (iop("add", integer(3), index()), lambda i: i + 3),
    "stride": (iop("add", iop("mul", index(), integer(3)), integer(1)), lambda i: 3 * i + 1),
    "reversed": (iop("add", iop("neg", index()), integer(40)), lambda i: 40 - i),
    "product": (
        iop("mul", iop("add", index(), integer(1)), iop("sub", index(), integer(-2))),
        lambda i: (i + 1) * (i + 2),
    ),
    "remainder": (iop("mod", index(), integer(3)), lambda i: i % 3),
    "gathered": (load("g", index(), "int64"), lambda i: (7 * i) % 50),
}


@pytest.mark.parametrize("count", [5, 13, 16])
@pytest.mark.parametrize("place", PLACES)
def test_loads_at_any_place(place: str, count: int) -> None:
    expr, where = PLACES[place]
    x, g = RNG.normal(size=400), (7 * np.arange(count)) % 50
    y = np.empty(count)
    parameters = [array("x"), array("g", "int64"), SIZE, result("y")]
    body: list[ir.Stmt] = [
        ir.Let("j", expr),
        store(index(), op("add", load("x", index("j")), ir.Cast(index("j"), "float64"))),
    ]
    compiled(kernel(parameters, [lanes(body)]))(x, g, count, y)
    j = where(np.arange(count))
    assert np.array_equal(y, x[j] + j)


@pytest.mark.parametrize("place", ["index", "offset", "stride", "reversed", "product", "gathered"])
def test_stores_at_any_place(place: str) -> None:
    expr, where = PLACES[place]
    count, g = 13, (7 * np.arange(13)) % 50
    y, whole = padded(400)
    compiled(
        kernel([array("g", "int64"), SIZE, result("y")], [lanes([store(expr, ir.Cast(index(), "float64"))])])
    )(g, count, y)
    expected = np.full(400, 77.0)
    expected[where(np.arange(count))] = np.arange(count)
    assert np.array_equal(y, expected)
    assert untouched(whole)


def test_neighbours_are_read_at_once_and_strides_are_gathered() -> None:
    def text(place: ir.Expr) -> str:
        return emit(kernel([array("x"), SIZE, result("y")], [lanes([store(index(), load("x", place))])]))

    assert "gather" not in text(iop("add", index(), integer(5)))
    assert "gather" in text(iop("mul", index(), integer(2)))
    assert "masked.load" not in text(integer(0))


def test_where_lanes_meet_the_last_one_stays() -> None:
    y = np.zeros(3)
    body: list[ir.Stmt] = [store(iop("mod", index(), integer(2)), ir.Cast(index(), "float64"))]
    compiled(kernel([SIZE, result("y")], [lanes(body)]))(7, y)
    assert y.tolist() == [6.0, 5.0, 0.0]


@pytest.mark.parametrize("width", [1, 8])
def test_a_guarded_load_does_not_touch_memory(width: int) -> None:
    """x is far too short; where the guard fails the value is zero."""
    count, x = 19, RNG.normal(size=4)
    far = iop("mul", index(), integer(1 << 40))
    inside = predicate("lt", index(), integer(4))
    guarded = load("x", ir.Apply("where", (inside, index(), far), "int64"), guard=inside)
    invariant = load("x", integer(1 << 50), guard=predicate("lt", N, integer(0)))
    partly = load("x", integer(2), guard=inside)
    value = op("add", op("add", guarded, invariant), partly)
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", (store(index(), value),), (), width)
    y = np.empty(count)
    compiled(kernel([array("x"), SIZE, result("y")], [loop]))(x, count, y)
    expected = np.zeros(count)
    expected[:4] = x + x[2]
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("width", [1, 8])
def test_a_guarded_store_leaves_memory_alone(width: int) -> None:
    positive = predicate("gt", load("x", index()), literal(0.0))
    body = (
        store(index(), load("x", index()), positive),
        store(integer(0), literal(5.0), predicate("gt", N, integer(100)), to="z"),
    )
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", body, (), width)
    x, y, z = RNG.normal(size=21), np.full(21, 9.0), np.zeros(1)
    compiled(kernel([array("x"), SIZE, result("y"), result("z")], [loop]))(x, 21, y, z)
    assert np.array_equal(y, np.where(x > 0, x, 9.0))
    assert z[0] == 0


def test_scratch_memory() -> None:
    """A row of scratch for the whole kernel, sized by n, and three elements for each lane."""
    rows = (ir.Alloc("a", "float64", size("n") * 2), ir.Alloc("flag", "bool", size("n")))
    inner = (
        ir.Alloc("own", "float64", 3),
        ir.For(
            "k",
            integer(3),
            "serial",
            (store(index("k"), op("mul", load("x", index()), ir.Cast(index("k"), "float64")), to="own"),),
        ),
        ir.Let("which", iop("mod", index(), integer(3))),
        store(
            iop("add", N, index()), op("add", load("own", index("which")), load("own", integer(1))), to="a"
        ),
        store(index(), predicate("gt", load("x", index()), literal(0.0)), to="flag"),
    )
    back = (
        store(
            index("m"),
            op("where", load("flag", index("m"), "bool"), load("a", iop("add", N, index("m"))), literal(0.0)),
        ),
    )
    body = (*rows, lanes(inner), ir.For("m", N, "lanes", back, (), 8))
    needed = layout(body)[1]
    x = RNG.normal(size=29)
    y, space = np.empty(29), np.empty(1 << 16, np.uint8)
    compiled(kernel([array("x"), SIZE, result("y")], body, needed))(x, 29, y, space)
    assert np.array_equal(y, np.where(x > 0, x * (np.arange(29) % 3) + x, 0.0))


# --- reductions ---------------------------------------------------------------------------------------------


def lane_tree(values: Any, combine: Any, neutral: Any, width: int) -> Any:
    """The reduction as LoopIR defines it, element by element: lanes, then halves onto halves."""
    accumulators = [neutral] * width
    for i, value in enumerate(values):
        accumulators[i % width] = combine(accumulators[i % width], value)
    while len(accumulators) > 1:
        half = len(accumulators) // 2
        accumulators = [combine(accumulators[k], accumulators[k + half]) for k in range(half)]
    return accumulators[0]


def reduced(kind: Any, dtype: Any, start: Any, x: Any, width: int, guard: ir.Expr | None = None) -> Any:
    y = np.empty(1, dtype)
    body: list[ir.Stmt] = [
        ir.Declare("s", literal(start, dtype)),
        ir.For(
            "i",
            N,
            "lanes" if width > 1 else "serial",
            (ir.Accumulate("s", load("x", index(), dtype), guard),),
            (ir.Reduction("s", kind, dtype),),
            width,
        ),
        store(integer(0), var("s", dtype)),
    ]
    compiled(kernel([array("x", dtype), SIZE, result("y", dtype)], body))(x, x.size, y)
    return y[0]


@pytest.mark.parametrize("width", [1, 2, 8, 16])
@pytest.mark.parametrize("count", LENGTHS)
def test_sums_are_a_tree_over_lanes(count: int, width: int) -> None:
    x = RNG.normal(size=count) * 10.0 ** RNG.integers(-8, 8, count)
    if width == 1:
        expected = 0.25
        for value in x:
            expected += value
    else:
        expected = 0.25 + lane_tree(x, lambda a, b: a + b, -0.0, width)
    assert reduced("sum", "float64", 0.25, x, width) == expected


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("count", [0, 5, 8, 30])
def test_other_reductions(count: int, dtype: str, width: int) -> None:
    x = RNG.integers(-5, 6, count).astype(dtype)
    assert reduced("sum", dtype, 3, x, width) == 3 + x.sum(dtype=dtype)
    assert reduced("prod", dtype, 2, x[:10], width) == 2 * x[:10].prod(dtype=dtype)
    assert reduced("min", dtype, 4, x, width) == min([4, *x])
    assert reduced("max", dtype, -4, x, width) == max([-4, *x])


@pytest.mark.parametrize("width", [1, 8])
def test_logical_reductions_and_nans(width: int) -> None:
    for x in (np.zeros(13, bool), np.ones(13, bool), np.arange(13) == 11, np.arange(13) != 11):
        assert reduced("any", "bool", False, x, width) == x.any()
        assert reduced("all", "bool", True, x, width) == x.all()
    with_nan = np.where(np.arange(20) == 12, np.nan, 1.0)
    assert np.isnan(reduced("max", "float64", -np.inf, with_nan, width))
    assert np.isnan(reduced("min", "float64", np.inf, with_nan, width))
    assert reduced("min", "float64", np.inf, np.empty(0), width) == np.inf


@pytest.mark.parametrize("width", [1, 8])
def test_a_guarded_accumulation(width: int) -> None:
    x = RNG.integers(-9, 9, 45).astype(float)
    guard = predicate("gt", load("x", index()), literal(0.0))
    assert reduced("sum", "float64", 0.0, x, width, guard) == x[x > 0].sum()


def test_a_sum_of_negative_zeros_keeps_the_sign() -> None:
    assert np.signbit(reduced("sum", "float64", -0.0, np.full(5, -0.0), 8))


def test_nested_loops_and_two_reductions() -> None:
    """Row sums in lanes inside a serial loop, and a total over an inner serial loop inside lanes."""
    row = iop("add", iop("mul", index("r"), integer(10)), index())
    rows = (
        ir.Declare("s", literal(0.0)),
        ir.Declare("biggest", literal(-np.inf)),
        lanes(
            [ir.Let("v", load("x", row)), ir.Accumulate("s", var("v")), ir.Accumulate("biggest", var("v"))],
            [ir.Reduction("s", "sum", "float64"), ir.Reduction("biggest", "max", "float64")],
            extent=integer(10),
        ),
        store(index("r"), op("add", var("s"), var("biggest"))),
    )
    x = RNG.integers(0, 100, (6, 10)).astype(float)
    y, z = np.empty(6), np.empty(1)
    column = iop("add", iop("mul", index("r"), integer(10)), index())
    inner = ir.For("r", integer(6), "serial", (ir.Accumulate("t", load("x", column)),))
    total = (
        ir.Declare("t", literal(0.0)),
        lanes([inner], [ir.Reduction("t", "sum", "float64")], extent=integer(10)),
        store(integer(0), var("t"), to="z"),
    )
    compiled(kernel([array("x"), result("y")], [ir.For("r", integer(6), "serial", rows)]))(x, y)
    compiled(kernel([array("x"), result("z")], total))(x, z)
    assert np.array_equal(y, x.sum(1) + x.max(1))
    assert z[0] == x.sum()


def test_parallel_loops_run() -> None:
    y = np.empty(50)
    body = (store(index(), ir.Cast(index(), "float64")),)
    compiled(kernel([SIZE, result("y")], [ir.For("i", N, "parallel", body)]))(50, y)
    assert np.array_equal(y, np.arange(50))


# --- branches and loops -------------------------------------------------------------------------------------


def on_each(
    body: Sequence[ir.Stmt], x: Any, width: int, extra: Sequence[Any] = (), more: Sequence[ir.Parameter] = ()
) -> Any:
    """Run a body that reads x[i] and stores y[i], for all i."""
    y = np.full(x.size, -1.0)
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", tuple(body), (), width)
    compiled(kernel([array("x"), *more, SIZE, result("y")], [loop]))(x, *extra, x.size, y)
    return y


BOTH = pytest.mark.parametrize("width", [1, 8])
POSITIVE = predicate("gt", load("x", index()), literal(0.0))


def assign(name: str, function: str, *others: ir.Expr) -> ir.Assign:
    return ir.Assign(name, op(function, var(name), *others))


@BOTH
def test_branches(width: int) -> None:
    body: list[ir.Stmt] = [
        ir.Declare("v", load("x", index())),
        ir.If(POSITIVE, (assign("v", "mul", literal(2.0)),), (assign("v", "sub", literal(1.0)),)),
        ir.If(
            predicate("gt", N, integer(3)),
            (assign("v", "add", literal(10.0)),),
            (assign("v", "mul", literal(0.0)),),
        ),
        ir.If(POSITIVE, (ir.If(predicate("gt", var("v"), literal(11.0)), (assign("v", "neg"),)),)),
        store(index(), var("v")),
    ]
    x = RNG.normal(size=37)
    expected = np.where(x > 0, 2 * x, x - 1) + 10
    assert np.array_equal(on_each(body, x, width), np.where((x > 0) & (expected > 11), -expected, expected))


@BOTH
def test_each_lane_leaves_a_while_on_its_own(width: int) -> None:
    """The number of halvings until x ≤ 1, and the value then."""
    body: list[ir.Stmt] = [
        ir.Declare("v", op("abs", load("x", index()))),
        ir.Declare("count", literal(0.0)),
        ir.While(
            (ir.Let("more", predicate("gt", var("v"), literal(1.0))),),
            var("more", "bool"),
            (assign("v", "mul", literal(0.5)), assign("count", "add", literal(1.0))),
        ),
        store(index(), op("add", var("v"), op("mul", literal(100.0), var("count")))),
    ]
    x = np.exp(RNG.normal(size=43) * 4)
    count = np.maximum(0, np.ceil(np.log2(x)))
    assert np.array_equal(on_each(body, x, width), x * 0.5**count + 100 * count)


@BOTH
def test_lanes_count_the_steps_of_a_while_together(width: int) -> None:
    """Each lane fills its own memory step by step, so that lanes lie side by side; then reads it last step first."""
    k, j, steps = (ir.Var(name, "int64") for name in ("k", "j", "steps"))
    body: list[ir.Stmt] = [
        ir.Alloc("w", "float64", 12),
        ir.Declare("v", load("x", index())),
        ir.Declare("steps", integer(0)),
        ir.While(
            (),
            predicate("ge", var("v"), literal(1.0)),
            (
                ir.Store("w", k, var("v")),
                ir.Assign("v", op("floor", op("div", var("v"), literal(2.0)))),
                ir.Assign("steps", iop("add", k, integer(1))),
            ),
            "k",
        ),
        ir.Declare("back", literal(0.0)),
        ir.For("j", steps, "serial", (
            ir.Assign("back", op("add", op("mul", var("back"), literal(2.0)), op("mod", load("w", j), literal(2.0)))),
        ), descending=True),
        store(index(), var("back")),
    ]  # fmt: skip
    x = RNG.integers(0, 2000, 45).astype(float)
    loop = ir.For("i", N, "lanes" if width > 1 else "serial", tuple(body), (), width)
    made = kernel([array("x"), SIZE, result("y")], [loop], workspace=layout((loop,))[1])
    y, scratch = np.zeros(45), np.zeros(16 * width)
    compiled(made)(x, 45, y, scratch)
    assert np.array_equal(y, x)  # the digits of x from the highest one down make x
    assert "gather" not in emit(made) and "scatter" not in emit(made)


@BOTH
@pytest.mark.parametrize("extent", [0, 1, 5])
def test_a_descending_loop(width: int, extent: int) -> None:
    """Its last index comes first, also where lanes have different ones."""
    k = ir.Var("k", "int64")
    step = (ir.Assign("v", op("add", op("mul", var("v"), literal(10.0)), ir.Cast(k, "float64"))),)
    for own in (integer(extent), ir.Cast(load("x", index()), "int64")):
        body: list[ir.Stmt] = [
            ir.Declare("v", literal(0.0)),
            ir.For("k", own, "serial", step, descending=True),
            store(index(), var("v")),
        ]
        x = RNG.integers(0, 6, 41).astype(float) if own != integer(extent) else np.full(41, extent)
        assert np.array_equal(on_each(body, x, width), [float("0" + "543210"[6 - int(n) :]) for n in x])


@BOTH
def test_a_loop_that_is_the_same_for_all_lanes_stays_scalar(width: int) -> None:
    body: list[ir.Stmt] = [
        ir.Declare("k", integer(0)),
        ir.Declare("v", literal(0.0)),
        ir.While(
            (),
            predicate("lt", index("k"), N),
            (
                assign("v", "add", op("mul", load("x", index("k")), load("x", index()))),
                ir.Assign("k", iop("add", index("k"), integer(1))),
            ),
        ),
        store(index(), var("v")),
    ]
    x = RNG.integers(-9, 9, 20).astype(float)
    assert np.array_equal(on_each(body, x, width), x.sum() * x)
    text = emit(kernel([array("x"), SIZE, result("y")], [lanes(body)]))
    assert "gather" not in text


@BOTH
def test_break_in_a_branch_leaves_the_loop_for_some_lanes(width: int) -> None:
    """The first k with k² > x, in a loop of 30 steps; what follows the break is not run."""
    body: list[ir.Stmt] = [
        ir.Declare("found", literal(-5.0)),
        ir.Declare("steps", literal(0.0)),
        ir.For(
            "k",
            integer(30),
            "serial",
            (
                ir.Let("f", ir.Cast(index("k"), "float64")),
                ir.If(
                    predicate("gt", op("mul", var("f"), var("f")), load("x", index())),
                    (ir.Assign("found", var("f")), ir.Break()),
                ),
                assign("steps", "add", literal(1.0)),
            ),
        ),
        store(index(), op("add", var("found"), op("mul", literal(1000.0), var("steps")))),
    ]
    x = RNG.uniform(-3, 1200, 45)
    found = np.where(x < 0, 0.0, np.floor(np.sqrt(np.maximum(x, 0))) + 1)
    found = np.where(found > 29, -5.0, found)
    assert np.array_equal(on_each(body, x, width), found + 1000 * np.where(found < 0, 30, found))


@BOTH
def test_nested_breaks_leave_the_inner_loop_only(width: int) -> None:
    body: list[ir.Stmt] = [
        ir.Declare("v", literal(0.0)),
        ir.For(
            "a",
            integer(4),
            "serial",
            (
                ir.For(
                    "b",
                    integer(10),
                    "serial",
                    (
                        ir.If(
                            POSITIVE,
                            (
                                ir.If(
                                    predicate("gt", ir.Cast(index("b"), "float64"), load("x", index())),
                                    (ir.Break(),),
                                ),
                                assign("v", "add", literal(1.0)),
                            ),
                            (
                                ir.If(predicate("ge", index("b"), integer(2)), (ir.Break(),)),
                                assign("v", "sub", literal(1.0)),
                            ),
                        ),
                    ),
                ),
                ir.If(predicate("gt", var("v"), literal(15.0)), (ir.Break(),)),
                assign("v", "add", literal(0.125)),
            ),
        ),
        store(index(), var("v")),
    ]
    x = RNG.uniform(-3, 12, 50)
    expected = []
    for value in x:
        v = 0.0
        for _ in range(4):
            for b in range(10):
                if value > 0:
                    if b > value:
                        break
                    v += 1
                else:
                    if b >= 2:
                        break
                    v -= 1
            if v > 15:
                break
            v += 0.125
        expected.append(v)
    assert on_each(body, x, width).tolist() == expected


@BOTH
def test_each_lane_has_its_own_trip_count(width: int) -> None:
    count = ir.Cast(op("floor", op("abs", load("x", index()))), "int64")
    body: list[ir.Stmt] = [
        ir.Declare("v", literal(0.0)),
        ir.For(
            "k",
            count,
            "serial",
            (ir.Accumulate("v", ir.Cast(index("k"), "float64")),),
            (ir.Reduction("v", "sum", "float64"),),
        ),
        store(index(), var("v")),
    ]
    x = RNG.uniform(-20, 20, 33)
    n = np.floor(np.abs(x))
    assert np.array_equal(on_each(body, x, width), n * (n - 1) / 2)


@BOTH
def test_accumulation_and_stores_inside_a_branch(width: int) -> None:
    body: list[ir.Stmt] = [
        ir.Declare("t", literal(0.0)),
        ir.For(
            "i",
            N,
            "lanes" if width > 1 else "serial",
            (ir.If(POSITIVE, (ir.Accumulate("t", load("x", index())), store(index(), load("x", index())))),),
            (ir.Reduction("t", "sum", "float64"),),
            width,
        ),
        store(integer(0), var("t"), to="z"),
    ]
    x, y, z = RNG.integers(-9, 9, 41).astype(float), np.zeros(41), np.zeros(1)
    compiled(kernel([array("x"), SIZE, result("y"), result("z")], body))(x, 41, y, z)
    assert z[0] == x[x > 0].sum()
    assert np.array_equal(y, np.where(x > 0, x, 0))


@BOTH
def test_a_loop_inside_a_branch_runs_for_its_lanes_only(width: int) -> None:
    """The other lanes would never end."""
    body: list[ir.Stmt] = [
        ir.Declare("v", load("x", index())),
        ir.If(
            POSITIVE,
            (ir.While((), predicate("gt", var("v"), literal(0.0)), (assign("v", "sub", literal(1.0)),)),),
            (ir.While((), predicate("lt", var("v"), literal(0.0)), (assign("v", "add", literal(1.0)),)),),
        ),
        store(index(), var("v")),
    ]
    x = RNG.normal(size=30) * 5
    got = on_each(body, x, width)
    assert np.all(got[x > 0] <= 0) and np.all(got[x > 0] > -1)
    assert np.all(got[x < 0] >= 0) and np.all(got[x < 0] < 1)


@BOTH
def test_variables_of_every_type_in_branches(width: int) -> None:
    body: list[ir.Stmt] = [
        ir.Declare("flag", literal(False, "bool")),
        ir.Declare("number", integer(7)),
        ir.If(
            POSITIVE,
            (ir.Assign("flag", literal(True, "bool")), ir.Assign("number", iop("add", index(), integer(1)))),
        ),
        store(index(), op("where", var("flag", "bool"), ir.Cast(index("number"), "float64"), literal(-2.0))),
    ]
    x = RNG.normal(size=20)
    assert np.array_equal(on_each(body, x, width), np.where(x > 0, np.arange(20) + 1.0, -2.0))


def test_parameters_are_invariant_in_lanes() -> None:
    body: list[ir.Stmt] = [
        ir.Let("scaled", op("exp", var("p"))),
        store(index(), op("mul", op("mul", var("scaled"), load("x", index())), op("sin", var("p")))),
    ]
    x = RNG.normal(size=11)
    got = on_each(body, x, 8, [0.3], [scalar("p")])
    assert np.allclose(got, np.exp(0.3) * x * np.sin(0.3), rtol=1e-15, atol=0)


def test_break_leaves_a_scalar_loop() -> None:
    body: list[ir.Stmt] = [
        ir.Declare("v", literal(0.0)),
        ir.For(
            "k",
            N,
            "serial",
            (
                ir.If(
                    predicate("gt", load("x", index("k")), literal(1.0)),
                    (ir.Break(),),
                    (assign("v", "add", literal(1.0)),),
                ),
            ),
        ),
        store(integer(0), var("v")),
    ]
    y = np.empty(1)
    run = compiled(kernel([array("x"), SIZE, result("y")], body))
    for x in ([0.0, 0.5, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]):
        run(np.array(x), 4, y)
        assert y[0] == next((k for k, v in enumerate(x) if v > 1), 4)


def test_an_outside_function_is_called_with_buffers_and_numbers() -> None:
    """memset of the C library, which every process has."""
    y = np.ones(4)
    body: list[ir.Stmt] = [ir.Call("memset", ("y", literal(0, "int32"), iop("mul", N, integer(8))))]
    compiled(kernel([SIZE, result("y")], body))(3, y)
    assert y.tolist() == [0.0, 0.0, 0.0, 1.0]
