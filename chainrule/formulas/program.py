"""A traced program as steps: the user's local variables as definitions, and the results over them.

A step is one element of a variable: ``z[i] = (x[i] − mu)/sigma``. Variables that are assigned again and large
subexpressions that are used more than once also become steps, so that nothing is written twice.
"""

from __future__ import annotations

import ast
import itertools
import linecache
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import sympy as sp

from chainrule.graph import tree
from chainrule.graph.algebra import Elements, Index, NoForm, size_expression
from chainrule.graph.dtype import is_complex, is_inexact
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Broadcast, Const, Input, Linalg, Loop, Project, Reshape, Slice, Transpose
from chainrule.graph.where import error, of_function

from .constants import is_nice, recognised
from .decimals import Decimal, whole
from .loops import LoopForms
from .matrices import INNER, ROWS, Inverted, MatrixForms, Solved
from .recurrence import Recurrence
from .request import Request, named_numbers
from .sums import at_index

SHARED: Final = 24  # so many operations, used twice, become a step of their own
MULTIPLE: Final = 12  # 2 * H is computed before the program is run, and still shown as 2H
LARGEST: Final = 120  # no expression gets longer than about so many operations

Expr = Any


@dataclass(frozen=True, slots=True)
class Step:
    """``symbol``(at ``index``) is defined as ``value``; ``own``: by us, not by the user's program."""

    symbol: Any  # the name as a real (or complex) Symbol
    index: Index
    value: Any
    own: bool = False
    solved: Solved | None = None  # of a solution of linear equations, what it solves

    @property
    def target(self) -> Any:
        """What stands left of the equals sign."""
        return sp.IndexedBase(self.symbol)[self.index] if self.index else self.symbol


Definition = Step | Recurrence | Inverted


def expressions_of(definition: Definition) -> tuple[Any, ...]:
    """What a definition is made of."""
    if isinstance(definition, Step):
        return (definition.value,)
    if isinstance(definition, Inverted):
        return (definition.element,)
    extra = [e for e in (definition.condition, definition.count) if e is not None]
    return (*definition.starts, *definition.nexts, *extra)


@dataclass
class Program:
    """Definitions in order, and results: (label of the result or "", its index, its expression)."""

    request: Request
    definitions: list[Definition] = field(default_factory=list)
    results: list[tuple[str, Index, Any]] = field(default_factory=list)
    parameters: dict[str, list[Any]] = field(default_factory=dict)  # name → its elements' symbols
    constants: dict[Any, Any] = field(default_factory=dict)  # named numbers: symbol → exact value
    sizes: dict[Any, Any] = field(default_factory=dict)  # base symbol of arrays → shape
    taken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)  # how far the numbers after a name have got

    places: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # per result: the output, the place in it
    argument_symbols: list[Any] = field(default_factory=list)  # per input: a symbol, or {index: symbol}

    def expressions(self) -> Iterator[Any]:
        """All expressions of the definitions and results."""
        for definition in self.definitions:
            yield from expressions_of(definition)
        for _, _, value in self.results:
            yield value

    @property
    def bound(self) -> set[str]:
        """The names of the indices of all sums and products, and of those that steps are defined at."""
        found: set[str] = set()
        for definition in self.definitions:
            if isinstance(definition, Step):
                found |= {i.name for i in definition.index}
            elif isinstance(definition, Inverted):
                found |= {*ROWS, *INNER}
            else:
                found.add(definition.k.name)
        for expression in self.expressions():
            for total in expression.atoms(sp.Sum, sp.Product):
                found |= {limit[0].name for limit in total.limits}
        return found

    def lengths(self, result: int) -> tuple[Any, ...]:
        """The shape of the output that a result belongs to."""
        return tuple(size_expression(d) for d in self.request.graph.outputs[self.places[result][0]].shape)

    def elements_at(
        self, result: int, index: Index, by: Sequence[Any], sizes: Mapping[str, int]
    ) -> Iterator[tuple[dict[Any, int], tuple[int, Index], tuple[tuple[int, tuple[int, ...]], ...]]]:
        """Every element of a derivative of a result, for given sizes.

        Each is: the values of the indices; the output and the place in it; the elements of inputs differentiated by.
        """
        places: dict[Any, tuple[int, tuple[int, ...]]] = {}
        for position, own in enumerate(self.argument_symbols):
            if isinstance(own, dict):
                places |= {s: (position, i) for i, s in own.items()}
            else:
                places[own] = (position, ())
        output, place = self.places[result]
        numbers = {sp.Symbol(n, integer=True, positive=True): v for n, v in sizes.items()}

        def lengths(symbols: Any) -> list[int]:
            return [int(d.xreplace(numbers)) for d in symbols]

        shape = lengths(self.lengths(result)) if index else []
        free = [*zip(index, shape, strict=True)]
        for b in by:
            if isinstance(b, sp.Indexed):
                free += zip(b.indices, lengths(self.sizes[b.base.label]), strict=True)
        for values in itertools.product(*(range(n) for _, n in free)):
            bound = dict(zip([i for i, _ in free], values, strict=True))
            at = tuple(bound[i] for i in index) if index else place
            elements = []
            for b in by:
                if isinstance(b, sp.Indexed):
                    elements.append((places[b.base.label][0], tuple(bound[i] for i in b.indices)))
                else:
                    elements.append(places[b])
            yield bound, (output, at), tuple(elements)

    def fresh(self, name: str) -> str:
        """``name``, or with a number after it (``t_1`` with the next one) where it is taken."""
        stem, _, number = name.rpartition("_")
        stem, k = (stem, int(number)) if stem and number.isdigit() else (name, 0)
        k = max(k, self.counts.get(stem, 0))
        found = name if name not in self.taken else f"{stem}_{k + 1}"
        while found in self.taken:
            k += 1
            found = f"{stem}_{k + 1}"
        self.counts[stem] = k
        self.taken.add(found)
        return found


