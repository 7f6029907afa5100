"""Kernels called through ctypes, and the signatures that describe kernels."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.codegen import native
from chainrule.codegen.function import Argument, Function, Signature, call, entry
from chainrule.codegen.signature import evaluate_size, tree_leaves

REAL, INTEGER, VECTOR = Argument("float64"), Argument("int64"), Argument("float64", ("n",))


def test_a_call_through_ctypes_does_the_same():
    shape = Signature(
        inputs=(Argument("complex128"), VECTOR, Argument("bool"), Argument("float32"), INTEGER),
        hidden=(Argument("float64", ("m",)),),
        sizes=("m", "n"),
        results=(Argument("float64", (("+", "m", "n"),)), Argument("bool"), Argument("complex128")),
        tree=(0, [1, (2, None)]),
        workspace=("*", 8, "n"),
    )
    text = """
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define void @kernel(double %re, double %im, ptr %x, i8 %flag, float %f, i64 %k,
                        ptr %h, i64 %m, i64 %n, ptr %joined, ptr %not, ptr %z, ptr %w) {
      %n8 = mul i64 %n, 8
      call void @llvm.memcpy.p0.p0.i64(ptr %w, ptr %x, i64 %n8, i1 false)
      %m8 = mul i64 %m, 8
      call void @llvm.memcpy.p0.p0.i64(ptr %joined, ptr %h, i64 %m8, i1 false)
      %rest = getelementptr i8, ptr %joined, i64 %m8
      call void @llvm.memcpy.p0.p0.i64(ptr %rest, ptr %w, i64 %n8, i1 false)
      %other = xor i8 %flag, 1
      store i8 %other, ptr %not
      %fd = fpext float %f to double
      %a = fadd double %re, %fd
      %kd = sitofp i64 %k to double
      %b = fadd double %im, %kd
      store double %a, ptr %z
      %z1 = getelementptr double, ptr %z, i64 1
      store double %b, ptr %z1
      ret void
    }"""
    module = native.compile_module(text, level=1)
    hidden = (np.array([5.0, 6.0]),)
    function = Function(print)
    function.install(entry(shape), module.address("kernel"), hidden, module)
    leaves = (1 + 2j, np.arange(3.0), True, np.float32(0.5), 40)
    for results in (function(*leaves), call(module.address("kernel"), shape, leaves, hidden)):
        joined, (negated, (z, nothing)) = results
        np.testing.assert_array_equal(joined, [5.0, 6.0, 0.0, 1.0, 2.0])
        assert negated is np.False_ and nothing is None
        assert type(z) is np.complex128 and z == 1.5 + 42j
        assert [type(part) for part in (results, results[1], results[1][1])] == [tuple, list, tuple]


def test_a_call_through_ctypes_checks_its_arguments():
    shape = Signature(
        (VECTOR, VECTOR), (), ("n",), (VECTOR,), 0, None, ((">=", "n", 2), ("!=", ("%", "n", 2), 1))
    )
    text = """
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define void @kernel(ptr %x, ptr %y, i64 %n, ptr %r) {
      %bytes = mul i64 %n, 8
      call void @llvm.memcpy.p0.p0.i64(ptr %r, ptr %y, i64 %bytes, i1 false)
      ret void
    }"""
    module = native.compile_module(text, level=1)

    def f(*leaves):
        return call(module.address("kernel"), shape, leaves, ())

    x = np.arange(4.0)
    np.testing.assert_array_equal(f(x, np.arange(8.0)[::-2]), [7.0, 5.0, 3.0, 1.0])
    np.testing.assert_array_equal(f(x, x.astype(">f8")), x)
    for wrong, error in [
        ((x,), TypeError), ((x, x[0]), TypeError), ((x, x.astype("f4")), TypeError), ((x, 1j * x), TypeError),
        ((x, x[1:]), ValueError), ((x[:1], x[:1]), ValueError), ((x[1:], x[1:]), ValueError),
    ]:  # fmt: skip
        with pytest.raises(error):
            f(*wrong)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": (Argument("float16"),)}, "elements of type float16"),
        ({"inputs": (Argument("float64", (("+", "n", 1),)),)}, "not an expression"),
        ({"sizes": ("n",)}, "named dimensions"),
        ({"inputs": (VECTOR,), "sizes": ("n", "n")}, "named dimensions"),
        ({"results": (VECTOR,)}, "'n' is not among the sizes"),
        ({"workspace": ("-", 8, 1)}, "no size expression"),
        ({"guards": (("<", 8, 1),)}, "relation"),
        ({"tree": (0, 1)}, "a result that does not exist"),
    ],
)
def test_signatures_that_contradict_themselves_are_refused(fields, message):
    whole = {"inputs": (REAL,), "hidden": (), "sizes": (), "results": (REAL,), "tree": 0, **fields}
    with pytest.raises(ValueError, match=message):
        Signature(**whole)


def test_size_expressions_and_trees_are_read_as_written():
    sizes = {"n": 7, "m": 3}
    assert evaluate_size(("max", ("min", "n", "m"), ("//", ("+", "n", -8), ("*", 1, 2))), sizes) == 3
    assert evaluate_size(("%", -7, "m"), sizes) == 2
    with pytest.raises(ZeroDivisionError):
        evaluate_size(("//", "n", 0), sizes)
    assert list(tree_leaves((0, [2, (None, 1)], 0))) == [0, 2, 1, 0]
