"""Programs that are compiled both ways, through C and through LLVM, each with arguments of several lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.codegen import ir
from chainrule.codegen.kernel import signature_of
from chainrule.codegen.lower import lower
from chainrule.codegen.signature import Signature
from chainrule.codegen.verify import verify
from chainrule.graph.scalar import PRIMITIVES
from chainrule.scipy.special import erf
from tests.codegen.kernels import (
    SIZE,
    N,
    array,
    index,
    integer,
    iop,
    lanes,
    literal,
    load,
    op,
    predicate,
    result,
    var,
)  # fmt: skip

RNG = np.random.default_rng(11)
LENGTHS = (0, 1, 7, 8, 9, 1000)
N_ = cr.spec("n")


@dataclass(frozen=True)
class Program:
    """A kernel and what to call it with."""

    kernel: ir.Kernel
    signature: Signature
    calls: Sequence[tuple[Any, ...]]


PROGRAMS: dict[str, Callable[[str], Program]] = {}


def program(*specs: Any, calls: Callable[[], Sequence[tuple[Any, ...]]]) -> Callable[[Any], Any]:
    """Adds a function with the types and the values of its arguments."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        def build(name: str) -> Program:
            graph = cr.trace(cr.jit(function), *specs)
            kernel = lower(graph, name)
            verify(kernel)
            return Program(kernel, signature_of(graph, workspace=kernel.workspace), calls())

        PROGRAMS[function.__name__] = build
        return function

    return add


def vectors(*lengths: int, count: int = 1) -> Callable[[], Sequence[tuple[Any, ...]]]:
    return lambda: [tuple(RNG.normal(size=length) for _ in range(count)) for length in lengths or LENGTHS]


# --- elementwise and reductions -----------------------------------------------------------------------------


@program(cr.spec(), cr.spec(), calls=lambda: [(0.7, 1.3), (-0.2, 5.0), (np.inf, 0.0)])
def scalars(x: Any, y: Any) -> Any:
    return np.sin(x) * y + np.exp(x) / (1 + y * y), np.where(x > y, np.sqrt(np.abs(x)), y), np.arctan2(x, y)


@program(N_, N_, calls=vectors(count=2))
def elementwise(x: Any, y: Any) -> Any:
    return x * y + 1, np.where(x > 0, np.log(np.abs(x) + 1), np.tanh(y)), x > y


@program(N_, N_, calls=vectors(count=2))
def sums(x: Any, y: Any) -> Any:
    return np.sum(x), np.sum(x * y), np.sum(np.exp(x)), np.prod(1 + 0.1 * x), np.mean(y)


@program(
    N_,
    calls=lambda: (
        [(np.exp(10 * RNG.normal(size=n)),) for n in (*LENGTHS, 40_000)]
        + [(np.append(np.full(100, 5e-324), v),) for v in (0.0, np.inf, -1.0, np.nan, 1e-310, [0.0, np.inf])]
    ),
)
def sums_of_logs(x: Any) -> Any:
    return np.sum(np.log(x)), np.sum(np.sqrt(x))


@program(N_, calls=lambda: [(RNG.normal(size=n),) for n in LENGTHS if n] + [(np.array([1.0, np.nan, 0.0, -0.0, 3.0]),)])
def extrema(x: Any) -> Any:
    return np.min(x), np.max(x), np.max(np.abs(x)), np.any(x > 2), np.all(x > -2)


@program(N_, calls=vectors())
def trigonometric_sum(x: Any) -> Any:
    z = 100 * x
    return np.sum(np.sin(z) * np.cos(z) + np.tan(x)), np.sin(1e12 * x)


@program(cr.spec("n", dtype=np.int64), calls=lambda: [(RNG.integers(-50, 50, n),) for n in LENGTHS])
def integers(k: Any) -> Any:
    return np.sum(k), k // 7, k % 5, -k * k, k.astype(np.float64) / 3, np.sum(k > 3)


