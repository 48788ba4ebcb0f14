"""The first two steps of a rule, with weight decay on.

They show what bias correction does, on which side of a root eps stands, in which order weights
decay, and how steps are counted.
"""

from __future__ import annotations

import random
from functools import partial

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, Letter
from hamilforge.gen.derive.symbols import LOSS
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.card_names import PLAIN, Names
from hamilforge.gen.prove.optimizers.choices import CHOICES
from hamilforge.gen.prove.optimizers.symbolic_steps import LARGE, SymbolicSteps, decay

#: Points before the first and the second step, and the gradients there.
THETA, G = (tuple(map(Letter, names)) for names in (("theta0", "theta1"), ("g1", "g2")))
#: How many values of gradients, points and losses are drawn to see whether a choice is theirs.
DRAWS = 24
#: With how many digits, which are more than a choice is decided by.
DIGITS = 60
#: From which power of ten to which.
DECADES = (-12, 12)


class _FirstSteps(SymbolicSteps):
    """Steps in which a choice that depends on gradients, points or losses stays one."""

    def _is_open(self, difference: Expr) -> bool:
        """Whether it depends on the letters of a step which way a choice goes.

        What does not choose itself is 0 nowhere but at single points, which do not count.
        """
        if not difference.has(*CHOICES):
            return False
        letters = sorted(difference.atoms(Letter), key=str)
        known = {symbol: sp.Float(value, DIGITS) for symbol, value in self.known.items()}
        generator = random.Random(0)
        decisions = set()
        for _ in range(DRAWS if letters else 0):
            drawn = {s: sp.Float(10 ** generator.uniform(*DECADES), DIGITS) for s in letters}
            decisions.add(self._vanishes(difference.xreplace(known | drawn)))
            if len(decisions) > 1:
                return True
        return False


def first_steps(program: Program, names: Names = PLAIN) -> dict[str, str]:
    """The displacements of the first two steps.

    Args:
        program: of a rule.
        names: on its card.

    Raises:
        NotDerivableError: a step has no value.

    Returns:
        Texts by the number of the step: in ``theta0`` and ``theta1``, where the parameters are
        before each, the gradients ``g1`` and ``g2``, L2 decay in them, ``weight_decay`` where it is
        decoupled, the losses ``J1`` and ``J2`` where they are read, and the hyper-parameters.  A
        gradient is the same at all points of its step.
    """
    steps = _FirstSteps(program, THETA[0])
    preparation = decay(program, steps.hyper)
    l2 = preparation[1]
    texts = {}
    for number, (theta, g) in enumerate(zip(THETA, G, strict=True)):
        steps.arrays["x"] = theta
        steps.loss = Letter(f"{LOSS}{number + 1}")
        steps.step(partial(_without, g, l2), preparation)
        moved = steps.arrays["x"] - theta
        if moved.has(sp.zoo, sp.nan, sp.oo):
            raise NotDerivableError(f"step {number + 1} has no value")
        texts[str(number + 1)] = names.text(_settled(moved))
    return texts


def _without(g: Expr, l2: Expr, point: Expr) -> Expr:
    """The gradient to which L2 decay is added to make g."""
    return g - l2 * point


def _settled(expr: Expr) -> Expr:
    """A displacement in a short form."""
    forms = [expr, sp.factor_terms(expr)]
    if sp.count_ops(expr) <= LARGE:
        forms.append(sp.factor_terms(sp.cancel(sp.together(expr))))
        forms.append(sp.factor(forms[-1]))
    return min(forms, key=lambda form: (sp.count_ops(form), len(str(form))))
