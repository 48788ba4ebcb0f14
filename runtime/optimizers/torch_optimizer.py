"""The optimizer behind every generated class.

A generated class brings the functions of its stages and its host scalars; this one brings what all
of them share: the steps, and the choice between the fused kernel, the form in place and the
functional form.  What it steps on is in its bases: groups, options and checkpoints, then the arrays
of parameters and their two points.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch

from hamilforge.runtime.core.shards import like
from hamilforge.runtime.core.torch_functions import TensorMath
from hamilforge.runtime.optimizers import lists_plan
from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock, latch, tick
from hamilforge.runtime.optimizers.cohorts import Cohorts, advance
from hamilforge.runtime.optimizers.fused_plan import FusedPlan, obstacle
from hamilforge.runtime.optimizers.hyperparameters import arguments, hyperparameters, preparation
from hamilforge.runtime.optimizers.lists_plan import ListsPlan
from hamilforge.runtime.optimizers.noise import DRAWS, SEED, Noise, keys_of
from hamilforge.runtime.optimizers.optimizer_options import check_together, check_values, options_of
from hamilforge.runtime.optimizers.partakers import Partakers
from hamilforge.runtime.optimizers.stateful_optimizer import Settled, StatefulOptimizer
from hamilforge.runtime.optimizers.step_plan import Plan, Standing, Tensors
from hamilforge.runtime.optimizers.step_tensors import (
    parameter_name,
    refuse_leaves,
    refuse_overlaps,
    refuse_sums,
    refuse_tensors,
)
from hamilforge.runtime.optimizers.workers import digest

#: Types of values that stay what they are; a tensor may change in place.
_FIXED = frozenset((bool, int, float, str, type(None)))


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Values, with those of tuples one by one."""
    for value in values:
        if type(value) is tuple:
            yield from value
        else:
            yield value


def _apart(arrays: Iterable[torch.Tensor], taken: Tensors) -> Tensors:
    """Tensors, those that are taken as clones; they are taken then."""
    known = set(map(id, taken))
    own: Tensors = []
    for array in arrays:
        own.append(array.clone() if id(array) in known else array)
        known.add(id(array))
    taken += own
    return own


@functools.cache
def _chooser(product: ModuleType) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """What a group sets, from the group: hyper-parameters, tuples of them, and options."""
    return operator.itemgetter(*arguments(product), *options_of(product))


