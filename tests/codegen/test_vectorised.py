"""Every elementary function is lane code in the loop: no call into a library, no scalar arithmetic."""

from __future__ import annotations

import platform
import re

import pytest

from chainrule.codegen import native
from chainrule.codegen.llvm_builder import COLD
from chainrule.codegen.lower import lower
from chainrule.codegen.sections import in_sections
from chainrule.codegen.to_llvm import emit, suggested_level
from chainrule.graph.dim import size
from chainrule.graph.dtype import FLOAT32, FLOAT64, DType
from chainrule.graph.node import Graph, make, scalar
from chainrule.graph.op import Input, Type
from chainrule.graph.scalar import PRIMITIVES

FUNCTIONS = [
    "exp", "expm1", "log", "log1p", "log2", "log10", "pow", "sqrt", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "expit", "softplus", "gammaln",
    "digamma",
]  # fmt: skip

X86 = platform.machine() in ("x86_64", "AMD64")
# Arithmetic on several floats at once, on one float, and what names another function.
if X86:
    VECTOR = r"\bv?(?:add|sub|mul|div|sqrt|fn?m(?:add|sub)\d*)p[sd]\b"
    SCALAR = r"\bv?(?:add|sub|mul|div|sqrt|fn?m(?:add|sub)\d*)s[sd]\b"
    CALLED = r"\bcallq?\s+\*?([A-Za-z_][\w.]*)|\bmovabsq\s+\$([A-Za-z_][\w.]*)"
else:
    VECTOR = r"\bv\d+\.[24][sd]\b"
    SCALAR = r"\bf(?:add|sub|mul|div|sqrt|n?madd|n?msub)\s+[sd]\d"
    CALLED = r"\bbl\s+([A-Za-z_][\w.]*)|:abs_g0_nc:([A-Za-z_][\w.]*)"
# Where few lanes go: to a function of lanes that the code generator puts apart.
RARE = r"\.v\d+f64$"


def assembly(name: str, dtype: DType) -> tuple[str, str]:
    """The LLVM text and the machine code of name(x…) elementwise on arrays of any length."""
    kind = Type((size("n"),), dtype)
    inputs = [make(Input(0, k, kind)) for k in range(PRIMITIVES[name].arity)]
    graph = Graph([kind] * len(inputs), [scalar(name, *inputs)])
    kernel = in_sections(lower(graph, "kernel"))
    text = emit(kernel)
    return text, native.assembly(text, suggested_level(kernel))


def functions(code: str) -> dict[str, str]:
    """Symbol → text, of the functions of assembler text."""
    parts = re.split(r"^([A-Za-z_][\w.]*):", code, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_loop_is_vector_code(name: str, dtype: DType) -> None:
    text, code = assembly(name, dtype)
    defined = functions(code)
    body = defined["kernel"]
    assert re.search(VECTOR, body), f"{name} has no vector arithmetic"
    assert not re.search(SCALAR, code), f"{name} has scalar arithmetic"
    for match in re.finditer(CALLED, code):
        called = next(group for group in match.groups() if group)
        assert called in defined, f"{name} calls {called}, which is not lane code"
        assert re.search(RARE, called), f"{name} calls {called} on single elements"
        assert re.search(rf"define internal .*@{re.escape(called)}\(.*\) {COLD} ", text), f"{called} is no rare path"


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_rare_path_is_in_the_loop(name: str, dtype: DType) -> None:
    """From the head of the innermost loop back to it there is a way on which nothing is called."""
    blocks = basic_blocks(functions(assembly(name, dtype)[1])["kernel"])
    free = {label for label, (lines, _) in blocks.items() if not any(is_call(line) for line in lines)}
    vector = {label for label in free if any(re.search(VECTOR, line) for line in blocks[label][0])}
    assert any(returns(label, blocks, free) for label in vector)


def is_call(line: str) -> bool:
    return re.search(r"\bcallq?\b" if X86 else r"\bblr?\b", line) is not None


def basic_blocks(body: str) -> dict[str, tuple[list[str], list[str]]]:
    """Label → (lines, labels that may follow) of the blocks of a function."""
    blocks: dict[str, tuple[list[str], list[str]]] = {}
    lines, following = blocks["entry"] = ([], [])
    open_end = True  # whether control may run on into what follows
    for number, line in enumerate(body.splitlines()):
        label = re.match(r"(\.L\w+):", line)
        jump = re.match(r"\s+(j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L\w+)", line)
        if label or not open_end:
            name = label[1] if label else f"after {number}"
            if open_end:
                following.append(name)
            lines, following = blocks[name] = ([], [])
            open_end = True
        if jump:
            following.append(jump[2])
            open_end = jump[1] not in ("jmp", "b")
            if open_end:  # a conditional jump ends a block
                name = f"after {number}"
                following.append(name)
                lines, following = blocks[name] = ([], [])
        elif re.match(r"\s+ret", line):
            open_end = False
        else:
            lines.append(line)
    return blocks


def returns(start: str, blocks: dict[str, tuple[list[str], list[str]]], allowed: set[str]) -> bool:
    """Whether control that goes through ``allowed`` blocks only can come back to where it starts."""
    seen: set[str] = set()
    stack = [start]
    while stack:
        for label in blocks[stack.pop()][1]:
            if label == start:
                return True
            if label in allowed and label not in seen:
                seen.add(label)
                stack.append(label)
    return False
