"""Costs of data of which a part may be left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import Cost, float_array
from .parameters import Parameters


class MaskedCost(Cost):
    """A cost of ``data``, of which only the entries that ``mask`` selects (along the first axis) are used."""

    def __init__(self, parameters: Parameters, data: NDArray[Any], verbose: int) -> None:
        super().__init__(parameters, verbose)
        self._data = data
        self._mask: NDArray[Any] | None = None

    @property
    def data(self) -> NDArray[Any]:
        """All data, also those that are masked out. Assign to change them."""
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        self._data = np.array(np.broadcast_to(float_array(value), self._data.shape))
        self._changed()

    @property
    def mask(self) -> NDArray[Any] | None:
        """Which data are used: booleans, indices, or None for all."""
        return self._mask

    @mask.setter
    def mask(self, mask: ArrayLike | None) -> None:
        self._mask = None if mask is None else np.asarray(mask)
        self._changed()

    @property
    def _masked(self) -> NDArray[Any]:
        return self._data if self._mask is None else self._data[self._mask]

    @property
    def _indices(self) -> NDArray[np.int64] | None:
        """The mask as positions along the first axis."""
        if self._mask is None:
            return None
        return np.flatnonzero(self._mask) if self._mask.dtype == bool else self._mask.astype(np.int64)


def excluded(mask: NDArray[Any] | None, count: int) -> NDArray[np.bool_]:
    """True for the entries of the first axis that the mask leaves out."""
    left_out = np.ones(count, bool)
    left_out[... if mask is None else mask] = False
    return left_out
