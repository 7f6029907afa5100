"""The table of scalar primitives: one entry per primitive, with everything the passes need to know about it.

An entry says what the primitive means, which element types it takes and gives, how it is spelled in NumPy, C,
CUDA and LLVM, and, where the derivative that computer algebra prints would lose accuracy, its partial
derivatives in a stable form. All other partials are generated from the meaning (``python -m
chainrule.graph.derive``) into ``partials.py``. Adding a primitive means adding one entry here and
regenerating.

Meanings, partials and masks are written over a namespace ``m`` that has every primitive as an attribute, so
the same lines serve graphs, SymPy, mpmath and NumPy, and this file imports nothing but the standard library.

>>> PRIMITIVES["sin"].numpy.format("x")
'np.sin(x)'
>>> partials_of("mul")[0](None, 6.0, 2.0, 3.0)
3.0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeAlias

Rule: TypeAlias = Callable[..., Any]
"""``(m, y, *x) -> value``: a partial or a mask; ``y`` is the primitive's own value, ``x`` its arguments."""

Rules: TypeAlias = tuple[Rule | None, ...]

Result: TypeAlias = Literal["same", "float", "bool", "real", "complex"]


@dataclass(frozen=True, slots=True)
class Primitive:
    """One scalar primitive.

    name, arity
        Its name in the namespaces, and its number of arguments.
    meaning
        ``(m, *x)``: its mathematical meaning over a namespace ``m``; ``None`` for what has none (bits, NaN
        tests). A meaning that only names the primitive itself says that the computer algebra system knows it.
    result
        Element type of the result: ``"same"`` as the promoted arguments (the condition of ``where`` aside),
        ``"float"`` (integers become float64), ``"bool"``, ``"real"`` (complex becomes its real type) or
        ``"complex"``.
    accepts
        Kinds of element type the arguments may have: ``b`` bool, ``i`` integer, ``f`` float, ``c`` complex.
        The condition of ``where`` is always bool.
    literals
        So many leading arguments are whole numbers, constant (the order of ``polygamma``).
    numpy, c, cuda
        Templates over ``{0}``, ``{1}``, … for the spelling in NumPy (names ``np`` and ``special``), and in
        C99 and CUDA C on doubles. Arguments may be used more than once: they have to be names or literals.
        ``None``: not in the language's library, needs a function of our own or SciPy's.
    llvm
        The LLVM instruction or intrinsic on floats; ``None``: inlined lane code, or a call.
    partials
        Per argument ``(m, y, *x) -> expression``, or ``None`` in place of an argument on which the value does
        not depend smoothly (a structural zero). ``None`` as a whole: generated from the meaning. Read them
        with `partials_of`. A partial may be a plain Python number, to be taken in the element type of its
        tangent.
    masks
        Per argument ``(m, y, *x) -> bool expression``: where the partial applies; elsewhere the contribution
        is zero whatever the tangent is. ``None``: everywhere.
    commutative, associative
        Over the real numbers. (Commutative ones are so over floats too, NaN payloads aside.)
    bounded
        One constant bounds ``|value|`` for all real arguments, infinite ones included, whenever the value is
        not NaN. (Of complex arguments nothing is claimed.)
    total
        The value is not NaN for any real arguments that are not NaN, infinite ones included. A value both
        bounded and total is always finite.
    holomorphic
        Takes complex arguments and is complex differentiable: the partials hold for them as they stand.
    domain
        Per argument the interval from which tests sample it.
    ulp
        Tolerance for NumPy's or SciPy's value on the domain, in units of the last place of the true value.
    """

    name: str
    arity: int
    meaning: Callable[..., Any] | None
    result: Result
    accepts: str
    numpy: str
    c: str | None
    cuda: str | None
    llvm: str | None
    partials: Rules | None
    masks: Rules | None
    commutative: bool
    associative: bool
    bounded: bool
    total: bool
    holomorphic: bool
    domain: tuple[tuple[float, float], ...]
    ulp: float
    literals: int


PRIMITIVES: Final[dict[str, Primitive]] = {}


