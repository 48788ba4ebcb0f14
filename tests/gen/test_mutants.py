"""Verification sees every fault in the texts of every rule and every discretised system.

In emitted lines and in those of the host: each sign turned, each coefficient larger by a millionth,
each choice turned, each operation in place left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hamilforge import optimizer_cases
from hamilforge.generation import catalogue_folder
from hamilforge.runtime.optimizers.verify import (
    FORMS,
    ROOM,
    Case,
    _deviation,
    _host_deviation,
    _solution_deviation,
    _start_deviation,
)
from tests.interpreted import SHAPES, program_of
from tests.mutants import FACTOR, Mutant, loaded, mutants
from tests.optimizers import ASSIGNED, MECHANICAL
from tests.samples import sampled

EXPECTED = Path(__file__).parents[1] / "expected" / "equal_mutants.toml"
#: Faults that change nothing that is computed.
EQUAL = tomllib.loads(EXPECTED.read_text())["equal"]
TEXTS = [(name, backend) for name in (*ASSIGNED, *MECHANICAL) for backend in FORMS]


def bounds(module: ModuleType, backend: str, cases: tuple[Case, ...]) -> Iterator[float]:
    """How far a backend is from the reference: what verification compares, one after the other."""
    forms = [maker(module, "cpu") for maker in FORMS[backend].values()]
    for case in cases:
        yield _host_deviation(module, case).bounds
        yield _start_deviation(module, backend, case, "cpu").bounds
        yield _solution_deviation(module, backend, case, "cpu").bounds
    for case in cases:
        yield from (_deviation(form, case).bounds for form in forms)


def is_seen(mutant: Mutant, backend: str, cases: tuple[Case, ...]) -> bool:
    """Whether verification fails, or the mutant does."""
    try:
        return any(bound > ROOM for bound in bounds(mutant.module, backend, cases))
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
        return True


@lru_cache(maxsize=1)
def cases_of(name: str) -> tuple[Case, ...]:
    """What verification compares a rule with, in float64."""
    cases = optimizer_cases.reference_cases(program_of(name))
    return tuple(case for case in cases if case.dtype == "float64")


def _is_of(mutant: Mutant, entry: dict[str, Any]) -> bool:
    """Whether an entry is about a fault; without a source, about each larger number of its line."""
    if (mutant.function, mutant.line) != (entry["function"], entry["line"]):
        return False
    if "source" not in entry:
        return mutant.becomes == f"{mutant.source} * {FACTOR}"
    return (mutant.source, mutant.becomes) == (entry["source"], entry["becomes"])


@pytest.mark.parametrize(("name", "backend"), sampled(TEXTS, every=25))
def test_every_fault_in_a_text_is_seen(
    name: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer_cases, "SHAPES", SHAPES)
    text = (catalogue_folder() / f"{name}_{backend}.py").read_text(encoding="utf-8")
    with np.errstate(all="ignore"):
        cases = cases_of(name)
        right = [*bounds(loaded(text, backend), backend, cases)]
        assert max(right) <= ROOM
        equal = [entry for entry in EQUAL if (entry["rule"], entry["backend"]) == (name, backend)]
        unseen, count = [], 0
        for mutant in mutants(text, backend):
            count += 1
            if not is_seen(mutant, backend, cases):
                known = [entry for entry in equal if _is_of(mutant, entry)]
                assert len(known) == 1, str(mutant)
                unseen += known
                if not known[0].get("rounds"):  # not even a rounding is another
                    assert [*bounds(mutant.module, backend, cases)] == right, str(mutant)
    print(f"{name}, {backend}: {count} faults, of which {len(unseen)} change nothing:")
    print(*(f"  {entry['line']}: {entry['why']}" for entry in equal))
    assert all(entry in unseen for entry in equal)
    assert count > 10


def test_what_changes_nothing_is_of_a_rule_that_is_there() -> None:
    assert {(entry["rule"], entry["backend"]) for entry in EQUAL} <= set(TEXTS)
    assert all(entry["why"] for entry in EQUAL)