def symbol_for(name: str, node: Node) -> Any:
    """The symbol of a variable, with what its type says."""
    if is_complex(node.dtype):
        return sp.Symbol(name, complex=True)
    return sp.Symbol(name, real=True) if is_inexact(node.dtype) else sp.Symbol(name, integer=True)


def program(request: Request) -> Program:
    """The definitions and results of a traced program. Raises TypeError where something has no form."""
    made = Program(request)
    builder = _Builder(request, made)
    try:
        builder.build()
    except NoForm as problem:
        raise blamed(request, problem) from None
    return made


def blamed(request: Request, problem: NoForm) -> Exception:
    where = request.graph.provenance.get(problem.node) or of_function(request.function)
    return error(TypeError, f"{problem}; there is no formula for it", where)


@final
class _Builder:
    def __init__(self, request: Request, made: Program) -> None:
        self.request, self.made, self.graph = request, made, request.graph
        self.cuts: dict[Node, tuple[Any, bool]] = {}
        self.element_names: dict[tuple[int, Index], Any] = {}
        self.inputs: dict[Node, Any] = {}
        self.reserved: frozenset[str] = frozenset()  # indices of the loops around
        named = named_numbers(request.function)
        self.constant_names = {v: n for n, v in reversed(list(named.items())) if not is_nice(v)}

    def build(self) -> None:
        self._name_inputs()
        self._choose_cuts()
        letters = {n for n in (*self.made.taken, *self.constant_names.values()) if len(n) == 1}
        self.matrices = MatrixForms(self)
        self.elements = Elements(
            self._leaf, self._number, LoopForms(self).element, tuple(letters), self.matrices.element
        )
        for node in self.graph.nodes:
            if node in self.cuts:
                self._define(node)
        leaves = tree.paths(self.request.structure)
        for output, (label, node) in enumerate(zip(leaves, self.graph.outputs, strict=True)):
            index = self.elements.indices(len(node.shape)) if not _is_small(node) else None
            if index is not None:
                self.made.results.append((label, index, self.elements.element(node, index)))
                self.made.places.append((output, ()))
                continue
            for position in _positions(node.shape):
                shown = label + "".join(f"[{p}]" for p in position)
                self.made.results.append((shown, (), self.elements.element(node, position)))
                self.made.places.append((output, tuple(map(int, position))))

    # --- names ---

    def _name_inputs(self) -> None:
        made = self.made
        taken_apart = _element_names(self.graph)
        for node, name in zip(self.graph.arguments, self.request.names, strict=True):
            position = node.op.position  # type: ignore[union-attr]
            elements = {k[1]: v for k, v in taken_apart.items() if k[0] == position}
            if elements and _is_small(node) and node.shape:
                for index in _positions(node.shape):
                    shown = elements.get(index) or "_".join([name, *map(str, index)])
                    self.element_names[position, index] = symbol_for(made.fresh(shown), node)
                own = {tuple(map(int, i)): s for (q, i), s in self.element_names.items() if q == position}
                made.argument_symbols.append(own)
                continue
            symbol = symbol_for(made.fresh(name), node)
            self.inputs[node] = symbol
            made.argument_symbols.append(symbol)
            if node.shape:
                made.sizes[symbol] = tuple(size_expression(d) for d in node.shape)
        for name, positions in self.request.inputs.items():
            found: list[Any] = []
            for p in positions:
                parts = [s for (q, _), s in self.element_names.items() if q == p]
                found += parts or [self.inputs[self.graph.arguments[p]]]
            made.parameters[name] = found
        for dims in made.sizes.values():
            made.taken |= {s.name for d in dims for s in d.free_symbols}

    def _choose_cuts(self) -> None:
        """The nodes that become steps: named ones, and large ones that are used more than once."""
        provenance = self.graph.provenance
        names: dict[Node, str] = {}
        for node in self.graph.nodes:
            where = provenance.get(node)
            name = where.name if where is not None else None
            if name and name != "_" and not _is_trivial(node) and not isinstance(node.type, tuple):
                names[node] = name
        count = Counter(names.values())
        uses: Counter[Node] = Counter(self.graph.outputs)
        for node in self.graph.nodes:
            uses.update(node.args)
        size: dict[Node, int] = {}
        for node in self.graph.nodes:
            if isinstance(node.op, (Input, Const)) or isinstance(node.type, tuple):
                size[node] = 0
                continue
            total = 1 + sum(size[a] for a in node.args)
            name = names.get(node, "")
            once = bool(name) and count[name] == 1 and name not in self.made.taken
            shared = total > SHARED and uses[node] > 1
            solves = isinstance(node.op, Linalg) and node.op.kind != "inv"
            if (once or shared or solves or total > LARGEST) and node.dtype.kind != "b" and not _is_trivial(node):
                shown = self.made.fresh(name or ("Y" if solves else "t_1"))
                self.cuts[node] = (symbol_for(shown, node), not once)
                total = 1
            size[node] = total

    # --- what the elements are made of ---

    def _leaf(self, node: Node, index: Index) -> Any:
        cut = self.cuts.get(node)
        if cut is not None:
            return sp.IndexedBase(cut[0])[index] if index else cut[0]
        if isinstance(node.op, Input):
            symbol = self.inputs.get(node)
            if symbol is not None:
                return sp.IndexedBase(symbol)[index] if index else symbol
            found = self.element_names.get((node.op.position, tuple(int(i) for i in index if i.is_Integer)))
            if found is None:
                raise NoForm("a vector that is taken apart is also read at an index that is not known", node)
            return found
        return None

    def _number(self, value: Any, node: Node) -> Any:
        plain = whole(value)
        if not isinstance(value, float):
            return plain
        own_first = sorted(self.constant_names.items(), key=lambda item: item[0] != value)
        for known, name in own_first if plain.atoms(Decimal) else own_first[:1]:
            multiple = recognised(value) / recognised(known)
            symbol = sp.Symbol(name, real=True)
            free = name not in self.made.taken or symbol in self.made.constants  # no variable of the program's
            if free and (multiple == 1 or (plain.atoms(Decimal) and _is_multiple(multiple))):
                self.made.taken.add(name)
                self.made.constants[symbol] = recognised(known)
                return multiple * symbol
        return plain

    def _define(self, node: Node) -> None:
        symbol, own = self.cuts[node]
        index = self.elements.indices(len(node.shape))
        value = self.elements.element(node, index, expand=True)
        if node.shape:
            self.made.sizes[symbol] = tuple(size_expression(d) for d in node.shape)
        self.made.definitions.append(Step(symbol, index, value, own, self.matrices.solved.get(node)))


