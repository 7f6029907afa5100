"""The scalar primitives as callables over NumPy, mpmath and SymPy.

Each namespace has one attribute per entry of `chainrule.graph.scalar.PRIMITIVES`. What a library knows itself
is named here; all else follows from the meaning in the table. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from .scalar import PRIMITIVES, Primitive

Function: TypeAlias = Callable[..., Any]

_OPERATORS: dict[str, Function] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "bitwise_not": operator.invert,
    "shift_left": operator.lshift,
    "shift_right": operator.rshift,
}

_MOST_BITS: Final = 100_000  # left of the point, in what mpmath is asked the sine or the exponential of: half a second
_LARGEST_EXPONENT: Final = 1024  # its bits: beyond, not even the exponent of a power is a number
_FOR_ANY_LENGTH: Final = frozenset(
    [*_OPERATORS, "div", "reciprocal", "square", "sqrt", "cbrt", "hypot", "abs", "sign", "log"]
)

_KNOWN_TO_SYMPY = (
    "sign", "floor", "sqrt", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh",
    "cosh", "tanh", "sech", "asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "gamma", "polygamma",
)  # fmt: skip


def _from_meaning(namespace: SimpleNamespace, primitive: Primitive) -> Function:
    meaning = primitive.meaning
    assert meaning is not None, f"{primitive.name} has no meaning and no spelling of its own"
    return lambda *x: meaning(namespace, *x)


class _Special:
    """``scipy.special``, imported only when a function of it is used: that takes longer than most gradients."""

    def __getattr__(self, name: str) -> Any:
        from scipy import special

        return getattr(special, name)


@cache
def numpy_namespace() -> SimpleNamespace:
    """The primitives on NumPy arrays and scalars: broadcast, and silent about overflow, poles and NaN.

    >>> numpy_namespace().log(0.0)
    np.float64(-inf)
    """
    import numpy as np

    def compiled(primitive: Primitive) -> Function:
        @cache
        def function() -> Function:  # when first needed: a program uses few of them
            names = [f"x{i}" for i in range(primitive.arity)]
            source = f"lambda {', '.join(names)}: {primitive.numpy.format(*names)}"
            found: Function = eval(source, {"np": np, "special": _Special()})  # the table's own text
            return found

        def silent(*x: Any) -> Any:
            if not any(isinstance(v, (np.ndarray, np.generic)) for v in x):
                x = (
                    *x[: primitive.literals],
                    *map(np.asanyarray, x[primitive.literals :]),
                )  # so that 1/0 is inf
            with np.errstate(all="ignore"):
                return np.asanyarray(function()(*x))[()]

        silent.__name__ = primitive.name
        return silent

    return SimpleNamespace(pi=np.pi, **{name: compiled(primitive) for name, primitive in PRIMITIVES.items()})


@cache
def mpmath_namespace() -> SimpleNamespace:
    """The primitives on mpmath's numbers at the working precision, with IEEE conventions at singular points.

    A pole gives inf with the sign of the numerator (there is no signed zero), 0·inf and functions of real
    numbers outside their real domain give NaN, comparisons give ``bool``. Python numbers are taken exactly.

    >>> mpmath_namespace().div(1, 0)
    mpf('+inf')
    """
    import mpmath as mp

    def is_real(x: Any) -> bool:
        return not isinstance(x, (complex, mp.mpc))

    def guarded(function: Function, literals: int, at_pole: Function | None = None) -> Function:
        def call(*x: Any) -> Any:
            x = (*x[:literals], *map(mp.mpmathify, x[literals:]))
            if any(mp.isnan(v) for v in x):
                return mp.nan
            try:
                value = function(*x)
            except (ZeroDivisionError, ValueError):  # mpmath's words for a pole
                return mp.nan if at_pole is None else at_pole(*x)
            except OverflowError:  # exponents too long for mpmath: the value is not known
                return mp.nan
            return mp.nan if all(map(is_real, x)) and not is_real(value) else value

        return call

    def div(a: Any, b: Any) -> Any:
        if b == 0:
            return mp.nan if a == 0 or not is_real(a) else mp.sign(a) * mp.inf
        return a / b

    def power(x: Any, n: Any) -> Any:
        if x == 0 and is_real(x) and is_real(n):
            return mp.mpf(0) if n > 0 else mp.inf
        return mp.nan if _LARGEST_EXPONENT < mp.mag(n) < mp.inf else mp.power(x, n)

    def log(x: Any) -> Any:
        return -mp.inf if x == 0 else mp.log(x)

    def within_reach(function: Function) -> Function:
        """A function that may take as many digits of π or log 2 as an argument is long: its value is not known then."""
        return lambda *x: mp.nan if any(_MOST_BITS < mp.mag(v) < mp.inf for v in x) else function(*x)

    def unless_infinite(function: Function) -> Function:
        """A periodic function: no value at ±inf."""
        return lambda x: mp.nan if is_real(x) and mp.isinf(x) else function(x)

    def logit(x: Any) -> Any:
        return log(x) - log(1 - x)

    def sinc(x: Any) -> Any:
        return mp.mpf(1) if x == 0 else mp.sinpi(x) / (mp.pi * x)

    def acosh(x: Any) -> Any:
        return mp.acosh(x) if not is_real(x) or x >= 1 else mp.nan

    def atanh(x: Any) -> Any:
        if is_real(x) and abs(x) >= 1:
            return mp.sign(x) * mp.inf if abs(x) == 1 else mp.nan
        return mp.atanh(x)

    def erfinv(x: Any) -> Any:
        return mp.sign(x) * mp.inf if abs(x) == 1 else mp.erfinv(x)

    def erfcx(x: Any) -> Any:
        if is_real(x) and mp.isinf(x):
            return mp.mpf(0) if x > 0 else mp.inf
        if x > 1e100:
            return 1 / (x * mp.sqrt(mp.pi))  # the first term of a series in x⁻²
        return mp.exp(x * x) * mp.erfc(x)

    def erfc(x: Any) -> Any:
        if is_real(x) and abs(x) > 1e100:
            return mp.exp(-x * x) * erfcx(x) if x > 0 else mp.mpf(2)
        return mp.erfc(x)

    def log_ndtr(x: Any) -> Any:
        u = -x / mp.sqrt(2)
        return mp.log(erfcx(u) / 2) - u * u if u > 1 else mp.log(erfc(u) / 2)

    def softplus(x: Any) -> Any:
        return logaddexp(mp.mpf(0), x)

    def logaddexp(a: Any, b: Any) -> Any:
        largest = max(a, b)
        return largest if mp.isinf(largest) else largest + mp.log1p(mp.exp(min(a, b) - largest))

    def sech(x: Any) -> Any:
        return mp.mpf(0) if is_real(x) and mp.isinf(x) else mp.sech(x)

    def floor(x: Any) -> Any:
        return x if mp.isinf(x) else mp.floor(x)

    def fmax(a: Any, b: Any) -> Any:
        return b if mp.isnan(a) else a if mp.isnan(b) else max(a, b)

    def fmin(a: Any, b: Any) -> Any:
        return b if mp.isnan(a) else a if mp.isnan(b) else min(a, b)

    def sign(x: Any) -> Any:
        return mp.sign(x) if is_real(x) or x != 0 else x

    at_zero_or_nan: Function = lambda x: mp.inf if x == 0 else mp.nan  # noqa: E731
    natives: dict[str, tuple[Function, Function | None]] = {
        **{name: (function, None) for name, function in _OPERATORS.items()},
        "div": (div, None),
        "pow": (power, at_zero_or_nan),
        "reciprocal": (lambda x: div(mp.mpf(1), x), None),
        "log": (log, None),
        "log1p": (lambda x: -mp.inf if x == -1 else mp.log1p(x), None),
        "abs": (lambda x: mp.fabs(x), None),
        "sign": (sign, None),
        "floor": (floor, None),
        "sin": (unless_infinite(mp.sin), None),
        "cos": (unless_infinite(mp.cos), None),
        "tan": (unless_infinite(mp.tan), None),
        "atan2": (mp.atan2, None),
        "acosh": (acosh, None),
        "atanh": (atanh, None),
        "sech": (sech, None),
        "sinc": (unless_infinite(sinc), None),
        "hypot": (mp.hypot, None),
        "logit": (logit, None),
        "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), None),
        "softplus": (softplus, None),
        "log_expit": (lambda x: -softplus(-x), None),
        "logaddexp": (logaddexp, None),
        "erfc": (erfc, None),
        "erfcx": (erfcx, None),
        "erfinv": (erfinv, None),
        "log_ndtr": (log_ndtr, None),
        "gamma": (mp.gamma, at_zero_or_nan),
        "gammaln": (lambda x: mp.re(mp.loggamma(x)), lambda x: mp.inf),
        "digamma": (mp.digamma, lambda x: -mp.inf if x == 0 else mp.nan),
        "polygamma": (lambda n, x: mp.polygamma(int(n), x), lambda n, x: mp.inf * (-1) ** (int(n) + 1)),
        "real": (mp.re, None),
        "imag": (mp.im, None),
        "conj": (mp.conj, None),
        "angle": (mp.arg, None),
        **{
            name: (getattr(mp, name), None)
            for name in (
                "sqrt",
                "exp",
                "expm1",
                "asin",
                "acos",
                "atan",
                "sinh",
                "cosh",
                "tanh",
                "asinh",
                "erf",
            )
        },
    }
    namespace = SimpleNamespace(pi=mp.pi)
    for name, primitive in PRIMITIVES.items():
        if name in natives:
            function, at_pole = natives[name]
        elif primitive.meaning is not None:
            function, at_pole = _from_meaning(namespace, primitive), None
        else:
            continue
        if name not in _FOR_ANY_LENGTH:
            function = within_reach(function)
        setattr(namespace, name, guarded(function, primitive.literals, at_pole))
    finite_power = namespace.pow
    # Choices, comparisons and tests take NaN as it comes.
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(namespace, name, getattr(operator, name))
    vars(namespace).update(
        {name: function for name, function in _OPERATORS.items() if PRIMITIVES[name].meaning is None},
        where=lambda condition, a, b: a if condition else b,
        pow=lambda x, n: mp.mpf(1) if x == 1 or n == 0 else finite_power(x, n),  # 1 for a NaN beside it too
        complex=mp.mpc,
        fmax=fmax,
        fmin=fmin,
        maximum=guarded(max, 0),
        minimum=guarded(min, 0),
        logical_and=lambda a, b: bool(a) and bool(b),
        logical_or=lambda a, b: bool(a) or bool(b),
        logical_xor=lambda a, b: bool(a) != bool(b),
        logical_not=lambda a: not a,
        isfinite=lambda x: bool(mp.isfinite(x)),
        isnan=lambda x: bool(mp.isnan(x)),
        isinf=lambda x: bool(mp.isinf(x)),
        signbit=lambda x: bool(x < 0),
    )
    return namespace


@cache
def sympy_namespace() -> SimpleNamespace:
    """The primitives on SymPy expressions: exact, as a person would write them (softplus is log(1 + exp x)).

    >>> from sympy.abc import x
    >>> sympy_namespace().softplus(x)
    log(exp(x) + 1)
    """
    import sympy as sp

    def where(condition: Any, a: Any, b: Any) -> Any:
        return sp.Piecewise((a, condition), (b, True))

    natives: dict[str, Function] = {
        **_OPERATORS,
        "div": lambda a, b: sp.sympify(a) / b,
        "pow": sp.Pow,
        "abs": sp.Abs,
        "cbrt": lambda x: sp.sign(x) * sp.cbrt(sp.Abs(x)),
        "maximum": sp.Max,
        "minimum": sp.Min,
        "fmax": sp.Max,
        "fmin": sp.Min,
        "where": where,
        "gammaln": sp.loggamma,
        "digamma": sp.digamma,
        "sinc": lambda x: sp.sinc(sp.pi * x),
        "mod": sp.Mod,
        "ceil": sp.ceiling,
        "lt": sp.Lt,
        "le": sp.Le,
        "gt": sp.Gt,
        "ge": sp.Ge,
        "eq": sp.Eq,
        "ne": sp.Ne,
        "logical_and": sp.And,
        "logical_or": sp.Or,
        "logical_xor": sp.Xor,
        "logical_not": sp.Not,
        "isfinite": lambda x: sp.Lt(sp.Abs(x), sp.oo),
        "isinf": lambda x: sp.Eq(sp.Abs(x), sp.oo),
        "isnan": lambda x: sp.Ne(x, x),
        "signbit": lambda x: sp.Lt(x, 0),
        "real": sp.re,
        "imag": sp.im,
        "conj": sp.conjugate,
        "angle": sp.arg,
        "complex": lambda a, b: a + sp.I * b,
        **{name: getattr(sp, name) for name in _KNOWN_TO_SYMPY},
    }
    namespace = SimpleNamespace(pi=sp.pi)
    for name, primitive in PRIMITIVES.items():
        setattr(namespace, name, natives[name] if name in natives else _from_meaning(namespace, primitive))
    return namespace
