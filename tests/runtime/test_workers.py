"""Workers: processes that exchange means, beside the recursions as papers print them."""

from __future__ import annotations

import functools
import json
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch.distributed

import hamilforge as hf
from hamilforge.runtime.core.normal_numbers import key_of

from .children import told
from .loops import averaging

gloo = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch was built without gloo",
)

#: Processes with a model each; ``work(rank, size)`` returns what the first of them prints.
SETTING = """
import json, os, datetime, warnings
import torch
import torch.distributed as dist
import torch.multiprocessing as spawning
import hamilforge as hf

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
"""
RUN = """
if __name__ == "__main__":
    spawning.start_processes(begin, (SIZE, PORT), SIZE, start_method="fork")
"""
#: A problem that has the same numbers in every process and test: two parameters, and gradients that
#: differ between workers and steps.
PROBLEM = """
import math
import numpy as np

SHAPES = ((2, 3), (4,))
START = [np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(2, -1, 4)]

def slope(x, worker, step):
    return x + np.sin(x + worker) + 0.1 * math.cos(step) * (worker + 1)
"""
TRAIN = """
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
_problem: dict[str, Any] = {}
exec(PROBLEM, _problem)
START: list[Any] = _problem["START"]
slope: Callable[[Any, int, int], Any] = _problem["slope"]


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run(work: str, size: int) -> str:
    return (
        SETTING
        + PROBLEM
        + TRAIN
        + work
        + RUN.replace("SIZE", str(size)).replace("PORT", f"{port()}")
    )


def workers(work: str, size: int = 2) -> list[Any]:
    """What each of several processes returns."""
    found: list[Any] = json.loads(told(run(work, size)).splitlines()[-1])
    return found


# --- the recursions, in NumPy and by hand ---------------------------------------------------------


def easgd(x: Any, p: int, steps: int, eta: float, rho: float, tau: int) -> Any:
    """``x_i <- x_i - eta (g_i(x_i) + rho (x_i - c))``, ``c <- c + eta rho sum (x_i - c)``."""
    xs, c = [x.copy() for _ in range(p)], x.copy()
    for step in range(steps):
        olds = xs
        xs = [own - eta * slope(own, i, step) for i, own in enumerate(xs)]
        if (step + 1) % tau == 0:
            xs = [new - eta * rho * (old - c) for new, old in zip(xs, olds, strict=True)]
            c = c + eta * rho * sum(old - c for old in olds)
    return xs, [c] * p


def eamsgd(x: Any, p: int, steps: int, eta: float, rho: float, tau: int, delta: float) -> Any:
    """``v <- delta v - eta g(x + delta v)``, ``x <- x + v - eta rho (x - c)``."""
    xs, vs, c = [x.copy() for _ in range(p)], [0 * x] * p, x.copy()
    for step in range(steps):
        vs = [
            delta * v - eta * slope(own + delta * v, i, step)
            for i, (own, v) in enumerate(zip(xs, vs, strict=True))
        ]
        olds, xs = xs, [own + v for own, v in zip(xs, vs, strict=True)]
        if (step + 1) % tau == 0:
            xs = [new - eta * rho * (old - c) for new, old in zip(xs, olds, strict=True)]
            c = c + eta * rho * sum(old - c for old in olds)
    return [own + delta * v for own, v in zip(xs, vs, strict=True)], [c] * p


def parle(
    x: Any, p: int, steps: int, lr: float, L: int, eta: float, gamma: float, rho: float, rate: float
) -> Any:
    """Deep relaxation in each worker; every L steps ``x - lr (x - z) - (lr/rho)(x - mean)``."""
    a, floor, rho_floor = 0.75, 0.1, 0.1
    xs, ys, zs, c = [x.copy() for _ in range(p)], [x] * p, [x] * p, x
    for step in range(steps):
        k = step // L
        wide = max(gamma * (1 - rate) ** k, floor)
        spring = max(rho * (1 - rate) ** k, rho_floor)
        ys = [
            y - eta * (slope(y, i, step) + (y - own) / wide)
            for i, (y, own) in enumerate(zip(ys, xs, strict=True))
        ]
        zs = [a * z + (1 - a) * y for z, y in zip(zs, ys, strict=True)]
        if (step + 1) % L == 0:
            mean, mean_z = sum(xs) / p, sum(zs) / p
            xs = [
                own - lr * (own - z) - lr / spring * (own - mean)
                for own, z in zip(xs, zs, strict=True)
            ]
            c = mean - lr * (mean - mean_z)
            ys, zs = [*xs], [*xs]
    return ys, [c] * p


def local_sgd(x: Any, p: int, steps: int, lr: float, momentum: float, tau: int) -> Any:
    """torch's SGD in each worker; every tau steps their mean."""
    xs, vs = [x.copy() for _ in range(p)], [0 * x] * p
    for step in range(steps):
        vs = [
            momentum * v + slope(own, i, step)
            for i, (own, v) in enumerate(zip(xs, vs, strict=True))
        ]
        xs = [own - lr * v for own, v in zip(xs, vs, strict=True)]
        if (step + 1) % tau == 0:
            xs = [sum(xs) / p] * p
    return xs, xs


