"""Cost functions for fits, with iminuit's names, numbers and conventions; exact gradient and Hessian included.

Models are ordinary NumPy functions ``model(x, a, b, …)``. A cost is called with the values of the parameters, or with
one vector of them, so that iminuit and SciPy take it as it is. Sums of costs share parameters of the same name and are
one kernel.
"""

from .base import Cost
from .binned import BinnedNLL, ExtendedBinnedNLL
from .constraint import NormalConstraint
from .least_squares import LeastSquares
from .normalise import normalised
from .total import Constant, CostSum
from .unbinned import ExtendedUnbinnedNLL, UnbinnedNLL

__all__ = [
    "BinnedNLL", "Constant", "Cost", "CostSum", "ExtendedBinnedNLL", "ExtendedUnbinnedNLL", "LeastSquares",
    "NormalConstraint", "UnbinnedNLL", "normalised",
]  # fmt: skip
