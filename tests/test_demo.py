"""The demo: the fit against known physics and the conditions for a minimum; the command line's errors."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from chainrule import cli, demo


@pytest.fixture(scope="module")
def masses() -> demo.FloatArray:
    return demo.select(demo.pair_mass(demo.read_events()))


@pytest.fixture(scope="module")
def result(masses: demo.FloatArray) -> demo.Fit:
    return demo.fit(masses)


def test_fit_finds_the_z_boson(result: demo.Fit) -> None:
    values = dict(zip(demo.PARAMETERS, result.parameters, strict=True))
    assert 90.5 < values["mass"] < 91.5  # the Z boson weighs 91.19 GeV
    assert 2.5 < values["width"] < 5  # 2.50 GeV of its own, and the detector's resolution
    assert 0.5 < values["fraction"] < 1


def test_fit_ends_at_a_minimum(result: demo.Fit, masses: demo.FloatArray) -> None:
    in_errors = result.gradient * result.errors
    np.testing.assert_allclose(in_errors, 0, atol=1e-6)
    assert result.distance < 1e-10
    for step in np.diag(result.errors):
        for neighbour in (result.parameters + step / 10, result.parameters - step / 10):
            assert demo.nll(neighbour, masses) > result.nll


def test_errors_are_those_of_the_likelihood(result: demo.Fit, masses: demo.FloatArray) -> None:
    """Second differences of the NumPy function give the Hessian that the covariance is the inverse of."""
    assert (result.errors > 0).all()
    steps = np.diag(result.errors) * 1e-2

    def value(step: demo.FloatArray) -> float:
        return float(demo.nll(result.parameters + step, masses))

    numeric = np.array(
        [[(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / 4 for b in steps] for a in steps]
    )
    exact = np.linalg.inv(result.covariance) * np.outer(result.errors, result.errors) * 1e-4
    np.testing.assert_allclose(numeric, exact, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("p", [demo.START, np.array([0.3, 85.0, 6.0, 0.2])])
def test_density_is_normalised(p: demo.FloatArray) -> None:
    area, _ = quad(lambda m: demo.density(p, m), demo.LOW, demo.HIGH, points=[p[1]])
    assert area == pytest.approx(1, abs=1e-9)


def test_pair_mass_of_known_kinematics() -> None:
    at_rest = [1.5, 0, 0, 0, 2.5, 0, 0, 0]
    back_to_back = [45, 0, 27, 36, 45, 0, -27, -36]  # two massless particles of 45 GeV
    np.testing.assert_allclose(demo.pair_mass(np.array([at_rest, back_to_back]).T), [4, 90], rtol=1e-15)


def test_command_prints_result_and_times(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = tmp_path / "z.png"
    assert cli.main(["demo", "--plot", str(image)]) == 0
    printed = capsys.readouterr().out
    assert "mass" in printed and "GeV" in printed and "Hessian" in printed
    assert image.read_bytes().startswith(b"\x89PNG")


def test_command_draws_the_histogram(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    assert "Pairs per GeV" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "no column E1"),
        ("E1,px1,py1,pz1\n1,2,3,4\n", "no column E2, px2, py2, pz2"),
        (",".join(demo.COLUMNS) + "\n1,2,3,4,5,6,7,muon\n", "muon"),
        (",".join(demo.COLUMNS) + "\n46,0,0,46,46,0,0,-46\n", "at least 100"),
    ],
)
def test_command_explains_bad_data(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.csv"
    if content is not None:
        file.write_text(content)
    assert cli.main(["demo", "--data", str(file)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1  # one line, no traceback


def test_data_without_a_peak_is_refused() -> None:
    flat = np.linspace(demo.LOW, demo.HIGH, 1002)[1:-1]
    with pytest.raises(ValueError, match="no minimum inside its bounds"):
        demo.fit(flat)


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["demonstrate"])
    assert stopped.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
