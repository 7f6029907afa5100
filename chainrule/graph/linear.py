"""Linear programs: what ``linearize`` leaves of a program, and running them forward, on tangents.

A tangent or cotangent is a pair (value, support): the value is zero wherever the support (a mask, None: everywhere) is
false, and a product with a coefficient is ``where(support, value·coefficient, 0)``, so that the singular partial of an
unselected branch never meets a zero (0·inf). The mask is left out where the coefficient is known to be finite.

A value of rank 0 may stand for an array of equal elements ("uniform"). Everything is done for K seeds at once, so that
they share the coefficients and go through loops together.

Source: A. Griewank & A. Walther, Evaluating Derivatives (2008), ch. 9-10; R. Frostig et al., Decomposing
reverse-mode automatic differentiation (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

import numpy as np

from . import dim as dims
from .dim import Dim, Shape
from .dtype import BOOL, INT64, DType
from .express import NODES, apply, broadcast, cast, reduce, spread, transpose, zeros
from .node import Graph, Node, const_value, constant, make
from .op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Contract,
    Cumulative,
    Insert,
    Iota,
    Linalg,
    Op,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    SizeOf,
    Slice,
    Transpose,
    Type,
)

Var = int
Pair = tuple[Node, Node | None]
Pairs = list[Pair | None]  # one a seed; None: structurally zero


@dataclass(frozen=True, slots=True)
class Seed:
    """The tangent of the program's input ``position``."""

    position: int


