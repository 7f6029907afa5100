"""``Array``: the value that a traced program holds. A mutable handle on a node, with NumPy's operators and
protocols.

An operation makes a node and a new handle. ``x[i] = v`` moves a handle to an updated node: whoever holds
the same handle sees it, and so do slices of it, which read from and write through to the array that they
were taken of.

What NumPy has as functions and methods is entered in ``FUNCTIONS`` by the files that come after this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar

import numpy as np

from . import express, lift
from .dim import Dim, Shape, Size, product, show, values_by
from .dtype import DType
from .node import Node, constant
from .op import Type
from .operations import Operations
from .scope import Scope, _current, element_type
from .sharing import Sharing
from .where import error, over_traced

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {}
"""NumPy's functions by name (``"sum"``, ``"linalg.norm"``), as they work on traced values."""


def implements(*names: str) -> Callable[[F], F]:
    """Enter a function in ``FUNCTIONS`` under these names of NumPy's."""

    def enter(function: F) -> F:
        for name in names:
            assert name not in FUNCTIONS, name
            FUNCTIONS[name] = function
        return function

    return enter


def call(name: str, *args: Any, **kwargs: Any) -> Array:
    """``FUNCTIONS[name]`` of these arguments."""
    found: Array = FUNCTIONS[name](*args, **kwargs)
    return found


_ARGUMENT = "arguments are not changed in place; copy first: x = x.copy()"
_OUTER = (
    "an array of the enclosing function is not changed inside a branch or loop body; pass it as an operand and return"
    " the new value, or copy first: x = x.copy()"
)


