"""Manifolds in torch: the maps of a generated module on tensors, and tensors moved onto them.

In: tensors `(..., n, p)`, or `(..., n)` where points are vectors.  Out: the same; a number for each
of the leading axes where a map gives numbers.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch

from hamilforge.runtime.core.torch_transforms import transforms_are_active
from hamilforge.runtime.optimizers.arrangements import arrangement, refuse_shape

Tensor = torch.Tensor
#: In which a point can be on a manifold.
_TYPES = (torch.float32, torch.float64)
#: So many units of rounding, for each row, a point may be off its manifold.
FAR = 100
#: The largest spectral norm of the constraint at the start of steps that lead only near a manifold.
NEAR = 0.5
#: By how much a point may change where rounding decides nothing.
_UNCERTAIN = 0.1
#: So many tensors beside one are looked at: of two dependent columns one may by chance not move.
_NEIGHBOURS = 8
#: How often a point is drawn.
_DRAWS = 60


class Manifold:
    """The maps of a generated manifold.

    ``project(X, V)``, ``retract(X, V, retraction)``, ``inner(X, U, V, metric)``,
    ``gradient(X, G, metric)``, ``geodesic(X, V, metric)``, ``transport(X, V, Y, U)``; the first
    retraction and the first metric that are declared, where none is named.
    """

    def __init__(self) -> None:
        self._product: ModuleType = sys.modules[type(self).__module__]

    def __repr__(self) -> str:
        return f"<manifold {self._product.MANIFOLD}: {self._product.CONSTRAINT} = 0>"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics."""
        return tuple(self._product.METRICS)

    @property
    def retractions(self) -> tuple[str, ...]:
        """The names of the retractions."""
        return tuple(self._product.RETRACTIONS)

    def project(self, point: Tensor, vector: Tensor) -> Tensor:
        """A tensor in the tangent space at a point."""
        return self._called("project", point, vector)

    def retract(self, point: Tensor, vector: Tensor, retraction: str | None = None) -> Tensor:
        """The point to which a tangent vector leads.

        Args:
            point: X.
            vector: V, tangent at X.
            retraction: its name.

        Returns:
            R_X(V).

        Raises:
            ValueError: there is no such retraction, or it has no value for V.
        """
        name = self._named("RETRACTIONS", retraction)
        if name in self._product.LIMITS and not transforms_are_active():
            text, definite = self._product.LIMITS[name]
            value = self._of_matrices(f"where_{name}", point.detach(), vector.detach())
            if not is_positive(value, definite):
                raise ValueError(f"{name} has no value for this V: {text} does not hold")
        return self._called(f"retract_{name}", point, vector)

    def inner(
        self, point: Tensor, left: Tensor, right: Tensor, metric: str | None = None
    ) -> Tensor:
        """The inner product of tangent vectors.

        Args:
            point: X.
            left: U.
            right: V.
            metric: its name.

        Returns:
            `(...)`.
        """
        name = f"inner_{self._named('METRICS', metric)}"
        return self._of_matrices(name, point, left, right)[..., 0, 0]

    def gradient(self, point: Tensor, slopes: Tensor, metric: str | None = None) -> Tensor:
        """The gradient in a metric.

        Args:
            point: X.
            slopes: the derivative by the entries of X, as autograd gives it.
            metric: its name.

        Returns:
            The tangent vector whose inner product with V is ``sum(slopes*V)``.
        """
        return self._called(f"gradient_{self._named('METRICS', metric)}", point, slopes)

    def geodesic(self, point: Tensor, vector: Tensor, metric: str | None = None) -> Tensor:
        """The point at time 1 on a geodesic.

        Args:
            point: X, where it begins.
            vector: V, its velocity there.
            metric: its name.

        Returns:
            The point.

        Raises:
            ValueError: none is declared for the metric.
        """
        name = self._named("METRICS", metric)
        if name not in self._product.GEODESICS:
            raise ValueError(f"{self._product.MANIFOLD} has no geodesic of the metric {name}")
        return self._called(f"geodesic_{name}", point, vector)

    def transport(
        self, point: Tensor, step: Tensor, end: Tensor, vector: Tensor, name: str | None = None
    ) -> Tensor:
        """A tangent vector at a new point.

        Args:
            point: X.
            step: V, which led to the new point.
            end: Y, the new point.
            vector: U, tangent at X.
            name: of a further transport; the manifold's default if None.

        Returns:
            What it becomes, tangent at Y.

        Raises:
            ValueError: there is no such transport.
        """
        known = self._product.TRANSPORTS
        if name is not None and name not in known:
            told = f"has {', '.join(known)}" if known else "names none"
            raise ValueError(f"{self._product.MANIFOLD} {told}, and no {name}")
        return self._called(f"transport_{name}" if name else "transport", point, step, end, vector)

    def violation(self, point: Tensor) -> float:
        """How far a tensor is off: the spectral norm of the constraint, the largest of many points.

        Infinite where a condition does not hold, as that a matrix is positive definite.

        Args:
            point: X.

        Raises:
            ValueError: it has not the type or the shape of points.
        """
        self._refuse_shapes(point)
        return violation(self._product, point)

    def contains(self, point: Tensor) -> bool:
        """Whether a tensor is on the manifold, up to rounding, and on the right component.

        Raises:
            TypeError: it is no tensor.
        """
        if not isinstance(point, torch.Tensor):
            raise TypeError(f"a tensor was expected, not {type(point).__name__}")
        against = reason_against_shape(self._product, point)
        return not (against or reason_against(self._product, point))

    def random(self, *shape: int, generator: Any = None, **options: Any) -> Tensor:
        """A point from normal random numbers.

        Args:
            shape: of the tensor, as in ``random(5, 3)``; further axes in front are many points.
            generator: torch's.
            options: ``dtype``, ``device``.

        Raises:
            ValueError: points have no such shape or type, or none is found.
        """
        axes = 1 if self._product.VECTORS else 2
        before, own = shape[:-axes], shape[-axes:]
        points = torch.empty(shape, **options)
        self._refuse_shapes(points)
        for place in itertools.product(*map(range, before)):
            points[place] = self._drawn(own, generator, options)
        return points

    def _drawn(self, shape: tuple[int, ...], generator: Any, options: dict[str, Any]) -> Tensor:
        against = ""
        for _ in range(_DRAWS):
            point = self.from_matrix(torch.randn(*shape, generator=generator, **options))
            against = reason_against(self._product, point)
            if not against:
                return point
        raise ValueError(
            f"no point of {self._product.MANIFOLD} was found in {_DRAWS} draws: {against}"
        )

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """A point near a tensor, or at least one that is made of it, as [sample] says.

        Args:
            matrix: any tensor of the shape of points.

        Raises:
            ValueError: the manifold does not say how.
        """
        if not hasattr(self._product, "sample"):
            raise ValueError(
                f"{self._product.MANIFOLD} does not say how to make a point of a matrix: declare "
                "[sample]"
            )
        return self._called("sample", matrix)

    def _refuse_shapes(self, *tensors: Tensor) -> None:
        """Refuse tensors that are no points, nor vectors at the first.

        Raises:
            TypeError: one is no tensor.
            ValueError: its type or its shape.
        """
        axes, name = 1 if self._product.VECTORS else 2, self._product.MANIFOLD
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"{name}: a tensor was expected, not {type(tensor).__name__}")
            if reason := reason_against_shape(self._product, tensor):
                raise ValueError(f"{name}: {reason}")
            if tensor.dtype != tensors[0].dtype:
                types = f"{tensors[0].dtype} and {tensor.dtype}"
                raise ValueError(f"{name}: {types}: points and vectors have the same type")
            own, first = tuple(tensor.shape), tuple(tensors[0].shape)
            if own[-axes:] != first[-axes:]:
                raise ValueError(
                    f"{name}: the shapes {first} and {own} do not fit: points and vectors have the "
                    f"same last {'axis' if axes == 1 else 'two axes'}"
                )

    def _of_matrices(self, name: str, *tensors: Tensor) -> Tensor:
        self._refuse_shapes(*tensors)
        matrices = (as_matrices(self._product, tensor) for tensor in tensors)
        value: Tensor = getattr(self._product, name)(*matrices)
        return value

    def _called(self, name: str, *tensors: Tensor) -> Tensor:
        value = self._of_matrices(name, *tensors)
        return value[..., 0] if self._product.VECTORS else value

    def _named(self, table: str, name: str | None) -> str:
        known = getattr(self._product, table)
        if name is not None and name not in known:
            raise ValueError(f"{self._product.MANIFOLD} has {', '.join(known)}, and no {name}")
        return str(known[0] if name is None else name)


