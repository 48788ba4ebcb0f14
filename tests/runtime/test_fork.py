"""Kernels in forked processes, and under each of numba's threading layers."""

from __future__ import annotations

import os

import pytest

from .children import told

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

#: What runs in several threads: optimizers and minimisations in those of numba, ensembles and
#: blocks of a network in those of Python.
WORK = """
import multiprocessing
import numpy as np
import torch
import hamilforge as hf

torch.set_num_threads(1)
COUNT = 300_001  # more entries than one thread takes

def trained(name):
    param = torch.nn.Parameter(torch.linspace(-1, 1, COUNT, dtype=torch.float64))
    optimizer = hf.optimizer(name)([param], lr=0.01, fused=True)
    for _ in range(3):
        param.grad = param.detach().sin()
        optimizer.step()
    with optimizer.solution():
        return param.detach().numpy().copy()

def moved():
    starts = 0.1 * np.random.default_rng(0).standard_normal((6, 4))
    return hf.integrate("henon_heiles", "rk4", starts, (0, 5), 0.05).y

def lowest():
    x = np.linspace(-1, 1, COUNT)
    return hf.minimize(lambda x: (x @ x) / 2, x, jac=lambda x: x, method="heavy_ball",
                       options={"maxiter": 3}).x

def mapped():
    network = hf.network("resnet", "rk4", 5, {"d": 2}, backend="numba", block=64)
    points = np.random.default_rng(0).standard_normal((500, 2))
    found = network.gradient(points, costates=np.ones_like(points))
    return np.concatenate([one.ravel() for one in (*found.ends, *found.controls.values())])

def all_of_them(_=None):
    return trained("rgd"), trained("heavy_ball"), moved(), lowest(), mapped()
"""


def test_kernels_run_in_a_forked_child_and_give_the_same() -> None:
    found = told(
        WORK
        + """
wanted = all_of_them()
with multiprocessing.get_context("fork").Pool(2) as pool:
    for answers in pool.map_async(all_of_them, range(2)).get(200):
        print(*[abs(a - b).max() <= 1e-13 for a, b in zip(answers, wanted)])
assert all((a == b).all() for a, b in zip(all_of_them(), wanted))  # the parent goes on as before
"""
    )
    assert found.splitlines() == ["True True True True True"] * 2


def test_workers_of_a_data_loader_may_integrate() -> None:
    found = told(
        WORK
        + """
class Trajectories(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, k):
        starts = 0.01 * (1 + k) * np.ones((3, 4))
        return hf.integrate("henon_heiles", "rk4", starts, (0, 1), 0.05).y[:, -1]

data = Trajectories()
wanted = [data[k] for k in range(4)]
loader = torch.utils.data.DataLoader(data, num_workers=2, multiprocessing_context="fork")
print(*[bool(abs(one[0].numpy() - other).max() < 1e-14) for one, other in zip(loader, wanted)])
"""
    )
    assert found == "True True True True"


@pytest.mark.parametrize("layer", ["workqueue", "omp", "default"])
def test_two_threads_may_launch_parallel_kernels(layer: str) -> None:
    found = told(
        WORK
        + """
import threading
starts = 0.1 * np.random.default_rng(0).standard_normal((64, 4))
def long():
    return hf.integrate("henon_heiles", "rk4", starts, (0, 30), 0.01).y[:, -1]
wanted = long(), trained("rgd")
same = []
def run():
    for _ in range(5):
        same.append((long() == wanted[0]).all() and (trained("rgd") == wanted[1]).all())
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(same), all(same))
""",
        NUMBA_THREADING_LAYER=layer,
    )
    assert found == "20 True"
