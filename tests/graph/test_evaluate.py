"""The reference interpreter against NumPy's functions, mpmath's numbers and results worked out by hand."""

import mpmath
import numpy as np
import pytest
import scipy.linalg

from chainrule.graph.dim import size
from chainrule.graph.dtype import BOOL, COMPLEX128, FLOAT32, FLOAT64, INT32, INT64
from chainrule.graph.evaluate import CALLBACKS, evaluate
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Stop,
    Transpose,
    Type,
)

N, M = size("n"), size("m")


def of(value):
    """The input type of an array."""
    return Type(value.shape, value.dtype)


def run(op, *arrays, backend="numpy"):
    """One op applied to arrays; mpmath's numbers as complex ones."""
    arrays = [np.asarray(a) for a in arrays]
    nodes = tuple(make(Input(0, i, of(a)), ()) for i, a in enumerate(arrays))
    found = evaluate(Graph([of(a) for a in arrays], results(make(op, nodes))), arrays, backend=backend)
    if backend == "mpmath":
        found = [np.vectorize(complex, otypes=[complex])(f) if f.dtype == object else f for f in found]
    return found[0] if len(found) == 1 else tuple(found)


X = np.array([[3.0, -1.0, 2.0], [0.5, 4.0, -2.0]])
I = np.array([[1, 5, 2], [0, -3, 7]])  # noqa: E741
SPD = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
B = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]])

