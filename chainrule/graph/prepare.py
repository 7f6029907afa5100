"""What is rewritten in a function's source before AutoGraph: what it leaves alone, and what it does not know.

- ``x[i]``, ``x[i] = v`` and augmented assignments become calls, so that a concrete array meets a traced index or value.
- ``else`` of loops becomes a flag; ``super()`` and private names get what they take from the class around them.
- ``raise`` asks first whether its condition was known.
- ``y := …`` becomes an assignment before the statement that it is in.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from .idioms import OPERATORS, Idioms, Unprepared, copy_place, operator

SYMBOLS: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip


COMPARISONS: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def prepared(node: Any, qualname: str) -> Any:
    """The definition of a function, made ready. ``qualname`` says which class it is in."""
    path = qualname.split(".")
    owner = path[-2] if len(path) > 1 and path[-2] != "<locals>" else ""
    if isinstance(node, ast.FunctionDef):
        node.decorator_list = []
    return _Prepare(owner).visit(Idioms().visit(node))


class _Prepare(ast.NodeTransformer):
    def __init__(self, owner: str) -> None:
        self.owner = owner.lstrip("_")
        self.count = 0
        self.first: list[str] = []
        self.hoisted: list[ast.stmt] | None = None

    def visit(self, node: ast.AST) -> Any:
        """What replaces a node is where the node was."""
        found = super().visit(node)
        for part in found if isinstance(found, list) else [found]:
            if part is not None and part is not node and hasattr(node, "lineno"):
                copy_place(node, part)
        return found

    def _temporary(self) -> str:
        self.count += 1
        return f"{OPERATORS}{self.count}"

    # --- definitions ---

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        arguments = [*node.args.posonlyargs, *node.args.args]
        self.first.append(arguments[0].arg if arguments else "")
        node.returns = None
        found = self.generic_visit(node)
        self.first.pop()
        return found

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return ast.Pass()
        return self.visit_Assign(ast.Assign([node.target], node.value))

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args and self.first:
            node.args = [ast.Name("__class__", ast.Load()), ast.Name(self.first[0], ast.Load())]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        if self.owner and node.attr.startswith("__") and not node.attr.endswith("__"):
            node.attr = f"_{self.owner}{node.attr}"
        return node

    # --- subscripts ---

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or _is_literal(node.slice):
            return node
        return operator("get_item", node.value, _index(node.slice))

    def visit_Assign(self, node: ast.Assign) -> Any:
        return self._hoisting(node, ("value",), self._assign)

    def _assign(self, node: ast.Assign) -> Any:
        self.generic_visit(node)
        if not any(isinstance(part, ast.Subscript) for t in node.targets for part in _parts(t)):
            return node
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
            return ast.Expr(_set(node.value, node.targets[0]))
        value = self._temporary()
        statements: list[ast.stmt] = [ast.Assign([ast.Name(value, ast.Store())], node.value)]
        for target in node.targets:
            stores: list[ast.stmt] = []
            plain = self._without_subscripts(target, stores)
            statements += [ast.Assign([plain], ast.Name(value, ast.Load())), *stores]
        return statements

    def _without_subscripts(self, target: Any, stores: list[ast.stmt]) -> Any:
        if isinstance(target, ast.Subscript):
            name = self._temporary()
            stores.append(ast.Expr(_set(ast.Name(name, ast.Load()), target)))
            return ast.Name(name, ast.Store())
        if isinstance(target, (ast.Tuple, ast.List)):
            target.elts = [self._without_subscripts(t, stores) for t in target.elts]
        elif isinstance(target, ast.Starred):
            target.value = self._without_subscripts(target.value, stores)
        return target

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        return self._hoisting(node, ("value",), self._augmented)

    def _augmented(self, node: ast.AugAssign) -> Any:
        self.generic_visit(node)
        symbol = ast.Constant(SYMBOLS[type(node.op)])
        if isinstance(node.target, ast.Subscript):
            target = node.target
            return ast.Expr(operator("update_item", target.value, _index(target.slice), symbol, node.value))
        if isinstance(node.target, ast.Name):
            read = ast.Name(node.target.id, ast.Load())
            return ast.Assign([node.target], operator("update", read, symbol, node.value))
        return node

    # --- assignments in expressions ---

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Any:
        self.generic_visit(node)
        if self.hoisted is None:
            raise Unprepared(f"`{ast.unparse(node)}` may not be run; assign on a line of its own")
        self.hoisted.append(ast.Assign([node.target], node.value))
        return ast.Name(node.target.id, ast.Load())

    def _hoisting(self, node: Any, parts: Sequence[str], visit: Callable[[Any], Any]) -> Any:
        """A statement after the assignments in its expressions ``parts``, which are always run."""
        if not any(isinstance(n, ast.NamedExpr) for p in parts for n in _expressions(getattr(node, p))):
            return visit(node)
        outer, self.hoisted = self.hoisted, []
        for part in parts:
            if getattr(node, part) is not None:
                setattr(node, part, self.visit(getattr(node, part)))
        before, self.hoisted = self.hoisted, outer
        after = visit(node)
        return [*before, *(after if isinstance(after, list) else [after])]

    def _maybe(self, node: Any, first: str) -> Any:
        """An expression of which only ``first`` is always run."""
        part = getattr(node, first)
        if isinstance(part, list):
            part[0] = self.visit(part[0])
        else:
            setattr(node, first, self.visit(part))
        outer, self.hoisted = self.hoisted, None
        self.generic_visit(node)
        self.hoisted = outer
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        return self._maybe(node, "values")

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self._maybe(node, "test")

    def visit_Compare(self, node: ast.Compare) -> Any:
        if len(node.ops) < 2:
            return self.generic_visit(node)
        node.left = self.visit(node.left)
        return self._maybe(node, "comparators")

    def _never(self, node: Any) -> Any:
        outer, self.hoisted = self.hoisted, None
        self.generic_visit(node)
        self.hoisted = outer
        return node

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _never

    # --- statements ---

    def visit_If(self, node: ast.If) -> Any:
        return self._hoisting(node, ("test",), self.generic_visit)

    def visit_Return(self, node: ast.Return) -> Any:
        return self._hoisting(node, ("value",), self.generic_visit)

    def visit_Expr(self, node: ast.Expr) -> Any:
        return self._hoisting(node, ("value",), self.generic_visit)

    def visit_Raise(self, node: ast.Raise) -> Any:
        self.generic_visit(node)
        if node.exc is not None:
            node.exc = operator("raised", node.exc)
        return node

    def visit_For(self, node: ast.For) -> Any:
        return self._hoisting(node, ("iter",), self._loop)

    def visit_While(self, node: ast.While) -> Any:
        if not any(isinstance(n, ast.NamedExpr) for n in _expressions(node.test)):
            return self._loop(node)
        if node.orelse:
            raise Unprepared("a loop with `:=` in its test has an `else`; assign on a line of its own")
        leave = ast.If(ast.UnaryOp(ast.Not(), node.test), [ast.Break()], [])
        endless = ast.While(ast.Constant(True), [leave, *node.body], [])
        copy_place(node, endless)
        return self._loop(endless)

    def _loop(self, node: Any) -> Any:
        self.generic_visit(node)
        if not node.orelse:
            return node
        flag = self._temporary()
        node.body = [part for statement in node.body for part in _flagged(statement, flag)]
        orelse, node.orelse = node.orelse, []
        unbroken = ast.UnaryOp(ast.Not(), ast.Name(flag, ast.Load()))
        return [_assign(flag, False), node, ast.If(unbroken, orelse, [])]


def _expressions(node: Any) -> Iterator[ast.AST]:
    return ast.walk(node) if node is not None else iter(())


def _assign(name: str, value: Any) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], ast.Constant(value))


def _flagged(statement: Any, flag: str) -> list[ast.stmt]:
    """A statement of a loop's body, with ``flag = True`` before each ``break`` of that loop."""
    if isinstance(statement, ast.Break):
        return [_assign(flag, True), statement]
    if not isinstance(statement, (ast.For, ast.While, ast.FunctionDef, ast.ClassDef)):
        for name in ("body", "orelse", "finalbody"):
            if hasattr(statement, name):
                setattr(statement, name, [p for s in getattr(statement, name) for p in _flagged(s, flag)])
        for handler in getattr(statement, "handlers", []):
            handler.body = [p for s in handler.body for p in _flagged(s, flag)]
    elif isinstance(statement, (ast.For, ast.While)):
        statement.orelse = [p for s in statement.orelse for p in _flagged(s, flag)]
    return [statement]


def _parts(target: Any) -> list[Any]:
    """The targets that a target of an assignment consists of."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return [p for t in target.elts for p in _parts(t)]
    return _parts(target.value) if isinstance(target, ast.Starred) else [target]


def _is_literal(index: ast.expr) -> bool:
    return not any(isinstance(n, (ast.Name, ast.Call, ast.Attribute)) for n in ast.walk(index))


def _index(index: Any) -> ast.expr:
    """A subscript as an expression: slices are no expressions of their own."""
    if isinstance(index, ast.Slice):
        ends = [p if p is not None else ast.Constant(None) for p in (index.lower, index.upper, index.step)]
        return operator("slice_", *ends)
    if isinstance(index, ast.Tuple):
        return ast.Tuple([_index(e) for e in index.elts], ast.Load())
    found: ast.expr = index
    return found


def _set(value: ast.expr, target: ast.Subscript) -> ast.Call:
    return operator("set_item", value, target.value, _index(target.slice))
