"""An optimizer of matrices becomes a program, and beside it the maps of its manifold that it needs.

In: a declaration.  Out: a :class:`MatrixDerivation`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from hamilforge.gen.declare.kinds import FREE, MatrixOptimizer, MatrixRule, Parameter
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.derive.arrays import Array, symbol
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.derive.optimizers.manifold_steps import KEEP, flow_steps
from hamilforge.gen.derive.optimizers.matrix_rule import (
    CHANGE_OF_UNIT,
    MatrixStep,
    before,
    matrix_steps,
    squared_gradient,
    violation_steps,
)
from hamilforge.gen.program.cut import lower_line
from hamilforge.gen.program.ir import Function, Line, names, with_line_names
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.program.optimizers.optimizer import Host, Program

#: Names that generated functions of matrices use for themselves.
_TAKEN = frozenset(
    "np numba njit prange torch math torch_matrices matrix_kernels "
    "matrix_decompositions matrix_equations matrix_functions matrix_rotations "
    "array_at work at room matrix_step matrix_step_ vector_step vector_step_ matrix_solution "
    "solution update update_ prepared prepared_ "
    "stacked in_place reach matrix_reach squared_gradient "
    "foreach constraint coefficients rows items blocks block like real tensor offset group shape "
    "length out total i j k n t abs max min float int range at_least cbrt chosen down equal "
    "greater inverse larger log_cosh other_products root smaller softplus step is_number "
    "plus".split()
)
#: Names that loops over entries could have.
_PATTERN = re.compile(r".*_n|(set|sum|number|size|room_of)_.*")


@dataclass(frozen=True, slots=True)
class MatrixDerivation:
    """An optimizer of matrices and its program; proofs, documents and templates read them.

    Attributes:
        of_vectors: the step of a parameter with one axis, as a column; None where there is none.
        reach: what is positive, or positive definite, where a step is not too long for its
            retraction: a function of the arrays of a step; None where every step has a value.
        squared: <grad, grad> of the gradient in the metric, of a rule on a manifold without a
            state; None of others.
        checks: what is asked of a parameter before the first step, by name: ``constraint`` and
            ``condition_…`` of its manifold; none without one.
    """

    optimizer: MatrixOptimizer
    program: Program
    of_vectors: Function | None
    reach: Function | None
    squared: Function | None
    checks: Mapping[str, Function]

    @property
    def steps(self) -> tuple[Function, ...]:
        """The step of a matrix, and that of a vector if there is one."""
        of_vectors = () if self.of_vectors is None else (self.of_vectors,)
        return (*self.program.functions, *of_vectors)


@remembered
def derive_matrix_optimizer(optimizer: MatrixOptimizer) -> MatrixDerivation:
    """Derive the program of an optimizer of matrices.

    Raises:
        DeclarationError: its method has no form on a manifold.
    """
    spelled = _spelling(optimizer)
    solution = vectors = None
    if isinstance(optimizer, MatrixRule):
        step, vectors = matrix_steps(optimizer, spelled)
    else:
        step, solution = flow_steps(optimizer, spelled)
    bodies = [_body(part) for part in (step, vectors) if part]
    read = {name for body in bodies for line in body for name in names(line.value)}
    scalars = tuple(name for name in step.scalars if name in read)
    function = _function("update", step, bodies[0], scalars)
    of_vectors = _function("update", vectors, bodies[1], scalars) if vectors else None
    solution = solution or MatrixStep(step.arrays[:-1], (), {}, {})
    solved = _function("solution", solution, _body(solution), (*solution.scalars,))
    host = _host(optimizer, step.scalars, scalars, solution.scalars)
    if step.unit is not None:
        idle = [entry for entry in optimizer.numbers if entry.name not in host.inputs]
        numbers = {
            symbol(entry.name): to_sympy(parse(str(entry.default)), {}, {}) for entry in idle
        }
        left = {
            name: (value.xreplace(numbers), nothing) for name, (value, nothing) in step.left.items()
        }
        host = _rescaled(host, step.unit.xreplace(numbers), scalars.index(KEEP), left)
    host = _spelled_out(host)
    program = Program(
        name=optimizer.head.name,
        hyperparameters=_read(optimizer, host),
        settings=(),
        states=tuple(array.name for array in step.arrays[1:-1]),
        scope="coordinate",
        host=host,
        functions=(function,),
        stages=(0,),
        solution=solved,
        shifted=bool(solution.ends),
        boundary=None,
        start_time=Fraction(0),
        decays=(True,),
        options=optimizer.options,
        counts="parameter",
    )
    maps = build_manifold(optimizer.manifold).functions if optimizer.manifold else {}
    checks = {
        name: part for name, part in maps.items() if name.startswith(("constraint", "condition_"))
    }
    return MatrixDerivation(
        optimizer, program, of_vectors, _reach(step, scalars), _squared(optimizer), checks
    )


def claimed_violations(rule: MatrixRule) -> Iterator[tuple[str, Function, Mapping[str, Expr]]]:
    """What is claimed of the constraint after a step.

    Args:
        rule: the declaration.

    Yields:
        The name of the claim; the claim as a function of point, state and gradient whose result is
        ``value``; and what each of its scalars is in hyper-parameters.
    """
    back = {symbol(_spelled(e.name)): symbol(e.name) for e in rule.hyperparameters}
    for name, step in violation_steps(rule, _spelling(rule)):
        (end,) = step.ends.values()
        body = _body(step)
        inputs = (*step.arrays, *map(Array, step.scalars))
        scalars = {key: value.xreplace(back) for key, value in step.scalars.items()}
        yield name, Function(name, inputs, body, (("value", end),)), scalars


def _spelling(optimizer: MatrixOptimizer) -> dict[str, str]:
    """What declared names are called in generated code."""
    own = [entry.name for entry in optimizer.hyperparameters]
    own += optimizer.unknowns
    own += [name for name, _ in (optimizer.manifold.shorthands if optimizer.manifold else ())]
    if isinstance(optimizer, MatrixRule):
        own += [line.target for line in (*optimizer.assignments, *optimizer.of_vectors)]
    return {name: _spelled(name) for name in own}


def _read(optimizer: MatrixOptimizer, host: Host) -> tuple[Parameter, ...]:
    """What may be set and has a meaning: a mass that cancels has none."""
    return tuple(entry for entry in optimizer.numbers if entry.name in host.inputs)


def _spelled(name: str) -> str:
    """A declared name in generated code."""
    taken = name in _TAKEN or keyword.iskeyword(name) or _PATTERN.fullmatch(name)
    return f"{name}_" if taken else name


def _body(step: MatrixStep) -> tuple[Line, ...]:
    """The lines of a step, without those that nothing reads."""
    read = {array.name for array in step.ends.values()}
    kept: list[Line] = []
    for line in reversed(step.lines):
        if line.target.name in read:
            lowered = lower_line(line)
            kept.insert(0, lowered)
            read |= {*names(lowered.value)}
    return tuple(kept)


def _function(
    name: str, step: MatrixStep, body: tuple[Line, ...], scalars: tuple[str, ...]
) -> Function:
    """A function of a step.

    Args:
        name: of the function.
        step: its arrays and ends.
        body: its lines.
        scalars: what it takes of the host.
    """
    results = [(a.name, end) for a, end in zip(step.arrays, step.ends.values(), strict=False)]
    inputs = (*step.arrays, *map(Array, scalars))
    return Function(name, inputs, body, (*results[1:], *results[:1]))


def _squared(optimizer: MatrixOptimizer) -> Function | None:
    """The square of the gradient's norm, where a step may be one of a gradient flow."""
    if not isinstance(optimizer, MatrixRule) or optimizer.manifold is None:
        return None
    if len(optimizer.unknowns) > 1 or optimizer.retraction == FREE:
        return None
    step = squared_gradient(optimizer, _spelling(optimizer))
    return Function("squared_gradient", step.arrays, _body(step), (*step.ends.items(),))


