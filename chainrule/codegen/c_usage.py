"""Which names and buffers of a kernel its C text uses: what is not would be warned about."""

from __future__ import annotations

from collections.abc import Iterator, Set

from . import ir
from .c_primitives import ignores_operands
from .ir import Block, Expr, Name, Stmt


def live_names(body: Block) -> set[Name]:
    """The names that are read where it matters: for what is stored, for branches, loops and calls."""
    users: dict[Name, set[Name]] = {}
    live: set[Name] = set()
    for stmt in ir.statements(body):
        names = {expr.name for root in ir.expressions(stmt) for expr in read(root) if isinstance(expr, ir.Var)}
        if isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)):
            users.setdefault(stmt.name, set()).update(names)
        else:
            live |= names
        if isinstance(stmt, (ir.For, ir.While)):
            users.setdefault(stmt.index, set())
    pending = list(live)
    while pending:
        for name in users.get(pending.pop(), ()):
            if name not in live:
                live.add(name)
                pending.append(name)
    return live


def fused_variables(body: Block) -> set[Name]:
    """The variables that some statement sets to a fused multiply-add.

    In a lanes loop with reductions it is the partial results that are set so.
    """
    found: set[Name] = set()
    in_lanes: set[Name] = set()
    for stmt in ir.statements(body):
        if isinstance(stmt, ir.For) and stmt.kind == "lanes" and stmt.width > 1:
            in_lanes.update(reduction.name for reduction in stmt.reductions)
        match stmt:
            case ir.Assign(name, ir.Fma()):
                found.add(name)
            case ir.Accumulate(name, value) if ir.factors(value) is not None:
                found.add(name)
    return found - in_lanes


def buffers_used(stmt: Stmt, used: set[Name]) -> set[Name]:
    """The buffers that a statement touches, if it matters."""
    if isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)) and stmt.name not in used:
        return set()
    found = {expr.buffer for root in ir.expressions(stmt) for expr in read(root) if isinstance(expr, ir.Load)}
    if isinstance(stmt, ir.Store):
        found.add(stmt.buffer)
    elif isinstance(stmt, ir.Call):
        found.update(argument for argument in stmt.args if isinstance(argument, str))
    return found


def names_used(block: Block, live: Set[Name]) -> set[Name]:
    """The names that are read or changed in a block, by statements that bind or change what is live."""
    used: set[Name] = set()
    for stmt in ir.statements(block):
        if isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)) and stmt.name not in live:
            continue
        if isinstance(stmt, (ir.Assign, ir.Accumulate)):
            used.add(stmt.name)
        for root in ir.expressions(stmt):
            used.update(expr.name for expr in read(root) if isinstance(expr, ir.Var))
    return used


def read(root: Expr) -> Iterator[Expr]:
    """The expression and what it is made of, but for what does not matter: whether an integer is NaN, say."""
    pending = [root]
    while pending:
        expr = pending.pop()
        yield expr
        if not (isinstance(expr, ir.Apply) and ignores_operands(expr.name, expr.args[-1].dtype)):
            pending.extend(reversed(ir.operands(expr)))
