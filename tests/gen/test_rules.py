"""Optimizers that are assignments, the whole line: declared, proved, emitted, beside torch's."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge import optimizer_cases
from hamilforge.document import show
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError, DeclarationError
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.plot_command import run as plot
from hamilforge.runtime.core.comparison import Verification
from hamilforge.runtime.optimizers.verify import compare
from hamilforge.templates import write
from tests.interpreted import SHAPES, Interpreted

HEAD = 'kind = "optimizer"\nname = "mine"\ntitle = "Mine"\nreference = "-"\n'
LR = 'lr = { default = 0.1, domain = "nonnegative" }\n'
Verifies = Callable[[str | Path], Verification]
DTYPES = (torch.float32, torch.float64)


@pytest.fixture
def averages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rule that ``hamilforge new rule`` begins with."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / write("rule", "mine")


def declared(folder: Path, unknowns: str, *assign: str, hyper: str = LR, more: str = "") -> Path:
    lines = ", ".join(f'"{line}"' for line in assign)
    path = folder / "mine.toml"
    text = f"unknowns = {unknowns}\nassign = [{lines}]\n[hyperparameters]\n{hyper}{more}"
    path.write_text(HEAD + text)
    return path


def pair(dtype: torch.dtype) -> tuple[list[Any], list[Any]]:
    torch.manual_seed(3)
    ours = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((5, 7), (3,), ())]
    return ours, [torch.nn.Parameter(param.detach().clone()) for param in ours]


def step(optimizer: Any, params: list[Any]) -> None:
    for param in params:
        param.grad = torch.sin(3 * param.detach())
    optimizer.step()


def distance(ours: list[Any], theirs: list[Any]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("reference", "options"),
    [
        (torch.optim.Adam, {}),
        (torch.optim.Adam, {"weight_decay": 0.1}),
        (torch.optim.Adam, {"maximize": True}),
        (torch.optim.AdamW, {"weight_decay": 0.1}),
    ],
    ids=["plain", "L2", "maximize", "decoupled"],
)
def test_two_averages_are_torchs_adam(
    reference: Any, options: dict[str, Any], dtype: torch.dtype, fused: bool, averages: Path
) -> None:
    ours, theirs = pair(dtype)
    own = {**options, "decoupled_weight_decay": reference is torch.optim.AdamW}
    optimizer = hf.optimizer(str(averages))(ours, lr=1e-2, fused=fused, **own)
    other = reference(theirs, lr=1e-2, **({"weight_decay": 0.0} | options))
    for _ in range(30):
        step(optimizer, ours)
        step(other, theirs)
    assert distance(ours, theirs) <= 8 * torch.finfo(dtype).eps
    assert {*optimizer.state[ours[0]]} == {"m", "v"}
    assert torch.allclose(optimizer.state[ours[0]]["v"], other.state[theirs[0]]["exp_avg_sq"])


def test_every_backend_agrees_with_the_interpretation(averages: Path, verifies: Verifies) -> None:
    assert verifies(averages).holds


def test_the_report_says_what_a_step_costs_and_why_there_is_no_order(averages: Path) -> None:
    report = hf.check(averages)
    assert report["state_buffers"] == 2
    assert report["passes"] == report["gradients_per_step"] == 1
    assert report["bytes_per_parameter"] == 28  # x, m, v read and written, g read
    assert report["order"] is None
    assert "no system" in report.finding("order").why
    assert "grad(theta)**2" in show(averages)


def test_states_are_saved_restored_and_copied(averages: Path) -> None:
    ours, theirs = pair(torch.float64)
    method = hf.optimizer(str(averages))
    first, second = method(ours), method(theirs)
    for _ in range(3):
        step(first, ours)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for param, other in zip(ours, theirs, strict=True):
        other.data.copy_(param.data)
    for _ in range(3):
        step(first, ours)
        step(second, theirs)
    assert distance(ours, theirs) == 0
    damaged = copy.deepcopy(first.state_dict())
    del damaged["state"][0]["v"]
    with pytest.raises(ValueError, match="has no v"):
        second.load_state_dict(damaged)


def test_differentiable_steps_keep_the_graph_through_every_array(averages: Path) -> None:
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    def end(scale: Any) -> Any:
        start = torch.linspace(-1, 1, 4, dtype=torch.float64)
        param = torch.zeros(4, dtype=torch.float64, requires_grad=True).clone()
        optimizer = hf.optimizer(str(averages))([param], lr=0.1, eps=0.5, differentiable=True)
        for _ in range(2):
            param.grad = scale * (start + 0.1 * param.clone() ** 2)
            optimizer.step()
        return (param * start).sum()

    (slope,) = torch.autograd.grad(end(scale), scale)
    step_size = 1e-5
    with torch.no_grad():
        ends = [end(scale + k * step_size) for k in (1, -1)]
    assert float(slope) == pytest.approx(float(ends[0] - ends[1]) / (2 * step_size), rel=1e-4)


def test_it_minimises_without_torch(averages: Path) -> None:
    found = hf.minimize(
        lambda x: float(((x - 3) ** 2).sum()),
        [0.0, 1.0],
        jac=lambda x: 2 * (x - 3),
        method=str(averages),
        options={"lr": 0.1, "maxiter": 3000},
    )
    assert found.success
    assert np.allclose(found.x, 3, atol=1e-5)


WITH_A_SUM = (
    '["theta"]',
    "size = norm(grad(theta)) + 1",
    "direction = grad(theta)/size",
    "theta = theta - lr*direction",
)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_sums_and_locals_in_a_rule(fused: bool, tmp_path: Path) -> None:
    path = declared(tmp_path, *WITH_A_SUM)
    ours, theirs = pair(torch.float64)
    optimizer = hf.optimizer(str(path))(ours, fused=fused)
    step(optimizer, ours)
    gradients = [torch.sin(3 * param.detach()) for param in theirs]
    size = 1 + torch.cat([gradient.ravel() for gradient in gradients]).norm()
    for param, gradient in zip(theirs, gradients, strict=True):
        param.data -= 0.1 * gradient / size
    assert distance(ours, theirs) < 1e-15
    assert not optimizer.state[ours[0]]


def test_sums_in_a_rule_are_verified(tmp_path: Path, verifies: Verifies) -> None:
    assert verifies(declared(tmp_path, *WITH_A_SUM)).holds


@pytest.mark.parametrize("name", ["x", "g", "x_new", "gradient", "sign", "np", "lambda", "m_new"])
def test_arrays_may_have_any_name(name: str, tmp_path: Path, verifies: Verifies) -> None:
    path = declared(
        tmp_path,
        f'["theta", "{name}"]',
        f"{name} = {name}/2 + grad(theta)",
        f"theta = theta - lr*{name}",
    )
    ours, theirs = pair(torch.float64)
    optimizer = hf.optimizer(str(path))(ours, fused=False)
    other = torch.optim.SGD(theirs, lr=0.1, momentum=0.5)
    for _ in range(5):
        step(optimizer, ours)
        step(other, theirs)
    assert distance(ours, theirs) < 1e-14
    assert verifies(path).holds


@pytest.mark.parametrize(
    ("unknowns", "assign", "message"),
    [
        ("[]", ["theta = theta - lr*grad(theta)"], "a list of names"),
        ('["theta", "theta"]', ["theta = theta - lr*grad(theta)"], "declared twice"),
        ('["theta", "lr"]', ["theta = theta - lr*grad(theta)"], "declared twice"),
        ('["theta", "m"]', ["theta = theta - lr*grad(theta)"], "'m' is never assigned"),
        ('["theta"]', ["theta = theta - lr*theta"], r"needs grad\(theta\)"),
        ('["theta"]', ["theta = theta - lr*grad(2*theta)"], "the parameters are not"),
        ('["theta", "m"]', ["m = grad(m)", "theta = theta - lr*m"], "the parameters are not"),
        ('["theta"]', ["theta = lr*norm(grad(theta))"], "a vector was expected"),
        ('["theta"]', ["c = grad(theta)", "theta = theta - lr*grad(theta)"], "'c' is used nowhere"),
        ('["theta"]', ["theta = theta - grad(theta)"], "'lr' is used nowhere"),
        ('["theta"]', ["lr = 1", "theta = theta - lr*grad(theta)"], "cannot be assigned"),
        ('["theta"]', ["a = lr", "a = 2*lr", "theta = theta - a*grad(theta)"], "assigned twice"),
        ('["theta"]', ["theta = theta - lr*grad(thet)"], "thet"),
        ('["theta"]', ["theta"], "of the form"),
    ],
)
def test_what_is_no_rule_is_refused(
    unknowns: str, assign: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        pipeline.check(catalogue.load(declared(tmp_path, unknowns, *assign)))


def test_a_gradient_at_another_point_is_another_stage(tmp_path: Path, verifies: Verifies) -> None:
    path = declared(
        tmp_path,
        '["theta", "m"]',
        "theta = theta - lr*grad(theta)",
        "m = m/2 + grad(theta)",
    )
    assert hf.check(path)["gradients_per_step"] == 2
    assert verifies(path).holds
    ours, theirs = pair(torch.float64)
    optimizer = hf.optimizer(str(path))(ours)
    for _ in range(3):
        step(optimizer, ours)
        step(optimizer, ours)
    kept = [torch.zeros_like(param) for param in theirs]
    for _ in range(3):
        with torch.no_grad():
            for param, m in zip(theirs, kept, strict=True):
                param -= 0.1 * torch.sin(3 * param)
                m.copy_(m / 2 + torch.sin(3 * param))
    assert distance(ours, theirs) <= 1e-15
    states = [optimizer.state[param]["m"] for param in ours]
    assert max(float((a - b).abs().max()) for a, b in zip(states, kept, strict=True)) <= 1e-15


def test_a_step_that_looks_ahead_keeps_its_point_beside(tmp_path: Path, verifies: Verifies) -> None:
    """Nesterov's method: the parameters hold where the next gradient is taken."""
    path = declared(
        tmp_path,
        '["theta", "v"]',
        "v = b*v - lr*grad(theta + b*v)",
        "theta = theta + v",
        hyper=LR + 'b = { default = 0.7, domain = "unit-interval" }\n',
    )
    assert verifies(path).holds
    ours, theirs = pair(torch.float64)
    optimizer = hf.optimizer(str(path))(ours)
    velocities = [torch.zeros_like(param) for param in theirs]
    for _ in range(5):
        step(optimizer, ours)
        with torch.no_grad():
            for param, v in zip(theirs, velocities, strict=True):
                v.copy_(0.7 * v - 0.1 * torch.sin(3 * (param + 0.7 * v)))
                param += v
    with optimizer.solution():
        assert distance(ours, theirs) <= 1e-15
    ahead = [param + 0.7 * v for param, v in zip(theirs, velocities, strict=True)]
    assert distance(ours, ahead) <= 1e-15


