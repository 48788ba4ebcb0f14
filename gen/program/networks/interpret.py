"""The NumPy interpretation of networks: the reference of every cross-check.

In: a :class:`Network` with numbers.  Out: states, and derivatives by the recursion as it is written
in :mod:`network`, taken from the tables directly and not from the unrolled statements.  Batched
arrays are `(samples, size)`, what is a scalar for each sample is `(samples, 1)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.program.interpret import results, run
from hamilforge.gen.program.networks.network import Network, Target
from hamilforge.gen.program.reference import SAMPLES

Floats = NDArray[np.float64]
Values = Mapping[str, Any]
ITERATIONS = 500


class NetworkInterpreter:
    """A network at given controls.

    Args:
        network: the program.
        controls: each `(layers, …)`, by name; `(layers, stages, …)` if the network has them by
            stage.
        parameters: by name; fixed arrays too.
        h: the steps, `(layers,)`.
        t0: the time at the first layer.
    """

    def __init__(
        self,
        network: Network,
        controls: Mapping[str, Floats],
        parameters: Mapping[str, Any],
        h: Floats,
        t0: float,
    ) -> None:
        self._network, self._h = network, h
        self._controls, self._parameters = controls, parameters
        self._times = t0 + np.cumsum(h) - h
        step = network.step
        self._a = [
            np.array(
                [
                    [a.value * s.value for a, s in zip(row, step.scale[part], strict=True)]
                    for row in step.alpha[part]
                ]
            )
            for part in range(len(network.parts))
        ]
        self._b = [
            np.array(
                [
                    w.value * s.value
                    for w, s in zip(step.weights[part], step.scale[part], strict=True)
                ]
            )
            for part in range(len(network.parts))
        ]

    def forward(self, states: Sequence[Floats]) -> list[list[Floats]]:
        """The states before each layer, and after the last."""
        trajectory = [list(states)]
        for number in range(len(self._h)):
            trajectory.append(self._layer(number, trajectory[-1])[0])
        return trajectory

    def _shared(self, number: int, stage: int) -> dict[str, Any]:
        place = (number, stage) if self._network.by_stage else number
        known = {name: value[place] for name, value in self._controls.items()}
        known |= self._parameters
        return run(self._network.prepare, known) if self._network.prepare.lines else known

    def _layer(
        self, number: int, states: Sequence[Floats]
    ) -> tuple[list[Floats], list[list[Floats]], list[list[Floats]]]:
        """The end of a layer, its stage values and its right-hand sides, by part and stage."""
        h, count = self._h[number], self._network.step.count
        parts = range(len(states))
        k = [[np.zeros_like(states[part]) for _ in range(count)] for part in parts]
        values = [[states[part]] * count for part in parts]
        for _ in range(ITERATIONS):
            values = [
                [
                    states[part] + h * sum(self._a[part][i, j] * k[part][j] for j in range(count))
                    for i in range(count)
                ]
                for part in parts
            ]
            new = [
                [
                    self._rate(part, i, number, [stage_values[i] for stage_values in values])[1]
                    for i in range(count)
                ]
                for part in parts
            ]
            change = max(float(abs(new[p][i] - k[p][i]).max()) for p in parts for i in range(count))
            k = new
            if change == 0:
                break
        ends = [
            states[part] + h * sum(self._b[part][i] * k[part][i] for i in range(count))
            for part in parts
        ]
        return ends, values, k

    def _known(
        self, part: int, stage: int, number: int, values: Sequence[Floats]
    ) -> dict[str, Any]:
        node = self._network.step.nodes[part][stage].value
        known = self._shared(number, stage)
        known[SAMPLES] = len(values[0])
        known["t"] = self._times[number] + node * self._h[number]
        names = [layer_part.state.name for layer_part in self._network.parts]
        return known | dict(zip(names, values, strict=True))

    def _rate(
        self, part: int, stage: int, number: int, values: Sequence[Floats]
    ) -> tuple[dict[str, Any], Any]:
        rate = self._network.parts[part].rate
        known = run(rate, self._known(part, stage, number, values))
        return known, known[rate.results[0][1].name]

    def gradient(
        self, states: Sequence[Floats], costates: Sequence[Floats]
    ) -> tuple[list[Floats], dict[str, Floats], Floats, float]:
        """Derivatives by the first states, by controls, by steps and by time."""
        before = self.forward(states)
        layers = len(self._h)
        p, p_t = list(costates), 0.0
        controls = {name: np.zeros_like(value) for name, value in self._controls.items()}
        by_step = np.zeros(layers)
        for number in range(layers - 1, -1, -1):
            p, by_control, by_h, by_t = self._adjoint(number, before[number], p)
            for name, value in by_control.items():
                controls[name][number] = value
            by_step[number] = by_h + p_t
            p_t += by_t
        return p, controls, by_step, p_t

    def regulariser(self) -> tuple[float, dict[str, Floats], Floats]:
        """``sum_l h_l r(U_l, (U_(l+1) - U_l) / h_l)``, and its derivatives by controls and steps.

        With controls of each stage, r is the mean over the stages.
        """
        cost = self._network.regulariser
        assert cost is not None
        h, own = self._h, self._controls
        total, by_step = 0.0, np.zeros(len(h))
        by_control = {name: np.zeros_like(value) for name, value in own.items()}
        stages: Sequence[tuple[int, ...]] = [()]
        if self._network.by_stage:
            stages = [(stage,) for stage in range(self._network.step.count)]
        weight = 1 / len(stages)
        for layer, stage in ((layer, stage) for layer in range(len(h)) for stage in stages):
            here = (layer, *stage)
            after = (min(layer + 1, len(h) - 1), *stage)
            known = {name: value[here] for name, value in own.items()} | dict(self._parameters)
            rates = {
                rate.name: (own[name][after] - own[name][here]) / h[layer]
                for name, rate in cost.rates.items()
            }
            computed = results(cost.gradient, known | rates)
            total += h[layer] * weight * float(computed["cost"])
            by_step[layer] += weight * float(computed["cost"])
            for name, value in by_control.items():
                value[here] += h[layer] * weight * computed.get(name, 0.0)
            for name, rate in cost.rates.items():
                slope = weight * np.asarray(computed.get(rate.name, 0.0))
                by_control[name][here] -= slope
                by_control[name][after] += slope
                by_step[layer] -= float((slope * rates[rate.name]).sum())
        return total, by_control, by_step

    def costates(
        self, states: Sequence[Floats], costates: Sequence[Floats]
    ) -> list[Sequence[Floats]]:
        """The costates before each layer, and after the last."""
        before = self.forward(states)
        trajectory: list[Sequence[Floats]] = [list(costates)]
        for number in range(len(self._h) - 1, -1, -1):
            trajectory.insert(0, self._adjoint(number, before[number], trajectory[0])[0])
        return trajectory

    def _adjoint(
        self, number: int, states: Sequence[Floats], p: Sequence[Floats]
    ) -> tuple[list[Floats], dict[str, Any], float, float]:
        h, count = self._h[number], self._network.step.count
        parts = range(len(states))
        _, values, k = self._layer(number, states)
        stage = [[stage_values[i] for stage_values in values] for i in range(count)]
        rates = [[self._rate(q, i, number, stage[i])[0] for i in range(count)] for q in parts]
        names = [layer_part.state.name for layer_part in self._network.parts]
        xi = [[np.zeros_like(states[q]) for _ in range(count)] for q in parts]
        w = [[np.zeros_like(states[q]) for _ in range(count)] for q in parts]
        for _ in range(ITERATIONS):
            new_w = [
                [
                    self._b[q][i] * p[q]
                    + h * sum(self._a[q][j, i] * xi[q][j] for j in range(count))
                    for i in range(count)
                ]
                for q in parts
            ]
            change = max(
                float(abs(new_w[q][i] - w[q][i]).max()) for q in parts for i in range(count)
            )
            w = new_w
            xi = [[np.zeros_like(states[q]) for _ in range(count)] for q in parts]
            back = []
            for q in parts:
                part = self._network.parts[q]
                for i in range(count):
                    known = run(part.states, rates[q][i] | {self._costate(q): w[q][i]})
                    back.append((q, i, known))
                    for key, array in part.states.results:
                        if key != "t":
                            xi[names.index(key)][i] = xi[names.index(key)][i] + known[array.name]
            if change == 0:
                break
        sums: list[dict[str, Any]] = [{} for _ in range(count if self._network.by_stage else 1)]
        by_h = sum(float((w[q][i] * k[q][i]).sum()) for q in parts for i in range(count))
        by_t = 0.0
        for q, i, known in back:
            part = self._network.parts[q]
            for key, array in part.states.results:
                if key == "t":
                    by_t += h * float(known[array.name])
                    node = self._network.step.nodes[q][i].value
                    by_h += h * node * float(known[array.name])
            if part.shared.results:
                own = sums[i if self._network.by_stage else 0]
                for name, value in results(part.shared, known).items():
                    own[name] = own.get(name, 0.0) + value
        by_control: dict[str, Any] = {}
        for i, own in enumerate(sums):
            finish = run(self._network.finish, self._shared(number, i) | own)
            for key, array in self._network.finish.results:
                by_control.setdefault(key, []).append(h * finish[array.name])
        by_control = {
            key: value if self._network.by_stage else value[0] for key, value in by_control.items()
        }
        ends = [p[q] + h * sum(xi[q][i] for i in range(count)) for q in parts]
        return ends, by_control, by_h, by_t

    def _costate(self, part: int) -> str:
        return self._network.parts[part].costate.name


def target_values(target: Target, values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prediction and loss, and the gradient, of an objective at given numbers."""
    known = run(target.value, values)
    value = {key: known[array.name] for key, array in target.value.results}
    return value, results(target.gradient, known)
