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
_OF_MATRICES = {name: catalogue.load(name, ("optimizer",)) for name in MATRICES}
#: Those whose points stay on a manifold; and those of all matrices.
ON_MANIFOLDS = tuple(
    name for name, own in _OF_MATRICES.items() if own.manifold and own.retraction != kinds.FREE
)
FLAT = tuple(name for name, own in _OF_MATRICES.items() if not own.manifold)
#: Those that take parameters of any shape, and do the same to each entry but for sums.
ELEMENTWISE = tuple(name for name in catalogue.names("optimizer") if name not in MATRICES)
#: A cover of how optimizers are made, whose kernels the plain suite compiles; the same for all
#: tests, so that each kernel is compiled once.
COMPILED = frozenset((*MECHANICAL[::2], *ASSIGNED[::4], *MATRICES[::3]))
