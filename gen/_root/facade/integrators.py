"""Trajectories of a problem by a method: once, many times, or as a torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hamilforge.facade.common import Name, need_torch

if TYPE_CHECKING:
    from hamilforge.runtime.integrators.integrator import Integrator
    from hamilforge.runtime.integrators.solution import Solution


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
    need_torch("hf.flow makes a torch module", "hf.integrate works without")
    from hamilforge.runtime.core import loader

    return loader.load(problem, method, sizes=sizes, order=order).torch_class()(h, steps, **options)
