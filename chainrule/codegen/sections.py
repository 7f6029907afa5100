"""Large straight-line code in sections, so that compile time stays linear in its length.

Compilers take longer than linear time for a function: a section becomes one of its own. What one section computes and
others read goes through scratch memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final, assert_never, final

from . import ir
from .builder import int_literal
from .ir import Block, DTypeName, Expr, Name, Stmt
from .workspace import layout

__all__ = ["LONG", "SECTION", "in_sections"]

LONG: Final = 2000
"""Statements outside of loops up to which a kernel stays one function."""
SECTION: Final = 400
"""Statements of a section."""


def in_sections(kernel: ir.Kernel) -> ir.Kernel:
    """The same kernel, its straight-line code in sections if it is long. It computes the same bits."""
    if sum(isinstance(stmt, (ir.Let, ir.Store)) for stmt in kernel.body) <= LONG:
        return kernel
    body = _Splitter(kernel).run()
    return replace(kernel, body=body, workspace=layout(body)[1])


@dataclass(frozen=True, slots=True)
class _Piece:
    """A section, or the statements between two of them."""

    statements: Block
    is_section: bool


@final
class _Splitter:
    """``home``: the section that binds a name. ``places``: where names that leave their section are in memory."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.pieces = _pieces(kernel.body)
        self.used = {parameter.name for parameter in kernel.parameters} | set(_bound(kernel.body))
        self.home: dict[Name, int] = {}
        self.places: dict[Name, tuple[DTypeName, int]] = {}
        self.buffers: dict[DTypeName, Name] = {}
        self.counts: Counter[DTypeName] = Counter()

    def run(self) -> Block:
        for number, piece in enumerate(self.pieces):
            if piece.is_section:
                self.home.update((stmt.name, number) for stmt in piece.statements if isinstance(stmt, ir.Let))
        for number, piece in enumerate(self.pieces):
            for var in _variables(piece.statements):
                if self._is_foreign(var.name, number) and var.name not in self.places:
                    self.places[var.name] = (var.dtype, self.counts[var.dtype])
                    self.counts[var.dtype] += 1
        self.buffers = {dtype: self._fresh(f"between_{dtype}") for dtype in self.counts}
        body: list[Stmt] = [ir.Alloc(self.buffers[dtype], dtype, n) for dtype, n in self.counts.items()]
        for number, piece in enumerate(self.pieces):
            statements = self._statements(number, piece)
            if piece.is_section:
                body.append(ir.Section(tuple(statements)))
            else:
                body.extend(statements)
        return tuple(body)

    def _is_foreign(self, name: Name, number: int) -> bool:
        return self.home.get(name, number) != number

    def _statements(self, number: int, piece: _Piece) -> Iterator[Stmt]:
        """The statements of a piece; what it needs of others is loaded first, what others need stored at once."""
        names: dict[Name, Name] = {}
        for var in _variables(piece.statements):
            if self._is_foreign(var.name, number) and var.name not in names:
                names[var.name] = self._fresh(f"{var.name}_in_{number}")
                buffer, index = self._place(var.name)
                yield ir.Let(names[var.name], ir.Load(buffer, index, var.dtype))
        for stmt in piece.statements:
            yield _renamed(stmt, names) if names else stmt
            if piece.is_section and isinstance(stmt, ir.Let) and stmt.name in self.places:
                yield ir.Store(*self._place(stmt.name), ir.Var(stmt.name, self.places[stmt.name][0]))

    def _place(self, name: Name) -> tuple[Name, ir.Literal]:
        dtype, place = self.places[name]
        return self.buffers[dtype], int_literal(place)

    def _fresh(self, wanted: str) -> Name:
        name, n = wanted, 1
        while name in self.used:
            n += 1
            name = f"{wanted}_{n}"
        self.used.add(name)
        return name


