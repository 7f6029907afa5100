"""The abstract builder of straight-line code, and float64 arithmetic written over it.

`Ops` is what an emitter offers: one method per machine operation on opaque values. `Float`, `Int` and `Mask`
wrap such values, so that the elementary functions read as formulas. Nothing here is reassociated or
contracted: `a * b + c` is two roundings, `fma(a, b, c)` is one.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

V = TypeVar("V")
M = TypeVar("M")


class Ops(Protocol[V, M]):
    """Operations on lanes of float64 and int64 (both of type `V`) and of truth values (`M`).

    A value is a scalar or a vector; a builder fixes which. Each operation rounds once, to nearest even, with
    subnormals. Comparisons of floats are false on NaN, but for `ne`, which is true. Shift counts are Python
    integers from 0 to 63.

    ``jumps`` says whether `any` jumps over slow paths. Without, a short function is emitted as one straight
    line, which a compiler can put into lanes; it gives the same bits.

    >>> from chainrule.codegen.vecmath import FUNCTIONS, Ops
    >>> def expm1_of_square(b: Ops[V, M], x: V) -> V:
    ...     return FUNCTIONS["expm1"](b, b.mul(x, x))
    """

    @property
    def jumps(self) -> bool: ...

    def const(self, value: float, /) -> V: ...
    def iconst(self, value: int, /) -> V: ...

    def add(self, a: V, b: V, /) -> V: ...
    def sub(self, a: V, b: V, /) -> V: ...
    def mul(self, a: V, b: V, /) -> V: ...
    def div(self, a: V, b: V, /) -> V: ...
    def neg(self, a: V, /) -> V: ...

    def fma(self, a: V, b: V, c: V, /) -> V:
        """a*b + c with one rounding, by hardware or by software."""
        ...

    def sqrt(self, a: V, /) -> V: ...
    def abs(self, a: V, /) -> V: ...
    def floor(self, a: V, /) -> V: ...

    def rint(self, a: V, /) -> V:
        """The nearest integer, ties to even, as a float."""
        ...

    def copysign(self, magnitude: V, sign: V, /) -> V: ...

    def bits(self, a: V, /) -> V:
        """The float64's bit pattern as an int64."""
        ...

    def double(self, a: V, /) -> V:
        """The float64 with this int64 as bit pattern."""
        ...

    def iadd(self, a: V, b: V, /) -> V: ...
    def isub(self, a: V, b: V, /) -> V: ...
    def iand(self, a: V, b: V, /) -> V: ...
    def ior(self, a: V, b: V, /) -> V: ...
    def ixor(self, a: V, b: V, /) -> V: ...
    def shl(self, a: V, count: int, /) -> V: ...

    def ashr(self, a: V, count: int, /) -> V:
        """Shift right, copies of the sign come in."""
        ...

    def lshr(self, a: V, count: int, /) -> V:
        """Shift right, zeros come in."""
        ...

    def lt(self, a: V, b: V, /) -> M: ...
    def le(self, a: V, b: V, /) -> M: ...
    def gt(self, a: V, b: V, /) -> M: ...
    def ge(self, a: V, b: V, /) -> M: ...
    def eq(self, a: V, b: V, /) -> M: ...
    def ne(self, a: V, b: V, /) -> M: ...

    def unordered(self, a: V, /) -> M:
        """Whether a is NaN."""
        ...

    def ieq(self, a: V, b: V, /) -> M: ...
    def ilt(self, a: V, b: V, /) -> M: ...

    def select(self, mask: M, a: V, b: V, /) -> V:
        """a where mask, else b; floats."""
        ...

    def iselect(self, mask: M, a: V, b: V, /) -> V:
        """a where mask, else b; integers."""
        ...

    def mask_and(self, a: M, b: M, /) -> M: ...
    def mask_or(self, a: M, b: M, /) -> M: ...
    def mask_not(self, a: M, /) -> M: ...

    def any(
        self, mask: M, rare: Rare, args: tuple[V, ...], default: tuple[V, ...], /
    ) -> tuple[V, ...]:
        """select(mask, rare(self, *args), default), element by element; all of them floats.

        `rare` is long and seldom needed, a function at module level: jump over it unless a lane of `mask` is
        set. It may be made a function of its own, once per module, and with a builder of another width. It
        never traps, whatever the other lanes hold.
        """
        ...


Rare = Callable[..., tuple[Any, ...]]
"""A slow path: called with a builder and values, returns values; it is known by its `__name__`."""


