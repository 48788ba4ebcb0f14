"""What functions that take names or paths have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamilforge.gen.declare.variation import Place
    from hamilforge.runtime.core.loader import Loaded

Name = str | Path
#: For ``manifold``: the declared one.
AS_DECLARED = "(as declared)"
#: What the numba module of each kind of product has that others have not.
_MARKS = {"a field": "CONTROLS", "an objective": "WEIGHTS", "a problem to minimise": "VARIABLES"}


def place(manifold: Name | None, metric: str | None, retraction: str | None) -> Place:
    """Choices of a caller, where no manifold is the one without a constraint.

    Args:
        manifold: a name or a path, None for no constraint, or :data:`AS_DECLARED`.
        metric: of the manifold; None for its own.
        retraction: of the manifold, likewise.

    Returns:
        The choices as the loader takes them.
    """
    from hamilforge.runtime.core.loader import FLAT

    chosen = FLAT if manifold is None else str(manifold)
    named = None if chosen == AS_DECLARED else chosen
    return {"manifold": named, "metric": metric, "retraction": retraction}


def loaded_as(
    what: str, backend: str, kind: str, name: Name, method: Name | None = None, **choices: Any
) -> Loaded:
    """The product of a field, an objective or a problem.

    Args:
        what: the function that asks for it.
        backend: ``torch`` or ``numba``.
        kind: what it has to be, of :data:`_MARKS`.
        name: of the declaration, or a path.
        method: what the layers of a field are made with.
        choices: what it has instead of its declaration.

    Returns:
        The product, with its modules.

    Raises:
        ValueError: an unknown backend, or a product of another kind.
        ImportError: a torch module is asked for, and PyTorch is not installed.
    """
    if backend not in ("torch", "numba"):
        raise ValueError(f"backend = {backend!r}; torch or numba was expected")
    if backend == "torch":
        need_torch(f"{what} makes a torch module", 'backend="numba" works without')
    from hamilforge.runtime.core import loader

    loaded = loader.load(name, method, **choices)
    if not hasattr(loaded.module("numba"), _MARKS[kind]):
        raise ValueError(f"{what} takes {kind}, and {name} is none")
    return loaded


def need_torch(what: str, instead: str) -> None:
    """Refuse what needs PyTorch where it is not installed, and say what works without.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{what} and needs PyTorch (pip install torch); {instead}") from error
