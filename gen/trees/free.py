"""Free trees and oriented free trees, by their centroids.

A free tree has either one centroid, a vertex whose branches all have fewer than half the vertices,
or two, joined by an edge whose removal leaves two equal halves.  So a free tree is a multiset of
small branches, or a pair of rooted trees: each is met once, without a search for isomorphisms.

A branch is a rooted tree with the direction of the edge that joins it: ``DOWN`` from the parent to
the branch, ``UP`` from the branch to the parent; trees without orientation have DOWN edges only.
The edge ``u -> v`` of an oriented tree means ``v`` before ``u``, as in the conditions for
partitioned symplectic methods and optimal control.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.exact import polynomials
from hamilforge.gen.exact.polynomials import Polynomial

DOWN, UP = 0, 1
ORIENTED = (DOWN, UP)
PLAIN = (DOWN,)


@dataclass(frozen=True, slots=True)
class Branches:
    """A product over the branches of a vertex, as a table.

    Entry k is entry ``left[k]`` with one more branch: rooted tree ``right[k]`` joined by an edge of
    direction ``direction[k]``; entry 0 is the bare vertex.

    Attributes:
        starts: ``starts[n]`` is the first entry with n vertices; one more stands at the end.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    direction: tuple[int, ...]
    starts: tuple[int, ...]

    def of_order(self, order: int) -> range:
        """The entries with ``order`` vertices."""
        return range(self.starts[order], self.starts[order + 1])

    def branches(self, index: int) -> tuple[tuple[int, int], ...]:
        """The branches of an entry, as pairs of a rooted tree and a direction."""
        branches = []
        while index:
            branches.append((self.right[index], self.direction[index]))
            index = self.left[index]
        return tuple(branches)


@functools.lru_cache(maxsize=64)
def rooted_table(order: int, directions: tuple[int, ...] = ORIENTED) -> Branches:
    """All rooted trees up to an order with edges of these directions."""
    return _table(order, directions, None)


@functools.lru_cache(maxsize=64)
def centred_table(order: int, directions: tuple[int, ...] = ORIENTED) -> Branches:
    """Vertices with branches of fewer than ``order/2`` vertices; those of ``order`` are the free
    trees with one centroid.  The branches are entries of ``rooted_table((order - 1)//2)``.
    """
    return _table(order, directions, (order - 1) // 2)


def _table(order: int, directions: tuple[int, ...], largest: int | None) -> Branches:
    left, right, direction, last = [-1], [-1], [-1], [-1]
    starts = [0, 0, 1]
    own = largest is None
    rooted = None if own else rooted_table(max(largest or 0, 1), directions)
    for size in range(2, order + 1):
        for small in range(1, size if own else min(largest or 0, size - 1) + 1):
            trees = (
                range(starts[small], starts[small + 1])
                if rooted is None
                else rooted.of_order(small)
            )
            for tree in trees:
                for way in directions:
                    branch = tree * len(directions) + way
                    for host in range(starts[size - small], starts[size - small + 1]):
                        if last[host] <= branch:
                            left.append(host)
                            right.append(tree)
                            direction.append(way)
                            last.append(branch)
        starts.append(len(left))
    return Branches(*map(tuple, (left, right, direction, starts)))


def joined(order: int, directions: tuple[int, ...] = ORIENTED) -> Iterator[tuple[int, int]]:
    """The free trees with two centroids, as pairs of rooted trees joined by an edge.

    The edge goes from the first to the second; without orientation each pair stands once.
    """
    if order % 2:
        return
    halves = rooted_table(order // 2, directions).of_order(order // 2)
    for first in halves:
        for second in halves:
            if len(directions) > 1 or first <= second:
                yield first, second


def count(order: int, directions: tuple[int, ...] = ORIENTED) -> int:
    """The number of free trees of an order, by counting them."""
    centred = len(centred_table(order, directions).of_order(order))
    return centred + sum(1 for _ in joined(order, directions))


def count_non_superfluous(order: int) -> int:
    """The number of free trees whose halves differ, if they have halves: those that bind a
    symplectic method.
    """
    centred = len(centred_table(order, PLAIN).of_order(order))
    return centred + sum(1 for first, second in joined(order, PLAIN) if first != second)


@functools.lru_cache(maxsize=64)
def exact_weights(order: int) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """e(tau)/n! of the oriented free trees: those with one centroid, and those with two.

    e is the number of linear extensions of the partial order v before u for each edge u -> v.  The
    quotient is the probability that independent uniform t satisfy ``t_v < t_u`` on every edge, an
    iterated integral of polynomials.
    """
    inner = rooted_table(max(order // 2, 1))
    products = _integrals(inner, None)
    messages = _messages(products)
    centred = _integrals(centred_table(order), messages)
    centred_weights = tuple(_mean(centred[index]) for index in centred_table(order).of_order(order))
    joined_weights = tuple(
        _mean(polynomials.multiply(products[first], messages[second, DOWN]))
        for first, second in joined(order)
    )
    return centred_weights, joined_weights


def _messages(products: list[Polynomial]) -> dict[tuple[int, int], Polynomial]:
    messages = {}
    for tree, product in enumerate(products):
        below = polynomials.integral(product)
        messages[tree, DOWN] = below
        whole = (polynomials.value(below, Fraction(1)),)
        messages[tree, UP] = polynomials.add(whole, below, -1)
    return messages


def _integrals(
    table: Branches, messages: dict[tuple[int, int], Polynomial] | None
) -> list[Polynomial]:
    known = {} if messages is None else messages
    products: list[Polynomial] = [(Fraction(1),)]
    for index in range(1, len(table.left)):
        key = (table.right[index], table.direction[index])
        if key not in known:
            known |= _messages(products)
        products.append(polynomials.multiply(products[table.left[index]], known[key]))
    return products


def _mean(polynomial: Polynomial) -> Fraction:
    return sum((c / (k + 1) for k, c in enumerate(polynomial)), Fraction(0))


def written(order: int, number: int) -> str:
    """The oriented free tree of a number in the order of :func:`exact_weights`."""
    rooted = rooted_table(max(order // 2, 1))
    centred = centred_table(order)
    ones = centred.of_order(order)
    if number < len(ones):
        return _branches(rooted, centred.branches(ones[number]))
    first, second = list(joined(order))[number - len(ones)]
    return _branches(rooted, (*rooted.branches(first), (second, DOWN)))


def _branches(rooted: Branches, branches: tuple[tuple[int, int], ...]) -> str:
    inner = (
        ("-> " if way == DOWN else "<- ") + _branches(rooted, rooted.branches(tree))
        for tree, way in branches
    )
    return f"[{', '.join(inner)}]" if branches else "."


def linear_extensions(order: int) -> list[int]:
    """E(tau) of all oriented free trees of an order."""
    centred_weights, joined_weights = exact_weights(order)
    return [int(weight * math.factorial(order)) for weight in (*centred_weights, *joined_weights)]
