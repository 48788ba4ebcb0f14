"""Workers: processes that exchange means, beside the recursions as papers print them."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch.distributed

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of
from hamilforge.runtime.core.normal_numbers import key_of

from .children import child, told
from .loops import averaging, length_of, product_of

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
import sympy

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
        {"lr": 0.15, "L": 4, "eta": 0.15, "gamma": 0.8, "rho": 1.3, "rate": 0.1},
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
            [("weight", params[0])],
            L=3,
            temperature=0.2,
            seed=4,
            process_group=dist.group.WORLD,
            equal_noise=equal,
        )
        train(optimizer, params, rank, 0, 7)
        told.append(values(params)[0])
    return told
"""
    )
    for number, equal in enumerate((False, True)):
        expected = hf.simulate_workers(
            "parle",
            slope,
            2,
            START[0],
            7,
            seed=4,
            equal_noise=equal,
            parameter="weight",
            L=3,
            temperature=0.2,
        )
        for rank in range(2):
            ours = np.reshape(found[rank][number], START[0].shape)
            np.testing.assert_allclose(ours, expected.x[rank], rtol=0, atol=1e-13)


# --- what one rule is of another ------------------------------------------------------------------


def near(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


def one_slope(x: Any, worker: int, step: int) -> Any:
    return slope(x, 0, step)


def test_one_easgd_worker_on_no_spring_is_sgd() -> None:
    ours = hf.simulate_workers("easgd", slope, 1, START[0], 100, eta=0.1, rho=0.0, tau=1)
    sgd = hf.simulate_workers("sgd", slope, 1, START[0], 100, lr=0.1)
    near(ours.x, sgd.x)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_centre_on_its_stiffest_springs_is_the_mean_of_the_step_before(size: int) -> None:
    """workers*eta*rho = 1, which the centre alone would take at once."""
    hyper = {"eta": 0.1, "rho": 1 / (0.1 * size), "tau": 1}
    for steps in (1, 2, 50, 100):
        ours = hf.simulate_workers("easgd", slope, size, START[0], steps, **hyper)
        near(ours.solution, np.broadcast_to(ours.path[-2].mean(axis=0), ours.solution.shape))


def test_parle_of_one_worker_is_deep_relaxation_with_lr_times_gamma() -> None:
    same = {"gamma": 0.7, "L": 3, "eta": 0.1, "rate": 0.0}
    ours = hf.simulate_workers("parle", slope, 1, START[0], 300, lr=0.3 / 0.7, **same)
    theirs = hf.simulate_workers(
        "deep_relaxation", slope, 1, START[0], 300, lr=0.3, temperature=0.0, **same
    )
    near(ours.x, theirs.x)
    near(ours.solution, theirs.solution)


def test_parle_with_loops_of_one_step_is_elastic_averaging_around_the_present_mean() -> None:
    lr, a, eta, rho, size = 0.4, 0.6, 0.2, 0.9, 3
    hyper = {"lr": lr, "a": a, "eta": eta, "rho": rho, "L": 1, "rate": 0.0}
    ours = hf.simulate_workers("parle", slope, size, START[0], 100, **hyper)
    xs = [START[0]] * size
    for step in range(100):
        mean = sum(xs) / size
        xs = [
            own - lr * (1 - a) * eta * slope(own, i, step) - lr / rho * (own - mean)
            for i, own in enumerate(xs)
        ]
        near(ours.path[step + 1], xs)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_local_sgd_that_averages_each_step_is_data_parallel(momentum: float) -> None:
    hyper = {"lr": 0.1, "momentum": momentum}
    ours = hf.simulate_workers("local_sgd", slope, 4, START[0], 100, tau=1, **hyper)

    def mean_slope(x: Any, worker: int, step: int) -> Any:
        return sum(slope(x, own, step) for own in range(4)) / 4

    alone = hf.simulate_workers("sgd", mean_slope, 1, START[0], 100, **hyper)
    near(ours.x, np.broadcast_to(alone.x, ours.x.shape))


@pytest.mark.parametrize("length", [1, 7])
def test_diloco_of_one_worker_without_outer_momentum_is_its_inner_adamw(length: int) -> None:
    hyper = {"lr": 0.02, "eps": 1e-3}
    ours = hf.simulate_workers(
        "diloco", slope, 1, START[0], 98, H=length, mu=0.0, outer_lr=1.0, **hyper
    )
    adamw = hf.simulate_workers("adamw", slope, 1, START[0], 98, weight_decay=0.1, **hyper)
    near(ours.x, adamw.x)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_springs_alone_grow_from_where_the_guard_begins(size: int) -> None:
    """No loss: bounded at (workers + 1) eta rho = 1.99, growing at 2.01."""

    def kicked(x: Any, worker: int, step: int) -> Any:
        return (step == 0) * (1.0 + worker) * np.ones_like(x)

    def largest(product: float, steps: int) -> float:
        hyper = {"eta": 0.1, "rho": product / (size + 1) / 0.1, "tau": 1}
        return float(
            abs(hf.simulate_workers("easgd", kicked, size, np.zeros(1), steps, **hyper).path).max()
        )

    assert largest(1.99, 4000) == largest(1.99, 400)
    assert largest(2.01, 4000) > 1e10 * largest(2.01, 400)


# --- guards, starts, and the ends of others -------------------------------------------------------


@gloo
def test_springs_that_are_too_stiff_for_so_many_workers_are_refused() -> None:
    """At the start and when a value changes; alone the same value is allowed."""
    found = workers(
        """
def said(work):
    try:
        work()
    except ValueError as error:
        return str(error)
    return ""

def work(rank, size):
    rule, world = hf.optimizer("easgd"), dist.group.WORLD
    rule(parameters(), eta=0.1, rho=9.0, process_group="none")
    start = said(lambda: rule(parameters(), eta=0.1, rho=9.0, process_group=world))
    params = parameters()
    optimizer = rule(params, eta=0.1, rho=1.0, process_group=world)
    train(optimizer, params, rank, 0, 1)
    before = values(params)
    optimizer.param_groups[0]["eta"] = 1.0
    later = said(lambda: train(optimizer, params, rank, 1, 2))
    return start, later, values(params) == before
"""
    )
    for start, later, same in found:
        assert "(workers + 1)*eta*rho must be less than 2" in start
        assert "(workers + 1)*eta*rho must be less than 2" in later
        assert same


@gloo
def test_a_world_of_processes_needs_a_group() -> None:
    found = workers(
        """
def work(rank, size):
    told = []
    for choice in ({}, {"process_group": "none"}, {"process_group": 3},
                   {"process_group": dist.GroupMember.NON_GROUP_MEMBER}):
        try:
            params = parameters()
            optimizer = hf.optimizer("local_sgd")(params, tau=1, **choice)
            train(optimizer, params, rank, 0, 2)
            told.append(values(params))
        except (TypeError, ValueError) as error:
            told.append(str(error))
    return told
"""
    )
    for rank, (missing, alone, wrong, other) in enumerate(found):
        assert "there are 2 processes; choose process_group=" in missing
        assert "of the class int" in wrong
        assert "not in process_group" in other
        expected = hf.simulate_workers(
            "local_sgd", lambda x, _, step, rank=rank: slope(x, rank, step), 1, START[0], 2, tau=1
        )
        near(np.reshape(alone[0], START[0].shape), expected.x[0])


@gloo
def test_workers_begin_alike_or_it_is_said() -> None:
    found = workers(
        """
def work(rank, size):
    told = []
    for broadcast in (False, True):
        torch.manual_seed(rank)
        model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
        with torch.no_grad():
            model[0].weight.fill_(1.0)
            model[0].bias.copy_(torch.arange(3.0) + 10 * rank)
        try:
            hf.optimizer("local_sgd")(
                model.named_parameters(), process_group=dist.group.WORLD, broadcast=broadcast
            )
            told.append([param.detach().ravel().tolist() for param in model.parameters()])
        except ValueError as error:
            told.append(str(error))
    params = [torch.nn.Parameter(torch.ones(2 + rank))]
    try:
        hf.optimizer("local_sgd")(params, process_group=dist.group.WORLD)
    except ValueError as error:
        told.append(str(error))
    return told
"""
    )
    for rank, (different, same, other) in enumerate(found):
        assert f"parameter 0.bias begins elsewhere in worker {1 - rank}" in different
        assert "broadcast=True" in different
        assert same == found[0][1]
        assert same[1] == [0.0, 1.0, 2.0]
        assert f"0 of float32 and shape ({2 + rank},) here" in other


@gloo
def test_unequal_step_counts_are_an_error_in_every_worker() -> None:
    found = workers(
        """
def work(rank, size):
    params = parameters(torch.float32)
    optimizer = hf.optimizer("local_sgd")(params, tau=4, process_group=dist.group.WORLD)
    optimizer.param_groups[0]["tau"] = 4 + rank
    try:
        for step in range(6):
            for param in params:
                param.grad = torch.ones_like(param)
            optimizer.step()
    except RuntimeError as error:
        told = str(error)
    for what in (lambda: optimizer.step(), lambda: optimizer.state_dict()):
        try:
            what()
        except RuntimeError as error:
            told += " / " + str(error)
    return told
""",
        3,
    )
    for rank, told_ in enumerate(found):
        assert f"different numbers of steps, this one {4 + rank}" in told_
        assert told_.count("outer step of the last step() was not finished") == 2


@gloo
def test_a_worker_that_dies_ends_the_others() -> None:
    work = """
import time
def work(rank, size):
    params = parameters()
    optimizer = hf.optimizer("easgd")(params, tau=2, process_group=dist.group.WORLD)
    begun = time.monotonic()
    try:
        train(optimizer, params, rank, 0, 3)
        if rank == 1:
            os._exit(0)
        train(optimizer, params, rank, 3, 9)
    except RuntimeError as error:
        print(json.dumps([str(error), time.monotonic() - begun]), flush=True)
        os._exit(0)
"""
    found = child(run(work, 2))
    (line,) = (line for line in found.stdout.splitlines() if line.startswith("["))
    message, seconds = json.loads(line)
    assert "the exchange of their means between 2 workers failed" in message
    assert "perhaps one has ended" in message
    assert seconds < 40


@gloo
def test_a_run_goes_on_with_as_many_workers_as_before() -> None:
    """Bit for bit from the middle of a loop; with another number it is refused."""
    found = workers(
        """
import io
def work(rank, size):
    told = []
    world = dist.group.WORLD
    for name, hyper in (("parle", {"L": 4, "temperature": 0.1}), ("diloco", {"H": 4})):
        rule = hf.optimizer(name)
        params = parameters()
        optimizer = rule(params, **hyper, process_group=world)
        train(optimizer, params, rank, 0, 6)
        file = io.BytesIO()
        torch.save((params, optimizer.state_dict()), file)
        train(optimizer, params, rank, 6, 13)
        file.seek(0)
        others, state = torch.load(file, weights_only=False)
        fresh = parameters()
        resumed = rule(fresh, **hyper, process_group=world)
        with torch.no_grad():
            for param, saved in zip(fresh, others):
                param.copy_(saved)
        resumed.load_state_dict(state)
        train(resumed, fresh, rank, 6, 13)
        told.append(values(fresh) == values(params))
        try:
            rule(parameters(), **hyper, process_group="none").load_state_dict(state)
        except ValueError as error:
            told.append(str(error))
    return told
"""
    )
    for same, message, other_same, other_message in found:
        assert same is True
        assert other_same is True
        for text in (message, other_message):
            assert "the state is one of 2 workers, and there are 1" in text


@gloo
def test_an_exchange_is_one_reduction_of_one_buffer_in_each_loop() -> None:
    found = workers(
        """
def work(rank, size):
    told, own = [], dist.all_reduce
    def counted(buffer, *arguments, **choices):
        told.append((buffer.numel(), str(buffer.dtype)))
        return own(buffer, *arguments, **choices)
    dist.all_reduce = counted
    for dtype in (torch.float64, torch.bfloat16):
        params = parameters(dtype)
        optimizer = hf.optimizer("parle")(
            [{"params": params[:1]}, {"params": params[1:]}], L=3, process_group=dist.group.WORLD
        )
        for _ in range(7):
            for param in params:
                param.grad = torch.ones_like(param)
            optimizer.step()
    dist.all_reduce = own
    place = optimizer.product.MEMORY.index("last_loops")
    return told, optimizer.param_groups[0]["clock"].memory[place]
"""
    )
    for told_, loops in found:
        counters = 3 * 32
        assert (
            told_ == [[20 + counters, "torch.float64"]] * 2 + [[20 + counters, "torch.float32"]] * 2
        )
        assert loops == 2


LACKING = {
    "all steps": lambda step: True,
    "the last step": lambda step: step % 3 == 2,
    "the first step": lambda step: step % 3 == 0,
}


@gloo
def test_a_worker_may_lack_gradients_that_others_have() -> None:
    """A parameter without a gradient takes part in means from where it stands."""
    chosen = {name: {**hyper, length_of(name): 3} for name, (_, hyper) in RECURSIONS.items()}
    found = workers(
        f"RULES = {chosen!r}"
        """
LACKING = {"all steps": lambda step: True, "the last step": lambda step: step % 3 == 2,
           "the first step": lambda step: step % 3 == 0}
def work(rank, size):
    told = {}
    for name, hyper in RULES.items():
        for label, lacks in LACKING.items():
            params = parameters()
            optimizer = hf.optimizer(name)(params, **hyper, process_group=dist.group.WORLD)
            for step in range(12):
                for number, param in enumerate(params):
                    param.grad = torch.tensor(slope(param.detach().numpy(), rank, step))
                    if rank == 0 and number == 1 and lacks(step):
                        param.grad = None
                optimizer.step()
            told[f"{name} {label}"] = values(params), solved(optimizer, params)
    return told
"""
    )
    for name, hyper in chosen.items():
        for label, lacks in LACKING.items():
            expected = lacking(name, hyper, lacks)
            for rank, (points, solutions) in enumerate(own[f"{name} {label}"] for own in found):
                near(points[1], expected[rank][0])
                near(solutions[1], expected[rank][1])


def lacking(name: str, hyper: dict[str, Any], lacks: Callable[[int], bool]) -> list[Any]:
    """The second parameter of two workers; the first lacks gradients, and its step is undone."""
    program = program_of(catalogue.load(name))  # type: ignore[arg-type]
    numbers = {entry.name: float(entry.default) for entry in program.hyperparameters} | hyper
    prepared = (1.0, 0.0, 1.0 - numbers["lr"] * 0.1) if name == "diloco" else (1.0, 0.0, 1.0)
    machines = [
        Interpreter(program, dict(numbers), [START[1].copy()], preparation=prepared, workers=2)
        for _ in range(2)
    ]
    for step in range(12):
        for worker, machine in enumerate(machines):
            x, states = machine.x, dict(machine.states)
            rests = worker == 0 and lacks(step)
            gradient = 0 * x[0] if rests else slope(x[0], worker, step)
            machine.call([gradient])
            if rests:
                held = {kept: machine.states[kept] for kept in program.held}
                machine.x, machine.states = x, {**states, **held}
        while machines[0].is_outer:
            for kept in program.averages if machines[0].is_exchange else ():
                mean = sum(machine.states[kept][0] for machine in machines) / 2
                for machine in machines:
                    machine.states[kept] = [mean]
            for machine in machines:
                machine.call(machine.x)
    return [(machine.x[0].ravel(), machine.solution()[0].ravel()) for machine in machines]


@gloo
def test_what_workers_have_in_common_is_compared() -> None:
    """Hyper-parameters at the start and in outer steps, and what follows from means alone."""
    found = workers(
        """
import copy, pickle
def said(work):
    try:
        work()
    except (RuntimeError, TypeError, ValueError) as error:
        return str(error)
    return "nothing"

def work(rank, size):
    world, told = dist.group.WORLD, {}
    easgd = hf.optimizer("easgd")
    told["start"] = said(lambda: easgd(parameters(), eta=0.1 + 0.1 * rank, process_group=world))
    mixed = easgd if rank else hf.optimizer("eamsgd")
    told["rule"] = said(lambda: mixed(parameters(), process_group=world))
    params = parameters()
    optimizer = easgd(params, eta=0.1, tau=2, process_group=world)
    optimizer.param_groups[0]["rho"] = 1.0 + rank
    told["outer"] = said(lambda: train(optimizer, params, rank, 0, 2))
    params = parameters()
    optimizer = easgd(params, tau=2, process_group=world)
    train(optimizer, params, rank, 0, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    if rank == 1:
        saved["state"][0]["c"] += 1e-15
    optimizer.load_state_dict(saved)
    told["loaded"] = said(lambda: train(optimizer, params, rank, 3, 4))
    params = parameters()
    optimizer = easgd(params, tau=2, process_group=world)
    for step in range(4):  # the first worker has no data in a step
        for param in params:
            param.grad = None if rank == 0 and step == 1 else torch.ones_like(param)
        optimizer.step()
    told["empty"] = values(params)
    twin = copy.deepcopy(optimizer)
    told["copied"] = said(lambda: train(twin, twin.param_groups[0]["params"], rank, 4, 8))
    told["pickled"] = said(lambda: pickle.dumps(optimizer))
    told["differentiable"] = said(
        lambda: easgd(parameters(), differentiable=True, process_group=world)
    )
    optimizer.param_groups[0]["differentiable"] = True
    told["later"] = said(lambda: train(optimizer, params, rank, 4, 5))
    told["flag"] = said(lambda: easgd(parameters(), broadcast=3, process_group=world))
    pair = dist.new_group([size - 2, size - 1])
    if rank > 0:
        members = parameters()
        optimizer = hf.optimizer("local_sgd")(
            members, tau=1, process_group=pair, broadcast=True
        )
        train(optimizer, members, rank - 1, 0, 5)
        told["pair"] = values(members)
    x = torch.arange(6.0).reshape(2, 3) * (1 + rank)
    turned = torch.nn.Parameter(x if rank else x.t().contiguous().t())
    hf.optimizer("local_sgd")([turned], process_group=world, broadcast=True)
    told["turned"] = turned.tolist()
    return told
""",
        3,
    )
    for rank, told_ in enumerate(found):
        assert "eta = 0." in told_["start"]
        assert "all workers need the same" in told_["start"]
        assert "the optimizer is Ea" in told_["rule"]
        assert "hyper-parameters of the outer step are not the same" in told_["outer"]
        assert "c should be the same in all" in told_["loaded"]
        assert told_["copied"] == "nothing"
        assert "cannot be pickled" in told_["pickled"]
        assert "keeps no graph" in told_["differentiable"]
        assert "keeps no graph" in told_["later"]
        assert "broadcast = 3 is not True or False" in told_["flag"]
        assert told_["turned"] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        if rank:
            expected = hf.simulate_workers("local_sgd", slope, 2, START[0], 5, tau=1)
            near(np.reshape(told_["pair"][0], START[0].shape), expected.x[rank - 1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adan", {"weight_decay": -1.0}, "weight_decay"),
        ("sgd", {"weight_decay": float("nan")}, "weight_decay"),
        ("sgd", {"weight_decay": "a"}, "weight_decay"),
        ("easgd", {"decoupled_weight_decay": True}, "no hyper-parameter lr"),
        ("parle", {"decoupled_weight_decay": True}, "lr is not the size of these"),
        ("easgd", {"roh": 1.0}, "no hyper-parameter roh; expected one of eta, rho, tau"),
        ("easgd", {"tau": 1.5}, "tau"),
    ],
)
def test_what_a_simulation_refuses(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hf.simulate_workers(name, slope, 2, START[0], 3, **options)
    for count in (0, 1.5, "2"):
        with pytest.raises(ValueError, match="workers"):
            hf.simulate_workers(name, slope, count, START[0], 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a gradient"):
        hf.simulate_workers(name, lambda x, _, step: 1j * x, 2, START[0], 3)
    with pytest.raises(ValueError, match="a gradient has the shape"):
        hf.simulate_workers(name, lambda x, _, step: x[0], 2, START[0], 3)


def test_a_rule_with_its_own_decay_is_simulated_with_it() -> None:
    paths = [
        hf.simulate_workers("adan", slope, 1, START[0], 5, weight_decay=decay).path
        for decay in (0.0, 0.5)
    ]
    assert abs(paths[0] - paths[1]).max() > 1e-4


def test_options_of_workers_are_of_the_whole_optimizer_and_of_rules_with_means() -> None:
    param = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(TypeError, match="process_group is one for all groups"):
        hf.optimizer("easgd")([{"params": [param], "process_group": "none"}])
    with pytest.raises(TypeError, match="no option 'process_group'"):
        hf.optimizer("sgd")([param], process_group="none")


def test_processes_that_do_not_know_each_other_are_refused(monkeypatch: Any) -> None:
    """As torchrun starts them, before their group is made."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    param = torch.nn.Parameter(torch.ones(2))
    for choice in ({}, {"process_group": torch.distributed.group.WORLD}):
        with pytest.raises(ValueError, match=r"init_process_group\(\.\.\.\) comes first"):
            hf.optimizer("easgd")([param], **choice)
    hf.optimizer("easgd")([param], process_group="none")
    hf.optimizer("sgd")([param])


def test_graphs_are_kept_by_one_worker_alone() -> None:
    """Alone, a step with means is differentiable as any other."""
    start = torch.linspace(-1, 1, 5, dtype=torch.float64)

    def end(rate: torch.Tensor) -> torch.Tensor:
        x = start.clone().requires_grad_() * 1
        optimizer = hf.optimizer("easgd")([x], eta=rate, tau=2, differentiable=True)
        for _ in range(5):
            x.grad = x.clone() ** 3
            optimizer.step()
        return x.sum()

    rate = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(end(rate), rate)
    with torch.no_grad():
        difference = (end(rate + 1e-6) - end(rate - 1e-6)) / 2e-6
    torch.testing.assert_close(derivative, difference, rtol=1e-7, atol=1e-9)


@gloo
def test_the_example_learns(tmp_path: Path) -> None:
    example = "-m hamilforge.runtime.demo.workers diloco lr=0.003 H=50".split()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *example]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(port())}
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment
    )
    (line,) = (line for line in found.stdout.splitlines() if "recognised" in line)
    said, _, share = line.removesuffix(" % of the test digits recognised").rpartition(": ")
    assert said == "diloco, 2 workers"
    assert float(share) > 95


@pytest.mark.parametrize(
    ("size", "lr", "holds"), [(1, 0.5, True), (2, 0.5, False), (2, 0.15, True)]
)
def test_parle_needs_springs_that_are_not_too_stiff(size: int, lr: float, holds: bool) -> None:
    """Beyond, workers apart go further apart: lr/rho times their distance is taken off it."""

    def kicked(x: Any, worker: int, step: int) -> Any:
        return (step == 0) * (1.0 + worker) * np.ones_like(x)

    hyper = {"rho": 0.1, "rho_floor": 0.1, "L": 1, "lr": lr}
    module = product_of("parle")
    values = {key: default for key, (default, _) in module.HYPERPARAMETERS.items()} | hyper
    found = hf.simulate_workers("parle", kicked, size, np.zeros(1), 60, **hyper)
    grown = abs(found.path).max() > 100
    assert grown == (not holds)
    if holds:
        module.check_requirements(*values.values(), size)
        return
    with pytest.raises(ValueError, match="less than twice the least rho"):
        module.check_requirements(*values.values(), size)


LIMITS = {
    "easgd": {"eta": 0.1, "rho": 2.0, "tau": 1},
    "eamsgd": {"eta": 0.1, "rho": 2.0, "delta": 0.5, "tau": 1},
    "parle": {"eta": 0.1, "rho": 0.5, "lr": 0.3, "L": 1, "rate": 0.0, "gamma": 2.0},
    "local_sgd": {"lr": 0.1, "momentum": 0.5, "tau": 1},
}


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("mode", ["together", "apart"])
@pytest.mark.parametrize("name", LIMITS)
def test_workers_on_a_parabola_grow_from_the_limit_that_is_proved(
    name: str, mode: str, size: int
) -> None:
    """Beside it on either side, from a start alike, or from kicks whose mean is 0."""
    hyper = LIMITS[name]
    text = hf.check(name).finding("loop_stability").value[mode]
    if not text.startswith("lambda < "):
        assert (name, mode) == ("local_sgd", "apart")
        return
    formula = text.removeprefix("lambda < ").removesuffix(" near the defaults")
    names = {**hyper, "a": 0.75, "rho_k": hyper.get("rho", 1.0), "workers": size}
    limit = float(sympy.sympify(formula, locals={"lambda": 0}).subs(names))

    def largest(curvature: float, steps: int) -> float:
        def slopes(x: Any, worker: int, step: int) -> Any:
            kick = {"together": 1.0, "apart": (-1.0) ** worker}[mode] * (step == 0)
            return curvature * x + kick

        path = hf.simulate_workers(name, slopes, size, np.zeros(1), steps, **hyper).path
        return float(abs(path[steps // 2 :]).max())

    assert largest(0.99 * limit, 3000) < 1e-3
    assert largest(1.01 * limit, 3000) > 1e3
