"""Verification: the generator's interpretation of a program beside the runtime's backends.

Above both: it hands reference trajectories from one to the other.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from hamilforge.gen import pipeline
from hamilforge.gen.derive.field import derive_field
from hamilforge.gen.program.build import derive
from hamilforge.gen.program.build_integrator import build_integrator
from hamilforge.gen.program.integrator import DiscreteGradient, Integrator
from hamilforge.gen.program.interpret import Interpreter
from hamilforge.gen.program.interpret_integrator import IntegratorInterpreter
from hamilforge.gen.program.ir import Apply, Program, walk
from hamilforge.runtime import loader, verify_integrator
from hamilforge.runtime.verify import FUNCTION_ULPS, ULPS, Case, Verification, compare
from hamilforge.runtime.verify_integrator import StepCase

SHAPES = ((5,), (3, 4), (1,), (40_000,))
STEPS = 3


def verify(name: str | Path, method: str | Path | None = None) -> Verification:
    """Compare every backend that is installed with the interpretation of the program."""
    backends = ["numba"]
    if importlib.util.find_spec("torch"):
        backends.append("torch")
    if method is not None:
        problem, declared = pipeline.load_problem(name), pipeline.load_method(method)
        integrator = build_integrator(derive_field(problem), declared)
        loaded = loader.load(name, method)
        return verify_integrator.compare(loaded, step_cases(integrator), backends)
    declaration = pipeline.load_optimizer(name)
    program = derive(declaration).program
    return compare(loader.load(name), reference_cases(program), backends)


def step_cases(integrator: Integrator, count: int = 4) -> list[StepCase]:
    """Steps of the interpretation: from the declared start and beside it, forwards and back."""
    problem = integrator.problem
    generator = np.random.default_rng(11)
    defaults = {entry.name: float(entry.default) for entry in problem.parameters}
    drawn = {name: value * float(generator.uniform(0.9, 1.1)) for name, value in defaults.items()}
    start = np.array([0.5 if value is None else float(value) for value in problem.start])
    beside = start + 0.05 * generator.uniform(-1, 1, start.size) * (1 + abs(start))
    quotients = isinstance(integrator.step, DiscreteGradient)
    room = verify_integrator.QUOTIENT_ULPS if quotients else verify_integrator.ULPS
    cases = []
    for label, parameters, first, h in (
        ("defaults", defaults, start, 0.0625),
        ("drawn", drawn, beside, 0.03125),
        ("drawn, backwards", drawn, beside, -0.03125),
    ):
        machine = IntegratorInterpreter(integrator, parameters)
        # friction such as 3/t has no meaning before its start
        times = [float(problem.start_time) + max(0, -h) * count + k * h for k in range(count)]
        states = [first]
        for t in times:
            states.append(machine.step(t, h, states[-1]))
        table = np.array(states)
        # a right-hand side is as exact as the largest of its operands, which stiffness enlarges
        slopes = (machine.matrix(problem.jacobian, times[0], state) for state in states)
        stiffness = max(float(abs(slope).sum(axis=1).max()) for slope in slopes)
        ulps = room * max(1.0, abs(h) * stiffness)
        cases.append(StepCase(label, parameters, h, times, table[:-1], table[1:], ulps))
    return cases


def reference_cases(program: Program) -> list[Case]:
    """Trajectories of the interpretation: defaults and drawn hyper-parameters, both precisions."""
    defaults = {entry.name: float(entry.default) for entry in program.hyperparameters}
    generator = np.random.default_rng(7)
    drawn = {}
    for entry in program.hyperparameters:
        width = 0.9 if entry.domain.endswith("interval") else 0.5
        drawn[entry.name] = float(generator.uniform(0.1, width))
    cases = []
    for label, hyper in (("defaults", defaults), ("drawn", drawn)):
        for dtype in ("float64", "float32"):
            cases.append(_case(program, label, dtype, hyper))
    return cases


def _tolerance(program: Program) -> float:
    """More room where entries of arrays pass through functions beyond arithmetic and roots."""
    plain = {"add", "mul", "neg", "div", "pow", "sqrt", "abs"}
    lines = [line.value for function in program.functions for line in function.body]
    operations = {part.op for value in lines for part in walk(value) if isinstance(part, Apply)}
    return ULPS if operations <= plain else FUNCTION_ULPS


def _case(program: Program, label: str, dtype: str, hyper: dict[str, float]) -> Case:
    generator = np.random.default_rng(3)

    def draw() -> list[Any]:
        return [generator.standard_normal(shape).astype(dtype) for shape in SHAPES]

    machine = Interpreter(program, dict(hyper), draw())
    case = Case(
        label, dtype, hyper, len(program.stages), _tolerance(program), [], [], [], [], [], [], []
    )
    for _ in range(STEPS * len(program.stages)):
        gradients = draw()
        case.points.append(machine.x)
        case.buffers.append(machine.buffer)
        case.gradients.append(gradients)
        case.rows.append(machine.row())
        case.scales.append(machine.operands(gradients))
        machine.step(gradients)
        case.after.append((machine.x, machine.buffer))
        if machine.stage == 0:
            case.ends.append((tuple(machine.memory.values()), machine.solution()))
    return case
