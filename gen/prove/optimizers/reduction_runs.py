"""Runs of two programs, of which one is said to be the other: what symbols leave out is looked at.

In: both programs and the reduction that is declared.  Out: the step in which their runs part, if
they do.  What is shown in symbols for all hyper-parameters is shown beside those at which a step
chooses, and of any state beside such as are met in the first steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Reduction
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.runs import (
    Numbers,
    always,
    come_together,
    part_in,
    points,
    quick,
    settings_of_both,
)

DIMENSION, STEPS = 3, 12
#: Their arrays by ours, their hyper-parameters and the number of the next step.
Mapped = Callable[[Mapping[str, Expr], Mapping[str, Expr], Expr], Mapping[str, Expr]]


class ReductionRuns:
    """Runs of two programs side by side, in numbers.

    Args:
        ours: the program that is said to be another one.
        theirs: the other one.
        reduction: at which hyper-parameters.
        mapped: how their state follows from ours.
    """

    def __init__(
        self, ours: Program, theirs: Program, reduction: Reduction, mapped: Mapped
    ) -> None:
        self._ours, self._theirs = ours, theirs
        self._reduction, self._mapped = reduction, mapped

    def parted(self) -> str:
        """The step in which runs from the start part, and at which hyper-parameters; or nothing.

        Noise is drawn anew in each run, so that runs with noise are not compared.

        Raises:
            NotDerivableError: of a reduction as n grows, one of both does not come to that of the
                other, or slowly.
        """
        if self._ours.noises or self._theirs.noises:
            return ""
        if self._reduction.late:
            self._refuse_apart()
            return ""
        for own, other in settings_of_both(self._ours, self._theirs):
            hyper, known = self._in_numbers(own, other)
            try:
                at = {name: float(value) for name, value in known.items()}
                with np.errstate(all="ignore"):
                    count = part_in(
                        points(self._ours, hyper, DIMENSION, STEPS),
                        points(self._theirs, always(at), DIMENSION, STEPS),
                    )
            except (ArithmeticError, TypeError, ValueError):  # no numbers for one of both
                continue
            if count:
                step = -(-count // len(self._ours.stages))
                shown = ", ".join(f"{name} = {value:.3g}" for name, value in hyper(step).items())
                return f"{step} at {shown}"
        return ""

    def _refuse_apart(self) -> None:
        """Look at late steps of a run: as scalars settle, arrays may grow."""
        hyper, known = self._in_numbers(quick(self._ours, ()), quick(self._theirs, ()))

        def mapped(arrays: Numbers, number: int) -> Numbers:
            values = {name: sp.Float(value) for name, value in arrays.items()}
            state = self._mapped(values, known, sp.Integer(number))
            return {"x": arrays["x"]} | {name: float(value) for name, value in state.items()}

        try:
            at = {name: float(value) for name, value in known.items()}
            together = come_together(self._ours, self._theirs, hyper, at, mapped)
        except (ArithmeticError, TypeError, ValueError):
            raise NotDerivableError("late steps have no values in a run") from None
        if not together:
            raise NotDerivableError(
                "in runs, late steps of both do not come to one, or more slowly than is seen"
            )

    def _in_numbers(
        self, own: Numbers, other: Numbers
    ) -> tuple[Callable[[int], Numbers], Mapping[str, Expr]]:
        """Our hyper-parameters by the number of a step, and theirs, as the declaration has them."""
        known = {name: sp.Float(value) for name, value in other.items()}
        known |= {name: to_sympy(value, known) for name, value in self._reduction.at}

        def hyper(n: int) -> Numbers:
            names = {**known, "n": sp.Integer(n)}
            values = self._reduction.values
            return own | {name: float(to_sympy(value, names)) for name, value in values}

        return hyper, known
