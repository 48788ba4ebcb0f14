"""One record for each kind of declaration, and one for each family of products.

Everything that goes by kind reads these: where declarations lie, who reads, proves and tells them,
what ``list`` shows, what code is made of them.  What a record names is imported when it is asked
for, so that reading a declaration needs no SymPy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hamilforge.gen.declare import kinds

#: What a problem is solved with, what the layers of a network are made with, what is solved.
INTEGRATION, LAYERS, PROBLEM = "integration", "layers", "problem"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of declaration; of one with two forms, a record for each.

    Attributes:
        name: what ``kind`` says in a file.
        folder: in the catalogue.
        form: the dataclass.
        reader: ``module:function`` of gen, which reads a file of the kind, whatever its form.
        prover, teller: the same, for the report and the document of this form.
        roles: what declarations of the kind serve as.
        columns: the properties that a filtered list shows.
        properties: those of the table in Markdown.
    """

    name: str
    folder: str
    form: type
    reader: str
    prover: str
    teller: str
    roles: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("order",)
    properties: tuple[str, ...] = ("order",)

    def read(self, *arguments: Any) -> kinds.Declaration:
        """A declaration, from its reader, head and a way to find others."""
        return _resolved(self.reader)(*arguments)

    def prove(self, declaration: kinds.Declaration) -> Any:
        """The report of a declaration of this form."""
        return _resolved(self.prover)(declaration)

    def tell(self, declaration: kinds.Declaration, report: Any) -> Any:
        """The document of a declaration of this form, between its head and what was proved."""
        return _resolved(self.teller)(declaration, report)


@dataclass(frozen=True, slots=True)
class Family:
    """What code is made of: a declaration alone, or with a method.

    Attributes:
        made_of: the forms of the first declaration.
        methods: the forms of the second; none if there is none.
        renderer: ``module:function`` of gen: declarations to file texts.
        teller: the same: declaration, method and its report to a document; empty where the document
            is that of the declaration.
        suffix: what stands behind the name of a declaration alone, if anything.
    """

    name: str
    made_of: tuple[type, ...]
    methods: tuple[type, ...]
    renderer: str
    teller: str = ""
    suffix: str = ""

    def takes(self, made: tuple[kinds.Declaration, ...]) -> bool:
        """Whether products of these declarations are of this family."""
        first, *rest = made
        return isinstance(first, self.made_of) and (
            isinstance(rest[0], self.methods) if rest else not self.methods
        )

    def render(self, *made: kinds.Declaration) -> dict[str, str]:
        """The generated files, by name, not yet formatted."""
        rendered: dict[str, str] = _resolved(self.renderer)(*made)
        return rendered

    def tell(self, declaration: kinds.Declaration, method: kinds.Declaration, report: Any) -> Any:
        """The document of a declaration with a method.

        Args:
            declaration: the problem or field.
            method: what integrates it, or what its layers are made with.
            report: of the method.

        Returns:
            The document, heads and what was proved included.
        """
        return _resolved(self.teller)(declaration, method, report)


def _resolved(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"hamilforge.gen.{module}"), name
    )
    return function


