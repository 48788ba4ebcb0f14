"""What backends of optimizers are compared with: trajectories of the interpretation.

In: a program.  Out: cases that see each of its operations: at the defaults and at drawn
hyper-parameters, in both precisions, with flags turned, prepared gradients, late steps, states of
any size, gradients beside jumps, and sums that leave the range of float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.read_loops import WORKERS
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.ir import Apply, Const, Reduce, Ref, Select, parts, squared_in
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.preparation import NEUTRAL
from hamilforge.gen.program.optimizers.ranges import within_range
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.runtime.core.domains import is_inside
from hamilforge.runtime.optimizers.verify import Case

SHAPES = ((5,), (3, 4), (1,), (40_000,))
STEPS = 3
#: The number of a step at which a rule that counts does what it does later on, and of the first
#: that has a step before it, whose scalars it remembers.
LATE, SECOND = 1000, 2
#: What a count is: the second step of three ends a loop.
COUNT = 2.0
#: How many workers a rule may have that reads how many there are.
SEVERAL = 3
#: How often hyper-parameters are drawn, in each of three ways, that a rule may not allow.
ATTEMPTS = 100
#: The gradient's sign, the L2 factor, and the factor of decoupled decay.
PREPARATIONS = {"maximize, L2": (-1.0, 0.0625, 1.0), "decoupled decay": (1.0, 0.0, 0.875)}
#: Sizes whose squares kernels scale before they add them up: those of the first leave the range of
#: float64 and are taken where sums are of squares and nothing else leaves it.
LARGE = (1e200, 1e60)
#: Sizes of points and gradients whose sums need an exponent of their own, and where what is added
#: to a norm against a division by 0 is as large as the norm.
SMALL = {"small": (1e-140, 1e-150), "small gradients": (1.0, 1e-13)}
#: A size whose square leaves the range of float64, and a hyper-parameter beside which it does not:
#: their product is of a size that 1 can be seen beside.
EDGE, TINY = 1e155, 1e-306
#: Powers of ten between which entries of a state are that are of that size.
EDGES = (154.5, 155.0)
#: Powers of ten between which entries of any state are drawn, and of one whose squares leave the
#: range of float64.
DECADES, LARGE_DECADES = (-8.0, 3.0), (160.0, 300.0)
#: Operations whose value jumps, and how often an interval around a jump is halved.
JUMPS = ("at_least", "equal", "greater", "sign", "step")
HALVINGS = 30


def reference_cases(program: Program) -> list[Case]:
    """Trajectories of the interpretation: defaults and drawn hyper-parameters, both precisions.

    Two have gradients and points that are prepared: maximised with L2 decay, and with decoupled
    decay.  Others lead where a program does something else: to flags turned, late steps,
    hyper-parameters that it compares with a number, states of any size, and gradients beside those
    at which it jumps; where entries or sums are scaled by kernels and not by the interpretation, to
    sizes for which they are, some beside tiny hyper-parameters, and to zeros.
    """
    defaults = {
        entry.name: COUNT if entry.domain == kinds.COUNT else float(entry.default)
        for entry in program.hyperparameters
    }
    drawn = _drawn(program)
    flags = [entry.name for entry in program.hyperparameters if entry.domain == kinds.FLAG]
    others = {"drawn": drawn}
    cases = []
    for label, hyper in (("defaults", defaults), ("drawn", drawn)):
        for dtype in ("float64", "float32"):
            cases.append(_case(program, label, hyper, dtype=dtype))
        for flag in flags:
            turned = {**hyper, flag: 1.0 - hyper[flag]}
            if _is_allowed(program, turned):
                cases.append(_case(program, f"{label}, {flag} turned", turned))
                others[f"{label}, {flag} turned"] = turned
    for label, hyper in _with_flags(program, flags, (defaults, *others.values())):
        cases.append(_case(program, label, hyper))
        others[label] = hyper
    for name, number in _compared(program, drawn):
        then = {**drawn, name: number}
        cases.append(_case(program, f"{name} becomes {number:g}", drawn, then=then))
    if "n" in program.host.inputs:
        cases.append(_case(program, "late", defaults, n=LATE))
    if program.outer:
        cases.append(_case(program, "drawn again", _drawn(program, seed=12)))
        if program.counts_workers:
            several = _drawn(program, seed=12, workers=SEVERAL)
            cases.append(_case(program, "several workers", several, workers=SEVERAL))
        cases.append(
            _case(program, "the end of a loop", defaults, n=_end_of_loop(program, defaults))
        )
    for label, preparation in PREPARATIONS.items():
        cases.append(_case(program, label, defaults, preparation))
    if program.states:
        for label, hyper in others.items():
            cases.append(_case(program, f"{label}, any state", hyper, decades=DECADES))
    if program.scope != "coordinate":
        return cases + _cases_of_sums(program, drawn)
    if _jumps(program):
        cases.append(_case(program, "at jumps", drawn, decades=DECADES, jumps=True))
    if any(within_range(function) != function for function in program.functions):
        large: dict[str, Any] = {"decades": LARGE_DECADES, "n": SECOND}
        cases.append(_case(program, "large state", drawn, long=True, **large))
        cases.append(_case(program, "no gradients", drawn, sizes=(1.0, 0.0)))
    return cases


def _end_of_loop(program: Program, hyper: dict[str, float]) -> int:
    """The number of the step before the last of the first loop, at least 1."""
    machine = Interpreter(program, dict(hyper), [np.zeros(1)])
    while not machine.memory["last_loops"] and machine.n < LATE:
        machine.skip(1)
    return max(machine.n - 2, 1)


def _cases_of_sums(program: Program, hyper: dict[str, float]) -> list[Case]:
    """Large and small points and gradients, and points of zeros."""
    sizes = [("large gradients", [(1.0, size) for size in LARGE])]
    sizes += [("large points", [(size, 1.0) for size in LARGE])]
    sizes += [("large", [(size, size) for size in LARGE])]
    sizes += [("zeros", [(0.0, 1.0)]), ("zeros, large gradients", [(0.0, size) for size in LARGE])]
    sizes += [(label, [size]) for label, size in SMALL.items()]
    lines = [line for function in program.functions for line in function.lines]
    sums = [line.value for line in lines if isinstance(line.value, Reduce)]
    squares = all(squared_in(value) for value in sums)
    cases = []
    for label, choices in sizes:
        for size in choices if squares else choices[-1:]:
            with np.errstate(all="ignore"):  # of energies that leave the range
                case = _case(program, label, hyper, sizes=size, long=True)
            if _is_finite(case):
                cases.append(case)
                break
    for entry in program.hyperparameters:
        tiny = {**hyper, entry.name: TINY}
        if not (squares and is_inside(TINY, entry.domain) and _is_allowed(program, tiny)):
            continue
        starts: list[dict[str, Any]] = [{}]
        if program.states:
            starts.append({"decades": EDGES, "n": SECOND})
        for start in starts:
            label = f"large, tiny {entry.name}"
            with np.errstate(all="ignore"):
                case = _case(program, label, tiny, sizes=(EDGE, EDGE), long=True, **start)
            if _is_finite(case):
                cases.append(case)
    return cases


def _is_finite(case: Case) -> bool:
    """Whether every entry of a case has a value and a bound of its error."""
    arrays = (array for after in (*case.after, *case.rounding) for own in after for array in own)
    return all(np.isfinite(array).all() for array in arrays)


def _compared(program: Program, hyper: Mapping[str, float]) -> list[tuple[str, float]]:
    """Hyper-parameters, and numbers in their domains with which the host compares them."""
    found: dict[tuple[str, float], None] = {}
    for line in program.host.body:
        for part in parts(line.value):
            match part:
                case Select(subject=Ref(name=name), value=value):
                    found[name, float(value)] = None
                case Apply(op="equal", args=(Ref(name=name), Const(value=value))):
                    found[name, float(value)] = None
    domains = {entry.name: entry.domain for entry in program.hyperparameters}
    return [
        (name, number)
        for name, number in found
        if domains.get(name, kinds.FLAG) != kinds.FLAG
        and is_inside(number, domains[name])
        and _is_allowed(program, {**hyper, name: number})
    ]


def _jumps(program: Program) -> bool:
    """Whether a stage has values that jump."""
    return any(
        isinstance(part, Apply) and part.op in JUMPS
        for function in program.functions
        for line in function.lines
        for part in parts(line.value)
    )


def _with_flags(
    program: Program, flags: list[str], known: tuple[dict[str, float], ...]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Hyper-parameters with each value of a flag that none of the known ones has."""
    for flag in flags:
        for value in (0.0, 1.0):
            if all(hyper[flag] != value for hyper in known):
                drawn = _drawn(program, fixed={flag: value})
                if drawn[flag] == value:
                    yield f"{flag} = {value:g}", drawn


