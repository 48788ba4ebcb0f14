"""Optimizers that hold a part of the parameters, where sums over all of them would be wrong.

torch's ``ZeroRedundancyOptimizer`` gives the optimizer in each process some of the parameters, and
FSDP in its first form some of the entries.  Parameters of FSDP2 are of the class ``DTensor``,
whose sums are those of all processes.
"""

from __future__ import annotations

import sys
from typing import Any

_ZERO = "torch.distributed.optim.zero_redundancy_optimizer"


def is_made_for_a_shard() -> bool:
    """Whether the optimizer that is being made is one of several in a ZeroRedundancyOptimizer."""
    module = sys.modules.get(_ZERO)
    if module is None:
        return False
    code = module.ZeroRedundancyOptimizer._init_local_optimizer.__code__  # noqa: SLF001
    frame = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code is code:
            return bool(frame.f_locals["self"].world_size > 1)
        frame = frame.f_back  # type: ignore[assignment]
    return False


def is_flat_shard(param: Any) -> bool:
    """Whether a parameter is what FSDP in its first form leaves of several in this process."""
    return bool(getattr(param, "_is_flat_param", False) or getattr(param, "_fsdp_flattened", False))


def like(tensor: Any, model: Any) -> Any:
    """A DTensor, placed on the processes as another is; anything else as it is."""
    placements = getattr(model, "placements", None)
    if placements is None or getattr(tensor, "placements", placements) == placements:
        return tensor
    return tensor.redistribute(model.device_mesh, placements)


def placed(tensor: Any, model: Any) -> Any:
    """What every process has whole, placed on the processes as a DTensor is; else laid out alike.

    Args:
        tensor: of the shape of the whole.
        model: a DTensor, or any other tensor.
    """
    import torch

    placements = getattr(model, "placements", None)
    if placements is None:
        return torch.empty_like(model, requires_grad=False).copy_(tensor)
    from torch.distributed.tensor import DTensor, Replicate

    mesh = model.device_mesh
    copies = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return copies.redistribute(mesh, placements)


def whole(tensor: Any) -> Any:
    """A DTensor as every process has it when all have given their part; anything else as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
