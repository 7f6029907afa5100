"""Primitives and conversions as LLVM instructions, on scalars and on vectors alike.

`apply` takes operands that have all been brought to the same number of lanes. Where the table of primitives
names an instruction or an intrinsic, that is what is emitted; elementary functions are those of `vecmath`;
the rest is composed here, or is a call of an outside function for each lane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from chainrule.graph.scalar import PRIMITIVES

from . import externs
from .ir import DTypeName
from .llvm_builder import (
    NOINLINE,
    Code,
    Definition,
    constant,
    is_float,
    suffix,
    type_of,
)
from .llvm_vecmath import LaneOps, call_elementary, has_lane_code

Operands = Sequence[str]


def apply(
    code: Code,
    name: str,
    operands: Operands,
    dtypes: Sequence[DTypeName],
    result: DTypeName,
    lanes: int,
    running: str | None = None,
) -> str:
    """A primitive of the table on operands of ``lanes`` lanes; its operand, of dtype ``result``.

    ``running``: the mask of the lanes of which the result is needed, if not all.
    """
    working = dtypes[-1]  # `where` has its condition first, `polygamma` its order
    if name == "where":
        return select(code, operands[0], operands[1], operands[2], result, lanes)
    if is_float(working):
        return _on_floats(code, name, operands, working, lanes, running)
    if is_float(result):
        given = [convert(code, x, t, result, lanes) for x, t in zip(operands, dtypes, strict=True)]
        return _on_floats(code, name, given, result, lanes, running)
    if working == "bool" and name in _ON_BOOLS:
        return code.let(f"{_ON_BOOLS[name]} {type_of('bool', lanes)} {operands[0]}, {operands[1]}")
    return _on_integers(code, name, operands, working, lanes)


def select(code: Code, mask: str, a: str, b: str, dtype: DTypeName, lanes: int) -> str:
    type_ = type_of(dtype, lanes)
    return code.let(f"select {type_of('bool', lanes)} {mask}, {type_} {a}, {type_} {b}")


def fused_multiply_add(code: Code, a: str, b: str, c: str, dtype: DTypeName, lanes: int) -> str:
    return code.intrinsic("fma", dtype, lanes, a, b, c)


# --- conversions --------------------------------------------------------------------------------------------

_INTEGER_BITS: Final = {"bool": 1, "int32": 32, "int64": 64}


def convert(code: Code, operand: str, source: DTypeName, target: DTypeName, lanes: int) -> str:
    """Conversion as NumPy's ``astype``; floats beyond an integer type give its nearest end, NaN gives 0."""
    if source == target:
        return operand
    before, after = type_of(source, lanes), type_of(target, lanes)
    if target == "bool":
        if is_float(source):
            return code.let(f"fcmp une {before} {operand}, {constant(0.0, source, lanes)}")
        return code.let(f"icmp ne {before} {operand}, {constant(0, source, lanes)}")
    if is_float(source) and not is_float(target):
        symbol = f"llvm.fptosi.sat.{suffix(target, lanes)}.{suffix(source, lanes)}"
        code.module.declare(symbol, f"{after} @{symbol}({before})")
        return code.let(f"call {after} @{symbol}({before} {operand})")
    if is_float(source):
        instruction = "fpext" if target == "float64" else "fptrunc"
    elif is_float(target):
        instruction = "uitofp" if source == "bool" else "sitofp"
    elif _INTEGER_BITS[target] < _INTEGER_BITS[source]:
        instruction = "trunc"
    else:
        instruction = "zext" if source == "bool" else "sext"
    return code.let(f"{instruction} {before} {operand} to {after}")


# --- floats -------------------------------------------------------------------------------------------------


