"""LoopIR with other names for values and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from . import ir
from .ir import Block, Expr, Name, Stmt

__all__ = ["renamed"]


def renamed(stmt: Stmt, names: Mapping[Name, Name]) -> Stmt:
    """The statement with other names for the values that it reads, and for buffers.

    Blocks nest only as deep as loops do.
    """

    def value(expr: Expr) -> Expr:
        return _renamed_expression(expr, names)

    def optional(expr: Expr | None) -> Expr | None:
        return None if expr is None else value(expr)

    def inner(block: Block) -> Block:
        return tuple(renamed(s, names) for s in block)

    match stmt:
        case ir.Let() | ir.Declare() | ir.Assign():
            return replace(stmt, value=value(stmt.value))
        case ir.Accumulate():
            return replace(stmt, value=value(stmt.value), guard=optional(stmt.guard))
        case ir.Store():
            return replace(
                stmt,
                buffer=names.get(stmt.buffer, stmt.buffer),
                index=value(stmt.index),
                value=value(stmt.value),
                guard=optional(stmt.guard),
            )
        case ir.For():
            return replace(stmt, extent=value(stmt.extent), body=inner(stmt.body))
        case ir.While():
            return replace(stmt, head=inner(stmt.head), condition=value(stmt.condition), body=inner(stmt.body))
        case ir.If():
            return ir.If(value(stmt.condition), inner(stmt.then), inner(stmt.otherwise))
        case ir.Call():
            return replace(stmt, args=tuple(names.get(a, a) if isinstance(a, str) else value(a) for a in stmt.args))
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
            done.append(_rebuilt(expr, given, names))
    return done[0]


def _rebuilt(expr: Expr, given: list[Expr], names: Mapping[Name, Name]) -> Expr:
    match expr:
        case ir.Apply():
            return replace(expr, args=tuple(given))
        case ir.Fma():
            return replace(expr, a=given[0], b=given[1], c=given[2])
        case ir.Load():
            buffer = names.get(expr.buffer, expr.buffer)
            return replace(expr, buffer=buffer, index=given[0], guard=given[1] if len(given) > 1 else None)
        case ir.Cast():
            return replace(expr, value=given[0])
        case ir.Var() | ir.Literal():
            return expr
        case _:
            assert_never(expr)
