"""Patterns and rules: an identity written as it is read.

>>> x, y = Wild("x"), Wild("y")
>>> merge = rule(P.exp(x) * P.exp(y), P.exp(x + y))
>>> merge.name
'exp(x)·exp(y) → exp(x + y)'

A pattern matches a node of scalar primitives. A wildcard that occurs twice has to meet the same
node, commutative primitives match in both orders, a number matches a scalar constant of that value
(0.0 and −0.0 differ). Patterns are compiled to closures once; a rule is offered only to nodes whose
arguments have the ops it wants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import Any, Final, final

from chainrule.graph.express import apply, cast, spread
from chainrule.graph.node import Node, const_value, constant
from chainrule.graph.op import Broadcast, Const, Scalar
from chainrule.graph.operators import Operators
from chainrule.graph.scalar import PRIMITIVES

Number = bool | int | float | complex
Environment = list[Any]  # the nodes that the wildcards of a rule met, by number
Matcher = Callable[[Node, Environment], bool]
Builder = Callable[[Environment], Any]

# The keys of arguments that are no primitives, see `argument_key`.
ANY: Final = ""
CONSTANT: Final = "#"  # a scalar constant
NUMBER: Final = "#1"  # a scalar constant that some rule names
ARRAY: Final = "[]"  # a constant array
REPEATED: Final = "…"  # a broadcast
CONSTANTS: Final = (CONSTANT, NUMBER, ARRAY)


class Pattern(Operators):
    """A wildcard, or a primitive applied to patterns and numbers."""

    __slots__ = ()

    def _apply(self, name: str, *args: Any) -> Any:
        return Applied(name, args)


class Wild(Pattern):
    """Matches any node."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


@final
class Constant(Wild):
    """Matches any scalar constant."""

    __slots__ = ()


@final
class Applied(Pattern):
    """A primitive applied to patterns and numbers."""

    __slots__ = ("args", "name")

    def __init__(self, name: str, args: Sequence[Pattern | Number]) -> None:
        self.name, self.args = name, tuple(args)

    def __str__(self) -> str:
        if self.name in _SIGNS:
            left, right = (f"({a})" if isinstance(a, Applied) and a.name in _SIGNS else str(a) for a in self.args)
            return f"{left}{_SIGNS[self.name]}{right}"
        if self.name == "neg":
            return f"−({self.args[0]})" if isinstance(self.args[0], Applied) else f"−{self.args[0]}"
        return f"{self.name}({', '.join(map(str, self.args))})"


_SIGNS: Final = {"add": " + ", "sub": " − ", "mul": "·", "div": "/", "lt": " < ", "le": " ≤ ", "gt": " > ",
                 "ge": " ≥ ", "eq": " = ", "ne": " ≠ "}  # fmt: skip


class Namespace:
    """``P.exp(x)``: the primitives as functions of patterns."""

    def __getattr__(self, name: str) -> Callable[..., Applied]:
        if name not in PRIMITIVES:
            raise AttributeError(name)
        return lambda *args: Applied(name, args)


P: Final = Namespace()


def wildcards(pattern: Any) -> Iterator[str]:
    """The names of the wildcards, in order of first appearance, with repetitions."""
    if isinstance(pattern, Wild):
        yield pattern.name
    elif isinstance(pattern, Applied):
        for argument in pattern.args:
            yield from wildcards(argument)


# --- rules --------------------------------------------------------------------------------------------------


@final
class Rule:
    """A rewrite of nodes, as the driver wants it.

    ``root``: the name of a primitive, or an op family. ``left``: the pattern, if it is one; ``kinds``: of element type
    (of the last argument) that it holds for. Patterns are compiled when the rule is first used.
    """

    def __init__(
        self,
        root: str | type,
        title: Callable[[], str],
        compiled: Callable[[], Iterable[Variant]],
        left: Applied | None = None,
        kinds: str = "bifc",
    ) -> None:
        self.root, self.left, self.kinds = root, left, kinds
        self._title, self._compiled = title, compiled

    @cached_property
    def name(self) -> str:
        """The identity that it states."""
        return self._title()

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """For each way to match, whether it is worth a try on a primitive whose arguments have these keys (see
        `argument_key`), and a function node → its replacement, or None.
        """
        return tuple(self._compiled())

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


Worth = Callable[[Sequence[str]], bool]
Rewrite = Callable[[Node], Any]  # a Node, a tuple of them for a node with several results, None where it does not apply
Variant = tuple[Worth, Rewrite]


def rule(left: Pattern, right: Any, where: Callable[..., bool] | None = None, on: str = "f") -> Rule:
    """``left`` → ``right``, an identity between patterns.

    ``where`` is called with the nodes that the wildcards met, by name; ``right`` may also be a
    function of them that gives a node or a number, or None. ``on``: the kinds of element type (of
    the last argument) it holds for.
    """
    assert isinstance(left, Applied), left
    plain = isinstance(right, (Pattern, bool, int, float))

    def title() -> str:
        return f"{left} → {right if plain else right.__name__}"

    def compiled() -> Iterator[Variant]:
        names = list(dict.fromkeys(wildcards(left)))
        number = {name: i for i, name in enumerate(names)}
        build = _builder(right, number) if plain else _from_function(right, names)
        for arrangement in _arrangements(left):
            match = _arguments_matcher(arrangement.args, number, set())
            yield _worth(arrangement), _rewrite(match, build, names, where, on)

    return Rule(left.name, title, compiled, left, on)


def on(*roots: str | type, name: str = "", worth: Worth = lambda keys: True) -> Callable[[Rewrite], list[Rule]]:
    """Decorates a function node → replacement, or None: a rule no pattern states, for ops of these kinds.

    ``worth``: whether it is to be tried on a primitive whose arguments have these keys.
    """

    def make(function: Rewrite) -> list[Rule]:
        title = name or function.__name__.strip("_").replace("_", " ")
        return [Rule(root, lambda: title, lambda: [(worth, function)]) for root in roots]

    return make


