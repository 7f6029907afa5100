"""What cannot be compiled, as an error that names the user's line."""

from __future__ import annotations

from chainrule.graph.node import Graph, Node

__all__ = ["Unsupported", "unsupported"]


class Unsupported(TypeError):
    """A program that is valid, but of which some part has no native code here."""


def unsupported(graph: Graph, node: Node, what: str, advice: str) -> Unsupported:
    """The error for ``node``: what it is, where it stands in the user's program, and what to do.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.op import Input, Type
    >>> from chainrule.graph.node import make
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> print(unsupported(Graph([x.type], [x], provenance={x: "model.py:3"}), x, "eigh", "use numpy.linalg"))
    eigh at model.py:3 cannot be compiled to native code; use numpy.linalg
    """
    place = graph.provenance.get(node)
    return Unsupported(f"{what}{f' at {place}' if place else ''} cannot be compiled to native code; {advice}")
