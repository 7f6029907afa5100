"""Ordinary Python made functional: a function's source, rewritten so that its branches, loops and calls go through
operators that may look at the values.

The rewriting is AutoGraph's (``malt``): ``break``, ``continue`` and early ``return`` become flags, bodies become
closures over the variables that they change. The rewritten tree keeps the user's file and lines, so that errors and
provenance do.
Importing this file imports ``malt``; it is done when a function first has to be rewritten.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
import threading
import weakref
from collections.abc import Sequence
from types import CodeType, FunctionType
from typing import Any, Final

from malt.converters import (
    break_statements,
    call_trees,
    continue_statements,
    control_flow,
    functions,
    logical_expressions,
    return_statements,
    variables,
)
from malt.core import unsupported_features_checker
from malt.core.converter import Feature
from malt.pyct import anno, cfg, naming, qual_names, transformer
from malt.pyct.static_analysis import activity, reaching_definitions, reaching_fndefs

from . import liveness
from .idioms import OPERATORS, Unprepared
from .prepare import COMPARISONS, SYMBOLS, prepared

_lock: Final = threading.RLock()
# by code and file: equal code may stand in two files
_factories: Final[weakref.WeakKeyDictionary[CodeType, dict[str, CodeType | str]]] = weakref.WeakKeyDictionary()
_ORIGIN: Final = anno.Basic.ORIGIN


class CannotConvert(Exception):
    """The function stays as it is; the message says why."""


def converted(function: FunctionType, operators: Any) -> FunctionType:
    """``function`` rewritten to go through ``operators``, with the same globals, closure and defaults.

    The rewriting is done once per code object. Raises ``CannotConvert`` where there is no source, or none that can be
    rewritten.
    """
    code = function.__code__
    with _lock:
        known = _factories.setdefault(code, {})
        factory = known.get(code.co_filename)
        if factory is None:
            try:
                factory = _factory(function)
            except CannotConvert as problem:
                factory = str(problem)
            known[code.co_filename] = factory
    if isinstance(factory, str):
        raise CannotConvert(factory)
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in factory.co_freevars)
    made = FunctionType(factory, function.__globals__, function.__name__, (), closure)(operators)
    made.__defaults__ = function.__defaults__
    made.__kwdefaults__ = function.__kwdefaults__
    made.__name__, made.__qualname__ = function.__name__, function.__qualname__
    made.__module__ = function.__module__
    found: FunctionType = made
    return found


# --- the source ---------------------------------------------------------------------------------------------


def _definition(function: FunctionType) -> ast.FunctionDef | ast.Lambda:
    """The tree of a function's definition, with the lines of its file."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines or code.co_firstlineno > len(lines):
        raise CannotConvert("its source is not available (define it in a file or a notebook)")
    try:
        node = _lambda(code, "".join(lines)) if code.co_name == "<lambda>" else _def(code, lines)
    except (SyntaxError, IndentationError):
        raise CannotConvert("its source cannot be read") from None
    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    if arguments != list(code.co_varnames[: code.co_argcount]):
        raise CannotConvert("its source has changed since it was loaded")
    return node


def _def(code: CodeType, lines: list[str]) -> ast.FunctionDef:
    block = inspect.getblock(lines[code.co_firstlineno - 1 :])
    text = "".join(block)
    indented = text[:1].isspace()
    if indented and textwrap.dedent(text)[:1].isspace():
        raise CannotConvert("its source cannot be read")
    (outer,) = ast.parse("if 1:\n" + text if indented else text).body
    node = outer.body[0] if indented and isinstance(outer, ast.If) else outer
    if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
        raise CannotConvert("its source has changed since it was loaded")
    ast.increment_lineno(node, code.co_firstlineno - (2 if indented else 1))
    return node