def test_a_claim_that_nothing_shows_is_refused(tmp_path: Path) -> None:
    path = declared(
        tmp_path,
        '["theta"]',
        "theta = theta - lr*grad(theta)",
        more="[claims]\norder = 1\n",
    )
    assert not pipeline.check(catalogue.load(path)).holds
    with pytest.raises(ClaimError, match="not shown"):
        hf.generate(path, tmp_path / "out")


ODD = {
    "a square below": (["v"], ["d = exp(grad(theta))", "v = b/d**2", "theta = theta - lr*v"]),
    "a scaled square": (["v"], ["d = sin(grad(theta))", "v = -2*b*d**2", "theta = theta - lr*v"]),
    "a gradient chosen by the step": (
        ["m"],
        ["d = where(n - 2, b*grad(theta), grad(theta))", "m = exp(d)", "theta = theta - lr*m"],
    ),
    "a number chosen by the step": (
        ["m"],
        ["m = where(n - 2, grad(theta), lr)", "theta = theta - lr*m*where(m, norm(m), b)"],
    ),
    "states handed on": (
        ["m", "v"],
        ["v = m", "m = grad(theta)", "theta = theta - lr*(m + b*v)"],
    ),
    "point and state exchanged": (
        ["v"],
        ["d = theta", "slope = grad(theta)", "theta = b*v", "v = d + lr*slope"],
    ),
    "the point from a state": (
        ["v"],
        ["d = theta", "slope = grad(theta)", "theta = v", "v = b*d + lr*slope"],
    ),
    "the point kept": (["m"], ["m = b*theta", "theta = theta - lr*grad(theta)"]),
    "the gradient kept": (["m"], ["m = grad(theta)", "theta = theta - lr*b*m"]),
    "an old state in a sum": (
        ["m"],
        ["s = norm(m) + b", "m = grad(theta)", "theta = theta - lr*m/s"],
    ),
    "a state of a new state": (
        ["m", "v"],
        ["m = b*m + grad(theta)", "v = b*v*m + m", "theta = theta - lr*(m - v)"],
    ),
}


