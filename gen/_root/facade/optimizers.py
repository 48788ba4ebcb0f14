"""Optimizers and descents, the manifolds of their points, and workers of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamilforge.facade.common import AS_DECLARED, Name, need_torch, place

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from hamilforge.gen.program.optimizers.workers import Simulation


def optimizer(
    name: Name,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> Any:
    """A ``torch.optim.Optimizer`` subclass, generated on first use.

    Args:
        name: a name in the catalogue, or a path.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint, as of a group of its parameters.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.

    Returns:
        The class.

    Raises:
        DeclarationError: the declaration is not found or has problems, or there is no such
            manifold, metric or retraction.
        ClaimError: it claims what is not so.
        ImportError: PyTorch is not installed.
    """
    need_torch("hf.optimizer makes a torch optimizer", "hf.minimize works without")
    from hamilforge.runtime.core import loader

    loaded = loader.load(name, **place(manifold, metric, retraction))
    if loaded.name.endswith("__manifold"):
        raise ValueError(
            f"hf.optimizer takes an optimizer, and {name} is a manifold: hf.manifold has its maps"
        )
    _refuse_other("hf.optimizer", name, loaded.module("numba"))
    return loaded.torch_class()


def manifold(name: Name) -> Any:
    """The maps of a manifold on torch's tensors: projection, retractions, metrics, geodesics.

    Args:
        name: a name in the catalogue, or a path.

    Returns:
        An object with ``project``, ``retract``, ``inner``, ``gradient``, ``geodesic``,
        ``transport``, ``violation``, ``contains``, ``random``.

    Raises:
        DeclarationError: the declaration is not found or has problems.
        ClaimError: a map is not what it is called.
        ImportError: PyTorch is not installed.
    """
    need_torch("hf.manifold works on tensors", "hf.check works without")
    from hamilforge.gen.declare.errors import DeclarationError
    from hamilforge.runtime.core import loader

    text = str(name)
    bare = text if "/" in text or text.endswith(".toml") else f"manifold/{text}"
    try:
        product = loader.load(bare)
    except DeclarationError as error:
        if bare == text or len(error.problems) > 1 or error.problems[0].where:
            raise
        from hamilforge.gen.declare import catalogue

        known = ", ".join(catalogue.names("manifold"))
        raise ValueError(f"no manifold is named '{name}'; there are {known}") from None
    if not product.name.endswith("__manifold"):
        raise ValueError(f"hf.manifold takes a manifold, and {name} is none")
    return product.torch_class()()


def project_(parameter: Any, name: Name, rows: bool = False, matrix: Any = None) -> Any:
    """Move a tensor onto a manifold, in place, as [sample] of its declaration says.

    Args:
        parameter: a tensor of the shape of points; further axes in front are many of them.
        name: of the manifold, or a path.
        rows: whether its rows are what columns of points are; as of a group of an optimizer.
        matrix: the axes that make rows, and those that make columns, likewise.

    Returns:
        The tensor.

    Raises:
        ValueError: it leads to no point; it is left as it is.
    """
    from hamilforge.runtime.optimizers import manifolds

    return manifolds.project_(parameter, manifold(name), {"rows": rows, "matrix": matrix})


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: Name = "rgd",
    jac: Any = None,
    **options: Any,
) -> OptimizeResult:
    """Minimise a function with a declared optimizer, as ``scipy.optimize.minimize`` does.

    Further keywords are hyper-parameters, so that this function is also a callable for the
    ``method`` of ``scipy.optimize.minimize``, which passes its options as keywords.

    Args:
        fun: ``fun(x, *args) -> float``; with ``jac=True`` it returns value and gradient.
        x0: the start, `(n,)`.
        args: further arguments of ``fun`` and ``jac``; what is no tuple is one argument.
        method: an optimizer or a discrete gradient, by name or path.
        jac: ``jac(x, *args)``, `(n,)`; True; or finite differences: ``"2-point"`` (also None),
            ``"3-point"`` or ``"cs"``.
        options: hyper-parameters, ``maxiter``, ``gtol``; with a discrete gradient ``manifold``, a
            name or a path, on which x lies, with its ``retraction`` and ``metric``; and SciPy's
            ``tol``, ``callback``, ``options``, ``bounds``, ``constraints``, ``hess`` and ``hessp``.
            What is in ``options`` is overruled by keywords.

    Returns:
        ``x`` (the solution, `(n,)`), ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``,
        ``status``, ``message``.

    Raises:
        ValueError: bounds or constraints, an unknown option, a hyper-parameter outside its domain,
            or numbers that are not real.
    """
    from hamilforge.runtime.optimizers import minimize as module

    known = ("tol", "callback", "options", "bounds", "constraints", "hess", "hessp")
    arguments = {name: options.pop(name) for name in known if name in options}
    given = arguments.pop("options", None) or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"options = {given!r}: names with values were expected")
    if twice := [name for name in given if name in options]:
        raise ValueError(f"{', '.join(twice)} in options and beside them: say it once")
    chosen = {**given, **options}
    where = chosen.pop("manifold", None)
    if where is not None:
        arguments["manifold"] = manifold(where) if isinstance(where, str | Path) else where
    return module.minimize(fun, x0, args, method=method, jac=jac, options=chosen, **arguments)


def simulate_workers(
    name: Name,
    gradients: Callable[[Any, int, int], Any],
    workers: int,
    x0: Any,
    steps: int,
    *,
    seed: int = 0,
    equal_noise: bool = False,
    parameter: str = "0",
    **options: Any,
) -> Simulation:
    """Run workers in one process, on the interpretation in NumPy: what processes are compared with.

    Conditions that the rule requires are not checked, so that it can be seen what they are for.

    Args:
        name: an optimizer, by name or path; one without means has workers that know nothing of each
            other.
        gradients: ``gradients(x, worker, step) -> gradient``, all of the shape of ``x0``; worker
            and step count from 0.
        workers: how many.
        x0: where all begin, `(...)`.
        steps: how many gradients each worker takes; an outer step takes none.
        seed: of the noise; each worker has its own.
        equal_noise: whether all workers draw the same numbers.
        parameter: what an optimizer of processes calls x, which chooses its noise too: its name in
            ``named_parameters()``, or its number where it has none.
        options: hyper-parameters, ``weight_decay`` and ``decoupled_weight_decay``.

    Returns:
        ``x``, ``solution`` and ``states[name]`` of each worker, `(workers, ...)`, and the ``path``
        of x, `(steps + 1, workers, ...)`.

    Raises:
        ValueError: a hyper-parameter that there is not or outside its domain, or numbers that are
            not real, or no such counts.
    """
    from hamilforge.gen.declare import catalogue
    from hamilforge.gen.program.optimizers import workers as module
    from hamilforge.gen.program.optimizers.programs import program_of
    from hamilforge.runtime.core import loader
    from hamilforge.runtime.core.domains import check_domain
    from hamilforge.runtime.core.numbers import real_array, real_number, whole_number
    from hamilforge.runtime.optimizers.hyperparameters import check_decay, preparation
    from hamilforge.runtime.optimizers.trajectory import checked

    product = loader.load(name).module("numba")
    _refuse_other("hf.simulate_workers", name, product)
    own = "weight_decay" in product.HYPERPARAMETERS
    decays = {} if own else {"weight_decay": 0.0, "decoupled_weight_decay": False}
    decays = {key: options.pop(key, value) for key, value in (decays | product.OPTIONS).items()}
    hyper = checked(product, options, together=False)
    if decays:
        check_domain(
            "weight_decay", real_number("weight_decay", decays["weight_decay"]), "nonnegative"
        )
        check_decay(decays, product)
    prepared = preparation({"maximize": False, **decays, **hyper}, product)

    def real_gradients(x: Any, worker: int, step: int) -> Any:
        return real_array("a gradient", gradients(x, worker, step))

    return module.simulate(
        program_of(catalogue.load(name)),  # type: ignore[arg-type]
        real_gradients,
        whole_number("workers", workers, least=1),
        real_array("x0", x0),
        whole_number("steps", steps, least=0),
        hyper,
        prepared,
        whole_number("seed", seed, least=0),
        equal_noise,
        parameter,
    )


def _refuse_other(what: str, name: Name, module: Any) -> None:
    """Refuse a product that is no optimizer."""
    if hasattr(module, "SAMPLES"):
        raise ValueError(
            f"{what} takes an optimizer, which is told a gradient at each step; {name} asks for "
            f'values of the loss where it likes: hf.minimize(..., method="{name}") has them'
        )
    if not hasattr(module, "HYPERPARAMETERS"):
        raise ValueError(f"{what} takes an optimizer, and {name} is none")
    if hasattr(module, "SHAPE") and what != "hf.optimizer":
        raise ValueError(f"{what} takes parameters of any shape, and {name} is for matrices")
