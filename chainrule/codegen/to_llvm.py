"""LoopIR → LLVM text.

A ``lanes`` loop becomes explicit vector code. Which lanes run is a mask: the end of the loop, and branches
and inner loops on which lanes part, narrow it; a block that no lane would run is jumped over.

No fast-math flags, no contraction: the order of operations and the fused multiply-adds are those of the
LoopIR.
"""

from __future__ import annotations

from typing import Final, assert_never

from . import ir
from .divergence import divergence
from .ir import Block, Name, Stmt
from .llvm_builder import MEMORY, SCALAR, Code, Module, constant, quoted, type_of
from .llvm_expressions import Expressions, Lanes, Loop, Variable, both_sin_and_cos
from .llvm_memory import Buffer, Value, store_lanes, store_one
from .llvm_outline import MOST_PLACES, Accumulator, Captured, capture, private_scratch, threaded_loop
from .llvm_primitives import fused_multiply_add, select
from .llvm_reductions import add_log, combined, neutral, total_of_logs, tree
from .workspace import layout

LARGE: Final = 4000
"""Statements in a kernel beyond which compile time counts more than running time."""

WORKSPACE: Final = "workspace."  # no parameter has a dot in its name


def emit(kernel: ir.Kernel, *, threads: bool = False) -> str:
    """The LLVM text of a valid kernel: one external function of the kernel's name, with the C ABI.

    The same kernel always gives the same text. It holds no addresses; outside functions are called by
    symbols, which `externs.resolve` makes known. ``threads``: long loops run in the pool of `threads`, which is
    such an outside function; without, the text stands alone and gives the same bits.
    """
    module = Module()
    parts: list[str] = []
    function = _Emitter(kernel, module, parts, threads).function()
    return module.text([*parts, function])


def suggested_level(kernel: ir.Kernel) -> int:
    """The optimisation level that pays for a kernel that runs often.

    Lanes and straight-line code are emitted as they should run; loops inside loops, and those that run in order,
    gain from LLVM's loop passes, unless there is too much code in them.
    """
    size, in_order = 0, False
    for stmt in ir.statements(kernel.body):
        size += 1
        in_order = in_order or isinstance(stmt, ir.While) or (isinstance(stmt, ir.For) and stmt.kind == "serial")
    return 2 if in_order and size <= LARGE else 1


