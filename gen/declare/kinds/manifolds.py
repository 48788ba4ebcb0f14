"""Manifolds, and optimizers whose parameters are matrices or points."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.expression import Expression, Operation, constant
from hamilforge.gen.declare.kinds.mechanics import Hamiltonian
from hamilforge.gen.declare.kinds.parts import Assignment, Head, Parameter, Shape
from hamilforge.gen.declare.kinds.splittings import ConstrainedSplitting, Splitting
from hamilforge.gen.declare.matrix_functions import ALONG


@dataclass(frozen=True, slots=True)
class Metric:
    """An inner product of tangent vectors at each point.

    Attributes:
        inner: of U and V at X, a scalar.
        gradient: the tangent vector whose inner product with V is sum(G*V), for a gradient G.
        geodesic: the point at time 1 on the geodesic from X with velocity V; None if none is
            declared.
        rates: the eigenvalues of V -> gradient(V) on tangent vectors: how fast, by gamma, a force
            -gamma V fades the parts of V; none where they are not declared.
    """

    name: str
    inner: Expression
    gradient: Expression
    geodesic: Expression | None
    rates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Retraction:
    """A map of tangent vectors to points.

    Attributes:
        value: the new point, from X and a tangent vector V.
        normal: what is normal at X, where the point is X + V less that, as Lagrange multipliers
            lead back; None of others.
        where: the V that have one: what is positive; None where all have.
        definite: whether that is a symmetric matrix, and positive definite; a scalar else.
    """

    name: str
    value: Expression
    normal: Expression | None = None
    where: Expression | None = None
    definite: bool = False

    @property
    def limit(self) -> str:
        """For which V it has a value, as a text; empty where all have."""
        if self.where is None:
            return ""
        return self.where.text + " positive definite" * self.definite


@dataclass(frozen=True, slots=True)
class Condition:
    """What points satisfy beside the constraint, on an open set.

    Attributes:
        value: a scalar that is positive, or a matrix that is symmetric and positive definite.
    """

    name: str
    value: Expression
    definite: bool


@dataclass(frozen=True, slots=True)
class Manifold:
    """Vectors or matrices with a constraint, as submanifold of all of them.

    Everything is in the point X, an array V (and U) of its shape, a gradient G, the new point Y.

    Attributes:
        shape: of the point, in dimensions by name; a vector is a column.
        is_vector: whether points are declared as vectors.
        shorthands: names that stand for expressions in X and V.
        constraint: what vanishes on the manifold.
        project: V projected to the tangent space at X; horizontally where there is a quotient.
        retractions: the new point, from X and a tangent vector V.
        metrics: the first is the default.
        transport: of a tangent vector U at X to Y; its projection there if None.
        transports: others, by name.
        conditions: on points, beside the constraint.
        quotient: the group whose orbits are the points: ``O(p)`` acts on columns from the right;
            empty if there is none.
        sample: a point, in a random matrix Z of the shape; Newton's method on the constraint if
            None.
    """

    head: Head
    shape: Shape
    is_vector: bool
    shorthands: tuple[tuple[str, Expression], ...]
    constraint: Expression
    project: Expression
    retractions: tuple[Retraction, ...]
    metrics: tuple[Metric, ...]
    transport: Expression | None
    transports: tuple[tuple[str, Expression], ...]
    conditions: tuple[Condition, ...]
    quotient: str
    sample: Expression | None

    @property
    def is_flat(self) -> bool:
        """Whether the constraint is none: a product with zero."""
        tree = self.constraint.tree
        factors = tree.args if isinstance(tree, Operation) and tree.op == "*" else ()
        return any(constant(factor) == 0 for factor in factors)

    @property
    def multipliers(self) -> Retraction | None:
        """The retraction that leads back by what is normal at X."""
        return next((own for own in self.retractions if own.normal is not None), None)

    def retraction(self, name: str) -> Retraction:
        """The retraction with a name.

        Raises:
            KeyError: there is none.
        """
        return {own.name: own for own in self.retractions}[name]

    def metric(self, name: str) -> Metric:
        """The metric with a name.

        Raises:
            KeyError: there is none.
        """
        return {own.name: own for own in self.metrics}[name]

    @property
    def written_shape(self) -> str:
        """The shape of a point as it was declared: ``(n, p)``, ``(n)``."""
        return f"({', '.join(self.shape[: 1 if self.is_vector else 2])})"


@dataclass(frozen=True, slots=True)
class MatrixRule:
    """An optimizer whose parameters are matrices, or points of a manifold.

    Attributes:
        manifold: on which the parameters lie; None for all matrices.
        metric: its gradients are in this metric; empty without a manifold.
        retraction: by which points move; empty without a manifold, or :data:`FREE`.
        shape: of a parameter, in dimensions by name; a vector is a column.
        is_vector: whether parameters are vectors.
        unknowns: the point, then the arrays of the state.
        shapes: of the unknowns.
        assignments: in order; targets that are no unknowns are local.
        of_vectors: instead of these, of a parameter with one axis, a matrix with one column; none
            where such parameters are refused.
        options: defaults of the options that every optimizer has.
        requirements: conditions on hyper-parameters that hold where they are positive, with what is
            said where one does not.
        violations: where points are only near the manifold, what is claimed of the constraint after
            a step, in what the step computes and the point before it: :data:`VIOLATION` from a
            point on it, :data:`VIOLATION_OFF` from any.
        varied: what the caller set instead of the declaration, as options of the command line.
    """

    head: Head
    manifold: Manifold | None
    metric: str
    retraction: str
    shape: Shape
    is_vector: bool
    hyperparameters: tuple[Parameter, ...]
    unknowns: tuple[str, ...]
    shapes: tuple[Shape, ...]
    assignments: tuple[Assignment, ...]
    of_vectors: tuple[Assignment, ...]
    options: tuple[tuple[str, Fraction | bool], ...]
    requirements: tuple[tuple[Expression, str], ...]
    violations: tuple[tuple[str, Expression], ...] = ()
    varied: tuple[str, ...] = ()

    @property
    def shrinks(self) -> bool:
        """Whether parameters may be multiplied by a number, as weight decay does."""
        return self.manifold is None or self.manifold.is_flat

    @property
    def shapes_of_vectors(self) -> tuple[Shape, ...]:
        """Of the unknowns of a parameter with one axis, which is a column."""
        return tuple(
            tuple(ALONG if axis == self.shape[-1] else axis for axis in shape)
            for shape in self.shapes
        )

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        return self.hyperparameters


#: Instead of a retraction: the geodesic of the metric, whose velocity carries the momentum; or
#: none, where points are only near the manifold.
GEODESIC, FREE = "geodesic", "none"


#: How a momentum is carried, beside what a manifold declares: by its default, which is projection
#: if there is none; as the velocity of a geodesic; as the way between points, projected.
PROJECTION, VELOCITY, SECANT = "projection", "velocity", "secant"


#: Claims of how far off the manifold a step leads, from a point on it and from any.
VIOLATION, VIOLATION_OFF = "violation", "violation_off"


@dataclass(frozen=True, slots=True)
class ManifoldOptimizer:
    """A Hamiltonian system on a manifold, and a splitting of it.

    Attributes:
        system: whose kinetic energy is a multiple of the square of the momentum.
        method: its drift moves the point by the retraction and carries the momentum along.
        settings: ``[set]``, in order: what the hyper-parameters mean for the system, and h.
        metric: in which gradients are taken.
        retraction: its name, or :data:`GEODESIC`.
        transport: by which the momentum is carried: its name, or :data:`PROJECTION`,
            :data:`VELOCITY` or :data:`SECANT`.
        varied: what the caller set instead of the declaration, as options of the command line.
    """

    head: Head
    system: Hamiltonian
    method: Splitting | ConstrainedSplitting
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[tuple[str, Expression], ...]
    manifold: Manifold
    metric: str
    retraction: str
    transport: str
    #: The point, and ``V = h grad K(p)``: by how much it moves in a step.
    unknowns: tuple[str, ...] = ("X", "V")
    options: tuple[tuple[str, Fraction | bool], ...] = ()
    requirements: tuple[tuple[Expression, str], ...] = ()
    varied: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Of a parameter, in dimensions by name; a vector is a column."""
        return self.manifold.shape

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of the unknowns."""
        return (self.shape,) * len(self.unknowns)

    @property
    def is_vector(self) -> bool:
        """Whether parameters are vectors."""
        return self.manifold.is_vector

    @property
    def shrinks(self) -> bool:
        """Whether parameters may be multiplied by a number, as weight decay does."""
        return self.manifold.is_flat

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        taken = {entry.name for entry in self.hyperparameters} | {*dict(self.settings)}
        left = (entry for entry in self.system.parameters if entry.name not in taken)
        return (*self.hyperparameters, *left)


#: Optimizers whose parameters are matrices.
MatrixOptimizer = MatrixRule | ManifoldOptimizer
