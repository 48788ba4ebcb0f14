"""Numbers that are kept from step to step: which of them have a value only after arrays.

In: the assignments of a step.  Out: the kept scalars that follow from sums over entries.
"""

from __future__ import annotations

from collections.abc import Sequence

from hamilforge.gen.declare.expression import REDUCTIONS
from hamilforge.gen.declare.kinds import Assignment


def following_sums(assignments: Sequence[Assignment], scalars: Sequence[str]) -> tuple[str, ...]:
    """The scalars that follow from sums over entries, in their order.

    Args:
        assignments: in order; what a later one assigns is read by the next step.
        scalars: numbers that are kept.
    """
    following: set[str] = set()
    while True:
        more = {
            assignment.target
            for assignment in assignments
            if assignment.value.functions() & {*REDUCTIONS} or assignment.value.names() & following
        }
        if more <= following:
            return tuple(name for name in scalars if name in following)
        following |= more
