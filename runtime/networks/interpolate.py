"""Controls with which a network takes given points to given targets, exactly.

In: a network on NumPy arrays, points, targets and a read-out.  Out: controls, and whether what they
give is the flow of an interpolation.  With r the residuals of all points and J their derivatives by
what is trained, by the derived adjoint, a step is that of Levenberg and Marquardt in the space of
the residuals, of which there are fewer than trained numbers,

    delta = -J' (J J' + mu I)^-1 r,

taken if |r| falls; mu shrinks then, and grows else.  Flows curve: the second derivative of r along
delta, from one more value of r, bends the step by a/2 (geodesic acceleration, M. K. Transtrum and
J. P. Sethna, arXiv:1201.5885),

    a = -J' (J J' + mu I)^-1 r'',  refused where 2 |a| > 1.5 |delta|.

Where a search stops short, others begin at drawn controls.  Residuals that vanish are not enough:
where a layer folds, det(I + h D) <= 0 at a point, it is no step of a flow, and the network no
approximation of one (C. Cuchiero, M. Larsson and J. Teichmann, SIAM J. Math. Data Sci. 2 (2020)
901-919, arXiv:1908.07838).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.numbers import positive_number, real_array, whole_number
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.objective import Objective

Floats = NDArray[Any]
#: The residual, relative to |Y|, with which points count as interpolated.
EXACT = 1e-10
#: A read-out's number begins at so many times max |Y| / max |x|: see :func:`interpolate`.
SCALE = 200.0
#: Beyond it the squares of residuals leave the range of numbers.
FAR = 1e150
#: mu at first, relative to the mean of the diagonal of J J', and how it changes.
START, SHRINK, GROW, MOST = 1e-3, 10.0, 4.0, 1e16
#: How far along a step its second derivative is taken, and how large 2 |a| / |delta| may be.
ALONG, BEND = 0.1, 1.5
#: Residuals, relative to |Y|, from which steps are straight: their bend is rounding.
STRAIGHT = 1e-6
#: How many starts are tried at most; of the controls of all but the first, the deviation from 0.
STARTS, SPREAD = 5, 0.3


class Interpolation(OptimizeResult):
    """What a search has found, in SciPy's manner; printed is what says how good it is."""

    def __repr__(self) -> str:
        shown = ("message", "success", "residual", "determinant", "refined", "trained_numbers")
        more = ("start", "nit", "nfev")
        return "\n".join(f"{name:>15}: {self[name]}" for name in (*shown, *more))