def project_(
    parameter: Tensor, manifold: Manifold, options: Mapping[str, Any] | None = None
) -> Tensor:
    """Move a tensor onto a manifold, in place.

    Args:
        parameter: of the shape of points; with further axes in front, many of them.
        manifold: where to.
        options: ``rows`` and ``matrix``: how it is read, as of a group of an optimizer.

    Returns:
        The tensor.

    Raises:
        ValueError: it leads to no point, as of deficient rank or on another component; it is left
            as it is.
    """
    product = sys.modules[type(manifold).__module__]
    if not isinstance(parameter, torch.Tensor):
        raise TypeError(f"a tensor was expected, not {type(parameter).__name__}")
    own = arrangement(options or {}, product)
    if own is not None:
        refuse_shape(own, parameter.shape, "the tensor")
        points = project_(own.points(parameter.detach()).clone(), manifold)
        with torch.no_grad():
            parameter.copy_(own.tensor(points, parameter.shape))
        return parameter
    if reason := reason_against_shape(product, parameter):
        raise ValueError(f"no point is made of this tensor: {reason}")
    if not bool(parameter.detach().isfinite().all()):
        raise ValueError("no point is made of this tensor: it has entries that are not finite")
    with torch.no_grad():
        axes = 1 if product.VECTORS else 2
        try:
            point = _made(product, manifold, parameter.detach())
        except ValueError as error:
            before = parameter.shape[:-axes]
            for place in itertools.product(*map(range, before)) if before else ():
                try:
                    _made(product, manifold, parameter.detach()[place])
                except ValueError as own:
                    raise ValueError(f"{own}; so at {list(place)} of its first axes") from own
            raise error
        parameter.copy_(point)
    return parameter


