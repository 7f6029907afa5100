"""The certificate of a formula: at random points in the program's domain, each result agrees to 50 digits with the
difference quotient of the program itself, taken at 110 digits.

The program is run by the reference interpreter, so that neither the derivative rules nor the algebra that led to the
formula are trusted. Points are drawn until each case of each branch that was met is among them.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any, Final, final

import mpmath as mp
import numpy as np
import sympy as sp

from chainrule.graph import dim as dims
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, make, rebuild
from chainrule.graph.op import Input, Stop
from chainrule.graph.where import error, of_function

from .constants import recognised
from .numeric import Numbers
from .program import Program

DIGITS: Final = 50
WORKING: Final = 110
EACH_ORDER: Final = 35  # so many digits more for each order of the derivative above the first
STEP: Final = "1e-35"
LONGEST: Final = 200  # steps of a while loop
MODERATE: Final = 60  # so many times points are passed over at which a result is larger than
LARGE: Final = 1e6
SEARCH: Final = 0.15  # seconds for finding points in other cases
TRIES: Final = 300
POINTS: Final = 2
MOST: Final = 6
_RANGES: Final = ((0.3, 2.5), (0.05, 0.95), (1.5, 6.0), (-2.0, 2.0), (-0.9, 0.9), (5.0, 30.0))


@dataclass
class Point:
    """Arguments of the program, and the same as numbers for symbols."""

    arguments: list[Any]
    values: dict[Any, Any]
    sizes: dict[str, int]
    pattern: tuple[bool, ...] = ()
    derivatives: dict[Any, Any] = field(default_factory=dict)


@final
class Certificate:
    """Points, and what the derivatives are there."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.request.graph
        self._held = _without_stops(self.graph)
        self._random = np.random.default_rng(20240229)
        self.points = self._draw()

    # --- points ---

    def _draw(self) -> list[Point]:
        found: dict[tuple[bool, ...], list[Point]] = {}
        conditions = _conditions(self.program)
        kept = 0
        late = time.perf_counter() + SEARCH
        for attempt in range(TRIES):
            point = self._candidate(attempt)
            try:
                values = evaluate(self.graph, point.arguments, longest=LONGEST)
            except ArithmeticError:
                continue
            if not all(np.all(np.isfinite(v)) for v in values):
                continue
            if attempt < MODERATE and any(np.any(np.abs(v) > LARGE) for v in values):
                continue
            if conditions:
                point.pattern = self._pattern(point, conditions)
            same = found.setdefault(point.pattern, [])
            if len(same) < (POINTS if len(found) < 3 else 1) and kept < MOST:
                same.append(point)
                kept += 1
            if not conditions and kept >= POINTS:
                break
            enough = kept >= MOST or (attempt > 40 and len(found) > 1) or time.perf_counter() > late
            if kept and enough:
                break
        points = [p for group in found.values() for p in group]
        if not points:
            message = "no arguments were found for which the program's value is finite, so that no formula is certain"
            raise error(ValueError, message, of_function(self.program.request.function))
        return points

    def _candidate(self, attempt: int) -> Point:
        request, draw = self.program.request, self._random
        names = sorted({n for t in self.graph.inputs for d in t.shape for n in dims.names(d)})
        sizes = {name: 3 + k for k, name in enumerate(names)}
        arguments: list[Any] = []
        first = len(self.graph.inputs) - len(request.hidden)
        common = _RANGES[attempt % len(_RANGES)]
        for position, kind in enumerate(self.graph.inputs):
            if position >= first:
                arguments.append(request.hidden[position - first])
                continue
            shape = tuple(dims.evaluate(d, sizes) for d in kind.shape)
            if kind.dtype.kind == "b":
                arguments.append(draw.random(shape) < 0.5)
            elif kind.dtype.kind in "iu":
                arguments.append(np.asarray(draw.integers(2, 5, shape), kind.dtype))
            else:
                low, high = common if attempt % 3 else _RANGES[draw.integers(len(_RANGES))]
                value = np.round(draw.uniform(low, high, shape), 6)
                if kind.dtype.kind == "c":
                    value = value + 1j * np.round(draw.uniform(low, high, shape), 6)
                if len(shape) == 2 and shape[0] == shape[1] and attempt % 2:
                    value = np.tril(value) + np.eye(shape[0])
                arguments.append(np.asarray(value, kind.dtype))
        return Point(arguments, self._values(arguments), sizes)

    def _values(self, arguments: list[Any]) -> dict[Any, Any]:
        program = self.program
        values: dict[Any, Any] = dict(program.constants)
        symbols = program.argument_symbols
        with mp.workdps(WORKING):
            values = {s: Numbers({}, []).of(v) for s, v in program.constants.items()}
            for position, argument in enumerate(arguments):
                array = np.asarray(argument)
                own = symbols[position]
                for index in np.ndindex(array.shape):
                    number = mp.mpmathify(array[index].item())
                    if isinstance(own, dict):
                        values[own[index]] = number
                    elif array.shape:
                        values.setdefault(own, {})[index] = number
                    else:
                        values[own] = number
                for dim, length in zip(self.graph.inputs[position].shape, array.shape, strict=True):
                    if len(dims.names(dim)) == 1 and str(dim) == dims.names(dim)[0]:
                        values[sp.Symbol(str(dim), integer=True, positive=True)] = mp.mpf(length)
        return values

    def _pattern(self, point: Point, conditions: list[Any]) -> tuple[bool, ...]:
        numbers = Numbers(point.values, self.program.definitions)
        found = []
        with mp.workdps(20):
            for condition in conditions:
                try:
                    found.append(numbers.truth(condition, {}))
                except (KeyError, TypeError):  # inside a sum: met for each index or not
                    continue
        return tuple(found)

    # --- the truth ---

    def derivative(
        self, point: Point, result: int, by: tuple[tuple[int, tuple[int, ...]], ...], narrower: int = 1
    ) -> Any:
        """∂ result / ∂ (argument element) …, as an array of the result's shape, by central differences."""
        key = (result, by, narrower)
        if key not in point.derivatives:
            digits = WORKING + EACH_ORDER * max(len(by) - 1, 0)
            with mp.workdps(digits):
                h = mp.mpf(STEP) / narrower
                total: Any = 0
                for signs in itertools.product((1, -1), repeat=len(by)):
                    shifts = [(at, sign * h) for at, sign in zip(by, signs, strict=True)]
                    value = self._run(point, shifts, digits)[result]
                    total = total + int(np.prod(signs, dtype=int)) * value
                point.derivatives[key] = np.asarray(total / (2 * h) ** len(by), object)
        return point.derivatives[key]

    def is_reliable(self, point: Point, position: tuple[int, Any], by: Any) -> bool:
        """Whether the difference quotient has settled: another step gives the same 50 digits."""
        result, place = position
        first, second = (self.derivative(point, result, by, n)[place] for n in (1, 8))
        with mp.workdps(WORKING):
            scale = max(abs(first), mp.mpf("1e-10"))
            return bool(abs(first - second) <= scale * mp.mpf(10) ** -(DIGITS + 1))

    def _run(self, point: Point, shifts: list[tuple[tuple[int, tuple[int, ...]], Any]], digits: int) -> list[Any]:
        arguments = []
        for position, argument in enumerate(point.arguments):
            array = np.asarray(argument)
            if array.dtype.kind in "fc":
                exact = np.empty(array.shape, object)
                for index in np.ndindex(array.shape):
                    exact[index] = mp.mpmathify(array[index].item())
                for (at, index), h in shifts:
                    if at == position:
                        exact[index] += h
                array = exact
            arguments.append(array)
        graph, stops = self._held
        if stops is not None:
            held = evaluate(stops, point.arguments, backend="mpmath", digits=digits, literal=_literal)
            arguments += held
        return evaluate(graph, arguments, backend="mpmath", digits=digits, literal=_literal)

    def agrees(self, value: Any, numbers: Numbers, bound: dict[Any, int], truth: Any) -> bool:
        """Whether ``value`` is ``truth`` to 50 digits, relative to the larger of it and 1e-10."""
        try:
            found = numbers.of(value, bound)
        except (ZeroDivisionError, ValueError, OverflowError):
            return False
        scale = max(abs(truth), mp.mpf("1e-10"))
        return bool(abs(found - truth) <= scale * mp.mpf(10) ** -DIGITS)


