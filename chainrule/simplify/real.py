"""Rules that hold over the real numbers and cost at most a few roundings.

They never create a singularity, an overflow in the middle of an expression, or a cancellation. They
may extend the domain only where the mathematics does (sqrt(s)² is s), and they do not keep the sign
of zero. Left out on purpose:

- x − x → 0, 0·x → 0, x/x → 1: NaN and infinities would vanish;
- exp(x)·exp(y) → exp(x + y), exp(x)/exp(y) → exp(x − y) and exp(x)^y → exp(x·y): the rounding of
  the sum is magnified |x + y| times;
- log x + log y → log(x·y), (x/y)/z → x/(y·z), x/(y/z) → x·z/y: the product may overflow;
- (x + c) + d for c and d of opposite sign: that is how programs round and compensate on purpose;
- anything that expands a difference: Σ(x − μ)² as moments loses all digits.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.dtype import is_inexact
from chainrule.graph.express import broadcast, cast, reduce, reshape
from chainrule.graph.node import Graph, Node, const_value, constant, make, rebuild, scalar
from chainrule.graph.op import Broadcast, Const, Reduce, Reshape, Scalar, Scatter, SizeOf, Transpose

from .known import is_nonnegative, is_zeros, scalar_name, uniform
from .pattern import CONSTANTS, REPEATED, Constant, P, Rule, Wild, fitted, on, rule
from .rewrite import Table

x, y, z = Wild("x"), Wild("y"), Wild("z")
c, d = Constant("c"), Constant("d")
_MOST_FACTORS: Final = 8  # of a product that is looked into


def _number(node: Node) -> float:
    value = const_value(node)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _is_safe(value: float, like: Node) -> bool:
    """Whether a folded coefficient is a normal number of the type, so that it carries all its digits."""
    limits = np.finfo(like.dtype)
    return float(limits.tiny) <= abs(value) <= float(limits.max)


def safe_product(c: Node, d: Node, **_: Any) -> bool:
    return _is_safe(_number(c) * _number(d), c)


def safe_ratio(c: Node, d: Node, **_: Any) -> bool:
    return _number(d) != 0 and _is_safe(_number(c) / _number(d), c)


def safe_inverse_ratio(c: Node, d: Node, **_: Any) -> bool:
    return safe_ratio(d, c)


def same_rank(x: Node, y: Node) -> bool:
    """Whether both are arrays or both are not: a number stays with an invariant, where it costs nothing."""
    return len(x.shape) == len(y.shape)


def keeps_range(x: Node, y: Node) -> bool:
    """Whether x·y is no square of a reciprocal, which may overflow where c/x/x does not, and x no constant."""
    return type(x.op) is not Const and not (x is y and scalar_name(x) == "div")


def exact_sum(c: Node, d: Node, **_: Any) -> bool:
    """Whether c + d is exact, and no cancellation."""
    from fractions import Fraction

    a, b = _number(c), _number(d)
    return a * b > 0 and math.isfinite(a + b) and Fraction(a) + Fraction(b) == Fraction(_number(c + d))


def exact_difference(c: Node, d: Node, **_: Any) -> bool:
    return exact_sum(c, -d)


def _even(*names: str) -> list[Rule]:
    return [rule(getattr(P, f)(-x), getattr(P, f)(x)) for f in names]


def _odd(*names: str) -> list[Rule]:
    return [rule(getattr(P, f)(-x), -getattr(P, f)(x)) for f in names]


SIGNS: Final = Table([
    rule(x + 0, x, on="fc"),
    rule(0 - x, -x, on="fc"),
    rule(x - 0, x, on="c"),
    rule(x * 1, x, on="c"),
    rule(x / 1, x, on="c"),
    rule(-(x - y), y - x),
    rule(-x - y, -(x + y)),
    rule(-x + -y, -(x + y)),
    _even("cos", "cosh", "sech", "sinc"),
    _odd("sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "atanh", "erf", "erfinv", "cbrt"),
    rule(P.hypot(-x, y), P.hypot(x, y)),
    rule(P.abs(x), x, where=lambda x: is_nonnegative(x)),
    rule(P.real(P.complex(x, y)), x, on="c"),
    rule(P.imag(P.complex(x, y)), y, on="c"),
    rule(P.real(P.conj(x)), P.real(x), on="c"),
    rule(P.imag(P.conj(x)), -P.imag(x), on="c"),
    rule(P.abs(P.conj(x)), P.abs(x), on="c"),
    rule(P.maximum(P.maximum(x, y), P.maximum(x, z)), P.maximum(P.maximum(x, y), z)),
    rule(P.minimum(P.minimum(x, y), P.minimum(x, z)), P.minimum(P.minimum(x, y), z)),
])  # fmt: skip

COEFFICIENTS: Final = Table([
    rule(c * (d * x), (c * d) * x, where=safe_product),
    rule((d * x) / c, (d / c) * x, where=safe_inverse_ratio),
    rule(c / (d * x), (c / d) / x, where=safe_ratio),
    rule((c / x) / d, (c / d) / x, where=safe_ratio),
    # a plain 1/x stays, for it may be shared
    rule(c * (d / x), (c * d) / x, where=lambda c, d, x: _number(d) != 1 and safe_product(c, d)),
    rule((x / c) / d, x / (c * d), where=safe_product),
    rule(c * (x / d), (c / d) * x, where=safe_ratio),
    rule(c / (x / d), (c * d) / x, where=safe_product),
    rule((x * (c * y)), c * (x * y), where=lambda x, c, y: keeps_range(x, y) and same_rank(x, y)),
    rule((c * x) / y, c * (x / y), where=lambda c, x, y: type(y.op) is not Const and same_rank(x, y)),
    rule(c + (d + x), (c + d) + x, where=exact_sum),
    rule(c - (d + x), (c - d) - x, where=exact_difference),
    rule((x - c) - d, x - (c + d), where=exact_sum),
    rule((x + c) - d, x + (c - d), where=exact_difference),
    rule(1 / (1 / x), x),
    rule(1 / (x / y), y / x),
])  # fmt: skip


# --- powers -------------------------------------------------------------------------------------------------

_LARGEST_POWER: Final = 8


def power_as_products(x: Node, c: Node) -> Node | None:
    """Small integer and half-integer powers by products, roots and one division."""
    exponent = _number(c)
    if not abs(exponent) <= _LARGEST_POWER or exponent != math.floor(2 * exponent) / 2:
        return None
    whole = int(abs(exponent) // 1)
    factors = [_integer_power(x, whole)] if whole else []
    if whole != abs(exponent):
        factors.append(scalar("sqrt", x))
    if not factors:
        return None
    value = factors[0] if len(factors) == 1 else factors[0] * factors[1]
    return 1 / value if exponent < 0 else value


def _integer_power(x: Node, n: int) -> Node:
    """xⁿ by repeated squaring."""
    power: Node | None = None
    while n:
        if n & 1:
            power = x if power is None else power * x
        n >>= 1
        if n:
            x = x * x
    assert power is not None
    return power


def nonnegative_power(x: Node, c: Node) -> Node | None:
    value = const_value(c)
    small = isinstance(value, int) and 0 < value <= _LARGEST_POWER
    return _integer_power(x, value) if small else None


ROOTS: Final = Table([
    rule(P.pow(x, 2), x * x),
    rule(P.sqrt(x) * P.sqrt(x), x),
    rule(P.hypot(x, y) * P.hypot(x, y), x * x + y * y),
    rule(P.cbrt(x) * (P.cbrt(x) * P.cbrt(x)), x),
    rule(P.abs(x) * P.abs(x), x * x),
    rule(P.sqrt(x * x), P.abs(x)),
])  # fmt: skip
"""A square of a root has derivatives where the root has none."""

POWERS: Final = Table([
    rule(P.pow(x, c), power_as_products),
    rule(P.pow(x, c), nonnegative_power, on="i"),
    rule(P.exp(P.log(x)), x, where=lambda x: is_nonnegative(x)),
    rule(P.log(P.exp(x)), x),
    rule(P.log(P.sqrt(x)), 0.5 * P.log(x)),
    rule(P.log(1 / x), -P.log(x)),
    rule(1 / P.exp(x), P.exp(-x)),
])  # fmt: skip


# --- sums ---------------------------------------------------------------------------------------------------


@on(Reduce)
def coefficients_leave_sums(node: Node) -> Node | None:
    """Σ c·x = c·Σ x, Σ x/c = (Σ x)/c and Σ −x = −Σ x, for c that is the same along the summed axes."""
    (term,) = node.args
    op = node.op
    assert isinstance(op, Reduce)
    if op.kind != "sum" or not is_inexact(node.dtype) or type(term.op) is not Scalar:
        return None
    name, args = term.op.name, term.args
    if name == "neg":
        return -make(op, args)
    if name == "mul" and len(args[0].shape) != len(args[1].shape):
        coefficient, array = args if not args[0].shape else args[::-1]
        return coefficient * make(op, (array,))
    if name == "div" and args[0].shape and not args[1].shape:
        return make(op, args[:1]) / args[1]
    if name == "mul" and node.shape:
        return _coefficients_of_rows(node, op)
    return None


def _coefficients_of_rows(node: Node, op: Reduce) -> Node | None:
    """Σⱼ cᵢ·xᵢⱼ = cᵢ·Σⱼ xᵢⱼ, wherever in the product the cᵢ stand."""
    (term,) = node.args
    place = {axis: i for i, axis in enumerate([a for a in range(len(term.shape)) if a not in op.axes])}
    outside: Node | None = None
    inside: Node | None = None
    stack = [term]
    for _ in range(2 * _MOST_FACTORS):
        if not stack:
            break
        factor = stack.pop()
        view = factor.op
        if type(view) is Broadcast and view.axes and all(a in place for a in view.axes):
            own = broadcast(factor.args[0], node.shape, tuple(place[a] for a in view.axes))
            outside = own if outside is None else outside * own
        elif factor.op == Scalar("mul") and all(a.shape for a in factor.args):
            stack += [factor.args[1], factor.args[0]]
        else:
            inside = factor if inside is None else inside * factor
    if stack or outside is None or inside is None or inside.shape != term.shape:
        return None
    return outside * make(op, (inside,))


@on(Reduce)
def sum_of_repeated(node: Node) -> Node | None:
    """The sum over an axis along which the value repeats is a multiple."""
    (x,) = node.args
    op = node.op
    assert isinstance(op, Reduce)
    if op.kind != "sum" or type(x.op) is not Broadcast or not is_inexact(node.dtype):
        return None
    repeated = [a for a in op.axes if a not in x.op.axes]
    if not repeated:
        return None
    kept = [a for a in range(len(x.shape)) if a not in repeated]
    new = {a: i for i, a in enumerate(kept)}
    smaller = broadcast(x.args[0], tuple(x.shape[a] for a in kept), tuple(new[a] for a in x.op.axes))
    count = dims.product(x.shape[a] for a in repeated)
    times = constant(count) if isinstance(count, int) else make(SizeOf(count))
    return cast(times, node.dtype) * reduce("sum", smaller, tuple(new[a] for a in op.axes if a in new))


@on(Reduce)
def reduce_of_views(node: Node) -> Node | None:
    """Reductions of reductions, transposes and reshapes; axes of length 1 need no reduction."""
    (x,) = node.args
    op = node.op
    assert isinstance(op, Reduce)
    if op.kind in ("argmin", "argmax"):
        return None
    inner, rank = x.op, len(x.shape)
    if type(inner) is Reduce and inner.kind == op.kind:
        left = [a for a in range(len(x.args[0].shape)) if a not in inner.axes]
        return make(Reduce(op.kind, tuple(sorted((*inner.axes, *(left[a] for a in op.axes))))), x.args)
    if type(inner) is Transpose and [*inner.axes] != sorted(inner.axes):
        rest = [inner.axes[a] for a in range(rank) if a not in op.axes]
        if rest == sorted(rest):
            return make(Reduce(op.kind, tuple(sorted(inner.axes[a] for a in op.axes))), x.args)
    whole = x.args[0].shape if type(inner) is Reshape and len(op.axes) == rank else ()
    if whole and x.shape != tuple(d for d in whole if d != 1):  # axes of length 1 stay away, as ``scalarize`` has them
        return make(Reduce(op.kind, tuple(range(len(whole)))), x.args)
    single = [a for a in op.axes if x.shape[a] == 1]
    if single and (len(op.axes) < rank or len(single) == rank):  # a reshape under a full reduction goes away
        shape = tuple(d for a, d in enumerate(x.shape) if a not in single)
        new = {a: i for i, a in enumerate(a for a in range(rank) if a not in single)}
        return reduce(op.kind, reshape(x, shape), tuple(new[a] for a in op.axes if a in new))
    return None


@on(Scatter)
def scatter_of_zeros(node: Node) -> Node | None:
    assert isinstance(node.op, Scatter)
    return node.args[0] if node.op.kind == "add" and is_zeros(node.args[1]) else None


@on("add", "sub", worth=lambda keys: any(key in (*CONSTANTS, REPEATED) for key in keys))
def structural_zeros(node: Node) -> Node | None:
    """x + 0 for arrays of zeros."""
    a, b = node.args
    if is_zeros(b) and a.shape == node.shape:
        return a
    if is_zeros(a) and b.shape == node.shape:
        return b if node.op == Scalar("add") else -b
    return None


@on("div")
def division_by_a_parameter(node: Node) -> Node | None:
    """An array divided by a scalar, or its rows each by a number: one division, and products."""
    a, b = node.args
    divisor = b if not b.shape else uniform(b)
    if not a.shape or node.dtype.kind not in "fc":
        return None
    if divisor is not None:
        return fitted(a * (1 / divisor), node)
    view = b.op
    if type(view) is Broadcast and len(node.shape) - 1 not in view.axes and node.shape[-1] != 1:
        return a * broadcast(1 / b.args[0], node.shape, view.axes)
    return None


SUMS: Final = Table([
    coefficients_leave_sums, sum_of_repeated, reduce_of_views, scatter_of_zeros, structural_zeros,
    division_by_a_parameter,
])  # fmt: skip

REAL: Final = SIGNS + COEFFICIENTS + ROOTS + POWERS + SUMS
"""All rules that hold over the reals."""


# --- reciprocals --------------------------------------------------------------------------------------------


def share_reciprocals(graph: Graph) -> Graph:
    """One division instead of several by the same divisor: x/y and z/y become x·(1/y) and z·(1/y)."""
    divisions: dict[Node, int] = {}
    for node in graph.nodes:
        if node.op == Scalar("div") and node.dtype.kind in "fc" and type(node.args[1].op) is not Const:
            divisions[node.args[1]] = divisions.get(node.args[1], 0) + 1

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        if node.op == Scalar("div") and divisions.get(node.args[1], 0) > 1 and const_value(args[0]) != 1:
            found = fitted(args[0] * (1 / args[1]), node)
            assert found is not None
            return found
        return node if args == node.args else make(node.op, args)

    if all(count < 2 for count in divisions.values()):
        return graph
    outputs, mapping = rebuild(graph.outputs, {}, visit)
    provenance = dict(graph.provenance)
    for node, where in graph.provenance.items():
        if node in mapping:
            provenance.setdefault(mapping[node], where)
    return graph.replace(outputs, provenance)
