"""How far a network may carry two points apart: bounds for each of its layers.

In: a network that ``hf.network`` has made.  Out: the one-sided Lipschitz constant of each layer's
field, the largest step with which the layer brings points together, and what keeps it so in
training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.networks.words import Matrix, NoWordsError
from hamilforge.gen.prove.networks import contraction
from hamilforge.gen.prove.networks.contraction import Slopes
from hamilforge.runtime.networks.network_pass import Floats


@dataclass(frozen=True)
class Contractivity:
    """Bounds of the layers of a network.

    Attributes:
        nu: upper bounds of the one-sided Lipschitz constants, `(layers,)`, per unit of time.
        exact: where the bound is the constant itself, `(layers,)`.
        h: the steps, `(layers,)`.
        largest: the largest contractive step of each layer, `(layers,)`; NaN where none is known.
        radius: of the method's circle of contractivity.
    """

    nu: Floats
    exact: Floats
    h: Floats
    largest: Floats
    radius: float
    _slopes: Slopes
    _parameters: Mapping[str, float]

    @property
    def growth(self) -> float:
        """exp(sum of h nu): by how much the distance of two solutions grows at most."""
        return float(np.exp(self.h @ self.nu))

    @property
    def contractive(self) -> bool:
        """Whether every layer brings points together."""
        return bool((self.h * (1 - 1e-6) <= self.largest).all())

    def __str__(self) -> str:
        rows = ["layer         nu          h  largest contractive h"]
        for number, (nu, h, largest) in enumerate(zip(self.nu, self.h, self.largest, strict=True)):
            mark = "" if self.exact[number] else " (bound)"
            step = "none known" if math.isnan(largest) else f"{largest:.4g}"
            rows.append(f"{number:5d} {nu:10.4g} {h:10.4g} {step:>10}{mark}")
        return "\n".join([*rows, f"solutions grow apart by at most a factor {self.growth:.4g}"])

    def project_(self, network: Any) -> None:
        """Shrink the matrix of each layer whose step is too large until it is not.

        Raises:
            ValueError: no step of this field and method is known to be contractive.
        """
        name = self._matrix()
        size = _size(network)
        for number in range(network.layers):
            h = float(_steps(network)[number])
            for place, controls in _sets(network, number):
                bound = contraction.cocoercivity(self._slopes, controls, self._parameters, size)
                assert bound is not None
                if h * bound > 2 * self.radius:
                    # a word -c M'DM is quadratic in M
                    factor = math.sqrt(2 * self.radius / (h * bound))
                    if isinstance(_all(network, name), np.ndarray):
                        network.controls[name][place] *= factor
                    else:
                        network.control(name).data[place] *= factor

    def penalty(self, network: Any) -> Any:
        """``sum of max(0, h L/(2 r) - 1)^2`` over the layers, which autograd differentiates.

        Over their stages too, where these have controls of their own.

        Raises:
            ValueError: no step of this field and method is known to be contractive, or the network
                is not of torch.
        """
        import torch

        from hamilforge.runtime.networks.torch_network import Network

        if not isinstance(network, Network):
            raise ValueError("a penalty is for a network of torch, which autograd differentiates")
        name = self._matrix()
        (term,) = self._slopes.terms
        factor = abs(contraction.value(term, self._parameters)) * term.high
        norms = torch.linalg.matrix_norm(_all(network, name), 2)
        h = network.h.reshape(-1, *(1,) * (norms.dim() - 1))
        excess = h * factor * norms**2 / (2 * self.radius) - 1
        return torch.relu(excess).square().sum()

    def _matrix(self) -> str:
        term = self._slopes.gradient
        letters = term.right if term is not None else ()
        if len(letters) != 1 or not isinstance(letters[0], Matrix) or self.radius <= 0:
            raise ValueError(
                "no step is known to be contractive: that takes a field -c M' sigma(M y + b) where "
                "sigma never falls, and a method with a circle of contractivity"
            )
        return letters[0].name


def contractivity(network: Any) -> Contractivity:
    """Bounds for each layer of a network.

    Raises:
        DeclarationError: the Jacobian is no sum of products of matrices and slopes of activations.
        ValueError: the network was not made by ``hf.network``.
    """
    origin = getattr(network, "made", None)
    if origin is None:
        raise ValueError("a network was expected that hf.network has made")
    field, method, choices = origin
    declared = products.load_field(field, **choices)
    layer_method = products.load_layer_method(method)
    try:
        slopes = contraction.slopes(declared)
    except NoWordsError as error:
        raise DeclarationError.single(declared.head.source.where, str(error)) from error
    report = pipeline.check(layer_method)
    circle_radius = report["circle_radius"] if "circle_radius" in report else 0.0
    radius = math.inf if circle_radius == "inf" else float(str(circle_radius or 0.0))
    parameters = slopes.values(_parameters(network))
    size = _size(network)
    bounds, exact, largest = [], [], []
    for number in range(network.layers):
        sets = [controls for _, controls in _sets(network, number)]
        nus = [contraction.one_sided(slopes, controls, parameters, size) for controls in sets]
        constants = [
            contraction.cocoercivity(slopes, controls, parameters, size) for controls in sets
        ]
        nu, is_exact = max(nus)
        bounds.append(nu)
        exact.append(is_exact)
        if None in constants:
            largest.append(math.nan)
        else:
            constant = max(filter(None, constants), default=0.0)
            largest.append(2 * radius / constant if constant > 0 else math.inf)
    return Contractivity(
        np.array(bounds),
        np.array(exact),
        _steps(network),
        np.array(largest),
        radius,
        slopes,
        parameters,
    )


def _names(network: Any) -> list[str]:
    product = getattr(network, "product", network)
    return [*product.CONTROLS]


def _all(network: Any, name: str) -> Any:
    """A control of all layers: an array, or a tensor."""
    return network.control(name) if hasattr(network, "control") else network.controls[name]


def _sets(network: Any, number: int) -> list[tuple[tuple[int, ...], dict[str, Floats]]]:
    """The controls of a layer, or those of each of its stages, and where they are."""
    controls = {name: np.asarray(_plain(_all(network, name)), float) for name in _names(network)}
    places: list[tuple[int, ...]] = [(number,)]
    if getattr(network, "product", network).BY_STAGE:
        stages = next(iter(controls.values())).shape[1]
        places = [(number, stage) for stage in range(stages)]
    return [(place, {name: value[place] for name, value in controls.items()}) for place in places]


def _plain(array: Any) -> Any:
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def _steps(network: Any) -> Floats:
    return np.asarray(_plain(network.h), float)


def _parameters(network: Any) -> dict[str, float]:
    if hasattr(network, "control"):
        return {name: float(getattr(network, f"parameter_{name}")) for name in network.PARAMETERS}
    return dict(network.parameters)


def _size(network: Any) -> int:
    """The size of the only state."""
    product = getattr(network, "product", network)
    (shape,) = [shape for shape in product.STATES.values() if shape]
    return int(network.sizes[shape[0]])
