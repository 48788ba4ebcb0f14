"""Costs of a network's controls on NumPy arrays, with their derivatives.

In: the controls of all layers and the steps.  Out: R = sum_l h_l r_l and its derivatives, where r_l
is made of the controls U_l of a layer and of their rates of change

    V_l = (U_(l+1) - U_l) / h_l,   V = 0 in the last layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.network_arguments import check_rates

Floats = NDArray[Any]
#: A cost, its derivatives by the controls, and by the steps.
Cost = tuple[float, dict[str, Floats], Floats]


def smoothness(controls: Mapping[str, Floats], h: Floats) -> Cost:
    """``r = sum |V|^2 / 2``.

    Raises:
        ValueError: a step is zero.
    """
    rates = _rates(controls, controls, h)
    values = sum(((v**2).reshape(len(h), -1).sum(1) for v in rates.values()), np.zeros(len(h))) / 2
    return _collected(values, {}, rates, rates, controls, h)


def declared(
    product: ModuleType,
    sizes: Mapping[str, int],
    controls: Mapping[str, Floats],
    parameters: Mapping[str, float],
    h: Floats,
) -> Cost:
    """``r`` as the field declares it, for a generated numba module.

    Raises:
        ValueError: a step is zero, and r has a rate of change.
    """
    weights = np.array(product.WEIGHTS)
    sets = (len(h), len(weights)) if product.BY_STAGE else (len(h),)
    rates = _rates(controls, product.RATED, h)
    given = [controls[name] for name in product.COSTED] + [*rates.values()]
    inputs = [np.ascontiguousarray(one.reshape(-1, *one.shape[len(sets) :])) for one in given]
    found = [np.zeros_like(one) for one in inputs]
    buffers = [
        np.empty([sizes[entry] for entry in shape], inputs[0].dtype)
        for shape in product.COST_BUFFERS.values()
    ]
    costs = np.empty(math.prod(sets))
    product.regularise(costs, *inputs, *parameters.values(), *buffers, *found)
    # the weight of each set of controls
    w = np.broadcast_to(weights, sets) if product.BY_STAGE else np.ones(sets)
    slopes = [
        one.reshape(like.shape) * _spread(w, like) for one, like in zip(found, given, strict=True)
    ]
    count = len(product.COSTED)
    values = (costs.reshape(sets) * w).reshape(len(h), -1).sum(1)
    by_control = dict(zip(product.COSTED, slopes[:count], strict=True))
    by_rate = dict(zip(product.RATED, slopes[count:], strict=True))
    return _collected(values, by_control, by_rate, rates, controls, h)


def _spread(values: Floats, like: Floats) -> Floats:
    """Numbers of layers in the dimensions of a control."""
    return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))


def _rates(controls: Mapping[str, Floats], names: Iterable[str], h: Floats) -> dict[str, Floats]:
    """V of some controls."""
    found = {}
    for name in names:
        check_rates(bool(h[:-1].all()))
        control = controls[name]
        rate = np.zeros_like(control)
        rate[:-1] = np.diff(control, axis=0) / _spread(h[:-1], control)
        found[name] = rate
    return found


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
    found = {}
    for name, control in controls.items():
        total = np.zeros_like(control)
        if name in by_control:
            total += _spread(h, control) * by_control[name]
        if name in by_rate:
            slope = by_rate[name]
            total[:-1] -= slope[:-1]
            total[1:] += slope[:-1]
            by_step -= (slope * rates[name]).reshape(len(h), -1).sum(1)
        found[name] = total
    return float(h @ values), found, by_step
