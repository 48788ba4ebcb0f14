"""The optimizers that the contract is tested with: one of each kind in the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from hamilforge.gen.declare import catalogue

from .training import optimizer_class, representatives


@pytest.fixture(params=representatives())
def method(request: pytest.FixtureRequest) -> Any:
    """An optimizer's class, one of each kind that the runtime tells apart."""
    return optimizer_class(request.param)


@pytest.fixture(params=catalogue.names("optimizer"))
def any_method(request: pytest.FixtureRequest) -> str:
    """The name of an optimizer, each of the catalogue."""
    return str(request.param)
