"""The user's cache of generated products.

Content-addressed: a product's folder is named after a digest of its declaration, of all that it
refers to, of the generator and of the versions its text depends on.  A folder appears whole, by one
rename; two processes that generate the same product do the same work and one rename wins.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


def cache_root() -> Path:
    """``$HAMILFORGE_CACHE``, or ``hamilforge`` in the user's cache folder."""
    named = os.environ.get("HAMILFORGE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hamilforge" / "products"


def store(key: str, files: Mapping[str, str]) -> Path:
    """Put the files of a product into the cache, all at once; return its folder."""
    folder = cache_root() / key
    if folder.is_dir():
        return folder
    cache_root().mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=cache_root()))
    try:
        for name, text in {"__init__.py": '"""A generated product."""\n', **files}.items():
            (staging / name).write_text(text, encoding="utf-8")
        try:
            staging.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder
