"""The face of hamilforge: functions that take names or paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from hamilforge.gen.prove.report import Report
    from hamilforge.gen.tableau.modified import Modified
    from hamilforge.runtime.solution import Solution
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


def generate(name: Name, out: Name | None = None, method: Name | None = None) -> list[Path]:
    """Generate the files of an optimizer, or of a problem with a method.

    Args:
        name: a name in the catalogue, or a path.
        method: for a problem, the method that integrates it.
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

    declared, texts = pipeline.generate_named(name, method)
    if out is None:
        folder = cache.store(f"p_{pipeline.key(*declared)}", texts)
    else:
        folder = Path(out)
        for file, text in texts.items():
            files.write(folder / file, text)
    return [folder / file for file in sorted(texts)]


def integrate(
    problem: Name,
    method: Name,
    y0: Any = None,
    t_span: Sequence[float] | None = None,
    h: float | None = None,
    **options: Any,
) -> Solution:
    """Integrate a declared Hamiltonian or system with a declared method, compiled.

    Args:
        problem: a Hamiltonian in coordinates, or a system, by name or path.
        method: a Runge–Kutta method, a pair, a splitting or a discrete gradient.
        y0: the start: `(components,)`, `(trajectories, components)` for an ensemble in parallel, or
            numbers by component; the declared one if None.
        t_span: from when to when; one unit of time from the declared start if None.
        h: the step; without, steps follow the error estimate of an embedded pair.
        options: ``every`` (states to keep), ``t_eval``, ``rtol``, ``atol`` (adaptive steps),
            ``parameters`` (by name), ``progress``.

    Returns:
        ``.t``, ``.y`` of shape `(times, components)`, ``.energy``, ``.invariant(name)``,
        ``["x"]``, ``.save(path)``.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ValueError: the arguments do not fit.
        IntegrationError: a step could not be taken; it says where, why, and what to try.
    """
    from hamilforge.runtime import integrate as module
    from hamilforge.runtime import loader

    product = loader.load_pair(problem, method).module("numba")
    if t_span is None:
        t_span = (product.START_TIME, product.START_TIME + 1.0)
    return module.integrate(product, y0, t_span, h, **options)


def flow(problem: Name, method: Name, h: float, steps: int, **options: Any) -> Any:
    """The numerical flow as a ``torch.nn.Module`` on batches of states, on any device.

    Its gradients, by states and by parameters, come from the discrete adjoint of each step.

    Args:
        problem: a Hamiltonian in coordinates, or a system, by name or path.
        method: a Runge–Kutta method, a pair, a splitting or a discrete gradient.
        h: the step.
        steps: how many.
        options: ``t0``, ``every`` (return every so many states), ``trainable`` (parameters of the
            problem that become ``nn.Parameter``), ``parameters`` (values by name).

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ImportError: PyTorch is not installed.
    """
    _need_torch("hf.flow makes a torch module", "hf.integrate works without")
    from hamilforge.runtime import loader

    return loader.load_pair(problem, method).torch_class()(h, steps, **options)


def _need_torch(what: str, instead: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{what} and needs PyTorch (pip install torch); {instead}") from error


def optimizer(name: Name) -> Any:
    """A ``torch.optim.Optimizer`` subclass, generated on first use.

    Args:
        name: a name in the catalogue, or a path.

    Raises:
        DeclarationError: the declaration is not found or has problems.
        ClaimError: it claims what is not so.
        ImportError: PyTorch is not installed.
    """
    _need_torch("hf.optimizer makes a torch optimizer", "hf.minimize works without")
    from hamilforge.runtime import loader

    return loader.load(name).torch_class()


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


def verify(name: Name, method: Name | None = None) -> Verification:
    """Compare every backend with the others and with the NumPy interpretation.

    Args:
        name: a name in the catalogue, or a path.
        method: for a problem, the method that integrates it.

    Returns:
        The comparison: ``str()`` to read, ``.holds`` for the verdict.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge import verification

    return verification.verify(name, method)
