"""What a call costs: plain NumPy, JAX and numba where they are installed, and compiled."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import chainrule as cr

from . import model
from .fits import START
from .model import FloatArray

Call = Callable[[], Any]
KINDS = ("value", "gradient", "hessian")
ROUNDS = 9


@dataclass(frozen=True)
class Timing:
    """Seconds a call, by the name of who computed it; ``first`` is our first call, compilation included."""

    name: str
    seconds: dict[str, float]
    first: float


def measure(events: FloatArray, m: FloatArray, s: FloatArray) -> list[Timing]:
    """Times the same functions in turn, and keeps the best of each.

    What has been compiled before in this process is not compiled again: measure first, then use.
    """
    from scipy.optimize import approx_fprime

    p = np.array(list(START.values()))
    covariance = model.momentum_covariance(events)

    plain: Any = functools.partial(model.nll, m=m, s=s)

    def numpy_gradient() -> tuple[np.float64, FloatArray]:
        return plain(*p), approx_fprime(p, lambda p: plain(*p), 1e-7)

    cost = cr.bind(model.nll, m=m, s=s)
    value_and_grad = cr.value_and_grad(cost, argnums=(0, 1, 2, 3))
    peers = [_jax(p, m, s), _numba(p, m, s)]
    others = {what: {who: call for peer in peers for who, call in peer.get(what, {}).items()} for what in KINDS}
    return [
        _time("masses and their errors", {}, lambda: cr.propagate(model.pair_mass, events, covariance)),
        _time("likelihood", {"NumPy": lambda: plain(*p), **others["value"]}, lambda: cost(*p)),
        _time(
            "likelihood and gradient",
            {"NumPy": numpy_gradient, **others["gradient"]},
            lambda: value_and_grad(*p),
        ),
        _time("Hessian", others["hessian"], lambda: cost.hessian(*p)),
    ]


def with_import(replacement: str) -> ModuleType:
    """The model with another module in the place of NumPy: the same source after one changed line."""
    module = ModuleType("model")
    source = inspect.getsource(model).replace("import numpy as np", replacement, 1)
    exec(compile(source, inspect.getfile(model), "exec"), module.__dict__)
    return module


def _jax(p: FloatArray, m: FloatArray, s: FloatArray) -> dict[str, dict[str, Call]]:
    if importlib.util.find_spec("jax") is None:
        return {}
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    theirs: Any = with_import("import jax.numpy as np")

    def likelihood(p: Any, m: Any, s: Any) -> Any:
        return theirs.nll(*p, m, s)

    value, gradient = jax.jit(likelihood), jax.jit(jax.value_and_grad(likelihood))
    hessian = jax.jit(jax.hessian(likelihood))
    return {
        "value": {"JAX": lambda: float(value(p, m, s))},
        "gradient": {"JAX": lambda: np.asarray(gradient(p, m, s)[1])},
        "hessian": {"JAX": lambda: np.asarray(hessian(p, m, s))},
    }


def _numba(p: FloatArray, m: FloatArray, s: FloatArray) -> dict[str, dict[str, Call]]:
    if importlib.util.find_spec("numba") is None:
        return {}
    from scipy.optimize import approx_fprime

    numba = importlib.import_module("numba")
    module: Any = with_import("import numpy as np")
    for name in ("breit_wigner", "area_below", "peak", "background", "density", "nll"):
        setattr(module, name, numba.njit(getattr(module, name)))
    nll = module.nll
    return {
        "value": {"numba": lambda: nll(*p, m, s)},
        "gradient": {"numba": lambda: (nll(*p, m, s), approx_fprime(p, lambda p: nll(*p, m, s), 1e-7))},
    }


def _time(name: str, others: dict[str, Call], ours: Call) -> Timing:
    first = _seconds(ours)
    calls = {**others, "chainrule": ours}
    for call in others.values():
        call()
    rounds = [{who: _seconds(call) for who, call in calls.items()} for _ in range(ROUNDS)]
    return Timing(name, {who: min(r[who] for r in rounds) for who in calls}, first)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
