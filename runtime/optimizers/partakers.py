"""Which parameters take part in a step of several gradients.

In: groups of parameters and their gradients, stage by stage.  Out: gradients of the same parameters
in all of its stages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch

from hamilforge.runtime.optimizers.cohorts import Group

#: What a group calls the numbers of its parameters that rest.
RESTING = "resting"


class Partakers:
    """The parameters that take part in a step of several gradients: in all of its stages.

    These are the parameters that have a gradient in its first stage.  Where one of them has none
    later, the loss does not depend on it there: its gradient is 0, unless none has any.  All others
    rest until the next step begins.

    Args:
        groups: of parameters; those that rest are known by number where a state was loaded.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._resting = {
            group["params"][index]
            for group in groups
            for index in group.get(RESTING, ())
            if index < len(group["params"])
        }

    def note(self, groups: list[Group]) -> None:
        """Write into each group the numbers of its parameters that rest."""
        for group in groups:
            own = enumerate(group["params"])
            group[RESTING] = [index for index, param in own if param in self._resting]

    @contextlib.contextmanager
    def stage(
        self, groups: list[Group], has_state: Callable[[torch.Tensor], bool]
    ) -> Iterator[None]:
        """Let gradients be those of the step, while a stage runs.

        Args:
            groups: of parameters, with their clocks.
            has_state: whether the arrays of a parameter's state are there.
        """
        params: list[torch.Tensor] = [param for group in groups for param in group["params"]]
        taking = [p for p in params if p not in self._resting and has_state(p)]
        if groups[0]["clock"].stage and not taking:  # nothing is left of the step
            for group in groups:
                group["clock"] = group["clock"]._replace(stage=0)
        if groups[0]["clock"].stage == 0:
            self._resting = {param for param in params if param.grad is None}
            yield
            return
        known = {*taking}
        changed: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for param in params if any(p.grad is not None for p in taking) else ():
            if (param in known) != (param.grad is not None):
                changed.append((param, param.grad))
                zero = torch.zeros_like(param, requires_grad=False)
                param.grad = zero if param in known else None
        try:
            yield
        finally:
            for param, gradient in changed:
                param.grad = gradient
