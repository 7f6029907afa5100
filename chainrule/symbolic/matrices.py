"""Matrices, explicit ones and products, powers, traces and inverses of matrix symbols."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chainrule.graph.where import error

from .translate import Values


def evaluate_matrix(node: Any, values: Values) -> Any:
    """The value of a matrix expression whose parts have values: an array of rank 2, or a number."""
    if hasattr(node, "tolist"):
        rows = [np.stack([_broadcast(values[e], node, values) for e in row]) for row in node.tolist()]
        return np.stack(rows) if rows else np.zeros(node.shape)
    args = [values[a] for a in node.args if a in values]
    match type(node).__name__:
        case "MatMul":
            return functools.reduce(_product, args)
        case "MatAdd":
            return functools.reduce(np.add, args)
        case "HadamardProduct":
            return functools.reduce(np.multiply, args)
        case "Transpose":
            return np.transpose(args[0])
        case "Inverse":
            return np.linalg.inv(args[0])
        case "Trace":
            return np.trace(args[0])
        case "Determinant":
            return np.linalg.det(args[0])
        case "MatPow":
            return np.linalg.matrix_power(args[0], int(node.exp))
        case "Identity":
            return np.eye(int(node.shape[0]))
        case "ZeroMatrix":
            return np.zeros(tuple(int(s) for s in node.shape))
        case "MatrixElement":
            return values[node.parent][tuple(values[i] for i in node.indices)]
    raise error(ValueError, f"{type(node).__name__} of matrices is not known: {node}")


def _product(a: Any, b: Any) -> Any:
    return a @ b if np.ndim(a) and np.ndim(b) else a * b


def _broadcast(entry: Any, node: Any, values: Values) -> Any:
    """Entries of a matrix share their shape: constants follow what depends on arrays."""
    shapes = {np.shape(values[e]) for e in node.flat()}
    shape = max(shapes, key=len)
    return np.broadcast_to(entry, shape) if np.shape(entry) != shape else entry
