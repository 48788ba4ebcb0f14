"""The interpretation of minimization problems: the reference of backends and proofs.

In: a :class:`Landscape` with sizes and parameters.  Out: its data and points, its loss and
gradient, over any algebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.program.algebra import Algebra
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.problems.problem import Draw, Landscape
from hamilforge.gen.program.reference import FLOAT64


class ProblemInterpreter:
    """A problem at numbers.

    Args:
        landscape: the program.
        sizes: by their declared names; parameters are at their defaults.
        algebra: what numbers are.

    Attributes:
        prepared: data and points, each in its shape.
    """

    def __init__(
        self,
        landscape: Landscape,
        sizes: Mapping[str, int],
        algebra: Algebra = FLOAT64,
    ) -> None:
        self.landscape, self.sizes, self._algebra = landscape, dict(sizes), algebra
        convert = algebra.constant
        self._known: dict[str, Any] = {
            entry.name: convert(entry.default) for entry in landscape.parameters
        }
        self._known |= {
            name: convert(Fraction(sizes[landscape.declared[name]]))
            for name in landscape.dimensions
        }
        once = dict(self._known)
        for index in landscape.indices:
            places = np.indices(self.shape(index.array.shape))[index.axis]
            once[index.array.name] = self._converted(places)
        for draw in landscape.draws:
            once[draw.array.name] = self._converted(drawn(draw, self.shape(draw.array.shape)))
        shapes = {landscape.declared[array.name]: array.shape for array in landscape.variables}
        spelled = {raw: name for name, raw in landscape.declared.items()}
        self.prepared: dict[str, Any] = {}
        made = results(landscape.prepare, once, algebra)
        for key, array in landscape.prepare.results:
            place, _, name = key.rpartition(".")
            shape = self.shape(array.shape if place in ("", "data") else shapes[name])
            self.prepared[key] = np.broadcast_to(made[key], shape) if shape else made[key]
            if place == "data":
                self._known[spelled[name]] = self.prepared[key]

    def shape(self, shape: Shape) -> tuple[int, ...]:
        """Dimensions as numbers."""
        return tuple(int(name) if name.isdigit() else self.sizes[name] for name in shape)

    def point(self, place: str) -> dict[str, Any]:
        """The variables at ``start``, ``minimizers.0``, …, by the names of the program."""
        declared = self.landscape.declared
        return {
            array.name: self.prepared[f"{place}.{declared[array.name]}"]
            for array in self.landscape.variables
        }

    def vector(self, place: str) -> Any:
        """The variables at a place, entry after entry, `(n,)`."""
        return np.concatenate([np.ravel(value) for value in self.point(place).values()])

    def loss(self, point: Mapping[str, Any]) -> Any:
        """The loss at a point."""
        return results(self.landscape.loss, {**self._known, **point}, self._algebra)["loss"]

    def gradient(self, point: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The loss at a point, and the derivative by each variable in its shape."""
        made = results(self.landscape.gradient, {**self._known, **point}, self._algebra)
        slopes = {}
        for array in self.landscape.variables:
            slope = made.get(f"by.{array.name}", self._algebra.constant(Fraction(0)))
            shape = self.shape(array.shape)
            slopes[array.name] = np.broadcast_to(slope, shape) if shape else slope
        return made["loss"], slopes

    def _converted(self, array: Any) -> Any:
        if self._algebra is FLOAT64:
            return np.asarray(array, np.float64)
        entries = [self._algebra.constant(Fraction(float(value))) for value in array.ravel()]
        converted = np.empty(array.size, object)
        converted[:] = entries
        return converted.reshape(array.shape)


def drawn(draw: Draw, shape: tuple[int, ...]) -> Any:
    """The numbers of an array that is drawn; the same for the same seed and shape.

    Args:
        draw: distribution and seed: ``normal`` with variance 1, ``uniform`` in [0, 1), or
            ``rotation``, uniform among all rotations (F. Mezzadri, Notices of the AMS 54 (2007)
            592-604).
        shape: of the array.
    """
    generator = np.random.default_rng(draw.seed)
    if draw.distribution == "uniform":
        return generator.random(shape)
    normal = generator.standard_normal(shape)
    if draw.distribution == "normal":
        return normal
    q, r = np.linalg.qr(normal)
    q = q * np.sign(np.diag(r))
    return q * np.where(np.arange(len(q)) == 0, np.linalg.det(q), 1.0)
