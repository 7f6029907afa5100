"""The expressions of a kernel as LLVM text, and what is known while emitting: names, masks, the loops around.

Scalars are SSA values, declared variables are stack slots that LLVM's passes turn into registers. Inside a
``lanes`` loop what differs between lanes is a vector. What does not stays a scalar and is splat where a
vector needs it; what comes from outside is splat before the loop. An index that is affine in the lane stays
the scalar of lane 0 and its stride, so that neighbours are read with one load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from chainrule.graph.dim import Atom, Dim, Size

from . import ir
from .divergence import Divergence
from .ir import Block, DTypeName, Expr, Name
from .llvm_builder import Code, Lines, Module, constant, literal_number, literal_text, type_of
from .llvm_memory import Buffer, Value, load_lanes, load_one, spread
from .llvm_primitives import apply, convert, fused_multiply_add, select
from .llvm_vecmath import call_sincos

# --- state --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Variable:
    """A stack slot; ``lanes`` > 1 where lanes have values of their own."""

    address: str
    dtype: DTypeName
    lanes: int = 1


@dataclass(slots=True)
class Loop:
    """A loop that ``Break`` may leave: where to go on after it, and the address of its running lanes if lanes
    part in it.
    """

    exit: str
    active: str | None = None


@dataclass(slots=True)
class Lanes:
    """The ``lanes`` loop being emitted. ``mask``: the lanes that run (None: all of them).

    ``step_mask``: those of the step, which is the ``whole`` of them in all steps but the last.
    """

    width: int
    divergence: Divergence
    hoisted: Lines
    start: int
    mask: str | None = None
    step_mask: str | None = None
    whole: str | None = None
    splats: dict[str, str] = field(default_factory=dict)


class Expressions:
    """Emits expressions into the code of one function, and knows the names that they use."""

    def __init__(self, module: Module) -> None:
        self.code = Code(module)
        self.values: dict[Name, Value] = {}
        self.variables: dict[Name, Variable] = {}
        self.buffers: dict[Name, Buffer] = {}
        self.lanes: Lanes | None = None
        self.sincos: frozenset[Name] = frozenset()
        self._both: dict[tuple[str, int, str], tuple[str, str]] = {}

    def dim(self, dim: Dim) -> str:
        """A size as an ``i64`` operand."""
        if not isinstance(dim, Size):
            return str(dim)
        total = "0"
        for monomial, coefficient in dim.terms:
            product = str(coefficient)
            for atom in monomial:
                product = self._integer("mul", product, self._atom(atom))
            total = self._integer("add", total, product)
        return total

    def _atom(self, atom: Atom) -> str:
        if atom.kind == "name":
            return self.values[atom.name].text
        name = {"//": "floordiv", "%": "mod", "min": "minimum", "max": "maximum"}[atom.kind]
        return self._integer(name, self.dim(atom.left), self.dim(atom.right))

    def _integer(self, name: str, a: str, b: str) -> str:
        return apply(self.code, name, [a, b], ["int64", "int64"], "int64", 1)

    # --- expressions ----------------------------------------------------------------------------------------

    def value(self, root: Expr) -> Value:
        """Emit an expression, innermost parts first, without recursion."""
        if isinstance(root, (ir.Var, ir.Literal)):
            return self._leaf(root)
        pending: list[tuple[Expr, bool]] = [(root, False)]
        values: list[Value] = []
        while pending:
            expr, ready = pending.pop()
            if isinstance(expr, (ir.Var, ir.Literal)):
                values.append(self._leaf(expr))
                continue
            parts = ir.operands(expr)
            if ready:
                first = len(values) - len(parts)
                arguments = values[first:]
                del values[first:]
                values.append(self._combine(expr, arguments))
            else:
                pending.append((expr, True))
                pending.extend((part, False) for part in reversed(parts))
        return values[0]

    def _leaf(self, expr: ir.Var | ir.Literal) -> Value:
        if isinstance(expr, ir.Literal):
            return Value(literal_text(expr), expr.dtype)
        variable = self.variables.get(expr.name)
        return self.values[expr.name] if variable is None else self.read(variable)

    def _combine(self, expr: Expr, arguments: list[Value]) -> Value:
        match expr:
            case ir.Load():
                return self._load(expr, arguments)
            case ir.Apply():
                return self._apply(expr, arguments)
            case ir.Fma():
                lanes = self._common_lanes(arguments)
                a, b, c = (self.at(value, lanes) for value in arguments)
                return Value(fused_multiply_add(self.code, a, b, c, expr.dtype, lanes), expr.dtype, lanes)
            case ir.Cast():
                (given,) = arguments
                if given.dtype == expr.dtype:
                    return given
                lanes = self._common_lanes(arguments)
                return Value(
                    convert(self.code, self.at(given, lanes), given.dtype, expr.dtype, lanes),
                    expr.dtype,
                    lanes,
                )
            case ir.Var() | ir.Literal():
                return self._leaf(expr)
            case _:
                assert_never(expr)

    def _apply(self, expr: ir.Apply, arguments: list[Value]) -> Value:
        name = expr.name
        if name == "polygamma":
            order = expr.args[0]
            assert isinstance(order, ir.Literal)
            number, arguments = int(literal_number(order)), arguments[1:]
            name = f"polygamma{number}" if number else "digamma"
        stride = _stride(name, arguments)
        lanes = 1 if stride is not None else self._common_lanes(arguments)
        operands = [value.text if stride is not None else self.at(value, lanes) for value in arguments]
        if name in ("sin", "cos") and _variable_name(expr) in self.sincos:
            return Value(self._sin_or_cos(name, operands[0], lanes), expr.dtype, lanes)
        dtypes = [value.dtype for value in arguments]
        text = apply(self.code, name, operands, dtypes, expr.dtype, lanes, self._running(lanes))
        return Value(text, expr.dtype, lanes, stride or 0)

    def _sin_or_cos(self, name: str, operand: str, lanes: int) -> str:
        """One of both, computed together; the other one is kept for the rest of the block."""
        key = (operand, lanes, self.code.block)
        if key not in self._both:
            self._both[key] = call_sincos(self.code, operand, lanes, self._running(lanes))
        return self._both[key][name == "cos"]

    def _running(self, lanes: int) -> str | None:
        """The mask of the lanes that run, for a value of so many lanes; None: all."""
        return None if self.lanes is None or lanes == 1 else self.lanes.mask

    def _common_lanes(self, arguments: Sequence[Value]) -> int:
        if self.lanes is None or all(value.uniform for value in arguments):
            return 1
        return self.lanes.width

    def at(self, value: Value, lanes: int) -> str:
        """The operand with a number of lanes; what comes from before the loop is splat before it, once."""
        if value.lanes == lanes:
            return value.text
        state = self.lanes
        assert state is not None
        if value.is_constant or value.stride or not self.code.is_before(value.text, state.start):
            return spread(self.code, value, lanes)
        if value.text not in state.splats:
            state.splats[value.text] = spread(self.code, value, lanes, to=state.hoisted)
        return state.splats[value.text]

    def _load(self, expr: ir.Load, arguments: list[Value]) -> Value:
        buffer, index = self.buffers[expr.buffer], arguments[0]
        guard = arguments[1] if len(arguments) > 1 else None
        if self.lanes is None or (index.uniform and buffer.copies == 1 and (guard is None or guard.uniform)):
            return Value(load_one(self.code, buffer, index.text, guard.text if guard else None), buffer.dtype)
        lanes = self.lanes.width
        mask = self.narrowed(guard)
        if index.uniform and buffer.copies == 1:
            assert mask is not None
            loaded = load_one(self.code, buffer, index.text, self.code.any_lane(mask, lanes))
            zero = constant(0, buffer.dtype, lanes)
            every = spread(self.code, Value(loaded, buffer.dtype), lanes)
            return Value(select(self.code, mask, every, zero, buffer.dtype, lanes), buffer.dtype, lanes)
        whole = self.lanes.whole if mask == self.lanes.step_mask else None
        return Value(load_lanes(self.code, buffer, index, mask, lanes, whole), buffer.dtype, lanes)

    # --- masks and variables --------------------------------------------------------------------------------

    def narrowed(self, guard: Value | None) -> str | None:
        """The mask of the running lanes for which a guard holds."""
        assert self.lanes is not None
        if guard is None:
            return self.lanes.mask
        return self.intersect(self.lanes.mask, self.at(guard, self.lanes.width))

    def intersect(self, mask: str | None, other: str) -> str:
        assert self.lanes is not None
        return other if mask is None else self.code.let(f"and <{self.lanes.width} x i1> {mask}, {other}")

    def exclude(self, mask: str | None, other: str) -> str:
        assert self.lanes is not None
        width = self.lanes.width
        flipped = self.code.let(f"xor <{width} x i1> {other}, {constant(True, 'bool', width)}")
        return self.intersect(mask, flipped)

    def declare(self, name: Name, dtype: DTypeName, lanes: int) -> Variable:
        variable = Variable(self.code.variable(type_of(dtype, lanes)), dtype, lanes)
        self.variables[name] = variable
        return variable

    def read(self, variable: Variable) -> Value:
        text = self.code.let(f"load {type_of(variable.dtype, variable.lanes)}, ptr {variable.address}")
        return Value(text, variable.dtype, variable.lanes)

    def write(self, variable: Variable, text: str) -> None:
        self.code.do(f"store {type_of(variable.dtype, variable.lanes)} {text}, ptr {variable.address}")


def both_sin_and_cos(block: Block) -> frozenset[Name]:
    """The float64 names of which a block uses both functions."""
    used: dict[str, set[Name]] = {"sin": set(), "cos": set()}
    for stmt in ir.statements(block):
        for root in ir.expressions(stmt):
            for expr in ir.walk(root):
                if isinstance(expr, ir.Apply) and expr.name in used:
                    used[expr.name].add(_variable_name(expr))
    return frozenset((used["sin"] & used["cos"]) - {""})


def _variable_name(expr: ir.Apply) -> Name:
    """The float64 variable that a function is applied to, else the empty name."""
    argument = expr.args[0]
    return argument.name if isinstance(argument, ir.Var) and argument.dtype == "float64" else ""


def _stride(name: str, arguments: Sequence[Value]) -> int | None:
    """The stride of an integer result that is affine in the lane, where that is plain to see; None if it is
    not.
    """
    if all(value.stride == 0 for value in arguments) or any(
        v.lanes > 1 or v.dtype != "int64" for v in arguments
    ):
        return None
    strides = [value.stride for value in arguments]
    match name:
        case "add":
            return strides[0] + strides[1]
        case "sub":
            return strides[0] - strides[1]
        case "neg":
            return -strides[0]
        case "mul":
            for factor, other in (arguments, arguments[::-1]):
                if factor.is_constant and not factor.stride:
                    return int(factor.text) * other.stride
    return None
