"""Runs of programs in numbers, beside what is said of them in symbols.

In: a program with values of its hyper-parameters.  Out: where its points go with given gradients.
What is proved of a step anywhere, or of the limit of its scalars, leaves out what the first steps
do from where they begin and how arrays grow meanwhile; a run has all of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hamilforge.gen.declare.kinds import BETWEEN_0_AND_1, COUNT, FLAG, ZERO_IN_DOMAIN
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.settings import Settings

Numbers = dict[str, float]
#: How many drawn settings are tried, and how far from each other points are that are apart.
DRAWN, APART = 4, 1e-8
#: How many steps of a run are few and many, and a rate of forgetting with which they are.  Errors
#: are up to a share of what they are errors of after many, or have fallen so many times.
FEW, MANY, FORGETS = 100, 1600, 0.8
ALIKE, FALLS = 1e-3, 3.0
#: How many gradients are the same before steps that are compared.
SAME = 30
#: Of point and arrays at the beginning.
SEED = 5


def run(
    program: Program,
    hyper: Callable[[int], Mapping[str, float]],
    gradient: Callable[[Any], Any],
    start: Any,
    steps: int,
) -> Iterator[dict[str, Any]]:
    """Points and states of runs in one dimension, side by side, without noise.

    Args:
        program: without loops, and without sums over entries if there are several.
        hyper: its hyper-parameters in a step, by its number from 1.
        gradient: at the points, `(runs,)`.
        start: the points at the beginning, `(runs,)`.
        steps: how many.

    Yields:
        The arrays by name, before the first step and after each.
    """
    machine = _machine(program, hyper(1), start)
    yield _arrays(machine)
    for number in range(1, steps + 1):
        machine.hyper = dict(hyper(number))
        _step(machine, gradient)
        yield _arrays(machine)


def always(hyper: Mapping[str, float]) -> Callable[[int], Mapping[str, float]]:
    """The same hyper-parameters in each step."""
    return lambda _: hyper


def after_a_step(
    program: Program, hyper: Mapping[str, float], arrays: Numbers, slope: float, number: int
) -> Numbers:
    """Point and state after one step in one dimension, without noise.

    Args:
        program: without loops.
        hyper: its hyper-parameters.
        arrays: point and state before it.
        slope: the gradient, at all points.
        number: of the step.

    Returns:
        The arrays by name.
    """
    machine = _machine(program, hyper, [arrays["x"]])
    machine.skip(number - 1)
    machine.states = {name: [np.full(1, arrays[name])] for name in program.states}
    _step(machine, lambda x: np.full_like(x, slope))
    return alone(_arrays(machine))


def _machine(program: Program, hyper: Mapping[str, float], start: Any) -> Interpreter:
    """A program without noise before its first step."""
    with np.errstate(all="ignore"):
        return Interpreter(quiet(program), dict(hyper), [np.array(start, float)])


def _step(machine: Interpreter, gradient: Callable[[Any], Any]) -> None:
    """A whole step."""
    with np.errstate(all="ignore"):  # runs that leave the numbers say nothing
        for _ in machine.program.stages:
            machine.step([gradient(machine.x[0])])


def _arrays(machine: Interpreter) -> dict[str, Any]:
    """Point and state by name."""
    return {name: array for name, (array,) in {"x": machine.x, **machine.states}.items()}


def alone(arrays: Mapping[str, Any]) -> Numbers:
    """The arrays of one run as numbers."""
    return {name: float(array[0]) for name, array in arrays.items()}


def quick(program: Program, fixed: Collection[str]) -> Numbers:
    """Hyper-parameters with which little is remembered for long, without weight decay.

    Args:
        program: of a rule.
        fixed: those that are as by default.
    """
    values = {}
    for entry in program.hyperparameters:
        value = float(entry.default)
        if entry.name not in fixed and entry.domain in BETWEEN_0_AND_1:
            value = min(value, FORGETS)
        elif entry.name not in fixed and value > 0 and entry.domain != COUNT:
            value = max(value, 1 - FORGETS)
        values[entry.name] = value
    return values | ({"weight_decay": 0.0} if program.own_decay else {})


def is_near(few: float, many: float) -> bool:
    """Whether relative errors after few and after many steps are of something that runs come to."""
    return many <= ALIKE or many < few / FALLS


def points(
    program: Program, hyper: Callable[[int], Mapping[str, float]], dimension: int, steps: int
) -> Iterator[Any]:
    """The points of a run with drawn gradients and losses, the same for all programs.

    Args:
        program: without loops and noise.
        hyper: its hyper-parameters in a step, by its number from 1.
        dimension: of the point.
        steps: how many.

    Yields:
        `(dimension,)`: where the next gradient is taken, after each stage.
    """
    generator = np.random.default_rng(SEED)
    machine = Interpreter(program, dict(hyper(1)), [generator.standard_normal(dimension)])
    for number in range(1, steps + 1):
        machine.hyper = dict(hyper(number))
        for _ in program.stages:
            machine.loss = float(generator.uniform(0.5, 2.0))
            machine.step([generator.standard_normal(dimension)])
            yield machine.x[0]


def part_in(ours: Iterable[Any], theirs: Iterable[Any]) -> int:
    """The number of the first points, from 1, in which two runs differ; 0 if none do.

    Points that are not finite end both.
    """
    for number, (left, right) in enumerate(zip(ours, theirs, strict=True), start=1):
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            break
        if abs(left - right).max() > APART * max(1.0, abs(right).max()):
            return number
    return 0


def come_together(
    ours: Program,
    theirs: Program,
    hyper: Callable[[int], Mapping[str, float]],
    other: Mapping[str, float],
    mapped: Callable[[Numbers, int], Numbers],
) -> bool:
    """Whether a step of both from where ours is takes them to one place, as its number grows.

    Args:
        ours: is run from its start, with a gradient of 1 and with drawn ones of either sign.
        theirs: takes a step beside a late one of it.
        hyper: of ours in a step, by its number from 1.
        other: the hyper-parameters of theirs.
        mapped: from our point and state before a step, and its number, to theirs.

    Returns:
        Whether what they differ by, of what the step moves, falls by itself; also where it is not
        finite.
    """
    drawn = 0.5 + np.random.default_rng(SEED).standard_normal(MANY)
    for number in (FEW, MANY):  # steps are compared after the same ones
        drawn[number - SAME : number] = 1.0
    for slopes in (np.ones(MANY), drawn):
        ends = enumerate(
            run(ours, hyper, _one_after_another(slopes, len(ours.stages)), [1.0], MANY)
        )
        arrays = {n: alone(end) for n, end in ends if n in (FEW - 1, FEW, MANY - 1, MANY)}
        gaps = []
        for number in (FEW, MANY):
            before = mapped(arrays[number - 1], number)
            after = after_a_step(theirs, other, before, 1.0, number)
            end = mapped(arrays[number], number + 1)
            moved = max(abs(after[name] - before[name]) for name in before) or 1.0
            gaps.append(max(abs(after[name] - end[name]) for name in before) / moved)
        few, many = gaps
        if np.isfinite(gaps).all() and many > max(APART, few / FALLS):
            return False
    return True


def _one_after_another(slopes: Any, stages: int) -> Callable[[Any], Any]:
    """Gradients by the number of the step, at all of its points."""
    each = iter(np.repeat(slopes, stages))
    return lambda x: np.full_like(x, next(each))


def settings_of_both(ours: Program, theirs: Program) -> Iterator[tuple[Numbers, Numbers]]:
    """Hyper-parameters of two programs: defaults, those of ours at 0, drawn ones.

    Flags are as by default.
    """
    own, other = _defaults(ours), _defaults(theirs)
    yield own, other
    for entry in ours.hyperparameters:
        if entry.domain in ZERO_IN_DOMAIN:
            yield {**own, entry.name: 0.0}, other
    drawn = (_drawn(program) for program in (ours, theirs))
    yield from itertools.islice(zip(*drawn, strict=False), DRAWN)


def _defaults(program: Program) -> Numbers:
    return {entry.name: float(entry.default) for entry in program.hyperparameters}


def _drawn(program: Program) -> Iterator[Numbers]:
    """Hyper-parameters from the whole of their domains, again and again."""
    flags = {entry.name for entry in program.hyperparameters if entry.domain == FLAG}
    kept = {name: value for name, value in _defaults(program).items() if name in flags}
    for seed in itertools.count():
        for setting in Settings(program.hyperparameters, program.host, seed):
            yield {name: float(value) for name, value in setting.items()} | kept
