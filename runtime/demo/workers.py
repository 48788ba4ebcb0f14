"""Several processes train a classifier of digits, with an exchange every so many steps.

    torchrun --nproc-per-node 2 -m hamilforge.runtime.demo.workers diloco H=50

In: an optimizer that takes means over workers, and hyper-parameters.  Out: on the terminal, the
share of the test digits that its solution recognises.  Each worker sees its own part of the
training digits.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch.nn import functional

import hamilforge as hf
from hamilforge.runtime.demo.training import read_digits, read_lineup

STEPS, BATCH, WIDTH = 1000, 32, 64


def main(name: str = "local_sgd", *chosen: str) -> None:
    """Train, as one of the processes that torchrun starts.

    Args:
        name: an optimizer, by name or path.
        chosen: hyper-parameters, ``name=value``.

    Raises:
        SystemExit: a hyper-parameter without a value.
    """
    options = {}
    for text in chosen:
        key, equals, value = text.partition("=")
        if not equals:
            raise SystemExit(f"{text}: name=value was expected")
        options[key] = float(value)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    digits = read_digits(read_lineup())
    own = slice(rank, None, size)  # every worker has its part
    x, y = digits.train_x[own], digits.train_y[own]
    torch.manual_seed(rank)  # broadcast=True: all begin where the first worker does
    model = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 10)
    )
    optimizer = hf.optimizer(name)(
        model.named_parameters(), process_group=dist.group.WORLD, broadcast=True, **options
    )
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    with optimizer.solution(), torch.no_grad():
        right = (model(digits.test_x).argmax(1) == digits.test_y).double().mean()
    if rank == 0:
        print(f"{name}, {size} workers: {100 * right:.1f} % of the test digits recognised")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