class Float:
    """A float64 lane with Python's operators; a number on the other side becomes a constant."""

    __slots__ = ("ops", "value")

    def __init__(self, ops: Ops[Any, Any], value: Any) -> None:
        self.ops = ops
        self.value = value

    def const(self, value: float) -> Float:
        """A constant in the same builder."""
        return Float(self.ops, self.ops.const(value))

    def iconst(self, value: int) -> Int:
        """An integer constant in the same builder."""
        return Int(self.ops, self.ops.iconst(value))

    def raw(self, other: Float | float) -> Any:
        """The builder's value of a lane or a number."""
        return other.value if isinstance(other, Float) else self.ops.const(other)

    def __add__(self, other: Float | float) -> Float:
        return Float(self.ops, self.ops.add(self.value, self.raw(other)))

    def __radd__(self, other: float) -> Float:
        return Float(self.ops, self.ops.add(self.raw(other), self.value))

    def __sub__(self, other: Float | float) -> Float:
        return Float(self.ops, self.ops.sub(self.value, self.raw(other)))

    def __rsub__(self, other: float) -> Float:
        return Float(self.ops, self.ops.sub(self.raw(other), self.value))

    def __mul__(self, other: Float | float) -> Float:
        return Float(self.ops, self.ops.mul(self.value, self.raw(other)))

    def __rmul__(self, other: float) -> Float:
        return Float(self.ops, self.ops.mul(self.raw(other), self.value))

    def __truediv__(self, other: Float | float) -> Float:
        return Float(self.ops, self.ops.div(self.value, self.raw(other)))

    def __rtruediv__(self, other: float) -> Float:
        return Float(self.ops, self.ops.div(self.raw(other), self.value))

    def __neg__(self) -> Float:
        return Float(self.ops, self.ops.neg(self.value))

    def __abs__(self) -> Float:
        return Float(self.ops, self.ops.abs(self.value))

    def __lt__(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.lt(self.value, self.raw(other)))

    def __le__(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.le(self.value, self.raw(other)))

    def __gt__(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.gt(self.value, self.raw(other)))

    def __ge__(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.ge(self.value, self.raw(other)))

    def equals(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.eq(self.value, self.raw(other)))

    def differs(self, other: Float | float) -> Mask:
        return Mask(self.ops, self.ops.ne(self.value, self.raw(other)))

    def is_nan(self) -> Mask:
        return Mask(self.ops, self.ops.unordered(self.value))

    def sqrt(self) -> Float:
        return Float(self.ops, self.ops.sqrt(self.value))

    def floor(self) -> Float:
        return Float(self.ops, self.ops.floor(self.value))

    def rint(self) -> Float:
        return Float(self.ops, self.ops.rint(self.value))

    def with_sign_of(self, other: Float) -> Float:
        return Float(self.ops, self.ops.copysign(self.value, other.value))

    def bits(self) -> Int:
        return Int(self.ops, self.ops.bits(self.value))


class Int:
    """An int64 lane with Python's operators."""

    __slots__ = ("ops", "value")

    def __init__(self, ops: Ops[Any, Any], value: Any) -> None:
        self.ops = ops
        self.value = value

    def raw(self, other: Int | int) -> Any:
        return other.value if isinstance(other, Int) else self.ops.iconst(other)

    def __add__(self, other: Int | int) -> Int:
        return Int(self.ops, self.ops.iadd(self.value, self.raw(other)))

    def __sub__(self, other: Int | int) -> Int:
        return Int(self.ops, self.ops.isub(self.value, self.raw(other)))

    def __rsub__(self, other: int) -> Int:
        return Int(self.ops, self.ops.isub(self.raw(other), self.value))

    def __and__(self, other: Int | int) -> Int:
        return Int(self.ops, self.ops.iand(self.value, self.raw(other)))

    def __xor__(self, other: Int | int) -> Int:
        return Int(self.ops, self.ops.ixor(self.value, self.raw(other)))

    def __lshift__(self, count: int) -> Int:
        return Int(self.ops, self.ops.shl(self.value, count))

    def __rshift__(self, count: int) -> Int:
        return Int(self.ops, self.ops.ashr(self.value, count))

    def equals(self, other: int) -> Mask:
        return Mask(self.ops, self.ops.ieq(self.value, self.raw(other)))

    def as_double(self) -> Float:
        """The float64 with this bit pattern."""
        return Float(self.ops, self.ops.double(self.value))