def _reach(step: MatrixStep, scalars: tuple[str, ...]) -> Function | None:
    """What is positive where a step is not too long: the lines of the step that lead there."""
    if not step.reach:
        return None
    ends = {f"reach{number}": array for number, array in enumerate(step.reach)}
    inputs = (*step.arrays, *map(Array, scalars))
    return Function("reach", inputs, _body(replace(step, ends=ends)), tuple(ends.items()))


def _host(
    optimizer: MatrixOptimizer,
    values: Mapping[str, Expr],
    scalars: tuple[str, ...],
    solved: Mapping[str, Expr],
) -> Host:
    """The scalars of a step and of the map to the solution, in hyper-parameters and n.

    Args:
        optimizer: the declaration.
        values: what scalars of a step are worth.
        scalars: those that it reads.
        solved: the same of the map to the solution, which reads all of them.
    """
    taken = {entry.name for entry in optimizer.numbers}
    back = {symbol(_spelled(name)): symbol(name) for name in taken}
    body: dict[str, Line] = {}

    def row(names: Iterable[str], scalars: Mapping[str, Expr]) -> tuple[str, ...]:
        places = []
        for name in names:
            value: Expr = scalars[name].xreplace(back)
            parts = {part.name for part in value.free_symbols} & {*scalars}
            row(sorted(part for part in parts if " " in part), scalars)  # that others are made of
            if value.is_Symbol:
                places.append(value.name)
                continue
            target = f"{name} of step" if name in taken else name  # a hyper-parameter's name
            body[target] = Line(Array(target), lower(value))
            places.append(target)
        return tuple(places)

    stage = row(scalars, values)
    kept = row(solved, solved)
    symbols = {name: symbol(name) for name in taken}
    tests = tuple(
        (lower(to_sympy(test, symbols, {})), message) for test, message in optimizer.requirements
    )
    reads = {name for line in body.values() for name in names(line.value)} | {*stage, *kept}
    memory = tuple((f"last_{name}", place) for name, place in zip(solved, kept, strict=True))
    own = {entry.name for entry in optimizer.hyperparameters}
    inputs = (entry.name for entry in optimizer.numbers if entry.name in own | reads)
    return Host(
        (*inputs, *(["n"] if "n" in reads else ())),
        (),
        tuple(body.values()),
        (stage,),
        memory,
        tuple(name for name, _ in memory),
        (),
        "",
        requirements=tests,
    )


