"""What cannot become branches and loops is refused: at the user's line, with what to do instead."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import chainrule as cr

VECTOR = np.array([3.0, 1.0, 2.0])
CASES: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str, str]] = []


def refused(*args: Any, kind: type[Exception] = TypeError, words: str, at: str) -> Callable[..., Any]:
    """Enter a program with arguments, the error's kind and some of its words, and a part of the line it is at."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((f, args, kind, words, at))
        return f

    return enter


# --- lengths that depend on data --------------------------------------------------------------------------------


@refused(VECTOR, words="condition of a comprehension.*np.sort", at="less =")
def quicksort(v: Any) -> Any:
    if len(v) <= 1:
        return v
    pivot = v[0]
    less = [x for x in v[1:] if x < pivot]
    more = [x for x in v[1:] if x >= pivot]
    return np.concatenate([quicksort(less), [pivot], quicksort(more)])


@refused(VECTOR, words=r"list\.append in a branch or loop that is not known.*np\.zeros", at="smaller.append")
def partition(v: Any) -> Any:
    smaller = []
    for x in v:
        if x < v[0]:
            smaller.append(x)
    return sum(smaller)


@refused(VECTOR, kind=IndexError, words="a size that depends on data; use np.where", at="v[v > 1]")
def masked(v: Any) -> Any:
    return np.sum(v[v > 1])


@refused(1.0, words="xs changes its structure in the loop: 2 elements where 1", at="while xs")
def grows(x: Any) -> Any:
    xs = [x]
    while xs[-1] < 10:
        xs = xs + [xs[-1] * 2]
    return xs[-1]


@refused(1.0, words="xs has shape .1. when the loop begins and .2. after one pass", at="while xs")
def concatenates(x: Any) -> Any:
    xs = np.array([x])
    while xs[-1] < 10:
        xs = np.concatenate([xs, xs[-1:] * 2])
    return xs[-1]


@refused(1.0, 3, words="known sizes, not of traced values; pass a static argument", at="np.zeros(n)")
def sizes(x: Any, n: Any) -> Any:
    return np.sum(np.zeros(n) + x)


@refused(1.0, words="np.arange needs known bounds", at="np.arange")
def steps(x: Any) -> Any:
    s = 0.0
    for i in np.arange(0.0, x, 0.1):
        s += i
    return s


@refused(1.0, 3, words="a range whose bounds are not known while tracing; write a `for` statement", at="for k in range")
def list_of_traced_length(x: Any, n: Any) -> Any:
    return np.array([x**k for k in range(n)])


# --- exceptions -------------------------------------------------------------------------------------------------


@refused(1.0, words="a compiled function cannot raise; return nan there", at="raise ValueError")
def raising(x: Any) -> Any:
    if x < 0:
        raise ValueError("negative")
    return math.sqrt(x)


@refused(1.0, words="assert of a traced value.*check the arguments before", at="assert x > 0")
def asserting(x: Any) -> Any:
    assert x > 0, "must be positive"
    return math.sqrt(x)


@refused(2.0, words="`except ZeroDivisionError` around computations with traced values", at="try:")
def expecting(x: Any) -> Any:
    try:
        return 1 / x
    except ZeroDivisionError:
        return 0.0


@refused(2.0, words="`except Exception` around computations with traced values.*`if`", at="try:")
def expecting_anything(x: Any) -> Any:
    while x < 10:
        try:
            x = math.log(x) + 2
        except Exception:
            break
    return x


@refused(0.5, words="generator_inside cannot be rewritten.*generators are not supported", at="while t > 0.1")
def generator_inside(x: Any) -> Any:
    def terms() -> Any:
        t = 1.0
        while t > 0.1:
            yield t
            t = t * x

    return sum(terms())


# --- types and variables ----------------------------------------------------------------------------------------


@refused(1.0, words="state changes its structure in the loop", at="while x < 10")
def other_structure(x: Any) -> Any:
    state = x
    while x < 10:
        state = (x, 1)
        x = x * 2
    return state


@refused(1.0, kind=UnboundLocalError, words="'down' and 'up' after the branches.*no number", at="return label")
def texts(x: Any) -> Any:
    if x > 1:
        label = "down"
    else:
        label = "up"
    return label


@refused(1.0, kind=UnboundLocalError, words="conditional expression is .*sin.*cos.* which is no number", at="f = ")
def functions(x: Any) -> Any:
    f = math.sin if x > 0 else math.cos
    return f(x)


@refused(1.0, kind=UnboundLocalError, words="variable y gets a value only where the condition at", at="return y")
def missing(x: Any) -> Any:
    if x > 0:
        y = 1.0
    return y * x


@refused(1.0, 3, kind=UnboundLocalError, words="y gets a value only in the loop at .*may end at once", at="return y")
def missing_after_a_loop(x: Any, n: Any) -> Any:
    for i in range(n):
        y = i * x
    return y


@refused(1.0, words="may come to its end without a `return`", at="def no_return")
def no_return(x: Any) -> Any:
    if x > 0:
        return x


