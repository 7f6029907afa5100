"""Scratch buffers that are never needed at the same time become one, so that a kernel needs less memory.

A buffer is needed from the first to the last statement of the kernel, loops being one statement each, that has to do
with it. Buffers of the same type and size share; which ones is decided in program order, by the left-edge algorithm.

Source: A. Hashimoto & J. Stevens, Wire routing by optimizing channel assignment (1971).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from heapq import heappop, heappush

from chainrule.graph.dim import Dim

from . import ir
from .ir import Block, DTypeName, Name, Stmt
from .rename import renamed

__all__ = ["shared_buffers"]


def shared_buffers(body: Block) -> Block:
    """``body`` with the buffers allocated at its beginning shared where they can be."""
    own = {stmt.buffer: stmt for stmt in body if isinstance(stmt, ir.Alloc)}
    if len(own) < 2:
        return body
    last: dict[Name, int] = {}
    first: dict[Name, int] = {}
    for number, stmt in enumerate(body):
        for name in dict.fromkeys(_mentioned(stmt)):
            if name in own:
                first.setdefault(name, number)
                last[name] = number
    free: dict[tuple[DTypeName, Dim], list[Name]] = defaultdict(list)
    ending: list[tuple[int, Name]] = []
    instead: dict[Name, Name] = {}
    for name in sorted(first, key=first.__getitem__):
        while ending and ending[0][0] < first[name]:
            _, done = heappop(ending)
            free[own[done].dtype, own[done].count].append(done)
        found = free[own[name].dtype, own[name].count]
        place = found.pop() if found else name
        if place != name:
            instead[name] = place
        heappush(ending, (last[name], place))
    if not instead:
        return body
    return tuple(renamed(s, instead) for s in body if not (isinstance(s, ir.Alloc) and s.buffer in instead))


def _mentioned(stmt: Stmt) -> Iterator[Name]:
    """The buffers that a statement, or one inside it, reads or changes."""
    for inner in ir.statements((stmt,)):
        if isinstance(inner, ir.Store):
            yield inner.buffer
        elif isinstance(inner, ir.Call):
            yield from (arg for arg in inner.args if isinstance(arg, str))
        for root in ir.expressions(inner):
            yield from (expr.buffer for expr in ir.walk(root) if isinstance(expr, ir.Load))
