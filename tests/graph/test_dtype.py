"""Element types: NumPy's promotion is the truth."""

import itertools

import numpy as np
import pytest

from chainrule.graph import dtype
from chainrule.graph.dtype import SUPPORTED, canonical, complex_of, inexact_of, promote, real_of


@pytest.mark.parametrize(("a", "b"), list(itertools.product(SUPPORTED, SUPPORTED)))
def test_promotion_is_numpys(a, b):
    assert promote(a, b) == (np.ones(1, a) + np.ones(1, b)).dtype


@pytest.mark.parametrize("strong", [d for d in SUPPORTED if d.kind != "b"])
@pytest.mark.parametrize("weak", [1, 1.0, 1j])
def test_python_numbers_are_weak(strong, weak):
    assert promote(strong, weak) == (np.ones(1, strong) + weak).dtype


def test_canonical():
    assert canonical(float) == np.float64
    assert canonical(">f8") == np.dtype("=f8")
    assert canonical("uint16") == np.int64
    for bad in ("float16", "uint64", "O", "U3", "M8[s]"):
        with pytest.raises(TypeError, match="not supported"):
            canonical(bad)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_parts(kind):
    assert (
        dtype.is_inexact(kind)
        == (dtype.is_float(kind) or dtype.is_complex(kind))
        == np.issubdtype(kind, np.inexact)
    )
    assert dtype.is_integer(kind) == np.issubdtype(kind, np.integer)
    assert real_of(kind) == np.real(np.ones(1, kind)).dtype
    assert inexact_of(kind) == (np.exp(np.ones(1, kind)).dtype if kind.kind != "b" else np.float64)
    if dtype.is_float(kind):
        assert complex_of(kind) == (np.ones(1, kind) * np.complex64(1j)).dtype
