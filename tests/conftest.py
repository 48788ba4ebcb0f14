"""What all tests share.

Kernels are compiled once for all workers: numba and hamilforge keep them in the folders that
``NUMBA_CACHE_DIR`` and ``HAMILFORGE_CACHE`` name.  Compiling is most of what tests take, so what a
declaration means is tested with its kernels run as plain Python (``interpreted.py``), and a cover
of the catalogue is compiled.  The rest is marked ``full``.  The catalogue is proved once
for all workers and tests (``proved.py``).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hamilforge import kept_properties
from hamilforge.gen import pipeline
from hamilforge.gen.declare import budget
from hamilforge.runtime.core.comparison import Verification
from hamilforge.verification import verify

from .interpreted import interpret, verified
from .proved import once


def pytest_configure() -> None:
    """Cycles are looked for seldom: derivations make many objects, few of them in cycles."""
    gc.set_threshold(200_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbours run in the same worker, which proves and imports what they share once."""
    if config.option.dist != "load":  # another way was asked for
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The commands of the README come first: they take long, and none is the last to end.

    Tables of all that is proved come last: two workers would prove the same at once.
    """

    def place(item: pytest.Item) -> int:
        if item.path.name != "test_readme.py":
            return 1
        return 2 if "the_proofs_give" in item.name else 0

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _proved_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Reports of the catalogue, in a folder of this run that its workers share.

    Commands prove in the worker itself: processes of their own would know none of them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "proofs"
    folder.mkdir(exist_ok=True)
    proved = mock.patch.object(pipeline, "check", once(pipeline.check, folder))
    with proved, mock.patch.object(kept_properties, "_MANY", sys.maxsize):
        yield


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets are four times as long: what is tested is not how quick the machine is today."""
    monkeypatch.setattr(budget, "QUICK", budget.QUICK / 4)
    monkeypatch.setattr(budget, "SLOWEST", budget.SLOWEST * 4)


@pytest.fixture(params=["interpreted", pytest.param("compiled", marks=pytest.mark.full)])
def verifies(request: pytest.FixtureRequest) -> Callable[[str | Path], Verification]:
    """Compare an optimizer with the interpretation of its program."""
    return verified if request.param == "interpreted" else verify


@pytest.fixture(params=["interpreted", pytest.param("compiled", marks=pytest.mark.full)])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels of a test be Python, and compiled in ``full``."""
    if request.param == "interpreted":
        interpret(monkeypatch)
