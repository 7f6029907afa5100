"""Complex arithmetic on pairs of real expressions.

The formulas are those of C99's Annex G where they are well known (Smith's division, Kahan's inverse
functions), without branches, so that they serve lanes. Products are not fused with sums: z·conj(z) has no
imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

from chainrule.graph.operators import Operators

from . import ir
from .builder import Builder, literal

__all__ = ["FUNCTIONS", "Pair", "integer_power", "parts"]

Pair = tuple[ir.Expr, ir.Expr]


@final
class Real(Operators):
    """A real expression that computes by being written down."""

    __slots__ = ("builder", "dtype", "expr")

    def __init__(self, builder: Builder, expr: ir.Expr, dtype: str) -> None:
        self.builder, self.expr, self.dtype = builder, expr, dtype

    def _apply(self, name: str, *args: Any) -> Real:
        exprs = tuple(a.expr if isinstance(a, Real) else literal(a, self.dtype) for a in args)
        dtype = "bool" if name in _TESTS else self.dtype
        return Real(self.builder, self.builder.apply(name, exprs, dtype), dtype)

    def of(self, name: str, *more: Any) -> Real:
        """The primitive ``name`` of this number (and ``more``)."""
        return self._apply(name, self, *more)

    def where(self, yes: Real | float, no: Real | float) -> Real:
        """This bool chooses."""
        chosen = yes if isinstance(yes, Real) else no
        assert isinstance(chosen, Real)
        return chosen._apply("where", self, yes, no)

    @property
    def is_zero(self) -> bool:
        """Whether this is the literal 0 (or −0)."""
        return type(self.expr) is ir.Literal and self.expr.bits in (0, 1 << 31, 1 << 63)


_TESTS = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf", "isfinite", "signbit",
                    "logical_and", "logical_or", "logical_not"))  # fmt: skip


class Number(NamedTuple):
    """A complex number; 0 as a literal imaginary part marks a real one, for which there is less to do."""

    re: Real
    im: Real

    def __neg__(self) -> Number:
        return Number(-self.re, -self.im)

    def plus(self, other: Number) -> Number:
        return Number(self.re + other.re, _sum(self.im, other.im))

    def minus(self, other: Number) -> Number:
        return Number(self.re - other.re, self.im - other.im)

    def times(self, other: Number) -> Number:
        if other.im.is_zero:
            return self.scaled(other.re)
        if self.im.is_zero:
            return other.scaled(self.re)
        return Number(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def over(self, other: Number) -> Number:
        """Smith's division: nothing overflows that the result does not."""
        if other.im.is_zero:
            return Number(self.re / other.re, self.im / other.re)
        steep = other.re.of("abs").lt(other.im.of("abs"))
        larger, smaller = steep.where(other.im, other.re), steep.where(other.re, other.im)
        x, y = steep.where(self.im, self.re), steep.where(self.re, self.im)
        ratio = smaller / larger
        divisor = larger + smaller * ratio
        im = (y - x * ratio) / divisor
        return Number((x + y * ratio) / divisor, steep.where(-im, im))

    def scaled(self, factor: Real | float) -> Number:
        return Number(self.re * factor, self.im * factor)

    def times_i(self) -> Number:
        return Number(-self.im, self.re)

    def over_i(self) -> Number:
        return Number(self.im, -self.re)

    def conjugate(self) -> Number:
        return Number(self.re, -self.im)

    def shifted(self, by: float) -> Number:
        return Number(self.re + by, self.im)

    def is_number(self, value: float) -> Real:
        return self.re.eq(value).of("logical_and", self.im.eq(0.0))

    def chosen(self, test: Real, other: Number) -> Number:
        return Number(test.where(self.re, other.re), test.where(self.im, other.im))


def _sum(a: Real, b: Real) -> Real:
    if b.is_zero:
        return a
    return b if a.is_zero else a + b


def _zero(z: Number) -> Real:
    return Real(z.re.builder, literal(0, z.re.dtype), z.re.dtype)


def _number(z: Number, value: float) -> Number:
    return Number(Real(z.re.builder, literal(value, z.re.dtype), z.re.dtype), _zero(z))


