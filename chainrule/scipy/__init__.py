"""The functions of SciPy that work on traced values. SciPy is imported when something is computed with it."""

from . import linalg, special, stats

__all__ = ["linalg", "special", "stats"]
