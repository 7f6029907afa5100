"""All benchmarks in one table and one plot: ours against every peer and C.

    python benchmarks/report.py FOLDER             # measures everything, then writes FOLDER/report.md and report.svg
    python benchmarks/report.py FOLDER --only-read # from the JSON files that are there
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORKLOADS = ("w1_latency", "w2_elementwise", "w3_likelihood", "w5_leapfrog", "w6_closedform", "w7_kepler", "w9_startup")
OURS = "chainrule"
Tables = dict[str, list[dict[str, Any]]]


def measure(folder: Path, passed_on: list[str]) -> None:
    """Runs every workload that is there; one that fails is reported and left out."""
    for name in workloads():
        print(f"{name} …", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(folder / f"{name}.json"), *passed_on]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            print(f"{name} failed", file=sys.stderr)


def workloads() -> list[str]:
    others = {path.stem for path in HERE.glob("w[0-9]*.py")} - set(WORKLOADS)
    return sorted([*WORKLOADS, *others])


def read(folder: Path) -> tuple[str, Tables]:
    """(the machine, all tables)"""
    machine, tables = "", {}
    for name in workloads():
        path = folder / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            machine = found["machine"]
            tables.update(found["tables"])
    return machine, {title: rows for title, rows in tables.items() if rows}


def library(label: str) -> str:
    """The library that an entry measures: the first word of its label."""
    return "C" if label.startswith("C ") else label.split(",")[0].split(" ")[0]


def best_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Library → time of its fastest entry."""
    found: dict[str, float] = {}
    for row in rows:
        name = library(row["label"])
        found[name] = min(found.get(name, row["median"]), row["median"])
    return found


def columns(tables: Tables) -> list[str]:
    names = {name for rows in tables.values() for name in best_of(rows)}
    first = [n for n in (OURS, "C") if n in names]
    return first + sorted(names - set(first), key=str.lower)


def markdown(machine: str, tables: Tables) -> str:
    """Times of each library's fastest entry, and how many times ours it is."""
    names = columns(tables)
    lines = [machine, "", "| |" + "|".join(names) + "|", "|---|" + "---|" * len(names)]
    for title, rows in tables.items():
        found = best_of(rows)
        own = found.get(OURS)
        cells = []
        for name in names:
            if name not in found:
                cells.append("")
            elif name == OURS or own is None:
                cells.append(f"{found[name]:.3g}")
            else:
                cells.append(f"{found[name]:.3g} ({found[name] / own:.3g}×)")
        lines.append(f"| {title} |" + "|".join(cells) + "|")
    return "\n".join([*lines, ""])


def plot(tables: Tables, path: Path) -> None:
    """For each workload, every library's time as a multiple of ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    compared = {title: best_of(rows) for title, rows in tables.items() if OURS in best_of(rows)}
    names = [n for n in columns(tables) if n != OURS]
    height = 0.5 * len(compared) + 1.2
    figure, axes = pyplot.subplots(figsize=(9, height), layout="constrained")
    for number, name in enumerate(names):
        places = [i for i, found in enumerate(compared.values()) if name in found]
        ratios = [found[name] / found[OURS] for found in compared.values() if name in found]
        axes.scatter(ratios, places, label=name, marker="oDs^vPX<>*"[number % 10], s=60, zorder=3)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="time as a multiple of chainrule's", yticks=range(len(compared)))
    axes.set_yticklabels(compared)
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only-read", action="store_true", help="measure nothing")
    parser.add_argument("--no-plot", action="store_true", help="without matplotlib")
    options, passed_on = parser.parse_known_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.only_read:
        measure(options.folder, passed_on)
    machine, tables = read(options.folder)
    text = markdown(machine, tables)
    (options.folder / "report.md").write_text(text)
    if not options.no_plot:
        plot(tables, options.folder / "report.svg")
    print(text)


if __name__ == "__main__":
    main()
