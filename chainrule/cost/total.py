"""Sums of costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chainrule.graph.where import error

from .base import Cost
from .parameters import merged


class Constant(Cost):
    """A number, so that sums may hold one."""

    def __init__(self, value: float) -> None:
        super().__init__({})
        self.value = float(value)

    @property
    def ndata(self) -> float:
        return 0.0

    def _arrays(self) -> Any:
        return ()

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        return self.value


class CostSum(Cost):
    """Σ costᵢ, each in units of its own ``errordef``. Parameters of the same name are the same parameter.

    All parts are computed, and derived, in one kernel.

    >>> from chainrule.cost import LeastSquares, NormalConstraint
    >>> def line(x, a, b):
    ...     return a + b * x
    >>> total = LeastSquares([1.0, 2.0], [2.0, 3.0], 1.0, line) + NormalConstraint("b", 1.0, 0.1)
    >>> list(total._parameters), round(total(1.0, 1.2), 12)
    (['a', 'b'], 4.2)
    """

    def __init__(self, *items: Cost | float) -> None:
        self._items: list[Cost] = []
        for item in items:
            if isinstance(item, CostSum):
                self._items.extend(item._items)
            elif isinstance(item, Cost):
                self._items.append(item)
            elif isinstance(item, (int, float)):
                self._items.extend([Constant(item)] if item else [])
            else:
                raise error(TypeError, f"costs of chainrule and numbers can be added, not {type(item).__name__}")
        parameters, self._places = merged([item._parameters for item in self._items])
        super().__init__(parameters, max((item.verbose for item in self._items), default=0))

    @property
    def ndata(self) -> float:
        return sum(item.ndata for item in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: int) -> Cost:
        return self._items[key]

    def __iter__(self) -> Iterator[Cost]:
        return iter(self._items)

    def _state(self) -> Any:
        return tuple(item._state() for item in self._items)

    def _arrays(self) -> Any:
        return tuple(item._arrays() for item in self._items)

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        total: Any = 0.0
        for item, places, arrays in zip(self._items, self._places, data, strict=True):
            total = total + item._expression([parameters[i] for i in places], arrays) / item.errordef
        return total

    def visualize(self, args: Sequence[float], component_kwargs: dict[int, dict[str, Any]] | None = None) -> None:
        """Draws every part that can be drawn, side by side, with matplotlib."""
        from matplotlib import pyplot

        drawn = [i for i, item in enumerate(self._items) if hasattr(item, "visualize")]
        figure = pyplot.gcf()
        figure.set_figwidth(len(drawn) * figure.get_figwidth() / 1.5)
        _, axes = pyplot.subplots(1, len(drawn), num=figure.number, squeeze=False, clear=True)
        for axis, i in zip(axes[0], drawn, strict=True):
            pyplot.sca(axis)
            item: Any = self._items[i]
            item.visualize([args[k] for k in self._places[i]], **(component_kwargs or {}).get(i, {}))