class Term(NamedTuple):
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
    """The derivative of a Cond, Call or Loop node; its results are read through ``Pick``. ``sources`` per argument."""

    node: Node
    sources: tuple[Var | None, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    source: Var
    index: int


@dataclass(frozen=True, slots=True)
class Pulled:
    """The derivative of a call by a program from cotangents of its results to cotangents of its arguments.

    ``pull`` takes (*before, *cotangents of types ``kinds``, *after); ``program`` is the same as a linear program, None
    where it is not linear. ``sources``: per output of ``pull``. The results are read through ``Pick``.
    """

    node: Node
    pull: Graph
    before: tuple[Node, ...]
    after: tuple[Node, ...]
    kinds: tuple[Type, ...]
    program: Program | None
    sources: tuple[Var | None, ...]


Instruction = Seed | Combine | Map | Join | Structured | Pulled | Pick


@dataclass(slots=True)
class Program:
    """Instructions in order; ``types`` are the tangents' types; an output None does not depend on the inputs.

    ``replaced`` says which primal nodes are computed by others, as a rule of the user's has it.
    """

    instructions: list[Instruction] = field(default_factory=list)
    types: list[Type] = field(default_factory=list)
    inputs: list[Type] = field(default_factory=list)
    outputs: list[Var | None] = field(default_factory=list)
    replaced: dict[Node, Node] = field(default_factory=dict)

    def emit(self, instruction: Instruction, kind: Type) -> Var:
        self.instructions.append(instruction)
        self.types.append(kind)
        return len(self.types) - 1


# --- coefficients first -------------------------------------------------------------------------------------


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
                add_term(merged, term, program.types[var].dtype)
        instructions[var] = Combine(tuple(Term(s, c, m) for (s, m), c in merged.items()))
    return replace(program, instructions=instructions)


def sources(instruction: Instruction) -> list[Var]:
    """The variables that an instruction reads."""
    match instruction:
        case Seed():
            return []
        case Combine(terms):
            return [t.source for t in terms]
        case Map() | Pick():
            return [instruction.source]
        case Join() | Structured() | Pulled():
            return [s for s in instruction.sources if s is not None]
        case _:
            assert_never(instruction)


def _compose(outer: Term, inner: Term) -> Term:
    return Term(inner.source, _times(outer.coefficient, inner.coefficient), both(outer.mask, inner.mask))


def _times(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return a * b


def add_term(terms: dict[tuple[Var, Node | None], Node | None], term: Term, dtype: DType) -> None:
    """Adds a term to a sum, (source, mask) → coefficient; terms of one source and mask become one."""
    key = (term.source, term.mask)
    if key not in terms:
        terms[key] = term.coefficient
        return
    one = constant(1, dtype)
    before = terms[key]
    terms[key] = (one if before is None else before) + (one if term.coefficient is None else term.coefficient)


# --- supports -----------------------------------------------------------------------------------------------


def both(a: Node | None, b: Node | None) -> Node | None:
    """a ∧ b, None being everywhere."""
    if a is None or b is None:
        return b if a is None else a
    return NODES.logical_and(a, b)


def either(a: Node | None, b: Node | None) -> Node | None:
    """a ∨ b; a condition or its opposite is everywhere."""
    return None if a is None or b is None or _opposite(a, b) else NODES.logical_or(a, b)


_OPPOSITES = {("ge", "le"), ("ge", "lt"), ("gt", "le")}


def _opposite(a: Node, b: Node) -> bool:
    """Whether always one of two masks holds, where the data are numbers: a support may be too large."""
    if not isinstance(a.op, Scalar) or not isinstance(b.op, Scalar):
        return False
    if a.args == b.args:
        return (a.op.name, b.op.name) in _OPPOSITES or (b.op.name, a.op.name) in _OPPOSITES
    return (a.op.name == "logical_not" and a.args[0] is b) or (b.op.name == "logical_not" and b.args[0] is a)


def certainly_finite(node: Node) -> bool:
    """Whether a coefficient is finite whatever the inputs are: data may hold NaN, so only constants are."""
    while type(node.op) is Cast:
        node = node.args[0]
    op = node.op
    return bool(np.isfinite(op.value).all()) if type(op) is Const else type(op) in (SizeOf, Iota)


def scaled(pair: Pair, coefficient: Node | None, mask: Node | None) -> Pair:
    """value·coefficient where mask, with the selects that keep zeros zero."""
    value, support = pair
    product = value if coefficient is None else value * coefficient
    if support is None and mask is None:
        return product, None
    support = both(support, mask)
    guard = mask if coefficient is None or certainly_finite(coefficient) else support
    return (product if guard is None else NODES.where(guard, product, 0)), support


def plus(a: Pair | None, b: Pair | None) -> Pair | None:
    if a is None or b is None:
        return b if a is None else a
    return added(a[0], b[0]), either(a[1], b[1])


def added(total: Node, more: Node) -> Node:
    """A sum; what is only put at some places of an array of zeros is added at these places."""
    put = []
    node = more
    while isinstance(node.op, Scatter) and node.op.kind == "add":
        put.append(node)
        node = node.args[0]
    if not put or not (isinstance(node.op, Broadcast) and const_value(node.args[0]) == 0):
        return total + more
    total = spread(total, more.shape)
    for link in reversed(put):
        total = make(link.op, (total, *link.args[1:]))
    return total


def materialise(value: Node, kind: Type) -> Node:
    """A uniform value as the array that it stands for."""
    return spread(value, kind.shape)


# --- forward ------------------------------------------------------------------------------------------------


def forward(program: Program, seeds: Sequence[Pairs]) -> tuple[list[Pairs], dict[Node, Node]]:
    """Tangents of the outputs for K tangents of each input: ``seeds[input][k]`` → ``result[output][k]``.

    Loops and branches compute value and tangents together; the second result says which nodes of the primal program
    are so replaced.
    """
    from .pulled import forward_pulled
    from .structured import forward_structured

    count = len(seeds[0]) if seeds else 0
    nothing: Pairs = [None] * count
    values: list[Pairs] = []
    multiple: dict[Var, list[Pairs]] = {}
    replaced = dict(program.replaced)
    for var, instruction in enumerate(program.instructions):
        row = nothing
        match instruction:
            case Seed(position):
                row = list(seeds[position])
            case Combine(terms):
                row = [_combine(terms, values, k) for k in range(count)]
            case Map(op, source, slot, others):
                given = program.types[source]
                row = [None if p is None else map_pair(op, p, given, slot, others) for p in values[source]]
            case Join():
                columns = [nothing if s is None else values[s] for s in instruction.sources]
                row = [_join(instruction, [column[k] for column in columns]) for k in range(count)]
            case Structured(node, used):
                tangents = [None if s is None else values[s] for s in used]
                multiple[var] = forward_structured(node, tangents, count, replaced)
            case Pulled():
                tangents = [None if s is None else values[s] for s in instruction.sources]
                multiple[var] = forward_pulled(instruction, tangents, count, replaced)
            case Pick(source, index):
                row = multiple[source][index]
            case _:
                assert_never(instruction)
        values.append(row)
    return [nothing if o is None else values[o] for o in program.outputs], replaced


def follow(outputs: Sequence[Node], replaced: Mapping[Node, Node]) -> dict[Node, Node]:
    """Nodes → the same with the nodes of ``replaced`` exchanged, also below the replacements."""
    done: dict[Node, Node] = {}
    stack = list(outputs)
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        instead = replaced.get(node)
        needed = [a for a in (node.args if instead is None else (instead,)) if a not in done]
        if needed:
            stack.extend(needed)
            continue
        stack.pop()
        if instead is not None:
            done[node] = done[instead]
        else:
            args = tuple([done[a] for a in node.args])
            done[node] = node if args == node.args else make(node.op, args)
    return done


def _combine(terms: tuple[Term, ...], values: list[Pairs], k: int) -> Pair | None:
    total: Pair | None = None
    for term in terms:
        pair = values[term.source][k]
        if pair is not None:
            total = plus(total, scaled(pair, term.coefficient, term.mask))
    return total


def map_pair(op: Op, pair: Pair, given: Type, slot: int, others: tuple[Node, ...]) -> Pair:
    """A linear op on value and support."""
    value, support = pair
    if isinstance(op, Contract) and support is not None:
        return masked_contract(op, pair, given, slot, others[0])
    if isinstance(op, Linalg):
        return solved(op, pair, given, others[0])
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


def solved(op: Linalg, pair: Pair, given: Type, matrix: Node) -> Pair:
    """A linear system with a tangent as its right-hand sides: a column that is supported nowhere stays zero."""
    value, support = materialise(pair[0], given), pair[1]
    result = make(op, (matrix, value))
    if support is None:
        return result, None
    columns = reduce("any", spread(support, given.shape), (given.rank - 2,))
    reached = broadcast(columns, given.shape, (*range(given.rank - 2), given.rank - 1))
    return NODES.where(reached, result, 0), reached


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
    masks = [mask_array(p, t) for p, t in zip(pairs, join.types, strict=True)]
    if isinstance(join.op, Scatter):
        return value, scattered_mask(masks[0], masks[1], join.op, join.others)
    return value, make(join.op, tuple(masks))


def mask_array(pair: Pair | None, kind: Type) -> Node:
    """The support of a tangent as an array: nowhere for a structural zero."""
    if pair is None:
        return zeros(Type(kind.shape, BOOL))
    return spread(constant(True) if pair[1] is None else pair[1], kind.shape)


def scattered_mask(base: Node, mask: Node, op: Scatter, indices: tuple[Node, ...]) -> Node:
    """Where the result of a scatter is supported."""
    if op.kind == "set":
        return make(op, (base, mask, *indices))
    return cast(make(op, (cast(base, INT64), cast(mask, INT64), *indices)), BOOL)


def masked_contract(op: Contract, pair: Pair, given: Type, slot: int, other: Node) -> Pair:
    """A contraction where a zero of the tangent may meet a non-finite factor.

    What no supported element is multiplied with is left out of the other factor; what stands in no supported place is
    left out of the result. A factor that is not finite and is needed makes the primal result so, too.
    """
    value, support = materialise(pair[0], given), pair[1]
    assert support is not None
    own, far = (op.left, op.right) if slot == 0 else (op.right, op.left)
    mask = spread(support, given.shape)
    if not set(own) <= set(op.out):
        other = NODES.where(_along(mask, own, far, other.shape), other, 0)
    pairs = (value, other) if slot == 0 else (other, value)
    result = make(op, pairs)
    reached = _along(mask, own, op.out, result.shape)
    return NODES.where(reached, result, 0), reached


def _along(mask: Node, own: tuple[int, ...], labels: tuple[int, ...], shape: Shape) -> Node:
    """A mask over the axes ``own``, as one over ``labels``: any along what is missing, the same along what is new."""
    kept = [i for i in own if i in labels]
    reduced = reduce("any", mask, tuple(j for j, i in enumerate(own) if i not in labels))
    order = tuple(sorted(range(len(kept)), key=lambda j: labels.index(kept[j])))
    return broadcast(transpose(reduced, order), shape, tuple(labels.index(kept[j]) for j in order))
