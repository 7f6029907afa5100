"""Native functions: what their entries accept, refuse, return and release. Kernels are written by hand."""

from __future__ import annotations

import contextlib
import gc
import pickle
import sys
import tracemalloc

import numpy as np
import pytest

from chainrule.codegen import native
from chainrule.codegen.function import Argument, Function, Signature, entry

ITEMSIZE = {"float64": 8, "int64": 8, "bool": 1, "float32": 4, "complex128": 16}
VALUE = {"float64": "double", "int64": "i64", "bool": "i8", "float32": "float"}
REAL, VECTOR = Argument("float64"), Argument("float64", ("n",))


def slow(*args, **kwargs):
    return "slow", args, kwargs


def compiled(signature, text, hidden=(), slow=slow, keep=None):
    """A function with the kernel `@kernel` of a text."""
    module = native.compile_module(text, level=1)
    function = Function(slow)
    function.install(entry(signature), module.address("kernel"), hidden, (module, keep))
    return function


def is_slow(result):
    return isinstance(result, tuple) and result[0] == "slow"


def signature(inputs, results, tree=0, sizes=(), **more):
    return Signature(tuple(inputs), more.pop("hidden", ()), sizes, tuple(results), tree, **more)


SQUARE = (
    "define void @kernel(double %x, ptr %r) { %y = fmul double %x, %x\n store double %y, ptr %r\n ret void }"
)
SQUARE_SIGNATURE = signature([REAL], [REAL])

COPY = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @kernel(ptr %x, i64 %n, ptr %r) {{
  %bytes = mul i64 %n, {}
  call void @llvm.memcpy.p0.p0.i64(ptr %r, ptr %x, i64 %bytes, i1 false)
  ret void
}}
"""
COPY_SIGNATURE = signature([VECTOR], [VECTOR], sizes=("n",))

SCALE = """
define void @kernel(double %a, ptr %x, i64 %n, ptr %y, ptr %sum) {
entry:
  store double 0.0, ptr %sum
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %p
  %w = fmul double %a, %v
  %q = getelementptr double, ptr %y, i64 %i
  store double %w, ptr %q
  %s = load double, ptr %sum
  %t = fadd double %s, %w
  store double %t, ptr %sum
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
"""y = a·x and its sum."""
SCALE_SIGNATURE = signature([REAL, VECTOR], [VECTOR, REAL], (0, 1), ("n",))


# --- scalars


@pytest.mark.parametrize("x", [1.5, -0.0, np.float64(2.5), 3, -1, 0, 2**53, -(2**80), float("inf")])
def test_a_real_argument_is_a_float_or_an_int(x):
    result = compiled(SQUARE_SIGNATURE, SQUARE)(x)
    assert type(result) is np.float64
    assert result == float(x) * float(x)


@pytest.mark.parametrize(
    "x",
    [
        True,
        np.float32(1),
        np.int64(1),
        10**400,
        "1",
        None,
        np.array(1.0),
        np.array([1.0]),
        1j,
        type("F", (float,), {})(1),
    ],
)
def test_anything_else_goes_the_slow_path(x):
    assert compiled(SQUARE_SIGNATURE, SQUARE)(x) == ("slow", (x,), {})


def test_other_numbers_of_arguments_and_keywords_go_the_slow_path():
    square = compiled(SQUARE_SIGNATURE, SQUARE)
    assert square() == ("slow", (), {})
    assert square(1.0, 2.0) == ("slow", (1.0, 2.0), {})
    assert square(x=1.0) == ("slow", (), {"x": 1.0})
    assert square(1.0, y=2.0) == ("slow", (1.0,), {"y": 2.0})
    assert square(*[3.0]) == 9.0
    assert list(map(square, [1.0, 2.0])) == [1.0, 4.0]


def test_an_integer_that_overflows_leaves_no_error_behind():
    assert is_slow(compiled(SQUARE_SIGNATURE, SQUARE)(10**400))
    assert is_slow(compiled(signature([Argument("int64")], [Argument("int64")]), identity("int64"))(2**63))


def identity(dtype):
    if dtype == "complex128":
        return """define void @kernel(double %re, double %im, ptr %r) {
          store double %re, ptr %r
          %q = getelementptr double, ptr %r, i64 1
          store double %im, ptr %q
          ret void }"""
    return f"define void @kernel({VALUE[dtype]} %x, ptr %r) {{ store {VALUE[dtype]} %x, ptr %r\n ret void }}"


@pytest.mark.parametrize(
    ("dtype", "fast", "otherwise"),
    [
        ("float64", [0.1, np.float64(0.1), 7], [True, np.float32(1), 1j]),
        ("int64", [5, -(2**63), 2**63 - 1, np.int64(-7)], [True, 1.0, np.int32(1), 2**63, -(2**63) - 1]),
        ("bool", [True, False, np.True_, np.False_], [1, 0.0, None]),
        ("float32", [np.float32(0.1)], [0.1, 1, np.float64(1)]),
        ("complex128", [1 - 2j, np.complex128(3j)], [1.0, 1, np.complex64(1)]),
    ],
)
def test_scalars_of_every_type(dtype, fast, otherwise):
    argument = Argument(dtype)
    function = compiled(signature([argument], [argument]), identity(dtype))
    kind = np.dtype(dtype).type
    for value in fast:
        result = function(value)
        assert type(result) is kind
        assert result == kind(value)
        counted = sys.getrefcount(value)
        for _ in range(100):
            function(value)
        assert sys.getrefcount(value) == counted
    assert all(is_slow(function(value)) for value in otherwise)


def test_every_result_is_an_object_of_its_own():
    square = compiled(SQUARE_SIGNATURE, SQUARE)
    results = [square(float(k)) for k in range(1000)]
    assert results == [float(k) ** 2 for k in range(1000)]


# --- arrays


@pytest.mark.parametrize("dtype", list(ITEMSIZE))
def test_arrays_of_every_type(dtype):
    argument = Argument(dtype, ("n",))
    function = compiled(signature([argument], [argument], sizes=("n",)), COPY.format(ITEMSIZE[dtype]))
    x = np.array([1, 0, 3, 7], dtype)
    y = function(x)
    assert type(y) is np.ndarray
    assert y.dtype is np.dtype(dtype)
    assert y.flags.c_contiguous and y.flags.owndata and y.flags.writeable
    np.testing.assert_array_equal(x, y)


def unpickled(x):
    y = pickle.loads(pickle.dumps(x))
    assert y.dtype is not x.dtype
    return y


def with_own_dtype(x):
    y = x.view(np.dtype("f8", metadata={"unit": "GeV"}))
    assert y.dtype is not x.dtype
    return y


@pytest.mark.parametrize(
    "make",
    [lambda x: x, unpickled, with_own_dtype, lambda x: x[1:], lambda x: x[:0], lambda x: x[:1], np.copy],
)
def test_arrays_that_fit(make):
    x = make(np.arange(6.0))
    np.testing.assert_array_equal(compiled(COPY_SIGNATURE, COPY.format(8))(x), x)


def test_a_read_only_array_fits():
    x = np.arange(4.0)
    x.flags.writeable = False
    y = compiled(COPY_SIGNATURE, COPY.format(8))(x)
    assert y.flags.writeable
    np.testing.assert_array_equal(y, x)


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[::2],
        lambda x: x[::-1],
        lambda x: x.astype(">f8"),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(object),
        lambda x: x.reshape(2, 3),
        lambda x: x[0],
        lambda x: x.reshape(2, 3)[0, 0, ...],
        lambda x: x.view(Subclass),
        lambda x: np.ma.array(x),
        lambda x: x.tolist(),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64),
        lambda x: memoryview(x),
        lambda x: None,
    ],
)
def test_arrays_that_go_the_slow_path(make):
    x = make(np.arange(6.0))
    path, (found,), _ = compiled(COPY_SIGNATURE, COPY.format(8))(x)
    assert path == "slow"
    assert found is x


