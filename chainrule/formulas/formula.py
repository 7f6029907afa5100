"""Derivatives as formulas that people read.

    >>> import numpy as np
    >>> def pdf(x, f, mu, sigma, tau):
    ...     z = (x - mu) / sigma
    ...     G = np.exp(-z**2 / 2) / (np.sqrt(2 * np.pi) * sigma)
    ...     B = np.exp(-x / tau) / tau
    ...     return f * G + (1 - f) * B
    >>> print(formula(pdf, wrt="mu"))
    ∂pdf/∂μ = f·G·z/σ      z = (x−μ)/σ,  G = exp(−z²/2)/(√(2π)·σ)

What other parts of the package may rely on: ``Formula.results``, ``.steps``, ``.recurrences``, ``.expr``, ``.text``,
``.latex``, ``.first_line``, ``.name``, ``.order`` and ``.wrt``; ``str`` and ``_repr_latex_``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

BUDGET: Final = 1.0  # seconds for finding a shorter form

Mode = Literal["auto", "forward", "reverse"]


@dataclass(frozen=True, eq=False)
class Formula:
    """Definitions and results, as SymPy expressions; made by ``formula``.

    name, order, wrt
        The program's name, the order of the derivatives, and the names of what they are taken by.
    results
        A name such as ``"∂nll/∂mu"`` → SymPy expression over the steps.
    steps
        The user's local variables and our own abbreviations that the results need: symbol (or element ``z[i]``) →
        expression, each over those before it.
    recurrences
        Loops without a closed form, as ``Recurrence`` objects of SymPy.
    constants
        Named constants of the module (symbol → exact value).

    Decimals are fractions here, 0.711 is 711/1000, so that what is made of them is exact. As text they stay decimals,
    those beside each other multiplied out where that is shorter, quotients of them to the digits of a double.
    """

    name: str
    order: int
    wrt: tuple[str, ...]
    results: Mapping[str, Any]
    steps: Mapping[Any, Any]
    recurrences: tuple[Any, ...] = ()
    constants: Mapping[Any, Any] = field(default_factory=dict)
    _labels: tuple[Any, ...] = ()
    _definitions: tuple[Any, ...] = ()
    _shown: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    _written: Any = None

    @property
    def expr(self) -> Any:
        """The result with the steps written out; of several results a ``Tuple``. ValueError for recurrences."""
        from .display import written_out

        return written_out(self)

    def text(self, ascii: bool = False) -> str:
        """The formula as text, with Greek letters and small indices, or in plain ASCII.

        >>> print(formula(lambda x: x**2).text(ascii=True))
        f'(x) = 2*x
        """
        from .display import as_text

        return as_text(self, ascii=ascii)

    def latex(self, env: str | None = None) -> str:
        r"""The formula in LaTeX, as lines of an environment such as ``align``; None: bare lines joined by ``\\``.

        >>> formula(lambda x: x**2).latex()
        "f'(x) = 2 x"
        """
        from .display import as_latex

        return as_latex(self, env)

    @property
    def first_line(self) -> str:
        """The first result alone, without its steps."""
        return self.text().split("      ")[0].splitlines()[0]

    def _repr_latex_(self) -> str:
        return "$$" + self.latex("aligned") + "$$"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()


def formula(
    f: Callable[..., Any],
    /,
    wrt: Any = None,
    order: int = 1,
    mode: Mode = "auto",
    names: Mapping[str, str] | None = None,
    *,
    budget: float = BUDGET,
    **specs: Any,
) -> Formula:
    """The derivatives of a program as a formula: definitions and results that are as short as found within ``budget``.

    Parameters that nothing is said about are scalars; ``x="n"`` declares a vector of length n, ``x="n,3"`` or
    ``x=("n", 3)`` a matrix, ``p=2`` a vector of 2; parameters with defaults keep these. ``wrt`` names what to
    differentiate by (default: all scalars that nothing is said about). ``order`` 0 is the value, 1 the gradient, 2 the
    gradient and the Hessian. ``mode`` chooses for loops between dotted quantities (``"forward"``) and adjoints
    (``"reverse"``). ``names`` replaces names: ``{"signal": "S"}``.

    Each result agrees with the program to 50 digits at random points, or ArithmeticError is raised. TypeError for what
    has no formula, ValueError for an unknown order or mode.

    >>> import numpy as np
    >>> def nll(mu, sigma, x):
    ...     z = (x - mu) / sigma
    ...     return np.sum(z**2 / 2 + np.log(sigma))
    >>> print(formula(nll, x="n"))
    ∂nll/∂μ = −(1/σ)·Σᵢ zᵢ
    ∂nll/∂σ = (n−Σᵢ zᵢ²)/σ
    where zᵢ = (xᵢ−μ)/σ
    """
    from chainrule.graph.where import error

    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise error(ValueError, f"order={order!r}: 0 is the value, 1 the gradient, 2 the Hessian too")
    if mode not in ("auto", "forward", "reverse"):
        raise error(ValueError, f'mode={mode!r} is none of "auto", "forward" and "reverse"')
    if not (names is None or isinstance(names, Mapping)):
        raise error(TypeError, f"names maps names of arguments to those shown ({{'mu': 'm'}}), not {names!r:.60}")
    if isinstance(budget, bool) or not isinstance(budget, (int, float)):
        raise error(TypeError, f"budget is a number of seconds, not {budget!r:.60}")
    started = time.perf_counter()
    from .display import finished
    from .program import program
    from .request import names_of, request
    from .search import derivatives
    from .selection import chosen

    wanted = names_of(wrt)
    asked = request(f, specs, wanted)
    made = program(asked)
    by = chosen(made, wanted, names)
    found = derivatives(made, by, order, mode, started + budget)
    return finished(made, found, by, order, names or {})
