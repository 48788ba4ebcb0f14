"""Objectives as torch modules: the loss of each sample, with the derived gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.torch_transforms import (
    autocast_to,
    refuse_without_numbers,
    transforms_are_active,
    without_autocast,
)
from hamilforge.runtime.networks.network_arguments import check_sizes

Tensor = torch.Tensor


class Objective(torch.nn.Module):
    """A read-out of a network's last states, and a loss for each sample.

    Args:
        sizes: the size of each dimension, by name.
        trainable: whether the weights of the read-out are parameters to be trained.
        parameters: values of the objective's own parameters.
        dtype, device: of the weights.

    Raises:
        ValueError: an argument is out of its domain; it says which.
    """

    NAME: ClassVar[str]
    STATES: ClassVar[Mapping[str, tuple[str, ...]]]
    WEIGHTS: ClassVar[Mapping[str, tuple[str, ...]]]
    DATA: ClassVar[Mapping[str, tuple[str, ...]]]
    PARAMETERS: ClassVar[Mapping[str, tuple[float, str, str]]]
    SPELLED: ClassVar[Mapping[str, str]]
    SEED: ClassVar[str]
    READS: ClassVar[tuple[str, ...]]
    KEPT: ClassVar[tuple[str, ...]]
    BACK: ClassVar[tuple[str, ...]]
    GRADIENTS: ClassVar[tuple[str, ...]]
    value: ClassVar[Callable[..., tuple[Tensor, ...]]]
    gradient: ClassVar[Callable[..., tuple[Tensor, ...]]]

    def __init__(
        self,
        sizes: Mapping[str, int],
        trainable: bool = True,
        parameters: Mapping[str, float] | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        shapes = {**self.STATES, **self.WEIGHTS, **self.DATA}
        self.sizes, values = check_sizes(self.NAME, shapes, sizes, self.PARAMETERS, parameters)
        kind = {"dtype": dtype or torch.get_default_dtype(), "device": device}
        for name, (_, domain, _) in self.PARAMETERS.items():
            check_domain(name, values[name], domain)
            self.register_buffer(f"parameter_{name}", torch.tensor(values[name], **kind))
        for name, shape in self.WEIGHTS.items():
            weight = torch.zeros(tuple(self.sizes[dimension] for dimension in shape), **kind)
            if len(shape) == 2:
                weight.normal_(0.0, weight.shape[-1] ** -0.5)
            if trainable:
                self.register_parameter(f"weight_{name}", torch.nn.Parameter(weight))
            else:
                self.register_buffer(f"weight_{name}", weight)

    def weight(self, name: str) -> Tensor:
        """A weight of the read-out."""
        weight: Tensor = getattr(self, f"weight_{name}")
        return weight

    def forward(self, *arrays: Tensor) -> Tensor:
        """The loss of each sample, `(samples,)`.

        Args:
            arrays: the states, each `(samples, size)`, then the data in their order.

        Raises:
            ValueError: shapes that do not fit.
        """
        weights = [self.weight(name) for name in self.WEIGHTS]
        own = [*weights, *(getattr(self, f"parameter_{name}") for name in self.PARAMETERS)]
        cast = autocast_to(own[0].dtype, arrays) if own else [*arrays]
        self._refuse(cast, {**self.STATES, **self.DATA})
        kinds = [state.dtype for state in cast[: len(self.STATES)]]
        others = [kind for kind in kinds if own and kind != own[0].dtype]
        if others:
            raise ValueError(
                f"{self.NAME} has weights of type {own[0].dtype}, and its states are "
                f"{others[0]}; convert one of them with .to(...)"
            )
        losses: Tensor
        with without_autocast(cast[0]):
            data = cast[len(self.STATES) :]
            asked = torch.is_grad_enabled() and any(array.requires_grad for array in data)
            if asked or transforms_are_active():  # torch differentiates the read-out itself
                known = dict(zip((*self.STATES, *self.DATA), cast, strict=True))
                losses = self._evaluated(known)[1]
            else:
                losses = _Loss.apply(self, *cast, *weights)
        return losses[:, 0]

    def prediction(self, *states: Tensor) -> Tensor:
        """The read-out, `(samples, size)`; torch differentiates it."""
        self._refuse(states, self.STATES)
        data = {
            name: states[0].new_zeros(len(states[0]), self.sizes[shape[0]] if shape else 1)
            for name, shape in self.DATA.items()
        }
        outputs = self._evaluated({**dict(zip(self.STATES, states, strict=True)), **data})
        return outputs[0]

    def named(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Everything that functions read, by the names that they use."""
        own = {name: self.weight(name) for name in self.WEIGHTS}
        own |= {name: getattr(self, f"parameter_{name}") for name in self.PARAMETERS}
        return {self.SPELLED.get(name, name): array for name, array in {**own, **arrays}.items()}

    def _evaluated(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        known = self.named(arrays)
        return self.value(*(known[name] for name in self.READS))

    def _refuse(self, arrays: Sequence[Tensor], shapes: Mapping[str, tuple[str, ...]]) -> None:
        sizes = {name: self.sizes[shape[0]] if shape else 1 for name, shape in shapes.items()}
        fits = len(arrays) == len(sizes) and all(
            isinstance(array, torch.Tensor) and array.dim() == 2 and array.shape[1] == size
            for array, size in zip(arrays, sizes.values(), strict=False)
        )
        if not fits or len({len(array) for array in arrays}) > 1:
            wanted = ", ".join(f"{name} (samples, {size})" for name, size in sizes.items())
            shown = ", ".join(str(tuple(getattr(array, "shape", ()))) for array in arrays)
            raise ValueError(f"{self.NAME} takes {wanted}, not {shown}")
        refuse_without_numbers(self.NAME, arrays)
        if any(array.is_complex() for array in arrays):
            raise ValueError(f"{self.NAME} takes real numbers, not complex ones")


class _Loss(torch.autograd.Function):
    """The losses; backward is the derived gradient."""

    @staticmethod
    def forward(ctx: Any, module: Objective, *arrays: Tensor) -> Tensor:
        names = (*module.STATES, *module.DATA, *module.WEIGHTS)
        by_name = dict(zip(names, arrays, strict=True))
        known = module.named(by_name)
        values = module.value(*(known[name] for name in module.READS))
        ctx.module, ctx.count = module, len(arrays)
        ctx.save_for_backward(*arrays, *values)
        return values[1]

    @staticmethod
    def backward(ctx: Any, *seeds: Any) -> Any:
        module: Objective = ctx.module
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{module.NAME}: the derived gradient is not differentiated again "
                "(create_graph=True)"
            )
        saved = ctx.saved_tensors
        names = (*module.STATES, *module.DATA, *module.WEIGHTS)
        known = module.named(dict(zip(names, saved[: ctx.count], strict=True)))
        known |= dict(zip(module.KEPT, saved[ctx.count :], strict=True))
        known[module.SEED] = seeds[0]
        with without_autocast(seeds[0]):
            gradients = module.gradient(*(known[name] for name in module.BACK))
        by_name = dict(zip(module.GRADIENTS, gradients, strict=True))
        return None, *(by_name.get(name) for name in names)
