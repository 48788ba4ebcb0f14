"""A step's plan: what stays the same from one step to the next while the tensors do.

In: the tensors of a step.  Out: their gradients in the next one, if the plan still fits: that is
looked at anew each step.  How a plan is run is said by :mod:`fused_plan` and :mod:`lists_plan`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hamilforge.runtime.core.addresses import addresses
from hamilforge.runtime.core.overlaps import is_wrapped
from hamilforge.runtime.optimizers.clock import Clock
from hamilforge.runtime.optimizers.noise import Noise

#: For each gradient, how many places are remembered: a new one comes to lie where an old one did.
_MOST_APART = 32
Tensors = list[torch.Tensor]
Addresses = NDArray[np.uintp]
Groups = list[dict[str, Any]]

_SWITCHES = operator.itemgetter("fused", "foreach", "differentiable", "scope")
_GRADIENT = operator.attrgetter("grad")


def strangeness(tensor: torch.Tensor) -> str:
    """Why a tensor is none that a plan can take, of whatever type and device; empty if it is."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"a tensor is of the class {type(tensor).__name__}"
    if is_wrapped(tensor):
        return "a tensor is wrapped by torch.func and has no storage"
    return ""


class Standing:
    """The tensors of a step.

    The next step with the same parameters, state and kinds of gradients takes the plan again.  That
    they are the same is looked at anew each step: the identity of every parameter and every buffer,
    and class, device, dtype, shape and strides of all tensors, in one call of torch's own guard.

    Args:
        groups: of parameters.
        state: of all parameters.
        params: those of the step, in the order of the groups.
        states: for each array of the state those of all parameters of the step.
        grads: their gradients.
        names: of the state's arrays.
    """

    def __init__(
        self,
        groups: Groups,
        state: dict[torch.Tensor, dict[str, Any]],
        params: Tensors,
        states: list[Tensors],
        grads: Tensors,
        names: Sequence[str],
    ) -> None:
        self._groups = [list(group["params"]) for group in groups]
        self._switches = list(map(_SWITCHES, groups))
        self._states = list(state.values())
        self._names = names
        self._usable = all(name in own for own in self._states for name in names)
        self._usable &= len(params) == sum(map(len, self._groups)) == len(self._states)
        self._buffers = self._present() if self._usable else []
        self.params = params
        #: Parameters and buffers, which stay the same.
        self.fixed = [*params, *itertools.chain(*states)]
        self._guard = _guard(self.fixed, grads)
        spans = np.array([*map(_span, (*self.fixed, *grads))], np.uintp)
        self._spans, self._lengths = spans[: len(self.fixed)], spans[len(self.fixed) :]
        here = [tensor.device.type == "cpu" for tensor in (*self.fixed, *grads)]
        self._stored = np.array(here) & (spans > 0)
        #: Where parameters and buffers lay in the step before.
        self._written = b""
        #: Addresses and lengths of gradients that share nothing with them.
        self._apart: set[tuple[int, int]] = set()

    def gradients(
        self, groups: Groups, state: dict[torch.Tensor, dict[str, Any]]
    ) -> Tensors | None:
        """The gradients, if the tensors are still the same; None if anything has changed."""
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
                *self.fixed, *grads
            )
        except (KeyError, TypeError):  # a buffer or a gradient is missing
            return None
        return grads if fits else None

    def _present(self) -> Tensors:
        """The state's arrays of all parameters, name by name."""
        return [state[name] for name in self._names for state in self._states]

    @property
    def buffers(self) -> Tensors:
        """The arrays of the state."""
        return self.fixed[len(self.params) :]

    def places(
        self, grads: Tensors, check: Callable[[], None], beside_kernels: bool = False
    ) -> Addresses:
        """Where the tensors lie.

        Args:
            grads: the gradients.
            check: refuses memory that is shared; called where it may be: where parameters or
                buffers lie elsewhere than in the step before, or a gradient may lie in one of them.
            beside_kernels: whether kernels run anyway.

        Returns:
            The addresses of parameters, buffers and gradients, one after another.

        Raises:
            RuntimeError: a storage was released.
        """
        places = addresses([*self.fixed, *grads], beside_kernels)
        written, read = places[: len(self.fixed)], places[len(self.fixed) :]
        here = written.tobytes()
        parts = [*zip(read.tolist(), self._lengths.tolist(), strict=True)]
        if here == self._written and self._apart.issuperset(parts):
            return places
        if not places[self._stored].all():
            raise RuntimeError("a tensor has entries, but its storage was released")
        if self._written not in (b"", here) or self._may_lie_inside(written, read):
            check()
        if here != self._written or len(self._apart) > _MOST_APART * len(grads):
            self._apart.clear()
        self._written = here
        self._apart.update(parts)
        return places

    def _may_lie_inside(self, written: Addresses, read: Addresses) -> bool:
        """Whether a gradient begins or ends in a parameter or buffer, or lies around it."""
        filled = self._spans > 0
        order = np.argsort(written[filled])
        starts = written[filled][order]
        # those of columns may lie around others; the last stands for what begins before all of them
        ends = np.append(np.maximum.accumulate(starts + self._spans[filled][order]), 0)
        last = np.searchsorted(starts, read + self._lengths) - 1
        return bool(((ends[last] > read) & (self._lengths > 0)).any())


def _span(tensor: torch.Tensor) -> int:
    """How many bytes lie between the first entry of a tensor and the end of its last."""
    if not tensor.numel():
        return 0
    reach = sum((n - 1) * k for n, k in zip(tensor.shape, tensor.stride(), strict=True))
    return (reach + 1) * tensor.element_size()


class Plan(Protocol):
    """How the tensors of a step are run through its stages."""

    standing: Standing

    def run(
        self,
        grads: Tensors,
        clocks: Sequence[Clock],
        check: Callable[[], None],
        noise: Noise | None,
        /,
    ) -> None:
        """Run a stage.

        Args:
            grads: the gradients.
            clocks: of the groups, with the scalars of the step.
            check: refuses memory that is shared; called where it may be.
            noise: of the step, for a rule that draws.
        """
        ...


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
