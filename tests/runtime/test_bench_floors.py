"""Loops that were written by hand, as floors of kernels, take the same steps."""

from __future__ import annotations

from typing import Any

import pytest

from hamilforge.runtime.bench import floors, integrators

LINE_UP = integrators.line_up()["floors"]


@pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, marks=() if "order" in entry else pytest.mark.full) for entry in LINE_UP],
    ids=lambda entry: entry["case"],
)
def test_a_loop_by_hand_ends_where_the_kernel_does(entry: dict[str, Any]) -> None:
    (row,) = floors.floor_rows("integrators", rounds=1, **{**entry, "steps": 400})
    assert row.ratio > 0


def test_one_that_takes_other_steps_is_refused() -> None:
    (entry,) = (entry for entry in LINE_UP if entry["case"] == "taylor on kepler, floor")
    with pytest.raises(RuntimeError, match=r"ends .* away"):
        floors.floor_rows("integrators", rounds=1, **{**entry, "order": 6, "steps": 400})