def test_fixed_and_common_sizes():
    matrix, vector = Argument("float64", ("m", 3)), Argument("float64", ("m",))
    text = "define void @kernel(ptr %a, ptr %b, i64 %m, ptr %r) { store i64 %m, ptr %r\n ret void }"
    function = compiled(signature([matrix, vector], [Argument("int64")], sizes=("m",)), text)
    assert function(np.zeros((5, 3)), np.zeros(5)) == 5
    assert function(np.zeros((0, 3)), np.zeros(0)) == 0
    assert is_slow(function(np.zeros((5, 3)), np.zeros(4)))
    assert is_slow(function(np.zeros((5, 2)), np.zeros(5)))
    assert is_slow(function(np.zeros((3, 5)).T, np.zeros(5)))
    assert is_slow(function(np.zeros(5), np.zeros(5)))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (("+", "n", 3), lambda n: n + 3),
        (("*", "n", ("+", "n", 1)), lambda n: n * (n + 1)),
        (("//", ("+", "n", -7), 3), lambda n: (n - 7) // 3),
        (("%", ("+", "n", -7), 3), lambda n: (n - 7) % 3),
        (("//", "n", -2), lambda n: n // -2),
        (("%", "n", -4), lambda n: n % -4),
        (("min", "n", 4), lambda n: min(n, 4)),
        (("max", "n", 4), lambda n: max(n, 4)),
        (("//", 12, "n"), lambda n: 12 // n if n else -1),
        (5, lambda n: 5),
    ],
)
def test_sizes_of_results_are_computed_as_in_python(expression, value):
    text = "define void @kernel(ptr %x, i64 %n, ptr %r) { ret void }"
    result = Argument("float32", (expression, 2))
    function = compiled(signature([VECTOR], [result], sizes=("n",)), text)
    for n in range(12):
        found = function(np.zeros(n))
        if value(n) < 0:  # no array has such a shape, so the kernel cannot be meant for this size
            assert is_slow(found)
        else:
            assert found.shape == (value(n), 2)


def test_guards_choose_the_slow_path():
    guards = ((">=", "n", 2), ("!=", "n", 5), ("==", ("%", "n", 2), ("%", "n", 4)))
    function = compiled(signature([VECTOR], [VECTOR], sizes=("n",), guards=guards), COPY.format(8))
    for n in range(10):
        assert is_slow(function(np.zeros(n))) == (not (n >= 2 and n != 5 and n % 2 == n % 4))


# --- results


TREES = [
    0,
    1,
    None,
    (0, 1),
    [1, 0],
    (0,),
    [],
    (),
    (0, [1, (None, 0)]),
    ((), ([1],), None),
    (0, 0, 0),
    [(1, 1), (0,)],
]


def arranged(tree, results):
    if isinstance(tree, (tuple, list)):
        return type(tree)(arranged(child, results) for child in tree)
    return None if tree is None else results[tree]


@pytest.mark.parametrize("tree", TREES)
def test_results_come_in_their_tree(tree):
    function = compiled(signature([REAL, VECTOR], [VECTOR, REAL], tree, ("n",)), SCALE)
    x = np.arange(4.0)
    expected = arranged(tree, ["array", 12.0])

    def plain(value):
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, 2.0 * x)
            return "array"
        return type(value)(map(plain, value)) if isinstance(value, (tuple, list)) else value

    assert plain(function(2.0, x)) == expected
    assert growth(lambda: function(2.0, x)) < 5000


