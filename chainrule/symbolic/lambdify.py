"""``lambdify``: as SymPy's, but the result is compiled, and can be derived."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chainrule.compiled import Function
from chainrule.graph.where import error

from .translate import Meanings, Values, evaluate


def lambdify(
    args: Any,
    expr: Any,
    modules: Any = None,
    printer: Any = None,
    use_imps: bool = True,
    dummify: bool = False,
    cse: bool = False,
    docstring_limit: int | None = 1000,
) -> Function:
    """A compiled function of a SymPy expression; signature and conventions are ``sympy.lambdify``'s.

    ``args`` is a symbol or a sequence of symbols, ``IndexedBase``s, ``MatrixSymbol``s and nested sequences of them.
    ``expr`` is an expression, a matrix (which becomes an array), a list, tuple or dict of these, nested as you like.
    The function takes numbers and arrays, which broadcast, and is traced by every transform; shared subexpressions are
    computed once whatever ``cse`` says. Symbols may have any name: ``wrt=`` takes the symbols themselves, and a
    parameter whose symbol is no Python name is called after it (``lambda`` → ``lambda_``).

    ``modules`` may hold functions by name: ``{"f": numpy_function}``, also in a list; names of modules say nothing
    here. With ``use_imps`` functions made by ``implemented_function`` are called. ``printer`` must be None: nothing is
    printed.

    Raises ValueError for what has no numerical meaning (a free symbol, an unknown function, an integral without a
    closed form), TypeError for what is no expression.

    >>> import sympy
    >>> import chainrule as cr
    >>> x, a = sympy.symbols("x a")
    >>> f = lambdify((x, a), sympy.sin(a * x) / x)
    >>> round(f(2.0, 0.5), 12)
    np.float64(0.420735492404)
    >>> round(cr.grad(f, wrt=a)(2.0, 0.5), 12)                                      # cos(a·x)
    np.float64(0.540302305868)
    """
    import sympy

    if printer is not None:
        raise error(TypeError, "lambdify prints no code, so it takes no printer; give functions as modules={name: …}")
    single = isinstance(args, sympy.Basic) and not isinstance(args, sympy.Tuple) and not _is_matrix(args)
    if not single and not isinstance(args, Iterable):
        raise error(TypeError, f"the arguments of lambdify are symbols, or a list of them, not {args!r:.60}")
    parameters = [args] if single else list(args)
    expression = _structure(expr)
    meanings = Meanings(_functions(modules), implemented=use_imps)
    names = _parameter_names(parameters, dummify)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])

    def program(*given: Any, **named: Any) -> Any:
        values: Values = {}
        for parameter, value in zip(parameters, signature.bind(*given, **named).args, strict=True):
            _assign(parameter, value, values)
        return _evaluated(expression, values, meanings)

    _check(expression, parameters)
    program.__name__ = program.__qualname__ = "lambdified"
    shown = str(expr)
    limit = len(shown) if docstring_limit is None else docstring_limit
    program.__doc__ = f"{', '.join(names)} ↦ {shown if len(shown) <= limit else shown[:limit] + ' …'}"
    program.__signature__ = signature  # type: ignore[attr-defined]
    aliases = {str(p): n for p, n in zip(parameters, names, strict=True) if isinstance(p, sympy.Basic)}
    program.aliases = aliases  # type: ignore[attr-defined]  # for wrt=
    options = {"modules": modules, "use_imps": use_imps, "dummify": dummify}
    function = Function(program, program, recipe=(lambdify, (args, expr), options))
    function.aliases = aliases  # type: ignore[attr-defined]
    return function


def _structure(expr: Any) -> Any:
    """Lists, tuples and dicts of expressions; everything else as SymPy understands it."""
    import sympy

    if isinstance(expr, (list, tuple)):
        return type(expr)(_structure(e) for e in expr) if type(expr) in (list, tuple) else [_structure(e) for e in expr]
    if isinstance(expr, dict):
        return {k: _structure(v) for k, v in expr.items()}
    if isinstance(expr, str):
        raise error(TypeError, f"lambdify takes SymPy expressions; make one of {expr!r} with sympy.sympify")
    try:
        found = sympy.sympify(expr, strict=True)
    except sympy.SympifyError:
        raise error(TypeError, f"lambdify takes SymPy expressions, not {type(expr).__name__}") from None
    return _immutable(found)


def _immutable(expression: Any) -> Any:
    return expression.as_immutable() if hasattr(expression, "as_immutable") else expression


def _evaluated(structure: Any, values: Values, meanings: Meanings) -> Any:
    if isinstance(structure, (list, tuple)) and type(structure) in (list, tuple):
        return type(structure)(_evaluated(e, values, meanings) for e in structure)
    if type(structure) is dict:
        return {k: _evaluated(v, values, meanings) for k, v in structure.items()}
    return evaluate(structure, values, meanings)


def _assign(parameter: Any, value: Any, values: Values) -> None:
    """Values of the symbols of one parameter, which may be a sequence of them."""
    import sympy

    if _is_matrix(parameter) and hasattr(parameter, "tolist"):
        for i, row in enumerate(parameter.tolist()):
            for j, symbol in enumerate(row):
                values[symbol] = value[i, j] if getattr(value, "ndim", 2) == 2 else value[i * len(row) + j]
    elif isinstance(parameter, sympy.Basic) and not isinstance(parameter, sympy.Tuple):
        values[parameter] = value
        if isinstance(parameter, sympy.IndexedBase):
            values[parameter.label] = value
    else:
        parts = list(parameter)
        if len(value) != len(parts):
            raise error(ValueError, f"the argument for {parameter} must have {len(parts)} entries, not {len(value)}")
        for i, part in enumerate(parts):
            _assign(part, value[i], values)


def _is_matrix(thing: Any) -> bool:
    return bool(getattr(thing, "is_Matrix", False)) and type(thing).__name__ != "MatrixSymbol"


def _functions(modules: Any) -> dict[str, Callable[..., Any]]:
    """The functions that the user gives by name."""
    if modules is None or isinstance(modules, str):
        return {}
    if isinstance(modules, Mapping):
        return dict(modules)
    if isinstance(modules, Sequence):
        found: dict[str, Callable[..., Any]] = {}
        for part in reversed(modules):  # the first has precedence
            found |= _functions(part)
        return found
    return {k: v for k, v in vars(modules).items() if callable(v)}


def _parameter_names(parameters: Sequence[Any], dummify: bool) -> list[str]:
    """A Python name for each parameter, its symbol's own where that is one."""
    names: list[str] = []
    for position, parameter in enumerate(parameters):
        label = str(parameter) if hasattr(parameter, "free_symbols") and not _is_matrix(parameter) else ""
        name = "" if dummify or label.startswith("(") else re.sub(r"\W+", "_", label).strip("_")
        name = name or f"_{position}"
        if name[0].isdigit():
            name = "_" + name
        if keyword.iskeyword(name):
            name += "_"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _check(expression: Any, parameters: Sequence[Any]) -> None:
    """Free symbols are an error when the function is made, not when it is called."""
    given: set[Any] = set()
    for parameter in _leaves(parameters):
        symbol = _immutable(parameter)
        given |= {symbol, getattr(symbol, "label", symbol)} | getattr(symbol, "free_symbols", set())
    for part in _leaves([expression]):
        free = {s for s in getattr(part, "free_symbols", set()) if type(s).__name__ != "Indexed"}
        missing = sorted(str(s) for s in free - given)
        if missing:
            raise error(ValueError, f"the expression contains {', '.join(missing)}, not among the arguments")


def _leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    stack = list(structure.values()) if isinstance(structure, dict) else list(structure)
    while stack:
        part = stack.pop()
        if type(part) is dict:
            stack.extend(part.values())
        elif isinstance(part, (list, tuple)) or type(part).__name__ == "Tuple":
            stack.extend(part)
        else:
            found.append(part)
    return found


__all__ = ["lambdify"]
