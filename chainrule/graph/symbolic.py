"""SymPy functions for what graphs compute and SymPy has no function, or none with a derivative by cases, for.

This module imports SymPy, and is itself imported only by who needs it.
"""

from __future__ import annotations

from typing import Any

import sympy as sp


class Held(sp.Function):  # type: ignore[misc]  # SymPy has no types
    """Its argument, as a constant: what ``stop_gradient`` makes of it."""

    @classmethod
    def eval(cls, x: Any) -> Any:
        return x if x.is_number else None

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.S.Zero

    def _eval_is_real(self) -> Any:
        return self.args[0].is_real


class Maximum(sp.Function):  # type: ignore[misc]
    """The larger of two, with a derivative by cases; SymPy's ``Max`` has one in terms of step functions."""

    nargs = 2

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        return sp.Max(a, b) if a.is_number and b.is_number else None

    def fdiff(self, argindex: int = 1) -> Any:
        a, b = self.args if argindex == 1 else self.args[::-1]
        return sp.Piecewise((sp.S.One, a > b), (sp.S.Zero, True))

    def _eval_is_real(self) -> Any:
        return True


class Minimum(sp.Function):  # type: ignore[misc]
    """The smaller of two; as ``Maximum``."""

    nargs = 2

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        return sp.Min(a, b) if a.is_number and b.is_number else None

    def fdiff(self, argindex: int = 1) -> Any:
        a, b = self.args if argindex == 1 else self.args[::-1]
        return sp.Piecewise((sp.S.One, a < b), (sp.S.Zero, True))

    def _eval_is_real(self) -> Any:
        return True
