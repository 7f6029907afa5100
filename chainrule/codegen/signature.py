"""What a compiled kernel takes and gives: the contract between emitted code and the functions that call it.

A kernel is the C function `void name(inputs…, hidden inputs…, sizes…, results…, workspace)`:

- an input of rank 0 comes by value (float64 `double`, int64 `int64_t`, bool `uint8_t`, float32 `float`,
  complex128 two `double`s), an array as a pointer to C-contiguous data (bool as bytes, complex128 as pairs);
- hidden inputs, what the program captured, follow by the same rule; then each named size once as `int64_t`;
- every result is a pointer, a result of rank 0 a pointer to one element;
- the workspace, if the signature has one, is a pointer to scratch memory, aligned to 64 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["DTYPES", "Argument", "Dtype", "Signature", "SizeExpr", "Tree", "evaluate_size", "tree_leaves"]

Dtype: TypeAlias = Literal["float64", "int64", "bool", "float32", "complex128"]

SizeExpr: TypeAlias = "int | str | tuple[str, SizeExpr, SizeExpr]"
"""A number, a named size, or (operator, left, right) with an operator of `+ * // % min max`."""

Tree: TypeAlias = "int | tuple[Tree, ...] | list[Tree] | None"
"""How the caller gets the results: the number of a result, None, or a tuple or list of such."""

Guard: TypeAlias = tuple[str, SizeExpr, SizeExpr]
"""(`==`, `>=` or `!=`, left, right): a fact about the sizes that the kernel relies on."""

DTYPES: tuple[Dtype, ...] = ("float64", "int64", "bool", "float32", "complex128")
_OPERATORS = frozenset(("+", "*", "//", "%", "min", "max"))
_RELATIONS = frozenset(("==", ">=", "!="))


@dataclass(frozen=True, slots=True)
class Argument:
    """One array or scalar of a kernel: its element type and shape; `()` is a scalar.

    A dimension of an input is an int or a named size; that of a result may be a size expression.
    """

    dtype: Dtype
    shape: tuple[SizeExpr, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """Everything that a caller of a kernel has to know. Raises ValueError if it contradicts itself.

    `sizes` names the sizes in the order in which the kernel takes them; each is a bare dimension of some
    input or hidden input. `workspace` is in bytes. When a guard does not hold, the kernel must not be called.

    >>> signature = Signature(
    ...     inputs=(Argument("float64", ("n",)), Argument("float64")),
    ...     hidden=(), sizes=("n",),
    ...     results=(Argument("float64", (("+", "n", 1),)),),
    ...     tree=0,
    ... )
    """

    inputs: tuple[Argument, ...]
    hidden: tuple[Argument, ...]
    sizes: tuple[str, ...]
    results: tuple[Argument, ...]
    tree: Tree
    workspace: SizeExpr | None = None
    guards: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        arguments = (*self.inputs, *self.hidden, *self.results)
        if unknown := {argument.dtype for argument in arguments} - set(DTYPES):
            raise ValueError(f"a kernel cannot take elements of type {', '.join(sorted(unknown))}")
        given = [dim for argument in (*self.inputs, *self.hidden) for dim in argument.shape]
        if any(isinstance(dim, tuple) for dim in given):
            raise ValueError("a dimension of an input is an int or a named size, not an expression")
        if set(self.sizes) != {dim for dim in given if isinstance(dim, str)} or len(set(self.sizes)) < len(
            self.sizes
        ):
            raise ValueError(f"the sizes {self.sizes} are not the named dimensions of the inputs, each once")
        for expression in self.size_expressions():
            _check_size(expression, self.sizes)
        if any(relation not in _RELATIONS for relation, _, _ in self.guards):
            raise ValueError(f"a guard's relation is one of {sorted(_RELATIONS)}")
        if any(not 0 <= leaf < len(self.results) for leaf in tree_leaves(self.tree)):
            raise ValueError(f"the tree {self.tree!r} names a result that does not exist")

    def size_expressions(self) -> Iterator[SizeExpr]:
        """Every size that is computed from the named ones: of results, of the workspace, in guards."""
        for result in self.results:
            yield from result.shape
        if self.workspace is not None:
            yield self.workspace
        for _, left, right in self.guards:
            yield left
            yield right


def tree_leaves(tree: Tree) -> Iterator[int]:
    """The numbers of the results in a tree, from left to right."""
    pending = [tree]
    while pending:
        match pending.pop():
            case int(leaf):
                yield leaf
            case None:
                pass
            case children:
                pending.extend(reversed(children))


def evaluate_size(expression: SizeExpr, sizes: Mapping[str, int]) -> int:
    """The value of a size expression. Raises ZeroDivisionError as Python does.

    >>> evaluate_size(("//", ("+", "n", 1), 2), {"n": 6})
    3
    """
    match expression:
        case int(number):
            return number
        case str(name):
            return sizes[name]
        case (operator, left_expression, right_expression):
            left, right = evaluate_size(left_expression, sizes), evaluate_size(right_expression, sizes)
            match operator:
                case "+":
                    return left + right
                case "*":
                    return left * right
                case "//":
                    return left // right
                case "%":
                    return left % right
                case "min":
                    return min(left, right)
    return max(left, right)


def _check_size(expression: SizeExpr, sizes: tuple[str, ...]) -> None:
    pending = [expression]
    while pending:
        match pending.pop():
            case int():
                pass
            case str(name):
                if name not in sizes:
                    raise ValueError(f"the size {name!r} is not among the sizes {sizes}")
            case (operator, left, right) if operator in _OPERATORS:
                pending += [left, right]
            case other:
                raise ValueError(f"{other!r} is no size expression; operators are {sorted(_OPERATORS)}")
