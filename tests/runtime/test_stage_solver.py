"""Newton's method for implicit stages: steps that overshoot, and directions that are old."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

HEAD = 'kind = "system"\ntitle = "-"\nreference = "-"\n'
ROBERTSON = """name = "robertson"
[equations]
x = "-0.04*x + 10**4*y*z"
y = "0.04*x - 10**4*y*z - 3*10**7*y**2"
z = "3*10**7*y**2"
[start]
x = 1
y = 0
z = 0
"""
COOLING = """name = "cooling"
[equations]
a = "1/16 - a**4"
[start]
a = 1
"""
SQUARE = """name = "square"
[equations]
a = "1 - 10**7*a**2"
[start]
a = 1
"""


@pytest.fixture
def declared(tmp_path: Path) -> Callable[[str], Path]:
    def declare(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(HEAD + text)
        return path

    return declare


def ends(system: Path, method: str, h: float, start: list[float]) -> tuple[Any, Any]:
    """After one step, by the kernel and by torch's whole steps of Newton's method."""
    kernel = hf.integrate(system, method, y0=np.array(start), t_span=(0, h), h=h).y[-1]
    flow = hf.flow(system, method, h=h, steps=1)
    return kernel, flow(torch.tensor(start, dtype=torch.float64)).numpy()


@pytest.mark.parametrize(
    ("method", "steps"),
    [("radau_iia3", (1.0, 2.75, 4.5, 6.0, 7.75)), ("gauss3", (3.0, 5.0, 8.5))],
)
def test_a_step_is_not_shortened_along_an_old_direction(
    declared: Callable[[str], Path], method: str, steps: tuple[float, ...]
) -> None:
    system = declared(COOLING)
    for h in steps:
        kernel, flow = ends(system, method, h, [1.0])
        assert abs(kernel - flow).max() <= 1e-12, h


@pytest.mark.parametrize("h", [0.1, 0.17782794, 1.0])
def test_robertson_ends_at_the_root_that_begins_at_the_start(
    declared: Callable[[str], Path], h: float
) -> None:
    kernel, flow = ends(declared(ROBERTSON), "radau_iia2", h, [1.0, 0.0, 0.0])
    assert abs(kernel - flow).max() <= 1e-12
    assert (kernel >= 0).all()
    if h == 0.1:  # another root of the stages ends at 0.99600357
        assert kernel == pytest.approx([0.9960777428, 3.61264476e-05, 3.88613099e-03], rel=1e-7)


def test_a_run_does_not_leave_the_branch_on_which_it_begins(
    declared: Callable[[str], Path],
) -> None:
    """From the increments of the step before, Newton's method found another root in step 2."""
    run = hf.integrate(declared(ROBERTSON), "lobatto_iiia3", t_span=(0, 20), h=0.1)
    assert run.y[-1][0] == pytest.approx(0.78242, abs=3e-4)  # by radau_iia5 at five step sizes
    assert (run.y[:, 0] > 0.78).all()


def test_a_first_step_that_overshoots_far_converges(declared: Callable[[str], Path]) -> None:
    kernel, _ = ends(declared(SQUARE), "implicit_euler", 0.01, [1.0])
    root = (-1 + np.sqrt(1 + 4e5 * 1.01)) / 2e5  # a = 1 + 0.01*(1 - 1e7*a**2)
    assert kernel[0] == pytest.approx(root, rel=1e-12)


@pytest.mark.parametrize(("method", "h"), [("implicit_euler", 0.3), ("implicit_midpoint", 0.6)])
def test_stages_without_a_root_near_the_start_are_refused(
    declared: Callable[[str], Path], method: str, h: float
) -> None:
    """u = 1 + h*u^3 has one real root for larger h, which is negative."""
    system = declared('name = "cube"\nequations = { y = "y**3" }\nstart = { y = 1 }\n')
    with pytest.raises(hf.IntegrationError, match="did not converge"):
        hf.integrate(system, method, y0=[1.0], t_span=(0, h), h=h)
