"""The op families, as data: immutable records that say what a node computes, and nothing of how.

A pass is one function with one ``case`` per family, closed by ``assert_never``. What a family's node evaluates to is in
its docstring; its result type is ``infer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np

from . import dim as dims
from .dim import Dim, Shape
from .dtype import BOOL, INT64, NAMES, DType, complex_of, inexact_of, real_of
from .rule import Rule
from .scalar import PRIMITIVES

if TYPE_CHECKING:
    from .node import Graph


@dataclass(frozen=True, slots=True)
class Type:
    """Shape and element type of an array."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return NAMES[self.dtype] + (dims.show(self.shape) if self.shape else "")

    @property
    def rank(self) -> int:
        return len(self.shape)


# --- leaves -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Input:
    """The argument ``position`` of the program that is traced at depth ``level``; closed graphs have level 0 only."""

    level: int
    position: int
    type: Type


@dataclass(frozen=True, slots=True)
class Const:
    """A scalar or small array, held as bytes, so that −0.0, NaN and ``True`` are themselves."""

    type: Type
    data: bytes

    @property
    def value(self) -> np.ndarray[Any, Any]:
        shape = tuple(int(d) for d in self.type.shape)
        return np.frombuffer(self.data, self.type.dtype).reshape(shape)


@dataclass(frozen=True, slots=True)
class SizeOf:
    """A dimension as an int64 scalar."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Iota:
    """0, 1, …, length−1 as int64."""

    length: Dim


# --- elementwise --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scalar:
    """A primitive of the table ``scalar.PRIMITIVES``, elementwise.

    Every argument has the result's shape or rank 0; every other broadcast is an explicit ``Broadcast`` node.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion of the elements, as NumPy's ``astype`` (complex → real takes the real part)."""

    dtype: DType


@dataclass(frozen=True, slots=True)
class Stop:
    """The argument itself, a constant to differentiation."""


# --- along axes ---------------------------------------------------------------------------------------------

ReduceKind = Literal["sum", "prod", "min", "max", "any", "all", "argmin", "argmax"]


@dataclass(frozen=True, slots=True)
class Reduce:
    """Reduction over ``axes`` (ascending), which disappear; argmin and argmax take one axis."""

    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cumulative:
    """Inclusive running sum, prod, min or max along ``axis``, from the end if ``reverse``."""

    kind: Literal["sum", "prod", "min", "max"]
    axis: int
    reverse: bool = False


# --- views: linear, each element of the result is one element of an argument, or zero -----------------------


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Input axis i becomes result axis ``axes[i]`` (ascending) with the same size; the other axes repeat."""

    shape: Shape
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transpose:
    """Result axis i is input axis ``axes[i]``."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in C order."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Slice:
    """``x[start:start+(count−1)·step+1:step]`` on every axis; the steps are positive numbers."""

    starts: Shape
    counts: Shape
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reverse:
    """The axes named run backwards."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pad:
    """Zeros (``False``): ``low`` before, ``high`` after, and ``inner`` between neighbours, per axis."""

    low: Shape
    high: Shape
    inner: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Concatenate:
    """The arguments one after the other along ``axis``."""

    axis: int


@dataclass(frozen=True, slots=True)
class Insert:
    """(base, v): ``base`` with ``base[start::step]`` (as in ``Slice``, v's shape) replaced by ``v``."""

    starts: Shape
    steps: tuple[int, ...]


# --- indexing with computed indices -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gather:
    """(x, i₁, …, i_k): integer arrays of one shape I index ``axes`` of x; the result is I + the other axes of x.

    An index outside is clamped to the nearest element (a kernel never reads out of bounds).
    """

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scatter:
    """(base, v, i₁, …, i_k): ``base`` with v put at (``set``) or added to (``add``) what ``Gather`` would read.

    An index outside is dropped. Where indices repeat, ``set`` keeps the last.
    """

    axes: tuple[int, ...]
    kind: Literal["add", "set"]


