"""Control problems: controls at every stage for which H has no slope.

In: a field with a running cost, a method, a start.  Out: the solution of the discrete boundary
value problem, so that the order of a method for control problems is seen in numbers.  States go
forwards by the tableau and costates backwards by its adjoint; the equations
h (f_U' w_i + b_i r_U) = 0 at all stages are solved by quasi-Newton iteration on that exact
gradient.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import NoConvergence, minimize, newton_krylov

from hamilforge.gen import pipeline, products
from hamilforge.gen.fields import draws
from hamilforge.gen.program.networks.build import build_network
from hamilforge.gen.program.networks.interpret import NetworkInterpreter
from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.numbers import real_array, real_number, whole_number

Floats = NDArray[np.float64]
#: What rounding may leave of a gradient, and how many times as much is taken; steps of Newton's.
ROUNDING, ROOM, NEWTON = 1e-9, 1e3, 10
#: How far beside 0 a search begins where the slope there is 0.
BESIDE = 0.1


@dataclass(frozen=True, slots=True)
class Control:
    """The solution of a control problem.

    Attributes:
        t: `(steps + 1,)`.
        y: the states at these times, each `(steps + 1, size)`.
        p: the costates there, alike.
        controls: by name, `(steps, stages, …)`.
        cost: the running cost.
        slope: the largest entry of the gradient, in units of the step.
    """

    t: Floats
    y: tuple[Floats, ...]
    p: tuple[Floats, ...]
    controls: dict[str, Floats]
    cost: float
    slope: float


def solve(
    field: str | Path,
    method: str | Path,
    y0: Any,
    steps: int,
    time: float = 1.0,
    t0: float = 0.0,
    tolerance: float = 1e-11,
    parameters: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
    draw: int = 0,
) -> Control:
    """Minimise the running cost of a field over controls at every stage.

    Args:
        field: with a running cost, by name or path.
        method: a Runge–Kutta method, or a pair for two states.
        y0: the states at the start, each `(size,)`; one array for one state.
        steps: how many.
        time: how long.
        t0: when it begins.
        tolerance: of the gradient, beside that of controls of zero; where rounding does not allow
            it, 1e-6 of that at most is left.
        parameters: values of the field's own parameters; the declared ones else.
        sizes: of dimensions that no state has.
        draw: the seed of the field's fixed arrays.

    Returns:
        States and costates at the ends of the steps, the controls, the running cost and the slope
        that is left.

    Raises:
        DeclarationError: a declaration has problems, or the field no running cost.
        ValueError: an argument is out of its domain.
        ArithmeticError: the equations were not solved, more is left.
    """
    declared = products.load_field(field, by_stage=True)
    if declared.running is None:
        raise pipeline.DeclarationError.single(
            declared.head.source.where, "a control problem needs a running cost"
        )
    if declared.regulariser is not None:
        raise pipeline.DeclarationError.single(
            declared.head.source.where,
            "a control problem minimises the running cost alone, and a regulariser is declared too",
        )
    steps = whole_number("steps", steps)
    time, t0 = real_number("time", time), real_number("t0", t0)
    tolerance = real_number("tolerance", tolerance)
    if not (0 < time < math.inf and math.isfinite(t0) and 0 < tolerance < math.inf):
        raise ValueError(
            f"time = {time}, t0 = {t0}, tolerance = {tolerance}: a positive time, a finite "
            "beginning and a positive tolerance were expected"
        )
    network = build_network(declared, products.load_layer_method(method))
    starts = [real_array("y0", start) for start in (y0 if isinstance(y0, tuple) else (y0,))]
    names = [name for name, _ in declared.states]
    if len(starts) != len(names) or any(start.ndim != 1 for start in starts):
        raise ValueError(f"a vector for each of the states {', '.join(names)} was expected")
    known = dict(sizes or {})
    for start, (name, (dimension,)) in zip(starts, declared.states, strict=True):
        wanted = int(dimension) if dimension.isdigit() else known.setdefault(dimension, len(start))
        if len(start) != wanted or not np.isfinite(start).all():
            raise ValueError(f"'{name}' is {start.tolist()}: {wanted} finite numbers were expected")
    missing = [
        e
        for array in (*network.controls, *network.fixed)
        for e in array.shape
        if e not in known and not e.isdigit()
    ]
    if missing:
        raise ValueError(
            f"the dimension {missing[0]} of a control is that of no state: it has to be in sizes"
        )
    where = declared.head.source.where
    exact = draws.drawn(network.draws, known, whole_number("draw", draw, 0), where)
    stages = network.step.count
    if any(weight.value == 0 for row in network.step.weights for weight in row):
        warnings.warn(
            "a weight of the method is zero: the controls of its stage cost nothing, and what is "
            "found for them means little (see control_order in `hamilforge check`)",
            stacklevel=3,
        )
    shapes = {
        array.name: (steps, stages, *(known.get(e) or int(e) for e in array.shape))
        for array in network.controls
    }
    h = np.full(steps, time / steps)
    values = {parameter.name: float(parameter.default) for parameter in network.parameters}
    spelled = {declared_name: name for name, declared_name in network.declared.items()}
    for name, value in (parameters or {}).items():
        if spelled.get(name) not in values:
            names_known = ", ".join(parameter.name for parameter in declared.parameters) or "none"
            raise ValueError(
                f"no parameter '{name}'; those of {declared.head.name} are: {names_known}"
            )
        (domain,) = [
            parameter.domain for parameter in declared.parameters if parameter.name == name
        ]
        number = real_number(name, value)
        check_domain(name, number, domain)
        values[spelled[name]] = number
    fixed = {spelled[name]: array.astype(np.float64) for name, array in exact.items()}
    begin = [*(start[None] for start in starts), np.zeros((1, 1))]
    costates = [*(np.zeros_like(start)[None] for start in starts), np.ones((1, 1))]

    def unpacked(flat: Floats) -> dict[str, Floats]:
        controls, at = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            controls[name] = flat[at : at + size].reshape(shape)
            at += size
        return controls

    def machine(flat: Floats) -> NetworkInterpreter:
        return NetworkInterpreter(network, unpacked(flat), {**values, **fixed}, h, t0)

    def cost(flat: Floats) -> tuple[float, Floats]:
        interpreter = machine(flat)
        end = float(interpreter.forward(begin)[-1][-1][0, 0])
        _, gradient, _, _ = interpreter.gradient(begin, costates)
        return end, np.concatenate([gradient[name].ravel() for name in shapes]) / h[0]

    count = sum(int(np.prod(shape)) for shape in shapes.values())

    begun = np.zeros(count)
    at_zero, slopes = cost(begun)
    if not slopes.any():  # of a maximum too, and of a saddle
        begun = BESIDE * np.random.default_rng(0).standard_normal(count)
        _, slopes = cost(begun)
    unit = float(abs(slopes).max()) or 1.0

    def scaled(flat: Floats) -> tuple[float, Floats]:
        value, gradient = cost(flat)
        return value / h[0] / unit, gradient / unit

    found = minimize(
        scaled, begun, jac=True, method="BFGS",
        options={"gtol": tolerance, "maxiter": 40 * count, "xrtol": 0.0},
    ).x  # fmt: skip
    found = _polished(lambda flat: scaled(flat)[1], found, tolerance)
    if begun.any() and not cost(found)[0] < at_zero:
        found = np.zeros(count)
    slope = float(abs(cost(found)[1]).max())
    if not slope <= ROOM * max(tolerance, ROUNDING) * unit:
        raise ArithmeticError(
            f"the equations were not solved: a slope of {slope:.1e} is left; "
            "the cost may have no minimum"
        )
    solved = machine(found)
    trajectory = solved.forward(begin)
    backward = solved.costates(begin, costates)
    size = range(len(starts))
    return Control(
        t0 + np.concatenate([[0.0], np.cumsum(h)]),
        tuple(np.array([state[k][0] for state in trajectory]) for k in size),
        tuple(np.array([state[k][0] for state in backward]) for k in size),
        {network.declared[name]: value for name, value in unpacked(found).items()},
        float(trajectory[-1][-1][0, 0]),
        slope,
    )


def _polished(gradient: Callable[[Floats], Floats], start: Floats, tolerance: float) -> Floats:
    """Newton's steps on the gradient, whose rounding is less than that of the cost."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            ends = newton_krylov(gradient, start, f_tol=tolerance, maxiter=NEWTON)
        except NoConvergence as stopped:
            (ends,) = stopped.args
        except (ArithmeticError, ValueError):
            return start
    better: Floats = np.asarray(ends, float)
    if not np.isfinite(better).all():
        return start
    return better if abs(gradient(better)).max() < abs(gradient(start)).max() else start
