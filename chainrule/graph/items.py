"""Variables and items, read and written in rewritten source: concrete arrays become traced where they have to."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .array import FUNCTIONS, Array, View, as_array
from .blocks import Local, NotRollable, Undefined, in_trial, known
from .creation import filled
from .dtype import canonical
from .effects import check_container
from .routes import FRESH, converted_index, is_traced, sequence_item
from .scope import current
from .where import error


def makes_array(function: Any) -> bool:
    if getattr(function, "__name__", "") == "copy" and isinstance(getattr(function, "__self__", None), np.ndarray):
        return True
    if isinstance(function, np.ufunc):
        return True
    try:
        return function in FRESH
    except TypeError:  # not hashable
        return False


def fresh(array: Any, function: Any) -> Any:
    """Notes an array that the program has made."""
    scope = current()
    if scope is not None and type(array) is np.ndarray:
        if function in (np.empty, np.empty_like):
            array.fill(0)
        scope.root.made[id(array)] = Local(array, scope)
    return array


def ld(value: Any) -> Any:
    """A variable is read."""
    if isinstance(value, Undefined):
        raise value.problem()
    if type(value) is np.ndarray:
        own = known(value)
        if own is not None and own.traced is not None:
            return own.traced
    return value


def ldu(read: Callable[[], Any], name: str) -> Any:
    """An attribute is read that may not be there."""
    try:
        return read()
    except (KeyError, AttributeError, NameError):
        return Undefined(name)


def _writable(array: np.ndarray[Any, Any], *values: Any) -> Any:
    """What to write to: the concrete array, or what it becomes when the values or the place are traced."""
    own = known(array)
    if own is not None and own.traced is not None:
        return own.traced
    scope = current()
    elsewhere = scope is not None and scope.block is not None and (own is None or own.made_in is not scope)
    if not elsewhere and not any(map(is_traced, values)):
        if own is not None and own.sharing is not None:
            own.sharing.written()
        return array
    if own is None:
        if scope is not None and scope._is_external(array):
            message = _FROM_OUTSIDE
        elif array.base is not None:
            message = "a part of a concrete array is written to; write to the array itself: x[i, j] = ..."
        else:
            message = "a concrete array is written to; make it with np.zeros or .copy() in the traced function"
        raise error(ValueError, message)
    made = _as_traced(array)
    made._scope = own.made_in
    made._sharing = own.sharing
    own.traced = made
    return made


_FROM_OUTSIDE: Final = "an array from outside of the traced function is written to; copy it first: x = x.copy()"


def _as_traced(array: np.ndarray[Any, Any]) -> Array:
    """A concrete array as a traced one; what np.zeros and its like have made is no data."""
    if array.size and array.tobytes() == array.ravel()[:1].tobytes() * array.size:
        return filled(array.ravel()[0], array.shape, canonical(array.dtype))
    made: Array = FUNCTIONS["array"](array)
    return made


def get_item(value: Any, index: Any) -> Any:
    """``value[index]``."""
    if isinstance(value, (Undefined,)):
        raise value.problem()
    if not isinstance(value, Array) and converted_index(index):
        if isinstance(value, np.ndarray):
            return _shared(value, index)[index]
        if isinstance(value, (list, tuple)) and isinstance(index, Array) and not index.shape:
            return sequence_item(value, index)
    return value[index]


def _shared(array: np.ndarray[Any, Any], index: Any) -> Array:
    """A concrete array as a traced one of which ``index`` takes a part, which the program may write to."""
    own = known(array)
    if own is not None and array.ndim > 1:
        made: Array = _writable(array, *_parts(index))
        return made
    found = as_array(array)
    if own is None:
        found._frozen = _FROM_OUTSIDE
    return found


def set_item(value: Any, target: Any, index: Any) -> None:
    """``target[index] = value``."""
    if isinstance(target, np.ndarray):
        target = _writable(target, value, *_parts(index))
    elif not isinstance(target, Array):
        check_container(target, "[...] = ...")
        if in_trial() and not isinstance(target, (list, dict)):
            raise NotRollable(f"it changes a {type(target).__name__}")
    target[index] = value


_SYMBOLS: Final[dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]]] = {
    "+": (operator.iadd, operator.add), "-": (operator.isub, operator.sub), "*": (operator.imul, operator.mul),
    "/": (operator.itruediv, operator.truediv), "//": (operator.ifloordiv, operator.floordiv),
    "%": (operator.imod, operator.mod), "**": (operator.ipow, operator.pow), "@": (operator.imatmul, operator.matmul),
    "&": (operator.iand, operator.and_), "|": (operator.ior, operator.or_), "^": (operator.ixor, operator.xor),
    "<<": (operator.ilshift, operator.lshift), ">>": (operator.irshift, operator.rshift),
}  # fmt: skip


def update(target: Any, symbol: str, value: Any) -> Any:
    """The value of ``target`` after ``target += value``."""
    if isinstance(target, np.ndarray):
        target = _writable(target, value)
    elif isinstance(target, (list, dict, set)):
        check_container(target, f" {symbol}= ...")
    return _SYMBOLS[symbol][0](target, value)


def update_item(target: Any, index: Any, symbol: str, value: Any) -> None:
    """``target[index] += value``."""
    if isinstance(target, np.ndarray):
        target = _writable(target, value, *_parts(index))
    old = get_item(target, index)
    new = _SYMBOLS[symbol][0](old, value) if isinstance(target, np.ndarray) else update(old, symbol, value)
    if new is not old or not isinstance(new, View):  # a view has written through
        set_item(new, target, index)


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)