# --- sums of products and other linear algebra --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contract:
    """einsum of two arrays over axis labels: result[out] = Σ left[...]·right[...]; no label repeats in one operand.

    Every label of ``out`` occurs in an operand; labels that are not in ``out`` are summed.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Linalg:
    """Dense linear algebra on the last two axes; ``lower`` says which triangle is meant."""

    kind: Literal["cholesky", "solve_triangular", "solve", "inv", "det", "slogdet", "eigh"]
    lower: bool = True
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """The argument sorted along ``axis``, or with ``indices`` the (stable) permutation that sorts it."""

    axis: int
    indices: bool = False


@dataclass(frozen=True, slots=True)
class Random:
    """Counter-based random bits → samples of ``kind``; the argument is the key."""

    kind: Literal["bits", "uniform", "normal"]
    shape: Shape


# --- structured: bodies are closed graphs -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cond:
    """(index, *operands) → the results of ``branches[index]`` (index clamped), of which the others are not run."""

    branches: tuple[Graph, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """The one structured loop.

    ``count`` and ``map``: arguments (trip count: int64, *carries, *scanned, *captured); the body takes
    (index, *carries, *one slice of each scanned along axis 0, *captured) and returns (*carries, *outputs of the step).
    Results: (*final carries, *step outputs stacked along a new axis 0). ``map`` has no carries: its steps are
    independent.
    ``length`` is the static trip count, needed where something is scanned or stacked, else None.
    ``reverse`` runs index = length−1 … 0 (scanned and stacked keep their places).

    ``predicate``: arguments (*carries, *captured); ``body`` and ``predicate`` take the same; the body returns the
    carries; it runs while ``predicate`` gives True. Results: the final carries.

    ``kept`` is how many states reverse mode keeps, where the program asks for checkpoints: a number, or 0 where it is
    left to the compiler; None where it does not ask.
    """

    condition: Literal["map", "count", "predicate"]
    body: Graph
    predicate: Graph | None
    carries: int
    scanned: int
    length: Dim | None
    reverse: bool = False
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A graph applied as one op; ``rule`` says how it is differentiated.

    A ``Rule``: by that, and the call is inlined before it is compiled. ``"recompute"``: through its body; reverse mode
    has nothing of the body but its arguments and results, and computes the rest again.
    """

    body: Graph
    rule: Rule | str


