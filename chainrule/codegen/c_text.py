"""C text: types, literals, identifiers, and expressions that know where they need parentheses."""

from __future__ import annotations

import math
import re
import struct
from typing import Final, NamedTuple

from .ir import DTypeName, Literal

TYPES: Final[dict[DTypeName, str]] = {
    "bool": "bool", "int32": "int32_t", "int64": "int64_t", "float32": "float", "float64": "double",
}  # fmt: skip

# --- expressions --------------------------------------------------------------------------------------------

ATOM, UNARY, PRODUCT, SUM, SHIFT, ORDER, EQUALITY, BITS, SELECT = range(9, 0, -1)
"""How strongly the outermost operator of an expression binds, strongest first."""

_LEVELS: Final = {
    "*": PRODUCT, "/": PRODUCT, "+": SUM, "-": SUM, "<<": SHIFT, ">>": SHIFT, "<": ORDER, "<=": ORDER,
    ">": ORDER, ">=": ORDER, "==": EQUALITY, "!=": EQUALITY, "&": BITS, "^": BITS, "|": BITS,
}  # fmt: skip


class Text(NamedTuple):
    """An expression in C, and the level of its outermost operator."""

    text: str
    level: int = ATOM

    def inside(self, level: int) -> str:
        """The text as an operand that must bind at least as strongly as ``level``."""
        return self.text if self.level >= level else f"({self.text})"


def binary(operator: str, a: Text, b: Text) -> Text:
    """``a operator b``. Only sums and products go without the parentheses that compilers advise.

    >>> binary("*", binary("+", Text("a"), Text("b")), Text("c")).text
    '(a + b) * c'
    """
    level = _LEVELS[operator]
    left, right = (level, level + 1) if level >= SUM else (UNARY, UNARY)
    return Text(f"{a.inside(left)} {operator} {b.inside(right)}", level)


def call(function: str, *arguments: Text) -> Text:
    return Text(f"{function}({', '.join(argument.text for argument in arguments)})")


def cast(type_: str, value: Text) -> Text:
    return Text(f"({type_}){value.inside(ATOM)}", UNARY)


def negative(value: Text) -> Text:
    return Text(f"-{value.inside(ATOM)}", UNARY)


def inverse(value: Text) -> Text:
    """The opposite truth value, which compilers want in parentheses beside other operators."""
    return Text(f"!{value.inside(ATOM)}", EQUALITY)


def select(condition: Text, a: Text, b: Text) -> Text:
    return Text(f"{condition.inside(ORDER)} ? {a.inside(SELECT + 1)} : {b.inside(SELECT + 1)}", SELECT)


# --- literals -----------------------------------------------------------------------------------------------


def number_of(literal: Literal) -> float:
    """The number that a literal is: an int, or a float for the float dtypes.

    >>> number_of(Literal(2**64 - 1, "int64"))
    -1
    """
    code = {"bool": "?", "int32": "i", "int64": "q", "float32": "f", "float64": "d"}[literal.dtype]
    number: float = struct.unpack(f"<{code}", literal.bits.to_bytes(struct.calcsize(code), "little"))[0]
    return number


def constant(number: float, dtype: DTypeName) -> Text:
    """A number as C spells it; floats come back as the same float.

    >>> constant(0.1, "float64").text, constant(-2, "int64").text, constant(1, "float32").text
    ('0.1', '-2', '1.0f')
    """
    if dtype == "bool":
        return Text("true" if number else "false")
    if dtype in ("int32", "int64"):
        return _integer(int(number))
    number = float(number)
    if math.isnan(number):
        text = "NAN"
    elif math.isinf(number):
        text = "INFINITY"
    elif dtype == "float32":
        text = f"{_shortest_float32(abs(number))}f"
    else:
        text = repr(abs(number))
    return negative(Text(text)) if math.copysign(1.0, number) < 0 else Text(text)


def _integer(number: int) -> Text:
    if number == -(1 << 63):
        return Text("INT64_MIN")
    if number == -(1 << 31):
        return Text("INT32_MIN")
    text = str(abs(number)) if abs(number) < 1 << 31 else f"INT64_C({abs(number)})"
    return Text(text) if number >= 0 else negative(Text(text))


def _shortest_float32(number: float) -> str:
    """The fewest digits that are the same float32."""
    bits = struct.pack("<f", number)
    for digits in range(1, 10):
        text = f"{number:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == bits:
                break
        except OverflowError:  # the largest floats, rounded up
            continue
    return text if "." in text or "e" in text else f"{text}.0"


# --- identifiers --------------------------------------------------------------------------------------------

_RESERVED_TEXT: Final = """
    alignas alignof auto bool break case char const constexpr continue default do double else enum extern false
    float for goto if inline int long nullptr register restrict return short signed sizeof static static_assert
    struct switch thread_local true typedef typeof union unsigned void volatile while asm main errno unix linux
    class delete explicit export friend mutable namespace new operator private protected public template this
    throw try catch using virtual and or not xor
    memcpy memset memmove
    NAN INFINITY HUGE_VAL INT32_MIN INT64_MIN INT64_MAX INT32_MAX INT64_C UINT64_C
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor
    fma fmax fmin fmod frexp hypot ilogb ldexp lgamma log log10 log1p log2 logb lrint lround modf nan nearbyint
    nextafter pow remainder remquo rint round scalbn scalbln signgam sin sinh sqrt tan tanh tgamma trunc
    isnan isinf isfinite isnormal signbit fpclassify j0 j1 jn y0 y1 yn gamma drem significand
    lane lanes half workspace
"""
_RESERVED: Final = frozenset(_RESERVED_TEXT.split())
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Names:
    """C identifiers for the names of a kernel: the same name where C allows it."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str:
        found = self._given.get(name)
        if found is None:
            found = self._given[name] = self.fresh(name)
        return found

    def fresh(self, wanted: str) -> str:
        """An identifier like ``wanted`` that is not taken.

        >>> names = Names()
        >>> names.fresh("x"), names.fresh("x"), names.fresh("double"), names.fresh("p[0]")
        ('x', 'x_2', 'double_', 'p_0_')
        """
        text = re.sub(r"[^A-Za-z0-9_]", "_", wanted)
        if not _PLAIN.fullmatch(text) or text.startswith("cr_"):
            text = f"v{text}" if text.startswith("_") else f"v_{text}"
        if text in _RESERVED or _is_float_form(text):
            text += "_"
        found, count = text, 1
        while found in self._taken:
            count += 1
            found = f"{text}_{count}"
        self._taken.add(found)
        return found


def _is_float_form(text: str) -> bool:
    """Whether it is a mathematical function's float or long double form, such as ``sqrtf``."""
    return text[-1:] in ("f", "l") and text[:-1] in _RESERVED


def comment_lines(text: str) -> list[str]:
    """A comment in C."""
    if not text:
        return []
    lines = text.replace("*/", "* /").splitlines()
    return [f"/* {lines[0]} */"] if len(lines) == 1 else ["/*", *(f" * {line}".rstrip() for line in lines), " */"]
