"""``foreign``: functions from outside, called at run time from within compiled programs, with their derivatives."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

import numpy as np

from .graph import tree
from .graph.array import Array, as_node, wrap
from .graph.custom import new_rule
from .graph.dim import Size
from .graph.dtype import FLOAT64, is_complex, is_inexact
from .graph.evaluate import CALLBACKS
from .graph.node import Graph, make, results
from .graph.op import Call, Callback, Input, Type
from .graph.scope import current, outside
from .graph.trace import trace_flat, type_of_argument
from .graph.where import error
from .ridders import jacobian
from .selection import function_name

_number: Final = count()


def foreign(f: Any, derivative: Any = None, *, like: Any = None) -> Foreign:
    """``f`` as a function that programs may call: it runs at run time, not while they are traced.

    f is any callable of numbers and arrays: Python, ctypes, cffi, a Numba ``cfunc``, a SciPy ``LowLevelCallable`` of a
    ctypes function. It must be pure. Its result, an array or number or pytree of them, has the shapes and dtypes of
    ``like`` (arrays, numbers or specs); without, they are found by one call with ones, once per types of arguments.

    ``derivative`` takes the same arguments and gives the Jacobian, of shape result.shape + argument.shape; of several
    arguments a tuple; for a pytree of results a pytree of these. It may be a ``foreign`` with a derivative of its own.
    Without it the derivative is numerical, by Ridders's extrapolation of central differences, which calls f 24 times
    per number: ``last_error`` is then the largest estimated absolute error of the last Jacobian, ``largest_error`` that
    of all. Both modes, any order; each numerical order costs some digits.

    A kernel takes the interpreter's lock for each call, in loops, in branches that are taken and under ``vmap`` for
    each lane; the kernel is as good as before when f raises: the exception reaches the caller, with its traceback.
    Usable as a decorator.

    Raises TypeError for what is not callable, for a result that is no array, and for complex numbers in a numerical
    derivative; ValueError if a result has another shape than declared.

    >>> import math, chainrule as cr
    >>> gamma = cr.foreign(math.gamma)                     # numerical derivative
    >>> abs(cr.grad(lambda x: gamma(x)**2)(1.0) + 2 * 0.5772156649015329) < 1e-9
    np.True_
    >>> gamma.last_error < 1e-9
    True
    >>> sine = cr.foreign(math.sin, derivative=math.cos)
    >>> cr.grad(sine)(0.0)
    np.float64(1.0)
    """
    return Foreign(f, derivative, like)


class Foreign:
    """What ``foreign`` returns."""

    def __init__(self, f: Any, derivative: Any, like: Any) -> None:
        self._function = _python_callable(f)
        functools.update_wrapper(self, self._function, updated=())
        self._name = function_name(self._function)
        self._like = like
        self._report = _Report()
        self._derivative = derivative
        self._known: dict[Any, _Outside] = {}
        self._types: dict[Any, tuple[tree.TreeDef, tuple[Type, ...]]] = {}
        self._lock = threading.RLock()
        if derivative is not None and not isinstance(derivative, Foreign):
            self._derivative = _python_callable(derivative)

    @property
    def last_error(self) -> float | None:
        """The largest estimated absolute error of the last numerical Jacobian; None before there was one."""
        return self._report.last

    @property
    def largest_error(self) -> float | None:
        """The largest estimated absolute error of all numerical Jacobians so far."""
        return self._report.largest

    def __call__(self, *args: Any) -> Any:
        """The function's value: computed at once outside of a trace, else by the compiled program."""
        if current() is None:
            return self._function(*args)
        nodes = [as_node(a) for a in args]
        types = tuple(n.type for n in nodes)
        structure, kinds = self._result_types(types)
        with self._lock:
            found = self._known.get(structure)
            if found is None:
                found = self._known[structure] = self._outside(structure)
        return tree.unflatten(structure, found.traced([wrap(n) for n in nodes], kinds))

    def __repr__(self) -> str:
        return f"<foreign function {self._name}>"

    def _result_types(self, types: tuple[Type, ...]) -> tuple[tree.TreeDef, tuple[Type, ...]]:
        """Structure and types of the result, declared or found by a call."""
        if self._like is not None:
            leaves, structure = tree.flatten(self._like)
            return structure, tuple(type_of_argument(leaf, "like") for leaf in leaves)
        with self._lock:
            found = self._types.get(types)
            if found is None:
                found = self._types[types] = self._found_types(types)
            return found

    def _found_types(self, types: tuple[Type, ...]) -> tuple[tree.TreeDef, tuple[Type, ...]]:
        if any(isinstance(d, Size) for t in types for d in t.shape):
            raise error(TypeError, f"foreign {self._name}: give like=, as the sizes of its arguments are not known")
        ones = [np.ones(t.shape, t.dtype)[()] for t in types]
        with outside():
            try:
                result = self._function(*ones)
            except Exception as problem:
                message = f"foreign {self._name} was called with ones to find the type of its result, and raised"
                raise error(TypeError, f"{message} {type(problem).__name__}: {problem}; give like=") from problem
        leaves, structure = tree.flatten(result)
        return structure, tuple(type_of_argument(leaf, f"of the result of {self._name}") for leaf in leaves)

    def _outside(self, structure: tree.TreeDef) -> _Outside:
        def run(*arrays: Any) -> list[Any]:
            found = self._function(*[a[()] for a in arrays])
            return tree.flatten_as(structure, found, f"the result of the foreign function {self._name}")

        if self._derivative is None:
            return _Outside(self._name, run, self._report)
        return _Outside(self._name, run, self._report, lambda args, kinds: self._slopes(structure, args, kinds))

    def _slopes(self, structure: tree.TreeDef, args: Sequence[Array], results: Sequence[Type]) -> _Slopes:
        """The Jacobians by the user's function: from a ``foreign`` traced, else as a call."""
        derivative = self._derivative

        def arranged(value: Any) -> list[Any]:
            """For each result, for each argument that can change."""
            rows: list[Any] = []
            for row, kind in zip(structure.flatten_up_to(value), results, strict=True):
                if not is_inexact(kind.dtype):
                    continue
                parts = (row,) if len(args) == 1 and not isinstance(row, tuple) else tuple(row)
                if len(parts) != len(args):
                    raise ValueError(
                        f"the derivative of the foreign function {self._name} gives {len(parts)} parts for"
                        f" {len(args)} arguments"
                    )
                rows.extend(p for p, a in zip(parts, args, strict=True) if is_inexact(a.dtype))
            return rows

        if isinstance(derivative, Foreign):
            return lambda given, kinds: [
                _reshaped(p, k) for p, k in zip(arranged(derivative(*given)), kinds, strict=True)
            ]
        name = f"the derivative of {self._name}"
        return _Outside(name, lambda *arrays: arranged(derivative(*[a[()] for a in arrays])), self._report).traced


