"""Numbers that problems draw: the same for the same seed and shape, with one version of NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.numbers import real_number, whole_number

Floats = NDArray[np.float64]


def drawn(distribution: str, shape: tuple[int, ...], seed: int) -> Floats:
    """An array of a distribution.

    Args:
        distribution: ``normal`` with variance 1, ``uniform`` in [0, 1), or ``rotation``, uniform
            among all rotations (F. Mezzadri, Notices of the AMS 54 (2007) 592-604).
        shape: of the array.
        seed: of the generator, PCG64.

    Returns:
        The array.
    """
    generator = np.random.default_rng(seed)
    if distribution == "normal":
        return np.asarray(generator.standard_normal(shape))
    if distribution == "uniform":
        return np.asarray(generator.random(shape))
    # of Q R = Z with a positive diagonal of R; then one column turned if it is a reflection
    orthogonal, triangular = np.linalg.qr(generator.standard_normal(shape))
    rotation = orthogonal * np.sign(np.diagonal(triangular))
    rotation[:, 0] *= np.linalg.det(rotation)
    return np.asarray(rotation)


def inputs(product: Any, sizes: Mapping[str, int]) -> dict[str, Floats]:
    """What the preparation of a problem reads: rows, columns and drawn arrays.

    Args:
        product: the generated module or class, with its tables.
        sizes: of its dimensions.

    Returns:
        The arrays by name.
    """
    arrays = {
        name: np.ascontiguousarray(np.indices(dimensions(shape, sizes))[axis], np.float64)
        for name, (shape, axis) in product.INDICES.items()
    }
    return arrays | {
        name: drawn(distribution, dimensions(shape, sizes), seed)
        for name, (shape, distribution, seed) in product.DRAWS.items()
    }


def dimensions(shape: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A declared shape in numbers."""
    return tuple(int(name) if name.isdigit() else sizes[name] for name in shape)


def sized(
    name: str, sizes: Mapping[str, int], parameters: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, Any]]:
    """Sizes and parameters of a problem, with those that a caller names.

    Args:
        name: of the problem.
        sizes: its own, by dimension.
        parameters: default, domain and meaning, by name.
        options: what the caller named, of both.

    Returns:
        The sizes and the values of parameters.

    Raises:
        ValueError: there is no such name, or a value is outside its domain.
    """
    unknown = [option for option in options if option not in (*sizes, *parameters)]
    if unknown:
        known = ", ".join((*sizes, *parameters)) or "nothing"
        raise ValueError(f"{name} has no {unknown[0]}; what can be chosen is {known}")
    chosen = {
        key: whole_number(key, options.get(key, default), least=1) for key, default in sizes.items()
    }
    values = {}
    for key, (default, domain, _) in parameters.items():
        values[key] = real_number(key, options.get(key, default))
        check_domain(key, values[key], domain)
    return chosen, values
