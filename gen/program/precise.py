"""Programs over numbers of many digits: mpmath's, at its working precision.

Arrays are NumPy's, of such numbers as objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.declare.functions import BY_NAME, PRIMITIVE
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.algebra import Algebra
from hamilforge.gen.program.reference import FLOAT64

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "at_least": lambda x, y: mpmath.mpf(x >= y),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "equal": lambda x, y: mpmath.mpf(x == y),
    "greater": lambda x, y: mpmath.mpf(x > y),
    "inverse": lambda x: 1 / x if x else mpmath.mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "log_cosh": lambda x: abs(x) + mpmath.log1p(mpmath.exp(-2 * abs(x))) - mpmath.log(2),
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)),
    "max": max,
    "min": min,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "root": mpmath.sqrt,
    "softplus": lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))),
    "step": lambda x: mpmath.mpf(x > 0),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
}


def _number(value: Any) -> Any:
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _entrywise(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function entry by entry; NaN where mpmath goes on to complex numbers."""

    def real(*args: Any) -> Any:
        if any(mpmath.isnan(arg) for arg in args):
            return mpmath.nan
        value = function(*args)
        return mpmath.nan if isinstance(value, mpmath.mpc) else value

    whole = np.frompyfunc(real, count, 1)
    return lambda *args: whole(*args)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _quotient(over: Any, under: Any) -> Any:
    """NaN where it is by zero, as in a choice whose other side is meant."""
    return over / under if under else mpmath.nan


#: mpmath's numbers and arrays of them.
PRECISE: Algebra = replace(
    FLOAT64,
    constant=_number,
    functions={
        **{
            name: _entrywise(
                _FUNCTIONS.get(name) or getattr(mpmath, name), len(BY_NAME[name].arguments)
            )
            for name in PRIMITIVE
        },
        "pi": lambda: +mpmath.pi,
        "pow": _entrywise(lambda base, exponent: base ** _number(exponent), 2),
    },
    total=lambda array: np.sum(array),
    scalar=_scalar,
    matrices=matrices.FUNCTIONS,
)

#: The same, with NaN instead of an error for what is divided by zero.
PRECISE_OR_NAN: Algebra = replace(PRECISE, divide=_entrywise(_quotient, 2))
