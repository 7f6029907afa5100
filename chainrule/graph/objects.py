"""Operators and attributes of objects of the user's classes: which of the user's functions Python would call."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from .array import Array
from .callees import is_users

NUMBERS: Final = frozenset({Array, np.ndarray, np.float64, np.int64, int, float, complex, bool})
"""Types whose operators are no functions of the user's."""
_PLAIN: Final = (ModuleType, Array, np.ndarray, FunctionType)

BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "@": operator.matmul, "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_METHODS: Final = {
    "+": ("__add__", "__radd__"), "-": ("__sub__", "__rsub__"), "*": ("__mul__", "__rmul__"),
    "/": ("__truediv__", "__rtruediv__"), "//": ("__floordiv__", "__rfloordiv__"), "%": ("__mod__", "__rmod__"),
    "**": ("__pow__", "__rpow__"), "@": ("__matmul__", "__rmatmul__"), "&": ("__and__", "__rand__"),
    "|": ("__or__", "__ror__"), "^": ("__xor__", "__rxor__"), "<<": ("__lshift__", "__rlshift__"),
    ">>": ("__rshift__", "__rrshift__"), "<": ("__lt__", "__gt__"), "<=": ("__le__", "__ge__"),
    ">": ("__gt__", "__lt__"), ">=": ("__ge__", "__le__"), "==": ("__eq__", "__eq__"), "!=": ("__ne__", "__ne__"),
}  # fmt: skip


def method(value: Any, name: str) -> FunctionType | None:
    """The method ``name`` of an object's class, if the user wrote it."""
    if type(value) in NUMBERS:
        return None
    found = getattr(type(value), name, None)
    return found if isinstance(found, FunctionType) and is_users(found) else None


def methods_of_operator(symbol: str, a: Any, b: Any) -> list[tuple[FunctionType, tuple[Any, Any]]]:
    """The user's functions that Python tries for ``a + b`` before any other, with their arguments."""
    forward, reflected = _METHODS[symbol]
    left, right = method(a, forward), method(b, reflected)
    mine = [(left, (a, b))] if left is not None else []
    if right is None or type(a) is type(b) or not (mine or type(a) in NUMBERS):
        return mine
    other = [(right, (b, a))]
    return other + mine if issubclass(type(b), type(a)) else mine + other


def getter(value: Any, name: str) -> FunctionType | None:
    """The function that computes the attribute ``name``, if it is a property that the user wrote."""
    if isinstance(value, _PLAIN):
        return None
    for base in type(value).__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            if isinstance(found, property):
                plain: Any = found.fget
            elif isinstance(found, functools.cached_property) and name not in vars(value):
                plain = found.func
            else:
                return None
            return plain if isinstance(plain, FunctionType) and is_users(plain) else None
    return None
