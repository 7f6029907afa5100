"""``compare``: one derivative by four methods, with error and time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import api
from chainrule.graph import tree
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import Callback
from chainrule.graph.where import error, of_function
from chainrule.selection import function_name, parameter_names, selection

from .dual import PRIMITIVES_OF, derivative_by_dual_numbers
from .explain import arguments
from .table import duration, html_table, text_table

HEADING = ("method", "derivative", "error", "time")
SECONDS = 0.02  # spent on timing each method


@dataclass(frozen=True)
class Method:
    """The derivative by one method, its relative error, seconds a call; or why there is none."""

    name: str
    derivative: float | None
    error: float | None
    seconds: float | None
    problem: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """As text."""
        if self.derivative is None:
            return self.name, self.problem, "", ""
        wrong = "" if self.error is None else f"{self.error:.1e}"
        return self.name, f"{self.derivative:.17g}", wrong, "" if self.seconds is None else duration(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """The methods side by side; ``exact`` is the derivative computed with 50 digits, as text."""

    title: str
    methods: tuple[Method, ...]
    exact: str

    def __str__(self) -> str:
        return f"{self.title} = {self.exact}\n{text_table(HEADING, [m.cells() for m in self.methods])}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{self.title} = {self.exact}</p>" + html_table(HEADING, [m.cells() for m in self.methods])


def compare(fun: Callable[..., Any], *args: float, wrt: Any = None, **kwargs: Any) -> Comparison:
    """The derivative of a function of numbers by several methods: numerical (central differences, and extrapolated),
    dual numbers, symbolic (SymPy differentiates the expression), and ours, compiled.

    Errors are relative, against the derivative's graph evaluated with 50 digits. Times are of one call, the best of
    several; a method that cannot do it says why. ``wrt`` names the argument (default: the first).

    Raises TypeError for arguments or results that are no numbers.

    >>> def newton(a):
    ...     x = a
    ...     while abs(x * x - a) > 1e-12:
    ...         x = (x + a / x) / 2
    ...     return x
    >>> found = compare(newton, 2.0)
    >>> [m.name for m in found.methods if m.error is not None and m.error < 3e-16]
    ['dual numbers', 'chainrule, forward', 'chainrule, reverse']
    """
    given, _ = arguments(fun, args, kwargs, wrt)
    chosen = selection(None if wrt is not None else 0, wrt).resolve(fun, given, {})
    name = function_name(fun)
    if len(chosen) != 1 or not isinstance(chosen[0], int):
        raise error(TypeError, f"compare differentiates {name} with respect to one argument, not {wrt!r}")
    if any(np.ndim(leaf) for leaf in tree.leaves(given)) or len(tree.leaves(given)) != len(given):
        raise error(TypeError, f"compare takes functions of numbers; {name} was given arrays or trees")
    position = chosen[0]
    point = [_number(a, name) for a in given]
    value = tree.leaves(fun(*point))
    if len(value) != 1 or np.ndim(value[0]):
        message = f"compare takes functions with one number as their result; {name}'s is another"
        raise error(TypeError, message, of_function(fun))
    exact = _exact(fun, point, position)
    methods = (
        _method("central difference", lambda: _central(fun, point, position), exact),
        _method("central differences, extrapolated", lambda: _extrapolated(fun, point, position), exact),
        _method("dual numbers", lambda: derivative_by_dual_numbers(fun, point, position), exact),
        _symbolic(fun, point, position, exact),
        _compiled("chainrule, forward", api.jacfwd(fun, argnums=position), point, exact),
        _compiled("chainrule, reverse", api.jacrev(fun, argnums=position), point, exact),
    )
    parameters = parameter_names(fun)
    variable = parameters[position] if position < len(parameters) else f"x{position}"
    return Comparison(f"∂{name}/∂{variable}", methods, "not known" if exact is None else str(exact))


def _number(argument: Any, name: str) -> float:
    try:
        return float(argument)
    except (TypeError, ValueError):
        raise error(TypeError, f"compare takes functions of numbers; {name} was given {argument!r:.60}") from None


def _exact(fun: Callable[..., Any], point: list[float], position: int) -> Any:
    """The derivative to 20 digits: its graph on mpmath's numbers. None where foreign functions are called."""
    import mpmath

    graph = api.trace(api.jacfwd(fun, argnums=position), *point)
    if any(isinstance(node.op, Callback) for node in graph.nodes):
        return None
    with mpmath.workdps(50):
        value = evaluate(graph, [np.array(mpmath.mpf(p), object) for p in point], backend="mpmath")[0]
        return mpmath.mpf(mpmath.nstr(value[()], 20)) if mpmath.isfinite(value[()]) else value[()]


