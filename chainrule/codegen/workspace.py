"""Where the scratch buffers of a kernel lie in its workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chainrule.graph.dim import Dim, floordiv

from .ir import Alloc, Block, DTypeName, For, Name, blocks

ALIGNMENT: Final = 64
"""Every buffer, and the workspace itself, begins at a multiple of this many bytes."""

ITEM_SIZE: Final[dict[DTypeName, int]] = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class Scratch:
    """One buffer: ``copies`` is the width of the ``lanes`` loop it is allocated in, else 1.

    Element e of lane k lies at place ``e*copies + k``, so that a step over all lanes reads neighbours.
    """

    offset: Dim
    dtype: DTypeName
    copies: int


def layout(body: Block) -> tuple[dict[Name, Scratch], Dim]:
    """The buffers that ``body`` allocates, by name, and the bytes that they take together.

    >>> layout((Alloc("a", "float64", 3), Alloc("b", "bool", 100)))[1]
    192
    """
    buffers: dict[Name, Scratch] = {}
    total: Dim = 0
    pending = [(stmt, 1) for stmt in reversed(body)]
    while pending:
        stmt, copies = pending.pop()
        if isinstance(stmt, Alloc):
            buffers[stmt.buffer] = Scratch(total, stmt.dtype, copies)
            size = stmt.count * (ITEM_SIZE[stmt.dtype] * copies)
            total = total + floordiv(size + (ALIGNMENT - 1), ALIGNMENT) * ALIGNMENT
        inside = stmt.width if isinstance(stmt, For) and stmt.kind == "lanes" else copies
        for block in reversed(blocks(stmt)):
            pending.extend((inner, inside) for inner in reversed(block))
    return buffers, total
