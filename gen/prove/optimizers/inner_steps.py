"""The steps inside a loop, as a rule of their own: what is proved of a rule with a loop is of them.

In: a rule with a loop.  Out: the same without, its schedules as hyper-parameters.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import mpmath

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import numerical
from hamilforge.gen.declare.kinds import Parameter, Rule
from hamilforge.gen.declare.read_loops import LOOPS, PLACE, WORKERS
from hamilforge.gen.declare.read_parts import default_numbers
from hamilforge.gen.program.optimizers.build_rule import Assigned

#: Said where a rule has a loop.
OF_INNER = (
    "Loop: what is proved is of the steps inside a loop, what changes only in the outer step and "
    "the schedules of [scope] held."
)


def inner_rule(rule: Assigned) -> Assigned:
    """A rule without its loop; rules without one as they are.

    Schedules become hyper-parameters, by default what they are in the first loop.

    Raises:
        DeclarationError: a schedule has no value at the defaults.
    """
    if not isinstance(rule, Rule) or rule.loop is None:
        return rule
    values = default_numbers(rule.hyperparameters)
    values |= {LOOPS: mpmath.mpf(0), WORKERS: mpmath.mpf(1)}
    values_read = [assignment.value for assignment in rule.assignments]
    values_read += [rule.solution] if rule.solution else []
    read = {name for value in values_read for name in value.names()}
    schedules = [
        Parameter(name, Fraction(default), "real", "of the loop")
        for name, default in ((LOOPS, 0), (PLACE, 1))
        if name in read
    ]
    for name, expression in rule.loop.schedules:
        try:
            values[name] = numerical(expression.tree, values)
            default = Fraction(float(values[name]))
        except (ArithmeticError, TypeError, ValueError) as error:
            message = "has no finite value at the defaults where k = 0"
            raise DeclarationError.at(rule.head.source, message, "scope", name) from error
        schedules.append(Parameter(name, default, "real", "schedule"))
    numbers = (*rule.hyperparameters, *schedules)
    return replace(rule, loop=None, hyperparameters=numbers, requirements=())