CASES = {
    "cast down": (Cast(INT64), [X], X.astype(int)),
    "cast up": (Cast(COMPLEX128), [X], X.astype(complex)),
    "cast bool": (Cast(BOOL), [np.array([0.0, -0.0, 2.0])], np.array([False, False, True])),
    "cast complex to real": (Cast(FLOAT64), [np.array([1 + 2j])], np.array([1.0])),
    "stop": (Stop(), [X], X),
    "sum": (Reduce("sum", (0,)), [X], X.sum(0)),
    "sum all": (Reduce("sum", (0, 1)), [X], X.sum()),
    "prod": (Reduce("prod", (1,)), [X], X.prod(1)),
    "min": (Reduce("min", (0, 1)), [X], X.min()),
    "max": (Reduce("max", (1,)), [X], X.max(1)),
    "any": (Reduce("any", (0,)), [X > 1], (X > 1).any(0)),
    "all": (Reduce("all", (0,)), [X > 1], (X > 1).all(0)),
    "argmin": (Reduce("argmin", (1,)), [X], X.argmin(1)),
    "argmax": (Reduce("argmax", (0,)), [X], X.argmax(0)),
    "sum of nothing": (Reduce("sum", (0,)), [np.zeros((0, 2))], np.zeros(2)),
    "cumsum": (Cumulative("sum", 1), [X], X.cumsum(1)),
    "cumprod": (Cumulative("prod", 0), [X], X.cumprod(0)),
    "cummax from the end": (Cumulative("max", 1, True), [X], np.array([[3.0, 2, 2], [4, 4, -2]])),
    "cummin": (Cumulative("min", 1), [X], np.array([[3.0, -1, -1], [0.5, 0.5, -2]])),
    "broadcast": (Broadcast((2, 4, 3), (0, 2)), [X], np.stack([X] * 4, 1)),
    "transpose": (
        Transpose((2, 0, 1)),
        [np.arange(24.0).reshape(2, 3, 4)],
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    ),
    "reshape": (Reshape((3, 2)), [X], X.reshape(3, 2)),
    "slice": (Slice((0, 0), (2, 2), (1, 2)), [X], X[:, ::2]),
    "empty slice": (Slice((0, 3), (2, 0), (1, 1)), [X], np.zeros((2, 0))),
    "reverse": (Reverse((0, 1)), [X], X[::-1, ::-1]),
    "pad": (
        Pad((1, 0), (0, 2), (0, 1)),
        [X],
        np.array([[0.0] * 7, [3, 0, -1, 0, 2, 0, 0], [0.5, 0, 4, 0, -2, 0, 0]]),
    ),
    "pad bools": (Pad((1,), (1,), (0,)), [np.array([True])], np.array([False, True, False])),
    "concatenate": (Concatenate(1), [X, X[:, :1]], np.array([[3.0, -1, 2, 3], [0.5, 4, -2, 0.5]])),
    "insert": (Insert((0, 1), (1, 1)), [X, np.zeros((2, 2))], np.array([[3.0, 0, 0], [0.5, 0, 0]])),
    "insert with steps": (
        Insert((0, 0), (1, 2)),
        [X, np.ones((1, 2))],
        np.array([[1.0, -1, 1], [0.5, 4, -2]]),
    ),
    "gather clamps": (Gather((1,)), [X, np.array([0, 9, -4])], np.array([[3.0, 0.5], [2, -2], [3, 0.5]])),
    "gather two axes": (Gather((0, 1)), [X, np.array([1, 0]), np.array([2, 1])], np.array([-2.0, -1.0])),
    "gather one": (Gather((0,)), [X, np.array(1)], X[1]),
    "gather from nothing": (Gather((0,)), [np.zeros((0, 2)), np.array([3])], np.zeros((1, 2))),
    "scatter add": (
        Scatter((0,), "add"),
        [X, np.ones((3, 3)), np.array([1, 1, 5])],
        np.array([[3.0, -1, 2], [2.5, 6, 0]]),
    ),
    "scatter set keeps the last": (
        Scatter((0,), "set"),
        [np.zeros(3), np.arange(1.0, 5), np.array([1, 1, 2, -1])],
        np.array([0.0, 2, 3]),
    ),
    "scatter on the last axis": (
        Scatter((1,), "add"),
        [X, np.ones((1, 2)), np.array([2])],
        np.array([[3.0, -1, 3], [0.5, 4, -1]]),
    ),
    "scatter one": (
        Scatter((0, 1), "set"),
        [X, np.array(9.0), np.array(0), np.array(2)],
        np.array([[3.0, -1, 9], [0.5, 4, -2]]),
    ),
    "scatter one outside": (Scatter((0,), "set"), [np.zeros(2), np.array(9.0), np.array(2)], np.zeros(2)),
    "matmul": (Contract((0, 1), (1, 2), (0, 2)), [X, B], X @ B),
    "outer": (Contract((0,), (1,), (1, 0)), [X[0], B[0]], np.outer(B[0], X[0])),
    "summed label in one operand": (Contract((0, 1), (0,), (0,)), [X, B[0]], X.sum(1) * B[0]),
    "cholesky": (Linalg("cholesky"), [SPD], np.linalg.cholesky(SPD)),
    "cholesky upper": (Linalg("cholesky", lower=False), [SPD], scipy.linalg.cholesky(SPD, lower=False)),
    "cholesky reads one triangle": (Linalg("cholesky"), [np.tril(SPD)], np.linalg.cholesky(SPD)),
    "solve": (Linalg("solve"), [SPD + np.triu(SPD), B], np.linalg.solve(SPD + np.triu(SPD), B)),
    "solve transposed": (
        Linalg("solve", transposed=True),
        [np.triu(SPD), B],
        np.linalg.solve(np.triu(SPD).T, B),
    ),
    "solve a vector": (Linalg("solve"), [SPD, B[:, 0]], np.linalg.solve(SPD, B[:, 0])),
    "solve triangular": (Linalg("solve_triangular"), [SPD, B], np.linalg.solve(np.tril(SPD), B)),
    "solve upper triangular": (
        Linalg("solve_triangular", lower=False),
        [SPD, B],
        np.linalg.solve(np.triu(SPD), B),
    ),
    "solve triangular transposed": (
        Linalg("solve_triangular", transposed=True),
        [SPD, B],
        np.linalg.solve(np.tril(SPD).T, B),
    ),
    "inv": (Linalg("inv"), [np.stack([SPD, 2 * SPD])], np.linalg.inv(np.stack([SPD, 2 * SPD]))),
    "det": (Linalg("det"), [SPD], np.linalg.det(SPD)),
    "sort": (Sort(1), [X], np.sort(X, 1)),
    "argsort": (Sort(1, indices=True), [X], np.argsort(X, 1)),
}


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
@pytest.mark.parametrize("case", CASES)
def test_op(case, backend):
    op, arrays, expected = CASES[case]
    found = run(op, *arrays, backend=backend)
    assert found.shape == np.shape(expected)
    if backend == "numpy":
        assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
def test_several_results(backend):
    sign, logdet = run(Linalg("slogdet"), -SPD, backend=backend)
    assert sign == -1
    np.testing.assert_allclose(logdet, np.log(np.linalg.det(SPD)), rtol=1e-14)
    values, vectors = run(Linalg("eigh"), np.tril(SPD), backend=backend)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, SPD, atol=1e-14)


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
@pytest.mark.parametrize("kind", ["inv", "cholesky"])
def test_a_matrix_without_an_answer_is_nan(kind, backend):
    found = run(Linalg(kind), np.stack([np.zeros((3, 3)), SPD]), backend=backend)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_reductions_keep_the_element_type():
    assert run(Reduce("sum", (0,)), np.ones(3, np.float32)).dtype == FLOAT32
    assert run(Reduce("sum", (0,)), np.ones(3, np.int32)).dtype == INT32


