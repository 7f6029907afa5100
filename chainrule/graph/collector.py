"""The garbage collector, out of the way while graphs are built.

Nodes are made by the hundred thousand, live on, and form no cycles: each full collection would walk all of them for
nothing, which is more than half of the time that a large program takes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No automatic collections within; what was on before is on again after. May nest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
