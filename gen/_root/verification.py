"""Verification: the generator's interpretation of a program beside the runtime's backends.

Above both: it hands reference trajectories from one to the other.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from hamilforge.descent_cases import descent_cases
from hamilforge.gen import families, products
from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.variation import Variation
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.fields import draws
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    DiscreteGradient,
    Integrator,
    Problem,
)
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter
from hamilforge.gen.program.networks.build import build_network, build_target
from hamilforge.gen.program.networks.interpret import NetworkInterpreter, target_values
from hamilforge.gen.program.networks.network import Network, Target
from hamilforge.gen.program.optimizers.programs import program_of
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.matrix_cases import map_cases, matrix_cases
from hamilforge.optimizer_cases import reference_cases
from hamilforge.problem_cases import problem_cases
from hamilforge.runtime.core import loader
from hamilforge.runtime.core.comparison import Verification
from hamilforge.runtime.integrators import verify_integrator
from hamilforge.runtime.integrators.verify_integrator import StepCase
from hamilforge.runtime.networks import verify_network
from hamilforge.runtime.networks.network_pass import Floats
from hamilforge.runtime.networks.verify_network import NetworkCase, TargetCase
from hamilforge.runtime.optimizers import verify_descent, verify_matrices
from hamilforge.runtime.optimizers.verify import compare
from hamilforge.runtime.problems import verify_problem

#: From which the fixed arrays of networks are drawn: none of the catalogue has an entry that is 0
#: then, but unit vectors.
SEED = 16


def verify(
    name: str | Path,
    method: str | Path | None = None,
    device: str = "cpu",
    **choices: Unpack[Variation],
) -> Verification:
    """Compare every backend that is installed with the interpretation of the program.

    Args:
        name: a name in the catalogue, or a path.
        method: what a problem or a field needs beside it.
        device: where torch's forms run; on another one than the CPU nothing else runs.
        choices: of a field or a lattice, instead of the declared.

    Returns:
        The comparison.

    Raises:
        ValueError: torch is not there, or knows no such device.
    """
    backends = ["numba"] if device == "cpu" else []
    if importlib.util.find_spec("torch"):
        backends.append("torch")
    loaded = loader.load(name, method, **choices)
    _require(device)
    backends = [backend for backend in backends if loaded.has(backend)]
    made = products.load_made(name, method, **choices)
    family = _CASES[families.family_of(made).name]
    try:
        with np.errstate(all="ignore"):  # what is not finite is compared too
            cases = family.of(*made)
    except ArithmeticError as error:
        where = made[0].head.source.where
        message = f"at the default values a scalar has no value, or a step none: {error}"
        raise DeclarationError.single(where, message) from error
    verification = family.compare(loaded, cases, backends, device)
    if device != "cpu" or not isinstance(made[0], kinds.Field):
        return verification
    fused = loader.load(name, method, **{**choices, "sizes": cases[0].sizes})
    if fused == loaded:
        return verification
    more = family.compare(fused, cases, ["numba"])
    own = (replace(d, backend="numba, fused") for d in more.deviations)
    return Verification(loaded.name, (*verification.deviations, *own))


def _require(device: str) -> None:
    """That tensors can be made on a device, and looked at."""
    if device == "cpu":
        return
    if not importlib.util.find_spec("torch"):
        raise ValueError(f"the device '{device}' is one of PyTorch, which is not installed")
    import torch

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = textwrap.shorten(str(error).strip().splitlines()[0], 200, placeholder=" ...")
        raise ValueError(f"no tensor can be made on the device '{device}': {reason}") from error


@dataclass(frozen=True, slots=True)
class _Cases:
    """How products of a family are verified.

    Attributes:
        of: the cases of some declarations, by the interpretation of their program.
        compare: runs backends through cases.
    """

    of: Callable[..., Any]
    compare: Callable[..., Verification]


def network_cases(
    network: Network, dtypes: Sequence[str] = ("float64", "float32")
) -> list[NetworkCase]:
    """Three layers at drawn controls, with unequal sizes and steps, and their derivatives."""
    generator = np.random.default_rng(5)
    sizes = {name: 2 + number % 3 for number, name in enumerate(network.dimensions)}
    h = np.array([0.125, 0.0625, 0.1875])

    def draw(shape: Shape, *before: int) -> Floats:
        size = tuple(
            int(dimension) if dimension.isdigit() else sizes[dimension] for dimension in shape
        )
        # numbers that float32 has, so that both precisions begin from the same
        drawn: Floats = generator.standard_normal((*before, *size)).astype(np.float32)
        return 0.7 * drawn.astype(np.float64) if not before else drawn.astype(np.float64)

    before = (len(h), network.step.count) if network.by_stage else (len(h),)
    controls = {array.name: draw(array.shape, *before) for array in network.controls}
    if network.fixed:  # polynomials of large numbers leave their range within three layers
        controls = {name: value * 2.0**-5 for name, value in controls.items()}
    values = {parameter.name: float(parameter.default) for parameter in network.parameters}
    spelled = {raw: name for name, raw in network.declared.items()}
    exact = draws.drawn(network.draws, sizes, SEED)
    fixed = {spelled[name]: array.astype(np.float64) for name, array in exact.items()}
    own = [part.state for part in network.parts if part.state.shape]
    states = [draw(array.shape, 9) for array in own]
    costates = [draw(array.shape, 9) for array in own]
    machine = NetworkInterpreter(network, controls, {**values, **fixed}, h, 0.5)
    running = [np.zeros((9, 1))] * (len(network.parts) - len(own))
    ones = [np.ones((9, 1))] * len(running)
    ends = machine.forward([*states, *running])[-1]
    starts, by_control, by_step, by_time = machine.gradient([*states, *running], [*costates, *ones])
    raw = network.declared
    expected = {f"end of {raw[array.name]}": end for array, end in zip(own, ends, strict=False)}
    expected |= {
        f"by {raw[array.name]}": derivative for array, derivative in zip(own, starts, strict=False)
    }
    expected |= {f"by {raw[name]}": derivative for name, derivative in by_control.items()}
    expected |= {"by the steps": by_step, "by the time": np.array(by_time)}
    terms: dict[str, float] = {}
    if running:
        expected["running cost"] = ends[-1][:, 0]
    if network.regulariser is not None:
        cost, by_control, by_step = machine.regulariser()
        expected |= {
            f"regulariser by {raw[name]}": derivative for name, derivative in by_control.items()
        }
        expected |= {"regulariser": np.array(cost), "regulariser by the steps": by_step}
        # a cost per time, less what the rates of change take of it
        terms["regulariser by the steps"] = abs(cost) / float(h.sum())
    return [
        NetworkCase(
            "drawn",
            dtype,
            sizes,
            {raw[name]: value for name, value in values.items()},
            {raw[name]: value for name, value in controls.items()},
            h,
            0.5,
            states,
            costates,
            expected,
            terms,
            SEED,
            fixed,
        )
        for dtype in dtypes
    ]


def target_cases(target: Target) -> list[TargetCase]:
    """Drawn states, weights and data, and the losses' derivatives."""
    generator = np.random.default_rng(6)
    sizes = {name: 2 + number % 3 for number, name in enumerate(target.dimensions)}

    def draw(array: Array) -> Floats:
        size = tuple(
            int(dimension) if dimension.isdigit() else sizes[dimension] for dimension in array.shape
        )
        before = (9, *(size or (1,))) if array.batched else size
        drawn: Floats = generator.standard_normal(before).astype(np.float32).astype(np.float64)
        return drawn

    weights = {array.name: draw(array) for array in target.weights}
    arrays = {array.name: draw(array) for array in (*target.states, *target.data)}
    values = {parameter.name: float(parameter.default) for parameter in target.parameters}
    known = {**weights, **arrays, **values, target.seed.name: np.ones((9, 1))}
    value, gradient = target_values(target, known)
    expected = {"prediction": value["prediction"], "loss": value["loss"][:, 0]}
    raw = target.declared
    expected |= {f"by {raw[name]}": derivative for name, derivative in gradient.items()}
    values = {raw[name]: value for name, value in values.items()}
    weights = {raw[name]: value for name, value in weights.items()}
    return [
        TargetCase("drawn", dtype, sizes, values, weights, list(arrays.values()), expected)
        for dtype in ("float64", "float32")
    ]


