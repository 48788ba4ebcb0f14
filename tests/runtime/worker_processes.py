"""Several processes with a model each, on the problem of :mod:`worker_problem`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch.distributed

from .forked import told

gloo = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)
HERE = Path(__file__).parent
#: ``work(rank, size)`` returns what the first process prints of each.
SETTING = """
import json, os, datetime, sys, warnings
import torch
import torch.distributed as dist
import torch.multiprocessing as spawning
import hamilforge as hf

sys.path.insert(0, HERE)
from worker_problem import START, slope

warnings.filterwarnings("ignore")

def begin(rank, size, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", rank=rank, world_size=size, timeout=datetime.timedelta(seconds=20)
    )
    told = work(rank, size)
    all_of_them = [None] * size
    dist.all_gather_object(all_of_them, told)
    if rank == 0:
        print(json.dumps(all_of_them), flush=True)
    dist.destroy_process_group()

def said(work):
    try:
        work()
    except (RuntimeError, TypeError, ValueError) as error:
        return str(error)
    return "nothing"

def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(torch.tensor(start, dtype=dtype)) for start in START]

def train(optimizer, params, rank, first, last):
    for step in range(first, last):
        for param in params:
            param.grad = torch.tensor(slope(param.detach().numpy(), rank, step))
        optimizer.step()

def solved(optimizer, params):
    with optimizer.solution():
        return [param.detach().numpy().ravel().tolist() for param in params]

def values(params):
    return [param.detach().numpy().ravel().tolist() for param in params]
"""
RUN = """
if __name__ == "__main__":
    spawning.start_processes(begin, (SIZE, PORT), SIZE, start_method="fork")
"""


def port() -> int:
    """A port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def program(work: str, size: int) -> str:
    """A program of several processes."""
    setting = SETTING.replace("HERE", repr(str(HERE)))
    return setting + work + RUN.replace("SIZE", str(size)).replace("PORT", str(port()))


def workers(work: str, size: int = 2) -> list[Any]:
    """What each of several processes returns."""
    told_last = told(program(work, size)).splitlines()[-1]
    found: list[Any] = json.loads(told_last)
    return found
