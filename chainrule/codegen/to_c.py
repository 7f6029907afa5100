"""LoopIR → C11 that a person can read, and that compilers vectorise without ``-ffast-math``.

Each binding is a line, each loop a loop. A ``lanes`` loop with reductions goes in blocks of as many iterations as there
are lanes; each lane has its own partial results, combined at the end as in all other code: the results are the same
bits as those of the kernel made through LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from chainrule.graph import dim as dims
from chainrule.graph.dim import Atom, Dim, Size

from . import ir
from .c_lanes import Segment, crossing, function_name, names_used, segments
from .c_primitives import FLOATS, apply, convert, fused_multiply_add
from .c_runtime import PRELUDE, Runtime
from .c_text import ATOM, ORDER, TYPES, Names, Text, binary, call, comment_lines, constant, number_of, select
from .ir import Block, DTypeName, Expr, Name, Stmt
from .workspace import layout

__all__ = ["CSource", "emit_c", "emit_unit"]


@dataclass(frozen=True, slots=True)
class CSource:
    """C code: ``text`` is a complete C11 file, ``header`` declares its functions, ``signature`` is their prototypes."""

    text: str
    header: str
    signature: str

    def __str__(self) -> str:
        return self.text


def emit_c(kernel: ir.Kernel, comment: str = "") -> CSource:
    """The C11 text of a valid kernel, with a comment at its head.

    It needs only ``<math.h>``, ``<stdbool.h>``, ``<stdint.h>`` and ``<string.h>``, and compiles without warnings.
    Raises `Unsupported` where a primitive has neither code of ours nor a function in the C library.

    >>> x, y = ir.Parameter("x", "scalar", "float64"), ir.Parameter("y", "result", "float64")
    >>> square = ir.Apply("mul", (ir.Var("x", "float64"), ir.Var("x", "float64")), "float64")
    >>> source = emit_c(ir.Kernel("square", (x, y), (ir.Store("y", ir.Literal(0, "int64"), square),)))
    >>> source.signature
    'void square(double x, double *y)'
    >>> print(source.text.rstrip().splitlines()[-2].strip())
    y[0] = x * x;
    """
    return emit_unit([kernel], comment)


def emit_unit(kernels: Sequence[ir.Kernel], comment: str = "") -> CSource:
    """Several kernels in one C file, which share their helper functions."""
    runtime, names = Runtime(), Names()
    emitters = [_Emitter(kernel, names[kernel.name], runtime) for kernel in kernels]
    functions = [emitter.function() for emitter in emitters]
    prototypes = [emitter.prototype(restrict=False) for emitter in emitters]
    externs = dict.fromkeys(line for emitter in emitters for line in emitter.externs)
    head = "\n".join(comment_lines(comment))
    parts = [head, PRELUDE.rstrip(), *runtime.text(), "\n".join(externs), *functions]
    guard = f"CHAINRULE_{names[kernels[0].name].upper()}_H" if kernels else "CHAINRULE_H"
    header = [
        head,
        f"#ifndef {guard}\n#define {guard}",
        "#include <stdbool.h>\n#include <stdint.h>",
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        "\n".join(f"{prototype};" for prototype in prototypes),
        "#ifdef __cplusplus\n}\n#endif",
        f"#endif /* {guard} */",
    ]
    return CSource(_joined(parts), _joined(header), "\n".join(prototypes))


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


_COMBINE: Final = {"sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "any": "logical_or", "all": "logical_and"}
_IN_PLACE: Final = ("+", "*", "|", "&")
_INDEX_ARITHMETIC: Final = ("add", "sub", "mul", "neg", "minimum", "maximum", "floordiv", "mod")


def _neutral(kind: str, dtype: DTypeName) -> Text:
    """What a reduction starts from in each lane; −0.0, not 0.0, leaves every float as it is."""
    match kind:
        case "sum":
            return constant(-0.0 if dtype in FLOATS else 0, dtype)
        case "prod" | "all":
            return constant(1, dtype)
        case "any":
            return constant(0, dtype)
    if dtype in FLOATS:
        return constant(float("inf") if kind == "min" else float("-inf"), dtype)
    bits = 63 if dtype == "int64" else 31
    return constant((1 << bits) - 1 if kind == "min" else -(1 << bits), dtype)


@dataclass(frozen=True, slots=True)
class _Buffer:
    """An array; ``copies``: element e of lane k lies at ``e*copies + k``."""

    name: str
    dtype: DTypeName
    copies: int = 1


class _Emitter:
    """Emits one kernel, statement by statement."""

    def __init__(self, kernel: ir.Kernel, name: str, runtime: Runtime) -> None:
        self.kernel = kernel
        self.name = name
        self.runtime = runtime
        self.externs: list[str] = []
        self.names = Names()
        self.lines: list[str] = []
        self.depth = 1
        self.buffers: dict[Name, _Buffer] = {}
        self.reductions: dict[Name, tuple[str, DTypeName]] = {}
        self.places: dict[Name, str] = {}  # names that stand for an element of an array of lanes
        self.variables: set[Name] = set()
        self.counters: set[Name] = set()  # integers made of loop indices and sizes only, which cannot overflow
        self.products: set[Name] = set()  # of floats
        self.used = _live(kernel.body)
        self.scratch, _ = layout(kernel.body)

    # --- the function -------------------------------------------------------------------------------------------------

    def prototype(self, restrict: bool) -> str:
        """The function's head."""
        shown = []
        for parameter in self.kernel.parameters:
            type_, name = TYPES[parameter.dtype], self.names[parameter.name]
            match parameter.kind:
                case "array" | "result":
                    const = "const " if parameter.kind == "array" else ""
                    shown.append(f"{const}{type_} *{'restrict ' if restrict else ''}{name}")
                case _:
                    shown.append(f"{type_} {name}")
        if self._has_workspace():
            shown.append(f"void *{'restrict ' if restrict else ''}workspace")
        return f"void {self.name}({', '.join(shown) or 'void'})"

    def _has_workspace(self) -> bool:
        return bool(self.scratch) or self.kernel.workspace != 0

    def function(self) -> str:
        """The function's definition."""
        head = self.prototype(restrict=True)
        used = self.used | {buffer for stmt in ir.statements(self.kernel.body) for buffer in _buffers(stmt, self.used)}
        for parameter in self.kernel.parameters:
            if parameter.kind in ("array", "result"):
                self.buffers[parameter.name] = _Buffer(self.names[parameter.name], parameter.dtype)
            elif parameter.kind == "size":
                self.counters.add(parameter.name)
        scratch = {name: place for name, place in self.scratch.items() if name in used}
        for place in scratch.values():
            used |= _size_names(place.offset)
        for parameter in self.kernel.parameters:
            if parameter.name not in used:
                self.line(f"(void){self.names[parameter.name]};")
        if self._has_workspace() and not scratch:
            self.line("(void)workspace;")
        for name, place in scratch.items():
            type_, variable = TYPES[place.dtype], self.names[name]
            self.buffers[name] = _Buffer(variable, place.dtype, place.copies)
            offset = self.dim(place.offset).inside(ORDER + 2)
            self.line(f"{type_} *const restrict {variable} = ({type_} *)((char *)workspace + {offset});")
        self.block(self.kernel.body)
        return "\n".join([head, "{", *self.lines, "}"])

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def open(self, head: str) -> None:
        self.line(f"{head} {{")
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1
        self.line("}")

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

    # --- expressions --------------------------------------------------------------------------------------------------

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
                return Text(self.places.get(expr.name) or self.names[expr.name])
            case ir.Literal():
                return constant(number_of(expr), expr.dtype)
            case ir.Load():
                loaded = self.element(expr.buffer, operands[0])
                return loaded if expr.guard is None else select(operands[1], loaded, constant(0, expr.dtype))
            case ir.Apply():
                first = 1 if expr.name == "polygamma" else 0  # its order is part of the function's name
                dtypes = [argument.dtype for argument in expr.args[first:]]
                name, plain = function_name(expr), self._is_counter(expr)
                if name == "sub" and any(self._is_product(argument) for argument in expr.args):
                    name = "difference"
                return apply(self.runtime, name, operands[first:], dtypes, expr.dtype, plain)
            case ir.Fma():
                return fused_multiply_add(operands[0], operands[1], operands[2], expr.dtype)
            case ir.Cast():
                return convert(self.runtime, operands[0], expr.value.dtype, expr.dtype)
            case _:
                assert_never(expr)

    def _is_product(self, expr: Expr) -> bool:
        return bool(ir.factors(expr)) or (isinstance(expr, ir.Var) and expr.name in self.products)

    def element(self, buffer: Name, index: Text) -> Text:
        """An element of a buffer."""
        found = self.buffers[buffer]
        if found.copies > 1:
            index = binary("+", binary("*", index, constant(found.copies, "int64")), Text("lane"))
        return Text(f"{found.name}[{index.text}]")

    def _is_counter(self, expr: Expr) -> bool:
        """Whether an integer is made of loop indices and sizes only."""
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
        return expr.dtype == "int64"

    # --- statements ---------------------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        for stmt in block:
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case ir.Let() | ir.Declare():
                self._binding(stmt)
            case ir.Assign():
                if stmt.name in self.used:
                    self.line(f"{self._place(stmt.name)} = {self.value(stmt.value).text};")
            case ir.Accumulate():
                self._accumulation(stmt)
            case ir.Store():
                target = self.element(stmt.buffer, self.value(stmt.index))
                self.guarded(stmt.guard, f"{target.text} = {self.value(stmt.value).text};")
            case ir.Alloc():
                pass  # all scratch memory is laid out at the entry
            case ir.For():
                if stmt.kind == "lanes" and stmt.width > 1:
                    self._lanes_loop(stmt)
                else:
                    self._serial_loop(stmt)
            case ir.While():
                self._while(stmt)
            case ir.If():
                self._if(stmt)
            case ir.Break():
                self.line("break;")
            case ir.Call():
                self._call(stmt)
            case _:
                assert_never(stmt)

    def guarded(self, guard: Expr | None, action: str) -> None:
        self.line(action if guard is None else f"if ({self.value(guard).text}) {action}")

    def _place(self, name: Name) -> str:
        return self.places.get(name) or self.names[name]

    def _binding(self, stmt: ir.Let | ir.Declare) -> None:
        if stmt.name not in self.used:
            return
        value = self.value(stmt.value).text
        if isinstance(stmt, ir.Declare):
            self.variables.add(stmt.name)
        elif self._is_counter(stmt.value):
            self.counters.add(stmt.name)
        elif ir.factors(stmt.value):
            self.products.add(stmt.name)
        if stmt.name in self.places:
            self.line(f"{self.places[stmt.name]} = {value};")
        else:
            const = "const " if isinstance(stmt, ir.Let) else ""
            self.line(f"{const}{TYPES[stmt.value.dtype]} {self.names[stmt.name]} = {value};")

    def _accumulation(self, stmt: ir.Accumulate) -> None:
        if stmt.name not in self.used:
            return
        kind, dtype = self.reductions[stmt.name]
        place = self._place(stmt.name)
        factors = ir.factors(stmt.value) if kind == "sum" else None
        if factors:
            a, b = (self.value(factor) for factor in factors)
            action = f"{place} = {fused_multiply_add(a, b, Text(place), dtype).text};"
        else:
            action = self._combined(kind, place, self.value(stmt.value), dtype)
        self.guarded(stmt.guard, action)

    def _combined(self, kind: str, place: str, value: Text, dtype: DTypeName) -> str:
        """The statement that combines a value into a place."""
        whole = apply(self.runtime, _COMBINE[kind], [Text(place), value], [dtype, dtype], dtype, plain=False).text
        for operator in _IN_PLACE:
            if whole.startswith(f"{place} {operator} "):
                return f"{place} {operator}= {value.text};"
        return f"{place} = {whole};"

    def _if(self, stmt: ir.If) -> None:
        self.open(f"if ({self.value(stmt.condition).text})")
        self.block(stmt.then)
        if stmt.otherwise:
            self.depth -= 1
            self.open("} else")
            self.block(stmt.otherwise)
        self.close()

    def _call(self, stmt: ir.Call) -> None:
        arguments, types = [], []
        for argument in stmt.args:
            if isinstance(argument, str):
                arguments.append(Text(f"(void *){self.buffers[argument].name}"))
                types.append("void *")
            else:
                arguments.append(self.value(argument))
                types.append(TYPES[argument.dtype])
        self.externs.append(f"extern void {stmt.symbol}({', '.join(types) or 'void'});")
        self.line(f"{call(stmt.symbol, *arguments).text};")

    # --- loops --------------------------------------------------------------------------------------------------------

    def _while(self, stmt: ir.While) -> None:
        if not stmt.head:
            self.open(f"while ({self.value(stmt.condition).text})")
        else:
            self.open("for (;;)")
            self.block(stmt.head)
            self.line(f"if (!{self.value(stmt.condition).inside(ATOM)}) break;")
        self.block(stmt.body)
        self.close()

    def _serial_loop(self, stmt: ir.For) -> None:
        for reduction in stmt.reductions:
            self.reductions[reduction.name] = reduction.kind, reduction.dtype
        index, extent = self._counter(stmt), self._extent(stmt)
        self.open(f"for (int64_t {index} = 0; {index} < {extent.inside(ORDER + 1)}; {index}++)")
        self.block(stmt.body)
        self.close()

    def _counter(self, stmt: ir.For) -> str:
        self.counters.add(stmt.index)
        return self.names[stmt.index]

    def _extent(self, stmt: ir.For) -> Text:
        """The extent, which is fixed before the loop."""
        value = self.value(stmt.extent)
        fixed = isinstance(stmt.extent, ir.Literal) or (
            isinstance(stmt.extent, ir.Var) and stmt.extent.name not in self.variables
        )
        if not fixed:
            end = self.names.fresh(f"{self.names[stmt.index]}_end")
            self.line(f"const int64_t {end} = {value.text};")
            value = Text(end)
        return value

    def _lanes_loop(self, stmt: ir.For) -> None:
        parts = [part for part in segments(self._without_dead(stmt.body)) if part.statements]
        reductions = [reduction for reduction in stmt.reductions if reduction.name in self.used]
        private = any(isinstance(inner, ir.Alloc) for inner in ir.statements(stmt.body))
        if not reductions and not private and len(parts) <= 1:
            self._serial_loop(stmt)
            return
        index, extent = self._counter(stmt), self._extent(stmt)
        partial = self._partial_results(reductions, stmt.width)
        first = self.names.fresh(f"{index}_first")
        end = extent.inside(ORDER + 1)
        self.open(f"for (int64_t {first} = 0; {first} < {end}; {first} += {stmt.width})")
        self.line(
            f"const int lanes = {end} - {first} < {stmt.width} ? (int)({end} - {first}) : {stmt.width};"
        )
        shared = crossing(parts, self.used)
        for name, dtype in shared.items():
            self.places[name] = f"{self.names[name]}[lane]"
            self.line(f"{TYPES[dtype]} {self.names[name]}[{stmt.width}];")
        for part in parts:
            self._segment(part, stmt, index, first)
        self.close()
        for name in [*shared, *partial]:
            del self.places[name]
        self._combine_lanes(reductions, partial, stmt.width)

    def _without_dead(self, body: Block) -> Block:
        return tuple(
            stmt for stmt in body
            if not isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)) or stmt.name in self.used
        )  # fmt: skip

    def _segment(self, part: Segment, stmt: ir.For, index: str, first: str) -> None:
        """One loop over the lanes of a block."""
        if part.function:
            (binding,) = part.statements
            assert isinstance(binding, ir.Let) and isinstance(binding.value, ir.Apply)
            argument = binding.value.args[-1]
            assert isinstance(argument, ir.Var)
            symbol = self.runtime.elementary_of_lanes(part.function)
            self.line(f"{symbol}(lanes, {self.names[argument.name]}, {self.names[binding.name]});")
            return
        self.open("for (int lane = 0; lane < lanes; lane++)")
        if stmt.index in names_used(part.statements, self.used):
            self.line(f"const int64_t {index} = {first} + lane;")
        self.block(part.statements)
        self.close()

    def _partial_results(self, reductions: Sequence[ir.Reduction], width: int) -> dict[Name, str]:
        """An array for each reduction, with one element a lane."""
        partial: dict[Name, str] = {}
        for reduction in reductions:
            self.reductions[reduction.name] = reduction.kind, reduction.dtype
            array = partial[reduction.name] = self.names.fresh(f"{self.names[reduction.name]}_of")
            self.line(f"{TYPES[reduction.dtype]} {array}[{width}];")
        if partial:
            self.open(f"for (int lane = 0; lane < {width}; lane++)")
            for reduction in reductions:
                neutral = _neutral(reduction.kind, reduction.dtype)
                self.line(f"{partial[reduction.name]}[lane] = {neutral.text};")
            self.close()
        for name, array in partial.items():
            self.places[name] = f"{array}[lane]"
        return partial

    def _combine_lanes(self, reductions: Sequence[ir.Reduction], partial: dict[Name, str], width: int) -> None:
        """All lanes combined: lane k with lane k + half, again and again; then with the value before the loop."""
        if not reductions:
            return
        self.open(f"for (int half = {width // 2}; half > 0; half /= 2)")
        self.open("for (int lane = 0; lane < half; lane++)")
        for reduction in reductions:
            array = partial[reduction.name]
            self.line(self._combined(reduction.kind, f"{array}[lane]", Text(f"{array}[lane + half]"), reduction.dtype))
        self.close()
        self.close()
        for reduction in reductions:
            total = Text(f"{partial[reduction.name]}[0]")
            self.line(self._combined(reduction.kind, self.names[reduction.name], total, reduction.dtype))


