"""States of optimizers: what is written into one, and what is checked before one is used.

A state names its rule, the meaning of its buffers and of its clock's memory with it, so that what
another rule has left is refused by name.  What is missing because the state is older than an option
takes the option's default, as in torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from hamilforge.runtime.optimizers.clock import restored
from hamilforge.runtime.optimizers.cohorts import LATE
from hamilforge.runtime.optimizers.hyperparameters import arguments
from hamilforge.runtime.optimizers.step_tensors import Shapes

#: What a group of a saved state has beside its options: the rule, and where the group stands.
RULE, CLOCK = "rule", "clock"


def rule(product: ModuleType) -> str:
    """A rule with the names of all that its state holds, such as ``rgd(v; last_decay)``."""
    name = product.__name__.rpartition(".")[2].removesuffix("_torch")
    kept = "; ".join(filter(None, (", ".join(product.STATES), ", ".join(product.MEMORY))))
    return f"{name}({kept})"


def saved_group(group: Mapping[str, Any], product: ModuleType) -> dict[str, Any]:
    """A group as it stands in a state: plain values, and the name of the rule."""
    late = {index: clock.plain() for index, clock in group[LATE].items()}
    return {**group, CLOCK: group[CLOCK].plain(), LATE: late, RULE: rule(product)}


def renamed(state_dict: Mapping[str, Any], product: ModuleType) -> dict[str, Any]:
    """A saved state whose arrays have the names that they have now: ``x_`` was ``x_state``."""
    olds = {name: f"{name.removesuffix('_state')}_" for name in product.STATES}
    olds = {old: name for name, old in olds.items() if name.endswith("_state")}

    def called(texts: Any) -> Any:
        for old, name in olds.items():
            texts = re.sub(rf"\b{old}(?![A-Za-z0-9])", name, texts)
        return texts

    state = {
        key: {olds.get(name, name): value for name, value in own.items()}
        for key, own in state_dict["state"].items()
    }
    groups = [
        {**group, RULE: called(group[RULE])} if RULE in group else group
        for group in state_dict["param_groups"]
    ]
    return {**state_dict, "state": state, "param_groups": groups}


def restored_group(
    group: Mapping[str, Any],
    product: ModuleType,
    widths: Sequence[int],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """A group of a state, checked.

    Args:
        group: as it was saved.
        product: the generated module of the optimizer that takes it.
        widths: how many scalars each stage takes.
        defaults: values of options and hyper-parameters that the state does not have.

    Returns:
        The group with its clock.

    Raises:
        ValueError: the state is that of another rule.
    """
    own, kept = rule(product), dict(group)
    name = kept.pop(RULE, None)
    if name is not None and name != own:
        raise ValueError(f"the state is one of {name}, and this optimizer is {own}")
    if CLOCK not in kept:
        raise ValueError(
            f"the state is not one of {own}: no clock in it; what another optimizer has left has "
            "no meaning here"
        )
    for argument, parts in product.TUPLES.items():  # saved before they were a tuple
        if argument not in kept and all(part in kept for part in parts):
            kept[argument] = tuple(kept.pop(part) for part in parts)
    lacking = [key for key in arguments(product) if key not in kept]
    if name is None and lacking:
        raise ValueError(f"the state is not one of {own}: no {', '.join(lacking)} in it")
    kept = {**defaults, **kept}
    try:
        kept[CLOCK] = restored(kept[CLOCK], product, widths)
        late = kept.get(LATE, {})
        kept[LATE] = {int(index): restored(late[index], product, widths) for index in late}
    except ValueError as error:
        raise ValueError(f"the state is not one of {own}: {error}") from error
    return kept


def check_buffers(entries: Mapping[Any, Any], product: ModuleType) -> None:
    """Refuse entries of a state that are not this rule's, before torch converts them.

    Raises:
        ValueError: there is no buffer of the rule's name, or it is no tensor of reals.
    """
    own = rule(product)
    for key, entry in entries.items():
        for name in product.STATES if entry else ():
            if not isinstance(entry, Mapping) or name not in entry:
                raise ValueError(
                    f"the state is not one of {own}: the entry of parameter {key} has no {name}"
                )
            array = entry[name]
            if not isinstance(array, torch.Tensor) or not array.is_floating_point():
                kind = getattr(array, "dtype", type(array).__name__)
                raise ValueError(
                    f"the state of parameter {key}: {name} is {kind}; floating-point numbers were "
                    "expected"
                )


def check_shapes(state: Mapping[torch.Tensor, Any], product: ModuleType, shape: Shapes) -> None:
    """Refuse buffers of other shapes than those that parameters have.

    Args:
        state: of each parameter.
        product: the generated module.
        shape: of an array of the state, from its name and the parameter.

    Raises:
        ValueError: one has another shape.
    """
    for number, (param, entry) in enumerate(state.items()):
        for name in product.STATES if isinstance(param, torch.Tensor) else ():
            array = entry.get(name)
            if array is not None and tuple(array.shape) != tuple(shape(name, param)):
                raise ValueError(
                    f"the state of parameter {number}: {name} has the shape {tuple(array.shape)}, "
                    f"and {tuple(shape(name, param))} was expected of a parameter of the shape "
                    f"{tuple(param.shape)}"
                )
