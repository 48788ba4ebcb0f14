"""What all tests share.

Kernels are compiled once for all workers: numba and hamilforge keep them in the folders that
``NUMBA_CACHE_DIR`` and ``HAMILFORGE_CACHE`` name.  Compiling is most of what tests take, so what a
declaration means is tested with its kernels run as plain Python (``interpreted.py``), and a cover
of the catalogue is compiled.  The rest is marked ``full``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hamilforge.runtime.core.comparison import Verification
from hamilforge.verification import verify

from .interpreted import verified


@pytest.fixture(params=["interpreted", pytest.param("compiled", marks=pytest.mark.full)])
def verifies(request: pytest.FixtureRequest) -> Callable[[str | Path], Verification]:
    """Compare an optimizer with the interpretation of its program."""
    return verified if request.param == "interpreted" else verify
