"""Trees: their numbers, their functions, and that each stands once."""

from __future__ import annotations

import itertools
import math
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from hamilforge.gen.trees import counts, free, rooted

KNOWN = tomllib.loads((Path(__file__).parents[1] / "expected" / "tableaux.toml").read_text())[
    "trees"
]


def test_generating_functions_give_the_known_numbers():
    found = {
        "rooted": counts.rooted(12),
        "two_coloured": [2 * count for count in counts.rooted(10, 2)],
        "oriented_rooted": counts.rooted(10, 2),
        "alternating": counts.alternating(12),
        "oriented_free": counts.oriented_free(12),
        "free": counts.free(12),
        "non_superfluous": counts.non_superfluous(10),
    }
    assert found == KNOWN


@pytest.mark.parametrize(
    ("name", "highest", "count"),
    [
        ("rooted", 12, lambda n: len(rooted.table(12).of_order(n))),
        ("two_coloured", 8, lambda n: len(rooted.table(8, 2).of_order(n))),
        ("alternating", 12, lambda n: len(rooted.table(12, 2, True).of_order(n))),
        ("oriented_rooted", 8, lambda n: len(free.rooted_table(8).of_order(n))),
        ("oriented_free", 10, free.count),
        ("free", 12, lambda n: free.count(n, free.PLAIN)),
        ("non_superfluous", 10, free.count_non_superfluous),
    ],
)
def test_enumeration_gives_the_known_numbers(name, highest, count):
    assert [count(n) for n in range(1, highest + 1)] == KNOWN[name][:highest]


def test_each_rooted_tree_stands_once():
    def canonical(tree):
        return tuple(sorted(map(canonical, tree.children)))

    trees = [tree for n in range(1, 9) for tree in rooted.rooted_trees(n)]
    assert len({canonical(tree) for tree in trees}) == len(trees)


@pytest.mark.parametrize("order", range(1, 9))
def test_functions_of_rooted_trees(order):
    table = rooted.table(order)
    for index in table.of_order(order):
        tree = table.tree(index)
        assert tree.order == order
        assert tree.symmetry == table.symmetry[index]
        assert tree.density == table.density[index]
        assert tree.linear_extensions == extensions(tree)
        assert tree.labellings * tree.symmetry == tree.linear_extensions
    labellings = sum(tree.labellings for tree in rooted.rooted_trees(order))
    assert labellings == math.factorial(order - 1)


def extensions(tree):
    """How often a random order of the vertices puts each after its parent, by the hook rule's
    recursion: interleavings of the subtrees."""
    ways, placed = 1, 0
    for child in tree.children:
        placed += child.order
        ways *= math.comb(placed, child.order) * extensions(child)
    return ways


@pytest.mark.parametrize("order", range(1, 7))
def test_linear_extensions_of_oriented_trees_are_those_counted_one_by_one(order):
    wanted = sorted(
        sum(
            all(position[u] > position[v] for u, v in edges)
            for position in itertools.permutations(range(order))
        )
        for edges in oriented_trees(order)
    )
    assert sorted(free.linear_extensions(order)) == wanted


def oriented_trees(order):
    """The oriented free trees as edge lists, one from each class of isomorphic ones."""
    found = {}
    for parents in itertools.product(*(range(v) for v in range(1, order))):
        for ways in itertools.product((0, 1), repeat=order - 1):
            edges = tuple(
                (v, parent) if way else (parent, v)
                for v, (parent, way) in enumerate(zip(parents, ways, strict=True), start=1)
            )
            found.setdefault(class_of(edges, order), edges)
    return list(found.values())


def class_of(edges, order):
    """A text that isomorphic oriented trees share: the least of those rooted at each vertex."""

    def text(vertex, before):
        branches = []
        for u, v in edges:
            if u == vertex and v != before:
                branches.append(">" + text(v, vertex))
            elif v == vertex and u != before:
                branches.append("<" + text(u, vertex))
        return "(" + "".join(sorted(branches)) + ")"

    return min(text(vertex, None) for vertex in range(order))


def test_chains_and_stars_have_the_extensions_of_chains_and_stars():
    weights = [*free.exact_weights(4)[0], *free.exact_weights(4)[1]]
    names = [free.written(4, number) for number in range(len(weights))]
    known = dict(zip(names, weights, strict=True))
    assert known["[-> ., -> ., -> .]"] == Fraction(1, 4)
    assert known["[<- ., <- ., <- .]"] == Fraction(1, 4)
    assert min(weights) == Fraction(1, 24)
