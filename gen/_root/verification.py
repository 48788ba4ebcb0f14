"""Verification: the generator's interpretation of a program beside the runtime's backends.

Above both: it hands reference trajectories from one to the other.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from hamilforge.gen import pipeline
from hamilforge.gen.program.build import derive
from hamilforge.gen.program.interpret import Interpreter
from hamilforge.gen.program.ir import Apply, Program, walk
from hamilforge.runtime import loader
from hamilforge.runtime.verify import FUNCTION_ULPS, ULPS, Case, Verification, compare

SHAPES = ((5,), (3, 4), (1,), (40_000,))
STEPS = 3


def verify(name: str | Path) -> Verification:
    """Compare every backend that is installed with the interpretation of the program."""
    declaration = pipeline.load_optimizer(name)
    program = derive(declaration).program
    cases = reference_cases(program)
    backends = ["numba"]
    if importlib.util.find_spec("torch"):
        backends.append("torch")
    return compare(loader.load(name), cases, backends)


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
