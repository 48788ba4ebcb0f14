"""The noise that a stage reads: which occurrences, and by what each is multiplied.

In: a program and the function of one of its stages.  Out: its draws.  Where the factor is 0, as at
temperature 0, nothing is drawn, and the step is that without noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hamilforge.gen.program.ir import (
    Apply,
    Expr,
    Function,
    Program,
    Ref,
    names,
    parts,
    with_parts,
)
from hamilforge.gen.program.lower import constant


@dataclass(frozen=True, slots=True)
class Draw:
    """An array of noise in a function.

    Attributes:
        name: of the array.
        occurrence: its number in the step, from 0.
        amplitude: the scalar of the function by which it is multiplied wherever it stands; empty
            where there is none.
    """

    name: str
    occurrence: int
    amplitude: str


def draws(program: Program, function: Function) -> tuple[Draw, ...]:
    """What a function of a program draws.

    Args:
        program: of an optimizer.
        function: of one of its stages, with the names that it has in the program.
    """
    read = [name for name in function.arrays if name in program.noises]
    return tuple(
        Draw(name, program.noises.index(name), _amplitude(function, name)) for name in read
    )


def _amplitude(function: Function, noise: str) -> str:
    """The scalar that multiplies an array wherever it stands."""
    common: set[str] | None = None
    for line in function.lines:
        if noise not in names(line.value):
            continue
        bare = sum(part == Ref(noise) for part in parts(line.value))
        for part in parts(line.value):
            if isinstance(part, Apply) and part.op == "mul" and Ref(noise) in part.args:
                scalars = {arg.name for arg in part.args if isinstance(arg, Ref)}
                common = scalars if common is None else common & scalars
                bare -= part.args.count(Ref(noise))
        if bare:
            return ""
    chosen = sorted((common or set()) & {*function.scalars})
    return chosen[0] if chosen else ""


def quiet(program: Program) -> Program:
    """A program whose noise is zero; proofs that say nothing of noise are about it."""
    if not program.noises:
        return program
    zeros: Mapping[str, Expr] = dict.fromkeys(program.noises, constant(0))

    def without(function: Function) -> Function:
        return replace(
            function,
            inputs=tuple(array for array in function.inputs if array.name not in zeros),
            lines=tuple(
                replace(line, value=with_parts(line.expr, zeros)) for line in function.lines
            ),
        )

    return replace(program, functions=tuple(map(without, program.functions)), noises=())
