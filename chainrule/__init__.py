"""Exact derivatives of NumPy programs: as native kernels, in both modes, at any order."""

from typing import TYPE_CHECKING, Any

from . import debug, lax, numpy, scipy
from . import formulas as formulas  # which makes a function's repr show its formula
from .api import (
    bind,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    spec,
    stop_gradient,
    trace,
    value_and_grad,
    value_grad_hess,
    vjp,
    vmap,
)  # fmt: skip
from .codegen.threads import get_threads, set_threads
from .compiled import Function, disable_jit
from .foreign import foreign  # not late: the module of this name would be found instead of the function
from .graph.control import cond, fori_loop, map, scan, switch, while_loop

if TYPE_CHECKING:  # and in _LATE below: names that not every program needs, whose modules are imported when they do
    from .checking import check_grads
    from .formulas.formula import Formula, formula
    from .graph.associative import associative_scan
    from .graph.custom import custom_jvp, custom_vjp
    from .graph.recompute import checkpoint
    from .implicit import fixed_point, root
    from .inspection.compare import compare
    from .inspection.explain import explain
    from .inspection.show import show
    from .nan import find_nan
    from .symbolic.lambdify import lambdify
    from .uncertainty import covariance, propagate

__version__ = "0.1.0"

__all__ = [
    "Formula", "Function", "associative_scan", "bind", "check_grads", "checkpoint", "compare", "cond", "covariance",
    "custom_jvp", "custom_vjp", "debug", "disable_jit", "elementwise_grad", "explain", "find_nan", "fixed_point",
    "foreign", "fori_loop", "formula", "get_threads", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit",
    "jvp", "lambdify", "lax", "linearize", "map", "numpy", "propagate", "root", "scan", "scipy", "set_threads", "show",
    "spec", "stop_gradient", "switch", "trace", "value_and_grad", "value_grad_hess", "vjp", "vmap", "while_loop",
]  # fmt: skip

_LATE = {
    "associative_scan": "graph.associative",
    "check_grads": "checking",
    "checkpoint": "graph.recompute",
    "compare": "inspection",
    "covariance": "uncertainty",
    "custom_jvp": "graph.custom",
    "custom_vjp": "graph.custom",
    "explain": "inspection",
    "Formula": "formulas.formula",
    "find_nan": "nan",
    "fixed_point": "implicit",
    "formula": "formulas.formula",
    "lambdify": "symbolic",
    "propagate": "uncertainty",
    "root": "implicit",
    "show": "inspection",
}  # name → the module that has it


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_LATE[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
