"""How many trees there are, by their generating functions.

Sources: N. J. A. Sloane, The On-Line Encyclopedia of Integer Sequences, A000081, A000151, A000055,
A000238; E. Hairer, C. Lubich and G. Wanner, Geometric Numerical Integration, sections III and VI.7.
"""

from __future__ import annotations

from fractions import Fraction


def rooted(order: int, colours: int = 1) -> list[int]:
    """Rooted trees with 1, 2, ..., ``order`` vertices, edges in some colours.

    From ``r(x) = x exp(sum_k colours r(x^k)/k)``; with vertices in colours there are ``colours``
    times as many.
    """
    counts = [0, 1]
    for size in range(1, order):
        # Euler's transform: n p(n) = sum_k s(k) p(n - k), s(k) = sum_{d | k} d colours r(d)
        powers = [
            sum(d * colours * counts[d] for d in range(1, k + 1) if k % d == 0)
            for k in range(1, size + 1)
        ]
        total = sum(powers[k - 1] * counts[size - k + 1] for k in range(1, size + 1))
        counts.append(total // size)
    return counts[1 : order + 1]


def free(order: int) -> list[int]:
    """Free trees: ``r - (r^2 - r(x^2))/2``."""
    rooted_counts = rooted(order)
    pairs, doubles = _pairs(rooted_counts), _doubles(rooted_counts)
    return [
        r - int(Fraction(a - b, 2)) for r, a, b in zip(rooted_counts, pairs, doubles, strict=True)
    ]


def oriented_free(order: int) -> list[int]:
    """Free trees with an orientation of each edge: ``r - r^2`` with edges in two colours."""
    rooted_counts = rooted(order, 2)
    return [r - a for r, a in zip(rooted_counts, _pairs(rooted_counts), strict=True)]


def non_superfluous(order: int) -> list[int]:
    """Free trees without a symmetric edge: ``free - r(x^2)``."""
    return [f - d for f, d in zip(free(order), _doubles(rooted(order)), strict=True)]


def alternating(order: int) -> list[int]:
    """Rooted trees whose vertices alternate between two colours."""
    return [2 * count for count in rooted(order)]


def _pairs(counts: list[int]) -> list[int]:
    """The coefficients of r(x)^2."""
    return [
        sum(counts[k - 1] * counts[n - k - 1] for k in range(1, n))
        for n in range(1, len(counts) + 1)
    ]


def _doubles(counts: list[int]) -> list[int]:
    """The coefficients of r(x^2)."""
    return [counts[n // 2 - 1] if n % 2 == 0 else 0 for n in range(1, len(counts) + 1)]
