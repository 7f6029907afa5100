"""Text that a program prints when it runs, with the values that it has then."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from . import tree
from .after import effect
from .array import Array, as_node
from .routes import route
from .where import error

__all__ = ["print_later"]


def print_later(fmt: str, args: tuple[Any, ...], kwargs: dict[str, Any], end: str = "\n") -> None:
    """Has the current trace print ``fmt.format(*args, **kwargs)``, each time that it runs."""
    leaves, structure = tree.flatten((args, kwargs))
    traced = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (Array, np.ndarray))]
    known = [None if i in traced else leaf for i, leaf in enumerate(leaves)]

    def show(*arrays: Any) -> int:
        values = list(known)
        for i, array in zip(traced, arrays, strict=False):
            values[i] = array[()]
        own, named = tree.unflatten(structure, values)
        builtins.print(fmt.format(*own, **named), end=end)
        return 0

    key = f"print {fmt!r} {end!r} {structure} {traced} {known}"
    effect(key, show, [as_node(leaves[i]) for i in traced])


@route(print)
def _print(*values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
    """Python's ``print`` of traced values. What is printed is not held back, so that ``flush`` changes nothing."""
    if file is not None:
        raise error(TypeError, "print of traced values writes to standard output only; leave out file=")
    space = (" " if sep is None else sep).replace("{", "{{").replace("}", "}}")
    print_later(space.join(["{}"] * len(values)), values, {}, "\n" if end is None else end)
