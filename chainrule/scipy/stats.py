"""The densities and distribution functions of ``scipy.stats`` whose formulas are elementary or have an error or gamma
function, on traced values too. Names, arguments and conventions are SciPy's; what nothing traced comes to is computed
by SciPy itself.

>>> import chainrule as cr
>>> float(cr.grad(norm.logpdf)(1.5))
-1.5
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from chainrule.dispatch import is_traced, with_at
from chainrule.graph.functions import FUNCTIONS as _FUNCTIONS
from chainrule.graph.where import error

__all__ = [
    "bernoulli", "beta", "binom", "cauchy", "chi2", "expon", "gamma", "geom", "halfnorm", "laplace", "logistic",
    "lognorm", "nbinom", "norm", "pareto", "poisson", "rayleigh", "t", "uniform", "weibull_min",
]  # fmt: skip

Formula = Callable[..., Any]
_HALF_LOG_2PI: Final = 0.5 * math.log(2 * math.pi)


class _Distribution(ABC):
    """One distribution. The formulas take the standardised variable and the shape parameters; ``support`` gives its
    ends for these.
    """

    def __init__(self, name: str, shapes: str, support: Formula, **formulas: Formula) -> None:
        self.name = name
        self.shapes = tuple(shapes.split())
        self._support = support
        self._formulas = formulas

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with these parameters."""
        return Frozen(self, args, kwargs)

    def _of(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not (is_traced(args) or is_traced(kwargs)):
            import scipy.stats

            return with_at(getattr(getattr(scipy.stats, self.name), name)(*args, **kwargs))
        names = ("x", *self.shapes, *self._place)
        given = dict(zip(names, args, strict=False))
        named = {("x" if key in ("k", "q") else key): value for key, value in kwargs.items()}
        if len(args) > len(names) or not named.keys() <= set(names) - given.keys():
            takes = f"{self.name}.{name}({', '.join(names)})"
            raise error(TypeError, f"{takes} is called with other arguments, or with one twice")
        given.update(named)
        missing = [p for p in ("x", *self.shapes) if p not in given]
        if missing:
            raise error(TypeError, f"{self.name}.{name}() misses {', '.join(missing)}")
        return self._computed(name, given, [given[s] for s in self.shapes])

    _place: tuple[str, ...] = ("loc", "scale")

    def _formula(self, name: str) -> Formula:
        if name not in self._formulas:
            raise error(TypeError, f"scipy.stats.{self.name}.{name} of traced values has no elementary form here")
        return self._formulas[name]

    @abstractmethod
    def _computed(self, name: str, given: dict[str, Any], shapes: list[Any]) -> Any: ...


class _Continuous(_Distribution):
    """A density."""

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density at x."""
        return self._of("pdf", (x, *args), kwargs)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the density at x."""
        return self._of("logpdf", (x, *args), kwargs)

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of values up to x."""
        return self._of("cdf", (x, *args), kwargs)

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of values above x."""
        return self._of("sf", (x, *args), kwargs)

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability of values up to x."""
        return self._of("logcdf", (x, *args), kwargs)

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability of values above x."""
        return self._of("logsf", (x, *args), kwargs)

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The value up to which the probability is q."""
        return self._of("ppf", (q, *args), kwargs)

    def _computed(self, name: str, given: dict[str, Any], shapes: list[Any]) -> Any:
        loc, scale = given.get("loc", 0.0), given.get("scale", 1.0)
        if name == "ppf":
            return loc + scale * self._formula("ppf")(given["x"], *shapes)
        z = (given["x"] - loc) / scale
        low, high = self._support(*shapes)
        inside = (z >= low) & (z <= high)
        if name == "logpdf":
            return np.where(inside, self._formulas["log"](z, *shapes) - np.log(scale), -np.inf)
        if name == "pdf":
            return np.where(inside, np.exp(self._formulas["log"](z, *shapes)) / scale, 0.0)
        below, above = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-np.inf, 0.0), "logsf": (0.0, -np.inf)}[name]
        return np.where(inside, self._probability(name)(z, *shapes), np.where(z < low, below, above))

    def _probability(self, name: str) -> Formula:
        """A distribution function: its own formula, or one by that of the other side."""
        other = {"cdf": "sf", "sf": "cdf"}
        if name in self._formulas:
            return self._formulas[name]
        if name in other and other[name] in self._formulas:
            found = self._formulas[other[name]]
            return lambda z, *shapes: 1.0 - found(z, *shapes)
        if name in ("logcdf", "logsf"):
            inner = self._probability(name[3:])
            return lambda z, *shapes: np.log(inner(z, *shapes))
        return self._formula(name)


class _Discrete(_Distribution):
    """Probabilities of whole numbers."""

    _place = ("loc",)

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of k."""
        return self._of("pmf", (k, *args), kwargs)

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability of k."""
        return self._of("logpmf", (k, *args), kwargs)

    def _computed(self, name: str, given: dict[str, Any], shapes: list[Any]) -> Any:
        k = given["x"] - given.get("loc", 0)
        low, high = self._support(*shapes)
        inside = (k >= low) & (k <= high) & (np.floor(k) == k)
        log = self._formulas["log"](k, *shapes)
        return np.where(inside, log, -np.inf) if name == "logpmf" else np.where(inside, np.exp(log), 0.0)


class Frozen:
    """A distribution with its parameters: ``norm(0, 2).pdf(x)``."""

    def __init__(self, dist: _Distribution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.dist, self.args, self.kwds = dist, args, kwargs

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.dist, name)
        return lambda x: method(x, *self.args, **self.kwds)


def _f(name: str) -> Formula:
    return lambda *args: _FUNCTIONS[name](*args)


_gammaln, _ndtr, _log_ndtr, _xlogy, _xlog1py = map(_f, ("gammaln", "ndtr", "log_ndtr", "xlogy", "xlog1py"))


def _everywhere(*_: Any) -> tuple[float, float]:
    return -math.inf, math.inf


def _positive(*_: Any) -> tuple[float, float]:
    return 0.0, math.inf


def _between(*_: Any) -> tuple[float, float]:
    return 0.0, 1.0


def _log_binomial(n: Any, k: Any) -> Any:
    return _gammaln(n + 1.0) - _gammaln(k + 1.0) - _gammaln(n - k + 1.0)


norm: Final = _Continuous(
    "norm", "", _everywhere, log=lambda z: -0.5 * z * z - _HALF_LOG_2PI, cdf=_ndtr, sf=lambda z: _ndtr(-z),
    logcdf=_log_ndtr, logsf=lambda z: _log_ndtr(-z), ppf=_f("ndtri"),
)  # fmt: skip
halfnorm: Final = _Continuous(
    "halfnorm", "", _positive, log=lambda z: -0.5 * z * z + 0.5 * math.log(2 / math.pi),
    cdf=lambda z: _FUNCTIONS["erf"](z / math.sqrt(2)), sf=lambda z: 2.0 * _ndtr(-z),
)  # fmt: skip
lognorm: Final = _Continuous(
    "lognorm", "s", _positive,
    log=lambda z, s: -0.5 * (np.log(z) / s) ** 2 - np.log(s * z) - _HALF_LOG_2PI,
    cdf=lambda z, s: _ndtr(np.log(z) / s), sf=lambda z, s: _ndtr(-np.log(z) / s),
    ppf=lambda q, s: np.exp(s * _FUNCTIONS["ndtri"](q)),
)  # fmt: skip
expon: Final = _Continuous(
    "expon", "", _positive, log=lambda z: -z, cdf=lambda z: -np.expm1(-z), sf=lambda z: np.exp(-z),
    logsf=lambda z: -z, ppf=lambda q: -np.log1p(-q),
)  # fmt: skip
uniform: Final = _Continuous(
    "uniform", "", _between, log=lambda z: 0.0 * z, cdf=lambda z: z, sf=lambda z: 1.0 - z, ppf=lambda q: q
)
laplace: Final = _Continuous(
    "laplace", "", _everywhere, log=lambda z: -np.abs(z) - math.log(2),
    cdf=lambda z: np.where(z > 0, 1.0 - 0.5 * np.exp(-z), 0.5 * np.exp(z)),
    sf=lambda z: np.where(z > 0, 0.5 * np.exp(-z), 1.0 - 0.5 * np.exp(z)),
)  # fmt: skip
logistic: Final = _Continuous(
    "logistic", "", _everywhere,
    log=lambda z: _FUNCTIONS["log_expit"](z) + _FUNCTIONS["log_expit"](-z),
    cdf=_f("expit"), sf=lambda z: _FUNCTIONS["expit"](-z), logcdf=_f("log_expit"),
    logsf=lambda z: _FUNCTIONS["log_expit"](-z), ppf=lambda q: np.log(q) - np.log1p(-q),
)  # fmt: skip
cauchy: Final = _Continuous(
    "cauchy", "", _everywhere, log=lambda z: -np.log1p(z * z) - math.log(math.pi),
    cdf=lambda z: np.arctan2(1.0, -z) / math.pi, sf=lambda z: np.arctan2(1.0, z) / math.pi,
    ppf=lambda q: -1.0 / np.tan(math.pi * q),
)  # fmt: skip
t: Final = _Continuous(
    "t", "df", _everywhere,
    log=lambda z, df: _gammaln((df + 1) / 2.0) - _gammaln(df / 2.0) - 0.5 * np.log(df * math.pi)
    - (df + 1) / 2.0 * np.log1p(z * z / df),
)  # fmt: skip
gamma: Final = _Continuous("gamma", "a", _positive, log=lambda z, a: _xlogy(a - 1.0, z) - z - _gammaln(a))
chi2: Final = _Continuous(
    "chi2", "df", _positive,
    log=lambda z, df: _xlogy(df / 2.0 - 1.0, z) - z / 2.0 - _gammaln(df / 2.0) - df / 2.0 * math.log(2),
)  # fmt: skip
beta: Final = _Continuous(
    "beta", "a b", _between,
    log=lambda z, a, b: _xlogy(a - 1.0, z) + _xlog1py(b - 1.0, -z) - _FUNCTIONS["betaln"](a, b),
)  # fmt: skip
weibull_min: Final = _Continuous(
    "weibull_min", "c", _positive, log=lambda z, c: np.log(c) + _xlogy(c - 1.0, z) - z**c,
    cdf=lambda z, c: -np.expm1(-(z**c)), sf=lambda z, c: np.exp(-(z**c)), logsf=lambda z, c: -(z**c),
    ppf=lambda q, c: (-np.log1p(-q)) ** (1.0 / c),
)  # fmt: skip
rayleigh: Final = _Continuous(
    "rayleigh", "", _positive, log=lambda z: np.log(z) - 0.5 * z * z, cdf=lambda z: -np.expm1(-0.5 * z * z),
    sf=lambda z: np.exp(-0.5 * z * z), logsf=lambda z: -0.5 * z * z, ppf=lambda q: np.sqrt(-2.0 * np.log1p(-q)),
)  # fmt: skip
pareto: Final = _Continuous(
    "pareto", "b", lambda b: (1.0, math.inf), log=lambda z, b: np.log(b) - (b + 1.0) * np.log(z),
    cdf=lambda z, b: -np.expm1(-b * np.log(z)), sf=lambda z, b: z**-b, logsf=lambda z, b: -b * np.log(z),
    ppf=lambda q, b: np.exp(-np.log1p(-q) / b),
)  # fmt: skip

poisson: Final = _Discrete("poisson", "mu", _positive, log=lambda k, mu: _xlogy(k, mu) - _gammaln(k + 1.0) - mu)
bernoulli: Final = _Discrete("bernoulli", "p", _between, log=lambda k, p: _xlogy(k, p) + _xlog1py(1.0 - k, -p))
binom: Final = _Discrete(
    "binom", "n p", lambda n, p: (0, n),
    log=lambda k, n, p: _log_binomial(n, k) + _xlogy(k, p) + _xlog1py(n - k, -p),
)  # fmt: skip
geom: Final = _Discrete("geom", "p", lambda p: (1, math.inf), log=lambda k, p: np.log(p) + _xlog1py(k - 1.0, -p))
nbinom: Final = _Discrete(
    "nbinom", "n p", _positive,
    log=lambda k, n, p: _gammaln(k + n) - _gammaln(k + 1.0) - _gammaln(n) + n * np.log(p) + _xlog1py(k, -p),
)  # fmt: skip
