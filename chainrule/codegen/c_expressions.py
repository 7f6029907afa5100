"""The expressions of a kernel as C text, and what is known of its names while emitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from chainrule.graph.dim import Atom, Dim, Size

from . import ir
from .c_lanes import function_name
from .c_primitives import apply, convert, fused_multiply_add
from .c_runtime import Runtime
from .c_text import Names, Text, binary, call, constant, number_of, select
from .ir import DTypeName, Expr, Name

_INDEX_ARITHMETIC: Final = ("add", "sub", "mul", "neg", "minimum", "maximum", "floordiv", "mod")


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array; ``copies``: element e of lane k lies at ``e*copies + k``."""

    name: str
    dtype: DTypeName
    copies: int = 1


class Expressions:
    """Emits expressions.

    ``places``: names that stand for an element of an array of lanes. ``counters``: integers made of loop indices and
    sizes only, which cannot overflow. ``products``, ``fused``: floats that are a product, or may be the result of a
    fused multiply-add.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.names = Names()
        self.buffers: dict[Name, Buffer] = {}
        self.places: dict[Name, str] = {}
        self.counters: set[Name] = set()
        self.products: set[Name] = set()
        self.fused: set[Name] = set()

    def dim(self, dim: Dim) -> Text:
        """A size."""
        if not isinstance(dim, Size):
            return constant(dim, "int64")
        total: Text | None = None
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom in monomial]
            product = constant(coefficient, "int64") if coefficient != 1 or not factors else factors.pop(0)
            for factor in factors:
                product = binary("*", product, factor)
            total = product if total is None else binary("+", total, product)
        assert total is not None
        return total

    def _atom(self, atom: Atom) -> Text:
        if atom.kind == "name":
            return Text(self.names[atom.name])
        name = {"//": "floordiv", "%": "mod", "min": "minimum", "max": "maximum"}[atom.kind]
        return call(self.runtime.helper(name, "int64"), self.dim(atom.left), self.dim(atom.right))

    def value(self, root: Expr) -> Text:
        """An expression, innermost parts first, without recursion."""
        pending: list[tuple[Expr, bool]] = [(root, False)]
        texts: list[Text] = []
        while pending:
            expr, ready = pending.pop()
            parts = ir.operands(expr)
            if ready or not parts:
                first = len(texts) - len(parts)
                operands = texts[first:]
                del texts[first:]
                texts.append(self._combine(expr, operands))
            else:
                pending.append((expr, True))
                pending.extend((part, False) for part in reversed(parts))
        return texts[0]

    def _combine(self, expr: Expr, operands: list[Text]) -> Text:
        match expr:
            case ir.Var():
                return Text(self.place(expr.name))
            case ir.Literal():
                return constant(number_of(expr), expr.dtype)
            case ir.Load():
                loaded = self.element(expr.buffer, operands[0])
                return loaded if expr.guard is None else select(operands[1], loaded, constant(0, expr.dtype))
            case ir.Apply():
                first = 1 if expr.name == "polygamma" else 0  # its order is part of the function's name
                dtypes = [argument.dtype for argument in expr.args[first:]]
                name, plain = function_name(expr), self.is_counter(expr)
                if name == "sub" and any(self.is_product(argument) for argument in expr.args):
                    name = "difference"
                elif name == "neg" and self.is_fused(expr.args[0]):
                    name = "negative"
                return apply(self.runtime, name, operands[first:], dtypes, expr.dtype, plain)
            case ir.Fma():
                return fused_multiply_add(operands[0], operands[1], operands[2], expr.dtype)
            case ir.Cast():
                return convert(self.runtime, operands[0], expr.value.dtype, expr.dtype)
            case _:
                assert_never(expr)

    def is_product(self, expr: Expr) -> bool:
        return bool(ir.factors(expr)) or (isinstance(expr, ir.Var) and expr.name in self.products)

    def is_fused(self, expr: Expr) -> bool:
        return isinstance(expr, ir.Fma) or (isinstance(expr, ir.Var) and expr.name in self.fused)

    def place(self, name: Name) -> str:
        """The variable, or the element of an array of lanes, that a name stands for."""
        return self.places.get(name) or self.names[name]

    def element(self, buffer: Name, index: Text) -> Text:
        """An element of a buffer."""
        found = self.buffers[buffer]
        if found.copies > 1:
            index = binary("+", binary("*", index, constant(found.copies, "int64")), Text("lane"))
        return Text(f"{found.name}[{index.text}]")

    def is_counter(self, expr: Expr) -> bool:
        """Whether an integer is made of loop indices and sizes only."""
        if expr.dtype != "int64":
            return False
        for part in ir.walk(expr):
            match part:
                case ir.Var():
                    if part.name not in self.counters:
                        return False
                case ir.Literal():
                    pass
                case ir.Apply():
                    if part.name not in _INDEX_ARITHMETIC:
                        return False
                case _:
                    return False
        return True
