"""Which variables are read later: AutoGraph's analysis, where it says too little.

- The target of a ``for`` keeps its value where the loop ends: only going into the body gives it another.
- What a lambda reads is read whenever the lambda is called, and not only where it stands.
- The arguments of an inner function are no variables of the outer one.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from malt.pyct import anno, cfg
from malt.pyct.static_analysis import activity, liveness

IN_PLACE = "in_place"  # marks a lambda that is called where it stands


class Activity(activity.ActivityAnalyzer):  # type: ignore[misc]
    """Which variables each statement reads and binds."""

    def visit_arg(self, node: ast.arg) -> Any:
        return node if self._track_annotations_only else super().visit_arg(node)


class _Analyzer(liveness.Analyzer):  # type: ignore[misc]
    def __init__(self, graph: cfg.Graph, bodies: Mapping[int, set[int]]) -> None:
        super().__init__(graph, include_annotations=True)
        self._bodies = bodies

    def lamba_check(self, function: ast.AST) -> bool:
        return hasattr(function, IN_PLACE)

    def visit_node(self, node: cfg.Node) -> bool:
        before = self.in_[node]
        super().visit_node(node)
        body = self._bodies.get(id(node.ast_node))
        if body is not None:
            for following in node.next:
                if id(following.ast_node) not in body:
                    self.in_[node] = self.in_[node] | self.in_[following]
        return bool(before != self.in_[node])


class _Annotator(liveness.TreeAnnotator):  # type: ignore[misc]
    def __init__(self, context: Any, graphs: Any, bodies: Mapping[int, set[int]]) -> None:
        super().__init__(context, graphs, include_annotations=True)
        self._bodies = bodies
        self.current_analyzer: Any = None

    def _analyze_function(self, node: Any, is_lambda: bool) -> Any:
        outer: Any = self.current_analyzer
        analyzer = _Analyzer(self.graphs[node], self._bodies)
        analyzer.visit_reverse()
        self.current_analyzer = analyzer
        node = self.generic_visit(node)
        self.current_analyzer = outer
        return node


def resolve(node: Any, context: Any, graphs: Any) -> Any:
    """Annotates the statements of a function with the variables that are live before and after them."""
    bodies: dict[int, set[int]] = {}
    for loop in ast.walk(node):
        if isinstance(loop, ast.For):
            parts = [*loop.body]
            test = anno.getanno(loop, anno.Basic.EXTRA_LOOP_TEST, default=None)
            parts += [test] if test is not None else []
            bodies[id(loop.iter)] = {id(n) for part in parts for n in ast.walk(part)}
    return _Annotator(context, graphs, bodies).visit(node)