def _on_floats(
    code: Code, name: str, operands: Operands, dtype: DTypeName, lanes: int, running: str | None
) -> str:
    lane_code = has_lane_code(name)
    if not lane_code and name in _COMPOSED:
        return _COMPOSED[name](_Floats(code, dtype, lanes, running), *operands)
    instruction = None if lane_code else PRIMITIVES[name].llvm
    if instruction is not None:
        if instruction.startswith("llvm."):
            return code.intrinsic(instruction.removeprefix("llvm."), dtype, lanes, *operands)
        return code.let(f"{instruction} {type_of(dtype, lanes)} {', '.join(operands)}")
    wide = [convert(code, x, dtype, "float64", lanes) for x in operands]
    if lane_code:
        value = call_elementary(code, name, wide, lanes, running)
    else:
        value = _call_for_each_lane(code, externs.SYMBOLS[name], wide, lanes)
    return convert(code, value, "float64", dtype, lanes)


class _Floats(LaneOps):
    """Arithmetic on floats of either width; elementary functions by name."""

    def __init__(self, code: Code, dtype: DTypeName, lanes: int, running: str | None) -> None:
        super().__init__(code, lanes, running)
        self.dtype: DTypeName = dtype
        self._float = type_of(dtype, lanes)

    def const(self, value: float, /) -> str:
        return constant(value, self.dtype, self.lanes)

    def _intrinsic(self, name: str, *operands: str) -> str:
        return self.code.intrinsic(name, self.dtype, self.lanes, *operands)

    def trunc(self, a: str) -> str:
        return self._intrinsic("trunc", a)

    def call(self, name: str, *operands: str) -> str:
        """Another primitive."""
        return _on_floats(self.code, name, operands, self.dtype, self.lanes, self.running)


def _sign(f: _Floats, x: str) -> str:
    zero = f.const(0.0)
    unsigned = f.select(f.unordered(x), x, zero)
    return f.select(f.gt(x, zero), f.const(1.0), f.select(f.lt(x, zero), f.const(-1.0), unsigned))


def _is_finite(f: _Floats, x: str) -> str:
    return f.lt(f.abs(x), f.const(float("inf")))


def _is_infinite(f: _Floats, x: str) -> str:
    return f.eq(f.abs(x), f.const(float("inf")))


def _sign_bit(f: _Floats, x: str) -> str:
    return f.lt(f.copysign(f.const(1.0), x), f.const(0.0))


def _xlog(f: _Floats, a: str, b: str, logarithm: str) -> str:
    product = f.mul(a, f.call(logarithm, b))
    return f.select(f.mask_and(f.eq(a, f.const(0.0)), f.eq(b, b)), f.const(0.0), product)


def _fmod(f: _Floats, a: str, b: str) -> str:
    """The exact remainder, with the sign of a.

    q = trunc(fl(a/b)) is the true quotient or, where the division rounded up to an integer, one more. Either
    way a - q*b is a float, as long as |q| is below 2**digits. Larger quotients are left to the C library.
    """
    infinity, zero = f.const(float("inf")), f.const(0.0)
    quotient = f.trunc(f.div(a, b))
    rest = f.fma(f.neg(quotient), b, a)
    overshot = f.lt(f.mul(f.copysign(f.const(1.0), rest), f.copysign(f.const(1.0), a)), zero)
    nonzero = f.ne(rest, zero)
    rest = f.select(f.mask_and(overshot, nonzero), f.add(rest, f.copysign(b, a)), rest)
    rest = f.copysign(rest, a)
    small = f.mask_and(f.eq(f.abs(b), infinity), f.lt(f.abs(a), infinity))
    rest = f.select(small, a, rest)
    limit = f.const(2.0**53 if f.dtype == "float64" else 2.0**24)
    large = f.mask_not(f.lt(f.abs(quotient), limit))
    return _unless(f, f.mask_and(large, f.mask_not(small)), rest, a, b)


