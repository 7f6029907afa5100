"""Forms of Python that are put in terms of simpler ones before anything else is rewritten.

- ``match`` becomes ``if`` and ``elif``; ``assert``, ``in`` and ``is True`` become calls.
- A sum over a generator expression becomes a loop, which may be rolled.
- The conditions of comprehensions, which decide on lengths, have to be known.
- ``try`` says where exceptions are expected that compiled code does not raise.
- An assignment to a global variable asks whether it may happen.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, Final

OPERATORS: Final = "ag__"  # the name of the operators in rewritten source


class Unprepared(Exception):
    """A function whose source has what is not known here; the message says what."""


def operator(name: str, *args: ast.expr) -> ast.Call:
    """A call of an operator."""
    return ast.Call(ast.Attribute(load(OPERATORS), name, ast.Load()), list(args), [])


def load(name: str) -> ast.Name:
    """A variable, read."""
    return ast.Name(name, ast.Load())


def copy_place(old: Any, new: ast.AST) -> None:
    """The parts of ``new`` that have no place yet get that of ``old``."""
    from malt.pyct import anno

    place = anno.getanno(old, anno.Basic.ORIGIN, default=None)
    for part in ast.walk(new):
        if place is not None and not anno.hasanno(part, anno.Basic.ORIGIN):
            anno.setanno(part, anno.Basic.ORIGIN, place)


class Idioms(ast.NodeTransformer):
    """Rewrites the forms in one function, and in those that it defines."""

    def __init__(self) -> None:
        self.count = 0
        self.outer: set[str] = set()
        self.depth = 0

    def visit(self, node: ast.AST) -> Any:
        """What replaces a node is where the node was."""
        found = super().visit(node)
        for part in found if isinstance(found, list) else [found]:
            if part is not None and part is not node and hasattr(node, "lineno"):
                copy_place(node, part)
        return found

    # --- variables from outside ---

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        declared = [n for n in ast.walk(node) if isinstance(n, (ast.Global, ast.Nonlocal))]
        before = self.outer
        self.outer = {name for n in declared if isinstance(n, ast.Global) or self.depth == 0 for name in n.names}
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1
        self.outer = before
        return node

    def _stored(self, node: Any, targets: Sequence[ast.expr]) -> Any:
        self.generic_visit(node)
        parts = [p for t in targets for p in ast.walk(t)]
        names = [p.id for p in parts if isinstance(p, ast.Name) and p.id in self.outer]
        return [*(ast.Expr(operator("outside", ast.Constant(name))) for name in names), node] if names else node

    def visit_Assign(self, node: ast.Assign) -> Any:
        return self._stored(node, node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        return self._stored(node, [node.target])

    # --- expressions ---

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(node.ops) > 1:
            return node
        kind, right = node.ops[0], node.comparators[0]
        if isinstance(kind, (ast.In, ast.NotIn)):
            found: ast.expr = operator("contained", node.left, right)
        elif isinstance(kind, (ast.Is, ast.IsNot)) and isinstance(right, ast.Constant) and type(right.value) is bool:
            found = operator("is_", node.left, right)
        else:
            return node
        return ast.UnaryOp(ast.Not(), found) if isinstance(kind, (ast.NotIn, ast.IsNot)) else found

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        self.generic_visit(node)
        for k, test in enumerate(node.ifs):
            node.ifs[k] = operator("known", test)
            copy_place(test, node.ifs[k])
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        if not _is_sum(node):
            return self.generic_visit(node)
        each: Any = node.args[0]
        loop: Any = each.generators[0]
        target: Any = loop.target
        names = [ast.arg(t.id) for t in ast.walk(target) if isinstance(t, ast.Name)]
        arguments = ast.arguments([], names, None, [], [], None, [])
        test = ast.BoolOp(ast.And(), loop.ifs) if len(loop.ifs) > 1 else loop.ifs[0] if loop.ifs else None
        parts = [_in_place(arguments, each.elt), _in_place(arguments, test) if test else ast.Constant(None)]
        spread = ast.Constant(isinstance(target, ast.Tuple))
        return self.generic_visit(operator("sum_over", node.func, loop.iter, *parts, spread))

    # --- statements ---

    def visit_Assert(self, node: ast.Assert) -> Any:
        self.generic_visit(node)
        none = ast.arguments([], [], None, [], [], None, [])
        return ast.Expr(operator("asserted", node.test, _in_place(none, node.msg or ast.Constant(None))))

    def visit_Try(self, node: ast.Try) -> Any:
        self.generic_visit(node)
        if not node.handlers:
            return node
        kinds = [h.type or load("BaseException") for h in node.handlers]
        inside = operator("trying", ast.Tuple(list(kinds), ast.Load()))
        node.body = [ast.With([ast.withitem(inside, None)], node.body)]
        for handler in node.handlers:
            caught = operator("caught")
            first = ast.Assign([ast.Name(handler.name, ast.Store())], caught) if handler.name else ast.Expr(caught)
            handler.body, handler.name = [first, *handler.body], None
        copy_place(node, node)
        return node

    def visit_Match(self, node: ast.Match) -> Any:
        self.count += 1
        subject = f"{OPERATORS}subject{self.count}"
        rest: list[ast.stmt] = []
        for case in reversed(node.cases):
            test, bound = _pattern(case.pattern, subject)
            tests = [t for t in (test, case.guard) if t is not None]
            if not tests:
                rest = [*bound, *case.body]
                continue
            condition = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
            rest = [*bound, ast.If(condition, case.body, rest)]
        found: list[ast.stmt] = [ast.Assign([ast.Name(subject, ast.Store())], node.subject), *rest]
        for statement in found:
            copy_place(node, statement)
        return [part for statement in found for part in _as_list(self.visit(statement))]


def _in_place(arguments: ast.arguments, body: ast.expr) -> ast.Lambda:
    """A lambda that is called where it stands, and so reads its variables there only."""
    made: Any = ast.Lambda(arguments, body)
    made.in_place = True
    found: ast.Lambda = made
    return found


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _is_sum(node: ast.Call) -> bool:
    """Whether a call is ``sum(… for … in …)`` over variables."""
    if not (isinstance(node.func, ast.Name) and node.func.id == "sum" and len(node.args) == 1 and not node.keywords):
        return False
    each = node.args[0]
    if not isinstance(each, (ast.GeneratorExp, ast.ListComp)) or len(each.generators) > 1:
        return False
    target = each.generators[0].target
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(t, ast.Name) for t in names) and not each.generators[0].is_async


def _pattern(pattern: ast.pattern, subject: str) -> tuple[ast.expr | None, list[ast.stmt]]:
    """What a pattern asks of its subject (None: nothing), and the variables that it sets."""
    match pattern:
        case ast.MatchValue(value):
            return ast.Compare(load(subject), [ast.Eq()], [value]), []
        case ast.MatchSingleton(value):
            return ast.Compare(load(subject), [ast.Is()], [ast.Constant(value)]), []
        case ast.MatchOr(patterns):
            found = [_pattern(p, subject) for p in patterns]
            if all(test is not None and not bound for test, bound in found):
                return ast.BoolOp(ast.Or(), [test for test, _ in found if test is not None]), []
        case ast.MatchAs(inner, name):
            test, bound = (None, []) if inner is None else _pattern(inner, subject)
            own = [ast.Assign([ast.Name(name, ast.Store())], load(subject))] if name else []
            return test, [*bound, *own]
    raise Unprepared(f"`case {ast.unparse(pattern)}` looks into its subject; write `if` and `elif`")