class _Emitter(Expressions):
    """Emits a kernel, statement by statement."""

    def __init__(self, kernel: ir.Kernel, module: Module, parts: list[str], threads: bool) -> None:
        super().__init__(module)
        self.kernel, self.parts, self.threads = kernel, parts, threads
        self.reductions: dict[Name, str] = {}
        self.logs: dict[Name, list[Variable]] = {}
        self.loops: list[Loop] = []
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
        self._block(self.kernel.body, "")
        self.code.do("ret void")
        return (
            f"define void @{quoted(self.kernel.name)}({', '.join(parameters)}) #0 {{\n{self.code.text()}\n}}"
        )

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

    def _block(self, block: Block, empty: str) -> bool:
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
                    self._lanes_loop(stmt)
                elif stmt.kind == "parallel" and self.threads and self.lanes is None:
                    self._parallel_loop(stmt)
                else:
                    self._serial_loop(stmt)
            case ir.While():
                self._while(stmt)
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
        some_left = self._block(block, end)
        if not _ends_with_break(block):
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

    # --- loops ----------------------------------------------------------------------------------------------

    def _enter(self, stmt: ir.For | ir.While) -> Loop:
        """Begin a loop that ``Break`` may leave; if lanes part in it, all that run now are in it."""
        loop = Loop(self.code.fresh())
        lanes = self.lanes
        if lanes is not None and lanes.divergence.of_statement(stmt):
            loop.active = self.code.variable(f"<{lanes.width} x i1>")
            running = lanes.mask or constant(True, "bool", lanes.width)
            self.code.do(f"store <{lanes.width} x i1> {running}, ptr {loop.active}")
        self.loops.append(loop)
        return loop

    def _leave(self, loop: Loop, mask: str | None) -> None:
        self.loops.pop()
        self.code.start(loop.exit)
        if self.lanes is not None:
            self.lanes.mask = mask

    def _keep_running(self, loop: Loop, condition: Value, body: str) -> None:
        """Go on with the lanes for which a condition holds, or leave the loop."""
        code = self.code
        if loop.active is None:
            code.branch(condition.text, body, loop.exit)
            return
        assert self.lanes is not None
        width = self.lanes.width
        running = code.let(f"load <{width} x i1>, ptr {loop.active}")
        running = self.intersect(running, self.at(condition, width))
        code.do(f"store <{width} x i1> {running}, ptr {loop.active}")
        self.lanes.mask = running
        code.branch(code.any_lane(running, width), body, loop.exit)

    def _serial_loop(self, stmt: ir.For, first: str = "0", last: Value | None = None) -> None:
        code = self.code
        self.reductions.update((reduction.name, reduction.kind) for reduction in stmt.reductions)
        extent = last or self.value(stmt.extent)
        mask = self.lanes.mask if self.lanes is not None else None
        loop = self._enter(stmt)
        head, body, latch, before = code.fresh(), code.fresh(), code.fresh(), code.block
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        index = code.let(f"phi i64 [ {first}, %{before} ], [ {following}, %{latch} ]")
        self.values[stmt.index] = Value(index, "int64")
        lanes = 1 if extent.uniform or self.lanes is None else self.lanes.width
        limit, place = self.at(extent, lanes), self.at(Value(index, "int64"), lanes)
        inside = code.let(f"icmp slt {type_of('int64', lanes)} {place}, {limit}")
        self._keep_running(loop, Value(inside, "bool", lanes), body)
        code.start(body)
        self._finish_body(stmt.body, loop, latch)
        code.start(latch)
        code.do(f"{following} = add nuw nsw i64 {index}, 1")
        code.jump(head)
        self._leave(loop, mask)

    def _while(self, stmt: ir.While) -> None:
        code = self.code
        mask = self.lanes.mask if self.lanes is not None else None
        loop = self._enter(stmt)
        head, body = code.fresh(), code.fresh()
        code.jump(head)
        code.start(head)
        if self.lanes is not None and loop.active is not None:
            self.lanes.mask = code.let(f"load <{self.lanes.width} x i1>, ptr {loop.active}")
        self._block(stmt.head, loop.exit)
        self._keep_running(loop, self.value(stmt.condition), body)
        code.start(body)
        self._finish_body(stmt.body, loop, head)
        self._leave(loop, mask)

    def _finish_body(self, body: Block, loop: Loop, again: str) -> None:
        self._block(body, loop.exit)
        if not _ends_with_break(body):
            self.code.jump(again)

    # --- parts ----------------------------------------------------------------------------------------------

    def _parallel_loop(self, stmt: ir.For) -> None:
        """A loop over pieces: a function of its own, which threads call."""
        part = _Emitter(self.kernel, self.code.module, self.parts, threads=False)
        scratch = private_scratch(part.code, stmt.body)
        if scratch is None or len(stmt.reductions) > MOST_PLACES:
            self._serial_loop(stmt)
            return
        part.buffers.update(scratch)
        accumulators = [self._accumulator(part, k, r) for k, r in enumerate(stmt.reductions)]
        captured = capture(self, part, self.kernel, stmt.body, (stmt.index, *(r.name for r in stmt.reductions)))
        name = f"{self.kernel.name}.{len(self.parts)}"
        part._serial_loop(stmt, "%first.", Value("%last.", "int64"))
        places = [f"ptr %acc.{k}" for k in range(len(accumulators))]
        self._add_part(part, name, ["i64 %first.", "i64 %last.", *_parameters(captured), *places])
        self.parts += threaded_loop(self.code, name, self.value(stmt.extent), captured, accumulators)

    def _section(self, stmt: ir.Section) -> None:
        """A function of its own."""
        part = _Emitter(self.kernel, self.code.module, self.parts, self.threads)
        captured = capture(self, part, self.kernel, stmt.body)
        part._block(stmt.body, "")
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

    # --- lanes ----------------------------------------------------------------------------------------------

    def _lanes_loop(self, stmt: ir.For) -> None:
        code = self.code
        extent = self.value(stmt.extent)
        count = int(extent.text) if extent.is_constant else None
        width = stmt.width
        if count is not None and count < width:  # lanes that never run change nothing, so they can be left out
            width = max(2, 1 << (count - 1).bit_length())
        accumulators = self._accumulators(stmt, width)
        self.lanes = Lanes(width, divergence(stmt), code.open_place(), code.position)
        if count is not None and count <= width:
            if count > 0:
                self._step(stmt, "0", None if count == width else _first_lanes(count, width))
        else:
            self._steps(stmt, extent.text, masked=count is None or count % width != 0)
        self.lanes = None
        for reduction, (outer, inner) in zip(stmt.reductions, accumulators, strict=True):
            self.variables[reduction.name] = outer
            parts = [self.read(part).text for part in self.logs.pop(reduction.name, [inner])]
            value = parts[0] if len(parts) == 1 else total_of_logs(self.code, parts, width)
            total = tree(self.code, reduction, value, width)
            before = self.read(outer).text
            self.write(outer, combined(self.code, reduction.kind, before, total, reduction.dtype, 1))

    def _accumulators(self, stmt: ir.For, width: int) -> list[tuple[Variable, Variable]]:
        """For each reduction of a ``lanes`` loop the variable and the one that has a value for each lane."""
        pairs = []
        for reduction in stmt.reductions:
            self.reductions[reduction.name] = reduction.kind
            outer = self.variables[reduction.name]
            inner = self.declare(reduction.name, reduction.dtype, width)
            start = constant(neutral(reduction.kind, reduction.dtype), reduction.dtype, width)
            self.write(inner, start)
            if reduction.kind == "sum_of_logs":
                self.logs[reduction.name] = self._parts_of_logs(reduction.name, width)
            pairs.append((outer, inner))
        return pairs

    def _parts_of_logs(self, name: Name, width: int) -> list[Variable]:
        """Product, low part and exponent of each lane."""
        parts = [self.declare(f"{name}.{part}", "float64", width) for part in ("product", "low", "exponent")]
        for part, start in zip(parts, (1.0, 0.0, 0.0), strict=True):
            self.write(part, constant(start, "float64", width))
        return parts

    def _steps(self, stmt: ir.For, extent: str, masked: bool) -> None:
        """The loop over steps of as many indices as lanes; ``masked``: the last one may be short."""
        assert self.lanes is not None
        code, width = self.code, self.lanes.width
        head, body, latch, done, before = (*(code.fresh() for _ in range(4)), code.block)
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        index = code.let(f"phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        code.branch(code.let(f"icmp slt i64 {index}, {extent}"), body, done)
        code.start(body)
        mask = None
        if masked:
            rest = code.let(f"sub i64 {extent}, {index}")
            self.lanes.whole = code.let(f"icmp sge i64 {rest}, {width}")
            left = code.splat(rest, "i64", width)
            places = ", ".join(f"i64 {lane}" for lane in range(width))
            mask = code.let(f"icmp sgt <{width} x i64> {left}, <{places}>")
        self._step(stmt, index, mask)
        code.jump(latch)
        code.start(latch)
        code.do(f"{following} = add nuw nsw i64 {index}, {width}")
        code.jump(head)
        code.start(done)

    def _step(self, stmt: ir.For, index: str, mask: str | None) -> None:
        assert self.lanes is not None
        self.lanes.mask = self.lanes.step_mask = mask
        self.values[stmt.index] = Value(index, "int64", 1, 1)
        self._block(stmt.body, "")


def _parameters(captured: list[Captured]) -> list[str]:
    return [f"{c.type} {c.parameter}" for c in captured]


def _ends_with_break(block: Block) -> bool:
    return bool(block) and isinstance(block[-1], ir.Break)


def _first_lanes(count: int, width: int) -> str:
    return "<" + ", ".join(f"i1 {'true' if lane < count else 'false'}" for lane in range(width)) + ">"
