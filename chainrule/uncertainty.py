"""Errors of results from errors of inputs, and errors of fitted parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import api
from .graph.array import Array
from .graph.node import topological
from .graph.op import Broadcast, Cast, Const, Input, Scalar
from .graph.trace import call_user
from .graph.where import error
from .selection import function_name

FloatArray = NDArray[np.float64]



def propagate(
    fn: Callable[..., Any], x: ArrayLike, cov: ArrayLike, *args: ArrayLike, diagonal: bool | None = None
) -> tuple[Any, Any]:
    """(y, cov_y): the value of ``fn(x)`` and its covariance J C Jᵀ, with the exact Jacobian J.

    The signature is jacobi's. ``x`` is a number or has shape (n,); ``cov`` is its covariance matrix (n, n), its
    variances (n,), or one variance for all. y has shape () or (m,), cov_y () or (m, m). Further pairs ``x, cov`` are
    further arguments of ``fn``, independent of the others.

    A function that computes element by element has a diagonal Jacobian, which is found out (``diagonal=True`` asserts
    it): nothing of size n² is computed for it, and from variances come variances.

    Many points at once: ``x`` of shape (n, N) with ``cov`` of shape (n, n, N), or (n, N) for variances, or (n, n) or
    (n,) for the same at all points; ``fn`` is called for one point, with x of shape (n,). y has shape (N,) or (m, N),
    cov_y (N,) or (m, m, N).

    Raises TypeError or ValueError for shapes that do not fit, and whatever ``fn`` raises.

    >>> import numpy as np
    >>> y, cov_y = propagate(lambda x: x**2 + 1, [1.0, 2.0], [[3.0, 1.0], [1.0, 4.0]])
    >>> y, cov_y
    (array([2., 5.]), array([[12.,  8.],
           [ 8., 64.]]))
    >>> propagate(lambda a, b: a * b, 2.0, 0.01, 3.0, 0.04)                        # 3²·0.01 + 2²·0.04
    (np.float64(6.0), np.float64(0.25))
    """
    if len(args) % 2:
        raise error(TypeError, "propagate takes pairs x, cov; the last x has no cov")
    given = [_floats(a, "propagate") for a in (x, cov, *args)]
    points, covariances = given[::2], given[1::2]
    if any(p.ndim > 1 for p in points):
        if len(points) > 1:
            raise error(ValueError, "propagate takes many points of one argument; join independent arguments into one")
        return _propagate_many(fn, points[0], covariances[0])
    for p, c in zip(points, covariances, strict=True):
        if c.ndim > 2 or any(size != p.size for size in c.shape):
            raise error(ValueError, f"x of shape {p.shape} and cov of shape {c.shape} do not fit together")
    if _is_elementwise(fn, points) if diagonal is None else diagonal:
        return _propagate_elementwise(fn, points, covariances)
    value, jacobians = _function(fn, "jacobian", _with_jacobian, len(points))(*points)
    if np.ndim(value) > 1:
        raise error(ValueError, f"{function_name(fn)} must return a number or a vector, not shape {np.shape(value)}")
    total: Any = 0.0
    for p, c, j in zip(points, covariances, jacobians, strict=True):
        total = total + _sandwich(np.reshape(j, (-1, p.size)), c)
    return value, total[0, 0] if np.ndim(value) == 0 else total


def _floats(value: Any, what: str) -> FloatArray:
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        raise error(TypeError, f"{what} takes numbers and arrays of them, not {value!r:.60}") from None


def _sandwich(j: FloatArray, c: FloatArray) -> Any:
    """J C Jᵀ; variances stand for a diagonal matrix."""
    return _symmetric((j @ c if c.ndim == 2 else j * c) @ j.T)


def _symmetric(matrix: Any) -> Any:
    """Rounding may make a product that is symmetric differ across the diagonal."""
    return (matrix + matrix.T) / 2


def _propagate_elementwise(
    fn: Callable[..., Any], points: list[FloatArray], covariances: list[FloatArray]
) -> tuple[Any, Any]:
    """dᵢ Cᵢⱼ dⱼ, without Jacobians; independent arguments add up."""
    value, slopes = _function(fn, "slopes", _with_slopes, len(points))(*points)
    total: Any = 0.0
    for d, c in zip(slopes, covariances, strict=True):
        part = d[:, None] * c * d if c.ndim == 2 else np.broadcast_to(c, np.shape(d)) * d**2
        if np.ndim(total) == 2 and part.ndim == 1:
            part = np.diag(part)
        elif part.ndim == 2 and np.ndim(total) == 1:
            total = np.diag(total)
        total = total + part
    return value, total


def _propagate_many(fn: Callable[..., Any], x: FloatArray, cov: FloatArray) -> tuple[Any, Any]:
    """One kernel for all points: value, Jacobian and products of a point stay in registers."""
    n, count = x.shape if x.ndim == 2 else (0, 0)
    if x.ndim != 2 or cov.shape not in ((n, n, count), (n, count), (n, n), (n,)):
        raise error(ValueError, f"x of shape {x.shape} and cov of shape {cov.shape} do not fit together")
    each = cov.shape[-1:] == (count,) and cov.shape in ((n, n, count), (n, count))
    kind = f"{'each' if each else 'same'} {cov.ndim}"
    known = _cached(fn)
    if kind not in known:
        known[kind] = api.vmap(_at_point(fn), in_axes=(1, -1 if each else None), out_axes=-1)
    y, cov_y = known[kind](x, cov)
    return y, cov_y


def _at_point(fn: Callable[..., Any]) -> Callable[..., Any]:
    def propagated(x: Any, cov: Any) -> Any:
        value, (jacobian,) = _with_jacobian(fn, 1)(x)
        if np.ndim(value) > 1:
            raise error(ValueError, f"{function_name(fn)} must return a number or a vector for each point")
        j = jacobian if np.ndim(value) else jacobian[None, :]
        result = np.dot(np.dot(j, cov) if np.ndim(cov) == 2 else j * cov, j.T)
        return value, _symmetric(result) if np.ndim(value) else result[0, 0]

    return propagated


def _with_jacobian(fn: Callable[..., Any], count: int) -> Callable[..., Any]:
    """(value, Jacobians by each argument)."""
    places = tuple(range(count))

    def doubled(*points: Any) -> Any:
        value = call_user(fn, *points)
        value = value if isinstance(value, Array) or np.ndim(value) == 0 else np.stack(list(value))
        return value, value

    def derived(*points: Any) -> Any:
        jacobians, value = api.jacobian(doubled, argnums=places, has_aux=True)(*points)
        return value, jacobians

    return derived


def _with_slopes(fn: Callable[..., Any], count: int) -> Callable[..., Any]:
    """(value, derivative of each element by the same element of each argument)."""
    places = tuple(range(count))

    def derived(*points: Any) -> Any:
        return call_user(fn, *points), api.elementwise_grad(fn, argnums=places)(*points)

    return derived


def _is_elementwise(fn: Callable[..., Any], points: list[FloatArray]) -> bool:
    """Whether fn maps vectors of the same length element by element, as its graph shows."""
    shape = points[0].shape
    if not shape or any(p.shape != shape for p in points):
        return False
    known = _cached(fn)
    kind = f"elementwise {len(points)} {shape}"
    if kind not in known:
        graph = api.trace(fn, *points)
        simple = (Scalar, Cast, Const, Input, Broadcast)
        nodes = topological(graph.outputs)
        known[kind] = (
            len(graph.outputs) == 1
            and graph.outputs[0].shape == shape
            and all(isinstance(n.op, simple) and n.shape in ((), shape) for n in nodes)
        )
    found: bool = known[kind]
    return found


def _function(fn: Callable[..., Any], kind: str, make: Callable[..., Any], count: int) -> Any:
    known = _cached(fn)
    key = f"{kind} {count}"
    if key not in known:
        known[key] = api.jit(make(fn, count))
    return known[key]


def _cached(fn: Callable[..., Any]) -> dict[str, Any]:
    """What was made of a function before, if that is not long ago."""
    try:
        return _derived(fn)
    except TypeError:  # what cannot be hashed is derived anew
        return {}


@functools.lru_cache(maxsize=64)  # what is derived holds its function, so that weak keys would never go
def _derived(fn: Callable[..., Any]) -> dict[str, Any]:
    return {}


def covariance(
    fun: Callable[..., Any],
    parameters: ArrayLike,
    *data: Any,
    weights: ArrayLike | None = None,
    errordef: float | None = None,
) -> FloatArray:
    """The covariance matrix (n, n) of fitted ``parameters`` (n,), from exact derivatives at the minimum.

    If ``fun(parameters, *data)`` is a number, a cost: 2·errordef·H⁻¹, H its Hessian. ``errordef`` is 0.5 for a negative
    log-likelihood and 1 for χ²; if it is not given, ``fun.errordef`` counts, else 0.5.

    If it is a vector, it holds the log-likelihoods ℓᵢ of independent events, which may have ``weights`` wᵢ; parameters
    maximise Σ wᵢ ℓᵢ. The result is the sandwich H⁻¹ (Σ wᵢ² gᵢ gᵢᵀ) H⁻¹ with gᵢ = ∂ℓᵢ and H = −Σ wᵢ ∂²ℓᵢ, which is right
    for weighted events, and if the model is not quite: Huber, Proc. 5th Berkeley Symp. 1 (1967) 221; Langenbruch,
    Eur. Phys. J. C 82 (2022) 393.

    Raises ValueError where H is singular or not finite.

    >>> import numpy as np
    >>> def nll(p, x):
    ...     return np.sum((x - p[0])**2 / (2 * p[1]**2) + np.log(p[1]))
    >>> x = np.array([1.0, 3.0])                                                     # mean 2, deviation 1
    >>> covariance(nll, [2.0, 1.0], x)
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    p = np.atleast_1d(_floats(parameters, "covariance"))
    if p.ndim > 1:
        raise error(ValueError, f"parameters must be a vector, not of shape {p.shape}")
    known = _cached(fun)
    if "value" not in known:
        known["value"] = api.jit(fun)
    value = known["value"](p, *data)
    if np.ndim(value) == 0:
        if weights is not None:
            message = f"with weights, {function_name(fun)} must return the log-likelihood of each event, not their sum"
            raise error(ValueError, message)
        if "hessian" not in known:
            known["hessian"] = api.hessian(fun)
        rise = getattr(fun, "errordef", 0.5) if errordef is None else errordef
        if isinstance(rise, str) or not rise > 0:
            raise error(ValueError, f"errordef is 0.5 for a negative log-likelihood and 1 for χ², not {rise!r}")
        inverse: FloatArray = 2.0 * float(rise) * _inverse(known["hessian"](p, *data))
        return inverse
    if np.ndim(value) > 1:
        raise error(ValueError, f"{function_name(fun)} must return a number or a vector, not shape {np.shape(value)}")
    if "scores" not in known:
        known["scores"] = api.jit(_scores(fun))
    w = np.broadcast_to(_floats(1.0 if weights is None else weights, "covariance"), np.shape(value))
    meat, hessian = known["scores"](p, np.ascontiguousarray(w), *data)
    bread = _inverse(hessian)
    sandwich: FloatArray = _symmetric(bread @ meat @ bread)
    return sandwich


def _scores(fun: Callable[..., Any]) -> Callable[..., Any]:
    def scores(p: Any, weights: Any, *data: Any) -> Any:
        def cost(p: Any) -> Any:
            return -np.sum(weights * call_user(fun, p, *data))

        weighted = api.jacfwd(lambda p: weights * call_user(fun, p, *data))(p)
        return np.dot(weighted.T, weighted), api.hessian(cost)(p)

    return scores


def _inverse(hessian: FloatArray) -> FloatArray:
    if not np.isfinite(hessian).all():
        raise error(ValueError, "the Hessian is not finite there, so there is no covariance")
    try:
        inverse = np.asarray(np.linalg.inv(hessian), np.float64)
    except np.linalg.LinAlgError:
        raise error(ValueError, "the Hessian is singular: the parameters are not all determined by the data") from None
    symmetric: FloatArray = _symmetric(inverse)
    return symmetric
