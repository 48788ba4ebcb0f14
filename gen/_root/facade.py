"""The face of hamilforge: five functions that take a name or a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from hamilforge.gen.prove.report import Report
    from hamilforge.gen.tableau.modified import Modified
    from hamilforge.runtime.verify import Verification

Name = str | Path


def check(name: Name) -> Report:
    """Prove what can be proved about a declaration, and compare its claims.

    Args:
        name: a name in the catalogue, ``kind/name``, or a path to a TOML file.

    Returns:
        The report: ``str()`` to read, ``.to_dict()`` to use, ``.holds`` for all claims.

    Raises:
        DeclarationError: the declaration is not found or has problems; all of them are listed.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue

    return pipeline.check(catalogue.load(name))


def generate(name: Name, out: Name | None = None) -> list[Path]:
    """Generate the files of an optimizer.

    Args:
        name: a name in the catalogue, or a path.
        out: a folder; the user's cache if None.

    Returns:
        The paths of the files.

    Raises:
        DeclarationError: the declaration has problems.
        ClaimError: it claims what is not so; nothing is written.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.emit import files
    from hamilforge.runtime import cache

    declaration = pipeline.load_optimizer(name)
    texts = pipeline.generate(declaration)
    if out is None:
        folder = cache.store(f"p_{pipeline.key(declaration)}", texts)
    else:
        folder = Path(out)
        for file, text in texts.items():
            files.write(folder / file, text)
    return [folder / file for file in sorted(texts)]


def optimizer(name: Name) -> Any:
    """A ``torch.optim.Optimizer`` subclass, generated on first use.

    Args:
        name: a name in the catalogue, or a path.

    Raises:
        DeclarationError: the declaration is not found or has problems.
        ClaimError: it claims what is not so.
        ImportError: PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "hf.optimizer makes a torch optimizer and needs PyTorch (pip install torch); "
            "hf.minimize works without"
        ) from error
    from hamilforge.runtime import loader

    return loader.load(name).optimizer()


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    method: Name = "rgd",
    jac: Any = None,
    **options: Any,
) -> OptimizeResult:
    """Minimise a function with a declared optimizer; see :mod:`hamilforge.runtime.minimize`.

    Further keywords are hyper-parameters, so that this function is also a callable for the
    ``method`` of ``scipy.optimize.minimize``, which passes its options as keywords.
    """
    from hamilforge.runtime import minimize as module

    known = ("tol", "callback", "options", "bounds", "constraints", "hess", "hessp")
    given = {name: options.pop(name) for name in known if name in options}
    chosen = {**(given.pop("options", None) or {}), **options}
    return module.minimize(fun, x0, args, method=method, jac=jac, options=chosen, **given)


def modified_equation(method: Name, system: Name, terms: int = 2) -> Modified:
    """The differential equation that a Runge–Kutta method solves more exactly (backward error).

    Args:
        method: a Runge–Kutta method, by name or path.
        system: an autonomous system of one or two components, by name or path.
        terms: how many powers of h, from the first that the method's error has.

    Returns:
        ``.terms`` by powers of h, and ``.hamiltonian`` for a symplectic method on a Hamiltonian
        system.

    Raises:
        DeclarationError: a declaration has problems, the system is not of that form, or the terms
            are of too high an order.
    """
    from hamilforge.gen import pipeline

    return pipeline.modified(method, system, terms)


def verify(name: Name) -> Verification:
    """Compare every backend with the others and with the NumPy interpretation.

    Args:
        name: a name in the catalogue, or a path.

    Returns:
        The comparison: ``str()`` to read, ``.holds`` for the verdict.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge import verification

    return verification.verify(name)
