"""hamilforge: declare a Hamiltonian or a method; get it derived, proved, and compiled.

    import hamilforge as hf

    print(hf.check("rgd"))                    # what can be proved about it
    Rgd = hf.optimizer("rgd")                 # a torch.optim.Optimizer
    hf.minimize(fun, x0, jac=grad, method="rgd")
    hf.integrate("kepler", "yoshida6", t_span=(0, 100), h=0.01)
    hf.network("resnet", "rk4", layers=20, sizes={"d": 2})      # a torch.nn.Module

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamilforge.facade import (
        check,
        contractivity,
        controllability,
        flow,
        generate,
        integrate,
        integrator,
        interpolate,
        manifold,
        minimize,
        modified_equation,
        network,
        objective,
        optimal_control,
        optimizer,
        problem,
        project_,
        simulate_workers,
        verify,
    )
    from hamilforge.gen.declare.errors import ClaimError, DeclarationError, InternalError
    from hamilforge.runtime.core.errors import IntegrationError
    from hamilforge.runtime.integrators.solution import Solution
    from hamilforge.runtime.problems.controlled import controlled_descent
    from hamilforge.runtime.problems.escape import (
        kramers_time,
        mean_passage_time,
        sgld_passage_time,
    )
    from hamilforge.runtime.problems.hamilton_jacobi import viscous_hamilton_jacobi
    from hamilforge.runtime.problems.smoothing import heat_smoothing, local_entropy

__version__ = "0.1.0"
__all__ = [
    "ClaimError",
    "DeclarationError",
    "IntegrationError",
    "InternalError",
    "Solution",
    "check",
    "contractivity",
    "controllability",
    "controlled_descent",
    "flow",
    "generate",
    "heat_smoothing",
    "integrate",
    "integrator",
    "interpolate",
    "kramers_time",
    "local_entropy",
    "manifold",
    "mean_passage_time",
    "minimize",
    "modified_equation",
    "network",
    "objective",
    "optimal_control",
    "optimizer",
    "problem",
    "project_",
    "sgld_passage_time",
    "simulate_workers",
    "verify",
    "viscous_hamilton_jacobi",
]

_ELSEWHERE = {
    "ClaimError": "gen.declare.errors",
    "DeclarationError": "gen.declare.errors",
    "IntegrationError": "runtime.core.errors",
    "InternalError": "gen.declare.errors",
    "Solution": "runtime.integrators.solution",
    "controlled_descent": "runtime.problems.controlled",
    "heat_smoothing": "runtime.problems.smoothing",
    "kramers_time": "runtime.problems.escape",
    "local_entropy": "runtime.problems.smoothing",
    "mean_passage_time": "runtime.problems.escape",
    "sgld_passage_time": "runtime.problems.escape",
    "viscous_hamilton_jacobi": "runtime.problems.hamilton_jacobi",
}


def __getattr__(name: str) -> Any:
    """Import a function of the façade on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'hamilforge' has no attribute '{name}'")
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(f"hamilforge.{_ELSEWHERE[name]}"), name)
    from hamilforge import facade

    return getattr(facade, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
