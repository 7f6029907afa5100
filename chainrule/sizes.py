"""Types of arguments with named sizes: which concrete types they stand for, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .graph import dim as dims
from .graph.op import Type


def matches(pattern: Sequence[Type], types: Sequence[Type]) -> bool:
    """Whether concrete types are an instance of types with named sizes."""
    bound: dict[str, int] = {}
    for general, concrete in zip(pattern, types, strict=True):
        if general.dtype != concrete.dtype or len(general.shape) != len(concrete.shape):
            return False
        for dim, number in zip(general.shape, concrete.shape, strict=True):
            if isinstance(dim, int):
                if dim != number:
                    return False
            elif (
                not isinstance(number, int)
                or number < dims.SMALLEST
                or bound.setdefault(str(dim), number) != number
            ):
                return False
    return True


def generalised(before: Sequence[Type], now: Sequence[Type]) -> tuple[Type, ...] | None:
    """Types in which the dimensions that changed are named sizes, equal ones alike; None if they cannot be."""
    named: dict[tuple[Any, Any], dims.Size] = {}
    result = []
    for a, b in zip(before, now, strict=True):
        shape: list[dims.Dim] = []
        for old, new in zip(a.shape, b.shape, strict=True):
            if old == new:
                shape.append(old)
                continue
            if not isinstance(old, int) or not isinstance(new, int) or min(old, new) < dims.SMALLEST:
                return None
            name = "nmklpqrst"[len(named)] if len(named) < 9 else f"n{len(named)}"
            shape.append(named.setdefault((old, new), dims.size(name)))
        result.append(Type(tuple(shape), a.dtype))
    return tuple(result) if named else None
