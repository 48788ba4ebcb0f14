"""Comparison of minimization problems: both backends beside the interpretation of their program.

In: a loaded product, and losses and gradients of the reference.  Out: the largest deviation of each
backend, relative to the size of what is compared: torch's own derivative of its loss among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.problems.problem import Problem

#: Deviations in units of the rounding of a number: 1e-13 in float64 is 450 of them.
ROUNDINGS = 450.0


@dataclass(frozen=True, slots=True)
class ProblemCase:
    """A point, and what the reference found there.

    Attributes:
        variables: by name.
        found: ``loss``, and ``by x`` for each variable.
        scales: for each of these its largest size at all points that are looked at.
    """

    name: str
    dtype: str
    sizes: Mapping[str, int]
    variables: Mapping[str, NDArray[Any]]
    found: Mapping[str, NDArray[Any]]
    scales: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """Data and points, as the reference has them in float64.

    Attributes:
        found: data by name, ``start``, ``minimizers.0``, ``critical.0``, … as vectors, ``minimum``.
    """

    sizes: Mapping[str, int]
    found: Mapping[str, NDArray[Any]]


def compare(
    loaded: Loaded,
    cases: Sequence[ProblemCase | PreparedCase],
    backends: Sequence[str],
    device: str = "cpu",
) -> Verification:
    """Run every backend at every point.

    Args:
        loaded: the product.
        cases: data and points, and the loss at points.
        backends: ``numba``, ``torch`` or both.
        device: where torch's modules run.

    Returns:
        A deviation for each backend and point.
    """
    return Verification(loaded.name, tuple(_deviations(loaded, cases, backends, device)))


def _deviations(
    loaded: Loaded,
    cases: Sequence[ProblemCase | PreparedCase],
    backends: Sequence[str],
    device: str,
) -> Iterator[Deviation]:
    for backend in backends:
        for case in cases:
            if isinstance(case, PreparedCase):
                yield _prepared(loaded, case, backend)
                continue
            if backend == "numba":
                computed = [("", _numba(loaded, case))]
            else:
                computed = [*_torch(loaded, case, device)]
            for label, values in computed:
                epsilon = float(np.finfo(case.dtype).eps)
                worst = max(
                    _distance(values[name], wanted) / (case.scales[name] or 1.0)
                    for name, wanted in case.found.items()
                )
                holds = worst <= ROUNDINGS * epsilon
                yield Deviation(backend, case.name + label, case.dtype, worst / epsilon, holds)


def _prepared(loaded: Loaded, case: PreparedCase, backend: str) -> Deviation:
    """Data and points of a backend beside the reference's."""
    if backend == "numba":
        problem: Any = Problem(loaded.module("numba"), case.sizes)
    else:
        import torch

        problem = loaded.torch_class()(case.sizes, torch.float64)
    computed = problem.prepared()
    epsilon = float(np.finfo(np.float64).eps)
    worst = max(
        _distance(computed[name], wanted) / (1 + float(np.linalg.norm(wanted)))
        for name, wanted in case.found.items()
    )
    return Deviation(
        backend, "data and points", "float64", worst / epsilon, worst <= ROUNDINGS * epsilon
    )


def _distance(computed: Any, wanted: Any) -> float:
    distance = float(np.linalg.norm(np.asarray(computed, float) - wanted))
    return distance if np.isfinite(distance) else float("inf")


def _numba(loaded: Loaded, case: ProblemCase) -> dict[str, Any]:
    problem = Problem(loaded.module("numba"), case.sizes, case.dtype)
    x = np.concatenate([np.ravel(value) for value in case.variables.values()])
    loss, gradient = problem.value_and_gradient(x)
    alone = problem(x)  # the kernel of the loss alone
    worst = loss if abs(loss - case.found["loss"]) > abs(alone - case.found["loss"]) else alone
    by = {f"by {name}": slope for name, slope in problem.unpack(gradient).items()}
    return {"loss": worst, **by}


def _torch(loaded: Loaded, case: ProblemCase, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import torch

    kind = {"dtype": getattr(torch, case.dtype), "device": device}
    problem = loaded.torch_class()(case.sizes, **kind)
    with torch.no_grad():
        for name, value in case.variables.items():
            problem.variable(name).copy_(torch.as_tensor(value))
    loss = problem()
    loss.backward()
    alone = loss.detach().cpu().numpy()
    derived = problem.derived_gradient()
    yield (
        ", derived",
        {
            "loss": alone,
            **{f"by {name}": slope.cpu().numpy() for name, slope in derived.items()},
        },
    )
    own = {}
    for name in case.variables:
        slope = problem.variable(name).grad
        own[f"by {name}"] = 0.0 if slope is None else slope.cpu().numpy()
    yield ", torch's own derivative", {"loss": alone, **own}