def diloco(x: Any, p: int, steps: int, lr: float, H: int, outer_lr: float, mu: float) -> Any:
    """torch's AdamW in each worker; every H steps torch's SGD with Nesterov of the mean way."""
    params = [torch.nn.Parameter(torch.tensor(x)) for _ in range(p)]
    inner = [torch.optim.AdamW([own], lr=lr, weight_decay=0.1, foreach=False) for own in params]
    anchor = torch.nn.Parameter(torch.tensor(x))
    outer = torch.optim.SGD([anchor], lr=outer_lr, momentum=mu, nesterov=mu > 0)
    for step in range(steps):
        for i, (own, optimizer) in enumerate(zip(params, inner, strict=True)):
            own.grad = torch.tensor(slope(own.detach().numpy(), i, step))
            optimizer.step()
        if (step + 1) % H == 0:
            anchor.grad = anchor.detach() - sum(own.detach() for own in params) / p
            outer.step()
            with torch.no_grad():
                for own in params:
                    own.copy_(anchor)
    return [own.detach().numpy() for own in params], [anchor.detach().numpy()] * p


RECURSIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "easgd": (easgd, {"eta": 0.2, "rho": 0.7, "tau": 3}),
    "eamsgd": (eamsgd, {"eta": 0.05, "rho": 1.5, "tau": 3, "delta": 0.9}),
    "parle": (
        parle,
        {"lr": 0.3, "L": 4, "eta": 0.15, "gamma": 0.8, "rho": 1.3, "rate": 0.1},
    ),
    "local_sgd": (local_sgd, {"lr": 0.1, "momentum": 0.5, "tau": 3}),
    "diloco": (diloco, {"lr": 0.05, "H": 4, "outer_lr": 0.7, "mu": 0.9}),
}
STEPS = 26


def test_every_rule_with_means_has_a_recursion() -> None:
    assert set(averaging()) == set(RECURSIONS)


@functools.cache
def trained(size: int) -> dict[str, Any]:
    """What processes have after training with every rule."""
    chosen = {name: hyper for name, (_, hyper) in RECURSIONS.items()}
    found = workers(
        f"RULES = {chosen!r}\nSTEPS = {STEPS}\n"
        """
FORMS = {"kernel": {"fused": True}, "lists": {"foreach": True},
         "functional": {"fused": False, "foreach": False}}
def work(rank, size):
    told = {}
    for name, hyper in RULES.items():
        for form, choice in FORMS.items():
            params = parameters()
            optimizer = hf.optimizer(name)(
                params, **hyper, **choice, process_group=dist.group.WORLD
            )
            train(optimizer, params, rank, 0, STEPS)
            told[f"{name} {form}"] = values(params), solved(optimizer, params)
    return told
""",
        size,
    )
    return {name: [own[name] for own in found] for name in found[0]}


@gloo
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("form", ["kernel", "lists", "functional"])
@pytest.mark.parametrize("name", RECURSIONS)
def test_processes_are_the_recursion(name: str, form: str, size: int) -> None:
    recursion, hyper = RECURSIONS[name]
    found = trained(size)[f"{name} {form}"]
    for number, start in enumerate(START):
        points, solutions = recursion(start, size, STEPS, **hyper)
        for rank, (ours, solved) in enumerate(found):
            np.testing.assert_allclose(ours[number], points[rank].ravel(), rtol=0, atol=1e-13)
            np.testing.assert_allclose(solved[number], solutions[rank].ravel(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", RECURSIONS)
def test_the_simulation_is_the_recursion(name: str, size: int) -> None:
    recursion, hyper = RECURSIONS[name]
    start = START[0]
    found = hf.simulate_workers(name, slope, size, start, STEPS, **hyper)
    points, solutions = recursion(start, size, STEPS, **hyper)
    np.testing.assert_allclose(found.x, points, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.solution, solutions, rtol=0, atol=1e-13)
    assert found.path.shape == (STEPS + 1, size, 2, 3)


def test_the_noise_of_workers_differs_unless_it_is_wanted_equal() -> None:
    """Parle at a temperature: replicas are keyed by their ranks."""

    def still(x: Any, worker: int, step: int) -> Any:
        return 0 * x

    hyper = {"temperature": 0.3, "L": 2, "lr": 0.0}
    start = np.zeros(4000)
    found = hf.simulate_workers("parle", still, 3, start, 1, seed=5, **hyper)
    correlations = np.corrcoef(found.x)
    assert abs(correlations - np.eye(3)).max() < 4 / np.sqrt(start.size)
    equal = hf.simulate_workers("parle", still, 3, start, 1, seed=5, equal_noise=True, **hyper)
    assert (equal.x == found.x[0]).all()
    assert len({key_of(5, rank, "0") for rank in range(3)}) == 3


@gloo
def test_processes_draw_what_the_simulation_draws() -> None:
    found = workers(
        """
def work(rank, size):
    told = []
    for equal in (False, True):
        params = parameters()[:1]
        optimizer = hf.optimizer("parle")(
            params, L=3, temperature=0.2, seed=4, process_group=dist.group.WORLD, equal_noise=equal
        )
        train(optimizer, params, rank, 0, 7)
        told.append(values(params)[0])
    return told
"""
    )
    for number, equal in enumerate((False, True)):
        expected = hf.simulate_workers(
            "parle", slope, 2, START[0], 7, seed=4, equal_noise=equal, L=3, temperature=0.2
        )
        for rank in range(2):
            ours = np.reshape(found[rank][number], START[0].shape)
            np.testing.assert_allclose(ours, expected.x[rank], rtol=0, atol=1e-13)
