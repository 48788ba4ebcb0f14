"""The steps inside a loop, as a rule of their own: what is proved of a rule with a loop is of them.

In: a rule with a loop.  Out: the same without, its schedules as hyper-parameters; or, of workers
that take means, a loop of one step as one step.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import mpmath

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import AVERAGE, Name, Node, Operation, numerical
from hamilforge.gen.declare.kinds import Parameter, Rule
from hamilforge.gen.declare.read_loops import LOOPS, PLACE, WORKERS
from hamilforge.gen.declare.read_parts import default_numbers
from hamilforge.gen.program.optimizers.build_rule import Assigned

#: What a mean over workers is multiplied by where workers are one.
SHARE = "share__"
#: Said where a rule has a loop.
OF_INNER = (
    "Loop: what is proved is of the steps inside a loop, what changes only in the outer step and "
    "the schedules of [scope] held."
)


def inner_rule(rule: Assigned) -> Assigned:
    """A rule without its loop; rules without one as they are.

    Schedules become hyper-parameters, by default what they are in the first loop of two workers.

    Raises:
        DeclarationError: a schedule has no value at the defaults.
    """
    if rule.loop is None:
        return rule
    values = default_numbers(rule.hyperparameters)
    values |= {LOOPS: mpmath.mpf(0), WORKERS: mpmath.mpf(2)}
    if isinstance(rule, Rule):
        values_read = [assignment.value for assignment in rule.assignments]
        values_read += [rule.solution] if rule.solution else []
    else:
        values_read = [value for _, value in rule.settings]
    read = {name for value in values_read for name in value.names()}
    schedules = [
        Parameter(name, Fraction(default), domain, "of the loop")
        for name, default, domain in (
            (LOOPS, 0, "real"),
            (PLACE, 1, "real"),
            (WORKERS, 2, "positive"),
        )
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


def loop_of_one_step(rule: Rule) -> Assigned:
    """The step inside and the outer step as one, of workers that take means on a common loss.

    What they have splits into its mean and the deviations from it, and a linear step moves each by
    itself: in the mean all workers are equal, and of deviations the means are 0.

    Args:
        rule: with a loop.

    Returns:
        A rule with :data:`SHARE` times what it takes a mean of: 1 for the mean, 0 for deviations.

    Raises:
        DeclarationError: a schedule has no value at the defaults.
    """
    assert rule.loop is not None
    outer = (
        replace(line, value=replace(line.value, tree=_with_share(line.value.tree)))
        for line in rule.loop.assignments
    )
    share = Parameter(SHARE, Fraction(1), "positive", "of the mean")
    numbers = (*rule.hyperparameters, share)
    lines = (*rule.assignments, *outer)
    return inner_rule(replace(rule, assignments=lines, hyperparameters=numbers))


def _with_share(node: Node) -> Node:
    """An expression with a share of what it takes a mean of."""
    if not isinstance(node, Operation):
        return node
    args = tuple(map(_with_share, node.args))
    if node.op != AVERAGE:
        return replace(node, args=args)
    return Operation("*", (Name(SHARE, node.start, node.stop), *args), node.start, node.stop)