_TABLEAU = ("stages", "order", "control_order", "symplectic", "a_stable")
#: In the order in which a bare name is looked up.
KINDS: tuple[Kind, ...] = (
    Kind(
        "optimizer",
        "optimizers",
        kinds.Optimizer,
        reader="declare.read_optimizers:optimizer",
        prover="prove.optimizers.optimizer:prove_optimizer",
        teller="document.optimizer:tell_optimizer",
        columns=("order", "symplectic_form", "points", "gradients_per_step", "bytes_per_parameter"),
        properties=(
            "order",
            "conformal_factor",
            "stability_limit",
            "points",
            "gradients_per_step",
            "passes",
        ),
    ),
    Kind(
        "optimizer",
        "optimizers",
        kinds.Rule,
        reader="declare.read_optimizers:optimizer",
        prover="prove.optimizers.rule:prove_rule",
        teller="document.rule:tell_rule",
    ),
    Kind(
        "optimizer",
        "optimizers",
        kinds.Discretised,
        reader="declare.read_optimizers:optimizer",
        prover="prove.optimizers.rule:prove_rule",
        teller="document.rule:tell_discretised",
    ),
    Kind(
        "optimizer",
        "optimizers",
        kinds.MatrixRule,
        reader="declare.read_optimizers:optimizer",
        prover="prove.optimizers.matrix:prove_matrix_optimizer",
        teller="document.rule:tell_matrix_rule",
    ),
    Kind(
        "optimizer",
        "optimizers",
        kinds.ManifoldOptimizer,
        reader="declare.read_optimizers:optimizer",
        prover="prove.optimizers.matrix:prove_matrix_optimizer",
        teller="document.optimizer:tell_manifold_optimizer",
    ),
    Kind(
        "hamiltonian",
        "hamiltonians",
        kinds.Hamiltonian,
        reader="declare.read_schemes:hamiltonian",
        prover="prove.optimizers.parts:prove_hamiltonian",
        teller="document.optimizer:tell_hamiltonian",
        roles=(PROBLEM,),
    ),
    Kind(
        "hamiltonian",
        "hamiltonians",
        kinds.Mechanics,
        reader="declare.read_schemes:hamiltonian",
        prover="prove.integrators.problem:prove",
        teller="document.problem:tell_problem",
        roles=(PROBLEM,),
    ),
    Kind(
        "splitting",
        "splitting",
        kinds.Splitting,
        reader="declare.read_schemes:splitting",
        prover="prove.optimizers.parts:prove_splitting",
        teller="document.optimizer:tell_scheme",
        roles=(INTEGRATION,),
    ),
    Kind(
        "splitting",
        "splitting",
        kinds.ConstrainedSplitting,
        reader="declare.read_schemes:splitting",
        prover="prove.integrators.constrained:prove_constrained_splitting",
        teller="document.problem:tell_constrained_splitting",
        roles=(INTEGRATION,),
    ),
    Kind(
        "splitting",
        "splitting",
        kinds.UnknownSplitting,
        reader="declare.read_schemes:splitting",
        prover="prove.optimizers.gradient_system:prove_part",
        teller="document.rule:tell_moves",
    ),
    Kind(
        "update",
        "updates",
        kinds.Update,
        reader="declare.read_schemes:update",
        prover="prove.optimizers.parts:prove_update",
        teller="document.optimizer:tell_scheme",
    ),
    Kind(
        "update",
        "updates",
        kinds.StateUpdate,
        reader="declare.read_schemes:update",
        prover="prove.optimizers.gradient_system:prove_part",
        teller="document.rule:tell_state_update",
    ),
    Kind(
        "runge-kutta",
        "runge_kutta",
        kinds.RungeKutta,
        reader="declare.read_tableaux:runge_kutta",
        prover="prove.tableau:prove_runge_kutta",
        teller="document.tableau:tell_runge_kutta",
        roles=(INTEGRATION, LAYERS),
        columns=_TABLEAU,
        properties=(
            "stages",
            "order",
            "embedded_order",
            "control_order",
            "stage_order",
            "symplectic",
            "symmetric",
            "a_stable",
            "l_stable",
            "circle_radius",
            "ssp_radius",
            "real_stability",
            "imaginary_stability",
        ),
    ),
    Kind(
        "partitioned",
        "partitioned",
        kinds.Partitioned,
        reader="declare.read_tableaux:partitioned",
        prover="prove.tableau:prove_partitioned",
        teller="document.tableau:tell_partitioned",
        roles=(INTEGRATION, LAYERS),
        columns=("stages", "order", "separable_order", "symplectic"),
        properties=(
            "stages",
            "order",
            "separable_order",
            "nystrom_order",
            "symplectic",
            "symplectic_separable",
        ),
    ),
    Kind(
        "discrete-gradient",
        "discrete_gradients",
        kinds.DiscreteGradient,
        reader="declare.read_tableaux:discrete_gradient",
        prover="prove.integrators.discrete_gradient:prove",
        teller="document.problem:tell_discrete_gradient",
        roles=(INTEGRATION,),
    ),
    Kind(
        "taylor",
        "taylor",
        kinds.Taylor,
        reader="declare.read_taylor:taylor",
        prover="prove.integrators.taylor:prove",
        teller="document.problem:tell_taylor",
        roles=(INTEGRATION,),
    ),
    Kind(
        "system",
        "systems",
        kinds.System,
        reader="declare.read_problems:system",
        prover="prove.integrators.problem:prove",
        teller="document.problem:tell_problem",
        roles=(PROBLEM,),
    ),
    Kind(
        "system",
        "systems",
        kinds.GradientSystem,
        reader="declare.read_problems:system",
        prover="prove.optimizers.gradient_system:prove_system",
        teller="document.rule:tell_gradient_system",
    ),
    Kind(
        "field",
        "fields",
        kinds.Field,
        reader="declare.read_networks:field",
        prover="prove.networks.field:prove",
        teller="document.network:tell_field",
    ),
    Kind(
        "objective",
        "objectives",
        kinds.Objective,
        reader="declare.read_networks:objective",
        prover="prove.networks.field:prove_objective",
        teller="document.network:tell_objective",
    ),
    Kind(
        "problem",
        "problems",
        kinds.MinimizationProblem,
        reader="declare.read_minimization:problem",
        prover="prove.problems.problem:prove_problem",
        teller="document.minimization:tell_minimization",
        columns=("variables", "minimum", "smooth"),
        properties=("variables", "minimum", "smooth", "curvature"),
    ),
    Kind(
        "manifold",
        "manifolds",
        kinds.Manifold,
        reader="declare.read_manifolds:manifold",
        prover="prove.optimizers.manifold:prove_manifold",
        teller="document.manifold:tell_manifold",
        columns=("points", "dimension", "metrics"),
        properties=("points", "dimension", "metrics", "retraction_order"),
    ),
)
FAMILIES: tuple[Family, ...] = (
    Family("optimizer", (kinds.Optimizer,), (), "pipeline:render_optimizer"),
    Family("rule", (kinds.Rule, kinds.Discretised), (), "pipeline:render_rule"),
    Family(
        "matrix",
        (kinds.MatrixRule, kinds.ManifoldOptimizer),
        (),
        "pipeline:render_matrix_optimizer",
    ),
    Family("manifold", (kinds.Manifold,), (), "pipeline:render_manifold", suffix="__manifold"),
    Family("objective", (kinds.Objective,), (), "pipeline:render_objective", suffix="__objective"),
    Family(
        "problem",
        (kinds.MinimizationProblem,),
        (),
        "pipeline:render_problem",
        suffix="__problem",
    ),
    Family(
        "descent",
        (kinds.DiscreteGradient,),
        (),
        "pipeline:render_descent",
        suffix="__descent",
    ),
    Family(
        "network",
        (kinds.Field,),
        (kinds.RungeKutta, kinds.Partitioned),
        "pipeline:render_network",
        "document.derivation:tell_network",
    ),
    Family(
        "integrator",
        (kinds.Mechanics, kinds.System),
        (
            kinds.RungeKutta,
            kinds.Partitioned,
            kinds.Splitting,
            kinds.ConstrainedSplitting,
            kinds.DiscreteGradient,
            kinds.Taylor,
        ),
        "pipeline:render_integrator",
        "document.derivation:tell_pair",
    ),
)


