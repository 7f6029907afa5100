"""Looking under the hood: ``chainrule.debug``."""

from __future__ import annotations

import builtins
import re
from string import Formatter
from typing import Any

from .codegen.tiers import settle
from .compiled import compilations
from .graph.scope import current
from .graph.where import error

__all__ = ["compilations", "print", "settle"]


def print(fmt: str, *args: Any, **kwargs: Any) -> None:
    """Prints ``fmt.format(*args, **kwargs)`` when the program runs, with the values that it has then.

    In compiled programs too: in each step of a loop, in the branches that are taken, under ``vmap`` for each lane, and
    in the order of the program. Derivatives print what the function prints; one that computes a loop again may print
    its steps again. Arguments are numbers, arrays and pytrees of them, or anything else that is known while tracing.
    Outside of a trace it prints at once.

    Raises TypeError for a ``fmt`` that is no text; what formatting raises comes from the call of the program.

    >>> import chainrule as cr
    >>> def f(x):
    ...     cr.debug.print("x = {x}", x=x)
    ...     return x**2
    >>> cr.grad(f)(3.0)
    x = 3.0
    np.float64(6.0)
    """
    if not isinstance(fmt, str):
        raise error(TypeError, f"debug.print takes a format first, such as 'x = {{}}', not {fmt!r:.60}")
    _check_names(fmt, len(args), kwargs)
    if current() is None:
        builtins.print(fmt.format(*args, **kwargs))
        return
    from .graph.printing import print_later

    print_later(fmt, args, kwargs)


def _check_names(fmt: str, count: int, named: dict[str, Any]) -> None:
    """A format that names a value which is not given is an error of the line that prints."""
    for number, (_, field, _, _) in enumerate(f for f in Formatter().parse(fmt) if f[1] is not None):
        name = re.split(r"[.\[]", field or "", maxsplit=1)[0] or str(number)
        if name not in named and not (name.isdigit() and int(name) < count):
            raise error(TypeError, f"debug.print: {fmt!r:.60} needs a value for {{{name}}}")
