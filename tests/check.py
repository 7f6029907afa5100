"""What tests of derivatives share: programs built by hand, and derivatives compared with the truth.

The truth is a central difference of the program itself, evaluated with so many digits that neither its truncation error
nor cancellation is seen: with step 1e-20 and 120 digits, derivatives up to the third are right to some 38 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import mpmath as mp
import numpy as np

from chainrule.graph.differentiate import jvp, vjp
from chainrule.graph.dtype import is_complex, is_inexact
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import zeros
from chainrule.graph.node import Graph, Node, make
from chainrule.graph.op import Input, Type

DIGITS = 120
STEP = mp.mpf("1e-20")


# --- programs -----------------------------------------------------------------------------------------------


def program(build: Callable[..., Any], *args: Any) -> Graph:
    """The graph of ``build`` for arguments like these (arrays, numbers or types)."""
    kinds = [a if isinstance(a, Type) else Type(np.shape(a), np.asarray(a).dtype) for a in args]
    outputs = build(*[make(Input(0, i, kind)) for i, kind in enumerate(kinds)])
    return Graph(kinds, outputs if isinstance(outputs, (tuple, list)) else [outputs])


def moving(nodes: Sequence[Any]) -> list[int]:
    """The positions of what has a derivative."""
    return [i for i, node in enumerate(nodes) if is_inexact(node.dtype)]


def pushed(graph: Graph, wrt: Sequence[int] | None = None) -> Graph:
    """(arguments, a tangent for each in ``wrt``) → the tangents of the floating-point outputs."""
    wrt = moving(graph.inputs) if wrt is None else wrt
    outputs = [graph.outputs[i] for i in moving(graph.outputs)]
    kinds = [*graph.inputs, *[graph.inputs[i] for i in wrt]]
    seeds = [[make(Input(0, len(graph.inputs) + j, graph.inputs[i]))] for j, i in enumerate(wrt)]
    inputs = graph.arguments
    _, rows = jvp(outputs, [inputs[i] for i in wrt], seeds)
    return Graph(kinds, [_or_zeros(row[0], o) for row, o in zip(rows, outputs, strict=True)])


def pulled(graph: Graph, wrt: Sequence[int] | None = None) -> Graph:
    """(arguments, a cotangent for each floating-point output) → the cotangents of the arguments in ``wrt``."""
    wrt = moving(graph.inputs) if wrt is None else wrt
    outputs = [graph.outputs[i] for i in moving(graph.outputs)]
    kinds = [*graph.inputs, *[o.type for o in outputs]]
    seeds = [[make(Input(0, len(graph.inputs) + j, o.type))] for j, o in enumerate(outputs)]
    arguments = graph.arguments
    inputs = [arguments[i] for i in wrt]
    rows = vjp(outputs, inputs, seeds)
    return Graph(kinds, [_or_zeros(row[0], node) for row, node in zip(rows, inputs, strict=True)])


def _or_zeros(node: Node | None, like: Node) -> Node:
    return zeros(like.type) if node is None else node


# --- truth --------------------------------------------------------------------------------------------------


def exact(graph: Graph, args: Sequence[Any]) -> list[Any]:
    return evaluate(graph, args, backend="mpmath", digits=DIGITS)


def paired(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Re Σ a·b, without a conjugate."""
    with mp.workdps(DIGITS):
        return sum(
            (
                mp.re(mp.mpmathify(p) * q)
                for x, y in zip(a, b, strict=True)
                for p, q in zip(_flat(x), _flat(y), strict=True)
            ),
            mp.mpf(0),
        )


def _flat(x: Any) -> list[Any]:
    return list(np.asarray(x, dtype=object).ravel())


def directional(graph: Graph, args: Sequence[Any], directions: Sequence[Sequence[Any]]) -> list[Any]:
    """∂ⁿ/∂t₁…∂tₙ of the floating-point outputs at args + Σ tᵢ·directionᵢ; directions have an array per moving input."""
    wrt = moving(graph.inputs)
    keep = moving(graph.outputs)
    total: list[Any] = []
    with mp.workdps(DIGITS):
        for signs in product((1, -1), repeat=len(directions)):
            point = [np.asarray(a) for a in args]
            for place, i in enumerate(wrt):
                moved = np.asarray(args[i]).astype(object) + mp.mpf(0)
                for sign, direction in zip(signs, directions, strict=True):
                    moved = moved + sign * STEP * np.asarray(direction[place]).astype(object)
                point[i] = np.asarray(moved, dtype=object)
            found = exact(graph, point)
            weight = mp.mpf(int(np.prod(signs))) / (2 * STEP) ** len(directions)
            parts = [np.asarray(found[i]) * weight for i in keep]
            total = parts if not total else [t + p for t, p in zip(total, parts, strict=True)]
    return total


