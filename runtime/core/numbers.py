"""What a user gives as a number or as an array of numbers, before a kernel sees it.

In: anything.  Out: a float, a whole number, or a float64 array of its own.  A kernel knows reals
alone; NumPy turns texts into numbers, and drops imaginary parts with a warning, so kinds are
looked at here, once for all of the runtime.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray


def real_number(name: str, value: Any) -> float:
    """A number; an array or a tensor of one entry and no axes is one too.

    Raises:
        ValueError: it is a text, a truth value, complex, or several.
    """
    if type(value) is float:
        return value
    if isinstance(value, Real) and not isinstance(value, bool | np.bool_):
        return float(value)
    refused = isinstance(value, bool | np.bool_ | str | bytes | complex) or np.ndim(value)
    try:
        if not refused and not _is_complex(value):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} = {value!r}: a number was expected") from None


def positive_number(name: str, value: Any) -> float:
    """A number that is positive and finite.

    Raises:
        ValueError: it is none.
    """
    number = real_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} = {value} is outside (0, inf)")
    return number


def finite_number(name: str, value: Any) -> float:
    """A number that is finite.

    Raises:
        ValueError: it is no number, or not finite.
    """
    number = real_number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} = {value!r}: a finite number was expected")
    return number


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number.

    Args:
        name: what the user calls it.
        value: the number.
        least: the smallest that is allowed.

    Returns:
        It, as an ``int``.

    Raises:
        ValueError: it is none, or smaller.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        kind = {0: "a whole number from 0", 1: "a positive whole number"}[least]
        raise ValueError(f"{name} = {value!r}: {kind} was expected")
    return int(value)


def real_array(name: str, value: Any) -> NDArray[np.float64]:
    """An array of reals, a copy that is the caller's own.

    Raises:
        ValueError: texts, truth values, complex or ragged entries.
    """
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value.copy()
    refusal = f"{name}: real numbers were expected, not "
    if hasattr(value, "detach"):  # a tensor, whose graph is not for NumPy
        value = value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{refusal}{type(value).__name__}") from error
    if array.dtype.kind == "O":
        array = _of_objects(array, refusal)
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex; real numbers were expected")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{refusal}the type {array.dtype}")
    return np.array(array, np.float64)


def pair(name: str, value: Any, wanted: str) -> tuple[Any, Any]:
    """Two things that a function of the user's gives together.

    Args:
        name: what gives them, as messages call it.
        value: what it gave.
        wanted: what was expected.

    Returns:
        Both.

    Raises:
        ValueError: there are not two.
    """
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ValueError(f"{name} gives {value!r}; {wanted}") from None
    return first, second


def all_finite(array: NDArray[Any]) -> bool:
    """Whether all entries are finite; of few entries in a tenth of the time that NumPy takes."""
    if array.size <= 32:
        return all(map(math.isfinite, array.ravel().tolist()))
    return bool(np.isfinite(array).all())


def _of_objects(array: NDArray[Any], refusal: str) -> NDArray[Any]:
    """Fractions and the like as floats."""
    for entry in array.flat:
        if (
            entry is None
            or isinstance(entry, bool | str | bytes)
            or _is_complex(entry)
            or np.ndim(entry)
        ):
            raise ValueError(f"{refusal}{entry!r}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{refusal}{array.tolist()!r}") from error


def _is_complex(value: Any) -> bool:
    """Whether a number, an array or a tensor is of a complex type."""
    kind = getattr(value, "dtype", None)
    return isinstance(value, complex | np.complexfloating) or "complex" in str(kind)
