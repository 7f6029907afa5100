"""Printed gradients are no longer than SymPy's: a sample; `benchmarks/formulas.py` has all of them."""

from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SAMPLE = (
    "normal_log", "exponential", "gamma_log", "weibull_log", "rayleigh", "normal_nll", "binomial_nll", "lorentz_factor",
    "yukawa", "lennard_jones", "boltzmann_two_level", "bose", "van_der_waals", "rc_charge", "compton",
)  # fmt: skip


@pytest.fixture
def formulas(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import formulas

    return formulas


def test_there_are_thirty_of_each(formulas: Any) -> None:
    assert len(formulas.DENSITIES) >= 30
    assert len(formulas.PHYSICS) >= 30


@pytest.mark.parametrize("name", SAMPLE)
def test_never_longer_than_sympys(formulas: Any, name: str) -> None:
    (program,) = [q for q in (*formulas.DENSITIES, *formulas.PHYSICS) if q[0].__name__ == name]
    row = formulas.measure(program, budget=30.0)
    assert row.ours <= row.best
    assert row.best <= min(row.peers)


def test_the_page_has_every_program() -> None:
    page = (BENCHMARKS.parent / "docs" / "formulas.md").read_text(encoding="utf-8")
    assert page.count("```text") >= 60
    assert "| program | ours | diff | simplify | factor_terms | best of them |" in page
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) == 6 and cells[1].isdigit():
            assert int(cells[1]) <= int(cells[5]), line
