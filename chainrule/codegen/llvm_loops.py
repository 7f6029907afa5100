"""Loops as LLVM text: in order, of unknown length, and in lanes, with the masks of the lanes that run."""

from __future__ import annotations

from abc import ABC, abstractmethod

from . import ir
from .divergence import divergence
from .interrupts import POLL, STEPS, STEPS_WITH_LOOPS
from .ir import Block, Name
from .llvm_builder import Module, constant, type_of
from .llvm_expressions import Expressions, Lanes, Loop, Variable
from .llvm_memory import Value
from .llvm_primitives import select
from .llvm_reductions import combined, neutral, total_of_logs, tree


class Loops(Expressions, ABC):
    """Emits loops of statements, which `block` emits."""

    def __init__(self, module: Module, polls: bool) -> None:
        super().__init__(module)
        self.polls = polls
        self.reductions: dict[Name, str] = {}
        self.logs: dict[Name, list[Variable]] = {}
        self.loops: list[Loop] = []

    @abstractmethod
    def block(self, block: Block, empty: str) -> bool:
        """Emit a block; whether lanes may have left a loop in it. If none stays, jump to ``empty``."""

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

    def serial_loop(self, stmt: ir.For, first: str = "0", last: Value | None = None) -> None:
        """In order, from ``first`` to ``last`` (default: all)."""
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

    def descending_loop(self, stmt: ir.For) -> None:
        """From the last index down; where lanes part, from the last one of any lane, and lanes come in later."""
        code = self.code
        self.reductions.update((reduction.name, reduction.kind) for reduction in stmt.reductions)
        extent = self.value(stmt.extent)
        mask = self.lanes.mask if self.lanes is not None else None
        lanes = 1 if extent.uniform or self.lanes is None else self.lanes.width
        limit = self.at(extent, lanes)
        most = limit
        if lanes > 1:
            if mask is not None:
                most = select(code, mask, limit, constant(0, "int64", lanes), "int64", lanes)
            most = code.largest(most, lanes)
        last = code.let(f"sub nsw i64 {most}, 1")
        loop = Loop(code.fresh())
        self.loops.append(loop)
        head, body, latch, before = code.fresh(), code.fresh(), code.fresh(), code.block
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        index = code.let(f"phi i64 [ {last}, %{before} ], [ {following}, %{latch} ]")
        self.values[stmt.index] = Value(index, "int64")
        code.branch(code.let(f"icmp sge i64 {index}, 0"), body, loop.exit)
        code.start(body)
        if self.lanes is not None and lanes > 1:
            inside = code.let(f"icmp slt {type_of('int64', lanes)} {code.splat(index, 'i64', lanes)}, {limit}")
            self.lanes.mask = self.intersect(mask, inside)
        self._finish_body(stmt.body, loop, latch)
        code.start(latch)
        code.do(f"{following} = sub nsw i64 {index}, 1")
        code.jump(head)
        self._leave(loop, mask)

    def while_loop(self, stmt: ir.While) -> None:
        """As long as its condition holds in some lane; each lane until it does not."""
        code = self.code
        mask = self.lanes.mask if self.lanes is not None else None
        loop = self._enter(stmt)
        head, body, before = code.fresh(), code.fresh(), code.block
        counts = bool(stmt.index) or self.polls
        latch, again = (code.fresh(), code.fresh()) if counts else (head, head)
        following = f"%{code.fresh()}"
        code.jump(head)
        code.start(head)
        if counts:
            index = code.let(f"phi i64 [ 0, %{before} ], [ {following}, %{again} ]")
            self.values[stmt.index] = Value(index, "int64")
        if self.lanes is not None and loop.active is not None:
            self.lanes.mask = code.let(f"load <{self.lanes.width} x i1>, ptr {loop.active}")
        self.block(stmt.head, loop.exit)
        self._keep_running(loop, self.value(stmt.condition), body)
        code.start(body)
        self._finish_body(stmt.body, loop, latch)
        if counts:
            code.start(latch)
            code.do(f"{following} = add nuw nsw i64 {index}, 1")
            if self.polls:
                self._poll(following, stmt.body)
            code.jump(again)
            code.start(again)
            code.jump(head)
        self._leave(loop, mask)

    def _poll(self, steps: str, body: Block) -> None:
        """Ends the function if the program was interrupted, which is asked once in many steps."""
        code = self.code
        holds_loops = any(isinstance(stmt, (ir.For, ir.While, ir.Call)) for stmt in ir.statements(body))
        last = code.let(f"and i64 {steps}, {(STEPS_WITH_LOOPS if holds_loops else STEPS) - 1}")
        ask, stop, go_on = code.fresh(), code.fresh(), code.fresh()
        code.branch(code.let(f"icmp eq i64 {last}, 0"), ask, go_on, rare=True)
        code.start(ask)
        code.branch(code.let(f"call i1 @{POLL}()"), stop, go_on, rare=True)
        code.start(stop)
        code.do("ret void")
        code.start(go_on)

    def _finish_body(self, body: Block, loop: Loop, again: str) -> None:
        self.block(body, loop.exit)
        if not ends_with_break(body):
            self.code.jump(again)

    # --- lanes ----------------------------------------------------------------------------------------------

    def lanes_loop(self, stmt: ir.For) -> None:
        """As many indices at once as it has lanes, the last of them masked; then the reductions over the lanes."""
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
        self.block(stmt.body, "")


def ends_with_break(block: Block) -> bool:
    """Whether what follows a block is not reached from its end."""
    return bool(block) and isinstance(block[-1], ir.Break)


def _first_lanes(count: int, width: int) -> str:
    return "<" + ", ".join(f"i1 {'true' if lane < count else 'false'}" for lane in range(width)) + ">"