def _modulus(z: Number) -> Real:
    return z.re.of("hypot", z.im)


# --- functions ----------------------------------------------------------------------------------------------


def _exp(z: Number) -> Number:
    size = z.re.of("exp")
    # exp(∞ + 0i) is real: no 0·∞ there
    return Number(size * z.im.of("cos"), z.im.eq(0.0).where(z.im, size * z.im.of("sin")))


def _expm1(z: Number) -> Number:
    half = (z.im * 0.5).of("sin")
    return Number(z.re.of("expm1") * z.im.of("cos") - 2.0 * (half * half), z.re.of("exp") * z.im.of("sin"))


def _log(z: Number) -> Number:
    modulus, a, b = _modulus(z), z.re.of("abs"), z.im.of("abs")
    large, small = a.of("maximum", b), a.of("minimum", b)
    near = 0.5 * ((large - 1.0) * (large + 1.0) + small * small).of(
        "log1p"
    )  # log|z| vanishes on the unit circle
    close = (modulus - 1.0).of("abs").lt(0.3)
    return Number(close.where(near, modulus.of("log")), z.im.of("atan2", z.re))


def _log1p(z: Number) -> Number:
    near = 0.5 * (z.re * (z.re + 2.0) + z.im * z.im).of("log1p")
    small = z.re.of("abs").of("maximum", z.im.of("abs")).lt(0.5)
    far = _log(z.shifted(1.0))
    return Number(small.where(near, far.re), far.im)


def _sqrt(z: Number) -> Number:
    size = (0.5 * (z.re.of("abs") + _modulus(z))).of("sqrt")
    other = z.im.of("abs") / (size * 2.0)
    other = size.eq(0.0).where(0.0, other)
    right = z.re.ge(0.0)
    return Number(right.where(size, other), right.where(other, size).of("copysign", z.im))


def _sinh(z: Number) -> Number:
    return Number(z.re.of("sinh") * z.im.of("cos"), z.re.of("cosh") * z.im.of("sin"))


def _cosh(z: Number) -> Number:
    return Number(z.re.of("cosh") * z.im.of("cos"), z.re.of("sinh") * z.im.of("sin"))


def _sin(z: Number) -> Number:
    return _sinh(z.times_i()).over_i()


def _cos(z: Number) -> Number:
    return _cosh(z.times_i())


def _tanh(z: Number) -> Number:
    """Kahan's, and beyond |Re z| = 20, where sinh² would overflow, what it tends to."""
    tangent = z.im.of("tan")
    beta = 1.0 + tangent * tangent
    far = z.re.of("abs").gt(20.0)
    sinh = far.where(0.0, z.re).of("sinh")
    rho = (1.0 + sinh * sinh).of("sqrt")
    divisor = 1.0 + beta * (sinh * sinh)
    decay = (z.re.of("abs") * -2.0).of("exp") * 4.0
    return Number(
        far.where(_number(z, 1.0).re.of("copysign", z.re), beta * rho * sinh / divisor),
        far.where(z.im.of("sin") * z.im.of("cos") * decay, tangent / divisor),
    )


def _tan(z: Number) -> Number:
    return _tanh(z.times_i()).over_i()


def _asin(z: Number) -> Number:
    below, above = _sqrt((-z).shifted(1.0)), _sqrt(z.shifted(1.0))
    return Number(z.re.of("atan2", below.times(above).re), below.conjugate().times(above).im.of("asinh"))


def _acos(z: Number) -> Number:
    below, above = _sqrt((-z).shifted(1.0)), _sqrt(z.shifted(1.0))
    return Number(2.0 * below.re.of("atan2", above.re), above.conjugate().times(below).im.of("asinh"))


def _acosh(z: Number) -> Number:
    below, above = _sqrt(z.shifted(-1.0)), _sqrt(z.shifted(1.0))
    return Number(below.conjugate().times(above).re.of("asinh"), 2.0 * below.im.of("atan2", above.re))


def _asinh(z: Number) -> Number:
    return _asin(z.times_i()).over_i()


def _atanh(z: Number) -> Number:
    return _log1p(z).minus(_log1p(-z)).scaled(0.5)


def _atan(z: Number) -> Number:
    return _atanh(z.times_i()).over_i()