def _unless(f: _Floats, rare: str, usual: str, a: str, b: str) -> str:
    """``usual``, but the C library's fmod(a, b) in the lanes of ``rare``."""
    code = f.code
    if f.running is not None:
        rare = f.mask_and(rare, f.running)
    slow, join, before = code.fresh(), code.fresh(), code.block
    code.branch(code.any_lane(rare, f.lanes), slow, join, rare=True)
    code.start(slow)
    wide = [convert(code, x, f.dtype, "float64", f.lanes) for x in (a, b)]
    exact = _call_for_each_lane(code, externs.SYMBOLS["fmod"], wide, f.lanes)
    chosen = f.select(rare, convert(code, exact, "float64", f.dtype, f.lanes), usual)
    code.jump(join)
    code.start(join)
    return code.let(f"phi {type_of(f.dtype, f.lanes)} [ {usual}, %{before} ], [ {chosen}, %{slow} ]")


def _mod_parts(f: _Floats, a: str, b: str) -> tuple[str, str, str]:
    """(fmod(a, b), that with the sign of b, where the two differ)."""
    rest = f.call("fmod", a, b)
    zero = f.const(0.0)
    other_sign = f.code.let(f"xor {type_of('bool', f.lanes)} {f.lt(b, zero)}, {f.lt(rest, zero)}")
    differs = f.mask_and(f.ne(rest, zero), other_sign)
    shifted = f.select(differs, f.add(rest, b), rest)
    return rest, f.select(f.eq(rest, zero), f.copysign(zero, b), shifted), differs


def _mod(f: _Floats, a: str, b: str) -> str:
    return _mod_parts(f, a, b)[1]


def _floordiv(f: _Floats, a: str, b: str) -> str:
    """As NumPy: from the remainder, so that ``a == (a // b) * b + a % b`` as nearly as can be."""
    rest, _, differs = _mod_parts(f, a, b)
    zero, one = f.const(0.0), f.const(1.0)
    exact = f.div(f.sub(a, rest), b)
    exact = f.select(differs, f.sub(exact, one), exact)
    floor = f.floor(exact)
    floor = f.select(f.gt(f.sub(exact, floor), f.const(0.5)), f.add(floor, one), floor)
    ratio = f.div(a, b)
    result = f.select(f.eq(exact, zero), f.copysign(zero, ratio), floor)
    return f.select(f.eq(b, zero), ratio, result)


def _angle(f: _Floats, x: str) -> str:
    negative = _sign_bit(f, x)
    return f.select(f.unordered(x), x, f.select(negative, f.const(math.pi), f.const(0.0)))


_COMPOSED: Final[dict[str, Callable[..., str]]] = {
    "reciprocal": lambda f, x: f.div(f.const(1.0), x),
    "square": lambda f, x: f.mul(x, x),
    "sign": _sign,
    "isnan": lambda f, x: f.unordered(x),
    "isinf": _is_infinite,
    "isfinite": _is_finite,
    "signbit": _sign_bit,
    "real": lambda f, x: x,
    "conj": lambda f, x: x,
    "angle": _angle,
    "imag": lambda f, x: f.const(0.0),
    "fmod": _fmod,
    "mod": _mod,
    "floordiv": _floordiv,
    "xlogy": lambda f, a, b: _xlog(f, a, b, "log"),
    "xlog1py": lambda f, a, b: _xlog(f, a, b, "log1p"),
}


# --- integers and bools -------------------------------------------------------------------------------------

_ON_BOOLS: Final = {
    "add": "or", "mul": "and", "maximum": "or", "minimum": "and", "fmax": "or", "fmin": "and",
}  # fmt: skip
_INTEGER_INTRINSICS: Final = {"maximum": "smax", "minimum": "smin", "fmax": "smax", "fmin": "smin"}


