"""What can be read off the user's functions before they are called: which they may call, whether there are loops in
them, and whether they change what is outside of them.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import sysconfig
import textwrap
import weakref
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from .array import Array
from .where import is_inside

SHORT: Final = 8  # loops up to this length are run as Python
_STANDARD: Final = sysconfig.get_path("stdlib")
_BACKWARD: Final = frozenset(n for name, n in dis.opmap.items() if "BACKWARD" in name or name == "FOR_ITER")
_LEAVES: Final = (Array, np.ndarray, np.generic, ModuleType, CodeType, str, bytes, int, float, complex, type(None))
CHANGING: Final = frozenset({
    "append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem", "add", "discard", "sort",
    "reverse", "__setitem__", "__delitem__",
})  # fmt: skip
"""Methods of lists, dicts and sets that change them."""
TELLING: Final = frozenset({"print", "write", "writelines", "warn", "warning", "info", "debug"})
"""Functions that say something."""
_WRITING: Final = frozenset({
    "STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR", "DELETE_ATTR", "DELETE_GLOBAL", "DELETE_SUBSCR",
})  # fmt: skip


def is_users(function: FunctionType) -> bool:
    """Whether a function is part of the user's program, and is as the user wrote it."""
    if hasattr(function, "autograph_info__"):
        return False
    name = function.__code__.co_filename
    return not is_inside(name) and not (name.startswith(_STANDARD) and "-packages" not in name)


def target(function: Any) -> tuple[FunctionType, tuple[Any, ...]] | None:
    """The user's Python function that is called, and what it is bound to; None for what is never rewritten."""
    plain: Any
    own: tuple[Any, ...]
    plain, own = function, ()
    if not isinstance(function, (FunctionType, MethodType, type)):
        plain = MethodType(type(function).__call__, function) if callable(function) else None
    if isinstance(plain, MethodType):
        plain, own = plain.__func__, (plain.__self__,)
    return (plain, own) if isinstance(plain, FunctionType) and is_users(plain) else None


def constructor(function: Any) -> FunctionType | None:
    """The ``__init__`` of a class that a program of the user's defines, and which is all that makes its objects."""
    if type(function) is not type or getattr(function, "__new__", None) is not object.__new__:
        return None
    found: Any = getattr(function, "__init__", None)
    return found if isinstance(found, FunctionType) and is_users(found) else None


# --- what a call may do -------------------------------------------------------------------------------------


def has_loops(function: FunctionType, own: tuple[Any, ...] = ()) -> bool:
    """Whether a function, or one of the user's that it may call, has a loop: rewriting may keep it from being
    unrolled.
    """
    return any(_code_has_loops(f.__code__) and not _all_are_short(f) for f in _reachable(function, own))