@pytest.mark.parametrize(("states", "assign"), ODD.values(), ids=ODD)
@pytest.mark.usefixtures("kernels")
def test_all_forms_take_the_same_steps_and_leave_gradients(
    states: list[str], assign: list[str], tmp_path: Path
) -> None:
    hyper = LR + ('b = { default = 0.7, domain = "nonnegative" }\n' if "b" in str(assign) else "")
    unknowns = json.dumps(["theta", *states])
    method = hf.optimizer(declared(tmp_path, unknowns, *assign, hyper=hyper))
    ends = []
    for options in ({}, {"foreach": True}, {"fused": False, "foreach": False}):
        params, _ = pair(torch.float64)
        optimizer = method(params, **options)
        for number in range(4):
            gradients = [torch.cos(3 * param.detach() + number) for param in params]
            for param, gradient in zip(params, gradients, strict=True):
                param.grad = gradient.clone()
            optimizer.step()
            for param, gradient in zip(params, gradients, strict=True):
                assert (param.grad == gradient).all()
        kept = [optimizer.state[param][name] for param in params for name in states]
        ends.append([*params, *kept])
    assert max(distance(end, ends[0]) for end in ends[1:]) <= 1e-13


@pytest.mark.parametrize("name", ["sign", "l2", "shrink", "gradients", "terms", "xs", "factor"])
def test_names_of_the_form_in_place_may_be_declared(name: str, tmp_path: Path) -> None:
    lines = (f"m = {name}*theta", "theta = theta - lr*grad(theta)")
    hyper = LR + f'{name} = {{ default = 1, domain = "real" }}\n'
    method = hf.optimizer(declared(tmp_path, '["theta", "m"]', *lines, hyper=hyper))
    params, _ = pair(torch.float64)
    before = [param.detach().clone() for param in params]
    optimizer = method(params, foreach=True)
    step(optimizer, params)
    assert distance([optimizer.state[param]["m"] for param in params], before) == 0


