"""Names and limits of the parameters of a model, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

from chainrule.graph.where import error, of_function
from chainrule.selection import function_name

Limits = tuple[float, float] | None
Parameters = dict[str, Limits]


def model_parameters(model: Callable[..., Any], name: Sequence[str] | None = None) -> Parameters:
    """Name → limits of the parameters of ``model(x, …)``: all after the first; ``name`` gives other names.

    Limits stand in the annotation, as in iminuit: ``Annotated[float, 0:]``, ``Annotated[float, (0, 1)]``, or the marks
    ``Gt``, ``Ge``, ``Lt``, ``Le`` of the package annotated-types.
    """
    shown = function_name(model)
    try:
        signature = inspect.signature(model, eval_str=True)
    except NameError:  # annotations that cannot be evaluated mean nothing here
        signature = inspect.signature(model)
    except (TypeError, ValueError):
        if name:
            return dict.fromkeys(name)
        raise error(TypeError, f"{shown} does not tell the names of its parameters; give name=[…]") from None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p for p in signature.parameters.values() if p.kind in positional]
    starred = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    if not found:
        raise error(TypeError, f"{shown}{signature} takes no data: its first argument is x", of_function(model))
    parameters = {p.name: limits_of(p.annotation) for p in found[1:]}
    if name:
        if len(name) == len(parameters):
            return dict(zip(name, parameters.values(), strict=True))
        if parameters and not starred:
            raise error(
                ValueError,
                f"name= gives {len(name)} names, but {shown}{signature} has {len(parameters)} after the first",
            )
        return dict.fromkeys(name)
    if starred and not parameters:
        raise error(TypeError, f"{shown}{signature} does not name its parameters; give name=[…]", of_function(model))
    return parameters


def limits_of(annotation: Any) -> Limits:
    """The limits that an annotation states.

    >>> limits_of(Annotated[float, 0:])
    (0, inf)
    >>> limits_of(float) is None
    True
    """
    if get_origin(annotation) is not Annotated:
        return None
    low, high = float("-inf"), float("inf")
    for mark in get_args(annotation)[1:]:
        if isinstance(mark, slice):
            low = low if mark.start is None else mark.start
            high = high if mark.stop is None else mark.stop
        elif isinstance(mark, Sequence) and not isinstance(mark, (str, bytes)) and len(mark) == 2:
            low, high = mark
        else:
            for attribute in ("gt", "ge"):
                value = getattr(mark, attribute, None)
                low = low if value is None else value
            for attribute in ("lt", "le"):
                value = getattr(mark, attribute, None)
                high = high if value is None else value
    return low, high


def merged(parts: Sequence[Parameters]) -> tuple[Parameters, list[list[int]]]:
    """The parameters of all parts, shared by name, and where those of each part stand among them.

    Limits on a shared parameter must hold for each part, so the narrowest are kept.
    """
    together: Parameters = {}
    for part in parts:
        for name, limits in part.items():
            known = together.get(name)
            if limits is not None and known is not None:
                limits = (max(limits[0], known[0]), min(limits[1], known[1]))
            together[name] = known if limits is None else limits
    order = {name: position for position, name in enumerate(together)}
    return together, [[order[name] for name in part] for part in parts]
