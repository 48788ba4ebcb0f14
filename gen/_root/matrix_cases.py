"""What backends of optimizers of matrices are compared with: steps of the interpretation.

In: a declaration.  Out: cases at the defaults and at drawn hyper-parameters, in both precisions,
with gradients of either sign, at small steps and at large ones; what is expected of each step is
computed in :data:`DIGITS` digits, so that all that is measured is the backend's own.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.matrix_functions import dimensions
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.build_matrix import (
    MatrixDerivation,
    derive_matrix_optimizer,
)
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.program.optimizers.preparation import NEUTRAL, SCALARS
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import Place
from hamilforge.runtime.optimizers.verify_matrices import MapCase, MatrixCase, relative_distance

STEPS = 3
#: What conditions of a retraction are above in cases, so that rounding does not decide them.
MARGIN = 0.1
#: Sizes of the two dimensions.
SIZES = (7, 3)
#: The gradient's sign, the L2 factor, and the factor of decoupled decay.
MAXIMISED = (-1.0, 0.0, 1.0)
DECAYING = {"L2": (1.0, 0.0625, 1.0), "decoupled decay": (1.0, 0.0, 0.875)}
#: By how much gradients are larger: a factorisation far from the point takes another way.
SCALES = {"": 1.0, ", large gradients": 30.0}
#: By how many units in the last place a result of a case moves at most where all that it is made of
#: moves by one, how often gradients are halved for it, and at how many places beside it is looked.
SENSITIVE, HALVINGS, NEIGHBOURS = 1000.0, 60, 3
#: Of the arithmetic of what is expected.
DIGITS = 50
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
        with mpmath.workdps(DIGITS):
            known = dict(zip(letters, map(_precise, arrays), strict=True))
            whole = results(functions[name], known, PRECISE_OR_NAN)["value"]
            return np.atleast_2d(np.asarray(whole, object)).astype(float)

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
    numbers = {name: mpmath.mpf(value) for name, value in hyper.items()}
    precise = MatrixInterpreter(derivation, numbers, PRECISE_OR_NAN, vector, epsilon)
    sizes = _sizes(optimizer.shape)
    arrays: dict[str, Any] = {
        name: np.zeros([sizes.get(axis, 1) for axis in function.types[name].shape])
        for name in (point, *states)
    }
    arrays[point] = _start(optimizer, function.types[point].shape, generator)
    prepared = None if preparation == NEUTRAL else dict(zip(SCALARS, preparation, strict=True))
    order = [point, *states]
    steps: list[Any] = []
    condition = 1.0

    def ends(
        arrays: dict[str, Any], slopes: NDArray[Any], number: int, by: MatrixInterpreter = machine
    ) -> list[NDArray[Any]]:
        by.n = number - 1
        after = by.step(arrays, slopes, prepared)
        shifted = [by.solution(after)] if program.shifted else []
        return [*(after[name] for name in order), *shifted]

    def spread(arrays: dict[str, Any], slopes: NDArray[Any], number: int) -> float:
        """How far ends from beside are apart, in units; NaN where one is no number."""
        own, beside = ends(arrays, slopes, number), np.random.default_rng(number)
        farthest: list[float] = []
        for _ in range(NEIGHBOURS):
            moved = {name: _beside(array, epsilon, beside) for name, array in arrays.items()}
            others = ends(moved, _beside(slopes, epsilon, beside), number)
            farthest += map(relative_distance, others, own)
        largest = max(float(abs(end).max()) for end in own)
        is_number = largest <= np.sqrt(np.finfo(dtype).max)
        return float(np.max(farthest)) / epsilon if is_number else np.nan

    for number in range(1, STEPS + 1):
        # numbers that both precisions have, so that both begin from the same
        own = {name: array.astype(dtype).astype(np.float64) for name, array in arrays.items()}
        drawn = generator.standard_normal(own[point].shape)
        if label.endswith(RANK_ONE):
            drawn = np.outer(drawn[:, 0], drawn[0])
        while not _is_within(machine.reach(own, preparation[0] * scale * drawn)):
            drawn = drawn / 2
        for _ in range(HALVINGS):
            slopes = (scale * drawn).astype(dtype).astype(np.float64)
            try:
                units = spread(own, slopes, number)
            except np.linalg.LinAlgError:
                units = np.nan
            if units <= SENSITIVE:
                break
            drawn = drawn / 2
        else:  # the arrays are too large by now
            break
        with mpmath.workdps(DIGITS):
            digits = {name: _precise(array) for name, array in own.items()}
            made = [end.astype(float) for end in ends(digits, _precise(slopes), number, precise)]
        before = [*(own[name] for name in order), slopes]
        steps.append((before, made[: len(order)], made[-1] if program.shifted else None))
        condition = max(condition, units)
        arrays = dict(zip(order, made, strict=False))
    if not steps:
        raise DeclarationError.single(
            optimizer.head.source.where,
            f"{optimizer.head.name} has no digits even for the smallest gradients",
        )
    return MatrixCase(label, dtype, hyper, preparation, steps, condition, vector)


def _precise(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers with more digits."""
    return np.frompyfunc(mpmath.mpf, 1, 1)(array)


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
