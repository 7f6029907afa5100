"""Element types: NumPy's own dtype objects, and NumPy 2's promotion rules.

Arguments and arrays are *strong* (they keep their type), Python literals are *weak* (they adapt), as in NEP 50.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DType = np.dtype[Any]

BOOL: DType = np.dtype(np.bool_)
INT32: DType = np.dtype(np.int32)
INT64: DType = np.dtype(np.int64)
FLOAT32: DType = np.dtype(np.float32)
FLOAT64: DType = np.dtype(np.float64)
COMPLEX64: DType = np.dtype(np.complex64)
COMPLEX128: DType = np.dtype(np.complex128)

SUPPORTED: tuple[DType, ...] = (BOOL, INT32, INT64, FLOAT32, FLOAT64, COMPLEX64, COMPLEX128)
NAMES: dict[DType, str] = {d: d.name for d in SUPPORTED}  # NumPy works a dtype's name out each time
_BY_NAME: dict[str, DType] = {d.name: d for d in SUPPORTED}
# Narrow and unsigned integers compute as int64, which holds them all but the upper half of uint64.
_WIDENED = {"int8", "int16", "uint8", "uint16", "uint32"}
_REAL: dict[str, DType] = {"complex64": FLOAT32, "complex128": FLOAT64}
_COMPLEX: dict[str, DType] = {"float32": COMPLEX64, "float64": COMPLEX128}


def canonical(dtype: Any) -> DType:
    """The supported element type that stands for ``dtype`` (``TypeError`` if there is none).

    >>> canonical(">f8"), canonical(np.uint8)
    (dtype('float64'), dtype('int64'))
    """
    name = np.dtype(dtype).name
    found = _BY_NAME.get(name)
    if found is None and name in _WIDENED:
        found = INT64
    if found is None:
        known = ", ".join(d.name for d in SUPPORTED)
        raise TypeError(f"arrays of dtype {name!r} are not supported; convert to one of {known}")
    return found


def is_float(dtype: DType) -> bool:
    """Real floating point."""
    return dtype.kind == "f"


def is_complex(dtype: DType) -> bool:
    return dtype.kind == "c"


def is_inexact(dtype: DType) -> bool:
    """Real or complex floating point: the types that have derivatives."""
    return dtype.kind in "fc"


def is_integer(dtype: DType) -> bool:
    return dtype.kind in "iu"


def real_of(dtype: DType) -> DType:
    """The type of the real part."""
    return _REAL.get(dtype.name, dtype)


def complex_of(dtype: DType) -> DType:
    """The complex type whose parts have the type ``dtype``."""
    return _COMPLEX.get(dtype.name, dtype)


def inexact_of(dtype: DType) -> DType:
    """The type in which a floating-point function of ``dtype`` is computed: integers and bools become float64."""
    return dtype if dtype.kind in "fc" else FLOAT64


def promote(*operands: Any) -> DType:
    """NumPy 2's common type of dtypes (strong) and Python scalars (weak).

    >>> promote(FLOAT32, 1.0), promote(INT64, 1.0), promote(FLOAT64, 1j)
    (dtype('float32'), dtype('float64'), dtype('complex128'))
    """
    return canonical(np.result_type(*operands))
