"""Ordinary Python control flow in traced functions: the operators that rewritten source goes through.

A function is first called as it is, unless it has loops or may change what is outside of it. Where Python meets a
traced value that it cannot take (a condition, a bound, ``math.sin``), the function is called again with its source
rewritten (``convert``): every ``if``, ``while``, ``for`` and call then comes here. What is known stays Python: the same
statements, in the same order, with the same effects. A traced condition makes a ``Cond``, a traced test or length a
``Loop``. A long loop of known length whose body is on traced values is rolled into a ``Loop``, too, if its body takes
that.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import BuiltinFunctionType, FunctionType, GeneratorType, SimpleNamespace
from typing import Any, Final

import numpy as np

from . import (
    branches,
    loops,
    printing,  # noqa: F401  # enters what stands in for print
)
from .array import FUNCTIONS, Array, sharing_of
from .blocks import NotRollable, Undefined, UndefinedReturnValue, Variables, reaches_traced
from .callees import SHORT, constructor, has_loops, must_be_rewritten, target
from .effects import Journal, Trying, asserted, caught, check_function, check_pure, known, outside, raised
from .items import fresh, get_item, ld, ldu, makes_array, set_item, update, update_item
from .iteration import TracedRange, going_through, items_of, length_of, must_roll
from .objects import BINARY, NUMBERS, getter, method, methods_of_operator
from .routes import CREATE, ROUTES, contained, is_, is_traced
from .scope import current
from .where import error, find_over_traced, here

# Loops up to SHORT are run as Python, and up to this length where the steps differ: what they index is then known.
UNROLLED: Final = 16
LONGEST: Final = 10_000  # so many iterations on traced values may be run as Python


class _Rolling:
    """Whether loops of known length are rolled, whether one was, and what the function has shown outside."""

    __slots__ = ("allowed", "journal", "rolled")

    def __init__(self, journal: Journal, allowed: bool = True) -> None:
        self.allowed = allowed
        self.journal = journal
        self.rolled = False


_rolling: Final[ContextVar[_Rolling | None]] = ContextVar("chainrule_rolling", default=None)


# --- calls --------------------------------------------------------------------------------------------------


def call_user(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The user's function of these arguments, in the current trace."""
    if current() is None:
        return function(*args, **kwargs)
    found = target(function)
    if found is None:
        return (_stand_in(function) or function)(*args, **kwargs)
    plain, own = found
    if has_loops(plain, own) or must_be_rewritten(plain, own):
        made, _ = _rewritten(plain)
        if made is not None:
            return _run(made, (*own, *args), kwargs)
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, IndexError) as problem:
        marked = find_over_traced(problem)
        if marked is None:
            raise
        made, why = _rewritten(plain)
        if made is None:
            marked.args = (f"{marked} ({plain.__name__} cannot be rewritten: {why})",)
            raise
    return _run(made, (*own, *args), kwargs)


def _stand_in(function: Any) -> Any:
    """What is called for one of Python's or SciPy's functions that do not dispatch, if it is one."""
    return _library(function) or (ROUTES.get(function) if isinstance(function, BuiltinFunctionType) else None)


