"""Runge–Kutta steps in torch, and their discrete adjoints.

The adjoint is the recursion without divisions: with the increments L_j = f_j F(Y_j) and the stage
values Y_i = d_i (y + sum_j a_ij L_j), costates run through the same graph backwards,

    L_j^ = w_j y+^ + sum_i a_ij d_i Y_i^,   Y_i^ = f_i F'(Y_i)^T L_i^,   y^ = y+^ + sum_i d_i Y_i^,

which is a linear system where stages are implicit; it holds for vanishing weights too (W. W. Hager,
Numer. Math. 87 (2000) 247-282; J. M. Sanz-Serna, SIAM Rev. 58 (2016) 3-33).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.core.torch_solve import Settled, largest
from hamilforge.runtime.integrators.torch_flow import (
    ITERATIONS,
    Entries,
    Flow,
    Tensor,
    replaced,
)


class Stages(Flow):
    """A Runge–Kutta method; see ``gen.program.stages.Stages``."""

    COUNT: ClassVar[int]
    ALPHA: ClassVar[tuple[tuple[tuple[float, ...], ...], ...]]
    SCALE: ClassVar[tuple[tuple[float, ...], ...]]
    WEIGHTS: ClassVar[tuple[tuple[float, ...], ...]]
    NODES: ClassVar[tuple[tuple[float, ...], ...]]
    CLOCK: ClassVar[tuple[float, ...]]
    BLOCKS: ClassVar[tuple[tuple[bool, tuple[tuple[str, int, int], ...]], ...]]
    JACOBIAN: ClassVar[Callable[..., Entries]]
    JACOBIAN_PLACES: ClassVar[tuple[tuple[int, int], ...]]

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after a step.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`.

        Raises:
            IntegrationError: implicit stages did not converge, or a matrix is singular.
        """
        run = _Run(self, t, y, values)
        run.forward()
        return run.end()

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The division-free adjoint: costates of increments and of stage values, in reverse.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.
            costate: the derivatives by the states after the step, `(batch, components)`.

        Returns:
            The derivatives by the states before the step, `(batch, components)`, and those by each
            parameter, `(batch,)`, to be summed over the batch.

        Raises:
            IntegrationError: implicit stages did not converge, or a matrix is singular.
        """
        run = _Run(self, t, y, values)
        run.forward()
        return run.backward(costate)


class _Run:
    """One step of a Runge–Kutta method, and its adjoint."""

    def __init__(self, module: Stages, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> None:
        self._module, self._t, self._y, self._values = module, t, y, values
        self._damps = _Damps(module, t, values)
        self._stage = [y.clone() for _ in range(module.COUNT)]
        self._k = [torch.zeros_like(y) for _ in range(module.COUNT)]

    # --- forward

    def forward(self) -> None:
        """All stages in their order."""
        for implicit, nodes in self._module.BLOCKS:
            if implicit:
                self._solve(nodes)
            else:
                self._compute(nodes[0])

    def end(self) -> Tensor:
        """The end of the step."""
        parts = []
        for part, weights in enumerate(self._module.WEIGHTS):
            where = self._module.where(part)
            total = self._y[:, where]
            change = sum(w * k[:, where] for w, k in zip(weights, self._k, strict=True) if w)
            damp = self._damps.of(1.0) if part == 1 else 1.0
            parts.append(damp * (total + change))
        return torch.cat(parts, -1)

    def _damp(self, stage: int, part: int) -> Any:
        return self._damps.of(self._module.CLOCK[stage]) if part == 1 else 1.0

    def _factor(self, stage: int, part: int) -> tuple[Tensor, Any]:
        module = self._module
        node = module.NODES[part][stage]
        factor = module.h * module.SCALE[part][stage]
        return self._t + node * module.h, factor / (self._damps.of(node) if part == 1 else 1.0)

    def _compute(self, node: tuple[str, int, int]) -> None:
        kind, stage, part = node
        where = self._module.where(part)
        if kind == "value":
            total = self._y[:, where]
            for coefficient, k in zip(self._module.ALPHA[part][stage], self._k, strict=True):
                if coefficient:
                    total = total + coefficient * k[:, where]
            self._stage[stage] = replaced(
                self._stage[stage], where, self._damp(stage, part) * total
            )
            return
        time, factor = self._factor(stage, part)
        rate = self._module.field(part, time, self._stage[stage], self._values)
        self._k[stage] = replaced(self._k[stage], where, factor * rate)

    def _solve(self, nodes: Sequence[tuple[str, int, int]]) -> None:
        """Newton's method, for each of the batch until its changes are lost in rounding."""
        increments = [node for node in nodes if node[0] == "increment"]
        settled = Settled(self._y)
        for _ in range(ITERATIONS):
            old = self._gathered(increments)
            for node in nodes:
                if node[0] == "value":
                    self._compute(node)
            matrix = self._newton_matrix(nodes, increments)
            for node in increments:
                self._compute(node)
            change = self._module.solve(self._t, matrix, self._gathered(increments) - old)
            change = settled.kept(change)
            self._scatter(increments, old + change)
            scale = torch.stack(self._stage).abs().amax((0, -1))
            if settled.after(change.abs().amax(-1), scale):
                return
        last = largest(settled.last)
        raise self._module.refuse(
            self._t, round((float(self._t) - self._module.t0) / self._module.h), last,
            f"the stages did not converge, the last change being {last:.1e}",
        )  # fmt: skip

    def _gathered(self, increments: Sequence[tuple[str, int, int]]) -> Tensor:
        return torch.cat([self._k[j][:, self._module.where(p)] for _, j, p in increments], -1)

    def _scatter(self, increments: Sequence[tuple[str, int, int]], vector: Tensor) -> None:
        start = 0
        for _, stage, part in increments:
            where = self._module.where(part)
            stop = start + where.stop - where.start
            self._k[stage] = replaced(self._k[stage], where, vector[:, start:stop])
            start = stop

    def _newton_matrix(
        self, nodes: Sequence[tuple[str, int, int]], increments: Sequence[tuple[str, int, int]]
    ) -> Tensor:
        """The derivative of ``k - K(k)`` by k."""
        module, known = self._module, {node[1:] for node in nodes if node[0] == "value"}
        rows = []
        for _, stage, part in increments:
            time, factor = self._factor(stage, part)
            jacobian = module.matrix(
                module.JACOBIAN, module.JACOBIAN_PLACES, time, self._stage[stage], self._values
            )
            row = []
            for _, other_stage, column in increments:
                block = jacobian[:, module.where(part), module.where(column)]
                weight: Any = 0.0
                if (stage, column) in known:
                    weight = (
                        factor
                        * self._damp(stage, column)
                        * module.ALPHA[column][stage][other_stage]
                    )
                row.append(-weight * block)
            rows.append(torch.cat(row, -1))
        matrix = torch.cat(rows, -2)
        return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)

    # --- backward

    def backward(self, costate: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The costate before the step, and the gradients by parameters."""
        module = self._module
        self._totals = [torch.zeros_like(self._y[:, 0]) for _ in module.PARAMETERS]
        self._of_k = [torch.zeros_like(self._y) for _ in range(module.COUNT)]
        self._of_stage = [torch.zeros_like(self._y) for _ in range(module.COUNT)]
        end = self.end()
        parts = []
        for part, weights in enumerate(module.WEIGHTS):
            where = module.where(part)
            inner = costate[:, where]
            if part == 1:
                damp = self._damps.of(1.0)
                self._damps.note(1.0, (inner * end[:, where] / damp).sum())
                inner = inner * damp
            for j, weight in enumerate(weights):
                if weight:
                    self._of_k[j][:, where] += weight * inner
            parts.append(inner)
        self._before = torch.cat(parts, -1)
        for implicit, nodes in reversed(module.BLOCKS):
            if implicit:
                self._solve_transposed(nodes)
            else:
                self._back(nodes[0])
        friction = self._damps.gradients()
        totals = [a + b / len(a) for a, b in zip(self._totals, friction, strict=True)]
        return self._before, totals

    def _back(self, node: tuple[str, int, int]) -> None:
        kind, stage, part = node
        module, where = self._module, self._module.where(part)
        if kind == "value":
            inner = self._of_stage[stage][:, where]
            if part == 1:
                damp = self._damp(stage, part)
                node_time = module.CLOCK[stage]
                value = self._stage[stage][:, where]
                self._damps.note(node_time, (inner * value / damp).sum())
                inner = inner * damp
            self._before[:, where] += inner
            for j, coefficient in enumerate(module.ALPHA[part][stage]):
                if coefficient:
                    self._of_k[j][:, where] += coefficient * inner
            return
        time, factor = self._factor(stage, part)
        weight = self._of_k[stage][:, where]
        if part == 1:
            node_time = module.NODES[part][stage]
            damp = self._damps.of(node_time)
            self._damps.note(node_time, -(weight * self._k[stage][:, where]).sum() / damp)
        slope, more = module.product(part, time, self._stage[stage], self._values, factor * weight)
        self._of_stage[stage] += slope
        self._totals = [a + b for a, b in zip(self._totals, more, strict=True)]

    def _solve_transposed(self, nodes: Sequence[tuple[str, int, int]]) -> None:
        """One transposed linear solve for the costates of a block's increments.

        What comes from the block's values that others used goes into the right-hand side first;
        with the solution, values and increments pass their costates on as explicit ones do.
        """
        module = self._module
        increments = [node for node in nodes if node[0] == "increment"]
        values = [node for node in nodes if node[0] == "value"]
        for _, stage, part in values:
            where = module.where(part)
            inner = self._of_stage[stage][:, where] * self._damp(stage, part)
            for _, j, column in increments:
                if column == part and module.ALPHA[part][stage][j]:
                    self._of_k[j][:, where] += module.ALPHA[part][stage][j] * inner
        matrix = self._newton_matrix(nodes, increments)
        right = torch.cat([self._of_k[j][:, module.where(p)] for _, j, p in increments], -1)
        solved = module.solve(self._t, matrix.transpose(-1, -2), right)
        start = 0
        for _, stage, part in increments:
            where = module.where(part)
            stop = start + where.stop - where.start
            self._of_k[stage] = replaced(self._of_k[stage], where, solved[:, start:stop])
            start = stop
        kept = [tensor.clone() for tensor in self._of_k]
        for node in increments:
            self._back(node)
        for node in values:
            self._back(node)
        for _, stage, part in increments:  # they are solved already
            where = module.where(part)
            self._of_k[stage] = replaced(self._of_k[stage], where, kept[stage][:, where])


class _Damps:
    """The friction factors of a step by their nodes, and the costates of them."""

    def __init__(self, module: Flow, t: Tensor, values: Sequence[Tensor]) -> None:
        self._module, self._t = module, t
        self._values = [value.detach().requires_grad_() for value in values]
        self._known: dict[float, Tensor] = {}
        self._costates: dict[float, Tensor] = {}

    def of(self, node: float) -> Any:
        """The factor over ``node * h``."""
        if self._module.DECAY is None or node == 0:
            return 1.0
        if node not in self._known:
            with torch.enable_grad():
                stop = self._t + node * self._module.h
                self._known[node] = self._module.DECAY(self._t, stop, self._values)
        return self._known[node].detach()

    def note(self, node: float, costate: Tensor) -> None:
        """Add to the costate of a factor."""
        if node in self._known:
            self._costates[node] = self._costates.get(node, torch.zeros_like(costate)) + costate

    def gradients(self) -> list[Tensor]:
        """The gradients of all factors by the parameters."""
        zeros = [torch.zeros_like(value) for value in self._values]
        used = [(self._known[node], costate) for node, costate in self._costates.items()]
        used = [(factor, costate) for factor, costate in used if factor.requires_grad]
        if not used:
            return zeros
        gradients = torch.autograd.grad(
            [factor for factor, _ in used],
            self._values,
            [costate.to(factor) for factor, costate in used],
            allow_unused=True,
        )
        return [
            zero if gradient is None else gradient
            for zero, gradient in zip(zeros, gradients, strict=True)
        ]