def test_a_gradient_that_comes_to_lie_in_its_parameter_is_refused(tmp_path: Path) -> None:
    path = declared(tmp_path, '["theta"]', "theta = theta/2 - lr*grad(theta)")
    param = torch.nn.Parameter(torch.ones(4))
    optimizer = hf.optimizer(path)([param], foreach=True)
    for _ in range(3):
        param.grad = torch.ones(4)
        optimizer.step()
    param.grad = param.detach()
    before = param.detach().clone()
    with pytest.raises(RuntimeError, match="shares memory with the gradient"):
        optimizer.step()
    assert (param == before).all()


def test_states_from_before_a_tuple_are_loaded_into_it(tmp_path: Path) -> None:
    lines = ("m = b1*m + b2*grad(theta)", "theta = theta - lr*m")
    numbers = 'b1 = { default = 0.9, domain = "real" }\nb2 = { default = 0.99, domain = "real" }\n'
    params, _ = pair(torch.float64)
    old = hf.optimizer(declared(tmp_path, '["theta", "m"]', *lines, hyper=LR + numbers))
    first = old(params, b1=0.25, b2=0.5)
    step(first, params)
    state = first.state_dict()
    new = hf.optimizer(declared(tmp_path, '["theta", "m"]', *lines, hyper=LR + BETAS))
    second = new(params)
    second.load_state_dict(state)
    assert second.param_groups[0]["betas"] == (0.25, 0.5)
    with pytest.raises(TypeError, match="no option 'b1'; it is one of the numbers of betas"):
        new([{"params": params, "b1": 0.5}])


