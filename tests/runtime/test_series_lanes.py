"""What kernels of Taylor's method are told by other means than their text, and what they claim."""

import numpy as np
import pytest
from numba import njit

from hamilforge.runtime.core.lanes_type import COUNT
from hamilforge.runtime.integrators.series_lanes import add_products
from hamilforge.runtime.integrators.step_lengths import log2, power2


@njit
def _added(rows, k, first, last, left, right, result, gained, lost):
    add_products(rows, k, first, last, left, right, result, gained, lost)


@pytest.mark.parametrize("weights", [(None, None), (1.0, 0.0), (-1.0, 0.0), (-1.5, -1.0)])
@pytest.mark.parametrize(("k", "first", "last"), [(1, 0, 2), (5, 1, 6), (5, 0, 3), (4, 1, 1)])
@pytest.mark.parametrize("kind", ["real", "complex", "columns"])
def test_instructions_are_the_formula(kind, weights, k, first, last):
    rows = np.random.default_rng(0).normal(size=(7, 5 * COUNT))
    if kind == "complex":
        rows = rows + 1j * rows[::-1]
    elif kind == "columns":
        rows = np.asfortranarray(rows)
    by_formula, by_instructions = rows.copy(order="K"), rows.copy(order="K")
    for add, out in ((add_products, by_formula), (_added, by_instructions)):
        add(out, k, first, last, 3, COUNT + 5, 3 * COUNT + 1, *weights)
    size = abs(rows).max() ** 2 * max(map(abs, (k, *filter(None, weights)))) * 8 + 1
    np.testing.assert_allclose(by_instructions, by_formula, rtol=0, atol=4e-16 * size)
    changed = by_instructions != rows
    assert changed[k, 3 * COUNT + 1 : 4 * COUNT + 1].all() == (last > first)
    changed[k, 3 * COUNT + 1 : 4 * COUNT + 1] = False
    assert not changed.any()


@njit
def _logarithms(values, out):
    for i, value in enumerate(values):
        out[i] = log2(value)


@njit
def _powers(values, out):
    for i, value in enumerate(values):
        out[i] = power2(value)


def test_logarithms_and_powers_are_within_what_they_say():
    rng = np.random.default_rng(0)
    values = np.concatenate((np.exp2(rng.uniform(-1022, 1024, 4000)), np.linspace(1, 2, 4001)))
    out = np.empty_like(values)
    _logarithms(values, out)
    assert 0.042 < abs(out - np.log2(values)).max() < 0.0431
    exponents = np.concatenate((rng.uniform(-1020, 1020, 4000), np.linspace(-1, 1, 4001)))
    out = np.empty_like(exponents)
    _powers(exponents, out)
    assert 0.029 < abs(out / np.exp2(exponents) - 1).max() < 0.031


def test_logarithms_and_powers_at_the_ends():
    out = np.empty(4)
    _logarithms(np.array([0.0, 5e-324, 1.0, np.finfo(float).max]), out)
    assert out[0] < -1022
    assert -1022.96 <= out[1] < -1022  # the smallest number is no normal one
    assert abs(out[2]) < 0.0431
    assert abs(out[3] - 1024) < 0.0431
    _powers(np.array([-np.inf, -2000.0, 2000.0, np.inf]), out)
    assert out == pytest.approx([2.0**-1020, 2.0**-1020, 2.0**1020, 2.0**1020], rel=0.031)