class Array(Operations):
    """A traced array. Programs get them as arguments; nobody makes them by hand."""

    __slots__ = ("_frozen", "_node", "_scope", "_sharing")
    __array_priority__ = 1000

    _node: Node
    _scope: Scope
    _frozen: str | None  # why the array may not be written to
    _sharing: Sharing | None  # which arrays it may be as well, if that depends on data

    # --- what it is ---

    @property
    def node(self) -> Node:
        """The value now, as a node."""
        return self._node

    @property
    def shape(self) -> Shape:
        return self.node.type.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        return self.node.type.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        return product(self.shape)

    def __repr__(self) -> str:
        node = self.node
        where = self._scope.provenance.get(node)
        name = where.name if where is not None else None
        op = node.op
        if name is None and type(op).__name__ == "Input" and op.level == self._scope.level:  # type: ignore[union-attr]
            names = self._scope.names
            name = names[op.position] if op.position < len(names) else None  # type: ignore[union-attr]
        text = f"{name}: {node.type}" if name else f"Array: {node.type}"
        return text + (f" ({where})" if where is not None else "")

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise error(TypeError, "len() of a traced scalar")
        if isinstance(shape[0], Size):
            raise over_traced(error(
                TypeError,
                f"len() of an array whose length {shape[0]} is not known while tracing; use x.shape[0],"
                " or np.mean and np.sum instead of a loop",
            ))
        return shape[0]

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise error(TypeError, "iteration over a traced scalar")
        if isinstance(self.shape[0], Size):
            raise over_traced(error(
                TypeError,
                f"a Python loop over an array whose length {self.shape[0]} is not known while tracing;"
                " use whole-array operations, cr.map or cr.scan",
            ))
        return (self[i] for i in range(len(self)))  # one by one: the loop may write to the array

    # --- what it cannot be: a Python number, or a concrete array ---

    def __bool__(self) -> bool:
        self._refuse(
            "Python `if`, `while`, `and`, `or` or `not` over a traced value",
            "write np.where(condition, a, b), cr.cond or cr.while_loop, & and | for `and` and `or`",
        )

    def __float__(self) -> float:
        self._refuse(
            "float() of a traced value",
            "call np.exp, not math.exp, and build arrays with np.stack or chainrule.numpy.zeros",
        )

    def __int__(self) -> int:
        self._refuse("int() of a traced value", "use x.astype(int)")

    def __complex__(self) -> complex:
        self._refuse("complex() of a traced value", "use x.astype(complex)")

    def __index__(self) -> int:
        self._refuse(
            "a traced value where Python needs a known integer",
            "loop with cr.fori_loop, write chainrule.numpy.take(list, i) for list[i], or make it a static argument",
        )

    def item(self, *args: int) -> NoReturn:
        """Not while tracing: there is no number yet."""
        self._refuse("item() of a traced value", "leave the value as it is")

    tolist = item

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse(
            "a traced value where a concrete NumPy array is needed",
            "write chainrule.numpy.take(data, i) for data[i], build arrays with np.stack or chainrule.numpy.array,"
            " fill one from chainrule.numpy.zeros, and call functions of NumPy, chainrule.numpy or chainrule.scipy",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise error(AttributeError, f"a traced array has no .{name}; is there a function np.{name}(x) for it?")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse("a format for a traced value", "it is no number yet; print what the function returns")
        return repr(self)

    def __hash__(self) -> int:
        what = "a traced value, which is unhashable, in a set or as a dictionary's key"
        self._refuse(what, "use what is known while tracing, as x.shape")

    def __reduce__(self) -> NoReturn:
        self._refuse("pickling a traced value", "return it from the function, and pickle the result")

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __round__(self, ndigits: int | None = None) -> Any:
        rounded = call("round", self, ndigits or 0)
        return rounded.astype(int) if ndigits is None else rounded

    def _refuse(self, what: str, instead: str) -> NoReturn:
        if not self._scope.alive:
            enter(self, _current.get())
        raise over_traced(error(TypeError, f"{what} ({self!r}); {instead}"))

    def _in_place(self, value: Array) -> Array:
        """The array with its elements replaced; a scalar is a new value, as with NumPy's scalars."""
        if not self.shape:
            return value
        if not np.can_cast(value.dtype, self.dtype, "same_kind"):
            raise error(TypeError, f"{value.dtype} values do not fit into a {self.dtype} array in place")
        if value.shape != self.shape:
            shapes = f"{show(value.shape)} into {show(self.shape)}"
            raise error(ValueError, f"an operation in place does not change the shape: {shapes}")
        self._assign(express.cast(value.node, self.dtype))
        return self

    def _assign(self, node: Node) -> None:
        """Move the handle to another value of the same type."""
        self._move(node)
        if self._sharing is not None:
            self._sharing.written()

    def _move(self, node: Node) -> None:
        """``_assign`` of what a block has left."""
        self._check_writable()
        self._node = node
        self._scope.record(node)

    def _check_writable(self) -> None:
        if self._frozen is not None:
            raise error(ValueError, f"{self!r}: {self._frozen}")
        if self._sharing is not None:
            self._sharing.check()
        scope = _current.get()
        if self._scope is not scope:
            enter(self, scope)
            if scope is None or not scope.adopt(self):
                raise error(ValueError, f"{self!r}: {_OUTER}")

    # --- what the operators and methods go by ---

    def _binary(self, name: str, a: Any, b: Any) -> Any:
        return binary(name, a, b)

    def _unary(self, name: str) -> Array:
        return wrap(lift.apply(name, node_of(self)))

    def _operator(self, name: str, a: Any, b: Any) -> Any:
        return FUNCTIONS[name](a, b) if is_operand(a) and is_operand(b) else NotImplemented

    def _function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return FUNCTIONS[name](self, *args, **kwargs)

    # --- indexing ---

    def __getitem__(self, index: Any) -> Array:
        return call("getitem", self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check_writable()
        self._assign(FUNCTIONS["updated"](self, index, value, "set").node)

    # --- NumPy's protocols ---

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return FUNCTIONS["__array_ufunc__"](ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return FUNCTIONS["__array_function__"](function, args, kwargs)


class View(Array):
    """What basic slicing gives: reads from the base's current value, writes through to it."""

    __slots__ = ("_base", "_read", "_read_in", "_root", "_seen", "_write")

    _base: Array
    _root: Array
    _seen: Node  # the root's node when ``_node`` was computed
    _read_in: Scope | None  # the trace in which that was
    _read: Callable[[Node], Node]
    _write: Callable[[Node, Node], Node] | None

    @property
    def node(self) -> Node:
        scope = _current.get()  # what is read has to be noted in each trace
        if self._root._node is not self._seen or self._read_in is not scope:
            chain: list[View] = []
            base: Array = self
            while isinstance(base, View):
                chain.append(base)
                base = base._base
            node = base._node
            for view in reversed(chain):
                node = view._node = view._read(node)
                view._seen, view._read_in = base._node, scope
        return self._node

    def _assign(self, node: Node) -> None:
        self._root._check_writable()
        view: View = self
        value = node
        while True:
            if view._write is None:
                raise error(
                    ValueError,
                    "writing into the result of reshape or ravel, which may or may not share memory;"
                    " write into the array itself, or copy first: x = x.reshape(...).copy()",
                )
            value = view._write(view._base.node, value)
            if not isinstance(view._base, View):
                break
            view = view._base
        self._root._assign(value)

    def _check_writable(self) -> None:
        self._root._check_writable()


def view_of(
    found: Array, base: Array, read: Callable[[Node], Node], write: Callable[[Node, Node], Node] | None
) -> Array:
    """``found``, made a view of ``base``; a base that never changes gives a read-only array."""
    if base._frozen is not None or not _may_change(base, found._scope):
        found._frozen = base._frozen or _OUTER
        return found
    view = View()
    view._node, view._scope, view._frozen, view._sharing = found._node, found._scope, None, None
    view._base, view._read, view._write = base, read, write
    view._root = base._root if isinstance(base, View) else base
    view._seen, view._read_in = view._root._node, found._scope
    return view


def root_of(array: Array) -> Array:
    """The array that this one is a part of."""
    return array._root if isinstance(array, View) else array


def sharing_of(array: Array) -> Sharing:
    """Which arrays this one, or what it is a part of, may be as well."""
    root = root_of(array)
    if root._sharing is None:
        home = root._scope
        while home.block is not None and id(root) in home.block.adopted:
            home = home.block.adopted[id(root)][2]
        root._sharing = Sharing(home.level)
    return root._sharing


def _may_change(base: Array, scope: Scope) -> bool:
    """Whether ``base`` may be written to in ``scope``: it is of that trace, or of one around its blocks."""
    around: Scope | None = scope
    while around is not base._scope:
        if around is None or around.block is None:
            return False
        around = around.parent
    return True


# --- from and to nodes --------------------------------------------------------------------------------------

_new = Array.__new__


def wrap(node: Node, scope: Scope | None = None) -> Array:
    """A new handle on a node, in the current trace."""
    if scope is None:
        scope = _current.get()
        if scope is None:
            raise error(RuntimeError, "a traced value is used outside of a trace")
    array = _new(Array)
    array._node = node
    array._scope = scope
    array._frozen = array._sharing = None
    scope.record(node)
    return array


def argument(node: Node, scope: Scope, read_only: bool = True) -> Array:
    """The handle of an argument, or of a captured value."""
    array = _new(Array)
    array._node, array._scope, array._frozen = node, scope, _ARGUMENT if read_only else None
    array._sharing = None
    return array


def scope_of(array: Array) -> Scope:
    """The current trace, after a check that ``array`` may be used in it."""
    scope = _current.get()
    if array._scope is not scope:
        enter(array, scope)
    assert scope is not None
    return scope


def enter(array: Array, scope: Scope | None) -> None:
    """Note that an array of an outer trace is read in ``scope``; refuse one whose trace is over."""
    if not array._scope.alive:
        where = array._scope.provenance.get(array._node)
        made = f"; it was made at {where}" if where is not None else ""
        raise error(
            RuntimeError,
            "a traced value left its function: it was stored outside (a global, a list, an attribute)"
            f" and used after tracing ended{made}. Return values from the function instead",
        )
    outer = scope
    while outer is not None and outer is not array._scope:
        outer = outer.parent
    if outer is None or scope is None:
        raise error(RuntimeError, "a traced value is used in another thread or context than the one it is traced in")
    scope.see(array.node)


def node_of(array: Array) -> Node:
    """The value of an array, checked against the current trace."""
    scope = _current.get()
    if array._scope is not scope:
        enter(array, scope)
    known = array._sharing if type(array) is Array else root_of(array)._sharing
    if known is not None:
        known.check()
    return array._node if type(array) is Array else array.node


def operand(value: Any, scope: Scope | None = None) -> Any:
    """A value of the user's program as a node; a Python number stays itself (it is weak)."""
    if isinstance(value, Array):
        return node_of(value)
    kind = type(value)
    if kind is float or kind is int or kind is bool or kind is complex:
        return value
    if isinstance(value, np.generic):
        return constant(np.asarray(value).astype(element_type(value)))
    if isinstance(value, np.ndarray):
        return (scope or current_scope()).lift(value)
    if isinstance(value, Size):
        return lift.size_value(value)
    if isinstance(value, (list, tuple)):
        return node_of(FUNCTIONS["array"](value))
    if isinstance(value, (float, int, complex)):  # a subclass of a Python number
        return value.real if isinstance(value, (float, int)) else complex(value)
    converted = np.asarray(value) if hasattr(value, "__array__") else None
    if converted is None or converted.dtype == object:
        raise error(TypeError, f"a value of type {type(value).__name__} is no number or array: {value!r:.80}")
    return operand(converted, scope)


def current_scope() -> Scope:
    scope = _current.get()
    if scope is None:
        raise error(RuntimeError, "a traced value is used outside of a trace")
    return scope


def is_operand(value: Any) -> bool:
    """Whether an operator should take ``value``: numbers, arrays and sequences of them."""
    if isinstance(value, (Array, float, int, complex, np.ndarray, np.generic, list, tuple, Size)):
        return True
    return hasattr(value, "__array__") and not hasattr(value, "__array_ufunc__")


def binary(name: str, a: Any, b: Any) -> Any:
    scope = _current.get()
    if type(a) is Array and a._scope is scope and a._sharing is None:
        x: Any = a._node
    elif is_operand(a):
        x = operand(a, scope)
    else:
        return NotImplemented
    if type(b) is Array and b._scope is scope and b._sharing is None:
        y: Any = b._node
    elif is_operand(b):
        y = operand(b, scope)
    else:
        return NotImplemented
    return wrap(lift.apply(name, x, y), scope)


def unary(name: str, a: Any) -> Array:
    return wrap(lift.apply(name, node_of(a)))


def elementwise(name: str, *values: Any) -> Array:
    """A primitive of values of the user's program."""
    return wrap(lift.apply(name, *[operand(v) for v in values]))


def as_node(value: Any) -> Node:
    """A value of the user's program as a node; a Python number gets the type that it has by itself."""
    return lift.strong(operand(value))


def as_array(value: Any) -> Array:
    """A value of the user's program as an array of the current trace."""
    return value if isinstance(value, Array) else wrap(as_node(value))


def type_of(value: Any) -> Type:
    """The type of a value of the user's program."""
    if isinstance(value, Array):
        return value.node.type  # type: ignore[no-any-return]
    array = np.asarray(value)
    return Type(array.shape, element_type(array))


values_by(lambda size: wrap(lift.size_value(size)))
