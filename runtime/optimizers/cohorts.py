"""Which parameters of a group count their steps together.

A rule whose sums do not reach over several tensors counts for each parameter, from its first
gradient; one that has none in a step stays where it is.  In: groups with a ``clock``, where most
parameters stand, and in ``late``, by their numbers, the clocks of those that stand elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch

from hamilforge.runtime.optimizers.clock import Clock

Group = dict[str, Any]
#: What a group calls the clocks of the parameters that stand elsewhere, and the numbers of those
#: that have no part in a step of several gradients.
LATE, RESTING = "late", "resting"


class Cohorts:
    """Rows of scalars: one for each group, then one for each other clock in a group.

    Args:
        groups: of parameters.

    Attributes:
        members: for each row the number of its group, and its clock before it is latched.
        rows: for each group the row of each parameter.
    """

    def __init__(self, groups: list[Group]) -> None:
        self.members = [(number, group["clock"]) for number, group in enumerate(groups)]
        self.rows: list[list[int]] = []
        for number, group in enumerate(groups):
            own: dict[Clock, int] = {}
            rows = [number] * len(group["params"])
            for index, clock in group[LATE].items():
                if clock not in own:
                    own[clock] = len(self.members)
                    self.members.append((number, clock))
                rows[index] = own[clock]
            self.rows.append(rows)


def advance(
    group: Group,
    number: int,
    rows: list[int],
    moved: Collection[int],
    ticked: Mapping[int, Clock],
    step: Callable[[Clock], Clock],
) -> None:
    """Let the parameters that had a gradient go on.

    Args:
        group: of parameters.
        number: its number, which is that of its clock's row.
        rows: the row of each parameter.
        moved: the numbers of the parameters that had a gradient.
        ticked: the latched clock of each row.
        step: from a latched clock to the next.
    """
    if not group[LATE] and len(moved) == len(rows):
        group["clock"] = step(ticked[number])
        return
    before = group["clock"]
    if any(rows[index] == number for index in moved):
        group["clock"] = step(ticked[number])
    late: dict[int, Clock] = {}
    for index, row in enumerate(rows):
        at_rest = before if row == number else group[LATE][index]
        clock = step(ticked[row]) if index in moved else at_rest
        if clock != group["clock"]:
            late[index] = clock
    group[LATE] = late


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


class Places:
    """Where the clocks of parameters are kept, which stay with them if the lists of groups change.

    Args:
        groups: of parameters.
    """

    def __init__(self, groups: list[Group]) -> None:
        self._listed = [(group, [*group["params"]]) for group in groups]
        #: Of parameters that are in no group and still have a state.
        self._elsewhere: dict[torch.Tensor, Clock] = {}

    def follow(
        self,
        groups: list[Group],
        kept: Collection[torch.Tensor],
        has_state: Callable[[torch.Tensor], bool],
        begin: Clock,
    ) -> None:
        """Find each parameter's clock again; one without a state begins.

        Args:
            groups: as they are now.
            kept: the parameters of which anything is kept.
            has_state: whether the arrays of a parameter's state are there.
            begin: the clock of a parameter that begins.
        """
        known = dict(self._elsewhere)
        for group, params in self._listed:
            for index, param in enumerate(params) if LATE in group else ():  # else it was refused
                known[param] = group[LATE].get(index, group["clock"])
        for group in groups:
            late: dict[int, Clock] = {}
            for index, param in enumerate(group["params"]):
                clock = known.pop(param, begin) if has_state(param) else begin
                if clock != group["clock"]:
                    late[index] = clock
            clocks = [*late.values()]
            if clocks and len(clocks) == len(group["params"]) == clocks.count(clocks[0]):
                group["clock"], late = clocks[0], {}  # all stand there
            group[LATE] = late
        self._listed = [(group, [*group["params"]]) for group in groups]
        self._elsewhere = {
            param: clock for param, clock in known.items() if param in kept and has_state(param)
        }
