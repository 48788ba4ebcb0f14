"""Costs of a network's controls on tensors; autograd differentiates them.

In: a network.  Out: R = sum_l h_l r_l, with r_l and the rates of change as in :mod:`layer_costs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hamilforge.runtime.networks.network_arguments import control_sets

if TYPE_CHECKING:
    from hamilforge.runtime.networks.torch_network import Network

Tensor = torch.Tensor


def smoothness(network: Network) -> Tensor:
    """``r = sum |V|^2 / 2``.

    Raises:
        ValueError: a step is not positive.
    """
    h, total = network.h, network.h.new_zeros(())
    for name in network.CONTROLS:
        squares = _rate(network, name, h).square().reshape(len(h), -1).sum(1)
        total = total + (h * squares).sum() / (2 * control_sets(network))
    return total


def declared(network: Network) -> Tensor:
    """``r`` as the field declares it.

    Raises:
        ValueError: a step is not positive, and r has a rate of change.
    """
    h, axes = network.h, 2 if network.BY_STAGE else 1
    controls = [network.control(name) for name in network.COSTED]
    controls += [_rate(network, name, h) for name in network.RATED]
    values = [getattr(network, f"parameter_{name}") for name in network.PARAMETERS]
    cost = torch.func.vmap(network.layer_cost, (*(0,) * len(controls), *(None,) * len(values)))
    (costs,) = cost(*(control.flatten(0, axes - 1) for control in controls), *values)
    return (h * costs.reshape(len(h), -1).mean(1)).sum()


def _rate(network: Network, name: str, h: Tensor) -> Tensor:
    """How fast a control changes: to the next layer, over the step; 0 in the last layer."""
    if not torch.compiler.is_compiling() and not bool((h[:-1] > 0).all()):
        raise ValueError(
            "a step is not positive, and what changes within it has no rate; see pruned()"
        )
    control = network.control(name)
    steps = h[:-1].reshape(-1, *(1,) * (control.dim() - 1))
    return torch.cat([control.diff(dim=0) / steps, torch.zeros_like(control[:1])])
