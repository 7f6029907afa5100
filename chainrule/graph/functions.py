"""All of NumPy's functions that work on traced values, by name: importing this fills ``FUNCTIONS``."""

from . import (
    arrange,
    creation,
    matrices,
    numeric,
    products,
    reductions,
    samples,
    shapes,
    subscript,
    ufuncs,
)
from .array import FUNCTIONS

__all__ = [
    "FUNCTIONS",
    "arrange",
    "creation",
    "matrices",
    "numeric",
    "products",
    "reductions",
    "samples",
    "shapes",
    "subscript",
    "ufuncs",
]
