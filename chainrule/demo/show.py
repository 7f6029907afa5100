"""The demo on the terminal."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import chainrule as cr
from chainrule.inspection.table import duration

from . import data, figure, fits, model, timing
from .fits import Fit
from .model import FloatArray
from .timing import Timing

if TYPE_CHECKING:
    from rich.console import Console

UNITS = {"fraction": "", "mass": "GeV", "width": "GeV", "slope": "1/GeV"}
MEANINGS = {
    "fraction": "share of Z bosons",
    "mass": "of the Z",
    "width": "of the Z, without the detector's resolution",
    "slope": "of the exponential background",
}


def run(console: Console, file: Path | None, image: Path | None, no_plot: bool) -> None:
    """The main job from the momenta to the figure.

    Raises OSError or ValueError for data that cannot be read or fitted, ImportError for a figure without matplotlib.
    """
    events = data.read_events(file or data.DATA)
    m, s = data.select(*_plain_masses(events))
    with console.status("compiling and timing"):
        timings = timing.measure(events, m, s)  # first, while nothing is compiled yet
    masses, variances = cr.propagate(model.pair_mass, events, model.momentum_covariance(events))
    m, s = data.select(masses, np.sqrt(variances))
    console.print(
        f"{m.size:,} of {events.shape[1]:,} muon pairs have a mass between {model.LOW:g} and {model.HIGH:g} GeV; "
        f"their masses are known to {np.median(s):.2f} GeV if each momentum is to {model.RESOLUTION:.0%}\n"
    )
    found = [fits.fit_scipy(m, s)]
    if importlib.util.find_spec("iminuit") is not None:
        found.append(fits.fit_iminuit(m, s))
    print_fits(console, found)
    print_formulas(console)
    if image is not None:
        figure.save_figure(image, m, s, found[0])
        console.print(f"figure saved as {image}\n")
    elif not no_plot:
        console.print(figure.draw_characters(m, s, found[0]) + "\n")
    print_timings(console, timings, m.size)


def _plain_masses(events: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Masses by NumPy and rough errors, only to know which events are timed."""
    masses = model.pair_mass(events)
    return masses, model.RESOLUTION / np.sqrt(2) * masses


def print_fits(console: Console, found: Sequence[Fit]) -> None:
    """Values and errors of all fits side by side, and what they needed."""
    from rich.table import Table

    table = Table(title="Unbinned maximum-likelihood fit, peak convolved with each event's error", title_justify="left")
    table.add_column("parameter")
    for fit in found:
        table.add_column(fit.method, justify="right")
    table.add_column("unit")
    table.add_column("meaning")
    for i, name in enumerate(model.PARAMETERS):
        table.add_row(name, *[_value_and_error(fit, i) for fit in found], UNITS[name], MEANINGS[name])
    console.print(table)
    for fit in found:
        console.print(
            f"{fit.method}: −log L = {fit.nll:.3f}; calls: {fit.calls}; distance to the minimum {fit.distance:.0e}"
        )
    errors = "SciPy: from the inverse Hessian" + ("; iminuit: Minos" if len(found) > 1 else "")
    console.print(f"Errors of {errors}\n")


def _value_and_error(fit: Fit, i: int) -> str:
    if fit.lower is None or fit.upper is None:
        return f"{fit.parameters[i]:.4f} ± {fit.errors[i]:.4f}"
    return f"{fit.parameters[i]:.4f} {fit.lower[i]:+.4f} {fit.upper[i]:+.4f}"


def print_formulas(console: Console) -> None:
    """The derivatives of the model's parts, as formulas."""
    console.print("Derivatives of the peak (before resolution) and of the background:")
    for function, names in ((model.breit_wigner, "mass width"), (model.background, "slope")):
        console.print(cr.formula(function, wrt=names).text(), markup=False)
        console.print()


def print_timings(console: Console, timings: Sequence[Timing], events: int) -> None:
    """Who needs how long for a call."""
    from rich.table import Table

    others = list(dict.fromkeys(who for t in timings for who in t.seconds if who != "chainrule"))
    table = Table(title=f"Time of a call, {events:,} events", title_justify="left")
    for heading in ("", *others, "chainrule", "first call, compiling"):
        table.add_column(heading, justify="right" if heading else "left")
    for each in timings:
        ours = each.seconds["chainrule"]
        cells = [
            f"{duration(each.seconds[who])} ({each.seconds[who] / ours:.1f}×)" if who in each.seconds else ""
            for who in others
        ]
        table.add_row(each.name, *cells, duration(ours), duration(each.first))
    console.print(table)
    differences = " and ".join(who for who in others if who in ("NumPy", "numba"))
    console.print(f"The gradient of {differences} is SciPy's finite difference (approx_fprime) of the same function.")
