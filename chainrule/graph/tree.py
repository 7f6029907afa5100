"""Pytrees over optree, as in JAX: None has no children, dicts go by sorted keys.

optree is imported when the first tree is met: it takes as long to load as half of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .where import error

if TYPE_CHECKING:
    import optree

Tree = Any
TreeDef: TypeAlias = "optree.PyTreeSpec"
T = TypeVar("T", bound=type[Any])
_NAMESPACE = "chainrule"


def flatten(tree: Tree) -> tuple[list[Any], TreeDef]:
    """The leaves, and the structure they were in.

    >>> flatten({"b": 1, "a": (2, None)})[0]
    [2, 1]
    """
    import optree

    leaves, spec = optree.tree_flatten(tree, namespace=_NAMESPACE)
    return leaves, spec


def unflatten(spec: TreeDef, leaves: Iterable[Any]) -> Tree:
    """The inverse of ``flatten``."""
    import optree

    return optree.tree_unflatten(spec, leaves)


def structure(tree: Tree) -> TreeDef:
    import optree

    return optree.tree_structure(tree, namespace=_NAMESPACE)


def leaves(tree: Tree) -> list[Any]:
    import optree

    return optree.tree_leaves(tree, namespace=_NAMESPACE)


def map(function: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """``function`` of each leaf, and of the same leaf of the other trees, in the structure of the first."""
    first, spec = flatten(tree)
    others = [flatten_as(spec, other, f"tree {i + 2}") for i, other in enumerate(rest)]
    return unflatten(spec, [function(*row) for row in zip(first, *others, strict=True)])


def flatten_as(spec: TreeDef, tree: Tree, what: str) -> list[Any]:
    """The leaves of a tree that must have the structure ``spec``; ``what`` names the tree in the error."""
    found, other = flatten(tree)
    if other != spec:
        raise error(TypeError, f"{what} has another structure: {difference(spec, other)}")
    return found


def paths(tree: Tree | TreeDef, root: str = "") -> list[str]:
    """A text for each leaf that says where it is.

    >>> paths({"mu": 1, "s": (2, 3)}, "p")
    ["p['mu']", "p['s'][0]", "p['s'][1]"]
    """
    import optree

    spec = tree if isinstance(tree, optree.PyTreeSpec) else structure(tree)
    return [root + "".join(entry.codify("") for entry in accessor) for accessor in spec.accessors()]


def difference(expected: TreeDef, found: TreeDef, root: str = "") -> str:
    """The first place where two structures differ, in words."""
    if expected.is_leaf(strict=False) or found.is_leaf(strict=False) or expected.type is not found.type:
        return f"{_kind(found)}{_at(root)} where {_kind(expected)} is expected"
    keys, others = expected.entries(), found.entries()
    if keys != others:
        if expected.type is dict:
            missing = [k for k in keys if k not in others]
            extra = [k for k in others if k not in keys]
            parts = [f"missing {missing}" if missing else "", f"unexpected {extra}" if extra else ""]
            return f"keys{_at(root)} differ: " + ", ".join(p for p in parts if p)
        return f"{len(others)} elements{_at(root)} where {len(keys)} are expected"
    accessors = [a[0].codify("") if len(a) else "" for a in expected.one_level().accessors()]  # type: ignore[union-attr]
    for name, a, b in zip(accessors, expected.children(), found.children(), strict=True):
        if a != b:
            return difference(a, b, root + name)
    return f"{found}{_at(root)} where {expected} is expected"


def _at(root: str) -> str:
    return f" at {root}" if root else ""


def _kind(spec: TreeDef) -> str:
    if spec.is_leaf(strict=True):
        return "a value"
    name = "None" if spec.type is None or spec.type is type(None) else spec.type.__name__
    return name if name == "None" else f"a {name}"


def register_dataclass(cls: T, data_fields: Sequence[str] | None = None, meta_fields: Sequence[str] = ()) -> T:
    """Make a dataclass a pytree: ``data_fields`` (default: all others) are children, ``meta_fields``
    structure.

    Usable as a decorator. Registering a class twice is an error of optree's.
    """
    from dataclasses import fields, is_dataclass

    import optree

    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    meta = tuple(meta_fields)
    data = tuple(data_fields) if data_fields is not None else tuple(f.name for f in fields(cls) if f.name not in meta)

    def split(value: Any) -> tuple[list[Any], Any, tuple[str, ...]]:
        return [getattr(value, n) for n in data], tuple(getattr(value, n) for n in meta), data

    def join(aux: Any, children: Iterable[Any]) -> Any:
        return cls(**dict(zip(data, children, strict=True)), **dict(zip(meta, aux, strict=True)))

    register: Any = optree.register_pytree_node  # its stub asks for collections
    register(cls, split, join, path_entry_type=optree.GetAttrEntry, namespace=_NAMESPACE)
    return cls
