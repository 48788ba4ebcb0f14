"""The optimizers of the catalogue, by how they are declared and what they take."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hamilforge import generation
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
_WORDS = re.compile(
    r"@njit\([^)]*\)|[A-Za-z_][\w.]*(?=\()|\b(?:if|else|while|continue|break)\b|\*\*"
)


def _words(name: str) -> set[str]:
    """What the kernels of an optimizer are written with, names of its own left out."""
    text = (generation.catalogue_folder() / f"{name}_numba.py").read_text(encoding="utf-8")
    text = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    return {*_WORDS.findall(text)} - {*re.findall(r"def (\w+)", text)}


def _cover(names: Sequence[str]) -> list[str]:
    """Optimizers, few, whose kernels are written with all that those of any are written with."""
    words = {name: _words(name) for name in names}
    left, chosen = set().union(*words.values()), []
    while left:
        chosen.append(max(names, key=lambda name: len(words[name] & left)))
        left -= words[chosen[-1]]
    return chosen


#: A cover of how optimizers are made, whose kernels the plain suite compiles; the same for all
#: tests, so that each kernel is compiled once.
COMPILED = frozenset(name for kind in (MECHANICAL, ASSIGNED, MATRICES) for name in _cover(kind))