class Residuals:
    """The residuals of a network's read-out at some points, in what is trained.

    Args:
        network: whose controls are set.
        objective: the read-out, a sum of squares of what prediction and target differ by.
        x: the points, `(N, d)`.
        y: the targets, `(N, c)`.

    Raises:
        ValueError: shapes that do not fit, or another loss than a sum of squares.
    """

    def __init__(self, network: Network, objective: Objective, x: Floats, y: Floats) -> None:
        self.network, self.objective, self.x, self.y = network, objective, x, y
        count = len(objective.product.STATES)
        states = [shape for shape in network.product.STATES.values() if shape]
        if len(states) != 1 or network.product.RUNNING or count not in (1, 2):
            raise ValueError(
                "interpolation takes a field of one state without running cost, and an objective "
                "that reads the last state, or that and the first"
            )
        width = network.sizes[states[0][0]]
        if x.shape[1] != width:
            raise ValueError(
                f"x has the shape {x.shape}, and the network's state {width} entries: (N, {width}) "
                "was expected"
            )
        self._reads_start = count == 2
        self._names = [n for n in network.product.CONTROLS if n in network.trainable]
        self._check_squares()
        #: What a target is of a point, by their largest entries.
        self.ratio = float(abs(y).max()) / (float(abs(x).max()) or 1.0) or 1.0
        exponent = np.clip(np.log10(self.ratio), -300, 300)
        unit = 10.0 ** round(exponent)
        #: In which units what is trained is moved: in that of the ratio where it is one number.
        controls = sum(self.network.controls[name].size for name in self._names)
        sizes = [(weight.size, unit) for weight in objective.weights.values()]
        parts = [np.full(size, own if size == 1 else 1.0) for size, own in sizes]
        self.steps = np.concatenate([np.ones(controls), *parts])
        #: What the norm of residuals is relative to; where all targets are 0, that is 1.
        self.unit = float(np.linalg.norm(y)) or 1.0

    def _arrays(self, ends: Floats, rows: slice, targets: Floats) -> list[Floats]:
        start = [self.x[rows]] if self._reads_start else []
        return [ends, *start, targets]

    def _check_squares(self) -> None:
        """Refuse an objective that is not |prediction - target|^2 / 2."""
        rows = slice(0, 1)
        found = self.objective.evaluate(*self._arrays(self.x[rows] + 0.5, rows, self.y[rows]))
        half = ((found.prediction - self.y[rows]) ** 2).sum() / 2
        if found.prediction.shape != self.y[rows].shape or not np.isclose(found.losses[0], half):
            raise ValueError(
                f"{self.objective.product.NAME} is not |prediction - target|^2 / 2, whose zeros "
                "interpolate"
            )

    @property
    def is_state(self) -> bool:
        """Whether the read-out is the last state itself."""
        if self.objective.weights or self.x.shape != self.y.shape:
            return False
        ends, rows = self.x + np.pi, slice(None)
        found = self.objective.evaluate(*self._arrays(ends, rows, self.y))
        return bool((found.prediction == ends).all())

    # --- what is trained, as one vector

    @property
    def count(self) -> int:
        """How many numbers are trained."""
        return len(self.pack())

    def pack(self) -> Floats:
        """Trained controls, then the weights of the read-out."""
        arrays = [self.network.controls[name].ravel() for name in self._names]
        arrays += [np.ravel(weight) for weight in self.objective.weights.values()]
        return np.concatenate([np.asarray(array, float) for array in arrays])

    def unpack(self, vector: Floats) -> None:
        """Set them."""
        place = 0
        for own, names in (
            (self.network.controls, self._names),
            (self.objective.weights, [*self.objective.weights]),
        ):
            for name in names:
                size = own[name].size
                own[name][...] = vector[place : place + size].reshape(own[name].shape)
                place += size

    def drawn(self, vector: Floats, seed: int) -> Floats:
        """Normal numbers as controls, of standard deviation 0.3, with the same weights.

        Args:
            vector: whose weights they have, `(count,)`.
            seed: of the draw.

        Returns:
            `(count,)`.
        """
        controls = sum(self.network.controls[name].size for name in self._names)
        numbers = SPREAD * np.random.default_rng(seed).standard_normal(controls)
        return np.concatenate([numbers, vector[controls:]])

    # --- values

    def predictions(self) -> Floats:
        """The read-out of every point, `(N, c)`."""
        ends = self.network(self.x)
        found = self.objective.evaluate(*self._arrays(ends, slice(None), self.y))
        return np.array(found.prediction)

    def value(self) -> Floats:
        """The residuals, point by point, `(N c,)`."""
        return (self.predictions() - self.y).ravel()

    def jacobian(self) -> Floats:
        """Their derivatives by what is trained, `(N c, count)`: a costate for each residual."""
        ends = self.network(self.x)
        found = self.objective.evaluate(*self._arrays(ends, slice(None), self.y))
        outputs = self.y.shape[1]
        jacobian = np.empty((self.y.size, self.count))
        for j in range(outputs):
            unit = np.zeros(outputs)
            unit[j] = 1
            # the gradient of the loss is the cotangent of the prediction that is off by a unit
            targets = found.prediction - unit
            for n in range(len(self.x)):
                row = slice(n, n + 1)
                own = self.objective.evaluate(*self._arrays(ends[row], row, targets[row]))
                back = self.network.gradient(self.x[row], costates=own.states[0], steps=False)
                parts = [back.controls[name].ravel() for name in self._names]
                for name, weight in self.objective.weights.items():
                    parts.append(np.ravel(own.weights.get(name, np.zeros_like(weight))))
                jacobian[n * outputs + j] = np.concatenate(parts)
        return jacobian


def interpolate(
    network: Network,
    x: Any,
    y: Any,
    objective: Objective,
    scale: float | None = SCALE,
    maxiter: int = 200,
    tolerance: float = 1e-12,
    refine: Sequence[int] | int = (2, 8),
    starts: int = STARTS,
) -> Interpolation:
    """Train the controls of a network until it takes points to targets; see ``hf.interpolate``.

    Args:
        network: on NumPy arrays; its controls are where the search begins and what it changes.
        x: the points, `(N, d)`.
        y: the targets, `(N, c)`.
        objective: the read-out, on NumPy arrays; its weights are trained too.
        scale: weights that are one number begin at ``scale * max|y| / max|x|``; None keeps them.
        maxiter: how many steps are taken at most.
        tolerance: of the residual, relative to |y|, at which the search ends.
        refine: the step is divided by these, with the same controls, for the residuals there.
        starts: how many are tried at most: the first from the controls that the network has, each
            other one from normal numbers of standard deviation 0.3, drawn from its number.

    Returns:
        ``success``, ``residual``, ``determinant``, and more.

    Raises:
        ValueError: numbers that do not fit, or what no flow can do.
    """
    points, targets = _rows("x", x), _rows("y", y)
    if len(points) != len(targets):
        raise ValueError(f"x has {len(points)} points, and y has {len(targets)} targets")
    whole_number("maxiter", maxiter, 0)
    finer = [whole_number("refine", k) for k in np.atleast_1d(np.asarray(refine, object))]
    tolerance = positive_number("tolerance", tolerance)
    require_float64(str(network.dtype))
    residuals = Residuals(network, objective, points, targets)
    _refuse_what_no_flow_does(residuals)
    if scale is not None:
        for name, weight in objective.weights.items():
            if weight.size == 1:
                objective.weights[name] = np.full_like(
                    weight, positive_number("scale", scale) * residuals.ratio
                )
    found = _search(residuals, maxiter, tolerance * residuals.unit, whole_number("starts", starts))
    return _result(residuals, found, finer)