@refused(VECTOR, words="one truth value, not an array of shape .3.; np.all and np.any", at="if v > 0")
def array_as_condition(v: Any) -> Any:
    if v > 0:
        return v
    return -v


# --- what is outside --------------------------------------------------------------------------------------------


@refused(VECTOR, kind=ValueError, words=r"arguments are not changed in place; copy first: x = x\.copy", at="x[0] = 1")
def writes_to_its_argument(x: Any) -> Any:
    x[0] = 1.0
    return np.sum(x)


@refused(VECTOR, kind=ValueError, words="arguments are not changed in place", at="x[i] = 2")
def writes_to_its_argument_in_a_loop(x: Any) -> Any:
    for i in range(len(x)):
        x[i] = 2 * x[i]
    return np.sum(x)


COUNT = 0


@refused(1.0, words="COUNT is no variable of the function's own", at="COUNT = 1")
def changes_a_global(x: Any) -> Any:
    global COUNT
    if x > 0:
        COUNT = 1
    return x


TABLE = {"a": 1.0}


@refused(1.0, words=r"dict\[\.\.\.\] = \.\.\. in a branch or loop that is not known", at='TABLE["b"] =')
def changes_a_table(x: Any) -> Any:
    if x > 0:
        TABLE["b"] = 2.0
    return x


@refused(5.0, kind=RecursionError, words="calls itself without end.*cr.while_loop", at="factorial")
def factorial(n: Any) -> Any:
    if n < 2:
        return 1.0
    return n * factorial(n - 1)


# --- what takes no traced values --------------------------------------------------------------------------------


@refused(2.0, words="a format for a traced value", at='f"{x:.3f}"')
def formats(x: Any) -> Any:
    return x * len(f"{x:.3f}")


@refused(1.0, words="as a dictionary's key", at="TABLE[x]")
def looks_up(x: Any) -> Any:
    return TABLE[x]


@refused(1.0, 2.0, words=r"sorted\(\) of traced values takes no key; np.argsort", at="sorted")
def sorts_by_key(x: Any, y: Any) -> Any:
    return sorted([x, y], key=lambda t: -t)[0]


@refused(2.0, words="bounds of range are integers", at="range(x)")
def range_of_a_float(x: Any) -> Any:
    s = 0.0
    for k in range(x):
        s += k
    return s


@refused(
    1.0, words="100000 iterations on traced values would be unrolled; it cannot be rolled: it changes a list", at="_"
)
def a_long_list(x: Any) -> Any:
    terms = []
    for _ in range(100_000):
        terms.append(x)
    return terms[0]


@pytest.mark.parametrize(("f", "args", "kind", "words", "at"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_refused(f: Callable[..., Any], args: Any, kind: type[Exception], words: str, at: str) -> None:
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    for transformed in (cr.jit(f), cr.jacfwd(f)):
        with pytest.raises(kind, match=words) as caught:
            transformed(*copies)
        place = re.search(r"\(at \S*test_refusals\.py:(\d+): `(.*)`\)", str(caught.value))
        assert place is not None, str(caught.value)
        lines, first = inspect.getsourcelines(f)
        assert at in lines[int(place[1]) - first]
    for a, b in zip(copies, args, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_source() -> None:
    """As at a prompt: where there is no source, control flow on traced values says so."""
    names: dict[str, Any] = {}
    exec("def f(x):\n    if x > 0:\n        return x\n    return -x\ng = lambda x: x if x > 0 else -x", names)
    for name in "fg":
        with pytest.raises(TypeError, match=r"<string>:\d.*its source is not available \(define it in a file or a not"):
            cr.jit(names[name])(1.0)
    exec("def h(x):\n    return x * x", names)
    assert cr.grad(names["h"])(3.0) == 6.0


def test_errors_of_the_program_are_its_own() -> None:
    """An exception that the same Python would raise on numbers comes through as it is."""

    def wrong_index(x: Any) -> Any:
        if x > 0:
            x = x + 1
        return [x][2]

    def wrong_name(x: Any) -> Any:
        for _ in range(40):
            x = x + undefined  # type: ignore[name-defined]  # noqa: F821
        return x

    def caught_by_the_program(x: Any) -> Any:
        if x > 0:
            x = 2 * x
        try:
            return x * {"a": 1}["b"]
        except KeyError as problem:
            return x * len(problem.args[0])

    with pytest.raises(IndexError, match="list index out of range"):
        cr.jit(wrong_index)(1.0)
    with pytest.raises(NameError, match="undefined"):
        cr.jit(wrong_name)(1.0)
    assert cr.jit(caught_by_the_program)(3.0) == 6.0


def test_our_errors_are_not_taken_for_the_programs() -> None:
    def f(x: Any) -> Any:
        with contextlib.suppress(ImportError):
            import absent_module  # type: ignore[import-not-found]  # noqa: F401
        try:
            return scipy.special.jv(x, 1.0) if math.isfinite(x) else x
        except TypeError:
            return 0.0

    with pytest.raises(TypeError, match="test_refusals"):
        cr.jit(f)(1.0)
