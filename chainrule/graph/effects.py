"""What may happen in a block of Python that is traced, and so is run once for many times, or for none: nothing that
changes what is outside of it. In a trial, which may be run again as plain Python, nothing that cannot be taken back.
"""

from __future__ import annotations

import dis
import inspect
import weakref
from types import CodeType, FunctionType
from typing import Any, Final

import numpy as np

from .array import Array
from .blocks import NotRollable, containers
from .scope import current
from .where import error

_CHANGING: Final = frozenset({
    "append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem", "add", "discard", "sort",
    "reverse", "__setitem__", "__delitem__",
})  # fmt: skip
_PURE_TYPES: Final = (Array, np.ndarray, np.generic, str, bytes, int, float, complex, tuple, range)
_WRITING: Final = frozenset({
    "put", "copyto", "place", "putmask", "fill_diagonal", "fill", "itemset", "resize", "setflags",
})  # fmt: skip
_PURE_BUILTINS: Final = frozenset(
    {abs, all, any, bool, bytes, complex, dict, divmod, enumerate, filter, float, frozenset, getattr, hasattr, int}
    | {isinstance, issubclass, len, list, map, max, min, pow, range, repr, reversed, round, set, slice, sorted, str}
    | {sum, tuple, type, zip}
)


def check_pure(function: Any) -> None:
    """In a block, a call that changes what is outside is an error; in a trial, any that may have effects ends it."""
    scope = current()
    if scope is None or scope.block is None:
        return
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if isinstance(owner, (list, dict, set)):
        if name in _CHANGING:
            check_container(owner, f".{name}")
        return
    if not scope.block.trial or _is_pure(function, owner, name):
        return
    raise NotRollable(f"it calls {name or type(function).__name__}, which may have effects")


def _is_pure(function: Any, owner: Any, name: str) -> bool:
    module = getattr(function, "__module__", None) or ""
    if name in _WRITING:
        return False
    if isinstance(function, (np.ufunc, type(np.sum))) or isinstance(owner, _PURE_TYPES):
        return True
    if isinstance(function, type):
        return function in _PURE_BUILTINS or issubclass(function, (tuple, np.generic, BaseException))
    if owner is None or inspect.ismodule(owner):
        top = module.split(".")[0]
        pure = top in ("math", "cmath", "operator", "scipy", "chainrule", "numpy") and ".random" not in module
        return pure or function in _PURE_BUILTINS
    return module.split(".")[0] == "chainrule"


def check_function(function: FunctionType, owner: Any) -> None:
    """In a block, a call of a function of the user's that changes variables or attributes outside of it is an error."""
    scope = current()
    if scope is None or scope.block is None:
        return
    code = function.__code__
    stored = _stored(code)
    names = [name for op, name in stored if op == "STORE_GLOBAL" or (op == "STORE_DEREF" and name in code.co_freevars)]
    if id(owner) in scope.block.outside:
        names += [name for op, name in stored if op == "STORE_ATTR"]
    if names:
        what = f"{function.__name__} changes {names[0].removeprefix('ag__')}, which is outside of it"
        if scope.block.trial:
            raise NotRollable(what)
        raise error(TypeError, f"{what}, in a branch or loop that is not known while tracing; return the new value")
    scope.block.outside.update(id(c) for c in containers(function))
    reached = (function.__globals__.get(name) for name in code.co_names)
    scope.block.outside.update(id(v) for v in reached if isinstance(v, (list, dict, set)))


def _stored(code: CodeType) -> frozenset[tuple[str, str]]:
    """What the instructions of a function, and of those in it, assign to other than its locals."""
    found = _stores.get(code)
    if found is None:
        own = {(i.opname, i.argval) for i in dis.get_instructions(code) if i.opname in _STORING}
        inner = [_stored(c) for c in code.co_consts if isinstance(c, CodeType)]
        found = _stores[code] = frozenset(own).union(*inner)
    return found


_STORING: Final = frozenset({"STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR"})
_stores: Final[weakref.WeakKeyDictionary[CodeType, frozenset[tuple[str, str]]]] = weakref.WeakKeyDictionary()


def check_container(owner: Any, what: str) -> None:
    """Whether a list, dict or set may be changed here."""
    scope = current()
    if scope is None or scope.block is None or id(owner) not in scope.block.outside:
        return
    if scope.block.trial:
        raise NotRollable(f"it changes a {type(owner).__name__}")
    raise error(
        TypeError,
        f"{type(owner).__name__}{what} in a branch or loop that is not known while tracing; fill an array from"
        " np.zeros, or use a variable for the value",
    )


def raised(problem: Any) -> Any:
    """What a ``raise`` raises."""
    scope = current()
    if scope is not None and scope.block is not None:
        if scope.block.trial:
            raise NotRollable("it raises an exception")
        shown = getattr(problem, "__name__", type(problem).__name__)
        return error(
            TypeError,
            f"raise {shown} in a branch or loop that is not known while tracing: a compiled function cannot raise;"
            " return nan there, or check the arguments before",
        )
    return problem
