"""C text: compiled by a C compiler where there is one, its results are those of the LLVM kernels, bit for bit."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import externs, ir
from chainrule.codegen.c_text import constant, number_of
from chainrule.codegen.function import call
from chainrule.codegen.native import compile_module
from chainrule.codegen.to_c import emit_c, emit_unit
from chainrule.codegen.to_llvm import emit, suggested_level
from chainrule.codegen.unsupported import Unsupported
from tests.codegen.c_programs import BY_HAND, LENGTHS, PROGRAMS, Program, Table, tables
from tests.codegen.kernels import array, compiled, index, integer, kernel, literal, op, result, scalar, var

STRICT = ("-std=c11", "-march=native", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
COMPILER = shutil.which("gcc")
LEVELS = ("-O3", "-O0") if COMPILER else ()
TABLES = tables()


@functools.cache
def programs() -> dict[str, Program]:
    return {name: build(name) for name, build in PROGRAMS.items()}


def table_name(k: int) -> str:
    return f"table{k}_{TABLES[k].dtype}"


@functools.cache
def library(level: str) -> ctypes.CDLL:
    """All programs in one file, compiled once."""
    assert COMPILER is not None
    kernels = [program.kernel for program in programs().values()]
    kernels += [made.kernel for made in BY_HAND.values()]
    kernels += [table.kernel(table_name(k)) for k, table in enumerate(TABLES)]
    return built(emit_unit(kernels).text, level)


def built(text: str, level: str) -> ctypes.CDLL:
    assert COMPILER is not None
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "unit.c"), Path(folder, "unit.so")
        source.write_text(text)
        done = subprocess.run([COMPILER, level, *STRICT, source, "-o", binary, "-lm"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(binary))


def address(name: str, level: str) -> int:
    found = ctypes.cast(getattr(library(level), name), ctypes.c_void_p).value
    assert found is not None
    return found


def same_bits(a: Any, b: Any) -> bool:
    """Every element has the same bits, or both are NaN: which NaN comes out is the compiler's choice."""
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "c":
        a, b = a.view(np.float64), b.view(np.float64)
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    bits = f"i{a.dtype.itemsize}"
    return bool(np.all((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))))


# --- the same bits ------------------------------------------------------------------------------------------


@functools.cache
def native(name: str) -> list[Any]:
    """The results of the LLVM kernel, for each of the program's calls."""
    program = programs()[name]
    text = emit(program.kernel)
    externs.resolve(text)
    module = compile_module(text, level=suggested_level(program.kernel))
    return [call(module.address(name), program.signature, list(values), []) for values in program.calls]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_give_the_bits_of_the_llvm_kernel(name: str, level: str) -> None:
    program = programs()[name]
    for values, expected in zip(program.calls, native(name), strict=True):
        found = call(address(name, level), program.signature, list(values), [])
        if not isinstance(expected, tuple):
            found, expected = (found,), (expected,)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert same_bits(a, b), (values, a, b)


def called_in_c(name: str, level: str) -> Any:
    """A kernel of the library as a function of arrays and numbers."""
    function = ctypes.CFUNCTYPE(None)(address(name, level))

    def run(*arguments: Any) -> None:
        function(
            *(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments)
        )

    return run


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", BY_HAND)
def test_loops_by_hand_give_the_bits_of_the_llvm_kernel(name: str, level: str) -> None:
    native, in_c = compiled(BY_HAND[name].kernel), called_in_c(name, level)
    for length in LENGTHS:
        given = BY_HAND[name].arguments(length)
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in given]
        native(*given)
        in_c(*copies)
        results = sum(p.kind == "result" for p in BY_HAND[name].kernel.parameters)
        first = len(BY_HAND[name].kernel.parameters) - results
        for a, b in list(zip(copies, given, strict=True))[first : first + results]:
            assert same_bits(a, b), (length, a, b)


def run_table(table: Table, function: Any) -> dict[str, Any]:
    x, y = table.values()
    dtypes = [parameter.dtype for parameter in table.kernel("k").parameters[3:]]
    results = [np.zeros(x.size, dtype) for dtype in dtypes]
    function(x, y, x.size, *results)
    return dict(zip(table.names, results, strict=True))


@functools.cache
def native_table(k: int) -> dict[str, Any]:
    return run_table(TABLES[k], compiled(TABLES[k].kernel("k"), level=0))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("k", range(len(TABLES)), ids=table_name)
