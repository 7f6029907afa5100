"""LoopIR run directly on NumPy arrays, one element at a time: what every emitter has to agree with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from chainrule.codegen import ir
from chainrule.codegen.signature import Signature, evaluate_size
from chainrule.graph.dim import evaluate
from chainrule.graph.dtype import real_of
from chainrule.graph.namespaces import numpy_namespace

Names: TypeAlias = dict[str, Any]
_COMBINE = {
    "sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum,
    "any": np.logical_or, "all": np.logical_and, "sum_of_logs": lambda before, x: before + np.log(x),
}  # fmt: skip


class _Leave(Exception):
    """``Break``."""


class Interpreter:
    """Runs kernels. Names live in one dict, as they are unique; a buffer is a flat array."""

    def __init__(self, buffers: Mapping[str, Any], names: Names, sizes: Mapping[str, int]) -> None:
        self.buffers, self.names, self.sizes = dict(buffers), names, sizes
        self.kinds: dict[str, str] = {}
        self.functions = numpy_namespace()

    # --- expressions --------------------------------------------------------------------------------------

    def value(self, expr: ir.Expr) -> Any:
        match expr:
            case ir.Var(name, _):
                return self.names[name]
            case ir.Literal(bits, dtype):
                kind = np.dtype(dtype)
                return np.frombuffer(bits.to_bytes(kind.itemsize, "little"), kind)[0]
            case ir.Load(buffer, index, _, guard):
                array = self.buffers[buffer]
                if guard is not None and not self.value(guard):
                    return array.dtype.type(0)
                at = int(self.value(index))
                assert 0 <= at < len(array), f"{buffer}[{at}] of {len(array)}"
                return array[at]
            case ir.Apply(name, args, dtype):
                values = [self.value(a) for a in args]
                result = getattr(self.functions, name)(*values)
                return np.dtype(dtype).type(result)
            case ir.Fma(a, b, c, dtype):
                return np.dtype(dtype).type(self.value(a) * self.value(b) + self.value(c))
            case ir.Cast(value, dtype):
                return np.asarray(self.value(value)).astype(dtype)[()]

    # --- statements ---------------------------------------------------------------------------------------

    def block(self, block: Sequence[ir.Stmt]) -> None:
        for stmt in block:
            self.statement(stmt)

    def statement(self, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Let(name, value) | ir.Declare(name, value) | ir.Assign(name, value):
                self.names[name] = self.value(value)
            case ir.Accumulate(name, value, guard):
                if guard is None or self.value(guard):
                    before = self.names[name]
                    self.names[name] = type(before)(_COMBINE[self.kinds[name]](before, self.value(value)))
            case ir.Store(buffer, index, value, guard):
                if guard is None or self.value(guard):
                    at = int(self.value(index))
                    assert 0 <= at < len(self.buffers[buffer]), (
                        f"{buffer}[{at}] of {len(self.buffers[buffer])}"
                    )
                    self.buffers[buffer][at] = self.value(value)
            case ir.Alloc(buffer, dtype, count):
                fill = np.nan if dtype.startswith("float") else 77
                self.buffers[buffer] = np.full(evaluate(count, self.sizes), fill, dtype)
            case ir.For(index, extent, _, body, reductions, _, descending):
                for reduction in reductions:
                    self.kinds[reduction.name] = reduction.kind
                try:
                    steps = range(int(self.value(extent)))
                    for k in reversed(steps) if descending else steps:
                        self.names[index] = np.int64(k)
                        self.block(body)
                except _Leave:
                    pass
            case ir.While(head, condition, body, index):
                try:
                    for k in itertools.count():
                        self.names[index] = np.int64(k)
                        self.block(head)
                        if not self.value(condition):
                            break
                        self.block(body)
                except _Leave:
                    pass
            case ir.If(condition, then, otherwise):
                self.block(then if self.value(condition) else otherwise)
            case ir.Section(body):
                self.block(body)
            case ir.Break():
                raise _Leave
            case ir.Call(symbol, _):
                raise AssertionError(f"no {symbol} here")


def run(kernel: ir.Kernel, signature: Signature, *args: Any) -> list[Any]:
    """The results of a kernel, as arrays and NumPy scalars."""
    arguments = (*signature.inputs, *signature.hidden)
    sizes: dict[str, int] = {}
    names: Names = {}
    buffers: dict[str, Any] = {}
    parameters = iter(kernel.parameters)
    for argument, given in zip(arguments, args, strict=True):
        array = np.array(given, argument.dtype, order="C")
        assert array.ndim == len(argument.shape)
        for dim, n in zip(argument.shape, array.shape, strict=True):
            assert sizes.setdefault(dim, n) == n if isinstance(dim, str) else dim == n
        if argument.shape:
            buffers[next(parameters).name] = array.view(real_of(array.dtype)).reshape(-1)
        else:
            for number in array.reshape(1).view(real_of(array.dtype)):
                names[next(parameters).name] = number
    for size in signature.sizes:
        parameter = next(parameters)
        assert (parameter.name, parameter.kind) == (size, "size")
        names[size] = np.int64(sizes[size])
    results = []
    for argument in signature.results:
        shape = tuple(evaluate_size(d, sizes) for d in argument.shape)
        result = np.full(shape, 1, argument.dtype)
        results.append(result)
        buffers[next(parameters).name] = result.reshape(-1).view(real_of(result.dtype))
    with np.errstate(all="ignore"):
        Interpreter(buffers, names, sizes).block(kernel.body)
    return [r[()] for r in results]
