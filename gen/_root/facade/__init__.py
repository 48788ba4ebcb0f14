"""The face of hamilforge: functions that take names or paths."""

from __future__ import annotations

from hamilforge.facade.analysis import check, generate, modified_equation, verify
from hamilforge.facade.integrators import flow, integrate, integrator
from hamilforge.facade.networks import (
    contractivity,
    controllability,
    interpolate,
    network,
    objective,
    optimal_control,
)
from hamilforge.facade.optimizers import manifold, minimize, optimizer, project_, simulate_workers
from hamilforge.facade.problems import problem

__all__ = [
    "check",
    "contractivity",
    "controllability",
    "flow",
    "generate",
    "integrate",
    "integrator",
    "interpolate",
    "manifold",
    "minimize",
    "modified_equation",
    "network",
    "objective",
    "optimal_control",
    "optimizer",
    "problem",
    "project_",
    "simulate_workers",
    "verify",
]
