"""The conformal factor of an emitted program in numbers: its Jacobian by differences.

In: a program and values of its inputs.  Out: c with M' Omega M = c Omega to the accuracy of the
differences, or None.  Where a program needs relations between its functions that random jets do not
have (a root and its square, say), this takes their place; and it shows that the factor on paper is
that of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.optimizers.interpret import host_values
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.reference import FLOAT64

STEP = 2e-3
TOLERANCE = 1e-8
Vector = NDArray[np.float64]


def numeric_factor(program: Program, inputs: Mapping[str, float]) -> float | None:
    """The factor of a step whose last step had the same inputs, at two points in two dimensions."""
    zeros = {name: 0.0 for name, _ in program.host.memory}
    first = host_values(program, inputs, zeros)
    memory = {name: first[line] for name, line in program.host.memory}
    host = host_values(program, inputs, memory)
    factors = []
    for point in ([0.7, -0.4, 0.3, 0.5], [-0.2, 0.9, -0.6, 0.4]):
        matrix = _jacobian(program, host, np.array(point))
        half = len(matrix) // 2
        top, bottom = matrix[:half], matrix[half:]
        form = top.T @ bottom - bottom.T @ top
        factor = form[0, half]
        wanted = np.zeros_like(form)
        wanted[:half, half:] = factor * np.eye(half)
        if abs(form - (wanted - wanted.T)).max() > TOLERANCE * max(1.0, abs(matrix).max() ** 2):
            return None
        factors.append(float(factor))
    return factors[0] if abs(factors[0] - factors[1]) <= TOLERANCE * abs(factors[0]) else None


def _jacobian(program: Program, host: Mapping[str, Any], z: Vector) -> Vector:
    columns = []
    for unit in np.eye(len(z)) * STEP:
        ends = [_step(program, host, z + k * unit) for k in (-2, -1, 1, 2)]
        columns.append((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * STEP))
    return np.array(columns).T


def _step(program: Program, host: Mapping[str, Any], z: Vector) -> Vector:
    half = len(z) // 2
    point, buffer = z[:half], z[half:]
    for index, row in zip(program.stages, program.host.rows, strict=True):
        function = program.functions[index]
        scalars = {name: host[line] for name, line in zip(function.scalars, row, strict=True)}
        arrays = {"x": [point], program.buffer: [buffer], "g": [_gradient(point)]}
        new = run_function(function, arrays, scalars, FLOAT64)
        point, buffer = new["x"][0], new[program.buffer][0]
    return np.concatenate([point, buffer])


def _gradient(q: Vector) -> Vector:
    """Of a potential whose Hessian is full and changes from point to point."""
    x, y = q
    return np.array([x + 0.6 * x * y + 0.2 * y, 1.7 * y + 0.3 * x**2 + 0.2 * x])
