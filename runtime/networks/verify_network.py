"""Comparison of networks and objectives: both backends beside the interpretation of their program.

In: a loaded product and derivatives of the reference, computed elsewhere.  Out: the largest
relative deviation of each backend, in the norm of each array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.network_pass import Floats
from hamilforge.runtime.networks.objective import Objective

#: Deviations in units of the rounding of a number: 1e-13 in float64 is 450 of them.
ROUNDINGS = 450.0
#: The same in float32: 1e-5.
SINGLE_ROUNDINGS = 84.0


@dataclass(frozen=True, slots=True)
class NetworkCase:
    """A network with numbers, and what the reference found.

    Attributes:
        found: arrays by name: ``end of y``, ``by y``, ``by K``, ``by the steps``.
        terms: how large what is added up to some of them is, where this may cancel.
        draw: the seed of fixed arrays.
        fixed: what the reference drew, by the name in the program.
    """

    name: str
    dtype: str
    sizes: Mapping[str, int]
    parameters: Mapping[str, float]
    controls: Mapping[str, Floats]
    h: Floats
    t0: float
    states: Sequence[Floats]
    costates: Sequence[Floats]
    found: Mapping[str, Floats]
    terms: Mapping[str, float]
    draw: int
    fixed: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class TargetCase:
    """An objective with numbers, and what the reference found."""

    name: str
    dtype: str
    sizes: Mapping[str, int]
    parameters: Mapping[str, float]
    weights: Mapping[str, Floats]
    arrays: Sequence[Floats]
    found: Mapping[str, Floats]


def compare(
    loaded: Loaded,
    cases: Sequence[NetworkCase | TargetCase],
    backends: Sequence[str],
    device: str = "cpu",
) -> Verification:
    """Run every backend on every case.

    Args:
        loaded: the product.
        cases: of networks or of objectives.
        backends: ``numba``, ``torch`` or both.
        device: where torch's modules run.

    Returns:
        A deviation for each backend and case, and of a network for each choice of memory that was
        tried.
    """
    return Verification(loaded.name, tuple(deviations(loaded, cases, backends, device)))


def deviations(
    loaded: Loaded,
    cases: Sequence[NetworkCase | TargetCase],
    backends: Sequence[str],
    device: str = "cpu",
) -> Iterator[Deviation]:
    """One run after another.

    Args:
        loaded: the product.
        cases: of networks or of objectives.
        backends: ``numba``, ``torch`` or both.
        device: where torch's modules run.

    Yields:
        The largest deviation of a run, for each backend and case, and of a network for each choice
        of memory that was tried.
    """
    for backend in backends:
        for case in cases:
            for ran, label, computed in _runs(loaded, case, backend, device):
                terms = case.terms if isinstance(case, NetworkCase) else {}
                worst = max(
                    _deviation(computed[name], value, terms.get(name, 0.0))
                    for name, value in case.found.items()
                )
                epsilon = float(np.finfo(case.dtype).eps)
                room = ROUNDINGS if case.dtype == "float64" else SINGLE_ROUNDINGS
                yield Deviation(ran, label, case.dtype, worst / epsilon, worst <= room * epsilon)


def _runs(
    loaded: Loaded, case: NetworkCase | TargetCase, backend: str, device: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What a backend finds: a network with all its stages kept, and with its states alone.

    A torch module by torch's operations, and by the kernels.
    """
    if isinstance(case, NetworkCase):
        module = loaded.torch_class() if backend == "torch" else loaded.module("numba")
        for memory in ("all", "states", *(("reversible",) if module.REVERSIBLE else ())):
            label = f"{case.name}, keeping {memory}"
            if backend == "numba":
                yield backend, label, _numba(loaded, case, memory)
                continue
            yield backend, label, _torch(loaded, case, memory, device, False)
            if device == "cpu" and module.own_product() is not None:
                yield f"{backend}, on kernels", label, _torch(loaded, case, memory, device, True)
    elif backend == "numba":
        yield backend, case.name, _numba_target(loaded, case)
    else:
        yield backend, case.name, _torch_target(loaded, case, device)


def _deviation(computed: Any, wanted: Floats, least: float) -> float:
    """The distance of two arrays, relative to their size or to that of what they are sums of."""
    size = max(float(np.linalg.norm(wanted)), least)
    difference = float(np.linalg.norm(np.asarray(computed, float) - wanted))
    if not np.isfinite(difference):
        return float("inf")
    return difference / size if size else difference


def _named(case: NetworkCase, product: Any) -> list[str]:
    return [name for name, shape in product.STATES.items() if shape]


