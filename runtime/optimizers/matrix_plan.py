"""The plan of a fused step of matrices: small ones by a kernel, large ones by torch's products.

A thread of the kernel takes a matrix at a time, and allocates nothing; products of large matrices
are what BLAS is made for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock
from hamilforge.runtime.optimizers.fused_plan import KERNEL_DTYPES
from hamilforge.runtime.optimizers.lists_plan import ListsPlan
from hamilforge.runtime.optimizers.matrix_blocks import Blocks
from hamilforge.runtime.optimizers.noise import Noise
from hamilforge.runtime.optimizers.stacks import is_large
from hamilforge.runtime.optimizers.step_plan import Standing, Tensors


class MatrixPlan:
    """A step by the compiled kernel, and of large matrices by torch's operations.

    Args:
        standing: the tensors.
        owners: the number of each tensor's group.
        module: the kernels.
        widths: how many scalars of its own each stage takes.
        lists: makes the plan of the tensors with these numbers; None if all go through the kernel.
    """

    def __init__(
        self,
        standing: Standing,
        owners: Sequence[int],
        module: Any,
        widths: Sequence[int],
        lists: Callable[[Sequence[int]], ListsPlan] | None,
    ) -> None:
        self.standing = standing
        shapes = [param.shape for param in standing.params]
        large = [k for k, shape in enumerate(shapes) if lists and is_large(shape)]
        self._large = lists(large) if lists and large else None
        self._small = [k for k in range(len(shapes)) if k not in {*large}]
        dtype = KERNEL_DTYPES[standing.params[0].dtype]
        own = [shapes[k] for k in self._small], [owners[k] for k in self._small]
        self._blocks = Blocks(*own, module, dtype)
        self._stages, self._widths = module.STAGES, [len(NEUTRAL) + width for width in widths]

    @property
    def is_by_kernels(self) -> bool:
        """Whether no matrix goes through torch's operations."""
        return self._large is None

    def run(
        self,
        grads: Tensors,
        clocks: Sequence[Clock],
        check: Callable[[], None],
        noise: Noise | None = None,
    ) -> None:
        """Run a stage.

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
        if self._large is not None:  # first: a factorisation may fail, and nothing has changed then
            self._large.advance(grads, clocks)
        if self._small:
            own = table if self._large is None else np.ascontiguousarray(table[:, self._small])
            self._blocks.run(self._stages[stage], rows, own)
            changed = [self.standing.params[k] for k in self._small]
            torch.autograd.graph.increment_version(changed)
