"""explain, compare and show: their numbers against mathematics, their pictures well formed."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.dual import Dual, derivative_by_dual_numbers
from chainrule.inspection.layout import layers_of, place
from chainrule.inspection.table import html_table, text_table


def pdf(x: Any, f: Any, mu: Any, sigma: Any, tau: Any) -> Any:
    z = (x - mu) / sigma
    G = np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    B = np.exp(-x / tau) / tau
    return f * G + (1 - f) * B


AT = {"x": 5.2, "f": 0.3, "mu": 5, "sigma": 0.7, "tau": 4}


def newton(a: float) -> float:
    x = a
    while abs(x * x - a) > 1e-12:
        x = (x + a / x) / 2
    return x


def slope_in_mu() -> float:
    z = (5.2 - 5) / 0.7
    return 0.3 * math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * 0.7) * z / 0.7


# --- explain ------------------------------------------------------------------------------------------------


def test_steps_of_a_density() -> None:
    found = cr.explain(pdf, wrt="mu", **AT)
    steps = {s.name: s for s in found.steps}
    z = 0.2 / 0.7
    g = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * 0.7)
    assert steps["z"].value == pytest.approx(z)
    assert steps["G"].value == pytest.approx(g)
    assert steps["G"].adjoint == pytest.approx(0.3)  # ∂/∂G = f
    assert steps["z"].adjoint == pytest.approx(-0.3 * g * z)  # ∂/∂z = −f·G·z
    assert steps["B"].adjoint is None  # does not lead to mu
    assert found.derivatives == {"mu": pytest.approx(slope_in_mu(), rel=1e-14)}


@pytest.mark.parametrize("wrt", [None, "f sigma"])
def test_derivatives_are_those_of_grad(wrt: str | None) -> None:
    found = cr.explain(pdf, wrt=wrt, **AT).derivatives
    names = wrt.split() if wrt else list(AT)
    expected = cr.grad(pdf, wrt=names)(*[float(v) for v in AT.values()])
    assert list(found.values()) == pytest.approx(list(expected), rel=1e-13)


def test_arrays_and_loops() -> None:
    def nll(p: Any, x: Any) -> Any:
        z = (x - p[0]) / p[1]
        return np.sum(z**2 / 2 + np.log(p[1]))

    p, x = np.array([1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    found = cr.explain(nll, p, x)
    z = (x - 1) / 2
    np.testing.assert_allclose(found.derivatives["p"], [-z.sum() / 2, (3 - (z**2).sum()) / 2], rtol=1e-14)
    np.testing.assert_allclose(found.derivatives["x"], z / 2, rtol=1e-14)
    assert cr.explain(newton, 2).derivatives["a"] == pytest.approx(1 / (2 * math.sqrt(2)), rel=1e-14)


def test_a_branch_not_taken_has_no_share() -> None:
    def f(x: Any) -> Any:
        return np.where(x > 0, np.sqrt(x), 0.0)

    assert cr.explain(f, -1.0).derivatives["x"] == 0.0
    assert cr.explain(f, 4.0).derivatives["x"] == 0.25


def test_explanations_print() -> None:
    found = cr.explain(pdf, wrt="mu", **AT)
    text = str(found)
    assert "exp(t4)" in text and "∂pdf/∂mu = 0.066994768503" in text
    page = found._repr_html_()
    assert page.count("<tr>") == len(found.steps) + 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cr.explain(lambda x: np.stack([x, x]), 1.0), "one number as its result"),
        (lambda: cr.explain(pdf, 1.0), "missing a required argument"),
        (lambda: cr.explain(pdf, wrt="nu", **AT), "without an argument of that name"),
        (lambda: cr.compare(lambda x: x.sum(), np.ones(2)), "functions of numbers"),
        (lambda: cr.compare(pdf, wrt="mu sigma", **AT), "one argument"),
    ],
)
def test_what_is_refused(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


# --- compare ------------------------------------------------------------------------------------------------


def test_methods_agree() -> None:
    found = {m.name: m for m in cr.compare(pdf, wrt="mu", **AT).methods}
    assert len(found) == 6
    bounds = {"central difference": 1e-7, "central differences, extrapolated": 1e-8}
    for name, method in found.items():
        assert method.derivative == pytest.approx(slope_in_mu(), rel=bounds.get(name, 1e-13))
        assert method.error is not None and method.error < bounds.get(name, 1e-13)
        assert method.seconds is not None and method.seconds > 0


def test_who_cannot_says_why() -> None:
    found = {m.name: m for m in cr.compare(newton, 2.0).methods}
    assert found["symbolic (SymPy)"].derivative is None
    assert "truth value" in found["symbolic (SymPy)"].problem
    exact = 1 / (2 * math.sqrt(2))
    for name in ("dual numbers", "chainrule, forward", "chainrule, reverse"):
        assert found[name].derivative == pytest.approx(exact, rel=1e-15)


DUALS: list[tuple[Callable[[Any], Any], Callable[[float], float]]] = [
    (lambda x: x**3 - 2 / x, lambda x: 3 * x**2 + 2 / x**2),
    (lambda x: np.sin(x) * np.exp(-x), lambda x: (math.cos(x) - math.sin(x)) * math.exp(-x)),
    (lambda x: np.where(x > 0, np.log(abs(x)), 0.0), lambda x: 1 / x),
    (lambda x: 5.0, lambda x: 0.0),
    (lambda x: np.arctan2(x, 2.0) + np.hypot(x, 1.0), lambda x: 2 / (x * x + 4) + x / math.hypot(x, 1)),
]


@pytest.mark.parametrize(("f", "slope"), DUALS)
def test_dual_numbers(f: Callable[[Any], Any], slope: Callable[[float], float]) -> None:
    assert derivative_by_dual_numbers(f, [0.7], 0) == pytest.approx(slope(0.7), rel=1e-14)


def test_dual_numbers_refuse_what_they_do_not_know() -> None:
    with pytest.raises(TypeError):
        np.cumsum(Dual(1.0, 1.0))


# --- show ---------------------------------------------------------------------------------------------------


def test_pictures() -> None:
    picture = cr.show(cr.grad(pdf, wrt="mu"))
    assert len(picture.simplified) < len(picture.written)
    root = ElementTree.fromstring(picture.svg)
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("mu", "sigma", "x", "f", "exp"):
        assert name in texts
    boxes = len(list(root.iter("{http://www.w3.org/2000/svg}rect")))
    assert boxes >= len(picture.simplified) + 5
    assert picture.dot.count("->") == sum(len(n.args) for n in picture.simplified.nodes)
    assert str(picture).count("return %") == 2


def test_saved_pictures(tmp_path: Path) -> None:
    picture = cr.show(lambda x, y: np.hypot(x, y))
    picture.write(tmp_path / "a.svg")
    picture.write(tmp_path / "a.dot")
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    with pytest.raises(ValueError, match=r"\.png"):
        picture.write(tmp_path / "a.png")


def test_large_graphs_are_text() -> None:
    def long(x: Any) -> Any:
        for k in iter(range(500)):
            x = np.sin(x) + k
        return x

    picture = cr.show(long)
    assert picture._repr_svg_() is None
    with pytest.raises(ValueError, match="print it instead"):
        _ = picture.svg
    assert "return" in str(picture)


def test_layers() -> None:
    sources: dict[int, list[int]] = {0: [], 1: [0], 2: [0, 1], 3: [], 4: [2, 3]}
    assert layers_of([0, 1, 2, 3, 4], sources) == [[0], [1], [2, 3], [4]]
    centres, width, height = place([0, 1, 2, 3, 4], sources, dict.fromkeys(range(5), 30.0))
    assert all(0 <= x <= width and 0 <= y <= height for x, y in centres.values())
    assert all(centres[s][1] < centres[i][1] for i, row in sources.items() for s in row)
    assert len({round(x) for x, y in centres.values() if y == centres[2][1]}) == 2  # boxes do not lie on each other


def test_tables() -> None:
    assert text_table(["a", "bb"], [["x", "y"]]) == "a │ bb\n──┼───\nx │ y"
    assert "&lt;b&gt;" in html_table(["a"], [["<b>"]])
