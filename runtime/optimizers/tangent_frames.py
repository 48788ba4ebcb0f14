"""Coordinates at points of a manifold, in which a step of a discrete gradient is taken.

In: points, a row each.  Out: frames: at u a tangent vector W = sum w_k E_k, in a basis that is
orthonormal in the metric, stands for the point R_u(W).  A discrete gradient of ``w -> J(R_u(W))``
is one of J on the manifold, with its centre at u, and its step falls by
``J(v) - J(u) = -|W|^2/h`` for every h (E. Celledoni, S. Eidnes, B. Owren and T. Ringholm,
Dissipative numerical schemes on Riemannian manifolds with applications to gradient flows,
SIAM J. Sci. Comput. 40 (2018) A3789-A3806, doi:10.1137/18M1190628).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from hamilforge.runtime.optimizers.evaluation import Vector
from hamilforge.runtime.optimizers.frames import Flags, Frame
from hamilforge.runtime.optimizers.manifolds import (
    Manifold,
    are_positive,
    as_matrices,
    reason_against,
    reason_against_shape,
)

Tensor = torch.Tensor
#: A tangent vector of this length leads nowhere: its square has to be a number.
TOO_LONG = 1e100


class TangentSpace:
    """The points of a manifold.

    Args:
        manifold: its maps.
        retraction: R; the first that is declared if None.
        metric: in which lengths are; the first that is declared if None.

    Raises:
        ValueError: it has no retraction or metric of this name; or the retraction has no value for
            some vectors, so that a large h has no step.
    """

    rounds = True

    def __init__(self, manifold: Manifold, retraction: str | None, metric: str | None) -> None:
        self.manifold = manifold
        self.product: ModuleType = sys.modules[type(manifold).__module__]
        self.retraction = _known("retraction", retraction, manifold.retractions, self.name)
        if limit := self.product.LIMITS.get(self.retraction):
            whole = [own for own in manifold.retractions if own not in self.product.LIMITS]
            raise ValueError(
                f"retraction = {self.retraction!r} has a value only where {limit[0]}, and a large "
                f"h has long steps; expected one of {', '.join(whole)}"
            )
        self.metric = _known("metric", metric, manifold.metrics, self.name)
        self.shape: tuple[int, ...] = ()
        self._drawn = torch.empty(0)

    @property
    def name(self) -> str:
        """The manifold's."""
        return str(self.product.MANIFOLD)

    def refuse(self, x0: NDArray[np.float64], batched: bool) -> None:
        """Refuse a start that is no point, and note the shape of points.

        Args:
            x0: the start.
            batched: whether its first axis counts problems.

        Raises:
            ValueError: its shape, or where it lies; or the manifold is a single point.
        """
        axes = 1 if self.product.VECTORS else 2
        if x0.ndim != axes + batched:
            what = "a vector" if axes == 1 else "a matrix"
            own = f"{what} for each problem" if batched else what
            raise ValueError(
                f"x0 has the shape {x0.shape}; on the manifold {self.name} {own} was expected"
            )
        rows = torch.from_numpy(x0 if batched else x0[None])
        for number, row in enumerate(rows):
            reason = reason_against_shape(self.product, row) or reason_against(self.product, row)
            if reason:
                where = f"row {number} of x0" if batched else "x0"
                raise ValueError(
                    f"{where} is not on the manifold {self.name}: {reason}; hf.project_("
                    f'torch.tensor(x0).double(), "{self.name}") is a point if there is one'
                )
        self.shape = tuple(rows.shape[1:])
        size = rows[0].numel()
        units = torch.eye(size, dtype=rows.dtype).reshape(size, *self.shape)
        projected = self.manifold.project(rows[:1].expand(units.shape), units)
        dimension = round(float((projected * units).sum()))  # the trace of a projection
        if not dimension:
            raise ValueError(
                f"on the manifold {self.name} a point of the shape {self.shape} cannot move: there "
                "are no tangent vectors"
            )
        generator = torch.Generator().manual_seed(0)
        self._drawn = torch.randn(dimension, *self.shape, dtype=rows.dtype, generator=generator)

    def frame(self, points: Vector) -> Frame:
        """Orthonormal coordinates of the tangent space at each point."""
        at = self._tensors(points)
        return TangentFrame(self, at, self._basis(at), points)

    def line(self, points: Vector, generator: np.random.Generator) -> tuple[Frame, Vector]:
        """Frames of one vector each: a normal random one, projected."""
        at = self._tensors(points)
        drawn = self.manifold.project(at, self._tensors(generator.standard_normal(points.shape)))
        length = self.manifold.inner(at, drawn, drawn, self.metric).sqrt()
        unit = drawn / length.reshape(-1, *[1] * len(self.shape))
        return TangentFrame(self, at, unit[:, None], points), np.ones((1, len(points), 1))

    def retracted(self, at: Tensor, vectors: Tensor) -> tuple[Tensor, list[bool]]:
        """R of tangent vectors, and of which of them it has a value that is a point."""
        product = self.product
        points: Tensor = getattr(product, f"retract_{self.retraction}")(
            as_matrices(product, at), as_matrices(product, vectors)
        )
        there = points.detach().reshape(len(points), -1).isfinite().all(1).tolist()
        for own in product.CONDITIONS:
            value = getattr(product, f"condition_{own}")(points.detach())
            holds = are_positive(value, own in product.DEFINITE)
            there = [one and other for one, other in zip(there, holds, strict=True)]
        return points.reshape(len(points), *self.shape), there

    def _tensors(self, points: Vector) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(points)).reshape(len(points), *self.shape)

    def _basis(self, at: Tensor) -> Tensor:
        """Orthonormal tangent vectors, `(problems, d, ...)`.

        They are made of the same vectors at all points, projected: so they change smoothly from
        point to point, and hardly by rounding.
        """
        shape = (len(at), *self._drawn.shape)
        there = at[:, None].expand(shape)
        rows = self.manifold.project(there, self._drawn.expand(shape)).flatten(2)
        rows = torch.linalg.qr(rows.mT).Q.mT.reshape(shape)
        rows = self.manifold.project(there, rows)  # what is nearly dependent is off by rounding
        factor = torch.linalg.cholesky(self._lowered(there, rows) @ rows.flatten(2).mT)
        basis: Tensor = torch.linalg.solve_triangular(factor, rows.flatten(2), upper=False)
        return basis.reshape(shape)

    def _lowered(self, there: Tensor, vectors: Tensor) -> Tensor:
        """The covectors ``U -> <U, V>``: the derivative by U, for it is linear in U."""
        zero = torch.zeros_like(vectors, requires_grad=True)
        with torch.enable_grad():
            total = self.manifold.inner(there, zero, vectors, self.metric).sum()
        (covectors,) = torch.autograd.grad(total, zero)
        return covectors.flatten(2)


