"""The sum of logarithms as the logarithm of products, lane by lane.

Each x is s·2ᵏ with s in [√½, √2). A lane keeps ∏s as a pair product + low, whose low part makes up for what the
multiplications round away, and Σk, which is exact: in place of a logarithm a multiplication, two fused
multiply-adds and an addition. The product of `MOST` factors neither overflows nor underflows. The error is below
that of the sum of the logarithms: that of one logarithm, and 2⁻¹⁰⁰ for each factor.
"""

from __future__ import annotations

from typing import Final

from chainrule.codegen import vecmath_explog as explog
from chainrule.codegen import vecmath_tables as table
from chainrule.codegen.vecmath_lanes import INF, Float, float_value, fma, select, select_rare, slow_path

MOST: Final = 1024
"""Factors that one lane may take."""


def add_log(product: Float, low: Float, exponent: Float, x: Float) -> tuple[Float, Float, Float]:
    """The lane's (product, low, exponent) after log(x) is added; they start as (1, 0, 0)."""
    significand, k = significand_and_exponent(x)
    following = product * significand
    rounded = fma(product, significand, -following)
    return following, fma(low, significand, rounded), exponent + k


def total_of_logs(product: Float, low: Float, exponent: Float) -> Float:
    """What has been added up."""
    total = fma(exponent, table.LN2[0], explog.log(product) + fma(exponent, table.LN2[1], low / product))
    return select(abs(exponent) < INF, total, exponent)


def significand_and_exponent(x: Float) -> tuple[Float, Float]:
    """(s, k) with x = s·2ᵏ, s in [√½, √2), for finite x > 0; else s = 1, and k what a logarithm is there."""
    if not x.ops.jumps:
        return significand_and_exponent_everywhere(x)
    bits = x.bits()
    above = bits - explog.SQRT_HALF_BITS
    usual = (bits - (above & explog.EXPONENT_FIELD)).as_double(), float_value(above >> 52)
    rare = ~((x >= explog.SMALLEST_NORMAL) & (x < INF))
    s, k = select_rare(rare, slow_path(significand_and_exponent_everywhere), (x,), usual)
    return s, k


def significand_and_exponent_everywhere(x: Float) -> tuple[Float, Float]:
    k, f = explog._split_positive(x)
    return select((x > 0.0) & (x < INF), f + 1.0, 1.0), explog._log_special(x, k)
