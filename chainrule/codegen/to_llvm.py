"""LoopIR → LLVM text.

Scalars are SSA values, declared variables are stack slots that LLVM's passes turn into registers. A ``lanes`` loop
becomes explicit vector code: what differs between lanes is a vector, what does not stays a scalar and is splat outside
the loop; an index that is affine in the lane stays the scalar of lane 0 and its stride, so that neighbours are read with
one load. Which lanes run is a mask: the end of the loop, branches and inner loops on which lanes part narrow it.

No fast-math flags, no contraction: the order of operations and the fused multiply-adds are those of the LoopIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from chainrule.graph.dim import Atom, Dim, Size
from . import ir, llvm_primitives
from .divergence import Divergence, divergence
from .ir import Block, DTypeName, Expr, Name, Stmt
from .llvm_builder import MEMORY, SCALAR, Code, Lines, Module, constant, is_float, literal_text, type_of
from .llvm_memory import Buffer, Value, load_lanes, load_one, spread, store_lanes, store_one
from .llvm_primitives import apply, convert, fused_multiply_add, select
from .workspace import layout

LANES: Final = 8
"""The width of a ``lanes`` loop that is best on most machines; short bodies of plain sums want twice as many."""

WORKSPACE: Final = "workspace"


def emit(kernel: ir.Kernel) -> str:
    """The LLVM text of a kernel: one external function of the kernel's name, with the C ABI. The kernel must be valid.

    The same kernel always gives the same text. It holds no addresses; outside functions are called by symbols, which
    `externs.resolve` makes known.
    """
    module = Module()
    return module.text([_Emitter(kernel, module).function()])


def suggested_level(kernel: ir.Kernel) -> int:
    """The optimisation level at which compiling the kernel pays.

    Long straight-line code takes more time in the optimiser than it ever gains; lanes are explicit, so that the higher
    levels find nothing in them; small scalar loops gain.
    """
    size = 0
    scalar_loop = False
    for stmt in ir.statements(kernel.body):
        size += 1
        if isinstance(stmt, ir.While) or (isinstance(stmt, ir.For) and stmt.kind != "lanes"):
            scalar_loop = True
    if size > 8000:
        return 0
    return 2 if scalar_loop and size < 500 else 1


# --- state ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Variable:
    """A stack slot; ``lanes`` > 1 where lanes have values of their own."""

    address: str
    dtype: DTypeName
    lanes: int = 1


@dataclass(slots=True)
class _Loop:
    """A loop that ``Break`` may leave: where to go on after it, and the address of its running lanes if lanes part in it."""

    exit: str
    active: str | None = None


@dataclass(slots=True)
class _Lanes:
    """The ``lanes`` loop being emitted. ``mask``: the lanes that run (None: all of them)."""

    width: int
    divergence: Divergence
    hoisted: Lines
    start: int
    mask: str | None = None
    step_mask: str | None = None
    splats: dict[str, str] = field(default_factory=dict)


_COMBINE: Final = {
    "sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "any": "logical_or", "all": "logical_and",
}  # fmt: skip


def _neutral(kind: str, dtype: DTypeName) -> float:
    """What a reduction starts from in each lane; −0.0, not 0.0, leaves every float as it is."""
    match kind:
        case "sum":
            return -0.0 if is_float(dtype) else 0
        case "prod" | "all":
            return 1
        case "any":
            return 0
    if is_float(dtype):
        return float("inf") if kind == "min" else float("-inf")
    bits = 63 if dtype == "int64" else 31
    return (1 << bits) - 1 if kind == "min" else -(1 << bits)


class _Emitter:
    def __init__(self, kernel: ir.Kernel, module: Module) -> None:
        self.kernel = kernel
        self.code = Code(module)
        self.values: dict[Name, Value] = {}
        self.variables: dict[Name, _Variable] = {}
        self.reductions: dict[Name, str] = {}
        self.buffers: dict[Name, Buffer] = {}
        self.loops: list[_Loop] = []
        self.lanes: _Lanes | None = None

    def function(self) -> str:
        """The text of the kernel's function."""
        parameters = [self._parameter(parameter) for parameter in self.kernel.parameters]
        scratch, _ = layout(self.kernel.body)
        if scratch or self.kernel.workspace != 0:
            parameters.append(f"ptr noalias %{WORKSPACE}")
        for name, buffer in scratch.items():
            offset = self._dim(buffer.offset)
            pointer = self.code.let(f"getelementptr i8, ptr %{WORKSPACE}, i64 {offset}")
            self.buffers[name] = Buffer(pointer, buffer.dtype, buffer.copies)
        self._block(self.kernel.body, "")
        self.code.do("ret void")
        return f"define void @{_quoted(self.kernel.name)}({', '.join(parameters)}) #0 {{\n{self.code.text()}\n}}"

    def _parameter(self, parameter: ir.Parameter) -> str:
        operand = f"%{_quoted(parameter.name)}"
        if parameter.kind in ("array", "result"):
            self.buffers[parameter.name] = Buffer(operand, parameter.dtype)
            return f"ptr noalias{' readonly' if parameter.kind == 'array' else ''} {operand}"
        text = operand
        if parameter.dtype == "bool":
            text = self.code.let(f"icmp ne i8 {operand}, 0")
        self.values[parameter.name] = Value(text, parameter.dtype)
        return f"{MEMORY[parameter.dtype]} {operand}"

    def _dim(self, dim: Dim) -> str:
        """A size as an ``i64`` operand."""
        if not isinstance(dim, Size):
            return str(dim)
        total = "0"
        for monomial, coefficient in dim.terms:
            product = str(coefficient)
            for atom in monomial:
                product = self._integer("mul", product, self._atom(atom))
            total = self._integer("add", total, product)
        return total

    def _atom(self, atom: Atom) -> str:
        if atom.kind == "name":
            return self.values[atom.name].text
        name = {"//": "floordiv", "%": "mod", "min": "minimum", "max": "maximum"}[atom.kind]
        return self._integer(name, self._dim(atom.left), self._dim(atom.right))

    def _integer(self, name: str, a: str, b: str) -> str:
        return apply(self.code, name, [a, b], ["int64", "int64"], "int64", 1)

    # --- expressions ------------------------------------------------------------------------------------------------------

    def value(self, root: Expr) -> Value:
        """Emit an expression, innermost parts first, without recursion."""
        if isinstance(root, (ir.Var, ir.Literal)):
            return self._leaf(root)
        pending: list[tuple[Expr, bool]] = [(root, False)]
        values: list[Value] = []
        while pending:
            expr, ready = pending.pop()
            if isinstance(expr, (ir.Var, ir.Literal)):
                values.append(self._leaf(expr))
                continue
            parts = ir.operands(expr)
            if ready:
                first = len(values) - len(parts)
                arguments = values[first:]
                del values[first:]
                values.append(self._combine(expr, arguments))
            else:
                pending.append((expr, True))
                pending.extend((part, False) for part in reversed(parts))
        return values[0]

    def _leaf(self, expr: ir.Var | ir.Literal) -> Value:
        if isinstance(expr, ir.Literal):
            return Value(literal_text(expr), expr.dtype)
        variable = self.variables.get(expr.name)
        return self.values[expr.name] if variable is None else self._read(variable)

    def _combine(self, expr: Expr, arguments: list[Value]) -> Value:
        match expr:
            case ir.Load():
                return self._load(expr, arguments)
            case ir.Apply():
                return self._apply(expr, arguments)
            case ir.Fma():
                lanes = self._common_lanes(arguments)
                a, b, c = (self._at(value, lanes) for value in arguments)
                return Value(fused_multiply_add(self.code, a, b, c, expr.dtype, lanes), expr.dtype, lanes)
            case ir.Cast():
                (given,) = arguments
                if given.dtype == expr.dtype:
                    return given
                lanes = self._common_lanes(arguments)
                return Value(convert(self.code, self._at(given, lanes), given.dtype, expr.dtype, lanes), expr.dtype, lanes)
            case ir.Var() | ir.Literal():
                return self._leaf(expr)
            case _:
                assert_never(expr)

    def _apply(self, expr: ir.Apply, arguments: list[Value]) -> Value:
        stride = _stride(expr.name, arguments)
        lanes = 1 if stride is not None else self._common_lanes(arguments)
        operands = [value.text if stride is not None else self._at(value, lanes) for value in arguments]
        text = apply(self.code, expr.name, operands, [value.dtype for value in arguments], expr.dtype, lanes)
        return Value(text, expr.dtype, lanes, stride or 0)

    def _common_lanes(self, arguments: Sequence[Value]) -> int:
        if self.lanes is None or all(value.uniform for value in arguments):
            return 1
        return self.lanes.width

    def _at(self, value: Value, lanes: int) -> str:
        """The operand with a number of lanes. What comes from before the loop is splat before the loop, once."""
        if value.lanes == lanes:
            return value.text
        state = self.lanes
        assert state is not None
        if value.is_constant or value.stride or not self.code.is_before(value.text, state.start):
            return spread(self.code, value, lanes)
        if value.text not in state.splats:
            state.splats[value.text] = spread(self.code, value, lanes, to=state.hoisted)
        return state.splats[value.text]

    def _load(self, expr: ir.Load, arguments: list[Value]) -> Value:
        buffer, index = self.buffers[expr.buffer], arguments[0]
        guard = arguments[1] if len(arguments) > 1 else None
        if self.lanes is None or (index.uniform and buffer.copies == 1 and (guard is None or guard.uniform)):
            return Value(load_one(self.code, buffer, index.text, guard.text if guard else None), buffer.dtype)
        lanes = self.lanes.width
        mask = self._narrowed(guard)
        if index.uniform and buffer.copies == 1:
            assert mask is not None
            loaded = load_one(self.code, buffer, index.text, self.code.any_lane(mask, lanes))
            zero = constant(0, buffer.dtype, lanes)
            every = spread(self.code, Value(loaded, buffer.dtype), lanes)
            return Value(select(self.code, mask, every, zero, buffer.dtype, lanes), buffer.dtype, lanes)
        return Value(load_lanes(self.code, buffer, index, mask, lanes), buffer.dtype, lanes)

    # --- masks and variables ----------------------------------------------------------------------------------------------

    def _narrowed(self, guard: Value | None) -> str | None:
        """The mask of the running lanes for which a guard holds."""
        assert self.lanes is not None
        if guard is None:
            return self.lanes.mask
        return self._and(self.lanes.mask, self._at(guard, self.lanes.width))

    def _and(self, mask: str | None, other: str) -> str:
        assert self.lanes is not None
        return other if mask is None else self.code.let(f"and <{self.lanes.width} x i1> {mask}, {other}")

    def _and_not(self, mask: str | None, other: str) -> str:
        assert self.lanes is not None
        width = self.lanes.width
        flipped = self.code.let(f"xor <{width} x i1> {other}, {constant(True, 'bool', width)}")
        return self._and(mask, flipped)

    def _declare(self, name: Name, dtype: DTypeName, lanes: int) -> _Variable:
        variable = _Variable(self.code.variable(type_of(dtype, lanes)), dtype, lanes)
        self.variables[name] = variable
        return variable

    def _read(self, variable: _Variable) -> Value:
        text = self.code.let(f"load {type_of(variable.dtype, variable.lanes)}, ptr {variable.address}")
        return Value(text, variable.dtype, variable.lanes)

    def _write(self, variable: _Variable, text: str) -> None:
        self.code.do(f"store {type_of(variable.dtype, variable.lanes)} {text}, ptr {variable.address}")

    # --- statements -------------------------------------------------------------------------------------------------------

    def _block(self, block: Block, empty: str) -> bool:
        """Emit a block; whether lanes may have left a loop in it. Where no lane is left, go to the block ``empty``."""
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
        self.lanes.mask = self._and(self.lanes.mask, running)
        rest = self.code.fresh()
        self.code.branch(self.code.any_lane(self.lanes.mask, width), rest, empty)
        self.code.start(rest)

    def _statement(self, stmt: Stmt, empty: str) -> bool:
        """Emit a statement; whether some, but not surely all, lanes may have left the innermost loop in it."""
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
                else:
                    self._serial_loop(stmt)
            case ir.While():
                self._while(stmt)
            case ir.If():
                return self._if(stmt)
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
        self._write(self._declare(stmt.name, value.dtype, lanes), self._at(value, lanes))

    def _assignment(self, stmt: ir.Assign) -> None:
        variable = self.variables[stmt.name]
        text = self._at(self.value(stmt.value), variable.lanes)
        if self.lanes is not None and variable.lanes > 1 and self.lanes.mask != self.lanes.step_mask:
            assert self.lanes.mask is not None
            before = self._read(variable).text
            text = select(self.code, self.lanes.mask, text, before, variable.dtype, variable.lanes)
        self._write(variable, text)

    def _accumulation(self, stmt: ir.Accumulate) -> None:
        variable = self.variables[stmt.name]
        lanes = variable.lanes
        value = self._at(self.value(stmt.value), lanes)
        guard = None if stmt.guard is None else self.value(stmt.guard)
        before = self._read(variable).text
        after = self._combined(self.reductions[stmt.name], before, value, variable.dtype, lanes)
        mask = self._narrowed(guard) if lanes > 1 else guard.text if guard is not None else None
        if mask is not None:
            after = select(self.code, mask, after, before, variable.dtype, lanes)
        self._write(variable, after)

    def _combined(self, kind: str, a: str, b: str, dtype: DTypeName, lanes: int) -> str:
        return apply(self.code, _COMBINE[kind], [a, b], [dtype, dtype], dtype, lanes)

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
        store_lanes(self.code, buffer, index, self._at(value, lanes), self._narrowed(guard), lanes)

    def _call(self, stmt: ir.Call) -> None:
        arguments = []
        for argument in stmt.args:
            if isinstance(argument, str):
                arguments.append(("ptr", self.buffers[argument].pointer))
            else:
                value = self.value(argument)
                arguments.append(("i1 zeroext" if value.dtype == "bool" else SCALAR[value.dtype], value.text))
        symbol = _quoted(stmt.symbol)
        self.code.module.declare(symbol, f"void @{symbol}({', '.join(type_ for type_, _ in arguments)})")
        self.code.do(f"call void @{symbol}({', '.join(f'{type_} {text}' for type_, text in arguments)})")

    # --- branches ---------------------------------------------------------------------------------------------------------

    def _if(self, stmt: ir.If) -> bool:
        condition = self.value(stmt.condition)
        if condition.uniform:
            return self._uniform_if(stmt, condition.text)
        assert self.lanes is not None
        code, lanes = self.code, self.lanes
        before = lanes.mask
        then, otherwise, join = code.fresh(), code.fresh(), code.fresh()
        lanes.mask = self._and(before, condition.text)
        code.branch(code.any_lane(lanes.mask, lanes.width), then, otherwise)
        code.start(then)
        some_left = self._finish(stmt.then, otherwise)
        code.start(otherwise)
        if stmt.otherwise:
            runs = code.fresh()
            lanes.mask = self._and_not(before, condition.text)
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
            rest = self._and_not(running, self.lanes.mask)
        self.code.do(f"store <{self.lanes.width} x i1> {rest}, ptr {loop.active}")
        self.code.jump(empty)
        return True

    # --- loops ------------------------------------------------------------------------------------------------------------

    def _enter(self, stmt: ir.For | ir.While) -> _Loop:
        """Begin a loop that ``Break`` may leave; if lanes part in it, all that run now are in it."""
        loop = _Loop(self.code.fresh())
        lanes = self.lanes
        if lanes is not None and lanes.divergence.of_statement(stmt):
            loop.active = self.code.variable(f"<{lanes.width} x i1>")
            running = lanes.mask or constant(True, "bool", lanes.width)
            self.code.do(f"store <{lanes.width} x i1> {running}, ptr {loop.active}")
        self.loops.append(loop)
        return loop

    def _leave(self, loop: _Loop, mask: str | None) -> None:
        self.loops.pop()
        self.code.start(loop.exit)
        if self.lanes is not None:
            self.lanes.mask = mask

    def _keep_running(self, loop: _Loop, condition: Value, body: str) -> None:
        """Go on with the lanes for which a condition holds, or leave the loop."""
        code = self.code
        if loop.active is None:
            code.branch(condition.text, body, loop.exit)
            return
        assert self.lanes is not None
        width = self.lanes.width
        running = code.let(f"load <{width} x i1>, ptr {loop.active}")
        running = self._and(running, self._at(condition, width))
        code.do(f"store <{width} x i1> {running}, ptr {loop.active}")
        self.lanes.mask = running
        code.branch(code.any_lane(running, width), body, loop.exit)

    def _serial_loop(self, stmt: ir.For) -> None:
        code = self.code
        self.reductions.update((reduction.name, reduction.kind) for reduction in stmt.reductions)
        extent = self.value(stmt.extent)
        mask = self.lanes.mask if self.lanes is not None else None
        loop = self._enter(stmt)
        head, body, latch, before = code.fresh(), code.fresh(), code.fresh(), code.block
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        index = code.let(f"phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        self.values[stmt.index] = Value(index, "int64")
        lanes = 1 if extent.uniform or self.lanes is None else self.lanes.width
        limit, place = self._at(extent, lanes), self._at(Value(index, "int64"), lanes)
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

    def _finish_body(self, body: Block, loop: _Loop, again: str) -> None:
        self._block(body, loop.exit)
        if not _ends_with_break(body):
            self.code.jump(again)

    def _lanes_loop(self, stmt: ir.For) -> None:
        code, width = self.code, stmt.width
        extent = self.value(stmt.extent)
        accumulators = self._accumulators(stmt)
        self.lanes = _Lanes(width, divergence(stmt), code.open_place(), code.position)
        count = int(extent.text) if extent.is_constant else None
        if count is not None and count <= width:
            if count > 0:
                self._step(stmt, "0", None if count == width else _first_lanes(count, width))
        else:
            full = count is not None and count % width == 0
            self._steps(stmt, extent.text, masked=not full)
        self.lanes = None
        for reduction, (outer, inner) in zip(stmt.reductions, accumulators, strict=True):
            self.variables[reduction.name] = outer
            total = self._tree(reduction, self._read(inner).text, width)
            before = self._read(outer).text
            self._write(outer, self._combined(reduction.kind, before, total, reduction.dtype, 1))

    def _accumulators(self, stmt: ir.For) -> list[tuple[_Variable, _Variable]]:
        """For each reduction of a ``lanes`` loop the variable and the one that has a value for each lane."""
        pairs = []
        for reduction in stmt.reductions:
            self.reductions[reduction.name] = reduction.kind
            outer = self.variables[reduction.name]
            inner = self._declare(reduction.name, reduction.dtype, stmt.width)
            start = constant(_neutral(reduction.kind, reduction.dtype), reduction.dtype, stmt.width)
            self._write(inner, start)
            pairs.append((outer, inner))
        return pairs

    def _steps(self, stmt: ir.For, extent: str, masked: bool) -> None:
        """The loop over steps of ``width`` indices; ``masked``: the last one may be short."""
        code, width = self.code, stmt.width
        head, body, latch, done, before = (*(code.fresh() for _ in range(4)), code.block)
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        index = code.let(f"phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        code.branch(code.let(f"icmp slt i64 {index}, {extent}"), body, done)
        code.start(body)
        mask = None
        if masked:
            left = code.splat(code.let(f"sub i64 {extent}, {index}"), "i64", width)
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

    def _tree(self, reduction: ir.Reduction, vector: str, width: int) -> str:
        """All lanes combined: lane k with lane k + width/2, again and again."""
        dtype = reduction.dtype
        while width > 1:
            half = width // 2
            halves = []
            for first in (0, half):
                places = ", ".join(f"i32 {lane}" for lane in range(first, first + half))
                halves.append(
                    self.code.let(
                        f"shufflevector {type_of(dtype, width)} {vector}, {type_of(dtype, width)} poison, "
                        f"<{half} x i32> <{places}>"
                    )
                    if half > 1
                    else self.code.let(f"extractelement {type_of(dtype, width)} {vector}, i32 {first}")
                )
            vector = self._combined(reduction.kind, halves[0], halves[1], dtype, half)
            width = half
        return vector


def _ends_with_break(block: Block) -> bool:
    return bool(block) and isinstance(block[-1], ir.Break)


def _first_lanes(count: int, width: int) -> str:
    return "<" + ", ".join(f"i1 {'true' if lane < count else 'false'}" for lane in range(width)) + ">"


def _stride(name: str, arguments: Sequence[Value]) -> int | None:
    """The stride of an integer result that is affine in the lane, where that is plain to see; None if it is not."""
    if all(value.stride == 0 for value in arguments) or any(v.lanes > 1 or v.dtype != "int64" for v in arguments):
        return None
    strides = [value.stride for value in arguments]
    match name:
        case "add":
            return strides[0] + strides[1]
        case "sub":
            return strides[0] - strides[1]
        case "neg":
            return -strides[0]
        case "mul":
            for factor, other in (arguments, arguments[::-1]):
                if factor.is_constant:
                    return int(factor.text) * other.stride
    return None


def _quoted(name: str) -> str:
    """A name as LLVM spells it."""
    plain = name.replace("_", "").replace(".", "").isalnum() and name.isascii() and not name[0].isdigit()
    return name if plain and not name.startswith(".") else '"' + "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\{byte:02X}" for byte in name.encode()
    ) + '"'
