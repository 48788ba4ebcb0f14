"""Networks on NumPy arrays: layers of a field by a Runge–Kutta method, and the derived adjoint.

In: a generated numba module, and numbers.  Out: last states and derivatives.  How the samples are
cut into blocks, and what is kept of them, is the matter of :mod:`runtime.networks.network_pass`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType, ModuleType
from typing import Any

import numba
import numpy as np

from hamilforge.runtime.core.compiled import Compiled
from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.numbers import finite_number, real_number, whole_number
from hamilforge.runtime.core.workspace import Rooms
from hamilforge.runtime.networks import draws, layer_costs, layer_maps
from hamilforge.runtime.networks.layer_costs import Cost
from hamilforge.runtime.networks.layered import Layered
from hamilforge.runtime.networks.network_arguments import (
    check_count,
    check_network,
    check_regulariser,
    described,
    dimensions,
    fitting,
    real_type,
)
from hamilforge.runtime.networks.network_pass import Given, Gradient, Loss, Pass
from hamilforge.runtime.networks.room import Floats, Frame, Kind, Room
from hamilforge.runtime.networks.simplex import projected

_DOUBLE = np.dtype(np.float64)


class Network(Compiled, Layered):
    """``layers`` steps of y' = f(t, y, U) on NumPy arrays.

    Args:
        product: a generated numba module.
        layers: how many.
        sizes: the size of each dimension, by name.
        h: the step of each layer: a number, or one for each; 1 / layers if None.
        memory: ``all``, ``states``, ``checkpoint`` or, where the method is symmetric,
            ``reversible``, which keeps the last states alone and goes back with -h.
        checkpoints: with ``checkpoint``: the number of states kept besides the first.
        t0: the time at the first layer.
        parameters: values of the field's own parameters.
        dtype: ``float64`` or ``float32``.
        block: samples in a block; chosen for the cache if None.
        seed: of the controls at the beginning.
        trainable: the names of the controls that are trained; all if None.  The others are drawn
            from ``draw``, and :meth:`gradient` has no derivatives by them.
        draw: the seed of the field's fixed arrays and of what is not trained.
        budget: with ``checkpoint``: the bytes that states and stages of the samples that are taken
            back at once may use.

    Attributes:
        controls: arrays of shape `(layers, …)`, or `(layers, stages, …)` where every stage has its
            own; to be changed in place.
        h: the steps, `(layers,)`, to be changed in place.

    Any number of threads may call one network, and a loss may call its own again.

    Raises:
        ValueError: an argument is out of its domain; it says which.
    """

    MEMORIES = ("all", "states", "checkpoint", "reversible")

    def __init__(
        self,
        product: ModuleType,
        layers: int,
        sizes: Mapping[str, int],
        h: float | Sequence[float] | None = None,
        memory: str = "all",
        checkpoints: int | None = None,
        t0: float = 0.0,
        parameters: Mapping[str, float] | None = None,
        dtype: Any = np.float64,
        block: int | None = None,
        seed: int = 0,
        trainable: Sequence[str] | None = None,
        draw: int = 0,
        budget: int | None = None,
    ) -> None:
        steps, values = check_network(product, layers, sizes, h, parameters, t0)
        check_count("block", block)
        for name, (_, domain, _) in product.PARAMETERS.items():
            check_domain(name, values[name], domain)
        super().__init__(product, dimensions(product, sizes), values, real_type(dtype))
        self._layers, self._draw = int(layers), draws.seed_of(draw)
        self._trained = draws.trained(product, trainable)
        self._named = trainable is not None
        self.memory, self.t0 = memory, t0
        self._bound(checkpoints, budget)
        self.h = np.array(steps)
        self.block = block
        generator = np.random.default_rng(seed)
        self.controls: dict[str, Floats] = {}
        self._shapes = {
            name: (layers, *(self.sizes[dimension] for dimension in shape))
            for name, shape in product.CONTROLS.items()
        }
        for name, shape in product.CONTROLS.items():
            size = self._shapes[name]
            rank = len(shape) - product.BY_STAGE
            if name not in self._trained:
                drawn = draws.held(name, size, rank, self._draw)
            elif rank == 2:
                drawn = generator.standard_normal(size) / math.sqrt(size[-1])
            else:
                drawn = np.full(size, 0.0 if rank else 1.0)
            self.controls[name] = drawn.astype(self.dtype)
        self._fixed = {
            name: draws.rounded(exact, self.dtype)
            for name, exact in draws.fixed(product, self.sizes, self._draw).items()
        }
        self._freeze()
        self._rooms: Rooms[Room] = Rooms()
        #: Field, method and choices, where ``hf.network`` has made it.
        self.made: tuple[Any, ...] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.product.NAME}, {described(self)})"

    def __getstate__(self) -> dict[str, Any]:
        own = super().__getstate__()
        del own["_rooms"]
        return own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._rooms = Rooms()
        self._freeze()

    def _freeze(self) -> None:
        for array in self._fixed.values():
            array.flags.writeable = False

    def _generated(self) -> ModuleType:
        return self.product

    @property
    def fixed(self) -> Mapping[str, Floats]:
        """The field's fixed arrays, drawn and rounded once; read-only."""
        return MappingProxyType(self._fixed)

    @property
    def trained_numbers(self) -> int | None:
        """How many numbers of the controls are trained; None where nothing is drawn or held."""
        return self._count(self.sizes)

    @property
    def block(self) -> int | None:
        """Samples in a block, None for as many as fit the cache; it may be chosen anew."""
        return self._block

    @block.setter
    def block(self, block: int | None) -> None:
        check_count("block", block)
        self._block = block

    @property
    def t0(self) -> float:
        """The time at the first layer; it may be chosen anew."""
        return self._t0

    @t0.setter
    def t0(self, t0: float) -> None:
        self._t0 = finite_number("t0", t0)

    def __call__(self, *states: Floats) -> Any:
        """The states after all layers.

        Args:
            states: each `(samples, size)`.

        Returns:
            In the same form; with a running cost, a pair of that and the cost, `(samples,)`.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.
            IntegrationError: stages could not be solved for.
        """
        checked = self._checked(states)
        with self._room(len(checked[0])) as room:
            done = Pass(self.given(), room, checked)
            done.forward()
        ends, running = self._ends(done)
        last = ends[0] if len(ends) == 1 else ends
        return last if running is None else (last, running)

    def gradient(self, *states: Floats, costates: Any = None, loss: Loss | None = None,
                 running: float = 1.0, steps: bool = True) -> Gradient:  # fmt: skip
        """Derivatives by controls, steps, first states and time.

        Args:
            states: each `(samples, size)`.
            costates: the derivatives by the last states, each `(samples, size)`; or
            loss: ``loss(*ends, rows)`` gives losses `(samples,)` and costates of those rows.
            running: the weight of the running cost, if the field has one.
            steps: whether derivatives by steps and time are wanted; they are 0 else.

        Returns:
            The derivatives, with losses and last states.

        Raises:
            ValueError: shapes that do not fit, or neither or both of costates and loss.
            IntegrationError: stages could not be solved for.
        """
        if (costates is None) == (loss is None):
            raise ValueError("either costates or a loss was expected")
        checked = self._checked(states)
        if loss is None:
            last_costates = tuple(costates) if isinstance(costates, tuple | list) else (costates,)
            arrays = self._checked(last_costates, "costate of ")
            if len(arrays[0]) != len(checked[0]):
                raise ValueError(f"{len(arrays[0])} costates for {len(checked[0])} samples")

            def loss(*arguments: Any) -> tuple[Any, Any]:
                return None, tuple(array[arguments[-1]] for array in arrays)

        weight = real_number("running", running)
        with self._room(len(checked[0])) as room:
            done = Pass(self.given(), room, checked, weight, steps)
            controls = done.gradient(loss)
        ends, costs = self._ends(done)
        trained = {name: controls[name] for name in controls if name in self.trainable}
        starts = tuple(done.starts[: len(ends)])
        return Gradient(done.losses, ends, costs, starts, trained, done.by_step, done.by_time)

    def _ends(self, done: Pass) -> tuple[tuple[Floats, ...], Floats | None]:
        """The last states and the running costs of a pass."""
        if not self.product.RUNNING:
            return tuple(done.ends), None
        return tuple(done.ends[:-1]), done.ends[-1][:, 0]

    def determinants(self, *states: Floats) -> Floats:
        """det(I + h D) of every layer at the points that come to it.

        A flow has positive determinants; a layer whose determinant is not positive folds, and its
        step is too coarse for what it approximates.

        Args:
            states: the first ones, each `(samples, size)`.

        Returns:
            The determinants, `(layers, samples)`.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.
        """
        return layer_maps.determinants(self, self._checked(states))

    def inverse(self, *ends: Floats) -> Any:
        """The first states from which the layers lead to given last ones.

        Layer by layer, by Newton's method: a step with -h is another map.

        Args:
            ends: the last states, each `(samples, size)`.

        Returns:
            The first states in the same form.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.
            IntegrationError: a layer folds at a point, or its inverse was not found there.
        """
        found = layer_maps.inverse(self, self._checked(ends))
        return found[0] if len(found) == 1 else found

    def refined(self, times: int) -> Network:
        """The network with every layer cut into some, which have its controls.

        Args:
            times: into how many.

        Returns:
            A network of as many times as many layers; its arrays are its own.
        """
        count = whole_number("times", times)
        fine = self._like(self.layers * count)
        fine.h[:] = np.repeat(self.h / count, count)
        for name, control in self.controls.items():
            fine.controls[name][...] = np.repeat(control, count, axis=0)
        return fine

    def alone(self) -> Network:
        """A network of one layer, for :meth:`set_alone`."""
        return self._like(1)

    def set_alone(self, alone: Network, number: int) -> None:
        """Make a network of one layer that of a number.

        Args:
            alone: what :meth:`alone` returned.
            number: of the layer, from 0.
        """
        alone.t0 = self.t0 + float(self.h[:number].sum())
        alone.h[0] = self.h[number]
        for name, control in self.controls.items():
            alone.controls[name][0] = control[number]

    def _like(self, layers: int) -> Network:
        """The same field and method with a number of layers; controls and steps are not set."""
        named = {name: size for name, size in self.sizes.items() if not name.isdigit()}
        memory = "all" if layers == 1 else self.memory
        like = Network(
            self.product, layers, named, 1.0, memory, None, self.t0, dict(self.parameters),
            self.dtype, self.block, 0, self._trained if self._named else None, self.draw,
            self.budget,
        )  # fmt: skip
        like.made = self.made
        return like

    def smoothness(self) -> Cost:
        """``sum |U_(l+1) - U_l|^2 / (2 h_l)`` over layers and controls, for a cost.

        Of controls at every stage, the mean of this over the stages.

        Returns:
            The sum, its derivatives by the controls, and by the steps.

        Raises:
            ValueError: a step is not positive, or controls or steps do not fit.

        References:
            E. Haber and L. Ruthotto, Inverse Problems 34 (2018) 014004, arXiv:1705.03341.
        """
        return layer_costs.smoothness(self.product, self.checked_controls(), self.checked_steps())

    def regulariser(self) -> Cost:
        """The declared cost of the controls, ``sum_l h_l r(U_l, (U_(l+1) - U_l) / h_l)``.

        In the last layer the rate of change is 0.  Of controls at every stage, r is the mean over
        the stages.

        Returns:
            The cost, its derivatives by the controls, and by the steps.

        Raises:
            ValueError: the field declares none, controls or steps do not fit, or a step is not
                positive where r has a rate of change.
        """
        check_regulariser(self.product)
        controls, h = self.checked_controls(), self.checked_steps()
        return layer_costs.declared(self.product, self.sizes, controls, self.parameters, h)

    def project_(self, total: float | None = None) -> None:
        """Bring the steps to the simplex: none negative, with the sum they have or ``total``."""
        whole = self.h.sum() if total is None else total
        self.h[:] = projected(self.h, real_number("total", whole))

    def given(self) -> Given:
        """What a pass depends on, as it is now.

        Raises:
            ValueError: controls or steps do not fit, or have numbers that are not finite.
        """
        values: list[Any] = [self.parameters[name] for name in self.product.PARAMETERS]
        values += self.fixed.values()
        return Given(self.checked_controls(), values, self.checked_steps(), self.t0)

    def checked_controls(self) -> dict[str, Floats]:
        """The controls in their order, as kernels take them.

        Raises:
            ValueError: one is undeclared, has another shape, or numbers that are not finite.
        """
        for name in self.controls:
            if name not in self._shapes:
                known = ", ".join(self._shapes)
                raise ValueError(f"no control '{name}'; those are: {known}")
        return {
            name: fitting(f"the control {name}", self.controls[name], shape, self.dtype)
            for name, shape in self._shapes.items()
        }

    def checked_steps(self) -> Floats:
        """The steps, as kernels take them.

        Raises:
            ValueError: they have another shape, or numbers that are not finite.
        """
        return fitting("h", self.h, (self.layers,), _DOUBLE)

    def _room(self, samples: int) -> AbstractContextManager[Room]:
        """A room for one call."""
        kind = Kind(
            samples, numba.get_num_threads(), self.memory, self.checkpoints, self.budget, self.block
        )
        frame = Frame(self.product, dict(self.sizes), self.layers, self.dtype)
        return self._rooms.serving(kind, lambda: Room(frame, kind))

    def _checked(self, states: Sequence[Any], what: str = "") -> list[Floats]:
        names = [name for name, shape in self.product.STATES.items() if shape]
        if len(states) != len(names):
            raise ValueError(
                f"{len(states)} arrays; {self.product.NAME} has the states {', '.join(names)}"
            )
        checked = []
        for name, state in zip(names, states, strict=True):
            array = np.asarray(state)
            size = self.sizes[self.product.STATES[name][0]]
            if array.ndim != 2 or array.shape[1] != size:
                raise ValueError(
                    f"{what}{name} has the shape {array.shape}; (samples, {size}) was expected"
                )
            checked.append(fitting(f"{what}{name}", array, array.shape, self.dtype))
        if len({len(array) for array in checked}) > 1:
            raise ValueError("the states have different numbers of samples")
        return checked
