"""Random programs: forward, reverse and numerical derivatives agree, and so do float64 and mpmath."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
from hypothesis import HealthCheck, assume, given, settings

from chainrule.graph.dtype import is_inexact
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph
from chainrule.graph.op import Type
from tests.check import DIGITS, STEP, check_backends, exact, moving, paired, pulled, pushed, random_like
from tests.strategies import Program, graphs

LARGE = 1e8
settings.register_profile("derivatives", deadline=None, suppress_health_check=list(HealthCheck))


def tame(graph: Graph, args: list[Any]) -> bool:
    """Whether no value on the way is large or undefined: arbitrary precision would take it all too literally."""
    nodes = [n for n in graph.nodes if isinstance(n.type, Type) and is_inexact(n.dtype)]
    with np.errstate(all="ignore"):
        return all(np.all(np.abs(v) < LARGE) for v in evaluate(Graph(graph.inputs, nodes), args))


def one_sided(graph: Graph, args: list[Any], direction: list[Any], weights: list[Any], sign: int) -> Any:
    """Σ weights·(f(x ± h·direction) − f(x))/(±h)."""
    with mp.workdps(DIGITS):
        moved: list[Any] = [np.asarray(a) for a in args]
        for i, d in zip(moving(graph.inputs), direction, strict=True):
            moved[i] = moved[i].astype(object) + sign * STEP * d.astype(object)
        kept = moving(graph.outputs)
        ahead, here = exact(graph, moved), exact(graph, args)
        return (paired(weights, [ahead[i] for i in kept]) - paired(weights, [here[i] for i in kept])) / (sign * STEP)


@settings(settings.get_profile("derivatives"), max_examples=80)
@given(graphs(smooth=True, size=15))
def test_forward_reverse_and_numerical_derivatives_agree(drawn: Program) -> None:
    graph, args = drawn
    kept = moving(graph.outputs)
    assume(kept)
    assume(tame(graph, args))
    rng = np.random.default_rng(0)
    direction = random_like([args[i] for i in moving(graph.inputs)], rng)
    values = evaluate(graph, args)
    weights = random_like([values[i] for i in kept], rng)
    tangents = pushed(graph)
    ahead, behind = (one_sided(graph, args, direction, weights, sign) for sign in (1, -1))
    scale = 1 + abs(ahead)
    smooth = mp.isfinite(ahead) and mp.isfinite(behind) and abs(ahead - behind) < 1e-12 * scale
    found = paired(weights, exact(tangents, [*args, *direction]))
    assume(mp.isfinite(found))  # √(x − x) is smooth, but no step of the chain rule
    if smooth:
        assert abs(found - (ahead + behind) / 2) < 1e-10 * scale
    in_floats = paired(weights, evaluate(tangents, [*args, *direction]))
    if smooth and tame(tangents, [*args, *direction]):
        assert abs(in_floats - found) < 1e-4 * scale
    back = pulled(graph)
    transposed = paired(exact(back, [*args, *weights]), direction)
    if smooth and mp.isfinite(transposed):
        assert abs(transposed - found) < 1e-20 * scale
    elif smooth:
        raise AssertionError(f"reverse gives {transposed}, forward {found}")


@settings(settings.get_profile("derivatives"), max_examples=25)
@given(graphs(smooth=True, size=15))
def test_derivatives_compile(drawn: Program) -> None:
    """Kernels of tangents and gradients give what the interpreter gives."""
    graph, args = drawn
    kept = moving(graph.outputs)
    assume(kept)
    rng = np.random.default_rng(0)
    direction = random_like([args[i] for i in moving(graph.inputs)], rng)
    values = evaluate(graph, args)
    tangents = pushed(graph)
    assume(tame(tangents, [*args, *direction]))
    check_backends(tangents, [*args, *direction], 1e-9)
    outputs = [graph.outputs[i] for i in kept]
    # a kernel reads its sizes off its arguments: cotangents of length 2n are none
    plain = all(str(d).isalnum() for o in outputs for d in o.shape)
    if plain:
        check_backends(pulled(graph), [*args, *random_like([values[i] for i in kept], rng)], 1e-9)
