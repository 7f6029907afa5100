"""Buffers that are never needed at the same time share memory, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import chainrule as cr
from chainrule.codegen import ir
from chainrule.codegen.builder import int_literal
from chainrule.codegen.reuse import shared_buffers
from chainrule.codegen.workspace import layout


def copy(source: str, target: str) -> ir.For:
    index = ir.Var(f"i_{source}_{target}", "int64")
    body = (ir.Store(target, index, ir.Load(source, index, "float64")),)
    return ir.For(index.name, int_literal(100), "serial", body)


def chain(*names: str) -> ir.Block:
    """Buffers, each a copy of the one before; the first and the last are not scratch memory."""
    allocations = [ir.Alloc(name, "float64", 100) for name in names[1:-1]]
    return (*allocations, *(copy(a, b) for a, b in pairwise(names)))


def test_a_chain_needs_two_buffers() -> None:
    found = shared_buffers(chain("x", "a", "b", "c", "d", "e", "y"))
    assert [s.buffer for s in found if isinstance(s, ir.Alloc)] == ["a", "b"]
    loops = [s for s in found if isinstance(s, ir.For)]
    stores = [s.body[0] for s in loops]
    assert [s.buffer for s in stores if isinstance(s, ir.Store)] == ["a", "b", "a", "b", "a", "y"]
    loads = [s.value for s in stores if isinstance(s, ir.Store)]
    assert [e.buffer for e in loads if isinstance(e, ir.Load)] == ["x", "a", "b", "a", "b", "a"]
    assert layout(found)[1] * 5 == layout(chain("x", "a", "b", "c", "d", "e", "y"))[1] * 2


def test_what_is_read_later_keeps_its_place() -> None:
    body = (*chain("x", "a", "b", "c", "y"), copy("a", "z"))
    found = shared_buffers(body)
    assert [s.buffer for s in found if isinstance(s, ir.Alloc)] == ["a", "b", "c"]


def test_other_sizes_and_types_do_not_share() -> None:
    body = (
        ir.Alloc("a", "float64", 100), ir.Alloc("b", "float64", 99), ir.Alloc("c", "int64", 100),
        copy("x", "a"), copy("x", "b"), copy("x", "c"),
    )  # fmt: skip
    assert shared_buffers(body) == body


def test_buffers_of_calls_are_renamed() -> None:
    call = ir.Call("f", ("c", int_literal(3)))
    body = (*chain("x", "a", "b", "c", "y"), call)
    found = shared_buffers(body)
    assert found[-1] == ir.Call("f", ("a", int_literal(3)))


def test_a_long_program_computes_the_same() -> None:
    def program(x: np.ndarray) -> np.ndarray:
        for _ in iter(range(6)):
            x = np.cumsum(np.abs(np.sin(x))) / 100
        return x

    x = np.linspace(0, 1, 300)
    np.testing.assert_allclose(cr.jit(program)(x), program(x), rtol=1e-13)
