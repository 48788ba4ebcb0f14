"""The arguments of a network: sizes, steps and parameters, checked in the user's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def dimensions(product: Any, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of each dimension, those that are numbers included."""
    shapes = (*product.STATES.values(), *product.CONTROLS.values())
    numbers = {entry: int(entry) for shape in shapes for entry in shape if entry.isdigit()}
    return {**sizes, **numbers}


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
    known = dict.fromkeys(e for shape in shapes.values() for e in shape if not e.isdigit())
    for name in sizes:
        if name not in known:
            raise ValueError(
                f"no dimension '{name}'; those of {product.NAME} are: {', '.join(known)}"
            )
    for name in known:
        size = sizes.get(name)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            where = ", ".join(key for key, shape in shapes.items() if name in shape)
            raise ValueError(
                f"the size of the dimension '{name}' (of {where}) is {size!r}: a positive whole "
                "number was expected"
            )
    if h is None:
        steps = [1.0 / layers] * layers
    else:
        given = [float(entry) for entry in h] if isinstance(h, Sequence) else [float(h)] * layers
        if len(given) != layers:
            raise ValueError(f"{len(given)} steps for {layers} layers")
        steps = given
    for number, entry in enumerate(steps):
        if not (entry > 0 and math.isfinite(entry)):
            raise ValueError(f"the step of layer {number} is {entry}: a positive one was expected")
    values = {name: float(default) for name, (default, _, _) in product.PARAMETERS.items()}
    for name, value in (parameters or {}).items():
        if name not in values:
            names = ", ".join(values) or "none"
            raise ValueError(f"no parameter '{name}'; those of {product.NAME} are: {names}")
        values[name] = float(value)
    return steps, values
