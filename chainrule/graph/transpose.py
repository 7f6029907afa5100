"""Running linear programs backwards: cotangents of the outputs to cotangents of the inputs.

The pairing is real and without a conjugate, Re Σ v·u, so that gradients of complex arguments come out as in JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np

from . import dim as dims
from .dim import Dim
from .dtype import BOOL, INT64
from .express import NODES, broadcast, cast, pad, reduce, reshape, slice_, spread, transpose, zeros
from .linear import (
    Combine,
    Join,
    Map,
    Pair,
    Pairs,
    Pick,
    Program,
    Pulled,
    Seed,
    Structured,
    Var,
    count_node,
    mapped_mask,
    masked_contract,
    materialise,
    plus,
    scaled,
    scattered_mask,
    solved,
)
from .node import Node, constant, make
from .op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Contract,
    Cumulative,
    Gather,
    Insert,
    Iota,
    Linalg,
    Op,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    Slice,
    Sort,
    Transpose,
    Type,
)


def transposed(program: Program, cotangents: Sequence[Pairs]) -> tuple[list[Pairs], dict[Node, Node]]:
    """Cotangents of the inputs for K cotangents of each output: ``cotangents[output][k]`` → ``result[input][k]``.

    Loops also give what the loops backwards read; the second result says which nodes of the primal program are so
    replaced.
    """
    from .pulled import transpose_pulled
    from .structured import transpose_structured

    count = len(cotangents[0]) if cotangents else 0
    total: list[Pairs | None] = [None] * len(program.instructions)
    multiple: dict[Var, dict[int, Pairs]] = {}
    results: list[Pairs] = [[None] * count for _ in program.inputs]
    replaced = dict(program.replaced)

    def add(var: Var, k: int, pair: Pair | None) -> None:
        row = total[var]
        if row is None:
            row = total[var] = [None] * count
        row[k] = plus(row[k], pair)

    for output, row in zip(program.outputs, cotangents, strict=True):
        if output is not None:
            for k, cotangent in enumerate(row):
                if cotangent is not None:
                    add(output, k, cotangent)
    for var in reversed(range(len(program.instructions))):
        instruction = program.instructions[var]
        if isinstance(instruction, (Structured, Pulled)):
            if var in multiple:
                if isinstance(instruction, Pulled):
                    found = transpose_pulled(instruction, multiple[var], count, replaced)
                else:
                    found = transpose_structured(instruction, multiple[var], count, replaced)
                for argument, pairs in found.items():
                    for k, pair in enumerate(pairs):
                        if pair is not None:
                            add(argument, k, pair)
            continue
        mine, total[var] = total[var], None
        if mine is None:
            continue
        match instruction:
            case Seed(position):
                results[position] = mine
            case Combine(terms):
                for k, pair in enumerate(mine):
                    if pair is not None:
                        for term in terms:
                            add(term.source, k, scaled(pair, term.coefficient, term.mask))
            case Map(op, source, slot, others):
                given, kind = program.types[source], program.types[var]
                for k, pair in enumerate(mine):
                    if pair is not None:
                        add(source, k, transpose_pair(op, pair, given, kind, slot, others))
            case Join():
                for k, pair in enumerate(mine):
                    if pair is not None:
                        for index, used in enumerate(instruction.sources):
                            if used is not None:
                                add(used, k, _unjoin(instruction, index, pair, program.types[var]))
            case Pick(source, index):
                multiple.setdefault(source, {})[index] = mine
            case _:
                assert_never(instruction)
    return results, replaced


def transpose_pair(op: Op, pair: Pair, given: Type, kind: Type, slot: int, others: tuple[Node, ...]) -> Pair:
    """The transpose of a linear op from ``given`` to ``kind``, on a cotangent and its support."""
    value, support = pair
    if isinstance(op, Contract):
        return _transpose_contract(op, pair, given, kind, slot, others[0])
    if isinstance(op, Linalg):  # (A⁻¹)ᵀ = (Aᵀ)⁻¹
        return solved(replace(op, transposed=not op.transposed), pair, kind, others[0])
    mask = None
    if support is not None and isinstance(op, (Scalar, Cast)):
        mask = support
    elif support is not None:
        mask = transpose_op(op, support, given, kind, others)
    if isinstance(op, Scalar):
        return _transpose_complex_part(op.name, value, slot), mask
    if isinstance(op, Cast):
        return cast(value, given.dtype), mask
    return transpose_op(op, value, given, kind, others), mask


def _transpose_complex_part(name: str, value: Node, slot: int) -> Node:
    """Transposes over the reals, in JAX's convention (the pairing has no conjugate)."""
    match name:
        case "real":
            return NODES.complex(value, constant(0, value.dtype))
        case "imag":
            return NODES.complex(constant(0, value.dtype), -value)
        case "conj":
            return NODES.conj(value)
        case "complex":
            return NODES.real(value) if slot == 0 else -NODES.imag(value)
        case _:
            raise AssertionError(name)


