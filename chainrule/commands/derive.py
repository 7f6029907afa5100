"""`chainrule derive`: the derivative of a function or expression, as formula, code or number."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .program import load, parse_point, parse_shapes

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = """\
Derives a function, FILE.py:FUNCTION, or an expression such as "x*sin(a*x)", and prints the derivatives.

Formulas: text, sympy, latex. Code: numpy (a Python function of gradient, or of gradient and Hessian), c and llvm
(the kernel). --at adds the numbers at a point."""
SIZES = "nmklpqrst"
KINDS = ("text", "sympy", "latex", "numpy", "c", "llvm")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "derive",
        help="derive a function or an expression",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: chainrule derive "exp(-(x-mu)^2/(2*s^2))" --wrt mu,s --order 2 --at x=1,mu=0.5,s=2',
    )
    parser.add_argument("program", metavar='FILE.py:FUNCTION | "EXPRESSION"', help="what to derive")
    parser.add_argument("--wrt", metavar="a,b", help="the arguments to derive by; default: all that are numbers")
    parser.add_argument("--order", type=int, choices=(1, 2), default=1, help="2: the Hessian too (default: 1)")
    parser.add_argument("--to", choices=KINDS, default="text", help="what to print (default: text)")
    parser.add_argument("--at", metavar="x=1.5,…", help="a point at which values are printed, too; arrays as x=[1,2]")
    shape = "an argument is an array of this shape; repeatable"
    parser.add_argument("--shape", metavar="x=n", action="append", default=[], help=shape)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does it. Raises OSError, ValueError, TypeError or ArithmeticError with a message for the user."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    function = load(options.program)
    point = parse_point(options.at) if options.at else {}
    shapes = parse_shapes(options.shape)
    shapes = {**_shapes_of(point), **shapes}
    if options.to in ("text", "sympy", "latex"):
        with console.status("deriving"):
            text = _formula(function, options, shapes)
    else:
        text = _code(function, options, shapes)
    console.print(text, markup=False)
    if point:
        _print_values(console, function, options, point)


def _shapes_of(point: dict[str, Any]) -> dict[str, str]:
    """Sizes of the arrays among the values as names n, m, k, …; equal sizes share one."""
    sizes = dict.fromkeys(size for value in point.values() for size in np.shape(value))
    names = {size: SIZES[i] for i, size in enumerate(sizes)}
    return {name: ",".join(names[s] for s in np.shape(value)) for name, value in point.items() if np.ndim(value)}


def _formula(function: Callable[..., Any], options: argparse.Namespace, shapes: dict[str, str]) -> str:
    from chainrule import formula

    specs: dict[str, Any] = dict(shapes)
    found = formula(function, wrt=_names(options.wrt), order=options.order, **specs)
    if options.to == "latex":
        return found.latex(env="align*")
    if options.to == "text":
        return found.text()
    lines = [f"{symbol} = {expression}" for symbol, expression in found.steps.items()]
    return "\n".join([*lines, *[f"{name} = {expression}" for name, expression in found.results.items()]])


def _names(wrt: str | None) -> str | None:
    return None if wrt is None else wrt.replace(",", " ")


def _code(function: Callable[..., Any], options: argparse.Namespace, shapes: dict[str, str]) -> str:
    from chainrule import spec, trace
    from chainrule.codegen.kernel import compile_graph
    from chainrule.codegen.to_c import emit_c
    from chainrule.codegen.to_numpy import numpy_source

    derivative = _derivative(function, options)
    specs = [spec(*_sizes(shapes.get(name, ""))) for name in _parameters(function)]
    graph = trace(derivative, *specs)
    name = f"{_plain(function.__name__)}_{'gradient' if options.order == 1 else 'value_grad_hess'}"
    if options.to == "numpy":
        return numpy_source(graph, name)
    kernel = compile_graph(graph, name)
    return emit_c(kernel.ir, f"{name}: made by chainrule").text if options.to == "c" else kernel.llvm


def _plain(name: str) -> str:
    return name if name.isidentifier() else "f"


def _derivative(function: Callable[..., Any], options: argparse.Namespace) -> Callable[..., Any]:
    from chainrule import grad, value_grad_hess

    wrt = _names(options.wrt) or " ".join(_parameters(function))
    transform: Callable[..., Any] = grad if options.order == 1 else value_grad_hess
    derivative: Callable[..., Any] = transform(function, wrt=wrt)
    return derivative


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments that must be given."""
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind in positional]


def _sizes(shape: str) -> list[Any]:
    return [int(s) if s.strip().isdigit() else s.strip() for s in shape.split(",") if s.strip()]


def _print_values(
    console: Console, function: Callable[..., Any], options: argparse.Namespace, point: dict[str, Any]
) -> None:
    """Value, gradient and Hessian at the point, computed by the compiled kernel."""
    from rich.table import Table

    from chainrule import value_and_grad, value_grad_hess

    parameters = _parameters(function)
    missing = [name for name in parameters if name not in point]
    if missing:
        raise ValueError(f"--at gives no value for {', '.join(missing)}")
    wrt = (options.wrt.replace(",", " ").split() if options.wrt else None) or [
        name for name in parameters if not np.ndim(point[name])
    ] or parameters  # fmt: skip
    transform: Callable[..., Any] = value_and_grad if options.order == 1 else value_grad_hess
    found = transform(function, wrt=list(wrt))(*[point[name] for name in parameters])
    table = Table(title="at " + ", ".join(f"{k} = {v}" for k, v in point.items()), title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_row(function.__name__, _shown(found[0]))
    for name, part in zip(wrt, found[1], strict=True):
        table.add_row(f"∂/∂{name}", _shown(part))
    if options.order == 2:
        for i, a in enumerate(wrt):
            for j, b in enumerate(wrt[: i + 1]):
                table.add_row(f"∂²/∂{a}∂{b}", _shown(found[2][i][j]))
    console.print(table)


def _shown(value: Any) -> str:
    return f"{float(value):.15g}" if np.ndim(value) == 0 else np.array2string(np.asarray(value), precision=12)
