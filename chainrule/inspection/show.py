"""``show``: the graph of a program, before and after simplification, drawn or as text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule import api
from chainrule.graph.cost import graph_cost
from chainrule.graph.node import Graph
from chainrule.graph.op import Const, Input, Scalar
from chainrule.graph.trace import trace as trace_as_written
from chainrule.graph.where import Where, error, here
from chainrule.selection import check_call, function_name
from chainrule.simplify.pipeline import simplify

from .labels import node_names, short
from .layout import place

MOST = 400  # nodes that are drawn; larger graphs are shown as text only
STYLE = (
    "text{font:12px sans-serif;text-anchor:middle;dominant-baseline:central;fill:#222}"
    "rect{stroke:#888;fill:#f4f4f4}rect.input{fill:#dcebf8}rect.output{fill:#fbe3d6}rect.const{fill:#fff;stroke:#ccc}"
    "path{fill:none;stroke:#999}text.title{font-weight:bold;text-anchor:start}"
)


@dataclass(frozen=True)
class Picture:
    """The graph as written (of a transform: as derived) and simplified. SVG in notebooks, text in print."""

    name: str
    written: Graph
    simplified: Graph
    caller: Where | None = None

    def __str__(self) -> str:
        graphs = (("as written", self.written), ("simplified", self.simplified))
        return "\n\n".join(f"{self._title(what, graph)}\n{graph}" for what, graph in graphs)

    __repr__ = __str__

    def _title(self, what: str, graph: Graph) -> str:
        return f"{self.name}, {what}: {graph_cost(graph)}"

    @property
    def svg(self) -> str:
        """Both graphs side by side, arguments at the top. Raises ValueError if there are more than 400 nodes."""
        drawn = [
            _draw(graph, self._title(what, graph), node_names(graph, self.caller))
            for what, graph in (("as written", self.written), ("simplified", self.simplified))
        ]
        width, height = sum(w for _, w, _ in drawn) + 40, max(h for _, _, h in drawn)
        shift, parts = 0.0, []
        for body, w, _ in drawn:
            parts.append(f'<g transform="translate({shift:.0f},0)">{body}</g>')
            shift += w + 40
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}"><style>{STYLE}</style>{"".join(parts)}</svg>'
        )

    def _repr_svg_(self) -> str | None:
        return self.svg if max(len(self.written), len(self.simplified)) <= MOST else None

    @property
    def dot(self) -> str:
        """The simplified graph in Graphviz's language."""
        names = node_names(self.simplified, self.caller)
        number = {node: i for i, node in enumerate(self.simplified.nodes)}
        lines = [f'  n{i} [label="{_escaped(label(n, names, self.simplified))}"];' for n, i in number.items()]
        lines += [f"  n{number[a]} -> n{i};" for n, i in number.items() for a in n.args]
        return "\n".join(["digraph {", "  node [shape=box];", *lines, "}"])

    def write(self, path: str | Path) -> None:
        """Saves the drawing: ``.svg``, or ``.dot``. Raises ValueError for other endings."""
        path = Path(path)
        if path.suffix not in (".svg", ".dot"):
            raise ValueError(f"a graph is saved as .svg or .dot, not {path.suffix or path.name}")
        path.write_text(self.svg if path.suffix == ".svg" else self.dot, encoding="utf-8")


def show(fun: Callable[..., Any], *specs: Any, **named: Any) -> Picture:
    """The graph of ``fun`` for arguments given as numbers, arrays or specs (``cr.spec``); without any, all are numbers.

    >>> import chainrule as cr
    >>> print(show(lambda x: x * x + x * x))                                        # doctest: +ELLIPSIS
    <lambda>, as written: ...
    return %2
    """
    if not callable(fun):
        raise error(TypeError, f"show takes a function, not {fun!r:.60}")
    if not specs and not named:
        import inspect

        parameters = inspect.signature(fun).parameters.values()
        specs = tuple(api.spec() for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    check_call(fun, specs, named)
    written = trace_as_written(fun, *specs, **named)
    return Picture(function_name(fun), written, simplify(written), here())


def label(node: Any, names: dict[Any, str], graph: Graph) -> str:
    """What stands in a node's box: an argument's name, a constant, or the operation, with the user's name for it."""
    match node.op:
        case Input(_, position, _):
            return graph.names[position]
        case Const():
            return short(node.op.value)
        case Scalar(name):
            text = SIGNS.get(name, name)
        case op:
            text = type(op).__name__.lower()
    return text if UNNAMED.fullmatch(names[node]) else f"{names[node]} = {text}"


UNNAMED = re.compile(r"t\d+")
SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "pow": "^", "sqrt": "√", "square": "²"}


def _draw(graph: Graph, title: str, names: dict[Any, str]) -> tuple[str, float, float]:
    """(SVG elements, width, height). Constants are drawn once for each use, so that they tie nothing together."""
    if len(graph) > MOST:
        raise ValueError(f"graphs of up to {MOST} nodes are drawn, this one has {len(graph)}; print it instead")
    labels: list[str] = []
    kinds: list[str] = []
    sources: dict[int, list[int]] = {}
    known: dict[Any, int] = {}
    outputs = set(graph.outputs)

    def add(text: str, kind: str, args: list[int]) -> int:
        labels.append(text)
        kinds.append(kind)
        sources[len(labels) - 1] = args
        return len(labels) - 1

    for node in graph.nodes:
        if isinstance(node.op, Const) and node not in outputs:
            continue
        args = [add(names[a], "const", []) if isinstance(a.op, Const) else known[a] for a in node.args]
        kind = "output" if node in outputs else "input" if isinstance(node.op, Input) else "op"
        known[node] = add(label(node, names, graph), kind, args)
    widths = {i: 16 + 7.5 * len(text) for i, text in enumerate(labels)}
    centres, width, height = place(list(sources), sources, widths)
    width = max(width, 7.5 * len(title))
    parts = [f'<text class="title" x="4" y="12">{html.escape(title)}</text>']
    top = 26.0
    for item, args in sources.items():
        x, y = centres[item]
        for a in args:
            u, v = centres[a]
            bend = (y - v) / 2
            parts.append(
                f'<path d="M{u:.1f},{v + top + 11:.1f} C{u:.1f},{v + top + bend:.1f} {x:.1f},{y + top - bend:.1f} '
                f'{x:.1f},{y + top - 11:.1f}"/>'
            )
    for item, text in enumerate(labels):
        x, y = centres[item]
        w = widths[item]
        parts.append(
            f'<rect class="{kinds[item]}" x="{x - w / 2:.1f}" y="{y + top - 11:.1f}" width="{w:.1f}" height="22"/>'
            f'<text x="{x:.1f}" y="{y + top:.1f}">{html.escape(text)}</text>'
        )
    return "".join(parts), width, height + top


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

