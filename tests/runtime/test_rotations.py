"""Rotations of thin matrices by small ones, beside SciPy's exponential of the whole matrix."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from scipy import linalg

from hamilforge.runtime.core import matrix_rotations, torch_matrices


@numba.njit
def _rotation(left, right, matrix, room, out):
    matrix_rotations.rotation(left, right, matrix, room, out)


@numba.njit
def _cayley(left, right, matrix, room, out):
    matrix_rotations.cayley(left, right, matrix, room, out)


def whole_rotation(left, right, matrix):
    return linalg.expm(left @ right.T - right @ left.T) @ matrix


def whole_cayley(left, right, matrix):
    half = (left @ right.T - right @ left.T) / 2
    one = np.eye(len(half))
    return linalg.solve(one - half, (one + half) @ matrix)


KINDS = {
    "rotation": (whole_rotation, _rotation, torch_matrices.rotation),
    "cayley": (whole_cayley, _cayley, torch_matrices.cayley),
}


def drawn(n, p, norm):
    generator = np.random.default_rng(100 * n + p)
    left, matrix = generator.standard_normal((2, n, p))
    right = np.linalg.qr(generator.standard_normal((n, p)))[0]
    return left * norm / np.linalg.norm(left, 2), right, matrix


@pytest.mark.parametrize("norm", [0.0, 1e-12, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 1), (6, 3), (3, 3), (4, 3), (20, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_matrices_give_what_the_whole_one_does(kind, n, p, norm):
    whole, kernel, torched = KINDS[kind]
    arrays = drawn(n, p, norm)
    expected = whole(*arrays)
    own = np.empty((n, p))
    kernel(*arrays, np.empty(22 * p * (p + 1)), own)
    tensor = torched(*map(torch.from_numpy, arrays)).numpy()
    tolerance = 2e-14 * (1 + norm) * np.linalg.norm(arrays[2])
    assert abs(own - expected).max() < tolerance
    assert abs(tensor - expected).max() < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_rotation_changes_is_as_exact_as_the_step_is_small(kind):
    """Differences from B come from products with P, not from a sum with the identity."""
    _, kernel, _ = KINDS[kind]
    left, right, _ = (array.astype(np.float32) for array in drawn(40, 16, 1e-3))
    single, double = right.copy(), right.astype(np.float64)
    room, own = np.empty(22 * 16 * 17, np.float32), np.empty_like(right)
    for _ in range(400):  # each point rounds once: not once for each of 32 terms
        kernel(left, single, single, room, own)
        single = own.copy()
    gram = single.T.astype(np.float64) @ single
    start = double.T @ double
    assert abs(gram - start).max() < 6e-8 * 400**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_types_and_derivatives(kind):
    _, _, torched = KINDS[kind]
    arrays = [torch.from_numpy(array) for array in drawn(5, 2, 2.0)]
    stacked = [torch.stack([array, array / 2]) for array in arrays]
    value = torched(*stacked)
    assert torch.allclose(value[0], torched(*arrays), rtol=0, atol=1e-14)
    halves = [array / 2 for array in arrays]
    assert torch.allclose(value[1], torched(*halves), rtol=0, atol=1e-14)
    single = torched(*(array.float() for array in arrays))
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), torched(*arrays), rtol=0, atol=2e-6)
    assert torch.autograd.gradcheck(torched, [array.requires_grad_() for array in arrays])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_stays_so(kind):
    _, kernel, torched = KINDS[kind]
    left, right, matrix = drawn(4, 2, 1.0)
    left[1, 1] = np.nan
    own = np.zeros((4, 2))
    kernel(left, right, matrix, np.empty(22 * 6), own)
    assert np.isnan(own).any()
    assert torched(*map(torch.from_numpy, (left, right, matrix))).isnan().any()
