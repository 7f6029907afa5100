"""The reference interpreter: what a graph means, on NumPy's numbers or on mpmath's.

It walks the nodes one by one and knows no optimisation, so that it is short enough to be believed; kernels
are tested against it. With mpmath, floating-point values are real (complex) numbers at the working precision:
arrays of ``mpf`` (``mpc``); casts between float types do not round. Integers and bools are always NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Literal, Protocol, assert_never, final

import numpy as np

from . import dim as dims
from .dtype import DType, is_complex, is_inexact
from .linalg import mpmath_linalg, numpy_linalg
from .namespaces import mpmath_namespace, numpy_namespace
from .node import Graph, Node, result_types
from .op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Const,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Project,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Stop,
    Transpose,
    Type,
)

Value = Any  # np.ndarray; a tuple of them for a node with several results
Backend = Literal["numpy", "mpmath"]

CALLBACKS: dict[str, Callable[..., Any]] = {}
"""Foreign functions by the key of their ``Callback``: arrays in, one array or a tuple of arrays out."""


def evaluate(
    graph: Graph,
    args: Sequence[Any],
    *,
    backend: Backend = "numpy",
    digits: int = 50,
    literal: Callable[[Any], Any] | None = None,
    longest: int | None = None,
) -> list[Value]:
    """The outputs of ``graph`` for arguments that match its input types, one array each.

    Named sizes are taken from the arguments' shapes. With ``backend="mpmath"`` floating-point values are
    object arrays of ``mpf`` or ``mpc`` computed with ``digits`` decimal digits; so may arguments be. ``literal`` says
    what a floating-point constant of the program stands for (0.1 may be a tenth). ``ArithmeticError`` is raised where a
    while loop takes more than ``longest`` steps.

    Raises ``TypeError`` for a wrong number of arguments or an element type that does not convert,
    ``ValueError`` for shapes that do not match, naming the size that has two values.

    >>> from chainrule.graph.node import make, scalar
    >>> x = make(Input(0, 0, Type((), np.dtype(float))))
    >>> evaluate(Graph([x.type], [scalar("exp", x)]), [0.0])
    [array(1.)]
    """
    if len(args) != len(graph.inputs):
        names = ", ".join(graph.names)
        raise TypeError(f"the program takes {len(graph.inputs)} arguments ({names}), not {len(args)}")
    arithmetic: Arithmetic = NumPyArithmetic() if backend == "numpy" else MpmathArithmetic(digits)
    with np.errstate(all="ignore"), arithmetic.context():
        values = [
            _argument(arithmetic, value, kind.dtype, name)
            for value, kind, name in zip(args, graph.inputs, graph.names, strict=True)
        ]
        sizes = bind_sizes(graph, [v.shape for v in values])
        return Interpreter(arithmetic, sizes, literal).run(graph, values)


def _argument(arithmetic: Arithmetic, value: Any, dtype: DType, name: str) -> Value:
    array = np.asarray(value)
    if array.dtype != object and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"argument {name!r} has dtype {array.dtype}, which does not convert to {dtype}")
    return arithmetic.array(array, dtype)


def bind_sizes(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The named sizes that follow from the shapes of the arguments.

    Raises ``ValueError`` where a shape does not match: wrong rank, a fixed size that differs, a name with two
    values, or a named size below 2 (0 and 1 broadcast differently: the program was not traced for them).
    """
    sizes: dict[str, int] = {}
    source: dict[str, str] = {}
    pairs: list[tuple[dims.Dim, int, str]] = []
    for kind, shape, name in zip(graph.inputs, shapes, graph.names, strict=True):
        if len(kind.shape) != len(shape):
            wanted_shape = dims.show(kind.shape)
            raise ValueError(f"argument {name!r} has shape {shape}, the program takes {wanted_shape}")
        pairs.extend((wanted, actual, name) for wanted, actual in zip(kind.shape, shape, strict=True))
    bound = True
    while bound:  # each round binds the sizes that appear alone, given those bound before
        bound = False
        for wanted, actual, name in pairs:
            missing = [n for n in dims.names(wanted) if n not in sizes]
            if len(missing) == 1:
                found = _solve(wanted, missing[0], actual, sizes)
                if found is not None:
                    sizes[missing[0]], source[missing[0]], bound = found, name, True
    for wanted, actual, name in pairs:
        missing = [n for n in dims.names(wanted) if n not in sizes]
        if missing:
            raise ValueError(f"size {missing[0]} does not follow from the shapes ({name!r}: {wanted})")
        expected = dims.evaluate(wanted, sizes)
        if expected != actual:
            known = ", ".join(f"size {n} is {sizes[n]} in {source[n]!r}" for n in dims.names(wanted))
            reason = f" ({known})" if known else ""
            raise ValueError(f"argument {name!r}: an axis has length {actual}, not {wanted}{reason}")
    for size, value in sizes.items():
        if value < dims.SMALLEST:
            least = dims.SMALLEST
            raise ValueError(f"size {size} is {value} in {source[size]!r}; a named size is at least {least}")
    return sizes


