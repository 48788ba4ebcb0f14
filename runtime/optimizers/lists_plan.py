"""The plan of a step over all tensors at once: which lists its operations take.

A list holds the tensors over which sums run together; where nothing is summed, those of one group,
device and type, which is what torch's operations are fastest with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock
from hamilforge.runtime.optimizers.noise import Noise
from hamilforge.runtime.optimizers.step_plan import Standing, Tensors, strangeness


def obstacle(tensors: Tensors) -> str:
    """Why torch's operations over lists cannot take these tensors; empty if they can."""
    return next(filter(None, map(strangeness, tensors)), "")


class ListsPlan:
    """A step by the form in place.

    Args:
        standing: the tensors.
        owners: the number of each tensor's group.
        domains: in which sum each tensor takes part; None for a rule without sums.
        product: the generated module.
        stages: its functions in place, for each stage.
        among: the numbers of the tensors that go this way; all of them if None.
    """

    def __init__(
        self,
        standing: Standing,
        owners: Sequence[int],
        domains: Sequence[int] | None,
        product: Any,
        stages: Sequence[Callable[..., None]],
        among: Sequence[int] | None = None,
    ) -> None:
        self.standing, self._stages, self._prepared = standing, stages, product.prepared_
        count = len(standing.params)
        arrays = [standing.fixed[k : k + count] for k in range(0, len(standing.fixed), count)]
        members: dict[Hashable, list[int]] = {}
        for index in range(count) if among is None else among:
            param, owner = standing.params[index], owners[index]
            apart = (owner, param.device, param.dtype)
            members.setdefault(apart if domains is None else domains[index], []).append(index)
        #: For each list: the numbers of its tensors, with those of each group, and its arrays.
        self._lists = [
            (
                indices,
                {
                    owner: [k for k, index in enumerate(indices) if owners[index] == owner]
                    for owner in dict.fromkeys(owners[index] for index in indices)
                },
                [[array[index] for index in indices] for array in arrays],
            )
            for indices in members.values()
        ]

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
            noise: of the step, for a rule that draws.
        """
        self.standing.places(grads, check)
        self.advance(grads, clocks, noise)

    def advance(self, grads: Tensors, clocks: Sequence[Clock], noise: Noise | None = None) -> None:
        """Run a stage on tensors that were looked at.

        Args:
            grads: the gradients.
            clocks: of the groups, with the scalars of the step.
            noise: of the step, for a rule that draws.
        """
        for indices, groups, arrays in self._lists:
            gradients = [grads[index] for index in indices]
            for owner, places in groups.items():
                preparation = clocks[owner].row()[: len(NEUTRAL)]
                if preparation != NEUTRAL:
                    points, own = ([a[k] for k in places] for a in (arrays[0], gradients))
                    prepared = self._prepared(points, own, *preparation)
                    for place, gradient in zip(places, prepared, strict=True):
                        gradients[place] = gradient
            clock = clocks[next(iter(groups))]
            row, params = clock.rows[clock.stage], self.standing.params
            drawn = noise.arrays(clock.stage, params, indices, row) if noise else []
            self._stages[clock.stage](*arrays, gradients, *drawn, *row)
