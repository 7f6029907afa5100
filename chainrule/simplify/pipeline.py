"""Simplification as the other rooms see it: one function, Graph → Graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from chainrule.graph.node import Graph

from .bodies import prune
from .exact import EXACT
from .horner import horner
from .inline import inline_rules
from .logarithms import logarithms
from .normal import cheaper, normal_form
from .real import REAL, ROOTS, share_reciprocals
from .rewrite import Driver, Table
from .scalarize import scalarize
from .shared import shared_loops
from .stable import STABLE

Level = Literal["fast", "smooth", "full"]

SMOOTH: Final[Table] = STABLE + EXACT + ROOTS
FULL: Final[Table] = STABLE + EXACT + REAL
_TABLES: Final = {"fast": EXACT, "smooth": SMOOTH, "full": FULL}
ROUNDS: Final = 6  # of passes that settle in two or three; random programs take four at most
# So many nodes, and one pass of the rules has to do: what such straight-line code costs is its compilation, and the
# normal form, which pays in loops over data, would take longer than all else.
LARGE: Final = 30_000


def simplify(graph: Graph, level: Level = "full") -> Graph:
    """A graph with the same meaning that is cheaper, safer and shorter.

    ``"fast"`` keeps every float. ``"smooth"`` adds what is more accurate and takes squares out of roots: for a program
    that is to be differentiated, whose derivatives are then finite where its own terms are not, as for
    log(1 + exp(1000)). ``"full"`` adds all that holds over the reals.
    Deterministic, idempotent, and linear in the size of the graph.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.node import make, scalar
    >>> from chainrule.graph.op import Input, Type
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> print(simplify(Graph([x.type], [scalar("log", 1 + scalar("exp", x * 1))])))
    %0: float64 = input x0
    %1: float64 = softplus %0
    return %1
    """
    if level not in _TABLES:
        raise ValueError(f"the levels of simplification are {', '.join(_TABLES)}, not {level!r}")
    if level == "full":  # a rule is for derivatives, and those are taken by now
        graph = inline_rules(graph)
    driver = Driver(_TABLES[level])
    if len(graph) > LARGE:
        return prune(driver.graph(graph))
    share = taken_apart if level == "full" else _unchanged
    graph = _settled(graph, driver, share)
    if level == "fast":
        return graph
    conditional = logarithms(graph)
    if conditional != graph:
        graph = _settled(conditional, driver, share)
    return _in_normal_form(graph, driver) if level == "full" else graph


def simplify_version(graph: Graph) -> Graph:
    """A version of a program, in which a condition is decided: fully simplified, with no new conditions."""
    driver = Driver(FULL)
    return _in_normal_form(_settled(graph, driver, taken_apart), driver)


def _in_normal_form(graph: Graph, driver: Driver) -> Graph:
    for _ in range(ROUNDS):
        normal = horner(normal_form(graph))
        if normal == graph:
            break
        found = _settled(normal, driver, taken_apart)
        if not cheaper(found, graph):
            break
        graph = found
    return graph


def _settled(graph: Graph, driver: Driver, share: Callable[[Graph], Graph]) -> Graph:
    """``graph`` rewritten until neither the rules nor the rest change it."""
    graph = share(graph)  # first, for it changes all that follows
    for _ in range(ROUNDS):
        rewritten = driver.graph(graph)
        graph = share(prune(rewritten))
        if graph == rewritten:  # a normal form of the rules, and of the rest
            break
    return graph


def taken_apart(graph: Graph) -> Graph:
    """Small arrays as scalars, and common loops and divisors shared."""
    return share_reciprocals(scalarize(shared_loops(graph)))


def _unchanged(graph: Graph) -> Graph:
    return graph