def _made(product: ModuleType, manifold: Manifold, tensor: Tensor) -> Tensor:
    """The point that is made of a tensor, or an error."""
    try:
        point = manifold.from_matrix(tensor)
    except RuntimeError as error:  # of a factorisation
        raise ValueError(f"no point is made of this tensor: {error}") from error
    if not bool(point.isfinite().all()):
        raise ValueError("no point is made of this tensor: it is, or its columns are, too near 0")
    against = reason_against(product, point)
    if against and not bool((tensor * tensor).isfinite().all()):
        against = f"squares of its entries leave the range of {tensor.dtype}; divide it first"
    elif not _is_certain(product, manifold, tensor, point):
        depends = "" if product.VECTORS else ", as where columns depend on each other"
        raise ValueError(
            f"no point is made of this tensor: rounding would choose it{depends}; draw one by "
            f'hf.manifold("{product.MANIFOLD}").random(...)'
        )
    if against:
        raise ValueError(f"no point is made of this tensor: {against}")
    return point


def _is_certain(product: ModuleType, manifold: Manifold, tensor: Tensor, point: Tensor) -> bool:
    """Whether points hardly change where the tensor changes by some units of rounding.

    A unit is that of the largest entry of a column, or of its matrix where the column is 0.
    """
    if not tensor.numel():
        return True
    generator = torch.Generator(tensor.device).manual_seed(0)
    columns = as_matrices(product, tensor).abs().amax(-2, keepdim=True)
    largest = columns.amax(-1, keepdim=True)
    columns = torch.where(columns > 0, columns, torch.where(largest > 0, largest, 1.0))
    size = columns[..., 0] if product.VECTORS else columns
    for _ in range(_NEIGHBOURS):
        drawn = torch.randn(
            tensor.shape, dtype=tensor.dtype, device=tensor.device, generator=generator
        )
        beside = manifold.from_matrix(tensor + FAR * torch.finfo(tensor.dtype).eps * size * drawn)
        if not (beside - point).abs().max() <= _UNCERTAIN:
            return False
    return True


def as_matrices(product: ModuleType, tensor: Tensor) -> Tensor:
    """Points as matrices `(..., n, p)`; vectors are columns."""
    return tensor[..., None] if product.VECTORS else tensor


