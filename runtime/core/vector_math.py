"""Functions for the inner loops of generated kernels, in forms that compilers turn into vectors.

In: a float32 or a float64.  Out: the function, within 3 units in the last place; results below the
smallest normal number are 0.  Each reduces its argument to ``n log 2 + r`` and takes ``exp(r) - 1``
by a polynomial; products and sums may be fused.  Compiled into kernels, which carry the
digest of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

_OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy"}
#: (exp(r) - 1 - r) / r^2 by interpolation at Chebyshev's points of |r| <= log(2) / 2.
_I2, _I3, _I4, _I5, _I6 = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
)
_I7, _I8, _I9, _I10, _I11 = (
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)
_S2, _S3, _S4, _S5, _S6, _S7 = (np.float32(1.0 / factorial(k)) for k in range(2, 8))
#: 1 / log 2, log 2 in two parts, and the number whose addition rounds to an integer.
_PER_LOG2, _TWO_PER_LOG2 = 1.4426950408889634, 2.8853900817779268
_LOG2, _LOG2_REST = 6.93147180369123816490e-01, 1.90821492927058770e-10
_ROUND = 6755399441055744.0
_PER_LOG2_S, _LOG2_S = np.float32(1.4426950408889634), np.float32(0.693359375)
_LOG2_REST_S, _ROUND_S = np.float32(-2.12194440e-4), np.float32(12582912.0)
_ZERO_S, _ONE_S, _TWO_S, _LARGE_S = (np.float32(x) for x in (0, 1, 2, 80))
_TANH_END_S, _EXP_LOW_S, _EXP_HIGH_S = np.float32(10), np.float32(-87.33), np.float32(88.7228)
_BIAS_S, _SHIFT_S = np.int32(127), np.int32(23)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    raise NotImplementedError


def exp(x: Any) -> Any:
    """The exponential function."""
    raise NotImplementedError


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    raise NotImplementedError


@overload(tanh, jit_options=_OPTIONS)
def _tanh(x: Any) -> Callable[[Any], Any]:
    return _tanh_single if x == types.float32 else _tanh_double


@overload(exp, jit_options=_OPTIONS)
def _exp(x: Any) -> Callable[[Any], Any]:
    return _exp_single if x == types.float32 else _exp_double


@overload(logistic, jit_options=_OPTIONS)
def _logistic(x: Any) -> Callable[[Any], Any]:
    return _logistic_single if x == types.float32 else _logistic_double


def _tanh_double(x: Any) -> Any:
    # in this order of arguments a NaN stays one
    y = max(min(x, 19.5), -19.5)
    z = y + y
    rounded = y * _TWO_PER_LOG2 + _ROUND
    n = rounded - _ROUND
    r = (z - n * _LOG2) - n * _LOG2_REST
    r2 = r * r
    r4 = r2 * r2
    low = ((_I2 + _I3 * r) + (_I4 + _I5 * r) * r2) + ((_I6 + _I7 * r) + (_I8 + _I9 * r) * r2) * r4
    high = _I10 + _I11 * r
    rest = (low + high * (r4 * r4)) * r2 + r
    power = np.int64((np.float64(rounded).view(np.int64) + 1023) << 52).view(np.float64)
    grown = power * rest + (power - 1.0)
    return grown / (grown + 2.0)


def _tanh_single(x: Any) -> Any:
    y = max(min(x, _TANH_END_S), -_TANH_END_S)
    z = y + y
    rounded = z * _PER_LOG2_S + _ROUND_S
    n = rounded - _ROUND_S
    r = (z - n * _LOG2_S) - n * _LOG2_REST_S
    r2 = r * r
    low = ((_S2 + _S3 * r) + (_S4 + _S5 * r) * r2) + (_S6 + _S7 * r) * (r2 * r2)
    rest = low * r2 + r
    bits = np.float32(rounded).view(np.int32)
    power = np.int32((bits + _BIAS_S) << _SHIFT_S).view(np.float32)
    grown = power * rest + (power - _ONE_S)
    return grown / (grown + _TWO_S)


def _exp_double(x: Any) -> Any:
    z = -708.39 if x < -708.39 else x
    z = 709.0 if z > 709.0 else z
    rounded = z * _PER_LOG2 + _ROUND
    n = rounded - _ROUND
    r = (z - n * _LOG2) - n * _LOG2_REST
    r2 = r * r
    r4 = r2 * r2
    low = ((_I2 + _I3 * r) + (_I4 + _I5 * r) * r2) + ((_I6 + _I7 * r) + (_I8 + _I9 * r) * r2) * r4
    high = _I10 + _I11 * r
    rest = (low + high * (r4 * r4)) * r2 + r
    power = np.int64((np.float64(rounded).view(np.int64) + 1023) << 52).view(np.float64)
    found = power * rest + power
    kept = 0.0 if x < -708.39 else found
    return np.inf if x > 709.78 else kept


def _exp_single(x: Any) -> Any:
    z = _EXP_LOW_S if x < _EXP_LOW_S else x
    z = _EXP_HIGH_S if z > _EXP_HIGH_S else z
    rounded = z * _PER_LOG2_S + _ROUND_S
    n = rounded - _ROUND_S
    r = (z - n * _LOG2_S) - n * _LOG2_REST_S
    r2 = r * r
    low = ((_S2 + _S3 * r) + (_S4 + _S5 * r) * r2) + (_S6 + _S7 * r) * (r2 * r2)
    rest = low * r2 + r
    bits = np.float32(rounded).view(np.int32)
    # two to the 128 is no number: there, half of it is doubled in the end
    large = z > _LARGE_S
    bits = bits - np.int32(1) if large else bits
    power = np.int32((bits + _BIAS_S) << _SHIFT_S).view(np.float32)
    found = (power * rest + power) * (_TWO_S if large else _ONE_S)
    found = _ZERO_S if x < _EXP_LOW_S else found
    return np.float32(np.inf) if x > _EXP_HIGH_S else found


def _logistic_double(x: Any) -> Any:
    return 1.0 / (1.0 + exp(-x))


def _logistic_single(x: Any) -> Any:
    return _ONE_S / (_ONE_S + exp(-x))
