"""Normal numbers from counters, for torch: the same as :mod:`normal_numbers` has.

On the CPU they are made by the compiled generator.  On other devices the same words come of
torch's operations on integers, bit for bit, and the same numbers of its operations in float64, none
of which is fused: within 4 units in the last place.
"""

from __future__ import annotations

from typing import Any

import torch

from hamilforge.runtime.core import normal_numbers as reference

Tensor = torch.Tensor
_LOW = 0xFFFFFFFF
_M0, _M1 = reference.MULTIPLIERS
_W0, _W1 = reference.WEYL


def normals(
    key: int, draws: int, occurrence: int, count: int, dtype: torch.dtype, device: Any
) -> Tensor:
    """Standard normal numbers, float64 numbers rounded once.

    Args:
        key: of a parameter, 64 bits.
        draws: the number of the step, below 2^48.
        occurrence: which one in the step, below 2^16.
        count: how many.
        dtype: of the result.
        device: of the result.

    Returns:
        `(count,)`.
    """
    device = torch.device(device)
    if device.type == "cpu":
        # lower precisions are the float64 number rounded once, not a float32 rounded again
        kept = "float32" if dtype == torch.float32 else "float64"
        numbers = torch.from_numpy(reference.drawn(key, draws, occurrence, count, kept))
        return numbers.to(dtype)
    return by_operations(key, draws, occurrence, count, device).to(dtype)


def by_operations(key: int, draws: int, occurrence: int, count: int, device: Any) -> Tensor:
    """The float64 numbers by torch's operations.

    Args:
        key: of a parameter, 64 bits.
        draws: the number of the step, below 2^48.
        occurrence: which one in the step, below 2^16.
        count: how many.
        device: of the result.

    Returns:
        `(count,)`.
    """
    words = words_of(key, draws, occurrence, count, device)
    pairs = [_pair(words[0], words[1]), _pair(words[2], words[3])]
    return torch.stack([number for pair in pairs for number in pair], dim=1).flatten()[:count]


def words_of(key: int, draws: int, occurrence: int, count: int, device: Any) -> list[Tensor]:
    """The four words of each block, as integers of 64 bits.

    Products wrap around, as those of whole numbers do in two's complement; their halves are right.

    Args:
        key: of a parameter, 64 bits.
        draws: the number of the step, below 2^48.
        occurrence: which one in the step, below 2^16.
        count: of numbers, of which a block makes four.
        device: of the result.

    Returns:
        Four tensors, each with a word for each block.
    """
    blocks = torch.arange((count + 3) // 4, dtype=torch.int64, device=device)
    c0, c1 = blocks & _LOW, blocks >> 32
    c2 = torch.full_like(blocks, draws & _LOW)
    c3 = torch.full_like(blocks, (draws >> 32) | (occurrence << 16))
    k0, k1 = key & _LOW, key >> 32
    for _ in range(reference.ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c2 = ((p1 >> 32) & _LOW) ^ c1 ^ k0, ((p0 >> 32) & _LOW) ^ c3 ^ k1
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return [c0, c1, c2, c3]


def _pair(radius: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    r = _radii(radius)
    theta = ((angle & reference.ANGLE_BITS).double() + 0.5) * reference.ANGLE_UNIT
    z = theta * theta
    cosine = 1.0 + z * _polynomial(reference.COSINE, z)
    sine = theta + theta * (z * _polynomial(reference.SINE, z))
    swap, left, down = (((angle >> bit) & 1).bool() for bit in (29, 30, 31))
    x, y = torch.where(swap, sine, cosine), torch.where(swap, cosine, sine)
    return r * torch.where(left, -x, x), r * torch.where(down, -y, y)


def _radii(words: Tensor) -> Tensor:
    u = (words.double() + 0.5) * 2.0**-32
    bits = u.view(torch.int64)
    mantissa = ((bits & ((1 << 52) - 1)) | (1023 << 52)).view(torch.float64)
    exponent = ((bits >> 52) - 1023).double()
    large = mantissa > reference.ROOT2
    m = torch.where(large, 0.5 * mantissa, mantissa)
    exponent = torch.where(large, exponent + 1.0, exponent)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    twice = s + s
    logarithm = twice + twice * (z * _polynomial(reference.LOGARITHM, z))
    return torch.sqrt(-2.0 * (exponent * reference.LOG2 + logarithm))


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Any:
    """By pairs: (a + b x) + x^2 ((c + d x) + x^2 (...))."""
    a, *more = coefficients
    if not more:
        return a
    b, *rest = more
    value = a + b * x
    return value + (x * x) * _polynomial(tuple(rest), x) if rest else value