BETAS = 'betas = { default = [0.9, 0.99], domain = "unit-interval", names = ["b1", "b2"] }\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            BETAS.replace("0.99]", "0.99, 0.9]"),
            r"betas.\.default: 3 numbers; a list of 2 was expected",
        ),
        (BETAS.replace("[0.9, 0.99]", "0.9"), "a list of 2 was expected"),
        (BETAS.replace(', names = ["b1", "b2"]', ""), r"betas.\.names: a tuple needs names"),
        (BETAS.replace('["b1", "b2"]', '["b1", 2]'), "a tuple needs names"),
        (BETAS.replace('"b2"', '"lambda"'), "'lambda' cannot be a name here"),
        (BETAS.replace('"b2"', '"b1"'), "'b1' is declared twice"),
        (BETAS.replace('"b2"', '"lr"'), "'lr' is declared twice"),
        (BETAS.replace("0.99]", "1]"), r"the default 1 is outside the domain \[0, 1\)"),
        (BETAS.replace('"unit-interval"', '["real", "fast"]'), "unknown domain 'fast'"),
        (BETAS.replace('"b2"', '"m"'), "'m' is declared twice"),
        (BETAS.replace("betas", "theta"), "'theta' is declared twice"),
        (BETAS.replace("domain", "range"), "unknown key; expected default, domain, doc or names"),
    ],
)
def test_what_is_no_tuple_of_hyper_parameters_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    lines = ("m = b1*m + b2*grad(theta)", "theta = theta - lr*m")
    catalogue.load(declared(tmp_path, '["theta", "m"]', *lines, hyper=LR + BETAS))
    with pytest.raises(DeclarationError, match=message):
        catalogue.load(declared(tmp_path, '["theta", "m"]', *lines, hyper=LR + text))


def test_a_tuple_is_one_argument_with_a_domain_for_each_number(averages: Path) -> None:
    method = hf.optimizer(str(averages))
    assert inspect.signature(method).parameters["betas"].default == (0.9, 0.999)
    params, _ = pair(torch.float64)
    for betas in ((0.9,), 0.9, (0.9, 0.99, 0.999), "ab"):
        with pytest.raises(
            ValueError, match=r"betas = .*: 2 numbers were expected, \(beta1, beta2\)"
        ):
            method(params, betas=betas)
    with pytest.raises(ValueError, match=r"beta2 = 1.0 is outside \[0, 1\)"):
        method(params, betas=(0.9, 1.0))
    optimizer = method(params)
    optimizer.param_groups[0]["betas"] = (0.5,)
    with pytest.raises(ValueError, match="2 numbers were expected"):
        step(optimizer, params)
    with pytest.raises(ValueError, match=r"unknown options \['beta1'\]; expected .*betas"):
        hf.minimize(lambda x: x @ x, np.ones(2), method=averages, options={"beta1": 0.5})
    found = hf.minimize(
        lambda x: x @ x, np.ones(2), jac=lambda x: 2 * x, method=averages,
        options={"lr": 0.05, "betas": (0.8, 0.9), "eps": 1.0, "maxiter": 3000},
    )  # fmt: skip
    assert found.success, found.message


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "in place"])
def test_torchs_schedules_move_a_tuple(averages: Path, fused: bool) -> None:
    ours, theirs = pair(torch.float64)
    mine = hf.optimizer(str(averages))(ours, lr=0.01, fused=fused)
    reference = torch.optim.Adam(theirs, lr=0.01)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=21)
        for optimizer in (mine, reference)
    ]
    for number in range(20):
        for optimizer, params in ((mine, ours), (reference, theirs)):
            step(optimizer, params)
        for schedule in schedules:
            schedule.step()
        assert mine.param_groups[0]["betas"] == reference.param_groups[0]["betas"], number
        if number == 9:  # through a format that knows no tuples
            state = mine.state_dict()
            groups = json.loads(json.dumps(state["param_groups"]))
            mine.load_state_dict({**state, "param_groups": groups})
    assert distance(ours, theirs) <= 1e-13


def test_an_infinite_scalar_is_refused(tmp_path: Path) -> None:
    path = declared(tmp_path, '["theta"]', "theta = theta - grad(theta)/lr")
    with pytest.raises(DeclarationError, match="infinite at lr = 0"):
        hf.check(path)


