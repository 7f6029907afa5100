"""SymPy expressions as compiled functions."""

from .lambdify import lambdify

__all__ = ["lambdify"]