# --- what is used -------------------------------------------------------------------------------------------


def _live(body: Block) -> set[Name]:
    """The names that are read where it matters: for what is stored, for branches, loops and calls."""
    users: dict[Name, set[Name]] = {}
    live: set[Name] = set()
    for stmt in ir.statements(body):
        read = {expr.name for root in ir.expressions(stmt) for expr in ir.walk(root) if isinstance(expr, ir.Var)}
        if isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)):
            users.setdefault(stmt.name, set()).update(read)
        else:
            live |= read
        if isinstance(stmt, ir.For):
            users.setdefault(stmt.index, set())
    pending = list(live)
    while pending:
        for name in users.get(pending.pop(), ()):
            if name not in live:
                live.add(name)
                pending.append(name)
    return live


def _buffers(stmt: Stmt, used: set[Name]) -> set[Name]:
    """The buffers that a statement touches, if it matters."""
    if isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)) and stmt.name not in used:
        return set()
    found = {expr.buffer for root in ir.expressions(stmt) for expr in ir.walk(root) if isinstance(expr, ir.Load)}
    if isinstance(stmt, ir.Store):
        found.add(stmt.buffer)
    elif isinstance(stmt, ir.Call):
        found.update(argument for argument in stmt.args if isinstance(argument, str))
    return found


def _size_names(dim: Dim) -> set[Name]:
    return set(dims.names(dim))
