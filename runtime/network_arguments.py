"""The arguments of a network: sizes, steps and parameters, checked in the user's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def dimensions(product: Any, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of each dimension of a network, those that are numbers included."""
    return _with_numbers({**product.STATES, **product.CONTROLS}, sizes)


def _with_numbers(
    shapes: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]
) -> dict[str, int]:
    numbers = {e: int(e) for shape in shapes.values() for e in shape if e.isdigit()}
    return {**sizes, **numbers}


def check_sizes(
    name: str,
    shapes: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
    declared: Mapping[str, tuple[float, str, str]],
    parameters: Mapping[str, float] | None,
) -> tuple[dict[str, int], dict[str, float]]:
    """The size of each dimension, and the value of each parameter.

    Raises:
        ValueError: with what was expected instead.
    """
    known = dict.fromkeys(e for shape in shapes.values() for e in shape if not e.isdigit())
    for given in sizes:
        if given not in known:
            raise ValueError(
                f"no dimension '{given}'; those of {name} are: {', '.join(known) or 'none'}"
            )
    for dimension in known:
        size = sizes.get(dimension)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            where = ", ".join(key for key, shape in shapes.items() if dimension in shape)
            raise ValueError(
                f"the size of the dimension '{dimension}' (of {where}) is {size!r}: a positive "
                "whole number was expected"
            )
    values = {key: float(default) for key, (default, _, _) in declared.items()}
    for key, value in (parameters or {}).items():
        if key not in values:
            names = ", ".join(values) or "none"
            raise ValueError(f"no parameter '{key}'; those of {name} are: {names}")
        values[key] = float(value)
    return _with_numbers(shapes, sizes), values


def check_network(
    product: Any,
    layers: int,
    sizes: Mapping[str, int],
    h: float | Sequence[float] | None,
    parameters: Mapping[str, float] | None,
) -> tuple[list[float], dict[str, float]]:
    """The step of each layer, and the value of each parameter.

    Raises:
        ValueError: with what was expected instead.
    """
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
        raise ValueError(f"layers = {layers!r}: a positive whole number was expected")
    shapes = {**product.STATES, **product.CONTROLS}
    _, values = check_sizes(product.NAME, shapes, sizes, product.PARAMETERS, parameters)
    if h is None:
        steps = [1.0 / layers] * layers
    else:
        steps = [float(entry) for entry in h] if isinstance(h, Sequence) else [float(h)] * layers
    if len(steps) != layers:
        raise ValueError(f"{len(steps)} steps for {layers} layers")
    for number, entry in enumerate(steps):
        if not (entry > 0 and math.isfinite(entry)):
            raise ValueError(f"the step of layer {number} is {entry}: a positive one was expected")
    return steps, values
