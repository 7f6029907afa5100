"""Which arguments a derivative is taken with respect to: ``argnums`` as in JAX, or names (``wrt``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph.where import error

Chosen = tuple[int | str, ...]  # top-level arguments: positions, or names of keyword arguments


@dataclass(frozen=True, slots=True)
class Selection:
    """What to differentiate with respect to, as asked for; ``single``: one, not a tuple of one."""

    positions: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    single: bool = True

    def resolve(self, fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
        """Where the selected arguments stand in this call."""
        if not self.names:
            found = []
            for p in self.positions:
                at = p + len(args) if p < 0 else p
                if not 0 <= at < len(args):
                    name = function_name(fun)
                    raise error(
                        TypeError, f"argnums={p}, but {name} was called with {len(args)} positional arguments"
                    )
                found.append(at)
            return tuple(found)
        parameters = parameter_names(fun)
        aliases = getattr(fun, "aliases", {})  # symbols whose names are no Python names
        chosen: list[int | str] = []
        for name in (aliases.get(n, n) for n in self.names):
            if name in kwargs:
                chosen.append(name)
            elif name in parameters and parameters.index(name) < len(args):
                chosen.append(parameters.index(name))
            else:
                listed = ", ".join(parameters)
                raise error(
                    TypeError,
                    f"wrt={name!r}: {function_name(fun)}({listed}) was called without an argument of that name",
                )
        return tuple(chosen)

    def contains(self, fun: Callable[..., Any], where: int | str) -> bool:
        """Whether the top-level argument at ``where`` may be one of the selected."""
        if isinstance(where, int):
            if where in self.positions or any(p < 0 for p in self.positions):
                return True
            parameters = parameter_names(fun)
            return where < len(parameters) and parameters[where] in self._known_names(fun)
        return where in self._known_names(fun)

    def _known_names(self, fun: Callable[..., Any]) -> set[str]:
        aliases = getattr(fun, "aliases", {})
        return {aliases.get(name, name) for name in self.names}


def selection(argnums: int | Sequence[int] | None, wrt: Any) -> Selection:
    """``argnums`` as in JAX, or names: ``"a b"``, ``["a", "b"]``, SymPy symbols."""
    if wrt is not None:
        if argnums is not None:
            raise error(TypeError, "give argnums or wrt, not both")
        if isinstance(wrt, str):
            names = tuple(wrt.replace(",", " ").split())
            single = len(names) == 1
        elif isinstance(wrt, (list, tuple)):
            names, single = tuple(str(w) for w in wrt), False
        else:
            names, single = (str(wrt),), True
        if not names or len(set(names)) < len(names):
            raise error(ValueError, f"wrt={wrt!r} names no argument, or one twice")
        return Selection(names=names, single=single)
    if argnums is None:
        argnums = 0
    several = argnums if isinstance(argnums, (list, tuple)) else (argnums,)
    if any(isinstance(a, (bool, np.bool_)) or not isinstance(a, (int, np.integer)) for a in several):
        raise error(TypeError, f"argnums is an integer or a tuple of integers, not {argnums!r}; names go to wrt=")
    if isinstance(argnums, (int, np.integer)):
        return Selection((int(argnums),))
    if not argnums or len(set(argnums)) < len(argnums):
        raise error(ValueError, f"argnums={argnums!r} names no argument, or one twice")
    return Selection(tuple(int(a) for a in argnums), single=False)


def parameter_names(fun: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fun).parameters)
    except (TypeError, ValueError):
        return []


def function_name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def check_call(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Arguments that do not fit the function are an error of the caller's."""
    try:
        signature = inspect.signature(fun)
    except (TypeError, ValueError):  # some builtins have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as problem:
        raise error(TypeError, f"{function_name(fun)}{signature}: {problem}") from None
