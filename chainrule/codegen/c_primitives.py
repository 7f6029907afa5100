"""Primitives and conversions as C expressions.

What is one operation of the machine is written as such, elementary functions are those of `vecmath`, the rest are
helper functions of the runtime, or functions of the C library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .c_builder import has_lane_code
from .c_runtime import Runtime, has_helper
from .c_text import ATOM, TYPES, UNARY, Text, binary, call, cast, constant, inverse, negative, select
from .ir import DTypeName
from .unsupported import Unsupported

FLOATS: Final = ("float32", "float64")

_ARITHMETIC: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARISONS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LOGICAL: Final = {
    "logical_and": "&", "logical_or": "|", "logical_xor": "!=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip
_ON_BOOLS: Final = {
    "add": "|", "mul": "&", "sub": "!=", "maximum": "|", "minimum": "&", "fmax": "|", "fmin": "&",
    "bitwise_xor": "!=", **{name: operator for name, operator in _LOGICAL.items() if name != "bitwise_xor"},
}  # fmt: skip
_LIBRARY: Final = {
    "sqrt": "sqrt", "abs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "rint",
    "copysign": "copysign", "fmod": "fmod",
}  # fmt: skip
"""Functions of the C library that are exact or correctly rounded."""

_ONLY_DOUBLE: Final = {"gamma": "tgamma"}
_TESTS: Final = ("isnan", "isinf", "isfinite", "signbit")
_UNCHANGED: Final = {"floor", "ceil", "trunc", "round", "real", "conj"}

SLOW: Final = frozenset({"gamma", "fmod", "mod", "floordiv"})
"""Calls of the C library, on floats, which compilers do not vectorise."""
SLOW_ON_INTEGERS: Final = frozenset({"fmod", "mod", "floordiv", "pow"})
"""Divisions, and a loop."""


def ignores_operands(name: str, dtype: DTypeName) -> bool:
    """Whether the result is the same whatever the operands are."""
    return name == "imag" or (
        dtype not in FLOATS and (name in ("isnan", "isinf", "isfinite") or (name == "signbit" and dtype == "bool"))
    )


def convert(runtime: Runtime, value: Text, source: DTypeName, target: DTypeName) -> Text:
    """Conversion as NumPy's ``astype``; floats beyond an integer type give its nearest end, NaN gives 0."""
    if source == target:
        return value
    if target == "bool":
        return binary("!=", value, constant(0, source))
    if source in FLOATS and target not in FLOATS:
        return call(runtime.helper(target, source), value)
    return cast(TYPES[target], value)


def apply(
    runtime: Runtime, name: str, operands: Sequence[Text], dtypes: Sequence[DTypeName], result: DTypeName, plain: bool
) -> Text:
    """A primitive of the table.

    ``plain``: integer arithmetic on loop indices and sizes, which never leaves the range; all other wraps.
    """
    working = dtypes[-1]  # `where` has its condition first
    if name == "where":
        return select(operands[0], operands[1], operands[2])
    if working not in FLOATS and result in FLOATS:
        given = [convert(runtime, x, t, result) for x, t in zip(operands, dtypes, strict=True)]
        return _on_floats(runtime, name, given, result)
    if working in FLOATS:
        return _on_floats(runtime, name, operands, working)
    if working == "bool":
        return _on_bools(name, operands)
    return _on_integers(runtime, name, operands, working, plain)


def fused_multiply_add(a: Text, b: Text, c: Text, dtype: DTypeName) -> Text:
    return call("fmaf" if dtype == "float32" else "fma", a, b, c)


def _on_floats(runtime: Runtime, name: str, operands: Sequence[Text], dtype: DTypeName) -> Text:
    if name in _ARITHMETIC or name in _COMPARISONS:
        return binary((_ARITHMETIC | _COMPARISONS)[name], operands[0], operands[1])
    if name in _LIBRARY:
        return call(_LIBRARY[name] + ("f" if dtype == "float32" else ""), *operands)
    if name in _TESTS:
        return binary("!=", call(name, *operands), Text("0"))
    if has_helper(name, dtype):
        return call(runtime.helper(name, dtype), *operands)
    match name:
        case "neg":
            return negative(operands[0])
        case "reciprocal":
            return binary("/", constant(1.0, dtype), operands[0])
        case "real" | "conj":
            return operands[0]
        case "imag":
            return constant(0.0, dtype)
    if has_lane_code(name):
        value = call(runtime.elementary(name, len(operands)), *operands)
    elif name in _ONLY_DOUBLE:
        value = call(_ONLY_DOUBLE[name], *operands)
    else:
        raise Unsupported(f"{name} has no C code: the C library has no such function; call the compiled function")
    return cast("float", value) if dtype == "float32" else value


def _on_bools(name: str, operands: Sequence[Text]) -> Text:
    if name in _ON_BOOLS or name in _COMPARISONS:
        return binary((_ON_BOOLS | _COMPARISONS)[name], operands[0], operands[1])
    match name:
        case "logical_not" | "bitwise_not":
            return inverse(operands[0])
        case "isnan" | "isinf" | "signbit" | "imag":
            return Text("false")
        case "isfinite":
            return Text("true")
        case "real" | "conj" | "square" | "abs" | "sign" | "floor" | "ceil" | "trunc" | "round":
            return operands[0]
    raise Unsupported(f"{name} of booleans has no C code; convert them to numbers first")


def _on_integers(
    runtime: Runtime, name: str, operands: Sequence[Text], dtype: DTypeName, plain: bool
) -> Text:
    if name in _COMPARISONS or name in _LOGICAL:
        return binary((_COMPARISONS | _LOGICAL)[name], operands[0], operands[1])
    if plain and name in _ARITHMETIC:
        return binary(_ARITHMETIC[name], operands[0], operands[1])
    if plain and name == "neg":
        return negative(operands[0])
    if name in _UNCHANGED:
        return operands[0]
    if name in ("fmax", "fmin"):
        name = "maximum" if name == "fmax" else "minimum"
    if has_helper(name, dtype):
        return call(runtime.helper(name, dtype), *operands)
    match name:
        case "bitwise_not":
            return Text(f"~{operands[0].inside(ATOM)}", UNARY)
        case "logical_not":
            return binary("==", operands[0], Text("0"))
        case "isnan" | "isinf":
            return Text("false")
        case "isfinite":
            return Text("true")
        case "signbit":
            return binary("<", operands[0], Text("0"))
        case "imag":
            return Text("0")
    raise Unsupported(f"{name} of integers has no C code; convert them to floats first")