def names() -> tuple[str, ...]:
    """The kinds, each once."""
    return tuple(dict.fromkeys(kind.name for kind in KINDS))


def named(name: str) -> Kind:
    """The first record of a kind."""
    return next(kind for kind in KINDS if kind.name == name)


def kind_of(declaration: kinds.Declaration) -> Kind:
    """The record of a declaration's form."""
    return next(kind for kind in KINDS if type(declaration) is kind.form)


def serving(role: str) -> tuple[str, ...]:
    """The kinds whose declarations serve as something."""
    return tuple(dict.fromkeys(kind.name for kind in KINDS if role in kind.roles))


def kinds_of(*chosen: Family) -> tuple[str, ...]:
    """The kinds of what products of some families are made of."""
    forms = [form for family in chosen for form in family.made_of]
    return tuple(dict.fromkeys(kind.name for kind in KINDS if kind.form in forms))


def made_alone() -> tuple[Family, ...]:
    """The families whose products are made of one declaration."""
    return tuple(family for family in FAMILIES if not family.methods)


def made_with_methods() -> tuple[Family, ...]:
    """The families whose products are made of a declaration and a method."""
    return tuple(family for family in FAMILIES if family.methods)


def family_of(made: tuple[kinds.Declaration, ...]) -> Family:
    """The family of the products of some declarations."""
    return next(family for family in FAMILIES if family.takes(made))
