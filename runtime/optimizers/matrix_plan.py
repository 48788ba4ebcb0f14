"""The plan of a fused step of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock
from hamilforge.runtime.optimizers.fused_plan import KERNEL_DTYPES
from hamilforge.runtime.optimizers.matrix_blocks import Blocks
from hamilforge.runtime.optimizers.noise import Noise
from hamilforge.runtime.optimizers.step_plan import Standing, Tensors


class MatrixPlan:
    """A step by the compiled kernel.

    Args:
        standing: the tensors.
        owners: the number of each tensor's group.
        module: the kernels.
        widths: how many scalars of its own each stage takes.
    """

    def __init__(
        self, standing: Standing, owners: Sequence[int], module: Any, widths: Sequence[int]
    ) -> None:
        self.standing = standing
        shapes = [param.shape for param in standing.params]
        dtype = KERNEL_DTYPES[standing.params[0].dtype]
        self._blocks = Blocks(shapes, owners, module, dtype)
        self._stages, self._widths = module.STAGES, [len(NEUTRAL) + width for width in widths]

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
            noise: none: no optimizer of matrices draws.

        Raises:
            RuntimeError: the rows of a clock are another rule's, or a storage was released.
        """
        assert noise is None
        stage = clocks[0].stage
        rows = np.array([clock.row() for clock in clocks], np.float64)
        if rows.shape[1] != self._widths[stage]:
            raise RuntimeError("the clock of a group was changed: its rows are not this rule's")
        table = self.standing.places(grads, check).reshape(-1, len(grads))
        self._blocks.run(self._stages[stage], rows, table)
        torch.autograd.graph.increment_version(self.standing.params)