def _rewrite(
    match: Matcher, build: Builder, names: Sequence[str], where: Callable[..., bool] | None, kinds: str
) -> Rewrite:
    size, real = len(names), "c" not in kinds

    def rewrite(node: Node) -> Node | None:
        if node.args[-1].type.dtype.kind not in kinds:
            return None
        env: Environment = [None] * size
        if not match(node, env):
            return None
        if real:
            for n in env:
                if n is not None and n.type.dtype.kind == "c":
                    return None  # within |z|, say, which is real itself
        if where is not None and not where(**dict(zip(names, env, strict=True))):
            return None
        return fitted(build(env), node)

    return rewrite


def fitted(found: Any, node: Node) -> Node | None:
    """``found``, a node or a number or None, with the shape and the element type of ``node``."""
    if found is None:
        return None
    result: Node = found if isinstance(found, Node) else constant(found, node.dtype)
    if result.dtype != node.dtype:
        result = cast(result, node.dtype)
    return result if result.shape == node.shape else spread(result, node.shape)


# --- compilation --------------------------------------------------------------------------------------------


_named: Final[set[Number]] = set()  # the numbers that rules name


def argument_key(node: Node) -> str:
    """What the index looks at: the primitive of a node, or what kind of constant or broadcast it is."""
    op = node.op
    kind = type(op)
    if kind is Scalar:
        return op.name  # type: ignore[union-attr]
    if kind is Const:
        if op.type.shape:  # type: ignore[union-attr]
            return ARRAY
        return NUMBER if const_value(node) in _named else CONSTANT
    return REPEATED if kind is Broadcast else ANY


def _worth(pattern: Applied) -> Worth:
    """Whether the arguments of a node may be those of the pattern."""
    wants = [_want(a) for a in pattern.args]

    def worth(keys: Sequence[str]) -> bool:
        return all(
            want in (ANY, key) or (want == CONSTANT and key == NUMBER) for want, key in zip(wants, keys, strict=True)
        )

    return worth


def _want(pattern: Any) -> str:
    if isinstance(pattern, Applied):
        return pattern.name
    if isinstance(pattern, Wild):
        return CONSTANT if type(pattern) is Constant else ANY
    _named.add(pattern)
    return NUMBER


def _arrangements(pattern: Applied) -> list[Applied]:
    """The pattern with the arguments of commutative primitives in every order, without doubles."""
    choices = [_arrangements(a) if isinstance(a, Applied) else [a] for a in pattern.args]
    found = {}
    for args in product(*choices):
        orders = [args, args[::-1]] if PRIMITIVES[pattern.name].commutative else [args]
        for order in orders:
            arranged = Applied(pattern.name, order)
            found[str(arranged)] = arranged
    return list(found.values())


def _matcher(pattern: Any, number: dict[str, int], bound: set[str]) -> Matcher:
    if isinstance(pattern, Wild):
        return _wild_matcher(pattern, number[pattern.name], bound)
    if not isinstance(pattern, Applied):
        return _number_matcher(pattern)
    name, arguments = pattern.name, _arguments_matcher(pattern.args, number, bound)

    def match(node: Node, env: Environment) -> bool:
        op = node.op  # compared by name: rules are tried by the million
        return type(op) is Scalar and op.name == name and arguments(node, env)

    return match


def _wild_matcher(wild: Wild, i: int, bound: set[str]) -> Matcher:
    if wild.name in bound:
        return lambda node, env: env[i] is node
    bound.add(wild.name)

    def bind(node: Node, env: Environment) -> bool:
        env[i] = node
        return True

    def bind_constant(node: Node, env: Environment) -> bool:
        env[i] = node
        return type(node.op) is Const and not node.op.type.shape

    return bind_constant if isinstance(wild, Constant) else bind


def _number_matcher(number: Number) -> Matcher:
    sign = 1.0 if isinstance(number, complex) else math.copysign(1, number)

    def match(node: Node, env: Environment) -> bool:
        value = const_value(node)
        if value is None or value != number or isinstance(value, bool) != isinstance(number, bool):
            return False
        return value != 0 or not isinstance(value, float) or math.copysign(1, value) == sign

    return match


def _arguments_matcher(patterns: Sequence[Any], number: dict[str, int], bound: set[str]) -> Matcher:
    free = [type(p) is Wild and p.name not in bound for p in patterns]
    matchers = [_matcher(p, number, bound) for p in patterns]
    if len(matchers) == 1:
        (only,) = matchers
        return lambda node, env: only(node.args[0], env)
    if len(matchers) > 2:
        return lambda node, env: all(m(a, env) for m, a in zip(matchers, node.args, strict=True))
    first, second = matchers
    if not free[0]:
        return lambda node, env: first(node.args[0], env) and second(node.args[1], env)
    i = number[patterns[0].name]

    def match(node: Node, env: Environment) -> bool:
        args = node.args
        env[i] = args[0]
        return second(args[1], env)

    return match


def _builder(pattern: Any, number: dict[str, int]) -> Builder:
    if isinstance(pattern, Wild):
        i = number[pattern.name]
        return lambda env: env[i]
    if not isinstance(pattern, Applied):
        return lambda env: pattern
    name, builders = pattern.name, [_builder(a, number) for a in pattern.args]
    if len(builders) == 2:
        first, second = builders
        return lambda env: apply(name, first(env), second(env))
    return lambda env: apply(name, *[b(env) for b in builders])


def _from_function(function: Callable[..., Any], names: Sequence[str]) -> Builder:
    return lambda env: function(**dict(zip(names, env, strict=True)))
