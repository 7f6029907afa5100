"""What loops accumulate: where it starts, how two values become one, and all lanes one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from . import vecmath_logs
from .ir import DTypeName, Reduction
from .llvm_builder import Code, is_float, type_of
from .llvm_primitives import apply
from .llvm_vecmath import LaneOps
from .vecmath_lanes import Float

__all__ = ["add_log", "combined", "neutral", "total_of_logs", "tree"]

_COMBINE: Final = {
    "sum": "add", "prod": "mul", "min": "minimum", "max": "maximum",
    "any": "logical_or", "all": "logical_and", "sum_of_logs": "add",
}  # fmt: skip


def neutral(kind: str, dtype: DTypeName) -> float:
    """What a reduction starts from in each lane; −0.0, not 0.0, leaves every float as it is."""
    match kind:
        case "sum" | "sum_of_logs":
            return -0.0 if is_float(dtype) else 0
        case "prod" | "all":
            return 1
        case "any":
            return 0
    if is_float(dtype):
        return float("inf") if kind == "min" else float("-inf")
    bits = 63 if dtype == "int64" else 31
    return (1 << bits) - 1 if kind == "min" else -(1 << bits)


def combined(code: Code, kind: str, a: str, b: str, dtype: DTypeName, lanes: int) -> str:
    """Two values of a reduction, as one."""
    return apply(code, _COMBINE[kind], [a, b], [dtype, dtype], dtype, lanes)


def tree(code: Code, reduction: Reduction, vector: str, width: int) -> str:
    """All lanes combined: lane k with lane k + width/2, again and again."""
    dtype = reduction.dtype
    while width > 1:
        half = width // 2
        kind = type_of(dtype, width)
        halves = []
        for first in (0, half):
            if half == 1:
                halves.append(code.let(f"extractelement {kind} {vector}, i32 {first}"))
                continue
            places = ", ".join(f"i32 {lane}" for lane in range(first, first + half))
            halves.append(
                code.let(f"shufflevector {kind} {vector}, {kind} poison, <{half} x i32> <{places}>")
            )
        vector = combined(code, reduction.kind, halves[0], halves[1], dtype, half)
        width = half
    return vector


def add_log(code: Code, parts: Sequence[str], x: str, lanes: int) -> list[str]:
    """The parts of a sum of logarithms (`vecmath_logs`) after log(x) is added."""
    ops = LaneOps(code, lanes)
    product, low, exponent = (Float(ops, part) for part in parts)
    return [part.value for part in vecmath_logs.add_log(product, low, exponent, Float(ops, x))]


def total_of_logs(code: Code, parts: Sequence[str], lanes: int) -> str:
    """The sum of logarithms that these parts are."""
    ops = LaneOps(code, lanes)
    product, low, exponent = (Float(ops, part) for part in parts)
    total: str = vecmath_logs.total_of_logs(product, low, exponent).value
    return total
