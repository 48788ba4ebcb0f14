"""Operations on whole vectors and matrices inside kernels, into buffers that are there.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import inner_function


@inner_function
def transposed(matrix: Any, out: Any) -> None:
    """``A'``."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = matrix[j, i]


@inner_function
def outer(left: Any, right: Any, out: Any) -> None:
    """``u v'`` of two vectors.

    Args:
        left: u, `(m,)`.
        right: v, `(d,)`.
        out: `(m, d)`; set.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = left[i] * right[j]


@inner_function
def shifted(values: Any, by: int, out: Any) -> None:
    """At each place along the first axis what is some places further, around the ring.

    Args:
        values: `(n, ...)`.
        by: how many places, of either sign.
        out: the same shape; set.
    """
    count = out.shape[0]
    for i in range(count):
        out[i] = values[(i + by) % count]


@inner_function
def other_products(factors: Any, out: Any) -> None:
    """For each entry the product of all others, from those before it and those after it.

    Args:
        factors: of any shape, contiguous.
        out: the same shape; set.
    """
    flat, products = factors.ravel(), out.ravel()
    product = flat.dtype.type(1)
    for n in range(flat.size):
        products[n] = product
        product *= flat[n]
    product = flat.dtype.type(1)
    for n in range(flat.size - 1, -1, -1):
        products[n] *= product
        product *= flat[n]