@program(cr.spec("n", dtype=np.float32), calls=lambda: [(RNG.normal(size=n).astype(np.float32),) for n in LENGTHS])
def single_precision(x: Any) -> Any:
    return np.sum(x * x), np.exp(x) - np.sqrt(np.abs(x)), np.sin(x), x.astype(np.float64) * 0.1


@program(
    cr.spec("n", dtype=np.complex128),
    calls=lambda: [(RNG.normal(size=n) + 1j * RNG.normal(size=n),) for n in LENGTHS],
)
def complex_numbers(z: Any) -> Any:
    return np.sum(z * np.conj(z)), np.exp(z) * z, np.abs(z), np.sum(z)


# --- shapes, indices ----------------------------------------------------------------------------------------


@program(cr.spec("n", 5), calls=lambda: [(RNG.normal(size=(n, 5)),) for n in (2, 7, 8, 9, 33)])
def partial_reductions(a: Any) -> Any:
    return np.sum(a, axis=0), np.sum(a, axis=1), np.max(a, axis=0), np.min(a, axis=1), np.cumsum(a, axis=0)


@program(cr.spec("n", "m"), calls=lambda: [(RNG.normal(size=s),) for s in ((2, 3), (8, 9), (16, 17), (30, 2))])
def views(a: Any) -> Any:
    return a.T * 2, a[::-1, 1:], np.concatenate([a, 2 * a]), np.reshape(a, (-1,))[::2], a[:, :, None] * a[:, None, :]


@program(
    cr.spec(20), cr.spec("n", dtype=np.int64),
    calls=lambda: [(RNG.normal(size=20), RNG.integers(0, 20, n)) for n in LENGTHS],
)  # fmt: skip
def gathers(x: Any, k: Any) -> Any:
    return x[k], np.sum(x[k] * x[k])


@program(cr.spec(6), cr.spec("n", dtype=np.int64), N_, calls=lambda: [
    (RNG.normal(size=6), RNG.integers(0, 6, n), RNG.normal(size=n)) for n in LENGTHS])  # fmt: skip
def scatters(x: Any, k: Any, v: Any) -> Any:
    return cr.numpy.asarray(x).at[k].add(v)


@program(
    cr.spec("n", 4), cr.spec(4, "m"),
    calls=lambda: [(RNG.normal(size=(n, 4)), RNG.normal(size=(4, 9))) for n in (2, 7, 16)],
)  # fmt: skip
def products(a: Any, b: Any) -> Any:
    return a @ b


# --- branches and loops -------------------------------------------------------------------------------------


@program(cr.spec(), cr.spec(), calls=lambda: [(0.5, 2.0), (-0.5, 2.0)])
def branches(x: Any, y: Any) -> Any:
    return cr.cond(x > 0, lambda a, b: np.log(a) + b, lambda a, b: np.exp(a) * b, x, y)


@program(cr.spec(), calls=lambda: [(2.0,), (1e6,), (0.3,)])
def newton(a: Any) -> Any:
    return cr.while_loop(lambda s: np.abs(s * s - a) > 1e-12 * a, lambda s: 0.5 * (s + a / s), a)


@program(N_, calls=lambda: [(np.abs(RNG.normal(size=n)) + 0.1,) for n in LENGTHS])
def newton_of_many(a: Any) -> Any:
    return cr.vmap(lambda v: cr.while_loop(lambda s: np.abs(s * s - v) > 1e-12 * v, lambda s: 0.5 * (s + v / s), v))(a)


def _kepler(mean: Any, e: Any) -> Any:
    x, step = mean, 1.0
    while np.abs(step) > 1e-12:
        step = (x - e * np.sin(x) - mean) / (1 - e * np.cos(x))
        x = x - step
    return x


_MEANS = [(RNG.uniform(0.1, 3.0, n), 0.6) for n in (0, 1, 31, 32, 33, 100)]


