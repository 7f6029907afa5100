"""Linear programs: what ``linearize`` leaves of a program, run forward (tangents) or transposed (cotangents).

A tangent or cotangent is a pair (value, support): the value is zero wherever the support (a mask, None: everywhere) is
false, and a product with a coefficient is ``where(support, value·coefficient, 0)``, so that the singular partial of an
unselected branch never meets a zero (0·inf). The mask is left out where the coefficient is known to be finite.

A value of rank 0 may stand for an array of equal elements ("uniform"). Everything is done for K seeds at once, so that
they share the coefficients and go through loops together.

Source: A. Griewank & A. Walther, Evaluating Derivatives (2008), ch. 9-10; R. Frostig et al., Decomposing
reverse-mode automatic differentiation (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union, assert_never

import numpy as np

from . import dim as dims
from .dim import Dim
from .dtype import BOOL, INT64, DType
from .express import (
    NODES, apply, broadcast, cast, pad, reduce, reshape, slice_, spread, transpose, zeros,
)  # fmt: skip
from .node import Node, constant, make
from .op import (
    Broadcast, Cast, Concatenate, Const, Contract, Cumulative, Gather, Insert, Iota, Op, Pad, Reduce, Reshape,
    Reverse, Scalar, Scatter, SizeOf, Slice, Transpose, Type,
)  # fmt: skip

Var = int
Pair = tuple[Node, Node | None]
Pairs = list[Pair | None]  # one a seed; None: structurally zero


@dataclass(frozen=True, slots=True)
class Seed:
    """The tangent of the program's input ``position``."""

    position: int


@dataclass(frozen=True, slots=True)
class Term:
    """coefficient·source where mask (None: 1, everywhere)."""

    source: Var
    coefficient: Node | None = None
    mask: Node | None = None


@dataclass(frozen=True, slots=True)
class Combine:
    """Elementwise Σ terms."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """``op`` with the tangent as argument ``slot`` among the primal ``others``, in which argument it is linear."""

    op: Op
    source: Var
    slot: int = 0
    others: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """``op`` linear in its leading arguments together (None: a zero), followed by primal ``others``."""

    op: Concatenate | Insert | Scatter
    sources: tuple[Var | None, ...]
    types: tuple[Type, ...]
    others: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Structured:
    """The derivative of a Cond or Loop node; its results are read through ``Pick``. ``sources`` per argument."""

    node: Node
    sources: tuple[Var | None, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    source: Var
    index: int


Instruction = Union[Seed, Combine, Map, Join, Structured, Pick]


@dataclass(slots=True)
class Program:
    """Instructions in order; ``types`` are the tangents' types; an output None does not depend on the inputs."""

    instructions: list[Instruction] = field(default_factory=list)
    types: list[Type] = field(default_factory=list)
    inputs: list[Type] = field(default_factory=list)
    outputs: list[Var | None] = field(default_factory=list)

    def emit(self, instruction: Instruction, kind: Type) -> Var:
        self.instructions.append(instruction)
        self.types.append(kind)
        return len(self.types) - 1


# --- coefficients first ---------------------------------------------------------------------------------------------------


def accumulate(program: Program) -> Program:
    """Multiplies coefficients along chains with one successor, before any tangent meets them."""
    uses = [0] * len(program.instructions)
    for instruction in program.instructions:
        for source in sources(instruction):
            uses[source] += 1
    for output in program.outputs:
        if output is not None:
            uses[output] += 1
    instructions = list(program.instructions)
    for var in reversed(range(len(instructions))):
        instruction = instructions[var]
        if not isinstance(instruction, Combine) or not uses[var]:
            continue
        merged: dict[tuple[Var, Node | None], Node | None] = {}
        pending = list(reversed(instruction.terms))
        while pending:
            term = pending.pop()
            inner = instructions[term.source]
            if isinstance(inner, Combine) and uses[term.source] == 1:
                uses[term.source] = 0
                pending.extend(_compose(term, t) for t in reversed(inner.terms))
            else:
                _merge(merged, term, program.types[var].dtype)
        instructions[var] = Combine(tuple(Term(s, c, m) for (s, m), c in merged.items()))
    return Program(instructions, program.types, program.inputs, program.outputs)


