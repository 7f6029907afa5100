"""debug.print in compiled programs, and find_nan."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def talking(x: Any) -> Any:
    cr.debug.print("a {} {y}", x, y=2 * x)
    z = np.sin(x)
    cr.debug.print("b {:.3f}", z)
    return z**2


TALK = ["a 1.0 2.0", "b 0.841"]


@pytest.mark.parametrize(
    "run",
    [
        lambda: talking(1.0),
        lambda: cr.jit(talking)(1.0),
        lambda: cr.grad(talking)(1.0),
        lambda: cr.grad(cr.grad(talking))(1.0),
        lambda: cr.value_and_grad(talking)(1.0),
        lambda: cr.jacrev(talking)(1.0),
        lambda: cr.jacfwd(talking)(1.0),
        lambda: cr.hessian(talking)(1.0),
        lambda: cr.elementwise_grad(talking)(1.0),
        lambda: cr.jvp(talking, (1.0,), (1.0,)),
        lambda: cr.vmap(talking)(np.array([1.0])),
    ],
)
def test_each_call_prints_once(run: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run()
        assert lines(capsys) == TALK
    with cr.disable_jit():
        run()
    assert lines(capsys) == TALK


def test_prints_change_no_value() -> None:
    assert cr.jit(talking)(0.3) == cr.jit(lambda x: np.sin(x) ** 2)(0.3)
    assert cr.grad(talking)(0.3) == cr.grad(lambda x: np.sin(x) ** 2)(0.3)


def test_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    cr.vmap(talking)(np.array([1.0, 2.0]))
    assert lines(capsys) == [*TALK, "a 2.0 4.0", "b 0.909"]


def counting(x: Any, n: Any) -> Any:
    cr.debug.print("start")
    s = 0.0
    for i in range(n):
        cr.debug.print("{} {}", i, s)
        if s > 1:
            cr.debug.print("large")
        s = s + x
    cr.debug.print("end {}", s)
    return s


COUNT = ["start", "0 0.0", "1 0.5", "2 1.0", "3 1.5", "large", "end 2.0"]


@pytest.mark.parametrize("run", [cr.jit(counting), cr.grad(counting), cr.value_and_grad(counting)])
def test_loops_and_branches_in_order(run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(0.5, 4)
    assert lines(capsys) == COUNT


def test_an_unrolled_loop(capsys: pytest.CaptureFixture[str]) -> None:
    cr.jit(lambda x: counting(x, 4))(0.5)
    assert lines(capsys) == COUNT


def test_reverse_mode_through_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    weights = np.ones(5)
    cr.grad(lambda w: counting(w[0], 4) * np.prod(w))(weights / 2)
    assert lines(capsys) == COUNT


def test_functional_loops(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            cr.debug.print("invariant {}", x)
            return c * x

        return cr.fori_loop(0, 3, body, 1.0) + cr.cond(x > 0, lambda: _said("yes", x), lambda: _said("no", x))

    assert cr.jit(f)(2.0) == 10.0
    assert lines(capsys) == ["invariant 2.0"] * 3 + ["yes"]


def _said(text: str, x: Any) -> Any:
    cr.debug.print(text)
    return x


def test_arrays_and_pytrees(capsys: pytest.CaptureFixture[str]) -> None:
    def f(p: Any) -> Any:
        cr.debug.print("{p[a]} {name}", p=p, name="n")
        return np.sum(p["a"])

    cr.grad(f)({"a": np.array([1.0, 2.0])})
    assert lines(capsys) == ["[1. 2.] n"]


def test_bad_formats() -> None:
    with pytest.raises(TypeError, match="takes a format first"):
        cr.debug.print(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs a value for \{0\}"):
        cr.jit(lambda x: _said("{:d}", x))(1.0)
    f = cr.jit(lambda x: (cr.debug.print("{:d}", x), x)[1])
    with pytest.raises(ValueError, match="format"):
        f(1.0)
    with pytest.raises(TypeError, match="a program that prints returns something"):
        cr.jit(lambda x: cr.debug.print("{}", x))(1.0)
    assert cr.jit(lambda x: 2 * x)(1.0) == 2.0


# --- find_nan -------------------------------------------------------------------------------------------------


def masked(x: Any) -> Any:
    y = np.log(x)
    return np.where(x > 0, y, 0.0) + np.sqrt(x - 1)


def test_the_first_bad_operation() -> None:
    assert cr.find_nan(masked, 2.0) is None
    found = cr.find_nan(masked, -1.0)  # the logarithm is not chosen
    assert found is not None
    assert (found.op, found.in_derivative, found.steps) == ("sqrt", False, ())
    assert np.isnan(found.value)
    assert list(found.inputs.values()) == [-2.0]
    assert found.line == "return np.where(x > 0, y, 0.0) + np.sqrt(x - 1)"
    assert str(found.where).endswith(f"test_debug.py:{masked.__code__.co_firstlineno + 2}")
    assert repr(found).splitlines()[1].strip() == found.line


def test_names_of_inputs() -> None:
    def f(x: Any, scale: Any) -> Any:
        shifted = x - 3.0
        return np.sum(shifted / scale)

    found = cr.find_nan(f, np.ones(3), 0.0)
    assert found is not None
    assert found.op == "div"
    assert found.inputs["scale"] == 0.0
    np.testing.assert_array_equal(found.inputs["shifted"], [-2.0] * 3)
    assert "-inf at [0] of (3,) (3 not finite)" in repr(found)


def test_in_a_derivative() -> None:
    def f(x: Any) -> Any:
        return np.sqrt(x) * 2

    found = cr.find_nan(cr.grad(f), 0.0)
    assert found is not None
    assert found.in_derivative
    assert np.isinf(found.value)
    assert "in the derivative of what is at" in repr(found)
    assert cr.find_nan(cr.grad(f), 1.0) is None


def test_in_loops_and_branches() -> None:
    def f(x: Any, n: Any) -> Any:
        for _ in range(n):
            if x < 2:
                x = np.log(x)
            else:
                x -= 1.0
        return x

    assert cr.find_nan(f, 4.5, 4) is None
    found = cr.find_nan(f, 4.5, 10)  # 4.5 3.5 2.5 1.5 0.405 −0.903 nan
    assert found is not None
    assert (found.op, found.steps) == ("log", ("step 5",))
    assert found.line == "x = np.log(x)"
    np.testing.assert_allclose(list(found.inputs.values()), [np.log(np.log(1.5))])

    def g(x: Any) -> Any:
        while x < 100:
            x = x + 1 / (x - 5)
        return x

    found = cr.find_nan(g, 5.0)
    assert found is not None
    assert found.steps == ("step 0",)
    assert np.isinf(found.value)


def test_arguments_that_are_not_finite() -> None:
    found = cr.find_nan(masked, np.nan)
    assert found is not None
    assert found.op == "the argument x"


def test_through_custom_rules() -> None:
    f = cr.custom_jvp(lambda x: np.arccos(x))
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    found = cr.find_nan(lambda x: f(x) + 1, 2.0)
    assert found is not None
    assert found.op == "acos"


def test_find_nan_of_bad_input() -> None:
    with pytest.raises(TypeError, match="missing a required argument"):
        cr.find_nan(masked)
    with pytest.raises(TypeError, match="is a str"):
        cr.find_nan(masked, "a")
