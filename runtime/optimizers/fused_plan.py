"""The fused step's plan: chunks of the tensors, and their addresses, gathered anew each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.core import jit
from hamilforge.runtime.optimizers import kernels
from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock
from hamilforge.runtime.optimizers.noise import Noise
from hamilforge.runtime.optimizers.step_plan import Standing, Tensors, strangeness

KERNEL_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


def obstacle(tensors: Tensors) -> str:
    """Why the kernel cannot take these tensors; empty if it can."""
    if not jit.is_on():
        return "numba is switched off, by NUMBA_DISABLE_JIT"
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"a tensor is on {tensor.device}; the kernel runs on the CPU"
        if tensor.dtype not in KERNEL_DTYPES or tensor.dtype != tensors[0].dtype:
            return "the kernel takes float32 or float64, the same for all tensors"
        if not tensor.is_contiguous() or tensor.is_neg():
            return "a tensor is not contiguous, or a negated view"
        if reason := strangeness(tensor):
            return reason
    return ""


class FusedPlan:
    """A step by the compiled kernels.

    Args:
        standing: the tensors.
        owners: the number of each tensor's group.
        module: the kernels.
        scope: over what sums run.
        widths: how many scalars of its own each stage takes.
    """

    def __init__(
        self, standing: Standing, owners: list[int], module: Any, scope: str, widths: list[int]
    ) -> None:
        self.standing = standing
        lengths = [param.numel() for param in standing.params]
        self._dtype = KERNEL_DTYPES[standing.params[0].dtype]
        self._how = kernels.plan(lengths, owners, scope, module.SUMS)
        self._module, self._stages = module, module.STAGES
        self._widths = [len(NEUTRAL) + width for width in widths]

    def run(
        self,
        grads: Tensors,
        clocks: Sequence[Clock],
        check: Callable[[], None],
        noise: Noise | None = None,
    ) -> None:
        """Run the kernel of a stage.

        Args:
            grads: the gradients.
            clocks: of the groups, with the scalars of the step.
            check: refuses memory that is shared; called where it may be.
            noise: of the step, for a rule that draws.

        Raises:
            RuntimeError: the rows of a clock are another rule's, or a storage was released.
        """
        stage = clocks[0].stage
        rows = np.array([clock.row() for clock in clocks], np.float64)
        if rows.shape[1] != self._widths[stage]:
            raise RuntimeError("the clock of a group was changed: its rows are not this rule's")
        table = self.standing.places(grads, check, beside_kernels=True).reshape(-1, len(grads))
        drawn = kernels.noise(self._module, stage, noise.counters) if noise else None
        kernels.run(self._stages[stage], self._how, rows, table, self._dtype, drawn)
        torch.autograd.graph.increment_version(self.standing.params)
