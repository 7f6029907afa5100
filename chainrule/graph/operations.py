"""Operators and methods of traced arrays: each one hands over to a primitive or to the function of its
name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self


class Operations:
    """What NumPy's arrays offer, in terms of four calls that ``Array`` gives."""

    __slots__ = ()

    def _binary(self, name: str, a: Any, b: Any) -> Self:
        """The primitive ``name`` of two operands, NotImplemented where one is no number or array."""
        raise AssertionError

    def _unary(self, name: str) -> Self:
        """The primitive ``name`` of this array."""
        raise AssertionError

    def _operator(self, name: str, a: Any, b: Any) -> Self:
        """The function ``name`` of two operands, NotImplemented where one is no number or array."""
        raise AssertionError

    def _function(self, name: str, *args: Any, **kwargs: Any) -> Self:
        """NumPy's function ``name`` with this array as first argument."""
        raise AssertionError

    def _in_place(self, value: Any) -> Self:
        """This array with its elements replaced by those of ``value``."""
        raise AssertionError

    # --- arithmetic ---

    def __add__(self, other: Any) -> Self:
        return self._binary("add", self, other)

    def __radd__(self, other: Any) -> Self:
        return self._binary("add", other, self)

    def __sub__(self, other: Any) -> Self:
        return self._binary("sub", self, other)

    def __rsub__(self, other: Any) -> Self:
        return self._binary("sub", other, self)

    def __mul__(self, other: Any) -> Self:
        return self._binary("mul", self, other)

    def __rmul__(self, other: Any) -> Self:
        return self._binary("mul", other, self)

    def __truediv__(self, other: Any) -> Self:
        return self._binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._binary("div", other, self)

    def __floordiv__(self, other: Any) -> Self:
        return self._binary("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return self._binary("floordiv", other, self)

    def __mod__(self, other: Any) -> Self:
        return self._binary("mod", self, other)

    def __rmod__(self, other: Any) -> Self:
        return self._binary("mod", other, self)

    def __divmod__(self, other: Any) -> tuple[Self, Self]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Self, Self]:
        return other // self, other % self

    def __pow__(self, other: Any) -> Self:
        return self._operator("power", self, other)

    def __rpow__(self, other: Any) -> Self:
        return self._operator("power", other, self)

    def __matmul__(self, other: Any) -> Self:
        return self._operator("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return self._operator("matmul", other, self)

    def __neg__(self) -> Self:
        return self._unary("neg")

    def __pos__(self) -> Self:
        return self._function("positive")

    def __abs__(self) -> Self:
        return self._unary("abs")

    def __invert__(self) -> Self:
        return self._unary("bitwise_not")

    def __and__(self, other: Any) -> Self:
        return self._binary("bitwise_and", self, other)

    def __rand__(self, other: Any) -> Self:
        return self._binary("bitwise_and", other, self)

    def __or__(self, other: Any) -> Self:
        return self._binary("bitwise_or", self, other)

    def __ror__(self, other: Any) -> Self:
        return self._binary("bitwise_or", other, self)

    def __xor__(self, other: Any) -> Self:
        return self._binary("bitwise_xor", self, other)

    def __rxor__(self, other: Any) -> Self:
        return self._binary("bitwise_xor", other, self)

    def __lshift__(self, other: Any) -> Self:
        return self._binary("shift_left", self, other)

    def __rlshift__(self, other: Any) -> Self:
        return self._binary("shift_left", other, self)

    def __rshift__(self, other: Any) -> Self:
        return self._binary("shift_right", self, other)

    def __rrshift__(self, other: Any) -> Self:
        return self._binary("shift_right", other, self)

    # --- comparisons ---

    def __lt__(self, other: Any) -> Self:
        return self._binary("lt", self, other)

    def __le__(self, other: Any) -> Self:
        return self._binary("le", self, other)

    def __gt__(self, other: Any) -> Self:
        return self._binary("gt", self, other)

    def __ge__(self, other: Any) -> Self:
        return self._binary("ge", self, other)

    def __eq__(self, other: Any) -> Any:
        return False if other is None else self._binary("eq", self, other)

    def __ne__(self, other: Any) -> Any:
        return True if other is None else self._binary("ne", self, other)

    # --- in place ---

    def __iadd__(self, other: Any) -> Self:
        return self._in_place(self + other)

    def __isub__(self, other: Any) -> Self:
        return self._in_place(self - other)

    def __imul__(self, other: Any) -> Self:
        return self._in_place(self * other)

    def __itruediv__(self, other: Any) -> Self:
        return self._in_place(self / other)

    def __ifloordiv__(self, other: Any) -> Self:
        return self._in_place(self // other)

    def __imod__(self, other: Any) -> Self:
        return self._in_place(self % other)

    def __ipow__(self, other: Any) -> Self:
        return self._in_place(self**other)

    def __iand__(self, other: Any) -> Self:
        return self._in_place(self & other)

    def __ior__(self, other: Any) -> Self:
        return self._in_place(self | other)

    def __ixor__(self, other: Any) -> Self:
        return self._in_place(self ^ other)

    # --- methods ---

    @property
    def T(self) -> Self:
        """The axes in reversed order."""
        return self._function("transpose")

    @property
    def mT(self) -> Self:
        """The last two axes exchanged."""
        return self._function("matrix_transpose")

    @property
    def real(self) -> Self:
        return self._unary("real")

    @property
    def imag(self) -> Self:
        return self._unary("imag")

    @property
    def flat(self) -> Self:
        """The elements in order, as a one-dimensional array."""
        return self._function("ravel")

    @property
    def at(self) -> At:
        """``x.at[i].set(v)``, ``.add``, ``.multiply``, ``.min``, ``.max``, ``.get``: a changed copy."""
        return At(self._function)

    def astype(self, dtype: Any, **kwargs: Any) -> Self:
        """The elements converted to another type."""
        return self._function("astype", dtype, **kwargs)

    def copy(self, order: str = "C") -> Self:
        """An array of its own, free to be written to."""
        return self._function("copy")

    def conj(self) -> Self:
        return self._unary("conj")

    def conjugate(self) -> Self:
        return self._unary("conj")

    def reshape(self, *shape: Any, **kwargs: Any) -> Self:
        return self._function("reshape", shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Self:
        return self._function("transpose", axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None)

    def flatten(self, order: str = "C") -> Self:
        return self._function("ravel", order=order).copy()

    def ravel(self, order: str = "C") -> Self:
        return self._function("ravel", order=order)

    def sum(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("sum", axis=axis, **kwargs)

    def mean(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("mean", axis=axis, **kwargs)

    def var(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("var", axis=axis, **kwargs)

    def std(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("std", axis=axis, **kwargs)

    def min(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("min", axis=axis, **kwargs)

    def max(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("max", axis=axis, **kwargs)

    def prod(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("prod", axis=axis, **kwargs)

    def any(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("any", axis=axis, **kwargs)

    def all(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("all", axis=axis, **kwargs)

    def argmin(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("argmin", axis=axis, **kwargs)

    def argmax(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("argmax", axis=axis, **kwargs)

    def cumsum(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("cumsum", axis=axis, **kwargs)

    def cumprod(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("cumprod", axis=axis, **kwargs)

    def squeeze(self, axis: Any = None, **kwargs: Any) -> Self:
        return self._function("squeeze", axis=axis, **kwargs)

    def dot(self, other: Any) -> Self:
        return self._function("dot", other)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        return self._function("swapaxes", axis1, axis2)

    def clip(self, min: Any = None, max: Any = None) -> Self:
        return self._function("clip", min, max)

    def round(self, decimals: int = 0) -> Self:
        return self._function("round", decimals)

    def take(self, indices: Any, axis: int | None = None) -> Self:
        return self._function("take", indices, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Self:
        return self._function("repeat", repeats, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        return self._function("diagonal", offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        return self._function("trace", offset, axis1, axis2)

    def argsort(self, axis: int = -1, **kwargs: Any) -> Self:
        return self._function("argsort", axis, **kwargs)

    def searchsorted(self, v: Any, side: str = "left") -> Self:
        return self._function("searchsorted", v, side)


class At:
    """``x.at``: waits for an index."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __getitem__(self, index: Any) -> Place:
        return Place(self._function, index)


class Place:
    """``x.at[index]``: changed copies of x, as in JAX. Where indices repeat, ``add`` accumulates."""

    __slots__ = ("_function", "_index")

    def __init__(self, function: Callable[..., Any], index: Any) -> None:
        self._function, self._index = function, index

    def get(self) -> Any:
        """``x[index]``."""
        return self._function("getitem", self._index)

    def set(self, value: Any) -> Any:
        """x with ``x[index] = value``."""
        return self._function("updated", self._index, value, "set")

    def add(self, value: Any) -> Any:
        """x with ``x[index] += value``."""
        return self._function("updated", self._index, value, "add")

    def subtract(self, value: Any) -> Any:
        """x with ``x[index] -= value``."""
        return self._function("updated", self._index, -value, "add")

    def multiply(self, value: Any) -> Any:
        """x with ``x[index] *= value``."""
        return self._function("updated", self._index, value, "mul")

    mul = multiply

    def divide(self, value: Any) -> Any:
        """x with ``x[index] /= value``."""
        return self._function("updated", self._index, value, "div")

    def power(self, value: Any) -> Any:
        """x with ``x[index] **= value``."""
        return self._function("updated", self._index, value, "pow")

    def min(self, value: Any) -> Any:
        """x with the smaller of ``x[index]`` and ``value``."""
        return self._function("updated", self._index, value, "minimum")

    def max(self, value: Any) -> Any:
        """x with the larger of ``x[index]`` and ``value``."""
        return self._function("updated", self._index, value, "maximum")
