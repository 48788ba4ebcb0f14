"""The face of hamilforge: functions that take names or paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from hamilforge.control_problem import Control
    from hamilforge.gen.declare.variation import Place, Variation
    from hamilforge.gen.program.optimizers.workers import Simulation
    from hamilforge.gen.prove.report import Report
    from hamilforge.gen.tableau.modified import Modified
    from hamilforge.network_bounds import Contractivity
    from hamilforge.runtime.core.comparison import Verification
    from hamilforge.runtime.core.loader import Loaded
    from hamilforge.runtime.integrators.integrator import Integrator
    from hamilforge.runtime.integrators.solution import Solution

Name = str | Path
#: For ``manifold``: the declared one.
AS_DECLARED = "(as declared)"


def check(
    name: Name,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> Report:
    """Prove what can be proved about a declaration, and compare its claims.

    Args:
        name: a name in the catalogue, ``kind/name``, or a path to a TOML file.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint; it has no claims there.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.

    Returns:
        The report: ``str()`` to read, ``.to_dict()`` to use, ``.holds`` for all claims.

    Raises:
        DeclarationError: the declaration is not found or has problems; all of them are listed.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue, geometry

    place = _place(manifold, metric, retraction)
    return pipeline.check(geometry.elsewhere(catalogue.load(name), place))


def _place(manifold: Name | None, metric: str | None, retraction: str | None) -> Place:
    """Choices of a caller, where no manifold is the one without a constraint."""
    from hamilforge.runtime.core.loader import FLAT

    chosen = FLAT if manifold is None else str(manifold)
    named = None if chosen == AS_DECLARED else chosen
    return {"manifold": named, "metric": metric, "retraction": retraction}


