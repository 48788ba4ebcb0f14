"""The noise of an optimizer: a key for each parameter, and the count of gradients taken.

In: seed, replica and names of parameters.  Out: the keys that kernels take, and tensors of normal
numbers for torch's forms: the same numbers, whatever the device, the order of the parameters and
the form of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from hamilforge.runtime.core import normal_numbers, torch_normal_numbers
from hamilforge.runtime.core.shards import placed
from hamilforge.runtime.optimizers.kernels import Counters

#: What a group calls how many gradients the optimizer has taken.
DRAWS = "draws"
#: The option that chooses among all noise there is.
SEED = "seed"
Tensors = list[torch.Tensor]


def names_of(groups: Sequence[dict[str, Any]]) -> list[str]:
    """What each parameter is called: its name, or its number where it has none.

    Raises:
        ValueError: two have one name, so their noise would be the same.
    """
    names: list[str] = []
    for group in groups:
        own = group.get("param_names")
        count = len(group["params"])
        names += own if own else map(str, range(len(names), len(names) + count))
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"two parameters are called '{twice}', so their noise would be the same; give them "
            "names of their own"
        )
    return names


def keys_of(groups: Sequence[dict[str, Any]], params: Tensors, replica: int = 0) -> tuple[int, ...]:
    """The keys of some parameters.

    Args:
        groups: of all parameters, with the seed.
        params: those whose keys are wanted.
        replica: of several workers which one; 0 where all draw alike.

    Returns:
        A key for each.
    """
    everything = (param for group in groups for param in group["params"])
    names = dict(zip(map(id, everything), names_of(groups), strict=True))
    seed = groups[0][SEED]
    return tuple(normal_numbers.key_of(seed, replica, names[id(param)]) for param in params)


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a step.

    Attributes:
        keys: of the parameters of the step.
        draws: how many gradients have been taken before.
        stages: of the product: for each stage its draws, the occurrence and which scalar of the row
            multiplies it.
    """

    keys: tuple[int, ...]
    draws: int
    stages: tuple[tuple[tuple[int, int | None], ...], ...]

    def before(self) -> Noise:
        """That of the gradient before."""
        return replace(self, draws=self.draws - 1)

    @property
    def counters(self) -> Counters:
        """The keys, and the count."""
        return self.keys, self.draws

    def arrays(
        self, stage: int, params: Tensors, members: Sequence[int], row: Sequence[Any]
    ) -> list[Tensors]:
        """What torch's forms take: for each draw of a stage a list of tensors.

        Args:
            stage: its number.
            params: of the step.
            members: those of a list.
            row: the scalars of the stage.

        Returns:
            The tensors; zeros where the number that multiplies them is 0.
        """
        return [
            [
                torch.zeros_like(params[index], requires_grad=False)
                if place is not None and _is_zero(row[place])
                else self._array(index, params[index], occurrence)
                for index in members
            ]
            for occurrence, place in self.stages[stage]
        ]

    def _array(self, index: int, param: torch.Tensor, occurrence: int) -> torch.Tensor:
        """Normal numbers laid out as a parameter is; entries are numbered row by row."""
        counter = (self.keys[index], self.draws, occurrence)
        numbers = torch_normal_numbers.normals(*counter, param.numel(), param.dtype, param.device)
        return placed(numbers.reshape(param.shape), param)


def _is_zero(scalar: Any) -> bool:
    """Whether a number of the host is 0; of a tensor, which may be elsewhere, nothing is asked."""
    return isinstance(scalar, int | float) and scalar == 0
