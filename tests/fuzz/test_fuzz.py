"""No declaration ends in a traceback, in a fault of ours, or takes for ever."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

_PATH = Path(__file__).parent / "driver.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_driver", _PATH)
driver = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["fuzz_driver"] = driver
_SPEC.loader.exec_module(driver)


def run(first, count, generate_every):
    """The verdicts of a range of seeds; faults are said."""
    found = [*driver.outcomes(first, count, generate_every)]
    faults = [outcome for outcome in found if outcome.verdict == "fault"]
    assert not faults, "\n".join(map(str, faults))
    return Counter(outcome.verdict for outcome in found)


def test_some_mutated_declarations_are_checked_or_refused():
    verdicts = run(100_000, 120, 25)
    assert verdicts.total() == 120
    assert verdicts["refused"] > 25
    assert verdicts["fine"] > 5


@pytest.mark.full
@pytest.mark.parametrize("first", [*range(0, 20_000, 1000), 100_000])
def test_mutated_declarations_are_checked_or_refused(first):
    assert run(first, 1000, 10).total() == 1000


@pytest.mark.parametrize("code", ["while True: pass", "[0] * 10**9", "1 / 0", "os._exit(3)"])
def test_the_driver_sees_hangs_memory_exceptions_and_ends(tmp_path, monkeypatch, code):
    text = _PATH.read_text().replace(
        "declaration = catalogue.load(path)", f"{code}\n                raise SystemExit", 1
    )
    broken = tmp_path / "driver.py"
    broken.write_text(text.replace("SECONDS, MEMORY = 10.0", "SECONDS, MEMORY = 0.4"))
    (tmp_path / "mutations.py").write_text((_PATH.parent / "mutations.py").read_text())
    monkeypatch.setattr(driver, "__file__", str(broken))
    assert [outcome.verdict for outcome in driver.outcomes(0, 2)] == ["fault", "fault"]