def _on_integers(code: Code, name: str, operands: Operands, dtype: DTypeName, lanes: int) -> str:
    type_ = type_of(dtype, lanes)
    zero, one = constant(0, dtype, lanes), constant(1, dtype, lanes)
    match name:
        case "add" | "sub" | "mul":
            return code.let(f"{name} {type_} {operands[0]}, {operands[1]}")
        case "maximum" | "minimum" | "fmax" | "fmin":
            return code.intrinsic(_INTEGER_INTRINSICS[name], dtype, lanes, *operands)
        case "lt" | "le" | "gt" | "ge":
            order = "u" if dtype == "bool" else "s"
            return code.let(f"icmp {order}{name} {type_} {operands[0]}, {operands[1]}")
        case "eq" | "ne":
            return code.let(f"icmp {name} {type_} {operands[0]}, {operands[1]}")
        case "neg":
            return code.let(f"sub {type_} {zero}, {operands[0]}")
        case "square":
            return code.let(f"mul {type_} {operands[0]}, {operands[0]}")
        case "abs":
            symbol = f"llvm.abs.{suffix(dtype, lanes)}"
            code.module.declare(symbol, f"{type_} @{symbol}({type_}, i1)")
            return code.let(f"call {type_} @{symbol}({type_} {operands[0]}, i1 false)")
        case "sign":
            return code.intrinsic(
                "smax",
                dtype,
                lanes,
                code.intrinsic("smin", dtype, lanes, operands[0], one),
                constant(-1, dtype, lanes),
            )
        case "floor" | "ceil" | "trunc" | "round" | "real" | "conj":
            return operands[0]
        case "imag":
            return zero
        case "isnan" | "isinf":
            return constant(False, "bool", lanes)
        case "isfinite":
            return constant(True, "bool", lanes)
        case "signbit":
            return code.let(f"icmp slt {type_} {operands[0]}, {zero}")
        case "floordiv" | "mod" | "fmod":
            return _divide(code, name, operands[0], operands[1], dtype, lanes)
        case "shift_left" | "shift_right":
            return _shift(code, name, operands[0], operands[1], dtype, lanes)
        case "pow":
            return _integer_power(code, operands[0], operands[1], dtype, lanes)
        case "bitwise_not" | "logical_not":
            return code.let(
                f"xor {type_} {operands[0]}, {constant(1 if dtype == 'bool' else -1, dtype, lanes)}"
            )
        case _:
            instruction = PRIMITIVES[name].llvm  # and, or, xor
            assert instruction is not None, name
            return code.let(f"{instruction} {type_} {operands[0]}, {operands[1]}")


def _divide(code: Code, name: str, a: str, b: str, dtype: DTypeName, lanes: int) -> str:
    """Integer division as NumPy's, which rounds down; ``fmod`` has the sign of a; by 0 the result is 0."""
    type_ = type_of(dtype, lanes)
    zero, one = constant(0, dtype, lanes), constant(1, dtype, lanes)
    number = _literal_divisor(b)
    by_zero = by_minus_one = None
    divisor = b
    if number is None or number in (0, -1):  # dividing by these could trap
        by_zero = code.let(f"icmp eq {type_} {b}, {zero}")
        by_minus_one = code.let(f"icmp eq {type_} {b}, {constant(-1, dtype, lanes)}")
        special = code.let(f"or {type_of('bool', lanes)} {by_zero}, {by_minus_one}")
        divisor = select(code, special, one, b, dtype, lanes)
    rest = code.let(f"srem {type_} {a}, {divisor}")
    if name == "fmod":
        return rest
    signs = code.let(f"xor {type_} {rest}, {divisor}")
    opposite = code.let(f"icmp slt {type_} {signs}, {zero}")
    inexact = code.let(f"icmp ne {type_} {rest}, {zero}")
    below = code.let(f"and {type_of('bool', lanes)} {opposite}, {inexact}")
    if name == "mod":
        shifted = code.let(f"add {type_} {rest}, {divisor}")
        return select(code, below, shifted, rest, dtype, lanes)
    quotient = code.let(f"sdiv {type_} {a}, {divisor}")
    lower = code.let(f"sub {type_} {quotient}, {one}")
    quotient = select(code, below, lower, quotient, dtype, lanes)
    if by_zero is None or by_minus_one is None:
        return quotient
    quotient = select(code, by_minus_one, code.let(f"sub {type_} {zero}, {a}"), quotient, dtype, lanes)
    return select(code, by_zero, zero, quotient, dtype, lanes)


