"""What ``list`` shows of proofs is kept, for as long as nothing they depend on has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hamilforge import kept_properties, listing
from hamilforge.gen import digests, pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.prove.report import UNFINISHED, Finding, Report


@pytest.fixture(autouse=True)
def proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and the names of what is proved."""
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    proved: list[str] = []

    def check(declaration: Any) -> Report:
        proved.append(declaration.head.name)
        return real(declaration)

    real = pipeline.check
    monkeypatch.setattr(pipeline, "check", check)
    return proved


@pytest.mark.parametrize("name", ["rgd", "sgld", "rk4", "heun2", "lie", "pendulum", "booth"])
def test_what_is_kept_is_what_was_proved(name: str, proofs: list[str]) -> None:
    declaration = catalogue.load(name)
    first = kept_properties.properties(declaration)
    again = kept_properties.properties(declaration)
    assert proofs == [name]
    assert first == again == pipeline.check(declaration).to_dict()["properties"]


def test_another_generator_proves_anew(proofs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = catalogue.load("rk4")
    kept_properties.properties(declaration)
    monkeypatch.setattr(digests, "emitter_digest", lambda: "another")
    kept_properties.properties(declaration)
    assert proofs == ["rk4", "rk4"]


def test_another_text_is_proved_anew(proofs: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = Path(catalogue.load("heun2").head.source.where).read_text("utf-8")
    for changed in (text, text.replace("[claims]", "[claims]\n# changed")):
        path.write_text(changed)
        kept_properties.properties(catalogue.load(path))
    assert len(proofs) == 2


def test_what_was_not_decided_is_not_kept(
    proofs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = Finding("order", None, UNFINISHED, "-", "it takes more than its budget")
    report = Report("rk4", "runge-kutta", "-", (unfinished,), ())
    monkeypatch.setattr(pipeline, "check", lambda _: proofs.append("rk4") or report)
    for _ in range(2):
        assert kept_properties.properties(catalogue.load("rk4"))["order"] is None
    assert proofs == ["rk4", "rk4"]


def test_a_table_is_the_same_from_proofs_and_from_what_was_kept(proofs: list[str]) -> None:
    first = listing.table("splitting", "order >= 2")
    count = len(proofs)
    assert count > 3
    assert listing.table("splitting", "order >= 2") == first
    assert len({*proofs}) == len(proofs)


def test_other_processes_prove_the_same(proofs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_properties, "_MANY", 3)
    paths = catalogue.paths("runge-kutta")[:3]
    for _ in range(2):  # nothing is left to do then
        kept_properties.prepare(paths, 2)
    declarations = [*map(catalogue.load, paths)]
    kept = [*map(kept_properties.properties, declarations)]
    assert proofs == []
    assert kept == [pipeline.check(one).to_dict()["properties"] for one in declarations]
