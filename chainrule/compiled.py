"""``Function``: what every transform returns. A callable that compiles itself for the types it meets.

The first call with new types traces the program, simplifies the graph and compiles it. A call whose arguments are
plain numbers and arrays then goes straight to native code; pytrees, keyword arguments and conversions take the slow
path here. When a second shape comes, the sizes that changed become names, so that one kernel serves every length.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from .codegen import function as native
from .codegen import tiers
from .codegen.calls import asking, calls_python
from .codegen.kernel import CompiledKernel, compile_graph
from .graph import dim as dims
from .graph import tree
from .graph.array import Array
from .graph.collector import paused
from .graph.cost import Cost, graph_cost
from .graph.dtype import COMPLEX128, FLOAT64, INT64, DType
from .graph.evaluate import evaluate
from .graph.node import Graph
from .graph.op import Type
from .graph.scope import Bound, current, element_type
from .graph.trace import Traced, call_user, trace_flat
from .graph.where import error
from .packed import Packed
from .simplify.binding import precompute, split_sums
from .simplify.pipeline import simplify
from .simplify.versions import versions
from .sizes import generalised, matches

_NUMBERS: Final = (float, int, bool, complex)
_KEPT: Final = 512  # kernels that live on after the functions that they were compiled for
_kernels: Final[OrderedDict[tuple[bytes, int], CompiledKernel]] = OrderedDict()
_kernels_lock: Final = threading.Lock()
_interpreted: Final[ContextVar[bool]] = ContextVar("chainrule_interpreted", default=False)
_built = 0  # kernels compiled so far


def compilations() -> int:
    """How many kernels this process has compiled.

    >>> before = compilations()
    >>> double = lambda x: x * 2.0
    >>> f = Function(double, double)
    >>> f(1.0), f(2.0), compilations() - before <= 1
    (np.float64(2.0), np.float64(4.0), True)
    """
    return _built


_describe: Callable[[Function], str] = lambda function: ""  # noqa: E731  (it is replaced by the face)


def describe_with(describe: Callable[[Function], str]) -> None:
    """Sets what a function's repr shows of it beside its signature, '' for nothing."""
    global _describe
    _describe = describe


@contextmanager
def disable_jit() -> Iterator[None]:
    """Within it, functions run on the reference interpreter instead of compiled code.

    >>> double = lambda x: x * 2.0
    >>> with disable_jit():
    ...     Function(double, double)(1.5)
    np.float64(3.0)
    """
    token = _interpreted.set(True)
    try:
        yield
    finally:
        _interpreted.reset(token)


@dataclass(frozen=True, slots=True)
class Specialised:
    """The program traced for given types: its simplified graph, what it captured, and how results are laid out.

    ``constants`` stands for results that are no arrays of the graph. The kernel is compiled when first needed, and is
    in ``box``; ``heat`` says how much it was used since.
    """

    types: tuple[Type, ...]
    graph: Graph
    hidden: tuple[np.ndarray[Any, Any], ...]
    out: tree.TreeDef
    box: list[Any]
    heat: tiers.Heat = field(default_factory=tiers.Heat)
    calls_python: bool = False

    def kernel(self, name: str) -> CompiledKernel:
        """The native kernel, shared by all graphs of the same digest."""
        if not self.box:
            self.box.append(_compiled(self.graph, name, len(self.hidden)))
        kernel: CompiledKernel = self.box[0]
        return kernel

    def replace_kernel(self, better: CompiledKernel) -> None:
        """From now on, here and for new functions with the same graph, the better kernel is used."""
        self.box[0] = better
        with _kernels_lock:
            key = (self.graph.digest, len(self.hidden))
            if key in _kernels:
                _kernels[key] = better


def _compiled(graph: Graph, name: str, hidden: int) -> CompiledKernel:
    global _built
    key = (graph.digest, hidden)
    with _kernels_lock:
        found = _kernels.get(key)
        if found is not None:
            _kernels.move_to_end(key)
            return found
    kernel = compile_graph(versions(graph), name, hidden=hidden)
    with _kernels_lock:
        _built += 1
        kernel = _kernels.setdefault(key, kernel)
        if len(_kernels) > _KEPT:
            _kernels.popitem(last=False)
    return kernel


