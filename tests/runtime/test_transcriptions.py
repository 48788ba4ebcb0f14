"""Generated optimizers beside the same methods written by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .problems import GRADIENTS, start
from .training import optimizer_class, parameters, solutions
from .transcriptions import SCHEMES

EXPECTED = Path(__file__).parents[1] / "expected" / "transcriptions.toml"
METHODS: list[dict[str, Any]] = tomllib.loads(EXPECTED.read_text())["methods"]
STEPS = 40
#: Rounding errors of 1e-16 grow along a trajectory of 40 steps; a wrong digit shows at 1e-6.
TOLERANCE = 1e-13


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("problem", GRADIENTS)
@pytest.mark.parametrize(
    "method", METHODS, ids=[f"{m['optimizer']} is {m['scheme']}" for m in METHODS]
)
def test_the_solutions_are_the_positions_of_the_method_written_by_hand(
    method: dict[str, Any], problem: str, fused: bool
) -> None:
    gradient, q = GRADIENTS[problem], start()
    wanted = SCHEMES[method["scheme"]](gradient, q, STEPS, **method["hyper"])
    params = parameters(q)
    optimizer = optimizer_class(method["optimizer"])(params, fused=fused, **method["hyper"])
    found = solutions(optimizer, params, gradient, STEPS)
    assert abs(wanted[-1] - wanted[0]).max() > 1e-3
    assert abs(found - wanted).max() <= TOLERANCE * abs(wanted).max()


@pytest.mark.parametrize(
    "method", METHODS, ids=[f"{m['optimizer']} is {m['scheme']}" for m in METHODS]
)
def test_a_hyper_parameter_changed_by_a_millionth_is_seen(method: dict[str, Any]) -> None:
    gradient, q = GRADIENTS["quadratic"], start()
    hyper = method["hyper"]
    wanted = SCHEMES[method["scheme"]](gradient, q, STEPS, **hyper)
    for name, value in hyper.items():
        params = parameters(q)
        changed = {**hyper, name: value * (1 + 1e-6)}
        optimizer = optimizer_class(method["optimizer"])(params, fused=False, **changed)
        found = solutions(optimizer, params, gradient, STEPS)
        assert abs(found - wanted).max() > 10 * TOLERANCE * abs(wanted).max(), name
        assert np.isfinite(found).all()
