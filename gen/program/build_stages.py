"""Tableaux become stages in the order in which they can be computed.

In: the tables, and what the parts of a field depend on.  Out: :class:`Stages`.  Values and
increments of stages are the nodes of a graph, and its strongly connected components are what has to
be solved at once.  So explicit, diagonally implicit and fully implicit methods, pairs and
compositions are one case.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from typing import Any

import mpmath

from hamilforge.gen.exact.numbers import Number, written
from hamilforge.gen.program.stages import (
    ONE,
    ZERO,
    Block,
    Coefficient,
    Increment,
    Interpolant,
    Node,
    Row,
    Stages,
    Value,
)
from hamilforge.gen.tableau.dense import continuous_weights
from hamilforge.gen.tableau.order import classical_order
from hamilforge.gen.tableau.pair import is_symplectic_pair
from hamilforge.gen.tableau.tableau import Tableau

Table = tuple[Row, ...]
Needs = Sequence[tuple[int, ...]]
_LONG = 24
_DIGITS = 50


def build_stages(
    needs: Needs, tableaux: Sequence[Tableau], canonical: bool, embedded: bool = True
) -> Stages:
    """The stages of a Runge–Kutta method, one table for each part.

    Args:
        needs: for each part, the parts that its right-hand side depends on.
        tableaux: for each part.
        canonical: whether the two parts are positions and momenta, so that a symplectic pair
            conserves their form and has its coefficients rounded accordingly.
        embedded: whether the error estimate is wanted where there is one.

    Returns:
        The stages, in the order of computation; with an error estimate and dense output where they
        are wanted and exist.
    """
    first, last = tableaux[0], tableaux[-1]
    separable = is_separable(needs)
    symplectic = canonical and is_symplectic_pair(first, last, separable)
    scaled = symplectic and all(tableau.inverse_weights is not None for tableau in tableaux)
    exact = [Entries(tableau) for tableau in tableaux]
    size = first.size
    if scaled:
        alpha = _antisymmetric(exact)[: len(tableaux)]
        scale = tuple(tuple(map(coefficient, table.b)) for table in exact)
        weights: tuple[Row, ...] = ((ONE,) * size,) * len(tableaux)
    else:
        alpha = tuple(tuple(tuple(map(coefficient, row)) for row in table.a) for table in exact)
        scale = ((ONE,) * size,) * len(tableaux)
        weights = tuple(tuple(map(coefficient, table.b)) for table in exact)
    clock = tuple(map(coefficient, exact[-1].c))
    force = tuple(map(coefficient, exact[0].c)) if separable else clock
    nodes = (clock, *(force,) * (len(tableaux) - 1))
    error = None
    error_order = 0
    interpolant = None
    if embedded and first.b_hat is not None and first is last and not symplectic:
        error = (tuple(coefficient(d) for d in exact[0].differences),) * len(tableaux)
        lower = first.embedded()
        assert lower is not None
        error_order = min(classical_order(first).order, classical_order(lower).order)
        interpolant = _interpolant(first)
    blocks = _blocks(needs, alpha, weights, error)
    return Stages(
        count=size,
        alpha=alpha,
        scale=scale,
        weights=weights,
        nodes=nodes,
        clock=clock,
        error=error,
        error_order=error_order,
        blocks=blocks,
        reuse=_reuses(first) and first is last,
        forecast=_forecast(exact, blocks),
        interpolant=interpolant,
        symplectic=symplectic,
    )


def is_separable(needs: Needs) -> bool:
    """Whether there are two parts, neither of which moves itself."""
    return len(needs) == 2 and all(part not in needed for part, needed in enumerate(needs))


class Entries:
    """The numbers of a tableau by stages, exact where they are, else in 50 digits."""

    def __init__(self, tableau: Tableau) -> None:
        if tableau.stages.modulus is None:
            self.a: Sequence[Sequence[Any]] = tableau.a
            self.b: Sequence[Any] = tableau.b
            self.c: Sequence[Any] = tableau.c
        else:
            self.a, self.b, self.c = tableau.precise
        hat = tableau.b_hat
        self.differences = (
            [b - embedded for b, embedded in zip(tableau.b, hat, strict=True)] if hat else []
        )
        clean = tableau.by_stages
        self.zero = [[clean.is_zero(entry) for entry in row] for row in clean.a]
        self.a = [
            [0 if nothing else entry for entry, nothing in zip(row, zeros, strict=True)]
            for row, zeros in zip(self.a, self.zero, strict=True)
        ]


def coefficient(number: Number | mpmath.mpf) -> Coefficient:
    """A number in double precision, with its exact text if that is short."""
    if isinstance(number, mpmath.mpf):
        return Coefficient(float(number))
    text = written(number)
    value = float(number) if number else 0.0
    return Coefficient(value, text if len(text) <= _LONG else "")


def _antisymmetric(exact: Sequence[Entries]) -> tuple[Table, ...]:
    """``a_ij/b_j`` rounded so that ``alpha_ij + alpha^_ji = 1`` holds exactly.

    The larger of the two is rounded; one minus it is then a number of double precision.
    """
    q, p = exact[0], exact[-1]
    size = range(len(q.b))

    def ratio(table: Entries, i: int, j: int) -> Coefficient:
        entry, weight = table.a[i][j], table.b[j]
        if not entry:
            return ZERO
        with mpmath.workdps(_DIGITS):
            return coefficient(entry / weight)

    left = [[ratio(q, i, j) for j in size] for i in size]
    right = [[ratio(p, i, j) for j in size] for i in size]
    for i in size:
        for j in size:
            left_ratio, right_ratio = left[i][j], right[j][i]
            if left_ratio.value >= right_ratio.value:
                right[j][i] = Coefficient(1.0 - left_ratio.value, right_ratio.exact)
            else:
                left[i][j] = Coefficient(1.0 - right_ratio.value, left_ratio.exact)
    return tuple(map(tuple, left)), tuple(map(tuple, right))


def _blocks(
    needs: Needs,
    alpha: Sequence[Table],
    weights: Sequence[Row],
    error: Sequence[Row] | None,
) -> tuple[Block, ...]:
    """Strongly connected components of what depends on what, in the order of computation."""
    parts, size = range(len(alpha)), range(len(alpha[0]))
    graph: dict[Node, list[Node]] = {}
    wanted: list[Node] = [
        Increment(j, part)
        for part in parts
        for j in size
        if weights[part][j].value or (error and error[part][j].value)
    ]
    while wanted:
        node = wanted.pop()
        if node in graph:
            continue
        if isinstance(node, Value):
            row = alpha[node.part][node.stage]
            graph[node] = [Increment(j, node.part) for j in size if row[j].value]
        else:
            graph[node] = [Value(node.stage, part) for part in needs[node.part]]
        wanted += graph[node]
    reach = {node: _reached(graph, node) for node in graph}
    component = {
        node: frozenset(reached for reached in reach[node] if node in reach[reached]) | {node}
        for node in graph
    }
    before: dict[frozenset[Node], set[frozenset[Node]]] = {}
    for node in graph:
        others = {component[needed] for needed in graph[node]} - {component[node]}
        before.setdefault(component[node], set()).update(others)
    sorter = graphlib.TopologicalSorter(before)
    sorter.prepare()
    blocks = []
    ready: list[frozenset[Node]] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=_place)
        nodes = ready.pop(0)
        blocks.append(Block(tuple(sorted(nodes, key=_node_place)), len(nodes) > 1))
        sorter.done(nodes)
    return tuple(blocks)


def _reached(graph: Mapping[Node, Sequence[Node]], node: Node) -> frozenset[Node]:
    reached: set[Node] = set()
    todo = list(graph[node])
    while todo:
        here = todo.pop()
        if here not in reached:
            reached.add(here)
            todo += graph[here]
    return frozenset(reached)


def _node_place(node: Node) -> tuple[int, int, int]:
    return node.stage, isinstance(node, Increment), node.part


def _place(nodes: frozenset[Node]) -> tuple[int, int, int]:
    return min(map(_node_place, nodes))


def _interpolant(tableau: Tableau) -> Interpolant:
    continuous = continuous_weights(tableau)
    rows = tuple(tuple(Coefficient(float(x)) for x in row) for row in continuous.coefficients)
    return Interpolant(rows, continuous.order)


def _reuses(tableau: Tableau) -> bool:
    """Whether the last stage is the end of the step, and the first its beginning."""
    if tableau.stages.modulus is not None or tableau.size < 2:
        return False
    begins = tableau.vanishes((*tableau.a[0], tableau.c[0]))
    last = zip(tableau.a[-1], tableau.b, strict=True)
    return bool(begins and tableau.vanishes(tuple(x - y for x, y in last)))


def _forecast(exact: Sequence[Entries], blocks: Sequence[Block]) -> tuple[Table, ...] | None:
    """The polynomial through the last step's increments, continued to this step's nodes."""
    solved = [block for block in blocks if len(block.increments) > 1]
    explicit = any(not block.implicit and block.increments for block in blocks)
    if not solved or explicit:
        return None
    tables = []
    for table in exact:
        with mpmath.workdps(_DIGITS):
            nodes = [mpmath.mpf(float(c)) if not isinstance(c, mpmath.mpf) else c for c in table.c]
            if len({float(node) for node in nodes}) < len(nodes) or not all(map(bool, table.b)):
                return None
            rows = []
            for node in nodes:
                factors = [
                    mpmath.fprod(
                        (1 + node - other) / (own - other)
                        for k, other in enumerate(nodes)
                        if k != j
                    )
                    for j, own in enumerate(nodes)
                ]
                rows.append(tuple(coefficient(factor) for factor in factors))
        tables.append(tuple(rows))
    return tuple(tables)
