"""Properties that were proved before, of declarations and a generator that have not changed since.

A proof is a function of the declaration, of all it refers to, of the generator's code and of the
versions it depends on: their digest names a folder in the user's cache.  What was not decided in
its time is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hamilforge.gen import products
from hamilforge.gen.declare import kinds
from hamilforge.runtime.core import cache

_FILE = "properties.json"


def properties(declaration: kinds.Declaration) -> Mapping[str, Any]:
    """The proved properties of a declaration by name, as ``check --json`` prints them.

    Raises:
        DeclarationError: it cannot be derived or proved.
    """
    key = f"r_{products.key(declaration)}"
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
