"""Graph → the source of a Python function that computes the same with NumPy: to read, to paste, to keep.

Steps that the user named keep their names; what is used once stands where it is used, as long as lines stay short.
Loops are Python loops, branches are ``if``. Special functions are SciPy's.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.node import Graph, Node, results
from chainrule.graph.op import (
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
from chainrule.graph.scalar import PRIMITIVES

LONGEST = 60  # characters of an expression that is put into another
INDENT = "    "
SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # how tightly the loosest operation of an expression binds


class Code(NamedTuple):
    """An expression, and how tightly its loosest operation binds."""

    text: str
    strength: int = ATOM


def numpy_source(graph: Graph, name: str) -> str:
    """The source of ``name(arguments)``, with the imports that it needs.

    Raises ValueError for what NumPy alone cannot do: foreign functions and random numbers.

    >>> from chainrule import grad, spec, trace
    >>> print(numpy_source(trace(grad(lambda x: x**3), spec()), "slope"))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def slope(x):
        return 3.0 * x * x
    """
    writer = _Writer({str(d) for kind in graph.inputs for d in kind.shape})
    arguments = [writer.fresh(_identifier(n)) for n in graph.names]
    body, outputs = writer.block(graph, arguments)
    answer = ", ".join(outputs)
    body.append(f"return {answer}")
    used = set(re.findall(r"\w+", "\n".join(body)))
    lines = [f"{size} = {place}" for size, place in _sizes(graph, arguments).items() if size in used] + body
    imports = ["import numpy as np"]
    if any("special." in line for line in lines):
        imports.append("from scipy import special")
    text = "\n".join(INDENT + line for line in lines)
    return "\n".join(imports) + f"\n\n\ndef {name}({', '.join(arguments)}):\n{text}\n"


def _sizes(graph: Graph, arguments: Sequence[str]) -> dict[str, str]:
    """Named sizes, and where they stand in the arguments' shapes."""
    found: dict[str, str] = {}
    for kind, argument in zip(graph.inputs, arguments, strict=True):
        for axis, dim in enumerate(kind.shape):
            if not isinstance(dim, int) and str(dim).isidentifier():
                found.setdefault(str(dim), f"{argument}.shape[{axis}]")
    return found


def _identifier(text: str) -> str:
    """The text as a Python name: ``p['mu']`` → ``p_mu``."""
    name = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    name = "_".join(name.split()) or "x"
    return name + "_" if keyword.iskeyword(name) else ("_" + name if name[0].isdigit() else name)


