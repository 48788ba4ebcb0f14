"""The optimizers that the contract is tested with: one of each kind in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import pytest
import torch

from tests.optimizers import ELEMENTWISE

from .training import optimizer_class, representatives


@pytest.fixture(params=representatives())
def method(request: pytest.FixtureRequest) -> Any:
    """An optimizer's class, one of each kind that the runtime tells apart."""
    return optimizer_class(request.param)


@pytest.fixture(params=ELEMENTWISE)
def any_method(request: pytest.FixtureRequest) -> str:
    """The name of an optimizer, each of the catalogue."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors of ten entries need no second thread, and two pools would wait for each other."""
    before = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    yield
    numba.set_num_threads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def each_warning() -> Iterator[None]:
    """What torch warns of once in a process it warns of each time."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)
