"""Sizes: canonical form, comparisons that follow, and the arithmetic against plain integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.graph import dim
from chainrule.graph.dim import at_least, broadcast, lower_bound, maximum, minimum, size, substitute

N, M = size("n"), size("m")

numbers = st.integers(-5, 5)
leaves = st.one_of(numbers, st.sampled_from([N, M]))
operations = st.sampled_from(["+", "-", "*", "//", "%", "min", "max"])
expressions = st.recursive(leaves, lambda e: st.tuples(operations, e, e), max_leaves=8)
sizes = st.fixed_dictionaries({"n": st.integers(2, 9), "m": st.integers(2, 9)})

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


def build(expression, minimum, maximum, leaf):
    """The expression computed with sizes or with integers."""
    if not isinstance(expression, tuple):
        return leaf(expression)
    operation, *operands = expression
    a, b = (build(o, minimum, maximum, leaf) for o in operands)
    return {"min": minimum, "max": maximum, **OPERATIONS}[operation](a, b)


@given(expressions, sizes)
def test_arithmetic_is_that_of_integers(expression, values):
    try:
        number = build(expression, min, max, lambda e: e if isinstance(e, int) else values[str(e)])
        symbolic = build(expression, minimum, maximum, lambda e: e)
    except ZeroDivisionError:
        return
    assert dim.evaluate(symbolic, values) == number
    assert dim.evaluate(substitute(symbolic, {"n": values["n"], "m": M}), values) == number
    assert substitute(symbolic, values) == number


@given(expressions, sizes)
def test_lower_bound_is_a_bound(expression, values):
    try:
        symbolic = build(expression, minimum, maximum, lambda e: e)
        number = dim.evaluate(symbolic, values)
    except ZeroDivisionError:
        return
    bound = lower_bound(symbolic)
    assert bound is None or bound <= number


@given(expressions)
def test_equal_polynomials_are_one(expression):
    try:
        a = build(expression, minimum, maximum, lambda e: e)
    except ZeroDivisionError:
        return
    assert (a + N) - N == a
    assert a * 2 == a + a
    assert a - a == 0
    assert (a * N) // N == a
    assert (a * N) % N == 0
    assert hash(a + M) == hash(M + a)


def test_canonical_text():
    assert str(2 * N - 1) == "2*n-1"
    assert str(M * N + N * M) == "2*m*n"
    assert str(-N + 3) == "-n+3"
    assert str(minimum(N, M)) == "min(n, m)"
    assert str((N + 1) // 2) == "((n+1)//(2))"


def test_comparisons_follow_from_the_least_size():
    assert at_least(N, 2)
    assert not at_least(N, 3)
    assert not at_least(N, M)
    assert at_least(N * M, N + 0 * M) is False  # not seen: n·m − n has a negative term
    assert at_least(N + M, N + 1)
    assert minimum(N + 1, N) == N
    assert maximum(N, 1) == N


def test_a_negative_divisor_gives_no_bound():
    assert lower_bound(N // (0 - M)) is None
    assert lower_bound(minimum(N, 3 - M)) is None


def test_division_by_zero_is_an_error():
    for divide in (dim.floordiv, dim.remainder):
        with pytest.raises(ZeroDivisionError):
            divide(N, 0)


def test_sizes_are_no_numbers():
    for convert in (bool, int, range):
        with pytest.raises(TypeError, match="size n"):
            convert(N)
    with pytest.raises(ValueError, match="identifier"):
        size("2n")


def test_names():
    assert dim.names((M + 1) // N + N) == ("n", "m") or dim.names((M + 1) // N + N) == ("m", "n")
    assert dim.names(3) == ()


def test_broadcast():
    assert broadcast((N, 1), (M,)) == (N, M)
    assert broadcast((2, 3), (), (3,)) == (2, 3)
    assert broadcast() == ()
    with pytest.raises(ValueError, match="give equal sizes the same name"):
        broadcast((N,), (M,))
    with pytest.raises(ValueError, match=r"\[3\] and \[4\] do not broadcast$"):
        broadcast((3,), (4,))


def test_product_and_show():
    assert dim.product((N, 2, N)) == 2 * N * N
    assert dim.product(()) == 1
    assert dim.show((N, 3)) == "[n, 3]"


def test_comparisons_that_every_size_answers_alike() -> None:
    assert N > 1 and N >= 2 and (1 < N) is True and not N < 2 and not N <= 1  # noqa: SIM300
    assert N + 1 > N and not N - 1 >= N
    with pytest.raises(TypeError, match=r"whether n > 2 is not known.*test_dim\.py"):
        N > 2  # noqa: B015
    with pytest.raises(TypeError, match="whether n <= m"):
        N <= M  # noqa: B015
