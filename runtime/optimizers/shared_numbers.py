"""Numbers that parameters share: kept scalars that follow from sums over several of them.

Each parameter has such a number in an array of its state, whose entries are all equal.  In: the
parameters of a scope of sums, which of them move and which rest.  Out: all of them have the number
of those that move, after each step; who begins late begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch

from hamilforge.runtime.core.shards import placed, whole

State = Mapping[torch.Tensor, MutableMapping[str, Any]]


class SharedNumbers:
    """The arrays of a state that are one number for all parameters of a scope of sums.

    Args:
        names: of the arrays.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        #: For each scope a parameter that moves, and those that rest.
        self._scopes: list[tuple[torch.Tensor, list[torch.Tensor]]] = []

    def note(self, scopes: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]]) -> None:
        """Remember who moves until something changes.

        Args:
            scopes: for each scope of sums the parameters that move and those that rest.
        """
        self._scopes = [(moving[0], [*resting]) for moving, resting in scopes if moving and resting]

    def spread(self, state: State) -> None:
        """After a step: give those that rest the numbers of those that move."""
        for moving, resting in self._scopes:
            self.hand_on(moving, resting, state)

    def hand_on(self, source: torch.Tensor, params: Sequence[torch.Tensor], state: State) -> None:
        """Give parameters the numbers of another one.

        Args:
            source: who has them.
            params: who get them.
            state: of each parameter.
        """
        for name in self._names:
            number = whole(state[source][name]).flatten()[0]
            for param in params:
                if param in state and name in state[param]:
                    state[param][name] = placed(number.expand(param.shape).contiguous(), param)