class _Writer:
    """One function: which names are taken."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken | {"np", "special", "None", "True", "False"}
        self.count = 0

    def fresh(self, wanted: str | None = None) -> str:
        """A name that nothing else has."""
        if wanted is None:
            self.count += 1
            wanted = f"t{self.count}"
        name, k = wanted, 1
        while name in self.taken:
            k += 1
            name = f"{wanted}_{k}"
        self.taken.add(name)
        return name

    def block(self, graph: Graph, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
        """(statements, expressions of the outputs) of a graph with these arguments."""
        lines: list[str] = []
        text: dict[Node, Code] = {}
        uses = _uses(graph)
        for node in graph.nodes:
            match node.op:
                case Input(_, position):
                    text[node] = Code(arguments[position])
                case Const():
                    text[node] = _literal(node.op.value)
                case Cond():
                    self.branch(node, [text[a] for a in node.args], lines, text)
                case Loop():
                    self.loop(node, [text[a] for a in node.args], lines, text)
                case Call(body):
                    inner, outputs = self.block(body, [self.named(text[a], lines) for a in node.args])
                    lines.extend(inner)
                    self.several(node, [Code(o, SUM) for o in outputs], lines, text)
                case Project():
                    pass  # entered with the node that it is a result of
                case _:
                    found = self.expression(node, [text[a] for a in node.args], lines)
                    found = found if isinstance(found, Code) else Code(found)
                    own = getattr(graph.provenance.get(node), "name", None)
                    single = uses.get(node, 0) <= 1 and len(found.text) <= LONGEST and not own
                    text[node] = found if single else Code(self.assigned(found, lines, own))
        return lines, [text[o].text for o in graph.outputs]

    def assigned(self, found: Code, lines: list[str], own: str | None = None) -> str:
        name = self.fresh(_identifier(own) if own else None)
        lines.append(f"{name} = {found.text}")
        return name

    def named(self, found: Code, lines: list[str]) -> str:
        """The expression as a name: loops evaluate it many times."""
        return found.text if found.text.isidentifier() else self.assigned(found, lines)

    def several(self, node: Node, values: Sequence[Code], lines: list[str], text: dict[Node, Code]) -> None:
        """Names for the results of a node."""
        for result, value in zip(results(node), values, strict=True):
            text[result] = Code(self.named(value, lines))

    def branch(self, node: Node, x: list[Code], lines: list[str], text: dict[Node, Code]) -> None:
        assert isinstance(node.op, Cond)
        names = [self.fresh() for _ in results(node)]
        operands = [self.named(v, lines) for v in x[1:]]
        index, last = self.named(x[0], lines), len(node.op.branches) - 1
        for i, body in enumerate(node.op.branches):
            condition = f"{index} <= 0" if i == 0 else f"{index} == {i}"
            lines.append(f"if {condition}:" if i == 0 else "else:" if i == last else f"elif {condition}:")
            inner, outputs = self.block(body, operands)
            inner.append(f"{', '.join(names)} = {', '.join(outputs)}")
            lines.extend(INDENT + line for line in inner)
        text.update(zip(results(node), map(Code, names), strict=True))

    def loop(self, node: Node, x: list[Code], lines: list[str], text: dict[Node, Code]) -> None:
        op = node.op
        assert isinstance(op, Loop)
        if op.condition == "predicate":
            assert op.predicate is not None
            names = [self.assigned(v, lines) for v in x[: op.carries]]
            captured = [self.named(v, lines) for v in x[op.carries :]]
            test, (condition,) = self.block(op.predicate, [*names, *captured])
            inner, outputs = self.block(op.body, [*names, *captured])
            lines.append("while True:" if test else f"while {condition}:")
            lines += [INDENT + line for line in test]
            if test:
                lines += [f"{INDENT}if not ({condition}):", f"{INDENT * 2}break"]
            lines += [INDENT + line for line in [*inner, f"{', '.join(names)} = {', '.join(outputs)}"]]
            text.update(zip(results(node), map(Code, names), strict=True))
            return
        names = [self.assigned(v, lines) for v in x[1 : 1 + op.carries]]
        rest = [self.named(v, lines) for v in x[1 + op.carries :]]
        scanned, captured = rest[: op.scanned], rest[op.scanned :]
        stacked = [self.fresh() for _ in op.body.outputs[op.carries :]]
        trips = self.named(x[0], lines) if stacked else x[0].text
        for name, output in zip(stacked, op.body.outputs[op.carries :], strict=True):
            shape = ", ".join([trips, *map(str, output.shape)]) + ("," if not output.shape else "")
            lines.append(f"{name} = np.empty(({shape}), {_dtype(output.dtype)})")
        index = self.fresh("i")
        inner, outputs = self.block(op.body, [index, *names, *[f"{s}[{index}]" for s in scanned], *captured])
        lines.append(f"for {index} in {'reversed(' * op.reverse}range({trips}){')' * op.reverse}:")
        targets = [*names, *[f"{name}[{index}]" for name in stacked]]
        lines += [INDENT + line for line in [*inner, f"{', '.join(targets)} = {', '.join(outputs)}"]]
        text.update(zip(results(node), map(Code, [*names, *stacked]), strict=True))

    def expression(self, node: Node, x: list[Code], lines: list[str]) -> Code | str:
        """What a node without a body computes."""
        op = node.op
        match op:
            case SizeOf(dim):
                return _size(dim)
            case Iota(length):
                return f"np.arange({length})"
            case Scalar(name):
                return _arithmetic(name, x)
            case Cast(dtype):
                if isinstance(node.args[0].op, (Input, Const)) and not node.shape and dtype.kind == "f":
                    return x[0]  # a number; NumPy's promotion does the rest
                return f"{_operand(x[0])}.astype({_dtype(dtype)})" if node.shape else f"{_dtype(dtype)}({x[0].text})"
            case Stop():
                return x[0]
            case Reduce(kind, axes):
                every = len(axes) == len(node.args[0].shape) and kind not in ("argmin", "argmax")
                axis = "" if every else f", axis={axes[0] if len(axes) == 1 else axes}"
                return f"np.{kind}({x[0].text}{axis})"
            case Cumulative(kind, axis, reverse):
                function = {"sum": "np.add", "prod": "np.multiply", "min": "np.minimum", "max": "np.maximum"}[kind]
                given = f"np.flip({x[0].text}, {axis})" if reverse else x[0].text
                running = f"{function}.accumulate({given}, axis={axis})"
                return f"np.flip({running}, {axis})" if reverse else running
            case Broadcast(shape, axes):
                kept = ", ".join(":" if i in axes else "None" for i in range(len(shape)))
                given = x[0].text if not axes or axes == tuple(range(len(shape) - len(axes), len(shape))) else (
                    f"{_operand(x[0])}[{kept}]"
                )  # fmt: skip
                return f"np.broadcast_to({given}, {_shape(shape)})"
            case Transpose(axes):
                return f"{_operand(x[0])}.T" if axes == (1, 0) else f"np.transpose({x[0].text}, {axes})"
            case Reshape(shape):
                if not shape:
                    return f"{_operand(x[0])}[{', '.join('0' * len(node.args[0].shape))}]"
                return f"np.reshape({x[0].text}, {_shape(shape)})"
            case Slice(starts, counts, steps):
                return f"{_operand(x[0])}[{_window(starts, counts, steps)}]"
            case Reverse(axes):
                return f"np.flip({x[0].text}, {axes})"
            case Pad(low, high, inner):
                if not any(inner):
                    width = ", ".join(f"({a}, {b})" for a, b in zip(low, high, strict=True))
                    return f"np.pad({x[0].text}, ({width},))"
                name = self.assigned(Code(f"np.zeros({_shape(node.shape)}, {_dtype(node.dtype)})"), lines)
                counts = node.args[0].shape
                lines.append(f"{name}[{_window(low, counts, tuple(i + 1 for i in inner))}] = {x[0].text}")
                return name
            case Concatenate(axis):
                return f"np.concatenate([{', '.join(v.text for v in x)}], axis={axis})"
            case Insert(starts, steps):
                name = self.assigned(Code(f"{_operand(x[0])}.copy()"), lines)
                lines.append(f"{name}[{_window(starts, node.args[1].shape, steps)}] = {x[1].text}")
                return name
            case Gather(axes):
                return _gathered(node, axes, x)
            case Scatter(axes, kind):
                return self.scattered(axes, kind, node, x, lines)
            case Contract(left, right, out):
                labels = ["".join(chr(ord("a") + i) for i in part) for part in (left, right, out)]
                return f'np.einsum("{labels[0]},{labels[1]}->{labels[2]}", {x[0].text}, {x[1].text})'
            case Linalg():
                return self.linalg(op, node, x, lines)
            case Sort(axis, indices):
                function = "np.argsort" if indices else "np.sort"
                return f'{function}({x[0].text}, axis={axis}, kind="stable")'
            case Random() | Callback():
                what = "random numbers" if isinstance(op, Random) else "foreign functions"
                raise ValueError(f"NumPy source cannot hold {what}")
            case _:
                raise AssertionError(op)

    def scattered(self, axes: tuple[int, ...], kind: str, node: Node, x: list[Code], lines: list[str]) -> str:
        """Indices outside are dropped, as compiled code does."""
        result = self.assigned(Code(f"{_operand(x[0])}.copy()"), lines)
        front = result if axes == tuple(range(len(axes))) else self.assigned(
            Code(f"np.moveaxis({result}, {axes}, {tuple(range(len(axes)))})"), lines
        )  # fmt: skip
        indices = [self.named(i, lines) for i in x[2:]]
        tests = " & ".join(f"({i} >= 0) & ({i} < {front}.shape[{k}])" for k, i in enumerate(indices))
        inside = self.assigned(Code(tests, SUM), lines)
        if node.args[2].shape:
            places, values = ", ".join(f"{i}[{inside}]" for i in indices), f"{_operand(x[1])}[{inside}]"
            target = f"{front}, ({places},), {values}" if kind == "add" else f"{front}[{places}] = {values}"
            lines.append(f"np.add.at({target})" if kind == "add" else target)
        else:
            sign = "+=" if kind == "add" else "="
            lines += [f"if {inside}:", f"{INDENT}{front}[{', '.join(indices)}] {sign} {x[1].text}"]
        return result

    def linalg(self, op: Linalg, node: Node, x: list[Code], lines: list[str]) -> str:
        a = x[0].text
        match op.kind:
            case "cholesky":
                return f"np.linalg.cholesky({a})"
            case "inv" | "det":
                return f"np.linalg.{op.kind}({a})"
            case "solve":
                return f"np.linalg.solve({a}, {x[1].text})"
            case "solve_triangular":
                part = f"np.{'tril' if op.lower else 'triu'}({a})"
                return f"np.linalg.solve({part}{'.T' if op.transposed else ''}, {x[1].text})"
            case _:
                raise ValueError(f"NumPy source of {op.kind} is not written yet; compile the function instead")


def _uses(graph: Graph) -> dict[Node, int]:
    found: dict[Node, int] = {}
    for node in graph.nodes:
        for a in node.args:
            found[a] = found.get(a, 0) + (1 if isinstance(node.op, (Scalar, Reduce, Cast)) else 2)
    for o in graph.outputs:
        found[o] = found.get(o, 0) + 1
    return found


# --- expressions ----------------------------------------------------------------------------------------------

INFIX: Mapping[str, tuple[str, int, int]] = {  # sign, how tightly it binds, and its right side at least
    "add": ("+", SUM, SUM), "sub": ("-", SUM, PRODUCT), "mul": ("*", PRODUCT, PRODUCT), "div": ("/", PRODUCT, POWER),
}  # fmt: skip


def _arithmetic(name: str, x: Sequence[Code]) -> Code:
    """Brackets only where they are needed."""
    if name in INFIX:
        sign, own, right = INFIX[name]
        return Code(f"{_bracketed(x[0], own)} {sign} {_bracketed(x[1], right)}", own)
    if name == "neg":
        return Code(f"-{_bracketed(x[0], PRODUCT)}", PRODUCT)
    if name in ("pow", "square"):
        exponent = "2" if name == "square" else _operand(x[1])
        return Code(f"{_operand(x[0])} ** {exponent}", POWER)
    if name == "reciprocal":
        return Code(f"1 / {_bracketed(x[0], POWER)}", PRODUCT)
    spelled = PRIMITIVES[name].numpy
    plain_call = not spelled.startswith("(") and spelled.count("(") == 1
    return Code(spelled.format(*[v.text if plain_call else _operand(v) for v in x]))


def _bracketed(code: Code, least: int) -> str:
    return code.text if code.strength >= least else f"({code.text})"


def _operand(code: Code) -> str:
    """The code as something that an index or a method may follow."""
    return _bracketed(code, ATOM)


def _literal(value: Any) -> Code:
    if value.ndim:
        return Code(f"np.array({_listed(value)})")
    number = value[()]
    if value.dtype.kind == "f" and not np.isfinite(number):
        return Code("np.nan") if np.isnan(number) else Code("np.inf") if number > 0 else Code("-np.inf", PRODUCT)
    text = repr(value.item())
    return Code(text, PRODUCT if text.startswith("-") else ATOM)


def _listed(value: Any) -> str:
    return f"[{', '.join(map(_listed, value))}]" if value.ndim else _literal(value).text


def _dtype(dtype: Any) -> str:
    return "bool" if dtype.kind == "b" else f"np.{dtype.name}"


def _size(dim: dims.Dim) -> Code:
    text = str(dim)
    return Code(text, ATOM if text.isidentifier() or text.isdigit() else SUM)


def _shape(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _window(starts: Sequence[Any], counts: Sequence[Any], steps: Sequence[int]) -> str:
    """start:stop:step for each axis."""
    parts = []
    for start, count, step in zip(starts, counts, steps, strict=True):
        stop = start + count if step == 1 else start + (count - 1) * step + 1
        parts.append(f"{'' if start == 0 else start}:{stop}" + (f":{step}" if step != 1 else ""))
    return ", ".join(parts) or "..."


def _gathered(node: Node, axes: tuple[int, ...], x: Sequence[Code]) -> str:
    """Indices outside are clamped, as compiled code does."""
    given = _operand(x[0]) if axes == tuple(range(len(axes))) else (
        f"np.moveaxis({x[0].text}, {axes}, {tuple(range(len(axes)))})"
    )  # fmt: skip
    shape = node.args[0].shape
    indices = [
        i.text if i.text.isdigit() else f"np.clip({i.text}, 0, {shape[a] - 1})"
        for a, i in zip(axes, x[1:], strict=True)
    ]
    return f"{given}[{', '.join(indices)}]"