def growth(action, times=300):
    """Bytes still held after an action was repeated."""
    for _ in range(10):
        action()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        action()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def test_a_boolean_result_is_one_of_the_two():
    text = """define void @kernel(double %x, ptr %r) {
      %positive = fcmp ogt double %x, 0.0
      %byte = zext i1 %positive to i8
      store i8 %byte, ptr %r
      ret void }"""
    function = compiled(signature([REAL], [Argument("bool")]), text)
    assert function(1.0) is np.True_
    assert function(-1.0) is np.False_
    counted = sys.getrefcount(np.True_)
    kept = [function(1.0) for _ in range(100)]
    more = sys.getrefcount(np.True_) - counted
    kept.clear()
    left = sys.getrefcount(np.True_) - counted
    assert (more, left) in ((100, 0), (0, 0))  # the latter where these objects are immortal


def test_calls_leave_reference_counts_as_they_were():
    function = compiled(SCALE_SIGNATURE, SCALE)
    a, x, others = 1.25, np.arange(5.0), np.arange(5)
    objects = [a, x, others, np.dtype("float64"), np.float64, np.ndarray, slow, function]
    counted = [sys.getrefcount(thing) for thing in objects]
    for _ in range(1000):
        function(a, x)
        function(a, others)
        function(a, x=x)
        function(10**400, x)
    assert [sys.getrefcount(thing) for thing in objects] == counted
    assert growth(lambda: function(a, x)) < 5000


def test_an_array_that_cannot_be_made_leaves_nothing_behind():
    huge = Argument("float64", (("*", "n", 2**50),))
    shape = signature([VECTOR], [VECTOR, REAL, huge], (0, [1, 2]), ("n",))
    text = "define void @kernel(ptr %x, i64 %n, ptr %a, ptr %b, ptr %c) { ret void }"
    function = compiled(shape, text)
    x = np.arange(4.0)
    counted = sys.getrefcount(x), sys.getrefcount(np.dtype("float64"))

    def fail(times):
        for _ in range(times):
            with contextlib.suppress(MemoryError, ValueError):
                results.append(function(x))
        return sys.getallocatedblocks()

    results = []
    assert fail(300) - fail(300) > -100
    assert results == []
    assert (sys.getrefcount(x), sys.getrefcount(np.dtype("float64"))) == counted


WORKSPACE = """
define void @kernel(ptr %x, i64 %n, ptr %r, ptr %w) {
  %address = ptrtoint ptr %w to i64
  %rest = and i64 %address, 63
  store i64 %rest, ptr %r
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %fill, label %done
fill:
  %bytes = mul i64 %n, 1000
  call void @llvm.memset.p0.i64(ptr %w, i8 1, i64 %bytes, i1 false)
  ret void
done:
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


@pytest.mark.parametrize("workspace", [("*", 1000, "n"), 40_000, 64_000])
def test_a_workspace_is_aligned_and_given_back(workspace):
    function = compiled(
        signature([VECTOR], [Argument("int64")], sizes=("n",), workspace=workspace), WORKSPACE
    )
    for n in (0, 1, 4, 5, 40):
        assert function(np.zeros(n)) == 0
    assert growth(lambda: function(np.zeros(40))) < 5000


def test_a_small_fixed_workspace():
    text = """define void @kernel(double %x, ptr %r, ptr %w) {
      %last = getelementptr i8, ptr %w, i64 792
      store double %x, ptr %last
      %y = load double, ptr %last
      store double %y, ptr %r
      ret void }"""
    assert compiled(signature([REAL], [REAL], workspace=800), text)(2.5) == 2.5


def test_a_workspace_that_cannot_be_had():
    function = compiled(
        signature([VECTOR], [Argument("int64")], sizes=("n",), workspace=("*", "n", 2**60)), WORKSPACE
    )
    for _ in range(100):
        with pytest.raises(MemoryError):
            function(np.zeros(3))
    assert function(np.zeros(0)) == 0
