"""The bridge to computer algebra: the elements of a graph's values as SymPy expressions.

An array is described by one of its elements: of ``z = (x − mu)/sigma`` the element at i is ``(x[i] − mu)/sigma``. A sum
over an axis becomes a ``Sum`` over an index, a choice a ``Piecewise``. This module imports SymPy, and is itself
imported only by who needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, assert_never, final

import numpy as np
import sympy as sp

from . import dim as dims
from .dtype import is_complex, is_integer
from .namespaces import sympy_namespace
from .node import Node
from .op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Const,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Project,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Stop,
    Transpose,
)
from .symbolic import Held, Maximum, Minimum

Expr = Any  # SymPy has no types
Index = tuple[Any, ...]
Wanted = Generator[tuple[Node, Index], Any, Any]
Leaf = Callable[[Node, Index], Any]
Number = Callable[[Any, Node], Any]
LETTERS: Final = "ijklmpqrst"


class NoForm(ValueError):
    """What a program computes that has no form as an expression; ``node`` is where."""

    def __init__(self, message: str, node: Node) -> None:
        super().__init__(message)
        self.node = node


def index_symbol(name: str) -> Expr:
    """An index: a whole number that is not negative."""
    return sp.Symbol(name, integer=True, nonnegative=True)


def size_expression(dim: dims.Dim) -> Expr:
    """A dimension as an expression over positive integer symbols.

    >>> size_expression(2 * dims.size("n") + 1)
    2*n + 1
    """
    if isinstance(dim, int):
        return sp.Integer(dim)
    total: Expr = sp.S.Zero
    for monomial, coefficient in dim.terms:
        term: Expr = sp.Integer(coefficient)
        for atom in monomial:
            term *= _atom(atom)
        total += term
    return total


def _atom(atom: dims.Atom) -> Expr:
    if atom.kind == "name":
        return sp.Symbol(atom.name, integer=True, positive=True)
    a, b = size_expression(atom.left), size_expression(atom.right)
    match atom.kind:
        case "//":
            return sp.floor(a / b)
        case "%":
            return sp.Mod(a, b)
        case "min":
            return sp.Min(a, b)
        case _:
            return sp.Max(a, b)


@final
class Elements:
    """The elements of nodes as expressions.

    ``leaf`` says what the element of a node at an index is: for inputs, and for whatever shall be a symbol; None: it
    is expanded. ``number`` turns a constant's Python value into an expression. ``loop`` gives the elements of a loop's
    result, ``linalg`` those of an inverse and the like. ``taken`` are letters that name something else.
    """

    def __init__(
        self,
        leaf: Leaf,
        number: Number,
        loop: Callable[[Node, int, Index], Any] | None = None,
        taken: Sequence[str] = (),
        linalg: Callable[[Node, Index], Any] | None = None,
    ) -> None:
        self._leaf, self._number, self._loop, self._linalg = leaf, number, loop, linalg
        self._letters = [c for c in LETTERS if c not in taken]
        self._expanded: tuple[Node, Index] | None = None
        self._known: dict[tuple[Node, Index], Any] = {}
        self._functions = sympy_namespace()

    def index(self, used: Index) -> Expr:
        """An index symbol that does not occur in ``used``."""
        names = {s.name for e in used for s in getattr(e, "free_symbols", ())}
        for letter in self._letters:
            if letter not in names:
                return index_symbol(letter)
        return next(
            index_symbol(f"i{n}") for n in range(len(names) + 1) if f"i{n}" not in names
        )

    def indices(self, rank: int, used: Index = ()) -> Index:
        """So many different index symbols."""
        found: list[Any] = []
        for _ in range(rank):
            found.append(self.index((*used, *found)))
        return tuple(found)

    def element(self, node: Node, index: Index = (), *, expand: bool = False) -> Expr:
        """The element of a node's value at ``index``; iterative, whatever the depth.

        With ``expand`` the node itself is not taken as the leaf that it may be. Raises NoForm where there is no form.
        """
        outer, self._expanded = self._expanded, (node, index) if expand else None
        if expand:
            self._known.pop((node, index), None)
        running: list[tuple[tuple[Node, Index], Wanted]] = []
        wanted = (node, index)
        while True:
            value = self._known.get(wanted)
            if value is None:
                running.append((wanted, self._rule(*wanted)))
            while running:
                key, rule = running[-1]
                try:
                    wanted = rule.send(value)
                    break
                except StopIteration as done:
                    value = self._known[key] = sp.sympify(done.value)
                    running.pop()
            else:
                self._expanded = outer
                if expand:
                    self._known.pop((node, index), None)
                return value

    # --- one rule per family: a generator that asks for elements and returns an expression ---

    def _rule(self, node: Node, index: Index) -> Wanted:
        if self._expanded != (node, index):
            given = self._leaf(node, index)
            if given is not None:
                return given
        op, args = node.op, node.args
        match op:
            case Const():
                position = tuple(_known_index(i) for i in index)
                if any(p is None for p in position):
                    return (yield from self._selected(op.value, index, node))
                return self._number(op.value[position].item(), node)
            case Input():
                raise NoForm("an argument has no symbol", node)
            case SizeOf(dim):
                return size_expression(dim)
            case Iota():
                return index[0]
            case Scalar(name):
                found = []
                for a in args:
                    found.append((yield a, index if a.shape else ()))
                return self._scalar(name, found, node)
            case Cast(dtype):
                x = yield args[0], index
                return _cast(x, args[0].dtype, dtype)
            case Stop():
                x = yield args[0], index
                return Held(x)
            case Reduce():
                return (yield from self._reduced(node, op, index))
            case Cumulative(kind, axis, reverse):
                if kind not in ("sum", "prod"):
                    raise NoForm(f"a running {kind} has no closed form", node)
                i = self.index(index)
                x = yield args[0], (*index[:axis], i, *index[axis + 1 :])
                last = size_expression(node.shape[axis]) - 1
                limits = (i, index[axis], last) if reverse else (i, 0, index[axis])
                return (sp.Sum if kind == "sum" else sp.Product)(x, limits)
            case Contract(left, right, out):
                place = dict(zip(out, index, strict=True))
                bound = sorted((set(left) | set(right)) - set(out))
                place |= dict(zip(bound, self.indices(len(bound), index), strict=True))
                sizes = dict(zip(left, args[0].shape, strict=True)) | dict(zip(right, args[1].shape, strict=True))
                a = yield args[0], tuple(place[k] for k in left)
                b = yield args[1], tuple(place[k] for k in right)
                summed = [(place[k], 0, size_expression(sizes[k]) - 1) for k in bound]
                return total(a * b, *summed) if summed else a * b
            case Linalg() if self._linalg is not None and not isinstance(node.type, tuple):
                return self._linalg(node, index)
            case Sort() | Random() | Callback() | Linalg():
                raise NoForm(f"{_described(op)} has no closed form", node)
            case Cond():
                raise NoForm("a branch with several results is read through one of them", node)
            case Loop() | Call():
                raise NoForm("a result of it is read, not the loop", node)
            case Project(which):
                return (yield from self._projected(node, which, index))
            case _:
                return (yield from self._viewed(node, index))

    def _selected(self, value: np.ndarray[Any, Any], index: Index, node: Node) -> Wanted:
        """An element of a constant array at an index that is a symbol: by cases."""
        yield from ()
        if value.size > 16:
            raise NoForm("a constant array of more than 16 elements has no form; make it an argument", node)
        cases = []
        for position in np.ndindex(value.shape):
            here = sp.And(*(sp.Eq(i, p) for i, p in zip(index, position, strict=True)))
            cases.append((self._number(value[position].item(), node), here))
        return sp.Piecewise(*cases[:-1], (cases[-1][0], True))

    def _scalar(self, name: str, args: list[Any], node: Node) -> Expr:
        match name:
            case "maximum" | "fmax":
                return Maximum(*args)
            case "minimum" | "fmin":
                return Minimum(*args)
            case "where":
                condition, a, b = args
                if condition in (sp.true, sp.false):
                    return a if condition == sp.true else b
                return a if a == b else sp.Piecewise((a, condition), (b, True))
            case "isnan" | "isinf":
                return sp.false
            case "isfinite":
                return sp.true
            case "log" if isinstance(args[0], sp.exp) and args[0].args[0].is_real:
                return args[0].args[0]
        function = getattr(self._functions, name, None)
        if function is None or name.startswith(("bitwise", "shift")):
            raise NoForm(f"{name} has no form in real numbers", node)
        return function(*args)

    def _reduced(self, node: Node, op: Reduce, index: Index) -> Wanted:
        kind, axes, x = op.kind, op.axes, node.args[0]
        rest = iter(index)
        fresh = iter(self.indices(len(axes), index))
        full = tuple(next(fresh) if a in axes else next(rest) for a in range(len(x.shape)))
        if kind in ("sum", "prod"):
            value = yield x, full
            if kind == "sum" and _is_bool(value):
                value = sp.Piecewise((1, value), (0, True))
            if _is_by_cases(value, [full[a] for a in axes]) and all(isinstance(x.shape[a], int) for a in axes):
                parts = _written_out(value, [(full[a], x.shape[a]) for a in axes])
                return (sp.Add if kind == "sum" else sp.Mul)(*parts)
            limits = [(full[a], 0, size_expression(x.shape[a]) - 1) for a in axes]
            return (sp.Sum if kind == "sum" else sp.Product)(value, *limits)
        sizes = [x.shape[a] for a in axes]
        if kind in ("argmin", "argmax") or not all(isinstance(s, int) for s in sizes):
            raise NoForm(f"np.{kind} along an axis of length {dims.show(tuple(sizes))} has no closed form", node)
        parts = []
        for position in np.ndindex(*(int(s) for s in sizes)):
            chosen, rest = iter(position), iter(index)
            here = tuple(sp.Integer(next(chosen)) if a in axes else next(rest) for a in range(len(x.shape)))
            parts.append((yield x, here))
        function = {"max": Maximum, "min": Minimum, "any": sp.Or, "all": sp.And}[kind]
        value = parts[0]
        for part in parts[1:]:
            value = function(value, part)
        return value

    def _projected(self, node: Node, which: int, index: Index) -> Wanted:
        whole = node.args[0]
        match whole.op:
            case Cond(branches):
                selector = yield whole.args[0], ()
                operands = whole.args[1:]
                values = []
                for branch in branches:
                    (inlined,) = branch.replace([branch.outputs[which]]).apply(operands)
                    values.append((yield inlined, index))
                return _chosen(selector, values)
            case Call(body, _):
                (inlined,) = body.replace([body.outputs[which]]).apply(whole.args)
                return (yield inlined, index)
            case Loop() if self._loop is not None:
                return self._loop(whole, which, index)
            case _:
                raise NoForm(f"{_described(whole.op)} has no closed form", node)

    def _viewed(self, node: Node, index: Index) -> Wanted:
        op, args = node.op, node.args
        match op:
            case Broadcast(_, axes):
                shape = args[0].shape
                return (yield args[0], tuple(sp.S.Zero if shape[k] == 1 else index[a] for k, a in enumerate(axes)))
            case Transpose(axes):
                inner: list[Any] = [None] * len(axes)
                for i, a in zip(index, axes, strict=True):
                    inner[a] = i
                return (yield args[0], tuple(inner))
            case Reshape():
                return (yield args[0], _reshaped(index, node.shape, args[0].shape, node))
            case Slice(starts, _, steps):
                here = zip(index, starts, steps, strict=True)
                return (yield args[0], tuple(i * step + size_expression(start) for i, start, step in here))
            case Reverse(axes):
                here_ = enumerate(index)
                turned = tuple(size_expression(node.shape[a]) - 1 - i if a in axes else i for a, i in here_)
                return (yield args[0], turned)
            case Pad(low, high, inner_):
                if any(inner_):
                    raise NoForm("zeros between elements have no short form", node)
                shifted = tuple(i - size_expression(a) for i, a in zip(index, low, strict=True))
                inside = _inside(shifted, args[0].shape, [a != 0 for a in low], [b != 0 for b in high])
                if inside == sp.false:
                    return sp.S.Zero
                x = yield args[0], shifted
                return sp.Piecewise((x, inside), (0, True))
            case Concatenate(axis):
                start: Any = sp.S.Zero
                cases: list[tuple[Any, Any]] = []
                for part in args:
                    end = start + size_expression(part.shape[axis])
                    before = index[axis] < end
                    if before != sp.false:
                        x = yield part, (*index[:axis], index[axis] - start, *index[axis + 1 :])
                        cases.append((x, before))
                        if before == sp.true:
                            break
                    start = end
                cases[-1] = (cases[-1][0], True)
                return sp.Piecewise(*cases) if len(cases) > 1 else cases[0][0]
            case Insert(starts, steps):
                if any(s != 1 for s in steps):
                    raise NoForm("an assignment to every other element has no short form", node)
                shifted = tuple(i - size_expression(a) for i, a in zip(index, starts, strict=True))
                inside = _inside(shifted, args[1].shape, [True] * len(index), [True] * len(index))
                if inside == sp.true:
                    return (yield args[1], shifted)
                base = yield args[0], index
                if inside == sp.false:
                    return base
                x = yield args[1], shifted
                return sp.Piecewise((x, inside), (base, True))
            case Gather(axes):
                rank = len(args[1].shape)
                found = []
                for place in args[1:]:
                    found.append((yield place, index[:rank]))
                at = dict(zip(axes, found, strict=True))
                rest = iter(index[rank:])
                return (yield args[0], tuple(at[a] if a in at else next(rest) for a in range(len(args[0].shape))))
            case Scatter():
                raise NoForm("an assignment at computed places has no closed form", node)
        assert_never(op)  # type: ignore[arg-type]  # the other families were taken before


def total(value: Any, *limits: tuple[Any, Any, Any]) -> Any:
    """Σ of an expression over indices (index, first, last); written out where it asks which number they are.

    SymPy would multiply such cases out, whose number is exponential in the number of arrays.
    """
    known = all(first == 0 and sp.sympify(last).is_Integer for _, first, last in limits)
    if known and _is_by_cases(value, [i for i, _, _ in limits]):
        return sp.Add(*_written_out(value, [(i, last + 1) for i, _, last in limits]))
    return sp.Sum(value, *limits)


def _is_by_cases(value: Any, indices: list[Any]) -> bool:
    """Whether an expression asks which number an index is, as elements of constant arrays and of stacked ones do."""
    relations = value.atoms(sp.core.relational.Relational)
    return any(e.free_symbols and e.free_symbols <= set(indices) for e in relations)


def _written_out(value: Any, ranges: list[tuple[Any, Any]]) -> list[Any]:
    """The values of an expression for all values of its indices."""
    found = []
    for position in np.ndindex(*(int(n) for _, n in ranges)):
        found.append(value.subs({i: p for (i, _), p in zip(ranges, position, strict=True)}))
    return found


def _described(op: Any) -> str:
    kind = getattr(op, "kind", None)
    return f"{type(op).__name__.lower()}{f' ({kind})' if isinstance(kind, str) else ''}"


def _known_index(i: Any) -> int | None:
    return int(i) if getattr(i, "is_Integer", False) or isinstance(i, int) else None


def _is_bool(x: Any) -> bool:
    return isinstance(x, (sp.logic.boolalg.Boolean,)) and not isinstance(x, sp.Symbol)


def _cast(x: Any, old: Any, new: Any) -> Expr:
    if old.kind == "b" and new.kind != "b":
        return x if not _is_bool(x) else sp.Piecewise((1, x), (0, True))
    if is_complex(old) and not is_complex(new):
        return sp.re(x)
    if is_integer(new) and not is_integer(old) and not x.is_integer:
        return sp.sign(x) * sp.floor(sp.Abs(x))
    return x


def _chosen(selector: Any, values: Sequence[Any]) -> Expr:
    """The value that ``selector`` (0, 1, …, clamped) names."""
    if len(values) == 2 and isinstance(selector, sp.Piecewise) and selector.args[0][0] == 1:
        condition = selector.args[0][1]
        return values[1] if values[0] == values[1] else sp.Piecewise((values[1], condition), (values[0], True))
    last = len(values) - 1
    cases = [(v, selector <= 0 if k == 0 else sp.Eq(selector, k)) for k, v in enumerate(values[:last])]
    return sp.Piecewise(*cases, (values[last], True))


def _inside(index: Index, shape: Sequence[Any], low: Sequence[bool], high: Sequence[bool]) -> Expr:
    conditions = []
    for i, n, check_low, check_high in zip(index, shape, low, high, strict=True):
        if check_low:
            conditions.append(i >= 0)
        if check_high:
            conditions.append(i < size_expression(n))
    return sp.And(*conditions)


def _reshaped(index: Index, shape: Sequence[Any], inner: Sequence[Any], node: Node) -> Index:
    """The index before a reshape; axes of length 1 come and go, others only where the lengths are numbers."""
    if [n for n in shape if n != 1] == [n for n in inner if n != 1]:
        real = iter(i for i, n in zip(index, shape, strict=True) if n != 1)
        return tuple(sp.S.Zero if n == 1 else next(real) for n in inner)
    flat: Any = sp.S.Zero
    for i, n in zip(index, shape, strict=True):
        flat = flat * size_expression(n) + i
    found: list[Any] = []
    for n in reversed(inner):
        length = size_expression(n)
        found.append(sp.Mod(flat, length))
        flat = sp.floor(flat / length)
    if any(not e.is_Integer and e.has(sp.Mod, sp.floor) for e in found) and not all(isinstance(n, int) for n in inner):
        raise NoForm(f"the reshape to {dims.show(tuple(shape))} has no short form", node)
    return tuple(reversed(found))


__all__ = ["Elements", "Held", "Maximum", "Minimum", "NoForm", "index_symbol", "size_expression"]
