"""Workers: processes of which each has a replica of the parameters, and means over them.

In: a process group of :mod:`torch.distributed`.  Out: means of arrays in one exchange, and the
refusals that keep replicas together: equal parameters at the start, equal step counts later.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import distributed

#: Says that an optimizer takes no part in the world of processes it is in.
NONE = "none"
#: What a group of parameters calls how many workers there are.
WORKERS = "workers"
#: Options of an optimizer that takes means, one for all its groups, with their defaults.
OPTIONS: dict[str, Any] = {"process_group": None, "broadcast": False, "equal_noise": False}
#: A count is sent digit by digit, whose sums over workers are exact in any type.
_DIGITS, _BASE = 16, 16
Tensors = Sequence[torch.Tensor]


class Workers:
    """The workers of a process group, of which this process is one.

    Args:
        process_group: of :mod:`torch.distributed`; None or ``"none"`` for this process alone.
        broadcast: whether parameters begin as those of the first worker.
        equal_noise: whether all workers draw the same numbers.

    Attributes:
        size: how many there are.
        replica: which of them chooses the noise.

    Raises:
        ValueError: several processes and no group, or a group without this process.
        TypeError: it is no process group.
    """

    def __init__(
        self, process_group: Any = None, broadcast: bool = False, equal_noise: bool = False
    ) -> None:
        self._group, self._broadcast = _checked(process_group), broadcast
        self.size, self._rank = 1, 0
        if self._group is not None:
            self.size = distributed.get_world_size(self._group)
            self._rank = distributed.get_rank(self._group)
        self.replica = 0 if equal_noise else self._rank

    @torch.no_grad()
    def begin(self, names: Sequence[str], params: Tensors) -> None:
        """Let parameters begin alike: those of the first worker, or the same already.

        Args:
            names: of the parameters.
            params: which every worker has in the same order.

        Raises:
            ValueError: they differ, and they are not to be broadcast.
        """
        if self.size == 1:
            return
        own = [
            (name, str(param.dtype).removeprefix("torch."), tuple(param.shape))
            for name, param in zip(names, params, strict=True)
        ]
        for rank, other in enumerate(self._gathered(own)):
            if other != own:
                here, there = next(
                    (mine, theirs)
                    for mine, theirs in zip([*own, None], [*other, None], strict=False)
                    if mine != theirs
                )
                raise ValueError(
                    f"workers have different parameters: {_described(here)} here, and "
                    f"{_described(there)} of worker {rank}"
                )
        if self._broadcast:
            first = distributed.get_global_rank(self._group, 0)
            for param in params:
                distributed.broadcast(_local(param.detach()), first, self._group)
            return
        digests = [_digest(param) for param in params]
        for rank, others in enumerate(self._gathered(digests)):
            for name, mine, theirs in zip(names, digests, others, strict=True):
                if mine != theirs:
                    raise ValueError(
                        f"the parameter {name} begins elsewhere in worker {rank}; let all workers "
                        "begin alike (one seed, one checkpoint), or choose broadcast=True"
                    )

    def _gathered(self, value: Any) -> list[Any]:
        """What each worker has."""
        values: list[Any] = [None] * self.size
        with _clear_errors("at the start", self.size):
            distributed.all_gather_object(values, value, self._group)
        return values

    @torch.no_grad()
    def average(self, arrays: Tensors, step: int) -> None:
        """Set arrays to their means over the workers, in one exchange of one buffer.

        The buffer is of float64 where an array is, else of float32.

        Args:
            arrays: which every worker has in the same order.
            step: how many steps this worker has taken.

        Raises:
            RuntimeError: a worker has taken another number of steps, or is gone.
        """
        if self.size == 1:
            return
        own = [_local(array) for array in arrays]
        wide = any(array.dtype == torch.float64 for array in own)
        dtype = torch.float64 if wide else torch.float32
        device = own[0].device if own else torch.device("cpu")
        digits = torch.tensor([step // _BASE**k % _BASE for k in range(_DIGITS)], dtype=dtype)
        count = torch.cat([digits, digits**2]).to(device)
        parts = [array.reshape(-1).to(device, dtype) for array in own]
        buffer = torch.cat([*parts, count])
        with _clear_errors(f"after step {step}", self.size):
            distributed.all_reduce(buffer, group=self._group)
        sums = buffer[-2 * _DIGITS :].to(torch.float64).reshape(2, -1)
        if bool((self.size * sums[1] - sums[0] ** 2).any()):  # no variance where all are equal
            raise RuntimeError(
                f"workers have taken different numbers of steps, this one {step}: each needs one "
                "step() for one of any other worker"
            )
        buffer /= self.size
        means = buffer[: -2 * _DIGITS].split([array.numel() for array in own])
        for array, mean in zip(own, means, strict=True):
            array.copy_(mean.reshape(array.shape))


@contextlib.contextmanager
def _clear_errors(when: str, size: int) -> Iterator[None]:
    """Says of an error in an exchange what it means for whoever waits for the others."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"the exchange with the other {size - 1} workers {when} failed: one has ended, or kept "
            f"the others waiting for longer than the group's timeout ({error}); go on from the "
            "last checkpoint"
        ) from error


def _checked(group: Any) -> Any:
    """A group of processes with this one in it; None for this process alone.

    Raises:
        ValueError: several processes and no group, or a group without this process.
        TypeError: it is no process group.
    """
    if group is None:
        started = distributed.is_available() and distributed.is_initialized()
        if started and distributed.get_world_size() > 1:
            raise ValueError(
                f"there are {distributed.get_world_size()} processes; choose process_group=, the "
                "group over which means are taken (torch.distributed.group.WORLD for all), or "
                f'"{NONE}" for none'
            )
        return None
    if isinstance(group, str) and group == NONE:
        return None
    if group is distributed.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("this process is not in process_group")
    if not isinstance(group, distributed.ProcessGroup):
        raise TypeError(
            f'process_group is of the class {type(group).__name__}; a process group or "{NONE}" '
            "was expected"
        )
    return group


def _local(array: torch.Tensor) -> torch.Tensor:
    """What this process has of an array: a worker may be a process of several that share one."""
    return array.to_local() if hasattr(array, "to_local") else array


def _digest(param: torch.Tensor) -> str:
    """What tells the entries of a parameter from others, bit by bit."""
    entries = _local(param.detach()).cpu().contiguous().reshape(-1)
    return hashlib.sha256(entries.view(torch.uint8).numpy().tobytes()).hexdigest()


def _described(entry: tuple[str, str, tuple[int, ...]] | None) -> str:
    return "none" if entry is None else f"{entry[0]} of {entry[1]} and shape {entry[2]}"