def test_a_default_at_which_a_scalar_has_no_value_is_said_by_verify(tmp_path: Path) -> None:
    hyper = LR + 'a = { default = 1, domain = "real" }\n'
    lines = ("m = m/(1 - a) + grad(theta)", "theta = theta - lr*m")
    path = declared(tmp_path, '["theta", "m"]', *lines, hyper=hyper)
    with pytest.raises(DeclarationError, match="at the default values a scalar has no value"):
        hf.verify(path)


@pytest.mark.parametrize("betas", [0.9, (0.9,), [0.9, 2.0], "ab"])
def test_a_state_with_no_such_tuple_is_not_loaded(betas: Any, averages: Path) -> None:
    params, _ = pair(torch.float64)
    optimizer = hf.optimizer(averages)(params)
    step(optimizer, params)
    state = optimizer.state_dict()
    state["param_groups"][0]["betas"] = betas
    with pytest.raises(ValueError, match=r"2 numbers were expected|outside"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    optimizer.param_groups[0]["betas"] = np.array([0.5, 0.6])
    step(optimizer, params)


def test_a_rule_without_energy_has_no_portrait(averages: Path) -> None:
    with pytest.raises(DeclarationError, match="has no energy"):
        plot(str(averages))


AFTER_STORES = {
    "a local of a new state": (
        "m = 0.5*m + grad(theta)",
        "d = 2*m",
        "theta = theta - lr*d/norm(d)",
    ),
    "an old state": ("d = m - grad(theta)", "m = m/2 + d", "theta = theta - lr*m/(1 + sum(d**3))"),
    "the old point": ("d = theta*m", "m = m + grad(theta)", "theta = theta - lr*m/(1 + dot(d, d))"),
}


@pytest.mark.parametrize("assign", AFTER_STORES.values(), ids=AFTER_STORES)
def test_sums_read_what_they_are_of_whatever_was_stored(
    assign: tuple[str, ...], tmp_path: Path, verifies: Verifies
) -> None:
    path = declared(tmp_path, '["theta", "m"]', *assign)
    first, second = pair(torch.float64)
    fused, plain = (
        hf.optimizer(path)(params, fused=fused)
        for params, fused in ((first, True), (second, False))
    )
    for _ in range(4):
        step(fused, first)
        step(plain, second)
    assert distance(first, second) <= 1e-14
    assert verifies(path).holds


def test_what_a_sum_adds_is_computed_as_written(tmp_path: Path) -> None:
    """Of ``scale * (theta * m)`` the kernel makes no ``(scale * theta) * m``, which overflows."""
    path = declared(tmp_path, '["theta", "m"]', *AFTER_STORES["the old point"])
    theta = torch.nn.Parameter(torch.full((20,), 1e200, dtype=torch.float64))
    optimizer = hf.optimizer(path)([theta], fused=True)
    theta.grad = torch.ones_like(theta)
    optimizer.step()
    assert bool((theta == 1e200).all())


def test_sums_over_each_coordinate_are_the_entries(tmp_path: Path) -> None:
    path = declared(
        tmp_path,
        '["theta", "m"]',
        "m = 0.9*m + grad(theta)",
        "theta = theta - lr*m/(norm(m) + 1e-30)",
    )
    path.write_text(path.read_text() + '[reduce]\nscope = "coordinate"\n')
    for fused in (True, False):
        params, start = pair(torch.float64)
        optimizer = hf.optimizer(path)(params, lr=1.0, fused=fused)
        step(optimizer, params)
        for param, before in zip(params, start, strict=True):
            expected = before - torch.sin(3 * before).sign()
            assert torch.allclose(param, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["a", "i", "pas", "ab", "g", "step", "x", "torch", "zip", "lr_x"])
def test_states_of_any_name(name: str, tmp_path: Path) -> None:
    path = declared(
        tmp_path,
        f'["theta", "{name}"]',
        f"{name} = 0.9*{name} + step(abs(grad(theta)))",
        f"theta = theta - lr*{name}",
    )
    files = pipeline.render_rule(catalogue.load(path, ("optimizer",)))
    space: dict[str, Any] = {}
    exec(next(text for file, text in files.items() if file.endswith("_torch.py")), space)
    points, states = space["update"](*([torch.full((3,), k)] for k in (2.0, 0.0, 3.0)), 0.5)
    assert float(states[0][0]) == 1.0
    assert float(points[0][0]) == 1.5


def test_a_term_means_what_is_typed_where_an_entry_is_0(tmp_path: Path) -> None:
    path = declared(
        tmp_path, '["theta", "m"]', "m = log(abs(grad(theta)))", "theta = theta - lr*tanh(m)"
    )
    for fused in (True, False):
        param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        optimizer = hf.optimizer(path)([param], lr=1.0, fused=fused)
        param.grad = torch.tensor([0.0, 1.0], dtype=torch.float64)
        optimizer.step()
        assert optimizer.state[param]["m"].tolist() == [-torch.inf, 0.0]
        assert param.tolist() == [1.0, 0.0]


def test_an_unknown_without_entries_is_refused(tmp_path: Path) -> None:
    path = declared(tmp_path, '["theta", "m"]', "m = 0*grad(theta)", "theta = theta - lr*m")
    with pytest.raises(DeclarationError, match="'m' becomes the number 0, without entries"):
        hf.check(path)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_a_group_without_gradients_takes_no_step(fused: bool, averages: Path) -> None:
    (ours, theirs), (more, others) = pair(torch.float64), pair(torch.float64)
    optimizer = hf.optimizer(str(averages))([{"params": ours}, {"params": more}], fused=fused)
    other = torch.optim.Adam([{"params": theirs}, {"params": others}])
    for number in range(8):
        for params, missing in ((ours, number in (0, 3)), (more, number in (0, 1, 5))):
            for param in params:
                param.grad = None if missing else torch.sin(3 * param.detach())
        for params, missing in ((theirs, number in (0, 3)), (others, number in (0, 1, 5))):
            for param in params:
                param.grad = None if missing else torch.sin(3 * param.detach())
        optimizer.step()
        other.step()
    assert distance([*ours, *more], [*theirs, *others]) <= 8 * torch.finfo(torch.float64).eps
    assert [group["clock"].n for group in optimizer.param_groups] == [7, 6]


CLIPPED = {
    "by value": ("a = clip(grad(theta), -c, c)", ("minimum", "maximum")),
    "by norm": ("a = grad(theta)*min(1, c/norm(grad(theta)))", ("minimum", "maximum")),
}


@pytest.mark.parametrize(("line", "fault"), CLIPPED.values(), ids=CLIPPED)
def test_clipped_gradients_are_torchs_and_faults_in_them_are_caught(
    line: str, fault: tuple[str, str], tmp_path: Path, verifies: Verifies
) -> None:
    more = 'c = { default = 0.5, domain = "positive" }\n'
    assign = (line, "m = 0.9*m + a", "theta = theta - lr*m")
    path = declared(tmp_path, '["theta", "m"]', *assign, more=more)
    assert verifies(path).holds
    texts = pipeline.render_rule(catalogue.load(path, ("optimizer",)))
    changed = {name: text.replace(*fault) for name, text in texts.items()}
    assert changed != texts
    program = derive_rule(catalogue.load(path, ("optimizer",))).program
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer_cases, "SHAPES", SHAPES)
        cases = optimizer_cases.reference_cases(program)
        assert not compare(Interpreted(changed), cases, ["numba"]).holds
    ours, theirs = pair(torch.float64)
    optimizer = hf.optimizer(path)(ours, fused=False)
    other = torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    for _ in range(5):
        step(optimizer, ours)
        for param in theirs:
            param.grad = torch.sin(3 * param.detach())
        if "norm" in line:
            torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        else:
            torch.nn.utils.clip_grad_value_(theirs, 0.5)
        other.step()
    assert distance(ours, theirs) <= 1e-6  # torch adds 1e-6 to the norm