def step_cases(integrator: Integrator, count: int = 4) -> list[StepCase]:
    """Steps of the interpretation: from the declared start and beside it, forwards and back."""
    problem = integrator.problem
    generator = np.random.default_rng(11)
    defaults = {parameter.name: float(parameter.default) for parameter in problem.parameters}
    drawn = {name: value * float(generator.uniform(0.9, 1.1)) for name, value in defaults.items()}
    start = declared_start(problem)
    beside = start + 0.05 * generator.uniform(-1, 1, start.size) * (1 + abs(start))
    gradients = isinstance(integrator.step, DiscreteGradient)
    room = verify_integrator.GRADIENT_ULPS if gradients else verify_integrator.ULPS
    if isinstance(integrator.step, ConstrainedFlows):
        room = verify_integrator.CONSTRAINED_ULPS
    cases = []
    for label, parameters, first, h in (
        ("defaults", defaults, start, 0.0625),
        ("drawn", drawn, beside, 0.03125),
        ("drawn, backwards", drawn, beside, -0.03125),
    ):
        machine = IntegratorInterpreter(integrator, parameters)
        # friction such as 3/t has no meaning before its start
        times = [float(problem.start_time) + max(0, -h) * count + k * h for k in range(count)]
        states = [machine.on_constraints(times[0], first)]
        for t in times:
            states.append(machine.step(t, h, states[-1]))
        table = np.array(states)
        # a right-hand side is as exact as the largest of its operands, which stiffness enlarges
        stiffness = max(machine.stiffness(times[0], state) for state in states)
        ulps = room * max(1.0, abs(h) * stiffness)
        if gradients:
            lost = max(_lost(machine, *row) for row in zip(times, table, table[1:], strict=False))
            # beyond some digits the comparison would say nothing
            ulps += min(verify_integrator.QUOTIENT_ROUNDINGS * abs(h) * lost, 1e5)
        cases.append(StepCase(label, parameters, h, times, table[:-1], table[1:], ulps))
    return cases


