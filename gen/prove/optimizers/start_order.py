"""Order of a method for a gradient system from where it begins, by measuring it.

In: a discretised optimizer.  Out: the order that its steps have from the declared start, where the
equations may be singular: Adagrad's ``theta' = -g/sqrt(s)``, ``s' = g**2`` begins with an infinite
speed, and the sum of ``sqrt(h)/sqrt(n)`` is off its integral by a multiple of ``sqrt(h)``, whatever
the order is later on.  The program runs over a short time, in which the start is most of the error,
on a smooth loss without a critical point; ``end(h) - end(h/2)`` falls like ``h**p``, and ``p`` is
extrapolated from its slopes, whose own errors fall like ``sqrt(h)``.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from hamilforge.gen.declare.kinds import Discretised
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.prove.optimizers.gradient_order import STEP, with_free_step

#: How much time passes, and how often it is halved to a step.
SPAN = Fraction(1, 64)
HALVINGS = range(4, 10)
POINT = (0.3, 0.7)
#: How far the last two extrapolations may be off a multiple of a half.
ROOM = 0.05


def order_from_start(optimizer: Discretised) -> Fraction | None:
    """The measured order from the declared start, with parameters of the system at their defaults.

    Returns:
        A multiple of one half; None where the slopes settle at none.
    """
    program = quiet(derive_rule(with_free_step(optimizer)).program)
    values = {entry.name: float(entry.default) for entry in program.hyperparameters}
    ends = []
    for halving in HALVINGS:
        count = 2**halving
        machine = Interpreter(program, values | {STEP: float(SPAN / count)}, [np.array(POINT)], n=1)
        for _ in range(count * len(program.stages)):
            machine.step([_gradient(machine.x[0])])
        ends.append(machine.solution()[0])
    distances = np.array([abs(coarse - fine).max() for coarse, fine in pairwise(ends)])
    if not np.isfinite(distances).all() or not distances.all():
        return None
    slopes = -np.diff(np.log2(distances))
    found = [
        float(fine + (fine - coarse) / (np.sqrt(2) - 1)) for coarse, fine in pairwise(slopes[-3:])
    ]
    nearest = Fraction(round(2 * found[-1]), 2)
    return nearest if all(abs(order - nearest) <= ROOM for order in found) else None


def _gradient(x: Any) -> Any:
    """Of ``J = 3 (x0 + x1)/2 - cos(x0 + x1/2)``."""
    wave = np.sin(x[0] + x[1] / 2)
    return np.array([1.5 + wave, 1.5 + wave / 2])
