"""How nodes of a graph are called and written for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Broadcast, Cast, Const, Gather, Input, Iota, Loop, Project, Reduce, Scalar, SizeOf
from chainrule.graph.scalar import PRIMITIVES
from chainrule.graph.where import Where


def node_names(graph: Graph, caller: Where | None = None) -> dict[Node, str]:
    """A name for each node: of an argument, the user's own for a variable, a constant's value, else t1, t2, ….

    What was made at the line of the ``caller`` belongs to no variable of the program.

    A name that the user gives to several values goes to each, with a number: x, x₂, x₃.
    """
    names: dict[Node, str] = {}
    used: dict[str, int] = dict.fromkeys(graph.names, 1)
    count = 0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Input):
            names[node] = graph.names[op.position]
            continue
        if isinstance(op, Const):
            names[node] = short(op.value)
            continue
        if is_conversion(node):
            names[node] = names[node.args[0]]
            continue
        place = graph.provenance.get(node)
        own = None if place is None or place == caller else place.name
        if own:
            used[own] = used.get(own, 0) + 1
            names[node] = own if used[own] == 1 else own + str(used[own]).translate(SUBSCRIPTS)
        else:
            count += 1
            names[node] = f"t{count}"
    return names


def is_conversion(node: Node) -> bool:
    """Whether an integer argument becomes a float there."""
    return isinstance(node.op, Cast) and isinstance(node.args[0].op, Input)


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def expression(node: Node, names: dict[Node, str]) -> str:
    """What the node computes, of its arguments' names.

    Arithmetic is written with signs, everything else as a call.
    """
    args = [names[a] for a in node.args]
    match node.op:
        case Scalar(name):
            text = PRIMITIVES[name].numpy.format(*args).replace("np.", "").replace("special.", "")
            return text[1:-1] if text.startswith("(") and text.endswith(")") and _encloses(text) else text
        case Reduce(kind, _):
            return f"{kind}({', '.join(args)})"
        case Project(index):
            return f"{args[0]}[{index}]"
        case Cast(dtype):
            return f"{dtype}({args[0]})"
        case Broadcast():
            return f"broadcast({args[0]})"
        case Gather():
            return f"{args[0]}[{', '.join(args[1:])}]"
        case Iota(length):
            return f"arange({length})"
        case SizeOf(dim):
            return str(dim)
        case Loop():
            return f"loop({', '.join(args)})"
        case op:
            return f"{type(op).__name__.lower()}({', '.join(args)})"


def _encloses(text: str) -> bool:
    """Whether the first bracket is closed by the last."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i == len(text) - 1
    return False


def short(value: Any, digits: int = 6) -> str:
    """A number, or the first numbers of an array.

    >>> short(np.array([1.0, 2.5, 3.0, 4.0, 5.0]))
    '[1, 2.5, 3, … 5 in all]'
    """
    if isinstance(value, tuple):
        return ", ".join(short(v, digits) for v in value)
    array = np.asarray(value)
    if array.dtype == bool and array.ndim == 0:
        return str(bool(array))
    if array.ndim == 0:
        number = array[()]
        return f"{number:.{digits}g}" if array.dtype.kind in "iuf" else f"{complex(number):.{digits}g}"
    flat = array.reshape(-1)
    first = ", ".join(short(v, digits) for v in flat[:3])
    return f"[{first}{f', … {flat.size} in all' if flat.size > 3 else ''}]"