def test_a_choice_after_sums_is_made_for_each_tensor(tmp_path: Path, verifies: Verifies) -> None:
    """The trust ratio of layers: 1 where weights or gradients vanish, also beyond their squares."""
    path = declared(
        tmp_path,
        '["theta", "m"]',
        "m = 0.9*m + grad(theta)",
        "trust = where(norm(m)*norm(theta), norm(theta)/norm(m), 1)",
        "theta = theta - lr*trust*m",
    )
    path.write_text(path.read_text() + '[reduce]\nscope = "tensor"\n')
    assert verifies(path).holds
    for size in (0.0, 1.0, 1e200):
        start = torch.tensor([1.0, 2.0], dtype=torch.float64) * size
        slope = torch.tensor([3.0, -4.0], dtype=torch.float64) * (size or 1.0)
        params = [torch.nn.Parameter(array.clone()) for array in (start, 5 * start)]
        optimizer = hf.optimizer(path)(params, lr=0.1, fused=False)
        for param in params:
            param.grad = slope.clone()
        optimizer.step()
        ratio = 5**0.5 / 5 if size else 1.0
        for param, scale in zip(params, (1, 5), strict=True):
            trust = scale * ratio if size else 1.0
            assert torch.allclose(param, scale * start - 0.1 * trust * slope, rtol=1e-14)


