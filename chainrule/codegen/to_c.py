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

from . import ir
from .c_expressions import Buffer, Expressions
from .c_lanes import Segment, argument, crossing, segments
from .c_primitives import FLOATS, apply, fused_multiply_add
from .c_runtime import PRELUDE, Runtime
from .c_text import ATOM, ORDER, TYPES, Names, Text, call, comment_lines, constant
from .c_usage import buffers_used, fused_variables, live_names, names_used
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

    It needs only ``<math.h>``, ``<stdbool.h>``, ``<stdint.h>`` and ``<string.h>``, and compiles without warnings. The
    results are the bits of the kernel compiled through LLVM, but for the payloads of NaN, and for which zero ``fmax``
    and ``fmin`` make of 0 and −0. A name that C or ``<math.h>`` has for itself gets an underscore.

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


_COMBINE: Final = {
    "sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "any": "logical_or", "all": "logical_and",
    "sum_of_logs": "add",
}  # fmt: skip
_IN_PLACE: Final = ("+", "*", "|", "&")


def _neutral(kind: str, dtype: DTypeName) -> Text:
    """What a reduction starts from in each lane; −0.0, not 0.0, leaves every float as it is."""
    match kind:
        case "sum" | "sum_of_logs":
            return constant(-0.0 if dtype in FLOATS else 0, dtype)
        case "prod" | "all":
            return constant(1, dtype)
        case "any":
            return constant(0, dtype)
    if dtype in FLOATS:
        return constant(float("inf") if kind == "min" else float("-inf"), dtype)
    bits = 63 if dtype == "int64" else 31
    return constant((1 << bits) - 1 if kind == "min" else -(1 << bits), dtype)