def _literal(value: Any) -> Any:
    return Numbers({}, []).of(recognised(value)) if np.isfinite(value) else value


def _without_stops(graph: Graph) -> tuple[Graph, Graph | None]:
    """The graph with what ``stop_gradient`` holds as further arguments, and the graph of these."""
    stops = [n for n in graph.nodes if isinstance(n.op, Stop)]
    if not stops:
        return graph, None
    first = len(graph.inputs)
    known = {n: make(Input(0, first + k, n.type)) for k, n in enumerate(stops)}
    outputs, _ = rebuild(graph.outputs, known)
    return Graph((*graph.inputs, *(n.type for n in stops)), outputs), Graph(graph.inputs, stops)


def _conditions(program: Program) -> list[Any]:
    """The conditions of the cases in a program, without those on indices."""
    found: dict[Any, None] = {}
    for expression in program.expressions():
        for cases in expression.atoms(sp.Piecewise):
            for _, condition in cases.args:
                if condition != sp.true:
                    found[condition] = None
        for other in expression.atoms(sp.Abs, sp.sign):
            if other.args[0].is_extended_real:
                found[other.args[0] > 0] = None
        for name in ("Maximum", "Minimum"):
            for other in expression.atoms(sp.Function):
                if type(other).__name__ == name:
                    found[other.args[0] > other.args[1]] = None
    return [c for c in found if not c.has(sp.Indexed) and not any(s.is_integer for s in c.free_symbols)]