def _run(made: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A rewritten function; where what it rolled turns out to be needed as known numbers, with no loop rolled."""
    state = _Rolling(Journal(made, args))
    token = _rolling.set(state)
    try:
        return made(*args, **kwargs)
    except (TypeError, ValueError, IndexError) as problem:
        if not state.rolled or find_over_traced(problem) is None:
            raise
        _rolling.set(_Rolling(state.journal.again(), allowed=False))
        return made(*args, **kwargs)
    finally:
        _rolling.reset(token)


def _rewritten(function: FunctionType) -> tuple[FunctionType | None, str]:
    """The function with rewritten source; or None, and why it has none."""
    from .convert import CannotConvert, converted

    try:
        return converted(function, OPERATORS), ""
    except CannotConvert as problem:
        return None, str(problem)


def converted_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, scope: Any = None) -> Any:
    """A call in rewritten source."""
    named = kwargs or {}
    if isinstance(function, Undefined):
        raise function.problem()
    if isinstance(function, functools.partial):
        return converted_call(function.func, (*function.args, *args), {**function.keywords, **named}, scope)
    try:
        stand_in = ROUTES.get(function)
        creates = CREATE.get(function)
    except TypeError:  # not hashable
        stand_in = creates = None
    if stand_in is not None:
        if args and isinstance(args[0], _LAZY) and function in _GOING_THROUGH:
            args = (list(args[0]), *args[1:])
        if is_traced(args) or is_traced(named) or (function in _SEQUENCES and _is_long(args)):
            return stand_in(*args, **named)
        if function is not print:  # which is not to show twice
            return function(*args, **named)
    if creates is not None and (is_traced(args) or is_traced(named)):
        return creates(*args, **named)
    if function in (map, filter, functools.reduce) if isinstance(function, (type, BuiltinFunctionType)) else False:
        args = (_as_converted(args[0]), *args[1:])
    library = _library(function)
    if library is not None and (is_traced(args) or is_traced(named)):
        return library(*args, **named)
    users = target(function)
    if users is not None:
        plain, own = users
        check_function(plain, own[0] if own else None)
        made, _ = _rewritten(plain)
        if made is not None:
            return made(*own, *args, **named)
    init = constructor(function)
    if init is not None:
        check_function(init, None)
        made, _ = _rewritten(init)
        if made is not None:
            instance = function.__new__(function)
            made(instance, *args, **named)
            return instance
    if isinstance(function, FunctionType) and hasattr(function, "autograph_info__"):
        check_function(function, None)
    else:
        check_pure(function)
    found = _called(function, args, named)
    is_new = "out" not in named and all(found is not a for a in args)
    return fresh(found, function) if is_new and makes_array(function) else found


def get_attribute(value: Any, name: str) -> Any:
    """``value.name``: a property that the user wrote is a call, too."""
    found = getter(value, name)
    return getattr(value, name) if found is None else converted_call(found, (value,), None)


def binary(symbol: str, a: Any, b: Any) -> Any:
    """``a + b``, ``a < b`` and the like: a method that the user wrote is a call, too."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        for function, operands in methods_of_operator(symbol, a, b):
            found = converted_call(function, operands, None)
            if found is not NotImplemented:
                return found
    return BINARY[symbol](a, b)


def negative(value: Any) -> Any:
    """``-value``."""
    found = method(value, "__neg__")
    return -value if found is None else converted_call(found, (value,), None)


_SEQUENCES: Final = frozenset({enumerate, zip, reversed})
_LAZY: Final = (GeneratorType, map, filter)
_GOING_THROUGH: Final = frozenset({sum, min, max, any, all, sorted, math.fsum, math.prod})


def _is_long(args: tuple[Any, ...]) -> bool:
    lengths = [length_of(a) for a in args]
    if any(type(a) is np.ndarray for a in args):  # it may become traced meanwhile
        return True
    return any(not isinstance(n, int) or n > UNROLLED for n in lengths if n is not None)


def _as_converted(function: Any) -> Any:
    if target(function) is None:
        return function
    return lambda *args: converted_call(function, args, None)


def _library(function: Any) -> Any:
    """This package's form of one of SciPy's functions that do not dispatch; a distribution's methods are some, too."""
    owner = getattr(function, "__self__", function)
    distribution = getattr(owner, "dist", owner)  # of a frozen one
    if type(distribution).__module__.startswith("scipy.stats.") and hasattr(distribution, "name"):
        own = getattr(sys.modules.get("chainrule.scipy.stats"), distribution.name, None)
        if own is None or owner is function:
            return own
        if distribution is not owner:
            own = own(*owner.args, **owner.kwds)
        return getattr(own, function.__name__, None)
    module = getattr(function, "__module__", None) or ""
    if not module.startswith("scipy.") or isinstance(function, np.ufunc):
        return None
    own = sys.modules.get("chainrule." + ".".join(module.split(".")[:2]))
    return getattr(own, getattr(function, "__name__", ""), None)


def _called(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call of what is not rewritten."""
    state = _rolling.get()
    try:
        return function(*args, **kwargs) if state is None else state.journal.call(function, args, kwargs)
    except (TypeError, ValueError) as problem:
        module = getattr(function, "__module__", None) or ""
        if module.split(".")[0] in ("", "builtins", "chainrule", "numpy") or find_over_traced(problem) is None:
            raise
        name = f"{module}.{getattr(function, '__qualname__', '')}"
        raise error(
            TypeError,
            f"{name} computes with traced values, which it does not know: it is no program of NumPy functions. Call it"
            " outside of the traced function, or solve with cr.root, cr.fixed_point or a loop",
        ) from problem


# --- conditions ---------------------------------------------------------------------------------------------


def not_(value: Any) -> Any:
    """``not value``."""
    return FUNCTIONS["logical_not"](_scalar(value)) if isinstance(value, Array) else not value


def _scalar(value: Array) -> Array:
    branches.truth(value)
    return value


def and_(a: Callable[[], Any], b: Callable[[], Any]) -> Any:
    """``a and b``: b is only computed where a holds."""
    first = a()
    if not isinstance(first, Array):
        return first and b()
    return if_exp(_scalar(first), b, lambda: False if first.dtype.kind == "b" else first)


def or_(a: Callable[[], Any], b: Callable[[], Any]) -> Any:
    """``a or b``: b is only computed where a does not hold."""
    first = a()
    if not isinstance(first, Array):
        return first or b()
    return if_exp(_scalar(first), lambda: True if first.dtype.kind == "b" else first, b)


def if_exp(condition: Any, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    """``if_true if condition else if_false``."""
    if not isinstance(condition, Array):
        return if_true() if condition else if_false()
    box: list[Any] = [None]

    def put(values: tuple[Any, ...]) -> None:
        box[0] = values[0]

    variables = Variables(("ag__expression",), lambda: (box[0],), put, here())
    branches.branch(condition, _into(box, if_true), _into(box, if_false), variables, 1)
    return ld(box[0])


def _into(box: list[Any], value: Callable[[], Any]) -> Callable[[], None]:
    def block() -> None:
        box[0] = value()

    return block


def if_stmt(condition: Any, body: Any, orelse: Any, get: Any, put: Any, names: tuple[str, ...], live: int) -> None:
    """``if condition: body`` with ``else: orelse``."""
    if not isinstance(condition, Array):
        body() if condition else orelse()
        return
    branches.branch(condition, body, orelse, Variables(names, get, put, here()), live)


# --- loops --------------------------------------------------------------------------------------------------


def while_stmt(test: Any, body: Any, get: Any, put: Any, names: tuple[str, ...], options: Any) -> None:
    """``while test: body``."""
    variables = Variables(names, get, put, here())
    holds = test()
    rounds = 0
    while True:
        if isinstance(holds, Array):
            loops.while_loop(test, body, variables, trial=False)
            return
        if not holds:
            return
        if rounds in (0, UNROLLED) and reaches_traced(body, test):
            roll = functools.partial(loops.while_loop, test, body, variables, trial=True, by_data=rounds == 0)
            if _tried(roll, variables) is None:
                return
        body()
        rounds += 1
        holds = test()


def for_stmt(
    items: Any, extra: Any, body: Any, get: Any, put: Any, names: tuple[str, ...], options: dict[str, Any]
) -> None:
    """``for item in items: body(item)``, as long as ``extra``, if it is given, holds."""
    variables = Variables(names, get, put, here())
    if must_roll(items):
        try:
            loops.for_loop(items_of(items), extra, body, variables, trial=False)
        except NotRollable as problem:
            raise error(TypeError, f"a loop whose length is not known while tracing: {problem}") from None
        return
    if isinstance(items, TracedRange):
        items = range(items.start, items.stop, items.step)
    _for_known(items, extra, body, variables)


def _for_known(items: Any, extra: Any, body: Any, variables: Variables) -> None:
    """A loop of known length: Python's own, unless it is long, or ended by what is traced, and can be rolled."""
    count = length_of(items)
    why: str | None = ""
    if isinstance(count, int) and count > (SHORT if extra is None else 1) and _is_on_traced(items, extra, body):
        alike = extra is None and count <= UNROLLED
        roll = functools.partial(loops.for_loop, extra=extra, body=body, variables=variables, trial=True, alike=alike)
        why = _tried(lambda: roll(items_of(items)), variables)
        if why is None:
            return
    if isinstance(count, int) and count > LONGEST and _is_on_traced(items, extra, body):
        _check_length(count, variables, why)
    holds = True if extra is None else extra()
    for item in going_through(items):
        if isinstance(holds, Array):  # from here on it is not known whether the loop has ended
            branches.branch(holds, functools.partial(body, item), lambda: None, variables, len(variables.names))
        elif holds:
            body(item)
        else:
            return
        holds = True if extra is None else extra()


def _is_on_traced(items: Any, extra: Any, body: Any) -> bool:
    return is_traced(items) or reaches_traced(body, extra)


def _tried(attempt: Callable[[], None], variables: Variables) -> str | None:
    """Rolls a loop that may be run as Python as well; returns why it cannot be rolled, None where it was."""
    state = _rolling.get()
    if state is None or not state.allowed:
        return "its last values are needed while tracing"
    start = variables.get()
    try:
        attempt()
    except (NotRollable, ArithmeticError, AssertionError, LookupError, NameError, TypeError, ValueError) as problem:
        variables.set(start)  # if that was the program's mistake, it is made again as Python
        return str(problem)
    state.rolled = True
    return None


def _check_length(count: int, variables: Variables, why: str | None = "") -> None:
    reason = f"; it cannot be rolled: {why}" if why else ""
    raise error(TypeError, f"a loop of {count} iterations on traced values would be unrolled{reason}", variables.where)


def sum_over(function: Any, items: Any, term: Any, test: Any, spread: bool) -> Any:
    """``sum(term(item) for item in items if test(item))``: a loop, which may be rolled."""

    def of(f: Any, item: Any) -> Any:
        return f(*item) if spread else f(item)

    if function is not sum:
        return function(of(term, item) for item in items if test is None or known(of(test, item)))
    box: list[Any] = [0]

    def add(item: Any) -> None:
        holds = True if test is None else of(test, item)
        if isinstance(holds, Array):
            box[0] = if_exp(holds, lambda: box[0] + of(term, item), lambda: box[0])
        elif holds:
            box[0] = box[0] + of(term, item)

    def put(values: tuple[Any, ...]) -> None:
        box[0] = values[0]

    for_stmt(items, None, add, lambda: (box[0],), put, ("the sum",), {})
    return box[0]


# --- functions ----------------------------------------------------------------------------------------------


class FunctionScope:
    """The body of a rewritten function."""

    __slots__ = ("name",)

    def __init__(self, name: str, scope_name: str, options: Any) -> None:
        self.name = name

    def __enter__(self) -> FunctionScope:
        return self

    def __exit__(self, *problem: Any) -> None:
        return None

    def ret(self, value: Any, returned: Any) -> Any:
        """What the function returns: ``value`` if it has come to a ``return``."""
        if isinstance(value, UndefinedReturnValue) or (not isinstance(returned, Array) and not returned):
            return None
        if isinstance(value, Undefined):
            raise value.problem()
        if isinstance(returned, Array):
            where = "where that depends on traced values; return a value there, too"
            raise error(TypeError, f"{self.name} may come to its end without a `return`, {where}")
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Array) and part.shape:
                sharing_of(part).passive = False
        return value


def with_function_scope(body: Callable[[Any], Any], scope_name: str, options: Any) -> Any:
    """The body of a rewritten lambda."""
    return body(FunctionScope("lambda", scope_name, options))


def autograph_artifact(function: Any, extras: Any = None) -> Any:
    """Marks a function that is rewritten already, with the one that it is in."""
    function.autograph_info__ = extras
    return function


OPERATORS: Final = SimpleNamespace(
    FunctionScope=FunctionScope, Undefined=Undefined, UndefinedReturnValue=UndefinedReturnValue,
    and_=and_, asserted=asserted, autograph_artifact=autograph_artifact, binary=binary, caught=caught,
    contained=contained, converted_call=converted_call, for_stmt=for_stmt, get_attribute=get_attribute,
    get_item=get_item, if_exp=if_exp, if_stmt=if_stmt, is_=is_, known=known, ld=ld, ldu=ldu, negative=negative,
    not_=not_, or_=or_, outside=outside, raised=raised, set_item=set_item, slice_=slice, sum_over=sum_over,
    trying=Trying, update=update, update_item=update_item, while_stmt=while_stmt,
    with_function_scope=with_function_scope,
)  # fmt: skip
"""What ``ag__`` stands for in rewritten source."""

__all__ = ["LONGEST", "OPERATORS", "UNROLLED", "call_user"]
