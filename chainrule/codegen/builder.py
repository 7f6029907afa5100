"""Blocks of LoopIR under construction: names, scopes, and where a value is computed.

A value is bound in the outermost open block in which all that it depends on is known, so what does not change
in a loop leaves it. ``floor`` keeps values inside a branch: what only one branch needs is computed only
there.
"""

from __future__ import annotations

import keyword
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.dim import Atom, Dim, Size

from . import affine, ir
from .affine import Affine

__all__ = ["Builder", "int_literal", "literal"]


def literal(value: Any, dtype: str) -> ir.Literal:
    """A number of a real dtype, by its bits.

    >>> literal(1.0, "float64")
    Literal(bits=4607182418800017408, dtype='float64')
    """
    return ir.Literal(int.from_bytes(np.asarray(value, dtype).tobytes(), "little"), cast(ir.DTypeName, dtype))


def int_literal(value: int) -> ir.Literal:
    return ir.Literal(value & 0xFFFFFFFFFFFFFFFF, "int64")


def literal_int(expr: ir.Expr) -> int | None:
    """The value of an int64 literal, None for every other expression."""
    if type(expr) is ir.Literal and expr.dtype == "int64":
        return int(struct.unpack("<q", struct.pack("<Q", expr.bits))[0])
    return None


class Builder:
    """The open blocks, outermost first, and what is known about the names bound in them."""

    def __init__(self) -> None:
        self.blocks: list[list[ir.Stmt]] = [[]]
        self.levels: dict[str, int] = {}  # name → number of the block in which it is bound
        self.ranges: dict[str, Dim] = {}  # index variable → its extent
        self.floors = [0]
        self.used: set[str] = set()
        self._count = 0
        self._shared: dict[ir.Expr, ir.Expr] = {}
        self._shared_in: list[list[ir.Expr]] = [[]]  # by block: what to forget when it closes
        self._on_close: list[list[Callable[[], None]]] = [[]]
        self.allocations: list[ir.Stmt] = []
        self.private: list[
            list[ir.Stmt]
        ] = []  # blocks of loops of lanes, which have scratch memory of their own

    # --- names and blocks ---------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """The number of the innermost open block."""
        return len(self.blocks) - 1

    @property
    def floor(self) -> int:
        """The number of the outermost block in which something may be computed now."""
        return self.floors[-1]

    def fresh(self, prefix: str) -> str:
        while True:
            self._count += 1
            name = f"{prefix}{self._count}"
            if name not in self.used:
                return name

    def unique(self, wanted: str) -> str:
        """``wanted``, or something like it that is free and an identifier in C and Python."""
        text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in wanted)
        if not text or text[0].isdigit() or keyword.iskeyword(text):
            text = f"_{text}"
        name, n = text, 1
        while name in self.used:
            n += 1
            name = f"{text}_{n}"
        self.used.add(name)
        return name

    def add(self, statement: ir.Stmt) -> None:
        self.blocks[-1].append(statement)

    def open(self) -> None:
        self.blocks.append([])
        self._shared_in.append([])
        self._on_close.append([])

    def close(self) -> ir.Block:
        for expr in self._shared_in.pop():
            del self._shared[expr]
        for forget in self._on_close.pop():
            forget()
        return tuple(self.blocks.pop())

    def on_close(self, level: int, forget: Callable[[], None]) -> None:
        """Calls ``forget`` when block ``level`` closes."""
        self._on_close[level].append(forget)

    @contextmanager
    def floor_here(self) -> Iterator[None]:
        """Inside, nothing is computed further out than the innermost open block."""
        self.floors.append(self.depth)
        yield
        self.floors.pop()

    # --- values -------------------------------------------------------------------------------------------

    def level(self, expr: ir.Expr | None) -> int:
        """The block in which an expression of names is known at the earliest."""
        match expr:
            case None | ir.Literal():
                return 0
            case ir.Var(name, _):
                return self.levels[name]
            case ir.Apply(_, args, _):
                return max([self.level(a) for a in args], default=0)
            case ir.Cast(value, _):
                return self.level(value)
            case ir.Fma(a, b, c, _):
                return max(self.level(a), self.level(b), self.level(c))
            case ir.Load(buffer, index, _, guard):
                return max(self.levels[buffer], self.level(index), self.level(guard))

    def bind(self, expr: ir.Expr, dtype: str, level: int | None = None) -> ir.Var:
        """A name for ``expr``, in the block ``level`` (default: as far out as it is known)."""
        if level is None:
            level = self.level(expr)
        if level < self.floor:
            level = self.floor
        name = self.fresh("t")
        self.levels[name] = level
        self.blocks[level].append(ir.Let(name, expr))
        return ir.Var(name, cast(ir.DTypeName, dtype))

    def shared(self, expr: ir.Expr, dtype: str) -> ir.Expr:
        """As ``bind``, but equal expressions have one name; names and numbers stand for themselves."""
        if type(expr) is ir.Var or type(expr) is ir.Literal:
            return expr
        found = self._shared.get(expr)
        if found is None:
            var = self.bind(expr, dtype)
            self._shared[expr] = found = var
            self._shared_in[self.levels[var.name]].append(expr)
        return found

    def apply(self, name: str, args: tuple[ir.Expr, ...], dtype: str) -> ir.Var:
        """A primitive of names and literals, bound."""
        return self.bind(ir.Apply(name, args, cast(ir.DTypeName, dtype)), dtype)

    def declare(self, value: ir.Expr, dtype: str) -> ir.Var:
        """A variable in the innermost block."""
        name = self.fresh("v")
        self.levels[name] = self.depth
        self.add(ir.Declare(name, value))
        return ir.Var(name, cast(ir.DTypeName, dtype))

    def let(self, value: ir.Expr, dtype: str) -> ir.Var:
        """A name bound here and now: a snapshot of variables."""
        return self.bind(value, dtype, self.depth)

    def index(self, extent: Dim | None) -> ir.Var:
        """A loop index of the block that is opened next."""
        name = self.fresh("i")
        self.levels[name] = self.depth + 1
        if extent is not None:
            self.ranges[name] = extent
        return ir.Var(name, "int64")

    def alloc(self, dtype: str, count: Dim, *, common: bool = False) -> str:
        """Scratch memory: of each lane in a loop of lanes unless it is ``common``, else of the kernel."""
        name = self.fresh("w")
        self.levels[name] = 0
        block = self.private[-1] if self.private and not common else self.allocations
        block.append(ir.Alloc(name, cast(ir.DTypeName, dtype), count))
        return name

    # --- sizes and indices --------------------------------------------------------------------------------

    def dim(self, dim: Dim) -> ir.Expr:
        """A dimension as an int64 expression, computed once at the start."""
        if isinstance(dim, int):
            return int_literal(dim)
        self.floors.append(0)
        total: ir.Expr | None = None
        for monomial, coefficient in dim.terms:
            product: ir.Expr | None = int_literal(coefficient) if coefficient != 1 or not monomial else None
            for atom in monomial:
                factor = self._atom(atom)
                product = factor if product is None else self._int("mul", product, factor)
            assert product is not None
            total = product if total is None else self._int("add", total, product)
        self.floors.pop()
        assert total is not None
        return total

    def _atom(self, atom: Atom) -> ir.Expr:
        if atom.kind == "name":
            return ir.Var(atom.name, "int64")
        name = {"//": "floordiv", "%": "mod", "min": "minimum", "max": "maximum"}[atom.kind]
        return self._int(name, self.dim(atom.left), self.dim(atom.right))

    def _int(self, name: str, a: ir.Expr, b: ir.Expr) -> ir.Expr:
        return self.shared(ir.Apply(name, (a, b), "int64"), "int64")

    def integer(self, a: Affine) -> ir.Expr:
        """An index as an int64 expression over names."""
        total: ir.Expr | None = None
        for name, coefficient in a.terms:
            term: ir.Expr = ir.Var(name, "int64")
            if coefficient != 1:
                term = ir.Apply("mul", (term, self.dim(coefficient)), "int64")
            total = term if total is None else ir.Apply("add", (total, term), "int64")
        if total is None:
            return self.dim(a.constant)
        if isinstance(a.constant, Size) or a.constant != 0:
            total = ir.Apply("add", (total, self.dim(a.constant)), "int64")
        return total

    def affine(self, expr: ir.Expr, extent: Dim | None = None) -> Affine:
        """An int64 expression as an index; its value is known to be in [0, extent) where that is given."""
        value = literal_int(expr)
        if value is not None:
            return Affine((), value)
        var = self.shared(expr, "int64")
        assert isinstance(var, ir.Var)
        if extent is not None:
            self.ranges[var.name] = extent
        return Affine(((var.name, 1),))

    def is_inside(self, a: Affine, size: Dim) -> bool:
        """Whether 0 ≤ a < size is known."""
        lowest, highest = affine.lower(a, self.ranges), affine.upper(a, self.ranges)
        if lowest is None or highest is None:
            return False
        return dims.at_least(lowest, 0) and dims.at_least(size - 1, highest)

    def compare(self, name: str, a: Affine, b: Dim) -> ir.Expr:
        """A comparison of an index with a size, as a bool name."""
        return self.shared(ir.Apply(name, (self.integer(a), self.dim(b)), "bool"), "bool")

    def both(self, a: ir.Expr | None, b: ir.Expr | None) -> ir.Expr | None:
        """The conjunction of two guards, of which None is true."""
        if a is None or b is None or a == b:
            return b if a is None else a
        if type(a) is ir.Literal or type(b) is ir.Literal:  # never true: what always holds is None
            return a if type(a) is ir.Literal else b
        return self.shared(ir.Apply("logical_and", (a, b), "bool"), "bool")
