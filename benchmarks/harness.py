"""Side-by-side measurement: every entry checked, entries interleaved, ratios taken round by round.

Import this module before NumPy: it limits every library to one thread. The clock is then the CPU time of the
process, which time slices taken by other processes do not disturb.
"""
# ruff: noqa: E402  (the limits must be set before the imports)

from __future__ import annotations

import os

for _variable in ("OMP", "MKL", "OPENBLAS", "NUMBA", "CHAINRULE"):
    os.environ[f"{_variable}_NUM_THREADS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import atexit
import ctypes
import datetime
import gc
import importlib
import importlib.util
import json
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SOURCES = Path(__file__).parent / "c"
CC = ["gcc", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp-simd", "-fno-math-errno"]
CC += ["-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC"]
TOLERANCE = 1e-9
clock = time.process_time


@dataclass
class Options:
    """What the command line says."""

    rounds: int
    seconds: float
    only: list[str]
    json: Path | None

    @classmethod
    def parse(cls, description: str | None, **defaults: str) -> tuple[Options, argparse.Namespace]:
        """Read the common options and one text option for each of `defaults`."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--rounds", type=int, default=15, help="how often every entry is measured")
        parser.add_argument("--seconds", type=float, default=0.02, help="time for an entry in a round")
        parser.add_argument("--only", default="", help="peers to run, separated by commas (C always runs)")
        parser.add_argument("--json", type=Path, help="file that the figures are written to")
        for name, value in defaults.items():
            parser.add_argument(f"--{name}", default=value)
        found = parser.parse_args()
        return cls(found.rounds, found.seconds, [p for p in found.only.split(",") if p], found.json), found

    def peer(self, name: str) -> Any:
        """The module of a peer, or None if it is not installed or not asked for."""
        if self.only and name not in self.only:
            return None
        try:
            module = importlib.import_module(name)
        except ImportError:
            return None
        if name == "chainrule":  # what only compilation needs is imported by the first one
            for part in ("llvmlite.binding", "optree", *(f"chainrule.{p}" for p in LATE)):
                importlib.import_module(part)
        if name == "jax":
            module.config.update("jax_enable_x64", True)
        return module


@dataclass
class Entry:
    """One way to compute the result; `samples` holds seconds per call, one for each round."""

    label: str
    call: Callable[[], Any]
    build: float
    error: float
    number: int = 1
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass
class Row:
    """A line of the printed table; times in the unit of the comparison, `over_c` as a ratio."""

    label: str
    median: float
    best: float
    over_c: float | None
    build_seconds: float
    error: float


class Comparison:
    """Entries that compute the same numbers, timed in turn.

    `reference` is the right result; an entry that misses it by more than `tolerance`, relative to each
    component or to 1e-6 of the largest, is left out and reported. Times are divided by `per` (events, points)
    and given in `unit`.
    """

    def __init__(
        self, title: str, reference: Any, unit: str = "µs", per: int = 1, tolerance: float = TOLERANCE
    ) -> None:
        self.title = f"{title}, {unit}"
        self.reference = flat(reference)
        self.unit = unit
        self.factor = {"µs": 1e6, "ns": 1e9}[unit.split("/")[0]] / per
        self.tolerance = tolerance
        self.entries: list[Entry] = []
        self.failures: list[str] = []

    def add(self, label: str, build: Callable[[], Callable[[], Any]]) -> None:
        """Build an entry, check its result; a failure is only reported. Labels of yardsticks start with C."""
        start = time.perf_counter()
        try:
            call = build()
            result = flat(call())
        except Exception as error:  # a peer that breaks must not stop the others
            self.failures.append(f"{label}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
            return
        seconds = time.perf_counter() - start
        if result.shape != self.reference.shape:
            self.failures.append(f"{label}: shape {result.shape} instead of {self.reference.shape}")
            return
        scale = np.maximum(np.abs(self.reference), 1e-6 * np.abs(self.reference).max())
        deviation = float(np.max(np.abs(result - self.reference) / scale))
        if not deviation < self.tolerance:
            self.failures.append(f"{label}: wrong by {deviation:.1e}")
            return
        self.entries.append(Entry(label, call, seconds, deviation))

    def run(self, options: Options) -> list[Row]:
        """Time all entries and print the table."""
        for _ in range(2):  # our kernels are compiled well after a while, in the background
            for entry in self.entries:
                entry.number = _calls_in(entry.call, options.seconds)
            _wait_for_compilers()
        gc.collect()
        gc.disable()
        for _ in range(options.rounds):
            for entry in self.entries:
                entry.samples.append(_seconds(entry.call, entry.number))
        gc.enable()
        rows = sorted(self._rows(), key=lambda row: row.median)
        self._print(rows)
        return rows

    def _rows(self) -> Iterable[Row]:
        yardstick = min(
            (entry for entry in self.entries if entry.label.startswith("C ")),
            key=lambda entry: entry.median,
            default=None,
        )
        for entry in self.entries:
            ratio = None
            if yardstick is not None:
                pairs = zip(entry.samples, yardstick.samples, strict=True)
                ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            best = min(entry.samples) * self.factor
            yield Row(entry.label, entry.median * self.factor, best, ratio, entry.build, entry.error)

    def _print(self, rows: list[Row]) -> None:
        print(f"\n### {self.title}\n")
        print(f"| | {self.unit} | best | × best C | build, s | error |\n|---|---|---|---|---|---|")
        for row in rows:
            ratio = "" if row.over_c is None else f"{row.over_c:.2f}"
            print(
                f"| {row.label} | {row.median:.3g} | {row.best:.3g} | {ratio} | {row.build_seconds:.2g} "
                f"| {row.error:.0e} |"
            )
        for failure in self.failures:
            print(f"\nleft out: {failure}")


def _wait_for_compilers() -> None:
    if "chainrule" in sys.modules:
        from chainrule.codegen.tiers import settle

        settle()


def _seconds(call: Callable[[], Any], number: int) -> float:
    repeat = range(number)
    start = clock()
    for _ in repeat:
        call()
    return (clock() - start) / number


def _calls_in(call: Callable[[], Any], seconds: float) -> int:
    """How many calls fill about the given time."""
    number = 1
    while (spent := _seconds(call, number) * number) < seconds / 4 and number < 1 << 20:
        number *= 4
    return max(1, int(number * seconds / max(spent, 1e-9)))


def flat(result: Any) -> np.ndarray:
    """All numbers of nested tuples, lists and arrays, as one float64 vector."""
    if isinstance(result, (tuple, list)):
        return np.concatenate([flat(part) for part in result])
    return np.asarray(result, dtype=float).ravel()


def describe_machine() -> str:
    """One line on date, cores and versions."""
    return (
        f"{datetime.datetime.now():%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, one thread"
    )


def finish(options: Options, results: dict[str, list[Row]]) -> None:
    """Write the figures where `--json` says."""
    if options.json is not None:
        tables = {title: [asdict(row) for row in rows] for title, rows in results.items()}
        options.json.write_text(json.dumps({"machine": describe_machine(), "tables": tables}, indent=1))


# C yardsticks -------------------------------------------------------------------------------------


def _build_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="chainrule-benchmarks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


LATE = ("codegen.lower", "codegen.to_llvm", "codegen.entry", "graph.convert", "graph.syntax", "graph.structured")
BUILD = _build_folder()
os.environ["CHAINRULE_CACHE_DIR"] = str(BUILD / "cache")  # empty, so that build times are those of a first use


def have_c() -> bool:
    return shutil.which(CC[0]) is not None


def c_library(name: str) -> ctypes.CDLL:
    """Compile `c/<name>.c` and load it."""
    target = BUILD / f"{name}.so"
    subprocess.run([*CC, str(SOURCES / f"{name}.c"), "-o", str(target), "-lm"], check=True)
    return ctypes.CDLL(str(target))


def c_extension(name: str) -> ModuleType:
    """Compile `c/<name>.c` as an extension module and import it."""
    target = BUILD / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{np.get_include()}"]
    subprocess.run([*CC, *include, str(SOURCES / f"{name}.c"), "-o", str(target), "-lm"], check=True)
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def casadi_compiled(function: Any, name: str) -> Any:
    """The C code that CasADi generates for a function named `name`, compiled and loaded."""
    import casadi

    here = Path.cwd()
    os.chdir(BUILD)  # CasADi writes to the current folder
    try:
        function.generate(f"{name}.c")
        subprocess.run(
            [
                "gcc",
                "-O3",
                "-march=native",
                "-ffast-math",
                "-shared",
                "-fPIC",
                f"{name}.c",
                "-o",
                f"{name}.so",
            ],
            check=True,
        )
        return casadi.external(name, str(BUILD / f"{name}.so"))
    finally:
        os.chdir(here)


def casadi_call(function: Any, *inputs: np.ndarray) -> Callable[[], np.ndarray]:
    """CasADi's fastest call: raw buffers."""
    buffer, evaluate = function.buffer()
    copies = [np.array(value, dtype=float) for value in inputs]
    out = np.zeros(function.numel_out(0))
    views = [value.data for value in [*copies, out]]
    for position, view in enumerate(views[:-1]):
        buffer.set_arg(position, view)
    buffer.set_res(0, views[-1])

    def call() -> np.ndarray:
        copies[0][...] = inputs[0]
        evaluate()
        return out.copy()

    call.__dict__["keep"] = (function, buffer, views)  # the buffer itself holds no references
    return call
