"""Steps of optimizers as contestants: gradients are handed in before each; rows of their times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from hamilforge.runtime.bench.rows import Row
from hamilforge.runtime.bench.timing import Contestant, Times, interleaved


def stepping(
    params: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor], step: Callable[[], object]
) -> Contestant:
    """A step of parameters whose gradients are the same each time.

    Args:
        params: the parameters.
        slopes: their gradients.
        step: what is timed.

    Returns:
        The contestant.
    """

    def prepare() -> None:
        for param, slope in zip(params, slopes, strict=True):
            param.grad = slope

    return Contestant(prepare, step)


def timed(makers: Mapping[str, Callable[[], Contestant]], rounds: int) -> dict[str, Times]:
    """The times of contestants in turns, after two steps of each.

    Args:
        makers: of each, by name.
        rounds: how many turns each has.

    Returns:
        By name.
    """
    ready = {name: make() for name, make in makers.items()}
    for contestant in ready.values():
        for _ in range(2):
            contestant.prepare()
            contestant.work()
    return interleaved(ready, rounds)


def row(
    bench: str,
    case: str,
    candidate: str,
    peer: str,
    times: Mapping[str, Times],
    note: str,
) -> Row:
    """A contestant beside a peer, which may not be here.

    Args:
        bench: the name of the benchmark.
        case: what is measured.
        candidate: the name of ours.
        peer: the name of the other.
        times: by name.
        note: beside the numbers.

    Returns:
        The row, whose ratio is None where the peer is missing.
    """
    own, theirs = times[candidate], times.get(peer)
    ratio = own.median / theirs.median if theirs else None
    spread = (own.median, own.p10, own.p90)
    return Row(bench, case, candidate, peer, *spread, ratio, torch.get_num_threads(), note=note)
