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
from chainrule.codegen import ir
from chainrule.codegen.function import call
from chainrule.codegen.to_c import emit_c, emit_unit
from chainrule.codegen.unsupported import Unsupported
from tests.codegen.c_programs import PROGRAMS, Program, Table, tables
from tests.codegen.kernels import (
    N, SIZE, array, compiled, index, integer, iop, kernel, lanes, literal, load, op, predicate, result, scalar, var,
)  # fmt: skip

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
    """Every element has the same bits, or both are NaN: which NaN comes out of an operation is the compiler's choice."""
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
    from chainrule.codegen import externs
    from chainrule.codegen.native import compile_module
    from chainrule.codegen.to_llvm import emit, suggested_level

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
    function = ctypes.CFUNCTYPE(None)(address(table_name(k), level))
    table = TABLES[k]

    def in_c(*arguments: Any) -> None:
        function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments))

    found, expected = run_table(table, in_c), native_table(k)
    x, y = table.values()
    for name in table.names:
        a, b = found[name], expected[name]
        if name in ("fmax", "fmin"):  # which zero comes out of 0 and -0 is open in IEEE 754
            zeros = (x == 0) & (y == 0)
            a, b = np.where(zeros, 0, a), np.where(zeros, 0, b)
        assert same_bits(a, b), (name, [(x[i], y[i], a[i], b[i]) for i in np.flatnonzero((a != b) & ((a == a) | (b == b)))[:5]])
