"""Muon pairs from a CSV file."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from .model import HIGH, LOW, FloatArray

DATA = Path(__file__).parents[1] / "data" / "zmumu.csv.gz"
COLUMNS = ("E1", "px1", "py1", "pz1", "E2", "px2", "py2", "pz2")
FEWEST_EVENTS = 100


def read_events(path: Path = DATA) -> FloatArray:
    """Energies and momenta of muon pairs from a CSV file (also .csv.gz), as float64[8, n].

    The columns are found by their names, `COLUMNS`; others are ignored. Raises OSError if the file cannot be
    read, ValueError if columns are missing or hold no numbers.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")
        try:
            table = np.loadtxt(file, delimiter=",", usecols=[header.index(name) for name in COLUMNS], ndmin=2)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return np.ascontiguousarray(table.T)


def select(masses: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Masses inside the window of the fit, and their errors; ValueError if they are too few to be fitted."""
    inside = (masses > LOW) & (masses < HIGH)
    if inside.sum() < FEWEST_EVENTS:
        raise ValueError(
            f"only {inside.sum()} events have a mass between {LOW:g} and {HIGH:g} GeV; "
            f"the fit needs at least {FEWEST_EVENTS}"
        )
    return masses[inside], errors[inside]