def require_float64(dtype: str) -> None:
    """Refuse a network of other numbers.

    Args:
        dtype: of the network, by name.

    Raises:
        ValueError: it is another.
    """
    if dtype != "float64":
        raise ValueError(
            f"interpolation is to 1e-10: make the network with dtype=float64 (torch's or NumPy's), "
            f"not {dtype}"
        )


def _rows(name: str, given: Any) -> Floats:
    array = np.asarray(real_array(name, given), float)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} has the shape {array.shape}; (N, size), finite, was expected")
    return np.ascontiguousarray(array)


def _refuse_what_no_flow_does(residuals: Residuals) -> None:
    """Points that are one cannot part; with the last state as read-out they cannot meet either."""
    x, y = residuals.x, residuals.y
    pair = _one_with_two(x, y)
    if pair is not None:
        raise ValueError(
            f"the points {pair[0]} and {pair[1]} are one and have different targets: no map does "
            "that"
        )
    if not residuals.is_state:
        return
    name = residuals.objective.product.NAME.removesuffix("__objective")
    pair = _one_with_two(y, x)
    if pair is not None:
        raise ValueError(
            f"the points {pair[0]} and {pair[1]} have one target, and a flow keeps them apart: "
            f"with the read-out {name} no controls do that"
        )
    if x.shape[1] == 1:
        order = np.argsort(x[:, 0], kind="stable")
        crossed = np.flatnonzero(np.diff(y[order, 0]) < 0)
        if crossed.size:
            first, second = order[crossed[0]] + 1, order[crossed[0] + 1] + 1
            raise ValueError(
                f"the points {first} and {second} on a line change their order, which a flow "
                f"keeps: with the read-out {name} no controls do that, with a multiple of the "
                "displacement some do"
            )


def _one_with_two(x: Floats, y: Floats) -> tuple[int, int] | None:
    """Two equal rows, counted from 1, whose partners differ."""
    seen: dict[bytes, int] = {}
    for n, row in enumerate(x):
        first = seen.setdefault((row + 0.0).tobytes(), n)
        if (y[first] != y[n]).any():
            return first + 1, n + 1
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """Where searches have ended.

    Attributes:
        vector: what is trained, `(count,)`.
        size: the norm of the residuals.
        determinants: of all layers and points, `(layers, N)`.
        start: which start has led there, from 1.
        steps: of all searches.
        tried: values of the residuals, of all searches.
    """

    vector: Floats
    size: float
    determinants: Floats
    start: int
    steps: int
    tried: int

    def rank(self, exact: float) -> tuple[bool, float]:
        """The larger the better: interpolations by how far they are from a fold, then the others.

        Args:
            exact: the norm of the residuals with which points count as interpolated.
        """
        if self.size <= exact:
            return True, float(self.determinants.min())
        return False, -self.size

    def succeeds(self, exact: float) -> bool:
        """Whether points are interpolated and no layer folds."""
        return self.rank(exact) > (True, 0.0)


def _search(residuals: Residuals, maxiter: int, wanted: float, starts: int) -> Found:
    """The first start that succeeds, or the best one."""
    exact = EXACT * residuals.unit
    here = residuals.pack()
    ends: list[Found] = []
    for start in range(1, starts + 1):
        if start > 1:
            residuals.unpack(residuals.drawn(here, start))
        size, steps, tried = _descend(residuals, maxiter, wanted)
        determinants = residuals.network.determinants(residuals.x)
        ends.append(Found(residuals.pack(), size, determinants, start, steps, tried))
        # fewer numbers than residuals meet them by chance alone, from anywhere
        if ends[-1].succeeds(exact) or residuals.count < residuals.y.size:
            break
    best = max(ends, key=lambda found: found.rank(exact))
    residuals.unpack(best.vector)
    return replace(
        best, steps=sum(found.steps for found in ends), tried=sum(found.tried for found in ends)
    )


