"""Parts of a kernel as LLVM functions of their own, and loops whose pieces run in threads.

A part gets everything it reads from outside as parameters. For threads, they travel through a context in memory:

- ``kernel.p``: the pieces from ``first`` to ``last``, in order, into accumulators that it gets by address;
- ``kernel.p.task``: what a thread calls: unpacks the context, lets one piece after the other accumulate into places
  of their own;
- ``kernel.p.threads``: packs the context, calls the pool, combines the places in the order of the pieces.

A loop with few pieces calls the first one directly, so that short data pay two nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from . import ir
from .ir import Block, Name
from .llvm_builder import SCALAR, Code, Module, quoted
from .llvm_expressions import Expressions
from .llvm_memory import Buffer, Value
from .threads import PARALLEL
from .workspace import ALIGNMENT, ITEM_SIZE, layout

__all__ = [
    "FEWEST", "MOST_PLACES", "Accumulator", "Captured", "capture", "private_scratch", "threaded_loop",
]  # fmt: skip

FEWEST: Final = 4
"""Pieces from which on a loop uses threads: below, waking one costs more than it gains."""
ROUND: Final = 256
"""Pieces whose accumulators are kept side by side; longer loops go round after round."""
MOST_PLACES: Final = 64
"""Accumulators of a piece: loops with more of them use one thread, so that their places fit on the stack."""
MOST_SCRATCH: Final = 131072
"""Bytes of scratch memory that a thread takes from its stack."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A name from outside: the parameter's type and name, and the operand at the place of the call."""

    type: str
    parameter: str
    operand: str


def captured_names(block: Block, bound: Iterable[Name] = ()) -> tuple[tuple[Name, ...], tuple[Name, ...]]:
    """The values and the buffers that a block uses and does not bind itself, in order of first use."""
    inside = set(bound)
    values: dict[Name, None] = {}
    buffers: dict[Name, None] = {}
    for stmt in ir.statements(block):
        if isinstance(stmt, (ir.Let, ir.Declare)):
            inside.add(stmt.name)
        elif isinstance(stmt, (ir.For, ir.While)):
            inside.add(stmt.index)
        elif isinstance(stmt, ir.Alloc):
            inside.add(stmt.buffer)
    for stmt in ir.statements(block):
        if isinstance(stmt, ir.Store):
            buffers[stmt.buffer] = None
        elif isinstance(stmt, ir.Call):
            buffers.update((arg, None) for arg in stmt.args if isinstance(arg, str))
        elif isinstance(stmt, (ir.Assign, ir.Accumulate)):
            values[stmt.name] = None
        for root in ir.expressions(stmt):
            for expr in ir.walk(root):
                if isinstance(expr, ir.Var):
                    values[expr.name] = None
                elif isinstance(expr, ir.Load):
                    buffers[expr.buffer] = None
    return tuple(n for n in values if n not in inside), tuple(n for n in buffers if n not in inside)


def capture(
    outside: Expressions, part: Expressions, kernel: ir.Kernel, block: Block, bound: Iterable[Name] = ()
) -> list[Captured]:
    """What a block reads from outside becomes known in the part; numbers need no parameter."""
    captured = []
    values, buffers = captured_names(block, bound)
    read_only = {p.name for p in kernel.parameters if p.kind == "array"}
    part.sincos = outside.sincos
    for name in values:
        variable = outside.variables.get(name)
        value = outside.values[name] if variable is None else outside.read(variable)
        if not value.is_constant:
            parameter = f"%{quoted(name)}"
            captured.append(Captured(SCALAR[value.dtype], parameter, value.text))
            value = Value(parameter, value.dtype)
        part.values[name] = value
    for name in buffers:
        buffer, parameter = outside.buffers[name], f"%{quoted(name)}"
        kind = "ptr noalias readonly" if name in read_only else "ptr noalias"
        captured.append(Captured(kind, parameter, buffer.pointer))
        part.buffers[name] = buffer._replace(pointer=parameter)
    return captured


