"""LoopIR: loops over flat buffers, what every emitter (LLVM, C, CUDA C) reads.

Values are real scalars: bool, int32, int64, float32, float64 (a complex value is a pair of them; a complex
buffer is a float buffer with interleaved parts). Inside a ``lanes`` loop an emitter gives each value one
element per lane. ``For``, ``While`` and ``If`` hold blocks; names are unique in a kernel; ``verify`` checks
what is said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from typing import Literal as Choice

from chainrule.graph.dim import Dim

Name = str
DTypeName = Choice["bool", "int32", "int64", "float32", "float64"]

LANES: Final = 16
"""The width of ``lanes`` loops: two AVX-512 registers of doubles, so that sums do not wait for each other."""

# --- expressions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Var:
    """A name bound by ``Let``, ``Declare``, ``For`` (its index, int64) or a scalar or size parameter."""

    name: Name
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, held by its bits as an integer of the dtype's width (a bool by 0 or 1)."""

    bits: int
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class Load:
    """``buffer[index]``; where ``guard`` is given and false, zero (``False``), and memory is not touched."""

    buffer: Name
    index: Expr
    dtype: DTypeName
    guard: Expr | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """A primitive of the table by name, on real values; index arithmetic has add, mul, floordiv, ... too."""

    name: str
    args: tuple[Expr, ...]
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class Fma:
    """a·b + c, rounded once where the target can; explicit, so that every tier gives the same bits."""

    a: Expr
    b: Expr
    c: Expr
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion as NumPy's ``astype`` (float → int truncates; anything → bool is ≠ 0)."""

    value: Expr
    dtype: DTypeName


Expr = Var | Literal | Load | Apply | Fma | Cast

# --- statements ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Let:
    """Binds a name once; it is seen in the rest of its block and in the blocks inside."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Declare:
    """A variable that ``Assign`` changes; seen as a ``Let`` is."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign:
    """A new value for a declared variable; never inside a ``lanes`` loop for one declared outside it."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Combines a value into the reduction ``name`` of an enclosing loop (where ``guard`` holds).

    To a sum of floats, a product that stands here itself (`factors`) is added as one fused multiply-add.
    """

    name: Name
    value: Expr
    guard: Expr | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """``buffer[index] = value`` (where ``guard`` holds)."""

    buffer: Name
    index: Expr
    value: Expr
    guard: Expr | None = None


@dataclass(frozen=True, slots=True)
class Alloc:
    """``count`` elements of uninitialised scratch memory, for the rest of the kernel, in its workspace.

    Inside a ``lanes`` loop each lane has ``count`` elements of its own. ``workspace.layout`` says what lies
    where.
    """

    buffer: Name
    dtype: DTypeName
    count: Dim


@dataclass(frozen=True, slots=True)
class Reduction:
    """A variable declared outside the loop, into which the loop accumulates.

    In a ``lanes`` loop each lane has its own accumulator; at the end they are combined as a balanced tree, in
    a fixed order (lane k with lane k + width/2, again and again), and then combined with the variable's value
    before the loop.

    ``sum_of_logs`` adds the logarithm of each value; only a ``lanes`` loop has it, whose lanes accumulate no more than
    `vecmath_logs.MOST` values each.
    """

    name: Name
    kind: Choice["sum", "prod", "min", "max", "any", "all", "sum_of_logs"]
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class For:
    """index = 0 … extent−1, or extent−1 … 0 if it is ``descending``.

    ``serial``: in order; only these are descending, and ``Break`` does not leave such a loop. ``lanes``: ``width``
    consecutive indices at a time, the last step masked; iterations are independent but for the reductions.
    ``parallel``: independent iterations that may run in threads.
    """

    index: Name
    extent: Expr
    kind: Choice["serial", "lanes", "parallel"]
    body: Block
    reductions: tuple[Reduction, ...] = ()
    width: int = 1
    descending: bool = False


@dataclass(frozen=True, slots=True)
class While:
    """Runs ``head``, stops if ``condition`` is false, runs ``body``, again; both see what ``head`` binds.

    ``index``, if it has a name, counts from 0 how often the body has run. It is the same in all lanes that still run.
    """

    head: Block
    condition: Expr
    body: Block
    index: Name = ""


@dataclass(frozen=True, slots=True)
class If:
    condition: Expr
    then: Block
    otherwise: Block = ()


@dataclass(frozen=True, slots=True)
class Break:
    """Leaves the innermost ``serial`` For or While."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of long straight-line code that an emitter may make a function of its own; never inside a loop.

    Nothing that it binds is seen outside, and it assigns to no variable declared outside.
    """

    body: Block


@dataclass(frozen=True, slots=True)
class Call:
    """An external C function: ``symbol(args…)``; an argument is an expression or a buffer (its address)."""

    symbol: str
    args: tuple[Expr | Name, ...]


Stmt = Let | Declare | Assign | Accumulate | Store | Alloc | For | While | If | Break | Section | Call
Block = tuple[Stmt, ...]

# --- kernels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """A C parameter: ``scalar`` by value, ``array`` a const pointer, ``size`` an int64, ``result`` a pointer.

    ``dtype`` is that of the elements in memory (bool: one byte each). A complex argument is two scalar
    parameters (re, im), or one float array with interleaved parts.
    """

    name: Name
    kind: Choice["scalar", "array", "size", "result"]
    dtype: DTypeName


@dataclass(frozen=True, slots=True)
class Kernel:
    """C: ``void name(parameters…[, workspace])``. Arrays do not overlap; ``workspace`` is in bytes."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    workspace: Dim = 0

# --- traversal ----------------------------------------------------------------------------------------------


def operands(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that ``expr`` is made of, in order of evaluation."""
    match expr:
        case Apply():
            return expr.args
        case Fma():
            return (expr.a, expr.b, expr.c)
        case Load():
            return (expr.index,) if expr.guard is None else (expr.index, expr.guard)
        case Cast():
            return (expr.value,)
        case _:
            return ()


def factors(expr: Expr) -> tuple[Expr, ...] | None:
    """(a, b) of a product a·b of floats, None for any other expression."""
    if isinstance(expr, Apply) and expr.name == "mul" and expr.dtype in ("float32", "float64"):
        return expr.args
    return None


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that stand in ``stmt`` itself, not in its blocks."""
    match stmt:
        case Let() | Declare() | Assign():
            return (stmt.value,)
        case Accumulate():
            return (stmt.value,) if stmt.guard is None else (stmt.value, stmt.guard)
        case Store():
            return (stmt.index, stmt.value) if stmt.guard is None else (stmt.index, stmt.value, stmt.guard)
        case For():
            return (stmt.extent,)
        case While() | If():
            return (stmt.condition,)
        case Call():
            return tuple(arg for arg in stmt.args if not isinstance(arg, str))
        case _:
            return ()


def blocks(stmt: Stmt) -> tuple[Block, ...]:
    """The blocks that ``stmt`` holds."""
    match stmt:
        case For() | Section():
            return (stmt.body,)
        case While():
            return (stmt.head, stmt.body)
        case If():
            return (stmt.then, stmt.otherwise)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """``expr`` and everything inside it."""
    pending = [expr]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(operands(current)))


def statements(block: Block) -> Iterator[Stmt]:
    """All statements of ``block`` and of the blocks inside, in program order."""
    pending = list(reversed(block))
    while pending:
        stmt = pending.pop()
        yield stmt
        for inner in reversed(blocks(stmt)):
            pending.extend(reversed(inner))
