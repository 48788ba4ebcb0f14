"""Eight numbers in vector registers: every function does in each lane what it does for a number."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.runtime.core import elementary
from hamilforge.runtime.core.lanes import (
    COUNT,
    all_less,
    any_less,
    bits_of,
    in_lanes,
    of_bits,
    where_less,
)
from hamilforge.runtime.integrators.step_lengths import log2, power2

MIDDLE = np.array([0.3, -0.7, 0.05, 0.999, -0.2, 0.5, -0.999, 0.0])
ANY = np.array([1.5, -2.5, 0.0, -0.0, 1e300, -1e-310, np.inf, np.nan])
SECOND = np.array([2.5, -2.5, -0.0, 0.0, np.nan, 1.0, -np.inf, 3.0])
_MODULES = {"np": np, "elementary": elementary}
_PAIRS = {"at_least", "equal", "greater", "max", "min"}


def _function(name: str) -> Any:
    module, _, own = NumbaPrinter.functions[name].rpartition(".")
    return getattr(_MODULES[module], own) if module else abs


def _compared(function: Callable[..., Any], *arguments: tuple[Any, ...]) -> None:
    """A function on lanes beside the same on each number, for several arguments of one kind.

    A number among the arguments stays one beside lanes.
    """
    one = njit(error_model="numpy")(function)
    wide = tuple(bool(np.ndim(column)) for column in arguments[0])
    kernel = _KERNELS[wide](one)
    for columns in arguments:
        out = np.full((1, COUNT), 7.0)
        kernel(
            *(np.array([column], float) if np.ndim(column) else column for column in columns), out
        )
        full = [np.broadcast_to(column, COUNT) for column in columns]
        expected = [one(*numbers) for numbers in zip(*full, strict=True)]
        np.testing.assert_array_equal(out[0], expected)
        assert (np.signbit(out[0]) == np.signbit(expected))[~np.isnan(expected)].all()


def _of_one(one: Any) -> Any:
    @njit(error_model="numpy")
    def kernel(x: Any, out: Any) -> None:
        in_lanes(out)[0] = one(in_lanes(x)[0])

    return kernel


def _of_both(one: Any) -> Any:
    @njit(error_model="numpy")
    def kernel(x: Any, y: Any, out: Any) -> None:
        in_lanes(out)[0] = one(in_lanes(x)[0], in_lanes(y)[0])

    return kernel


def _of_the_first(one: Any) -> Any:
    @njit(error_model="numpy")
    def kernel(x: Any, y: Any, out: Any) -> None:
        in_lanes(out)[0] = one(in_lanes(x)[0], y)

    return kernel


def _of_the_second(one: Any) -> Any:
    @njit(error_model="numpy")
    def kernel(x: Any, y: Any, out: Any) -> None:
        in_lanes(out)[0] = one(x, in_lanes(y)[0])

    return kernel


_KERNELS = {
    (True,): _of_one,
    (True, True): _of_both,
    (True, False): _of_the_first,
    (False, True): _of_the_second,
}


@pytest.mark.parametrize("name", sorted(set(NumbaPrinter.functions) - _PAIRS))
def test_a_function_of_programs(name: str) -> None:
    function = _function(name)
    middle = 1 + abs(MIDDLE) if name == "acosh" else MIDDLE
    _compared(lambda x: function(x), (middle,), (ANY,))


@pytest.mark.parametrize("name", sorted(_PAIRS))
def test_a_function_of_two_numbers(name: str) -> None:
    function = _function(name)
    _compared(lambda x, y: function(x, y), (ANY, SECOND))
    _compared(lambda x, y: function(x, y), (ANY, 1.5))
    _compared(lambda x, y: function(x, y), (1.5, SECOND))


@pytest.mark.parametrize(
    "function", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
)
def test_an_operation(function: Any) -> None:
    _compared(lambda x, y: function(x, y), (ANY, SECOND))
    _compared(lambda x, y: function(x, y), (ANY, 3.0))
    _compared(lambda x, y: function(x, y), (3, SECOND))


def test_powers_with_whole_exponents() -> None:
    _compared(lambda x: x**3, (ANY,))
    _compared(lambda x: x**-2, ([*MIDDLE[:7].tolist(), 3.0],))
    _compared(lambda x: x**0, (ANY,))
    _compared(lambda x: -x, (ANY,))


def test_larger_and_smaller_without_nan() -> None:
    finite = np.nan_to_num(ANY), np.nan_to_num(SECOND)
    _compared(lambda x, y: max(x, y), finite)
    _compared(lambda x, y: min(x, y), finite)


def test_a_number_in_a_loop_becomes_lanes() -> None:
    @njit
    def total(x: Any) -> Any:
        result = 0.0
        for i in range(x.shape[0]):
            result += x[i]
        result *= 2
        return result

    @njit
    def run(x: Any, out: Any) -> None:
        out = in_lanes(out)
        out[1:2][0] = total(in_lanes(x))

    x, out = np.random.default_rng(0).normal(size=(3, COUNT)), np.zeros((2, COUNT))
    run(x, out)
    np.testing.assert_array_equal(out, [np.zeros(COUNT), 2 * (x[0] + x[1] + x[2])])


@pytest.mark.parametrize("place", range(COUNT))
@pytest.mark.parametrize("value", [1.0, 2.0, np.nan])
def test_a_comparison_is_one_of_all_lanes(place: int, value: float) -> None:
    @njit
    def compared(x: Any) -> Any:
        y = in_lanes(x)[0]
        all_of = all_less(y, 1.0), all_less(1.0, y), all_less(x[0, 0], 1.0)
        return *all_of, any_less(y, 1.0), any_less(1.0, y), any_less(x[0, 0], 1.0)

    for x in (np.zeros((1, COUNT)), np.full((1, COUNT), 3.0)):
        for changed in (False, True):
            if changed:
                x[0, place] = value
            low, high, first = x[0] < 1, x[0] > 1, x[0, 0] < 1
            expected = low.all(), high.all(), first, low.any(), high.any(), first
            assert compared(x) == expected
            assert (all_less(x[0], 1.0), any_less(1.0, x[0])) == (low.all(), high.any())


def test_lanes_are_not_compared_by_a_sign() -> None:
    @njit
    def run(x: Any) -> Any:
        return 1.0 if in_lanes(x)[0] < 1.0 else 2.0

    with pytest.raises(TypingError):
        run(np.zeros((1, COUNT)))


def test_a_choice() -> None:
    _compared(lambda x: where_less(0.0, x, x + 1, -7.0), (ANY,))
    _compared(lambda x, y: where_less(x, y, 0.0, y), (1.0, SECOND))
    _compared(lambda x, y: where_less(x, y, y, 2.0), (ANY, SECOND))
    np.testing.assert_array_equal(where_less(0.0, ANY, 1.0, 2.0), [1, 2, 2, 2, 1, 2, 1, 2])


def test_bits_and_back() -> None:
    numbers = abs(np.append(ANY[:6], [2.0, 3.0]))
    _compared(lambda x: bits_of(x), (numbers,))
    _compared(lambda x: of_bits(bits_of(x)), (numbers,))
    assert [bits_of(x) for x in numbers] == numbers.view(np.int64).astype(float).tolist()


def test_the_length_of_a_step() -> None:
    numbers = np.array([1.0, 0.3, 7e5, 1e-9, 0.0, 1e300, 3.14, 5e-324])
    _compared(lambda x: log2(x), (numbers,))
    _compared(lambda x: power2(x), (np.log2(numbers + 1e-300),))


def test_what_lanes_have_not_is_refused_when_it_is_compiled() -> None:
    @njit
    def run(x: Any) -> Any:
        return in_lanes(x)[0] // 2

    with pytest.raises(TypingError):
        run(np.zeros((1, COUNT)))
