"""Functions with some arguments fixed: what ``bind`` is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .graph.array import Array
from .graph.scope import Bound
from .graph.trace import call_user
from .graph.where import error
from .selection import function_name


def fixed_value(value: Any) -> Any:
    """A leaf of the data; arrays are copied, once and for all."""
    if isinstance(value, Array) or not hasattr(value, "__array__") or np.ndim(value) == 0:
        return value
    array = np.array(value, order="C")
    array.flags.writeable = False
    return array.view(Bound)


def with_arguments(
    fun: Callable[..., Any], fixed: dict[str, Any]
) -> tuple[Callable[..., Any], inspect.Signature | None]:
    """(program, signature) of the other arguments of ``fun``."""
    try:
        signature = inspect.signature(fun)
    except (TypeError, ValueError):  # some builtins have none

        def unchecked(*args: Any, **kwargs: Any) -> Any:
            return call_user(fun, *args, **kwargs, **fixed)

        return unchecked, None
    remaining, extra = _without(fun, signature, fixed)

    def program(*args: Any, **kwargs: Any) -> Any:
        given = {**remaining.bind(*args, **kwargs).arguments, **fixed}
        whole = {name: given[name] for name in signature.parameters if name in given}
        bound = inspect.BoundArguments(signature, whole)
        return call_user(fun, *bound.args, **bound.kwargs, **{name: fixed[name] for name in extra})

    program.__wrapped__ = fun  # type: ignore[attr-defined]
    return program, remaining


def _without(
    fun: Callable[..., Any], signature: inspect.Signature, fixed: dict[str, Any]
) -> tuple[inspect.Signature, list[str]]:
    """The signature without what is fixed, and the names that go to ``**kwargs``."""
    parameters = signature.parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    extra = [name for name in fixed if name not in parameters or parameters[name].kind not in named]
    if extra and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        shown = ", ".join(parameters)
        raise error(TypeError, f"bind: {function_name(fun)}({shown}) has no parameter {extra[0]!r} that could be fixed")
    kept = [p for p in parameters.values() if p.name not in fixed or p.name in extra]
    return signature.replace(parameters=kept), extra
