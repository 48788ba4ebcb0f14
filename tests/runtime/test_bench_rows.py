"""How benchmarks tell what they measured."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from hamilforge import bench_command
from hamilforge.runtime.bench import integrators, optimizers
from hamilforge.runtime.bench.integrators import _loosest
from hamilforge.runtime.bench.rows import Row, fastest_first, named
from hamilforge.runtime.bench.timing import interleaved


def row(candidate: str, peer: str, ratio: float | None) -> Row:
    return Row("bench", "case", candidate, peer, None, None, None, ratio, 1)


def test_the_fastest_peer_of_each_candidate_comes_first() -> None:
    rows = [
        row("rk4", "absent", None),
        row("rk4", "slow", 0.2),
        row("taylor", "slow", 0.1),
        row("rk4", "fast", 3.0),
        row("taylor", "fast", 0.9),
    ]
    peers = [(one.candidate, one.peer) for one in fastest_first(rows)]
    assert peers == [
        ("rk4", "fast"), ("rk4", "slow"), ("rk4", "absent"), ("taylor", "fast"), ("taylor", "slow"),
    ]  # fmt: skip


def test_a_peer_is_named_with_the_version_of_its_package() -> None:
    versions = {"heyoka": "7.13.2", "jax": "0.10.2", "scipy": "1.17.1"}
    assert named("heyoka", versions) == "heyoka 7.13.2"
    assert named("jax scan, checkpoint", versions) == "jax 0.10.2 scan, checkpoint"
    assert named("SciPy DOP853", versions) == "SciPy 1.17.1 DOP853"
    assert named("a loop written by hand", versions) == "a loop written by hand"
    assert named("", versions) == ""


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 12, 13])
def test_the_loosest_setting_is_found_wherever_it_is(count: int) -> None:
    for first in range(count):
        assert _loosest(range(count), lambda k, first=first: k if k >= first else None) == first
    assert _loosest(range(count), lambda k: None) is None


def test_what_was_measured_before_a_case_failed_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> list[Row]:
        raise RuntimeError("no memory")

    cases = [("first", lambda: [row("rk4", "heyoka", 2.0)]), ("second", fails)]
    monkeypatch.setattr(integrators, "cases", lambda rounds: cases)
    with pytest.raises(RuntimeError, match="no memory"):
        bench_command.run("integrators", True, None, None)
    assert [one["candidate"] for one in json.loads(capsys.readouterr().out)] == ["rk4"]


@pytest.mark.parametrize("entry", optimizers.line_up()["cold"], ids=lambda entry: entry["case"])
def test_the_code_of_fresh_processes_calls_what_there_is(entry: dict[str, Any]) -> None:
    code = f"{entry['setup']}\n{entry['timed']}"
    tree = ast.parse(code.replace("{name}", "hamilforge").replace("{dtype}", "float32"))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(imports, []), "<imports>", "exec"), names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = names.get(node.value.id)
            assert home is None or hasattr(home, node.attr)


def test_where_nothing_reaches_the_error_nothing_is_timed() -> None:
    assert interleaved({}, 3) == {}
