"""Elementwise functions that numba lacks: on numbers in kernels, on arrays outside of them.

In: a float32, a float64 or a complex number, or, called from Python, an array.  Out: the function,
in that precision.
At a kink: ``relu(0) = step(0) = inverse(0) = 0``.  Compiled into kernels, which carry the digest of
this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

_OPTIONS: Any = {"error_model": "numpy"}
_SINGLE = tuple(map(np.float32, (0, 1, 2, math.log(2))))
_DOUBLE = (0.0, 1.0, 2.0, math.log(2))
_HUNDRED_SINGLE = np.float32(100)


def _numbers(z: Any) -> tuple[Any, ...]:
    """0, 1, 2 and log 2 in the type of an argument."""
    return _SINGLE if z == types.float32 else _DOUBLE


def relu(z: Any) -> Any:
    """The larger of z and 0."""
    return np.maximum(z, 0)


def step(z: Any) -> Any:
    """1 where z > 0, else 0."""
    return np.greater(z, 0).astype(np.result_type(z))


def greater(x: Any, y: Any) -> Any:
    """1 where x > y, else 0."""
    return np.greater(x, y).astype(np.result_type(x, y))


def at_least(x: Any, y: Any) -> Any:
    """1 where x >= y, else 0."""
    return np.greater_equal(x, y).astype(np.result_type(x, y))


def equal(x: Any, y: Any) -> Any:
    """1 where x == y, else 0."""
    return np.equal(x, y).astype(np.result_type(x, y))


def elu(z: Any) -> Any:
    """Z where it is positive, else exp(z) - 1."""
    return np.maximum(z, 0) + np.expm1(np.minimum(z, 0))


def leaky_relu(z: Any) -> Any:
    """Z where it is positive, else z / 100."""
    return np.maximum(z, 0) + np.minimum(z, 0) / 100


def inverse(z: Any) -> Any:
    """1 / z, but 0 at 0."""
    return np.where(z == 0, 0.0, 1 / np.where(z == 0, 1.0, z))


def logistic(z: Any) -> Any:
    """1 / (1 + exp(-z))."""
    from scipy import special  # which takes long to import, and kernels do without

    return special.expit(z)


def softplus(z: Any) -> Any:
    """log(1 + exp(z))."""
    return np.logaddexp(z, 0)


def log_cosh(z: Any) -> Any:
    """log(cosh(z)), without overflow."""
    return abs(z) + np.log1p(np.exp(-2 * abs(z))) - math.log(2)


def erf(z: Any) -> Any:
    """The error function."""
    from scipy import special

    return special.erf(z)


def erfc(z: Any) -> Any:
    """1 - erf(z)."""
    from scipy import special

    return special.erfc(z)


def down(z: Any) -> Any:
    """1 / max(|z|, 1): what scales an entry so that its powers are in range."""
    return 1 / np.maximum(abs(z), 1)


@overload(relu, jit_options=_OPTIONS)
def _relu(z: Any) -> Callable[[Any], Any]:
    zero, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return zero if z.real < zero else z

    return implementation


@overload(step, jit_options=_OPTIONS)
def _step(z: Any) -> Callable[[Any], Any]:
    zero, one, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return one if z.real > zero else zero

    return implementation


@overload(greater, jit_options=_OPTIONS)
def _greater(x: Any, y: Any) -> Callable[[Any, Any], Any]:
    zero, one, *_ = _numbers(x)

    def implementation(x: Any, y: Any) -> Any:
        return one if x.real > y.real else zero

    return implementation


@overload(at_least, jit_options=_OPTIONS)
def _at_least(x: Any, y: Any) -> Callable[[Any, Any], Any]:
    zero, one, *_ = _numbers(x)

    def implementation(x: Any, y: Any) -> Any:
        return one if x.real >= y.real else zero

    return implementation


@overload(equal, jit_options=_OPTIONS)
def _equal(x: Any, y: Any) -> Callable[[Any, Any], Any]:
    zero, one, *_ = _numbers(x)

    def implementation(x: Any, y: Any) -> Any:
        return one if x.real == y.real else zero

    return implementation


@overload(elu, jit_options=_OPTIONS)
def _elu(z: Any) -> Callable[[Any], Any]:
    zero, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return z if z.real > zero else np.expm1(z)

    return implementation


@overload(leaky_relu, jit_options=_OPTIONS)
def _leaky_relu(z: Any) -> Callable[[Any], Any]:
    zero, *_, hundred = (*_numbers(z), _HUNDRED_SINGLE if z == types.float32 else 100.0)

    def implementation(z: Any) -> Any:
        return z if z.real > zero else z / hundred

    return implementation


@overload(inverse, jit_options=_OPTIONS)
def _inverse(z: Any) -> Callable[[Any], Any]:
    zero, one, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return zero if z == zero else one / z

    return implementation


@overload(logistic, jit_options=_OPTIONS)
def _logistic(z: Any) -> Callable[[Any], Any]:
    _, one, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return one / (one + np.exp(-z))

    return implementation


@overload(softplus, jit_options=_OPTIONS)
def _softplus(z: Any) -> Callable[[Any], Any]:
    zero, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        positive = z.real > zero
        return (z if positive else zero) + np.log1p(np.exp(-z if positive else z))

    return implementation


@overload(log_cosh, jit_options=_OPTIONS)
def _log_cosh(z: Any) -> Callable[[Any], Any]:
    zero, _, two, log_two = _numbers(z)

    def implementation(z: Any) -> Any:
        size = z if z.real > zero else -z
        return size + np.log1p(np.exp(-two * size)) - log_two

    return implementation


@overload(erf, jit_options=_OPTIONS)
def _erf(z: Any) -> Callable[[Any], Any]:
    def implementation(z: Any) -> Any:
        return math.erf(z)

    return implementation


@overload(erfc, jit_options=_OPTIONS)
def _erfc(z: Any) -> Callable[[Any], Any]:
    def implementation(z: Any) -> Any:
        return math.erfc(z)

    return implementation


@overload(down, jit_options=_OPTIONS)
def _down(z: Any) -> Callable[[Any], Any]:
    _, one, *_ = _numbers(z)

    def implementation(z: Any) -> Any:
        return one / max(abs(z), one)

    return implementation
