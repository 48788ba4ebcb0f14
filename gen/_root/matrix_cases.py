"""What backends of optimizers of matrices are compared with: steps of the interpretation.

In: a declaration.  Out: cases at the defaults and at drawn hyper-parameters, in both precisions,
with gradients of either sign, at small steps and at large ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.matrix_functions import dimensions
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.build_matrix import (
    MatrixDerivation,
    derive_matrix_optimizer,
)
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.program.optimizers.preparation import SCALARS
from hamilforge.gen.prove.optimizers.manifold_points import Place
from hamilforge.runtime.optimizers.verify_matrices import MapCase, MatrixCase, relative_distance

STEPS = 3
#: What conditions of a retraction are above in cases, so that rounding does not decide them.
MARGIN = 0.1
#: Sizes of the two dimensions.
SIZES = (7, 3)
#: The gradient's sign, the L2 factor, and the factor of decoupled decay.
NEUTRAL, MAXIMISED = (1.0, 0.0, 1.0), (-1.0, 0.0, 1.0)
DECAYING = {"L2": (1.0, 0.0625, 1.0), "decoupled decay": (1.0, 0.0, 0.875)}
#: By how much gradients are larger: a factorisation far from the point takes another way.
SCALES = {"": 1.0, ", large gradients": 30.0}
#: Gradients of one sample: far from the point a step has nearly dependent columns.
RANK_ONE = ", one sample"


def matrix_cases(optimizer: kinds.MatrixOptimizer) -> list[MatrixCase]:
    """Steps of the interpretation."""
    derivation = derive_matrix_optimizer(optimizer)
    defaults = {entry.name: float(entry.default) for entry in derivation.program.hyperparameters}
    generator = np.random.default_rng(3)
    drawn = {entry.name: _drawn(entry, generator) for entry in derivation.program.hyperparameters}
    choices = [("defaults", defaults, NEUTRAL), ("drawn, maximize", drawn, MAXIMISED)]
    choices += [
        (f"{entry.name} = {name}", {**defaults, entry.name: float(number)}, NEUTRAL)
        for entry in derivation.program.hyperparameters
        for number, name in enumerate(entry.choices)
        if number not in (entry.default, drawn[entry.name])
    ]
    if optimizer.shrinks and not derivation.program.own_decay:
        choices += [(label, defaults, own) for label, own in DECAYING.items()]
    cases = [
        _case(derivation, f"{label}{size}", dtype, hyper, preparation, scale)
        for label, hyper, preparation in choices
        for size, scale in SCALES.items()
        for dtype in ("float64", "float32")
    ]
    # where columns are nearly dependent float32 has few digits of the result left
    label = f"defaults{RANK_ONE}"
    if optimizer.manifold is not None:
        cases.append(_case(derivation, label, "float64", defaults, NEUTRAL, 100.0))
    if derivation.of_vectors:
        cases += [
            _case(derivation, f"{label}, vector", dtype, hyper, preparation, 1.0, vector=True)
            for label, hyper, preparation in choices
            for dtype in ("float64", "float32")
        ]
    return cases


def map_cases(manifold: kinds.Manifold) -> list[MapCase]:
    """The maps of a manifold at drawn points and tangent vectors."""
    generator = np.random.default_rng(7)
    place = Place(manifold, _sizes(manifold.shape))
    point = place.point.astype(float)
    functions = build_manifold(manifold).functions

    def value(name: str, *arrays: NDArray[Any]) -> NDArray[Any]:
        letters = (array.name for array in functions[name].inputs)
        whole = results(functions[name], dict(zip(letters, arrays, strict=True)))["value"]
        return np.atleast_2d(np.asarray(whole, np.float64))

    def vector() -> NDArray[Any]:
        return value("project", point, 0.3 * generator.standard_normal(point.shape))

    first = manifold.retractions[0].name
    step = vector()
    letters = {"X": point, "V": step, "U": vector(), "Y": value(f"retract_{first}", point, step)}
    letters |= {"G": generator.standard_normal(point.shape)}
    letters |= {"Z": generator.standard_normal(point.shape)}
    cases = []
    for name, function in functions.items():
        for dtype in ("float64", "float32"):
            arrays = [letters[array.name].astype(dtype) for array in function.inputs]
            expected = value(name, *(array.astype(np.float64) for array in arrays))
            cases.append(MapCase(name, dtype, arrays, expected))
    return cases


def _case(
    derivation: MatrixDerivation,
    label: str,
    dtype: str,
    hyper: dict[str, float],
    preparation: tuple[float, float, float],
    scale: float,
    vector: bool = False,
) -> MatrixCase:
    generator = np.random.default_rng(5)
    program, optimizer = derivation.program, derivation.optimizer
    function = derivation.steps[int(vector)]
    point, *states, _ = function.arrays
    epsilon = float(np.finfo(dtype).eps)
    machine = MatrixInterpreter(derivation, hyper, vector=vector, epsilon=epsilon)
    sizes = _sizes(optimizer.shape)
    arrays: dict[str, Any] = {
        name: np.zeros([sizes.get(axis, 1) for axis in function.types[name].shape])
        for name in (point, *states)
    }
    arrays[point] = _start(optimizer, function.types[point].shape, generator)
    prepared = None if preparation == NEUTRAL else dict(zip(SCALARS, preparation, strict=True))
    steps: list[Any] = []
    condition = 1.0
    for _ in range(STEPS):
        # numbers that both precisions have, so that both begin from the same
        own = {name: array.astype(dtype).astype(np.float64) for name, array in arrays.items()}
        drawn = generator.standard_normal(own[point].shape)
        if label.endswith(RANK_ONE):
            drawn = np.outer(drawn[:, 0], drawn[0])
        sign = preparation[0]
        while not _is_within(machine.reach(own, sign * scale * drawn)):
            drawn = drawn / 2
        gradient = (scale * drawn).astype(dtype)
        slopes = gradient.astype(np.float64)
        after = machine.step(own, slopes, prepared)
        order = [point, *states]
        solution = _solution(derivation, machine, after) if program.shifted else None
        before = [*(own[name] for name in order), slopes]
        steps.append((before, [after[name] for name in order], solution))
        machine.n -= 1  # once more, from beside
        moved = {name: _beside(array, epsilon, generator) for name, array in own.items()}
        other = machine.step(moved, _beside(slopes, epsilon, generator), prepared)
        apart = (relative_distance(other[name], after[name]) / epsilon for name in order)
        condition = max(condition, *apart)
        arrays = after
    return MatrixCase(label, dtype, hyper, preparation, steps, condition, vector)


def _is_within(reach: list[Any]) -> bool:
    """Whether a step is short enough, and not by a hair, for the retraction."""
    return all(np.linalg.eigvalsh(np.atleast_2d(value)).min() > MARGIN for value in reach)


def _beside(array: NDArray[Any], epsilon: float, generator: np.random.Generator) -> NDArray[Any]:
    """An array, each entry a unit in the last place larger or smaller."""
    return array * (1 + epsilon * generator.choice((-1.0, 1.0), array.shape))


def _drawn(entry: kinds.Parameter, generator: np.random.Generator) -> float:
    """A value beside the default: another choice, a number in place of None, or near it."""
    if entry.domain == kinds.FLAG:
        return float(not entry.default)
    if entry.domain == kinds.CHOICE:
        return float((entry.default + 1) % len(entry.choices))
    if entry.domain == kinds.COUNT:
        return float(entry.default + 1)
    if entry.domain == kinds.OR_NONE:
        return float(generator.uniform(1e-3, 1e-2))
    return float(entry.default) * float(generator.uniform(0.7, 0.99))


def _sizes(shape: kinds.Shape) -> dict[str, int]:
    """A size for each dimension."""
    return dict(zip(dimensions(shape), SIZES, strict=False))


def _start(
    optimizer: kinds.MatrixOptimizer, shape: kinds.Shape, generator: np.random.Generator
) -> NDArray[Any]:
    """A point of the manifold, or a matrix of this shape."""
    sizes = _sizes(optimizer.shape)
    if optimizer.manifold is not None:
        point: NDArray[Any] = Place(optimizer.manifold, sizes).point.astype(float)
        return point
    return generator.standard_normal([sizes.get(name, 1) for name in shape])


def _solution(
    derivation: MatrixDerivation, machine: MatrixInterpreter, arrays: dict[str, Any]
) -> NDArray[Any]:
    solution = derivation.program.solution
    values = {**arrays, **machine.solution_scalars(machine.n)}
    whole = results(solution, values)
    solved: NDArray[Any] = whole[solution.arrays[0]]
    return solved
