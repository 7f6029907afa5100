"""Small kernels by hand: short names for LoopIR, and running a kernel on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.codegen import externs, ir
from chainrule.codegen.native import compile_module
from chainrule.codegen.to_llvm import emit, suggested_level
from chainrule.codegen.verify import verify

CTYPES: dict[str, Any] = {
    "bool": ctypes.c_bool, "int32": ctypes.c_int32, "int64": ctypes.c_int64, "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}  # fmt: skip


def literal(value: Any, dtype: str = "float64") -> ir.Literal:
    return ir.Literal(int.from_bytes(np.asarray(value, dtype).tobytes(), "little"), dtype)  # type: ignore[arg-type]


def integer(value: int) -> ir.Literal:
    return literal(value, "int64")


def var(name: str, dtype: str = "float64") -> ir.Var:
    return ir.Var(name, dtype)  # type: ignore[arg-type]


def index(name: str = "i") -> ir.Var:
    return ir.Var(name, "int64")


def op(name: str, *args: ir.Expr, dtype: str = "float64") -> ir.Apply:
    return ir.Apply(name, args, dtype)  # type: ignore[arg-type]


def iop(name: str, *args: ir.Expr) -> ir.Apply:
    return ir.Apply(name, args, "int64")


def predicate(name: str, *args: ir.Expr) -> ir.Apply:
    return ir.Apply(name, args, "bool")


def load(buffer: str, place: ir.Expr, dtype: str = "float64", guard: ir.Expr | None = None) -> ir.Load:
    return ir.Load(buffer, place, dtype, guard)  # type: ignore[arg-type]


def array(name: str, dtype: str = "float64") -> ir.Parameter:
    return ir.Parameter(name, "array", dtype)  # type: ignore[arg-type]


def result(name: str, dtype: str = "float64") -> ir.Parameter:
    return ir.Parameter(name, "result", dtype)  # type: ignore[arg-type]


def scalar(name: str, dtype: str = "float64") -> ir.Parameter:
    return ir.Parameter(name, "scalar", dtype)  # type: ignore[arg-type]


SIZE = ir.Parameter("n", "size", "int64")
N = ir.Var("n", "int64")


def lanes(
    body: Sequence[ir.Stmt], reductions: Sequence[ir.Reduction] = (), width: int = 8, extent: ir.Expr = N
) -> ir.For:
    return ir.For("i", extent, "lanes", tuple(body), tuple(reductions), width)


def kernel(parameters: Sequence[ir.Parameter], body: Sequence[ir.Stmt], workspace: Any = 0) -> ir.Kernel:
    return ir.Kernel("k", tuple(parameters), tuple(body), workspace)


def compiled(tested: ir.Kernel, level: int | None = None) -> Callable[..., None]:
    """The kernel as a function of arrays, numbers and, where it has one, of its workspace."""
    verify(tested)
    text = emit(tested)
    externs.resolve(text)
    module = compile_module(text, level=suggested_level(tested) if level is None else level)
    pointers = {"array", "result"}
    kinds = [ctypes.c_void_p if p.kind in pointers else CTYPES[p.dtype] for p in tested.parameters]
    if tested.workspace != 0:
        kinds.append(ctypes.c_void_p)
    function = ctypes.CFUNCTYPE(None, *kinds)(module.address(tested.name))

    def call(*arguments: Any) -> None:
        assert module is not None  # keeps the code alive
        for argument in arguments:
            assert not isinstance(argument, np.ndarray) or argument.flags.c_contiguous
        function(*(a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments))

    return call
