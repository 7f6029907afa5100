"""Checks that a kernel keeps what `ir` says, so that emitters need not.

A kernel that fails is a mistake of the compiler, never of the user's program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, assert_never

from chainrule.graph import dim as dims
from chainrule.graph.scalar import PRIMITIVES

from . import ir
from .ir import Block, DTypeName, Expr, Name, Stmt
from .workspace import layout

DTYPES: Final = ("bool", "int32", "int64", "float32", "float64")
BITS: Final[dict[DTypeName, int]] = {"bool": 1, "int32": 32, "int64": 64, "float32": 32, "float64": 64}
KIND: Final[dict[DTypeName, str]] = {"bool": "b", "int32": "i", "int64": "i", "float32": "f", "float64": "f"}


class VerifyError(AssertionError):
    """A kernel that is not valid LoopIR: what is wrong, and the statement."""


def verify(kernel: ir.Kernel) -> None:
    """Raise `VerifyError` unless the kernel is valid.

    >>> verify(ir.Kernel("nothing", (), ()))
    >>> verify(ir.Kernel("k", (), (ir.Let("a", ir.Var("b", "bool")),)))
    Traceback (most recent call last):
    chainrule.codegen.verify.VerifyError: kernel k: 'b' is not bound here, in Let(name='a', value=Var(...
    """
    _Checker(kernel).run()


@dataclass(slots=True)
class _Name:
    """What a name stands for; ``loops`` counts the ``lanes`` and ``parallel`` loops around it."""

    role: Literal["value", "variable", "array", "result", "scratch"]
    dtype: DTypeName
    loops: int = 0


class _Checker:
    def __init__(self, kernel: ir.Kernel) -> None:
        self.kernel = kernel
        self.used: set[Name] = set()
        self.visible: dict[Name, _Name] = {}
        self.loops: list[ir.For | ir.While] = []
        self.reduced: dict[Name, ir.For] = {}
        self.statement: Stmt | None = None

    def fail(self, message: str) -> NoReturn:
        where = "" if self.statement is None else f", in {_shortened(repr(self.statement))}"
        raise VerifyError(f"kernel {self.kernel.name}: {message}{where}")

    def require(self, condition: bool, message: str) -> None:
        if not condition:
            self.fail(message)

    def run(self) -> None:
        """Check everything."""
        self.require(
            self.kernel.name.isascii() and self.kernel.name.isidentifier(), "its name is not one in C"
        )
        for parameter in self.kernel.parameters:
            role = {"array": "array", "result": "result"}.get(parameter.kind, "value")
            self.require(
                parameter.dtype in DTYPES,
                f"parameter {parameter.name!r} has no dtype of ours: {parameter.dtype!r}",
            )
            self.require(
                parameter.kind != "size" or parameter.dtype == "int64",
                f"the size {parameter.name!r} is not int64",
            )
            self.bind(parameter.name, role, parameter.dtype)  # type: ignore[arg-type]
        self.block(self.kernel.body)
        self.statement = None
        _, total = layout(self.kernel.body)
        enough = dims.at_least(self.kernel.workspace, total)
        self.require(
            enough, f"the workspace of {self.kernel.workspace} bytes is less than its buffers' {total}"
        )

    # --- names ----------------------------------------------------------------------------------------------

    def bind(
        self, name: Name, role: Literal["value", "variable", "array", "result", "scratch"], dtype: DTypeName
    ) -> None:
        self.require(name not in self.used, f"{name!r} is bound twice")
        self.used.add(name)
        self.visible[name] = _Name(role, dtype, self.independent_loops())

    def independent_loops(self) -> int:
        return sum(isinstance(loop, ir.For) and loop.kind != "serial" for loop in self.loops)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is bound inside is forgotten at the end."""
        known = len(self.visible)
        yield
        while len(self.visible) > known:  # dictionaries keep the order of insertion
            self.visible.popitem()

    def buffer(self, name: Name) -> _Name:
        found = self.visible.get(name)
        if found is None or found.role not in ("array", "result", "scratch"):
            self.fail(f"{name!r} is not a buffer here")
        return found

    # --- expressions ----------------------------------------------------------------------------------------

    def expression(self, root: Expr, dtype: DTypeName | None = None, what: str = "the expression") -> None:
        """Check an expression, and that it has a dtype."""
        for expr in ir.walk(root):
            self.require(expr.dtype in DTYPES, f"{expr.dtype!r} is not a dtype")
            match expr:
                case ir.Var():
                    self.variable(expr)
                case ir.Literal():
                    in_range = 0 <= expr.bits < 1 << BITS[expr.dtype]
                    self.require(in_range, f"the bits {expr.bits:#x} are not those of a {expr.dtype}")
                case ir.Load():
                    self.require(
                        self.buffer(expr.buffer).dtype == expr.dtype, f"{expr.buffer!r} holds no {expr.dtype}"
                    )
                    self.has_dtype(expr.index, "int64", "an index")
                    if expr.guard is not None:
                        self.has_dtype(expr.guard, "bool", "a guard")
                case ir.Apply():
                    self.primitive(expr)
                case ir.Fma():
                    same = expr.a.dtype == expr.b.dtype == expr.c.dtype == expr.dtype
                    self.require(same and KIND[expr.dtype] == "f", "fma is for floats of one dtype")
                case ir.Cast():
                    pass
                case _:
                    assert_never(expr)
        if dtype is not None:
            self.has_dtype(root, dtype, what)

    def has_dtype(self, expr: Expr, dtype: DTypeName, what: str) -> None:
        self.require(expr.dtype == dtype, f"{what} is {dtype}, not {expr.dtype}")

    def variable(self, expr: ir.Var) -> None:
        found = self.visible.get(expr.name)
        if found is None or found.role not in ("value", "variable"):
            self.fail(f"{expr.name!r} is not bound here")
        self.require(found.dtype == expr.dtype, f"{expr.name!r} is {found.dtype}, not {expr.dtype}")
        loop = self.reduced.get(expr.name)
        independent = loop is None or loop.kind == "serial"
        self.require(independent, f"the reduction {expr.name!r} has no value inside its loop")

    def primitive(self, expr: ir.Apply) -> None:
        entry = PRIMITIVES.get(expr.name)
        if entry is None:
            self.fail(f"there is no primitive {expr.name!r}")
        arity = len(expr.args)
        self.require(arity == entry.arity, f"{expr.name} takes {entry.arity} arguments, not {arity}")
        self.require(entry.result != "complex", "a complex value is a pair of real ones")
        for argument in expr.args[: entry.literals]:
            self.require(
                isinstance(argument, ir.Literal), f"{expr.name} has literals for its first arguments"
            )
        first = entry.literals
        if expr.name == "where":
            self.has_dtype(expr.args[0], "bool", "a condition")
            first = 1
        dtypes = {argument.dtype for argument in expr.args[first:]}
        self.require(len(dtypes) == 1, f"{expr.name} mixes {', '.join(sorted(dtypes))}")
        (given,) = dtypes
        self.require(KIND[given] in entry.accepts, f"{expr.name} does not take {given}")
        if entry.result == "bool":
            fits = expr.dtype == "bool"
        else:
            fits = expr.dtype == given or (
                entry.result == "float" and KIND[given] != "f" and KIND[expr.dtype] == "f"
            )
        self.require(fits, f"{expr.name} of {given} is not {expr.dtype}")
        computes = entry.result != "float" or KIND[expr.dtype] == "f"
        self.require(computes, f"{expr.name} gives floats, not {expr.dtype}")

    # --- statements -----------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        with self.scope():
            self.statements(block)

    def statements(self, block: Block) -> None:
        for position, stmt in enumerate(block):
            self.statement = stmt
            self.check(stmt)
            last = position == len(block) - 1
            self.require(last or not isinstance(stmt, ir.Break), "nothing may follow Break in its block")

    def check(self, stmt: Stmt) -> None:
        match stmt:
            case ir.Let():
                self.expression(stmt.value)
                self.bind(stmt.name, "value", stmt.value.dtype)
            case ir.Declare():
                self.expression(stmt.value)
                self.bind(stmt.name, "variable", stmt.value.dtype)
            case ir.Assign():
                self.assignment(stmt)
            case ir.Accumulate():
                loop = self.reduced.get(stmt.name)
                self.require(loop is not None, f"{stmt.name!r} is no reduction of a loop around")
                self.expression(stmt.value, self.visible[stmt.name].dtype, "the value")
                self.guard(stmt.guard)
            case ir.Store():
                found = self.buffer(stmt.buffer)
                self.require(found.role != "array", f"{stmt.buffer!r} is read-only")
                self.expression(stmt.index, "int64", "an index")
                self.expression(stmt.value, found.dtype, "the value")
                self.guard(stmt.guard)
            case ir.Alloc():
                for name in dims.names(stmt.count):
                    self.require(name in self.visible, f"the size {name!r} is not known")
                self.bind(stmt.buffer, "scratch", stmt.dtype)
            case ir.For():
                self.loop(stmt)
            case ir.While():
                self.repetition(stmt)
            case ir.If():
                self.expression(stmt.condition, "bool", "a condition")
                self.block(stmt.then)
                self.block(stmt.otherwise)
            case ir.Section():
                self.require(not self.loops, "a section inside a loop")
                self.block(stmt.body)
            case ir.Break():
                inside = bool(self.loops) and (
                    isinstance(self.loops[-1], ir.While)
                    or (self.loops[-1].kind == "serial" and not self.loops[-1].descending)
                )
                self.require(inside, "the innermost loop is not one that Break may leave")
            case ir.Call():
                self.require(not self.in_lanes(), "a lanes loop calls no outside functions")
                self.arguments(stmt.args)
            case _:
                assert_never(stmt)

    def in_lanes(self) -> bool:
        return any(isinstance(loop, ir.For) and loop.kind == "lanes" for loop in self.loops)

    def guard(self, guard: Expr | None) -> None:
        if guard is not None:
            self.expression(guard, "bool", "a guard")

    def arguments(self, arguments: Sequence[Expr | Name]) -> None:
        for argument in arguments:
            if isinstance(argument, str):
                self.buffer(argument)
            else:
                self.expression(argument)

    def assignment(self, stmt: ir.Assign) -> None:
        found = self.visible.get(stmt.name)
        if found is None or found.role != "variable":
            self.fail(f"{stmt.name!r} is not a variable here")
        self.expression(stmt.value, found.dtype, "the value")
        outside = found.loops < self.independent_loops()
        self.require(
            not outside, f"{stmt.name!r} is declared outside a loop whose iterations are independent"
        )
        self.require(
            stmt.name not in self.reduced, f"{stmt.name!r} is a reduction: only Accumulate changes it"
        )

    def loop(self, stmt: ir.For) -> None:
        self.expression(stmt.extent, "int64", "an extent")
        if stmt.kind == "lanes":
            power_of_two = stmt.width >= 1 and stmt.width & (stmt.width - 1) == 0
            self.require(power_of_two, f"the width {stmt.width} is not a power of two")
        self.require(stmt.kind == "serial" or not self.in_lanes(), f"a {stmt.kind} loop inside a lanes loop")
        self.require(stmt.kind == "serial" or not stmt.descending, f"a {stmt.kind} loop that is descending")
        for reduction in stmt.reductions:
            self.reduction(reduction)
            if reduction.kind == "sum_of_logs":
                fits = stmt.kind == "lanes" and stmt.width > 1 and reduction.dtype == "float64"
                self.require(fits, f"{reduction.name!r}: only lanes sum logarithms, of float64")
        with self.scope():
            self.loops.append(stmt)
            self.reduced.update((reduction.name, stmt) for reduction in stmt.reductions)
            self.bind(stmt.index, "value", "int64")
            self.statements(stmt.body)
            for reduction in stmt.reductions:
                del self.reduced[reduction.name]
            self.loops.pop()

    def reduction(self, reduction: ir.Reduction) -> None:
        found = self.visible.get(reduction.name)
        if found is None or found.role != "variable" or found.dtype != reduction.dtype:
            self.fail(f"the reduction {reduction.name!r} is not a {reduction.dtype} variable declared before")
        outside = found.loops < self.independent_loops()
        self.require(
            not outside, f"{reduction.name!r} is declared outside a loop whose iterations are independent"
        )
        self.require(
            reduction.name not in self.reduced, f"{reduction.name!r} is a reduction of a loop around already"
        )
        logical = reduction.kind in ("any", "all")
        self.require(logical == (reduction.dtype == "bool"), f"no {reduction.kind} of {reduction.dtype}")

    def repetition(self, stmt: ir.While) -> None:
        with self.scope():
            self.loops.append(stmt)
            if stmt.index:
                self.bind(stmt.index, "value", "int64")
            self.statements(stmt.head)
            self.statement = stmt
            leaves = bool(stmt.head) and isinstance(stmt.head[-1], ir.Break)
            self.require(not leaves, "Break in the head of a While stands in a branch")
            self.expression(stmt.condition, "bool", "a condition")
            self.statements(stmt.body)
            self.loops.pop()


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
