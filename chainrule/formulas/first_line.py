"""The first line of a function's formula, for its repr."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

from chainrule.compiled import Function

SMALL: Final = 60  # nodes: larger programs are not looked at for a repr
LONGEST: Final = 100  # characters
_TRANSFORMS: Final = ("grad", "value_and_grad", "hessian", "value_grad_hess", "elementwise_grad")
_known: Final[weakref.WeakKeyDictionary[Function, tuple[Any, str]]] = weakref.WeakKeyDictionary()


def first_line(function: Function) -> str:
    """The first line of the formula of a gradient's program, '' where that is long or there is none.

    The shapes of arguments are those of the last call; before it, all are taken for scalars.
    """
    from chainrule.graph.scope import current

    recipe = function.recipe
    if recipe is None or current() is not None:
        return ""
    transform, args, options = recipe
    name = getattr(transform, "__name__", "")
    if name not in _TRANSFORMS or len(args) != 1 or isinstance(args[0], Function):
        return ""
    if function.used is not None and len(function.used.graph) > SMALL:
        return ""
    known = _known.get(function)
    if known is None or known[0] is not function.used:
        known = _known[function] = function.used, _found(function, args[0], options)
    return known[1]


def _found(function: Function, program: Callable[..., Any], options: dict[str, Any]) -> str:
    from chainrule.selection import parameter_names

    from .formula import formula

    parameters = parameter_names(program)
    wrt = options.get("wrt")
    if wrt is None:
        chosen = options.get("argnums", 0)
        numbers = chosen if isinstance(chosen, (tuple, list)) else (chosen,)
        wrt = [parameters[k] for k in numbers if -len(parameters) <= k < len(parameters)]
    specs: dict[str, Any] = {}
    types = function.used.types if function.used is not None else ()
    if len(types) == len(parameters):
        lengths: dict[Any, str] = {}
        for parameter, kind in zip(parameters, types, strict=True):
            if kind.rank:
                specs[parameter] = tuple([_size(d, lengths) for d in kind.shape])
    try:
        line = formula(program, wrt, budget=0.05, **specs).first_line
    except Exception:  # a repr never fails
        return ""
    return line if len(line) <= LONGEST else ""


def _size(length: Any, names: dict[Any, str]) -> Any:
    """A length as a formula shows it: 2 and 3 as they are, others by a name each."""
    return length if length in (2, 3) else names.setdefault(length, f"n{len(names)}" if names else "n")
