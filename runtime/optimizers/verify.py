"""Comparison of backends: the generated kernels beside what they should compute.

In: a loaded product and a trajectory of reference states, computed elsewhere by the
interpretation of the program. Out: the largest deviation of each backend, in units in the last
place of the largest operand of the last sum; it holds where no entry is further off than rounding
may bring two evaluations of the same formulas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.optimizers.clock import NEUTRAL, latch, start, tick
from hamilforge.runtime.optimizers.kernels import Counters, noise, plan, run

Arrays = list[NDArray[Any]]
#: How many bounds of its rounding errors an entry may deviate by: those of both evaluations.
ROOM = 2.0


@dataclass(frozen=True, slots=True)
class Case:
    """A trajectory of one backend's states to be compared.

    Attributes:
        hyper: the hyper-parameters of each step.
        preparation: the gradient's sign, the L2 factor and the factor of decoupled decay.
        begin: the time before the first step, its number, and what the step before it left; None
            at the start of all.
        start, start_rounding: the scalars of the start of the state, and bounds of their rounding
            errors.
        started, started_rounding: the point where the state begins, then the state's arrays as they
            begin; for each entry of the latter a bound of its rounding errors.
        rows: the scalars of each stage: those of its preparation, then those of the host.
        row_rounding, memory_rounding: bounds of their rounding errors, and of those of the memory.
        points: x at the start of each stage.
        states: the state's arrays at the start of each stage.
        gradients: g of each stage.
        after: x and the state's arrays after each stage, as the reference computes them.
        scales: the largest operand of the last sum or its result, for each entry.
        rounding: a bound of the rounding errors of each entry after each stage.
        losses: the loss at the start of each stage, for rules that read it.
        ends: memory, solution and a bound of its rounding errors, after each whole step.
        keys: of the noise of each tensor.
        draws: of each call, how many gradients have been taken before it.
        stages: of each call, the number of its stage in the step.
        workers: how many there are.
    """

    name: str
    dtype: str
    hyper: list[dict[str, float]]
    preparation: tuple[float, float, float]
    begin: tuple[float, int, tuple[float, ...]] | None = None
    start: tuple[float, ...] = ()
    start_rounding: tuple[float, ...] = ()
    started: list[Arrays] = field(default_factory=list)
    started_rounding: list[Arrays] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)
    row_rounding: list[tuple[float, ...]] = field(default_factory=list)
    memory_rounding: list[tuple[float, ...]] = field(default_factory=list)
    points: list[Arrays] = field(default_factory=list)
    states: list[list[Arrays]] = field(default_factory=list)
    gradients: list[Arrays] = field(default_factory=list)
    after: list[list[Arrays]] = field(default_factory=list)
    scales: list[list[Arrays]] = field(default_factory=list)
    rounding: list[list[Arrays]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ends: list[tuple[tuple[float, ...], Arrays, Arrays]] = field(default_factory=list)
    keys: tuple[int, ...] = ()
    draws: list[int] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    workers: int = 1


class Distance(NamedTuple):
    """The largest deviation of some entries.

    Attributes:
        ulps: in units in the last place of the scale of an entry.
        bounds: in bounds of the rounding errors of an entry.
    """

    ulps: float = 0.0
    bounds: float = 0.0

    def farthest(self, other: Distance) -> Distance:
        """The larger of each."""
        return Distance(max(self.ulps, other.ulps), max(self.bounds, other.bounds))


#: Those of a rule without noise.
NO_COUNTERS: Counters = ((), 0)


class Backend(Protocol):
    """One stage of a product, its preparation with it."""

    def __call__(
        self,
        number: int,
        row: Sequence[float],
        arrays: Sequence[Arrays],
        counters: Counters = NO_COUNTERS,
        /,
    ) -> list[Arrays]:
        """Run a stage: from point, states and gradient to point and states."""
        ...


def numba_backend(product: ModuleType) -> Backend:
    """The compiled kernels."""

    def stage(
        number: int,
        row: Sequence[float],
        arrays: Sequence[Arrays],
        counters: Counters = NO_COUNTERS,
    ) -> list[Arrays]:
        drawn = noise(product, number, counters)
        *changed, _ = _on_copies(product, product.STAGES[number], row, arrays, drawn)
        return changed

    return stage


def torch_backend(product: ModuleType, device: str = "cpu") -> Backend:
    """The functional form, on a device."""
    stages, count = _class(product).STAGES, len(NEUTRAL)

    def stage(number: int, lists: Sequence[Any], scalars: Sequence[float]) -> Any:
        (xs, *states, gs), noises = _split(product, lists)
        points, gradients = product.prepared(xs, gs, *scalars[:count])
        return stages[number](points, *states, gradients, *noises, *scalars[count:])

    return _by_lists(product, stage, device)


def in_place_backend(product: ModuleType, device: str = "cpu") -> Backend:
    """The form over all tensors at once, on a device."""
    stages, count = _class(product).IN_PLACE, len(NEUTRAL)

    def stage(number: int, lists: Sequence[Any], scalars: Sequence[float]) -> Any:
        (xs, *states, gs), noises = _split(product, lists)
        gradients = product.prepared_(xs, gs, *scalars[:count])
        stages[number](xs, *states, gradients, *noises, *scalars[count:])
        return xs, *states

    return _by_lists(product, stage, device)


def _by_lists(product: ModuleType, stage: Callable[..., Any], device: str) -> Backend:
    """A backend of a function of the stage's number, lists of tensors, and scalars."""

    def run(
        number: int,
        row: Sequence[float],
        arrays: Sequence[Arrays],
        counters: Counters = NO_COUNTERS,
    ) -> list[Arrays]:
        lists = [*arrays, *_noises(product, number, row, arrays[0], counters, device)]

        def changed(*arguments: Any) -> Any:
            return stage(number, arguments[: len(lists)], arguments[len(lists) :])

        results = _over_domains(product, changed, row, lists, device)
        return [list(tensors) for tensors in zip(*results, strict=True)]

    return run