def test_silent_about_singular_points():
    with np.errstate(all="raise"):
        x = make(Input(0, 0, Type((), FLOAT64)))
        found = evaluate(Graph([x.type], [scalar("div", constant(1.0), x), scalar("log", x)]), [0.0])
    assert [float(f) for f in found] == [np.inf, -np.inf]


def test_sizes_come_from_the_arguments():
    x, y = make(Input(0, 0, Type((N, M), FLOAT64))), make(Input(0, 1, Type((2 * N - 1,), FLOAT64)))
    graph = Graph(
        [x.type, y.type], [make(SizeOf(N * M + 1)), make(Iota(N)), make(Reduce("sum", (0,)), (y,))], "ab"
    )
    total, iota, _ = evaluate(graph, [np.ones((3, 4)), np.ones(5)])
    assert total == 13
    assert iota.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"'b'.*2\*n-1.*size n is 3 in 'a'"):
        evaluate(graph, [np.ones((3, 4)), np.ones(6)])
    with pytest.raises(ValueError, match="size m is 1"):
        evaluate(graph, [np.ones((3, 1)), np.ones(5)])
    with pytest.raises(ValueError, match=r"'a' has shape \(3,\)"):
        evaluate(graph, [np.ones(3), np.ones(5)])
    with pytest.raises(TypeError, match="takes 2 arguments"):
        evaluate(graph, [np.ones(3)])


def test_a_size_that_only_occurs_in_a_sum():
    x = make(Input(0, 0, Type((2 * N + 3,), FLOAT64)))
    assert evaluate(Graph([x.type], [make(SizeOf(N))]), [np.ones(13)]) == [5]
    with pytest.raises(ValueError, match="size n"):
        evaluate(Graph([x.type], [make(SizeOf(N))]), [np.ones(12)])


def test_arguments_convert_as_numpy_casts_them():
    x = make(Input(0, 0, Type((), FLOAT64)))
    assert evaluate(Graph([x.type], [x]), [3])[0].dtype == FLOAT64
    with pytest.raises(TypeError, match="complex128"):
        evaluate(Graph([x.type], [x]), [1j])


# --- structured ops ----------------------------------------------------------------------------------------


def inputs(*types):
    return [make(Input(0, i, t)) for i, t in enumerate(types)]


S, I0 = Type((), FLOAT64), Type((), INT64)


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
def test_only_the_chosen_branch_runs(backend):
    CALLBACKS["boom"] = lambda x: 1 / 0
    (x,) = inputs(S)
    bad = Graph([S], results(make(Callback("boom", (S,)), (x,))))
    good = Graph([S], [scalar("neg", x)])
    i, y = inputs(I0, S)
    graph = Graph([I0, S], results(make(Cond((good, bad)), (i, y))))
    assert evaluate(graph, [0, 2.0], backend=backend)[0] == -2
    assert evaluate(graph, [-5, 2.0], backend=backend)[0] == -2  # clamped
    with pytest.raises(ZeroDivisionError):
        evaluate(graph, [9, 2.0], backend=backend)


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
@pytest.mark.parametrize("reverse", [False, True])
def test_count_loop(backend, reverse):
    # carry: c·a + x[i]; step output: the carry before
    _, c, x, a = inputs(I0, S, S, S)
    body = Graph([I0, S, S, S], [scalar("add", scalar("mul", c, a), x), c])
    xs, start, factor = inputs(Type((N,), FLOAT64), S, S)
    loop = make(Loop("count", body, None, 1, 1, N, reverse), (make(SizeOf(N)), start, xs, factor))
    graph = Graph([xs.type, S, S], results(loop))
    last, before = evaluate(graph, [[1.0, 2.0, 3.0], 10.0, 2.0], backend=backend)
    if reverse:  # 10, 23, 48 → 97, stored from the end
        assert (last, before.tolist()) == (97, [48, 23, 10])
    else:  # 10, 21, 44 → 91
        assert (last, before.tolist()) == (91, [10, 21, 44])


def test_loop_without_trips():
    _, c = inputs(I0, S)
    body = Graph([I0, S], [scalar("neg", c), c])
    trips, start = inputs(I0, S)
    graph = Graph([I0, S], results(make(Loop("count", body, None, 1, 0, 0), (trips, start))))
    last, stacked = evaluate(graph, [0, 3.0])
    assert last == 3
    assert stacked.shape == (0,)


def test_map():
    i, x = inputs(I0, S)
    body = Graph([I0, S], [scalar("mul", make(Cast(FLOAT64), (i,)), x)])
    (xs,) = inputs(Type((4,), FLOAT64))
    loop = make(Loop("map", body, None, 0, 1, 4), (constant(4), xs))
    assert evaluate(Graph([xs.type], results(loop)), [np.ones(4)])[0].tolist() == [0, 1, 2, 3]


