"""Comparison of backends of optimizers of matrices with steps that were computed elsewhere.

In: a loaded product and steps of the interpretation of its program.  Out: the largest deviation of
each backend, in units in the last place of the largest entry.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.optimizers.clock import NEUTRAL
from hamilforge.runtime.optimizers.matrix_blocks import Blocks

Array = NDArray[Any]
#: Units in the last place of the largest entry by which results may differ, times what one in each
#: operand makes or the root of the number of rows; of maps, of the largest number they are made of.
ULPS, MAP_ULPS = 8.0, 16.0


@dataclass(frozen=True, slots=True)
class MatrixCase:
    """Steps to be compared, each from the state that the reference has before it.

    Attributes:
        hyper: the hyper-parameters by name.
        preparation: the gradient's sign, the L2 factor and the factor of decoupled decay.
        steps: before each step point, states and gradient; after it point and states; the solution.
        condition: so many units in the last place of the largest entry results are apart where the
            entries of what a step takes are a unit larger or smaller.
        vector: whether they are those of a parameter with one axis, as columns.
    """

    name: str
    dtype: str
    hyper: Mapping[str, float]
    preparation: tuple[float, float, float]
    steps: Sequence[tuple[list[Array], list[Array], Array | None]]
    condition: float
    vector: bool = False


@dataclass(frozen=True, slots=True)
class MapCase:
    """A map of a manifold at some arrays."""

    name: str
    dtype: str
    arguments: Sequence[Array]
    expected: Array


def compare_maps(
    loaded: Loaded, cases: Sequence[MapCase], backends: Sequence[str], device: str = "cpu"
) -> Verification:
    """Run torch's form of the maps of a manifold; there is no other.

    Args:
        loaded: the product.
        cases: what it should compute.
        backends: those that are here.
        device: where torch's form runs.

    Returns:
        The deviations.
    """
    deviations = []
    for case in cases if "torch" in backends else ():
        import torch

        module = loaded.module("torch")
        tensors = [torch.from_numpy(array).to(device) for array in case.arguments]
        value = torch.atleast_2d(getattr(module, case.name)(*tensors)).cpu().numpy()
        scale = max(1.0, *(float(abs(array).max()) for array in case.arguments))
        farthest = _distance(value, case.expected, scale)
        deviations.append(Deviation("torch", case.name, case.dtype, farthest, farthest <= MAP_ULPS))
    return Verification(loaded.name, tuple(deviations))


def compare(
    loaded: Loaded, cases: Sequence[MatrixCase], backends: Sequence[str], device: str = "cpu"
) -> Verification:
    """Run each backend through all cases.

    Args:
        loaded: the product.
        cases: what it should compute.
        backends: ``numba``, ``torch``.
        device: where torch's form runs.

    Returns:
        The deviations.
    """
    deviations = []
    for backend in backends:
        module = loaded.module(backend)
        for (form, run), case in itertools.product(_FORMS[backend].items(), cases):
            farthest, memory = 0.0, (0.0,) * len(module.MEMORY)
            for number, (before, after, solution) in enumerate(case.steps, start=1):
                told = (*case.hyper.values(), 0.0, number, *memory)
                scalars, memory, _ = module.coefficients(*told)
                row = (*case.preparation, *scalars[0])
                typed = [np.array(array, case.dtype, order="C") for array in before]
                made = run(module, row, typed, device, module.VECTORS or case.vector)
                farthest = max(farthest, *map(_distance, made, after))
                if solution is not None and backend == "torch":
                    solved = _solved(module, made, module.solution_row(*memory), device)
                    farthest = max(farthest, _distance(solved, solution))
            allowed = ULPS * max(case.condition, float(np.sqrt(case.steps[0][0][0].shape[0])))
            deviations.append(Deviation(form, case.name, case.dtype, farthest, farthest <= allowed))
    return Verification(loaded.name, tuple(deviations))


def _distance(found: Array, expected: Array, scale: float = 1e-30) -> float:
    """In units in the last place of the largest entry; infinite where one is not finite.

    Args:
        found: by a backend.
        expected: of the same shape.
        scale: what the entries were made of is as large, where they themselves are smaller.
    """
    if not np.isfinite(found).all():
        return float("inf")
    return relative_distance(found, expected, scale) / float(np.finfo(found.dtype).eps)


def relative_distance(found: Array, expected: Array, scale: float = 1e-30) -> float:
    """The largest distance of entries, over the largest entry.

    Args:
        found: what is compared.
        expected: of the same shape.
        scale: what is divided by, at least.

    Returns:
        The ratio; not a number where an entry is none.
    """
    largest = max(float(abs(expected).max()), scale)
    return float(abs(found.astype(np.float64) - expected).max() / largest)


def _by_kernels(
    module: Any, row: Sequence[float], arrays: list[Array], _: str, vector: bool
) -> list[Array]:
    shapes = [arrays[0][..., 0].shape if vector else arrays[0].shape]
    blocks = Blocks(shapes, [0], module, arrays[0].dtype.name)
    table = np.array([[array.ctypes.data] for array in arrays], np.uintp)
    blocks.run(module.STAGES[0], np.array([row], np.float64), table)
    return arrays[:-1]


def _by_torch(
    module: Any, row: Sequence[float], arrays: list[Array], device: str, vector: bool
) -> list[Array]:
    """The functional form."""
    point, *states, gradient = _lists(arrays, device, vector)
    points, gradients = module.prepared(point, gradient, *row[: len(NEUTRAL)])
    made = module.update(points, *states, gradients, *row[len(NEUTRAL) :])
    return _made(made, arrays, vector)


def _in_place(
    module: Any, row: Sequence[float], arrays: list[Array], device: str, vector: bool
) -> list[Array]:
    """The form over all tensors at once: two of them, of which the farther one counts."""
    pair = (_lists([array.copy() for array in arrays], device, vector) for _ in range(2))
    point, *states, gradient = (first + second for first, second in zip(*pair, strict=True))
    gradients = module.prepared_(point, gradient, *row[: len(NEUTRAL)])
    module.update_(point, *states, gradients, *row[len(NEUTRAL) :])
    changed = (point, *states)
    first, second = (_made([own[k:] for own in changed], arrays, vector) for k in range(2))
    return [np.where(a == b, a, np.nan) for a, b in zip(first, second, strict=True)]


#: The forms of a step in a product's modules, by their names in reports.
_FORMS: dict[str, dict[str, Callable[..., list[Array]]]] = {
    "numba": {"numba": _by_kernels},
    "torch": {"torch": _by_torch, "torch, in place": _in_place},
}


def _lists(arrays: Sequence[Array], device: str, vector: bool) -> list[list[Any]]:
    """Each array as the one tensor of a list, a column of vectors as a vector."""
    import torch

    tensors = [torch.from_numpy(array).to(device) for array in arrays]
    return [[own[..., 0] if vector and own.shape[-1] == 1 else own] for own in tensors]


def _made(lists: Iterable[Sequence[Any]], arrays: Sequence[Array], vector: bool) -> list[Array]:
    """Point and states, as arrays of these shapes."""
    results = [tensors[0].cpu().numpy() for tensors in lists]
    return [
        own[..., None] if vector and array.shape[-1] == 1 else own
        for own, array in zip(results, arrays, strict=False)
    ]


def _solved(module: Any, arrays: Sequence[Array], row: Sequence[float], device: str) -> Array:
    import torch

    lists = [[torch.from_numpy(np.ascontiguousarray(array)).to(device)] for array in arrays]
    if module.VECTORS:
        lists = [[tensors[0][..., 0]] for tensors in lists]
    solved: Array = module.solution(*lists, *row)[0].cpu().numpy()
    return solved[..., None] if module.VECTORS else solved
