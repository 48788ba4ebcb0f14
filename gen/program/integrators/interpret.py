"""The meaning of an integrator: its steps by the book, on NumPy arrays.

In: an :class:`Integrator`, a time, a step and a state.  Out: the next state.  This is the reference
to which kernels and modules are held; it is written from the definitions, with Newton's method and
dense linear algebra for whatever is implicit, and knows nothing of what backends do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.integrators.constrained import (
    DIGITS,
    ConstrainedMachine,
    NoConvergence,
)
from hamilforge.gen.program.integrators.integrator import (
    ROUNDINGS,
    START,
    STOP,
    Band,
    ConstrainedFlows,
    DiscreteGradient,
    Flows,
    Integrator,
    Lattice,
    Matrix,
    TaylorSteps,
    stencil,
)
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.program.stages import Block, Increment, Stages, Value

#: Digits of the numbers in which constrained steps are run.
CONSTRAINED_DIGITS = 50
Floats = NDArray[np.float64]
#: Newton's iterations at most; they end when a change is lost in rounding.
ITERATIONS = 60
LOST, EPSILON = 1e-15, 2.0**-52
#: In how many directions differences are taken.
DIRECTIONS = 8


@dataclass(frozen=True)
class IntegratorInterpreter:
    """An integrator run by the book."""

    integrator: Integrator
    parameters: Mapping[str, float]

    def step(self, t: float, h: float, y: Floats) -> Floats:
        """The state after one step.

        Args:
            t: the time at its start.
            h: the step.
            y: the state, `(components,)`; of a lattice `(components * sites,)`.

        Returns:
            The state at ``t + h``, of the same shape.

        Raises:
            NoConvergence: an implicit step found no solution.
        """
        match self.integrator.step:
            case Stages() as stages:
                return _StageStep(self, stages, t, h, y).result()
            case Flows() as flows:
                return self._flows(flows, t, h, y)
            case ConstrainedFlows() as flows:
                return self._constrained(flows, t, h, y)
            case DiscreteGradient() as gradient:
                return self._discrete_gradient(gradient, t, h, y)
            case TaylorSteps() as taylor:
                return self._taylor(taylor, t, h, y)

    def energy(self, t: float, y: Floats) -> float:
        """H."""
        energy = self.integrator.problem.energy
        assert energy is not None
        return float(self.call(energy.value, t, y)[0])

    def call(
        self, function: Function, t: float, y: Floats, more: Mapping[str, Any] | None = None
    ) -> Floats:
        """The results of a function of the problem.

        Args:
            function: of the problem.
            t: the time.
            y: the state, `(components,)`; of a lattice `(components * sites,)`.
            more: further variables by name, such as the weights of a product; of a lattice,
                `(sites,)`. None for none.

        Returns:
            The results, one after another, `(results,)`; of a lattice, `(sites,)` for each result
            that is an array.
        """
        problem = self.integrator.problem
        values: dict[str, Any] = {**self.parameters, "t": t, **(more or {})}
        if problem.lattice is None:
            values |= dict(zip(problem.components, map(float, y), strict=True))
        else:
            values |= self._at_sites(problem.lattice, function, y, more or {})
        values = run(function, values)
        if problem.lattice is None:
            return np.array([values[array.name] for _, array in function.results], float)
        rows = (
            np.broadcast_to(values[array.name], 1 if array.is_scalar else problem.lattice.count)
            for _, array in function.results
        )
        return np.concatenate([np.zeros(0), *rows])

    def _at_sites(
        self, lattice: Lattice, function: Function, y: Floats, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The arrays of a function of a lattice, and the number of sites."""
        components = self.integrator.problem.components
        rows = {**dict(zip(components, y.reshape(len(components), -1), strict=True)), **more}
        values: dict[str, Any] = {lattice.name: float(lattice.count)}
        for array in function.arrays:
            name, offset = stencil(array)
            values[array] = np.roll(rows[name], -offset)
        return values

    def matrix(self, matrix: Matrix, t: float, y: Floats) -> Floats:
        """A matrix of the problem, in full.

        Args:
            matrix: of the problem.
            t: the time.
            y: the state, `(components,)`; of a lattice `(components * sites,)`.

        Returns:
            All entries, `(size, size)`, with the size of the state.
        """
        problem = self.integrator.problem
        dense = np.zeros((problem.size, problem.size))
        values = self.call(matrix.function, t, y)
        if problem.lattice is None:
            for place, value in zip(matrix.places, values, strict=True):
                assert not isinstance(place, Band)
                dense[place] = value
            return dense
        sites = np.arange(problem.lattice.count)
        bands = values.reshape(len(matrix.places), len(sites))
        for band, entries in zip(matrix.places, bands, strict=True):
            assert isinstance(band, Band)
            dense[band.row + sites, band.column + (sites + band.offset) % len(sites)] += entries
        return dense

    def stiffness(self, t: float, y: Floats) -> float:
        """The largest sum of sizes in a row of df/dy; of differences, where it is not derived."""
        jacobian = self.integrator.problem.jacobian
        if jacobian is not None:
            return float(abs(self.matrix(jacobian, t, y)).sum(axis=1).max())
        signs = np.random.default_rng(5).choice((-1.0, 1.0), (DIRECTIONS, len(y)))
        moves = 1e-6 * (1 + abs(y).max()) * signs
        changes = (self._rate(t, y + move) - self._rate(t, y - move) for move in moves)
        return max(float(abs(change).max()) for change in changes) / (2 * abs(moves).max())

    def decay(self, start: float, stop: float) -> float:
        """The friction factor over a time span."""
        expr = self.integrator.problem.decay
        if expr is None:
            return 1.0
        values = {**self.parameters, START: start, STOP: stop}
        return float(evaluate(expr, values, FLOAT64))

    def _taylor(self, taylor: TaylorSteps, t: float, h: float, y: Floats) -> Floats:
        rows = self.call(taylor.coefficients, t, y).reshape(taylor.order, -1)
        change = np.zeros_like(y)
        for row in rows[::-1]:
            change = (change + row) * h
        return y + change

    def _flows(self, flows: Flows, t: float, h: float, y: Floats) -> Floats:
        y = y.copy()
        positions, momenta = self.integrator.problem.parts
        for flow in flows.flows:
            start, stop = t + flow.start.value * h, t + flow.stop.value * h
            part = positions if flow.letter == "A" else momenta
            where = slice(part.start, part.stop)
            weight = flow.weight.value * h
            if "D" in flow.letter:
                y[where] *= self.decay(start, stop)
            if flow.letter == "BD":
                values = {**self.parameters, START: start, STOP: stop}
                weight = float(evaluate(flows.impulse, values, FLOAT64))  # type: ignore[arg-type]
            if flow.letter != "D":
                y[where] += weight * self.call(part.field, start, y)
        return y

    def on_constraints(self, t: float, y: Floats) -> Floats:
        """A state on the constraints with velocities along them, beside another; itself without.

        Args:
            t: the time.
            y: the state, `(components,)`.

        Returns:
            The state, of the same shape.
        """
        if self.integrator.problem.constraints is None:
            return y
        return self._in_digits(
            ConstrainedFlows(()),
            lambda machine: machine.nearest(mpmath.mpf(t), list(map(mpmath.mpf, y))),
        )

    def _constrained(self, flows: ConstrainedFlows, t: float, h: float, y: Floats) -> Floats:
        """Of many digits: what is solved for is right to the last one, and then rounded."""
        return self._in_digits(
            flows,
            lambda machine: machine.step(mpmath.mpf(t), mpmath.mpf(h), list(map(mpmath.mpf, y))),
        )

    def _in_digits(
        self, flows: ConstrainedFlows, work: Callable[[ConstrainedMachine], Sequence[Any]]
    ) -> Floats:
        with mpmath.workdps(CONSTRAINED_DIGITS):
            parameters = {name: mpmath.mpf(value) for name, value in self.parameters.items()}
            machine = ConstrainedMachine(self.integrator.problem, flows, parameters, DIGITS)
            try:
                return np.array(work(machine), float)
            except ZeroDivisionError as error:
                raise NoConvergence("the constraints are dependent") from error

    def _discrete_gradient(
        self, gradient: DiscreteGradient, t: float, h: float, y: Floats
    ) -> Floats:
        problem = self.integrator.problem
        assert problem.structure is not None
        half = len(y) // 2

        structure = problem.structure

        def defect(v: Floats) -> Floats:
            middle = (y + v) / 2
            mean = self.mean_gradient(gradient, t, y, v)
            rate = self.matrix(structure, t + h / 2, middle) @ mean
            if problem.rate is not None:
                values = {**self.parameters, "t": t + h / 2}
                rate[half:] -= float(evaluate(problem.rate, values, FLOAT64)) * middle[half:]
            return v - y - h * rate

        # the secant columns make the iteration converge; the state does not depend on them
        v = y + h * self._rate(t, y)
        return _newton(defect, v)

    def _rate(self, t: float, y: Floats) -> Floats:
        return np.concatenate([self.call(p.field, t, y) for p in self.integrator.problem.parts])

    def mean_gradient(self, gradient: DiscreteGradient, t: float, u: Floats, v: Floats) -> Floats:
        """The discrete gradient of H between two states.

        Args:
            gradient: the method.
            t: the time at which H is taken.
            u: the one state, `(components,)`; of a lattice `(components * sites,)`.
            v: the other, alike.

        Returns:
            A vector of the shape of ``u``, whose product with ``v - u`` is ``H(v) - H(u)`` up to
            rounding.
        """
        energy = self.integrator.problem.energy
        assert energy is not None
        hidden = ROUNDINGS * EPSILON * float(self.call(energy.size, t, u)[0])
        if gradient.directions:
            increments = [
                self._increments(t, u, v, direction, hidden) for direction in gradient.directions
            ]
            return np.mean(increments, axis=0)
        difference = v - u
        mean = sum(
            weight.value * self.call(energy.gradient, t, u + node.value * difference)
            for node, weight in zip(gradient.nodes, gradient.weights, strict=True)
        )
        mean = np.asarray(mean, float)
        distance = float(difference @ difference)
        missing = self.energy(t, v) - self.energy(t, u) - float(mean @ difference)
        if abs(missing) <= hidden:
            return mean
        return mean + missing / distance * difference

    def _increments(self, t: float, u: Floats, v: Floats, direction: int, hidden: float) -> Floats:
        energy = self.integrator.problem.energy
        assert energy is not None
        point, mean = u.copy(), np.zeros_like(u)
        for i in range(len(u))[::direction]:
            difference = v[i] - u[i]
            below, at_u = self.energy(t, point), self.call(energy.gradient, t, point)[i]
            point[i] = v[i]
            change, at_v = self.energy(t, point) - below, self.call(energy.gradient, t, point)[i]
            mean[i] = (at_u + at_v) / 2
            if abs(change - mean[i] * difference) > hidden:
                mean[i] = change / difference
        return mean


