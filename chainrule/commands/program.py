"""The function that a user names on the command line: in a file, or as an expression."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from chainrule.scipy import special

_NUMPY = (
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh",
    "arctanh", "exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "hypot", "abs", "sign",
    "floor", "ceil", "maximum", "minimum", "where", "sum", "prod", "mean",
)  # fmt: skip
_OTHERS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
           "acosh": "arccosh", "atanh": "arctanh", "ln": "log", "max": "maximum", "min": "minimum"}  # fmt: skip
_SPECIAL = ("erf", "erfc", "gamma", "gammaln", "digamma", "expit", "ndtr", "xlogy", "beta", "logsumexp")
KNOWN: dict[str, Any] = {
    **{name: getattr(np, name) for name in _NUMPY},
    **{name: getattr(np, of) for name, of in _OTHERS.items()},
    **{name: getattr(special, name) for name in _SPECIAL},
    "pi": math.pi,
    "e": math.e,
}
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Call, ast.Name, ast.Constant,
    ast.Subscript, ast.Tuple, ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context, ast.Slice,
)  # fmt: skip


def load(text: str) -> Callable[..., Any]:
    """The function ``FILE.py:FUNCTION``, or that of an expression such as ``x*sin(a*x)``.

    Raises OSError for a file that cannot be read, ValueError for anything else that is wrong with the text.
    """
    file, colon, name = text.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), name)
    if text.endswith(".py"):
        raise ValueError(f"say which function of the file is meant: {text}:FUNCTION")
    return from_expression(text)


def _from_file(path: Path, name: str) -> Callable[..., Any]:
    if not path.is_file():
        raise OSError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ValueError(f"{path} cannot be run: {type(problem).__name__}: {problem}") from problem
    found = getattr(module, name, None)
    if not callable(found):
        functions = [n for n, v in vars(module).items() if isinstance(v, FunctionType) and v.__module__ == path.stem]
        raise ValueError(f"{path} has no function {name!r}; it has {', '.join(functions) or 'none'}")
    function: Callable[..., Any] = found
    return function


def from_expression(text: str) -> Callable[..., Any]:
    """A function f of the names in the expression, in the order in which they occur; ``^`` is a power.

    >>> f = from_expression("a*x^2 + ln(x)")
    >>> f(3.0, 1.0)
    np.float64(3.0)
    """
    try:
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval")
    except SyntaxError as problem:
        raise ValueError(f"{text!r} is no expression: {problem.msg}") from None
    names: dict[str, None] = {}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)):
            raise ValueError(f"{text!r}: {ast.unparse(node)} cannot stand in an expression; put a function into a file")
    for name in _in_order(tree):
        if name in called and name not in KNOWN:
            raise ValueError(f"{text!r}: the function {name} is not known; known are {', '.join(sorted(KNOWN))}")
        if name not in KNOWN:
            names[name] = None
    if not names:
        raise ValueError(f"{text!r} has no variable")
    source = f"lambda {', '.join(names)}: {ast.unparse(tree)}"
    function: FunctionType = eval(compile(source, "<expression>", "eval"), {"__builtins__": {}, **KNOWN})
    function.__name__ = function.__qualname__ = "f"
    return function


def _in_order(tree: ast.AST) -> list[str]:
    """Names as they stand in the text."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [node.id for node in sorted(found, key=lambda n: (n.lineno, n.col_offset))]


def parse_point(text: str) -> dict[str, Any]:
    """``x=1.5,p=[1,2]`` → values by name; arrays in brackets.

    >>> parse_point("x=1.5, p=[1, 2]")
    {'x': 1.5, 'p': array([1., 2.])}
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        values = {k.arg or "": np.array(ast.literal_eval(k.value), float) for k in call.keywords}
        return {name: float(v) if v.ndim == 0 else v for name, v in values.items()}
    except (SyntaxError, ValueError, AssertionError, TypeError):
        raise ValueError(f"--at takes NAME=NUMBER,… or NAME=[NUMBER,…], not {text!r}") from None


def parse_shapes(texts: list[str]) -> dict[str, str]:
    """``["x=n", "a=n,3"]`` → shapes by name."""
    found = {}
    for text in texts:
        name, equals, shape = text.partition("=")
        if not equals or not name.isidentifier() or not shape:
            raise ValueError(f"--shape takes NAME=SIZE or NAME=SIZE,SIZE, not {text!r}")
        found[name] = shape
    return found
