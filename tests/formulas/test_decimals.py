"""Formulas with measured numbers in them: they are printed as they were written, and multiplied out where it helps."""

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.constants
import sympy as sp

import chainrule as cr
from chainrule.formulas.decimals import Decimal, exact, folded, whole

LONG = 30.0  # seconds: nothing is left out for lack of time

PLANCK = 6.62607015e-34
BOLTZMANN = 1.380649e-23


def arrhenius(A: Any, E: Any, T: Any) -> Any:
    return A * np.exp(-E / (8.314 * T))


def antoine(T: Any) -> Any:
    return 10 ** (8.07131 - 1730.63 / (233.426 + T))


def barometric(h: Any) -> Any:
    return 101325 * (1 - h / 44330.77) ** 5.25588


def steinhart_hart(R: Any) -> Any:
    L = np.log(R)
    return 1 / (1.129148e-3 + 2.34125e-4 * L + 8.76741e-8 * L**3)


def van_der_waals(T: Any, V: Any) -> Any:
    return 8.314 * T / (V - 4.267e-5) - 0.3640 / V**2


def sellmeier(L: Any) -> Any:
    return np.sqrt(1 + 1.03961212 * L**2 / (L**2 - 0.00600069867))


def bethe_weizsaecker(A: Any, Z: Any) -> Any:
    return 15.75 * A - 17.8 * A ** (2 / 3) - 0.711 * Z**2 / A ** (1 / 3) - 23.7 * (A - 2 * Z) ** 2 / A


def magnus(T: Any) -> Any:
    return 6.112 * np.exp(17.67 * T / (T + 243.5))


def thermal_speed(T: Any, M: Any) -> Any:
    return np.sqrt(3 * 8.314 * T / M)


def planck(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(6.62607015e-34 * x / (1.380649e-23 * T)) - 1)


def planck_with_names(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(PLANCK * x / (BOLTZMANN * T)) - 1)


def planck_of_a_module(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(scipy.constants.h * x / (scipy.constants.k * T)) - 1)


def sharing_a_name(h: Any, T: Any) -> Any:
    return h**2 / (scipy.constants.h * T)


