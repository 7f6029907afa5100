"""Pytrees."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from chainrule.graph import tree

Point = namedtuple("Point", "x y")


@tree.register_dataclass
@dataclass
class Model:
    weight: Any
    bias: Any


@dataclass
class Tagged:
    value: Any
    tag: str


tree.register_dataclass(Tagged, meta_fields=["tag"])

TREES = [
    1.0,
    None,
    (1, 2),
    [1, [2, 3], ()],
    {"b": 1, "a": (2, None)},
    OrderedDict([("z", 1), ("a", 2)]),
    Point(1, {"k": [2]}),
    Model(1, (2, 3)),
    {"m": Model(Point(1, 2), None)},
]


@pytest.mark.parametrize("value", TREES, ids=str)
def test_flatten_and_back(value: Any) -> None:
    leaves, spec = tree.flatten(value)
    assert tree.unflatten(spec, leaves) == value
    assert tree.leaves(value) == leaves
    assert tree.structure(value) == spec
    assert len(tree.paths(value)) == len(leaves)


def test_order_of_leaves() -> None:
    assert tree.leaves({"b": 1, "a": (2, None)}) == [2, 1]
    assert tree.leaves(None) == []
    assert tree.leaves(OrderedDict([("z", 1), ("a", 2)])) == [1, 2]
    assert tree.leaves(Tagged(1, "t")) == [1]


def test_meta_fields_are_structure() -> None:
    assert tree.structure(Tagged(1, "t")) != tree.structure(Tagged(1, "u"))
    assert tree.map(lambda x: x + 1, Tagged(1, "t")) == Tagged(2, "t")


def test_map() -> None:
    assert tree.map(lambda a, b: a + b, {"x": (1, 2)}, {"x": (10, 20)}) == {"x": (11, 22)}
    with pytest.raises(TypeError, match=r"tree 2 has another structure: keys differ: missing \['x'\]"):
        tree.map(lambda a, b: a, {"x": 1}, {"y": 1})


def test_paths() -> None:
    assert tree.paths({"mu": 1, "s": (2, 3)}, "p") == ["p['mu']", "p['s'][0]", "p['s'][1]"]
    assert tree.paths(Point(1, [2]), "p") == ["p.x", "p.y[0]"]
    assert tree.paths(Model(1, 2), "m") == ["m.weight", "m.bias"]
    assert tree.paths(1.0, "x") == ["x"]
    assert tree.paths(None, "x") == []


@pytest.mark.parametrize(
    ("expected", "found", "text"),
    [
        ({"a": 1}, {"b": 1}, "keys at p differ: missing ['a'], unexpected ['b']"),
        ((1, 2), (1,), "1 elements at p where 2 are expected"),
        ({"a": (1, [2])}, {"a": (1, 3)}, "a value at p['a'][1] where a list is expected"),
        (1, None, "None at p where a value is expected"),
        (Point(1, 2), (1, 2), "a tuple at p where a Point is expected"),
        ({"a": {"c": 1}}, {"a": {"c": (1, 2)}}, "a tuple at p['a']['c'] where a value is expected"),
        (Model(1, 2), Model(1, (2,)), "a tuple at p.bias where a value is expected"),
        ([], (), "a tuple at p where a list is expected"),
    ],
)
def test_differences_are_located(expected: Any, found: Any, text: str) -> None:
    assert tree.difference(tree.structure(expected), tree.structure(found), "p") == text


def test_only_dataclasses() -> None:
    with pytest.raises(TypeError, match="int is not a dataclass"):
        tree.register_dataclass(int)
