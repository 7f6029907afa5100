"""The rule by which a ``Call`` is differentiated: graphs, traced where the call was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from .node import Graph


@final
class Rule:
    """How to differentiate a call of *own* arguments, followed by ``captured`` values of the functions around it.

    Either ``push``: (*arguments, *tangents of the inexact own ones) → (*results, *tangents of the inexact ones), linear
    in the tangents. Or ``forward``: arguments → (*results, *residuals), with ``pull``: (*residuals, *cotangents of the
    inexact results, *captured) → cotangents of the inexact own arguments.

    A rule may hold calls with the same rule, so that it is made first, and gets its graphs with ``define``. Rules are
    equal if their digests are.
    """

    __slots__ = ("_forward", "_later", "_pull", "_push", "captured", "digest", "name")

    def __init__(self, name: str, number: int, later: Callable[[], Graph] | None = None) -> None:
        from hashlib import blake2b  # brings all of OpenSSL with it

        self.name = name
        self.digest = blake2b(f"rule {name} {number}".encode(), digest_size=16).digest()
        self.captured = 0
        self._push: Graph | None = None
        self._forward: Graph | None = None
        self._pull: Graph | None = None
        self._later = later

    def define(self, captured: int, *, push: Graph | None = None, forward: Graph | None = None,
               pull: Graph | None = None) -> None:  # fmt: skip
        """Gives the rule its graphs."""
        self.captured, self._push, self._forward, self._pull = captured, push, forward, pull

    @property
    def push(self) -> Graph | None:
        """The rule for forward mode, if it is that; one that captures nothing may be made when it is needed."""
        if self._push is None and self._later is not None:
            self._push = self._later()
        return self._push

    @property
    def forward(self) -> Graph | None:
        return self._forward

    @property
    def pull(self) -> Graph | None:
        return self._pull

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Rule({self.name})"
