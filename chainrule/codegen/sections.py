"""Large straight-line code in sections, so that compile time stays linear in its length.

Compilers take longer than linear time for a function: a section becomes one of its own. What one section computes and
others read goes through scratch memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final, final

from . import ir
from .builder import int_literal
from .ir import Block, DTypeName, Name, Stmt
from .rename import renamed
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
            yield renamed(stmt, names) if names else stmt
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
            case ir.For(index=index) | ir.While(index=index):
                if index:
                    yield index
            case ir.Alloc(buffer):
                yield buffer


def _variables(block: Block) -> Iterator[ir.Var]:
    for stmt in ir.statements(block):
        for root in ir.expressions(stmt):
            for expr in ir.walk(root):
                if isinstance(expr, ir.Var):
                    yield expr
