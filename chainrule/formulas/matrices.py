"""Linear algebra in formulas: an inverse is a table of numbers of which only its definition and derivative are known.

``y = L⁻¹·b`` is the step yⱼ = Σₖ L⁻¹ⱼₖ·bₖ, with ∂yⱼ = Σₖ L⁻¹ⱼₖ·(∂bₖ − Σₗ ∂Lₖₗ·yₗ); the derivative of an inverse is
∂M⁻¹ = −M⁻¹·∂M·M⁻¹ (M. Giles, Collected matrix derivative results for forward and reverse mode AD, 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import sympy as sp

from chainrule.graph.algebra import NoForm, index_symbol, size_expression
from chainrule.graph.node import Node
from chainrule.graph.op import Input, Linalg

Expr = Any
ROWS: Final = ("r", "s")  # the indices that inverses are defined at
INNER: Final = ("u", "v")  # the indices of the sums in their derivatives


class Iverson(sp.Function):  # type: ignore[misc]  # SymPy has no types
    """[a ≥ b]: 1 where it holds, else 0. No ``Piecewise``: SymPy takes these out of sums that they belong into."""

    nargs = 2

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        difference = a - b
        if difference.is_nonnegative:
            return sp.S.One
        return sp.S.Zero if difference.is_negative else None

    def _eval_is_real(self) -> Any:
        return True


@final
class Inverted(sp.Basic):  # type: ignore[misc]  # SymPy has no types
    """``symbol[row, column]`` is the inverse of the square matrix of ``size`` whose elements are ``element``."""

    def __new__(cls, symbol: Any, row: Any, column: Any, element: Any, size: Any) -> Any:
        return super().__new__(cls, *map(sp.sympify, (symbol, row, column, element, size)))

    @property
    def symbol(self) -> Any:
        return self.args[0]

    @property
    def index(self) -> tuple[Any, Any]:
        return (self.args[1], self.args[2])

    @property
    def element(self) -> Any:
        return self.args[3]

    @property
    def size(self) -> Any:
        return self.args[4]

    @property
    def target(self) -> Any:
        return sp.IndexedBase(self.symbol)[self.index]


@dataclass(frozen=True, slots=True)
class Solved:
    """What a solution of linear equations is made of: the inverse, and the right side's element at ``rows``."""

    inverse: Inverted
    rows: Any
    right: Expr


class MatrixForms:
    """The inverses of one program."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.inverses: dict[tuple[Node, bool, bool, bool], Inverted] = {}
        self.solved: dict[Node, Solved] = {}

    def element(self, node: Node, index: tuple[Any, ...]) -> Expr:
        """An element of an inverse, or of the solution of linear equations."""
        op = node.op
        assert isinstance(op, Linalg)
        if op.kind not in ("inv", "solve", "solve_triangular") or len(node.args[0].shape) != 2:
            raise NoForm(f"linalg ({op.kind}) has no closed form", node)
        inverse = self._inverse(node, op)
        if op.kind == "inv":
            return sp.IndexedBase(inverse.symbol)[index]
        k = self.builder.elements.index((*index, *inverse.index))
        right = self.builder.elements.element(node.args[1], (k, *index[1:]))
        self.solved[node] = Solved(inverse, k, right)
        return sp.Sum(sp.IndexedBase(inverse.symbol)[index[0], k] * right, (k, 0, inverse.size - 1))

    def _inverse(self, node: Node, op: Linalg) -> Inverted:
        matrix, triangular = node.args[0], op.kind == "solve_triangular"
        key = (matrix, triangular, triangular and op.lower, op.transposed)
        if key in self.inverses:
            return self.inverses[key]
        made = self.builder.made
        row, column = map(index_symbol, ROWS)
        inner = (column, row) if op.transposed else (row, column)
        element = self.builder.elements.element(matrix, inner)
        if triangular:
            element *= Iverson(*inner) if op.lower else Iverson(*inner[::-1])
        symbol = sp.Symbol(made.fresh(f"{self._name(matrix)}{'T' if op.transposed else ''}inv"), real=True)
        size = size_expression(matrix.shape[0])
        made.sizes[symbol] = (size, size)
        found: Inverted = Inverted(symbol, row, column, element, size)
        self.inverses[key] = found
        made.definitions.append(found)
        return found

    def _name(self, matrix: Node) -> str:
        cut = self.builder.cuts.get(matrix)
        if cut is not None:
            return str(cut[0].name)
        return str(self.builder.inputs[matrix].name) if isinstance(matrix.op, Input) else "M"


def derivative_of_inverse(inverse: Inverted, derivative: Any) -> Expr:
    """∂(M⁻¹)[r, s] = −Σ M⁻¹[r, u]·∂M[u, v]·M⁻¹[v, s]."""
    p, q = inverse.index
    c, d = map(index_symbol, INNER)
    inner = derivative(inverse.element).xreplace({p: c, q: d})
    table = sp.IndexedBase(inverse.symbol)
    limits = [(i, 0, inverse.size - 1) for i in (c, d)]
    return -sp.Sum(table[p, c] * inner * table[d, q], *limits)


def derivative_of_solution(solved: Solved, target: Any, index: tuple[Any, ...], derivative: Any) -> Expr:
    """∂y = M⁻¹·(∂b − ∂M·y)."""
    inverse = solved.inverse
    p, q = inverse.index
    c, d = solved.rows, index_symbol(INNER[1])
    table = sp.IndexedBase(inverse.symbol)
    moved = derivative(inverse.element).xreplace({p: c, q: d})
    solution = target.xreplace({index[0]: d})
    last = inverse.size - 1
    change = derivative(solved.right)
    if moved != 0:
        change -= sp.Sum(moved * solution, (d, 0, last))
    return sp.Sum(table[index[0], c] * change, (c, 0, last)) if change != 0 else sp.S.Zero
