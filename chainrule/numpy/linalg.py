"""``numpy.linalg``, on traced values too."""

from __future__ import annotations

from typing import Any

import numpy as _np

from chainrule.dispatch import traceable
from chainrule.graph.functions import FUNCTIONS as _FUNCTIONS


def __getattr__(name: str) -> Any:
    found = getattr(_np.linalg, name)
    if f"linalg.{name}" in _FUNCTIONS:
        found = traceable(f"linalg.{name}", found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(n.removeprefix("linalg.") for n in _FUNCTIONS if n.startswith("linalg."))
