"""Formulas of programs with linear algebra: their inverses are tables, and results are elements."""

from typing import Any

import numpy as np
import pytest
import sympy as sp

import chainrule as cr
from tests.formulas import programs as p


def test_a_normal_likelihood_by_its_cholesky_factor() -> None:
    """∂ℓ/∂μ = L⁻ᵀ·Σᵢ yᵢ and ∂ℓ/∂L = tril(L⁻ᵀ·S) − n·diag(1/Lⱼⱼ) with S = Σᵢ yᵢyᵢᵀ, element by element."""
    shapes = {"mu": "d", "L": "d,d", "x": "n,d"}
    found = cr.formula(p.normal_log_likelihood, "mu", budget=10, **shapes)
    assert found.text().splitlines() == [
        "∂normal_log_likelihood/∂μₗ = Σᵢⱼ yᵢⱼ·L⁻¹ᵢₗ",
        "where L⁻¹ = inverse of [r ≥ s]·Lᵣₛ,  yᵢⱼ = Σₖ (xⱼₖ−μₖ)·L⁻¹ᵢₖ",
    ]
    found = cr.formula(p.normal_log_likelihood, "L", budget=10, **shapes)
    first = found.text().splitlines()[0]
    assert first == "∂normal_log_likelihood/∂Lₗₘ = [l ≥ m]·Σⱼ yₘⱼ·Σᵢ yᵢⱼ·L⁻¹ᵢₗ − n·δₗₘ/Lₗₗ"
    with pytest.raises(ValueError, match="inverse of a matrix"):
        _ = found.expr
    assert r"L^{-1}_{il}" in found.latex()


def test_linear_equations() -> None:
    def total(A: Any, b: Any) -> Any:
        y = np.linalg.solve(A, b)
        return np.sum(y)

    assert cr.formula(total, "b", A="d,d", b="d").text() == "∂total/∂bₗ = Σᵢ A⁻¹ᵢₗ"
    by_matrix = cr.formula(total, "A", A="d,d", b="d")
    assert by_matrix.text().startswith("∂total/∂Aₗₘ = −Yₘ₀·Σᵢ A⁻¹ᵢₗ")


def test_an_inverse_of_an_expression() -> None:
    def form(a: Any, A: Any, b: Any) -> Any:
        return b @ np.linalg.inv(a * A) @ b

    found = cr.formula(form, "a", A=(2, 2), b=2)
    assert "M⁻¹ = inverse of a·Aᵣₛ" in found.text()


def test_second_derivatives_of_a_solution() -> None:
    def energy(b: Any, A: Any) -> Any:
        return np.sum(b * np.linalg.solve(A, b)) / 2

    found = cr.formula(energy, "b", order=2, A="d,d", b="d")
    (value,) = [v for k, v in found.results.items() if k.startswith("∂²")]
    tables = {str(e) for e in value.atoms(sp.Indexed)}
    assert len(tables) == 2  # (A⁻¹ + A⁻ᵀ)/2


@pytest.mark.parametrize("kind", [np.linalg.det, lambda A: np.sum(np.linalg.cholesky(A))])
def test_what_has_no_formula(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"has no closed form; there is no formula for it .*test_matrices\.py"):
        cr.formula(lambda A: kind(A), A="d,d")