def _solve(dim: dims.Dim, name: str, value: int, sizes: Mapping[str, int]) -> int | None:
    """The ``name`` for which ``dim`` is ``value``, if ``dim`` is linear in it (else None)."""
    at = [dims.evaluate(dim, {**sizes, name: n}) for n in (2, 3, 4)]
    slope = at[1] - at[0]
    if slope == 0 or at[2] - at[1] != slope:
        return None
    return 2 + (value - at[0]) // slope


# --- arithmetic ---------------------------------------------------------------------------------------------


class Arithmetic(Protocol):
    """What the interpreter needs to know about numbers; all else is the same for arrays of any kind."""

    def context(self) -> Any: ...

    def array(self, value: Any, dtype: DType) -> Value:
        """``value`` as numbers of this arithmetic for ``dtype``; real → complex and back included."""

    def scalar(self, name: str, args: Sequence[Value], types: Sequence[Type]) -> Value: ...

    def linalg(self, op: Linalg, args: Sequence[Value]) -> tuple[Value, ...]: ...


@final
class NumPyArithmetic:
    """NumPy's own."""

    @contextmanager
    def context(self) -> Iterator[None]:
        yield

    def array(self, value: Any, dtype: DType) -> Value:
        array = np.asarray(value)
        if is_complex(array.dtype) and not is_complex(dtype):
            array = array != 0 if dtype.kind == "b" else array.real
        return array.astype(dtype, copy=False)

    def scalar(self, name: str, args: Sequence[Value], types: Sequence[Type]) -> Value:
        return getattr(numpy_namespace(), name)(*args)

    def linalg(self, op: Linalg, args: Sequence[Value]) -> tuple[Value, ...]:
        return numpy_linalg(op.kind, op.lower, op.transposed, args)


@final
class MpmathArithmetic:
    """Real and complex numbers with ``digits`` decimal digits; integers and bools as NumPy's."""

    def __init__(self, digits: int) -> None:
        self.digits = digits

    def context(self) -> Any:
        import mpmath

        return mpmath.workdps(self.digits)

    def array(self, value: Any, dtype: DType) -> Value:
        array = np.asarray(value)
        if array.dtype == dtype and not is_inexact(dtype):
            return array
        to = _mp_converter(dtype.kind)
        if array.dtype == object or is_inexact(dtype):
            return _each(to, array.astype(object), dtype=object if is_inexact(dtype) else dtype)
        return array.astype(dtype)

    def scalar(self, name: str, args: Sequence[Value], types: Sequence[Type]) -> Value:
        result = types[-1]
        if name == "where":
            return np.where(*args)
        if not any(is_inexact(t.dtype) for t in types):
            return getattr(numpy_namespace(), name)(*args)
        function = getattr(mpmath_namespace(), name)
        dtype = object if is_inexact(result.dtype) else result.dtype
        return _each(function, *(a.astype(object) for a in args), dtype=dtype)

    def linalg(self, op: Linalg, args: Sequence[Value]) -> tuple[Value, ...]:
        return mpmath_linalg(op.kind, op.lower, op.transposed, args)


