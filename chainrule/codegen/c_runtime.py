"""The parts of a translation unit around its kernels: the prelude, and the small helper functions that kernels use.

A helper is written once for both widths: ``T`` is the type, ``F`` the suffix of C's functions, ``S`` that of ours.
"""

from __future__ import annotations

import re
from typing import Final

from .c_builder import SINCOS, elementary, elementary_of_lanes, of_logs
from .ir import DTypeName

PRELUDE: Final = """\
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Every operation rounds once, in the order written: multiplications and additions must not be fused. Neither errno
   nor the floating-point flags are looked at, so that loops vectorise. No result depends on any other option. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-math-errno", "no-trapping-math", "no-tree-slp-vectorize")
#endif

#if defined(__GNUC__)
#define CR_INLINE static inline __attribute__((always_inline))
#define CR_RARE static __attribute__((noinline, cold, unused))
#else
#define CR_INLINE static inline
#define CR_RARE static
#endif
"""

_BITS: Final = {
    "cr_bits": """
CR_INLINE uint64_t cr_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}""",
    "cr_double": """
CR_INLINE double cr_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
}

_FLOATS: Final = {
    "square": """
CR_INLINE T cr_squareS(T x) { return x * x; }""",
    "difference": """
/* a - b of products. In loops gcc makes one instruction of pairs of sums and differences and the products in them,
   which then are not rounded, whatever it is told about contraction; not of these. */
CR_INLINE T cr_differenceS(T a, T b)
{
#if defined(__GNUC__) && defined(FP_FAST_FMA)
    return fmaF(b, -1, a);
#else
    return a - b;
#endif
}""",
    "negative": """
/* -x of a fused multiply-add. gcc makes one instruction of the two, in which the sign of a zero is another. */
CR_INLINE T cr_negativeS(T x)
{
#if defined(__GNUC__) && defined(FP_FAST_FMA)
    return fmaF(x, -1, -(T)0);
#else
    return -x;
#endif
}""",
    "sign": """
CR_INLINE T cr_signS(T x)
{
    return x > 0 ? 1 : (x < 0 ? -1 : (x != x ? x : 0));
}""",
    "angle": """
CR_INLINE T cr_angleS(T x)
{
    const T pi = (T)3.141592653589793;
    return x != x ? x : (copysignF(1, x) < 0 ? pi : 0);
}""",
    "maximum": """
/* NaN if one of them is; 0 is larger than -0. */
CR_INLINE T cr_maximumS(T a, T b)
{
    const T either = copysignF(1, a) < 0 ? b : a;
    const T larger = a > b ? a : (b > a ? b : either);
    return a != a ? a : (b != b ? b : larger);
}""",
    "minimum": """
/* NaN if one of them is; -0 is smaller than 0. */
CR_INLINE T cr_minimumS(T a, T b)
{
    const T either = copysignF(1, a) < 0 ? a : b;
    const T smaller = a < b ? a : (b < a ? b : either);
    return a != a ? a : (b != b ? b : smaller);
}""",
    "fmax": """
/* The other one if one of them is NaN. */
CR_INLINE T cr_fmaxS(T a, T b) { return (a != a) | (b > a) ? b : a; }""",
    "fmin": """
/* The other one if one of them is NaN. */
CR_INLINE T cr_fminS(T a, T b) { return (a != a) | (b < a) ? b : a; }""",
    "mod": """
/* a modulo b, with the sign of b. */
CR_INLINE T cr_modS(T a, T b)
{
    const T rest = fmodF(a, b);
    const bool differs = (rest != 0) & ((b < 0) != (rest < 0));
    return rest == 0 ? copysignF(0, b) : (differs ? rest + b : rest);
}""",
    "floordiv": """
/* a / b rounded down, from the remainder, so that a = floordiv * b + mod as nearly as can be. */
CR_INLINE T cr_floordivS(T a, T b)
{
    const T rest = fmodF(a, b);
    const bool differs = (rest != 0) & ((b < 0) != (rest < 0));
    const T exact = (a - rest) / b;
    const T quotient = differs ? exact - 1 : exact;
    const T below = floorF(quotient);
    const T nearest = quotient - below > (T)0.5 ? below + 1 : below;
    const T result = quotient == 0 ? copysignF(0, a / b) : nearest;
    return b == 0 ? a / b : result;
}""",
    "xlogy": """
/* a log(b), 0 where a is. */
CR_INLINE T cr_xlogyS(T a, T b)
{
    const T product = a * (T)cr_log(b);
    return (a == 0) & (b == b) ? 0 : product;
}""",
    "xlog1py": """
/* a log(1 + b), 0 where a is. */
CR_INLINE T cr_xlog1pyS(T a, T b)
{
    const T product = a * (T)cr_log1p(b);
    return (a == 0) & (b == b) ? 0 : product;
}""",
    "int64": """
/* Rounded towards 0; the nearest end of the range beyond it, 0 for NaN. */
CR_INLINE int64_t cr_int64S(T x)
{
    const T end = (T)9223372036854775808.0;
    if (x != x) return 0;
    return x >= end ? INT64_MAX : (x < -end ? INT64_MIN : (int64_t)x);
}""",
    "int32": """
/* Rounded towards 0; the nearest end of the range beyond it, 0 for NaN. */
CR_INLINE int32_t cr_int32S(T x)
{
    const T end = (T)2147483648.0;
    if (x != x) return 0;
    return x >= end ? INT32_MAX : (x <= -end ? INT32_MIN : (int32_t)x);
}""",
}

_INTEGERS: Final = {
    "add": """
CR_INLINE T cr_addS(T a, T b) { return (T)((U)a + (U)b); }""",
    "sub": """
CR_INLINE T cr_subS(T a, T b) { return (T)((U)a - (U)b); }""",
    "mul": """
CR_INLINE T cr_mulS(T a, T b) { return (T)((U)a * (U)b); }""",
    "neg": """
CR_INLINE T cr_negS(T a) { return (T)(0u - (U)a); }""",
    "square": """
CR_INLINE T cr_squareS(T a) { return cr_mulS(a, a); }""",
    "abs": """
CR_INLINE T cr_absS(T a) { return a < 0 ? cr_negS(a) : a; }""",
    "sign": """
CR_INLINE T cr_signS(T a) { return (T)((a > 0) - (a < 0)); }""",
    "maximum": """
CR_INLINE T cr_maximumS(T a, T b) { return a > b ? a : b; }""",
    "minimum": """
CR_INLINE T cr_minimumS(T a, T b) { return a < b ? a : b; }""",
    "fmod": """
/* The remainder, with the sign of a; 0 for b = 0. */
CR_INLINE T cr_fmodS(T a, T b)
{
    const T divisor = (b == 0) | (b == -1) ? 1 : b;
    return a % divisor;
}""",
    "mod": """
/* a modulo b, with the sign of b; 0 for b = 0. */
CR_INLINE T cr_modS(T a, T b)
{
    const T divisor = (b == 0) | (b == -1) ? 1 : b;
    const T rest = a % divisor;
    return (rest != 0) & ((rest ^ divisor) < 0) ? rest + divisor : rest;
}""",
    "floordiv": """
/* a / b rounded down; 0 for b = 0. */
CR_INLINE T cr_floordivS(T a, T b)
{
    const T divisor = (b == 0) | (b == -1) ? 1 : b;
    const T rest = a % divisor;
    const T quotient = a / divisor - ((rest != 0) & ((rest ^ divisor) < 0));
    return b == 0 ? 0 : (b == -1 ? cr_negS(a) : quotient);
}""",
    "shift_left": """
CR_INLINE T cr_shift_leftS(T a, T count)
{
    return (U)count < 8 * sizeof(T) ? (T)((U)a << count) : 0;
}""",
    "shift_right": """
CR_INLINE T cr_shift_rightS(T a, T count)
{
    return a >> ((U)count < 8 * sizeof(T) ? (U)count : 8 * sizeof(T) - 1);
}""",
    "pow": """
/* By repeated squaring; 1 for a negative exponent. */
static inline T cr_powS(T base, T exponent)
{
    T power = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) power = cr_mulS(power, base);
        base = cr_mulS(base, base);
    }
    return power;
}""",
}

_VARIANTS: Final[dict[DTypeName, dict[str, str]]] = {
    "float64": {"T": "double", "F": "", "S": ""},
    "float32": {"T": "float", "F": "f", "S": "f"},
    "int64": {"T": "int64_t", "U": "uint64_t", "S": "_i64"},
    "int32": {"T": "int32_t", "U": "uint32_t", "S": "_i32"},
}
_MARKS: Final = re.compile(r"\b([TU])\b|((?:cr_|copysign|fmod|floor|fma)[a-z0-9_]*)([FS])(?=\()")
_CALLS: Final = re.compile(r"\bcr_\w+(?=\()")


def has_helper(name: str, dtype: DTypeName) -> bool:
    """Whether a primitive on elements of a type is a helper function."""
    return name in (_FLOATS if dtype in ("float32", "float64") else _INTEGERS)


class Runtime:
    """The helper functions of one translation unit, in the order in which C wants to see them."""

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}

    def helper(self, name: str, dtype: DTypeName) -> str:
        """The symbol of a helper function, which the unit then has."""
        variant = _VARIANTS[dtype]
        symbol = f"cr_{name}{variant['S']}"
        if symbol not in self._functions:
            table = _FLOATS if dtype in ("float32", "float64") else _INTEGERS

            def spelled(match: re.Match[str]) -> str:
                return variant[match[1]] if match[1] else match[2] + variant[match[3]]

            text = _MARKS.sub(spelled, table[name])
            for called in _CALLS.findall(text):
                if called in ("cr_log", "cr_log1p"):
                    self.elementary(called.removeprefix("cr_"), 1)
                elif called != symbol:
                    self.helper(called.removeprefix("cr_").removesuffix(variant["S"]), dtype)
            self._functions[symbol] = text.strip()
        return symbol

    def elementary(self, name: str, arity: int) -> str:
        """The symbol of an elementary function."""
        symbol = f"cr_{name}"
        if symbol not in self._functions:
            made = elementary(name, arity)
            for text in (*made.rare.values(), made.text):
                self._bits(text)
            self._functions.update(made.rare)
            self._functions[symbol] = made.text
        return symbol

    def elementary_of_lanes(self, name: str) -> str:
        """The symbol of an elementary function of one argument on many lanes."""
        symbol = f"cr_{name}_lanes"
        if symbol not in self._functions:
            for function in ("sin", "cos") if name == SINCOS else (name,):
                self.elementary(function, 1)
            self._functions[symbol] = elementary_of_lanes(name)
        return symbol

    def of_logs(self, name: str) -> str:
        """The symbol of a function of `vecmath_logs`."""
        symbol = f"cr_{name}"
        if symbol not in self._functions:
            text = of_logs(name)
            self._bits(text)
            self._functions[symbol] = text
        return symbol

    def _bits(self, text: str) -> None:
        for symbol, definition in _BITS.items():
            if symbol not in self._functions and f"{symbol}(" in text:
                self._functions[symbol] = definition.strip()

    def text(self) -> list[str]:
        """The definitions."""
        return list(self._functions.values())
