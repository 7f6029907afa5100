"""Exact derivatives of NumPy programs: as native kernels, in both modes, at any order."""

from . import debug, lax, numpy, scipy
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
from .checking import check_grads
from .codegen.threads import get_threads, set_threads
from .compiled import Function, disable_jit
from .graph.control import cond, fori_loop, map, scan, switch, while_loop
from .graph.custom import custom_jvp, custom_vjp
from .symbolic import lambdify
from .uncertainty import covariance, propagate

__version__ = "0.1.0"

__all__ = [
    "Function", "bind", "check_grads", "cond", "covariance", "custom_jvp", "custom_vjp", "debug", "disable_jit",
    "elementwise_grad", "fori_loop", "get_threads", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit",
    "jvp", "lambdify", "lax", "linearize", "map", "numpy", "propagate", "scan", "scipy", "set_threads", "spec",
    "stop_gradient", "switch", "trace", "value_and_grad", "value_grad_hess", "vjp", "vmap", "while_loop",
]  # fmt: skip
