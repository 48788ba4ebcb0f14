"""The program of an optimizer, of whatever form it is declared in.

In: a declaration.  Out: its :class:`Program`, and in which array each of its unknowns lies.
"""

from __future__ import annotations

from hamilforge.gen.declare.kinds import Discretised, Optimizer, Rule
from hamilforge.gen.program.ir import Expr
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.step_values import stored_name

#: An optimizer of any form.
AnyOptimizer = Optimizer | Rule | Discretised


def program_of(optimizer: AnyOptimizer) -> Program:
    """The program of an optimizer.

    Raises:
        DeclarationError: it cannot be derived.
    """
    if isinstance(optimizer, Optimizer):
        return derive(optimizer).program
    return derive_rule(optimizer).program


def arrays_of(optimizer: AnyOptimizer) -> dict[str, str]:
    """The array in which each unknown lies between steps.

    Args:
        optimizer: its unknowns are the point and the arrays of its state.

    Returns:
        By the name of the unknown; ``x`` for the point, unless the parameters hold another place.

    Raises:
        DeclarationError: the program cannot be derived.
    """
    point, *states = optimizer.unknowns
    arrays = {point: "x"} | {name: stored_name(name) for name in states}
    if ahead_of(optimizer) is not None:
        arrays[point] = stored_name(point)
    return arrays


def ahead_of(optimizer: AnyOptimizer) -> Expr | None:
    """Where the parameters are before a step, in the arrays of the unknowns.

    Args:
        optimizer: of any form.

    Returns:
        An expression in these arrays, hyper-parameters and n; None where that follows from no
        other array.

    Raises:
        DeclarationError: the program cannot be derived.
    """
    return None if isinstance(optimizer, Optimizer) else derive_rule(optimizer).first
