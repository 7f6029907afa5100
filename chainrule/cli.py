"""The command line: `chainrule demo` fits the Z boson peak in CMS data with compiled derivatives."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule import __version__

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from chainrule.demo import Fit, FloatArray, Timing

DEMO = """\
Computes the mass of 10,851 muon pairs recorded by the CMS experiment and fits the Z boson peak: an unbinned
maximum-likelihood fit whose gradient and Hessian chainrule derives from a NumPy function and compiles."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 success, 1 the task failed, 130 interrupted.

    Wrong usage ends the process with status 2.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows '?' instead of failing
    try:
        _demo(options.data, options.plot, options.no_plot)
    except (OSError, ValueError, ImportError) as error:
        print(f"chainrule: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chainrule",
        description="Exact derivatives of NumPy functions, as formulas and as native kernels.",
        epilog="`chainrule COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="fit the Z boson peak in CMS data", description=DEMO)
    demo.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="CSV file (or .csv.gz) with columns E1,px1,py1,pz1,E2,px2,py2,pz2 in GeV; default: CMS events",
    )
    plot = demo.add_mutually_exclusive_group()
    plot.add_argument("--plot", type=Path, metavar="FILE", help="save the plot as an image; needs matplotlib")
    plot.add_argument("--no-plot", action="store_true", help="leave out the histogram")
    return parser


def _demo(data: Path | None, image: Path | None, no_plot: bool) -> None:
    from rich.console import Console

    import chainrule as cr
    from chainrule import demo

    console = Console(highlight=False)
    events = demo.read_events(data or demo.DATA)
    timings = demo.measure(events)  # first, while nothing is compiled yet
    masses = demo.select(cr.jit(demo.pair_mass)(events))
    console.print(
        f"{masses.size:,} of {events.shape[1]:,} muon pairs have a mass between "
        f"{demo.LOW:g} and {demo.HIGH:g} GeV\n"
    )
    result = demo.fit(masses)
    _print_fit(console, result, demo.PARAMETERS)
    if image is not None:
        _save_plot(image, masses, result)
        console.print(f"plot saved as {image}\n")
    elif not no_plot:
        _print_histogram(console, masses, result)
    _print_timings(console, timings, masses.size)


UNITS = {"fraction": "", "mass": "GeV", "width": "GeV", "slope": "1/GeV"}
MEANINGS = {
    "fraction": "share of Z bosons",
    "mass": "position of the peak",
    "width": "width of the peak: the Z's own and the detector's resolution",
    "slope": "of the exponential background",
}


def _print_fit(console: Console, result: Fit, names: Sequence[str]) -> None:
    from rich.table import Table

    table = Table(title="Unbinned maximum-likelihood fit", title_justify="left")
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("error", justify="right")
    table.add_column("unit")
    table.add_column("meaning")
    for name, value, error in zip(names, result.parameters, result.errors, strict=True):
        table.add_row(name, f"{value:.4f}", f"± {error:.4f}", UNITS[name], MEANINGS[name])
    console.print(table)
    console.print(
        f"-log L = {result.nll:.3f} after {result.evaluations} evaluations of value and gradient; "
        f"distance to the minimum {result.distance:.0e}; errors from the inverse Hessian\n"
    )


def _print_timings(console: Console, timings: Sequence[Timing], events: int) -> None:
    from rich.table import Table

    table = Table(title=f"Time of a call, {events:,} events", title_justify="left")
    table.add_column("")
    table.add_column("NumPy", justify="right")
    table.add_column("chainrule", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("first call, compilation included", justify="right")
    for timing in timings:
        table.add_row(
            timing.name,
            "" if timing.numpy is None else _duration(timing.numpy),
            _duration(timing.ours),
            "" if timing.numpy is None else f"{timing.numpy / timing.ours:.1f}×",
            _duration(timing.first),
        )
    console.print(table)
    console.print("NumPy's gradient is SciPy's finite difference (approx_fprime) of the same function.")


def _duration(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _binned(masses: FloatArray, result: Fit, bins: int) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """Counts, edges and the fit's expectation at the middle of each bin."""
    import numpy as np

    from chainrule import demo

    counts, edges = np.histogram(masses, bins=bins, range=(demo.LOW, demo.HIGH))
    middles = (edges[1:] + edges[:-1]) / 2
    return counts, edges, demo.density(result.parameters, middles) * masses.size * (edges[1] - edges[0])


def _print_histogram(console: Console, masses: FloatArray, result: Fit, columns: int = 60) -> None:
    counts, edges, expected = _binned(masses, result, 40)
    scale = columns / max(counts.max(), expected.max())
    console.print("Pairs per GeV: [cyan]█[/] data, [red]┃[/] fit")
    for low, count, curve in zip(edges, counts, expected, strict=False):
        bar = ("█" * round(count * scale)).ljust(columns + 1)
        mark = round(curve * scale)
        before, after = bar[:mark], bar[mark + 1 :].rstrip()
        console.print(f"{low:5.0f} [cyan]{before}[/][red]┃[/][cyan]{after}[/] [dim]{count}[/]")
    console.print()


def _save_plot(path: Path, masses: FloatArray, result: Fit) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'chainrule[plot]'") from None
    import numpy as np

    counts, edges, expected = _binned(masses, result, 80)
    middles = (edges[1:] + edges[:-1]) / 2
    axes = (figure := Figure(figsize=(7, 4.5), layout="constrained")).subplots()
    axes.errorbar(middles, counts, np.sqrt(counts), fmt="k.", label="CMS, Run 2011A")
    axes.plot(middles, expected, "r-", label="fit")
    axes.set(xlabel="mass of the muon pair (GeV)", ylabel=f"pairs per {edges[1] - edges[0]:g} GeV")
    axes.legend()
    figure.savefig(path, dpi=150)
