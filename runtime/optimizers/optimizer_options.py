"""What a group of parameters may set, checked: hyper-parameters, options, and what they exclude.

In: a generated product and the values of a group.  Out: nothing, or a refusal that names the value;
and the preparation of the gradient that the options ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.hints import did_you_mean, nearest
from hamilforge.runtime.core.numbers import whole_number
from hamilforge.runtime.optimizers.arrangements import MAPS
from hamilforge.runtime.optimizers.clock import check_requirements
from hamilforge.runtime.optimizers.hyperparameters import arguments, check_decay, hyperparameters
from hamilforge.runtime.optimizers.noise import SEED
from hamilforge.runtime.optimizers.workers import OPTIONS as WORKER_OPTIONS
from hamilforge.runtime.optimizers.workers import WORKERS

OPTIONS: dict[str, Any] = {
    "weight_decay": 0.0,
    "decoupled_weight_decay": False,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
    "fused": None,
    "scope": None,
}
#: Options that a rule with a hyper-parameter ``weight_decay`` does not have: it does its own.
DECAY_OPTIONS = ("weight_decay", "decoupled_weight_decay")
#: Over what sums may run, whatever the declaration says.
SCOPES = ("all", "group", "tensor")


def options_of(product: ModuleType) -> dict[str, Any]:
    """The options that an optimizer has, with their defaults."""
    own = DECAY_OPTIONS if "weight_decay" in product.HYPERPARAMETERS else ()
    known = {name: value for name, value in OPTIONS.items() if name not in own}
    return {**known, **product.OPTIONS, **({SEED: 0} if product.NOISE else {})}


def worker_options(product: ModuleType) -> dict[str, Any]:
    """The options that are one for all groups, with their defaults: those of means over workers."""
    return WORKER_OPTIONS if product.AVERAGES else {}


def refuse_unknown(
    rule: str, options: Iterable[str], product: ModuleType, others: Iterable[str] = ()
) -> None:
    """Refuse options that there are not.

    Args:
        rule: the name of the optimizer's class.
        options: the names that were given.
        product: the generated module.
        others: names of options that have been taken before.

    Raises:
        TypeError: there is no such option.
    """
    known = {**options_of(product), **worker_options(product)}
    for name in options:
        if name not in known:
            names = [*known, *arguments(product), *others]
            raise TypeError(f"{rule} has no option '{name}'" + did_you_mean(name, names))


def refuse_misspelled(
    rule: str, names: Iterable[str], product: ModuleType, others: Iterable[str] = ()
) -> None:
    """Refuse keys of a group that look like options, but for a letter or two.

    Args:
        rule: the name of the optimizer's class.
        names: the keys; its user's own may be among them.
        product: the generated module.
        others: options that groups of the class may have beside those of every optimizer.

    Raises:
        TypeError: a key is nearly the name of an option.
    """
    known = (*arguments(product), *options_of(product), *others)
    tuples = {part: name for name, parts in product.TUPLES.items() for part in parts}
    for name in names:
        if name in worker_options(product) or (name == WORKERS and product.AVERAGES):
            raise TypeError(f"{rule}: {name} is one for all groups")
        if name in tuples:
            raise TypeError(
                f"{rule} has no option '{name}'; it is one of the numbers of {tuples[name]}"
            )
        near = nearest(name, known, 0.8)
        if near and name not in known:
            raise TypeError(f"{rule} has no option '{name}'; did you mean '{near}'?")


def refuse_places(rule: str, group: Mapping[str, Any], product: ModuleType) -> None:
    """Refuse a group that is to lie on a manifold, of a rule that knows none.

    Args:
        rule: the name of the optimizer's class.
        group: of parameters.
        product: the generated module.

    Raises:
        TypeError: it says where its parameters lie, or how they move there.
    """
    for name in MAPS if not hasattr(product, "MANIFOLD") else ():
        if name in group:
            raise TypeError(
                f"{rule} is no optimizer of points, and {name} = {group[name]!r} of a group has no "
                "meaning for it"
            )


def check_values(
    values: Mapping[str, Any], product: ModuleType, workers: int = 1
) -> dict[str, float]:
    """Check hyper-parameters and weight decay.

    Args:
        values: of a group.
        product: the generated module.
        workers: how many there are.

    Returns:
        The hyper-parameters as numbers, in the order of the product.

    Raises:
        ValueError: one is no number, or outside its domain, or a tuple has too many or too few; or
            a rule does not allow them together.
    """
    numbers: dict[str, float] = {}
    for name, value in hyperparameters(values, product).items():
        _, domain = product.HYPERPARAMETERS[name]
        numbers[name] = number(name, value, domain)
        check_domain(name, numbers[name], domain)
    if product.NOISE:
        whole_number(SEED, values[SEED], least=0)
    if "weight_decay" not in product.HYPERPARAMETERS:
        check_domain("weight_decay", number("weight_decay", values["weight_decay"]), "nonnegative")
    check_requirements(product, numbers, workers)
    return numbers


def check_together(values: Mapping[str, Any], product: ModuleType, workers: int = 1) -> None:
    """Check options beside each other.

    Args:
        values: of a group.
        product: the generated module.
        workers: how many there are.

    Raises:
        ValueError: one has no meaning beside another, or for this rule.
    """
    check_decay(values, product)
    if values["differentiable"] and workers > 1:
        raise ValueError(
            "a step that takes means over workers keeps no graph: differentiable=False"
        )
    chosen = [name for name in ("fused", "foreach", "differentiable") if values[name]]
    if len(chosen) > 1:
        raise ValueError(
            f"{' and '.join(f'{name}=True' for name in chosen)} are different forms of a step; "
            "choose one"
        )


def number(name: str, value: Any, domain: str = "real") -> float:
    """A hyper-parameter as a number of the host.

    Args:
        name: its name.
        value: what was given; a tensor is read, without its graph.
        domain: a flag is True or False, and nothing else is.

    Returns:
        The number; of a flag 0 or 1.

    Raises:
        ValueError: it is no number.
    """
    if domain == "flag":
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} = {value!r} is not True or False")
        return float(value)
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise ValueError(f"{name} = {value!r} is not a number")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is a tensor of {value.numel()} entries; one was expected")
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):  # the last of a complex tensor
        raise ValueError(f"{name} = {value!r} is not a number") from None
