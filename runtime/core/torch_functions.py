"""Functions of generated torch modules that torch has in another form, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def plus(start: Any, *terms: tuple[Any, Tensor]) -> Any:
    """``start + factor * array + ...``, each term in one pass where its factor is a number."""
    total = start
    for factor, array in terms:
        if isinstance(factor, float) and isinstance(total, Tensor):
            total = torch.add(total, array, alpha=factor)
        else:
            total = total + factor * array
    return total


def cbrt(z: Tensor) -> Tensor:
    """The real cube root, of either sign; its derivative at 0 is infinite."""
    zero = z == 0
    size = torch.where(zero, 1.0, z).abs()
    guess = size ** (1 / 3)
    better = (2 * guess + size / (guess * guess)) / 3
    value = torch.sign(z) * torch.where(guess.isinf(), guess, better)
    return torch.where(zero, torch.where(zero, z, 1.0) ** (1 / 3), value)


def softplus(z: Tensor) -> Tensor:
    """log(1 + exp(z)); torch's own drops exp(-z) from 20 on, which float64 still sees."""
    return torch.nn.functional.softplus(z, threshold=40)


def log_cosh(z: Tensor) -> Tensor:
    """log(cosh(z)), without overflow."""
    size = z.abs()
    return size + torch.log1p(torch.exp(-2 * size)) - math.log(2)


def step(z: Any) -> Any:
    """1 where z > 0, else 0; of a tensor or a number."""
    return (z > 0).to(z.dtype) if isinstance(z, Tensor) else float(z > 0)


def greater(x: Any, y: Any) -> Any:
    """1 where x > y, else 0; of tensors and numbers."""
    return _indicated(x > y, x, y)


def at_least(x: Any, y: Any) -> Any:
    """1 where x >= y, else 0; of tensors and numbers."""
    return _indicated(x >= y, x, y)


def equal(x: Any, y: Any) -> Any:
    """1 where x == y, else 0; of tensors and numbers."""
    return _indicated(x == y, x, y)


def _indicated(holds: Any, *operands: Any) -> Any:
    """Truth as a number, in the type of what was compared."""
    tensor = next((operand for operand in operands if isinstance(operand, Tensor)), None)
    return float(holds) if tensor is None else holds.to(tensor.dtype)


def chosen(subject: Any, value: float, then: Any, otherwise: Any) -> Any:
    """A choice entry by entry, or the whole of one of two where the subject is a number.

    Args:
        subject: what is compared, a tensor or a number.
        value: the number it is compared with.
        then: where both are equal; a number becomes one of the subject's type.
        otherwise: elsewhere.

    Returns:
        The tensor, or what was chosen.
    """
    if not isinstance(subject, Tensor):
        return then if subject == value else otherwise
    if isinstance(then, int | float) and isinstance(otherwise, int | float):
        then, otherwise = (_alike(number, subject) for number in (then, otherwise))
    return torch.where(subject == value, then, otherwise)


def larger(x: Any, y: Any) -> Tensor:
    """The larger of two numbers or tensors, of which one is a tensor; NaN where one is."""
    return torch.maximum(*_tensors(x, y))


def smaller(x: Any, y: Any) -> Tensor:
    """The smaller of two numbers or tensors, of which one is a tensor; NaN where one is."""
    return torch.minimum(*_tensors(x, y))


def _tensors(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of the type of the one that has dimensions."""
    like = y if not isinstance(x, Tensor) or (isinstance(y, Tensor) and y.dim() > x.dim()) else x
    return _alike(x, like), _alike(y, like)


def _alike(value: Any, like: Tensor) -> Tensor:
    """A number or a tensor in the type and on the device of another tensor.

    A number is filled in there, since a copy from the host would wait for the device.
    """
    if isinstance(value, int | float):
        return torch.full((), value, dtype=like.dtype, device=like.device)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def inverse(z: Tensor) -> Tensor:
    """1 / z, but 0 at 0."""
    zero = z == 0
    return torch.where(zero, 0.0, 1 / torch.where(zero, 1.0, z))


def root(z: Tensor) -> Tensor:
    """The square root; its derivative at 0 is 0."""
    zero = z == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, z).sqrt())


def other_products(factors: Tensor) -> Tensor:
    """For each entry the product of all others, in the shape of the factors."""
    flat = factors.flatten()
    one = flat.new_ones(1)
    before = torch.cat([one, flat[:-1].cumprod(0)])
    after = torch.cat([one, flat[1:].flip(0).cumprod(0)]).flip(0)
    return (before * after).reshape(factors.shape)


def down(z: Tensor) -> Tensor:
    """1 / max(|z|, 1), a scale: no graph goes through it, since nothing depends on its choice."""
    return 1 / z.detach().abs().clamp(min=1)


def is_number(value: Any, number: float) -> bool:
    """Whether a scalar is this number; a tensor is none, since its graph goes on."""
    return not isinstance(value, Tensor) and value == number


#: Functions of :mod:`math` that torch has not.
_LACKING = {"cbrt": cbrt}


class TensorMath:
    """The functions and constants of :mod:`math`, on numbers and tensors."""

    pi = math.pi

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        function = _LACKING.get(name) or getattr(torch, name)
        return lambda value: function(torch.as_tensor(value, dtype=torch.float64))