class _Emitter(Expressions):
    """Emits one kernel, statement by statement."""

    def __init__(self, kernel: ir.Kernel, name: str, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.kernel = kernel
        self.name = name
        self.externs: list[str] = []
        self.lines: list[str] = []
        self.depth = 1
        self.reductions: dict[Name, tuple[str, DTypeName]] = {}
        self.logs: dict[Name, list[str]] = {}  # sum of logarithms → its arrays: product, low part, exponent
        self.variables: set[Name] = set()
        self.fused |= fused_variables(kernel.body)
        self.used = live_names(kernel.body)
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
        used = self.used.union(*(buffers_used(stmt, self.used) for stmt in ir.statements(self.kernel.body)))
        for parameter in self.kernel.parameters:
            if parameter.kind in ("array", "result"):
                self.buffers[parameter.name] = Buffer(self.names[parameter.name], parameter.dtype)
            elif parameter.kind == "size":
                self.counters.add(parameter.name)
        scratch = {name: place for name, place in self.scratch.items() if name in used}
        for place in scratch.values():
            used |= set(dims.names(place.offset))
        for parameter in self.kernel.parameters:
            if parameter.name not in used:
                self.line(f"(void){self.names[parameter.name]};")
        if self._has_workspace() and not scratch:
            self.line("(void)workspace;")
        for name, place in scratch.items():
            type_, variable = TYPES[place.dtype], self.names[name]
            self.buffers[name] = Buffer(variable, place.dtype, place.copies)
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
                    self.line(f"{self.place(stmt.name)} = {self.value(stmt.value).text};")
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
            case ir.Section():
                self.line("{")
                self.depth += 1
                self.block(stmt.body)
                self.close()
            case ir.Break():
                self.line("break;")
            case ir.Call():
                self._call(stmt)
            case _:
                assert_never(stmt)

    def guarded(self, guard: Expr | None, action: str) -> None:
        self.line(action if guard is None else f"if ({self.value(guard).text}) {action}")

    def _binding(self, stmt: ir.Let | ir.Declare) -> None:
        if stmt.name not in self.used:
            return
        value = self.value(stmt.value).text
        if isinstance(stmt, ir.Declare):
            self.variables.add(stmt.name)
        elif self.is_counter(stmt.value):
            self.counters.add(stmt.name)
        elif ir.factors(stmt.value):
            self.products.add(stmt.name)
        elif self.is_fused(stmt.value):
            self.fused.add(stmt.name)
        if stmt.name in self.places:
            self.line(f"{self.places[stmt.name]} = {value};")
        else:
            const = "const " if isinstance(stmt, ir.Let) else ""
            self.line(f"{const}{TYPES[stmt.value.dtype]} {self.names[stmt.name]} = {value};")

    def _accumulation(self, stmt: ir.Accumulate) -> None:
        if stmt.name not in self.used:
            return
        kind, dtype = self.reductions[stmt.name]
        place = self.place(stmt.name)
        if stmt.name in self.logs:
            places = [Text(f"&{array}[lane]") for array in self.logs[stmt.name]]
            self.guarded(stmt.guard, f"{call(self.runtime.of_logs('add_log'), *places, self.value(stmt.value)).text};")
            return
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
        for given in stmt.args:
            if isinstance(given, str):
                arguments.append(Text(f"(void *){self.buffers[given].name}"))
                types.append("void *")
            else:
                arguments.append(self.value(given))
                types.append(TYPES[given.dtype])
        self.externs.append(f"extern void {stmt.symbol}({', '.join(types) or 'void'});")
        self.line(f"{call(stmt.symbol, *arguments).text};")

    # --- loops --------------------------------------------------------------------------------------------------------

    def _while(self, stmt: ir.While) -> None:
        counted = stmt.index in self.used
        if counted:
            self.counters.add(stmt.index)
        if not stmt.head and not counted:
            self.open(f"while ({self.value(stmt.condition).text})")
        else:
            name = self.names[stmt.index] if counted else ""
            self.open(f"for (int64_t {name} = 0;; {name}++)" if counted else "for (;;)")
            self.block(stmt.head)
            self.line(f"if (!{self.value(stmt.condition).inside(ATOM)}) break;")
        self.block(stmt.body)
        self.close()

    def _serial_loop(self, stmt: ir.For) -> None:
        for reduction in stmt.reductions:
            self.reductions[reduction.name] = reduction.kind, reduction.dtype
        index, extent = self._counter(stmt), self._extent(stmt)
        if stmt.descending:
            self.open(f"for (int64_t {index} = {extent.text} - 1; {index} >= 0; {index}--)")
        else:
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
        self._take_logs(reductions, stmt.width)
        self._combine_lanes(reductions, partial, stmt.width)

    def _without_dead(self, body: Block) -> Block:
        return tuple(
            stmt for stmt in body
            if not isinstance(stmt, (ir.Let, ir.Declare, ir.Assign, ir.Accumulate)) or stmt.name in self.used
        )  # fmt: skip

    def _segment(self, part: Segment, stmt: ir.For, index: str, first: str) -> None:
        """One loop over the lanes of a block."""
        if part.function:
            symbol = self.runtime.elementary_of_lanes(part.function)
            results = [self.names[stmt.name] for stmt in part.statements if isinstance(stmt, ir.Let)]
            self.line(f"{symbol}(lanes, {', '.join([self.names[argument(part.statements[0]).name], *results])});")
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
            if reduction.kind == "sum_of_logs":
                rest = [self.names.fresh(f"{array}_{part}") for part in ("low", "exponent")]
                self.logs[reduction.name] = [array, *rest]
                self.line(f"double {', '.join(f'{name}[{width}]' for name in rest)};")
        if partial:
            self.open(f"for (int lane = 0; lane < {width}; lane++)")
            for reduction in reductions:
                if reduction.name in self.logs:
                    product, low, exponent = self.logs[reduction.name]
                    self.line(f"{product}[lane] = 1.0, {low}[lane] = 0.0, {exponent}[lane] = 0.0;")
                    continue
                neutral = _neutral(reduction.kind, reduction.dtype)
                self.line(f"{partial[reduction.name]}[lane] = {neutral.text};")
            self.close()
        for name, array in partial.items():
            self.places[name] = f"{array}[lane]"
        return partial

    def _take_logs(self, reductions: Sequence[ir.Reduction], width: int) -> None:
        """The logarithms of the lanes' products."""
        for reduction in reductions:
            arrays = self.logs.pop(reduction.name, None)
            if arrays is not None:
                self.open(f"for (int lane = 0; lane < {width}; lane++)")
                parts = [Text(f"{array}[lane]") for array in arrays]
                self.line(f"{arrays[0]}[lane] = {call(self.runtime.of_logs('total_of_logs'), *parts).text};")
                self.close()

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