def _define(
    name: str,
    meaning: Callable[..., Any] | None,
    domain: tuple[tuple[float, float], ...],
    *,
    numpy: str,
    c: str | None = None,
    cuda: str | None = None,
    llvm: str | None = None,
    result: Result = "float",
    accepts: str = "ifc",
    partials: Rules | None = None,
    masks: Rules | None = None,
    commutative: bool = False,
    associative: bool = False,
    bounded: bool = False,
    total: bool = False,
    holomorphic: bool | None = None,
    ulp: float = 1.0,
    literals: int = 0,
) -> None:
    """Add one entry. CUDA is spelled as C, and what takes complex numbers is holomorphic, unless said."""
    PRIMITIVES[name] = Primitive(
        name=name,
        arity=len(domain),
        meaning=meaning,
        result=result,
        accepts=accepts,
        numpy=numpy,
        c=c,
        cuda=cuda if cuda is not None else c,
        llvm=llvm,
        partials=partials,
        masks=masks,
        commutative=commutative,
        associative=associative,
        bounded=bounded,
        total=total,
        holomorphic="c" in accepts if holomorphic is None else holomorphic,
        domain=domain,
        ulp=ulp,
        literals=literals,
    )


@cache
def partials_of(name: str) -> Rules:
    """The partial derivatives of a primitive, one per argument: given by hand, or else generated.

    ``None`` stands for an argument on which the value does not depend smoothly. Raises ``KeyError`` for an
    unknown name.

    >>> partials_of("floor")
    (None,)
    """
    given = PRIMITIVES[name].partials
    if given is not None:
        return given
    from .partials import PARTIALS  # generated from this very table, so imported only when asked for

    return PARTIALS[name]


# --- numbers and stable forms -------------------------------------------------------------------------------

SQRT_HALF: Final = math.sqrt(0.5)
TWO_OVER_SQRT_PI: Final = 2 / math.sqrt(math.pi)
INV_SQRT_PI: Final = 1 / math.sqrt(math.pi)
HALF_SQRT_PI: Final = math.sqrt(math.pi) / 2
SQRT_TWO_PI: Final = math.sqrt(2 * math.pi)
INV_SQRT_TWO_PI: Final = 1 / math.sqrt(2 * math.pi)
SQRT_TWO_OVER_PI: Final = math.sqrt(2 / math.pi)

_LINE = ((-8.0, 8.0),)
_PLANE = _LINE * 2
_POSITIVE = ((1e-3, 20.0),)
_BITS = ((0.0, 60.0),)


def _zero_where(m: Any, first: Any, second: Any, value: Any) -> Any:
    """0 where both conditions hold; one choice inside the other, so that a constant condition folds away."""
    return m.where(first, m.where(second, 0.0, value), value)


def _pow_base(m: Any, y: Any, x: Any, n: Any) -> Any:
    # n·xⁿ⁻¹ is 0·inf at n = 0 = x, and only there: selecting on n = 0 alone would lose ∂²/∂x∂n = 1/x.
    power = m.pow(x, n - 1)
    return _zero_where(m, m.eq(n, 0), m.isinf(power), n * power)


def _pow_exponent(m: Any, y: Any, x: Any, n: Any) -> Any:
    return _zero_where(m, m.eq(x, 0), m.ge(m.real(n), 0), y * m.log(x))


def _asinh(m: Any, y: Any, x: Any) -> Any:
    # 1/sqrt(1 + x²) without overflow of x²; real and sign only choose the branch of the root for complex x.
    return m.where(m.lt(m.abs(x), 1e9), 1 / m.sqrt(1 + x * x), m.sign(m.real(x)) / x)


