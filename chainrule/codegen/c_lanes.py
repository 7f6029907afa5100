"""How a ``lanes`` loop is cut up for C: what a compiler vectorises stands in loops of its own."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final, NamedTuple

from . import ir
from .c_builder import has_lane_code, has_rare_path
from .c_primitives import FLOATS, SLOW
from .ir import Block, Expr, Name, Stmt


class Segment(NamedTuple):
    """Statements of a lanes loop that are run for all lanes before what follows.

    ``function``: the one statement is a call of this function, which takes all lanes at once.
    """

    statements: Block
    function: str = ""


_INTEGER_CALLS: Final = frozenset({"floordiv", "mod", "fmod", "pow"})


def segments(body: Block) -> list[Segment]:
    """The body cut where something does not vectorise: inner loops, and calls that may take a slow path."""
    found: list[Segment] = []
    together: list[Stmt] = []
    private = {stmt.name for stmt in ir.statements(body) if isinstance(stmt, (ir.Let, ir.Declare))}
    for stmt in body:
        if not _is_slow(stmt):
            together.append(stmt)
            continue
        if together:
            found.append(Segment(tuple(together)))
            together = []
        found.append(Segment((stmt,), _function_of_lanes(stmt, private)))
    if together:
        found.append(Segment(tuple(together)))
    return found


def _is_slow(stmt: Stmt) -> bool:
    if any(isinstance(inner, (ir.For, ir.While)) for inner in ir.statements((stmt,))):
        return True
    return any(
        _is_call(expr)
        for inner in ir.statements((stmt,))
        for root in ir.expressions(inner)
        for expr in ir.walk(root)
    )


def _is_call(expr: Expr) -> bool:
    """Whether a primitive is a call, or a branch, in the middle of the code."""
    if not isinstance(expr, ir.Apply):
        return False
    if expr.args[-1].dtype not in FLOATS and expr.dtype not in FLOATS:
        return expr.name in _INTEGER_CALLS
    return (expr.name in SLOW and expr.name != "pow") or _has_rare_path(expr)


def _has_rare_path(expr: ir.Apply) -> bool:
    name = function_name(expr)
    return has_lane_code(name) and has_rare_path(name, 1 if name.startswith("polygamma") else len(expr.args))


def function_name(expr: ir.Apply) -> str:
    """The name of a primitive's function; each order of ``polygamma`` has one."""
    if expr.name != "polygamma":
        return expr.name
    order = expr.args[0]
    assert isinstance(order, ir.Literal)
    from .c_text import number_of

    number = int(number_of(order))
    return f"polygamma{number}" if number else "digamma"


def _function_of_lanes(stmt: Stmt, private: Set[Name]) -> str:
    """The function if the statement is ``name = function(x)`` of a float64 that each lane has."""
    if not isinstance(stmt, ir.Let) or not isinstance(stmt.value, ir.Apply):
        return ""
    argument = stmt.value.args[-1]
    fits = (
        isinstance(argument, ir.Var)
        and argument.dtype == "float64"
        and argument.name in private
        and _has_rare_path(stmt.value)
    )
    return function_name(stmt.value) if fits else ""


def crossing(parts: Sequence[Segment], live: Set[Name]) -> dict[Name, ir.DTypeName]:
    """What is bound in one segment and used in another: each lane keeps its own.

    What a function of lanes takes and gives crosses too.
    """
    bound: dict[Name, tuple[int, ir.DTypeName]] = {}
    found: dict[Name, ir.DTypeName] = {}
    for number, part in enumerate(parts):
        for name in names_used(part.statements, live):
            if name in bound and (bound[name][0] != number or part.function):
                found[name] = bound[name][1]
        for stmt in part.statements:
            if isinstance(stmt, (ir.Let, ir.Declare)):
                bound[stmt.name] = number, stmt.value.dtype
                if part.function:
                    found[stmt.name] = stmt.value.dtype
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
            used.update(expr.name for expr in ir.walk(root) if isinstance(expr, ir.Var))
    return used
