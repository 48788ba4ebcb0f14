"""Samples of long lists: the plain suite runs some of them, ``-m full`` the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], every: int) -> list[Any]:
    """All cases, of which those between each ``every``-th are left to ``-m full``.

    Args:
        cases: values of one parameter, or tuples of values of several.
        every: 1 for all.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.full] if index % every else [],
        )
        for index, case in enumerate(cases)
    ]
