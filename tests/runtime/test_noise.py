"""Noise in steps: the same numbers in every form, order, process and after every way back."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import numba
import numpy as np
import pytest
import sympy as sp
import torch

import hamilforge as hf
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.noise import BLOCK, philox
from hamilforge.gen.program.noise import key_of as reference_key
from hamilforge.gen.program.noise import normals as reference
from hamilforge.runtime.core import normal_numbers, torch_normal_numbers
from hamilforge.runtime.optimizers.kernels import SERIAL
from tests.optimizers import ELEMENTWISE
from tests.samples import sampled

from .training import optimizer_class

#: Rules that draw in every step alike; those with loops have tests of their own.
NOISY = [
    name
    for name in ELEMENTWISE
    if (product := optimizer_class(name)([torch.nn.Parameter(torch.ones(1))]).product).NOISE
    and not product.CLOSES
]
FORMS: dict[str, dict[str, Any]] = {
    "kernel": {"fused": True},
    "in place": {"foreach": True},
    "functional": {"foreach": False, "fused": False},
}
#: 10^7 numbers, of one parameter and step.
MANY = 10_000_000
#: Within how many standard errors estimates are.
ERRORS = 4.0


@pytest.fixture(scope="module")
def many() -> Any:
    return normal_numbers.drawn(normal_numbers.key_of(2, 0, "many"), 0, 0, MANY, np.float64)


# --- the generator --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), (1, 511), (0, 512), (3, 514), (2048, 5000), (2**34 + 2, 700)]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_numbers_are_those_of_the_interpretation(
    first: int, count: int, dtype: Any
) -> None:
    key = normal_numbers.key_of(7, 2, "weight")
    assert key == reference_key(7, 2, "weight")
    for step, occurrence in ((0, 0), (2**47 + 5, 65_535)):
        found = normal_numbers.normals(
            np.uint64(key), step, occurrence, first, count, 1.0, np.empty(0, dtype)
        )
        expected = reference(key, step, occurrence, first, count).astype(dtype)
        assert (found == expected).all()
        assert found.dtype == dtype


def test_torchs_operations_give_the_same_words_and_numbers() -> None:
    key, step, occurrence, count = normal_numbers.key_of(1, 0, "w"), 2**40 + 3, 77, 40_001
    words = torch_normal_numbers.words_of(key, step, occurrence, count, "cpu")
    blocks = np.arange((count + BLOCK - 1) // BLOCK, dtype=np.uint64)
    counter = (blocks, 0, step & 0xFFFFFFFF, (step >> 32) | occurrence << 16)
    for found, expected in zip(words, philox(counter, key), strict=True):
        assert (found.numpy().astype(np.uint64) == expected).all()
    numbers = torch_normal_numbers.by_operations(key, step, occurrence, count, "cpu").numpy()
    expected = reference(key, step, occurrence, 0, count)
    assert (abs(numbers - expected) <= 4 * np.spacing(abs(expected))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_lower_precisions_are_rounded_once(dtype: torch.dtype) -> None:
    key = normal_numbers.key_of(1, 0, "w")
    found = torch_normal_numbers.normals(key, 4, 1, 10_000, dtype, "cpu")
    expected = torch.from_numpy(reference(key, 4, 1, 0, 10_000)).to(dtype)
    assert torch.equal(found, expected)


def test_moments_are_those_of_the_normal_distribution(many: Any) -> None:
    for power, exact in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        variance = math.prod(range(1, 2 * power, 2)) - exact**2
        error = abs((many**power).mean() - exact)
        assert error < ERRORS * math.sqrt(variance / MANY), power


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 8, 512, 16_384])
def test_neighbours_know_nothing_of_each_other(many: Any, lag: int) -> None:
    assert abs((many[lag:] * many[:-lag]).mean()) < ERRORS / math.sqrt(MANY - lag)
    squares = many**2 - 1
    assert abs((squares[lag:] * squares[:-lag]).mean()) < ERRORS * 2 / math.sqrt(MANY - lag)


def test_numbers_fill_every_part_of_the_line_alike(many: Any) -> None:
    from scipy.special import ndtri

    bins = 1000
    edges = ndtri(np.arange(1, bins) / bins)
    counts = np.bincount(np.searchsorted(edges, many), minlength=bins)
    statistic = ((counts - MANY / bins) ** 2).sum() / (MANY / bins)
    assert abs(statistic - (bins - 1)) < ERRORS * math.sqrt(2 * (bins - 1))


# --- steps ----------------------------------------------------------------------------------------

SHAPES = ((40, 7), (), (SERIAL + 9,), (40, 7))


def trained(name: str, count: int = 3, **options: Any) -> list[torch.Tensor]:
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = optimizer_class(name)(params, **{"temperature": 0.1, **options})
    steps(optimizer, params, count)
    return [param.detach() for param in params]


def steps(optimizer: Any, params: Any, count: int) -> None:
    for _ in range(count):
        for param in params:
            param.grad = 0.25 * param.detach()
        optimizer.step()


@pytest.mark.parametrize("name", sampled(NOISY, every=2))
def test_forms_of_a_step_take_the_same_numbers(name: str) -> None:
    ends = [trained(name, **options) for options in FORMS.values()]
    for other in ends[1:]:
        for one, two in zip(ends[0], other, strict=True):
            assert torch.allclose(one, two, rtol=3e-7, atol=1e-7)
    still = trained(name, temperature=0.0)
    assert not any(torch.equal(one, two) for one, two in zip(ends[0], still, strict=True))


@pytest.mark.parametrize("name", NOISY)
def test_threads_change_nothing(name: str) -> None:
    before = numba.get_num_threads()
    ends = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            ends.append(trained(name))
    finally:
        numba.set_num_threads(before)
    assert all(map(torch.equal, *ends))


@pytest.mark.parametrize("name", NOISY)
def test_equal_shapes_have_noise_of_their_own(name: str) -> None:
    for options in FORMS.values():
        first, *_, last = trained(name, **options)
        difference = torch.corrcoef(torch.stack([first.flatten(), last.flatten()]))[0, 1]
        assert abs(float(difference)) < ERRORS / math.sqrt(first.numel())


@pytest.mark.parametrize("name", NOISY)
def test_the_seed_chooses(name: str) -> None:
    zero, again, one = (trained(name, seed=seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, zero, again))
    assert not any(map(torch.equal, zero, one))
    assert all(map(torch.equal, zero, trained(name)))


@pytest.mark.parametrize("form", FORMS)
def test_names_decide_and_not_the_order(form: str) -> None:
    ends = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
        groups = [
            {"params": [(f"p{k}", params[k]) for k in order[:2]]},
            {"params": [(f"p{k}", params[k]) for k in order[2:]]},
        ]
        optimizer = optimizer_class("sgld")(groups, temperature=0.1, **FORMS[form])
        steps(optimizer, params, 2)
        ends.append([param.detach() for param in params])
    assert all(map(torch.equal, *ends))


def test_a_parameter_without_a_gradient_does_not_shift_the_others() -> None:
    ends = []
    for missing in (False, True):
        params = [torch.nn.Parameter(torch.ones(6)) for _ in range(3)]
        optimizer = optimizer_class("sghmc")(params, temperature=0.1)
        for _ in range(3):
            for param in params:
                param.grad = torch.ones(6)
            if missing:
                params[1].grad = None
            optimizer.step()
        ends.append([params[0].detach(), params[2].detach()])
    assert all(map(torch.equal, *ends))


def test_a_step_without_any_gradient_draws_nothing() -> None:
    params = [torch.nn.Parameter(torch.ones(6))]
    optimizer = optimizer_class("sgld")(params, temperature=0.1)
    optimizer.step()
    assert optimizer.param_groups[0]["draws"] == 0
    steps(optimizer, params, 2)
    assert optimizer.param_groups[0]["draws"] == 2


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("way", ["load", "pickle", "copy"])
def test_training_goes_on_as_if_nothing_had_happened(name: str, way: str) -> None:
    reference_end = trained(name, 6)
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = optimizer_class(name)(params, temperature=0.1)
    steps(optimizer, params, 3)
    if way == "load":
        kept = io.BytesIO()
        torch.save(optimizer.state_dict(), kept)
        kept.seek(0)
        optimizer = optimizer_class(name)(params, temperature=7.0, seed=5)
        optimizer.load_state_dict(torch.load(kept))
    elif way == "pickle":
        kept = io.BytesIO()
        torch.save((optimizer, params), kept)
        kept.seek(0)
        optimizer, params = torch.load(kept, weights_only=False)
    else:
        optimizer, params = copy.deepcopy((optimizer, params))
    steps(optimizer, params, 3)
    assert all(map(torch.equal, [param.detach() for param in params], reference_end))


@pytest.mark.parametrize("name", NOISY)
def test_at_temperature_0_nothing_is_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise AssertionError(f"drawn: {arguments}")

    monkeypatch.setattr(torch_normal_numbers, "normals", refused)
    for form in ("in place", "functional"):
        trained(name, temperature=0.0, **FORMS[form])
        with pytest.raises(AssertionError, match="drawn"):
            trained(name, **FORMS[form])
    assert not normal_numbers.normals(np.uint64(1), 0, 0, 0, 9, 0.0, np.empty(0)).any()


def test_layouts_do_not_move_the_numbers() -> None:
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        param = torch.nn.Parameter(torch.ones(2, 3, 4, 5).to(memory_format=layout))
        optimizer = optimizer_class("sgld")([param], temperature=0.1)
        param.grad = torch.zeros_like(param)
        optimizer.step()
        ends.append(param.detach())
    assert torch.allclose(*ends, rtol=1e-6, atol=1e-7)


def test_bfloat16_takes_the_numbers_rounded_once() -> None:
    param = torch.nn.Parameter(torch.zeros(1000, dtype=torch.bfloat16))
    param.grad = torch.zeros_like(param)
    optimizer_class("sgld")([param], lr=0.5, temperature=1.0).step()
    key = normal_numbers.key_of(0, 0, "0")
    expected = torch.from_numpy(reference(key, 0, 0, 0, 1000)).bfloat16()
    assert torch.equal(param.detach(), expected)


@pytest.mark.filterwarnings("error:Converting a tensor with requires_grad=True")
@pytest.mark.usefixtures("each_warning")
def test_gradients_flow_past_the_noise() -> None:
    param = torch.ones(4, dtype=torch.float64)
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class("sgld")([param], lr=lr, temperature=0.3, differentiable=True)
    param.grad = torch.full((4,), 2.0, dtype=torch.float64)
    optimizer.step()
    (slope,) = torch.autograd.grad(param.sum(), lr)
    noise = reference(normal_numbers.key_of(0, 0, "0"), 0, 0, 0, 4)
    assert float(slope) == pytest.approx(-8 + noise.sum() * math.sqrt(0.3 / 0.2), rel=1e-12)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .* a whole number from 0 was expected"):
        optimizer_class("sgld")([torch.nn.Parameter(torch.ones(1))], seed=seed)


def test_groups_have_one_seed() -> None:
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": params[:1], "seed": 1}, {"params": params[1:], "seed": 2}]
    with pytest.raises(ValueError, match="seed is one for all groups"):
        optimizer_class("sgld")(groups)
    first_one = optimizer_class("sgld")(params[:1], seed=5)
    first_one.param_groups[0]["params"][0].grad = torch.ones(1)
    first_one.step()
    other = optimizer_class("sgld")(params[:1])
    other.load_state_dict(first_one.state_dict())
    for optimizer in (first_one, other):
        optimizer.add_param_group({"params": params[1:]})
        assert [group["draws"] for group in optimizer.param_groups] == [1, 1]
        assert [group["seed"] for group in optimizer.param_groups] == [5, 5]


def test_two_parameters_of_one_name_are_refused() -> None:
    models = [torch.nn.Linear(2, 2) for _ in range(2)]
    groups = [{"params": [*model.named_parameters()]} for model in models]
    with pytest.raises(ValueError, match="two parameters are called 'weight'"):
        optimizer_class("sgld")(groups)
    optimizer = optimizer_class("sgld")(groups[:1])
    with pytest.raises(ValueError, match="two parameters are called 'weight'"):
        optimizer.add_param_group(groups[1])
    assert len(optimizer.param_groups) == 1
    optimizer_class("heavy_ball")(groups)


def test_rules_without_noise_have_no_seed() -> None:
    with pytest.raises(TypeError, match="no option 'seed'"):
        optimizer_class("heavy_ball")([torch.nn.Parameter(torch.ones(1))], seed=1)


# --- minimize -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOISY)
def test_minimize_draws_what_the_optimizer_draws(name: str) -> None:
    start = np.linspace(-1, 1, 9)
    options = {"lr": 0.1, "temperature": 0.3, "seed": 4}
    found = hf.minimize(
        lambda x: float(x @ x) / 2,
        start,
        jac=lambda x: x,
        method=name,
        options={**options, "maxiter": 5, "gtol": 0.0},
    )
    param = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = optimizer_class(name)([param], **options)
    for _ in range(5):
        param.grad = param.detach().clone()
        optimizer.step()
    with optimizer.solution():
        assert (found.x == param.detach().numpy()).all()
    with pytest.raises(ValueError, match="seed = -1"):
        hf.minimize(lambda x: 0.0, start, jac=lambda x: x, method=name, options={"seed": -1})
    with pytest.raises(ValueError, match="unknown options"):
        hf.minimize(lambda x: 0.0, start, jac=lambda x: x, method="rgd", options={"seed": 1})


# --- what it is for -------------------------------------------------------------------------------

CHAINS = 32


@pytest.mark.parametrize("factor", [1.0, 1.05])
@pytest.mark.parametrize("lr", [0.6, 1.1])
@pytest.mark.parametrize("name", NOISY)
def test_chains_spread_as_is_proved(name: str, lr: float, factor: float) -> None:
    """Variances of many chains on x^2/2, whose means differ from the proof by their own error.

    Steps are so large that an error of the scheme is ten standard errors; noise that is 5 per cent
    too large is seen.
    """
    heat, side, count = 0.5, 2000, 300
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    known = {"lr": lr, "temperature": heat, "curvature": 1.0, "friction": 1.0}
    proved = report["stationary_variance"]
    place = "point" if "point" in proved else next(iter(proved))
    exact = float(sp.sympify(proved[place].replace("lambda", "curvature")).subs(known))
    # a row is a chain: independent entries, of which each goes through its own steps
    param = torch.nn.Parameter(torch.zeros(CHAINS, side, dtype=torch.float64))
    optimizer = optimizer_class(name)([param], lr=lr, temperature=heat * factor**2)
    total = torch.zeros(CHAINS, dtype=torch.float64)
    for step in range(2 * count):
        param.grad = param.detach().clone()
        optimizer.step()
        if step >= count:
            total += param.detach().square().mean(dim=1) / count
    mean, error = float(total.mean()), float(total.std()) / math.sqrt(CHAINS)
    assert error <= max(abs(exact - heat), 0.05 * exact) / 10
    assert (abs(mean - exact) < ERRORS * error) is (factor == 1.0)