def _sinc(m: Any, y: Any, x: Any) -> Any:
    # (cos πx − sinc x)/x cancels near 0, and its derivatives cancel more; there the series, u = πx: −π·j₁(u).
    u = math.pi * x
    t = u * u
    coefficients = [(-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(14, 0, -1)]
    series: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        series = series * t + coefficient
    return m.where(m.lt(m.abs(u), 2.0), math.pi * u * series, (m.cos(u) - y) / x)


def _erfcx(m: Any, y: Any, x: Any) -> Any:
    # 2xy − 2/√π cancels for large x; there the asymptotic series, which is right to half an ulp for x > 10.
    w = 1 / (x * x)
    coefficients = [(-0.5) ** k * math.prod(range(1, 2 * k + 2, 2)) for k in range(16, -1, -1)]
    series: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        series = series * w + coefficient
    return m.where(m.gt(x, 10), -INV_SQRT_PI * w * series, 2 * (x * y) - TWO_OVER_SQRT_PI)


def _larger(m: Any, y: Any, a: Any, b: Any) -> Any:
    return m.ge(a, b)


def _smaller(m: Any, y: Any, a: Any, b: Any) -> Any:
    return m.le(a, b)


def _share(m: Any, y: Any, a: Any, b: Any) -> Any:
    return m.where(m.eq(a, b), 0.5, 1.0)  # ties are shared half and half


# fmt: off (a table, laid out by hand)

# --- arithmetic ---------------------------------------------------------------------------------------------

_define("add", lambda m, a, b: a + b, _PLANE, result="same", numpy="({0} + {1})", c="({0} + {1})",
        llvm="fadd", commutative=True, associative=True)
_define("sub", lambda m, a, b: a - b, _PLANE, result="same", numpy="({0} - {1})", c="({0} - {1})",
        llvm="fsub")
_define("mul", lambda m, a, b: a * b, _PLANE, result="same", numpy="({0} * {1})", c="({0} * {1})",
        llvm="fmul", commutative=True, associative=True)
_define("div", lambda m, a, b: a / b, ((-8.0, 8.0), (0.1, 8.0)), numpy="({0} / {1})", c="({0} / {1})",
        llvm="fdiv",
        partials=(lambda m, y, a, b: 1 / b, lambda m, y, a, b: -(y / b)))
_define("neg", lambda m, x: -x, _LINE, result="same", numpy="(-{0})", c="(-{0})", llvm="fneg", total=True)
_define("pow", lambda m, x, n: x**n, ((0.1, 8.0), (-4.0, 4.0)), result="same", numpy="np.power({0}, {1})",
        c="pow({0}, {1})", ulp=4.0, partials=(_pow_base, _pow_exponent))
_define("floordiv", lambda m, a, b: m.floor(a / b), ((-8.0, 8.0), (0.1, 8.0)), result="same", accepts="if",
        numpy="({0} // {1})",
        c="({1} == 0.0 ? {0} / {1} : rint(({0} - fmod({0}, {1})) / {1})"
          " - (fmod({0}, {1}) != 0.0 && (fmod({0}, {1}) < 0.0) != ({1} < 0.0) ? 1.0 : 0.0))",
        partials=(None, None))
_define("mod", lambda m, a, b: a - b * m.floor(a / b), ((-8.0, 8.0), (0.1, 8.0)), result="same", accepts="if",
        numpy="({0} % {1})",
        c="(fmod({0}, {1}) == 0.0 ? copysign(0.0, {1})"
          " : (fmod({0}, {1}) < 0.0) != ({1} < 0.0) ? fmod({0}, {1}) + {1} : fmod({0}, {1}))",
        partials=(lambda m, y, a, b: 1.0, lambda m, y, a, b: -m.floordiv(a, b)))
_define("fmod", lambda m, a, b: a - b * m.trunc(a / b), ((-8.0, 8.0), (0.1, 8.0)), result="same",
        accepts="if", numpy="np.fmod({0}, {1})", c="fmod({0}, {1})", llvm="frem",
        partials=(lambda m, y, a, b: 1.0, lambda m, y, a, b: -m.trunc(a / b)))
_define("reciprocal", lambda m, x: 1 / x, ((0.1, 8.0),), numpy="(1 / {0})", c="(1.0 / {0})", total=True,
        partials=(lambda m, y, x: -(y * y),))
_define("square", lambda m, x: x**2, _LINE, result="same", numpy="np.square({0})", c="({0} * {0})",
        total=True)
_define("sqrt", lambda m, x: m.sqrt(x), _POSITIVE, numpy="np.sqrt({0})", c="sqrt({0})", llvm="llvm.sqrt")
_define("cbrt", lambda m, x: m.cbrt(x), _LINE, accepts="if", numpy="np.cbrt({0})", c="cbrt({0})", total=True,
        ulp=4.0, partials=(lambda m, y, x: 1 / (3 * (y * y)),))
_define("hypot", lambda m, a, b: m.sqrt(a**2 + b**2), _PLANE, accepts="if", numpy="np.hypot({0}, {1})",
        c="hypot({0}, {1})", commutative=True, associative=True, total=True, ulp=4.0,
        partials=(lambda m, y, a, b: m.where(m.eq(y, 0), 0.0, a / y),
                  lambda m, y, a, b: m.where(m.eq(y, 0), 0.0, b / y)))
_define("abs", lambda m, x: m.abs(x), _LINE, result="real", holomorphic=False, numpy="np.abs({0})",
        c="fabs({0})", llvm="llvm.fabs", total=True, partials=(lambda m, y, x: m.sign(x),))
_define("sign", lambda m, x: m.sign(x), _LINE, result="same", holomorphic=False, numpy="np.sign({0})",
        c="(isnan({0}) ? {0} : (double)(({0} > 0.0) - ({0} < 0.0)))", bounded=True, total=True,
        partials=(None,))
_define("copysign", lambda m, a, b: m.where(m.lt(b, 0), -m.abs(a), m.abs(a)), _PLANE, accepts="if",
        numpy="np.copysign({0}, {1})", c="copysign({0}, {1})", llvm="llvm.copysign", total=True,
        partials=(lambda m, y, a, b: m.sign(a) * m.copysign(1.0, b), None))

# --- exponentials and logarithms ----------------------------------------------------------------------------

_define("exp", lambda m, x: m.exp(x), _LINE, numpy="np.exp({0})", c="exp({0})", total=True, ulp=4.0)
_define("exp2", lambda m, x: 2**x, _LINE, numpy="np.exp2({0})", c="exp2({0})", total=True, ulp=4.0)
_define("expm1", lambda m, x: m.exp(x) - 1, _LINE, numpy="np.expm1({0})", c="expm1({0})", total=True, ulp=4.0)
_define("log", lambda m, x: m.log(x), _POSITIVE, numpy="np.log({0})", c="log({0})", ulp=4.0)
_define("log1p", lambda m, x: m.log(1 + x), ((-0.9, 8.0),), numpy="np.log1p({0})", c="log1p({0})", ulp=4.0)
_define("log2", lambda m, x: m.log(x) / m.log(2), _POSITIVE, numpy="np.log2({0})", c="log2({0})", ulp=4.0)
_define("log10", lambda m, x: m.log(x) / m.log(10), _POSITIVE, numpy="np.log10({0})", c="log10({0})", ulp=4.0)
_define("expit", lambda m, x: 1 / (1 + m.exp(-x)), _LINE, accepts="if", numpy="special.expit({0})",
        c="(1.0 / (1.0 + exp(-{0})))", bounded=True, total=True, ulp=2.5,
        partials=(lambda m, y, x: y * m.expit(-x),))
_define("log_expit", lambda m, x: -m.log(1 + m.exp(-x)), _LINE, accepts="if", numpy="special.log_expit({0})",
        c="(fmin({0}, 0.0) - log1p(exp(-fabs({0}))))", total=True, ulp=2.0,
        partials=(lambda m, y, x: m.expit(-x),))
_define("logit", lambda m, x: m.log(x / (1 - x)), ((0.01, 0.99),), accepts="if", numpy="special.logit({0})",
        c="(0.3 < {0} && {0} < 0.65 ? 2.0 * atanh(2.0 * {0} - 1.0) : log({0} / (1.0 - {0})))", ulp=4.0,
        partials=(lambda m, y, x: 1 / (x * (1 - x)),))
_define("softplus", lambda m, x: m.log(1 + m.exp(x)), _LINE, accepts="if", numpy="np.logaddexp(0, {0})",
        c="(fmax({0}, 0.0) + log1p(exp(-fabs({0}))))", total=True, ulp=2.0,
        partials=(lambda m, y, x: m.expit(x),))
_define("logaddexp", lambda m, a, b: m.log(m.exp(a) + m.exp(b)), _PLANE, accepts="if",
        numpy="np.logaddexp({0}, {1})",
        c="({0} == {1} ? {0} + 0.6931471805599453 : fmax({0}, {1}) + log1p(exp(-fabs({0} - {1}))))",
        commutative=True, associative=True, total=True, ulp=3.0,
        partials=(lambda m, y, a, b: m.expit(a - b), lambda m, y, a, b: m.expit(b - a)))
_define("xlogy", lambda m, a, b: m.where(m.eq(a, 0), 0, a * m.log(b)), ((-8.0, 8.0), (1e-3, 8.0)),
        numpy="special.xlogy({0}, {1})", c="({0} == 0.0 && !isnan({1}) ? 0.0 : {0} * log({1}))", ulp=4.0,
        partials=(lambda m, y, a, b: m.log(b),
                  lambda m, y, a, b: _zero_where(m, m.eq(a, 0), m.eq(b, 0), a / b)))
_define("xlog1py", lambda m, a, b: m.where(m.eq(a, 0), 0, a * m.log(1 + b)), ((-8.0, 8.0), (-0.9, 8.0)),
        numpy="special.xlog1py({0}, {1})", c="({0} == 0.0 && !isnan({1}) ? 0.0 : {0} * log1p({1}))", ulp=4.0,
        partials=(lambda m, y, a, b: m.log1p(b),
                  lambda m, y, a, b: _zero_where(m, m.eq(a, 0), m.eq(b, -1), a / (1 + b))))

# --- trigonometric and hyperbolic functions -----------------------------------------------------------------

_define("sin", lambda m, x: m.sin(x), _LINE, numpy="np.sin({0})", c="sin({0})", bounded=True, ulp=4.0)
_define("cos", lambda m, x: m.cos(x), _LINE, numpy="np.cos({0})", c="cos({0})", bounded=True, ulp=4.0)
_define("tan", lambda m, x: m.tan(x), _LINE, numpy="np.tan({0})", c="tan({0})", ulp=4.0)
_define("asin", lambda m, x: m.asin(x), ((-0.99, 0.99),), numpy="np.arcsin({0})", c="asin({0})", bounded=True,
        ulp=4.0, partials=(lambda m, y, x: 1 / m.sqrt((1 - x) * (1 + x)),))
_define("acos", lambda m, x: m.acos(x), ((-0.99, 0.99),), numpy="np.arccos({0})", c="acos({0})", bounded=True,
        ulp=4.0, partials=(lambda m, y, x: -1 / m.sqrt((1 - x) * (1 + x)),))
_define("atan", lambda m, x: m.atan(x), _LINE, numpy="np.arctan({0})", c="atan({0})", bounded=True,
        total=True, ulp=4.0)
_define("atan2", lambda m, a, b: m.atan2(a, b), _PLANE, accepts="if", numpy="np.arctan2({0}, {1})",
        c="atan2({0}, {1})", bounded=True, total=True, ulp=4.0,
        partials=(lambda m, y, a, b: b / m.hypot(a, b) / m.hypot(a, b),
                  lambda m, y, a, b: -(a / m.hypot(a, b) / m.hypot(a, b))))
_define("sinh", lambda m, x: m.sinh(x), _LINE, numpy="np.sinh({0})", c="sinh({0})", total=True, ulp=4.0)
_define("cosh", lambda m, x: m.cosh(x), _LINE, numpy="np.cosh({0})", c="cosh({0})", total=True, ulp=4.0)
_define("tanh", lambda m, x: m.tanh(x), _LINE, numpy="np.tanh({0})", c="tanh({0})", bounded=True, total=True,
        ulp=4.0, partials=(lambda m, y, x: m.square(m.sech(x)),))
# sech is there for tanh: 1 − tanh² cancels, and derivatives of 1/cosh² meet 0·inf where cosh overflows.
_define("sech", lambda m, x: 1 / m.cosh(x), _LINE, numpy="(1 / np.cosh({0}))", c="(1.0 / cosh({0}))",
        bounded=True, total=True, ulp=4.0, partials=(lambda m, y, x: -(y * m.tanh(x)),))
_define("asinh", lambda m, x: m.asinh(x), _LINE, numpy="np.arcsinh({0})", c="asinh({0})", total=True, ulp=4.0,
        partials=(_asinh,))
_define("acosh", lambda m, x: m.acosh(x), ((1.01, 8.0),), numpy="np.arccosh({0})", c="acosh({0})", ulp=4.0)
_define("atanh", lambda m, x: m.atanh(x), ((-0.99, 0.99),), numpy="np.arctanh({0})", c="atanh({0})", ulp=4.0,
        partials=(lambda m, y, x: 1 / ((1 - x) * (1 + x)),))
_define("sinc", lambda m, x: m.where(m.eq(x, 0), 1, m.sin(m.pi * x) / (m.pi * x)), ((-0.9, 0.9),),
        numpy="np.sinc({0})",
        c="({0} == 0.0 ? 1.0 : sin(3.141592653589793 * {0}) / (3.141592653589793 * {0}))",
        cuda="({0} == 0.0 ? 1.0 : sinpi({0}) / (3.141592653589793 * {0}))", bounded=True, ulp=8.0,
        partials=(_sinc,))

# --- rounding and choice ------------------------------------------------------------------------------------

_define("floor", lambda m, x: m.floor(x), _LINE, result="same", accepts="if", numpy="np.floor({0})",
        c="floor({0})", llvm="llvm.floor", total=True, partials=(None,))
_define("ceil", lambda m, x: -m.floor(-x), _LINE, result="same", accepts="if", numpy="np.ceil({0})",
        c="ceil({0})", llvm="llvm.ceil", total=True, partials=(None,))
_define("trunc", lambda m, x: m.sign(x) * m.floor(m.abs(x)), _LINE, result="same", accepts="if",
        numpy="np.trunc({0})", c="trunc({0})", llvm="llvm.trunc", total=True, partials=(None,))
# round is to nearest, ties to even.
_define("round", lambda m, x: m.floor(x + 0.5) - m.where(m.eq(m.mod(x, 2), 0.5), 1, 0), _LINE, result="same",
        accepts="if", numpy="np.round({0})", c="rint({0})", llvm="llvm.roundeven", total=True,
        partials=(None,))
_define("maximum", lambda m, a, b: m.where(m.ge(a, b), a, b), _PLANE, result="same", accepts="bif",
        numpy="np.maximum({0}, {1})", c="({0} >= {1} || isnan({0}) ? {0} : {1})", llvm="llvm.maximum",
        commutative=True, associative=True, total=True, partials=(_share, _share), masks=(_larger, _smaller))
_define("minimum", lambda m, a, b: m.where(m.le(a, b), a, b), _PLANE, result="same", accepts="bif",
        numpy="np.minimum({0}, {1})", c="({0} <= {1} || isnan({0}) ? {0} : {1})", llvm="llvm.minimum",
        commutative=True, associative=True, total=True, partials=(_share, _share), masks=(_smaller, _larger))
# fmax and fmin give the other argument where one is NaN.
_define("fmax", lambda m, a, b: m.where(m.ge(a, b), a, b), _PLANE, result="same", accepts="bif",
        numpy="np.fmax({0}, {1})", c="fmax({0}, {1})", llvm="llvm.maxnum", commutative=True, associative=True,
        total=True, partials=(_share, _share),
        masks=(lambda m, y, a, b: m.logical_or(m.ge(a, b), m.isnan(b)),
               lambda m, y, a, b: m.logical_or(m.le(a, b), m.isnan(a))))
_define("fmin", lambda m, a, b: m.where(m.le(a, b), a, b), _PLANE, result="same", accepts="bif",
        numpy="np.fmin({0}, {1})", c="fmin({0}, {1})", llvm="llvm.minnum", commutative=True, associative=True,
        total=True, partials=(_share, _share),
        masks=(lambda m, y, a, b: m.logical_or(m.le(a, b), m.isnan(b)),
               lambda m, y, a, b: m.logical_or(m.ge(a, b), m.isnan(a))))
_define("where", lambda m, c, a, b: m.where(c, a, b), ((0.0, 1.0), *_PLANE), result="same", accepts="bifc",
        numpy="np.where({0}, {1}, {2})", c="({0} ? {1} : {2})", llvm="select", total=True,
        partials=(None, lambda m, y, c, a, b: 1.0, lambda m, y, c, a, b: 1.0),
        masks=(None, lambda m, y, c, a, b: c, lambda m, y, c, a, b: m.logical_not(c)))

# --- special functions --------------------------------------------------------------------------------------

# The partials with exp(−x²) and exp(x²) carry that function's own conditioning: 2x² half-ulps of x².
_define("erf", lambda m, x: m.erf(x), ((-3.0, 3.0),), numpy="special.erf({0})", c="erf({0})", bounded=True,
        total=True, ulp=2.0,
        partials=(lambda m, y, x: TWO_OVER_SQRT_PI * m.exp(-(x * x)),))
_define("erfc", lambda m, x: m.erfc(x), ((-3.0, 5.0),), numpy="special.erfc({0})", c="erfc({0})",
        bounded=True, total=True, ulp=32.0,
        partials=(lambda m, y, x: -TWO_OVER_SQRT_PI * m.exp(-(x * x)),))
_define("erfcx", lambda m, x: m.exp(x**2) * m.erfc(x), ((-2.0, 20.0),), accepts="if",
        numpy="special.erfcx({0})", cuda="erfcx({0})", total=True, ulp=8.0, partials=(_erfcx,))
_define("erfinv", lambda m, x: m.erfinv(x), ((-0.99, 0.99),), accepts="if", numpy="special.erfinv({0})",
        cuda="erfinv({0})", ulp=4.0, partials=(lambda m, y, x: HALF_SQRT_PI * m.exp(y * y),))
_define("ndtr", lambda m, x: m.erfc(-x / m.sqrt(2)) / 2, ((-5.0, 8.0),), numpy="special.ndtr({0})",
        c="(0.5 * erfc(-0.7071067811865476 * {0}))", cuda="normcdf({0})", bounded=True, total=True, ulp=64.0,
        partials=(lambda m, y, x: INV_SQRT_TWO_PI * m.exp(-0.5 * (x * x)),))
_define("log_ndtr", lambda m, x: m.log(m.erfc(-x / m.sqrt(2)) / 2), ((-20.0, 3.0),), accepts="if",
        numpy="special.log_ndtr({0})",
        cuda="({0} < -1.0 ? log(0.5 * erfcx(-0.7071067811865476 * {0})) - 0.5 * {0} * {0}"
             " : log1p(-0.5 * erfc(0.7071067811865476 * {0})))",
        total=True, ulp=32.0,
        partials=(lambda m, y, x: SQRT_TWO_OVER_PI / m.erfcx(-SQRT_HALF * x),))
_define("ndtri", lambda m, x: m.sqrt(2) * m.erfinv(2 * x - 1), ((1e-3, 0.999),), accepts="if",
        numpy="special.ndtri({0})", cuda="normcdfinv({0})", ulp=8.0,
        partials=(lambda m, y, x: SQRT_TWO_PI * m.exp(0.5 * (y * y)),))
_define("gamma", lambda m, x: m.gamma(x), ((0.1, 20.0),), numpy="special.gamma({0})", c="tgamma({0})",
        ulp=16.0)
_define("gammaln", lambda m, x: m.gammaln(x), ((3.0, 100.0),), accepts="if", numpy="special.gammaln({0})",
        c="lgamma({0})", total=True, ulp=4.0)
_define("digamma", lambda m, x: m.digamma(x), ((2.0, 100.0),), numpy="special.digamma({0})", ulp=4.0)
_define("polygamma", lambda m, n, x: m.polygamma(n, x), ((1.0, 3.0), (0.1, 100.0)), accepts="if",
        numpy="special.polygamma({0}, {1})", literals=1, ulp=16.0,
        partials=(None, lambda m, y, n, x: m.polygamma(n + 1, x)))

# --- comparisons, logic, bits -------------------------------------------------------------------------------

for _name, _meaning, _symbol, _predicate, _kinds in (
    ("lt", lambda m, a, b: m.lt(a, b), "<", "olt", "bif"),
    ("le", lambda m, a, b: m.le(a, b), "<=", "ole", "bif"),
    ("gt", lambda m, a, b: m.gt(a, b), ">", "ogt", "bif"),
    ("ge", lambda m, a, b: m.ge(a, b), ">=", "oge", "bif"),
    ("eq", lambda m, a, b: m.eq(a, b), "==", "oeq", "bifc"),
    ("ne", lambda m, a, b: m.ne(a, b), "!=", "une", "bifc"),
):
    _define(_name, _meaning, _PLANE, result="bool", accepts=_kinds, numpy=f"({{0}} {_symbol} {{1}})",
            c=f"({{0}} {_symbol} {{1}})", llvm=f"fcmp {_predicate}", commutative=_name in ("eq", "ne"),
            bounded=True, total=True, partials=(None, None), holomorphic=False)

_BOOL = ((0.0, 1.0),)
for _name, _meaning, _symbol, _instruction in (
    ("logical_and", lambda m, a, b: m.logical_and(a, b), "&&", "and"),
    ("logical_or", lambda m, a, b: m.logical_or(a, b), "||", "or"),
    ("logical_xor", lambda m, a, b: m.logical_xor(a, b), "!=", "xor"),
):
    _define(_name, _meaning, _BOOL * 2, result="bool", accepts="b", numpy=f"np.{_name}({{0}}, {{1}})",
            c=f"({{0}} {_symbol} {{1}})", llvm=_instruction, commutative=True, associative=True, bounded=True,
            total=True, partials=(None, None))
_define("logical_not", lambda m, a: m.logical_not(a), _BOOL, result="bool", accepts="b",
        numpy="np.logical_not({0})", c="(!{0})", bounded=True, total=True, partials=(None,))

for _name, _symbol, _instruction in (
    ("bitwise_and", "&", "and"),
    ("bitwise_or", "|", "or"),
    ("bitwise_xor", "^", "xor"),
):
    _define(_name, None, _BITS * 2, result="same", accepts="bi", numpy=f"({{0}} {_symbol} {{1}})",
            c=f"({{0}} {_symbol} {{1}})", llvm=_instruction, commutative=True, associative=True, total=True,
            partials=(None, None))
_define("bitwise_not", None, _BITS, result="same", accepts="bi", numpy="(~{0})", c="(~{0})", total=True,
        partials=(None,))
_define("shift_left", None, ((0.0, 60.0), (0.0, 8.0)), result="same", accepts="i", numpy="({0} << {1})",
        c="({0} << {1})", llvm="shl", total=True, partials=(None, None))
_define("shift_right", None, ((0.0, 60.0), (0.0, 8.0)), result="same", accepts="i", numpy="({0} >> {1})",
        c="({0} >> {1})", llvm="ashr", total=True, partials=(None, None))

for _name in ("isfinite", "isnan", "isinf", "signbit"):
    _define(_name, None, _LINE, result="bool", accepts="if" if _name == "signbit" else "ifc",
            holomorphic=False, numpy=f"np.{_name}({{0}})", c=f"({_name}({{0}}) != 0)", bounded=True,
            total=True, partials=(None,))

# --- complex numbers ----------------------------------------------------------------------------------------

_define("real", lambda m, x: m.real(x), _LINE, result="real", accepts="bifc", holomorphic=False,
        numpy="np.real({0})", c="creal({0})", total=True, partials=(lambda m, y, x: 1.0,))
_define("imag", lambda m, x: m.imag(x), _LINE, result="real", accepts="bifc", holomorphic=False,
        numpy="np.imag({0})", c="cimag({0})", total=True, partials=(None,))
_define("conj", lambda m, x: m.conj(x), _LINE, result="same", accepts="bifc", holomorphic=False,
        numpy="np.conj({0})", c="conj({0})", total=True, partials=(lambda m, y, x: 1.0,))
_define("angle", lambda m, x: m.angle(x), _LINE, result="real", accepts="fc", holomorphic=False,
        numpy="np.angle({0})", c="carg({0})", bounded=True, total=True, partials=(None,))
_define("complex", lambda m, a, b: m.complex(a, b), _PLANE, result="complex", accepts="if",
        numpy="({0} + 1j * {1})", c="CMPLX({0}, {1})", total=True,
        partials=(lambda m, y, a, b: 1.0, lambda m, y, a, b: 1.0j))
