"""What a formula is asked for: the program traced with symbolic arguments, and what to differentiate it by."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from chainrule.graph import tree
from chainrule.graph.node import Graph
from chainrule.graph.trace import Spec, Traced, call_user, spec, trace_flat
from chainrule.graph.where import error, is_of_user

_NEEDS_INTEGER: Final = re.compile(r"a loop bound is one integer|bounds of range are integers|known integer")
_NEEDS_AXES: Final = re.compile("a traced scalar|with 0 axes")


@dataclass(frozen=True, slots=True)
class Request:
    """A traced program: its graph, ASCII names for the inputs, and which inputs belong to which parameter."""

    function: Callable[..., Any]
    name: str
    graph: Graph
    names: tuple[str, ...]
    inputs: dict[str, tuple[int, ...]]  # parameter → positions in the graph's inputs
    hidden: tuple[Any, ...]  # concrete arrays that the program took from outside
    structure: tree.TreeDef  # of the result
    default: tuple[str, ...]  # the parameters to differentiate by where nothing is said


def request(f: Callable[..., Any], specs: dict[str, Any], wrt: tuple[str, ...] | None) -> Request:
    """The program ``f`` traced: parameters in ``specs`` as said there, others as scalars, or as their defaults.

    Raises TypeError for specs of parameters that do not exist, and whatever tracing raises.
    """
    if not callable(f):
        raise error(TypeError, f"formula takes a function, not {f!r:.60}")
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        raise error(TypeError, f"formula needs to know the arguments of {f!r:.60}; wrap it in a function") from None
    known = {p.name for p in parameters}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in specs:
        if name not in known and not open_ended:
            listed = ", ".join(p.name for p in parameters)
            raise error(TypeError, f"{name}={specs[name]!r}: {_name(f)}({listed}) has no such argument")
    chosen: dict[str, Any] = {}
    plain: list[str] = []  # unspecified scalars
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.name in specs:
            chosen[p.name] = _spec(p.name, specs[p.name])
        elif p.default is p.empty or (wrt is not None and p.name in wrt):
            chosen[p.name] = spec()
            plain.append(p.name)
    chosen |= {name: _spec(name, value) for name, value in specs.items() if name not in known}
    if not chosen:
        raise error(TypeError, f"{_name(f)} has no arguments to differentiate by")
    before_gap = itertools.takewhile(lambda p: p.name in chosen and p.kind is not p.KEYWORD_ONLY, parameters)
    positional = [p.name for p in before_gap]
    while True:
        try:
            return _traced(f, chosen, positional, tuple(plain) or (next(iter(chosen)),))
        except (TypeError, IndexError) as problem:
            whole = _integer_argument(f, chosen, positional, plain, wrt, problem)
            if whole is None:
                raise _with_shapes(f, plain, problem) from None
            chosen[whole] = spec(dtype="int64")
            plain.remove(whole)


def _with_shapes(f: Callable[..., Any], plain: Sequence[str], problem: Exception) -> Exception:
    """The problem of a trace; with what to say about shapes, where it may be that a vector was taken as a number."""
    if not plain or not is_of_user(problem) or not _NEEDS_AXES.search(str(problem)):
        return problem
    taken = " and ".join([", ".join(plain[:-1]), plain[-1]] if plain[1:] else plain)
    problem.args = (f"{problem}; formula takes {taken} as numbers: say {plain[0]}=3 or {plain[0]}='n' for a vector",)
    return problem


def _integer_argument(
    f: Callable[..., Any],
    chosen: dict[str, Any],
    positional: Sequence[str],
    plain: Sequence[str],
    wrt: Sequence[str] | None,
    problem: Exception,
) -> str | None:
    """The scalar that has to be a whole number, where a trace failed because one must be."""
    if not _NEEDS_INTEGER.search(str(problem)):
        return None
    candidates = [n for n in plain if wrt is None or n not in wrt]
    for name in reversed(candidates):
        try:
            _traced(f, {**chosen, name: spec(dtype="int64")}, positional, ())
        except TypeError as other:
            if str(other) == str(problem):
                continue
            return name if _NEEDS_INTEGER.search(str(other)) else None  # another one has to be whole, too
        return name
    return None


def _traced(
    f: Callable[..., Any], chosen: dict[str, Any], positional: Sequence[str], default: tuple[str, ...]
) -> Request:
    keys = list(chosen)
    leaves: list[Any] = []
    paths: list[str] = []
    structures: list[Any] = []
    inputs: dict[str, tuple[int, ...]] = {}
    for key, value in chosen.items():
        found, structure = tree.flatten(value)
        inputs[key] = tuple(range(len(leaves), len(leaves) + len(found)))
        paths += tree.paths(structure, key)
        leaves += found
        structures.append(structure)

    def flat(*arrays: Any) -> Any:
        parts = zip(keys, structures, strict=True)
        given = {k: tree.unflatten(s, [arrays[i] for i in inputs[k]]) for k, s in parts}
        first = [given.pop(name) for name in positional]
        return call_user(f, *first, **given)

    flat.__wrapped__ = f  # type: ignore[attr-defined]
    traced: Traced = trace_flat(flat, [leaf.type for leaf in leaves], paths)
    names = [_ascii(path) for path in paths]
    hidden = traced.captures
    names += _hidden_names(f, hidden, names)
    return Request(f, _name(f), traced.graph, tuple(names), inputs, tuple(hidden), traced.tree, default)


def _hidden_names(f: Callable[..., Any], hidden: Sequence[Any], taken: Sequence[str]) -> list[str]:
    """Names of the arrays that the function reads from outside: its globals' and closure's own."""
    known = {n: v for n, v in outer_values(f).items() if isinstance(v, np.ndarray)}
    names: list[str] = []
    for k, array in enumerate(hidden):
        same = (n for n, v in known.items() if v.shape == array.shape and np.array_equal(v, array))
        name = next((n for n in same if n not in taken and n not in names), "")
        name = name or ("data" if len(hidden) == 1 and "data" not in taken else f"data_{k + 1}")
        names.append(name)
    return names


def outer_values(f: Callable[..., Any]) -> dict[str, Any]:
    """The global and closure variables that a function's code names."""
    plain: Any = inspect.unwrap(f)
    plain = getattr(plain, "__func__", plain)
    code = getattr(plain, "__code__", None)
    if code is None:
        return {}
    found = {n: plain.__globals__[n] for n in code.co_names if n in plain.__globals__}
    for name, cell in zip(code.co_freevars, plain.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # no value yet
            continue
    return found


def named_numbers(f: Callable[..., Any]) -> dict[str, float]:
    """The numbers among ``outer_values``, and those of modules, such as ``scipy.constants.h``, that the code names."""
    outer = outer_values(f)
    found = {n: float(v) for n, v in outer.items() if isinstance(v, (int, float))}
    plain: Any = inspect.unwrap(f)
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    modules = [m for m in outer.values() if inspect.ismodule(m)]
    for module in modules:
        for name in code.co_names if code is not None else ():
            value = vars(module).get(name)
            if inspect.ismodule(value) and value not in modules:
                modules.append(value)
            elif isinstance(value, float):
                found.setdefault(name, value)
    return found


def _ascii(path: str) -> str:
    """``p['mu']`` → mu, ``p[0]`` → p_0."""
    words = [a or b for a, b in re.findall(r"\['?([^'\]]*)'?\]|([A-Za-z_]\w*)", path)]
    last: str = words[-1]
    if not last.isdigit():
        return last
    k = len(words) - 1
    while k and words[k].isdigit():
        k -= 1
    return "_".join(words[k:])


def _name(f: Any) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else str(name)


def _spec(name: str, value: Any) -> Any:
    """``"n"``, ``"n,3"``, 2, (“n”, 3), a spec or containers of these as specs."""
    match value:
        case Spec():
            return value
        case dict():
            return {k: _spec(f"{name}[{k!r}]", v) for k, v in value.items()}
        case list():
            return [_spec(f"{name}[{k}]", v) for k, v in enumerate(value)]
        case str():
            return spec(*(_size(part) for part in value.replace(" ", "").split(",") if part))
        case tuple():
            return spec(*value)
        case bool():
            pass
        case int():
            return spec(value)
        case None:
            return spec()
        case np.ndarray():
            return spec(*value.shape, dtype=value.dtype)
    message = f'{name}={value!r:.60} is no shape: "n" is a vector, "n,3" or (\'n\', 3) a matrix, 2 a vector of 2'
    raise error(TypeError, message)


def _size(text: str) -> Any:
    return int(text) if text.isdigit() else text


def names_of(wrt: Any) -> tuple[str, ...] | None:
    """``wrt`` as names: ``"a b"``, a SymPy symbol, or a list of these."""
    if wrt is None:
        return None
    if isinstance(wrt, str):
        names = tuple(wrt.replace(",", " ").split())
    elif isinstance(wrt, (list, tuple)):
        names = tuple(str(w) for w in wrt)
    else:
        names = (str(wrt),)
    if not names or len(set(names)) < len(names):
        raise error(ValueError, f"wrt={wrt!r} names no argument, or one twice")
    return names