@program(N_, cr.spec(), calls=lambda: _MEANS)
def kepler_forward(means: Any, e: Any) -> Any:
    return cr.vmap(cr.value_and_grad(_kepler, (0, 1)), in_axes=(0, None))(means, e)


@program(N_, cr.spec(), calls=lambda: _MEANS)
def kepler_reverse(means: Any, e: Any) -> Any:
    return cr.vmap(cr.jacrev(_kepler, (0, 1)), in_axes=(0, None))(means, e)


@program(N_, calls=lambda: [(RNG.uniform(0.0, 300.0, n),) for n in (1, 7, 40)])
def many_steps_in_reverse(x: Any) -> Any:
    """More steps than are recorded, of different numbers."""

    def halved(x: Any) -> Any:
        y, n = np.sin(x), 0.0
        while n < x:
            y, n = np.sin(y) + 0.1 * x, n + 1.0
        return y

    return cr.vmap(cr.jacrev(halved))(x)


@program(cr.spec(), N_, calls=lambda: [(0.1, RNG.normal(size=n)) for n in (2, 7, 50)])
def scanned(start: Any, x: Any) -> Any:
    return cr.scan(lambda c, v: (np.tanh(c + v), c * v), start, x)


def _walk(x: Any, w: Any) -> Any:
    end, _ = cr.scan(lambda c, v: (np.sin(c * w) + v, c), w, x)
    return end * end


@program(N_, cr.spec(), calls=lambda: [(RNG.normal(size=n), 0.3) for n in (2, 7, 50)])
def derivative_of_a_scan(x: Any, w: Any) -> Any:
    return cr.jvp(lambda v: _walk(x, v), (w,), (1.0,))


def _likelihood(p: Any, x: Any) -> Any:
    """The negative log likelihood of a Gaussian signal over an exponential background on [0, 10]."""
    f, tau, mu, sigma = p[0], p[1], p[2], p[3]
    z = (x - mu) / sigma
    area = (erf((10 - mu) / (sigma * math.sqrt(2))) + erf(mu / (sigma * math.sqrt(2)))) / 2
    signal = np.exp(-0.5 * z * z) / (sigma * math.sqrt(2 * math.pi) * area)
    background = np.exp(-x / tau) / (tau * (1 - np.exp(-10 / tau)))
    return -np.log(f * signal + (1 - f) * background).sum()


@program(
    cr.spec(4), N_, calls=lambda: [(np.array([0.3, 4.0, 5.0, 0.7]), 10 * RNG.random(n)) for n in (*LENGTHS, 1001)]
)
def likelihood(p: Any, x: Any) -> Any:
    return cr.value_and_grad(_likelihood)(p, x)


@program(cr.spec(4), N_, calls=lambda: [(np.array([0.3, 4.0, 5.0, 0.7]), 10 * RNG.random(n)) for n in (0, 9, 1000)])
def likelihood_with_hessian(p: Any, x: Any) -> Any:
    return cr.value_grad_hess(_likelihood)(p, x)


# --- loops by hand: what lowering makes seldom --------------------------------------------------------------


@dataclass(frozen=True)
class ByHand:
    """A kernel, and arguments of which those for results come last."""

    kernel: ir.Kernel
    arguments: Callable[[int], tuple[Any, ...]]


def by_hand(name: str, parameters: Sequence[ir.Parameter], body: Sequence[ir.Stmt], workspace: int = 0) -> ir.Kernel:
    made = ir.Kernel(name, tuple(parameters), tuple(body), workspace)
    verify(made)
    return made


