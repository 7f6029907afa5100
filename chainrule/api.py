"""The transforms: ``jit``, ``grad``, ``vmap`` and their relatives, with JAX's names and conventions.

Each returns a ``Function``, which compiles itself on its first call; transforms of transforms compose. Wherever JAX
takes ``argnums``, names may be given as ``wrt="a b"``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from . import hessians, transform
from .bound import fixed_value, with_arguments
from .compiled import Function
from .graph import tree
from .graph.collector import paused
from .graph.node import Graph
from .graph.scope import current
from .graph.trace import call_user, spec
from .graph.trace import trace as trace_as_written
from .graph.where import error, of_function
from .selection import Selection, check_call, function_name, parameter_names, selection
from .simplify.pipeline import simplify
from .vectorise import vectorise

Argnums = int | Sequence[int] | None


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """Compiles a function of numbers, arrays and pytrees of them, written with NumPy.

    It is traced and compiled when it meets new types; when the length of an array changes, one kernel serves all
    lengths. Static arguments are hashable Python values that the trace may depend on. Usable as a decorator.

    >>> import numpy as np
    >>> hypotenuse = jit(lambda a, b: np.sqrt(a*a + b*b))
    >>> hypotenuse(3.0, 4.0)
    np.float64(5.0)
    """
    if fun is None:
        return functools.partial(jit, static_argnums=static_argnums, static_argnames=static_argnames)
    _check_callable(fun, "jit")
    numbers = tuple(static_argnums) if isinstance(static_argnums, (tuple, list)) else (static_argnums,)
    names = tuple(static_argnames) if isinstance(static_argnames, (tuple, list)) else (static_argnames,)
    if not all(isinstance(i, int) for i in numbers) or not all(isinstance(n, str) for n in names):
        shown = f"{static_argnums!r} and {static_argnames!r}"
        raise error(TypeError, f"static_argnums are integers and static_argnames are names, not {shown}")
    parameters = parameter_names(fun)
    _check_static(fun, numbers, names)
    names += tuple(parameters[i] for i in numbers if i < len(parameters))
    numbers += tuple(
        parameters.index(n) for n in names if n in parameters and parameters.index(n) not in numbers
    )
    options = {"static_argnums": static_argnums, "static_argnames": static_argnames}
    return Function(fun, fun, static_argnums=numbers, static_argnames=names, recipe=(jit, (fun,), options))


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    wrt: Any = None,
) -> Function:
    """The gradient of a function with one scalar result.

    The result has the structure of the argument ``argnums`` (default 0); for several, it is a tuple of such. With
    ``has_aux`` the function returns (value, auxiliary) and its gradient (gradient, auxiliary). For complex arguments it
    is JAX's ∂f/∂x − i·∂f/∂y. Python integers given to these arguments count as floats; integer arrays are a TypeError.

    >>> import numpy as np
    >>> round(grad(lambda x: np.sin(x)**2)(1.0), 12)                                # 2·sin x·cos x = sin 2x
    np.float64(0.909297426826)
    >>> grad(lambda a, b: a*b**2, wrt="b")(2, 3.0)
    np.float64(12.0)
    """
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        _, gradient, aux = transform.value_and_gradient(
            fun, args, kwargs, select, has_aux=has_aux, holomorphic=holomorphic
        )
        return (gradient, aux) if has_aux else gradient

    options = {"argnums": argnums, "has_aux": has_aux, "holomorphic": holomorphic, "wrt": wrt}
    return _function(program, fun, select, grad, options)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    wrt: Any = None,
) -> Function:
    """(value, gradient) in one pass; with ``has_aux`` ((value, auxiliary), gradient). Otherwise as ``grad``.

    >>> value_and_grad(lambda x: x**3)(2.0)
    (np.float64(8.0), np.float64(12.0))
    """
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        value, gradient, aux = transform.value_and_gradient(
            fun, args, kwargs, select, has_aux=has_aux, holomorphic=holomorphic
        )
        return ((value, aux) if has_aux else value), gradient

    options = {"argnums": argnums, "has_aux": has_aux, "holomorphic": holomorphic, "wrt": wrt}
    return _function(program, fun, select, value_and_grad, options)


def value_grad_hess(
    fun: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *, wrt: Any = None
) -> Function:
    """(value, gradient, Hessian) of a function with one scalar result, from one kernel.

    Gradient and Hessian are structured as those of ``grad`` and ``hessian``.

    >>> value_grad_hess(lambda x: x**3)(2.0)
    (np.float64(8.0), np.float64(12.0), np.float64(12.0))
    """
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        value, gradient, hess, aux = hessians.value_gradient_hessian(
            fun, args, kwargs, select, has_aux=has_aux
        )
        return ((value, aux) if has_aux else value), gradient, hess

    options = {"argnums": argnums, "has_aux": has_aux, "wrt": wrt}
    return _function(program, fun, select, value_grad_hess, options)


def hessian(
    fun: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *, wrt: Any = None
) -> Function:
    """Second derivatives: for each leaf of the result, of the arguments, and of these again, an array.

    Its shape is result.shape + leaf.shape + leaf.shape; a function with one scalar result gives the Hessian matrix. By
    the elements of small arrays that the function takes apart only one triangle is computed, and the other mirrored.

    >>> import numpy as np
    >>> hessian(lambda x: x[0]**2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    >>> hessian(lambda x: np.stack([x[0]**2, x[0] * x[1]]))(np.array([1.0, 2.0]))[1]
    array([[0., 1.],
           [1., 0.]])
    """
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        hess, aux = hessians.hessian(fun, args, kwargs, select, has_aux=has_aux)
        return (hess, aux) if has_aux else hess

    options = {"argnums": argnums, "has_aux": has_aux, "wrt": wrt}
    return _function(program, fun, select, hessian, options)


def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *, wrt: Any = None
) -> Function:
    """The Jacobian by forward mode: for each leaf of the result and of the argument, shape result.shape + leaf.shape.

    >>> import numpy as np
    >>> jacfwd(lambda x: np.stack([x[0]*x[1], x[1]**2]))(np.array([2.0, 3.0]))
    array([[3., 2.],
           [0., 6.]])
    """
    return _jacobian(fun, argnums, has_aux, wrt, transform.jacobian_forward, jacfwd)


def jacrev(
    fun: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *, wrt: Any = None
) -> Function:
    """The Jacobian by reverse mode; the result is that of ``jacfwd``."""
    return _jacobian(fun, argnums, has_aux, wrt, transform.jacobian_reverse, jacrev)


def jacobian(
    fun: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *, wrt: Any = None
) -> Function:
    """The Jacobian by the mode with fewer seeds; the result is that of ``jacfwd``.

    >>> import numpy as np
    >>> jacobian(lambda x: np.array([3.0, 4.0]) * x)(2.0)
    array([3., 4.])
    """
    return _jacobian(fun, argnums, has_aux, wrt, transform.jacobian_cheapest, jacobian)


def _jacobian(
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    wrt: Any,
    mode: Callable[..., Any],
    public: Callable[..., Any],
) -> Function:
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        _, table, aux = mode(fun, args, kwargs, select, has_aux=has_aux)
        return (table, aux) if has_aux else table

    return _function(program, fun, select, public, {"argnums": argnums, "has_aux": has_aux, "wrt": wrt})


def elementwise_grad(
    fun: Callable[..., Any], argnums: Argnums = None, *, wrt: Any = None, axis: int = 0
) -> Function:
    """∂f/∂argument, element by element, of a function that computes element by element.

    The result has the shape of f; a tuple of ``argnums`` gives a tuple, several names one array with a new ``axis`` for
    them: (K, N), as iminuit's cost functions want it, or with ``axis=-1`` (N, K). The kernel writes it in that layout.

    >>> import numpy as np
    >>> elementwise_grad(lambda x, a: a * x**2, wrt="x a")(np.array([1.0, 2.0]), 3.0)
    array([[ 6., 12.],
           [ 1.,  4.]])
    """
    select = selection(argnums, wrt)

    def program(*args: Any, **kwargs: Any) -> Any:
        import numpy as np

        parts = transform.elementwise_derivatives(fun, args, kwargs, select)
        if select.single:
            return parts[0]
        return np.stack(parts, axis=axis) if select.names else tuple(parts)

    options = {"argnums": argnums, "wrt": wrt, "axis": axis or None}
    return _function(program, fun, select, elementwise_grad, options)


def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Function:
    """A function of one example as a function of many: as in ``jax.vmap``.

    ``in_axes`` and ``out_axes`` say along which axis each argument and result is mapped (None: not), as an integer or
    in the structure of arguments and results.

    >>> import numpy as np
    >>> vmap(lambda x, w: np.dot(x, w), in_axes=(0, None))(np.eye(2), np.array([5.0, 7.0]))
    array([5., 7.])
    """
    _check_callable(fun, "vmap")

    def program(*args: Any, **kwargs: Any) -> Any:
        return vectorise(fun, args, kwargs, in_axes, out_axes)

    program.__wrapped__ = fun  # type: ignore[attr-defined]
    return Function(program, fun, recipe=(vmap, (fun,), {"in_axes": in_axes, "out_axes": out_axes}))


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """(value, tangent) of ``fun`` at ``primals`` along ``tangents``, tuples with one entry per argument.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (np.float64(6.0), np.float64(23.0))
    """
    _check_callable(fun, "jvp")

    def program(primals: Any, tangents: Any) -> Any:
        value, tangent, aux = transform.push_forward(fun, primals, tangents, has_aux)
        return (value, tangent, aux) if has_aux else (value, tangent)

    return _run(program, fun, primals, tangents)


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(value, pull_back): ``pull_back(cotangent)`` gives the cotangents of the primals as a tuple.

    >>> value, pull_back = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> value, pull_back(1.0)
    (np.float64(6.0), (np.float64(3.0), np.float64(2.0)))
    """
    _check_callable(fun, "vjp")
    check_call(fun, primals, {})
    value = _run(fun, fun, *primals)

    if has_aux and (not isinstance(value, tuple) or len(value) != 2):
        raise error(TypeError, f"has_aux: {function_name(fun)} must return a pair (value, auxiliary)", of_function(fun))

    def bare(*args: Any) -> Any:
        value = call_user(fun, *args)
        return value[0] if has_aux else value

    bare.__wrapped__ = fun  # type: ignore[attr-defined]

    def program(primals: Any, cotangent: Any) -> Any:
        return transform.pull_back(bare, primals, cotangent)

    pull = Function(program, bare, signature=_plain_signature(), floats=lambda where: True)

    def pull_back(cotangent: Any) -> Any:
        return pull(primals, cotangent) if current() is None else program(primals, cotangent)

    return (value[0], pull_back, value[1]) if has_aux else (value, pull_back)


def linearize(fun: Callable[..., Any], *primals: Any) -> Any:
    """(value, push_forward): ``push_forward(*tangents)`` is the linear map that ``jvp`` applies.

    >>> value, push_forward = linearize(lambda x: x**2, 3.0)
    >>> value, push_forward(1.0)
    (np.float64(9.0), np.float64(6.0))
    """
    _check_callable(fun, "linearize")
    check_call(fun, primals, {})
    value = _run(fun, fun, *primals)

    def program(primals: Any, tangents: Any) -> Any:
        return transform.push_forward(fun, primals, tangents, False)[1]

    push = Function(program, fun, signature=_plain_signature(), floats=lambda where: True)

    def push_forward(*tangents: Any) -> Any:
        return push(primals, tangents) if current() is None else program(primals, tangents)

    return value, push_forward


def hvp(fun: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The Hessian of ``fun`` (with respect to its first argument) times a vector: the tangent of its gradient.

    >>> hvp(lambda x: x**3, (2.0,), (1.0,))
    np.float64(12.0)
    """
    return jvp(grad(fun), primals, tangents)[1]


def bind(fun: Callable[..., Any], /, **data: Any) -> Function:
    """``fun`` with some of its arguments, given by name, fixed: a function of the others.

    The data are copied. What depends on them alone is computed once, when the function or a derivative of it first
    meets arguments of new types: sums over events (moments are taken about the mean), logarithms of counts, …; only
    the rest is done by each call. For other data bind again; a kernel for data of the same types is used again.

    Raises TypeError for names that are no parameters of ``fun``.

    >>> import numpy as np
    >>> def nll(mu, x):
    ...     return ((x - mu)**2).sum() / 2
    >>> f = bind(nll, x=np.arange(5.0))
    >>> f(1.0), grad(f)(1.0)
    (np.float64(7.5), np.float64(-5.0))
    """
    _check_callable(fun, "bind")
    fixed = {name: tree.map(fixed_value, value) for name, value in data.items()}
    program, signature = with_arguments(fun, fixed)
    return Function(program, fun, signature=signature, recipe=(bind, (fun,), data))


def stop_gradient(value: Any) -> Any:
    """The value (a pytree), taken as a constant by every derivative.

    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return transform.stop(value)


def trace(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The graph of a function for arguments given as specs, arrays or numbers, or pytrees of them.

    A plain function comes as it was written, a transform (``grad(f)``, ``jit(f)``, …) simplified.

    >>> print(trace(grad(lambda x: x**3), spec()))                                  # doctest: +ELLIPSIS
    %0: float64 = const 3.0
    %1: float64 = input x...
    """
    _check_callable(fun, "trace")
    check_call(fun, args, kwargs)
    with paused():
        graph = trace_as_written(fun, *args, **kwargs)
        return simplify(graph) if isinstance(fun, Function) else graph


def _run(program: Callable[..., Any], fun: Callable[..., Any], *args: Any) -> Any:
    """A program applied at once: inlined in a trace, else compiled and called."""
    if current() is not None:
        return call_user(program, *args) if program is fun else program(*args)
    if program is not fun:
        program.__wrapped__ = fun  # type: ignore[attr-defined]
    return Function(program, fun, signature=_plain_signature(), floats=lambda where: True)(*args)


def _plain_signature() -> inspect.Signature:
    return inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])


def _function(
    program: Callable[..., Any],
    fun: Callable[..., Any],
    select: Selection,
    public: Callable[..., Any],
    options: dict[str, Any],
) -> Function:
    _check_callable(fun, public.__name__)
    program.__wrapped__ = fun  # type: ignore[attr-defined]
    options = {k: v for k, v in options.items() if v is not None and v is not False}
    return Function(
        program, fun, floats=lambda where: select.contains(fun, where), recipe=(public, (fun,), options)
    )


def _check_static(fun: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]) -> None:
    """Static arguments that the function does not have are a mistake that would go unnoticed."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):  # some builtins have none
        return
    kinds = {p.kind for p in parameters}
    shown = f"{function_name(fun)}({', '.join(map(str, parameters))})"
    for i in numbers:
        if inspect.Parameter.VAR_POSITIONAL not in kinds and not 0 <= i < len(parameters):
            raise error(ValueError, f"static_argnums={i}: {shown} has no such argument")
    for name in names:
        if inspect.Parameter.VAR_KEYWORD not in kinds and name not in {p.name for p in parameters}:
            raise error(ValueError, f"static_argnames={name!r}: {shown} has no such argument")


def _check_callable(fun: Any, what: str) -> None:
    if not callable(fun):
        raise error(TypeError, f"{what} takes a function, not {fun!r:.60}")


__all__ = [
    "bind", "elementwise_grad", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linearize",
    "spec", "stop_gradient", "trace", "value_and_grad", "value_grad_hess", "vjp", "vmap",
]  # fmt: skip
