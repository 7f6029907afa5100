"""Calls whose derivative is given as a program for reverse mode: as it is backwards, and transposed forwards."""

from __future__ import annotations

from collections.abc import Sequence

from .express import NODES, reduce, spread, zeros
from .linear import Pair, Pairs, Pulled, Var, either, forward, mask_array, materialise, plus
from .node import Node
from .op import Cast, Scalar, Type
from .rules import NotDifferentiable
from .transpose import transposed


def forward_pulled(
    instruction: Pulled, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    """Tangents of the results: what pulls cotangents back is linear, and its transpose pushes tangents forward."""
    if instruction.program is None:
        raise NotDifferentiable(
            instruction.node,
            "forward mode through a custom_vjp whose bwd is not linear in the cotangents; use reverse mode (grad,"
            " jacrev), or custom_jvp",
        )
    rows: list[Pairs] = [[None] * count if row is None else row for row in tangents]
    results, more = transposed(instruction.program, rows)
    replaced.update(more)
    return results


def transpose_pulled(
    instruction: Pulled, cotangents: dict[int, Pairs], count: int, replaced: dict[Node, Node]
) -> dict[Var, Pairs]:
    """Cotangents of the arguments, per variable."""
    arriving = [cotangents.get(i, [None] * count) for i in range(len(instruction.kinds))]
    if instruction.program is not None:
        rows, more = forward(instruction.program, arriving)
        replaced.update(more)
    else:
        rows = _by_the_program(instruction, arriving, count)
    total: dict[Var, Pairs] = {}
    for source, row in zip(instruction.sources, rows, strict=True):
        if source is not None:
            before = total.get(source, [None] * count)
            total[source] = [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


def _by_the_program(instruction: Pulled, arriving: Sequence[Pairs], count: int) -> list[Pairs]:
    """A rule that is not linear, applied to each of the K cotangents; nothing where nothing arrives.

    Where nothing arrives is known by elements if the rule computes by elements, else as a whole.
    """
    elementwise = _is_elementwise(instruction)
    rows: list[Pairs] = [[None] * count for _ in instruction.sources]
    for k in range(count):
        own = [row[k] for row in arriving]
        if all(p is None for p in own):
            continue
        given = [
            zeros(kind) if p is None else materialise(p[0], kind)
            for p, kind in zip(own, instruction.kinds, strict=True)
        ]
        mask = _union(own, instruction.kinds) if elementwise else _somewhere(own)
        found = instruction.pull.apply([*instruction.before, *given, *instruction.after])
        for row, value in zip(rows, found, strict=True):
            row[k] = value if mask is None else NODES.where(mask, value, 0), mask
    return rows


def _is_elementwise(instruction: Pulled) -> bool:
    """Whether each element of what is pulled back depends on one element of each cotangent, all of one shape."""
    first = len(instruction.before)
    seeds = set(instruction.pull.arguments[first : first + len(instruction.kinds)])
    shapes = {k.shape for k in instruction.kinds}
    below = set(seeds)
    for node in instruction.pull.nodes:
        if node not in seeds and not below.isdisjoint(node.args):
            if not isinstance(node.op, (Scalar, Cast)):
                return False
            below.add(node)
            shapes.add(node.shape)
    return len(shapes) == 1 and below.issuperset(instruction.pull.outputs)


def _union(pairs: Sequence[Pair | None], kinds: Sequence[Type]) -> Node | None:
    """Where any of the cotangents is supported; None: everywhere."""
    total: Node | None = None
    for number, (pair, kind) in enumerate((p, k) for p, k in zip(pairs, kinds, strict=True) if p is not None):
        own = None if pair[1] is None else mask_array(pair, kind)
        total = either(total, own) if number else own
    return total


def _somewhere(pairs: Sequence[Pair | None]) -> Node | None:
    """Whether any of the cotangents is supported anywhere; None: surely."""
    total: Node | None = None
    for number, pair in enumerate(p for p in pairs if p is not None):
        if pair[1] is None:
            return None
        mask = spread(pair[1], pair[0].shape)
        own = reduce("any", mask, tuple(range(len(mask.shape))))
        total = own if not number else either(total, own)
    return total
