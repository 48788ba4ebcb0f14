"""The noise of an optimizer: a key for each parameter, and the count of steps that drew.

In: seed, replica and names of parameters.  Out: the keys that kernels take, and tensors of normal
numbers for torch's forms: the same numbers, whatever the device, the order of the parameters and
the form of the step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hamilforge.runtime.core import normal_numbers, torch_normal_numbers
from hamilforge.runtime.core.shards import placed

#: What a group calls the number of its steps that drew.
DRAWS = "draws"
#: The option that chooses among all noise there is.
SEED = "seed"
Tensors = list[torch.Tensor]


@functools.lru_cache(maxsize=65_536)
def _key(seed: int, replica: int, name: str) -> int:
    return normal_numbers.key_of(seed, replica, name)


def names_of(groups: Sequence[dict[str, Any]]) -> list[str]:
    """What each parameter is called: its name, or its number where it has none."""
    names: list[str] = []
    for group in groups:
        own = group.get("param_names")
        count = len(group["params"])
        names += own if own else map(str, range(len(names), len(names) + count))
    return names


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a step.

    Attributes:
        keys: of the parameters of the step.
        draws: how many steps have drawn before.
        stages: of the product: for each stage its draws, the occurrence and which scalar of the row
            multiplies it.
    """

    keys: tuple[int, ...]
    draws: int
    stages: tuple[tuple[tuple[int, int | None], ...], ...]

    @classmethod
    def of(
        cls, groups: Sequence[dict[str, Any]], params: Tensors, stages: Any, replica: int = 0
    ) -> Noise:
        """The noise of a step.

        Args:
            groups: of all parameters.
            params: those of the step.
            stages: the draws of the product.
            replica: the rank among processes whose noise differs.
        """
        seed = groups[0][SEED]
        everything = (param for group in groups for param in group["params"])
        names = dict(zip(map(id, everything), names_of(groups), strict=True))
        keys = tuple(_key(seed, replica, names[id(param)]) for param in params)
        return cls(keys, groups[0][DRAWS], stages)

    @property
    def for_kernels(self) -> tuple[NDArray[np.uint64], int]:
        """What kernels take."""
        return np.array(self.keys, np.uint64), self.draws

    def arrays(
        self, stage: int, params: Tensors, members: Sequence[int], row: Sequence[Any]
    ) -> list[Tensors]:
        """What torch's forms take: for each draw of a stage a list of tensors.

        Args:
            stage: its number.
            params: of the step.
            members: those of a list.
            row: the scalars of the stage.
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
