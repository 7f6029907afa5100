"""Values of the user's program as nodes, and primitives applied to them by NumPy's rules of promotion and
broadcasting.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from . import dim as dims
from . import express
from .dim import Shape, Size
from .dtype import BOOL, COMPLEX128, FLOAT64, INT64, DType, inexact_of, promote
from .node import Node, constant, make
from .op import Scalar, SizeOf
from .scalar import PRIMITIVES
from .where import error

PYTHON_NUMBERS: Final = (float, int, bool, complex)
_SAMPLES: Final[dict[type, Any]] = {float: 1.0, int: 1, bool: True, complex: 1j}
_SCALARS: Final = {name: Scalar(name) for name in PRIMITIVES}
_KIND: Final = {"b": "booleans", "i": "integers", "f": "real numbers", "c": "complex numbers"}
# What NumPy computes on booleans.
_ON_BOOLS: Final = {
    "add": "logical_or", "mul": "logical_and", "maximum": "logical_or", "minimum": "logical_and",
    "bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
    "bitwise_not": "logical_not", "abs": "", "conj": "", "real": "",
}  # fmt: skip
_LOGICAL: Final = frozenset({"logical_and", "logical_or", "logical_xor", "logical_not"})
_NAMES: Final = {
    "sub": "subtract",
    "neg": "negative",
    "div": "divide",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}


@lru_cache(maxsize=4096, typed=True)
def _literal(value: Any, dtype: DType) -> Node:
    return constant(value, dtype)


def literal(value: Any, dtype: DType) -> Node:
    """A Python number as a constant of ``dtype``."""
    # equal keys may differ in bits: 0.0 == -0.0; and an integer may not fit
    if not value or type(value) is complex or type(value) is int:
        try:
            return constant(value, dtype)
        except OverflowError as problem:
            raise error(OverflowError, str(problem)) from None
    return _literal(value, dtype)


def weak_dtype(kind: type) -> DType:
    """The element type a Python number has by itself."""
    return {bool: BOOL, int: INT64, float: FLOAT64, complex: COMPLEX128}[kind]


def strong(value: Any) -> Node:
    """A node, or a Python number with the type it has by itself."""
    return value if type(value) is Node else literal(value, weak_dtype(type(value)))


@lru_cache(maxsize=4096)
def common_dtype(kinds: tuple[Any, ...]) -> DType:
    """NumPy 2's common type of dtypes and Python number types."""
    return promote(*[_SAMPLES.get(k, k) if isinstance(k, type) else k for k in kinds])


def kind_of(value: Any) -> Any:
    return value.type.dtype if type(value) is Node else type(value)


@lru_cache(maxsize=4096)
def _plan(name: str, kinds: tuple[Any, ...]) -> tuple[str, DType, str]:
    """The primitive for NumPy's ``name``, the type its operands are converted to, and what is wrong."""
    if name in _LOGICAL:
        return name, BOOL, ""
    primitive = PRIMITIVES[name]
    operands = kinds[1:] if name == "where" else kinds[primitive.literals :]
    dtype = common_dtype(operands)
    if dtype == BOOL and name in _ON_BOOLS:
        return _ON_BOOLS[name], BOOL, ""
    shown = _NAMES.get(name, name)
    if dtype == BOOL and name in ("sub", "neg"):
        advice = "use np.logical_xor or np.logical_not, or convert them with .astype(int)"
        return name, dtype, f"{shown} of booleans: {advice}"
    if primitive.result in ("float", "complex"):
        dtype = inexact_of(dtype)
    if dtype == BOOL and "b" not in primitive.accepts:
        dtype = INT64
    fits = dtype.kind in primitive.accepts
    return name, dtype, "" if fits else f"{shown} does not take {_KIND[dtype.kind]}"


def apply(name: str, *operands: Any) -> Node:
    """A primitive of nodes and Python numbers, converted and broadcast as NumPy's ufunc does."""
    primitive, dtype, wrong = _plan(name, tuple([v.type.dtype if type(v) is Node else type(v) for v in operands]))
    if wrong:
        raise error(TypeError, wrong)
    nodes = []
    for value in operands:
        if type(value) is not Node:
            nodes.append(literal(value, dtype))
        elif value.type.dtype is dtype or value.type.dtype == dtype:
            nodes.append(value)
        else:
            nodes.append(to_bool(value) if dtype is BOOL else express.cast(value, dtype))
    if name == "where":
        nodes[0] = to_bool(strong(operands[0]))
    elif PRIMITIVES[name].literals:
        nodes[0] = strong(operands[0])
    if primitive == "":
        return nodes[0]
    return make(_SCALARS[primitive], aligned(nodes))


def aligned(nodes: list[Node]) -> tuple[Node, ...]:
    """Nodes broadcast to their common shape; those of rank 0 stay."""
    shape: Shape = ()
    same = True
    for node in nodes:
        own = node.type.shape
        if own:
            same = same and (not shape or own == shape)
            shape = own
    if same:
        return tuple(nodes)
    shape = broadcast_shapes(*[n.type.shape for n in nodes])
    return tuple([express.broadcast_to(n, shape) if n.type.shape else n for n in nodes])


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's broadcast of shapes, with an error at the user's line."""
    try:
        return dims.broadcast(*shapes)
    except ValueError as problem:
        raise error(ValueError, str(problem)) from None


def to_bool(node: Node) -> Node:
    """Truth of the elements: x ≠ 0."""
    if node.dtype == BOOL:
        return node
    return make(_SCALARS["ne"], (node, constant(0, node.dtype)))


def full(value: Node, shape: Shape) -> Node:
    """A rank-0 node repeated over ``shape``."""
    return express.broadcast_to(value, shape)


def size_value(dim: Any) -> Node:
    """A dimension as an int64 node."""
    return make(SizeOf(dim)) if isinstance(dim, Size) else constant(dim, INT64)