def violation(product: ModuleType, tensor: Tensor) -> float:
    """How far points are off their manifold: the spectral norm of the constraint, the largest.

    Args:
        product: a generated module.
        tensor: a parameter.

    Returns:
        The number; NaN where an entry is not finite, infinite where a condition does not hold.
    """
    off = _off(product, tensor, 2)
    return math.inf if off < math.inf and unmet_condition(product, tensor) else off


def _off(product: ModuleType, tensor: Tensor, norm: int | str) -> float:
    """A norm of the constraint: the spectral one, or "fro", which takes less time, no smaller."""
    value = product.constraint(as_matrices(product, tensor.detach()))
    if not bool(value.isfinite().all()):
        return math.nan
    return float(torch.linalg.matrix_norm(value, norm).max()) if value.numel() else 0.0


def reason_against_shape(product: ModuleType, tensor: Tensor) -> str:
    """Why a tensor has not the type or the shape of points; empty if it has.

    Args:
        product: a generated module.
        tensor: further axes in front are many points.
    """
    types = _TYPES if product.MANIFOLD else (*_TYPES, torch.bfloat16, torch.float16)
    if tensor.dtype not in types:
        listed = ", ".join(str(dtype).removeprefix("torch.") for dtype in types)
        return f"it is {tensor.dtype}, and one of {listed} was expected"
    takes_vectors = product.VECTORS or getattr(product, "OF_VECTORS", False)
    if tensor.ndim < (1 if takes_vectors else 2):
        what = "a vector" if takes_vectors else "a matrix"
        return f"its shape is {tuple(tensor.shape)}, and {what} was expected"
    if product.SHAPE[0] == product.SHAPE[1] and tensor.shape[-1] != tensor.shape[-2]:
        return f"its shape is {tuple(tensor.shape)}, and a square matrix was expected"
    return ""


def reason_against(product: ModuleType, tensor: Tensor) -> str:
    """Why a tensor is no point of a manifold; empty if it is one.

    Args:
        product: a generated module.
        tensor: of the shape of points.
    """
    if not tensor.numel():
        return ""
    if not bool(tensor.isfinite().all()):
        return "it has entries that are not finite"
    rows = tensor.shape[-1] if product.VECTORS else tensor.shape[-2]
    allowed = FAR * torch.finfo(tensor.dtype).eps * max(1, rows)
    if getattr(product, "FREE", False):
        allowed = NEAR
    off = _off(product, tensor, "fro")
    if not off <= allowed:
        off = _off(product, tensor, 2)
    if not off <= allowed:
        wide = not product.VECTORS and tensor.shape[-1] > rows
        more = (
            f" (it has {tensor.shape[-1]} columns and {rows} rows; transpose it?)" if wide else ""
        )
        return f"{product.CONSTRAINT} is {off:.3g} and not 0{more}"
    unmet = unmet_condition(product, tensor)
    return f"{unmet} does not hold" if unmet else ""


def unmet_condition(product: ModuleType, tensor: Tensor) -> str:
    """The first condition of a manifold that does not hold at some points; empty if all do.

    Args:
        product: a generated module.
        tensor: of the shape of points.
    """
    matrices = as_matrices(product, tensor.detach())
    for condition, text in product.CONDITIONS.items():
        value = getattr(product, f"condition_{condition}")(matrices)
        definite = condition in product.DEFINITE
        if not is_positive(value, definite):
            return f"{text}{' positive definite' * definite}"
    return ""


def is_positive(value: Tensor, definite: bool) -> bool:
    """Whether numbers are positive, or symmetric matrices positive definite; NaN is neither.

    Args:
        value: `(..., 1, 1)`, or `(..., p, p)`.
        definite: whether matrices are meant.
    """
    return not value.numel() or all(are_positive(value[None], definite))


def are_positive(values: Tensor, definite: bool) -> list[bool]:
    """Whether numbers are positive, or symmetric matrices positive definite, of each of a stack.

    Args:
        values: `(k, ..., 1, 1)`, or `(k, ..., p, p)`.
        definite: whether matrices are meant.

    Returns:
        Of each of the k whether all that it has are; NaN is neither.
    """
    finite = values.isfinite().reshape(len(values), -1).all(1)
    holds = torch.linalg.cholesky_ex(values).info == 0 if definite else values > 0
    positive: list[bool] = (holds.reshape(len(values), -1).all(1) & finite).tolist()
    return positive
