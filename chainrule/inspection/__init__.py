"""Looking into a derivative: how it comes about, how others compute it, and what the graph is."""

from .compare import Comparison, compare
from .explain import Explanation, explain
from .show import Picture, show

__all__ = ["Comparison", "Explanation", "Picture", "compare", "explain", "show"]
