"""Arrays under several names: views of arrays and second names, written to in branches and loops, against Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def view_of_an_outer_array(x: Any, m: int) -> Any:
    a = np.zeros(4)
    for i in range(m):
        a[0] += 1.0 + i
    if x > 100:
        return a
    total = 0.0
    k = 0
    for value in reversed(a):  # which the body writes to
        if x > 7:
            break
        a[k] += 1 + x
        k += 1
        total = 10 * total + value
    return a + total


def view_that_is_read_later(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    for i in range(m):
        last = a[::-1]
        a[0] += x + i
        a[1] += last[2]
    return a


def view_in_a_branch(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    if x > 0:
        part = a[1:]
        a[2] = x
        a[0] = part[1]
        part[0] = m
    return a


def row_at_a_computed_place(x: Any, m: int) -> Any:
    c = np.zeros((2, 2)) * x
    for i in range(m):
        row = c[i % 2]
        row[0] += x
        c[:, 1] += row[0]
    return c


def row_at_a_place_that_depends_on_data(x: Any, m: int) -> Any:
    c = np.zeros((2, 2))
    k = 0
    c[0, 0] = x
    if x > 0:
        k = 1
    row = c[k]
    row[0] += x
    c[k, 1] = m
    return c + row


def row_of_zeros_at_a_computed_place(x: Any, m: int) -> Any:
    c = np.zeros((2, 2))
    k = 0
    for i in range(m):
        row = c[k % 2]
        row[0] += x + i
        k += 1
    return c


def row_that_is_given_back(x: Any, m: int) -> Any:
    c = np.zeros((2, 2)) * x
    for i in range(m):
        for row in c:
            if x > 100:
                return c
            row[0] += x
            row[1] += row[0] * i
    return c


def part_in_place_in_a_branch(x: Any, m: int) -> Any:
    a = np.zeros(4)
    if x > 0:
        a[1:3] += 1.0
    return a * m


def part_in_place_in_a_loop(x: Any, m: int) -> Any:
    a = np.zeros(4)
    for _ in range(m):
        a[1:3] += max(a) + 1
        a[::2] *= x
    return a


def element_of_a_list_in_place(x: Any, m: int) -> Any:
    parts = [np.zeros(2) * x, np.zeros(2)]
    if x > 0:
        part = parts[0]
        part += 1.0
    return parts[0] + m


def written_to_and_assigned(x: Any, m: int) -> Any:
    a = np.zeros(4)
    for i in range(m):
        a[0] += x + i
        if x > i:
            a = a * 2
        else:
            a[1] += 1
    return a


def written_to_in_a_loop_in_a_loop(x: Any, m: int) -> Any:
    a, b, k = np.zeros(3), np.ones(3), 0
    while a[0] < 5:
        for _ in range(k % 3):
            if k % 2 == 0:
                a = b[::-1].copy()
                k += 1
                b = np.where(a > 0, a, b)
            else:
                a[1:3] *= np.cos(x)
        a[0] += m
        k += 1
        a[k % 3] += b[k % 3]
    return a + k


PROGRAMS = [
    view_of_an_outer_array,
    view_that_is_read_later,
    view_in_a_branch,
    row_at_a_computed_place,
    row_at_a_place_that_depends_on_data,
    row_of_zeros_at_a_computed_place,
    row_that_is_given_back,
    part_in_place_in_a_branch,
    part_in_place_in_a_loop,
    element_of_a_list_in_place,
    written_to_and_assigned,
    written_to_in_a_loop_in_a_loop,
]


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("x", "m"), [(0.4, 3), (-0.7, 1), (2.5, 4)])
def test_values(f: Callable[..., Any], x: float, m: int) -> None:
    with cr.disable_jit():
        np.testing.assert_allclose(cr.jit(f)(x, m), f(x, m), rtol=1e-13)


@pytest.mark.parametrize("f", [view_of_an_outer_array, row_at_a_computed_place, part_in_place_in_a_loop])
def test_compiled(f: Callable[..., Any]) -> None:
    np.testing.assert_allclose(cr.jit(f)(0.4, 3), f(0.4, 3), rtol=1e-13)
    step = 1e-6
    slope = (f(0.4 + step, 3) - f(0.4 - step, 3)) / (2 * step)
    np.testing.assert_allclose(cr.jacfwd(f)(0.4, 3), slope, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(cr.jacrev(f)(0.4, 3), slope, rtol=1e-6, atol=1e-9)


def test_rows_of_a_concrete_array_are_not_written_to() -> None:
    def f(x: Any) -> Any:
        c = np.zeros((2, 2))
        for row in c:
            if x > 100:
                return c
            row[0] += x
        return c

    with pytest.raises(ValueError, match=r"write to the array itself: x\[i, j\] = \.\.\."):
        cr.jit(f)(0.4)


def test_what_is_from_outside_is_not_written_to() -> None:
    table = np.arange(6.0).reshape(3, 2)

    def f(x: Any, k: int) -> Any:
        row = table[k]
        row[0] += x
        return row

    with pytest.raises(ValueError, match="copy it first"):
        cr.jit(f)(0.4, 1)
    np.testing.assert_array_equal(table, np.arange(6.0).reshape(3, 2))


def two_names(x: Any, count: Any) -> Any:
    a = np.zeros(2) * x
    b = a
    for i in range(count):
        a[0] += x + i
        a = a * 1.5
        b = b + a
    return a + b


def test_two_names_of_one_array() -> None:
    with pytest.raises(TypeError, match="a and b are one array when the loop begins, and it is written to"):
        cr.jit(two_names)(0.4, 3)
    for count in (3, 12):  # known: these steps are run one by one
        np.testing.assert_allclose(cr.jit(two_names, static_argnums=1)(0.4, count), two_names(0.4, count), rtol=1e-13)