def _reshaped(value: Any, kind: Type) -> Array:
    node = as_node(value)
    if node.shape != kind.shape:
        raise error(ValueError, f"the derivative of a foreign function is {node.type}, where {kind} is expected")
    return wrap(node)


def _python_callable(f: Any) -> Callable[..., Any]:
    """What Python calls for a function that comes as an object of another library."""
    inner = getattr(f, "ctypes", None)  # a Numba cfunc
    if callable(inner):
        return inner  # type: ignore[no-any-return]
    if type(f).__name__ == "LowLevelCallable":
        f = f.function
    if not callable(f):
        raise error(TypeError, f"foreign takes a function, not {f!r:.60}")
    return f  # type: ignore[no-any-return]


class _Report:
    """The errors of numerical derivatives, as they come from any thread."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.largest: float | None = None
        self._lock = threading.Lock()

    def add(self, found: float) -> None:
        with self._lock:
            self.last = found
            self.largest = found if self.largest is None else max(self.largest, found)


_Slopes = Callable[[Sequence[Array], tuple[Type, ...]], list[Array]]


class _Outside:
    """A function of arrays that gives a list of arrays, and how its Jacobians are found (default: numerically)."""

    def __init__(
        self,
        name: str,
        run: Callable[..., Sequence[Any]],
        report: _Report,
        slopes: Callable[[Sequence[Array], Sequence[Type]], _Slopes] | None = None,
    ) -> None:
        self.name, self.run, self.report, self.slopes = name, run, report, slopes
        self.key = f"{name}#{next(_number)}"
        self._calls: dict[Any, Call] = {}
        self._jacobians: dict[Any, _Outside] = {}
        self.noise = threading.local()  # ``worst``: the largest error of its values since it was set to 0
        CALLBACKS[self.key] = run

    def traced(self, args: Sequence[Array], kinds: tuple[Type, ...]) -> list[Array]:
        """A call from the current trace, with results of these types."""
        nodes = [as_node(a) for a in args]
        types = tuple(n.type for n in nodes)
        call = self._calls.get((types, kinds))
        if call is None:
            inputs = tuple(make(Input(0, i, t)) for i, t in enumerate(types))
            body = Graph(types, results(make(Callback(self.key, kinds), inputs)))
            call = self._calls[types, kinds] = Call(body, new_rule(self.name, lambda: self._push(types, kinds)))
        return [wrap(r) for r in results(make(call, tuple(nodes)))]

    def _push(self, types: tuple[Type, ...], kinds: tuple[Type, ...]) -> Graph:
        """(*arguments, *tangents) → (*results, *tangents), the Jacobians being calls, too."""
        wanted = [i for i, t in enumerate(types) if is_inexact(t.dtype)]
        rows = [i for i, k in enumerate(kinds) if is_inexact(k.dtype)]
        moving = [kinds[i] for i in rows]
        slope_kinds = tuple(Type((*k.shape, *types[i].shape), FLOAT64) for k in moving for i in wanted)

        def program(*arrays: Array) -> list[Any]:
            args, tangents = arrays[: len(types)], arrays[len(types) :]
            value = self.traced(args, kinds)
            slopes = self._numerical(wanted, rows) if self.slopes is None else self.slopes(args, kinds)
            parts = iter(slopes(args, slope_kinds))
            for kind in moving:
                total: Any = np.zeros(kind.shape)
                for i, tangent in zip(wanted, tangents, strict=True):
                    total = total + np.tensordot(next(parts), tangent, axes=len(types[i].shape))
                value.append(total)
            return value

        with outside():
            return trace_flat(program, [*types, *[types[i] for i in wanted]]).graph

    def _numerical(self, wanted: Sequence[int], rows: Sequence[int]) -> _Slopes:
        """The Jacobians of the results ``rows`` by the arguments ``wanted``, as a function from outside, too."""
        key = (tuple(wanted), tuple(rows))
        if key not in self._jacobians:

            def run(*arrays: Any) -> list[Any]:
                if any(is_complex(a.dtype) for a in arrays):
                    raise TypeError(f"the numerical derivative of {self.name} takes real arguments; give derivative=")

                def results_of(*moved: Any) -> list[Any]:
                    every = self.run(*moved)
                    return [every[i] for i in rows]

                self.noise.worst = 0.0
                table, found = jacobian(results_of, arrays, wanted, lambda: getattr(self.noise, "worst", 0.0))
                self.report.add(found)
                noise.worst = max(getattr(noise, "worst", 0.0), found)
                return [part for row in table for part in row]

            made = self._jacobians[key] = _Outside(f"the numerical derivative of {self.name}", run, self.report)
            noise = made.noise
        return self._jacobians[key].traced
