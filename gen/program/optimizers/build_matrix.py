"""An optimizer of matrices becomes a program, and beside it the maps of its manifold that it needs.

In: a declaration.  Out: a :class:`MatrixDerivation`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.kinds import MatrixOptimizer, MatrixRule, Parameter
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.arrays import Array, symbol
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.derive.optimizers.manifold_steps import flow_steps
from hamilforge.gen.derive.optimizers.matrix_rule import MatrixStep, matrix_step
from hamilforge.gen.program.cut import lower_line
from hamilforge.gen.program.ir import Function, Host, Line, Program, names
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.manifold import build_manifold

#: Names that generated functions of matrices use for themselves.
_TAKEN = frozenset(
    "np numba njit prange torch math torch_matrices matrix_kernels array_at work at room "
    "matrix_step matrix_solution solution update update_ prepared prepared_ stacked in_place "
    "foreach constraint coefficients rows items blocks block like real tensor offset group shape "
    "length out total i j k n t abs max min float int range at_least cbrt chosen down equal "
    "greater inverse larger log_cosh other_products root smaller softplus step is_number "
    "plus".split()
)
#: Names that loops over entries could have.
_PATTERN = re.compile(r".*_n|(set|sum|number|size)_.*")


@dataclass(frozen=True, slots=True)
class MatrixDerivation:
    """An optimizer of matrices and its program; proofs, documents and templates read them.

    Attributes:
        checks: what is asked of a parameter before the first step, by name: ``constraint`` and
            ``condition_…`` of its manifold; none without one.
    """

    optimizer: MatrixOptimizer
    program: Program
    checks: Mapping[str, Function]


@remembered
def derive_matrix_optimizer(optimizer: MatrixOptimizer) -> MatrixDerivation:
    """Derive the program of an optimizer of matrices.

    Raises:
        DeclarationError: its method has no form on a manifold.
    """
    own = [entry.name for entry in optimizer.hyperparameters]
    own += optimizer.unknowns
    own += [name for name, _ in (optimizer.manifold.shorthands if optimizer.manifold else ())]
    if isinstance(optimizer, MatrixRule):
        own += [line.target for line in optimizer.assignments]
    spelled = {name: _spelled(name) for name in own}
    solution: MatrixStep | None = None
    if isinstance(optimizer, MatrixRule):
        step = matrix_step(optimizer, spelled)
    else:
        step, solution = flow_steps(optimizer, spelled)
    function = _function("update", step)
    solved = _function("solution", solution or MatrixStep(step.arrays[:-1], (), {}, {}))
    host = _host(optimizer, step, function, solution, solved)
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
        shifted=solution is not None,
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
    return MatrixDerivation(optimizer, program, checks)


def _read(optimizer: MatrixOptimizer, host: Host) -> tuple[Parameter, ...]:
    """What may be set and has a meaning: a mass that cancels has none."""
    return tuple(entry for entry in optimizer.numbers if entry.name in host.inputs)


def _spelled(name: str) -> str:
    """A declared name in generated code."""
    taken = name in _TAKEN or keyword.iskeyword(name) or _PATTERN.fullmatch(name)
    return f"{name}_" if taken else name


def _function(name: str, step: MatrixStep) -> Function:
    """A function of a step, without lines that nothing reads."""
    ends = dict(zip(step.arrays, step.ends.values(), strict=False))
    read = {array.name for array in ends.values()}
    kept: list[Line] = []
    for line in reversed(step.lines):
        if line.target.name in read:
            lowered = lower_line(line)
            kept.insert(0, lowered)
            read |= {*names(lowered.value)}
    scalars = (scalar for scalar in step.scalars if scalar in read)
    results = [(array.name, end) for array, end in ends.items()]
    return Function(
        name,
        (*step.arrays, *map(Array, scalars)),
        tuple(kept),
        (*results[1:], *results[:1]),
    )


def _host(
    optimizer: MatrixOptimizer,
    step: MatrixStep,
    function: Function,
    solution: MatrixStep | None,
    solved: Function,
) -> Host:
    """The scalars of a step and of the map to the solution, in hyper-parameters and n."""
    taken = {entry.name for entry in optimizer.numbers}
    back = {symbol(_spelled(name)): symbol(name) for name in taken}
    body: dict[str, Line] = {}

    def row(names: Iterable[str], scalars: Mapping[str, Expr]) -> tuple[str, ...]:
        places = []
        for name in names:
            value: Expr = scalars[name].xreplace(back)
            if not value.is_Symbol:
                body[name] = Line(Array(name), lower(value))
            places.append(value.name if value.is_Symbol else name)
        return tuple(places)

    stage = row(function.scalars, step.scalars)
    kept = row(solved.scalars, solution.scalars if solution else {})
    symbols = {name: symbol(name) for name in taken}
    tests = tuple(
        (lower(to_sympy(test, symbols, {})), message) for test, message in optimizer.requirements
    )
    reads = {name for line in body.values() for name in names(line.value)} | {*stage, *kept}
    memory = tuple(
        (f"last_{name}", place) for name, place in zip(solved.scalars, kept, strict=True)
    )
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
