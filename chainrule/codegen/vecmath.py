"""Elementary functions for lanes: branch-free code, written once over an abstract builder.

`FUNCTIONS["exp"](builder, x)` emits the operations of exp through the builder's methods (`Ops`), and returns
the builder's value of the result: for LLVM on scalars or vectors, for C and for CUDA C alike. Since every
operation rounds once and none may be reassociated, all of them give the same bits.

All functions are float64. Errors are below 2 ulp over the whole range (tests hold a bound for each), special
values are those of C99's Annex F, arguments of trigonometric functions may be huge. For float32, widen the
argument, call, and round the result: within 0.51 ulp.

>>> sorted(FUNCTIONS)[:4]
['acos', 'acosh', 'asin', 'asinh']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from chainrule.codegen import vecmath_explog as explog
from chainrule.codegen import vecmath_special as special
from chainrule.codegen import vecmath_trig as trig
from chainrule.codegen.vecmath_lanes import Float, M, Ops, V

__all__ = ["FUNCTIONS", "Ops", "sincos"]


class Emit(Protocol):
    """Emits a function of one or two arguments."""

    def __call__(self, b: Ops[V, M], /, *args: V) -> V: ...


def _emit(function: Callable[..., Float]) -> Emit:
    """`function`, on a builder's values."""

    def emit(b: Ops[V, M], /, *args: V) -> V:
        return cast("V", function(*(Float(b, a) for a in args)).value)

    return emit


def sincos(b: Ops[V, M], x: V) -> tuple[V, V]:
    """(sin(x), cos(x)) with one argument reduction."""
    s, c = trig.sincos_lanes(Float(b, x))
    return s.value, c.value


FUNCTIONS: dict[str, Emit] = {
    "exp": _emit(explog.exp),
    "exp2": _emit(explog.exp2),
    "expm1": _emit(explog.expm1),
    "expit": _emit(explog.expit),
    "softplus": _emit(explog.softplus),
    "log_expit": _emit(explog.log_expit),
    "logaddexp": _emit(explog.logaddexp),
    "log": _emit(explog.log),
    "log2": _emit(explog.log2),
    "log10": _emit(explog.log10),
    "log1p": _emit(explog.log1p),
    "logit": _emit(explog.logit),
    "pow": _emit(explog.pow_),
    "cbrt": _emit(explog.cbrt),
    "hypot": _emit(explog.hypot),
    "sinh": _emit(explog.sinh),
    "cosh": _emit(explog.cosh),
    "sech": _emit(explog.sech),
    "tanh": _emit(explog.tanh),
    "asinh": _emit(explog.asinh),
    "acosh": _emit(explog.acosh),
    "atanh": _emit(explog.atanh),
    "sin": _emit(trig.sin),
    "cos": _emit(trig.cos),
    "tan": _emit(trig.tan),
    "sinc": _emit(trig.sinc),
    "asin": _emit(trig.asin),
    "acos": _emit(trig.acos),
    "atan": _emit(trig.atan),
    "atan2": _emit(trig.atan2),
    "erf": _emit(special.erf),
    "erfc": _emit(special.erfc),
    "erfcx": _emit(special.erfcx),
    "ndtr": _emit(special.ndtr),
    "log_ndtr": _emit(special.log_ndtr),
    "gammaln": _emit(special.gammaln),
    "digamma": _emit(special.digamma),
}
"""What emits each function, by its name in the table of scalar primitives."""
