"""Imports run one way: between the rooms, and between the files of a room.

face → api → {simplify, codegen} → graph; simplify and codegen do not know each other. Inside a room a file
imports only from files that stand before it in `ORDER`. The imports are read from the source, those inside
functions included; only `if TYPE_CHECKING:` blocks, which never run, are left out. Where two files of a room
need each other, the lower one imports the upper one inside a function; `DEFERRED` names each such pair.
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

# The files at the root that make up the pipeline end to end; the room is named after the one that the face sees.
PIPELINE = ("selection", "inner", "transform", "hessians", "packed", "vectorise", "bound", "sizes", "compiled", "api")

# The files of each room, the lowest first.
ORDER = {
    "graph": """
        collector dtype where dim tree operators scalar partials namespaces derive rule op node express cost scope
        sharing lift linalg evaluate nonfinite after linear arguments transpose checkpoint cut trajectory adjoint
        structured squares running rules matrix_rules inlined pulled differentiate indexing operations array ufuncs
        creation shapes arrange products reductions numeric samples matrices subscript functions randomness trace
        control custom recompute associative symbolic algebra idioms prepare liveness convert callees blocks
        iteration branches carried loops routes printing objects effects items syntax batch sparsity
        """,
    "simplify": """
        pattern rewrite known views bodies exact real stable monomial products normal horner small elements
        scalarize cas binding inline logarithms shared pipeline versions
        """,
    "codegen": """
        vecmath_tables vecmath_lanes vecmath_explog vecmath_trig vecmath_special vecmath_polygamma vecmath
        vecmath_logs ir affine builder complex divergence workspace fma fuse inplace unsupported region elements
        schedule pieces native interrupts lapack calls dense nests foreign_calls serial trajectories structured
        rename reuse lower pressure sections verify signature cache threads_text threads externs llvm_builder
        llvm_vecmath llvm_memory llvm_primitives llvm_reductions llvm_expressions llvm_outline llvm_loops to_llvm
        c_text c_builder c_runtime c_primitives c_usage c_lanes c_expressions to_c to_cuda to_numpy to_sympy
        to_latex foreign capi result_memory entry_prelude entry tiers kernel function aot
        """,
}

# Imports against the order, inside functions: (file, what it imports) → why there is no other way.
DEFERRED = {
    ("graph.scalar", "graph.partials"): "the table looks up the partials that are generated from it",
    ("graph.node", "graph.express"): "a node's operators build nodes",
    ("graph.linear", "graph.structured"): "loops and branches are linearised through their bodies",
    ("graph.transpose", "graph.structured"): "branches are transposed through their bodies",
    ("graph.linear", "graph.pulled"): "rules for reverse mode are transposed forwards",
    ("graph.transpose", "graph.pulled"): "and run as they are in reverse mode",
    ("graph.structured", "graph.differentiate"): "the derivative of a loop differentiates its body",
    ("graph.trace", "graph.syntax"): "what calls the user's functions rewrites their source where that is needed",
    ("graph.adjoint", "graph.differentiate"): "and so does the loop that runs backwards",
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
    if first in PIPELINE:
        return "api"
    return first if first in ROOMS else "face"


def running_nodes(tree: ast.AST, at_load: bool) -> Iterator[ast.AST]:
    """All nodes except the bodies of `if TYPE_CHECKING:`, and of functions if `at_load`."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
        elif not (at_load and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            stack.extend(ast.iter_child_nodes(node))


def imports(module: str, source: str, is_package: bool, at_load: bool = False) -> set[str]:
    """The modules below `chainrule` that a source text imports, as in `MODULES`."""
    found = set()
    package = ["chainrule", *module.split(".")] if module else ["chainrule"]
    if not is_package:
        package = package[:-1]
    for node in running_nodes(ast.parse(source), at_load):
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


def imports_of_all(at_load: bool) -> dict[str, set[str]]:
    return {
        name: imports(name, path.read_text(encoding="utf-8"), path.name == "__init__.py", at_load)
        for name, path in MODULES.items()
    }


IMPORTS = imports_of_all(at_load=False)


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


def against_the_order(imported: dict[str, set[str]]) -> set[tuple[str, str]]:
    """(file, what it imports) for imports from files that stand later in the same room."""
    place = {
        f"{folder}.{name}": position
        for folder, names in ORDER.items()
        for position, name in enumerate(names.split())
    }
    place |= {folder: len(place) for folder in ORDER}  # a package itself hands names on, so it comes last
    return {
        (module, target)
        for module in MODULES
        for target in imported[module]
        if room(module) == room(target)
        if module in place and target in place and place[target] >= place[module]
    }


def test_files_import_from_above() -> None:
    assert against_the_order(imports_of_all(at_load=True)) == set()


def test_deferred_imports_are_named() -> None:
    assert against_the_order(IMPORTS) == set(DEFERRED)


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