def _rescaled(host: Host, unit: Expr, place: int, left: Mapping[str, tuple[Expr, int]]) -> Host:
    """The host of a step whose V is a momentum times a unit that changes with the learning rate.

    The unit of the last step is remembered; with the sign - after a step of no length, which the
    runtime leaves out.

    Args:
        host: of steps with one unit.
        unit: V by momentum.
        place: of the scalar by which V is multiplied first.
        left: what a step leaves for the next one, and what does nothing, which the first finds; one
            of no length leaves what it found.

    Returns:
        The host in which that has the factor from the last step's unit to this one's.
    """
    (row,) = host.rows
    now, kept, last, keep = map(symbol, ("unit now", "unit kept", "last unit", f"{KEEP} now"))
    known = {"now": now, "kept": kept, "last": last}

    def line(target: Expr, text: str, **values: Expr) -> Line:
        return Line(Array(str(target)), lower(to_sympy(parse(text), {**known, **values}, {})))

    change = symbol(CHANGE_OF_UNIT)
    units = [
        Line(Array(str(now)), lower(unit)),
        line(kept, "where(now > 0, now, -abs(last))"),
        line(change, "where(last == 0, 1, where(kept <= 0, 1, kept/abs(last)))"),
    ]
    ends = [Line(Array(str(keep)), lower(symbol(row[place]) * change))]
    memory = [(str(last), str(kept))]
    for name, (value, nothing) in left.items():
        found, held, target = map(symbol, (before(name), f"last {name}", f"{name} left"))
        units.append(line(found, f"where(last == 0, {nothing}, held)", held=held))
        ends.append(line(target, "where(now > 0, value, found)", value=value, found=found))
        memory.append((str(held), str(target)))
    return replace(
        host,
        body=(*units, *host.body, *ends),
        rows=((*row[:place], str(keep), *row[place + 1 :]),),
        memory=(*host.memory, *memory),
    )


def _spelled_out(host: Host) -> Host:
    """The host with names for what had blanks in its name, which no declared one has."""
    lines = [line.name for line in host.body]
    every = (*host.inputs, *lines, *(name for name, _ in host.memory))
    taken = {name for name in every if " " not in name}

    def free(name: str) -> str:
        return free(f"{name}_") if name in taken else name

    names = {name: free(name.replace(" ", "_")) for name in every if " " in name}
    return replace(
        host,
        body=with_line_names(host.body, names),
        rows=tuple(tuple(names.get(name, name) for name in row) for row in host.rows),
        memory=tuple(
            (names.get(name, name), names.get(place, place)) for name, place in host.memory
        ),
    )
