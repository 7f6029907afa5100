"""``root`` and ``fixed_point``: solutions of equations, differentiated through the equation and not its iterations.

Where F(x(p), p) = 0, the solution's tangent solves ∂F/∂x·dx = −∂F/∂p·dp (the implicit function theorem). So derivatives
have the accuracy of the solution, cost one linear system, need nothing of the iterations, and exist in both modes and
at any order.

Source: A. Griewank & A. Walther, Evaluating Derivatives (2008), ch. 15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import api
from .graph import express, tree
from .graph.array import Array, as_node, node_of, wrap
from .graph.control import while_loop
from .graph.custom import custom_jvp
from .graph.dim import show
from .graph.dtype import FLOAT64, is_complex, is_inexact
from .graph.node import Graph, Node
from .graph.op import Type
from .graph.scope import current
from .graph.trace import call_user, trace_flat
from .graph.where import error, of_function
from .selection import check_call, function_name

_SHORTEST = 2.0**-30
"""Of a Newton step: the search along it gives up."""


def root(f: Callable[..., Any], x0: Any, *args: Any, tol: float = 1e-10, max_steps: int = 100) -> Any:
    """The x near ``x0`` with ``f(x, *args) = 0``, by Newton's method with exact Jacobians, halving steps that fail.

    x may be a number, a small array or a pytree of them; f returns the same structure and shapes. It has converged when
    a whole Newton step changes x by less than ``tol``·max|x| (the error is then about the square of that) or f is
    exactly 0. **If it has not converged after ``max_steps`` steps, x is NaN.** The linear systems are dense and part of
    the kernel.

    Derivatives with respect to ``args`` and to whatever f reads of the functions around it are those of the solution,
    by the implicit function theorem, in both modes and at any order; that with respect to ``x0`` is 0. At a root where
    ∂f/∂x is singular they are not finite.

    Raises TypeError for complex unknowns and for an f whose result is not structured like x.

    >>> round(root(lambda x, a: x**2 - a, 1.0, 2.0), 12)
    np.float64(1.414213562373)
    >>> import chainrule as cr
    >>> round(cr.grad(lambda a: root(lambda x: x**2 - a, 1.0))(2.0), 12)
    np.float64(0.353553390593)
    """
    return _solved("root", f, x0, args, _newton, tol, max_steps)


def fixed_point(f: Callable[..., Any], x0: Any, *args: Any, tol: float = 1e-12, max_steps: int = 10_000) -> Any:
    """The x with ``x = f(x, *args)`` that iterating f from ``x0`` on leads to.

    x may be a number, a small array or a pytree of them. It has converged when a step changes x by no more than
    ``tol``·max|x|; if f contracts by a factor ρ, the error is about ρ/(1−ρ) times that. **If it has not converged after
    ``max_steps`` steps, x is NaN.**

    Derivatives are those of the solution, as in ``root``, with 1 − ∂f/∂x as the matrix.

    >>> x = fixed_point(lambda x, a: np.cos(a * x), 1.0, 1.0)
    >>> round(x, 10)
    np.float64(0.7390851332)
    """
    _check_callable("fixed_point", f)

    def step(x: Any, *own: Any) -> Any:
        before, structure = tree.flatten(x)
        after = tree.flatten_as(structure, call_user(f, x, *own), f"fixed_point: the result of {function_name(f)}")
        return tree.unflatten(structure, [b - a for a, b in zip(before, after, strict=True)])

    step.__wrapped__ = f  # type: ignore[attr-defined]
    step.__name__ = function_name(f)
    return _solved("fixed_point", step, x0, args, _iterated, tol, max_steps)


Residual = Callable[[Any], Any]  # of a vector, or of a number
Method = Callable[[Residual, Any, float, int], Any]


def _solved(
    what: str, f: Callable[..., Any], x0: Any, args: tuple[Any, ...], method: Method, tol: float, max_steps: int
) -> Any:
    _check_callable(what, f)
    check_call(f, (x0, *args), {})
    if not all(isinstance(v, (int, float, np.integer)) and v > 0 for v in (tol, max_steps)):
        raise error(ValueError, f"{what}: tol and max_steps are positive, not {tol!r} and {max_steps!r}")
    if current() is None:

        def at_once(x0: Any, args: tuple[Any, ...]) -> Any:
            return _solved(what, f, x0, args, method, tol, max_steps)

        at_once.__name__ = what
        return api.jit(at_once)(x0, args)
    start = [_unknown(what, leaf) for leaf in tree.leaves(x0)]
    structure = tree.structure(x0)
    problem, parameters = _traced(what, f, structure, start, args)
    kinds = [n.type for n in start]

    def residual(x: Any, given: Sequence[Array]) -> Any:
        found = problem.apply([*_apart(x, kinds), *[node_of(g) for g in given]])
        return _together([wrap(n) for n in found])

    @custom_jvp
    def solution(begin: Any, given: tuple[Array, ...]) -> Any:
        return method(lambda x: residual(x, given), begin, tol, max_steps)

    @solution.defjvp
    def _rule(primals: Any, tangents: Any) -> Any:
        begin, given = primals
        x = solution(begin, given)
        moving = [i for i, g in enumerate(given) if is_inexact(g.dtype)]

        def of_parameters(*own: Array) -> Any:
            every = dict(enumerate(given)) | dict(zip(moving, own, strict=True))
            return residual(x, [every[i] for i in range(len(given))])

        slopes = tuple(tangents[1][i] for i in moving)
        change = api.jvp(of_parameters, tuple(given[i] for i in moving), slopes)[1] if moving else np.zeros(x.shape)
        return x, -_divided(change, _slope(lambda v: residual(v, given), x))

    found = solution(_together([wrap(n) for n in start]), tuple(parameters))
    return tree.unflatten(structure, [wrap(n) for n in _apart(found, kinds)])


def _check_callable(what: str, f: Any) -> None:
    if not callable(f):
        raise error(TypeError, f"{what} takes a function, not {f!r:.60}")


def _unknown(what: str, leaf: Any) -> Node:
    node = as_node(leaf)
    if is_complex(node.dtype):
        raise error(TypeError, f"{what} solves for real numbers, not {node.type}; take real and imaginary parts apart")
    return express.cast(node, FLOAT64)


def _traced(
    what: str, f: Callable[..., Any], structure: tree.TreeDef, start: list[Node], args: tuple[Any, ...]
) -> tuple[Graph, list[Array]]:
    """The residual as a graph of the unknowns and of parameters; these: what f is given, and what it reads."""
    leaves, arguments = tree.flatten(args)
    given = [as_node(leaf) for leaf in leaves]

    def flat(*arrays: Array) -> Any:
        x = tree.unflatten(structure, arrays[: len(start)])
        found = call_user(f, x, *tree.unflatten(arguments, arrays[len(start) :]))
        return tree.flatten_as(structure, found, f"{what}: the result of {function_name(f)}")

    flat.__wrapped__ = f  # type: ignore[attr-defined]
    traced = trace_flat(flat, [n.type for n in (*start, *given)])
    graph = traced.graph
    for output, node, path in zip(graph.outputs, start, tree.paths(structure), strict=True):
        if output.shape != node.shape or is_complex(output.dtype):
            raise error(
                TypeError,
                f"{what}: {function_name(f)} gives {output.type} for the unknown{path} of shape {show(node.shape)}",
                of_function(f),
            )
    graph = graph.replace([express.cast(o, FLOAT64) for o in graph.outputs])
    return graph, [*[wrap(n) for n in given], *traced.captures]


# --- unknowns as one number or vector -----------------------------------------------------------------------


def _together(parts: Sequence[Array]) -> Any:
    """The leaves as one number, if they are that, or one vector."""
    if len(parts) == 1 and not parts[0].shape:
        return parts[0]
    return np.concatenate([p.reshape(-1) for p in parts])


def _apart(x: Any, kinds: Sequence[Type]) -> list[Node]:
    """The leaves of these types in a number or vector."""
    node = as_node(x)
    if not node.shape:
        return [node]
    found = []
    start: Any = 0
    for kind in kinds:
        count: Any = 1
        for d in kind.shape:
            count = count * d
        found.append(express.reshape(express.slice_(node, (start,), (count,), (1,)), kind.shape))
        start = start + count
    return found


def _slope(f: Residual, x: Any) -> Any:
    """The derivative of f at a number, its Jacobian at a vector."""
    return api.jacfwd(f)(x)


def _divided(change: Any, slope: Any) -> Any:
    return np.linalg.solve(slope, change) if slope.shape else change / slope


# --- methods --------------------------------------------------------------------------------------------------


def _newton(f: Residual, start: Any, tol: float, max_steps: int) -> Any:
    def goes_on(carry: Any) -> Any:
        _, _, steps, going, _ = carry
        return going & (steps < max_steps)

    def step(carry: Any) -> Any:
        x, value, steps, _, _ = carry
        exact = np.all(value == 0)
        change = np.where(exact, 0.0, -_divided(value, _slope(f, x)))
        size = np.max(np.abs(change))
        scale = np.maximum(np.max(np.abs(x)), np.max(np.abs(x + change)))
        last = exact | (np.isfinite(size) & (size <= tol * scale))
        bound = np.sum(value**2)

        def too_far(search: Any) -> Any:
            share, _, there = search
            return ~last & ~(np.sum(there**2) < bound) & (share > _SHORTEST)

        def halve(search: Any) -> Any:
            share = search[0] / 2
            return share, x + share * change, f(x + share * change)

        _, following, there = while_loop(too_far, halve, (1.0, x + change, f(x + change)))
        return following, there, steps + 1, ~last & np.isfinite(size), last

    x, _, _, _, converged = while_loop(goes_on, step, (start, f(start), 0, True, False))
    return np.where(converged, x, np.nan)


def _iterated(f: Residual, start: Any, tol: float, max_steps: int) -> Any:
    def goes_on(carry: Any) -> Any:
        _, steps, going, _ = carry
        return going & (steps < max_steps)

    def step(carry: Any) -> Any:
        x, steps, _, _ = carry
        change = f(x)
        following = x + change
        size = np.max(np.abs(change))
        last = np.isfinite(size) & (size <= tol * np.max(np.abs(following)))
        return following, steps + 1, ~last & np.isfinite(size), last

    x, _, _, converged = while_loop(goes_on, step, (start, 0, True, False))
    return np.where(converged, x, np.nan)