def _literal_divisor(operand: str) -> int | None:
    text = operand.removeprefix("splat (i64 ").removeprefix("splat (i32 ").removesuffix(")")
    return int(text) if text.lstrip("-").isdigit() else None


def _shift(code: Code, name: str, a: str, count: str, dtype: DTypeName, lanes: int) -> str:
    """NumPy's shifts: by the width or more leaves 0, or the sign."""
    type_, width = type_of(dtype, lanes), _INTEGER_BITS[dtype]
    last = constant(width - 1, dtype, lanes)
    within = code.let(f"icmp ule {type_} {count}, {last}")
    safe = select(code, within, count, last, dtype, lanes)
    if name == "shift_right":
        return code.let(f"ashr {type_} {a}, {safe}")
    shifted = code.let(f"shl {type_} {a}, {safe}")
    return select(code, within, shifted, constant(0, dtype, lanes), dtype, lanes)


def _integer_power(code: Code, base: str, exponent: str, dtype: DTypeName, lanes: int) -> str:
    """Repeated squaring; a negative exponent, which NumPy refuses, gives 1."""
    type_ = type_of(dtype, 1)
    symbol = f"pow.{suffix(dtype, 1)}"
    if symbol not in code.module.definitions:
        body = f"""entry:
  br label %head
head:
  %power = phi {type_} [ 1, %entry ], [ %next, %body ]
  %square = phi {type_} [ %a0, %entry ], [ %squared, %body ]
  %left = phi {type_} [ %a1, %entry ], [ %half, %body ]
  %more = icmp sgt {type_} %left, 0
  br i1 %more, label %body, label %done
body:
  %low = and {type_} %left, 1
  %odd = icmp ne {type_} %low, 0
  %times = mul {type_} %power, %square
  %next = select i1 %odd, {type_} %times, {type_} %power
  %squared = mul {type_} %square, %square
  %half = ashr {type_} %left, 1
  br label %head
done:
  ret {type_} %power"""
        head = f"define internal {type_} @{symbol}({type_} %a0, {type_} %a1)"
        code.module.definitions[symbol] = Definition(head, body, NOINLINE)
    return _for_each_lane(code, symbol, [base, exponent], dtype, lanes)


# --- one lane at a time -------------------------------------------------------------------------------------


def _call_for_each_lane(code: Code, extern: externs.Extern, operands: Operands, lanes: int) -> str:
    """An outside function of float64."""
    kinds = ["double"] * len(operands) + ["i32"] * extern.skip_dispatch
    code.module.declare(extern.symbol, f"double @{extern.symbol}({', '.join(kinds)})", " #4")
    return _for_each_lane(code, extern.symbol, operands, "float64", lanes, ["i32 0"] * extern.skip_dispatch)


def _for_each_lane(
    code: Code, symbol: str, operands: Operands, dtype: DTypeName, lanes: int, extra: Sequence[str] = ()
) -> str:
    """A scalar function on vectors: in a function of its own, so that each use is one line."""
    scalar, vector = type_of(dtype, 1), type_of(dtype, lanes)
    if lanes == 1:
        arguments = ", ".join([f"{scalar} {x}" for x in operands] + list(extra))
        return code.let(f"call {scalar} @{symbol}({arguments})")
    wrapper = f"{symbol}.{suffix(dtype, lanes)}"
    if wrapper not in code.module.definitions:
        body = Code(code.module)
        result = "poison"
        for lane in range(lanes):
            elements = [body.let(f"extractelement {vector} %a{i}, i32 {lane}") for i in range(len(operands))]
            value = _for_each_lane(body, symbol, elements, dtype, 1, extra)
            result = body.let(f"insertelement {vector} {result}, {scalar} {value}, i32 {lane}")
        body.do(f"ret {vector} {result}")
        parameters = ", ".join(f"{vector} %a{i}" for i in range(len(operands)))
        head = f"define internal {vector} @{wrapper}({parameters})"
        code.module.definitions[wrapper] = Definition(head, body.text(), NOINLINE)
    return code.call(wrapper, vector, [(vector, operand) for operand in operands])