@dataclass(frozen=True, slots=True)
class Callback:
    """Foreign Python, held in a registry under ``key``; ``effect`` numbers the impure ones in program order."""

    key: str
    results: tuple[Type, ...]
    effect: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Result ``index`` of a node that has several."""

    index: int


View = Broadcast | Transpose | Reshape | Slice | Reverse | Pad | Concatenate | Insert
Index = Gather | Scatter
Leaf = Input | Const | SizeOf | Iota
Structured = Cond | Loop | Call | Callback
Elementwise = Scalar | Cast | Stop
Along = Reduce | Cumulative | Sort
Op = Leaf | Elementwise | Along | View | Index | Contract | Linalg | Random | Structured | Project
Result = Type | tuple[Type, ...]


_field_names_of: dict[str, tuple[str, ...]] = {}


def _field_names(op: Op) -> tuple[str, ...]:
    found = _field_names_of.get(type(op).__name__)
    if found is None:
        found = _field_names_of[type(op).__name__] = tuple(f.name for f in fields(op))
    return found


def encode(op: Op) -> bytes:
    """A stable text of the op for digests: the same in every process."""
    tokens = [_token(getattr(op, name)) for name in _field_names(op)]
    return "\x1f".join([type(op).__name__, *tokens]).encode()


def _token(value: object) -> str:
    match value:
        case np.dtype():
            return NAMES[value]
        case bytes():
            return value.hex()
        case Type():
            return str(value)
        case dims.Size():
            return str(value)
        case tuple():
            return "(" + ",".join(_token(v) for v in value) + ")"
        case None | bool() | int() | str():
            return repr(value)
        case _:
            digest: bytes = value.digest  # type: ignore[attr-defined]  # a Graph or a Rule
            return digest.hex()


# --- result types -------------------------------------------------------------------------------------------


def infer(op: Op, types: Sequence[Any]) -> Result:
    """The result type of ``op`` on arguments of these types; passes build well-typed nodes, so this only asserts."""
    if type(op) is Scalar:  # nearly all nodes are
        return _infer_scalar(op.name, types)
    match op:
        case Scalar(name):
            return _infer_scalar(name, types)
        case Input() | Const():
            return op.type
        case SizeOf():
            return Type((), INT64)
        case Iota(length):
            return Type((length,), INT64)
        case Cast(dtype):
            return Type(types[0].shape, dtype)
        case Stop() | Reverse() | Cumulative():
            return types[0]  # type: ignore[no-any-return]
        case Reduce(kind, axes):
            shape = tuple(d for i, d in enumerate(types[0].shape) if i not in axes)
            dtype = {"argmin": INT64, "argmax": INT64, "any": BOOL, "all": BOOL}.get(kind, types[0].dtype)
            return Type(shape, dtype)
        case Broadcast(shape, axes):
            assert tuple(shape[a] for a in axes) == types[0].shape, (op, types)
            return Type(shape, types[0].dtype)
        case Transpose(axes):
            return Type(tuple(types[0].shape[a] for a in axes), types[0].dtype)
        case Reshape(shape):
            assert dims.product(shape) == dims.product(types[0].shape), (op, types)
            return Type(shape, types[0].dtype)
        case Slice(_, counts, _):
            return Type(counts, types[0].dtype)
        case Pad(low, high, inner):
            padded = zip(types[0].shape, low, high, inner, strict=True)
            shape = tuple(n + a + b + (dims.maximum(n - 1, 0) * i if i else 0) for n, a, b, i in padded)
            return Type(shape, types[0].dtype)
        case Concatenate(axis):
            total: Dim = 0
            for t in types:
                total = total + t.shape[axis]
            return Type((*types[0].shape[:axis], total, *types[0].shape[axis + 1 :]), types[0].dtype)
        case Insert() | Scatter():
            return types[0]  # type: ignore[no-any-return]
        case Gather(axes):
            rest = tuple(d for i, d in enumerate(types[0].shape) if i not in axes)
            return Type((*types[1].shape, *rest), types[0].dtype)
        case Contract(left, right, out):
            size_of = dict(zip(left, types[0].shape, strict=True)) | dict(zip(right, types[1].shape, strict=True))
            assert types[0].dtype == types[1].dtype, (op, types)
            return Type(tuple(size_of[i] for i in out), types[0].dtype)
        case Linalg():
            return _infer_linalg(op, types)
        case Sort(_, indices):
            return Type(types[0].shape, INT64) if indices else types[0]
        case Random(kind, shape):
            return Type(shape, INT64 if kind == "bits" else inexact_of(INT64))
        case Cond(branches):
            return tuple(n.type for n in branches[0].outputs)
        case Loop():
            results = [n.type for n in op.body.outputs]
            stacked = [Type((op.length, *t.shape), t.dtype) for t in results[op.carries :]]  # type: ignore[arg-type]
            return (*results[: op.carries], *stacked)
        case Call(body, _):
            return tuple(n.type for n in body.outputs)
        case Callback(_, results_, _):
            return results_
        case Project(index):
            return types[0][index]  # type: ignore[no-any-return]
        case _:
            assert_never(op)


KEEPS_TYPE = frozenset(name for name, p in PRIMITIVES.items() if p.result == "same")


def _infer_scalar(name: str, types: Sequence[Type]) -> Type:
    widest = types[-1]  # `where` and `complex` have their value arguments last
    if name in KEEPS_TYPE and (len(types) == 1 or (types[0] is widest and len(types) == 2)):
        return widest
    for t in types:
        if t.shape and t is not widest:
            if not widest.shape:
                widest = Type(t.shape, widest.dtype)
            assert widest.shape == t.shape, (name, [str(t) for t in types])
    match PRIMITIVES[name].result:
        case "bool":
            dtype = BOOL
        case "float":
            dtype = inexact_of(widest.dtype)
        case "real":
            dtype = real_of(widest.dtype)
        case "complex":
            dtype = complex_of(widest.dtype)
        case _:
            return widest
    return widest if dtype is widest.dtype else Type(widest.shape, dtype)


def _infer_linalg(op: Linalg, types: Sequence[Type]) -> Result:
    matrix = types[0]
    batch = Type(matrix.shape[:-2], matrix.dtype)
    match op.kind:
        case "cholesky" | "inv":
            return matrix
        case "solve" | "solve_triangular":
            return types[1]
        case "det":
            return batch
        case "slogdet":
            return (batch, batch)
        case "eigh":
            return (Type(matrix.shape[:-1], real_of(matrix.dtype)), matrix)
