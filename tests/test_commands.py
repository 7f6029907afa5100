"""The command line as a user meets it: what is printed, exit codes, errors in one line."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chainrule import commands
from chainrule.commands.program import from_expression, load, parse_point


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*arguments: str) -> str:
        assert commands.main(arguments) == 0
        return capsys.readouterr().out

    return run


MODEL = """
import numpy as np

def nll(mu, sigma, x):
    z = (x - mu) / sigma
    return np.sum(z**2 / 2 + np.log(sigma))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "likelihood_of_a_test.py"
    path.write_text(MODEL)
    return path


def test_formulas(printed, model: Path) -> None:  # type: ignore[no-untyped-def]
    assert printed("derive", "x*sin(x)^2").strip() == "f′(x) = sin x·(sin x + 2x·cos x)"
    text = printed("derive", f"{model}:nll", "--wrt", "mu,sigma", "--shape", "x=n")
    assert text.splitlines() == ["∂nll/∂μ = −(1/σ)·Σᵢ zᵢ", "∂nll/∂σ = (n−Σᵢ zᵢ²)/σ", "where zᵢ = (xᵢ−μ)/σ"]


def test_latex_and_sympy(printed) -> None:  # type: ignore[no-untyped-def]
    import sympy as sp

    assert printed("derive", "a*x^3", "--wrt", "x", "--to", "latex").startswith(r"\begin{align*}")
    line = printed("derive", "a*sin(b*x)", "--wrt", "x", "--to", "sympy").strip()
    a, b, x = sp.symbols("a b x")
    assert sp.simplify(sp.sympify(line.split(" = ")[1]) - sp.diff(a * sp.sin(b * x), x)) == 0


def test_numpy_source_runs(printed) -> None:  # type: ignore[no-untyped-def]
    names: dict[str, object] = {}
    exec(printed("derive", "x*sin(a*x)", "--to", "numpy"), names)
    found = names["f_gradient"](1.3, 0.7)  # type: ignore[operator]
    expected = math.sin(0.91) + 0.91 * math.cos(0.91), 1.3**2 * math.cos(0.91)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_code(printed) -> None:  # type: ignore[no-untyped-def]
    assert "define" in printed("derive", "x*sin(a*x)", "--to", "llvm")
    assert "#include" in printed("derive", "x*sin(a*x)", "--to", "c")


def test_values_at_a_point(printed) -> None:  # type: ignore[no-untyped-def]
    text = printed("derive", "a*x^2", "--order", "2", "--at", "x=3,a=2")
    for name, value in {"f": 18, "∂/∂a": 9, "∂/∂x": 12, "∂²/∂x∂a": 6, "∂²/∂x∂x": 4}.items():
        assert any(name in line and f" {value} " in line for line in text.splitlines()), (name, text)
    text = printed("derive", "sum((x-m)^2)/s", "--wrt", "m,s", "--at", "x=[1,2,3],m=2,s=1")
    assert "Σᵢ" in text and "│ ∂/∂s │    -2 │" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x+"], "no expression"),
        (["foo(x)"], "foo is not known"),
        (["__import__('os')"], "not known"),
        (["x.real"], "cannot stand in an expression"),
        (["2"], "no variable"),
        (["nothing.py:f"], "no such file"),
        (["nothing.py"], "which function"),
        (["x**2", "--wrt", "y"], "no such argument"),
        (["x**2", "--at", "x"], "--at takes"),
        (["a*x**2", "--at", "x=1"], "no value for a"),
        (["x**2", "--shape", "x"], "--shape takes"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["derive", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_errors_in_the_users_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["derive", f"{model}:likelihood"]) == 1
    assert "it has nll" in capsys.readouterr().err
    model.write_text("1/0")
    assert commands.main(["derive", f"{model}:nll"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_expressions() -> None:
    f = from_expression("max(a, 0)*x^2 + ln(x) - pi*erf(x) if x > 0 else -x")
    assert f.__name__ == "f"
    assert f(2.0, 3.0) != 0
    assert list(f.__code__.co_varnames) == ["a", "x"]  # type: ignore[attr-defined]
    assert load("x^2")(3.0) == 9.0
    assert parse_point("x=1e3,y=-2")["y"] == -2.0


def test_bench(printed) -> None:  # type: ignore[no-untyped-def]
    text = printed("bench", "--events", "100")
    assert "chainrule" in text and "100" in text
    assert commands.main(["bench", "--events", "0"]) == 1


def test_help_and_version() -> None:
    for arguments in (["--help"], ["derive", "--help"], ["demo", "--help"], ["bench", "--help"], ["--version"]):
        command = [sys.executable, "-m", "chainrule", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "chainrule" in done.stdout