def _newton(defect: Any, v: Floats) -> Floats:
    """A zero by Newton's method with slopes from central differences."""
    before = np.inf
    for _ in range(ITERATIONS):
        columns = []
        for i in range(len(v)):
            move = np.zeros_like(v)
            move[i] = 1e-6 * (1 + abs(v[i]))
            columns.append((defect(v + move) - defect(v - move)) / (2 * move[i]))
        change = np.linalg.solve(np.array(columns).T, defect(v))
        v = v - change
        size = float(abs(change).max())
        if size <= LOST * float(abs(v).max()) or (size >= before and size < 1e-10):
            return v
        before = size
    raise NoConvergence("Newton's iteration did not end")


class _StageStep:
    """One step of a Runge–Kutta method."""

    def __init__(
        self, machine: IntegratorInterpreter, step: Stages, t: float, h: float, y: Floats
    ) -> None:
        self._machine, self._step, self._t, self._h, self._y = machine, step, t, h, y
        self._parts = machine.integrator.problem.parts
        shape = (step.count, len(y))
        self._values, self._increments = np.tile(y, (step.count, 1)), np.zeros(shape)

    def result(self) -> Floats:
        """The end of the step."""
        for block in self._step.blocks:
            if block.implicit:
                self._solve(block)
            else:
                self._compute(block.nodes[0])
        y = self._y.copy()
        for number, part in enumerate(self._parts):
            where = slice(part.start, part.stop)
            weights = [coefficient.value for coefficient in self._step.weights[number]]
            y[where] += np.array(weights) @ self._increments[:, where]
            if number == 1:
                y[where] *= self._machine.decay(self._t, self._t + self._h)
        return y

    def _where(self, part: int) -> slice:
        return slice(self._parts[part].start, self._parts[part].stop)

    def _damp(self, value: Value) -> float:
        node = self._step.clock[value.stage].value
        return self._machine.decay(self._t, self._t + node * self._h) if value.part == 1 else 1.0

    def _factor(self, node: Increment) -> tuple[float, float]:
        """The time of an increment, and what its right-hand side is multiplied by."""
        time = self._t + self._step.nodes[node.part][node.stage].value * self._h
        scale = self._h * self._step.scale[node.part][node.stage].value
        return time, scale / (self._machine.decay(self._t, time) if node.part == 1 else 1.0)

    def _compute(self, node: Value | Increment) -> None:
        where = self._where(node.part)
        if isinstance(node, Value):
            row = [coefficient.value for coefficient in self._step.alpha[node.part][node.stage]]
            total = self._y[where] + np.array(row) @ self._increments[:, where]
            self._values[node.stage, where] = self._damp(node) * total
            return
        time, factor = self._factor(node)
        rate = self._machine.call(self._parts[node.part].field, time, self._values[node.stage])
        self._increments[node.stage, where] = factor * rate

    def _solve(self, block: Block) -> None:
        """Newton's method for the increments of a block."""
        increments = block.increments
        places = [(node, self._where(node.part)) for node in increments]
        before = np.inf
        for _ in range(ITERATIONS):
            old = np.concatenate([self._increments[n.stage, where] for n, where in places])
            for value in block.values:
                self._compute(value)
            matrix = np.eye(len(old)) - self._slopes(block, increments)
            for node in increments:
                self._compute(node)
            new = np.concatenate([self._increments[n.stage, where] for n, where in places])
            change = np.linalg.solve(matrix, new - old)
            size, scale = float(abs(change).max()), float(abs(self._values).max())
            start = 0
            for node, where in places:
                count = where.stop - where.start
                self._increments[node.stage, where] = (old + change)[start : start + count]
                start += count
            if size <= LOST * scale or (size >= before and size < 1e-10 * scale):
                for value in block.values:
                    self._compute(value)
                return
            before = size
        raise NoConvergence("Newton's iteration did not end")

    def _slopes(self, block: Block, increments: Sequence[Increment]) -> Floats:
        """The derivative of the new increments by the old."""
        known = set(block.values)
        rows = []
        for node in increments:
            time, factor = self._factor(node)
            derived = self._machine.integrator.problem.jacobian
            assert derived is not None
            jacobian = self._machine.matrix(derived, time, self._values[node.stage])
            row = []
            for increment in increments:
                entry = self._step.alpha[increment.part][node.stage][increment.stage].value
                value = Value(node.stage, increment.part)
                weight = factor * entry * self._damp(value) if value in known else 0.0
                row.append(weight * jacobian[self._where(node.part), self._where(increment.part)])
            rows.append(np.hstack(row))
        return np.vstack(rows)
