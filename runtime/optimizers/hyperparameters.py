"""Hyper-parameters as a group or a caller sets them, and as a product takes them.

A product takes numbers by name; a caller may have to set some of them in a tuple, as ``betas``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

#: What stands for None where a number may be none.
NONE = -1.0


def arguments(product: ModuleType) -> dict[str, Any]:
    """What a group sets, with its defaults: hyper-parameters, and tuples of some in their place."""
    tuples = {part: name for name, parts in product.TUPLES.items() for part in parts}
    values: dict[str, Any] = {}
    for name, (default, _) in product.HYPERPARAMETERS.items():
        if name in tuples:
            values[tuples[name]] = (*values.get(tuples[name], ()), default)
        else:
            values[name] = default
    return values


def hyperparameters(values: Mapping[str, Any], product: ModuleType) -> dict[str, Any]:
    """The hyper-parameters of a group, one by one.

    Args:
        values: of a group; those of a tuple may be in a list.
        product: the generated module.

    Returns:
        A value for each name, in the order of the product.

    Raises:
        ValueError: a tuple has not as many numbers as names, or a name is no choice.
    """
    numbers = {name: values[name] for name in product.HYPERPARAMETERS if name in values}
    for name, parts in product.TUPLES.items():
        entries = values[name]
        if getattr(entries, "ndim", 0) == 1:  # of NumPy or torch
            entries = [*entries]
        if not isinstance(entries, tuple | list) or len(entries) != len(parts):
            raise ValueError(
                f"{name} = {entries!r}: {len(parts)} numbers were expected, ({', '.join(parts)})"
            )
        numbers.update(zip(parts, entries, strict=True))
    return {
        name: _as_number(name, numbers[name], product, domain)
        for name, (_, domain) in product.HYPERPARAMETERS.items()
    }


def _as_number(name: str, value: Any, product: ModuleType, domain: str) -> Any:
    """A name as its number among the choices; None as what stands for it."""
    if domain == "nonnegative-or-none" and value is None:
        return NONE
    if domain == "nonnegative-or-none" and value == NONE:
        raise ValueError(f"{name} = {value} is outside [0, inf); None is written as None")
    if domain != "choice":
        return value
    choices = product.CHOICES[name]
    if value is None:
        return 0
    if isinstance(value, str) and value in choices:
        return choices.index(value)
    listed = ", ".join(map(repr, choices))
    raise ValueError(f"{name} = {value!r}: one of {listed} was expected")


def check_decay(values: Mapping[str, Any], product: ModuleType) -> None:
    """Check decoupled weight decay, which goes by lr.

    Raises:
        ValueError: there is no lr, or it is not the size of the steps that would decay.
    """
    if values.get("decoupled_weight_decay") and "lr" not in product.HYPERPARAMETERS:
        raise ValueError(
            "decoupled weight decay multiplies by 1 - lr*weight_decay, and there is no "
            "hyper-parameter lr; use weight_decay alone"
        )
    if values.get("decoupled_weight_decay") and not getattr(product, "DECOUPLED", True):
        raise ValueError(
            "decoupled weight decay multiplies by 1 - lr*weight_decay in each step inside a loop, "
            "and lr is not the size of these; use weight_decay alone"
        )


def preparation(values: Mapping[str, Any], product: ModuleType) -> tuple[Any, Any, Any]:
    """The gradient's sign, the L2 factor and the factor of decoupled weight decay.

    Args:
        values: hyper-parameters and options.
        product: the generated module.
    """
    sign = -1.0 if values["maximize"] else 1.0
    if "weight_decay" in product.HYPERPARAMETERS:
        return sign, 0.0, 1.0
    decay = values["weight_decay"]
    if values["decoupled_weight_decay"]:
        return sign, 0.0, 1.0 - values["lr"] * decay
    return sign, decay, 1.0