def _drawn(
    program: Program, seed: int = 7, workers: int = 1, fixed: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Drawn hyper-parameters that a rule allows.

    Where it allows none of those drawn first, they are near their defaults, or some are defaults;
    all are if it allows none of these either.

    Args:
        program: of the rule.
        seed: of the draws.
        workers: how many there are.
        fixed: what is not drawn, if anything.
    """
    generator = np.random.default_rng(seed)
    for attempt in range(3 * ATTEMPTS):
        drawn = {}
        for parameter in program.hyperparameters:
            default = float(parameter.default)
            width = 0.9 if parameter.domain in kinds.BETWEEN_0_AND_1 else 0.5
            number = float(generator.uniform(0.1, width))
            if parameter.domain == kinds.COUNT:
                number = COUNT
            elif parameter.domain == kinds.FLAG:
                number = float(number > 0.3)
            elif attempt >= 2 * ATTEMPTS:
                number = default if generator.integers(2) else number
            elif attempt >= ATTEMPTS:
                number = default * float(generator.uniform(0.99, 1.01))
            drawn[parameter.name] = number
        drawn |= fixed or {}
        if _is_allowed(program, drawn, workers):
            return drawn
    return {parameter.name: float(parameter.default) for parameter in program.hyperparameters}


def _is_allowed(program: Program, hyper: Mapping[str, float], workers: int = 1) -> bool:
    """Whether hyper-parameters meet what a rule requires of them."""
    numbers = {WORKERS: float(workers), **hyper}
    tests = (evaluate(test, numbers, FLOAT64) for test, _ in program.host.requirements)
    return all(test > 0 for test in tests)


def _case(
    program: Program,
    label: str,
    hyper: dict[str, float],
    preparation: tuple[float, float, float] = NEUTRAL,
    *,
    dtype: str = "float64",
    then: dict[str, float] | None = None,
    sizes: tuple[float, float] = (1.0, 1.0),
    n: int = 1,
    decades: tuple[float, float] | None = None,
    jumps: bool = False,
    long: bool = False,
    workers: int = 1,
) -> Case:
    """A trajectory of the interpretation.

    Args:
        program: the program.
        label: what the case is called.
        hyper: the hyper-parameters.
        preparation: the gradient's sign, the L2 factor and the factor of decoupled decay.
        dtype: the type of the arrays.
        then: the hyper-parameters after the first step, if they change.
        sizes: of points and of gradients.
        n: the number of the first step.
        decades: powers of ten between which entries of the state are drawn; if None, the state is
            what the program begins with.
        jumps: whether gradients are beside jumps.
        long: whether sums may leave the range of float64; long numbers are slow, and those of the
            largest tensor are left out.
        workers: how many there are; means over them are what states hold.
    """
    generator = np.random.default_rng(3)
    shapes = SHAPES[:-1] if long else SHAPES

    def draw(size: float) -> list[Any]:
        arrays = (size * generator.standard_normal(shape) for shape in shapes)
        return [array.astype(dtype) for array in arrays]

    point, slope = sizes
    first = draw(point)
    machine = Interpreter(
        program, dict(hyper), first, preparation=preparation, long=long, workers=workers
    )
    machine.skip(n - 1)
    begin = (machine.t, n, tuple(machine.memory.values()))
    rounding = machine.start_rounding()
    case = Case(
        label,
        dtype,
        [hyper, *[then or hyper] * (STEPS - 1)],
        preparation,
        begin,
        machine.start_row(),
        machine.start_row_rounding(),
        [machine.x, *(list(tensors) for tensors in machine.states.values())],
        [rounding[name] for name in program.states],
        keys=machine.keys,
        workers=workers,
    )
    if decades is not None:
        for tensors in machine.states.values():
            for k, shape in enumerate(shapes):
                tensors[k] = 10 ** generator.uniform(*decades, shape)
                if long:  # a momentum
                    tensors[k] *= generator.choice((-1, 1), shape)
    while len(case.ends) < STEPS:
        if machine.stage == 0:
            machine.hyper = dict(case.hyper[len(case.ends)])
        case.stages.append(machine.stage)
        case.draws.append(machine.draws)
        gradients = draw(slope)
        machine.loss = float(generator.uniform(0.5, 2.0)) if program.reads_loss else machine.loss
        case.losses.append(machine.loss)
        if jumps:
            gradients = _beside_jumps(machine, gradients)
        if machine.is_exchange:  # the means are those of workers that differ
            for name in program.averages:
                means = zip(machine.states[name], draw(point), strict=True)
                machine.states[name] = [own + other for own, other in means]
        case.points.append(machine.x)
        case.states.append([*machine.states.values()])
        case.gradients.append(gradients)
        case.rows.append(machine.row())
        case.row_rounding.append(machine.row_rounding())
        operands = machine.operands(gradients)
        case.scales.append([operands[name] for name in ("x", *program.states)])
        rounding = machine.rounding(gradients)
        case.rounding.append([rounding[name] for name in ("x", *program.states)])
        machine.call(gradients)
        case.after.append([machine.x, *machine.states.values()])
        if machine.stage == 0:
            memory = tuple(machine.memory.values())
            case.memory_rounding.append(machine.memory_rounding())
            case.ends.append((memory, machine.solution(), machine.solution_rounding()))
    return case


def _beside_jumps(machine: Interpreter, gradients: list[Any]) -> list[Any]:
    """Entries beside those at which the next stage jumps most, on either side by turns."""
    ends = [[-2 - abs(array) for array in gradients], [2 + abs(array) for array in gradients]]
    values = [machine.after(end) for end in ends]
    for _ in range(HALVINGS):
        middle = [(low + high) / 2 for low, high in zip(*ends, strict=True)]
        there = machine.after(middle)
        for k, point in enumerate(middle):
            below, above = (
                sum(abs(there[name][k] - value[name][k]) for name in there) for value in values
            )
            upper = above > below
            for end, value, chosen in ((0, values[0], upper), (1, values[1], ~upper)):
                ends[end][k] = np.where(chosen, point, ends[end][k])
                for name, arrays in value.items():
                    arrays[k] = np.where(chosen, there[name][k], arrays[k])
    turns = (np.arange(array.size).reshape(array.shape) % 2 == 1 for array in gradients)
    return [np.where(turn, low, high) for turn, low, high in zip(turns, *ends, strict=True)]
