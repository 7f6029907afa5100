"""What a valid kernel is: each way to break one is found, and named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chainrule.codegen import ir
from chainrule.codegen.verify import VerifyError, verify
from chainrule.codegen.workspace import layout
from chainrule.graph.dim import size

from .kernels import (
    SIZE,
    N,
    array,
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

PARAMETERS = (array("x"), scalar("a"), scalar("flag", "bool"), SIZE, result("y"))
ONE = literal(1.0)
YES = literal(True, "bool")
SUM = ir.Reduction("s", "sum", "float64")
LOGS = ir.Reduction("s", "sum_of_logs", "float64")


def serial(*body: ir.Stmt, extent: ir.Expr = N) -> ir.For:
    return ir.For("i", extent, "serial", body)


def let(value: ir.Expr) -> ir.Let:
    return ir.Let("v", value)


VALID: dict[str, Sequence[ir.Stmt]] = {
    "nothing": [],
    "names of outer blocks": [ir.Let("b", var("a")), serial(ir.If(YES, (let(op("add", var("b"), ONE)),)))],
    "a while sees its head": [
        ir.While((ir.Let("c", YES),), var("c", "bool"), (ir.Let("d", var("c", "bool")),))
    ],
    "a sum in lanes": [ir.Declare("s", ONE), lanes([ir.Accumulate("s", ONE)], [SUM])],
    "a break in lanes' inner loop": [lanes([ir.For("k", N, "serial", (ir.If(YES, (ir.Break(),)),))])],
    "integers that become floats": [let(op("div", integer(1), integer(2)))],
    "the same block twice": [
        ir.If(YES, (ir.Store("y", integer(0), ONE),), (ir.Store("y", integer(0), ONE),))
    ],
    "a while sees its number of steps": [
        ir.While((let(ir.Var("k", "int64")),), YES, (ir.Let("d", ir.Var("k", "int64")),), "k")
    ],
    "descending": [ir.For("k", N, "serial", (let(ir.Var("k", "int64")),), descending=True)],
    "a variable of the lanes": [lanes([ir.Declare("v", ONE), ir.Assign("v", ONE)])],
    "polygamma": [let(op("polygamma", integer(2), ONE))],
}

INVALID: dict[str, tuple[Sequence[ir.Stmt], str]] = {
    "unbound name": ([let(var("b"))], "'b' is not bound here"),
    "bound later": ([let(var("w")), ir.Let("w", ONE)], "'w' is not bound here"),
    "out of scope": ([ir.If(YES, (let(ONE),)), ir.Let("w", var("v"))], "'v' is not bound here"),
    "head is forgotten": (
        [ir.While((let(YES),), YES, ()), ir.Let("w", var("v", "bool"))],
        "'v' is not bound here",
    ),
    "bound twice": ([let(ONE), let(ONE)], "'v' is bound twice"),
    "shadows a parameter": ([ir.Let("a", ONE)], "'a' is bound twice"),
    "loop index twice": ([serial(), serial()], "'i' is bound twice"),
    "a buffer as a value": ([let(var("x"))], "'x' is not bound here"),
    "a value as a buffer": ([let(load("a", integer(0)))], "'a' is not a buffer"),
    "wrong dtype of a name": ([let(var("a", "float32"))], "'a' is float64, not float32"),
    "wrong dtype of a buffer": ([let(load("x", integer(0), "int64"))], "'x' holds no int64"),
    "float index": ([let(load("x", ONE))], "an index is int64"),
    "guard": ([let(load("x", integer(0), guard=ONE))], "a guard is bool"),
    "literal": ([let(ir.Literal(2, "bool"))], "not those of a bool"),
    "unknown primitive": ([let(op("frobnicate", ONE))], "no primitive 'frobnicate'"),
    "arity": ([let(op("add", ONE))], "add takes 2 arguments, not 1"),
    "mixed dtypes": ([let(op("add", ONE, integer(1)))], "add mixes float64, int64"),
    "kind not accepted": ([let(op("add", YES, YES, dtype="bool"))], "add does not take bool"),
    "dtype of the result": ([let(op("add", integer(1), integer(1)))], "add of int64 is not float64"),
    "comparison": ([let(op("lt", ONE, ONE))], "lt of float64 is not float64"),
    "float result": ([let(iop("exp", integer(1)))], "exp gives floats"),
    "condition of where": ([let(op("where", ONE, ONE, ONE))], "a condition is bool"),
    "complex": ([let(op("complex", ONE, ONE))], "a pair of real ones"),
    "order of polygamma": ([let(op("polygamma", ir.Cast(var("a"), "int64"), ONE))], "literals"),
    "fma of integers": ([let(ir.Fma(integer(1), integer(1), integer(1), "int64"))], "fma is for floats"),
    "inner expression": ([let(op("neg", op("neg", op("add", ONE, integer(1)))))], "add mixes"),
    "assign to a value": ([let(ONE), ir.Assign("v", ONE)], "'v' is not a variable"),
    "assign another dtype": (
        [ir.Declare("v", ONE), ir.Assign("v", integer(1))],
        "the value is float64, not int64",
    ),
    "assign from lanes": ([ir.Declare("v", ONE), lanes([ir.Assign("v", ONE)])], "iterations are independent"),
    "assign to a reduction": (
        [ir.Declare("s", ONE), ir.For("i", N, "serial", (ir.Assign("s", ONE),), (SUM,))],
        "only Accumulate",
    ),
    "read a reduction": ([ir.Declare("s", ONE), lanes([let(var("s"))], [SUM])], "no value inside its loop"),
    "accumulate outside": ([ir.Declare("s", ONE), ir.Accumulate("s", ONE)], "no reduction of a loop around"),
    "accumulate another dtype": (
        [ir.Declare("s", ONE), lanes([ir.Accumulate("s", integer(1))], [SUM])],
        "the value is",
    ),
    "undeclared reduction": ([lanes([], [SUM])], "'s' is not a float64 variable"),
    "reduction from outside": (
        [ir.Declare("s", ONE), ir.For("k", N, "parallel", (lanes([], [SUM]),))],
        "iterations are independent",
    ),
    "sum of bools": ([ir.Declare("s", YES), lanes([], [ir.Reduction("s", "sum", "bool")])], "no sum of bool"),
    "logarithms in order": (
        [ir.Declare("s", ONE), ir.For("k", N, "serial", (), (LOGS,))],
        "only lanes sum logarithms",
    ),
    "logarithms in one lane": ([ir.Declare("s", ONE), lanes([], [LOGS], width=1)], "only lanes sum logarithms"),
    "reduced twice": (
        [ir.Declare("s", ONE), ir.For("k", N, "serial", (lanes([], [SUM]),), (SUM,))],
        "a reduction of a loop around",
    ),
    "store to an argument": ([ir.Store("x", integer(0), ONE)], "'x' is read-only"),
    "store to nothing": ([ir.Store("z", integer(0), ONE)], "'z' is not a buffer"),
    "store another dtype": ([ir.Store("y", integer(0), integer(0))], "the value is float64, not int64"),
    "number of steps after the loop": (
        [ir.While((), YES, (), "k"), let(ir.Var("k", "int64"))],
        "'k' is not bound here",
    ),
    "descending lanes": ([ir.For("k", N, "lanes", (), (), 8, descending=True)], "a lanes loop that is descending"),
    "break out of a descending loop": (
        [ir.For("k", N, "serial", (ir.If(YES, (ir.Break(),)),), descending=True)],
        "not one that Break may leave",
    ),
    "extent": ([serial(extent=ONE)], "an extent is int64"),
    "width": ([lanes([], width=12)], "12 is not a power of two"),
    "lanes in lanes": ([lanes([ir.For("k", N, "lanes", (), (), 8)])], "a lanes loop inside a lanes loop"),
    "condition of if": ([ir.If(ONE, ())], "a condition is bool"),
    "condition of while": ([ir.While((), ONE, ())], "a condition is bool"),
    "break outside": ([ir.Break()], "not one that Break may leave"),
    "break out of lanes": ([lanes([ir.If(YES, (ir.Break(),))])], "not one that Break may leave"),
    "code after break": ([serial(ir.Break(), let(ONE))], "nothing may follow Break"),
    "break as a head": ([ir.While((ir.Break(),), YES, ())], "stands in a branch"),
    "call in lanes": ([lanes([ir.Call("f", ())])], "no outside functions"),
    "call with an unknown buffer": ([ir.Call("f", ("z",))], "'z' is not a buffer"),
    "size of scratch": ([ir.Alloc("w", "float64", size("m"))], "the size 'm' is not known"),
    "workspace": ([ir.Alloc("w", "float64", 100)], "the workspace of 0 bytes is less"),
}


@pytest.mark.parametrize("name", VALID)
def test_valid_kernels_pass(name: str) -> None:
    verify(kernel(PARAMETERS, VALID[name]))


@pytest.mark.parametrize("name", INVALID)
def test_invalid_kernels_fail(name: str) -> None:
    body, message = INVALID[name]
    with pytest.raises(VerifyError) as failure:
        verify(kernel(PARAMETERS, body))
    assert message in str(failure.value)
    assert str(failure.value).startswith("kernel k: ")


def test_the_statement_is_named() -> None:
    with pytest.raises(VerifyError, match="in Assign"):
        verify(kernel(PARAMETERS, [serial(let(ONE), ir.Assign("v", ONE))]))


def test_parameters() -> None:
    with pytest.raises(VerifyError, match="bound twice"):
        verify(kernel([scalar("a"), array("a")], []))
    with pytest.raises(VerifyError, match="no dtype"):
        verify(kernel([scalar("a", "complex128")], []))
    with pytest.raises(VerifyError, match="not int64"):
        verify(kernel([ir.Parameter("n", "size", "float64")], []))
    with pytest.raises(VerifyError, match="not one in C"):
        verify(ir.Kernel("my kernel", (), ()))


def test_a_long_kernel_and_a_deep_expression() -> None:
    deep: ir.Expr = var("a")
    for _ in range(5000):
        deep = op("neg", deep)
    verify(
        kernel(
            PARAMETERS,
            [ir.Let(f"v{k}", predicate("eq", ONE, ONE)) for k in range(5000)] + [ir.Let("d", deep)],
        )
    )


def test_workspace_layout() -> None:
    """Buffers begin at multiples of 64 bytes; a lane's own buffers count once for each lane."""
    body = (
        ir.Alloc("a", "bool", 65),
        ir.Alloc("b", "float64", size("n")),
        lanes([ir.Alloc("c", "float32", 3)], width=8),
        ir.If(YES, (ir.Alloc("d", "int64", 1),)),
    )
    buffers, total = layout(body)
    assert [buffers[name].copies for name in "abcd"] == [1, 1, 8, 1]
    assert buffers["a"].offset == 0 and buffers["b"].offset == 128
    needed = (total - buffers["d"].offset, buffers["d"].offset - buffers["c"].offset)
    assert needed == (64, 128)
    verify(kernel([SIZE], body, total))


def test_index_names_are_visible_in_their_loop_only() -> None:
    with pytest.raises(VerifyError, match="'i' is not bound"):
        verify(kernel(PARAMETERS, [serial(ir.Store("y", index(), ONE)), ir.Let("w", index())]))
