"""Samples of long lists: the plain suite runs some of them, ``-m full`` the others."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

import pytest

from tests.optimizers import COMPILED

#: Of a test whose kernels are compiled, where those of its file are Python.
compiled = pytest.mark.parametrize("kernels", ["compiled"], indirect=True)


def sampled(cases: Iterable[Any], every: int, first: int = 0) -> list[Any]:
    """All cases, of which those between each ``every``-th are left to ``-m full``.

    Args:
        cases: values of one parameter, or tuples of values of several.
        every: 1 for all.
        first: which is the first one, so that two tests of one list take others.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[pytest.mark.full] if index % every != first else [],
        )
        for index, case in enumerate(cases)
    ]


def diagonal(*axes: Iterable[Any]) -> list[Any]:
    """Tuples of values of several parameters, of which ``-m full`` has most.

    The plain suite goes through all axes at once, each begun anew where it is shorter: it has each
    value of each, and as many tuples as the longest has values.

    Args:
        axes: the values of each parameter.
    """
    values = [[*axis] for axis in axes]
    longest = max(map(len, values))
    plain = {tuple(k % len(axis) for axis in values) for k in range(longest)}
    return [
        pytest.param(
            *(axis[k] for axis, k in zip(values, index, strict=True)),
            marks=[] if index in plain else [pytest.mark.full],
        )
        for index in itertools.product(*(range(len(axis)) for axis in values))
    ]


def covered(cases: Iterable[Any], compiled: Collection[str] = COMPILED) -> list[Any]:
    """Values of parameters and of ``kernels``: compiled in a cover, and Python elsewhere.

    What is Python is compiled in ``-m full``.  ``kernels`` is the fixture, so a test says
    ``indirect=["kernels"]``.

    Args:
        cases: names of products, or tuples that begin with one.
        compiled: those whose kernels are compiled.
    """
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        rest = values[0] not in compiled
        if rest:
            found.append(pytest.param(*values, "interpreted"))
        found.append(pytest.param(*values, "compiled", marks=[pytest.mark.full] * rest))
    return found
