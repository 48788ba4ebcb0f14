"""Optimizers with an outer step, and what says how long their loops are."""

from __future__ import annotations

import functools
from typing import Any

import torch

from tests.optimizers import ELEMENTWISE

from .training import optimizer_class


@functools.cache
def looping() -> tuple[str, ...]:
    """The rules with an outer step."""
    return tuple(name for name in ELEMENTWISE if product_of(name).CLOSES)


@functools.cache
def averaging() -> tuple[str, ...]:
    """The rules that take means over workers."""
    return tuple(name for name in looping() if product_of(name).AVERAGES)


def length_of(name: str) -> str:
    """The hyper-parameter that says how many steps make a loop."""
    (count,) = (
        key for key, (_, domain) in product_of(name).HYPERPARAMETERS.items() if domain == "count"
    )
    return str(count)


@functools.cache
def product_of(name: str) -> Any:
    """The generated module of a rule."""
    return optimizer_class(name)([torch.nn.Parameter(torch.ones(1))]).product


def short_loops(name: str) -> dict[str, int]:
    """What makes loops short; nothing for rules without."""
    return {length_of(name): 10} if name in looping() else {}


def rate_of(name: str) -> str:
    """The hyper-parameter that is the size of a step."""
    return "lr" if "lr" in product_of(name).HYPERPARAMETERS else "eta"
