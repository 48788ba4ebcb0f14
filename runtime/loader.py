"""The loader: a name or a path becomes modules.

What ships is imported from ``hamilforge.generated``; anything else is generated into the user's
cache on first use.  This is the one place of the runtime that calls the generator.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hamilforge.runtime.cache import cache_root


@dataclass(frozen=True, slots=True)
class Loaded:
    """A product that can be imported: ``<package>.<name>_<backend>``."""

    package: str
    name: str

    def module(self, backend: str) -> ModuleType:
        """The module of a backend, imported on first use."""
        if self.package.startswith(_PRODUCTS):
            _see_the_cache()
        return importlib.import_module(f"{self.package}.{self.name}_{backend}")

    def torch_class(self) -> Any:
        """The optimizer or module of the torch backend."""
        words = self.name.split("_")
        return getattr(self.module("torch"), "".join(word.capitalize() for word in words))


_PRODUCTS = "hamilforge.runtime.products"


def _see_the_cache() -> None:
    """Let modules be found in the cache as it is named now, and as it was filled just now."""
    products = importlib.import_module(_PRODUCTS)
    root = str(cache_root())
    if root not in products.__path__:
        products.__path__.append(root)
    importlib.invalidate_caches()


def load(name_or_path: str | Path) -> Loaded:
    """Find a product, or generate it.

    Raises:
        DeclarationError: there is no such declaration, or it has problems.
        ClaimError: it claims what is not so.
    """
    text = str(name_or_path)
    if not text.endswith(".toml"):
        name = text.removeprefix("optimizer/")
        if name.isidentifier() and importlib.util.find_spec(f"hamilforge.generated.{name}_numba"):
            return Loaded("hamilforge.generated", name)
    return _generated(text)


def load_pair(problem: str | Path, method: str | Path) -> Loaded:
    """Find an integrator, or generate it.

    Raises:
        DeclarationError: there is no such declaration, it has problems, or they do not fit.
        ClaimError: one of them claims what is not so.
    """
    bare = [str(one).rpartition("/")[2] for one in (problem, method)]
    if not any(one.endswith(".toml") for one in bare):
        name = "__".join(bare)
        if name.isidentifier() and importlib.util.find_spec(f"hamilforge.generated.{name}_numba"):
            return Loaded("hamilforge.generated", name)
    from hamilforge.gen import pipeline

    declared = pipeline.load_problem(problem), pipeline.load_method(method)
    name = "__".join(one.head.name for one in declared)
    return _cached(name, pipeline.key(*declared), lambda: pipeline.generate_pair(*declared))


def _generated(name_or_path: str) -> Loaded:
    from hamilforge.gen import pipeline

    declaration = pipeline.load_optimizer(name_or_path)
    return _cached(
        declaration.head.name, pipeline.key(declaration), lambda: pipeline.generate(declaration)
    )


def _cached(name: str, digest: str, texts: Callable[[], Mapping[str, str]]) -> Loaded:
    """A product in the user's cache, put there if it is not."""
    from hamilforge.runtime import cache

    key = f"p_{digest}"
    if not (cache.cache_root() / key).is_dir():
        cache.store(key, texts())
    return Loaded(f"{_PRODUCTS}.{key}", name)
