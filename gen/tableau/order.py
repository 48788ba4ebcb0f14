"""Order conditions: elementary weights over all trees, exactly.

An elementary weight is a product over subtrees, so a table of trees in which each is a smaller one
with a subtree more costs one product of functions on the stages for each tree.

Sources: J. C. Butcher, Math. Comp. 18 (1964) 50-64; W. W. Hager, Numer. Math. 87 (2000) 247-282;
J. F. Bonnans and J. Laurent-Varin, Numer. Math. 103 (2006) 1-10; J. M. Sanz-Serna, SIAM Rev. 58
(2016) 3-33.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.exact import linear
from hamilforge.gen.exact.linear import Matrix, Vector
from hamilforge.gen.exact.numbers import ONE, Number, approximately
from hamilforge.gen.tableau.stages import Stages
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import free, rooted

#: Orders beyond this are not looked at: there are 12,486 rooted trees of order 13.
MAX_ORDER = 12
#: For pairs of methods there are 18,996 trees of order 8 with two colours of vertices.
MAX_PAIR_ORDER = 8
#: There are 24,635 oriented free trees of order 10.
MAX_CONTROL_ORDER = 9


@dataclass(frozen=True, slots=True)
class Failure:
    """The first order condition that does not hold.

    Attributes:
        tree: as text: ``[. .]`` is a root with two leaves.
        order: the number of its vertices.
        residual: the elementary weight less what it should be.
    """

    tree: str
    order: int
    residual: Number


@dataclass(frozen=True, slots=True)
class Order:
    """An order, and why it is no higher.

    Attributes:
        order: the order.
        failure: the first condition that fails; None if none was met up to the largest order.
        within: the largest residual up to the order: not 0 only for published digits.
        beyond: the largest residual one order later.
        conditions: how many conditions hold.
    """

    order: int
    failure: Failure | None
    within: Fraction
    beyond: Fraction
    conditions: int

    @property
    def undecided(self) -> bool:
        """Whether no gap tells the residuals that hold from those that do not."""
        return self.beyond < 100 * self.within


def _search(
    residuals: Iterator[Sequence[Number]],
    is_zero: Callable[[Number], bool],
    name: Callable[[int, int], str],
) -> Order:
    """The order from the residuals of the conditions of orders 1, 2, ..."""
    within, conditions = Fraction(0), 0
    order = 0
    for order, defects in enumerate(residuals, start=1):
        first = next((k for k, value in enumerate(defects) if not is_zero(value)), None)
        sizes = max((abs(approximately(value, 20)) for value in defects), default=Fraction(0))
        if first is not None:
            failure = Failure(name(order, first), order, defects[first])
            return Order(order - 1, failure, within, sizes, conditions)
        within = max(within, sizes)
        conditions += len(defects)
    return Order(order, None, within, Fraction(0), conditions)


class ElementaryWeights:
    """The functions on the stages that belong to rooted trees, computed as they are asked for."""

    def __init__(self, tableau: Tableau) -> None:
        self._tableau = tableau
        self._functions: list[Vector] = []
        self._images: list[Vector] = []

    def of_order(self, order: int, weights: Vector | None = None) -> list[Number]:
        """The elementary weights of all trees of an order.

        Args:
            order: the order.
            weights: the covector of the weights; the method's own if None.
        """
        trees = rooted.table(order)
        stages, a = self._tableau.stages, self._tableau.a
        for index in range(len(self._functions), trees.starts[order + 1]):
            right = trees.right[index]
            if right < 0:
                self._functions.append(stages.one)
                continue
            while len(self._images) <= right:
                self._images.append(linear.apply(a, self._functions[len(self._images)]))
            host = self._functions[trees.left[index]]
            self._functions.append(stages.product(host, self._images[right]))
        covector = self._tableau.weights if weights is None else weights
        return [linear.dot(covector, self._functions[index]) for index in trees.of_order(order)]

    def residuals(self, order: int, weights: Vector | None = None) -> list[Number]:
        """The elementary weights less 1/gamma."""
        density = rooted.table(order).density
        elementary = self.of_order(order, weights)
        trees = rooted.table(order).of_order(order)
        return [
            value - Fraction(1, density[index])
            for index, value in zip(trees, elementary, strict=True)
        ]


def classical_order(tableau: Tableau, embedded: bool = False, highest: int = MAX_ORDER) -> Order:
    """The order of a method, or of its embedded one.

    Args:
        tableau: the method.
        embedded: whether the order is that of its embedded weights.
        highest: the largest order to look at.

    Returns:
        The order, and the first condition that fails.
    """
    weights = ElementaryWeights(tableau)
    covector = None
    if embedded:
        assert tableau.b_hat is not None
        covector = tableau.stages.functional(tableau.b_hat)
    residuals = (weights.residuals(order, covector) for order in range(1, highest + 1))

    def name(order: int, number: int) -> str:
        table = rooted.table(order)
        return str(table.tree(table.of_order(order)[number]))

    return _search(residuals, tableau.is_zero, name)


def principal_error(tableau: Tableau, order: int) -> float:
    """The norm of the error coefficients ``(Phi - 1/gamma)/sigma`` one order later.

    Where the nodes are not the row sums, over the trees of y' = f(t, y), time leaves included.
    """
    if tableau.row_sums:
        table = rooted.table(order + 1)
        residuals = ElementaryWeights(tableau).residuals(order + 1)
        symmetries = [table.symmetry[index] for index in table.of_order(order + 1)]
    else:
        residuals, symmetries = _nonautonomous(tableau).errors(order + 1)
    terms = zip(residuals, symmetries, strict=True)
    return math.hypot(*(float(approximately(value, 25) / count) for value, count in terms))


def float_residuals(
    a: NDArray[np.float64], b: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    """All residuals up to an order in floating point, in whole arrays: one pass per order.

    Args:
        a: the coefficients, `(stages, stages)`.
        b: the weights, `(stages,)`.
        order: the largest.

    Returns:
        ``Phi - 1/gamma`` for each tree up to the order, `(trees,)`, in the order of their table.
    """
    table = rooted.table(order)
    left, right = _indices(order)
    functions = np.ones((len(left), b.size))
    images = np.empty_like(functions)
    images[0] = a.sum(1)
    for size in range(2, order + 1):
        here = slice(table.starts[size], table.starts[size + 1])
        functions[here] = functions[left[here]] * images[right[here]]
        images[here] = functions[here] @ a.T
    residuals: NDArray[np.float64] = functions @ b - _weights(order)
    return residuals


@functools.cache
def _indices(order: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    table = rooted.table(order)
    return np.array(table.left), np.array(table.right)


@functools.cache
def _weights(order: int) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = 1.0 / np.array(rooted.table(order).density)
    return weights


def control_order(tableau: Tableau, transposed: Matrix, highest: int) -> Order:
    """The order for optimal control, or of the symplectic pair (A, its adjoint).

    One condition for each oriented free tree: ``sum b_i prod a_uv/b_v = e/n!`` over its edges
    u -> v, with e the number of linear extensions.

    Args:
        tableau: the method.
        transposed: what an edge from a branch to its parent applies.
        highest: the largest order to look at.

    Returns:
        The order, and the first condition that fails.
    """
    maps = (tableau.a, transposed)

    def residuals() -> Iterator[list[Number]]:
        for order in range(1, highest + 1):
            wanted = free.exact_weights(order)
            yield [
                value - weight
                for value, weight in zip(
                    _free_weights(tableau.stages, maps, tableau.weights, tableau.b, order),
                    (*wanted[0], *wanted[1]),
                    strict=True,
                )
            ]

    return _search(residuals(), tableau.is_zero, free.written)


def _free_weights(
    stages: Stages, maps: tuple[Matrix, Matrix], weights: Vector, b: Vector, order: int
) -> Iterator[Number]:
    """The weights of the oriented free trees of an order, in the order of their table."""
    inner, centred = free.rooted_table(max(order // 2, 1)), free.centred_table(order)
    messages: dict[tuple[int, int], Vector] = {}

    def message(tree: int, way: int) -> Vector:
        if (tree, way) not in messages:
            messages[tree, way] = linear.apply(maps[way], products[tree])
        return messages[tree, way]

    products = [stages.one]
    for index in range(1, len(inner.left)):
        branch = message(inner.right[index], inner.direction[index])
        products.append(stages.product(products[inner.left[index]], branch))
    whole = [stages.one]
    for index in range(1, len(centred.left)):
        branch = message(centred.right[index], centred.direction[index])
        whole.append(stages.product(whole[centred.left[index]], branch))
    for index in centred.of_order(order):
        yield linear.dot(weights, whole[index])
    for first, second in free.joined(order):
        yield linear.dot(weights, stages.product(products[first], message(second, free.DOWN)))


@dataclass(frozen=True, slots=True)
class Coupling:
    """Which elementary differentials a system in q and p has.

    Attributes:
        alternating: vertices of one colour have children of the other only.
        linear: q' is linear: vertices of q have at most one child.
    """

    alternating: bool
    linear: bool = False


COUPLED, SEPARABLE, NYSTROM = Coupling(False), Coupling(True), Coupling(True, True)


def pair_order(q: Tableau, p: Tableau, coupling: Coupling, highest: int) -> Order:
    """The order of a partitioned pair.

    One condition for each rooted tree with vertices in two colours: of all of them for
    ``q' = f(q, p)``, ``p' = g(q, p)`` (coupled); of those whose colours alternate for
    ``q' = f(p)``, ``p' = g(q)`` (separable); and of those in which vertices of q have one child at
    most for ``q' = p``, ``p' = g(q)`` (Nystrom).

    Args:
        q: the table of the positions.
        p: that of the momenta, over the same stages.
        coupling: how the two depend on each other.
        highest: the largest order to look at.

    Returns:
        The order, and the first condition that fails.
    """
    maps, nodes = (q.a, p.a), (q.c, p.c)
    weights = _Coloured(q.stages, maps, nodes, (q.weights, p.weights), coupling)

    def is_zero(number: Number) -> bool:
        return q.is_zero(number) or p.is_zero(number)

    return weights.search(highest, is_zero)


class _Coloured:
    """Elementary weights over trees with vertices in two colours."""

    def __init__(
        self,
        stages: Stages,
        maps: tuple[Matrix, Matrix],
        nodes: tuple[Vector, Vector],
        covectors: tuple[Vector, Vector],
        coupling: Coupling,
        time: bool = False,
    ) -> None:
        self._stages, self._maps, self._nodes = stages, maps, nodes
        self._covectors, self._coupling, self._time = covectors, coupling, time
        self._functions: list[Vector] = []
        self._images: list[Vector] = []
        self._counts: list[bool] = []

    def search(self, highest: int, is_zero: Callable[[Number], bool]) -> Order:
        """The order up to a largest one."""
        orders = range(1, highest + 1)
        return _search(map(self._residuals, orders), is_zero, self._name)

    def errors(self, order: int) -> tuple[list[Number], list[int]]:
        """The residuals of an order, and the symmetries of its trees."""
        residuals = [self._residuals(each) for each in range(1, order + 1)][-1]
        table = self._table(order)
        return residuals, [table.symmetry[index] for index in self._kept(order)]

    def _table(self, order: int) -> rooted.Table:
        return rooted.table(order, 2, self._coupling.alternating)

    def _kept(self, order: int) -> list[int]:
        trees = self._table(order)
        return [
            index
            for index in trees.of_order(order)
            if self._counts[index] and not (self._time and trees.colour[index])
        ]

    def _name(self, order: int, number: int) -> str:
        return str(self._table(order).tree(self._kept(order)[number]))

    def _residuals(self, order: int) -> list[Number]:
        trees = self._table(order)
        for index in range(len(self._functions), trees.starts[order + 1]):
            left, right, colour = trees.left[index], trees.right[index], trees.colour[index]
            if right < 0:
                self._functions.append(self._stages.one)
                self._counts.append(True)
                continue
            while len(self._images) <= right:
                self._images.append(self._image(trees, len(self._images)))
            crowded = self._coupling.linear and colour == 0 and trees.right[left] >= 0
            grown = self._time and colour == 1
            both = self._counts[left] and self._counts[right]
            self._counts.append(both and not crowded and not grown)
            self._functions.append(self._stages.product(self._functions[left], self._images[right]))
        return [
            linear.dot(self._covectors[trees.colour[index]], self._functions[index])
            - ONE / trees.density[index]
            for index in self._kept(order)
        ]

    def _image(self, trees: rooted.Table, index: int) -> Vector:
        colour = trees.colour[index]
        if trees.right[index] < 0:
            return self._nodes[colour]
        return linear.apply(self._maps[colour], self._functions[index])


def nonautonomous_order(tableau: Tableau, highest: int) -> Order:
    """The order for ``y' = f(t, y)`` with nodes that are not the row sums.

    Time is a second component with ``t' = 1``: its vertices are leaves, and their image is c.
    """
    return _nonautonomous(tableau).search(highest, tableau.is_zero)


def _nonautonomous(tableau: Tableau) -> _Coloured:
    sums = linear.apply(tableau.a, tableau.stages.one)
    maps, covectors = (tableau.a, tableau.a), (tableau.weights, tableau.weights)
    return _Coloured(tableau.stages, maps, (sums, tableau.c), covectors, COUPLED, time=True)
