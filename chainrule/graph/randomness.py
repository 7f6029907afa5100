"""Random numbers drawn while a function is traced: they would be frozen, the same in every later call.

NumPy's and Python's global generators betray it by their states. A generator object of the user's own cannot be seen.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Final

_FRESH: Final = 624  # the position of a generator that nothing was drawn from
State = tuple[Any, ...]


def state() -> State:
    """Where the global generators stand."""
    python = random.getstate()
    module = sys.modules.get("numpy.random")
    if module is None:  # NumPy loads it when it is first used
        return (python, None)
    kind, key, position, has_gauss, gauss = module.get_state()
    return (python, (kind, key.tobytes(), position, has_gauss, gauss))


def drawn(before: State) -> bool:
    """Whether somebody drew numbers since."""
    now = state()
    if before[1] is None and now[1] is not None:
        return bool(before[0] != now[0] or now[1][2] != _FRESH)
    return before != now