@dataclass(frozen=True, slots=True)
class TangentFrame:
    """Coordinates of tangent vectors at points.

    Args:
        space: the manifold.
        at: the points u, `(problems, ...)`.
        basis: orthonormal vectors at each, `(problems, d, ...)`.
        start: the points, `(problems, n)`.
    """

    space: TangentSpace
    at: Tensor
    basis: Tensor
    start: Vector

    @property
    def origin(self) -> Vector:
        """W = 0, moved by the size of the points: so W is rounded as they are."""
        size = abs(self.start).max(axis=1, keepdims=True)
        return np.broadcast_to(size, tuple(self.basis.shape[:2]))

    def points(self, coordinates: Vector) -> tuple[Vector, Flags]:
        """R_u(W); u itself where W = 0."""
        components = coordinates - self.origin
        short = np.asarray((abs(components) < TOO_LONG).all(axis=1))
        with torch.no_grad():
            vectors = self._vectors(torch.from_numpy(np.where(short[:, None], components, 0.0)))
            points, there = self.space.retracted(self.at, vectors)
        inside = np.array(there) & short
        moved = np.asarray(inside & components.any(axis=1))[:, None]
        return np.where(moved, points.reshape(self.start.shape).numpy(), self.start), inside

    def vector(self, components: Vector) -> Vector:
        """A tangent vector in R^n."""
        vectors = self._vectors(torch.from_numpy(components))
        return np.asarray(vectors.reshape(self.start.shape).numpy())

    def slopes(self, coordinates: Vector, gradient: Vector) -> Vector:
        """Derivatives by w of J(R_u(W)), by the derivative of R; at W = 0 that is 1."""
        slope = torch.from_numpy(np.ascontiguousarray(gradient)).reshape(self.at.shape)
        components = coordinates - self.origin
        leaf = torch.from_numpy(components).requires_grad_()
        with torch.enable_grad():
            points = self._vectors(leaf)
            if components.any():
                points, _ = self.space.retracted(self.at, points)
            (found,) = torch.autograd.grad((points * slope).sum(), leaf)
        return np.asarray(found.numpy())

    def _vectors(self, components: Tensor) -> Tensor:
        return torch.bmm(components[:, None], self.basis.flatten(2)).reshape(self.at.shape)


def _known(what: str, name: str | None, known: tuple[str, ...], manifold: str) -> str:
    if name is None:
        return known[0]
    if name not in known:
        raise ValueError(f"{what} = {name!r}: the manifold {manifold} has {', '.join(known)}")
    return name
