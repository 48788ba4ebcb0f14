"""A declared method becomes the step of an integrator.

In: a problem's field and a method.  Out: an :class:`Integrator`.  A Runge–Kutta method becomes
stages in the order in which they can be computed: values and increments of stages are the nodes of
a graph, and its strongly connected components are what has to be solved at once.  So explicit,
diagonally implicit and fully implicit methods, pairs and compositions are one case.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.field import VectorField, refuse_coupling, t
from hamilforge.gen.derive.scheme import WeightedFlow, constant_values, derive_scheme
from hamilforge.gen.exact.numbers import Number, written
from hamilforge.gen.program.build_problem import build_problem
from hamilforge.gen.program.integrator import (
    ONE,
    ZERO,
    Block,
    Coefficient,
    DiscreteGradient,
    Flow,
    Flows,
    Increment,
    Integrator,
    Interpolant,
    Node,
    Problem,
    Row,
    Stages,
    Step,
    Value,
)
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Ref, Select
from hamilforge.gen.program.lower import lower
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.dense import continuous_weights
from hamilforge.gen.tableau.order import classical_order
from hamilforge.gen.tableau.pair import build_pair, is_symplectic_pair
from hamilforge.gen.tableau.tableau import Tableau

Table = tuple[Row, ...]
_LONG = 24
_DIGITS = 50


def build_integrator(field: VectorField, method: kinds.Integration) -> Integrator:
    """The integrator of a problem by a method.

    Raises:
        DeclarationError: the method does not fit the problem, with the reason.
    """
    whole = isinstance(method, kinds.RungeKutta | kinds.DiscreteGradient) and not field.friction
    problem = build_problem(field, bool(whole))
    step: Step
    match method:
        case kinds.RungeKutta():
            step = _stages(field, problem, (build(method),) * len(problem.parts))
        case kinds.Partitioned():
            if len(field.parts) != 2:
                raise _refuse(
                    method,
                    f"a pair needs positions and momenta, and '{problem.name}' has none: it is a "
                    "plain system; a Runge-Kutta method fits it",
                )
            step = _stages(field, problem, build_pair(method))
        case kinds.Splitting():
            step = _flows(field, method)
        case kinds.DiscreteGradient():
            step = _discrete_gradient(field, method)
    return Integrator(f"{problem.name}__{method.head.name}", problem, step)


def _refuse(method: kinds.Integration, message: str) -> DeclarationError:
    return DeclarationError.single(method.head.source.where, message)


# --- Runge-Kutta methods and pairs ------------------------------------------------------------


def _stages(field: VectorField, problem: Problem, tableaux: Sequence[Tableau]) -> Stages:
    first, last = tableaux[0], tableaux[-1]
    separable = field.separable
    symplectic = len(field.parts) == 2 and is_symplectic_pair(first, last, separable)
    scaled = symplectic and all(one.inverse_weights is not None for one in tableaux)
    exact = [_Entries(one) for one in tableaux]
    size = first.size
    if scaled:
        alpha = _antisymmetric(exact)[: len(tableaux)]
        scale = tuple(tuple(map(_coefficient, one.b)) for one in exact)
        weights: tuple[Row, ...] = ((ONE,) * size,) * len(tableaux)
    else:
        alpha = tuple(tuple(tuple(map(_coefficient, row)) for row in one.a) for one in exact)
        scale = ((ONE,) * size,) * len(tableaux)
        weights = tuple(tuple(map(_coefficient, one.b)) for one in exact)
    clock = tuple(map(_coefficient, exact[-1].c))
    force = tuple(map(_coefficient, exact[0].c)) if separable else clock
    nodes = (clock, force) if len(tableaux) == 2 else (clock,)
    error = None
    error_order = 0
    interpolant = None
    if first.b_hat is not None and first is last and not symplectic:
        error = (tuple(_coefficient(d) for d in exact[0].differences),) * len(tableaux)
        embedded = first.embedded()
        assert embedded is not None
        error_order = min(classical_order(first).order, classical_order(embedded).order)
        interpolant = _interpolant(first)
    blocks = _blocks(problem, alpha, weights, error)
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


class _Entries:
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
            [b - other for b, other in zip(tableau.b, hat, strict=True)] if hat else []
        )
        clean = tableau.by_stages
        self.zero = [[clean.is_zero(entry) for entry in row] for row in clean.a]
        self.a = [
            [0 if nothing else entry for entry, nothing in zip(row, zeros, strict=True)]
            for row, zeros in zip(self.a, self.zero, strict=True)
        ]


def _coefficient(number: Number | mpmath.mpf) -> Coefficient:
    """A number in double precision, with its exact text if that is short."""
    if isinstance(number, mpmath.mpf):
        return Coefficient(float(number))
    text = written(number)
    value = float(number) if number else 0.0
    return Coefficient(value, text if len(text) <= _LONG else "")


def _antisymmetric(exact: Sequence[_Entries]) -> tuple[Table, ...]:
    """``a_ij/b_j`` rounded so that ``alpha_ij + alpha^_ji = 1`` holds exactly.

    The larger of the two is rounded; one minus it is then a number of double precision.
    """
    q, p = exact[0], exact[-1]
    size = range(len(q.b))

    def ratio(table: _Entries, i: int, j: int) -> Coefficient:
        entry, weight = table.a[i][j], table.b[j]
        if not entry:
            return ZERO
        with mpmath.workdps(_DIGITS):
            return _coefficient(entry / weight)

    left = [[ratio(q, i, j) for j in size] for i in size]
    right = [[ratio(p, i, j) for j in size] for i in size]
    for i in size:
        for j in size:
            one, other = left[i][j], right[j][i]
            if one.value >= other.value:
                right[j][i] = Coefficient(1.0 - one.value, other.exact)
            else:
                left[i][j] = Coefficient(1.0 - other.value, one.exact)
    return tuple(map(tuple, left)), tuple(map(tuple, right))


def _blocks(
    problem: Problem,
    alpha: Sequence[Table],
    weights: Sequence[Row],
    error: Sequence[Row] | None,
) -> tuple[Block, ...]:
    """Strongly connected components of what depends on what, in the order of computation."""
    parts, size = range(len(alpha)), range(len(alpha[0]))
    needs = [part.needs for part in problem.parts]
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
        node: frozenset(other for other in reach[node] if node in reach[other]) | {node}
        for node in graph
    }
    before: dict[frozenset[Node], set[frozenset[Node]]] = {}
    for node in graph:
        others = {component[other] for other in graph[node]} - {component[node]}
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
    found: set[Node] = set()
    todo = list(graph[node])
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo += graph[here]
    return frozenset(found)


def _node_place(node: Node) -> tuple[int, int, int]:
    return node.stage, isinstance(node, Increment), node.part


def _place(nodes: frozenset[Node]) -> tuple[int, int, int]:
    return min(map(_node_place, nodes))


def _interpolant(tableau: Tableau) -> Interpolant:
    found = continuous_weights(tableau)
    rows = tuple(tuple(Coefficient(float(x)) for x in row) for row in found.coefficients)
    return Interpolant(rows, found.order)


def _reuses(tableau: Tableau) -> bool:
    """Whether the last stage is the end of the step, and the first its beginning."""
    if tableau.stages.modulus is not None or tableau.size < 2:
        return False
    begins = tableau.vanishes((*tableau.a[0], tableau.c[0]))
    last = zip(tableau.a[-1], tableau.b, strict=True)
    return bool(begins and tableau.vanishes(tuple(x - y for x, y in last)))


def _forecast(exact: Sequence[_Entries], blocks: Sequence[Block]) -> tuple[Table, ...] | None:
    """The polynomial through the last step's increments, continued to this step's nodes."""
    solved = [block for block in blocks if len(block.increments) > 1]
    explicit = any(not block.implicit and block.increments for block in blocks)
    if not solved or explicit:
        return None
    tables = []
    for one in exact:
        with mpmath.workdps(_DIGITS):
            nodes = [mpmath.mpf(float(c)) if not isinstance(c, mpmath.mpf) else c for c in one.c]
            if len({float(node) for node in nodes}) < len(nodes) or not all(map(bool, one.b)):
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
                rows.append(tuple(_coefficient(factor) for factor in factors))
        tables.append(tuple(rows))
    return tuple(tables)


# --- splittings ------------------------------------------------------------


def _flows(field: VectorField, method: kinds.Splitting) -> Flows:
    if len(field.parts) != 2:
        raise _refuse(
            method,
            f"a splitting needs H = K(p, t) + V(q, t), and '{field.problem.head.name}' is a plain "
            "system; a Runge-Kutta method fits it",
        )
    if not field.separable:
        raise refuse_coupling(field)
    scheme = derive_scheme(method, {})
    values = constant_values(scheme.constants)

    def number(weight: Expr) -> Coefficient:
        found = weight.xreplace(values)
        text = str(found) if found.is_Rational else ""
        return Coefficient(float(sp.N(found, 30)), text)

    timed = [any(value.has(t) for value in part.values) for part in field.parts]
    damped = field.friction != 0
    letters = {flow.letter for flow in scheme.flows}
    if (any(timed) or damped) and not letters & {"D", "BD"}:
        raise _refuse(method, "no flow advances the time, which the problem depends on: D or BD")
    if timed[1] and "BD" in letters:
        raise _refuse(
            method,
            "the flow BD has no closed form for a force that depends on t; use the letters B and D",
        )
    flows: list[tuple[WeightedFlow, Expr]] = []
    clock: Expr = sp.S.Zero
    for flow in scheme.flows:
        start = clock
        if "D" in flow.letter:
            clock = clock + flow.weight
        letter = flow.letter if damped else flow.letter.replace("D", "")
        if not letter:
            continue
        moves_in_time = timed["AB".index(letter)] if letter in "AB" else True
        if flows and flows[-1][0].letter == letter and not moves_in_time:
            flow = WeightedFlow(letter, flows[-1][0].weight + flow.weight)
            start = flows.pop()[1]
        flows.append((WeightedFlow(letter, flow.weight), start))
    kept = not timed[1]
    found = []
    for k, (flow, start) in enumerate(flows):
        at_same_place = kept and "B" in flow.letter and _same_place(flows, k)
        found.append(
            Flow(
                flow.letter,
                number(flow.weight),
                number(start),
                number(start + flow.weight),
                at_same_place,
            )
        )
    impulse = _impulse(field) if damped and "BD" in letters else None
    return Flows(tuple(found), impulse)


def _same_place(flows: Sequence[tuple[WeightedFlow, Expr]], k: int) -> bool:
    """Whether the kick before, perhaps of the step before, was at the same positions."""
    for back in range(1, len(flows) + 1):
        letter = flows[(k - back) % len(flows)][0].letter
        if letter == "A":
            return False
        if "B" in letter:
            return True
    return False


def _impulse(field: VectorField) -> IrExpr:
    """Int decay(u, stop) du from ``start`` to ``stop``: what a kick with friction adds up to.

    Where a parameter may vanish and the closed form is 0/0 there, its limit is taken.
    """
    start, stop, u = (sp.Dummy(name, real=True) for name in ("start", "stop", "u"))
    integral = sp.integrate(field.decay(u, stop), u)
    if integral.has(sp.Integral, sp.Piecewise):
        raise DeclarationError.single(
            field.problem.head.source.where,
            f"a kick with friction {field.friction} (letters BD) has no elementary integral",
            "friction",
        )
    whole = sp.simplify(integral.xreplace({u: stop}) - integral.xreplace({u: start}))
    names = {start: "start", stop: "stop"}
    found = lower(whole, names)
    for entry, symbol in zip(field.problem.parameters, field.parameters, strict=True):
        if entry.domain in ("nonnegative", "unit-interval", "real") and whole.has(symbol):
            there = whole.subs(symbol, 0)
            if there.has(sp.nan, sp.zoo, sp.oo):
                limit = lower(sp.limit(whole, symbol, 0), names)
                found = Select(Ref(entry.name), Fraction(0), limit, found)
    return found


# --- discrete gradients ------------------------------------------------------------


def _discrete_gradient(field: VectorField, method: kinds.DiscreteGradient) -> DiscreteGradient:
    name = field.problem.head.name
    if field.energy is None:
        raise _refuse(
            method,
            f"a discrete gradient needs an energy, and '{name}' declares none; a Hamiltonian does, "
            "or a system with [poisson]",
        )
    if field.energy.has(t):
        raise _refuse(method, f"the energy of '{name}' depends on t, so no step can conserve it")
    if method.increments is not None:
        return DiscreteGradient((), (), (1,) if method.increments == "forward" else (1, -1))
    assert method.quadrature is not None
    exact = _Entries(build(method.quadrature))
    return DiscreteGradient(
        tuple(map(_coefficient, exact.c)), tuple(map(_coefficient, exact.b)), ()
    )
