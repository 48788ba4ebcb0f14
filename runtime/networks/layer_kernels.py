"""Products and sums of layers inside kernels: arrays are `(size, samples)`, samples side by side.

Small matrices are multiplied row by row, so that the loops run along the samples; larger ones by
BLAS.  Sums over samples may be taken in any order within a block.  Compiled into generated kernels,
which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function, summing_function

#: Entries of a matrix up to which loops are quicker than a call of BLAS.
SMALL = 64


@inner_function
def scaled(factor: Any, row: Any, out: Any) -> None:
    """``out = factor * row``.

    Args:
        factor: a number.
        row: `(samples,)`.
        out: `(samples,)`; set.
    """
    for n in range(out.size):
        out[n] = factor * row[n]


@inner_function
def add_scaled(factor: Any, row: Any, out: Any) -> None:
    """``out += factor * row``.

    Args:
        factor: a number.
        row: `(samples,)`.
        out: `(samples,)`; changed.
    """
    for n in range(out.size):
        out[n] += factor * row[n]


@inner_function
def scaled_pair(one: Any, first: Any, two: Any, second: Any, out: Any) -> None:
    """``out = one * first + two * second``.

    Args:
        one: a number.
        first: `(samples,)`.
        two: a number.
        second: `(samples,)`.
        out: `(samples,)`; set.
    """
    for n in range(out.size):
        out[n] = one * first[n] + two * second[n]


@inner_function
def add_scaled_pair(one: Any, first: Any, two: Any, second: Any, out: Any) -> None:
    """``out += one * first + two * second``.

    Args:
        one: a number.
        first: `(samples,)`.
        two: a number.
        second: `(samples,)`.
        out: `(samples,)`; changed.
    """
    for n in range(out.size):
        out[n] += one * first[n] + two * second[n]


@inner_function
def times(matrix: Any, vectors: Any, out: Any) -> None:
    """``A v`` for each sample.

    Args:
        matrix: A, `(m, d)`.
        vectors: v, `(d, samples)`.
        out: `(m, samples)`; set.
    """
    if matrix.size > SMALL:
        np.dot(matrix, vectors, out)
        return
    count = matrix.shape[1]
    for i in range(matrix.shape[0]):
        if count == 1:
            scaled(matrix[i, 0], vectors[0], out[i])
        else:
            scaled_pair(matrix[i, 0], vectors[0], matrix[i, 1], vectors[1], out[i])
        for j in range(2, count - 1, 2):
            add_scaled_pair(matrix[i, j], vectors[j], matrix[i, j + 1], vectors[j + 1], out[i])
        if count > 2 and count % 2 == 1:
            add_scaled(matrix[i, count - 1], vectors[count - 1], out[i])


@inner_function
def times_transposed(matrix: Any, vectors: Any, out: Any) -> None:
    """``A' v`` for each sample.

    Args:
        matrix: A, `(m, d)`.
        vectors: v, `(m, samples)`.
        out: `(d, samples)`; set.
    """
    if matrix.size > SMALL:
        np.dot(matrix.T, vectors, out)
        return
    count = matrix.shape[0]
    for i in range(matrix.shape[1]):
        if count == 1:
            scaled(matrix[0, i], vectors[0], out[i])
        else:
            scaled_pair(matrix[0, i], vectors[0], matrix[1, i], vectors[1], out[i])
        for j in range(2, count - 1, 2):
            add_scaled_pair(matrix[j, i], vectors[j], matrix[j + 1, i], vectors[j + 1], out[i])
        if count > 2 and count % 2 == 1:
            add_scaled(matrix[count - 1, i], vectors[count - 1], out[i])


@summing_function
def inner(one: Any, other: Any) -> Any:
    """The sum of the products of two rows."""
    found = one[0] * other[0]
    for n in range(1, one.size):
        found += one[n] * other[n]
    return found


@summing_function
def row_sum(row: Any) -> Any:
    """The sum of a row."""
    found = row[0]
    for n in range(1, row.size):
        found += row[n]
    return found


@inner_function
def add_outer(left: Any, right: Any, scratch: Any, total: Any) -> None:
    """``total += sum over the samples of u v'``.

    Args:
        left: u, `(m, samples)`.
        right: v, `(d, samples)`.
        scratch: `(m, d)`, overwritten where the product is large.
        total: `(m, d)`; changed.
    """
    if total.size > SMALL:
        np.dot(left, right.T, scratch)
        for i in range(total.shape[0]):
            add_scaled(left.dtype.type(1), scratch[i], total[i])
        return
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            total[i, j] += inner(left[i], right[j])


@inner_function
def add_rows(values: Any, total: Any) -> None:
    """``total += `` the sum over the samples."""
    for i in range(total.size):
        total[i] += row_sum(values[i])


@inner_function
def all_sum(values: Any) -> Any:
    """The sum over entries and samples."""
    found = row_sum(values[0])
    for i in range(1, values.shape[0]):
        found += row_sum(values[i])
    return found


@inner_function
def all_products(one: Any, other: Any) -> Any:
    """The sum over entries and samples of the products."""
    found = inner(one[0], other[0])
    for i in range(1, one.shape[0]):
        found += inner(one[i], other[i])
    return found


@inner_function
def entry_sums(values: Any, out: Any) -> None:
    """The sum of the entries of each sample: `(size, samples)` to `(1, samples)`."""
    row = out[0]
    scaled(values.dtype.type(1), values[0], row)
    for i in range(1, values.shape[0]):
        add_scaled(values.dtype.type(1), values[i], row)


@inner_function
def log_sums(values: Any, out: Any) -> None:
    """The logarithm of the sum of exponentials of each sample, without overflow."""
    for n in range(out.shape[1]):
        largest = values[0, n]
        for i in range(1, values.shape[0]):
            largest = max(largest, values[i, n])
        found = np.exp(values[0, n] - largest)
        for i in range(1, values.shape[0]):
            found += np.exp(values[i, n] - largest)
        out[0, n] = largest + np.log(found)


@inner_function
def add_all(values: Any, total: Any) -> None:
    """``total += values``, entry by entry."""
    flat, sums = values.ravel(), total.ravel()
    for n in range(flat.size):
        sums[n] += flat[n]


@inner_function
def copied(values: Any, out: Any) -> None:
    """``out = values``, entry by entry."""
    flat, found = values.ravel(), out.ravel()
    for n in range(flat.size):
        found[n] = flat[n]


@inner_function
def scaled_all(factor: Any, values: Any, out: Any) -> None:
    """``out = factor * values``, entry by entry.

    Args:
        factor: a number.
        values: an array of any shape.
        out: of the same shape; set.
    """
    flat, found = values.ravel(), out.ravel()
    for n in range(flat.size):
        found[n] = factor * flat[n]