def _each(function: Callable[..., Any], *args: Value, dtype: Any) -> Value:
    """``function`` elementwise; always an array, also for rank 0."""
    result = np.frompyfunc(function, len(args), 1)(*args)
    if isinstance(result, np.ndarray):
        return result.astype(dtype, copy=False)
    array = np.empty((), dtype)
    array[()] = result
    return array


@cache
def _mp_converter(kind: str) -> Callable[[Any], Any]:
    """Converts a number to what stands for a dtype of this kind (complex → real takes the real part)."""
    import mpmath

    def to_int(x: Any) -> int:
        return int(x.real) if mpmath.isfinite(x) else np.iinfo(np.int64).min  # what NumPy's conversion gives

    converters: dict[str, Callable[[Any], Any]] = {
        "f": lambda x: mpmath.mpf(x.real),
        "c": mpmath.mpc,
        "b": lambda x: bool(x != 0),
        "i": to_int,
    }
    return converters[kind]


# --- the interpreter ----------------------------------------------------------------------------------------

Plan = list[tuple[Node, tuple[int, ...], tuple[int, ...]]]


@final
class Interpreter:
    """One evaluation: the arithmetic, the named sizes, and for each graph met its schedule."""

    def __init__(
        self,
        arithmetic: Arithmetic,
        sizes: Mapping[str, int],
        literal: Callable[[Any], Any] | None = None,
        longest: int | None = None,
    ) -> None:
        self.arithmetic = arithmetic
        self.literal = literal
        self.longest = longest
        self.sizes = sizes
        self.plans: dict[Graph, tuple[Plan, list[int]]] = {}

    def run(self, graph: Graph, args: Sequence[Value]) -> list[Value]:
        plan, outputs = self.plan(graph)
        values: list[Value] = []
        for node, arguments, dead in plan:
            values.append(self.node(node, [values[a] for a in arguments], args))
            for i in dead:
                values[i] = None
        return [values[o] for o in outputs]

    def plan(self, graph: Graph) -> tuple[Plan, list[int]]:
        """Per node: the numbers of its arguments, and of the values that nobody reads after it."""
        found = self.plans.get(graph)
        if found is None:
            number = {node: i for i, node in enumerate(graph.nodes)}
            outputs = [number[o] for o in graph.outputs]
            seen = set(outputs)
            plan: Plan = []
            for node in reversed(graph.nodes):
                arguments = tuple(number[a] for a in node.args)
                dead = tuple(set(arguments) - seen)
                seen.update(dead)
                plan.append((node, arguments, dead))
            plan.reverse()
            found = self.plans[graph] = plan, outputs
        return found

    def node(self, node: Node, x: list[Value], args: Sequence[Value]) -> Value:
        """The value of a node, as arrays of its exact type."""
        value = self.apply(node, x, args)
        if not isinstance(node.type, tuple):
            return self.arithmetic.array(value, node.dtype)
        return tuple(self.arithmetic.array(v, t.dtype) for v, t in zip(value, node.type, strict=True))

    def size(self, dim: dims.Dim) -> int:
        try:
            return dims.evaluate(dim, self.sizes)
        except KeyError as error:
            raise ValueError(f"size {error.args[0]} does not follow from the arguments' shapes") from None

    def shape(self, shape: dims.Shape) -> tuple[int, ...]:
        return tuple(self.size(d) for d in shape)

    def zeros(self, shape: tuple[int, ...], dtype: DType) -> Value:
        return self.arithmetic.array(np.zeros(shape, dtype), dtype)

    def apply(self, node: Node, x: list[Value], args: Sequence[Value]) -> Value:
        op = node.op
        match op:
            case Input(_, position):
                return args[position]
            case Const():
                if self.literal is not None and is_inexact(node.dtype):
                    return _each(self.literal, op.value.astype(object), dtype=object)
                return op.value
            case SizeOf(dim):
                return np.asarray(self.size(dim))
            case Iota(length):
                return np.arange(self.size(length))
            case Scalar(name):
                return self.arithmetic.scalar(name, x, [a.type for a in node.args] + [node.type])
            case Cast() | Stop():
                return x[0]  # `node` converts to the node's dtype
            case Reduce(kind, axes):
                return self.reduce(kind, axes, x[0], node.dtype)
            case Cumulative(kind, axis, reverse):
                along = np.flip(x[0], axis) if reverse else x[0]
                step = _ACCUMULATORS[kind]
                if along.dtype == object and kind in _EXTREMES:
                    step = _propagating(_EXTREMES[kind])
                running = step.accumulate(along, axis=axis)
                return np.flip(running, axis) if reverse else running
            case Broadcast(shape, axes):
                full = self.shape(shape)
                kept = [d if i in axes else 1 for i, d in enumerate(full)]
                return np.broadcast_to(x[0].reshape(kept), full)
            case Transpose(axes):
                return np.transpose(x[0], axes)
            case Reshape(shape):
                return x[0].reshape(self.shape(shape))
            case Slice(starts, counts, steps):
                return x[0][self.window(starts, counts, steps)]
            case Reverse(axes):
                return np.flip(x[0], axes)
            case Pad(low, _, inner):
                padded = self.zeros(self.shape(node.shape), node.dtype)
                steps = tuple(i + 1 for i in inner)
                padded[self.window(low, x[0].shape, steps)] = x[0]
                return padded
            case Concatenate(axis):
                return np.concatenate(x, axis)
            case Insert(starts, steps):
                base = x[0].copy()
                base[self.window(starts, x[1].shape, steps)] = x[1]
                return base
            case Gather(axes):
                return self.gather(axes, x[0], x[1:], node)
            case Scatter(axes, kind):
                return _scatter(axes, kind, x[0], x[1], x[2:])
            case Contract(left, right, out):
                first, second = (np.asarray(v, order="C") for v in x)  # the order of additions follows the strides
                return np.einsum(first, list(left), second, list(right), list(out))
            case Linalg():
                found = self.arithmetic.linalg(op, x)
                return found if isinstance(node.type, tuple) else found[0]
            case Sort(axis, indices):
                return (np.argsort if indices else np.sort)(x[0], axis, kind="stable")
            case Random():
                raise ValueError(
                    "random samples are drawn by compiled kernels only; pass them as an argument"
                )
            case Cond(branches):
                chosen = branches[min(max(int(x[0]), 0), len(branches) - 1)]
                return _several(node, self.run(chosen, x[1:]))
            case Loop():
                return _several(node, self.loop(op, x))
            case Call(body):
                return _several(node, self.run(body, x))
            case Callback(key):
                return self.callback(key, node, x)
            case Project(index):
                return x[0][index]
            case _:
                assert_never(op)

    def window(self, starts: dims.Shape, counts: dims.Shape, steps: tuple[int, ...]) -> tuple[Any, ...]:
        """start, start + step, … (count of them), per axis."""
        bounds = zip(self.shape(starts), self.shape(counts), steps, strict=True)
        # the ellipsis makes it an array of rank 0, not an element, where there is no axis
        return (*(slice(s, s + (n - 1) * step + 1 if n else s, step) for s, n, step in bounds), ...)

    def reduce(self, kind: str, axes: tuple[int, ...], x: Value, dtype: DType) -> Value:
        match kind:
            case "sum":
                return np.add.reduce(x, axes, dtype=x.dtype)
            case "prod":
                return np.multiply.reduce(x, axes, dtype=x.dtype)
            case "min" | "max" if x.dtype == object:
                for axis in sorted(axes, reverse=True):
                    x = _propagating(_EXTREMES[kind]).reduce(x, axis=axis)
                return x
            case "min":
                return np.min(x, axes)
            case "max":
                return np.max(x, axes)
            case "any":
                return np.any(x, axes)
            case "all":
                return np.all(x, axes)
            case "argmin":
                return np.argmin(x, axes[0])
            case _:
                return np.argmax(x, axes[0])

    def gather(self, axes: tuple[int, ...], x: Value, indices: Sequence[Value], node: Node) -> Value:
        front = np.moveaxis(x, axes, range(len(axes)))
        if 0 in front.shape[: len(axes)]:  # there is no nearest element
            return self.zeros(self.shape(node.shape), node.dtype)
        return front[tuple(np.clip(i, 0, n - 1) for i, n in zip(indices, front.shape, strict=False))]

    def loop(self, op: Loop, x: list[Value]) -> list[Value]:
        if op.condition == "predicate":
            assert op.predicate is not None
            carries, captured = x[: op.carries], x[op.carries :]
            steps = 0
            while self.run(op.predicate, [*carries, *captured])[0]:
                carries = self.run(op.body, [*carries, *captured])
                steps += 1
                if self.longest is not None and steps > self.longest:
                    raise ArithmeticError(f"a while loop took more than {self.longest} steps")
            return carries
        trips = max(int(x[0]), 0)
        carries = x[1 : 1 + op.carries]
        scanned = x[1 + op.carries : 1 + op.carries + op.scanned]
        captured = x[1 + op.carries + op.scanned :]
        stacked = [self.zeros((trips, *self.shape(o.shape)), o.dtype) for o in op.body.outputs[op.carries :]]
        for i in reversed(range(trips)) if op.reverse else range(trips):
            step = self.run(op.body, [np.asarray(i), *carries, *(s[i, ...] for s in scanned), *captured])
            carries = step[: op.carries]
            for place, value in zip(stacked, step[op.carries :], strict=True):
                place[i, ...] = value
        return [*carries, *stacked]

    def callback(self, key: str, node: Node, x: list[Value]) -> Value:
        function = CALLBACKS.get(key)
        if function is None:
            raise ValueError(f"the foreign function {key!r} is not known in this process; declare it")
        floats = [np.asarray(NumPyArithmetic().array(v, a.dtype)) for v, a in zip(x, node.args, strict=True)]
        found = function(*floats)
        values = list(found) if isinstance(found, (tuple, list)) else [found]
        for value, kind in zip(values, result_types(node), strict=True):
            if np.shape(value) != self.shape(kind.shape):
                declared = dims.show(kind.shape)
                raise ValueError(f"the foreign function {key!r} gave shape {np.shape(value)}, not {declared}")
        return tuple(values) if isinstance(node.type, tuple) else values[0]


_ACCUMULATORS: dict[str, np.ufunc] = {
    "sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


_EXTREMES: Final = {"min": "minimum", "max": "maximum"}


@cache
def _propagating(name: str) -> Any:
    """Minimum or maximum of objects, of which one that is NaN wins: NumPy's own depend on the order."""
    return np.frompyfunc(getattr(mpmath_namespace(), name), 2, 1)


def _several(node: Node, values: list[Value]) -> Value:
    return tuple(values) if isinstance(node.type, tuple) else values[0]


def _scatter(axes: tuple[int, ...], kind: str, base: Value, v: Value, indices: Sequence[Value]) -> Value:
    result = base.copy()
    front = np.moveaxis(result, axes, range(len(axes)))
    inside = np.ones(indices[0].shape, bool)
    for i, n in zip(indices, front.shape, strict=False):
        inside &= (i >= 0) & (i < n)
    where = tuple(i[inside] for i in indices)
    if kind == "add":
        np.add.at(front, where, v[inside])
    else:
        front[where] = v[inside]
    return result
