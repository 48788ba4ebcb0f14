"""Workers: what they have in common, how they begin and go on, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of

from .forked import fork
from .loops import length_of
from .worker_problem import START, near, slope
from .worker_processes import gloo, port, program, workers
from .worker_recursions import RECURSIONS


@gloo
def test_springs_that_are_too_stiff_for_so_many_workers_are_refused() -> None:
    """At the start and when a value changes; alone the same value is allowed."""
    found = workers(
        """
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
    found = fork(program(work, 2))
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
    rule = program_of(catalogue.load(name))  # type: ignore[arg-type]
    numbers = {entry.name: float(entry.default) for entry in rule.hyperparameters} | hyper
    prepared = (1.0, 0.0, 1.0 - numbers["lr"] * 0.1) if name == "diloco" else (1.0, 0.0, 1.0)
    machines = [
        Interpreter(rule, dict(numbers), [START[1].copy()], preparation=prepared, workers=2)
        for _ in range(2)
    ]
    for step in range(12):
        for worker, machine in enumerate(machines):
            x, states = machine.x, dict(machine.states)
            rests = worker == 0 and lacks(step)
            gradient = 0 * x[0] if rests else slope(x[0], worker, step)
            machine.call([gradient])
            if rests:
                held = {kept: machine.states[kept] for kept in rule.held}
                machine.x, machine.states = x, {**states, **held}
        while machines[0].is_outer:
            for kept in rule.averages if machines[0].is_exchange else ():
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
