"""Workers: processes of which each has a replica of the parameters, and means over them.

In: a process group of :mod:`torch.distributed`.  Out: means of arrays in one exchange, and the
refusals that keep replicas together: equal parameters at the start, equal step counts later.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import distributed

#: Says that an optimizer takes no part in the world of processes it is in.
NONE = "none"
#: What a group of parameters calls how many workers there are.
WORKERS = "workers"
#: Options of an optimizer that takes means, one for all its groups, with their defaults.
OPTIONS: dict[str, Any] = {"process_group": None, "broadcast": False, "equal_noise": False}
#: Numbers are sent digit by digit, whose sums of squares are exact in float32 for 70,000 workers.
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
        TypeError: it is no process group, or a flag is none.
    """

    def __init__(
        self, process_group: Any = None, broadcast: bool = False, equal_noise: bool = False
    ) -> None:
        for name, value in (("broadcast", broadcast), ("equal_noise", equal_noise)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} = {value!r} is not True or False")
        self._group, self._broadcast = _checked(process_group), broadcast
        self.size, self._rank = 1, 0
        if self._group is not None:
            self.size = distributed.get_world_size(self._group)
            self._rank = distributed.get_rank(self._group)
        self.replica = 0 if equal_noise else self._rank

    def __deepcopy__(self, memo: dict[int, Any]) -> Workers:
        """A copy of an optimizer has the same workers."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self._group is not None:
            raise TypeError(
                "an optimizer with a process_group cannot be pickled, for the group is of this "
                "process; save its state_dict()"
            )
        return vars(self)

    @torch.no_grad()
    def begin(
        self, rule: str, names: Sequence[str], params: Tensors, hyper: Mapping[str, float]
    ) -> None:
        """Let parameters begin alike: those of the first worker, or the same already.

        Args:
            rule: what the optimizer is called.
            names: of the parameters.
            params: which every worker has in the same order.
            hyper: what else is the same in all workers, by name.

        Raises:
            ValueError: something differs, of parameters if they are not to be broadcast.
        """
        if self.size == 1:
            return
        own = [
            (name, str(param.dtype).removeprefix("torch."), tuple(param.shape), param.requires_grad)
            for name, param in zip(names, params, strict=True)
        ]
        chosen = dict(hyper)
        for rank, (rule_there, other, theirs) in enumerate(self._gathered((rule, own, chosen))):
            if rule_there != rule:
                raise ValueError(f"the optimizer is {rule} here, and {rule_there} of worker {rank}")
            if other != own:
                pairs = itertools.zip_longest(own, other)
                here, there = next((mine, yours) for mine, yours in pairs if mine != yours)
                raise ValueError(
                    f"workers have different parameters: {_described(here)} here, and "
                    f"{_described(there)} of worker {rank}"
                )
            for name, value in chosen.items():
                if theirs[name] != value:
                    raise ValueError(
                        f"{name} = {value:g} here, and {theirs[name]:g} of worker {rank}: all "
                        "workers need the same"
                    )
        if self._broadcast:
            first = distributed.get_global_rank(self._group, 0)
            for param in params:
                entries = _local(param.detach())
                buffer = entries.clone(memory_format=torch.contiguous_format)  # of any strides
                with _clear_errors("at the start", self.size):
                    distributed.broadcast(buffer, first, self._group)
                entries.copy_(buffer)
        digests = [_digest(param) for param in params]
        for rank, others in enumerate(self._gathered(digests)):
            for name, mine, theirs in zip(names, digests, others, strict=True):
                if mine != theirs:
                    raise ValueError(
                        f"the parameter {name} begins elsewhere in worker {rank}; let all workers "
                        "begin alike (one seed), or choose broadcast=True; where a run goes on, "
                        "make the optimizer before the parameters are loaded"
                    )

    def _gathered(self, value: Any) -> list[Any]:
        """What each worker has."""
        values: list[Any] = [None] * self.size
        with _clear_errors("at the start", self.size):
            distributed.all_gather_object(values, value, self._group)
        return values

    @torch.no_grad()
    def average(self, arrays: Tensors, same: Mapping[str, int]) -> None:
        """Set arrays to their means over the workers, in one exchange of one buffer.

        The buffer is of float64 where an array is, else of float32.

        Args:
            arrays: which every worker has in the same order.
            same: whole numbers from 0 to 2^64 that all workers need to have in common, by what is
                said where they do not.

        Raises:
            RuntimeError: a number differs, or a worker is gone.
        """
        own = [_local(array) for array in arrays]
        wide = any(array.dtype == torch.float64 for array in own)
        dtype = torch.float64 if wide else torch.float32
        device = own[0].device if own else torch.device("cpu")
        digits = torch.tensor(
            [value // _BASE**k % _BASE for value in same.values() for k in range(_DIGITS)],
            dtype=dtype,
        )
        numbers = torch.cat([digits, digits**2]).to(device)
        parts = [array.reshape(-1).to(device, dtype) for array in own]
        buffer = torch.cat([*parts, numbers])
        with _clear_errors("of their means", self.size):
            distributed.all_reduce(buffer, group=self._group)
            sums = buffer[-2 * len(digits) :].to("cpu", torch.float64).reshape(2, -1)
        apart = self.size * sums[1] - sums[0] ** 2  # no variance where all are equal
        for place, what in enumerate(same):
            if bool(apart[place * _DIGITS : (place + 1) * _DIGITS].any()):
                raise RuntimeError(f"the workers differ: {what}")
        buffer /= self.size
        means = buffer[: -2 * len(digits)].split([array.numel() for array in own])
        for array, mean in zip(own, means, strict=True):
            array.copy_(mean.reshape(array.shape))


@contextlib.contextmanager
def _clear_errors(when: str, size: int) -> Iterator[None]:
    """Says of an error in an exchange what it means for whoever waits for the others."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"the exchange {when} between {size} workers failed: {error}; perhaps one has ended, "
            "or kept the others waiting for longer than the group's timeout; go on from the last "
            "checkpoint"
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
        if not started and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                f"WORLD_SIZE says that there are {os.environ['WORLD_SIZE']} processes, and they do "
                "not know each other yet: torch.distributed.init_process_group(...) comes first, "
                f'or process_group="{NONE}"'
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
    return hashlib.sha256(_bytes(param)).hexdigest()


def digest(values: Iterable[Any]) -> int:
    """A number of 32 bits that tells tensors and numbers from others, bit by bit; never 0."""
    code = 0
    for value in values:
        entries = torch.as_tensor(value, dtype=None if torch.is_tensor(value) else torch.float64)
        code = zlib.crc32(_bytes(entries), code)
    return code or 1


def _bytes(array: torch.Tensor) -> bytes:
    entries = _local(array.detach()).cpu().contiguous().reshape(-1)
    return bytes(entries.view(torch.uint8).numpy().tobytes())


def _described(entry: tuple[str, str, tuple[int, ...], bool] | None) -> str:
    if entry is None:
        return "none"
    name, dtype, shape, is_trained = entry
    return f"{name} of {dtype} and shape {shape}" + " without a gradient" * (not is_trained)
