"""Imports run one way: between the rooms, and between the files of a room.

face → api → {simplify, codegen} → graph; simplify and codegen do not know each other. Inside a room a file
imports only from files that stand before it in `ORDER`. The imports are read from the source, those inside
functions included; only `if TYPE_CHECKING:` blocks, which never run, are left out.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "chainrule"

# Which rooms a room may import from. Every module that is in none of the named rooms belongs to the face.
ROOMS: dict[str, set[str]] = {
    "graph": set(),
    "simplify": {"graph"},
    "codegen": {"graph"},
    "api": {"graph", "simplify", "codegen"},
    "face": {"graph", "simplify", "codegen", "api"},
}

# The files of each room, the lowest first.
ORDER = {
    "graph": """dtype dim tree op scalar partials namespaces derive node cost array control evaluate algebra
        syntax trace differentiate batch sparsity""",
    "simplify": """pattern rewrite exact real stable normal scalarize cas binding pipeline""",
    "codegen": """ir fuse lower schedule verify vecmath to_llvm to_c to_cuda to_numpy to_sympy to_latex
        cache function aot""",
}


def modules() -> dict[str, Path]:
    """Dotted name below `chainrule` → file; a package goes by its own name, the root by ''."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def room(module: str) -> str:
    first = module.split(".")[0]
    return first if first in ROOMS else "face"


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, except the bodies of `if TYPE_CHECKING:`."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
        else:
            stack.extend(ast.iter_child_nodes(node))


def imports(module: str, source: str, is_package: bool) -> set[str]:
    """The modules below `chainrule` that a source text imports, as in `MODULES`."""
    found = set()
    package = ["chainrule", *module.split(".")] if module else ["chainrule"]
    if not is_package:
        package = package[:-1]
    for node in running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base_name = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:  # `from package import file` imports the file
                full = f"{base_name}.{alias.name}"
                found.add(full if full.removeprefix("chainrule.") in MODULES else base_name)
    inside = {name for name in found if name == "chainrule" or name.startswith("chainrule.")}
    return {name.removeprefix("chainrule").removeprefix(".") for name in inside} - {module}


IMPORTS = {
    name: imports(name, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    for name, path in MODULES.items()
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_rooms_import_one_way(module: str) -> None:
    allowed = ROOMS[room(module)] | {room(module)}
    wrong = {target for target in IMPORTS[module] if room(target) not in allowed}
    assert not wrong, f"{room(module)} may import from {sorted(allowed)} only"


@pytest.mark.parametrize("folder", sorted(ORDER))
def test_every_file_has_its_place(folder: str) -> None:
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    order = ORDER[folder].split()
    assert files <= set(order), "name the file in ORDER, after everything that it imports"
    assert len(set(order)) == len(order)


@pytest.mark.parametrize("folder", sorted(ORDER))
def test_files_import_from_above(folder: str) -> None:
    place = {f"{folder}.{name}": position for position, name in enumerate(ORDER[folder].split())}
    place[folder] = len(place)  # the package itself hands names on, so it comes last
    wrong = [
        f"{module} imports {target}"
        for module in MODULES
        if module in place
        for target in sorted(IMPORTS[module])
        if target in place and place[target] >= place[module]
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import chainrule", {""}),
        ("import chainrule.graph.node", {"graph.node"}),
        ("from chainrule.graph import node, op", {"graph.node", "graph.op"}),
        ("from chainrule.graph.op import Scalar", {"graph.op"}),
        ("from . import op", {"graph.op"}),
        ("from .op import Scalar", {"graph.op"}),
        ("from ..api import jit", {"api"}),
        ("def f():\n    from chainrule import api", {"api"}),
        ("if TYPE_CHECKING:\n    from chainrule import api", set()),
        ("import numpy as np", set()),
    ],
)
def test_imports_are_read_right(line: str, expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("api", "graph", "graph.node", "graph.op"):
        monkeypatch.setitem(MODULES, name, ROOT)
    assert imports("graph.dim", line, is_package=False) == expected
