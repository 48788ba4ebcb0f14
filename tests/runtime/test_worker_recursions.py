"""Workers that exchange means are the recursions of the papers: processes, and the simulation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core.normal_numbers import key_of
from tests.samples import diagonal

from .loops import averaging
from .worker_problem import START, slope
from .worker_processes import gloo, workers
from .worker_recursions import RECURSIONS

STEPS = 26


def test_every_rule_with_means_has_a_recursion() -> None:
    assert set(averaging()) == set(RECURSIONS)


@functools.cache
def trained(size: int) -> dict[str, Any]:
    """What processes have after training with every rule."""
    chosen = {name: hyper for name, (_, hyper) in RECURSIONS.items()}
    found = workers(
        f"RULES = {chosen!r}\nSTEPS = {STEPS}\n"
        """
FORMS = {"kernel": {"fused": True}, "lists": {"foreach": True},
         "functional": {"fused": False, "foreach": False}}
def work(rank, size):
    told = {}
    for name, hyper in RULES.items():
        for form, choice in FORMS.items():
            params = parameters()
            optimizer = hf.optimizer(name)(
                params, **hyper, **choice, process_group=dist.group.WORLD
            )
            train(optimizer, params, rank, 0, STEPS)
            told[f"{name} {form}"] = values(params), solved(optimizer, params)
    return told
""",
        size,
    )
    return {name: [own[name] for own in found] for name in found[0]}


@gloo
@pytest.mark.parametrize(
    ("name", "form", "size"), diagonal(RECURSIONS, ["kernel", "lists", "functional"], [2, 4])
)
def test_processes_are_the_recursion(name: str, form: str, size: int) -> None:
    recursion, hyper = RECURSIONS[name]
    found = trained(size)[f"{name} {form}"]
    for number, start in enumerate(START):
        points, solutions = recursion(start, size, STEPS, **hyper)
        for rank, (ours, solved) in enumerate(found):
            np.testing.assert_allclose(ours[number], points[rank].ravel(), rtol=0, atol=1e-13)
            np.testing.assert_allclose(solved[number], solutions[rank].ravel(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", RECURSIONS)
def test_the_simulation_is_the_recursion(name: str, size: int) -> None:
    recursion, hyper = RECURSIONS[name]
    start = START[0]
    found = hf.simulate_workers(name, slope, size, start, STEPS, **hyper)
    points, solutions = recursion(start, size, STEPS, **hyper)
    np.testing.assert_allclose(found.x, points, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.solution, solutions, rtol=0, atol=1e-13)
    assert found.path.shape == (STEPS + 1, size, 2, 3)


def test_the_noise_of_workers_differs_unless_it_is_wanted_equal() -> None:
    """Parle at a temperature: replicas are keyed by their ranks."""

    def still(x: Any, worker: int, step: int) -> Any:
        return 0 * x

    hyper = {"temperature": 0.3, "L": 2, "lr": 0.0}
    start = np.zeros(4000)
    found = hf.simulate_workers("parle", still, 3, start, 1, seed=5, **hyper)
    correlations = np.corrcoef(found.x)
    assert abs(correlations - np.eye(3)).max() < 4 / np.sqrt(start.size)
    equal = hf.simulate_workers("parle", still, 3, start, 1, seed=5, equal_noise=True, **hyper)
    assert (equal.x == found.x[0]).all()
    assert len({key_of(5, rank, "0") for rank in range(3)}) == 3


@gloo
def test_processes_draw_what_the_simulation_draws() -> None:
    found = workers(
        """
def work(rank, size):
    told = []
    for equal in (False, True):
        params = parameters()[:1]
        optimizer = hf.optimizer("parle")(
            [("weight", params[0])],
            L=3,
            temperature=0.2,
            seed=4,
            process_group=dist.group.WORLD,
            equal_noise=equal,
        )
        train(optimizer, params, rank, 0, 7)
        told.append(values(params)[0])
    return told
"""
    )
    for number, equal in enumerate((False, True)):
        expected = hf.simulate_workers(
            "parle",
            slope,
            2,
            START[0],
            7,
            seed=4,
            equal_noise=equal,
            parameter="weight",
            L=3,
            temperature=0.2,
        )
        for rank in range(2):
            ours = np.reshape(found[rank][number], START[0].shape)
            np.testing.assert_allclose(ours, expected.x[rank], rtol=0, atol=1e-13)
