"""How a ``lanes`` loop is cut up for C: what a compiler vectorises stands in loops of its own."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

from . import ir
from .c_builder import SINCOS, has_lane_code, has_rare_path
from .c_primitives import FLOATS, SLOW, SLOW_ON_INTEGERS
from .c_text import number_of
from .c_usage import names_used
from .ir import Block, Expr, Name, Stmt


class Segment(NamedTuple):
    """Statements of a lanes loop that are run for all lanes before what follows.

    ``function``: each statement calls this function, or for ``sincos`` one part of it, which takes all lanes at once.
    """

    statements: Block
    function: str = ""


def segments(body: Block) -> list[Segment]:
    """The body cut where something does not vectorise: inner loops, and calls that may take a slow path."""
    found: list[Segment] = []
    together: list[Stmt] = []
    private = {stmt.name for stmt in body if isinstance(stmt, ir.Let)}
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
    return _with_sincos(found)


def _with_sincos(parts: Sequence[Segment]) -> list[Segment]:
    """Sine and cosine of one name together, in that order, where the first of them stands."""
    places: dict[tuple[str, Name], int] = {}
    for number, part in enumerate(parts):
        if part.function in ("sin", "cos"):
            places.setdefault((part.function, argument(part.statements[0]).name), number)
    found: dict[int, Segment] = dict(enumerate(parts))
    for (function, name), place in places.items():
        other = places.get(("cos", name))
        if function == "sin" and other is not None:
            both = Segment((*parts[place].statements, *parts[other].statements), SINCOS)
            found[min(place, other)] = both
            del found[max(place, other)]
    return [found[number] for number in sorted(found)]


def argument(stmt: Stmt) -> ir.Var:
    """The last argument of a binding's primitive, which is a name."""
    assert isinstance(stmt, ir.Let) and isinstance(stmt.value, ir.Apply)
    last = stmt.value.args[-1]
    assert isinstance(last, ir.Var)
    return last


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
        return expr.name in SLOW_ON_INTEGERS
    return expr.name in SLOW or _has_rare_path(expr)


def _has_rare_path(expr: ir.Apply) -> bool:
    name = function_name(expr)
    return has_lane_code(name) and has_rare_path(name, len(expr.args) - (expr.name == "polygamma"))


def function_name(expr: ir.Apply) -> str:
    """The name of a primitive's function; each order of ``polygamma`` has one."""
    if expr.name != "polygamma":
        return expr.name
    order = expr.args[0]
    assert isinstance(order, ir.Literal)
    number = int(number_of(order))
    return f"polygamma{number}" if number else "digamma"


def _function_of_lanes(stmt: Stmt, private: Set[Name]) -> str:
    """The function if the statement is ``name = function(x)`` of a float64 that each lane has."""
    if not isinstance(stmt, ir.Let) or not isinstance(stmt.value, ir.Apply):
        return ""
    last = stmt.value.args[-1]
    fits = (
        isinstance(last, ir.Var)
        and last.dtype == "float64"
        and last.name in private
        and _has_rare_path(stmt.value)
    )
    return function_name(stmt.value) if fits else ""


def crossing(parts: Sequence[Segment], live: Set[Name]) -> dict[Name, ir.DTypeName]:
    """What is bound in one segment and used in another: each lane keeps its own.

    What a function of lanes takes and gives crosses too.
    """
    bound: dict[Name, tuple[int, ir.DTypeName]] = {}
    found: set[Name] = set()
    for number, part in enumerate(parts):
        for name in names_used(part.statements, live):
            if name in bound and (bound[name][0] != number or part.function):
                found.add(name)
        for stmt in part.statements:
            if isinstance(stmt, (ir.Let, ir.Declare)):
                bound[stmt.name] = number, stmt.value.dtype
                if part.function:
                    found.add(stmt.name)
    return {name: dtype for name, (_, dtype) in bound.items() if name in found}
