"""Traced against concrete: an expression over named arrays is traced, its graph evaluated, and compared
with NumPy's.
"""

import re
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np
import scipy.special as sp

from chainrule.graph import tree
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import Type
from chainrule.graph.trace import trace_flat

_rng = np.random.default_rng(20240607)

# The names that expressions use for traced arguments.
ARRAYS: dict[str, Any] = {
    "a": np.float64(0.7),
    "v": _rng.normal(size=6),
    "w": _rng.normal(size=6),
    "u": _rng.uniform(0.1, 0.9, size=6),
    "x": _rng.normal(size=(4, 5)),
    "m": _rng.normal(size=(5, 3)),
    "s": _rng.normal(size=(4, 4)),
    "t": _rng.normal(size=(2, 3, 4)),
    "c": _rng.normal(size=6) + 1j * _rng.normal(size=6),
    "n": np.array([3, 0, -2, 7, 1, 5]),
    "k": np.array([1, 2, 3, 4, 1, 2]),
    "b": np.array([True, False, True, True, False, False]),
    "r": _rng.normal(size=6).astype(np.float32),
    "h": np.array([1.0, np.nan, -np.inf, np.inf, -0.0, 2.5]),
    "j": np.array([2, 0, -1]),
    "q": np.int64(2),
}
CONSTANTS: dict[str, Any] = {"np": np, "sp": sp, "I": np.array([0, 2, -1]), "J": np.array([1, 0, 3])}


def agree(function: Callable[..., Any], *args: Any, rtol: float = 1e-13, atol: float = 1e-13, **kwargs: Any) -> None:
    """Assert that the traced function gives what the function itself gives: values, shapes, element types,
    structure.
    """
    leaves, structure = tree.flatten(args)
    leaves = [np.asarray(leaf) for leaf in leaves]
    types = [Type(leaf.shape, leaf.dtype) for leaf in leaves]
    traced = trace_flat(lambda *flat: function(*tree.unflatten(structure, flat)), types)
    found = evaluate(traced.graph, [*leaves, *traced.captures])
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        wanted, wanted_structure = tree.flatten(function(*args))
    assert traced.tree == wanted_structure
    for value, truth in zip(found, wanted, strict=True):
        truth = np.asarray(truth)
        assert value.shape == truth.shape
        assert value.dtype == truth.dtype
        np.testing.assert_allclose(value, truth, rtol=rtol, atol=atol)


def names(code: CodeType) -> set[str]:
    """The names that a code object and the functions inside it use."""
    inner = [names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return {*code.co_names}.union(*inner) - {*code.co_varnames}


def expression_agrees(expression: str, **options: Any) -> None:
    """``agree`` for an expression over the names of ``ARRAYS``; those it uses are traced."""
    used = sorted(names(compile(expression, "<expression>", "eval")) & set(ARRAYS))
    function = eval(f"lambda {', '.join(used)}: ({expression})", dict(CONSTANTS))
    agree(function, *(ARRAYS[name] for name in used), **options)


def table(text: str) -> list[str]:
    """The expressions of a table, one a line."""
    return [line.strip() for line in text.strip().splitlines() if line.strip() and not re.match(r"\s*#", line)]