class GeneratedOptimizer(StatefulOptimizer):
    """A generated optimizer.

    Args:
        params: parameters, named parameters, or dictionaries that define groups.
        hyper: the hyper-parameters; each may differ between groups, and change between steps.  A
            tensor is read at the first stage of each step.
        options: ``weight_decay`` (0): factor of the parameters added to the gradient (L2);
            ``decoupled_weight_decay`` (False): multiply the parameters by 1 - lr*weight_decay
            instead; ``maximize`` (False); ``differentiable`` (False): keep the graph through the
            step; ``fused`` (None): the compiled kernel, chosen where it applies; ``foreach``
            (None): torch's operations over all tensors at once, chosen where the kernel does not
            apply or is not wanted; where False, such a step goes tensor by tensor; ``scope``: over
            what the rule's sums run, ``all`` parameters, those of a ``group``, which may then have
            hyper-parameters of its own, or each ``tensor``; as declared if None.  A rule without
            sums has none to choose for.

    Raises:
        ValueError: a hyper-parameter outside its domain, or a scope that the rule cannot have.
        TypeError: an unknown option.
    """

    IN_PLACE: tuple[Callable[..., None], ...]

    def _reset(self) -> None:
        super()._reset()
        self._plan: Plan | None = None
        #: Whether states that are the same in all workers have been compared.
        self._compared = False
        #: What groups set at the last step, with types, if none of it can change in place.
        self._choices: tuple[list[Any], list[type]] = ([], [])
        self._settled = []
        #: The parameters of the last step that drew, the seed, and their keys.
        self._keys: tuple[Tensors, int, tuple[int, ...]] | None = None

    @property
    def kernels(self) -> ModuleType:
        """The compiled kernels of this product."""
        name = self._home.removesuffix("_torch") + "_numba"
        return importlib.import_module(name)

    @property
    def _kept(self) -> dict[torch.Tensor, dict[str, Any]]:
        """The state of the parameters of these groups."""
        return self.state

    def _name(self, param: torch.Tensor) -> str:
        return parameter_name(self.param_groups, param)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One stage: one gradient, one update.

        Of several stages the parameters take part that have a gradient in the first; where one has
        none later, it is 0.

        Within a function that ``torch.compile`` traces the step runs as it is, outside of the
        graph, which ends before it (``fullgraph=True`` is refused by torch): scalars of the host
        change with each step, and each would be traced anew.

        Args:
            closure: computes the loss again and returns it.

        Raises:
            RuntimeError: sparse or complex gradients, evaluation mode, or ``fused=True`` or
                ``foreach=True`` where these forms do not apply.
            ValueError: scalars that are not finite, or unequal where the scope is ``all``.

        Nothing is changed by a step that raises, but for one whose exchange with other workers
        fails: its outer step is not done then, and there are no more steps.
        """
        self._refuse_at_solution("step()")
        self._refuse_unexchanged()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        read: Any = None
        if self.product.LOSS and loss is not None:
            number = loss.item if isinstance(loss, torch.Tensor) else lambda: float(loss)
            read = loss if self._keeps_graph else number()
        with torch.set_grad_enabled(self._keeps_graph):
            self._stage(read)
        return loss

    def _stage(self, loss: Any) -> None:
        groups = self._groups
        plan = self._plan
        grads = None if plan is None else plan.standing.gradients(groups, self._kept)
        if plan is not None and grads is not None:
            if self._stages_inside > 1 and groups[0]["clock"].stage == 0:
                self._partakers = Partakers(())  # all take part
            cohorts = Cohorts(groups)
            clocks = self._all_latched(cohorts, loss)
            self._run(plan, grads, clocks)
            moved: Sequence[Collection[int]] = [range(len(group["params"])) for group in groups]
        else:
            self._plan = None
            self._follow()
            with self._whole_step():
                cohorts = Cohorts(groups)
                clocks, moved = self._stage_from_scratch(cohorts, loss)
            if self._numbers is not None:
                pairs = zip(groups, moved, strict=True)
                self._note_numbers({g["params"][k] for g, numbers in pairs for k in numbers})
            if self._places is not None:
                for group, numbers in zip(groups, moved, strict=True):
                    self._places.begin(group["params"][index] for index in numbers)
        if self._numbers is not None:
            self._numbers.spread(self.state)
        self._advance(cohorts, clocks, moved)
        if groups[0]["clock"].stage == self._stages_inside:
            self._close([{*numbers} for numbers in moved])

    def _whole_step(self) -> AbstractContextManager[None]:
        """Where a step has several gradients, let the same parameters take part in all of it."""
        if self._stages_inside == 1:
            return nullcontext()
        self._partakers = self._partakers or Partakers(self._groups)
        return self._partakers.stage(self._groups, self._has_state)

    def _close(self, moved: Sequence[Collection[int]]) -> None:
        """The outer step, for all parameters that have a state, with or without a gradient.

        Where means are taken over workers, all that may have a gradient take part in it.

        Args:
            moved: for each group the numbers of the parameters with a gradient in this step.
        """
        product, groups = self.product, self._groups
        owned = [
            (param, number, index in moved[number])
            for number, group in enumerate(groups)
            for index, param in enumerate(group["params"])
            if (param.requires_grad and product.AVERAGES) or self._has_state(param)
        ]
        params, owners = [param for param, _, _ in owned], [number for _, number, _ in owned]
        self._hold([(param, number) for param, number, has_moved in owned if not has_moved])
        for call in range(self._stages_inside, len(self.STAGES)):
            states = self._states(params, owners)
            if product.AVERAGES and call == len(self.STAGES) - 1:
                self._exchange(states)
            clocks = [group["clock"] for group in groups]
            if self._plan is not None and len(self._plan.standing.params) == len(params):
                grads: list[Any] = [param.grad for param in self._plan.standing.params]
                self._run(self._plan, grads, clocks)
            elif params:
                differentiable = self._keeps_graph
                # no gradient is read
                self._run_functional(params, states, params, owners, clocks, differentiable)
            for group in groups:
                group["clock"] = tick(group["clock"])

    def _hold(self, resting: Sequence[tuple[torch.Tensor, int]]) -> None:
        """Keep what the last step would have computed on the way, of parameters without a gradient.

        They stay where they are, and so do their other arrays; a gradient is 0.

        Args:
            resting: the parameters, with the numbers of their groups.
        """
        product = self.product
        for param, number in resting if product.HELD else ():
            noise = self._noise([param])
            clock = self._groups[number]["clock"]
            for stage in range(self._stages_inside):
                states = self._states([param], [number])
                row = clock.rows[stage]
                drawn = noise.before().arrays(stage, [param], [0], row) if noise else []
                zero = torch.zeros_like(param, requires_grad=False)
                _, *new = self.STAGES[stage]([param.clone()], *states, [zero], *drawn, *row)
                for name, (array,) in zip(product.STATES, new, strict=True):
                    if name in product.HELD:
                        self.state[param][name].copy_(array)

    def _exchange(self, states: list[Tensors]) -> None:
        """Take the means over workers, once all have said that they stand at the same place."""
        if self._workers.size == 1:  # whose means are what they are of
            return
        product, clock = self.product, self._groups[0]["clock"]
        arrays = dict(zip(product.STATES, states, strict=True))
        rows = [group["clock"].rows[self._stages_inside :] for group in self._groups]
        numbers = [number for own in rows for row in own for number in row]
        same = {
            f"they have taken different numbers of steps, this one {clock.n}": clock.n,
            "their hyper-parameters of the outer step are not the same": digest(numbers),
            f"{', '.join(product.COMMON) or 'nothing'} should be the same in all, and is not: they "
            "have not gone on from one checkpoint": self._compared
            or digest(array for name in product.COMMON for array in arrays[name]),
        }
        means = [array for name in product.AVERAGES for array in arrays[name]]
        self._workers.average(means, same)
        self._compared = True

    def _advance(
        self, cohorts: Cohorts, clocks: list[Clock], moved: Sequence[Collection[int]]
    ) -> None:
        """Let the clocks go on of what had a gradient."""
        groups = self._groups
        counts = any(moved) or self.product.AVERAGES  # workers count alike
        for group in groups if self.product.NOISE and counts else ():
            group[DRAWS] += 1
        if self._counts_by_parameter:
            ticked = dict(enumerate(clocks))
            for number, group in enumerate(groups):
                advance(group, number, cohorts.rows[number], moved[number], ticked, tick)
            return
        for number, group in enumerate(groups):
            if moved[number] or (counts and self._go_together):
                group["clock"] = tick(clocks[number])

    @property
    def _go_together(self) -> bool:
        """Whether a group goes on with the others in a stage in which it has no gradient."""
        return self._scope == "all" or len(self.STAGES) > 1  # an outer step is one of them

    def _stage_from_scratch(
        self, cohorts: Cohorts, loss: Any
    ) -> tuple[list[Clock], list[list[int]]]:
        """A stage with every tensor looked at one by one, and a plan for the next.

        Args:
            cohorts: of parameters with one clock.
            loss: where the rule reads it.

        Returns:
            The clocks of the cohorts in this stage, and for each group the numbers of its
            parameters with a gradient.
        """
        groups = self._groups
        params: Tensors = []
        grads: Tensors = []
        owners: list[int] = []
        moved: list[list[int]] = [[] for _ in groups]
        for number, group in enumerate(groups):
            for index, param in enumerate(group["params"]):
                if param.grad is not None:
                    params.append(param)
                    grads.append(param.grad)
                    owners.append(cohorts.rows[number][index])
                    moved[number].append(index)
        kept = {
            name: [self.state[p].get(name) if p in self.state else None for p in params]
            for name in self.product.STATES
        }
        present = [array for arrays in kept.values() for array in arrays if array is not None]
        self._refuse(params, grads, owners, kept)
        if not params:
            return self._all_latched(cohorts, loss), moved
        form = self._form([*params, *present, *grads])
        clocks = self._all_latched(cohorts, loss)
        refuse_leaves(groups, self._name)
        states = self._states(params, [cohorts.members[owner][0] for owner in owners])
        if form == "functional":
            differentiable = self._keeps_graph
            self._run_functional(params, states, grads, owners, clocks, differentiable)
        else:
            names = self.product.STATES
            standing = Standing(groups, self._kept, params, states, grads, names)
            self._plan = self._planned(form, standing, owners)
            self._run(self._plan, grads, clocks)
        return clocks, moved

    def _refuse(
        self,
        params: Tensors,
        grads: Tensors,
        owners: list[int],
        kept: dict[str, list[torch.Tensor | None]],
    ) -> None:
        """Refuse tensors that no form of the step takes, before anything is changed."""
        refuse_tensors(params, grads, kept, self._name, self._state_shape)
        if self.product.SCOPE != "coordinate":
            refuse_sums(params, self._sums_of(owners), self._name)
        present = [array for arrays in kept.values() for array in arrays if array is not None]
        refuse_overlaps(params, grads, present, self._name)

    def _all_latched(self, cohorts: Cohorts, loss: Any) -> list[Clock]:
        """The clocks of all cohorts with the scalars of this step."""
        groups, product = self._groups, self.product
        if groups[0]["clock"].stage:
            self._settled = self._settled or self._settle()  # after a load between stages
            return [clock for _, clock in cohorts.members]
        choices = [*itertools.chain(*map(_chooser(product), groups))]
        known, _ = self._choices
        if len(choices) != len(known) or not all(map(operator.is_, choices, known)):
            types = [*map(type, _flat(choices))]
            if not _FIXED.issuperset(types):
                self._settled, self._choices = self._settle(), ([], [])
            elif (choices, types) != self._choices:
                self._settled, self._choices = self._settle(), (choices, types)
        settled = self._settled
        latched = [
            latch(product, clock, *settled[number], loss=loss, workers=self._workers.size)
            for number, clock in cohorts.members
        ]
        if product.CLOSES:
            length = product.MEMORY.index("last_loop_length")
            if len({clock.pending[1][length] for clock in latched}) > 1:
                raise ValueError("how many steps make a loop is one for all groups")
        return latched

    def _settle(self) -> list[Settled]:
        """What :func:`latch` takes beside the clock, for each group, after a check."""
        product = self.product
        self._check_together(self._groups)
        settled: list[Settled] = []
        chosen: list[dict[str, Any]] = []
        for group in self._groups:
            hyper = check_values(group, product, self._workers.size)
            check_together(group, product, self._workers.size)
            chosen.append(hyper)
            prepared = preparation(group, product)
            if group["differentiable"]:
                settled.append((hyperparameters(group, product), prepared, TensorMath()))
            else:
                settled.append((hyper, tuple(map(float, prepared)), None))
        if self._scope == "all" and any(values != chosen[0] for values in chosen):
            raise ValueError(
                "sums run over all groups, so all groups need equal hyper-parameters; give "
                f'{type(self).__name__} scope="group" (or "tensor"), or declare [reduce] scope = '
                '"group", for sums and hyper-parameters of their own'
            )
        return settled

    def _form(self, tensors: Tensors) -> str:
        """How a step goes: by the kernel (``fused``), in place over lists, or ``functional``.

        Raises:
            RuntimeError: ``fused=True`` or ``foreach=True``, and that form does not apply.
        """
        groups = self._groups
        fused, lists = ([group[name] for group in groups] for name in ("fused", "foreach"))
        for name, chosen in (("fused", fused), ("foreach", lists)):
            if any(chosen) and (False in chosen or (any(fused) and any(lists))):
                raise RuntimeError(f"{name}=True of one group, and another form of another group")
        differentiable = self._keeps_graph
        reason = "a differentiable step keeps the graph" if differentiable else obstacle(tensors)
        if any(fused) and reason:
            raise RuntimeError(f"fused=True, but {reason}")
        if not reason and False not in fused and not any(lists):
            return "fused"
        if differentiable or (False in lists and not any(lists)):
            return "functional"
        reason = lists_plan.obstacle(tensors)
        if any(lists) and reason:
            raise RuntimeError(f"foreach=True, but {reason}")
        return "functional" if reason else "in place"

    def _planned(self, form: str, standing: Standing, owners: list[int]) -> Plan:
        """The plan of a step."""
        if form == "fused":
            return FusedPlan(standing, owners, self.kernels, self._scope, self._widths())
        domains = None if self._scope == "coordinate" else self._sums_of(owners)
        return ListsPlan(standing, owners, domains, self.product, self.IN_PLACE)

    def _run(self, plan: Plan, grads: Tensors, clocks: list[Clock]) -> None:
        def check() -> None:
            standing = plan.standing
            refuse_overlaps(standing.params, grads, standing.buffers, self._name)

        plan.run(grads, clocks, check, self._noise(plan.standing.params))

    def _noise(self, params: Tensors) -> Noise | None:
        """The noise of a step of some parameters, for a rule that draws."""
        stages, groups = self.product.NOISE, self._groups
        if not stages:
            return None
        seed = groups[0][SEED]
        if self._keys is None or self._keys[0] is not params or self._keys[1] != seed:
            self._keys = params, seed, keys_of(groups, params, self._workers.replica)
        return Noise(self._keys[2], groups[0][DRAWS], stages)

    def _run_functional(
        self,
        params: Tensors,
        states: list[Tensors],
        grads: Tensors,
        owners: list[int],
        clocks: list[Clock],
        differentiable: bool,
    ) -> None:
        noise = self._noise(params)
        for members in self._domains(owners):
            clock = clocks[owners[members[0]]]
            points, gradients = [], []
            for index in members:
                sign, l2, shrink, *_ = clocks[owners[index]].row()
                gradient = like(grads[index], params[index])
                # what a graph keeps must not be the parameter, which changes in place below
                point = params[index].clone() if differentiable else params[index]
                if differentiable or (sign, l2, shrink) != NEUTRAL:
                    (point,), (gradient,) = self.product.prepared(
                        [point], [gradient], sign, l2, shrink
                    )
                gradients.append(gradient)
                points.append(point)
            old = [[arrays[index] for index in members] for arrays in states]
            row = clock.rows[clock.stage]
            drawn = noise.arrays(clock.stage, params, members, row) if noise else []
            results = self.STAGES[clock.stage](points, *old, gradients, *drawn, *row)
            # a result that is an argument itself, or another one, would change with it
            taken = [*points, *itertools.chain(*old), *gradients]
            new_points, *new = (_apart(arrays, taken) for arrays in results)
            for name, arrays, new_arrays in zip(self.product.STATES, states, new, strict=True):
                for index, array in zip(members, new_arrays, strict=True):
                    if differentiable:
                        self.state[params[index]][name] = array
                    else:
                        arrays[index].copy_(like(array, arrays[index]))
            for index, point in zip(members, new_points, strict=True):
                params[index].copy_(like(point, params[index]))