def _numba(loaded: Loaded, case: NetworkCase, memory: str) -> dict[str, Any]:
    product = loaded.module("numba")
    network = Network(
        product, len(case.h), case.sizes, case.h.tolist(), t0=case.t0, parameters=case.parameters,
        dtype=case.dtype, block=4, memory=memory, draw=case.draw,
    )  # fmt: skip
    for name, value in case.controls.items():
        network.controls[name][...] = value
    gradient = network.gradient(*case.states, costates=tuple(case.costates))
    names = _named(case, product)
    computed = {f"end of {name}": end for name, end in zip(names, gradient.ends, strict=True)}
    computed |= {
        f"by {name}": derivative for name, derivative in zip(names, gradient.states, strict=True)
    }
    computed |= {f"by {name}": derivative for name, derivative in gradient.controls.items()}
    if gradient.running is not None:
        computed["running cost"] = gradient.running
    if product.REGULARISER:
        cost, by_control, by_step = network.regulariser()
        computed |= {
            f"regulariser by {name}": derivative for name, derivative in by_control.items()
        }
        computed |= {"regulariser": np.array(cost), "regulariser by the steps": by_step}
    return computed | {"by the steps": gradient.h, "by the time": np.array(gradient.t0)}


def _torch(
    loaded: Loaded, case: NetworkCase, memory: str, device: str, fused: bool
) -> dict[str, Any]:
    import torch

    kind = {"dtype": getattr(torch, case.dtype), "device": device}
    network = loaded.torch_class()(
        len(case.h), case.sizes, case.h.tolist(), "learned", t0=case.t0,
        parameters=case.parameters, memory=memory, draw=case.draw, fused=fused, **kind,
    )  # fmt: skip
    network.t0.requires_grad_()
    with torch.no_grad():
        for name, value in case.controls.items():
            network.control(name).copy_(torch.from_numpy(value))
    states = [torch.tensor(state, **kind).requires_grad_() for state in case.states]
    ends = network(*states)
    total: Any = 0.0
    computed: dict[str, Any] = {}
    if network.RUNNING:
        ends, cost = ends
        total = cost.sum()
        computed["running cost"] = _numbers(cost)
    ends = ends if isinstance(ends, tuple) else (ends,)
    for end, costate in zip(ends, case.costates, strict=True):
        total = total + (end * torch.tensor(costate, **kind)).sum()
    total.backward()
    names = _named(case, network)
    computed |= {f"end of {name}": _numbers(last) for name, last in zip(names, ends, strict=True)}
    computed |= {f"by {name}": _slope(state) for name, state in zip(names, states, strict=True)}
    for name in network.CONTROLS:
        computed[f"by {name}"] = _slope(network.control(name))
    computed |= {
        "by the steps": _slope(network.step_sizes),
        "by the time": _slope(network.t0),
    }
    if network.REGULARISER:
        network.zero_grad()
        cost = network.regulariser()
        cost.backward()
        computed |= {f"regulariser by {n}": _slope(network.control(n)) for n in network.CONTROLS}
        computed["regulariser"] = _numbers(cost)
        computed["regulariser by the steps"] = _slope(network.step_sizes)
    return computed


def _numba_target(loaded: Loaded, case: TargetCase) -> dict[str, Any]:
    product = loaded.module("numba")
    objective = Objective(product, case.sizes, case.parameters, case.dtype)
    for name, value in case.weights.items():
        objective.weights[name][...] = value
    evaluation = objective.evaluate(*case.arrays)
    states = {f"by {n}": s for n, s in zip(product.STATES, evaluation.states, strict=True)}
    weights = {f"by {name}": gradient for name, gradient in evaluation.weights.items()}
    return {"prediction": evaluation.prediction, "loss": evaluation.losses, **states, **weights}


def _torch_target(loaded: Loaded, case: TargetCase, device: str) -> dict[str, Any]:
    import torch

    kind = {"dtype": getattr(torch, case.dtype), "device": device}
    objective = loaded.torch_class()(case.sizes, parameters=case.parameters, **kind)
    with torch.no_grad():
        for name, value in case.weights.items():
            objective.weight(name).copy_(torch.from_numpy(value))
    arrays = [torch.tensor(array, **kind) for array in case.arrays]
    states = [array.requires_grad_() for array in arrays[: len(objective.STATES)]]
    losses = objective(*arrays)
    losses.sum().backward()
    computed = {"prediction": _numbers(objective.prediction(*states)), "loss": _numbers(losses)}
    computed |= {f"by {n}": _slope(s) for n, s in zip(objective.STATES, states, strict=True)}
    return computed | {f"by {n}": _slope(objective.weight(n)) for n in objective.WEIGHTS}


def _slope(tensor: Any) -> Floats:
    """The derivative by a tensor; zero where nothing depends on it."""
    return np.zeros(tensor.shape) if tensor.grad is None else _numbers(tensor.grad)


def _numbers(tensor: Any) -> Floats:
    """The entries of a tensor on any device."""
    entries: Floats = tensor.detach().cpu().numpy()
    return entries