def sources(instruction: Instruction) -> list[Var]:
    """The variables that an instruction reads."""
    match instruction:
        case Seed():
            return []
        case Combine(terms):
            return [t.source for t in terms]
        case Map() | Pick():
            return [instruction.source]
        case Join() | Structured():
            return [s for s in instruction.sources if s is not None]
        case _:
            assert_never(instruction)


def _compose(outer: Term, inner: Term) -> Term:
    return Term(inner.source, _times(outer.coefficient, inner.coefficient), both(outer.mask, inner.mask))


def _times(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return a * b


def _merge(merged: dict[tuple[Var, Node | None], Node | None], term: Term, dtype: DType) -> None:
    key = (term.source, term.mask)
    if key not in merged:
        merged[key] = term.coefficient
        return
    before, after = merged[key], term.coefficient
    merged[key] = (constant(1, dtype) if before is None else before) + (1 if after is None else after)


# --- supports -------------------------------------------------------------------------------------------------------------


def both(a: Node | None, b: Node | None) -> Node | None:
    """a ∧ b, None being everywhere."""
    if a is None or b is None:
        return b if a is None else a
    return NODES.logical_and(a, b)


def either(a: Node | None, b: Node | None) -> Node | None:
    """a ∨ b."""
    return None if a is None or b is None else NODES.logical_or(a, b)


def certainly_finite(node: Node) -> bool:
    """Whether a coefficient is finite whatever the inputs are: data may hold NaN, so only constants are."""
    op = node.op
    if type(op) is Const:
        return bool(np.isfinite(op.value).all())
    return type(op) in (SizeOf, Iota) or (type(op) is Cast and certainly_finite(node.args[0]))


def scaled(pair: Pair, coefficient: Node | None, mask: Node | None) -> Pair:
    """value·coefficient where mask, with the selects that keep zeros zero."""
    value, support = pair
    product = value if coefficient is None else value * coefficient
    support = both(support, mask)
    guard = mask if coefficient is None or certainly_finite(coefficient) else support
    return (product if guard is None else NODES.where(guard, product, 0)), support


def plus(a: Pair | None, b: Pair | None) -> Pair | None:
    if a is None or b is None:
        return b if a is None else a
    return a[0] + b[0], either(a[1], b[1])


def materialise(value: Node, kind: Type) -> Node:
    """A uniform value as the array that it stands for."""
    return spread(value, kind.shape)


# --- forward ----------------------------------------------------------------------------------------------------------------


def forward(program: Program, seeds: Sequence[Sequence[Node | None]]) -> tuple[list[list[Node | None]], dict[Node, Node]]:
    """Tangents of the outputs for K tangents of each input: ``seeds[input][k]`` → ``result[output][k]``.

    Loops and branches compute value and tangents together; the second result says which nodes of the primal program
    are so replaced.
    """
    from .structured import forward_structured

    count = len(seeds[0]) if seeds else 0
    values: list[Pairs] = []
    multiple: dict[Var, list[Pairs]] = {}
    replaced: dict[Node, Node] = {}
    for var, instruction in enumerate(program.instructions):
        row: Pairs = [None] * count
        match instruction:
            case Seed(position):
                row = [None if s is None else (s, None) for s in seeds[position]]
            case Combine(terms):
                for k in range(count):
                    total: Pair | None = None
                    for term in terms:
                        pair = values[term.source][k]
                        if pair is not None:
                            total = plus(total, scaled(pair, term.coefficient, term.mask))
                    row[k] = total
            case Map(op, source, slot, others):
                given = program.types[source]
                row = [None if p is None else map_pair(op, p, given, slot, others) for p in values[source]]
            case Join():
                row = [_join(instruction, [None if s is None else values[s][k] for s in instruction.sources]) for k in range(count)]
            case Structured(node, used):
                tangents = [None if s is None else values[s] for s in used]
                multiple[var] = forward_structured(node, tangents, count, replaced)
            case Pick(source, index):
                row = multiple[source][index]
            case _:
                assert_never(instruction)
        values.append(row)
    results: list[list[Node | None]] = []
    for output in program.outputs:
        if output is None:
            results.append([None] * count)
        else:
            kind = program.types[output]
            results.append([None if p is None else materialise(p[0], kind) for p in values[output]])
    return results, replaced


def map_pair(op: Op, pair: Pair, given: Type, slot: int, others: tuple[Node, ...]) -> Pair:
    """A linear op on value and support."""
    value, support = pair
    if isinstance(op, Contract) and support is not None:
        return _masked_contract(op, pair, given, slot, others[0])
    mask = None if support is None else mapped_mask(op, support, given, others)
    return mapped(op, value, given, slot, others), mask


def mapped(op: Op, value: Node, given: Type, slot: int, others: tuple[Node, ...]) -> Node:
    """A linear op on a (possibly uniform) value of type ``given``."""
    if not value.shape and given.shape:
        match op:
            case Reduce(_, axes):
                return value * count_node(dims.product(given.shape[a] for a in axes), value.dtype)
            case Broadcast() | Transpose() | Reshape() | Slice() | Reverse():
                return value
            case Scalar() | Cast():
                pass
            case _:
                value = materialise(value, given)
    elif isinstance(op, Broadcast) and not given.shape:
        return value
    match op:
        case Scalar("complex"):
            zero = constant(0, value.dtype)
            return NODES.complex(value, zero) if slot == 0 else NODES.complex(zero, value)
        case Scalar(name):
            return apply(name, value)
        case Cast(dtype):
            return cast(value, dtype)
        case _:
            return make(op, (*others[:slot], value, *others[slot:]))


def mapped_mask(op: Op, mask: Node, given: Type, others: tuple[Node, ...]) -> Node:
    """Where the result of a linear op is supported."""
    if isinstance(op, (Scalar, Cast)):
        return mask
    if not mask.shape and given.shape and isinstance(op, (Broadcast, Transpose, Reshape, Slice, Reverse, Reduce)):
        return mask
    if isinstance(op, Broadcast) and not given.shape:
        return mask
    mask = spread(mask, given.shape)
    match op:
        case Reduce(_, axes):
            return reduce("any", mask, axes)
        case Cumulative(_, axis, backwards):
            return cast(make(Cumulative("max", axis, backwards), (cast(mask, INT64),)), BOOL)
        case _:
            return make(op, (mask, *others))


def count_node(number: Dim, dtype: DType) -> Node:
    """A number of elements as a scalar of ``dtype``."""
    return constant(number, dtype) if isinstance(number, int) else cast(make(SizeOf(number)), dtype)


def _join(join: Join, pairs: list[Pair | None]) -> Pair | None:
    if all(p is None for p in pairs):
        return None
    values = [zeros(t) if p is None else materialise(p[0], t) for p, t in zip(pairs, join.types, strict=True)]
    value = make(join.op, (*values, *join.others))
    if all(p is None or p[1] is None for p in pairs):
        return value, None
    masks = [_mask_array(p, t) for p, t in zip(pairs, join.types, strict=True)]
    if isinstance(join.op, Scatter):
        return value, _scattered_mask(masks[0], masks[1], join.op.axes, join.others)
    return value, make(join.op, tuple(masks))


def _mask_array(pair: Pair | None, kind: Type) -> Node:
    if pair is None:
        return zeros(Type(kind.shape, BOOL))
    return spread(constant(True) if pair[1] is None else pair[1], kind.shape)


def _scattered_mask(base: Node, mask: Node, axes: tuple[int, ...], indices: tuple[Node, ...]) -> Node:
    counted = make(Scatter(axes, "add"), (cast(base, INT64), cast(mask, INT64), *indices))
    return cast(counted, BOOL)


def _masked_contract(op: Contract, pair: Pair, given: Type, slot: int, other: Node) -> Pair:
    """A contraction written out as products, selects and a sum, where a zero may meet a non-finite factor."""
    value, support = pair
    assert support is not None
    labels = (op.left, op.right) if slot == 0 else (op.right, op.left)
    every = (*op.out, *sorted((set(op.left) | set(op.right)) - set(op.out)))
    size_of = dict(zip(labels[0], given.shape, strict=True)) | dict(zip(labels[1], other.shape, strict=True))
    shape = tuple(size_of[i] for i in every)
    summed = tuple(range(len(op.out), len(every)))

    def aligned(x: Node, own: tuple[int, ...]) -> Node:
        order = tuple(sorted(range(len(own)), key=lambda i: every.index(own[i])))
        return broadcast(transpose(x, order), shape, tuple(every.index(own[i]) for i in order))

    mask = aligned(spread(support, given.shape), labels[0])
    product = aligned(materialise(value, given), labels[0]) * aligned(other, labels[1])
    return reduce("sum", NODES.where(mask, product, 0), summed), reduce("any", mask, summed)


# --- transposed -------------------------------------------------------------------------------------------------------------


def transposed(program: Program, cotangents: Sequence[Sequence[Node | None]]) -> list[list[Node | None]]:
    """Cotangents of the inputs for K cotangents of each output: ``cotangents[output][k]`` → ``result[input][k]``."""
    from .structured import transpose_structured

    count = len(cotangents[0]) if cotangents else 0
    total: list[Pairs | None] = [None] * len(program.instructions)
    multiple: dict[Var, dict[int, Pairs]] = {}
    results: list[list[Node | None]] = [[None] * count for _ in program.inputs]

    def add(var: Var, k: int, pair: Pair | None) -> None:
        row = total[var]
        if row is None:
            row = total[var] = [None] * count
        row[k] = plus(row[k], pair)

    for output, row in zip(program.outputs, cotangents, strict=True):
        if output is not None:
            for k, cotangent in enumerate(row):
                if cotangent is not None:
                    add(output, k, (cotangent, None))
    for var in reversed(range(len(program.instructions))):
        instruction = program.instructions[var]
        if isinstance(instruction, Structured):
            if var in multiple:
                for argument, pairs in transpose_structured(instruction, multiple[var], count).items():
                    for k, pair in enumerate(pairs):
                        if pair is not None:
                            add(argument, k, pair)
            continue
        mine, total[var] = total[var], None
        if mine is None:
            continue
        match instruction:
            case Seed(position):
                kind = program.types[var]
                results[position] = [None if p is None else materialise(p[0], kind) for p in mine]
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
    return results


def transpose_pair(op: Op, pair: Pair, given: Type, kind: Type, slot: int, others: tuple[Node, ...]) -> Pair:
    """The transpose of a linear op from ``given`` to ``kind``, on a cotangent and its support."""
    value, support = pair
    if isinstance(op, Contract):
        return _transpose_contract(op, pair, given, kind, slot, others[0])
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
            return (
                mapped_mask(Cumulative("sum", axis, not backwards), value, kind, ())
                if is_mask
                else make(Cumulative("sum", axis, not backwards), (materialise(value, kind),))
            )
        case Gather(axes):
            if is_mask:
                return _scattered_mask(zeros(Type(given.shape, BOOL)), materialise(value, kind), axes, others)
            return make(Scatter(axes, "add"), (zeros(Type(given.shape, value.dtype)), materialise(value, kind), *others))
        case _:
            raise AssertionError(f"{op} has no transpose")


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
        result, mask = _masked_contract(back, (cotangent, support), kind, 0, other)
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
        case Scatter(axes, "add"):
            return value if index == 0 else make(Gather(axes), (value, *join.others))
        case Scatter(axes, _):
            if index == 0:
                return make(join.op, (value, zeros(Type(join.types[1].shape, value.dtype)), *join.others))
            return _winners_only(make(Gather(axes), (value, *join.others)), join, value)
        case _:
            assert_never(join.op)


def _winners_only(gathered: Node, join: Join, value: Node) -> Node:
    """Where several elements were put at one place only the last one was kept, and only it has a cotangent."""
    if not join.others[0].shape:
        return gathered
    shape = gathered.shape
    number = reshape(make(Iota(dims.product(shape))), shape)
    kept = make(join.op, (zeros(Type(value.shape, INT64)), number, *join.others))
    back = make(Gather(join.op.axes), (kept, *join.others))  # type: ignore[union-attr]
    zero = constant(0, gathered.dtype)
    return NODES.where(NODES.eq(back, number), gathered, zero)
