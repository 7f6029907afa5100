"""Both ways to run a graph that is lowered: the interpreter of LoopIR, and machine code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.codegen import ir
from chainrule.codegen.function import call
from chainrule.codegen.kernel import compile_graph, signature_of
from chainrule.codegen.lower import lower
from chainrule.codegen.verify import verify
from chainrule.graph.dim import Dim
from chainrule.graph.dtype import FLOAT64, DType
from chainrule.graph.node import Graph, Node, make
from chainrule.graph.op import Input, Type
from tests.codegen.loopir_interpreter import run


def inputs(*shapes: tuple[Dim, ...], dtype: DType = FLOAT64) -> tuple[Node, ...]:
    """Input nodes of these shapes."""
    return tuple(make(Input(0, k, Type(shape, dtype))) for k, shape in enumerate(shapes))


def check(
    arguments: Sequence[Node], outputs: Sequence[Node], values: Sequence[Any], expected: Sequence[Any],
    rtol: float = 1e-13, atol: float = 1e-13,
) -> ir.Kernel:  # fmt: skip
    """Both ways give what is expected, with the right shapes and element types."""
    graph = Graph([a.type for a in arguments], outputs)
    kernel = lower(graph, "kernel")
    verify(kernel)
    assert lower(graph, "kernel") == kernel, "lowering is deterministic"
    interpreted = run(kernel, signature_of(graph, workspace=kernel.workspace), *values)
    compiled = compile_graph(graph, "kernel", tree=tuple(range(len(outputs))))
    native = call(compiled.address, compiled.signature, list(values), [])
    for results in (interpreted, native):
        for result, truth, node in zip(results, expected, outputs, strict=True):
            assert np.asarray(result).dtype == node.dtype
            assert np.shape(result) == np.shape(truth)
            np.testing.assert_allclose(result, truth, rtol=rtol, atol=atol)
    return kernel


def loops(kernel: ir.Kernel) -> list[tuple[str, int]]:
    """Every For of a kernel as (kind, depth), in order; a loop in pieces is shown as the one loop that it is."""
    found: list[tuple[str, int]] = []
    stack: list[tuple[ir.Stmt, int]] = [(s, 0) for s in reversed(kernel.body)]
    while stack:
        stmt, depth = stack.pop()
        in_pieces = isinstance(stmt, ir.For) and stmt.kind == "parallel"
        if isinstance(stmt, ir.For) and not in_pieces:
            found.append((stmt.kind, depth))
        for block in reversed(ir.blocks(stmt)):
            stack.extend((s, depth if in_pieces else depth + 1) for s in reversed(block))
    return found
