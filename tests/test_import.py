"""Importing chainrule is light: the heavy libraries are loaded when something needs them."""

import subprocess
import sys

import pytest

HEAVY = ("sympy", "symengine", "scipy", "llvmlite", "malt", "matplotlib", "rich")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    program = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import chainrule", "import chainrule.commands"])
def test_import_is_light(statement: str) -> None:
    assert not loaded_after(statement) & set(HEAVY)


def test_gradient_of_a_likelihood_needs_no_algebra_system() -> None:
    program = (
        "import numpy as np, chainrule as cr\n"
        "nll = lambda p, x: np.sum(((x - p[0]) / p[1]) ** 2 / 2 + np.log(p[1]))\n"
        "cr.grad(nll)(np.array([1.0, 2.0]), np.arange(5.0))"
    )
    assert not loaded_after(program) & {"sympy", "symengine", "scipy"}


def test_public_module_is_typed() -> None:
    from importlib.resources import files

    assert files("chainrule").joinpath("py.typed").is_file()


def test_import_takes_little_more_than_numpy() -> None:
    late = {"optree", "hashlib", "fractions", "decimal", "html", "urllib", "difflib"}
    assert not (loaded_after("import chainrule") - loaded_after("import numpy")) & late


def test_every_public_name_is_there() -> None:
    import chainrule

    assert all(getattr(chainrule, name) is not None for name in chainrule.__all__)
    assert set(chainrule.__all__) <= set(dir(chainrule))
    with pytest.raises(AttributeError, match="has no attribute 'grid'"):
        _ = chainrule.grid


def test_names_are_functions_whatever_was_imported_before() -> None:
    program = (
        "import chainrule.foreign, chainrule.inspection, chainrule.symbolic, chainrule.uncertainty, chainrule as cr\n"
        "assert all(callable(f) for f in (cr.foreign, cr.compare, cr.explain, cr.show, cr.lambdify, cr.propagate))"
    )
    loaded_after(program)
