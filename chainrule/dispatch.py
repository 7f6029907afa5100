"""Functions that work on traced values inside a trace and compute at once outside: what the NumPy-like
modules hold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .graph.array import Array, as_array
from .graph.functions import FUNCTIONS
from .graph.operations import At
from .graph.scope import current


class ndarray(np.ndarray[Any, Any]):
    """NumPy's array with ``.at``; what ``chainrule.numpy`` returns outside of a trace."""

    @property
    def at(self) -> At:
        """``x.at[i].set(v)``, ``.add``, ``.multiply``, ``.min``, ``.max``, ``.get``: a changed copy.

        >>> np.zeros(3).view(ndarray).at[1].add(2)
        ndarray([0., 2., 0.])
        """
        return At(self._at)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else super().__array_wrap__(array, context, return_scalar)

    def _at(self, name: str, index: Any, value: Any = None, kind: str = "set") -> Any:
        if current() is not None and is_traced((index, value)):
            array = as_array(self)
            return array[index] if name == "getitem" else FUNCTIONS[name](array, index, value, kind)
        if name == "getitem":
            return self[index]
        found = self.copy()
        if kind == "set":
            found[index] = value
        else:
            _IN_PLACE[kind].at(found, index, value)
        return found


_IN_PLACE: dict[str, np.ufunc] = {
    "add": np.add, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "minimum": np.minimum, "maximum": np.maximum,
}  # fmt: skip


def is_traced(value: Any) -> bool:
    """Whether a value is traced, or a container of values of which one is."""
    if isinstance(value, Array):
        return True
    if isinstance(value, (tuple, list)):
        return any(is_traced(v) for v in value)
    return isinstance(value, dict) and any(is_traced(v) for v in value.values())


def with_at(value: Any) -> Any:
    """A result of NumPy's with its arrays as ``ndarray``; scalars stay."""
    if isinstance(value, np.ndarray):
        return value.view(ndarray)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(with_at, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(with_at, value))
    return value


def traceable(name: str, concrete: Callable[..., Any], *, creates: bool = False) -> Callable[..., Any]:
    """The function ``FUNCTIONS[name]`` on traced values, ``concrete`` on all others.

    ``creates``: a function that makes arrays gives traced ones inside a trace, so that they can be written
    to.
    """

    @wraps(concrete)
    def function(*args: Any, **kwargs: Any) -> Any:
        if current() is not None and (creates or is_traced(args) or is_traced(kwargs)):
            return FUNCTIONS[name](*args, **kwargs)
        return with_at(concrete(*args, **kwargs))

    return function
