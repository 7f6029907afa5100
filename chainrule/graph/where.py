"""Where in the user's program something happens: the innermost line outside this package and the libraries
below it.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
from types import CodeType, FrameType
from typing import Any, Final, TypeVar, final

import numpy as np

_ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SITE: Final = os.path.dirname(os.path.dirname(os.path.abspath(np.__file__)))
# Code in these folders is never "the user's program".
_INSIDE: Final = (
    _ROOT + os.sep,
    *(os.path.join(_SITE, name) + os.sep for name in ("numpy", "scipy", "optree", "malt")),
)
_STANDARD: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep  # copy.deepcopy is nobody's program
LONGEST: Final = 100
_known: Final[dict[str, bool]] = {"<__array_function__ internals>": True}

E = TypeVar("E", bound=Exception)


@final
class Where:
    """A place in a program: an instruction of a code object, from which file, line and local name are read
    on demand.

    Compares by file and line. Prints as ``fit.py:12``, relative to the working directory where that is
    shorter.
    """

    __slots__ = ("_code", "_instruction")

    def __init__(self, code: CodeType, instruction: int) -> None:
        self._code = code
        self._instruction = instruction

    @property
    def path(self) -> str:
        """The file as the code object names it."""
        return self._code.co_filename

    @property
    def file(self) -> str:
        """The file, relative to the working directory if it is below."""
        below = os.getcwd() + os.sep
        return self.path[len(below) :] if self.path.startswith(below) else self.path

    @property
    def line(self) -> int:
        found = self._code.co_firstlineno
        for start, end, line in self._code.co_lines():
            if start <= self._instruction < end and line is not None:
                return line
        return found

    @property
    def function(self) -> str:
        """The name of the function the line is in."""
        return self._code.co_name

    @property
    def name(self) -> str | None:
        """The variable that the instruction's value is assigned to directly (``z`` in ``z = (x − mu)/s``),
        or None.
        """
        return _assigned_name(self._code, self._instruction)

    @property
    def source(self) -> str:
        """The text of the line, shortened if it is long, '' where it is not at hand."""
        text = linecache.getline(self.path, self.line).strip()
        return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Where) and (self.path, self.line) == (other.path, other.line)

    def __hash__(self) -> int:
        return hash((self.path, self.line))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def __repr__(self) -> str:
        return f"Where({self})"


def _assigned_name(code: CodeType, instruction: int) -> str | None:
    following = (s for s in dis.get_instructions(code) if s.offset > instruction and s.opname != "NOP")
    step = next(following, None)
    stores = ("STORE_FAST", "STORE_NAME", "STORE_DEREF", "STORE_GLOBAL")
    if step is None or step.opname not in stores or str(step.argval).startswith("ag__"):  # names of rewritten source
        return None
    return str(step.argval)


def is_inside(filename: str) -> bool:
    """Whether a file belongs to this package or to a library that it stands on."""
    found = _known.get(filename)
    if found is None:
        path = os.path.abspath(filename)
        standard = path.startswith(_STANDARD) and "-packages" + os.sep not in path
        found = _known[filename] = standard or path.startswith(_INSIDE) or filename.startswith("<frozen")
    return found


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame that is the user's, starting ``depth`` frames above the caller."""
    frame: FrameType | None = sys._getframe(depth)
    known = _known
    while frame is not None:
        name = frame.f_code.co_filename
        inside = known.get(name)
        if not (is_inside(name) if inside is None else inside):
            return frame
        frame = frame.f_back
    return None


def here() -> Where | None:
    """The user's line that is being run, None where there is none (a program that is this package alone)."""
    frame = user_frame(2)
    return None if frame is None else Where(frame.f_code, frame.f_lasti)


def raised_at(problem: BaseException) -> Where | None:
    """The user's line that an exception was raised in."""
    found = None
    step = problem.__traceback__
    while step is not None:
        if not is_inside(step.tb_frame.f_code.co_filename):
            found = Where(step.tb_frame.f_code, step.tb_lasti)
        step = step.tb_next
    return found


def error(kind: type[E], message: str, where: Where | None = None) -> E:
    """An exception of type ``kind`` whose message ends with the user's line.

    >>> raise error(TypeError, "no such thing")                                     # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: no such thing (at ...`raise error(TypeError, "no such thing")...`)
    """
    where = where or here()
    if where is not None:
        source = where.source
        message += f" (at {where}: `{source}`)" if source else f" (at {where})"
    problem = kind(message)
    problem.of_user = True  # type: ignore[attr-defined]
    return problem


def over_traced(problem: E) -> E:
    """Marks an error that ordinary Python ran into because a value is traced: rewritten source may not."""
    problem.over_traced = True  # type: ignore[attr-defined]
    return problem


def find_over_traced(problem: BaseException | None) -> BaseException | None:
    """The exception marked by ``over_traced``: this one, or one that it covers."""
    seen: list[BaseException] = []
    while problem is not None and problem not in seen:
        if getattr(problem, "over_traced", "sequence of integers" in str(problem)):
            return problem
        seen.append(problem)
        problem = problem.__cause__ or problem.__context__
    return None


def is_of_user(problem: BaseException | None) -> bool:
    """Whether an exception was made by ``error``."""
    return getattr(problem, "of_user", False)


def of_function(function: Any) -> Where | None:
    """The first line of the user's function that ``function`` is or wraps, None where there is none."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return Where(code, 0) if isinstance(code, CodeType) and not is_inside(code.co_filename) else None
