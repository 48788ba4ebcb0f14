"""Rooted trees, one by one and as a table.

A tree of the table is a smaller tree with one more subtree grafted to its root,
``left * right`` (Butcher's product), with ``right`` the last of the root's subtrees in the order of
the table: so each tree stands in it once, and a quantity that is a product over subtrees costs one
product per tree.

Vertices may have colours; the colours of trees without are all 0.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tree:
    """A rooted tree: its subtrees in a fixed order, and the colour of its root.

    References: J. C. Butcher, Numerical Methods for Ordinary Differential Equations, 3rd ed.,
    section 3; E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary Differential Equations I,
    section II.2.
    """

    children: tuple[Tree, ...] = ()
    colour: int = 0

    @property
    def order(self) -> int:
        """The number of vertices."""
        return 1 + sum(child.order for child in self.children)

    @property
    def symmetry(self) -> int:
        """Sigma: the number of automorphisms."""
        counts = Counter(self.children)
        return math.prod(
            math.factorial(count) * child.symmetry**count for child, count in counts.items()
        )

    @property
    def density(self) -> int:
        """Gamma: the product of the orders of all subtrees."""
        return self.order * math.prod(child.density for child in self.children)

    @property
    def linear_extensions(self) -> int:
        """In how many orders the vertices can be taken, each after its parent: |t|!/gamma."""
        return math.factorial(self.order) // self.density

    @property
    def labellings(self) -> int:
        """Alpha = |t|!/(sigma gamma): monotonic labellings up to automorphism."""
        return self.linear_extensions // self.symmetry

    def __str__(self) -> str:
        mark = "tuv"[self.colour] if self.colour else ""
        if not self.children:
            return mark or "."
        return f"{mark}[{' '.join(map(str, self.children))}]"


@dataclass(frozen=True, slots=True)
class Table:
    """All rooted trees up to an order, with vertices in some colours.

    Attributes:
        left, right: for each tree the two it is made of; -1 for single vertices.
        order, symmetry, density: of each tree.
        colour: of its root.
        starts: ``starts[n]`` is the first tree of order n; there is one more at the end.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    order: tuple[int, ...]
    symmetry: tuple[int, ...]
    density: tuple[int, ...]
    colour: tuple[int, ...]
    starts: tuple[int, ...]

    def of_order(self, order: int) -> range:
        """The trees of an order."""
        return range(self.starts[order], self.starts[order + 1])

    def tree(self, index: int) -> Tree:
        """A tree of the table."""
        children = []
        while self.right[index] >= 0:
            children.append(self.tree(self.right[index]))
            index = self.left[index]
        return Tree(tuple(children), self.colour[index])


@functools.lru_cache(maxsize=64)
def table(order: int, colours: int = 1, alternating: bool = False) -> Table:
    """The table of all rooted trees up to an order.

    Args:
        order: the largest number of vertices.
        colours: how many colours a vertex can have.
        alternating: whether neighbours have different colours.

    Returns:
        The trees, by rising order.
    """
    left = [-1] * colours
    right = [-1] * colours
    orders = [1] * colours
    symmetry = [1] * colours
    density = [1] * colours
    below = [1] * colours  # the product of the densities of the root's subtrees
    times = [0] * colours  # how often the last subtree stands at the root
    colour = list(range(colours))
    starts = [0, 0, colours]
    for size in range(2, order + 1):
        for small in range(1, size):
            for grafted in range(starts[small], starts[small + 1]):
                for host in range(starts[size - small], starts[size - small + 1]):
                    if alternating and colour[host] == colour[grafted]:
                        continue
                    if right[host] > grafted:
                        continue
                    again = times[host] + 1 if right[host] == grafted else 1
                    left.append(host)
                    right.append(grafted)
                    orders.append(size)
                    times.append(again)
                    symmetry.append(symmetry[host] * symmetry[grafted] * again)
                    below.append(below[host] * density[grafted])
                    density.append(size * below[-1])
                    colour.append(colour[host])
        starts.append(len(left))
    return Table(*map(tuple, (left, right, orders, symmetry, density, colour, starts)))


def rooted_trees(order: int, colours: int = 1) -> Iterator[Tree]:
    """All rooted trees with exactly ``order`` vertices."""
    trees = table(order, colours)
    return (trees.tree(index) for index in trees.of_order(order))