def _scratch_of_lanes() -> ByHand:
    """Each lane fills three elements of its own, and leaves a loop over them when it likes."""
    place = ir.Var("j", "int64")
    fill = ir.For("j", integer(3), "serial", (
        ir.Store("w", place, op("mul", load("x", index()), ir.Cast(iop("add", place, integer(1)), "float64"))),
    ))  # fmt: skip
    k, total = ir.Var("k", "int64"), var("total")
    add = ir.For("k", integer(3), "serial", (
        ir.If(predicate("gt", load("w", k), literal(1.5)), (ir.Break(),)),
        ir.Assign("total", op("add", total, load("w", k))),
    ))  # fmt: skip
    body = lanes([
        ir.Alloc("w", "float64", 3), ir.Declare("total", literal(0.0)), fill, add, ir.Store("y", index(), total),
    ])  # fmt: skip
    made = by_hand("scratch_of_lanes", [array("x"), SIZE, result("y")], [body], workspace=8 * 3 * 8)
    return ByHand(made, lambda n: (RNG.normal(size=n), n, np.zeros(n), np.zeros(24)))


def _guards() -> ByHand:
    """Nothing is read, written or added where a guard does not hold; the variable keeps what it had."""
    positive = ir.Var("positive", "bool")
    reductions = [ir.Reduction("total", "sum", "float64"), ir.Reduction("low", "min", "float64"),
                  ir.Reduction("some", "any", "bool")]  # fmt: skip
    body = lanes([
        ir.Let("positive", predicate("gt", load("x", index()), literal(0.0))),
        ir.Let("t", load("z", index(), guard=positive)),
        ir.Accumulate("total", op("mul", var("t"), var("t")), positive),
        ir.Accumulate("low", var("t"), positive),
        ir.Accumulate("some", positive),
        ir.Store("y", index(), var("t"), positive),
    ], reductions, width=16)  # fmt: skip
    declared = [ir.Declare("total", literal(0.25)), ir.Declare("low", literal(9.0)),
                ir.Declare("some", literal(False, "bool"))]  # fmt: skip
    stores = [ir.Store("s", integer(0), var("total")), ir.Store("s", integer(1), var("low")),
              ir.Store("b", integer(0), ir.Var("some", "bool"))]  # fmt: skip
    parameters = [array("x"), array("z"), SIZE, result("y"), result("s"), result("b", "bool")]
    made = by_hand("guards", parameters, [*declared, body, *stores])
    return ByHand(
        made, lambda n: (RNG.normal(size=n), RNG.normal(size=n), n, np.ones(n), np.zeros(2), np.zeros(1, bool))
    )


def _wrapping() -> ByHand:
    """Integers wrap; sizes and names that C has for itself come through."""
    body = lanes([
        ir.Let("double", load("int", index(), "int64")),
        ir.Store("y", index(), iop("add", iop("mul", index("double"), index("double")), index("double"))),
        ir.Accumulate("sqrt", index("double")),
    ], [ir.Reduction("sqrt", "sum", "int64")])  # fmt: skip
    block = [ir.Declare("sqrt", integer(0)), body, ir.Store("lane", integer(0), index("sqrt"))]
    parameters = [array("int", "int64"), SIZE, result("y", "int64"), result("lane", "int64")]
    made = by_hand("wrapping", parameters, block)
    ends = np.iinfo(np.int64)
    return ByHand(
        made, lambda n: (RNG.integers(ends.min, ends.max, n), n, np.zeros(n, np.int64), np.zeros(1, np.int64))
    )


def _backwards() -> ByHand:
    """A number of steps that is counted, and a loop of as many steps from the last one down."""
    k, j, steps = (ir.Var(name, "int64") for name in ("k", "j", "steps"))
    halve = (ir.Assign("v", op("mul", var("v"), literal(0.5))), ir.Assign("steps", iop("add", k, integer(1))))
    again = op("add", op("mul", var("v"), literal(3.0)), ir.Cast(j, "float64"))
    body = lanes([
        ir.Declare("v", op("mul", literal(100.0), load("x", index()))), ir.Declare("steps", integer(0)),
        ir.While((), predicate("gt", var("v"), literal(1.0)), halve, "k"),
        ir.For("j", steps, "serial", (ir.Assign("v", again),), descending=True),
        ir.Store("y", index(), var("v")),
    ])  # fmt: skip
    made = by_hand("backwards", [array("x"), SIZE, result("y")], [body])
    return ByHand(made, lambda n: (RNG.normal(size=n), n, np.zeros(n)))


