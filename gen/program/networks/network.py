"""Networks as programs: the functions of a layer in the stages of a Runge–Kutta method.

A layer is one step of y' = f(t, y, U) with the controls U of that layer.  Its functions are
straight lines over arrays: states have a value for each sample (they are *batched*), controls are
shared.

The sweep forward takes the stages of each layer in their order; the sweep back runs through the
same graph in reverse and needs no division by weights (W. W. Hager, Numer. Math. 87 (2000) 247-282;
J. M. Sanz-Serna, SIAM Rev. 58 (2016) 3-33).  With k_i the right-hand side at stage i,

    w_i = b_i p+ + h sum_j a_ji xi_j,   xi_i = (df/dy)'(Y_i) w_i,   p = p+ + h sum_i xi_i,
    dJ/dU = h sum_i (df/dU)' w_i,       dJ/dh = sum_i w_i' k_i + p_t+ + h sum_i c_i w_i' df/dt,
    p_t = p_t+ + h sum_i w_i' df/dt .

With controls U_i at every stage, dJ/dU_i is one term of that sum.  A running cost is one more
state, which nothing depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.stages import Stages

#: The state that a running cost adds.
RUNNING = "running_cost"


@dataclass(frozen=True, slots=True)
class LayerPart:
    """The right-hand side of one state, and its products with a costate w.

    Attributes:
        state: with its shape.
        costate: w.
        needs: the numbers of the states it depends on.
        rate: f of this state.
        states: cotangents of the states it depends on, and of the time, from w.
        shared: cotangents of what all samples share, summed over the samples.
        tangent: the derivative of f in a direction of states and controls.
        slope: the same, of states alone.
        kept: arrays of ``rate`` that the products use.
        passed: arrays of ``states`` that ``shared`` uses.
    """

    state: Array
    costate: Array
    needs: tuple[int, ...]
    rate: Function
    states: Function
    shared: Function
    tangent: Function
    slope: Function
    kept: tuple[Array, ...]
    passed: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Regulariser:
    """The cost of the controls of a layer.

    Attributes:
        rates: for each control whose rate of change it has, by name, the array of that rate.
        value: ``cost``.
        gradient: ``cost``, and its derivatives by controls and rates.
    """

    rates: Mapping[str, Array]
    value: Function
    gradient: Function


@dataclass(frozen=True, slots=True)
class Network:
    """Layers of a field by a method.

    Attributes:
        dimensions: names of sizes, in order of appearance.
        controls: one set for each layer, or for each of its stages.
        fixed: arrays that all layers share, and nothing is trained of.
        draws: what these are: one declaration for each.
        declared: the name in the declaration, by that in the program.
        parts: one for each state.
        prepare: what depends on the controls alone, once for each set of them.
        finish: cotangents of the controls from those of what ``prepare`` gave.
        timed: whether f depends on t.
        by_stage: whether every stage of a layer has controls of its own.
        regulariser: the cost of the controls, if one is declared.
        step: the stages of a layer.
    """

    name: str
    dimensions: tuple[str, ...]
    controls: tuple[Array, ...]
    fixed: tuple[Array, ...]
    draws: tuple[kinds.FixedArray, ...]
    parameters: tuple[kinds.Parameter, ...]
    declared: Mapping[str, str]
    parts: tuple[LayerPart, ...]
    prepare: Function
    finish: Function
    timed: bool
    by_stage: bool
    regulariser: Regulariser | None
    step: Stages


@dataclass(frozen=True, slots=True)
class Target:
    """An objective: prediction and loss of the last states, and the gradient of the loss.

    Attributes:
        declared: the name in the declaration, by that in the program.
        seed: a weight of each sample's loss.
        value: ``prediction`` and ``loss`` for each sample.
        gradient: cotangents of states (for each sample) and weights (summed), of the loss times
            ``seed``.
    """

    name: str
    dimensions: tuple[str, ...]
    states: tuple[Array, ...]
    weights: tuple[Array, ...]
    data: tuple[Array, ...]
    parameters: tuple[kinds.Parameter, ...]
    declared: Mapping[str, str]
    seed: Array
    value: Function
    gradient: Function
    kept: tuple[Array, ...]