class Function(Packed, native.Function):
    """A compiled function. Made by ``jit``, ``grad``, … .

    ``program`` computes on traced arrays what ``fun`` (whose name, signature and documentation are shown) stands for.
    ``floats`` says for a top-level argument (position or name) whether its Python integers are to become floats.
    ``recipe`` is how to make this function anew, for pickling: a public transform and its arguments.
    """

    def __init__(
        self,
        program: Callable[..., Any],
        fun: Callable[..., Any],
        *,
        floats: Callable[[int | str], bool] = lambda where: False,
        static_argnums: Sequence[int] = (),
        static_argnames: Sequence[str] = (),
        signature: inspect.Signature | None = None,
        recipe: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(self._dispatch)
        self._program = program
        self._floats = floats
        self._static = (frozenset(static_argnums), frozenset(static_argnames))
        self._recipe = recipe
        self._lock = threading.RLock()
        self._exact: dict[Any, Specialised] = {}
        self._general: list[tuple[Any, Specialised]] = []
        self._first: dict[Any, tuple[Type, ...] | None] = {}
        self._latest: Specialised | None = None
        self._native_for: Specialised | None = None
        self._flat: dict[int, native.Function] = {}
        functools.update_wrapper(self, fun, updated=())
        self.__name__ = getattr(fun, "__name__", type(fun).__name__)
        self.__qualname__ = getattr(fun, "__qualname__", self.__name__)
        with suppress(TypeError, ValueError):  # builtins may have none
            self.__signature__ = signature or inspect.signature(fun)
        if hasattr(fun, "errordef"):  # how much a cost function rises at one standard deviation, for iminuit
            self.errordef = fun.errordef

    # --- what the user may look at ---

    @property
    def graph(self) -> Graph:
        """The simplified graph that was used last."""
        return self._used().graph

    @property
    def address(self) -> int:
        """The address of the native kernel that was used last: ``void f(inputs…, sizes…, results…[, workspace])``."""
        used = self._used()
        used.replace_kernel(tiers.improved(used.kernel(self._symbol())))
        return used.kernel(self._symbol()).address

    def source(self, kind: str = "llvm") -> str:
        """The code of the kernel that was used last: ``"llvm"``, ``"c"``, ``"numpy"``, or ``"ir"``, the loops."""
        kernel = self._used().kernel(self._symbol())
        match kind:
            case "llvm":
                return kernel.llvm
            case "c":
                from .codegen.to_c import emit_c

                return emit_c(kernel.ir, f"{self.__name__}: made by chainrule").text
            case "ir":
                return str(kernel.ir)
            case "numpy":
                from .codegen.to_numpy import numpy_source

                return numpy_source(self._used().graph, self._symbol())
            case _:
                raise error(ValueError, f"source is given as 'llvm', 'c', 'numpy' or 'ir', not {kind!r}")

    def cost(self) -> Cost:
        """Operations and latency of the graph that was used last."""
        return graph_cost(self._used().graph)

    def _used(self) -> Specialised:
        if self._latest is None:
            raise error(ValueError, f"{self.__name__} has not been called yet, so it has no code")
        return self._latest

    def _symbol(self) -> str:
        name = "".join(c if c.isalnum() and c.isascii() else "_" for c in self.__name__)
        return name if name and not name[0].isdigit() else "f_" + name

    def __repr__(self) -> str:
        shown = f"{self.__name__}{getattr(self, '__signature__', '(...)')}"
        line = _describe(self)
        return f"<chainrule function {shown}: {line}>" if line else f"<chainrule function {shown}>"

    @property
    def recipe(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None:
        """The public transform, and its arguments, that made this function."""
        return self._recipe

    @property
    def used(self) -> Specialised | None:
        """What was used last, None before the first call."""
        return self._latest

    def __reduce__(self) -> Any:
        if _named(self) is self:
            return self.__qualname__  # a decorated module-level function, found by its name
        if self._recipe is None:
            raise TypeError(
                f"{self!r} cannot be pickled; pickle the original function and transform it again"
            )
        make, args, kwargs = self._recipe
        return functools.partial(make, **kwargs), args

    # --- the slow path ---

    def _dispatch(self, *args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            return call_user(self._program, *args, **kwargs)
        leaves, spec, static, key = self._flatten(args, kwargs)
        types = tuple(_leaf_type(v) for v in leaves)
        used = self._find(types, spec, static, key, args, kwargs)
        self._latest = used
        if _interpreted.get():
            results: Sequence[Any] = [
                r[()] if r.ndim == 0 else r for r in evaluate(used.graph, [*leaves, *used.hidden])
            ]
        else:
            kernel = used.kernel(self._symbol())
            plain = not kwargs and not static and spec == tree.structure((tuple(args), {})) and _all_leaves(args)
            if plain and kernel.is_best:
                self._go_native(used, kernel)
            arrays = [_conform(v, t) for v, t in zip(leaves, types, strict=True)]
            started = time.perf_counter()
            results = self._call_flat(used, kernel)(*arrays)
            if not kernel.is_best:
                self._warm_up(used, kernel, time.perf_counter() - started, plain)
        return tree.unflatten(used.out, results)

    def _flatten(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], tree.TreeDef, Any, Any]:
        numbers, names = self._static
        static = tuple((i, args[i]) for i in sorted(numbers) if i < len(args)) + tuple(
            (k, kwargs[k]) for k in sorted(names) if k in kwargs
        )
        if static:
            try:
                hash(static)
            except TypeError:
                raise error(TypeError, "static arguments must be hashable") from None
            args = tuple(None if i in numbers else a for i, a in enumerate(args))
            kwargs = {k: v for k, v in kwargs.items() if k not in names}
        spec = tree.structure((args, kwargs))
        return self.leaves(args, kwargs), spec, static, (spec, static)

    def leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments as a list of numbers and arrays, Python integers being floats where derivatives are taken."""
        found: list[Any] = []
        for i, value in enumerate(args):
            found.extend(self._leaves_of(value, i))
        for name in sorted(kwargs):
            found.extend(self._leaves_of(kwargs[name], name))
        return found

    def _leaves_of(self, value: Any, where: int | str) -> list[Any]:
        kind = type(value)
        found = [value] if kind is np.ndarray or kind in _NUMBERS else tree.leaves(value)
        if self._floats(where):
            found = [float(v) if type(v) is int else v for v in found]
        return found

    def _find(
        self, types: tuple[Type, ...], spec: tree.TreeDef, static: Any, key: Any, args: Any, kwargs: Any
    ) -> Specialised:
        exact = (key, types)
        found = self._exact.get(exact)
        if found is not None:
            return found
        for general_key, candidate in self._general:
            if general_key == key and matches(candidate.types, types):
                return candidate
        with self._lock:
            self._check(args, kwargs)
            rank_key = (key, tuple((len(t.shape), t.dtype) for t in types))
            before = self._first.get(rank_key)
            if before is not None:
                general = generalised(before, types)
                if general is not None:
                    try:
                        found = self._specialise(general, key)
                    except (TypeError, ValueError, IndexError, OverflowError):
                        self._first[rank_key] = None  # the program needs to know its sizes
                    else:
                        self._general.append((key, found))
                        return found
            with paused():
                found = self._exact[exact] = self._specialise(types, key)
            self._first.setdefault(rank_key, types)
            return found

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Arguments that do not fit the user's signature are an error of the call, not of the trace."""
        signature = getattr(self, "__signature__", None)
        if signature is not None:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as problem:
                raise error(TypeError, f"{self.__name__}(): {problem}") from None

    def _specialise(self, types: tuple[Type, ...], key: Any) -> Specialised:
        spec, static = key

        def program(*leaves: Array) -> Any:
            args, kwargs = tree.unflatten(spec, leaves)
            values = list(args)
            for where, value in static:
                if isinstance(where, int):
                    values[where] = value
                else:
                    kwargs[where] = value
            return call_user(self._program, *values, **kwargs)

        program.__wrapped__ = self._program  # type: ignore[attr-defined]  # what it captured is looked for there
        traced: Traced = trace_flat(program, types, self._names(spec))
        graph, hidden = simplify(traced.graph), list(traced.captures)
        if any(isinstance(array, Bound) for array in hidden):  # the others are snapshots, too
            data = range(len(types), len(types) + len(hidden))
            graph, hidden = precompute(split_sums(graph, data), len(types), hidden, data)
            graph = simplify(graph)
        return Specialised(types, graph, tuple(hidden), traced.tree, [], calls_python=calls_python(graph))

    def _names(self, spec: tree.TreeDef) -> tuple[str, ...]:
        """A name for each leaf, after the user's parameters: ``x``, ``p['mu']``."""
        signature = getattr(self, "__signature__", None)
        parameters = list(signature.parameters) if signature is not None else []
        names = []
        for path in tree.paths(spec):
            group, _, rest = path[1:].partition("]")
            inner, _, tail = rest[1:].partition("]")
            if group == "0":
                position = int(inner)
                names.append((parameters[position] if position < len(parameters) else f"x{position}") + tail)
            else:
                names.append(inner.strip("'\"") + tail)
        return tuple(names)

    # --- the fast path ---

    def _warm_up(self, used: Specialised, kernel: CompiledKernel, seconds: float, plain: bool) -> None:
        """After a call of a kernel that was compiled fast: once it was used enough, it is compiled well meanwhile."""
        heat = used.heat
        heat.add(seconds)
        if not heat.asked and heat.is_hot(tiers.seconds_to_compile(kernel.llvm, kernel.best)):
            heat.asked = True
            if plain:
                self._go_native(used, kernel)
            tiers.improve_later(kernel, lambda better: self._improve(used, better))

    def _improve(self, used: Specialised, better: CompiledKernel) -> None:
        """Swaps in the better code of a kernel, under the calls of other threads."""
        with self._lock:
            used.replace_kernel(better)
            flat = self._flat.pop(id(used), None)
            if flat is not None:
                self._call_flat(used, better)
            if self._native_for is used:
                self._native_for = None
                self._go_native(used, better)

    def _go_native(self, used: Specialised, kernel: CompiledKernel) -> None:
        """Installs the kernel's entry, if results can be laid out natively; a general kernel is never given up."""
        known = self._native_for
        if used.calls_python or known is used or (known is not None and _is_general(known)):
            return
        layout = _layout(used.out)
        if layout is _NOT_NATIVE:
            return
        entry = native.entry(replace(kernel.signature, tree=layout))
        if entry:
            self.install(entry, kernel.address, used.hidden, (kernel, used))
            self._native_for = used

    def _call_flat(self, used: Specialised, kernel: CompiledKernel) -> Callable[..., Sequence[Any]]:
        """The kernel as a function of leaves that gives a tuple of results."""
        found = self._flat.get(id(used))
        if found is None:
            signature = replace(kernel.signature, tree=tuple(range(len(used.graph.outputs))))
            entry = native.entry(signature)

            def by_ctypes(*leaves: Any) -> Any:
                return native.call(kernel.address, signature, leaves, used.hidden)

            found = native.Function(by_ctypes)
            if entry:
                found.install(entry, kernel.address, used.hidden, (kernel, used))
            self._flat[id(used)] = found
        return asking(found) if used.calls_python else found


def _named(function: Function) -> Any:
    """What the module of a function holds under its name."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found


_NOT_NATIVE: Final = object()


def _layout(out: tree.TreeDef) -> Any:
    """The results' structure as nested tuples and lists of numbers, or ``_NOT_NATIVE``."""
    value = tree.unflatten(out, range(out.num_leaves))

    def plain(part: Any) -> bool:
        if part is None or type(part) is int:
            return True
        return type(part) in (tuple, list) and all(plain(p) for p in part)

    return value if plain(value) else _NOT_NATIVE


def _all_leaves(args: Sequence[Any]) -> bool:
    return all(isinstance(a, (np.ndarray, np.generic, *_NUMBERS)) for a in args)


def _is_general(used: Specialised) -> bool:
    return any(isinstance(d, dims.Size) for t in used.types for d in t.shape)


def _leaf_type(value: Any) -> Type:
    """The type with which a leaf enters a kernel."""
    kind = type(value)
    if kind is float:
        return Type((), FLOAT64)
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if kind is int and array.dtype != np.int64:
        raise error(OverflowError, f"an argument is an integer beyond 64 bits, {value}; give a float")
    if array.dtype == object or array.dtype.kind in "SUMmV":
        shown = f"{array.dtype} array" if isinstance(value, np.ndarray) else kind.__name__
        raise error(
            TypeError, f"an argument of type {shown} is no number, array or container of them: {value!r:.60};"
            " what the program only reads may be a static argument (jit's static_argnums)"
        )
    return Type(array.shape, kernel_dtype(element_type(array)))


def kernel_dtype(dtype: DType) -> DType:
    """The element type with which an argument enters a kernel: the narrow integers and complex numbers widen."""
    return {"int32": INT64, "complex64": COMPLEX128}.get(dtype.name, dtype)


def _conform(value: Any, kind: Type) -> Any:
    """A leaf as the exact array or scalar that an entry takes."""
    array = np.asarray(value)
    if not kind.shape:
        return array.astype(kind.dtype)[()]
    return np.array(array, dtype=kind.dtype, order="C", subok=False, copy=None)
