"""The elementary functions' builder over NumPy arrays: what an emitter's code must compute, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chainrule.codegen.vecmath_lanes import Rare

Floats: TypeAlias = NDArray[np.float64]
Values: TypeAlias = Any  # Floats, or arrays of int64
Masks: TypeAlias = NDArray[np.bool_]


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    s = a + b
    b_part = s - a
    return s, (a - (s - b_part)) + (b - b_part)


def _split(a: Floats) -> tuple[Floats, Floats]:
    """a as a sum of two floats of 26 bits (Veltkamp)."""
    c = 134217729.0 * a
    high = c - (c - a)
    return high, a - high


def _sum_to_odd(a: Floats, b: Floats) -> Floats:
    """a + b; if inexact, the neighbour whose last bit is set."""
    s, error = _two_sum(a, b)
    bits = s.view(np.int64)
    towards = np.where((error > 0) == (s > 0), 1, -1)
    return np.where((error != 0) & (bits & 1 == 0), bits + towards, bits).view(np.float64)


def _rational_fma(a: float, b: float, c: float) -> float:
    value = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else -float("inf")


def exact_fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """a*b + c with one rounding (Boldo and Melquiond); near the ends of the range, by rational numbers."""
    a, b, c = (np.array(v) for v in np.broadcast_arrays(a, b, c))
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    product_low = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    t, t_low = _two_sum(c, product_low)
    v, v_low = _two_sum(product, t)
    result = v + _sum_to_odd(t_low, v_low)

    plain = (a == 0) | (b == 0) | ~np.isfinite(a) | ~np.isfinite(b) | ~np.isfinite(c)
    result = np.where(plain, product + c, result)
    extreme = np.zeros(a.shape, bool)
    for x in (a, b, c):
        extreme |= (x != 0) & ((np.abs(x) < 1e-120) | (np.abs(x) > 1e120))
    for i in np.flatnonzero(extreme & ~plain):
        result.flat[i] = _rational_fma(a.flat[i], b.flat[i], c.flat[i])
    return result


def _check(dtype: type, *values: Values) -> None:
    assert all(v.dtype == dtype for v in values), f"not {dtype.__name__}: {[v.dtype for v in values]}"


class NumpyOps:
    """An `Ops[Values, Masks]`. It also checks that floats and integers are not mixed up."""

    def __init__(self, jumps: bool = True) -> None:
        self.jumps = jumps

    def _float(self, f: Callable[..., Any], *args: Values) -> Values:
        _check(np.float64, *args)
        return f(*args)

    def _int(self, f: Callable[..., Any], *args: Values) -> Values:
        _check(np.int64, *args)
        return f(*args)

    def _compare_float(self, f: Callable[..., Any], *args: Values) -> Masks:
        return np.asarray(self._float(f, *args), np.bool_)

    def _compare_int(self, f: Callable[..., Any], *args: Values) -> Masks:
        return np.asarray(self._int(f, *args), np.bool_)

    def const(self, value: float, /) -> Values:
        return np.array(value, np.float64)

    def iconst(self, value: int, /) -> Values:
        return np.array(value, np.int64)

    def add(self, a: Values, b: Values, /) -> Values:
        return self._float(np.add, a, b)

    def sub(self, a: Values, b: Values, /) -> Values:
        return self._float(np.subtract, a, b)

    def mul(self, a: Values, b: Values, /) -> Values:
        return self._float(np.multiply, a, b)

    def div(self, a: Values, b: Values, /) -> Values:
        return self._float(np.divide, a, b)

    def neg(self, a: Values, /) -> Values:
        return self._float(np.negative, a)

    def fma(self, a: Values, b: Values, c: Values, /) -> Values:
        return self._float(exact_fma, a, b, c)

    def sqrt(self, a: Values, /) -> Values:
        return self._float(np.sqrt, a)

    def abs(self, a: Values, /) -> Values:
        return self._float(np.abs, a)

    def floor(self, a: Values, /) -> Values:
        return self._float(np.floor, a)

    def rint(self, a: Values, /) -> Values:
        return self._float(np.rint, a)

    def copysign(self, magnitude: Values, sign: Values, /) -> Values:
        return self._float(np.copysign, magnitude, sign)

    def bits(self, a: Values, /) -> Values:
        return self._float(lambda v: np.asarray(v).view(np.int64), a)

    def double(self, a: Values, /) -> Values:
        return self._int(lambda v: np.asarray(v).view(np.float64), a)

    def iadd(self, a: Values, b: Values, /) -> Values:
        return self._int(np.add, a, b)

    def isub(self, a: Values, b: Values, /) -> Values:
        return self._int(np.subtract, a, b)

    def iand(self, a: Values, b: Values, /) -> Values:
        return self._int(np.bitwise_and, a, b)

    def ior(self, a: Values, b: Values, /) -> Values:
        return self._int(np.bitwise_or, a, b)

    def ixor(self, a: Values, b: Values, /) -> Values:
        return self._int(np.bitwise_xor, a, b)

    def shl(self, a: Values, count: int, /) -> Values:
        return self._int(lambda v: np.left_shift(v, count), a)

    def ashr(self, a: Values, count: int, /) -> Values:
        return self._int(lambda v: np.right_shift(v, count), a)

    def lshr(self, a: Values, count: int, /) -> Values:
        return self._int(lambda v: (np.asarray(v).view(np.uint64) >> np.uint64(count)).view(np.int64), a)

    def lt(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.less, a, b)

    def le(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.less_equal, a, b)

    def gt(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.greater, a, b)

    def ge(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.greater_equal, a, b)

    def eq(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.equal, a, b)

    def ne(self, a: Values, b: Values, /) -> Masks:
        return self._compare_float(np.not_equal, a, b)

    def unordered(self, a: Values, /) -> Masks:
        return self._compare_float(np.isnan, a)

    def ieq(self, a: Values, b: Values, /) -> Masks:
        return self._compare_int(np.equal, a, b)

    def ilt(self, a: Values, b: Values, /) -> Masks:
        return self._compare_int(np.less, a, b)

    def select(self, mask: Masks, a: Values, b: Values, /) -> Values:
        return self._float(lambda x, y: np.where(mask, x, y), a, b)

    def iselect(self, mask: Masks, a: Values, b: Values, /) -> Values:
        return self._int(lambda x, y: np.where(mask, x, y), a, b)

    def mask_and(self, a: Masks, b: Masks, /) -> Masks:
        return np.logical_and(a, b)

    def mask_or(self, a: Masks, b: Masks, /) -> Masks:
        return np.logical_or(a, b)

    def mask_not(self, a: Masks, /) -> Masks:
        return np.logical_not(a)

    def any(
        self, mask: Masks, rare: Rare, args: tuple[Values, ...], default: tuple[Values, ...], /
    ) -> tuple[Values, ...]:
        if not np.any(mask):
            return default
        slow = rare(self, *args)
        return tuple(self.select(mask, s, d) for s, d in zip(slow, default, strict=True))