def _is_multiple(ratio: Any) -> bool:
    return bool(ratio.is_Integer and abs(ratio) <= MULTIPLE)


def _is_trivial(node: Node) -> bool:
    """A view of an argument, or a number: nothing that needs a name."""
    while isinstance(node.op, (Reshape, Slice, Broadcast, Transpose)):
        node = node.args[0]
    if isinstance(node.op, Project):
        return not isinstance(node.args[0].op, Loop)
    return isinstance(node.op, (Input, Const))


def _is_small(node: Node) -> bool:
    return all(isinstance(d, int) for d in node.shape) and len(_positions(node.shape)) <= 16


def _positions(shape: Sequence[Any]) -> list[Index]:
    found: list[Index] = [()]
    for d in shape:
        found = [(*p, sp.Integer(k)) for p in found for k in range(int(d))] if len(found) <= 16 else found
    return found


def _element_names(graph: Graph) -> dict[tuple[int, Index], str]:
    """The names that single elements of arguments are given: ``mu, sigma = p``."""
    found: dict[tuple[int, Index], str] = {}
    touched: set[int] = set()
    for node in graph.nodes:
        if not isinstance(node.op, Reshape) or node.shape or not isinstance(node.args[0].op, Slice):
            continue
        view = node.args[0]
        source = view.args[0]
        if not isinstance(source.op, Input) or not all(isinstance(s, int) for s in view.op.starts):  # type: ignore[union-attr]
            continue
        index = tuple(sp.Integer(s) for s in view.op.starts)  # type: ignore[union-attr]
        where = graph.provenance.get(node)
        name = None
        if where is not None:
            name = _name_in_tuple(where, [int(i) for i in index]) or where.name
        touched.add(source.op.position)
        if name and name not in found.values() and name not in graph.names:
            found[source.op.position, index] = name
    for position in touched:
        found.setdefault((position, ()), "")
    return found


