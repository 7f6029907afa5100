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
    with pytest.raises(TypeError, match=r"b may be another name of an array.* one of them was written to"):
        cr.jit(two_names)(0.4, 3)
    for count in (3, 12):  # known: these steps are run one by one
        np.testing.assert_allclose(cr.jit(two_names, static_argnums=1)(0.4, count), two_names(0.4, count), rtol=1e-13)


def chosen_by_data(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    b = a
    if x < m:
        b = a.copy()
    a[0] = 5.0
    return b


def chosen_by_data_and_concrete(x: Any, m: int) -> Any:
    a = np.zeros(3)
    b = a
    if x < m:
        b = a.copy()
    a[0] = 5.0
    return b


def written_to_under_the_second_name(x: Any, m: int) -> Any:
    a = np.zeros(3)
    b = a
    if x < m:
        b = a.copy()
    b[0] = 5.0
    return a


def chosen_by_an_expression(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    b = a if x < m else a.copy()
    a[0] = x
    return b


def itself_or_a_copy(a: Any, x: Any) -> Any:
    if x < 1:
        return a
    return a.copy()


def chosen_by_a_function(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    b = itself_or_a_copy(a, x)
    a[0] = m
    return b


def second_name_that_is_written_to_in_a_loop(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    b = a
    for _ in range(m):
        b[0] += 1
        b = b * 2
    return a + b


def second_name_that_a_loop_leaves(x: Any, m: int) -> Any:
    cur = np.zeros(3) * x
    prev = np.ones(3)
    for _ in range(m):
        cur = cur + x
        prev = cur
    cur[0] = 7
    return prev


def view_that_a_loop_leaves(x: Any, m: int) -> Any:
    c = np.zeros((3, 2)) * x
    row = c[0]
    for i in range(m):
        row = c[i % 3]
        row[0] += x
    c[:, 1] = 5
    return row


def view_that_a_loop_leaves_and_that_is_written_to(x: Any, m: int) -> Any:
    c = np.zeros((3, 2)) * x
    row = c[0]
    for i in range(m):
        row = c[i % 3]
        row[0] += x
    row[1] = 5
    return c


def chosen_in_a_loop(x: Any, m: int) -> Any:
    a = np.zeros(3) * x
    s = 0.0
    for i in range(m):
        s = s + a[0]
        b = a
        if x > i:
            b = a.copy()
        b[0] += 1
    return s


MAY_BE_ONE = [
    chosen_by_data,
    chosen_by_data_and_concrete,
    written_to_under_the_second_name,
    chosen_by_an_expression,
    chosen_by_a_function,
    second_name_that_is_written_to_in_a_loop,
    second_name_that_a_loop_leaves,
    view_that_a_loop_leaves,
    view_that_a_loop_leaves_and_that_is_written_to,
    chosen_in_a_loop,
]


@pytest.mark.parametrize("f", MAY_BE_ONE, ids=lambda f: f.__name__)
def test_two_names_by_data(f: Callable[..., Any]) -> None:
    said = r"may be another name of an array.*test_aliases.py:\d+\); one of them was written to at .*\.copy\(\)"
    with pytest.raises(TypeError, match=said):
        cr.jit(f)(0.4, 3)


def double_buffer(x: Any, m: int) -> Any:
    u, new = np.zeros(4) * x, np.zeros(4)
    for _ in range(m):
        new[1:3] = u[1:3] + x * (u[2:] - u[:2]) + 1
        u, new = new, u
    return u


def shifted(x: Any, m: int) -> Any:
    prev, cur = np.zeros(3), np.ones(3) * x
    for _ in range(m):
        prev, cur = cur, cur * x + prev
    return prev + cur


def previous_name(x: Any, m: int) -> Any:
    cur = np.zeros(3) * x
    prev = cur
    total = 0.0
    for _ in range(m):
        total = total + prev[0]
        prev = cur
        cur[0] += x
    return total


def previous_and_rebuilt(x: Any, m: int) -> Any:
    cur, prev = np.zeros(3) * x, np.ones(3)
    for _ in range(m):
        prev = cur
        cur = cur + x
    cur[0] = 7
    prev[1] = 3
    return prev + cur


def best_so_far(x: Any, m: int) -> Any:
    best, cur, least = np.zeros(3), np.ones(3) * x, 1e9
    for i in range(m):
        cur = cur * 0.5 + i
        value = np.sum((cur - 2) ** 2)
        if value < least:
            best = cur
            least = value
    return best


def best_copied(x: Any, m: int) -> Any:
    cur, least = np.ones(3) * x, 1e9
    best = cur.copy()
    for i in range(m):
        cur[0] = cur[0] * 0.5 + i
        value = np.sum((cur - 2) ** 2)
        if value < least:
            best = cur.copy()
            least = value
    return best


def found_and_ended(x: Any, m: int) -> Any:
    cur = np.ones(3) * x
    best = cur
    for _ in range(m):
        if cur[0] > 4:
            best = cur
            break
        cur[0] += x
    return best + 1


def found_deep_inside(x: Any, m: int) -> Any:
    cur, best = np.ones(3) * x, np.zeros(3)
    for _ in range(m):
        if cur[0] > 2:
            if cur[0] > 4:
                best = cur
                break
        cur[0] += x
    return best + 1


def given_back_early(x: Any, m: int) -> Any:
    a = np.zeros(30) * x
    for i in range(m):
        if a[i] > 1:
            return a
        a[i] += x + i
    return a * 2


def fresh_in_each_pass(x: Any, m: int) -> Any:
    a = np.zeros(3)
    for i in range(m):
        t = np.zeros(3)
        t[0] = x
        if x > 1:
            t = t * 2
        t[1] = i
        a = a + t
    return a


def chosen_and_written_to(x: Any, m: int) -> Any:
    w = np.ones(3)
    if x > 1:
        w = 2 * np.ones(3)
    for i in range(m):
        w[i % 3] += x
        old = w.copy()
        w[0] += old[1]
    return w


def rebuilt_by_elements(x: Any, m: int) -> Any:
    v = np.ones(3) * x
    while np.sum(v) < 20:
        new = v.copy()
        for k in range(3):
            new[k] = v[k - 1] + m + 1
        v = new
    return v


def rows_from_rows(x: Any, m: int) -> Any:
    c = np.zeros((8, 2)) * x
    for i in range(1, m + 1):
        row = c[i - 1]
        if x > 1:
            row = row * 2
        c[i] = row + 1
        c[i, 0] += row[1]
    return c


def read_before_it_is_written_to(x: Any, m: int) -> Any:
    q = np.zeros(3) * x
    for _ in range(m):
        old = q
        if x > 1:
            old = q.copy()
        s = old[0]
        q[0] = q[0] + s + 1
    return q


def equal_arrays(x: Any, m: int) -> Any:
    if x < 1:
        b, c = np.ones(3) * x, np.ones(3) * x
    else:
        b, c = np.ones(3) * m, np.ones(3) * m
    b[0] = 7
    return b - c


def one_array_in_both_branches(x: Any, m: int) -> Any:
    if x < 1:
        b = np.ones(3) * x
        c = b
    else:
        b = np.ones(3) * m
        c = b
    b[0] = 7
    return b - 2 * c


ORDINARY = [
    double_buffer,
    shifted,
    previous_name,
    previous_and_rebuilt,
    best_so_far,
    best_copied,
    found_and_ended,
    found_deep_inside,
    given_back_early,
    fresh_in_each_pass,
    chosen_and_written_to,
    rebuilt_by_elements,
    rows_from_rows,
    read_before_it_is_written_to,
    equal_arrays,
    one_array_in_both_branches,
]


@pytest.mark.parametrize("f", ORDINARY, ids=lambda f: f.__name__)
def test_ordinary_programs(f: Callable[..., Any]) -> None:
    with cr.disable_jit():
        for x, m in [(0.5, 3), (2.5, 2), (1.5, 0), (0.7, 7)]:
            for static in ((), (1,)):
                found = cr.jit(f, static_argnums=static)(x, m)
                np.testing.assert_allclose(found, f(x, m), rtol=1e-13, err_msg=f"{x}, {m}, {static}")