def test_while():
    x, n = inputs(S, S)
    body = Graph([S, S], [scalar("mul", x, constant(2.0))])
    predicate = Graph([S, S], [scalar("lt", x, n)])
    loop = make(Loop("predicate", body, predicate, 1, 0, None), (x, n))
    assert evaluate(Graph([S, S], results(loop)), [1.0, 100.0])[0] == 128


def test_call_and_callback():
    CALLBACKS["twice"] = lambda x: (2 * x, x.sum())
    kinds = (Type((2,), FLOAT64), S)
    (x,) = inputs(kinds[0])
    body = Graph([kinds[0]], results(make(Callback("twice", kinds), (x,))))
    graph = Graph([kinds[0]], results(make(Call(body, "rule"), (x,))))
    twice, total = evaluate(graph, [[1.0, 2.0]])
    assert twice.tolist() == [2, 4]
    assert total == 3
    CALLBACKS["twice"] = lambda x: (2 * x, x)
    with pytest.raises(ValueError, match=r"'twice' gave shape \(2,\)"):
        evaluate(graph, [[1.0, 2.0]])
    del CALLBACKS["twice"]
    with pytest.raises(ValueError, match="'twice' is not known"):
        evaluate(graph, [[1.0, 2.0]])


def test_random_says_that_it_cannot():
    key = make(Input(0, 0, I0))
    with pytest.raises(ValueError, match="random"):
        evaluate(Graph([I0], [make(Random("normal", (3,)), (key,))]), [1])


# --- mpmath ------------------------------------------------------------------------------------------------


def test_mpmath_takes_constants_exactly_and_keeps_all_digits():
    (x,) = inputs(S)
    graph = Graph([S], [scalar("exp", scalar("mul", constant(0.1), x))])
    (found,) = evaluate(graph, [3.0], backend="mpmath", digits=60)
    with mpmath.workdps(60):
        assert found[()] == mpmath.exp(mpmath.mpf(0.1) * 3)
        difference = abs(found[()] - mpmath.exp(mpmath.mpf("0.3")))
    assert difference > 1e-18  # 0.1 is the double, not a tenth


def test_mpmath_sum_does_not_lose():
    (x,) = inputs(Type((3,), FLOAT64))
    graph = Graph([x.type], [make(Reduce("sum", (0,)), (x,))])
    assert evaluate(graph, [[1e30, 1.0, -1e30]], backend="mpmath")[0] == 1


def test_mpmath_outside_the_real_domain_is_nan():
    (x,) = inputs(S)
    graph = Graph([S], [scalar("sqrt", x), scalar("log", x)])
    assert all(mpmath.isnan(f[()]) for f in evaluate(graph, [-1.0], backend="mpmath"))


def test_mpmath_complex():
    (x,) = inputs(Type((), COMPLEX128))
    graph = Graph([x.type], [scalar("sqrt", x), scalar("abs", x)])
    root, length = evaluate(graph, [3 - 4j], backend="mpmath")
    assert root[()] == mpmath.mpc(2, -1)
    assert length[()] == 5
    assert isinstance(length[()], mpmath.mpf)


def test_deep_graphs_do_not_recurse_and_free_their_values():
    (x,) = inputs(Type((100_000,), FLOAT64))
    node = x
    for _ in range(3000):  # 2.4 GB if every value stayed
        node = scalar("neg", node)
    assert evaluate(Graph([x.type], [node]), [np.ones(100_000)])[0].sum() == 100_000


@pytest.mark.parametrize("name", ["sin", "exp", "tanh", "softplus", "gammaln"])
def test_functions_of_numbers_too_long_are_not_known(name):
    """sin(x) takes as many digits of π as x has: for exp(exp(exp(3))) the interpreter would not come back."""
    x = make(Input(0, 0, Type((), FLOAT64)))
    long = scalar("exp", scalar("exp", scalar("exp", x)))
    (value,) = evaluate(Graph([x.type], [scalar(name, long)]), [3.0], backend="mpmath")
    assert mpmath.isnan(value.item() if hasattr(value, "item") else value)


def test_contractions_do_not_depend_on_strides():
    x = make(Input(0, 0, Type((3, 3), FLOAT64)))
    graph = Graph([x.type], [make(Contract((0, 1), (0, 2), (2, 0)), (x, x))])
    repeated = np.broadcast_to(np.sin([[1.0], [2.0], [4.0]]), (3, 3))
    np.testing.assert_array_equal(evaluate(graph, [repeated]), evaluate(graph, [repeated.copy()]))
