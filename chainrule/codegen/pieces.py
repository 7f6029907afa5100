"""Long loops in pieces, which threads may run: a parallel loop around a loop over one piece.

A piece depends only on the loop, never on the number of threads; each has accumulators of its own, which are
combined in the order of the pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal as Choice
from typing import final

from chainrule.graph import dim as dims
from chainrule.graph.dim import Dim

from . import ir
from .builder import Builder
from .schedule import LANES

__all__ = ["Pieces"]


@final
class Pieces:
    """Two nested loops under construction that together run over ``extent`` indices, ``length`` at a time.

    Made open, outside the inner loop: what is declared now belongs to one piece.
    """

    def __init__(self, builder: Builder, extent: ir.Expr, length: Dim, known: Dim | None) -> None:
        self.builder, self.known = builder, known
        size = builder.dim(length)
        if known is None:
            before = self._integer("add", extent, builder.dim(length - 1))
            self.count = self._integer("floordiv", before, size)
        else:
            self.count = builder.dim(dims.floordiv(known + length - 1, length))
        self.piece = builder.index(None)
        builder.open()
        self.start = builder.shared(ir.Apply("mul", (self.piece, size), "int64"), "int64")
        left = ir.Apply("sub", (extent, self.start), "int64")
        self.length = builder.shared(ir.Apply("minimum", (size, left), "int64"), "int64")

    def _integer(self, name: str, a: ir.Expr, b: ir.Expr) -> ir.Expr:
        return self.builder.shared(ir.Apply(name, (a, b), "int64"), "int64")

    def open(self) -> ir.Var:
        """Opens the inner loop; its index, as if there were only one loop."""
        builder = self.builder
        self.inner = builder.index(None)
        builder.open()
        index = builder.let(ir.Apply("add", (self.start, self.inner), "int64"), "int64")
        if self.known is not None:
            builder.ranges[index.name] = self.known
        return index

    def close(
        self, kind: Choice["serial", "lanes"], reductions: tuple[ir.Reduction, ...] = (), lanes: int = LANES
    ) -> None:
        """Closes the inner loop."""
        body = self.builder.close()
        width = lanes if kind == "lanes" else 1
        self.builder.add(ir.For(self.inner.name, self.length, kind, body, reductions, width))

    def finish(self, totals: Sequence[tuple[ir.Reduction, ir.Var]] = ()) -> None:
        """Closes the outer loop; each piece's variable goes into the reduction beside it."""
        for reduction, part in totals:
            self.builder.add(ir.Accumulate(reduction.name, part))
        body = self.builder.close()
        reductions = tuple(reduction for reduction, _ in totals)
        self.builder.add(ir.For(self.piece.name, self.count, "parallel", body, reductions))
