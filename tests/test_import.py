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


@pytest.mark.parametrize("statement", ["import chainrule", "import chainrule.cli"])
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
