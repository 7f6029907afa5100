"""`chainrule demo`: the Z boson in CMS data."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Computes the masses of 10,851 muon pairs recorded by the CMS experiment, with their errors, and fits the Z boson's
peak: an unbinned maximum-likelihood fit by SciPy (and iminuit, where it is installed) whose gradient and Hessian
chainrule derives from a NumPy function and compiles."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("demo", help="fit the Z boson peak in CMS data", description=DESCRIPTION)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="CSV file (or .csv.gz) with columns E1,px1,py1,pz1,E2,px2,py2,pz2 in GeV; default: CMS events",
    )
    plot = parser.add_mutually_exclusive_group()
    plot.add_argument("--plot", type=Path, metavar="FILE", help="save the figure as an image; needs matplotlib")
    plot.add_argument("--no-plot", action="store_true", help="leave out the histogram")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does it. Raises OSError, ValueError or ImportError with a message for the user."""
    from rich.console import Console

    from chainrule.demo import show

    show.run(Console(highlight=False), options.data, options.plot, options.no_plot)