def transpose_op(op: Op, value: Node, given: Type, kind: Type, others: tuple[Node, ...]) -> Node:
    """The transpose of a view, sum, running sum or gather; on a mask, with "any" for "sum"."""
    is_mask = value.dtype == BOOL
    uniform = not value.shape and bool(kind.shape)
    match op:
        case Reduce(_, axes):
            if not value.shape:
                return value
            return broadcast(value, given.shape, tuple(i for i in range(given.rank) if i not in axes))
        case Broadcast(shape, axes):
            summed = tuple(i for i in range(len(shape)) if i not in axes)
            if uniform:
                return value if is_mask else value * count_node(dims.product(shape[i] for i in summed), value.dtype)
            return reduce("any" if is_mask else "sum", value, summed)
        case Transpose(axes):
            return value if uniform else transpose(value, tuple(int(i) for i in np.argsort(axes)))
        case Reshape():
            return value if uniform else reshape(value, given.shape)
        case Reverse():
            return value if uniform else make(op, (value,))
        case Slice(starts, counts, steps):
            if any(c == 0 for c in counts):
                return zeros(Type(given.shape, value.dtype))
            ends = zip(given.shape, starts, counts, steps, strict=True)
            high = tuple(n - (a + (c - 1) * s + 1) for n, a, c, s in ends)
            return pad(materialise(value, kind), starts, high, tuple(s - 1 for s in steps))
        case Pad(low, _, inner):
            return value if uniform else slice_(value, low, given.shape, tuple(i + 1 for i in inner))
        case Cumulative(_, axis, backwards):
            back = Cumulative("sum", axis, not backwards)
            return mapped_mask(back, value, kind, ()) if is_mask else make(back, (materialise(value, kind),))
        case Gather(axes):
            nothing, read = zeros(Type(given.shape, value.dtype)), _clamped(others, given, axes)
            put = Scatter(axes, "add")
            if is_mask:
                return scattered_mask(nothing, materialise(value, kind), put, read)
            return make(put, (nothing, materialise(value, kind), *read))
        case _:
            raise AssertionError(f"{op} has no transpose")


# --- indices ------------------------------------------------------------------------------------------------


def _clamped(indices: tuple[Node, ...], source: Type, axes: tuple[int, ...]) -> tuple[Node, ...]:
    """The places that a gather really reads: the nearest element, where an index is outside."""
    found = []
    for index, axis in zip(indices, axes, strict=True):
        size = source.shape[axis]
        if not _certainly_within(index, size):
            index = NODES.minimum(NODES.maximum(index, 0), count_node(size - 1, index.dtype))
        found.append(index)
    return tuple(found)


def _inside(indices: tuple[Node, ...], base: Type, axes: tuple[int, ...]) -> Node | None:
    """Where a scatter puts its values, those outside being dropped; None: everywhere."""
    inside: Node | None = None
    for index, axis in zip(indices, axes, strict=True):
        size = base.shape[axis]
        if not _certainly_within(index, size):
            own = NODES.logical_and(NODES.ge(index, 0), NODES.lt(index, count_node(size, index.dtype)))
            inside = own if inside is None else NODES.logical_and(inside, own)
    return inside


