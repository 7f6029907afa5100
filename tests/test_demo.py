"""The demo: the fit against known physics and the conditions for a minimum; the command line's errors."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import voigt_profile

import chainrule as cr
from chainrule import commands
from chainrule.demo import data, figure, fits, model, timing


@pytest.fixture(scope="module")
def events() -> model.FloatArray:
    return data.read_events()


@pytest.fixture(scope="module")
def sample(events: model.FloatArray) -> tuple[model.FloatArray, model.FloatArray]:
    masses, variances = cr.propagate(model.pair_mass, events, model.momentum_covariance(events))
    return data.select(masses, np.sqrt(variances))


@pytest.fixture(scope="module")
def result(sample: tuple[model.FloatArray, model.FloatArray]) -> fits.Fit:
    return fits.fit_scipy(*sample)


def test_fit_finds_the_z_boson(result: fits.Fit) -> None:
    values = dict(zip(model.PARAMETERS, result.parameters, strict=True))
    assert 90.5 < values["mass"] < 91.5  # the Z boson weighs 91.19 GeV
    assert 2.5 < values["width"] < 4  # 2.50 GeV of its own; the resolution is worse than the 1 % assumed
    assert 0.5 < values["fraction"] < 1


def test_fit_ends_at_a_minimum(result: fits.Fit, sample: tuple[model.FloatArray, model.FloatArray]) -> None:
    in_errors = result.gradient * result.errors
    np.testing.assert_allclose(in_errors, 0, atol=1e-6)
    assert result.distance < 1e-10
    for step in np.diag(result.errors):
        for neighbour in (result.parameters + step / 10, result.parameters - step / 10):
            assert model.nll(*neighbour, *sample) > result.nll


def test_errors_are_those_of_the_likelihood(
    result: fits.Fit, sample: tuple[model.FloatArray, model.FloatArray]
) -> None:
    """Second differences of the NumPy function give the Hessian that the covariance is the inverse of."""
    assert (result.errors > 0).all()
    steps = np.diag(result.errors) * 1e-2

    def value(step: model.FloatArray) -> float:
        return float(model.nll(*(result.parameters + step), *sample))

    numeric = np.array(
        [[(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / 4 for b in steps] for a in steps]
    )
    exact = np.linalg.inv(result.covariance) * np.outer(result.errors, result.errors) * 1e-4
    np.testing.assert_allclose(numeric, exact, rtol=1e-2, atol=1e-6)


def test_iminuit_agrees(result: fits.Fit, sample: tuple[model.FloatArray, model.FloatArray]) -> None:
    theirs = fits.fit_iminuit(*sample)
    np.testing.assert_allclose(theirs.parameters, result.parameters, atol=0.01 * result.errors.min())
    np.testing.assert_allclose(theirs.errors, result.errors, rtol=1e-2)
    assert theirs.lower is not None and theirs.upper is not None
    for sides in (-theirs.lower, theirs.upper):
        np.testing.assert_allclose(sides, result.errors, rtol=0.1)  # the likelihood is nearly a parabola
    for i, name in enumerate(model.PARAMETERS):  # where Minos ends, the minimum over the others has risen by 1/2
        risen = _profile(i, result.parameters[i] + theirs.upper[i], sample)
        assert risen == pytest.approx(result.nll + 0.5, abs=5e-3), name


def _profile(i: int, fixed: float, sample: tuple[model.FloatArray, model.FloatArray]) -> float:
    from scipy.optimize import minimize

    start = np.array(list(fits.START.values()))
    others = [k for k in range(4) if k != i]

    def cost(p: model.FloatArray) -> float:
        at = start.copy()
        at[others], at[i] = p, fixed
        return float(model.nll(*at, *sample))

    found = minimize(cost, start[others], method="L-BFGS-B", bounds=[fits.BOUNDS[k] for k in others])
    return float(found.fun)


@pytest.mark.parametrize("s", [0.3, 0.64, 0.8])
@pytest.mark.parametrize("p", [tuple(fits.START.values()), (0.3, 85.0, 6.0, 0.2)])
def test_density_is_normalised(p: tuple[float, ...], s: float) -> None:
    area, _ = quad(lambda m: model.density(np.array([m]), np.array([s]), *p)[0], model.LOW, model.HIGH, points=[p[1]])
    assert area == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("s", [0.3, 0.5, 0.7])
def test_peak_is_the_voigt_profile(s: float) -> None:
    """But for its normalisation, which SciPy's quadrature gives."""
    m = np.linspace(72, 108, 37)
    area, _ = quad(lambda m: voigt_profile(m - 91.0, s, 1.25), model.LOW, model.HIGH, points=[91.0])
    expected = voigt_profile(m - 91.0, s, 1.25) / area
    np.testing.assert_allclose(model.peak(m, np.full(37, s), 91.0, 2.5), expected, rtol=5e-6)


def test_pair_mass_of_known_kinematics() -> None:
    at_rest = [1.5, 0, 0, 0, 2.5, 0, 0, 0]
    back_to_back = [45, 0, 27, 36, 45, 0, -27, -36]  # two massless particles of 45 GeV
    np.testing.assert_allclose(model.pair_mass(np.array([at_rest, back_to_back]).T), [4, 90], rtol=1e-15)


def test_error_of_the_mass(events: model.FloatArray) -> None:
    """m² is proportional to both momenta (the muon's mass is small): σ_m/m = √2·½·1 %."""
    m, variance = cr.propagate(model.pair_mass, events, model.momentum_covariance(events))
    np.testing.assert_allclose(np.sqrt(variance) / m, 0.01 / np.sqrt(2), rtol=1e-3)


def test_binned_expectation(result: fits.Fit, sample: tuple[model.FloatArray, model.FloatArray]) -> None:
    counts, _, expected, background = figure.binned(*sample, result.parameters, 40)
    assert expected.sum() == pytest.approx(counts.sum(), rel=0.01)
    assert (background < expected).all()
    assert background.sum() == pytest.approx((1 - result.parameters[0]) * counts.sum(), rel=0.01)


def test_the_same_source_with_another_import(sample: tuple[model.FloatArray, model.FloatArray]) -> None:
    module = timing.with_import("import chainrule.numpy as np")
    at = tuple(fits.START.values())
    assert module.nll(*at, *sample) == pytest.approx(model.nll(*at, *sample), rel=1e-14)


def test_command_prints_result_and_times(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = tmp_path / "z.png"
    assert commands.main(["demo", "--plot", str(image)]) == 0
    printed = capsys.readouterr().out
    assert "mass" in printed and "GeV" in printed and "Hessian" in printed
    assert image.read_bytes().startswith(b"\x89PNG")


def test_command_draws_the_histogram(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["demo"]) == 0
    assert "Pairs per GeV" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "no column E1"),
        ("E1,px1,py1,pz1\n1,2,3,4\n", "no column E2, px2, py2, pz2"),
        (",".join(data.COLUMNS) + "\n1,2,3,4,5,6,7,muon\n", "muon"),
        (",".join(data.COLUMNS) + "\n46,0,0,46,46,0,0,-46\n", "at least 100"),
    ],
)
def test_command_explains_bad_data(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.csv"
    if content is not None:
        file.write_text(content)
    assert commands.main(["demo", "--data", str(file)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1  # one line, no traceback


def test_data_without_a_peak_is_refused() -> None:
    flat = np.linspace(model.LOW, model.HIGH, 1002)[1:-1]
    with pytest.raises(ValueError, match="no minimum inside its bounds"):
        fits.fit_scipy(flat, np.full(1000, 0.6))


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        commands.main(["demonstrate"])
    assert stopped.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
