"""Running error analysis: what rounding may do to the entries that a function computes.

In: a function and the values it is given.  Out: for each entry of its results a bound of the
rounding errors on the way to it, so that two evaluations of the same program can be told from two
programs (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, section
3.3).  Numbers carry their error: that of a function is what it does to the ends of the interval;
sums of n entries are off by sqrt(n) roundings (N. J. Higham and T. Mary, SIAM J. Sci. Comput. 41
(2019) A2815-A2835: with high probability).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.ir import Function, Line
from hamilforge.gen.program.reference import NUMPY_FUNCTIONS

#: Roundings of a function of a library; functions that choose have none, and others one.
ROUNDINGS = 8.0
ROUNDINGS_OF = {
    **dict.fromkeys("abs at_least equal greater max min relu sign step".split(), 0.0),
    **dict.fromkeys("leaky_relu root sqrt".split(), 1.0),
}
#: Functions that libraries take as halves of exponentials, which leave the range before they do.
HALVES = frozenset(("cosh", "sinh"))


#: Integers below add without rounding, in float32 too.
LARGEST_COUNT = 2.0**23


@dataclass(frozen=True, slots=True)
class Rounded:
    """A value, and the largest error of it in units of the machine epsilon."""

    value: Any
    error: Any

    def __add__(self, other: Rounded) -> Rounded:
        value = self.value + other.value
        error = self.error + other.error
        if np.ndim(value) == 0 and not error and _is_count(self.value) and _is_count(other.value):
            return Rounded(value, 0.0)  # counts of steps are exact
        return Rounded(value, error + abs(value))

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.error)

    def __sub__(self, other: Rounded) -> Rounded:
        return self + -other

    def __mul__(self, other: Rounded) -> Rounded:
        value = self.value * other.value
        error = abs(self.value) * other.error + abs(other.value) * self.error
        return Rounded(value, error + abs(value))

    def __truediv__(self, other: Rounded) -> Rounded:
        value = np.divide(self.value, other.value)
        error = np.divide(self.error + abs(value) * other.error, abs(other.value))
        return Rounded(value, error + abs(value))


def _is_count(value: Any) -> bool:
    """Whether a number is an integer such that sums of two are exact in float32."""
    return bool(abs(value) < LARGEST_COUNT and value == int(value))


def errors(
    function: Function,
    arrays: Mapping[str, Sequence[NDArray[Any]]],
    scalars: Mapping[str, float],
    dtype: str,
    per_tensor: bool = False,
    long: bool = False,
) -> dict[str, list[NDArray[np.float64]]]:
    """Bounds of the rounding errors of a function's results.

    Args:
        function: what is run, on several tensors.
        arrays: for each array of the function its tensors, which are exact.
        scalars: the host scalars by name, rounded to the type of the arrays.
        dtype: the type of the arrays, ``float64`` or ``float32``.
        per_tensor: whether a sum runs over each tensor by itself.
        long: whether the values are known as long numbers, of which sums have a larger range.

    Returns:
        For each array that the function changes the absolute bounds, entry by entry; infinite where
        rounding decides a choice, or what a function is half of may leave the range.
    """
    eps = float(np.finfo(dtype).eps)
    exact = {
        name: [
            Rounded(tensor.astype(np.longdouble if long else np.float64), np.zeros(tensor.shape))
            for tensor in tensors
        ]
        for name, tensors in arrays.items()
    }
    with np.errstate(all="ignore"):
        numbers = {name: _number(value, dtype) for name, value in scalars.items()}
        results = run_function(function, exact, numbers, _algebra(dtype, long), per_tensor)
        return {
            name: [
                np.nan_to_num(np.asarray(entry.error * eps, np.float64), nan=np.inf, posinf=np.inf)
                for entry in entries
            ]
            for name, entries in results.items()
        }


def scalar_errors(lines: Iterable[Line], values: Mapping[str, Any]) -> dict[str, Rounded]:
    """The values of scalar lines in float64, each with its error.

    Args:
        lines: in the order of computation.
        values: of what they read: numbers, which are exact, and values with their errors.

    Returns:
        All values by name, those that were handed in included.
    """
    algebra = _algebra("float64")
    known = {
        name: value if isinstance(value, Rounded) else _number(value, "float64")
        for name, value in values.items()
    }
    with np.errstate(all="ignore"):
        for line in lines:
            known[line.name] = evaluate(line.value, known, algebra)
    return known


def _number(value: float, dtype: str) -> Rounded:
    """A number that is rounded to a type."""
    return Rounded(value, 0.0 if float(np.dtype(dtype).type(value)) == value else abs(value))


def _algebra(dtype: str, long: bool = False) -> Algebra:
    eps, largest = (float(number) for number in (np.finfo(dtype).eps, np.finfo(dtype).max))

    def call(name: str, *args: Any) -> Rounded:
        plain = NUMPY_FUNCTIONS[name]
        values = [arg.value if isinstance(arg, Rounded) else arg for arg in args]
        value = plain(*values)
        roundings: Any = ROUNDINGS_OF.get(name, ROUNDINGS)
        if long and name == "pow":  # by a logarithm with the exponent of the base
            orders = np.log2(np.where(values[0] == 0, 1, abs(values[0])))
            roundings = roundings + abs(float(values[1]) * orders)
        error = roundings * abs(value)
        if name in HALVES:
            near = (abs(value) > largest / 2) & (abs(value) <= largest)
            error = np.where(near, np.inf, error)
        for place, arg in enumerate(args):
            if isinstance(arg, Rounded) and np.any(arg.error):
                error = error + _spread(plain, values, place, arg.error * eps, value) / eps
        return Rounded(value, error)

    def total(entries: Rounded) -> Rounded:
        spread = np.finfo(np.float64).eps / eps * np.sqrt(np.size(entries.value))
        error = np.sum(entries.error) + spread * np.sum(abs(entries.value))
        return Rounded(np.sum(entries.value), error)

    def select(
        subject: Rounded,
        value: Fraction,
        then: Callable[[], Rounded],
        otherwise: Callable[[], Rounded],
    ) -> Rounded:
        equal = np.equal(subject.value, float(value))
        if np.ndim(equal) == 0 and not np.any(subject.error):
            return then() if equal else otherwise()
        yes, no = then(), otherwise()
        unsure = (abs(subject.value - float(value)) <= subject.error * eps) & (subject.error > 0)
        error = np.where(unsure, np.inf, np.where(equal, yes.error, no.error))
        return Rounded(np.where(equal, yes.value, no.value), error)

    functions = {name: partial(call, name) for name in NUMPY_FUNCTIONS}
    return Algebra(lambda value: _number(float(value), dtype), functions, total, select)


def _spread(
    function: Callable[..., Any], values: Sequence[Any], place: int, error: Any, value: Any
) -> Any:
    """How far a function moves from its value within the error of an argument."""
    moved = []
    for sign in (1, -1):
        there = [*values]
        there[place] = values[place] + sign * error
        distance = abs(function(*there) - value)
        moved.append(np.where(np.isnan(distance), 0.0, distance))
    return np.maximum(*moved)
