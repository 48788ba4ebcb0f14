"""Objectives on NumPy arrays: losses of samples, and the derived gradient.

In: a generated numba module, and numbers.  An :class:`Objective` is what :meth:`Network.gradient`
takes as a loss, once it has its data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.compiled import Compiled
from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.networks.network_arguments import check_sizes, fitting, real_type

Floats = NDArray[Any]


class Objective(Compiled):
    """A read-out of a network's last states, and a loss for each sample.

    Args:
        product: a generated numba module.
        sizes: the size of each dimension, by name.
        parameters: values of the objective's own parameters.
        dtype: ``float64`` or ``float32``.
        seed: of the weights at the beginning.

    Attributes:
        weights: arrays, to be changed in place.

    Raises:
        ValueError: an argument is out of its domain; it says which.
    """

    def __init__(
        self,
        product: ModuleType,
        sizes: Mapping[str, int],
        parameters: Mapping[str, float] | None = None,
        dtype: Any = np.float64,
        seed: int = 0,
    ) -> None:
        shapes = {**product.STATES, **product.WEIGHTS, **product.DATA}
        known, values = check_sizes(product.NAME, shapes, sizes, product.PARAMETERS, parameters)
        for name, (_, domain, _) in product.PARAMETERS.items():
            check_domain(name, values[name], domain)
        super().__init__(product, known, values, real_type(dtype))
        generator = np.random.default_rng(seed)
        self.weights: dict[str, Floats] = {}
        for name, shape in product.WEIGHTS.items():
            size = tuple(self.sizes[dimension] for dimension in shape)
            drawn = generator.standard_normal(size) / math.sqrt(size[-1] if size else 1)
            value = drawn if len(shape) == 2 else np.zeros(size)
            self.weights[name] = np.asarray(value, self.dtype)

    def evaluate(self, *arrays: Floats, seed: Any = 1.0) -> Evaluation:
        """Prediction, losses, and the gradient of the sum of the losses times ``seed``.

        Of no samples the sum is 0, and so is its gradient.

        Args:
            arrays: the states, each `(samples, size)`, then the data in their order.
            seed: a number, or one for each sample.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite or not real.
        """
        product = self.product
        shapes = {**product.STATES, **product.DATA}
        rows = {name: self.sizes[shape[0]] if shape else 1 for name, shape in shapes.items()}
        inputs = [np.asarray(array) for array in arrays]
        fits = len(inputs) == len(rows) and all(
            array.ndim == 2 and array.shape[1] == size
            for array, size in zip(inputs, rows.values(), strict=False)
        )
        if not fits or len({len(array) for array in inputs}) > 1:
            wanted = ", ".join(f"{name} (samples, {size})" for name, size in rows.items())
            shown = ", ".join(str(array.shape) for array in inputs)
            raise ValueError(f"{product.NAME} takes {wanted}, not {shown}")
        count = len(inputs[0])
        known = {
            name: np.ascontiguousarray(
                fitting(f"{name} of {product.NAME}", array, array.shape, self.dtype).T
            )
            for name, array in zip(rows, inputs, strict=True)
        }
        buffers = {
            name: np.zeros((self.sizes[shape[0]] if shape else 1, count), self.dtype)
            if batched
            else np.zeros(tuple(self.sizes[dimension] for dimension in shape), self.dtype)
            for name, (shape, batched) in product.BUFFERS.items()
        }
        numbers = np.zeros(max(1, len(product.NUMBERS)))
        shape = () if np.ndim(seed) == 0 else (count,)
        seeds = np.empty((1, count), self.dtype)
        seeds[:] = fitting("seed", seed, shape, self.dtype)
        weights = [self._weight(name) for name in product.WEIGHTS]
        if count:  # kernels begin their sums with the first sample
            product.evaluate(
                *(known[name] for name in product.STATES), *weights,
                *(known[name] for name in product.DATA), *self.parameters.values(),
                seeds, *buffers.values(), numbers,
            )  # fmt: skip
        scalars = dict(zip(product.NUMBERS, numbers, strict=False))
        gradients = {
            key: scalars[name] if name in scalars else buffers[name]
            for key, name in product.GRADIENTS.items()
        }
        return Evaluation(
            buffers[product.RESULTS["prediction"]].T,
            np.asarray(buffers[product.RESULTS["loss"]][0], np.float64),
            tuple(
                gradients[name].T if name in gradients else np.zeros((count, size), self.dtype)
                for name, size in rows.items()
                if name in product.STATES
            ),
            {name: np.asarray(gradients[name]) for name in product.WEIGHTS if name in gradients},
        )

    def _weight(self, name: str) -> Any:
        size = tuple(self.sizes[dimension] for dimension in self.product.WEIGHTS[name])
        weight = fitting(f"the weight {name}", self.weights[name], size, self.dtype)
        return float(weight) if weight.ndim == 0 else weight


class Evaluation:
    """Prediction, losses and gradients.

    Attributes:
        prediction: `(samples, size)`.
        losses: `(samples,)`.
        states: the gradient by each state, `(samples, size)`.
        weights: the gradient by each weight, summed over the samples.
    """

    def __init__(
        self,
        prediction: Floats,
        losses: Floats,
        states: tuple[Floats, ...],
        weights: dict[str, Floats],
    ) -> None:
        self.prediction, self.losses = prediction, losses
        self.states, self.weights = states, weights
