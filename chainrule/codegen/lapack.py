"""Large matrices, and eigenvalues, by LAPACK: as calls from kernels into NumPy, where a microsecond does not matter."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from chainrule.graph.evaluate import CALLBACKS
from chainrule.graph.linalg import numpy_linalg
from chainrule.graph.node import Node, make, result_types, results
from chainrule.graph.op import Callback, Linalg

__all__ = ["LARGEST", "by_lapack", "is_for_lapack"]

LARGEST: Final = 32
"""Matrices up to this size are worked on by loops in the kernel."""


def is_for_lapack(op: Linalg, matrix: Node) -> bool:
    """Whether an op on (a stack of) such matrices is a call, and no loops."""
    size = matrix.shape[-1]
    return op.kind == "eigh" or not isinstance(size, int) or size > LARGEST


def by_lapack(op: Linalg, args: tuple[Node, ...]) -> tuple[Node, ...]:
    """The results of an op, by a call of NumPy."""
    kinds = result_types(make(op, args))
    return results(make(Callback(_key(op), kinds), args))


def _key(op: Linalg) -> str:
    return f"linalg.{op.kind}.{op.lower}.{op.transposed}"


def _run(op: Linalg, *args: Any) -> Any:
    return numpy_linalg(op.kind, op.lower, op.transposed, args)


KINDS: Final = ("cholesky", "solve_triangular", "solve", "inv", "det", "slogdet", "eigh")
CALLBACKS.update({
    _key(op): partial(_run, op)
    for op in (Linalg(kind, lower, turned) for kind in KINDS for lower in (True, False) for turned in (True, False))
})  # fmt: skip