def _sign(z: Number) -> Number:
    modulus = _modulus(z)
    none = modulus.eq(0.0)
    return Number(none.where(0.0, z.re / modulus), none.where(0.0, z.im / modulus))


def _sech(z: Number) -> Number:
    return _number(z, 1.0).over(_cosh(z))


def _sinc(z: Number) -> Number:
    u = z.scaled(math.pi)
    return _number(z, 1.0).chosen(z.is_number(0.0), _sin(u).over(u))


def _pow(z: Number, n: Number) -> Number:
    power = _exp(n.times(_log(z)))
    at_zero = _number(z, 1.0).chosen(n.is_number(0.0), _number(z, 0.0))
    return at_zero.chosen(z.is_number(0.0), power)


def _xlogy(a: Number, b: Number) -> Number:
    return _number(a, 0.0).chosen(a.is_number(0.0), a.times(_log(b)))


def _xlog1py(a: Number, b: Number) -> Number:
    return _number(a, 0.0).chosen(a.is_number(0.0), a.times(_log1p(b)))


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "add": Number.plus, "sub": Number.minus, "mul": Number.times, "div": Number.over, "neg": Number.__neg__,
    "conj": Number.conjugate, "pow": _pow, "sqrt": _sqrt, "sign": _sign,
    "reciprocal": lambda z: _number(z, 1.0).over(z), "square": lambda z: z.times(z),
    "exp": _exp, "expm1": _expm1, "log": _log, "log1p": _log1p, "exp2": lambda z: _exp(z.scaled(math.log(2))),
    "log2": lambda z: _log(z).scaled(1 / math.log(2)), "log10": lambda z: _log(z).scaled(1 / math.log(10)),
    "xlogy": _xlogy, "xlog1py": _xlog1py,
    "sin": _sin, "cos": _cos, "tan": _tan, "sinc": _sinc,
    "sinh": _sinh, "cosh": _cosh, "tanh": _tanh, "sech": _sech,
    "asin": _asin, "acos": _acos, "atan": _atan, "asinh": _asinh, "acosh": _acosh, "atanh": _atanh,
}  # fmt: skip
"""Complex → complex, by the primitive's name."""

_REAL: dict[str, Callable[..., Real]] = {
    "real": lambda z: z.re,
    "imag": lambda z: z.im,
    "abs": _modulus,
    "eq": lambda a, b: a.re.eq(b.re).of("logical_and", a.im.eq(b.im)),
    "ne": lambda a, b: a.re.ne(b.re).of("logical_or", a.im.ne(b.im)),
    "isnan": lambda z: z.re.of("isnan").of("logical_or", z.im.of("isnan")),
    "isinf": lambda z: z.re.of("isinf").of("logical_or", z.im.of("isinf")),
    "isfinite": lambda z: z.re.of("isfinite").of("logical_and", z.im.of("isfinite")),
}
"""Complex → real or bool."""


def parts(builder: Builder, name: str, args: tuple[Pair, ...], dtype: str) -> Pair | ir.Expr | None:
    """The primitive ``name`` of complex arguments, whose parts have the real type ``dtype``.

    A pair, or one expression for a real result; None where complex numbers have no such function here.
    """
    numbers = [Number(Real(builder, re, dtype), Real(builder, im, dtype)) for re, im in args]
    if name in FUNCTIONS:
        result = FUNCTIONS[name](*numbers)
        return result.re.expr, result.im.expr
    if name in _REAL:
        return _REAL[name](*numbers).expr
    return None


def integer_power(builder: Builder, base: Pair, exponent: int, dtype: str) -> Pair:
    """baseⁿ by repeated squaring, as NumPy does for small whole exponents."""
    z = Number(Real(builder, base[0], dtype), Real(builder, base[1], dtype))
    result: Number | None = None
    square, left = z, abs(exponent)
    while left:
        if left & 1:
            result = square if result is None else result.times(square)
        left >>= 1
        square = square.times(square) if left else square
    one = _number(z, 1.0)
    if result is None:
        return one.re.expr, one.im.expr
    if exponent < 0:
        result = one.over(result)
    return result.re.expr, result.im.expr
