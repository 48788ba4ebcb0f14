"""Faults that everyone makes, planted in declarations: a claim must flip, or the file be refused.

Those in emitted and host lines are planted in :mod:`test_mutants`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from tests.optimizers import ASSIGNED
from tests.samples import sampled

#: By what is wrong: a pattern, and what stands in its place.
FAULTS = {
    "eps inside the root": (
        r"sqrt\(([^()]*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*)*)\) \+ eps",
        r"sqrt(\1 + eps)",
    ),
    "bias corrected a step late": (r"\*\*n\)", r"**(n + 1))"),
    "bias of time corrected twice": (r"exp\(-t/", r"exp(-2*t/"),
    "bias corrected twice": (r"/\(1 - beta1\*\*n\)", r"/(1 - beta1**n)**2"),
    "an average without its weight": (r"\(1 - beta([12])\)\*grad", r"grad"),
    "no bias correction": (r"/\(1 - beta([12])\*\*n\)", ""),
    "a counter twice a step": (r"\bn\b", "(2*n)"),
    "another start": (r'psi = "\(1 - alpha\*beta\)\*theta"', 'psi = "(1 + alpha*beta)*theta"'),
    "another start of a scalar": (r"product = 1\b", "product = 0.5"),
    "a factor of the step lost": (r"- h\*grad", "- grad"),
    "the step squared": (r'h = "lr"', 'h = "lr**2"'),
    "decay before instead of beside": (
        r"decoupled_weight_decay = true",
        "decoupled_weight_decay = false",
    ),
    "a sign": (r"- lr\*", "+ lr*"),
    "the old average for the new one": (r"max\(beta2\*u, ", "max(u, "),
}


def files(declaration: kinds.Declaration) -> list[Path]:
    """The files of an optimizer, its system and its method."""
    parts = (
        declaration,
        getattr(declaration, "system", None),
        getattr(declaration, "method", None),
    )
    return [Path(part.head.source.where) for part in parts if part is not None]


def cases() -> list[Any]:
    """Rules and faults that can be planted in them: each in one, and in two more in ``full``."""
    found = []
    for fault, (pattern, _) in FAULTS.items():
        names = [
            name
            for name in ASSIGNED
            if any(
                re.search(pattern, _body(path))
                for path in files(catalogue.load(name, ("optimizer",)))
            )
        ]
        assert names, fault
        found += sampled([(name, fault) for name in names[:3]], every=3)
    return found


def _body(path: Path) -> str:
    """What a file declares; claims and what is said of a rule are left out."""
    lines = path.read_text().splitlines()
    return "\n".join(
        line
        for line in lines
        if not line.startswith(("first_steps", "title", "reference", "values", "state ="))
    )


@pytest.mark.parametrize(("name", "fault"), cases())
def test_a_fault_in_a_declaration_is_seen(name: str, fault: str, tmp_path: Path) -> None:
    pattern, other = FAULTS[fault]
    planted = 0
    for path in files(catalogue.load(name, ("optimizer",))):
        folder = tmp_path / path.parent.name
        folder.mkdir(exist_ok=True)
        lines = []
        for line in path.read_text().splitlines():
            told = line.startswith(("first_steps", "title", "reference", "values", "state ="))
            changed = line if told else re.sub(pattern, other, line)
            planted += changed != line
            # references by name become those beside
            for key, room in (("system", "systems"), ("method", None)):
                match = re.fullmatch(rf'{key} = "(\w+)"', changed)
                if match:
                    places = [room] if room else ["splitting", "updates", "runge_kutta"]
                    for place in places:
                        there = path.parents[1] / place / f"{match[1]}.toml"
                        if there.exists():
                            changed = f'{key} = "../{place}/{match[1]}.toml"'
                            break
            lines.append(changed)
        (folder / path.name).write_text("\n".join(lines) + "\n")
    assert planted
    try:
        report = pipeline.check(catalogue.load(tmp_path / "optimizers" / f"{name}.toml"))
    except DeclarationError:
        return
    assert not report.holds, report