def _pieces(body: Block) -> list[_Piece]:
    """Runs of bindings and stores become sections; what is between stays as it is."""
    pieces: list[_Piece] = []
    for straight, group in groupby(body, key=lambda stmt: isinstance(stmt, (ir.Let, ir.Store))):
        statements = tuple(group)
        count = len(statements) // SECTION if straight else 0
        if count == 0:
            pieces.append(_Piece(statements, is_section=False))
            continue
        bounds = [len(statements) * k // count for k in range(count + 1)]
        pieces.extend(_Piece(statements[a:b], is_section=True) for a, b in pairwise(bounds))
    return pieces


def _bound(block: Block) -> Iterator[Name]:
    """All names that a block binds."""
    for stmt in ir.statements(block):
        match stmt:
            case ir.Let(name) | ir.Declare(name):
                yield name
            case ir.For(index):
                yield index
            case ir.Alloc(buffer):
                yield buffer


def _variables(block: Block) -> Iterator[ir.Var]:
    for stmt in ir.statements(block):
        for root in ir.expressions(stmt):
            for expr in ir.walk(root):
                if isinstance(expr, ir.Var):
                    yield expr


# --- renaming -----------------------------------------------------------------------------------------------


def _renamed(stmt: Stmt, names: Mapping[Name, Name]) -> Stmt:
    """The statement with other names for the values that it reads; blocks nest only as deep as loops do."""

    def value(expr: Expr) -> Expr:
        return _renamed_expression(expr, names)

    def optional(expr: Expr | None) -> Expr | None:
        return None if expr is None else value(expr)

    def inner(block: Block) -> Block:
        return tuple(_renamed(s, names) for s in block)

    match stmt:
        case ir.Let() | ir.Declare() | ir.Assign():
            return replace(stmt, value=value(stmt.value))
        case ir.Accumulate():
            return replace(stmt, value=value(stmt.value), guard=optional(stmt.guard))
        case ir.Store():
            return replace(
                stmt, index=value(stmt.index), value=value(stmt.value), guard=optional(stmt.guard)
            )
        case ir.For():
            return replace(stmt, extent=value(stmt.extent), body=inner(stmt.body))
        case ir.While():
            return ir.While(inner(stmt.head), value(stmt.condition), inner(stmt.body))
        case ir.If():
            return ir.If(value(stmt.condition), inner(stmt.then), inner(stmt.otherwise))
        case ir.Call():
            return replace(stmt, args=tuple(a if isinstance(a, str) else value(a) for a in stmt.args))
        case ir.Section():
            return ir.Section(inner(stmt.body))
        case ir.Alloc() | ir.Break():
            return stmt
        case _:
            assert_never(stmt)


def _renamed_expression(root: Expr, names: Mapping[Name, Name]) -> Expr:
    """An expression with other names, without recursion: an operand may be a long chain."""
    pending: list[tuple[Expr, bool]] = [(root, False)]
    done: list[Expr] = []
    while pending:
        expr, ready = pending.pop()
        parts = ir.operands(expr)
        if not parts:
            done.append(
                ir.Var(names.get(expr.name, expr.name), expr.dtype) if isinstance(expr, ir.Var) else expr
            )
        elif not ready:
            pending.append((expr, True))
            pending.extend((part, False) for part in reversed(parts))
        else:
            given = done[len(done) - len(parts) :]
            del done[len(done) - len(parts) :]
            done.append(_with_operands(expr, given))
    return done[0]


def _with_operands(expr: Expr, given: list[Expr]) -> Expr:
    match expr:
        case ir.Apply():
            return replace(expr, args=tuple(given))
        case ir.Fma():
            return replace(expr, a=given[0], b=given[1], c=given[2])
        case ir.Load():
            return replace(expr, index=given[0], guard=given[1] if len(given) > 1 else None)
        case ir.Cast():
            return replace(expr, value=given[0])
        case ir.Var() | ir.Literal():
            return expr
        case _:
            assert_never(expr)
