"""Which parameters of a group count their steps together.

A rule whose sums do not reach over several tensors counts for each parameter, from its first
gradient; one that has none in a step stays where it is.  In: groups with a ``clock``, where most
parameters stand, and in ``late``, by their numbers, the clocks of those that stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch

from hamilforge.runtime.optimizers.clock import Clock

Group = dict[str, Any]
#: What a group calls the clocks of the parameters that stand elsewhere.
LATE = "late"


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


class Places:
    """Where the clocks of parameters are kept, which stay with them if the lists of groups change.

    Args:
        groups: of parameters.
    """

    def __init__(self, groups: list[Group]) -> None:
        self._listed = [(group, [*group["params"]]) for group in groups]
        #: Of parameters that are in no group and still have a state.
        self._elsewhere: dict[torch.Tensor, Clock] = {}
        self._begun: set[torch.Tensor] = set()

    def begin(self, params: Iterable[torch.Tensor]) -> None:
        """Note parameters that have a state from now on."""
        self._begun.update(params)

    def follow(
        self,
        groups: list[Group],
        kept: Collection[torch.Tensor],
        has_state: Callable[[torch.Tensor], bool],
        begin: Clock,
    ) -> None:
        """Find each parameter's clock again; one that is new, or has lost its state, begins.

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
                clock = known.pop(param, begin)
                if has_state(param):
                    self._begun.add(param)
                elif param in self._begun:
                    self._begun.remove(param)
                    clock = begin
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
