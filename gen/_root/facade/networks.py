"""Networks of a declared field, what is trained with them, and what is known about them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hamilforge.facade.common import Name, loaded_as

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from hamilforge.control_problem import Control
    from hamilforge.gen.prove.report import Report
    from hamilforge.network_bounds import Contractivity


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
    loaded = loaded_as("hf.network", backend, "a field", field, method, **choices)
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
        point; ``residual``, the norm of all residuals relative to ||y||, or to 1 where that is 0;
        ``determinant``, the smallest; ``refined``, the residuals of the same controls with finer
        steps; ``trained_numbers``; ``start``, the one that led there, from 1; ``network`` and
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

    Descent from controls of 0 leads to where dH/dU = 0: to the minimum of a convex cost, and to one
    of several of another.

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
    loaded = loaded_as("hf.objective", backend, "an objective", where)
    if backend == "torch":
        return loaded.torch_class()(sizes, **options)
    from hamilforge.runtime.networks import objective as module

    return module.Objective(loaded.module("numba"), sizes, **options)