MISTAKES = {
    "a start that is no table": ("start = 3\n", "", "a table was expected"),
    "a start of the point": ("", "[start]\ntheta = 1\n", "starts where the parameters are"),
    "a start in a state": ("", '[start]\nm = "m + 1"\n', "m has none yet"),
    "a start of nothing": ("", "[start]\nmm = 1\n", "'mm' is not kept; did you mean 'm'"),
    "scalars that are no list": ('scalars = "a"\n', "", "a list of names"),
    "a solution in a gradient": ('solution = "grad(theta)"\n', "", "has no meaning here"),
    "a solution that is a number": ('solution = "lr"\n', "", "a vector was expected"),
    "options that are none": ("", "[options]\nweight_decy = 1\n", "did you mean 'weight_decay'"),
    "a decay below zero": ("", "[options]\nweight_decay = -1\n", "is negative"),
    "decay at no gradient": ("", '[options]\ndecay_at = "m"\n', "no gradient is taken there"),
    "a requirement that fails": ("", '[require]\n"lr > 1" = "no"\n', "not hold at the defaults"),
    "a requirement cut short": ("", '[require]\n"lr >" = "no"\n', "is not expected here"),
    "a reduction to nothing": ("", '[[reductions]]\nto = "rgdd"\n', "no optimizer is named"),
    "values that are none": (
        "",
        '[[reductions]]\nto = "heavy_ball"\nvalues = 3\n',
        "values is a table",
    ),
    "a claim of numbers": ("", "[claims]\nfirst_steps = [1, 2]\n", "a list of texts"),
}


@pytest.mark.parametrize(("before", "after", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(
    before: str, after: str, message: str, tmp_path: Path
) -> None:
    lines = ("m = m/2 + grad(theta)", "theta = theta - lr*m")
    path = declared(tmp_path, '["theta", "m"]', *lines, more=after)
    path.write_text(path.read_text().replace("unknowns =", f"{before}unknowns ="))
    with pytest.raises(DeclarationError, match=message) as caught:
        pipeline.check(catalogue.load(path))
    assert "mine.toml:" in str(caught.value)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ('f = { default = 1, domain = "flag" }\n', "a flag is true or false, not 1"),
        ('f = { default = [1, 2, 3], names = ["f", "k"] }\n', "a list of 2 was expected"),
        ('f = { default = 1, domain = "unit-interval" }\n', r"outside the domain \[0, 1\)"),
    ],
)
def test_a_default_that_is_none_is_refused(hyper: str, message: str, tmp_path: Path) -> None:
    lines = ("m = m/2 + grad(theta)", "theta = theta - where(f, lr, 1)*m")
    with pytest.raises(DeclarationError, match=message):
        catalogue.load(declared(tmp_path, '["theta", "m"]', *lines, hyper=LR + hyper))


@pytest.mark.parametrize("text", ["where(1 < n < 3, lr, 1)", "(lr > 2)", "where(lr >, 1, 2)"])
def test_a_comparison_stands_first_in_a_choice(text: str, tmp_path: Path) -> None:
    path = declared(tmp_path, '["theta"]', f"theta = theta - {text}*grad(theta)")
    with pytest.raises(DeclarationError, match="expected"):
        catalogue.load(path)
