"""Derivatives that are given as programs of tangents: linearised by themselves, and placed into a linear program.

So one formula serves both modes, and supports go through it like through everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .express import full
from .linear import Combine, Instruction, Join, Map, Pick, Program, Pulled, Seed, Structured, Term, Var
from .node import Node, substitute, topological_until
from .op import Call, Cond, Loop, Type


def is_linear(program: Program, tangents: Iterable[Node]) -> bool:
    """Whether no coefficient of a program's depends on its ``tangents``, as far as loops and branches let see."""
    own = set(tangents)
    pending = [n for i in program.instructions if not isinstance(i, Structured) for n in _nodes_of(i)]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in own:
            return False
        if node not in seen and not isinstance(node.op, (Cond, Loop, Call)):
            seen.add(node)
            pending.extend(node.args)
    return True


def anywhere(tangents: Iterable[Node]) -> dict[Node, Node]:
    """Where a linear program is linearised makes no difference to it: NaN shows where it does."""
    return {t: full(float("nan"), Type(t.shape, t.dtype)) for t in tangents}


def place(
    program: Program, inner: Program, sources: Sequence[Var | None], known: Mapping[Node, Node]
) -> list[Var | None]:
    """Emits the instructions of ``inner``, its seeds being ``sources``, its nodes replaced as ``known`` says."""
    every = [n for i in inner.instructions for n in _nodes_of(i)]
    moved = dict(zip(every, substitute(every, known), strict=True))
    number: list[Var] = []
    for instruction, kind in zip(inner.instructions, inner.types, strict=True):
        if isinstance(instruction, Seed):
            source = sources[instruction.position]
            assert source is not None
            number.append(source)
        else:
            number.append(program.emit(_moved(instruction, moved, number), kind))
    return [None if o is None else number[o] for o in inner.outputs]


def standing_alone(inner: Program, known: Mapping[Node, Node]) -> Program:
    """The same program with its nodes replaced as ``known`` says."""
    result = Program(inputs=inner.inputs)
    seeds: list[Var | None] = [None] * len(inner.inputs)
    for instruction, kind in zip(inner.instructions, inner.types, strict=True):
        if isinstance(instruction, Seed):
            seeds[instruction.position] = result.emit(instruction, kind)
    result.outputs = place(result, inner, seeds, known)
    return result


def reaches(outputs: Sequence[Node], node: Node) -> bool:
    """Whether ``node`` is among what ``outputs`` are made of, looked for no further than its arguments."""
    return node in topological_until(outputs, set(node.args))


def _nodes_of(instruction: Instruction) -> list[Node]:
    match instruction:
        case Combine(terms):
            return [n for t in terms for n in (t.coefficient, t.mask) if n is not None]
        case Map() | Join():
            return list(instruction.others)
        case Structured(node):
            return [node]
        case Pulled():
            steps = [] if instruction.program is None else instruction.program.instructions
            own = [instruction.node, *instruction.before, *instruction.after]
            return [*own, *(n for step in steps for n in _nodes_of(step))]
        case Seed() | Pick():
            return []


def _moved(instruction: Instruction, moved: Mapping[Node, Node], number: Sequence[Var]) -> Instruction:
    match instruction:
        case Combine(terms):
            return Combine(tuple([
                Term(number[t.source], t.coefficient and moved[t.coefficient], t.mask and moved[t.mask]) for t in terms
            ]))  # fmt: skip
        case Map(op, source, slot, others):
            return Map(op, number[source], slot, tuple(moved[n] for n in others))
        case Join():
            return replace(instruction, sources=_numbers(instruction.sources, number),
                           others=tuple(moved[n] for n in instruction.others))  # fmt: skip
        case Structured(node, sources):
            return Structured(moved[node], _numbers(sources, number))
        case Pulled():
            program = instruction.program
            if program is not None:
                same = range(len(program.instructions))
                steps = [_moved(i, moved, same) for i in program.instructions]
                program = replace(program, instructions=steps)
            return replace(
                instruction,
                node=moved[instruction.node],
                before=tuple(moved[n] for n in instruction.before),
                after=tuple(moved[n] for n in instruction.after),
                program=program,
                sources=_numbers(instruction.sources, number),
            )
        case Pick(source, index):
            return Pick(number[source], index)
        case Seed():
            return instruction


def _numbers(sources: Sequence[Var | None], number: Sequence[Var]) -> tuple[Var | None, ...]:
    return tuple(None if s is None else number[s] for s in sources)