def _name_in_tuple(where: Any, index: Sequence[int]) -> str | None:
    """The name for ``p[2]`` in a line such as ``a, b, c = p[0], p[1], p[2]`` or ``a, b, c = p``."""
    try:
        statement = ast.parse(linecache.getline(where.path, where.line).strip()).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Tuple):
        return None
    names = statement.targets[0].elts
    if not isinstance(statement.value, ast.Tuple):
        target = names[index[0]] if len(index) == 1 and index[0] < len(names) else None
        return target.id if isinstance(target, ast.Name) else None
    for target, value in zip(names, statement.value.elts, strict=False):
        if isinstance(value, ast.Subscript) and isinstance(target, ast.Name) and _literal(value.slice) == list(index):
            return target.id
    return None


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return list(value) if isinstance(value, tuple) else [value]


def inlined_sizes(definitions: Sequence[Step]) -> dict[Any, int]:
    """For each step how many operations it is with the steps before it written out."""
    sizes: dict[Any, int] = {}
    for step in definitions:
        sizes[step.symbol] = inlined_size(step.value, sizes)
    return sizes


def inlined_size(expr: Expr, sizes: Mapping[Any, int]) -> int:
    """The operations of ``expr`` with steps of such sizes written out."""
    return int(sp.count_ops(expr)) + sum(int(expr.count(s)) * sizes[s] for s in expr.free_symbols if s in sizes)


def inlined(expr: Expr, definitions: Sequence[Step]) -> Expr:
    """``expr`` with the steps written out."""
    for step in reversed(definitions):
        if step.symbol not in expr.free_symbols:
            continue
        if not step.index:
            expr = expr.xreplace({step.symbol: step.value})
            continue
        elements = {e for e in expr.atoms(sp.Indexed) if e.base.label == step.symbol}
        expr = expr.xreplace({e: at_index(step.value, step.index, e.indices) for e in elements})
    return expr
