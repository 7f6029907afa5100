"""Python's operators as names of scalar primitives, shared by nodes and by the patterns of rewrite rules.

So a partial derivative or a rule reads as the identity that it states. ``==`` stays identity; comparisons are spelled
``x.lt(y)``, ``x.eq(y)``, … .
"""

from __future__ import annotations

from typing import Any, Self


class Operators:
    """Arithmetic by ``_apply(name, *args)``, which a subclass gives."""

    __slots__ = ()

    def _apply(self, name: str, *args: Any) -> Self:
        raise TypeError(f"{type(self).__name__} does not compute")

    def __add__(self, other: Any) -> Self:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> Self:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Self:
        return self._apply("sub", self, other)

    def __rsub__(self, other: Any) -> Self:
        return self._apply("sub", other, self)

    def __mul__(self, other: Any) -> Self:
        return self._apply("mul", self, other)

    def __rmul__(self, other: Any) -> Self:
        return self._apply("mul", other, self)

    def __truediv__(self, other: Any) -> Self:
        return self._apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._apply("div", other, self)

    def __pow__(self, other: Any) -> Self:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> Self:
        return self._apply("pow", other, self)

    def __neg__(self) -> Self:
        return self._apply("neg", self)

    def __abs__(self) -> Self:
        return self._apply("abs", self)

    def lt(self, other: Any) -> Self:
        return self._apply("lt", self, other)

    def le(self, other: Any) -> Self:
        return self._apply("le", self, other)

    def gt(self, other: Any) -> Self:
        return self._apply("gt", self, other)

    def ge(self, other: Any) -> Self:
        return self._apply("ge", self, other)

    def eq(self, other: Any) -> Self:
        return self._apply("eq", self, other)

    def ne(self, other: Any) -> Self:
        return self._apply("ne", self, other)
