"""LLVM text: types, literals, functions and modules.

A `Code` collects the lines of one function. Operands are plain text without their type. The same methods
serve scalars (`lanes` 1) and vectors, so what is written over them is written once.
"""

from __future__ import annotations

import platform
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from .ir import DTypeName, Literal

# --- types and literals -------------------------------------------------------------------------------------

SCALAR: Final[dict[str, str]] = {
    "bool": "i1", "int32": "i32", "int64": "i64", "float32": "float", "float64": "double",
}  # fmt: skip
MEMORY: Final[dict[str, str]] = {**SCALAR, "bool": "i8"}
SUFFIX: Final[dict[str, str]] = {
    "bool": "i1", "int32": "i32", "int64": "i64", "float32": "f32", "float64": "f64",
}  # fmt: skip
ALIGN: Final[dict[str, int]] = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


def vector_type(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def type_of(dtype: DTypeName, lanes: int) -> str:
    """The type in registers: ``double``, ``<8 x double>``; bools are ``i1``."""
    return vector_type(SCALAR[dtype], lanes)


def is_float(dtype: DTypeName) -> bool:
    return dtype in ("float32", "float64")


def float_text(value: float, dtype: DTypeName = "float64") -> str:
    """A float as LLVM spells it: the bits of the double, for float32 too."""
    if dtype == "float32":
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def literal_text(literal: Literal) -> str:
    """A literal from its bits, exactly.

    >>> literal_text(Literal(0x3FF8000000000000, "float64")), literal_text(Literal(2**64 - 1, "int64"))
    ('0x3FF8000000000000', '-1')
    """
    match literal.dtype:
        case "float64":
            return f"0x{literal.bits:016X}"
        case "float32":
            if literal.bits & 0x7FFFFFFF > 0x7F800000:  # NaN: a conversion might change its payload
                sign, payload = literal.bits >> 31, literal.bits & 0x7FFFFF
                return f"0x{sign << 63 | 0x7FF << 52 | payload << 29:016X}"
            return float_text(struct.unpack("<f", struct.pack("<I", literal.bits))[0])
        case "bool":
            return "true" if literal.bits else "false"
        case dtype:
            width = 64 if dtype == "int64" else 32
            return str(literal.bits - (1 << width) if literal.bits >> (width - 1) & 1 else literal.bits)


def literal_number(literal: Literal) -> float:
    """The number that a literal is."""
    text = literal_text(literal)
    if is_float(literal.dtype):
        number: float = struct.unpack("<d", struct.pack("<Q", int(text, 16)))[0]
        return number
    return literal.bits if literal.dtype == "bool" else int(text)


def constant(number: float, dtype: DTypeName, lanes: int = 1) -> str:
    """A number (an int, a float or a bool) in every lane."""
    if is_float(dtype):
        text = float_text(float(number), dtype)
    else:
        text = ("true" if number else "false") if dtype == "bool" else str(int(number))
    return splat_constant(text, dtype, lanes)


def splat_constant(text: str, dtype: DTypeName, lanes: int) -> str:
    return text if lanes == 1 else f"splat ({SCALAR[dtype]} {text})"


def vector_constant(texts: Iterable[str], dtype: DTypeName) -> str:
    return "<" + ", ".join(f"{SCALAR[dtype]} {text}" for text in texts) + ">"


# --- modules ------------------------------------------------------------------------------------------------

WIDE: Final = 'nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512"'
ATTRIBUTES: Final = (
    f"attributes #0 = {{ {WIDE} }}",
    f"attributes #1 = {{ alwaysinline willreturn memory(none) {WIDE} }}",
    f"attributes #2 = {{ noinline willreturn memory(none) {WIDE} }}",
    f"attributes #3 = {{ noinline cold willreturn memory(none) {WIDE} }}",
    "attributes #4 = { nounwind willreturn memory(none) }",
    # a function with loops of lanes aligns its stack, or the vectors that it spills straddle cache lines
    f"attributes #5 = {{ noinline alignstack=64 {WIDE} }}",
    # pairs: wider vectors of unrelated statements take more instructions to put together than they save
    'attributes #6 = { nounwind "prefer-vector-width"="128" }',
    '!0 = !{!"branch_weights", i32 1, i32 2000}',
)
INLINE, NOINLINE, COLD = "#1", "#2", "#3"
_KEEPING_VECTORS: Final = {
    "x86_64": "intel_ocl_bicc ", "amd64": "intel_ocl_bicc ", "aarch64": "aarch64_vector_pcs ",
}  # fmt: skip
KEEPS_VECTORS: Final = _KEEPING_VECTORS.get(platform.machine().lower(), "")
"""The calling convention of slow paths: a function preserves half of the vector registers.

Under the usual one it may destroy all of them, and values would be kept in memory throughout a loop for the
sake of a call that hardly ever happens.
"""
MAX_INLINED: Final = 24
"""A function that is called from more places is not inlined, so that code stays linear in the kernel."""


class Definition(NamedTuple):
    """A helper function; its attributes depend on how often it is called."""

    head: str
    body: str
    attributes: str


class Module:
    """Functions and declarations of one LLVM module, each once, in order of first use."""

    def __init__(self) -> None:
        self.declarations: dict[str, str] = {}
        self.definitions: dict[str, Definition] = {}
        self.calls: Counter[str] = Counter()
        self.zero_needed = False

    def declare(self, symbol: str, signature: str, attributes: str = "") -> None:
        if symbol not in self.declarations:
            self.declarations[symbol] = f"declare {signature}{attributes}"

    def include(self, other: Module) -> None:
        """Add all functions of another module."""
        for name, text in other.declarations.items():
            self.declarations.setdefault(name, text)
        for name, definition in other.definitions.items():
            self.definitions.setdefault(name, definition)

    def text(self, functions: Iterable[str]) -> str:
        parts = list(self.declarations.values())
        if self.zero_needed:
            parts.append("@zero = internal constant i64 0, align 8")  # what a guarded load reads instead
        for symbol, (head, body, attributes) in self.definitions.items():
            if attributes == INLINE and self.calls[symbol] > MAX_INLINED:
                attributes = NOINLINE
            parts.append(f"{head} {attributes} {{\n{body}\n}}")
        parts.extend(functions)
        parts.extend(ATTRIBUTES)
        return "\n".join(parts) + "\n"


# --- functions ----------------------------------------------------------------------------------------------

Lines: TypeAlias = "list[str | Lines]"


class Code:
    """The lines of one function, and the block that the next line belongs to.

    A nested list of lines keeps a place open: variables at the entry, what is moved out of a loop.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.variables: Lines = []
        self.lines: Lines = [".entry:", self.variables]
        self.block = ".entry"
        self._count = 0

    def fresh(self) -> str:
        """A new name, of a value or of a block (without its ``%``)."""
        self._count += 1
        return f".{self._count}"

    def let(self, instruction: str, to: Lines | None = None) -> str:
        """Append ``name = instruction`` (to a place kept open, if given) and return the operand."""
        self._count += 1
        name = f"%.{self._count}"
        (self.lines if to is None else to).append(f"  {name} = {instruction}")
        return name

    @property
    def position(self) -> int:
        """To ask `is_before` of operands that come later."""
        return self._count

    def is_before(self, operand: str, position: int) -> bool:
        """Whether an operand was there when the function had come to a position."""
        return not operand.startswith("%.") or int(operand[2:]) <= position

    def do(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: str, then: str, otherwise: str, rare: bool = False) -> None:
        """Jump by an ``i1``; ``rare`` tells LLVM that ``then`` hardly ever runs."""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}{', !prof !0' if rare else ''}")

    def open_place(self) -> Lines:
        """A list at this point, to append lines to later."""
        place: Lines = []
        self.lines.append(place)
        return place

    def variable(self, type_: str) -> str:
        """The address of a new variable; passes make registers of them."""
        return self.let(f"alloca {type_}", to=self.variables)

    def call(
        self, symbol: str, result: str, arguments: Sequence[tuple[str, str]], convention: str = ""
    ) -> str:
        """Call a function of the module with (type, operand) pairs."""
        self.module.calls[symbol] += 1
        return self.let(f"call {convention}{result} @{symbol}({_list(arguments)})")

    def intrinsic(self, name: str, dtype: DTypeName, lanes: int, *operands: str) -> str:
        """``llvm.name`` on operands of one type."""
        type_ = type_of(dtype, lanes)
        symbol = f"llvm.{name}.{suffix(dtype, lanes)}"
        self.module.declare(symbol, f"{type_} @{symbol}({', '.join([type_] * len(operands))})")
        return self.let(f"call {type_} @{symbol}({_list((type_, operand) for operand in operands)})")

    def any_lane(self, mask: str, lanes: int) -> str:
        """Whether a mask is set in some lane, as ``i1``."""
        if lanes == 1:
            return mask
        symbol = f"llvm.vector.reduce.or.v{lanes}i1"
        self.module.declare(symbol, f"i1 @{symbol}(<{lanes} x i1>)")
        return self.let(f"call i1 @{symbol}(<{lanes} x i1> {mask})")

    def largest(self, vector: str, lanes: int) -> str:
        """The largest of a vector of ``i64``."""
        symbol = f"llvm.vector.reduce.smax.v{lanes}i64"
        self.module.declare(symbol, f"i64 @{symbol}(<{lanes} x i64>)")
        return self.let(f"call i64 @{symbol}(<{lanes} x i64> {vector})")

    def splat(self, operand: str, type_: str, lanes: int, to: Lines | None = None) -> str:
        """A scalar operand in every lane."""
        vector = f"<{lanes} x {type_}>"
        first = self.let(f"insertelement {vector} poison, {type_} {operand}, i32 0", to)
        return self.let(
            f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer", to
        )

    def text(self) -> str:
        return "\n".join(_flatten(self.lines))


def suffix(dtype: DTypeName, lanes: int) -> str:
    """The type in the name of an intrinsic: ``f64``, ``v8f64``."""
    return SUFFIX[dtype] if lanes == 1 else f"v{lanes}{SUFFIX[dtype]}"


def _list(arguments: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{type_} {operand}" for type_, operand in arguments)


def _flatten(lines: Lines) -> list[str]:
    """The lines in order; places nest only as deep as loops do."""
    flat: list[str] = []
    for line in lines:
        if isinstance(line, str):
            flat.append(line)
        else:
            flat.extend(_flatten(line))
    return flat


def quoted(name: str) -> str:
    """A name as LLVM spells it."""
    plain = name.replace("_", "").replace(".", "").isalnum() and name.isascii() and not name[0].isdigit()
    return (
        name
        if plain and not name.startswith(".")
        else '"'
        + "".join(
            chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\{byte:02X}"
            for byte in name.encode()
        )
        + '"'
    )
