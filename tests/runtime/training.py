"""Training in few lines: a vector cut into tensors, gradients fed, steps counted whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.core.loader import load
from tests.optimizers import MECHANICAL

from .problems import Gradient, Vector

SHAPES: tuple[tuple[int, ...], ...] = ((3, 2), (), (3,))


def parameters(
    vector: Vector,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    dtype: torch.dtype = torch.float64,
) -> list[torch.nn.Parameter]:
    """The vector as parameters of the given shapes, one after the other."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    pieces = np.split(vector, np.cumsum(sizes)[:-1])
    return [
        torch.nn.Parameter(torch.tensor(piece.reshape(shape), dtype=dtype))
        for piece, shape in zip(pieces, shapes, strict=True)
    ]


def flat(params: Iterable[torch.Tensor]) -> Vector:
    """All entries of all tensors, one after the other."""
    return np.concatenate([p.detach().double().numpy().ravel() for p in params])


def feed(params: Sequence[torch.Tensor], gradient: Gradient) -> None:
    """Give every parameter its piece of the gradient at the present point."""
    pieces = parameters(gradient(flat(params)), [tuple(p.shape) for p in params])
    for param, piece in zip(params, pieces, strict=True):
        param.grad = piece.detach().to(param.dtype)


def stages(optimizer: Any, params: Sequence[torch.Tensor], gradient: Gradient, count: int) -> None:
    """Stages, each with a fresh gradient."""
    for _ in range(count):
        feed(params, gradient)
        optimizer.step()


def steps(optimizer: Any, params: Sequence[torch.Tensor], gradient: Gradient, count: int) -> None:
    """Whole steps, each of as many stages as the method has."""
    stages(optimizer, params, gradient, count * len(optimizer.STAGES))


def points(optimizer: Any, params: Any, gradient: Gradient, count: int) -> Vector:
    """The stored points after each of ``count`` steps, shape `(count, d)`."""
    found = []
    for _ in range(count):
        steps(optimizer, params, gradient, 1)
        found.append(flat(params))
    return np.array(found)


def solutions(optimizer: Any, params: Any, gradient: Gradient, count: int) -> Vector:
    """The solutions after each of ``count`` steps, shape `(count, d)`."""
    found = []
    for _ in range(count):
        steps(optimizer, params, gradient, 1)
        with optimizer.solution():
            found.append(flat(params))
    return np.array(found)


def optimizer_class(name: str) -> Any:
    """The optimizer's class."""
    return load(name).torch_class()


#: Those made of a Hamiltonian that draw no noise: equal steps are equal, wherever they are taken.
STILL = [name for name in MECHANICAL if not load(name).module("torch").NOISE]


def kind(name: str) -> tuple[Any, ...]:
    """What of a product makes the runtime take another branch."""
    product, made = load(name).module("torch"), optimizer_class(name)
    return (
        product.SHIFTED,
        product.SCOPE,
        len(made.STAGES) > 1,
        product.START_TIME != 0.0,
        "math" in (product.coefficients.__kwdefaults__ or {}),
    )


def representatives() -> list[str]:
    """One optimizer of each kind, of those that are made of a Hamiltonian."""
    chosen: dict[tuple[Any, ...], str] = {}
    for name in STILL:
        chosen.setdefault(kind(name), name)
    return sorted(chosen.values())


def first(**properties: Any) -> str:
    """The first optimizer of the catalogue with these properties.

    Args:
        properties: ``shifted``, ``scope``, ``staged``, ``timed``.
    """
    keys = ("shifted", "scope", "staged", "timed")
    for name in STILL:
        found = dict(zip(keys, kind(name), strict=False))
        if all(found[key] == value for key, value in properties.items()):
            return name
    raise LookupError(f"no optimizer of the catalogue has {properties}")