def _certainly_within(index: Node, size: Dim) -> bool:
    """Whether an index array is within 0 … size−1 whatever the inputs are."""
    while isinstance(index.op, (Broadcast, Transpose, Reshape, Slice, Reverse, Cast)):
        index = index.args[0]
    match index.op:
        case Iota(length):
            return length == size
        case Const():
            value = index.op.value
            return isinstance(size, int) and bool(((value >= 0) & (value < size)).all())
        case Sort(axis, True):
            return bool(index.shape[axis] == size)
        case Reduce("argmin" | "argmax", axes):
            return bool(index.args[0].shape[axes[0]] == size)
        case _:
            return False


# --- contractions and joins ---------------------------------------------------------------------------------


def _transpose_contract(op: Contract, pair: Pair, given: Type, kind: Type, slot: int, other: Node) -> Pair:
    """Contract the cotangent with the other operand; labels that only ``given`` had were summed, and repeat."""
    own, far = (op.left, op.right) if slot == 0 else (op.right, op.left)
    reachable = tuple(i for i in own if i in op.out or i in far)
    back = Contract(op.out, far, reachable)
    value, support = pair
    cotangent = materialise(value, kind)
    if support is None:
        result, mask = make(back, (cotangent, other)), None
    else:
        result, mask = masked_contract(back, (cotangent, support), kind, 0, other)
    if len(reachable) < len(own):
        axes = tuple(own.index(i) for i in reachable)
        result = broadcast(result, given.shape, axes)
        mask = None if mask is None else broadcast(mask, given.shape, axes)
    return result, mask


def _unjoin(join: Join, index: int, pair: Pair, kind: Type) -> Pair:
    value, support = pair
    part = _unjoin_value(join, index, materialise(value, kind))
    return part, None if support is None else _unjoin_value(join, index, spread(support, kind.shape))


def _unjoin_value(join: Join, index: int, value: Node) -> Node:
    """The share of argument ``index`` in a cotangent (or mask) of the joined array."""
    own = join.types[index]
    match join.op:
        case Concatenate(axis):
            start: Dim = 0
            for before in join.types[:index]:
                start = start + before.shape[axis]
            starts = tuple(start if i == axis else 0 for i in range(own.rank))
            return slice_(value, starts, own.shape, (1,) * own.rank)
        case Insert(starts, steps):
            if index == 1:
                return slice_(value, starts, own.shape, steps)
            return make(join.op, (value, zeros(Type(join.types[1].shape, value.dtype))))
        case Scatter(_, kind):
            if index == 1:
                return _put(join.op, value, own, join.others)
            if kind == "add":
                return value
            return make(join.op, (value, zeros(Type(join.types[1].shape, value.dtype)), *join.others))
        case _:
            assert_never(join.op)


def _put(op: Scatter, value: Node, own: Type, indices: tuple[Node, ...]) -> Node:
    """The share of what was put: nothing where it was dropped, or where later elements were put at the same place."""
    part = make(Gather(op.axes), (value, *indices))
    within = _inside(indices, Type(value.shape, INT64), op.axes)
    if within is not None:
        part = NODES.where(_repeated(within, own), part, zeros(part.type))
    if op.kind == "set" and indices[0].shape:
        number = reshape(make(Iota(dims.product(own.shape))), own.shape)
        kept = make(op, (zeros(Type(value.shape, INT64)), number, *indices))
        last = NODES.eq(make(Gather(op.axes), (kept, *indices)), number)
        part = NODES.where(last, part, zeros(part.type))
    return part


def _repeated(mask: Node, kind: Type) -> Node:
    """A mask over the leading axes, over all."""
    return broadcast(mask, kind.shape, tuple(range(len(mask.shape))))