def declared_start(problem: Problem) -> Floats:
    """Where a problem begins; at 1/2 where nothing is declared."""
    if problem.lattice is None:
        return np.array([0.5 if value is None else float(value) for value in problem.start])
    sites = {"i": np.arange(problem.lattice.count), problem.lattice.name: problem.lattice.count}
    values = (
        0.5 if value is None else evaluate(value, sites, FLOAT64) for value in problem.lattice.start
    )
    shape = problem.lattice.count
    return np.concatenate([np.broadcast_to(value, shape).astype(float) for value in values])


def _lost(machine: IntegratorInterpreter, t: float, before: Floats, after: Floats) -> float:
    """How often a quotient of energies contains their rounding, relative to the state's."""
    energy = machine.integrator.problem.energy
    assert energy is not None
    moved = abs(after - before)
    if not moved.any():
        return 0.0
    size = float(machine.call(energy.size, t, before)[0])
    return size / float(moved[moved > 0].min() * abs(before).max())


_OPTIMIZERS = _Cases(lambda optimizer: reference_cases(program_of(optimizer)), compare)
#: By the family of the product.
_CASES: Mapping[str, _Cases] = {
    "optimizer": _OPTIMIZERS,
    "rule": _OPTIMIZERS,
    "matrix": _Cases(matrix_cases, verify_matrices.compare),
    "manifold": _Cases(map_cases, verify_matrices.compare_maps),
    "objective": _Cases(
        lambda objective: target_cases(build_target(objective)), verify_network.compare
    ),
    "problem": _Cases(problem_cases, verify_problem.compare),
    "descent": _Cases(descent_cases, verify_descent.compare),
    "network": _Cases(
        lambda field, layers: network_cases(build_network(field, layers)), verify_network.compare
    ),
    "integrator": _Cases(
        lambda problem, method: step_cases(build_integrator(derive_field(problem), method)),
        verify_integrator.compare,
    ),
}
