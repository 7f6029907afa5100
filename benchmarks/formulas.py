"""How long printed gradients are: ours, and SymPy's diff, simplify(diff), factor_terms(diff), in SymPy's operations.

Shared steps count once. For SymPy the shortest of the three is taken for each partial derivative by itself. Writes
docs/formulas.md with `--write`.
"""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import sympy as sp
from formula_programs import DENSITIES, PHYSICS, Program

import chainrule as cr

TARGET = Path(__file__).parents[1] / "docs" / "formulas.md"


@dataclass(frozen=True)
class Row:
    name: str
    ours: int
    peers: tuple[int, int, int]  # diff, simplify(diff), factor_terms(diff)
    best: int
    seconds: float
    text: str


def length(formula: cr.Formula) -> int:
    """Operations of a formula, shared steps counted once."""
    return sum(int(sp.count_ops(e)) for e in (*formula.results.values(), *formula.steps.values()))


def measure(program: Program, budget: float = 1.0) -> Row:
    """One program's gradient, ours and SymPy's."""
    function, wrt, specs = program
    started = time.perf_counter()
    ours = cr.formula(function, wrt, budget=budget, **specs)
    seconds = time.perf_counter() - started
    value = cr.formula(function, wrt, order=0, budget=0.0, **specs)
    expression = replace(value, constants={}).expr  # named constants stay names for all
    real = {s: sp.Symbol(s.name, real=True) for s in expression.free_symbols if isinstance(s, sp.Symbol)}
    expression = expression.xreplace(real)
    totals = [0, 0, 0]
    best = 0
    for name in wrt.split():
        partial = sp.diff(expression, sp.Symbol(name, real=True))
        counts = [int(sp.count_ops(f)) for f in (partial, simplified(partial), sp.factor_terms(partial))]
        totals = [t + c for t, c in zip(totals, counts, strict=True)]
        best += min(counts)
    return Row(function.__name__, length(ours), (totals[0], totals[1], totals[2]), best, seconds, ours.text())


def simplified(expression: object) -> object:
    """SymPy's `simplify`, or the expression itself where that takes longer than a minute."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    try:
        return sp.simplify(expression)
    except TimeoutError:
        return expression
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def table(rows: list[Row]) -> str:
    lines = ["| program | ours | diff | simplify | factor_terms | best of them |", "|---|---|---|---|---|---|"]
    for r in rows:
        lines.append(f"| `{r.name}` | {r.ours} | {r.peers[0]} | {r.peers[1]} | {r.peers[2]} | {r.best} |")
    return "\n".join(lines)


def page(parts: dict[str, list[Row]]) -> str:
    """The page of the documentation."""
    text = [HEADER]
    for title, rows in parts.items():
        text += [f"## {title}", "", table(rows), ""]
    text += ["## As printed", ""]
    for rows in parts.values():
        for r in rows:
            text += [f"`{r.name}`", "", "```text", r.text, "```", ""]
    return "\n".join(text).rstrip() + "\n"


HEADER = """# How long formulas are

The gradients of sixty programs as `cr.formula` prints them, and as SymPy does: `diff`, `simplify(diff)` and
`factor_terms(diff)` of the same expression. Counted are operations (SymPy's `count_ops`) of all partial derivatives; a
step that several results share counts once. *Best of them* takes for each partial derivative the shortest of the three.
The table is made by `benchmarks/formulas.py --write`; the programs are in `benchmarks/formula_programs.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/formulas.md")
    parser.add_argument("--only", default="", help="names of programs, separated by commas")
    options = parser.parse_args()
    names = set(options.only.split(",")) - {""}
    parts: dict[str, list[Row]] = {}
    longer = []
    for title, programs in (("Densities and likelihoods", DENSITIES), ("Physics", PHYSICS)):
        rows: list[Row] = []
        for program in programs:
            if names and program[0].__name__ not in names:
                continue
            row = measure(program)
            rows.append(row)
            mark = "" if row.ours <= row.best else "   LONGER"
            print(f"{row.name:24} {row.ours:4} {row.best:4} {row.peers} {row.seconds:5.2f} s{mark}", flush=True)
            longer += [row.name] if row.ours > row.best else []
        parts[title] = rows
    print(f"{len(longer)} longer: {', '.join(longer)}")
    if options.write:
        TARGET.write_text(page(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
