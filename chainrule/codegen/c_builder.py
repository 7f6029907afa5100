"""The elementary functions of `vecmath` as C functions.

`COps` records operations; `function` writes those that a result needs, one line for each value that is used more than
once. Bit patterns are ``uint64_t``, so that they wrap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from . import vecmath_logs
from .c_text import Text, binary, call, cast, constant, inverse, negative, select
from .vecmath import FUNCTIONS, sincos
from .vecmath_lanes import Float
from .vecmath_polygamma import polygamma

LONGEST: Final = 76
"""Longer expressions get a line of their own."""


class Node:
    """A value: how its text is made of its arguments' texts."""

    __slots__ = ("args", "make", "text", "type", "uses")

    def __init__(self, type_: str, make: Callable[..., Text], args: Sequence[Node]) -> None:
        self.type = type_
        self.make = make
        self.args = args
        self.uses = 0
        self.text = Text("")


class RareCall(NamedTuple):
    """``if (mask) results = symbol(args)``; the results are ``defaults`` before."""

    mask: Node
    symbol: str
    args: tuple[Node, ...]
    defaults: tuple[Node, ...]
    results: tuple[Node, ...]


Item: TypeAlias = Node | RareCall


class COps:
    """`vecmath.Ops` that records nodes.

    ``rare_functions``: where the slow paths go, by symbol. Without it they are left out: then ``masks`` are where they
    would have been taken.
    """

    jumps = False

    def __init__(self, rare_functions: dict[str, Callable[..., Any]] | None) -> None:
        self.items: list[Item] = []
        self.rare_functions = rare_functions
        self.arities: dict[str, tuple[int, int]] = {}
        self.masks: list[Node] = []

    def _node(self, type_: str, make: Callable[..., Text], *args: Node) -> Node:
        node = Node(type_, make, args)
        self.items.append(node)
        return node

    def _binary(self, type_: str, operator: str, a: Node, b: Node) -> Node:
        return self._node(type_, lambda x, y: binary(operator, x, y), a, b)

    def _call(self, type_: str, function: str, *args: Node) -> Node:
        return self._node(type_, lambda *texts: call(function, *texts), *args)

    def const(self, value: float, /) -> Node:
        return self._node("const double", lambda: constant(value, "float64"))

    def iconst(self, value: int, /) -> Node:
        value %= 1 << 64
        text = f"{value}u" if value < 1 << 16 else f"UINT64_C({value:#x})"
        return self._node("const uint64_t", lambda: Text(text))

    def add(self, a: Node, b: Node, /) -> Node:
        return self._binary("double", "+", a, b)

    def sub(self, a: Node, b: Node, /) -> Node:
        return self._binary("double", "-", a, b)

    def mul(self, a: Node, b: Node, /) -> Node:
        return self._binary("double", "*", a, b)

    def div(self, a: Node, b: Node, /) -> Node:
        return self._binary("double", "/", a, b)

    def neg(self, a: Node, /) -> Node:
        return self._node("double", negative, a)

    def fma(self, a: Node, b: Node, c: Node, /) -> Node:
        return self._call("double", "fma", a, b, c)

    def sqrt(self, a: Node, /) -> Node:
        return self._call("double", "sqrt", a)

    def abs(self, a: Node, /) -> Node:
        return self._call("double", "fabs", a)

    def floor(self, a: Node, /) -> Node:
        return self._call("double", "floor", a)

    def rint(self, a: Node, /) -> Node:
        return self._call("double", "rint", a)

    def copysign(self, magnitude: Node, sign: Node, /) -> Node:
        return self._call("double", "copysign", magnitude, sign)

    def bits(self, a: Node, /) -> Node:
        return self._call("uint64_t", "cr_bits", a)

    def double(self, a: Node, /) -> Node:
        return self._call("double", "cr_double", a)

    def iadd(self, a: Node, b: Node, /) -> Node:
        return self._binary("uint64_t", "+", a, b)

    def isub(self, a: Node, b: Node, /) -> Node:
        return self._binary("uint64_t", "-", a, b)

    def iand(self, a: Node, b: Node, /) -> Node:
        return self._binary("uint64_t", "&", a, b)

    def ior(self, a: Node, b: Node, /) -> Node:
        return self._binary("uint64_t", "|", a, b)

    def ixor(self, a: Node, b: Node, /) -> Node:
        return self._binary("uint64_t", "^", a, b)

    def shl(self, a: Node, count: int, /) -> Node:
        return self._node("uint64_t", lambda x: binary("<<", x, Text(str(count))), a)

    def ashr(self, a: Node, count: int, /) -> Node:
        def make(x: Text) -> Text:
            return cast("uint64_t", binary(">>", cast("int64_t", x), Text(str(count))))

        return self._node("uint64_t", make, a)

    def lshr(self, a: Node, count: int, /) -> Node:
        return self._node("uint64_t", lambda x: binary(">>", x, Text(str(count))), a)

    def lt(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "<", a, b)

    def le(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "<=", a, b)

    def gt(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", ">", a, b)

    def ge(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", ">=", a, b)

    def eq(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "==", a, b)

    def ne(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "!=", a, b)

    def unordered(self, a: Node, /) -> Node:
        return self._binary("bool", "!=", a, a)

    def ieq(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "==", a, b)

    def ilt(self, a: Node, b: Node, /) -> Node:
        return self._node("bool", lambda x, y: binary("<", cast("int64_t", x), cast("int64_t", y)), a, b)

    def select(self, mask: Node, a: Node, b: Node, /) -> Node:
        return self._node("double", select, mask, a, b)

    def iselect(self, mask: Node, a: Node, b: Node, /) -> Node:
        return self._node("uint64_t", select, mask, a, b)

    def mask_and(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "&", a, b)

    def mask_or(self, a: Node, b: Node, /) -> Node:
        return self._binary("bool", "|", a, b)

    def mask_not(self, a: Node, /) -> Node:
        return self._node("bool", inverse, a)

    def any(
        self, mask: Node, rare: Callable[..., Any], args: tuple[Node, ...], default: tuple[Node, ...], /
    ) -> tuple[Node, ...]:
        self.masks.append(mask)
        if self.rare_functions is None:
            return default
        symbol = f"cr_{rare.__name__.strip('_')}"
        self.rare_functions[symbol] = rare
        self.arities[symbol] = (len(args), len(default))
        results = tuple(Node("double", lambda: Text(""), ()) for _ in default)
        self.items.append(RareCall(mask, symbol, args, default, results))
        return results


# --- text ---------------------------------------------------------------------------------------------------


def _needed(items: Sequence[Item], roots: Sequence[Node]) -> list[Item]:
    """The items on which the roots depend, in order; counts how often each value is used."""
    for root in roots:
        root.uses += 1
    needed: list[Item] = []
    for item in reversed(items):
        used: Sequence[Node]
        if isinstance(item, RareCall):
            if not any(result.uses for result in item.results):
                continue
            used = (item.mask, *item.args, *item.defaults)
        elif item.uses:
            used = item.args
        else:
            continue
        needed.append(item)
        for node in used:
            node.uses += 1
        if isinstance(item, Node) and item.make is select:
            for node in item.args[1:]:
                node.uses += 1  # lines of their own: both are computed in any case, no branch is wanted
    return needed[::-1]


def body(items: Sequence[Item], roots: Sequence[Node]) -> tuple[list[str], list[str]]:
    """The lines that compute the roots, and the roots' texts."""
    lines: list[str] = []
    count = 0

    def name(prefix: str) -> Text:
        nonlocal count
        count += 1
        return Text(f"{prefix}{count}")

    for item in _needed(items, roots):
        if isinstance(item, RareCall):
            arguments = [argument.text for argument in item.args]
            for result, default in zip(item.results, item.defaults, strict=True):
                result.text = name("t")
                lines.append(f"double {result.text.text} = {default.text.text};")
            if len(item.results) == 1:
                action = f"{item.results[0].text.text} = {call(item.symbol, *arguments).text}"
            else:
                places = [Text(f"&{result.text.text}") for result in item.results]
                action = call(item.symbol, *arguments, *places).text
            lines.append(f"if ({item.mask.text.text}) {action};")
            continue
        text = item.make(*(argument.text for argument in item.args))
        simple = not item.args or (item.uses == 1 and len(text.text) <= LONGEST)
        if simple:
            item.text = text
        else:
            item.text = name("b" if item.type == "uint64_t" else "m" if item.type == "bool" else "t")
            lines.append(f"const {item.type} {item.text.text} = {text.text};")
    return lines, [root.text.text for root in roots]


def _parameter(ops: COps, name: str) -> Node:
    node = Node("double", lambda: Text(name), ())
    ops.items.append(node)
    return node


def _letters(arity: int) -> list[str]:
    return ["x", "y", "z", "u", "v", "w"][:arity]


def emitter(name: str) -> Callable[..., Any]:
    """What emits a function of `vecmath`; ``polygamma3`` is that of order 3."""
    return FUNCTIONS[name] if name in FUNCTIONS else polygamma(int(name.removeprefix("polygamma")))


def has_lane_code(name: str) -> bool:
    """Whether a primitive is a function of `vecmath`."""
    return name in FUNCTIONS or name.startswith("polygamma")


class Functions(NamedTuple):
    """C functions of one elementary function: its slow paths, by symbol, and itself."""

    rare: dict[str, str]
    text: str


@functools.cache
def elementary(name: str, arity: int) -> Functions:
    """``cr_name``, and the slow paths that it calls."""
    rare: dict[str, Callable[..., Any]] = {}
    ops = COps(rare)
    parameters = _letters(arity)
    result = emitter(name)(ops, *(_parameter(ops, p) for p in parameters))
    lines, (value,) = body(ops.items, [result])
    text = _function(f"CR_INLINE double cr_{name}", [f"double {p}" for p in parameters], lines, value)
    return Functions({symbol: _rare(symbol, function, ops) for symbol, function in rare.items()}, text)


def _rare(symbol: str, function: Callable[..., Any], caller: COps) -> str:
    """A slow path: a function of its own, which gives its results through pointers if there are several."""
    arity, count = caller.arities[symbol]
    ops = COps({})
    parameters = _letters(arity)
    roots = function(ops, *(_parameter(ops, p) for p in parameters))
    lines, values = body(ops.items, roots)
    declared = [f"double {p}" for p in parameters]
    if count == 1:
        return _function(f"CR_RARE double {symbol}", declared, lines, values[0])
    places = [f"result{k}" for k in range(count)]
    lines += [f"*{place} = {value};" for place, value in zip(places, values, strict=True)]
    return _function(f"CR_RARE void {symbol}", declared + [f"double *{place}" for place in places], lines, None)


@functools.cache
def has_rare_path(name: str, arity: int) -> bool:
    """Whether a function of `vecmath` has a slow path, which no compiler can put into a loop of lanes."""
    ops = COps(None)
    emitter(name)(ops, *(_parameter(ops, p) for p in _letters(arity)))
    return bool(ops.masks)


SINCOS: Final = "sincos"
"""The function of lanes that gives sine and cosine, which share most of their work."""


@functools.cache
def elementary_of_lanes(name: str) -> str:
    """``cr_name_lanes``, a function of one argument for many lanes.

    The usual path is a loop for all of them; where one lane needs the slow path, all are computed again.
    """
    ops = COps(None)
    x = _parameter(ops, "x[lane]")
    if name == SINCOS:
        sine, cosine = sincos(ops, x)
        results = [("s", "sin", sine), ("c", "cos", cosine)]
    else:
        results = [("y", name, emitter(name)(ops, x))]
    rare = ops.masks[0]
    for mask in ops.masks[1:]:
        rare = ops.mask_or(rare, mask)
    lines, values = body(ops.items, [*(node for _, _, node in results), rare])
    lines += [f"{array}[lane] = {value};" for (array, _, _), value in zip(results, values, strict=False)]
    inner = "\n".join(f"        {line}" for line in [*lines, f"rare |= {values[-1]};"])
    again = "\n".join(f"        {array}[lane] = cr_{function}(x[lane]);" for array, function, _ in results)
    places = ", ".join(f"double *restrict {array}" for array, _, _ in results)
    return f"""static void cr_{name}_lanes(int lanes, const double *restrict x, {places})
{{
    uint64_t rare = 0; /* as wide as the lanes: this vectorises */
    for (int lane = 0; lane < lanes; lane++) {{
{inner}
    }}
    for (int lane = 0; rare != 0 && lane < lanes; lane++) {{
{again}
    }}
}}"""


@functools.cache
def of_logs(name: str) -> str:
    """``cr_add_log``, which changes the three parts of a lane's sum of logarithms, or ``cr_total_of_logs``."""
    ops = COps(None)
    product, low, exponent = (Float(ops, _parameter(ops, p)) for p in ("p", "l", "k"))
    if name == "total_of_logs":
        lines, (value,) = body(ops.items, [vecmath_logs.total_of_logs(product, low, exponent).value])
        return _function(f"CR_INLINE double cr_{name}", ["double p", "double l", "double k"], lines, value)
    added = vecmath_logs.add_log(product, low, exponent, Float(ops, _parameter(ops, "x")))
    lines, values = body(ops.items, [part.value for part in added])
    places = ("product", "low", "exponent")
    lines.insert(0, "const double p = *product, l = *low, k = *exponent;")
    lines += [f"*{place} = {value};" for place, value in zip(places, values, strict=True)]
    return _function(f"CR_INLINE void cr_{name}", [*(f"double *{p}" for p in places), "double x"], lines, None)


def _function(head: str, parameters: Sequence[str], lines: Sequence[str], value: str | None) -> str:
    inner = [f"    {line}" for line in lines]
    if value is not None:
        inner.append(f"    return {value};")
    return "\n".join([f"{head}({', '.join(parameters)})", "{", *inner, "}"])
