"""The optimizers of the catalogue, by how they are declared and what they take."""

from __future__ import annotations

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.program.optimizers.build_rule import Assigned

#: Those that are made of a Hamiltonian, those that are assignments, and those of matrices.
MECHANICAL, ASSIGNED, MATRICES = (
    tuple(
        name
        for name in catalogue.names("optimizer")
        if isinstance(catalogue.load(name, ("optimizer",)), form)
    )
    for form in (kinds.Optimizer, Assigned, kinds.MatrixOptimizer)
)
_MANIFOLDS = {name: catalogue.load(name, ("optimizer",)).manifold for name in MATRICES}
_FREE = {
    name
    for name in MATRICES
    if getattr(catalogue.load(name, ("optimizer",)), "retraction", "") == kinds.FREE
}
#: Those whose points stay on a manifold; and those of all matrices.
ON_MANIFOLDS = tuple(name for name in MATRICES if _MANIFOLDS[name] and name not in _FREE)
FLAT = tuple(name for name in MATRICES if not _MANIFOLDS[name])
#: Those that take parameters of any shape, and do the same to each entry but for sums.
ELEMENTWISE = tuple(name for name in catalogue.names("optimizer") if name not in MATRICES)
