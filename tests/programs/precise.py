"""The truth for programs: the same Python run on mpmath's numbers at forty digits, or a closed form in mpmath, and
derivatives of that by differences whose steps are far below what a float64 sees.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

import mpmath
import numpy as np

import chainrule as cr

DIGITS = 40
Program = Callable[..., Any]


def _elementwise(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return np.vectorize(function, otypes=[object])


def _array(values: Any) -> Any:
    return np.array(values, dtype=object)


class _Linalg:
    @staticmethod
    def solve(a: Any, b: Any) -> Any:
        found = mpmath.lu_solve(mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist()))
        return _array(found.tolist()).reshape(b.shape)

    @staticmethod
    def inv(a: Any) -> Any:
        return _array(mpmath.inverse(mpmath.matrix(a.tolist())).tolist())

    @staticmethod
    def norm(a: Any) -> Any:
        return mpmath.sqrt(np.sum(np.abs(a) ** 2))


class NumPy:
    """What the programs use of NumPy, on arrays of mpmath's numbers."""

    linalg = _Linalg
    array = asarray = staticmethod(_array)
    pi = mpmath.pi
    _FUNCTIONS: Final = {
        "arccos": "acos", "arcsin": "asin", "arctan": "atan", "cos": "cos", "cosh": "cosh", "exp": "exp", "log": "log",
        "sign": "sign", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
    }  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name in self._FUNCTIONS:
            return _elementwise(getattr(mpmath, self._FUNCTIONS[name]))
        return getattr(np, name)

    @staticmethod
    def zeros(shape: Any, dtype: Any = None) -> Any:
        return np.full(shape, mpmath.mpf(0), dtype=object) if dtype is None else np.zeros(shape, dtype)

    empty = zeros

    @staticmethod
    def ones(shape: Any) -> Any:
        return np.full(shape, mpmath.mpf(1), dtype=object)

    @staticmethod
    def ones_like(a: Any) -> Any:
        return np.full(a.shape, mpmath.mpf(1), dtype=object)

    @staticmethod
    def full(shape: Any, value: Any) -> Any:
        return np.full(shape, value, dtype=object)

    @staticmethod
    def eye(n: int) -> Any:
        return _array([[mpmath.mpf(i == j) for j in range(n)] for i in range(n)])

    @staticmethod
    def linspace(start: Any, stop: Any, n: int) -> Any:
        return _array(mpmath.linspace(start, stop, n))


class Math:
    """``math`` and ``cmath`` on mpmath's numbers."""

    _OTHERS: Final = {"lgamma": "loggamma", "pow": "power", "fabs": "fabs", "dist": "", "log2": ""}

    def __getattr__(self, name: str) -> Any:
        return getattr(mpmath, self._OTHERS.get(name, name))

    @staticmethod
    def log2(x: Any) -> Any:
        return mpmath.log(x, 2)

    @staticmethod
    def dist(p: Any, q: Any) -> Any:
        return mpmath.sqrt(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)))

    @staticmethod
    def copysign(x: Any, y: Any) -> Any:
        return abs(x) if y >= 0 else -abs(x)

    @staticmethod
    def prod(values: Any) -> Any:
        return mpmath.fprod(values)


_BUILTINS: Final = {
    "np": NumPy(),
    "math": Math(),
    "cmath": Math(),
    "float": mpmath.mpf,
    "complex": mpmath.mpc,
    "round": mpmath.nint,
    "divmod": lambda x, y: (mpmath.floor(x / y), x - y * mpmath.floor(x / y)),
}


@functools.cache
def _twin(module: str) -> dict[str, Any]:
    """The names of a test file, run once more with mpmath in the place of NumPy and ``math``."""
    own = sys.modules[module]
    names: dict[str, Any] = {"__name__": f"{module}.precise", "__file__": own.__file__}
    sys.modules[names["__name__"]] = types.ModuleType(names["__name__"])  # dataclasses look there
    exec(compile(inspect.getsource(own), f"<{module} on mpmath>", "exec"), names)
    names.update(_BUILTINS)
    return names


def on_mpmath(program: Program) -> Program:
    """The program, and what it uses of its file, with mpmath in the place of NumPy and ``math``."""
    assert inspect.isfunction(program)
    names = _twin(program.__module__)
    if names.get(program.__qualname__) is not None:
        found: Program = names[program.__qualname__]
        return found
    own = types.FunctionType(program.__code__, names, program.__name__, program.__defaults__, program.__closure__)
    own.__kwdefaults__ = program.__kwdefaults__
    return own


def derivatives(truth: Program, x: Sequence[float]) -> tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Value, gradient and Hessian of a function of several numbers."""
    n = len(x)
    with mpmath.workdps(DIGITS):
        point = [mpmath.mpf(v) for v in x]
        f: Program = truth
        if n == 1:
            first = [mpmath.diff(f, point[0])]
            second = [[mpmath.diff(f, point[0], 2)]]
        else:
            first = [mpmath.diff(f, point, [int(k == i) for k in range(n)]) for i in range(n)]
            second = [[mpmath.mpf(0)] * n for _ in range(n)]
            for i, j in itertools.combinations_with_replacement(range(n), 2):
                orders = [int(k == i) + int(k == j) for k in range(n)]
                second[i][j] = second[j][i] = mpmath.diff(f, point, orders)
        return float(f(*point)), np.array(first, dtype=float), np.array(second, dtype=float)


def verify(
    program: Program,
    *x: float,
    truth: Program | None = None,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> None:
    """The program's value, its first and its second derivatives in both modes, against ``truth``: a function of the
    same numbers, or the program itself on mpmath's numbers.
    """
    value, gradient, hessian = derivatives(truth or on_mpmath(program), x)

    def close(found: Any, expected: Any, what: str) -> None:
        scale = max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol * scale, err_msg=what)

    def of_vector(v: Any) -> Any:
        return program(*[v[i] for i in range(len(x))])

    point = np.array(x)
    reverse, forward = cr.jacrev(of_vector), cr.jacfwd(of_vector)
    close(program(*x), value, "as plain Python")
    close(cr.jit(program)(*x), value, "compiled")
    close(reverse(point), gradient, "backwards")
    close(forward(point), gradient, "forwards")
    close(cr.jacrev(reverse)(point), hessian, "backwards twice")
    close(cr.jacfwd(forward)(point), hessian, "forwards twice")
