"""The value of a SymPy expression for given values of its symbols: numbers, arrays, or traced arrays.

The expression is walked without recursion and every distinct subexpression is computed once, so that shared parts of
large expressions stay shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.graph.where import error

from .functions import FUNCTIONS

Values = dict[Any, Any]  # SymPy expression → its value

# Whose arguments are not all values, or which bind a symbol of their own.
_BINDERS = frozenset({"Sum", "Product", "Integral", "Derivative", "Subs", "Lambda", "Limit"})
_CONSTANTS = {"ImaginaryUnit": 1j, "Infinity": np.inf, "NegativeInfinity": -np.inf, "NaN": np.nan}


@dataclass(frozen=True)
class Meanings:
    """What the user says of functions: ``functions`` by name come first; ``implemented`` ones bring their own code."""

    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    implemented: bool = True


def evaluate(expression: Any, values: Values, meanings: Meanings) -> Any:
    """The value of an expression; ``values`` hold those of its symbols and gain those of its parts.

    Raises ValueError for what has no meaning as a number, naming it.
    """
    stack = [expression]
    while stack:
        node = stack[-1]
        if node in values:
            stack.pop()
            continue
        missing = [part for part in _parts(node) if part not in values]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        values[node] = _value(node, values, meanings)
    return values[expression]


def _parts(node: Any) -> Sequence[Any]:
    """The subexpressions whose values are needed first."""
    kind = type(node).__name__
    if kind in _BINDERS or node.is_Atom or not node.args:
        return ()
    if kind == "Piecewise":
        return [part for pair in node.args for part in pair.args]
    if kind == "Indexed":
        return tuple(node.indices)
    if kind == "Pow":
        return (node.base,) if node.exp.is_number and node.exp.is_Rational else node.args
    if getattr(node, "is_Matrix", False) and hasattr(node, "tolist"):
        return list(node.flat())
    if kind == "MatrixElement":
        return (node.parent, *node.indices)
    if kind in ("Tuple", "list", "tuple"):
        return list(node)
    return tuple(node.args)


def _value(node: Any, values: Values, meanings: Meanings) -> Any:
    kind = type(node).__name__
    given = meanings.functions.get(kind) if node.args else None
    if given is not None:
        return given(*[values[a] for a in node.args])
    if getattr(node, "is_Symbol", False) or kind in ("IndexedBase", "MatrixSymbol"):
        raise error(ValueError, f"the expression contains {node}, which is not among the arguments")
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if getattr(node, "is_Boolean", False) and not node.args:
        return bool(node)
    if getattr(node, "is_Number", False) or getattr(node, "is_NumberSymbol", False):
        return _number(node)
    match kind:
        case "Pow":
            return _power(node, values)
        case "Piecewise":
            return _piecewise(node, values)
        case "Indexed":
            return values[node.base][tuple(_position(values[i]) for i in node.indices)]
        case "Sum" | "Product":
            from .sums import evaluate_sum

            return evaluate_sum(node, values, meanings)
        case "Derivative" | "Integral" | "Subs" | "Limit":
            return _done(node, values, meanings)
        case "Tuple":
            return tuple(values[part] for part in node)
    if getattr(node, "is_Matrix", False) or kind in ("MatrixElement", "Trace", "Determinant"):
        from .matrices import evaluate_matrix

        return evaluate_matrix(node, values)
    implementation = getattr(getattr(node, "func", None), "_imp_", None)
    if implementation is not None and meanings.implemented:
        return implementation(*[values[a] for a in node.args])
    function = FUNCTIONS.get(kind)
    if function is None:
        hint = f"give it as modules={{{kind!r}: function}}"
        raise error(ValueError, f"{node} has no numerical meaning here: {kind} is not known; {hint}")
    return function(*[values[a] for a in node.args])


def _number(node: Any) -> Any:
    """Integers stay integers: they are weak, and exponents need them."""
    if node.is_Integer:
        return int(node) if abs(node) < 2**63 else float(node)
    if node.is_Rational:
        return node.p / node.q  # correctly rounded
    if node.is_infinite:
        raise error(ValueError, f"the expression contains {node}, which is no number")
    return float(node)


def _power(node: Any, values: Values) -> Any:
    base, exponent = values[node.base], node.exp
    if exponent.is_number and exponent.is_Rational:
        if exponent.is_Integer:
            power = int(exponent)
            return 1.0 / base if power == -1 else (base**power if power >= 0 else 1.0 / base**-power)
        if exponent.q == 2:
            return _root(np.sqrt(base), exponent.p)
        return base ** (exponent.p / exponent.q)
    if node.base.is_NumberSymbol and type(node.base).__name__ == "Exp1":
        return np.exp(values[exponent])
    return base ** values[exponent]


def _root(root: Any, power: int) -> Any:
    """The square root to an odd power."""
    return root**power if power > 0 else (1.0 / root if power == -1 else 1.0 / root**-power)


def _piecewise(node: Any, values: Values) -> Any:
    """Nested selections from the last; where no condition holds, NaN, as in SymPy."""
    result: Any = np.nan
    for pair in reversed(node.args):
        expression, condition = values[pair.args[0]], values[pair.args[1]]
        result = expression if condition is True else np.where(condition, expression, result)
    return result


def _position(index: Any) -> Any:
    return index if isinstance(index, int) or not isinstance(index, float) else int(index)


def _done(node: Any, values: Values, meanings: Meanings) -> Any:
    """What SymPy can carry out is carried out; what is left has no closed form."""
    done = node.doit()
    if done == node or done.has(type(node)):
        what = type(node).__name__.lower()
        raise error(ValueError, f"SymPy finds no closed form of {node}, so this {what} cannot be computed")
    return evaluate(done, values, meanings)