def private_scratch(code: Code, block: Block) -> dict[Name, Buffer] | None:
    """Scratch memory of a block on the stack of the thread that runs it; None if it is too much or of unknown size."""
    buffers: dict[Name, Buffer] = {}
    scratch, total = layout(block)
    if not scratch:
        return buffers
    if not isinstance(total, int) or total > MOST_SCRATCH:
        return None
    for name, buffer in scratch.items():
        assert isinstance(buffer.offset, int)
        count = next(s.count for s in ir.statements(block) if isinstance(s, ir.Alloc) and s.buffer == name)
        assert isinstance(count, int)
        size = max(1, count * buffer.copies * ITEM_SIZE[buffer.dtype])
        pointer = code.let(f"alloca [{size} x i8], align {ALIGNMENT}", to=code.variables)
        buffers[name] = Buffer(pointer, buffer.dtype, buffer.copies)
    return buffers


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A reduction of the loop: the type in memory, what it starts from, and how two values are combined."""

    type: str
    address: str
    neutral: str
    combine: Callable[[Code, str, str], str]


def threaded_loop(
    code: Code, name: str, count: Value, captured: Sequence[Captured], accumulators: Sequence[Accumulator]
) -> list[str]:
    """Call the part ``name`` for ``count`` pieces, in threads if they are many; the functions that this needs."""
    parameters = ", ".join(f"{c.type} {c.parameter}" for c in captured)
    operands = ", ".join(f"{c.type.split(' ')[0]} {c.operand}" for c in captured)
    addresses = [f"ptr {a.address}" for a in accumulators]
    places = [f"ptr %acc.{k}" for k in range(len(accumulators))]
    given = _joined(f"i64 {count.text}", operands, *addresses)
    few, many, after = code.fresh(), code.fresh(), code.fresh()
    code.branch(code.let(f"icmp slt i64 {count.text}, {FEWEST}"), few, many)
    code.start(few)
    code.do(f"call void @{_part(name)}({_joined('i64 0', given)})")
    code.jump(after)
    code.start(many)
    code.do(f"call void @{_part(name, '.threads')}({given})")
    code.jump(after)
    code.start(after)
    head = _joined("i64 %count.", parameters, *places)
    task = _task(code.module, name, captured, accumulators)
    threads = _threads(code.module, name, captured, accumulators)
    return [
        f"define internal void @{_part(name, '.task')}(ptr %context, i64 %first, i64 %last) #0 {{\n{task}\n}}",
        f"define internal void @{_part(name, '.threads')}({head}) #5 {{\n{threads}\n}}",
    ]


def _part(name: str, suffix: str = "") -> str:
    return quoted(f"{name}{suffix}")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _slot(code: Code, base: str, number: str) -> str:
    return code.let(f"getelementptr i64, ptr {base}, i64 {number}")


def _task(module: Module, name: str, captured: Sequence[Captured], accumulators: Sequence[Accumulator]) -> str:
    """Context: the places, the number of the round's first piece, then what was captured, a word each."""
    code = Code(module)
    places = code.let("load ptr, ptr %context")
    place = _slot(code, "%context", "1")
    base = code.let(f"load i64, ptr {place}")
    operands = []
    for k, c in enumerate(captured):
        kind = c.type.split(" ")[0]
        place = _slot(code, "%context", str(k + 2))
        operands.append(f"{kind} {code.let(f'load {kind}, ptr {place}')}")
    index, inside = _counted(code, "%first", "%last")
    addresses = []
    for k, accumulator in enumerate(accumulators):
        row = code.let(f"mul i64 {index}, {len(accumulators)}")
        address = _slot(code, places, code.let(f"add i64 {row}, {k}"))
        code.do(f"store {accumulator.type} {accumulator.neutral}, ptr {address}")
        addresses.append(f"ptr {address}")
    piece = code.let(f"add i64 {base}, {index}")
    following = code.let(f"add i64 {piece}, 1")
    code.do(f"call void @{_part(name)}({_joined(f'i64 {piece}', f'i64 {following}', *operands, *addresses)})")
    inside()
    code.do("ret void")
    return code.text()


def _threads(module: Module, name: str, captured: Sequence[Captured], accumulators: Sequence[Accumulator]) -> str:
    code = Code(module)
    words = ROUND * max(1, len(accumulators))
    context = code.let(f"alloca [{len(captured) + 2} x i64], align 16", to=code.variables)
    places = code.let(f"alloca [{words} x i64], align {ALIGNMENT}", to=code.variables)
    code.do(f"store ptr {places}, ptr {context}")
    for k, c in enumerate(captured):
        kind = c.type.split(" ")[0]
        code.do(f"store {kind} {c.parameter}, ptr {_slot(code, context, str(k + 2))}")
    module.declare("llvm.smin.i64", "i64 @llvm.smin.i64(i64, i64)")
    module.declare(PARALLEL, f"void @{PARALLEL}(ptr, ptr, i64)")
    step = ROUND if accumulators else 1 << 62
    first, next_round = _counted(code, "0", "%count.", step)
    code.do(f"store i64 {first}, ptr {_slot(code, context, '1')}")
    left = code.let(f"sub i64 %count., {first}")
    pieces = code.let(f"call i64 @llvm.smin.i64(i64 {left}, i64 {step})")
    code.do(f"call void @{PARALLEL}(ptr @{_part(name, '.task')}, ptr {context}, i64 {pieces})")
    if accumulators:
        index, next_piece = _counted(code, "0", pieces)
        for k, a in enumerate(accumulators):
            row = code.let(f"mul i64 {index}, {len(accumulators)}")
            place = _slot(code, places, code.let(f"add i64 {row}, {k}"))
            part = code.let(f"load {a.type}, ptr {place}")
            total = code.let(f"load {a.type}, ptr %acc.{k}")
            code.do(f"store {a.type} {a.combine(code, total, part)}, ptr %acc.{k}")
        next_piece()
    next_round()
    code.do("ret void")
    return code.text()


def _counted(code: Code, first: str, last: str, step: int = 1) -> tuple[str, Callable[[], None]]:
    """Begin a loop from first to last: its index, and what ends its body."""
    head, body, latch, done, before = (*(code.fresh() for _ in range(4)), code.block)
    following = f"%{code.fresh()}"
    code.jump(head)
    code.start(head)
    index = code.let(f"phi i64 [ {first}, %{before} ], [ {following}, %{latch} ]")
    code.branch(code.let(f"icmp slt i64 {index}, {last}"), body, done)
    code.start(body)

    def end() -> None:
        code.jump(latch)
        code.start(latch)
        code.do(f"{following} = add i64 {index}, {step}")
        code.jump(head)
        code.start(done)

    return index, end
