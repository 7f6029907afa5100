"""What may happen in a block of Python that is traced, and so is run once for many times, or for none: nothing that
changes what is outside of it. In a trial, which may be run again as plain Python, nothing that cannot be taken back.
"""

from __future__ import annotations

import dis
import inspect
import sys
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final

import numpy as np

from .array import Array
from .blocks import NotRollable, containers
from .callees import CHANGING, TELLING, is_generator
from .scope import current
from .where import error, here, is_of_user

_PURE_TYPES: Final = (Array, np.ndarray, np.generic, str, bytes, int, float, complex, tuple, range)
_WRITING: Final = frozenset({
    "put", "copyto", "place", "putmask", "fill_diagonal", "fill", "itemset", "resize", "setflags",
})  # fmt: skip
_PURE_BUILTINS: Final = frozenset(
    {abs, all, any, bool, bytes, complex, dict, divmod, enumerate, filter, float, frozenset, getattr, hasattr, int}
    | {isinstance, issubclass, len, list, map, max, min, pow, range, repr, reversed, round, set, slice, sorted, str}
    | {sum, tuple, type, zip}
)


class Journal:
    """What a rewritten function has shown outside so far: where the function has to be run again, it is not again.

    Only what is certain to be outside counts: what is printed, and containers that were there before.
    """

    __slots__ = ("done", "outside", "position")

    def __init__(self, function: FunctionType, args: tuple[Any, ...]) -> None:
        self.done: list[tuple[Any, Any]] = []
        self.position = 0
        reached = [function.__globals__.get(name) for name in function.__code__.co_names]
        reached += [part for value in args for part in (value, *getattr(value, "__dict__", {}).values())]
        self.outside = {id(c) for c in (*containers(function), *reached) if isinstance(c, (list, dict, set))}

    def again(self) -> Journal:
        """The journal, from its beginning."""
        self.position = 0
        return self

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls ``function``, unless that has been done already."""
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        tells = name in TELLING and not (getattr(function, "__module__", None) or "").startswith("chainrule.")
        if not tells and not (name in CHANGING and id(owner) in self.outside):
            return function(*args, **kwargs)
        scope = current()
        if scope is not None and scope.block is not None:
            return self._told(function, args, kwargs)
        if self.position < len(self.done) and self.done[self.position][0] == function:
            self.position += 1
            return self.done[self.position - 1][1]
        found = function(*args, **kwargs)
        self.done.append((function, found))
        self.position = len(self.done)
        return found

    def _told(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A block is traced several times until its types are right: each of its lines shows once."""
        line = here()
        if any(told == (function, line) for told, _ in self.done):
            return None
        found = function(*args, **kwargs)
        self.done.append(((function, line), None))
        return found


def check_pure(function: Any) -> None:
    """In a block, a call that changes what is outside is an error; in a trial, any that may have effects ends it.
    Random numbers would be the same in every call.
    """
    scope = current()
    if is_generator(getattr(function, "__self__", None)):
        raise error(
            TypeError,
            "random numbers are drawn while the function is traced, and would be the same in every later call; draw"
            " them before and pass them as an argument",
        )
    if scope is None or scope.block is None:
        return
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if isinstance(owner, (list, dict, set)):
        if name in CHANGING:
            check_container(owner, f".{name}")
        return
    if not scope.block.trial or _is_pure(function, owner, name):
        return
    raise NotRollable(f"it calls {name or type(function).__name__}, which may have effects")


def _is_pure(function: Any, owner: Any, name: str) -> bool:
    if type(function).__module__.split(".")[0] == "chainrule":  # which goes by the module of what it wraps
        return True
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


def outside(name: str) -> None:
    """A variable from outside of the function is assigned to."""
    scope = current()
    if scope is None or scope.block is None:
        return
    if scope.block.trial:
        raise NotRollable(f"it changes {name}")
    raise error(
        TypeError,
        f"{name} is no variable of the function's own, and changes in a branch or loop that is not known while"
        " tracing; return the new value",
    )


class Trying:
    """The body of a ``try`` whose handlers are for exceptions of these kinds: compiled code raises none."""

    __slots__ = ("count", "kinds")

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds = [k for kind in kinds for k in (kind if isinstance(kind, tuple) else (kind,))]
        self.count = 0

    def __enter__(self) -> None:
        scope = current()
        self.count = 0 if scope is None else len(scope.provenance)

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        scope = current()
        if problem is not None or scope is None or len(scope.provenance) == self.count:
            return
        expected = [k for k in self.kinds if any(issubclass(e, k) or issubclass(k, e) for e in _NEVER_RAISED)]
        if expected:
            raise error(
                TypeError,
                f"`except {expected[0].__name__}` around computations with traced values, in which compiled code"
                " raises nothing; test with `if` for what goes wrong",
            )


_NEVER_RAISED: Final = (ArithmeticError, ValueError)


def caught() -> BaseException | None:
    """The exception that a handler has caught; one that is about tracing goes on."""
    problem = sys.exc_info()[1]
    if problem is not None and (is_of_user(problem) or isinstance(problem, NotRollable)):
        raise problem
    return problem


def asserted(holds: Any, message: Callable[[], Any]) -> None:
    """``assert holds, message``."""
    if isinstance(holds, Array):
        raise error(
            TypeError,
            "assert of a traced value: a compiled function cannot raise; check the arguments before, or return nan"
            " there",
        )
    if not holds:
        said = message()
        raise AssertionError(*([] if said is None else [said]))


def known(condition: Any) -> Any:
    """The condition of a comprehension."""
    if isinstance(condition, Array):
        raise error(
            TypeError,
            "the condition of a comprehension is traced: how long its result is would depend on data; use np.where,"
            " np.sort or sums with a factor of 0 or 1, which keep the length",
        )
    return condition


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
