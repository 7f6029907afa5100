"""Values of a kernel in LLVM text, and loads and stores of them, one element or one for each lane."""

from __future__ import annotations

from typing import NamedTuple

from .ir import DTypeName
from .llvm_builder import (
    ALIGN,
    MEMORY,
    Code,
    Lines,
    constant,
    splat_constant,
    suffix,
    type_of,
    vector_constant,
    vector_type,
)


class Value(NamedTuple):
    """An operand. A scalar one (`lanes` 1) stands for ``value + k*stride`` in lane k."""

    text: str
    dtype: DTypeName
    lanes: int = 1
    stride: int = 0

    @property
    def uniform(self) -> bool:
        """The same in all lanes, and at hand as a scalar."""
        return self.lanes == 1 and self.stride == 0

    @property
    def is_constant(self) -> bool:
        return self.text[0] != "%"


class Buffer(NamedTuple):
    """The address of an array's elements; element e of lane k lies at ``e*copies + k``."""

    pointer: str
    dtype: DTypeName
    copies: int = 1


def spread(code: Code, value: Value, lanes: int, to: Lines | None = None) -> str:
    """The vector operand of a value; a splat may be put in a place kept open."""
    if value.lanes == lanes:
        return value.text
    if value.is_constant and not value.stride:
        return splat_constant(value.text, value.dtype, lanes)
    vector = code.splat(value.text, type_of(value.dtype, 1), lanes, to)
    if value.stride:
        steps = vector_constant((str(value.stride * lane) for lane in range(lanes)), value.dtype)
        vector = code.let(f"add {type_of(value.dtype, lanes)} {vector}, {steps}", to)
    return vector


# --- one element --------------------------------------------------------------------------------------------


def load_one(code: Code, buffer: Buffer, index: str, guard: str | None) -> str:
    """An element; without its guard (an ``i1``) zero, and the memory is not touched."""
    type_ = MEMORY[buffer.dtype]
    pointer = code.let(f"getelementptr {type_}, ptr {buffer.pointer}, i64 {index}")
    if guard is not None:
        code.module.zero_needed = True
        pointer = code.let(f"select i1 {guard}, ptr {pointer}, ptr @zero")
    loaded = code.let(f"load {type_}, ptr {pointer}, align {ALIGN[buffer.dtype]}")
    return _from_memory(code, loaded, buffer.dtype, 1)


def store_one(code: Code, buffer: Buffer, index: str, value: str) -> None:
    type_ = MEMORY[buffer.dtype]
    pointer = code.let(f"getelementptr {type_}, ptr {buffer.pointer}, i64 {index}")
    stored = _to_memory(code, value, buffer.dtype, 1)
    code.do(f"store {type_} {stored}, ptr {pointer}, align {ALIGN[buffer.dtype]}")


# --- one element a lane -------------------------------------------------------------------------------------


def load_lanes(
    code: Code, buffer: Buffer, index: Value, mask: str | None, lanes: int, whole: str | None = None
) -> str:
    """A vector of elements; zero where the mask is not set, and there the memory is not touched.

    ``whole``, an ``i1``: the mask is set everywhere. Neighbours are then loaded without it, for where data come from
    afar, loads with a mask take half as long again.
    """
    if whole is not None and mask is not None and index.lanes == 1 and index.stride == 1 and buffer.copies == 1:
        plain, masked, after = code.fresh(), code.fresh(), code.fresh()
        code.branch(whole, plain, masked)
        code.start(plain)
        first = load_lanes(code, buffer, index, None, lanes)
        code.jump(after)
        code.start(masked)
        second = load_lanes(code, buffer, index, mask, lanes)
        code.jump(after)
        code.start(after)
        return code.let(f"phi {type_of(buffer.dtype, lanes)} [ {first}, %{plain} ], [ {second}, %{masked} ]")
    dtype, align = buffer.dtype, ALIGN[buffer.dtype]
    type_ = vector_type(MEMORY[dtype], lanes)
    pointers, kind = _addresses(code, buffer, index, lanes)
    if kind == "ptr" and mask is None:
        loaded = code.let(f"load {type_}, ptr {pointers}, align {align}")
    else:
        masks = vector_type("i1", lanes)
        name = f"llvm.masked.{'load' if kind == 'ptr' else 'gather'}.{_memory_suffix(dtype, kind, lanes)}"
        code.module.declare(name, f"{type_} @{name}({kind}, i32, {masks}, {type_})")
        mask = mask or constant(True, "bool", lanes)
        arguments = f"{kind} {pointers}, i32 {align}, {masks} {mask}, {type_} zeroinitializer"
        loaded = code.let(f"call {type_} @{name}({arguments})")
    return _from_memory(code, loaded, dtype, lanes)


