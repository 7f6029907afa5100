"""LoopIR → LLVM text.

A ``lanes`` loop becomes explicit vector code. Which lanes run is a mask: the end of the loop, and branches
and inner loops on which lanes part, narrow it; a block that no lane would run is jumped over.

No fast-math flags, no contraction: the order of operations and the fused multiply-adds are those of the
LoopIR.
"""

from __future__ import annotations

from typing import Final, assert_never

from . import ir
from .interrupts import poll_text
from .ir import Block, Name, Stmt
from .llvm_builder import MEMORY, SCALAR, Code, Module, constant, quoted, type_of
from .llvm_expressions import Variable, both_sin_and_cos
from .llvm_loops import Loops, ends_with_break
from .llvm_memory import Buffer, Value, store_lanes, store_one
from .llvm_outline import MOST_PLACES, Accumulator, Captured, capture, private_scratch, threaded_loop
from .llvm_primitives import fused_multiply_add, select
from .llvm_reductions import add_log, combined, neutral
from .workspace import layout

LARGE: Final = 4000
"""Statements in a kernel beyond which compile time counts more than running time."""

CLOSED_FORM: Final = 800
"""Statements from which on straight-line code is large: between calls, the processor forgets it in decoded form."""

WORKSPACE: Final = "workspace."  # no parameter has a dot in its name


def emit(kernel: ir.Kernel, *, threads: bool = False) -> str:
    """The LLVM text of a valid kernel: one external function of the kernel's name, with the C ABI.

    The same kernel always gives the same text. It holds no addresses; outside functions are called by
    symbols, which `externs.resolve` makes known. ``threads``: long loops run in the pool of `threads`, which is
    such an outside function, and loops of unknown length can be interrupted; without, the text stands alone and gives
    the same bits.
    """
    module = Module()
    parts: list[str] = []
    polls = threads and any(isinstance(stmt, ir.While) for stmt in ir.statements(kernel.body))
    function = _Emitter(kernel, module, parts, threads, polls).function()
    return module.text([*([poll_text()] if polls else []), *parts, function])


def suggested_level(kernel: ir.Kernel) -> int:
    """The optimisation level that pays for a kernel that runs often.

    Lanes and straight-line code are emitted as they should run; loops inside loops, and those that run in order,
    gain from LLVM's loop passes, unless there is too much code in them. Large closed forms gain from becoming shorter,
    two neighbouring elements at a time, as long as they are one function.
    """
    if _is_closed_form(kernel):
        return 3
    size, in_order = 0, False
    for stmt in ir.statements(kernel.body):
        size += 1
        in_order = in_order or isinstance(stmt, ir.While) or (isinstance(stmt, ir.For) and stmt.kind == "serial")
    return 2 if in_order and size <= LARGE else 1


def _is_closed_form(kernel: ir.Kernel) -> bool:
    plain = all(isinstance(stmt, (ir.Let, ir.Store, ir.Alloc)) for stmt in kernel.body)
    return plain and CLOSED_FORM <= len(kernel.body) <= LARGE


