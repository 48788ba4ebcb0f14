"""The loader: a name or a path becomes modules.

What ships is imported from ``hamilforge.generated``; anything else is generated into the user's
cache on first use.  This is the one place of the runtime that calls the generator.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import keyword
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import Any

from hamilforge.runtime.core import cache

#: The manifold of points without a constraint.
FLAT = "flat"
#: What the class of a generated file says of itself, beside what is its own.
_SEE_THE_HEAD = "See the head of this file."


@dataclass(frozen=True, slots=True)
class Loaded:
    """A product that can be imported: ``<package>.<name>_<backend>``."""

    package: str
    name: str

    def module(self, backend: str) -> ModuleType:
        """The module of a backend, imported on first use.

        Raises:
            ValueError: no code is made for this backend.
        """
        name = f"{self.package}.{self.name}_{backend}"
        try:
            return _module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ValueError(f"of {self.name} there is no code for {backend}") from None

    def has(self, backend: str) -> bool:
        """Whether code is made for a backend."""
        if self.package.startswith(_PRODUCTS):
            _see_the_cache()
        return importlib.util.find_spec(f"{self.package}.{self.name}_{backend}") is not None

    def torch_class(self) -> Any:
        """The optimizer or module of the torch backend; ``help`` tells what its file tells."""
        camel = "".join(word.capitalize() for word in self.name.split("_"))
        module = self.module("torch")
        product: Any = getattr(module, f"{camel}_" if keyword.iskeyword(camel) else camel)
        own = inspect.cleandoc(product.__doc__ or "")
        if module.__doc__ and own.startswith(_SEE_THE_HEAD):
            product.__doc__ = inspect.cleandoc(module.__doc__) + own.removeprefix(_SEE_THE_HEAD)
        return product


@dataclass(frozen=True, slots=True)
class _Known:
    """A product that this process has asked for, and the files it was made of.

    Attributes:
        asked: name or path, method, choices.
        key: in the cache; None for a product that ships.
    """

    asked: tuple[str, str | None, Mapping[str, Any]]
    key: str | None
    sources: Mapping[str, bytes]
    product: Loaded

    def is_current(self) -> bool:
        """Whether the files are what they were, and the product is still in the cache."""
        try:
            same = all(Path(where).read_bytes() == data for where, data in self.sources.items())
        except OSError:
            return False
        return same and (self.key is None or cache.find(self.key) is not None)


#: By what was asked for.
_KNOWN: dict[str, _Known] = {}
_PRODUCTS = "hamilforge.runtime.products"
#: Sizes of dimensions up to which the kernels of a network are made for these sizes.
FUSED = 4


def _see_the_cache() -> None:
    """Let modules be found in the cache as it is named now, and as it was filled just now."""
    products = importlib.import_module(_PRODUCTS)
    for root in map(str, cache.roots()):
        if root not in products.__path__:
            products.__path__.append(root)
    importlib.invalidate_caches()


def _module(name: str) -> ModuleType:
    """A module by its name; the cache is looked at only for one that is not in use."""
    if name not in sys.modules and name.startswith(_PRODUCTS):
        _see_the_cache()
    return importlib.import_module(name)


def imported(name: str) -> ModuleType:
    """The module of a product from its name, for what was pickled with it.

    Raises:
        ImportError: the product is not here; it says where it was looked for.
    """
    try:
        return _module(name)
    except ImportError as error:
        raise ImportError(
            f"what was pickled needs the generated module {name}, which is neither shipped nor in "
            f"the cache {cache.cache_root()}; make it again from its declaration"
        ) from error


def load(name_or_path: str | Path, method: str | Path | None = None, **choices: Any) -> Loaded:
    """Find a product, or generate it.

    Args:
        name_or_path: an optimizer, an objective, a problem to minimise or a discrete gradient; with
            a method, what it integrates or a field.
        method: what integrates the problem, or makes the layers of the field.
        choices: what a field has instead of its declaration: ``activation``, ``sizes`` that its
            code is to be made for, ``by_stage`` for controls of every stage; ``order`` of a method
            that has all of them; ``manifold``, ``metric``, ``retraction`` of an optimizer of
            points.

    Raises:
        DeclarationError: a declaration is not found, has problems, or they do not fit.
        ClaimError: one of them claims what is not so.
    """
    shipped = _shipped(name_or_path, method)
    if shipped and not any(map(_is_choice, choices.values())):
        return shipped
    if choices.get("manifold"):
        choices["manifold"] = from_anywhere(choices["manifold"])
    asked = from_anywhere(name_or_path), None if method is None else from_anywhere(method), choices
    request = repr((*asked[:2], sorted(choices.items())))
    known = _KNOWN.get(request)
    if known and known.is_current():
        return known.product
    from hamilforge.gen import products

    made = products.load_made(name_or_path, method, **choices)
    if shipped and not any(getattr(declaration, "varied", ()) for declaration in made):
        key, product = None, shipped
    else:
        key = f"p_{products.key(*made)}"
        if cache.find(key) is None:
            from hamilforge.gen import pipeline

            cache.store(key, pipeline.generate(made))
        product = Loaded(f"{_PRODUCTS}.{key}", products.product_name(made))
    _KNOWN[request] = _Known(asked, key, products.sources(made), product)
    return product


def from_anywhere(name_or_path: str | Path) -> str:
    """A name, or a path that means the same wherever the process goes."""
    text = str(name_or_path)
    return str(Path(text).resolve()) if text.endswith(".toml") else text


def choices_of(module: ModuleType) -> Mapping[str, Any]:
    """What a generated module was loaded with instead of what is declared."""
    package, _, _ = module.__name__.rpartition(".")
    own = (known for known in _KNOWN.values() if known.key and known.product.package == package)
    return next((known.asked[2] for known in own), {})


def load_otherwise(module: ModuleType, **choices: Any) -> Loaded:
    """The product of a generated module, with other choices than it was loaded with.

    Args:
        module: of one of its backends.
        choices: in the place of some that it was loaded with, as :func:`load` takes them.

    Raises:
        DeclarationError: they do not fit the declaration.
        ValueError: it was not loaded in this process, so that where its declaration lies is not
            known.
    """
    package, _, name = module.__name__.rpartition(".")
    if package == "hamilforge.generated":
        return load(name.rpartition("_")[0], **choices)
    for known in _KNOWN.values():
        if known.product.package == package:
            own, method, before = known.asked
            return load(own, method, **{**before, **choices})
    raise ValueError(
        f"where {module.__name__} was declared is not known in this process: load it by name or "
        "path before it is asked for otherwise"
    )


def load_for_tolerance(
    problem: str | Path, method: str | Path, tolerance: Any, **choices: Any
) -> Loaded:
    """A problem with a method of the order that costs least at a tolerance, where it has a choice.

    Args:
        problem: a name in the catalogue, or a path.
        method: what integrates it, a name or a path.
        tolerance: relative; a number, or one for each component.
        choices: as :func:`load` takes them.

    Returns:
        The product.

    Raises:
        DeclarationError: a declaration is not found, has problems, or they do not fit.
        ValueError: the tolerance is below the rounding of double precision.
    """
    from hamilforge.gen import products

    return load(problem, method, **{**choices, "order": products.order_for(method, tolerance)})


def _is_choice(value: Any) -> bool:
    """Whether something was chosen: 0 and an empty text are, and refused later."""
    return value is not None and value is not False and value != {}


def load_layers(
    field: str | Path, method: str | Path, sizes: Mapping[str, int], **choices: Any
) -> Loaded:
    """The layers of a network: made for its sizes where these are small.

    Args:
        field: a name in the catalogue, or a path.
        method: of the layers, a name or a path.
        sizes: the size of each dimension, by name; the kernels are made for them if none is above
            :data:`FUSED`, and for any sizes else.
        choices: ``activation`` and ``by_stage``, as :func:`load` takes them.

    Returns:
        The product, which has a numba module.

    Raises:
        DeclarationError: a declaration is not found, has problems, or they do not fit.
        ClaimError: one of them claims what is not so.
        ValueError: there is no such dimension.
    """
    values = sizes.values() if isinstance(sizes, Mapping) else (sizes,)  # refused later
    whole = all(isinstance(size, Integral) and not isinstance(size, bool) for size in values)
    small = isinstance(sizes, Mapping) and whole and all(0 < size <= FUSED for size in values)
    own = {name: int(size) for name, size in sizes.items()} if small else None
    return load(field, method, sizes=own, **choices)


def is_shipped(name_or_path: str | Path) -> bool:
    """Whether a product ships with the package."""
    return _shipped(name_or_path, None) is not None


def _shipped(name_or_path: str | Path, method: str | Path | None) -> Loaded | None:
    """The shipped product of bare names, if there is one."""
    for name in _shipped_names(name_or_path, method):
        if name.isidentifier() and any(
            importlib.util.find_spec(f"hamilforge.generated.{name}_{backend}")
            for backend in ("numba", "torch")
        ):
            return Loaded("hamilforge.generated", name)
    return None


def _shipped_names(name_or_path: str | Path, method: str | Path | None) -> list[str]:
    """What a shipped product of bare names would be called."""
    names = [str(name_or_path)] if method is None else [str(name_or_path), str(method)]
    if any(name.endswith(".toml") for name in names):
        return []
    kind, _, bare = names[0].rpartition("/")
    if method is not None:
        return ["__".join(name.rpartition("/")[2] for name in names)]
    by_kind = {
        "optimizer": bare,
        "objective": f"{bare}__objective",
        "problem": f"{bare}__problem",
        "discrete-gradient": f"{bare}__descent",
        "manifold": f"{bare}__manifold",
    }
    return [by_kind[kind]] if kind in by_kind else [] if kind else [*by_kind.values()]