def _lambda(code: CodeType, text: str) -> ast.Lambda:
    """The lambda that the instructions of ``code`` stand in: several may begin on one line."""
    places = [(p[0], p[2]) for p in code.co_positions() if p[0] is not None and p[2] is not None and p[3]]
    inside = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Lambda):
            body = node.body
            begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
            if places and all(begin <= p <= end for p in places):
                inside.append((begin, node))
    if not inside:
        raise CannotConvert("its source is not available (define it with def)")
    return max(inside, key=lambda pair: pair[0])[1]


# --- the rewriting ------------------------------------------------------------------------------------------


class _Options:
    """What malt's passes ask of the user's options."""

    def uses(self, feature: Any) -> bool:
        return feature is Feature.BUILTIN_FUNCTIONS  # print goes through the operators, too

    def to_ast(self) -> ast.expr:
        return ast.Constant(None)

    def call_options(self) -> _Options:
        return self


class _User:
    options = _Options()


class _Namer(naming.Namer):  # type: ignore[misc]
    """Names that no user has, which provenance passes over."""

    def new_symbol(self, name_root: str, reserved_locals: Any) -> str:
        found: str = super().new_symbol(OPERATORS + name_root, reserved_locals)
        return found


class _Logical(logical_expressions.LogicalExpressionTransformer):  # type: ignore[misc]
    """Chained comparisons evaluate their middle once."""

    def visit_Compare(self, node: ast.Compare) -> Any:
        if len(node.ops) < 2 or isinstance(node.comparators[0], (ast.Name, ast.Constant)):
            return super().visit_Compare(node)
        left, middle = (self.ctx.namer.new_symbol(name, ()) for name in ("left", "middle"))
        first = ast.Compare(_name(left), node.ops[:1], [_name(middle)])
        rest = ast.Compare(_name(middle), node.ops[1:], node.comparators[1:])
        body = self.visit_BoolOp(ast.BoolOp(ast.And(), [first, rest]))
        arguments = ast.arguments([], [ast.arg(left), ast.arg(middle)], None, [], [], None, [])
        given = [self.visit(node.left), self.visit(node.comparators[0])]
        return ast.Call(ast.Lambda(arguments, body), given, [])


class _Conditional(ast.NodeTransformer):
    """Conditional expressions, also those in one another."""

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        none = ast.arguments([], [], None, [], [], None, [])
        choices = [ast.Lambda(none, node.body), ast.Lambda(none, node.orelse)]
        operator = ast.Attribute(_name(OPERATORS), "if_exp", ast.Load())
        return ast.Call(operator, [node.test, *choices], [])


