"""The elementary functions of `vecmath` as LLVM functions, one for each width: ``@exp.v8f64``, ``@log.f64``.

Called from few places they are inlined. The text of each is made once in a process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .llvm_builder import COLD, INLINE, KEEPS_VECTORS, Code, Definition, Module, constant, suffix, type_of
from .vecmath import FUNCTIONS, sincos
from .vecmath_polygamma import polygamma


class LaneOps:
    """`vecmath.Ops` over a `Code`: float64 and int64 operands are texts, masks are texts of ``i1``.

    ``running``: the mask of the lanes that count; the others take no slow path. None: all do.
    """

    jumps = True

    def __init__(self, code: Code, lanes: int, running: str | None = None) -> None:
        self.code = code
        self.lanes = lanes
        self.running = running
        self._float = type_of("float64", lanes)
        self._int = type_of("int64", lanes)
        self._mask = type_of("bool", lanes)

    def const(self, value: float, /) -> str:
        return constant(value, "float64", self.lanes)

    def iconst(self, value: int, /) -> str:
        signed = (value + (1 << 63)) % (1 << 64) - (1 << 63)
        return constant(signed, "int64", self.lanes)

    def _of_floats(self, instruction: str, a: str, b: str) -> str:
        return self.code.let(f"{instruction} {self._float} {a}, {b}")

    def _of_ints(self, instruction: str, a: str, b: str) -> str:
        return self.code.let(f"{instruction} {self._int} {a}, {b}")

    def _of_masks(self, instruction: str, a: str, b: str) -> str:
        return self.code.let(f"{instruction} {self._mask} {a}, {b}")

    def _intrinsic(self, name: str, *operands: str) -> str:
        return self.code.intrinsic(name, "float64", self.lanes, *operands)

    def add(self, a: str, b: str, /) -> str:
        return self._of_floats("fadd", a, b)

    def sub(self, a: str, b: str, /) -> str:
        return self._of_floats("fsub", a, b)

    def mul(self, a: str, b: str, /) -> str:
        return self._of_floats("fmul", a, b)

    def div(self, a: str, b: str, /) -> str:
        return self._of_floats("fdiv", a, b)

    def neg(self, a: str, /) -> str:
        return self.code.let(f"fneg {self._float} {a}")

    def fma(self, a: str, b: str, c: str, /) -> str:
        return self._intrinsic("fma", a, b, c)

    def sqrt(self, a: str, /) -> str:
        return self._intrinsic("sqrt", a)

    def abs(self, a: str, /) -> str:
        return self._intrinsic("fabs", a)

    def floor(self, a: str, /) -> str:
        return self._intrinsic("floor", a)

    def rint(self, a: str, /) -> str:
        return self._intrinsic("roundeven", a)

    def copysign(self, magnitude: str, sign: str, /) -> str:
        return self._intrinsic("copysign", magnitude, sign)

    def bits(self, a: str, /) -> str:
        return self.code.let(f"bitcast {self._float} {a} to {self._int}")

    def double(self, a: str, /) -> str:
        return self.code.let(f"bitcast {self._int} {a} to {self._float}")

    def iadd(self, a: str, b: str, /) -> str:
        return self._of_ints("add", a, b)

    def isub(self, a: str, b: str, /) -> str:
        return self._of_ints("sub", a, b)

    def iand(self, a: str, b: str, /) -> str:
        return self._of_ints("and", a, b)

    def ior(self, a: str, b: str, /) -> str:
        return self._of_ints("or", a, b)

    def ixor(self, a: str, b: str, /) -> str:
        return self._of_ints("xor", a, b)

    def shl(self, a: str, count: int, /) -> str:
        return self._of_ints("shl", a, self.iconst(count))

    def ashr(self, a: str, count: int, /) -> str:
        return self._of_ints("ashr", a, self.iconst(count))

    def lshr(self, a: str, count: int, /) -> str:
        return self._of_ints("lshr", a, self.iconst(count))

    def lt(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp olt", a, b)

    def le(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp ole", a, b)

    def gt(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp ogt", a, b)

    def ge(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp oge", a, b)

    def eq(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp oeq", a, b)

    def ne(self, a: str, b: str, /) -> str:
        return self._of_floats("fcmp une", a, b)

    def unordered(self, a: str, /) -> str:
        return self._of_floats("fcmp uno", a, a)

    def ieq(self, a: str, b: str, /) -> str:
        return self._of_ints("icmp eq", a, b)

    def ilt(self, a: str, b: str, /) -> str:
        return self._of_ints("icmp slt", a, b)

    def select(self, mask: str, a: str, b: str, /) -> str:
        return self.code.let(f"select {self._mask} {mask}, {self._float} {a}, {self._float} {b}")

    def iselect(self, mask: str, a: str, b: str, /) -> str:
        return self.code.let(f"select {self._mask} {mask}, {self._int} {a}, {self._int} {b}")

    def mask_and(self, a: str, b: str, /) -> str:
        return self._of_masks("and", a, b)

    def mask_or(self, a: str, b: str, /) -> str:
        return self._of_masks("or", a, b)

    def mask_not(self, a: str, /) -> str:
        return self._of_masks("xor", a, constant(True, "bool", self.lanes))

    def any(
        self,
        mask: str,
        rare: Callable[..., tuple[str, ...]],
        args: tuple[str, ...],
        default: tuple[str, ...],
        /,
    ) -> tuple[str, ...]:
        """A branch around a call of ``rare``, which is a function of the module."""
        code = self.code
        if self.running is not None:
            mask = self.mask_and(mask, self.running)
        symbol = _rare_function(code.module, rare, len(args), len(default), self.lanes)
        slow, join, before = code.fresh(), code.fresh(), code.block
        code.branch(code.any_lane(mask, self.lanes), slow, join, rare=True)
        code.start(slow)
        results = code.call(
            symbol, _tuple_type(self.lanes, len(default)), [(self._float, arg) for arg in args], KEEPS_VECTORS
        )
        chosen = []
        for i, usual in enumerate(default):
            value = code.let(f"extractvalue {_tuple_type(self.lanes, len(default))} {results}, {i}")
            chosen.append(self.select(mask, value, usual))
        code.jump(join)
        code.start(join)
        return tuple(
            code.let(f"phi {self._float} [ {usual}, %{before} ], [ {value}, %{slow} ]")
            for usual, value in zip(default, chosen, strict=True)
        )


def _tuple_type(lanes: int, count: int) -> str:
    return "{ " + ", ".join([type_of("float64", lanes)] * count) + " }"


def _parameters(lanes: int, count: int) -> str:
    return ", ".join(f"{type_of('float64', lanes)} %a{i}" for i in range(count))


def _rare_function(
    module: Module, rare: Callable[..., tuple[str, ...]], arity: int, count: int, lanes: int
) -> str:
    symbol = f"{rare.__name__}.{suffix('float64', lanes)}"
    if symbol not in module.definitions:
        code = Code(module)
        result = "poison"
        values = rare(LaneOps(code, lanes), *(f"%a{i}" for i in range(arity)))
        for i, value in enumerate(values):
            result = code.let(
                f"insertvalue {_tuple_type(lanes, count)} {result}, {type_of('float64', lanes)} {value}, {i}"
            )
        code.do(f"ret {_tuple_type(lanes, count)} {result}")
        type_ = f"{KEEPS_VECTORS}{_tuple_type(lanes, count)}"
        head = f"define internal {type_} @{symbol}({_parameters(lanes, arity)})"
        module.definitions[symbol] = Definition(head, code.text(), COLD)
    return symbol


def has_lane_code(name: str) -> bool:
    """Whether a primitive is a function of `vecmath`; ``polygamma3`` is that of order 3."""
    return name in FUNCTIONS or name.startswith("polygamma")


def _emitter(name: str) -> Callable[..., Any]:
    return FUNCTIONS[name] if name in FUNCTIONS else polygamma(int(name.removeprefix("polygamma")))


@functools.cache
def _elementary(name: str, arity: int, lanes: int) -> Module:
    """A module with one elementary function, kept because making its text costs more than using it."""
    module = Module()
    code = Code(module)
    value: Any = _emitter(name)(LaneOps(code, lanes, "%running"), *(f"%a{i}" for i in range(arity)))
    type_ = type_of("float64", lanes)
    code.do(f"ret {type_} {value}")
    symbol = f"{name}.{suffix('float64', lanes)}"
    parameters = f"{_parameters(lanes, arity)}, {type_of('bool', lanes)} %running"
    head = f"define internal {type_} @{symbol}({parameters})"
    module.definitions[symbol] = Definition(head, code.text(), INLINE)
    return module


def call_elementary(
    code: Code, name: str, operands: Sequence[str], lanes: int, running: str | None = None
) -> str:
    """An elementary function of `vecmath` on float64 operands, by a function such as ``@exp.v8f64``.

    ``running``: the mask of the lanes of which the result is needed, if not all.
    """
    symbol = f"{name}.{suffix('float64', lanes)}"
    if symbol not in code.module.definitions:
        code.module.include(_elementary(name, len(operands), lanes))
    type_ = type_of("float64", lanes)
    arguments = [(type_, operand) for operand in operands]
    return code.call(symbol, type_, [*arguments, _mask(running, lanes)])


def _mask(running: str | None, lanes: int) -> tuple[str, str]:
    return type_of("bool", lanes), running or constant(True, "bool", lanes)


@functools.cache
def _sincos(lanes: int) -> Module:
    module = Module()
    code = Code(module)
    type_, pair = type_of("float64", lanes), _tuple_type(lanes, 2)
    result = "poison"
    for i, value in enumerate(sincos(LaneOps(code, lanes, "%running"), "%a0")):
        result = code.let(f"insertvalue {pair} {result}, {type_} {value}, {i}")
    code.do(f"ret {pair} {result}")
    symbol = f"sincos.{suffix('float64', lanes)}"
    head = f"define internal {pair} @{symbol}({type_} %a0, {type_of('bool', lanes)} %running)"
    module.definitions[symbol] = Definition(head, code.text(), INLINE)
    return module


def call_sincos(code: Code, operand: str, lanes: int, running: str | None = None) -> tuple[str, str]:
    """Sine and cosine of one float64 operand, which share most of their work (see `call_elementary`)."""
    symbol = f"sincos.{suffix('float64', lanes)}"
    if symbol not in code.module.definitions:
        code.module.include(_sincos(lanes))
    pair = _tuple_type(lanes, 2)
    both = code.call(symbol, pair, [(type_of("float64", lanes), operand), _mask(running, lanes)])
    return code.let(f"extractvalue {pair} {both}, 0"), code.let(f"extractvalue {pair} {both}, 1")
