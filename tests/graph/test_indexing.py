"""Indexing of traced arrays by NumPy's rules: basic, with arrays, with traced indices, with symbolic sizes,
and ``.at``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule.graph import dim as dims
from chainrule.graph.evaluate import evaluate
from chainrule.graph.trace import spec, trace, trace_flat
from tests.graph.traced import ARRAYS, agree, expression_agrees, table

READS = table(
    """
    v[0] + v[-1]
    v[...]
    v[()]
    a[()]
    a[None]
    v[1:4]
    v[-3:]
    v[:-2]
    v[::2]
    v[::-1]
    v[4:1:-2]
    v[10:20]
    v[5:2]
    v[-100:100]
    v[np.int64(2):np.int32(5)]
    v[None]
    x[1]
    x[:, 2]
    x[1, 2]
    x[1:3, ::-2]
    x[..., None, 2]
    x[None, 1:, None, -1]
    t[..., 0]
    t[1, ..., 2]
    t[:, -1][:, 1:3]
    x[I]
    x[:, I]
    x[I, I]
    x[I, 1:3]
    x[1:3, I]
    x[[0, 3]]
    x[[True, False, True, True]]
    x[np.array([[True, False, True, False, True]] * 4)]
    x[:, np.array([True, False, False, True, True])]
    t[:, I[:2], :][..., np.array([[0, 1], [2, 3]])]
    t[0, :, J]
    t[J[:2], :, J[:2]]
    t[:, J[:2], J[:2]]
    t[:, 0, J]
    t[None, 0, :, None, J]
    t[J[:2], 1]
    t[J[:2, None], I]
    t[[[0], [1]], :, [[1, 2]]]
    t[..., I]
    t[[], :]
    v[j]
    x[j]
    x[:, j]
    x[j, 1]
    x[j, ::2]
    x[j[:, None], j]
    x[1, j]
    t[j[1:], :, j[1:]]
    v[q]
    x[q]
    x[q, 1:]
    x[:, -q]
    x[q, q]
    t[0, q, j]
    x[q - 3]
    x[np.argmax(x[:, 0])]
    v[np.argsort(v)]
    v[k // 2]
    x[np.arange(4), np.arange(4)]
    """
)


@pytest.mark.parametrize("expression", READS)
def test_reading(expression: str) -> None:
    expression_agrees(expression, rtol=0, atol=0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_basic_reading_and_writing_as_numpy(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    value = -np.arange(1.0, 1.0 + x[index].size).reshape(x[index].shape)

    def f(x: Any) -> Any:
        y = x.copy()
        y[index] = value
        return x[index] * 1, y

    agree(f, x, rtol=0, atol=0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_integer_arrays_as_numpy(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    index: list[Any] = list(
        data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    )
    for axis in range(len(shape)):  # some axes by a slice, an integer, or not at all
        choice = data.draw(st.sampled_from(["array", "slice", "int", "array"]))
        if choice == "slice":
            index[axis] = data.draw(st.sampled_from([slice(None), slice(None, None, -1), slice(1, None)]))
        elif choice == "int":
            index[axis] = data.draw(st.integers(-shape[axis], shape[axis] - 1))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    key = tuple(index)
    agree(lambda x: x[key] * 1, x, rtol=0, atol=0)
    arrays = [i for i in index if isinstance(i, np.ndarray)]

    def traced(x: Any, arrays: list[Any]) -> Any:
        given_arrays = iter(arrays)
        return x[tuple(next(given_arrays) if isinstance(i, np.ndarray) else i for i in index)] * 1

    agree(traced, x, arrays, rtol=0, atol=0)

    def put(x: Any) -> Any:
        y = x.copy()
        y[key] = 7.0
        return y

    agree(put, x, rtol=0, atol=0)


# --- .at ----------------------------------------------------------------------------------------------------


def in_numpy(kind: str) -> Callable[..., Any]:
    def changed(x: Any, index: Any, value: Any) -> Any:
        y = x.copy()
        if kind == "set":
            y[index] = value
        else:
            ufunc = {
                "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
                "power": np.power, "min": np.minimum, "max": np.maximum,
            }[kind]  # fmt: skip
            ufunc.at(y, index, value)
        return y

    return changed


@pytest.mark.parametrize("kind", ["set", "add", "subtract", "multiply", "divide", "power", "min", "max"])
@pytest.mark.parametrize(
    "index",
    [1, slice(1, 4), slice(None, None, -2), np.array([0, 3, 1]), ..., np.array([True, False] * 3)],
    ids=str,
)
def test_at_on_traced_arrays(kind: str, index: Any) -> None:
    u = ARRAYS["u"]
    types = [spec(6).type, spec().type]
    traced = trace_flat(lambda u, a: (getattr(u.at[index], kind)(a), u.at[index].get(), u), types)
    changed, part, same = evaluate(traced.graph, [u, 0.3, *traced.captures])
    np.testing.assert_allclose(changed, in_numpy(kind)(u, index, 0.3), rtol=1e-15)
    np.testing.assert_array_equal(part, u[index])
    np.testing.assert_array_equal(same, u)


def test_at_accumulates_where_indices_repeat() -> None:
    places = np.array([0, 2, 0, 0])
    graph = trace(lambda v, i: v.at[i].add(np.array([1.0, 2.0, 3.0, 4.0])), spec(3), spec(4, dtype=int))
    (found,) = evaluate(graph, [np.zeros(3), places])
    np.testing.assert_array_equal(found, [8.0, 0.0, 2.0])
    graph = trace(lambda v: v.at[np.array([0, 2, 0, 0])].add(1.0), spec(3))
    (found,) = evaluate(graph, [np.zeros(3)])
    np.testing.assert_array_equal(found, [3.0, 0.0, 1.0])


def test_at_with_traced_position_and_mask() -> None:
    graph = trace(
        lambda v, i: (v.at[i].multiply(3.0), v.at[v > 0].add(10.0), v.at[i].max(0.0)),
        spec(3),
        spec(dtype=int),
    )
    x = np.array([-1.0, 2.0, -3.0])
    for i in (0, 1, -1):
        a, b, c = evaluate(graph, [x, i])
        np.testing.assert_array_equal(a, in_numpy("multiply")(x, i, 3.0))
        np.testing.assert_array_equal(b, np.where(x > 0, x + 10, x))
        np.testing.assert_array_equal(c, in_numpy("max")(x, i, 0.0))


# --- symbolic sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[1:],
        lambda x: x[:-1],
        lambda x: x[1:] - x[:-1],
        lambda x: x[0] + x[-1],
        lambda x: x[::-1],
        lambda x: x[-2:],
        lambda x: x[:2],
        lambda x: x[::2],
        lambda x: x[1::3],
        lambda x: x[-2::-1],
        lambda x: x[:5],
        lambda x: x[3:7],
        lambda x: x[:100:2],
        lambda x: x[x.shape[0] // 2 :],
        lambda x: x[np.array([0, 1, -1])],
        lambda x: x[None, :, None],
        lambda x: np.diff(x),
        lambda x: np.roll(x, 1),
        lambda x: np.concatenate([x, x[:1]]),
        lambda x: np.cumsum(x)[-1],
        lambda x: np.split(np.concatenate([x, x]), 2),
        lambda x: np.outer(x, x).ravel(),
        lambda x: np.tril(np.outer(x, x)),
        lambda x: np.diag(x),
        lambda x: np.repeat(x, 2),
        lambda x: np.tile(x, 3),
        lambda x: np.pad(x, 2),
        lambda x: np.var(x, ddof=1),
        lambda x: np.trapezoid(x, dx=0.5),
    ],
)
@pytest.mark.parametrize("n", [2, 3, 6, 11])
def test_symbolic_size(f: Callable[[Any], Any], n: int) -> None:
    x = np.arange(1.0, n + 1.0) ** 2
    graph = trace(f, spec("n"))
    wanted = f(x)
    for found, truth in zip(evaluate(graph, [x]), wanted if isinstance(wanted, list) else [wanted], strict=True):
        np.testing.assert_allclose(found, truth, rtol=1e-14)


def test_symbolic_shapes_are_named() -> None:
    n = dims.size("n")
    shapes = []

    def f(x: Any) -> Any:
        shapes.extend([x[1:].shape, x[:-2].shape, x[None].shape, np.concatenate([x, x]).shape, x.reshape(1, -1).shape])
        return x

    trace(f, spec("n"))
    assert shapes == [(n - 1,), (n - 2,), (1, n), (2 * n,), (1, n)]


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "shape", "part"),
    [
        (lambda x: x[3], (3,), "index 3 is out of bounds for axis 0 with size 3"),
        (lambda x: x[-4], (3,), "out of bounds"),
        (lambda x: x[:, 5], (3, 4), "axis 1 with size 4"),
        (lambda x: x[[0, 3]], (3,), "out of bounds"),
        (lambda x: x[0, 0], (3,), "2 indices for an array with 1 axes"),
        (lambda x: x[..., ...], (3,), "single ellipsis"),
        (lambda x: x[1.5], (3,), "no index"),
        (lambda x: x["a"], (3,), "no index"),
        (lambda x: x[x], (3,), "must be an integer"),
        (lambda x: x[np.array([0.5])], (3,), "must be an integer"),
        (lambda x: x[x > 0], (3,), "size that depends on data"),
        (lambda x: x[np.array([True, False])], (3,), "does not fit"),
        (lambda x: x[[0, 1], [0, 1, 2]], (3, 3), "do not broadcast"),
        (lambda x: x[2], ("n",), "size n is not known"),
        (lambda x: x[True], (3,), "boolean"),
    ],
)
def test_index_errors(f: Callable[[Any], Any], shape: tuple[Any, ...], part: str) -> None:
    with pytest.raises(IndexError) as caught:
        trace(f, spec(*shape))
    assert part in str(caught.value)
    assert "test_indexing.py:" in str(caught.value)


def test_other_errors() -> None:
    with pytest.raises(TypeError, match="slice bound is a traced value"):
        trace(lambda x, i: x[i:], spec(3), spec(dtype=int))
    with pytest.raises(ValueError, match="step cannot be zero"):
        trace(lambda x: x[::0], spec(3))
    with pytest.raises(TypeError, match="may repeat"):
        trace(lambda x, i: x.at[i].multiply(2.0), spec(3), spec(2, dtype=int))

    def by_values(x: Any) -> Any:
        y = x.copy()
        y[x > 0] = np.ones(2)
        return y

    with pytest.raises(ValueError, match=r"np\.where\(mask, v, x\)"):
        trace(by_values, spec(3))