def _split(product: ModuleType, lists: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Point, states and gradients, and then the noise."""
    count = len(product.STATES) + 2
    return lists[:count], lists[count:]


def _noises(
    product: ModuleType,
    number: int,
    row: Sequence[float],
    points: Arrays,
    counters: Counters,
    device: str,
) -> list[Arrays]:
    """What torch's forms draw in a stage."""
    if not product.NOISE:
        return []
    import torch

    from hamilforge.runtime.optimizers.noise import Noise

    params = [torch.tensor(point, device=device) for point in points]
    keys, draws = counters
    noises = Noise(tuple(keys), draws, product.NOISE)
    drawn = noises.arrays(number, params, range(len(params)), row[len(NEUTRAL) :])
    return [[tensor.cpu().numpy() for tensor in tensors] for tensors in drawn]


def _class(product: ModuleType) -> Any:
    """The optimizer's class."""
    classes = [value for value in vars(product).values() if hasattr(value, "STAGES")]
    return next(value for value in classes if value.__module__ == product.__name__)


#: The forms of a step in a product's modules, by their names in reports.
FORMS: dict[str, dict[str, Callable[..., Backend]]] = {
    "numba": {"numba": lambda product, device: numba_backend(product)},
    "torch": {"torch": torch_backend, "torch, in place": in_place_backend},
}


def compare(
    loaded: Loaded, cases: Sequence[Case], backends: Sequence[str], device: str = "cpu"
) -> Verification:
    """Run every form of a step through every case, stage by stage from the reference's states.

    Args:
        loaded: the product.
        cases: trajectories of the reference.
        backends: ``numba``, ``torch`` or both.
        device: where torch's forms run.

    Returns:
        For each backend and case a deviation of the host's scalars, and for each of its forms one
        of the arrays.
    """
    deviations = []
    for backend in backends:
        product = loaded.module(backend)
        for case in cases:
            scalars = _host_deviation(product, case)
            label = f"{backend} scalars"
            holds = scalars.bounds <= ROOM
            deviations.append(
                Deviation(label, case.name, "float64", scalars.ulps, holds, scalars.bounds / ROOM)
            )
            solution = _solution_deviation(product, backend, case, device)
            began = _start_deviation(product, backend, case, device)
            for form, maker in FORMS[backend].items():
                worst = _deviation(maker(product, device), case).farthest(solution).farthest(began)
                holds = worst.bounds <= ROOM
                deviations.append(
                    Deviation(form, case.name, case.dtype, worst.ulps, holds, worst.bounds / ROOM)
                )
    return Verification(loaded.name, tuple(deviations))


def _host_deviation(product: ModuleType, case: Case) -> Distance:
    """The largest deviation of a host scalar."""
    clock = start(product)
    if case.begin is not None:
        t, n, memory = case.begin
        clock = clock._replace(t=t, n=n, memory=memory)
    first = clock.n
    worst = Distance()
    if product.STARTED:
        row = product.start_row(*(case.hyper[0][name] for name in product.HYPERPARAMETERS))
        numbers = [np.array(own, np.float64) for own in (row, case.start, case.start_rounding)]
        worst = _distance(numbers[0], numbers[1], abs(numbers[1]), numbers[2])
    for expected, bounds, loss in zip(case.rows, case.row_rounding, case.losses, strict=True):
        hyper = case.hyper[clock.n - first]
        clock = latch(product, clock, hyper, case.preparation, loss=loss, workers=case.workers)
        scalars = [(clock.row(), expected, bounds)]
        clock = tick(clock)
        if clock.stage == 0:
            step = clock.n - first - 1
            scalars.append((clock.memory, case.ends[step][0], case.memory_rounding[step]))
        for values, references, rounding in scalars:
            numbers = [np.array(row, np.float64) for row in (values, references, rounding)]
            worst = worst.farthest(_distance(numbers[0], numbers[1], abs(numbers[1]), numbers[2]))
    return worst


def _start_deviation(product: ModuleType, backend: str, case: Case, device: str) -> Distance:
    """The largest deviation of the state's arrays as they begin, given their scalars."""
    worst = Distance()
    if not product.STARTED:
        return worst
    point, *expected = case.started
    # as the runtime has them before
    zeros = [[np.zeros_like(array) for array in tensors] for tensors in expected]
    found = _STARTS[backend](product, case.start, [point, *zeros], device)
    tensors = zip(found, expected, case.started_rounding, strict=True)
    for results, references, bounds in tensors:
        for result, reference, bound in zip(results, references, bounds, strict=True):
            worst = worst.farthest(_distance(result, reference, abs(reference), bound))
    return worst


def _solution_deviation(product: ModuleType, backend: str, case: Case, device: str) -> Distance:
    """The largest deviation of the map from the point to the solution, given the memory."""
    worst = Distance()
    if not product.SHIFTED:
        return worst
    last = [number for number, stage in enumerate((*case.stages[1:], 0)) if stage == 0]
    for number, (memory, expected, rounding) in zip(last, case.ends, strict=True):
        x, *states = case.after[number]
        row = product.solution_row(*memory)
        solved = _SOLUTIONS[backend](product, row, [x, *states], device)
        for result, reference, start_x, bound in zip(solved, expected, x, rounding, strict=True):
            size = np.maximum(np.maximum(abs(reference), abs(start_x)), abs(reference - start_x))
            worst = worst.farthest(_distance(result, reference, size, bound))
    return worst


def _numba_solution(
    product: ModuleType, row: Sequence[float], arrays: Sequence[Arrays], device: str
) -> Arrays:
    del device  # kernels run on the CPU
    return _on_copies(product, product.solution, row, arrays)[0]


def _numba_start(
    product: ModuleType, row: Sequence[float], arrays: Sequence[Arrays], device: str
) -> list[Arrays]:
    del device  # kernels run on the CPU
    return _on_copies(product, product.started, row, arrays)[1:]


def _on_copies(
    product: ModuleType,
    kernel: Any,
    row: Sequence[float],
    arrays: Sequence[Arrays],
    drawn: Any = None,
) -> list[Arrays]:
    """Run a kernel on copies of its arrays; return them."""
    copies = [[array.copy() for array in tensors] for tensors in arrays]
    first = copies[0]
    how = plan([array.size for array in first], [0] * len(first), product.SCOPE, product.SUMS)
    addresses = np.array([[a.ctypes.data for a in tensors] for tensors in copies], np.uintp)
    run(kernel, how, np.array([row]), addresses, first[0].dtype.name, drawn)
    return copies


def _torch_solution(
    product: ModuleType, row: Sequence[float], arrays: Sequence[Arrays], device: str
) -> Arrays:
    def solved(*arguments: Any) -> tuple[Any]:
        return (product.solution(*arguments),)

    return [value for (value,) in _over_domains(product, solved, row, arrays, device)]


def _torch_start(
    product: ModuleType, row: Sequence[float], arrays: Sequence[Arrays], device: str
) -> list[Arrays]:
    results = _over_domains(product, product.started, row, arrays, device)
    begun = dict(zip(product.STARTED, zip(*results, strict=True), strict=True))
    others = dict(zip(product.STATES, arrays[1:], strict=True))
    return [[*begun[name]] if name in begun else others[name] for name in product.STATES]


def _over_domains(
    product: ModuleType,
    function: Any,
    row: Sequence[float],
    arrays: Sequence[Arrays],
    device: str,
) -> list[tuple[NDArray[Any], ...]]:
    """Call a function of lists of tensors on each domain of sums; its results by tensor."""
    import torch

    count = len(arrays[0])
    domains = [[k] for k in range(count)] if product.SCOPE == "tensor" else [range(count)]
    found = []
    for members in domains:
        lists = [[torch.tensor(tensors[k], device=device) for k in members] for tensors in arrays]
        results = zip(*function(*lists, *row), strict=True)
        found += [tuple(tensor.cpu().numpy() for tensor in result) for result in results]
    return found


_SOLUTIONS = {"numba": _numba_solution, "torch": _torch_solution}
_STARTS = {"numba": _numba_start, "torch": _torch_start}


def _deviation(backend: Backend, case: Case) -> Distance:
    """The largest deviation of an array entry, stage by stage from the reference's states."""
    worst = Distance()
    for number, (row, after) in enumerate(zip(case.rows, case.after, strict=True)):
        arrays = [case.points[number], *case.states[number], case.gradients[number]]
        counters = case.keys, case.draws[number]
        results = itertools.chain(*backend(case.stages[number], row, arrays, counters))
        expected = itertools.chain(*after)
        sizes = itertools.chain(*case.scales[number])
        bounds = itertools.chain(*case.rounding[number])
        for result, reference, size, bound in zip(results, expected, sizes, bounds, strict=True):
            worst = worst.farthest(_distance(result, reference, size, bound))
    return worst


def _distance(
    result: NDArray[Any], reference: NDArray[Any], size: NDArray[Any], bound: NDArray[Any]
) -> Distance:
    """How far a result is from the reference, where both are finite; infinitely where one is.

    Where the reference is finite and its bound is not, a result may be infinite: what is computed
    on the way may leave the range.
    """
    same = (result == reference) | (np.isnan(result) & np.isnan(reference))
    same |= np.isinf(result) & np.isinf(bound) & np.isfinite(reference)
    tiny = np.finfo(reference.dtype).tiny
    ulp = np.spacing(np.maximum(size, tiny).astype(reference.dtype))
    with np.errstate(all="ignore"):
        difference = abs(result.astype(np.float64) - reference.astype(np.float64))
        ratios = [np.where(same, 0.0, difference / unit) for unit in (ulp, bound + tiny)]
    return Distance(*(float(np.nan_to_num(ratio, nan=np.inf).max(initial=0.0)) for ratio in ratios))
