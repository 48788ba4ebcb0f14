"""What is proved of the catalogue is proved once for all tests and workers of a run.

Tests that plant a fault in a proof do so with declarations of their own, which are proved anew.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

from hamilforge.gen import digests, families
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.prove.report import UNFINISHED, Report

Prove = Callable[[kinds.Declaration], Report]


def once(prove: Prove, folder: Path) -> Prove:
    """A proof whose reports of the catalogue are kept in a folder.

    Args:
        prove: a declaration to its report.
        folder: of this run, which all its workers share.
    """
    root = catalogue.root()

    @remembered
    def proved(declaration: kinds.Declaration) -> Report:
        path = Path(declaration.head.source.where)
        if not path.is_relative_to(root) or declaration != catalogue.load(path):
            return prove(declaration)  # or one that was changed after it was read
        name = f"{families.kind_of(declaration).name}.{declaration.head.name}"
        place = folder / f"{name}.{digests.declaration_digest(declaration)}"
        if place.exists():
            kept: Report = pickle.loads(place.read_bytes())
            return kept
        report = prove(declaration)
        if all(finding.evidence != UNFINISHED for finding in report.findings):
            handle, staging = tempfile.mkstemp(dir=folder)
            with open(handle, "wb") as file:
                pickle.dump(report, file)
            os.replace(staging, place)  # whole, whoever reads it
        return report

    return proved