def random_like(arrays: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """A random array for each of these; multiples of 1/8, so that they are exact in any arithmetic."""

    def one(array: Any) -> Any:
        parts = [rng.integers(-12, 13, np.shape(array)) / 8.0 for _ in range(2)]
        return np.asarray(parts[0] + 1j * parts[1] if np.iscomplexobj(array) else parts[0])

    return [one(array) for array in arrays]


def assert_close(found: Sequence[Any], wanted: Sequence[Any], tolerance: float, what: str) -> None:
    with mp.workdps(DIGITS):
        wanted_flat = [mp.mpmathify(v) for x in wanted for v in _flat(x)]
        found_flat = [mp.mpmathify(v) for x in found for v in _flat(x)]
        scale = max([mp.mpf(1), *[abs(v) for v in wanted_flat if mp.isfinite(v)]])
        for i, (a, b) in enumerate(zip(found_flat, wanted_flat, strict=True)):
            same = a == b or (mp.isnan(a) and mp.isnan(b))
            assert same or abs(a - b) <= tolerance * scale, (
                f"{what}: element {i} is {mp.nstr(a, 20)}, not {mp.nstr(b, 20)}"
            )


# --- checks -------------------------------------------------------------------------------------------------


def check_grads(
    graph: Graph | Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    *,
    modes: str = "fr",
    tolerance: float = 1e-25,
    floats: float | None = 1e-9,
    seed: int = 0,
) -> None:
    """Both modes, nested in every way up to ``order``, against high-precision differences; and <v, J·u> = <Jᵀ·v, u>.

    ``modes`` are ``f`` and ``r``. ``floats`` is the tolerance for the same derivatives in float64 (None: not checked).
    """
    if not isinstance(graph, Graph):
        graph = program(graph, *args)
    rng = np.random.default_rng(seed)
    wrt, kept = moving(graph.inputs), moving(graph.outputs)
    directions = [random_like([args[i] for i in wrt], rng) for _ in range(order)]
    values = evaluate(graph, args)
    weights = random_like([values[i] for i in kept], rng)
    for n in range(1, order + 1):
        truth = directional(graph, args, directions[:n])
        number = paired(weights, truth)
        for nesting in product(modes, repeat=n):
            derived, given = _nested(graph, list(args), directions[:n], weights, nesting)
            for digits in (True, False) if floats is not None else (True,):
                found = exact(derived, given) if digits else evaluate(derived, given)
                allowed = tolerance if digits else floats
                name = f"{''.join(nesting)} at order {n}" + ("" if digits else " in float64")
                if "r" in nesting:
                    scale = max(1, *[abs(float(v)) for v in (abs(number),)])
                    assert_close([found[0] / scale], [number / scale], allowed or 0, name)
                else:
                    assert_close(found, truth, allowed or 0, name)


def _nested(
    graph: Graph, args: list[Any], directions: Sequence[Sequence[Any]], weights: Sequence[Any], nesting: Sequence[str]
) -> tuple[Graph, list[Any]]:
    """The derivative along the directions, each taken in its mode, the first one innermost.

    Once a mode is reverse, the graph is the number Σ weights·outputs (and then gradient·direction).
    """
    wrt = moving(graph.inputs)
    scalar = False
    given = list(args)
    for mode, direction in zip(nesting, directions, strict=True):
        if mode == "f":
            graph = pushed(graph, wrt)
            given += list(direction)
        else:
            if not scalar:
                graph, given, scalar = _weighted(graph, given, weights), [*given, *weights], True
            back = pulled(graph, wrt)
            ones = [np.float64(1.0)]
            kinds = [*back.inputs, *[back.inputs[i] for i in wrt]]
            extra = [make(Input(0, len(back.inputs) + j, back.inputs[i])) for j, i in enumerate(wrt)]
            graph = Graph(kinds, [_pairing(back.outputs, extra)])
            given += ones + list(direction)
    return graph, given


def _weighted(graph: Graph, args: Sequence[Any], weights: Sequence[Any]) -> Graph:
    outputs = [graph.outputs[i] for i in moving(graph.outputs)]
    kinds = [*graph.inputs, *[o.type for o in outputs]]
    extra = [make(Input(0, len(graph.inputs) + j, o.type)) for j, o in enumerate(outputs)]
    return Graph(kinds, [_pairing(outputs, extra)])


def _pairing(a: Sequence[Node], b: Sequence[Node]) -> Node:
    from chainrule.graph.express import NODES, reduce

    total = None
    for x, y in zip(a, b, strict=True):
        part = NODES.real(x * y) if is_complex(x.dtype) else x * y
        part = reduce("sum", part, tuple(range(len(part.shape))))
        total = part if total is None else total + part
    assert total is not None
    return total


def check_backends(graph: Graph, args: Sequence[Any], tolerance: float = 1e-12) -> None:
    """The compiled kernel of a graph against the reference interpreter."""
    from chainrule.codegen.function import call
    from chainrule.codegen.kernel import compile_graph

    kernel = compile_graph(graph, "f", tree=tuple(range(len(graph.outputs))))
    arrays = [np.asarray(a, kind.dtype) for a, kind in zip(args, graph.inputs, strict=True)]
    found = call(kernel.address, kernel.signature, arrays, [])
    for one, two in zip(found, evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)