def store_lanes(code: Code, buffer: Buffer, index: Value, value: str, mask: str | None, lanes: int) -> None:
    """Elements of a vector, in the lanes of the mask; where lanes meet in one place, the last one stays."""
    dtype, align = buffer.dtype, ALIGN[buffer.dtype]
    type_ = vector_type(MEMORY[dtype], lanes)
    pointers, kind = _addresses(code, buffer, index, lanes)
    stored = _to_memory(code, value, dtype, lanes)
    if kind == "ptr" and mask is None:
        code.do(f"store {type_} {stored}, ptr {pointers}, align {align}")
        return
    masks = vector_type("i1", lanes)
    name = f"llvm.masked.{'store' if kind == 'ptr' else 'scatter'}.{_memory_suffix(dtype, kind, lanes)}"
    code.module.declare(name, f"void @{name}({type_}, {kind}, i32, {masks})")
    mask = mask or constant(True, "bool", lanes)
    code.do(f"call void @{name}({type_} {stored}, {kind} {pointers}, i32 {align}, {masks} {mask})")


def _addresses(code: Code, buffer: Buffer, index: Value, lanes: int) -> tuple[str, str]:
    """The address of the first lane's element where they are neighbours, else of each; and its type."""
    if buffer.copies > 1:
        index = _private_index(code, index, buffer.copies, lanes)
    type_ = MEMORY[buffer.dtype]
    if index.lanes == 1 and index.stride == 1:
        return code.let(f"getelementptr {type_}, ptr {buffer.pointer}, i64 {index.text}"), "ptr"
    places = spread(code, index, lanes)
    vector = f"<{lanes} x ptr>"
    return code.let(f"getelementptr {type_}, ptr {buffer.pointer}, <{lanes} x i64> {places}"), vector


def _private_index(code: Code, index: Value, copies: int, lanes: int) -> Value:
    """The place of an element in a buffer of which every lane has its own."""
    if index.lanes == 1:
        first = code.let(f"mul i64 {index.text}, {copies}")
        return Value(first, "int64", 1, index.stride * copies + 1)
    first = code.let(f"mul <{lanes} x i64> {index.text}, {constant(copies, 'int64', lanes)}")
    steps = vector_constant(map(str, range(lanes)), "int64")
    return Value(code.let(f"add <{lanes} x i64> {first}, {steps}"), "int64", lanes)


def _memory_suffix(dtype: DTypeName, kind: str, lanes: int) -> str:
    elements = f"v{lanes}i8" if dtype == "bool" else suffix(dtype, lanes)
    return f"{elements}.{'p0' if kind == 'ptr' else f'v{lanes}p0'}"


def _from_memory(code: Code, loaded: str, dtype: DTypeName, lanes: int) -> str:
    if dtype != "bool":
        return loaded
    return code.let(
        f"icmp ne {vector_type('i8', lanes)} {loaded}, {'0' if lanes == 1 else 'zeroinitializer'}"
    )


def _to_memory(code: Code, value: str, dtype: DTypeName, lanes: int) -> str:
    if dtype != "bool":
        return value
    return code.let(f"zext {vector_type('i1', lanes)} {value} to {vector_type('i8', lanes)}")
