"""Which symbols of a program a formula is differentiated by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.graph.where import error

from .program import Program


def chosen(program: Program, wanted: tuple[str, ...] | None, names: Mapping[str, str] | None) -> list[Any]:
    """The symbols of the parameters (or of elements of them) named; all default ones for None."""
    request = program.request
    back = {new: old for old, new in (names or {}).items()}
    elements = {s.name: s for symbols in program.parameters.values() for s in symbols}
    found: list[Any] = []
    for name in wanted or request.default:
        known = back.get(name, name)
        if known in program.parameters:
            found += program.parameters[known]
        elif known in elements:
            found.append(elements[known])
        else:
            listed = ", ".join(dict.fromkeys([*program.parameters, *elements]))
            raise error(TypeError, f"wrt={name!r}: {request.name} has no such argument; there are {listed}")
    for symbol in found:
        if symbol.is_integer:
            message = f"{symbol} is a whole number in {request.name}: there is no derivative by it"
            raise error(TypeError, message)
        if not symbol.is_real:
            raise error(TypeError, f"{symbol} is complex: give its real and imaginary parts, or modulus and phase")
    return found
