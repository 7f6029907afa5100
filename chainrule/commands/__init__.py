"""The command line: ``chainrule derive``, ``chainrule demo``, ``chainrule bench``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from chainrule import __version__

from . import bench, demo, derive


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 success, 1 the task failed, 130 interrupted.

    Wrong usage ends the process with status 2.
    """
    options = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows '?' instead of failing
    try:
        options.run(options)
    except (OSError, ValueError, TypeError, ArithmeticError, ImportError) as error:
        print(f"chainrule: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    made = argparse.ArgumentParser(
        prog="chainrule",
        description="Exact derivatives of NumPy functions, as formulas and as native kernels.",
        epilog="`chainrule COMMAND --help` explains a command.",
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (derive, demo, bench):
        command.add_to(commands)
    return made