BY_HAND: dict[str, ByHand] = {
    made.kernel.name: made for made in (_scratch_of_lanes(), _guards(), _wrapping(), _backwards())
}

# --- every primitive ----------------------------------------------------------------------------------------

SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1e-310, 2.3e-308, 1e-300, 1e300,
    -1e300, 1.7e308, 1e-20, 0.9999999, 1.0000001, 710.0, -745.5, 37.5, -37.5, 1e10, 1e15, 3.5, -3.5, 2.5, 171.5, -20.0,
]  # fmt: skip
WITHOUT_C = {"erfinv", "ndtri"}
CHUNK = 12


@dataclass
class Table:
    """Primitives on one type, in the lanes of one kernel."""

    dtype: str
    names: list[str] = field(default_factory=list)

    def kernel(self, name: str) -> ir.Kernel:
        """``result_k[i] = primitive_k(x[i], y[i])``."""
        parameters = [array("x", self.dtype), array("y", self.dtype), SIZE]
        body: list[ir.Stmt] = [
            ir.Let("a", load("x", index(), self.dtype)), ir.Let("b", load("y", index(), self.dtype))
        ]  # fmt: skip
        for k, primitive in enumerate(self.names):
            value = applied(primitive, self.dtype)
            parameters.append(result(f"result{k}", value.dtype))
            body += [ir.Let(f"t{k}", value), ir.Store(f"result{k}", index(), ir.Var(f"t{k}", value.dtype))]
        return ir.Kernel(name, tuple(parameters), (lanes(body, extent=N),))

    def values(self) -> tuple[Any, Any]:
        if self.dtype == "bool":
            return np.array([False, False, True, True] * 3), np.array([False, True] * 6)
        if self.dtype in ("int32", "int64"):
            ends = np.iinfo(self.dtype)
            some = np.array([0, 1, -1, 2, 7, -7, 40, ends.max, ends.min, 12345], self.dtype)
        else:
            rng = np.random.default_rng(12)
            with np.errstate(over="ignore"):
                some = np.concatenate([SPECIAL, rng.normal(size=20) * 3, rng.uniform(-1, 1, 15)]).astype(self.dtype)
        x, y = np.meshgrid(some, some)
        return np.ascontiguousarray(x.ravel()), np.ascontiguousarray(y.ravel())


def applied(name: str, dtype: Any) -> ir.Expr:
    entry = PRIMITIVES[name]
    a, b = ir.Var("a", dtype), ir.Var("b", dtype)
    arguments: tuple[ir.Expr, ...] = (a, b)[: entry.arity]
    if name == "where":
        arguments = (ir.Apply("lt", (a, b), "bool"), a, b)
    elif name == "polygamma":
        arguments = (literal(2, "int64"), a)
    result_dtype = "bool" if entry.result == "bool" else dtype
    if entry.result == "float" and dtype not in ("float32", "float64"):
        result_dtype = "float64"
    return ir.Apply(name, arguments, result_dtype)


def tables() -> list[Table]:
    """All primitives on all types that they take, a few to a kernel."""
    kinds = {"bool": "b", "int32": "i", "int64": "i", "float32": "f", "float64": "f"}
    found = []
    for dtype, kind in kinds.items():
        names = [
            name for name, entry in PRIMITIVES.items()
            if kind in entry.accepts and entry.result != "complex" and name not in WITHOUT_C
            and not (kind == "b" and name in ("floordiv", "mod", "fmod", "pow"))
            and not (kind != "f" and entry.result == "float" and entry.llvm is None and name not in ("exp", "gamma"))
        ]  # fmt: skip
        found += [Table(dtype, names[k : k + CHUNK]) for k in range(0, len(names), CHUNK)]
    return found