def _central(fun: Callable[..., Any], point: list[float], position: int, step: float | None = None) -> float:
    """(f(x+h) − f(x−h))/2h with the step that balances truncation and rounding: ∛ε·max(1, |x|)."""
    h = step or float(np.cbrt(np.finfo(float).eps)) * max(1.0, abs(point[position]))
    up, down = list(point), list(point)
    up[position] += h
    down[position] -= h
    return float((fun(*up) - fun(*down)) / (up[position] - down[position]))


def _extrapolated(fun: Callable[..., Any], point: list[float], position: int) -> float:
    """Richardson's extrapolation of four central differences (Ridders 1982)."""
    h = 0.05 * max(1.0, abs(point[position]))
    row = [_central(fun, point, position, h / 2**k) for k in range(4)]
    for order in range(1, 4):
        row = [b + (b - a) / (4**order - 1) for a, b in itertools.pairwise(row)]
    return row[0]


def _symbolic(fun: Callable[..., Any], point: list[float], position: int, exact: Any) -> Method:
    """SymPy's ``diff`` of what the function gives for symbols; NumPy's functions are SymPy's for this."""
    import sympy

    symbols = sympy.symbols(f"x:{len(point)}", real=True)
    name = "symbolic (SymPy)"
    try:
        expression = fun(*[_Symbolic(s) for s in symbols])
        derivative = sympy.diff(getattr(expression, "expression", expression), symbols[position])
    except TypeError as problem:
        text = str(problem)
        reason = "a branch or loop asks for a truth value" if "truth value" in text else text
        return Method(name, None, None, None, f"not possible: {reason[:60]}")
    plain = sympy.lambdify(symbols, derivative, "numpy")
    return _method(name, lambda: float(plain(*point)), exact)


def _compiled(name: str, function: Callable[..., Any], point: list[float], exact: Any) -> Method:
    for _ in range(3):
        function(*point)
    return _method(name, lambda: function(*point), exact)


def _method(name: str, call: Callable[[], Any], exact: Any) -> Method:
    try:
        derivative = float(call())
    except (TypeError, ValueError, ArithmeticError) as problem:
        return Method(name, None, None, None, f"not possible: {str(problem)[:60]}")
    wrong = None if exact is None else float(abs(derivative - exact) / (abs(exact) or 1))
    return Method(name, derivative, wrong, _seconds(call))


def _seconds(call: Callable[[], Any]) -> float:
    """Seconds a call: the best of several rounds."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    count = 1
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(count):
            call()
        spent = (time.perf_counter() - start) / count
        best = min(best, spent)
        count = max(1, min(1000, int(1e-3 / max(spent, 1e-7))))
    return best


class _Symbolic(np.lib.mixins.NDArrayOperatorsMixin):
    """A SymPy expression that NumPy's functions take."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        from chainrule.graph.namespaces import sympy_namespace

        name = PRIMITIVES_OF.get(ufunc.__name__)
        if method != "__call__" or kwargs or name is None:
            return NotImplemented
        parts = [a.expression if isinstance(a, _Symbolic) else a for a in args]
        found = getattr(sympy_namespace(), name)(*parts)
        return _Symbolic(found)

    def __bool__(self) -> bool:
        raise TypeError("the truth value of a symbolic expression is not known")
