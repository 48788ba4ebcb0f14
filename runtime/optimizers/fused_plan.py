"""The fused step's plan: what stays the same from one step to the next while the tensors do.

In: the tensors of a step. Out: their table of chunks, kept, and their addresses, gathered anew
at each step. Whether the plan still fits is looked at anew each step too.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.core.addresses import addresses
from hamilforge.runtime.core.overlaps import is_wrapped
from hamilforge.runtime.optimizers import kernels

Tensors = list[torch.Tensor]
Groups = list[dict[str, Any]]

KERNEL_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_SWITCHES = operator.itemgetter("fused", "differentiable", "scope")
_GRADIENT = operator.attrgetter("grad")


def obstacle(tensors: Tensors) -> str:
    """Why the kernel cannot take these tensors; empty if it can."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"a tensor is on {tensor.device}; the kernel runs on the CPU"
        if tensor.dtype not in KERNEL_DTYPES or tensor.dtype != tensors[0].dtype:
            return "the kernel takes float32 or float64, the same for all tensors"
        if not tensor.is_contiguous() or tensor.is_neg():
            return "a tensor is not contiguous, or a negated view"
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            return f"a tensor is of the class {type(tensor).__name__}"
        if is_wrapped(tensor):
            return "a tensor is wrapped by torch.func and has no storage"
    return ""


class Plan:
    """What of a fused step stays the same while the tensors do.

    The next step with the same parameters, state and kinds of gradients takes it again.  That they
    are the same is looked at anew each step: the identity of every parameter and every buffer, and
    class, device, dtype, shape and strides of all tensors, in one call of torch's own guard.
    """

    def __init__(
        self,
        groups: Groups,
        state: dict[torch.Tensor, dict[str, Any]],
        params: Tensors,
        states: list[Tensors],
        grads: Tensors,
        owners: list[int],
        module: Any,
        scope: str,
        widths: list[int],
    ) -> None:
        self._groups = [list(group["params"]) for group in groups]
        self._switches = list(map(_SWITCHES, groups))
        self._states = list(state.values())
        self._names = module.STATES
        self._usable = all(name in one for one in self._states for name in self._names)
        self._usable &= len(params) == sum(map(len, self._groups)) == len(self._states)
        self._buffers = self._present() if self._usable else []
        self._params = params
        self._dtype = KERNEL_DTYPES[params[0].dtype]
        lengths = [param.numel() for param in params]
        self._how = kernels.plan(lengths, owners, scope, module.SUMS)
        self._stages = module.STAGES
        #: How many numbers each stage's row has, its preparation included.
        self.widths = [3 + width for width in widths]
        self._filled = [k for k, length in enumerate(lengths) if length]
        self._fixed = [*params, *itertools.chain(*states)]
        self._places: Any = None
        self._guard = _guard(self._fixed, grads)

    def gradients(
        self, groups: Groups, state: dict[torch.Tensor, dict[str, Any]]
    ) -> Tensors | None:
        """The gradients, if the plan still fits; None if anything has changed."""
        same, states = operator.is_, self._states
        if not (
            self._usable
            and len(groups) == len(self._groups)
            and len(state) == len(states)
            and self._switches == list(map(_SWITCHES, groups))
            and all(map(same, state.values(), states))
        ):
            return None
        grads: Tensors = []
        for group, params in zip(groups, self._groups, strict=True):
            present = group["params"]
            if len(present) != len(params) or not all(map(same, present, params)):
                return None
            grads += map(_GRADIENT, present)
        try:
            fits = all(map(same, self._present(), self._buffers)) and self._guard(
                *self._fixed, *grads
            )
        except (KeyError, TypeError):  # a buffer or a gradient is missing
            return None
        return grads if fits else None

    def _present(self) -> Tensors:
        """The state's arrays of all parameters, name by name."""
        return [state[name] for name in self._names for state in self._states]

    def tensors(self, grads: Tensors) -> tuple[Tensors, Tensors, Tensors]:
        """Parameters, gradients and buffers."""
        count = len(self._params)
        return self._params, grads, self._fixed[count:]

    def table(self, grads: Tensors) -> Any:
        """The addresses of parameters, states and gradients, `(2 + states, tensors)`."""
        table = addresses([*self._fixed, *grads]).reshape(len(self._names) + 2, -1)
        if not table[:, self._filled].all():
            raise RuntimeError("a tensor has entries, but its storage was released")
        return table

    def has_moved(self, table: Any) -> bool:
        """Whether parameters and buffers lie elsewhere than in the step before."""
        written = table[:-1]
        moved = self._places is not None and not np.array_equal(written, self._places)
        if moved or self._places is None:
            self._places = written
        return moved

    def run(self, stage: int, rows: Any, table: Any) -> None:
        """Run the kernel of a stage.

        Args:
            stage: its number within the step, from 0.
            rows: `(groups, scalars)`: the preparation's three scalars, then the stage's own.
            table: the addresses, `(3, tensors)`, as :meth:`table` gives them.
        """
        kernels.run(self._stages[stage], self._how, rows, table, self._dtype)
        torch.autograd.graph.increment_version(self._params)


def _guard(fixed: Tensors, grads: Tensors) -> Callable[..., bool]:
    """A check that class, device, dtype, shape and strides of tensors are as they are now."""
    try:
        from torch._C._dynamo.guards import TensorGuards
    except ImportError:
        return _slow_guard([*fixed, *grads])
    guards = TensorGuards(*fixed, *grads, dynamic_dims_sizes=None, dynamic_dims_strides=None)
    check: Callable[..., bool] = guards.check
    return check


def _slow_guard(tensors: Tensors) -> Callable[..., bool]:
    """The same check in Python, for versions of torch without that guard."""

    def signature(tensor: torch.Tensor) -> Any:
        if tensor is None:
            raise TypeError("no gradient")
        kind = (type(tensor), tensor.device, tensor.dtype, tensor.is_neg())
        return *kind, tensor.shape, tensor.stride()

    wanted = list(map(signature, tensors))
    return lambda *present: list(map(signature, present)) == wanted
