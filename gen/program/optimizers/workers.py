"""Several workers on the interpretation: the reference of what processes do together.

In: a program, and the gradients of each worker.  Out: what each has after some steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.program.noise import key_of
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.preparation import NEUTRAL

#: From a point, the number of a worker and that of a step, both from 0, to a gradient.
Gradients = Callable[[NDArray[Any], int, int], Any]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What workers have; each array has one axis more than the start, that of workers, first.

    Attributes:
        x: where the next gradients are taken, `(workers, ...)`.
        solution: after the last whole step, `(workers, ...)`.
        states: the arrays of the state by name, `(workers, ...)`.
        path: x before the first step and after each, `(steps + 1, workers, ...)`.
    """

    x: NDArray[np.float64]
    solution: NDArray[np.float64]
    states: dict[str, NDArray[np.float64]]
    path: NDArray[np.float64]


def simulate(
    program: Program,
    gradients: Gradients,
    workers: int,
    x0: NDArray[np.float64],
    steps: int,
    hyper: Mapping[str, float],
    preparation: tuple[float, float, float] = NEUTRAL,
    seed: int = 0,
    equal_noise: bool = False,
    parameter: str = "0",
) -> Simulation:
    """Run replicas of an optimizer in step, with their means taken where a loop ends.

    Args:
        program: of the optimizer.
        gradients: see :data:`Gradients`.
        workers: how many.
        x0: where all begin, `(...)`.
        steps: how many gradients each worker takes.
        hyper: all hyper-parameters.
        preparation: the gradient's sign, the L2 factor and the factor of decoupled decay.
        seed: of the noise.
        equal_noise: whether all workers draw the same numbers.
        parameter: what x is called, which chooses its noise too.

    Returns:
        What each worker has.

    Raises:
        ValueError: a gradient has another shape than the point.
    """
    machines = [
        Interpreter(
            program,
            dict(hyper),
            [x0.copy()],
            preparation=preparation,
            keys=(key_of(seed, 0 if equal_noise else worker, parameter),),
            workers=workers,
        )
        for worker in range(workers)
    ]
    path = [np.array([machine.x[0] for machine in machines])]
    for step in range(steps):
        for worker, machine in enumerate(machines):
            gradient = np.asarray(gradients(machine.x[0].copy(), worker, step), np.float64)
            if gradient.shape != x0.shape:
                raise ValueError(
                    f"a gradient has the shape {gradient.shape}, and the point {x0.shape}"
                )
            machine.call([gradient])
        while machines[0].is_outer:
            _close(machines)
        path.append(np.array([machine.x[0] for machine in machines]))
    return Simulation(
        path[-1],
        np.array([machine.solution()[0] for machine in machines]),
        {name: np.array([own.states[name][0] for own in machines]) for name in program.states},
        np.array(path),
    )


def _close(machines: list[Interpreter]) -> None:
    """A function of the outer step of all workers, after the means that it reads."""
    if machines[0].is_exchange:
        for name in machines[0].program.averages:
            mean = np.mean([machine.states[name][0] for machine in machines], axis=0)
            for machine in machines:
                machine.states[name] = [mean]
    for machine in machines:
        machine.call(machine.x)  # no gradient is read
