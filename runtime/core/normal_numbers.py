"""Normal numbers from counters, compiled: an array of them for any range of entries.

The numbers are those of the interpretation, bit for bit: words of Philox 4x32-10, a block of four
for four entries, and Box and Muller's transform by sums, products, quotients and roots in a written
order that are never fused.  Words and numbers are made tile by tile, each tile by loops that
compilers turn into vectors.  Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

import hashlib
from math import factorial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Blocks of a tile; its words and numbers fit a core's first cache.
TILE = 128
#: Of Philox: what words are multiplied by in each round, and what is added to the keys after it.
MULTIPLIERS, WEYL, ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10
_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
#: Of an angle below pi/4 in a word; the rest says in which eighth of the circle it is.
ANGLE_BITS = (1 << 29) - 1
_ANGLE, _SWAP = np.uint64(ANGLE_BITS), np.uint64(1 << 29)
_LEFT, _DOWN = np.uint64(1 << 30), np.uint64(1 << 31)
_MANTISSA, _ONE_BITS, _SHIFT = np.uint64(0xFFFFFFFFFFFFF), np.uint64(1023 << 52), np.uint64(52)
#: A whole number below 2^52 in the last bits of 2^52 is that number, when 2^52 is taken away; the
#: instruction that converts one works on no vector.
_WHOLE_BITS, _WHOLE = np.uint64(0x433 << 52), 2.0**52
_RADIUS_UNIT, ANGLE_UNIT = 2.0**-32, 2.0**-29 * (np.pi / 4)
LOG2, ROOT2 = float(np.log(2.0)), float(np.sqrt(2.0))
#: Taylor coefficients: of (log((1 + s)/(1 - s)) - 2s)/(2s^3), sine and cosine.
LOGARITHM = tuple(1.0 / k for k in range(3, 15, 2))
SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(1, 6))
COSINE = tuple((-1.0) ** k / factorial(2 * k) for k in range(1, 7))
_L3, _L5, _L7, _L9, _L11, _L13 = LOGARITHM
_S1, _S2, _S3, _S4, _S5 = SINE
_C1, _C2, _C3, _C4, _C5, _C6 = COSINE


def key_of(seed: int, replica: int, name: str) -> int:
    """The 64 bits from which all numbers of a parameter follow: the first of SHA-256.

    Args:
        seed: of the user.
        replica: the rank of the process among those whose noise differs.
        name: of the parameter.

    Returns:
        A whole number below 2^64.
    """
    digest = hashlib.sha256(f"{seed}/{replica}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


@njit(error_model="numpy", cache=True)
def _words(block: Any, step: Any, high: Any, key: Any, words: Any) -> None:
    """The words of consecutive counters, `(4, blocks)`."""
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    for i in range(first.size):
        here = block + np.uint64(i)
        c0, c1, c2, c3 = here & _LOW, here >> _HALF, step, high
        k0, k1 = key & _LOW, key >> _HALF
        for _ in range(ROUNDS):
            p0, p1 = _M0 * c0, _M1 * c2
            c0, c2 = (p1 >> _HALF) ^ c1 ^ k0, (p0 >> _HALF) ^ c3 ^ k1
            c1, c3 = p1 & _LOW, p0 & _LOW
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
        first[i], second[i], third[i], fourth[i] = c0, c1, c2, c3


@njit(error_model="numpy", cache=True)
def _pairs(words: Any, angles: Any, xs: Any, ys: Any) -> None:
    """Points at radii ``sqrt(-2 log u)`` of words as numbers u between 0 and 1, and at angles.

    Radii wait for divisions and roots; the angles of the same loop are computed meanwhile.
    """
    for i in range(words.size):
        u = (np.uint64(words[i] | _WHOLE_BITS).view(np.float64) - _WHOLE + 0.5) * _RADIUS_UNIT
        bits = np.float64(u).view(np.uint64)
        mantissa = np.uint64((bits & _MANTISSA) | _ONE_BITS).view(np.float64)
        exponent = np.uint64((bits >> _SHIFT) | _WHOLE_BITS).view(np.float64) - (_WHOLE + 1023.0)
        large = mantissa > ROOT2
        m = 0.5 * mantissa if large else mantissa
        exponent = exponent + 1.0 if large else exponent
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        z2 = z * z
        p = (_L3 + _L5 * z) + z2 * ((_L7 + _L9 * z) + z2 * (_L11 + _L13 * z))
        twice = s + s
        r = np.sqrt(-2.0 * (exponent * LOG2 + (twice + twice * (z * p))))
        word = angles[i]
        part = np.uint64((word & _ANGLE) | _WHOLE_BITS).view(np.float64) - _WHOLE
        theta = (part + 0.5) * ANGLE_UNIT
        z = theta * theta
        z2 = z * z
        p = (_C1 + _C2 * z) + z2 * ((_C3 + _C4 * z) + z2 * (_C5 + _C6 * z))
        cosine = 1.0 + z * p
        p = (_S1 + _S2 * z) + z2 * ((_S3 + _S4 * z) + z2 * _S5)
        sine = theta + theta * (z * p)
        swap = (word & _SWAP) != np.uint64(0)
        x = sine if swap else cosine
        y = cosine if swap else sine
        xs[i] = r * (-x if (word & _LEFT) != np.uint64(0) else x)
        ys[i] = r * (-y if (word & _DOWN) != np.uint64(0) else y)


@njit(error_model="numpy", cache=True)
def normals(
    key: Any, step: Any, occurrence: Any, first: Any, count: Any, amplitude: Any, like: Any
) -> Any:
    """Standard normal numbers, in float64 and then rounded to a type.

    Args:
        key: of a parameter, 64 bits.
        step: its number, below 2^48.
        occurrence: which one in the step, below 2^16.
        first: the number of the first entry, in the row-major order of the whole parameter.
        count: how many.
        amplitude: by what they are multiplied: where it is 0, they are not drawn.
        like: an array of the type.

    Returns:
        `(count,)`; zeros where the amplitude is 0.
    """
    if amplitude == 0.0:
        return np.zeros(count, like.dtype)
    numbers = np.empty(count, like.dtype)
    here = np.uint64(step)
    low, high = here & _LOW, (here >> _HALF) | (np.uint64(occurrence) << np.uint64(16))
    words, tile = np.empty((4, TILE), np.uint64), np.empty((4, TILE))
    block = first // 4
    while 4 * block < first + count:
        _words(np.uint64(block), low, high, key, words)
        for pair in (0, 2):
            _pairs(words[pair], words[pair + 1], tile[pair], tile[pair + 1])
        start = 4 * block - first
        if start >= 0 and start + 4 * TILE <= count:
            part = numbers[start : start + 4 * TILE]
            for i in range(TILE):
                part[4 * i] = tile[0, i]
                part[4 * i + 1] = tile[1, i]
                part[4 * i + 2] = tile[2, i]
                part[4 * i + 3] = tile[3, i]
        else:
            for k in range(max(0, -start), min(4 * TILE, count - start)):
                numbers[start + k] = tile[k % 4, k // 4]
        block += TILE
    return numbers


@njit(error_model="numpy", cache=True)
def fill(numbers: Any, key: Any, step: Any, occurrence: Any) -> None:
    """Normal numbers for all entries of a vector.

    Args:
        numbers: the vector, overwritten.
        key: of a parameter, 64 bits.
        step: its number, below 2^48.
        occurrence: which one in the step, below 2^16.
    """
    numbers[:] = normals(key, step, occurrence, 0, numbers.size, 1.0, numbers)


def drawn(key: int, step: int, occurrence: int, count: int, dtype: Any) -> NDArray[Any]:
    """Standard normal numbers for all entries of a parameter, `(count,)`.

    Args:
        key: of the parameter, 64 bits.
        step: its number, below 2^48.
        occurrence: which one in the step, below 2^16.
        count: how many.
        dtype: float32 or float64.

    Returns:
        `(count,)`.
    """
    numbers = np.empty(count, dtype)
    fill(numbers, np.uint64(key), step, occurrence)
    return numbers
