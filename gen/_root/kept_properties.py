"""Properties that were proved before, of declarations and a generator that have not changed since.

A proof is a function of the declaration, of all it refers to, of the generator's code and of the
versions it depends on: their digest names a folder in the user's cache.  What was not decided in
its time is not kept.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hamilforge.gen import products
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.core import cache

_FILE = "properties.json"
#: So many proofs take longer than processes to begin.
_MANY = 16


def _key(declaration: kinds.Declaration) -> str:
    return f"r_{products.key(declaration)}"


def prepare(paths: Sequence[Path], processes: int) -> None:
    """Prove, in several processes, what is not kept yet; :func:`properties` finds it then.

    Args:
        paths: of declarations; what is wrong with one is found where it is asked for.
        processes: how many.
    """
    missing = [path for path in paths if cache.find(_key(catalogue.load(path))) is None]
    if processes > 1 and len(missing) >= _MANY:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            for _ in pool.map(_prove, missing, chunksize=4):  # neighbours share proofs
                pass


def _prove(path: Path) -> None:
    with contextlib.suppress(DeclarationError):
        properties(catalogue.load(path))


def properties(declaration: kinds.Declaration) -> Mapping[str, Any]:
    """The proved properties of a declaration by name, as ``check --json`` prints them.

    Raises:
        DeclarationError: it cannot be derived or proved.
    """
    key = _key(declaration)
    folder = cache.find(key)
    if folder is not None:
        kept: dict[str, Any] = json.loads((folder / _FILE).read_text("utf-8"))
        return kept
    from hamilforge.gen import pipeline
    from hamilforge.gen.prove.report import UNFINISHED

    report = pipeline.check(declaration)
    values: dict[str, Any] = report.to_dict()["properties"]
    decided = all(finding.evidence != UNFINISHED for finding in report.findings)
    text = json.dumps(values)
    if decided and json.loads(text) == values:
        cache.store(key, {_FILE: text})
    return values
