"""The noise that a stage reads: which occurrences, and by what each is multiplied.

In: a program and the function of one of its stages.  Out: its draws.  Where the factor is 0, as at
temperature 0, nothing is drawn, and the step is that without noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from hamilforge.gen.program.ir import Apply, Expr, Function, Ref, names, needed, parts, with_parts
from hamilforge.gen.program.lower import add, constant
from hamilforge.gen.program.optimizers.optimizer import Host, Program

ZERO = constant(0)


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
    """A program whose noise is zero, without the scalars that only noise needs.

    Proofs that say nothing of noise are about it.
    """
    if not program.noises:
        return program
    functions = tuple(_without(function, program.noises) for function in program.functions)
    rows = []
    for index, row in zip(program.calls, program.host.rows, strict=True):
        line_of = dict(zip(program.functions[index].scalars, row, strict=True))
        rows.append(tuple(line_of[name] for name in functions[index].scalars))
    boundary = program.boundary
    if boundary is not None:
        ends = {end.name: getattr(boundary, end.name) for end in fields(boundary)}
        still = {key: _at_zero(end, program.noises) for key, end in ends.items()}
        boundary = replace(boundary, **still)
    host = _needed(replace(program.host, rows=tuple(rows)))
    return replace(program, functions=functions, host=host, boundary=boundary, noises=())


def _without(function: Function, noises: Sequence[str]) -> Function:
    """A function whose noise is zero, and its inputs that are read then."""
    lines = tuple(
        replace(line, value=_at_zero(line.expr, noises))
        if {*noises} & {*names(line.value)}
        else line
        for line in function.lines
    )
    read = {name for line in lines for name in names(line.value)}
    inputs = tuple(
        array
        for array in function.inputs
        if array.name in read or (not array.is_scalar and array.name not in noises)
    )
    return replace(function, inputs=inputs, lines=lines)


def _needed(host: Host) -> Host:
    """A host with the lines and the memory that its rows need."""
    wanted = {*host.solution, host.step, host.closes, *(name for name, _ in host.guards)}
    wanted.update(*host.rows)
    count = 0
    while count < len(wanted):
        count = len(wanted)
        wanted = needed(host.body, wanted)
        wanted |= {line for name, line in host.memory if name in wanted}
    return replace(
        host,
        body=tuple(line for line in host.body if line.name in wanted),
        memory=tuple(kept for kept in host.memory if kept[0] in wanted),
    )


def _at_zero(expr: Expr, noises: Sequence[str]) -> Expr:
    return _without_zeros(with_parts(expr, dict.fromkeys(noises, ZERO)))


def _without_zeros(expr: Expr) -> Expr:
    """An expression without terms that are zero times something."""
    if not isinstance(expr, Apply) or expr.op not in ("add", "mul", "neg"):
        return expr
    args = [_without_zeros(arg) for arg in expr.args]
    if expr.op == "add":
        kept = [arg for arg in args if arg != ZERO]
        return add(*kept) if kept else ZERO
    return ZERO if ZERO in args else Apply(expr.op, tuple(args))
