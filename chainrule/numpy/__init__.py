"""NumPy's functions, on traced values too.

Inside a traced function plain ``numpy`` works as well wherever NumPy lets others take part. These names are
for the rest: arrays made inside (``zeros``, ``array`` of traced scalars, …) and functions that do not
dispatch. Outside of a trace they compute with NumPy; their arrays also have ``.at``.

>>> import chainrule.numpy as jnp
>>> jnp.zeros(3).at[0].set(1.0)
ndarray([1., 0., 0.])
"""

from __future__ import annotations

from typing import Any

import numpy as _np

from chainrule.dispatch import ndarray, traceable
from chainrule.graph.functions import FUNCTIONS as _FUNCTIONS

from . import linalg

_CREATE = frozenset(
    [
        "array",
        "asarray",
        "zeros",
        "ones",
        "full",
        "empty",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "arange",
        "linspace",
        "logspace",
        "geomspace",
        "eye",
        "identity",
        "tri",
    ]
)
# What NumPy has and would compute wrongly, or not at all, inside a trace.
_WITHOUT = {
    "random": "np.random before the traced function, and pass the numbers as arguments",
    "fft": "sums of exponentials",
    "vectorize": "chainrule.vmap",
}

pi, e, inf, nan, newaxis, euler_gamma = _np.pi, _np.e, _np.inf, _np.nan, None, _np.euler_gamma

__all__ = ["e", "euler_gamma", "inf", "linalg", "nan", "ndarray", "newaxis", "pi"]


def __getattr__(name: str) -> Any:
    if name in _WITHOUT:
        raise AttributeError(f"chainrule.numpy has no {name}; use {_WITHOUT[name]}")
    found = getattr(_np, name)
    if name in _FUNCTIONS:
        found = traceable(name, found, creates=name in _CREATE)
    elif callable(found) and not isinstance(found, type):
        found = _refusing(name, found)
    globals()[name] = found
    return found


def _refusing(name: str, concrete: Any) -> Any:
    """A function that NumPy alone has: fine on concrete values, an error at the user's line on traced
    ones.
    """
    from chainrule.graph.ufuncs import unsupported

    _FUNCTIONS.setdefault(f"!{name}", lambda *_, **__: _raise(unsupported(name)))
    return traceable(f"!{name}", concrete)


def _raise(problem: Exception) -> Any:
    raise problem


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in _FUNCTIONS if n.isidentifier() and hasattr(_np, n))})
