"""The formulas that the project promises, word by word, for the programs of its table."""

from typing import Any

import pytest

import chainrule as cr
from tests.formulas import programs as p

LONG = 30.0  # seconds: nothing is left out for lack of time


def lines(function: Any, wrt: Any = None, **options: Any) -> list[str]:
    return cr.formula(function, wrt, budget=LONG, **options).text().splitlines()


def test_a_density_in_its_authors_words() -> None:
    assert lines(p.pdf, "mu") == ["∂pdf/∂μ = f·G·z/σ      z = (x−μ)/σ,  G = exp(−z²/2)/(√(2π)·σ)"]


def test_a_product() -> None:
    assert str(cr.formula(lambda x: p.wave(x), budget=LONG)) == "f′(x) = sin x·(sin x + 2x·cos x)"


def test_a_likelihood_with_its_hessian() -> None:
    assert lines(p.nll, p=2, x="n", order=2) == [
        "∂nll/∂μ = −(1/σ)·Σᵢ zᵢ",
        "∂nll/∂σ = (n−Σᵢ zᵢ²)/σ",
        "H_μμ = n/σ²",
        "H_μσ = (2/σ²)·Σᵢ zᵢ",
        "H_σσ = (3·Σᵢ zᵢ²−n)/σ²",
        "where zᵢ = (xᵢ−μ)/σ",
    ]


def test_signal_and_background() -> None:
    formula = cr.formula(p.truncated_nll, "mu", p=4, x="n", budget=LONG)
    text = formula.text().replace("\n      ", " ")
    assert text.startswith("∂truncated_nll/∂μ = −(1/σ)·Σᵢ wᵢ·(zᵢ−κ)\n")
    assert "wᵢ = f·signalᵢ/(f·signalᵢ+(1−f)·backgroundᵢ)" in text
    assert "κ = (exp(−μ²/(2σ²)) − exp(−(10−μ)²/(2σ²)))/(√(2π)·area)" in text
    first = formula.latex().splitlines()[0].partition(" = ")[2]
    assert first == r"-\frac{1}{\sigma} \sum_i w_i(z_i-\kappa) \\"
    assert len(first) <= 200


def test_a_choice() -> None:
    assert lines(p.root) == ["∂root/∂x = { 1/(2√x) if x > 0; 0 otherwise }"]


def test_a_while_loop() -> None:
    assert lines(p.newton) == [
        "x₀ = a, ẋ₀ = 1; while |xₖ²−a| > 10⁻¹²: xₖ₊₁ = ½(xₖ+a/xₖ), ẋₖ₊₁ = ½((1−a/xₖ²)·ẋₖ + 1/xₖ); ∂newton/∂a = ẋ_K"
    ]


def test_a_loop_that_adds() -> None:
    assert lines(p.f, "x") == ["∂f/∂x = Σ_{k=1}^{n} cos(k·x)"]


def test_a_loop_that_multiplies() -> None:
    assert lines(p.falling, "x", order=0) == ["falling = Π_{k=0}^{n−1} (x−k)"]


def test_an_amplitude() -> None:
    assert lines(p.intensity, "a phi") == [
        "∂intensity/∂a = 2·Re(A*·E)",
        "∂intensity/∂φ = −2a·Im(A*·E)",
        "where D = m₀²−m²−i·G₀·m₀,  E = exp(i·φ)/D,  A = 1+a·E",
    ]


def test_a_scan_by_adjoints() -> None:
    assert lines(p.recurrent, "w u", x="n", y="n") == [
        "h₋₁ = 0; for t = 0…n−1: hₜ = tanh(u·xₜ+w·hₜ₋₁)",
        "λₙ = 0; for t = n−1…0: λₜ = 2(hₜ−yₜ) + w·(1−hₜ₊₁²)·λₜ₊₁",
        "∂recurrent/∂w = Σₜ λₜ·(1−hₜ²)·hₜ₋₁",
        "∂recurrent/∂u = Σₜ λₜ·xₜ·(1−hₜ²)",
    ]


def test_a_scan_by_dots() -> None:
    found = cr.formula(p.recurrent, "w", mode="forward", x="n", y="n", budget=LONG).text()
    assert found == (
        "h₋₁ = 0, ḣ₋₁ = 0; for t = 0…n−1: hₜ = tanh(u·xₜ+w·hₜ₋₁), ḣₜ = (1−hₜ²)·(w·ḣₜ₋₁+hₜ₋₁);"
        " ∂recurrent/∂w = 2·Σᵢ (hᵢ−yᵢ)·ḣᵢ"
    )


def test_named_and_recognised_constants() -> None:
    text = cr.formula(p.shape, "m", budget=LONG).text()
    assert text == "∂shape/∂m = 32Γ·(M_Z−m)/(Γ²+4(M_Z−m)²)²      M_Z = 91.1876"


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (p.branch, {"wrt": "x"}, "∂branch/∂x = { a/(x−a) if a < x; 2a·x otherwise }"),
        (p.quadratic, {"wrt": "x", "x": "n", "A": "n,n"}, "∂quadratic/∂xₖ = Σᵢ xᵢ·(Aᵢₖ+Aₖᵢ)"),
        (
            p.rosenbrock,
            {"wrt": "x", "x": "n"},
            (
                "∂rosenbrock/∂xⱼ = { 200(xⱼ−xⱼ₋₁²) if j ≥ 1; 0 otherwise }"
                " + { 2xⱼ+400xⱼ³−2−400xⱼ·xⱼ₊₁ if j ≤ n−2; 0 otherwise }"
            ),
        ),
        (p.rotated, {"wrt": "theta"}, "∂rotated₀/∂θ = −x·sin θ − y·cos θ\n∂rotated₁/∂θ = x·cos θ − y·sin θ"),
        (p.polar, {}, "∂polar₀/∂r = cos φ\n∂polar₀/∂φ = −r·sin φ\n∂polar₁/∂r = sin φ\n∂polar₁/∂φ = r·cos φ"),
    ],
)
def test_branches_and_arrays(function: Any, options: dict[str, Any], expected: str) -> None:
    assert cr.formula(function, budget=LONG, **options).text() == expected