class Mask:
    """Truth values of lanes."""

    __slots__ = ("ops", "value")

    def __init__(self, ops: Ops[Any, Any], value: Any) -> None:
        self.ops = ops
        self.value = value

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.ops, self.ops.mask_and(self.value, other.value))

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.ops, self.ops.mask_or(self.value, other.value))

    def __invert__(self) -> Mask:
        return Mask(self.ops, self.ops.mask_not(self.value))


def select(mask: Mask, a: Float | float, b: Float | float) -> Float:
    """a where mask, else b."""
    ops = mask.ops
    raw = [v.value if isinstance(v, Float) else ops.const(v) for v in (a, b)]
    return Float(ops, ops.select(mask.value, raw[0], raw[1]))


def select_rare(mask: Mask, rare: Rare, args: Sequence[Float], default: Sequence[Float]) -> list[Float]:
    """`Ops.any` on lanes."""
    ops = mask.ops
    values = ops.any(mask.value, rare, tuple(a.value for a in args), tuple(d.value for d in default))
    return [Float(ops, v) for v in values]


@functools.cache
def slow_path(function: Callable[..., Float | tuple[Float, ...]]) -> Rare:
    """A function of lanes as a slow path, of the same name."""

    def rare(b: Ops[V, M], *args: V) -> tuple[V, ...]:
        result = function(*(Float(b, a) for a in args))
        return tuple(lane.value for lane in (result if isinstance(result, tuple) else (result,)))

    rare.__name__ = function.__name__
    return rare


def fma(a: Float, b: Float | float, c: Float | float) -> Float:
    """a*b + c, rounded once."""
    return Float(a.ops, a.ops.fma(a.value, a.raw(b), a.raw(c)))


def horner(x: Float, coefficients: Sequence[float]) -> Float:
    """The polynomial sum(c[i] * x**i), from the highest power down."""
    p = x.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        p = fma(p, x, c)
    return p


def even_odd(x: Float, square: Float, coefficients: Sequence[float]) -> Float:
    """As `horner`, in two chains: of the even powers and of the odd ones, which run at the same time."""
    return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[::2]))


def two_sum(a: Float | float, b: Float) -> tuple[Float, Float]:
    """(s, e): s is a + b rounded, s + e is a + b exactly (Knuth)."""
    s = b + a
    b_part = s - a
    a_part = s - b_part
    return s, (a - a_part) + (b - b_part)


def fast_two_sum(a: Float | float, b: Float) -> tuple[Float, Float]:
    """As `two_sum`, if |a| >= |b|, or a is 0, or a multiple of b's last place (Dekker)."""
    s = b + a
    return s, b - (s - a)


def two_prod(a: Float, b: Float | float) -> tuple[Float, Float]:
    """(p, e): p is a * b rounded, p + e is a * b exactly, where nothing underflows."""
    p = a * b
    return p, fma(a, b, -p)


def divide_pairs(num: Float, num_low: Float | float, den: Float, den_low: Float) -> Float:
    """(num + num_low) / (den + den_low) for a normal den, within about 0.5 ulp, with one division."""
    reciprocal = 1.0 / den
    q = num * reciprocal
    rest = fma(-q, den, num) + (num_low - q * den_low)
    return fma(rest, reciprocal, q)


MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds |x| < 2**51 to an integer, in the low bits
MAGIC_BITS: int = struct.unpack("<q", struct.pack("<d", MAGIC))[0]
INF = float("inf")
NAN = float("nan")


def integer_value(x: Float) -> Int:
    """The int64 of an integer-valued float, |x| < 2**51."""
    return (x + MAGIC).bits() - MAGIC_BITS


def float_value(n: Int) -> Float:
    """The float64 of an integer, |n| < 2**51."""
    return (n + MAGIC_BITS).as_double() - MAGIC


def power_of_two(k: Int) -> Float:
    """2**k for -1023 < k < 1024."""
    return ((k + 1023) << 52).as_double()


def scale(x: Float, k: Int) -> Float:
    """x * 2**k, rounded once, for x about 1 and |k| < 2000: in two steps, to reach subnormals and the top."""
    half = k >> 1
    return (x * power_of_two(half)) * power_of_two(k - half)


def add_exponent(x: Float, k: Int) -> Float:
    """x * 2**k where both are normal; of k only the low 12 bits count."""
    return (x.bits() + (k << 52)).as_double()


def clamp(x: Float, low: float, high: float) -> Float:
    """x between the bounds; NaN stays."""
    x = select(x > high, high, x)
    return select(x < low, low, x)