class _Emitter(Loops):
    """Emits a kernel, statement by statement."""

    def __init__(self, kernel: ir.Kernel, module: Module, parts: list[str], threads: bool, polls: bool) -> None:
        super().__init__(module, polls)
        self.kernel, self.parts, self.threads = kernel, parts, threads
        self.sincos: frozenset[Name] = frozenset()

    def function(self) -> str:
        """The text of the kernel's function."""
        self.sincos = both_sin_and_cos(self.kernel.body)
        parameters = [self._parameter(parameter) for parameter in self.kernel.parameters]
        scratch, _ = layout(self.kernel.body)
        if scratch or self.kernel.workspace != 0:
            parameters.append(f"ptr noalias %{WORKSPACE}")
        for name, buffer in scratch.items():
            offset = self.dim(buffer.offset)
            pointer = self.code.let(f"getelementptr i8, ptr %{WORKSPACE}, i64 {offset}")
            self.buffers[name] = Buffer(pointer, buffer.dtype, buffer.copies)
        self.block(self.kernel.body, "")
        self.code.do("ret void")
        attributes = "#6" if _is_closed_form(self.kernel) else "#0"
        head = f"define void @{quoted(self.kernel.name)}({', '.join(parameters)}) {attributes}"
        return f"{head} {{\n{self.code.text()}\n}}"

    def _parameter(self, parameter: ir.Parameter) -> str:
        operand = f"%{quoted(parameter.name)}"
        if parameter.kind in ("array", "result"):
            self.buffers[parameter.name] = Buffer(operand, parameter.dtype)
            return f"ptr noalias{' readonly' if parameter.kind == 'array' else ''} {operand}"
        text = operand
        if parameter.dtype == "bool":
            text = self.code.let(f"icmp ne i8 {operand}, 0")
        self.values[parameter.name] = Value(text, parameter.dtype)
        return f"{MEMORY[parameter.dtype]} {operand}"

    # --- statements -----------------------------------------------------------------------------------------

    def block(self, block: Block, empty: str) -> bool:
        """Emit a block; whether lanes may have left a loop in it. If none stays, jump to ``empty``."""
        some_left = False
        for stmt in block:
            if not self._statement(stmt, empty):
                continue
            some_left = True
            if not isinstance(stmt, ir.Break):
                self._continue_with_the_rest(empty)
        return some_left

    def _continue_with_the_rest(self, empty: str) -> None:
        """Narrow the mask to the lanes that are still in the innermost loop."""
        active = self.loops[-1].active
        assert self.lanes is not None and active is not None
        width = self.lanes.width
        running = self.code.let(f"load <{width} x i1>, ptr {active}")
        self.lanes.mask = self.intersect(self.lanes.mask, running)
        rest = self.code.fresh()
        self.code.branch(self.code.any_lane(self.lanes.mask, width), rest, empty)
        self.code.start(rest)

    def _statement(self, stmt: Stmt, empty: str) -> bool:
        """Emit a statement; whether lanes may have left the innermost loop in it."""
        match stmt:
            case ir.Let():
                self.values[stmt.name] = self.value(stmt.value)
            case ir.Declare():
                self._declaration(stmt)
            case ir.Assign():
                self._assignment(stmt)
            case ir.Accumulate():
                self._accumulation(stmt)
            case ir.Store():
                self._store(stmt)
            case ir.Alloc():
                pass  # all scratch memory is laid out at the entry
            case ir.For():
                if stmt.kind == "lanes" and stmt.width > 1:
                    self.lanes_loop(stmt)
                elif stmt.kind == "parallel" and self.threads and self.lanes is None:
                    self._parallel_loop(stmt)
                elif stmt.descending:
                    self.descending_loop(stmt)
                else:
                    self.serial_loop(stmt)
            case ir.While():
                self.while_loop(stmt)
            case ir.If():
                return self._if(stmt)
            case ir.Section():
                self._section(stmt)
            case ir.Break():
                return self._break(empty)
            case ir.Call():
                self._call(stmt)
            case _:
                assert_never(stmt)
        return False

    def _declaration(self, stmt: ir.Declare) -> None:
        value = self.value(stmt.value)
        differs = self.lanes is not None and self.lanes.divergence.of_name(stmt.name)
        lanes = self.lanes.width if self.lanes is not None and differs else 1
        self.write(self.declare(stmt.name, value.dtype, lanes), self.at(value, lanes))

    def _assignment(self, stmt: ir.Assign) -> None:
        variable = self.variables[stmt.name]
        text = self.at(self.value(stmt.value), variable.lanes)
        if self.lanes is not None and variable.lanes > 1 and self.lanes.mask != self.lanes.step_mask:
            assert self.lanes.mask is not None
            before = self.read(variable).text
            text = select(self.code, self.lanes.mask, text, before, variable.dtype, variable.lanes)
        self.write(variable, text)

    def _accumulation(self, stmt: ir.Accumulate) -> None:
        variable = self.variables[stmt.name]
        lanes = variable.lanes
        if stmt.name in self.logs:
            return self._add_log(stmt, self.logs[stmt.name])
        kind = self.reductions[stmt.name]
        factors = ir.factors(stmt.value) if kind == "sum" else None
        operands = [self.at(self.value(e), lanes) for e in factors or (stmt.value,)]
        guard = None if stmt.guard is None else self.value(stmt.guard)
        before = self.read(variable).text
        if factors:
            after = fused_multiply_add(self.code, operands[0], operands[1], before, variable.dtype, lanes)
        else:
            after = combined(self.code, kind, before, operands[0], variable.dtype, lanes)
        mask = self.narrowed(guard) if lanes > 1 else guard.text if guard is not None else None
        if mask is not None:
            after = select(self.code, mask, after, before, variable.dtype, lanes)
        self.write(variable, after)

    def _add_log(self, stmt: ir.Accumulate, parts: list[Variable]) -> None:
        lanes = parts[0].lanes
        x = self.at(self.value(stmt.value), lanes)
        mask = self.narrowed(None if stmt.guard is None else self.value(stmt.guard))
        before = [self.read(part).text for part in parts]
        for part, old, new in zip(parts, before, add_log(self.code, before, x, lanes), strict=True):
            self.write(part, new if mask is None else select(self.code, mask, new, old, part.dtype, lanes))

    def _store(self, stmt: ir.Store) -> None:
        buffer, index, value = self.buffers[stmt.buffer], self.value(stmt.index), self.value(stmt.value)
        guard = None if stmt.guard is None else self.value(stmt.guard)
        if self.lanes is None or (
            index.uniform and value.uniform and buffer.copies == 1 and (guard is None or guard.uniform)
        ):
            if guard is None:
                store_one(self.code, buffer, index.text, value.text)
                return
            stores, after = self.code.fresh(), self.code.fresh()
            self.code.branch(guard.text, stores, after)
            self.code.start(stores)
            store_one(self.code, buffer, index.text, value.text)
            self.code.jump(after)
            self.code.start(after)
            return
        lanes = self.lanes.width
        store_lanes(self.code, buffer, index, self.at(value, lanes), self.narrowed(guard), lanes)

    def _call(self, stmt: ir.Call) -> None:
        arguments = []
        for argument in stmt.args:
            if isinstance(argument, str):
                arguments.append(("ptr", self.buffers[argument].pointer))
            else:
                value = self.value(argument)
                arguments.append(("i1 zeroext" if value.dtype == "bool" else SCALAR[value.dtype], value.text))
        symbol = quoted(stmt.symbol)
        self.code.module.declare(symbol, f"void @{symbol}({', '.join(type_ for type_, _ in arguments)})")
        self.code.do(f"call void @{symbol}({', '.join(f'{type_} {text}' for type_, text in arguments)})")

    # --- branches -------------------------------------------------------------------------------------------

    def _if(self, stmt: ir.If) -> bool:
        condition = self.value(stmt.condition)
        if condition.uniform:
            return self._uniform_if(stmt, condition.text)
        assert self.lanes is not None
        code, lanes = self.code, self.lanes
        before = lanes.mask
        then, otherwise, join = code.fresh(), code.fresh(), code.fresh()
        lanes.mask = self.intersect(before, condition.text)
        code.branch(code.any_lane(lanes.mask, lanes.width), then, otherwise)
        code.start(then)
        some_left = self._finish(stmt.then, otherwise)
        code.start(otherwise)
        if stmt.otherwise:
            runs = code.fresh()
            lanes.mask = self.exclude(before, condition.text)
            code.branch(code.any_lane(lanes.mask, lanes.width), runs, join)
            code.start(runs)
            some_left |= self._finish(stmt.otherwise, join)
        else:
            code.jump(join)
        code.start(join)
        lanes.mask = before
        return some_left

    def _uniform_if(self, stmt: ir.If, condition: str) -> bool:
        code = self.code
        before = self.lanes.mask if self.lanes is not None else None
        then, join = code.fresh(), code.fresh()
        otherwise = code.fresh() if stmt.otherwise else join
        code.branch(condition, then, otherwise)
        some_left = False
        for label, block in ((then, stmt.then), (otherwise, stmt.otherwise)):
            if label != join:
                code.start(label)
                some_left |= self._finish(block, join)
                if self.lanes is not None:
                    self.lanes.mask = before
        code.start(join)
        return some_left

    def _finish(self, block: Block, end: str) -> bool:
        """Emit a block and go to ``end``."""
        some_left = self.block(block, end)
        if not ends_with_break(block):
            self.code.jump(end)
        return some_left

    def _break(self, empty: str) -> bool:
        loop = self.loops[-1]
        if loop.active is None:
            self.code.jump(loop.exit)
            return False
        assert self.lanes is not None
        if self.lanes.mask is None:
            rest = "zeroinitializer"
        else:
            running = self.code.let(f"load <{self.lanes.width} x i1>, ptr {loop.active}")
            rest = self.exclude(running, self.lanes.mask)
        self.code.do(f"store <{self.lanes.width} x i1> {rest}, ptr {loop.active}")
        self.code.jump(empty)
        return True

    # --- parts ----------------------------------------------------------------------------------------------

    def _parallel_loop(self, stmt: ir.For) -> None:
        """A loop over pieces: a function of its own, which threads call."""
        part = _Emitter(self.kernel, self.code.module, self.parts, threads=False, polls=self.polls)
        scratch = private_scratch(part.code, stmt.body)
        if scratch is None or len(stmt.reductions) > MOST_PLACES:
            self.serial_loop(stmt)
            return
        part.buffers.update(scratch)
        accumulators = [self._accumulator(part, k, r) for k, r in enumerate(stmt.reductions)]
        captured = capture(self, part, self.kernel, stmt.body, (stmt.index, *(r.name for r in stmt.reductions)))
        name = f"{self.kernel.name}.{len(self.parts)}"
        part.serial_loop(stmt, "%first.", Value("%last.", "int64"))
        places = [f"ptr %acc.{k}" for k in range(len(accumulators))]
        self._add_part(part, name, ["i64 %first.", "i64 %last.", *_parameters(captured), *places])
        self.parts += threaded_loop(self.code, name, self.value(stmt.extent), captured, accumulators)

    def _section(self, stmt: ir.Section) -> None:
        """A function of its own."""
        part = _Emitter(self.kernel, self.code.module, self.parts, self.threads, self.polls)
        captured = capture(self, part, self.kernel, stmt.body)
        part.block(stmt.body, "")
        name = f"{self.kernel.name}.{len(self.parts)}"
        self._add_part(part, name, _parameters(captured))
        self.code.do(f"call void @{quoted(name)}({', '.join(f'{c.type.split()[0]} {c.operand}' for c in captured)})")

    def _accumulator(self, part: _Emitter, number: int, reduction: ir.Reduction) -> Accumulator:
        kind, dtype = reduction.kind, reduction.dtype

        def combine(code: Code, a: str, b: str) -> str:
            return combined(code, kind, a, b, dtype, 1)

        part.variables[reduction.name] = Variable(f"%acc.{number}", dtype)
        start = constant(neutral(kind, dtype), dtype)
        return Accumulator(type_of(dtype, 1), self.variables[reduction.name].address, start, combine)

    def _add_part(self, part: _Emitter, name: str, parameters: list[str]) -> None:
        part.code.do("ret void")
        head = f"define internal void @{quoted(name)}({', '.join(parameters)}) #5"
        self.parts.append(f"{head} {{\n{part.code.text()}\n}}")


def _parameters(captured: list[Captured]) -> list[str]:
    return [f"{c.type} {c.parameter}" for c in captured]
