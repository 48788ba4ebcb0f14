"""The kinds of declaration, as frozen data.

Out of the reader, into the derivation.  Everything here has been checked for form; nothing here has
been derived or believed: a claim is carried along as text.
"""

# ruff: noqa: F401 (one name for all kinds, wherever they are written)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hamilforge.gen.declare.kinds.manifolds import (
    FREE,
    GEODESIC,
    PROJECTION,
    SECANT,
    VELOCITY,
    VIOLATION,
    VIOLATION_OFF,
    Condition,
    Manifold,
    ManifoldOptimizer,
    MatrixOptimizer,
    MatrixRule,
    Metric,
    Retraction,
)
from hamilforge.gen.declare.kinds.mechanics import (
    Event,
    Hamiltonian,
    Mechanics,
    Poisson,
    Sites,
    Start,
    System,
)
from hamilforge.gen.declare.kinds.minimization import (
    DRAWS,
    Datum,
    MinimizationProblem,
)
from hamilforge.gen.declare.kinds.networks import (
    Field,
    FixedArray,
    Objective,
)
from hamilforge.gen.declare.kinds.optimizers import (
    SCOPES,
    Discretisation,
    Discretised,
    GradientSystem,
    Loop,
    Lyapunov,
    Move,
    Optimizer,
    Reduction,
    Rule,
    StateUpdate,
    UnknownSplitting,
)
from hamilforge.gen.declare.kinds.parts import (
    BETWEEN_0_AND_1,
    CHOICE,
    COUNT,
    DISCRETE,
    DOMAINS,
    FLAG,
    NONE,
    OF_MATRICES,
    OR_NONE,
    ZERO_IN_DOMAIN,
    Assignment,
    Head,
    Parameter,
    Shape,
)
from hamilforge.gen.declare.kinds.splittings import (
    BESIDE_CONSTRAINED,
    LETTERS,
    Composition,
    ConstrainedSplitting,
    Flow,
    Method,
    Splitting,
    Update,
    draws_noise,
    relettered,
    without_noise,
)
from hamilforge.gen.declare.kinds.tableaux import (
    Collocation,
    Composed,
    DiscreteGradient,
    Formula,
    Mean,
    Partitioned,
    Root,
    Rows,
    RungeKutta,
    Table,
    Taylor,
)
from hamilforge.gen.declare.toml_source import Source

Problem = Mechanics | System


#: What layers of a network are made with.
LayerMethod = RungeKutta | Partitioned


#: What makes an integrator of a problem.
Integration = (
    RungeKutta | Partitioned | Splitting | ConstrainedSplitting | DiscreteGradient | Taylor
)


Declaration = (
    Hamiltonian
    | Mechanics
    | Splitting
    | ConstrainedSplitting
    | Update
    | Optimizer
    | Rule
    | Discretised
    | GradientSystem
    | UnknownSplitting
    | StateUpdate
    | RungeKutta
    | Partitioned
    | DiscreteGradient
    | Taylor
    | System
    | Field
    | Objective
    | MinimizationProblem
    | Manifold
    | MatrixRule
    | ManifoldOptimizer
)


def varied(declaration: Declaration) -> tuple[str, ...]:
    """What a caller set of a declaration, as options of the command line."""
    chosen: tuple[str, ...] = getattr(declaration, "varied", ())
    return chosen


def named(declaration: Declaration) -> str:
    """A declaration as messages name it, with what a caller set of it."""
    return " ".join((f"'{declaration.head.name}'", *varied(declaration)))


def sources(declaration: Declaration) -> Iterator[Source]:
    """The texts of a declaration and of all it refers to."""
    yield declaration.head.source
    for part in _parts(declaration):
        if part.head.source is not declaration.head.source:
            yield from sources(part)


def _parts(value: Any) -> Iterator[Declaration]:
    """The declarations within one, or within how its coefficients are given."""
    for name in value.__dataclass_fields__:
        field_value = getattr(value, name)
        for part in field_value if isinstance(field_value, tuple) else (field_value,):
            if hasattr(part, "head"):
                yield part
            elif type(part).__module__.startswith(__name__):
                yield from _parts(part)