def _all_are_short(function: FunctionType) -> bool:
    """Whether every loop is over ``range(n)``, n a number or a global that is one, of so few steps that it runs as
    Python anyway: then there is nothing to gain from rewriting, which takes longer than the rest of a small trace.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    code = function.__code__
    loops = [n for n in ast.walk(tree) if isinstance(n, (ast.For, ast.While, ast.AsyncFor))]
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
    if not loops or len(functions) > 1 or "sum" in code.co_names:
        return False
    known = {n: v for n, v in function.__globals__.items() if n not in (*code.co_varnames, *code.co_freevars)}
    return all(_is_short(loop, known) for loop in loops)


def _is_short(loop: ast.stmt, known: dict[str, Any]) -> bool:
    match loop:
        case ast.For(iter=ast.Call(func=ast.Name("range"), args=[count], keywords=[]), orelse=[]):
            steps = count.value if isinstance(count, ast.Constant) else None
            if isinstance(count, ast.Name):
                steps = known.get(count.id)
            return type(steps) is int and steps <= SHORT and "range" not in known
    return False


def must_be_rewritten(function: FunctionType, own: tuple[Any, ...] = ()) -> bool:
    """Whether a function, or one that it may call, should not be tried as it is: it may do what shows outside, and
    would be done twice, or asks for what Python answers for traced values as for any objects.
    """
    found = list(_reachable(function, own))
    return any(_code_must(f.__code__) or any(map(is_generator, _values(f))) for f in found)


def is_generator(value: Any) -> bool:
    """Whether a value is a generator of random numbers."""
    if not isinstance(type(value).__module__, str) or isinstance(value, type):
        return False
    return type(value).__module__ in ("random", "numpy.random._generator", "numpy.random.mtrand")


def _code_has_loops(code: CodeType) -> bool:
    found = _loops.get(code)
    if found is None:
        nested = [c for c in code.co_consts if isinstance(c, CodeType)]
        made = [c for c in nested if c.co_name.endswith("comp>") or c.co_name == "<genexpr>"]
        inner = nested if "sum" in code.co_names else [c for c in nested if c not in made]  # a sum may be rolled
        found = any(op in _BACKWARD for op in code.co_code[::2]) or any(map(_code_has_loops, inner))
        _loops[code] = found
    return found


def _code_must(code: CodeType) -> bool:
    found = _musts.get(code)
    if found is None:
        names = {*TELLING, *CHANGING, "isinstance"}
        nested = [c for c in code.co_consts if isinstance(c, CodeType)]
        found = bool(names.intersection(code.co_names) or code.co_exceptiontable) or any(
            i.opname in _WRITING or (i.opname == "STORE_DEREF" and i.argval in code.co_freevars)
            or (i.opname == "IS_OP" and not {True, False}.isdisjoint(code.co_consts))
            for i in dis.get_instructions(code)
        ) or any(map(_code_must, nested))  # fmt: skip
        _musts[code] = found
    return found


_loops: Final[weakref.WeakKeyDictionary[CodeType, bool]] = weakref.WeakKeyDictionary()
_musts: Final[weakref.WeakKeyDictionary[CodeType, bool]] = weakref.WeakKeyDictionary()


def _reachable(function: FunctionType, own: tuple[Any, ...]) -> Iterator[FunctionType]:
    """A function and those of the user's that it may call, as far as globals, closures and methods tell."""
    stack = [(function, own)]
    seen: set[CodeType] = set()
    while stack:
        found, bound = stack.pop()
        if found.__code__ not in seen:
            seen.add(found.__code__)
            yield found
            stack.extend(_callees(found, bound))


def _callees(function: FunctionType, own: tuple[Any, ...]) -> Iterator[tuple[FunctionType, tuple[Any, ...]]]:
    names = names_in(function.__code__)
    for value in _values(function):
        yield from _called(value)
        yield from _methods(value, names)
    for value in own:
        yield from _methods(value, names)


def _values(function: FunctionType) -> list[Any]:
    """What a function takes from outside: globals, closure, defaults."""
    values = [function.__globals__[n] for n in names_in(function.__code__) if n in function.__globals__]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # no value yet
            continue
    return [*values, *(function.__defaults__ or ())]


def _called(value: Any) -> Iterator[tuple[FunctionType, tuple[Any, ...]]]:
    """What runs when a value is called."""
    while isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, type):
        made = constructor(value)
        if made is not None:
            yield made, ()
    elif not isinstance(value, _LEAVES):
        found = target(value)
        if found is not None:
            yield found


def _methods(value: Any, names: set[str]) -> Iterator[tuple[FunctionType, tuple[Any, ...]]]:
    """The methods and properties of an object, or of a class's objects, that a function names."""
    if isinstance(value, (FunctionType, MethodType, *_LEAVES)):
        return
    of_class = isinstance(value, type)
    for base in (value if of_class else type(value)).__mro__:
        for name in names.intersection(base.__dict__):
            found: Any = base.__dict__[name]
            found = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", found)
            if isinstance(found, FunctionType) and is_users(found):
                yield found, () if of_class else (value,)


def names_in(code: CodeType) -> set[str]:
    """The globals and attributes that a function and those inside of it name."""
    found = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= names_in(inner)
    return found