def generate(
    name: Name,
    out: Name | None = None,
    method: Name | None = None,
    activation: str | None = None,
    sizes: Mapping[str, int] | None = None,
    by_stage: bool = False,
    order: int | None = None,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> list[Path]:
    """Generate the files of an optimizer or an objective, or of a problem or field with a method.

    Args:
        name: a name in the catalogue, or a path.
        method: what integrates a problem, or what the layers of a field are made with.
        activation: of a field, an expression in x instead of the declared one.
        sizes: of a lattice, the number of its sites; of a field, dimensions that its code is made
            for.
        by_stage: whether every stage of a layer has controls of its own.
        order: of Taylor's method; that of the tolerance 1e-6 if None.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.
        out: a folder; the user's cache if None.

    Returns:
        The paths of the files.

    Raises:
        DeclarationError: the declaration has problems.
        ClaimError: it claims what is not so; nothing is written.
        FileExistsError: files in the folder are in the way; nothing is written.
        ValueError: a size is of no dimension, or no positive number.
    """
    from hamilforge import generation

    choices: Variation = {
        "activation": activation, "sizes": sizes, "by_stage": by_stage, "order": order,
        **_place(manifold, metric, retraction),
    }  # fmt: skip
    return generation.write([name], out, method, **choices)


def integrate(
    problem: Name,
    method: Name,
    y0: Any = None,
    t_span: Sequence[float] | None = None,
    h: float | None = None,
    sizes: Mapping[str, int] | None = None,
    order: int | None = None,
    **options: Any,
) -> Solution:
    """Integrate a declared Hamiltonian or system with a declared method, compiled.

    Args:
        problem: a Hamiltonian in coordinates, or a system, by name or path.
        method: a Runge–Kutta method, a pair, a splitting, a discrete gradient or ``taylor``.
        y0: the start: `(components,)`, `(trajectories, components)` for an ensemble in parallel, or
            numbers by component; the declared one if None.
        t_span: from when to when; one unit of time from the declared start if None.
        h: the step; without, steps follow the error estimate of an embedded pair, or the Taylor
            coefficients.
        sizes: of a lattice, the number of its sites by name.
        order: of Taylor's method; if None, with tolerances the order at which they cost least, with
            h that of the tolerance 1e-6.
        options: ``every`` (states to keep), ``t_eval``, ``rtol``, ``atol`` (adaptive steps; a
            number, or one for each component; Taylor's method takes ``rtol`` of the largest
            component), ``max_step``, ``max_steps``, ``events`` (adaptive steps: names of declared
            events, True for all, functions of t and y with SciPy's attributes ``terminal`` and
            ``direction``), ``parameters`` (by name), ``progress``.

    Returns:
        ``.t``, ``.y`` of shape `(times, components)`, ``.t_events``, ``.y_events`` and ``.status``
        (1 where an event has ended the run), ``.energy``, ``.invariant(name)``,
        ``["x"]`` (of a lattice `(times, sites)`, and ``["x[3]"]`` at one of them), ``.save(path)``.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ValueError: the arguments do not fit.
        IntegrationError: a step could not be taken; it says where, why, and what to try.
    """
    from hamilforge.runtime.integrators import integrator as module

    product = _integrated(problem, method, h, sizes, order, options.get("rtol"))
    return module.integrate(product, y0, t_span, h, **options)


def _integrated(
    problem: Name,
    method: Name,
    h: float | None,
    sizes: Mapping[str, int] | None,
    order: int | None,
    rtol: Any,
) -> ModuleType:
    """The kernels of a problem by a method, of the order that a tolerance asks for."""
    from hamilforge.runtime.core import loader

    if order is None and h is None and rtol is not None:
        return loader.load_for_tolerance(problem, method, rtol, sizes=sizes).module("numba")
    return loader.load(problem, method, sizes=sizes, order=order).module("numba")


def integrator(
    problem: Name,
    method: Name,
    h: float | None = None,
    sizes: Mapping[str, int] | None = None,
    order: int | None = None,
    **options: Any,
) -> Integrator:
    """A declared Hamiltonian or system by a declared method, made once and run many times.

    Args:
        problem: as of :func:`integrate`.
        method: as of :func:`integrate`.
        h: the step; without, steps follow an error estimate.
        sizes: of a lattice, the number of its sites by name.
        order: of Taylor's method, as of :func:`integrate`.
        options: ``rtol``, ``atol``, ``max_step``, ``max_steps``, ``parameters``, as of
            :func:`integrate`.

    Returns:
        An object with ``solve(y0, t_span, every=, t_eval=, events=, progress=)``, which is what
        :func:`integrate` returns, and ``end(y0, t_span)``, the state at the end alone: of short
        runs most of the time that is not the kernel's is saved.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ValueError: the arguments do not fit.
    """
    from hamilforge.runtime.integrators.integrator import Integrator

    product = _integrated(problem, method, h, sizes, order, options.get("rtol"))
    return Integrator(product, h, **options)


def flow(
    problem: Name,
    method: Name,
    h: float,
    steps: int,
    sizes: Mapping[str, int] | None = None,
    order: int | None = None,
    **options: Any,
) -> Any:
    """The numerical flow as a ``torch.nn.Module`` on batches of states, on any device.

    Its gradients, by states and by parameters, come from the discrete adjoint of each step.

    Args:
        problem: a Hamiltonian in coordinates, or a system, by name or path.
        method: a Runge–Kutta method, a pair, a splitting, a discrete gradient or ``taylor``.
        h: the step.
        steps: how many.
        sizes: of a lattice, the number of its sites by name.
        order: of Taylor's method; that of the tolerance 1e-6 if None.
        options: ``t0``, ``every`` (return every so many states), ``trainable`` (parameters of the
            problem that become ``nn.Parameter``), ``parameters`` (values by name).

    Returns:
        The module, a :class:`hamilforge.runtime.integrators.torch_flow.Flow`: it takes states,
        `(batch, components)` or `(components,)`, and returns those after the steps.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ImportError: PyTorch is not installed.
    """
    _need_torch("hf.flow makes a torch module", "hf.integrate works without")
    from hamilforge.runtime.core import loader

    return loader.load(problem, method, sizes=sizes, order=order).torch_class()(h, steps, **options)


def network(
    field: Name,
    method: Name,
    layers: int,
    sizes: Mapping[str, int],
    activation: str | None = None,
    backend: str = "torch",
    by_stage: bool = False,
    **options: Any,
) -> Any:
    """Layers of a field by a method, with the derived discrete adjoint.

    Args:
        field: a field y' = f(t, y, U), by name or path.
        method: a Runge–Kutta method or, for two states, a pair.
        layers: how many steps.
        sizes: the size of each dimension, by name.
        activation: what sigma(x) is, an expression in x; the declared one if None.
        backend: ``torch`` for a ``torch.nn.Module``, ``numba`` for one on NumPy arrays.
        by_stage: whether every stage of a layer has controls of its own: then they have the shape
            `(layers, stages, …)` instead of `(layers, …)`.
        options: ``h``, ``memory``, ``checkpoints``, ``budget``, ``t0``, ``parameters``, ``dtype``,
            ``trainable`` (the controls that are trained, by name; all if not given) and ``draw``
            (the seed of the field's fixed arrays, and of controls that are not trained); for torch
            ``steps``, ``device`` and ``fused``, for numba ``block`` and ``seed``; see
            :class:`hamilforge.runtime.networks.torch_network.Network` and
            :class:`hamilforge.runtime.networks.network.Network`.

    Returns:
        The network; it is called with the states, each `(batch, size)`, and returns those after the
        layers.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ValueError: an argument is out of its domain.
        ImportError: a torch module is asked for, and PyTorch is not installed.
    """
    from hamilforge.gen.declare.errors import did_you_mean
    from hamilforge.runtime.core import loader
    from hamilforge.runtime.networks import network as module

    choices = {"activation": activation, "by_stage": by_stage}
    loaded = _loaded("hf.network", backend, "a field", field, method, **choices)
    network_class: Any = loaded.torch_class() if backend == "torch" else module.Network
    known = [*inspect.signature(network_class).parameters]
    for name in options:
        if name not in known:
            named = ", ".join(
                option for option in known if option not in ("product", "layers", "sizes")
            )
            raise ValueError(
                f"no option '{name}' of a network for {backend}; those are: {named}"
                + did_you_mean(name, known)
            )
    if backend == "torch":
        built = network_class(layers, sizes, **options)
        if built.fused is not False:
            built.layers_of = loader.load_layers(field, method, sizes, **choices)
    else:
        kernels = loader.load_layers(field, method, sizes, **choices).module("numba")
        built = network_class(kernels, layers, sizes, **options)
    built.made = (field, method, choices)
    return built


def contractivity(network: Any) -> Contractivity:
    """How far the layers of a network may carry two points apart.

    Args:
        network: of :func:`network`, for either backend.

    Returns:
        ``.nu`` (a bound of the one-sided Lipschitz constant of each layer), ``.largest`` (the
        largest contractive step), ``.growth``; ``.project_(network)`` makes every step
        contractive, ``.penalty(network)`` is what a loss may add for that.

    Raises:
        DeclarationError: the field's Jacobian is no sum of products of matrices and slopes of
            activations.
        ValueError: the network was not made by :func:`network`.
    """
    from hamilforge import network_bounds as module

    return module.contractivity(network)


def controllability(
    field: Name,
    points: Any,
    sizes: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    degree: int | None = None,
    prime: int = 2147483647,
    draw: int = 0,
) -> Report:
    """Whether y' = sum_i u_i V_i(y) can move given points independently of one another.

    Args:
        field: a field that is linear in its controls, by name or path.
        points: `(N, width)`: numbers, fractions or texts, each taken exactly (floats are dyadic); a
            path to a CSV file; or N, to draw that many.
        sizes: of dimensions, by name; that of the state follows from the points.
        parameters: values of parameters, and of controls that are held, by name.
        degree: above which a bracket is dropped whole; a few are tried if None.
        prime: below 2**31, modulo which ranks are computed; another where it divides a denominator.
        draw: the seed of fixed arrays and of drawn points.

    Returns:
        A report with ``lie_rank``, ``needed`` and ``interpolates``: True with its ``certificate``
        of words, False with a proof, None where neither is known.

    Raises:
        DeclarationError: the declaration has problems, or is not linear in its controls.
        ValueError: an argument is out of its domain.

    References:
        C. Cuchiero, M. Larsson and J. Teichmann, SIAM J. Math. Data Sci. 2 (2020) 901-919,
        arXiv:1908.07838.
    """
    from hamilforge import interpolation as module

    return module.controllability(field, points, sizes, parameters, degree, prime, draw)


def interpolate(
    network: Any, x: Any, y: Any, objective: Any = "displacement", **options: Any
) -> OptimizeResult:
    """Train a network's controls until it takes given points to given targets, exactly.

    Levenberg-Marquardt steps in the space of the residuals, with their derivatives from the derived
    adjoint.  The search begins at the controls that the network has, and changes them in place.

    Args:
        network: of :func:`network`, for either backend, in float64, with one state.
        x: the points, `(N, d)`.
        y: the targets, `(N, c)`.
        objective: a read-out with half of the squared error, by name or path: ``displacement``,
            ``lambda*(X - x)`` of the last state X with a trained lambda, or ``state``, X itself; or
            one that :func:`objective` made for ``numba``, whose weights are where it begins.
        options: ``scale`` (200): weights that are one number begin at ``scale*max|y|/max|x|``, so
            that the controls stay small, about ``scale**(-1/2)``, and the layers are steps of a
            flow; ``tolerance`` (1e-12), at which the search ends, ``maxiter`` (200), ``refine``
            (2, 8), what steps are divided by for ``refined``, and ``starts`` (5): how many are
            tried at most, the first from the network's controls, others from drawn ones.

    Returns:
        ``success``: the residual is at most 1e-10 and det(I + hD) is positive at every layer and
        point; ``residual``, the norm of all residuals relative to max(1, ||y||); ``determinant``,
        the smallest; ``refined``, the residuals of the same controls with finer steps;
        ``trained_numbers``; ``start``, the one that led there, from 1; ``network`` and
        ``objective`` on NumPy arrays; ``x``, ``fun``, ``nit`` and ``nfev`` of all starts,
        ``status`` and ``message``.

    Raises:
        DeclarationError: the objective is none, or has problems.
        ValueError: shapes that do not fit, or what no flow does: one point with two targets; with
            the last state as read-out, two points with one target, or a changed order on a line.

    References:
        C. Cuchiero, M. Larsson and J. Teichmann, SIAM J. Math. Data Sci. 2 (2020) 901-919,
        arXiv:1908.07838.
    """
    from hamilforge import trained_points as module

    return module.solve(network, x, y, objective, **options)


def optimal_control(field: Name, method: Name, y0: Any, steps: int, **options: Any) -> Control:
    """Minimise the running cost of a field over controls at every stage of a method.

    Args:
        field: a field with a running cost, by name or path.
        method: a Runge–Kutta method or, for two states, a pair.
        y0: the state at the start, `(size,)`; a tuple of several.
        steps: how many.
        options: ``time`` (how long), ``t0``, ``tolerance`` (of dH/dU), ``parameters``,
            ``sizes`` (of dimensions that no state has).

    Returns:
        ``.t``, ``.y``, ``.p``, ``.controls`` of shape `(steps, stages, …)`, ``.cost``.

    Raises:
        DeclarationError: a declaration has problems, or the field no running cost.
        ValueError: an argument is out of its domain.
        ArithmeticError: the equations could not be solved.
    """
    from hamilforge import control_problem as module

    return module.solve(field, method, y0, steps, **options)


def objective(name: Name, sizes: Mapping[str, int], backend: str = "torch", **options: Any) -> Any:
    """A read-out of a network's last states and the loss of each sample, with its gradient.

    Args:
        name: an objective, by name or path.
        sizes: the size of each dimension, by name.
        backend: ``torch`` for a ``torch.nn.Module``, ``numba`` for one on NumPy arrays.
        options: ``parameters``, ``dtype``; for torch ``trainable`` and ``device``, for numba
            ``seed``.

    Returns:
        A ``torch.nn.Module`` or a :class:`hamilforge.runtime.networks.objective.Objective`.

    Raises:
        DeclarationError: the declaration has problems.
        ValueError: an argument is out of its domain.
        ImportError: a torch module is asked for, and PyTorch is not installed.
    """
    where = name if str(name).endswith(".toml") else f"objective/{str(name).rpartition('/')[2]}"
    loaded = _loaded("hf.objective", backend, "an objective", where)
    if backend == "torch":
        return loaded.torch_class()(sizes, **options)
    from hamilforge.runtime.networks import objective as module

    return module.Objective(loaded.module("numba"), sizes, **options)


def problem(name: Name, /, backend: str = "numba", dtype: Any = None, **options: Any) -> Any:
    """A loss in closed form to try optimizers on, with its derived gradient, start and minimum.

    Args:
        name: a problem to minimise, by name or path.
        backend: ``numba`` for one on NumPy vectors, ``torch`` for a ``torch.nn.Module`` whose
            parameters are the variables.
        dtype: of the numbers; float64, or torch's default type, if None.
        options: sizes of dimensions and values of parameters, by name, as in ``d=100``; for torch
            ``device`` too.

    Returns:
        A :class:`hamilforge.runtime.problems.problem.Problem`: ``f(x)``, ``f.gradient(x)``,
        ``f.value_and_gradient(x)``, ``f.start``, ``f.minimum``, ``f.minimizers``; or a module,
        called without arguments for the loss.

    Raises:
        DeclarationError: the declaration has problems.
        ClaimError: a point is not what it is declared to be.
        ValueError: an unknown size or parameter, or one outside its domain.
        ImportError: a torch module is asked for, and PyTorch is not installed.
    """
    where = name if "/" in str(name) or str(name).endswith(".toml") else f"problem/{name}"
    loaded = _loaded("hf.problem", backend, "a problem to minimise", where)
    if backend == "torch":
        device = options.pop("device", None)
        return loaded.torch_class()(options, dtype, device)
    from hamilforge.runtime.problems import problem as module

    return module.Problem(loaded.module("numba"), options, "float64" if dtype is None else dtype)


#: What the numba module of each kind of product has that others have not.
_MARKS = {"a field": "CONTROLS", "an objective": "WEIGHTS", "a problem to minimise": "VARIABLES"}


def _loaded(
    what: str, backend: str, kind: str, name: Name, method: Name | None = None, **choices: Any
) -> Loaded:
    """The product of a field, an objective or a problem."""
    if backend not in ("torch", "numba"):
        raise ValueError(f"backend = {backend!r}; torch or numba was expected")
    if backend == "torch":
        _need_torch(f"{what} makes a torch module", 'backend="numba" works without')
    from hamilforge.runtime.core import loader

    loaded = loader.load(name, method, **choices)
    if not hasattr(loaded.module("numba"), _MARKS[kind]):
        raise ValueError(f"{what} takes {kind}, and {name} is none")
    return loaded


def _need_torch(what: str, instead: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{what} and needs PyTorch (pip install torch); {instead}") from error


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
    _need_torch("hf.optimizer makes a torch optimizer", "hf.minimize works without")
    from hamilforge.runtime.core import loader

    loaded = loader.load(name, **_place(manifold, metric, retraction))
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
    _need_torch("hf.manifold works on tensors", "hf.check works without")
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


def verify(
    name: Name,
    method: Name | None = None,
    activation: str | None = None,
    by_stage: bool = False,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
    order: int | None = None,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> Verification:
    """Compare every backend with the others and with the NumPy interpretation.

    Args:
        name: a name in the catalogue, or a path.
        method: for a problem, the method that integrates it; for a field, that of its layers.
        activation: of a field, instead of the declared one.
        by_stage: of a field: whether every stage of a layer has controls of its own.
        sizes: of a lattice, the number of its sites by name.
        device: where torch's forms run, as torch calls it; beside another one than ``cpu`` the
            kernels do not run.
        order: of Taylor's method; that of the tolerance 1e-6 if None.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.

    Returns:
        The comparison: ``str()`` to read, ``.holds`` for the verdict.

    Raises:
        DeclarationError: the declaration is not found or has problems.
        ValueError: no tensor can be made on the device.
    """
    from hamilforge import verification

    choices: Variation = {
        "activation": activation, "sizes": sizes, "by_stage": by_stage, "order": order,
        **_place(manifold, metric, retraction),
    }  # fmt: skip
    return verification.verify(name, method, device, **choices)