class _Objects(ast.NodeTransformer):
    """What an object's class may define: attributes may be properties, and operators methods."""

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or (isinstance(node.value, ast.Name) and _is_own(node.value.id)):
            return node
        return _placed("get_attribute", [node.value, ast.Constant(node.attr)], node)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
            return node
        return _placed("binary", [ast.Constant(SYMBOLS[type(node.op)]), node.left, node.right], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        if not isinstance(node.op, ast.USub) or isinstance(node.operand, ast.Constant):
            return node
        return _placed("negative", [node.operand], node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        symbol = COMPARISONS.get(type(node.ops[0]))
        if symbol is None or len(node.ops) > 1:
            return node
        return _placed("binary", [ast.Constant(symbol), node.left, *node.comparators], node)


def _placed(name: str, args: list[ast.expr], old: ast.expr) -> ast.Call:
    """A call of an operator, where ``old`` was."""
    call = ast.Call(ast.Attribute(_name(OPERATORS), name, ast.Load()), args, [])
    anno.copyanno(old, call, _ORIGIN)
    return call


def _is_own(name: str) -> bool:
    return name.startswith(OPERATORS)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _factory(function: FunctionType) -> CodeType:
    """The code of a function of the operators that defines the rewritten function and returns it."""
    code = function.__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise CannotConvert("it is a generator or a coroutine")
    node: Any = _definition(function)
    part: Any
    for part in ast.walk(node):
        if hasattr(part, "lineno"):
            anno.setanno(part, _ORIGIN, (part.lineno, part.col_offset))
    place = (node.lineno, node.col_offset)
    try:
        node = prepared(node, function.__qualname__)
    except Unprepared as problem:
        raise CannotConvert(str(problem)) from None
    node.args.defaults = [ast.Constant(None) for _ in node.args.defaults]
    node.args.kw_defaults = [d and ast.Constant(None) for d in node.args.kw_defaults]
    namespace = {**function.__globals__, **dict.fromkeys(code.co_freevars)}
    context = _context(namespace)
    name = context.namer.new_symbol("lambda" if isinstance(node, ast.Lambda) else node.name, ())
    try:
        node = _rewritten(node, context)
    except Exception as problem:  # whatever the rewriting does not know
        raise CannotConvert(f"its source cannot be rewritten: {problem}") from None
    if isinstance(node, ast.Lambda):
        node = ast.Assign([ast.Name(name, ast.Store())], node)
    else:
        node.name = name
    return _compiled(node, name, code, place)


def _context(namespace: dict[str, Any]) -> Any:
    info = transformer.EntityInfo("", "", "", (), namespace)
    return transformer.Context(info, _Namer(namespace), _User())


def _rewritten(node: Any, context: Any) -> Any:
    """malt's passes, in malt's order."""
    unsupported_features_checker.verify(node)
    graphs = cfg.build(node)
    node = qual_names.resolve(node)
    node = activity.resolve(node, context, None)
    node = reaching_definitions.resolve(node, context, graphs)
    anno.dup(node, {anno.Static.DEFINITIONS: anno.Static.ORIG_DEFINITIONS})
    node = functions.transform(node, context)
    for step in (break_statements, continue_statements, return_statements, call_trees):
        node = step.transform(node, context)
    node = _control_flow(node, context)
    node = _Conditional().visit(node)
    node = _Logical(context).visit(node)
    node = _Objects().visit(node)
    return variables.transform(node, context)


def _control_flow(node: Any, context: Any) -> Any:
    """malt's own order of analyses before statements become calls."""
    graphs = cfg.build(node)
    node = qual_names.resolve(node)
    node = liveness.Activity(context, None).visit(node)
    node = reaching_definitions.resolve(node, context, graphs)
    node = reaching_fndefs.resolve(node, context, graphs)
    node = liveness.resolve(node, context, graphs)
    return control_flow.ControlFlowTransformer(context).visit(node)


def _compiled(node: ast.stmt, name: str, code: CodeType, place: tuple[int, int]) -> CodeType:
    cells = "".join(f"  {cell} = None\n" for cell in code.co_freevars)
    shell = f"def outer():\n{cells}  def inner({OPERATORS}):\n    pass\n    return {name}\n  return inner\n"
    module = ast.parse(shell)
    outer: Any = module.body[0]
    outer.body[-2].body[0] = node
    _place(module, place)
    flags = code.co_flags & _FUTURES
    namespace: dict[str, Any] = {}
    exec(compile(module, code.co_filename, "exec", flags, dont_inherit=True), namespace)
    inner: CodeType = namespace["outer"]().__code__
    return _renamed(inner, code)


_FUTURES: Final = 0x1FE0000  # the bits of `from __future__ import ...`


def _place(root: ast.AST, place: tuple[int, int]) -> None:
    """Gives every node the position of the user's code that it was made from, or its parent's."""
    stack: list[tuple[ast.AST, tuple[int, int]]] = [(root, place)]
    while stack:
        node, inherited = stack.pop()
        here = anno.getanno(node, _ORIGIN, default=inherited)
        if "lineno" in node._attributes:
            made: Any = node
            made.lineno = made.end_lineno = here[0]
            made.col_offset = made.end_col_offset = here[1]
        stack.extend((child, here) for child in ast.iter_child_nodes(node))


def _renamed(code: CodeType, user: CodeType) -> CodeType:
    """Generated code goes by the name of the user's function that it is a part of."""
    own = user if code.co_name.startswith((OPERATORS, "inner")) else code
    constants: Sequence[Any] = [_renamed(c, own) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.replace(co_consts=tuple(constants), co_name=own.co_name, co_qualname=own.co_qualname)
