"""Functions whose source cannot be read, as those of compiled modules and of some prompts: they are not rewritten."""

from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any


def unseen(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function that names its file without the folder, where there is none of that name."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    hidden = code.replace(co_filename=Path(code.co_filename).name)
    copy = FunctionType(hidden, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copy.__wrapped__ = function  # type: ignore[attr-defined]
    return copy
