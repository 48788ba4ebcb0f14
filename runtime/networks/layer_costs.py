"""Costs of a network's controls on NumPy arrays, with their derivatives.

In: the controls of all layers and the steps.  Out: R = sum_l h_l r_l and its derivatives, where r_l
is made of the controls U_l of a layer and of their rates of change

    V_l = (U_(l+1) - U_l) / h_l,   V = 0 in the last layer.

Where every stage has controls of its own, r_l is the mean of what each stage gives, and V goes from
a stage to the same stage of the next layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.networks.network_arguments import control_sets

Floats = NDArray[Any]
#: A cost, its derivatives by the controls, and by the steps.
Cost = tuple[float, dict[str, Floats], Floats]


def smoothness(product: ModuleType, controls: Mapping[str, Floats], h: Floats) -> Cost:
    """``r = sum |V|^2 / 2``.

    Args:
        product: a generated numba module.
        controls: of all layers, by name.
        h: the steps.

    Returns:
        R, its derivatives by the controls, by name and of their shapes, and those by the steps,
        `(layers,)`.

    Raises:
        ValueError: a step is not positive.
    """
    rates = _rates(controls, controls, h)
    squares = sum(
        ((rate**2).reshape(len(h), -1).sum(1) for rate in rates.values()), np.zeros(len(h))
    )
    stages = control_sets(product)
    slopes = {name: rate / stages for name, rate in rates.items()}
    return _collected(squares / (2 * stages), {}, slopes, rates, controls, h)


def declared(
    product: ModuleType,
    sizes: Mapping[str, int],
    controls: Mapping[str, Floats],
    parameters: Mapping[str, float],
    h: Floats,
) -> Cost:
    """``r`` as the field declares it.

    Args:
        product: a generated numba module.
        sizes: of each dimension, by name, those that are numbers included.
        controls: of all layers, by name, each `(layers, …)`, or `(layers, stages, …)` where every
            stage has its own.
        parameters: the values of the field's parameters, in the order of their declaration.
        h: the steps, `(layers,)`.

    Returns:
        R, its derivatives by the controls, by name and of their shapes, and those by the steps,
        `(layers,)`.

    Raises:
        ValueError: a step is not positive, and r has a rate of change.
    """
    stages = control_sets(product)
    rates = _rates(controls, product.RATED, h)
    arrays = [*(controls[name] for name in product.COSTED), *rates.values()]
    axes = 2 if product.BY_STAGE else 1
    inputs = [array.reshape(-1, *array.shape[axes:]) for array in arrays]
    derivatives = [np.zeros_like(array) for array in inputs]
    buffers = [
        np.empty([sizes[dimension] for dimension in shape], inputs[0].dtype)
        for shape in product.COST_BUFFERS.values()
    ]
    costs = np.empty(len(h) * stages)
    product.regularise(costs, *inputs, *parameters.values(), *buffers, *derivatives)
    slopes = [
        derivative.reshape(like.shape) / stages
        for derivative, like in zip(derivatives, arrays, strict=True)
    ]
    return _collected(
        costs.reshape(len(h), stages).mean(1),
        dict(zip(product.COSTED, slopes, strict=False)),
        dict(zip(product.RATED, slopes[len(product.COSTED) :], strict=True)),
        rates,
        controls,
        h,
    )


def _spread(values: Floats, like: Floats) -> Floats:
    """Numbers of layers in the dimensions of a control."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _rates(controls: Mapping[str, Floats], names: Iterable[str], h: Floats) -> dict[str, Floats]:
    """V of some controls."""
    rates = {}
    for name in names:
        if not (h[:-1] > 0).all():
            raise ValueError("a step is not positive, and what changes within it has no rate")
        control = controls[name]
        rate = np.zeros_like(control)
        rate[:-1] = np.diff(control, axis=0) / _spread(h[:-1], control)
        rates[name] = rate
    return rates


def _collected(
    values: Floats,
    by_control: Mapping[str, Floats],
    by_rate: Mapping[str, Floats],
    rates: Mapping[str, Floats],
    controls: Mapping[str, Floats],
    h: Floats,
) -> Cost:
    """R and its derivatives, from r of each layer and its derivatives."""
    by_step = values.copy()
    gradient = {}
    for name, control in controls.items():
        total = np.zeros_like(control)
        if name in by_control:
            total += _spread(h, control) * by_control[name]
        if name in by_rate:
            slope = by_rate[name]
            total[:-1] -= slope[:-1]
            total[1:] += slope[:-1]
            by_step -= (slope * rates[name]).reshape(len(h), -1).sum(1)
        gradient[name] = total
    return float(h @ values), gradient, by_step
