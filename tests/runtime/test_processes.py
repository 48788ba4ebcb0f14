"""Several processes train one model: sums are those of all, or it is said that they are not."""

from __future__ import annotations

import socket

import pytest
import torch.distributed

from .forked import told

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)

#: Two processes, each with the whole model; ``work(rank)`` prints nothing, ``say`` prints once.
SETTING = """
import os, sys
import torch
import torch.distributed as dist
import torch.multiprocessing as spawning
import hamilforge as hf

def model():
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
    return torch.nn.Sequential(*layers).double()

POINTS = torch.arange(12.0, dtype=torch.float64).reshape(4, 3) / 10

def train(model, optimizer, count=3):
    for _ in range(count * len(optimizer.STAGES) if hasattr(optimizer, "STAGES") else count):
        optimizer.zero_grad()
        model(POINTS).square().mean().backward()
        optimizer.step()

def whole(param):
    return (param.full_tensor() if hasattr(param, "full_tensor") else param).detach().clone()

def values(model):
    return [whole(param) for param in model.parameters()]

def near(one, other):
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(one, other))

def say(rank, *what):
    if rank == 0:
        print(*what, flush=True)

def begin(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        work(rank)
    finally:
        dist.destroy_process_group()
"""
RUN = """
if __name__ == "__main__":
    spawning.start_processes(begin, (PORT,), 2, start_method="fork")
"""


def two(work: str) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return told(SETTING + work + RUN.replace("PORT", str(port))).splitlines()


def test_sharded_parameters_give_what_one_process_gives() -> None:
    assert (
        two("""
def work(rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    names = "heavy_ball", "rgd", "hamiltonian_descent", "quartic", "yoshida4", "sgld", "sghmc"
    for name in names:
        for options in ({}, {"weight_decay": 0.1}, {"scope": "tensor"}):
            alone, sharded, spread = model(), model(), model()
            fully_shard(sharded, mesh=mesh)
            for layer in spread:
                for key, param in list(layer.named_parameters()):
                    placed = distribute_tensor(param.detach(), mesh, [Shard(0)])
                    setattr(layer, key, torch.nn.Parameter(placed))
            ends = []
            for one in (alone, sharded, spread):
                optimizer = hf.optimizer(name)(one.parameters(), lr=0.01, **options)
                points = POINTS if one is not spread else distribute_tensor(
                    POINTS, mesh, [Replicate()])
                for _ in range(3 * len(optimizer.STAGES)):
                    optimizer.zero_grad()
                    one(points).square().mean().backward()
                    optimizer.step()
                with optimizer.solution():
                    solved = values(one)
                ends.append([*values(one), *solved])
            say(rank, near(ends[0], ends[1]) and near(ends[0], ends[2]))
""")
        == ["True"] * 21
    )


def test_states_of_sharded_parameters_are_saved_and_loaded() -> None:
    assert (
        two("""
def work(rank):
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions, get_state_dict, set_state_dict)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for name in ("heavy_ball", "rgd", "sghmc"):
        for full in (False, True):
            options = StateDictOptions(full_state_dict=full)
            one, other, reference = model(), model(), model()
            for each in (one, other):
                fully_shard(each, mesh=mesh)
            first = hf.optimizer(name)(one.parameters(), lr=0.01)
            train(one, first)
            weights, state = get_state_dict(one, first, options=options)
            second = hf.optimizer(name)(other.parameters(), lr=0.5)
            set_state_dict(other, second, model_state_dict=weights, optim_state_dict=state,
                           options=options)
            train(other, second)
            train(reference, hf.optimizer(name)(reference.parameters(), lr=0.01), 6)
            say(rank, near(values(other), values(reference)))
""")
        == ["True"] * 6
    )


def test_sums_over_a_part_of_the_parameters_are_refused() -> None:
    assert (
        two("""
def work(rank):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    for scope in ("all", "group"):
        try:
            ZeroRedundancyOptimizer(model().parameters(), hf.optimizer("rgd"), scope=scope)
        except ValueError as error:
            say(rank, "fully_shard" in str(error) and 'scope="tensor"' in str(error))
    try:
        ZeroRedundancyOptimizer(model().parameters(), hf.optimizer("quartic"))
    except ValueError as error:
        say(rank, "ZeroRedundancyOptimizer" in str(error))
    for name, options in (("heavy_ball", {}), ("rgd", {"scope": "tensor"})):
        shared, alone = model(), model()
        made = hf.optimizer(name)
        train(shared, ZeroRedundancyOptimizer(shared.parameters(), made, lr=0.01, **options))
        train(alone, made(alone.parameters(), lr=0.01, **options))
        say(rank, near(values(shared), values(alone)))
    hf.optimizer("rgd")(model().parameters())  # outside of it, in the same process
""")
        == ["True"] * 5
    )


def test_flat_shards_are_refused() -> None:
    assert (
        two("""
def work(rank):
    from torch.distributed.fsdp import FullyShardedDataParallel

    for original in (False, True):
        try:
            one = FullyShardedDataParallel(
                model(), use_orig_params=original, device_id=torch.device("cpu"))
        except Exception as error:  # a torch without it on the CPU
            say(rank, "True True")
            continue
        for name in ("rgd", "heavy_ball"):
            optimizer = hf.optimizer(name)(one.parameters(), lr=0.01)
            try:
                train(one, optimizer)
                say(rank, name == "heavy_ball")
            except RuntimeError as error:
                say(rank, name == "rgd" and "is a shard of FSDP" in str(error))
""")
        == ["True"] * 4
    )


def test_sharded_and_plain_parameters_are_trained_together() -> None:
    assert (
        two("""
def work(rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for name in ("heavy_ball", "rgd", "hamiltonian_descent"):
        alone, mixed = model(), model()
        fully_shard(mixed[0], mesh=mesh)
        for one in (alone, mixed):
            train(one, hf.optimizer(name)(one.parameters(), lr=0.01))
        say(rank, near(values(alone), values(mixed)))
""")
        == ["True"] * 3
    )