def _descend(residuals: Residuals, maxiter: int, wanted: float) -> tuple[float, int, int]:
    """Steps until the residual is small or does not fall."""
    here, r = residuals.pack(), _finite_value(residuals)
    if r is None:
        raise ValueError(
            "the controls that the network has take the points beyond the range of numbers: begin "
            "with smaller ones, such as 0"
        )
    size, mu, steps, tried = float(np.linalg.norm(r)), START, 0, 1
    while size > wanted and steps < maxiter:
        jacobian = residuals.jacobian() * residuals.steps
        gram = jacobian @ jacobian.T
        unit = float(np.trace(gram)) / len(gram)
        if not unit > 0 or not np.isfinite(unit):
            break
        while mu <= MOST:
            damped = gram + mu * unit * np.eye(len(gram))
            step, values = None, 0
            with contextlib.suppress(np.linalg.LinAlgError):  # singular: mu is too small yet
                step, values = _bent_step(residuals, here, r, jacobian, damped)
            tried += values
            new, there = None, here
            if step is not None:
                there = here + residuals.steps * step
                residuals.unpack(there)
                tried += 1
                new = _finite_value(residuals)
            if new is not None and np.linalg.norm(new) < size:
                break
            mu *= GROW
        else:
            break
        here, r, size, steps = there, new, float(np.linalg.norm(new)), steps + 1
        mu = max(mu / SHRINK, 1e-16)
    residuals.unpack(here)
    return size, steps, tried


def _bent_step(
    residuals: Residuals, here: Floats, r: Floats, jacobian: Floats, damped: Floats
) -> tuple[Floats | None, int]:
    """The step with its acceleration, None where that is too large; and values that were taken.

    Step and Jacobian are in the units of :attr:`Residuals.steps`.
    """
    step = -jacobian.T @ np.linalg.solve(damped, r)
    if np.linalg.norm(r) <= STRAIGHT * residuals.unit:
        return step, 0
    residuals.unpack(here + ALONG * residuals.steps * step)
    near = _finite_value(residuals)
    if near is None:
        return None, 1
    second = 2 / ALONG * ((near - r) / ALONG - jacobian @ step)
    bend = -jacobian.T @ np.linalg.solve(damped, second)
    if not 2 * np.linalg.norm(bend) <= BEND * np.linalg.norm(step):
        return None, 1
    return step + bend / 2, 1


def _finite_value(residuals: Residuals) -> Floats | None:
    """The residuals; None where the layers leave the range of numbers."""
    try:
        with np.errstate(all="ignore"):
            value = residuals.value()
    except (ValueError, IntegrationError):
        return None
    return value if abs(value).max() < FAR else None  # not where it is NaN either


def _result(residuals: Residuals, found: Found, refine: Sequence[int]) -> Interpolation:
    network, objective, x = residuals.network, residuals.objective, residuals.x
    relative, least = found.size / residuals.unit, found.determinants
    layer, point = np.unravel_index(int(np.argmin(least)), least.shape)
    smallest = float(least[layer, point])
    refined: Mapping[int, float] = {
        times: _norm(Residuals(network.refined(times), objective, x, residuals.y))
        for times in refine
    }
    if not relative <= EXACT:
        message = f"the residual {relative:.1e} does not fall further, or iterations are used up"
        status = 1
    elif not smallest > 0:
        message = (
            f"layer {layer} folds at point {point + 1}: det(I + hD) = {smallest:.3g}; the points "
            "are interpolated, and not by a flow: take smaller steps"
        )
        status = 2
    else:
        message = (
            f"interpolated by {residuals.count} trained numbers: residual {relative:.1e}, smallest "
            f"det(I + hD) {smallest:.3g}"
        )
        status = 0
    if found.start > 1:
        message += f", from start {found.start}"
    finer = ", ".join(f"{value:.1e} at h/{times}" for times, value in refined.items())
    if finer:
        message += f"; the same controls with finer steps: {finer}"
    return Interpolation(
        x=residuals.pack(),
        fun=found.size,
        residual=relative,
        determinant=smallest,
        refined=refined,
        trained_numbers=residuals.count,
        network=network,
        objective=objective,
        start=found.start,
        nit=found.steps,
        nfev=found.tried,
        success=status == 0,
        status=status,
        message=message,
    )


def _norm(residuals: Residuals) -> float:
    value = _finite_value(residuals)
    if value is None:
        return float("inf")
    return float(np.linalg.norm(value)) / residuals.unit