def test_primitives_give_the_bits_of_the_llvm_code(k: int, level: str) -> None:
    table = TABLES[k]
    found, expected = run_table(table, called_in_c(table_name(k), level)), native_table(k)
    x, y = table.values()
    for name in table.names:
        a, b = found[name], expected[name]
        if name in ("fmax", "fmin"):  # which zero comes out of 0 and -0 is open in IEEE 754
            zeros = (x == 0) & (y == 0)
            a, b = np.where(zeros, 0, a), np.where(zeros, 0, b)
        differ = np.flatnonzero((a != b) & ((a == a) | (b == b)))[:5]
        assert same_bits(a, b), (name, [(x[i], y[i], a[i], b[i]) for i in differ])


# --- the text -----------------------------------------------------------------------------------------------


def square() -> ir.Kernel:
    return kernel([scalar("x"), result("y")], [ir.Store("y", integer(0), op("mul", var("x"), var("x")))])


def test_signature_and_header_are_those_of_the_c_abi() -> None:
    source = emit_c(square(), "x squared */ and more")
    assert source.signature == "void k(double x, double *y)"
    assert "/* x squared * / and more */" in source.text
    assert source.text.endswith("void k(double x, double *restrict y)\n{\n    y[0] = x * x;\n}\n")
    assert str(source) == source.text
    assert "void k(double x, double *y);" in source.header
    assert 'extern "C"' in source.header
    assert "#ifndef CHAINRULE_K_H" in source.header


def test_text_includes_nothing_but_the_standard_library_and_is_always_the_same() -> None:
    for name, program in programs().items():
        text = emit_c(program.kernel).text
        assert text == emit_c(program.kernel).text, name
        included = {line.split()[1] for line in text.splitlines() if line.startswith("#include")}
        assert included == {"<math.h>", "<stdbool.h>", "<stdint.h>", "<string.h>"}


def test_bindings_are_lines_loops_are_loops_and_what_is_not_used_is_left_out() -> None:
    loop = ir.For("i", integer(3), "serial", (ir.Store("y", index(), var("twice")),))
    block = [ir.Let("twice", op("add", var("x"), var("x"))), ir.Let("idle", op("neg", var("x"))), loop]
    text = emit_c(kernel([scalar("x"), array("z"), result("y")], block)).text
    lines = [line.strip() for line in text.splitlines()]
    assert "const double twice = x + x;" in lines
    assert "for (int64_t i = 0; i < 3; i++) {" in lines
    assert "y[i] = twice;" in lines
    assert "(void)z;" in lines
    assert "idle" not in text


def test_sums_keep_partial_results_for_each_lane_in_order() -> None:
    text = emit_c(programs()["likelihood"].kernel).text
    assert "[lane] += " in text
    assert "for (int half = 8; half > 0; half /= 2)" in text
    assert "fast" not in text


def test_one_elementary_function_of_a_kind() -> None:
    text = emit_c(programs()["likelihood"].kernel).text
    for name in ("exp", "erf"):
        assert text.count(f"double cr_{name}(double x)") == 1
    assert text.count("void cr_add_log(") == text.count("double cr_total_of_logs(") == 1
    assert "double cr_sin(" not in text


@pytest.mark.parametrize("name", ["erfinv", "ndtri"])
def test_what_c_does_not_have_is_a_clear_error(name: str) -> None:
    block = [ir.Store("y", integer(0), op(name, var("x")))]
    with pytest.raises(Unsupported, match=f"{name} has no C code"):
        emit_c(kernel([scalar("x"), result("y")], block))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_floats_are_spelled_exactly(dtype: str) -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**63, 300, dtype=np.uint64)
    values = bits.view(np.float64) if dtype == "float64" else bits.astype(np.uint32).view(np.float32)
    for value in [*values[np.isfinite(values)], np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, 0.0, -0.0]:
        exact = literal(value, dtype)
        text = constant(number_of(exact), exact.dtype).text
        read = np.asarray(float(text.rstrip("f")), dtype)
        assert read.tobytes() == np.asarray(value, dtype).tobytes(), text
    shown = [constant(v, "float64").text for v in (np.inf, -np.inf, np.nan)]
    assert shown == ["INFINITY", "-INFINITY", "NAN"]


def test_function_shows_its_c_code() -> None:
    def area(radius: Any) -> Any:
        return np.pi * radius * radius

    function = cr.grad(area)
    function(2.0)
    assert "void area(double radius, double *restrict result)" in function.source("c")
    with pytest.raises(ValueError, match="'llvm', 'c', 'numpy' or 'ir'"):
        function.source("fortran")
