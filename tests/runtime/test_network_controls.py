"""Controls of networks: of every stage, what they cost, and bounds of layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.networks.network import Network
from tests.samples import sampled

from .networks import (
    EXPECTED,
    FIELDS,
    Written,
    cases_of,
    fitting,
    numba_text,
    torch_text,
    written,
)

# --- controls at every stage --------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", sampled([name for name in FIELDS if products.load_field(name).controls], every=2)
)
def test_controls_of_every_stage_have_exact_adjoints(field):
    few = EXPECTED["texts"]["methods"]
    methods = [name for name in fitting(field) if name.split("/")[-1] in few]
    for method in (*methods, EXPECTED["by_stage"]["implicit"]):
        cases = cases_of(field, method, by_stage=True)
        texts = [torch_text(field, method, by_stage=True)]
        if method in methods:
            texts += [numba_text(field, method, s, by_stage=True) for s in (None, cases[0].sizes)]
        for text in texts:
            found = written(text, cases)
            assert found.holds, (method, str(found))
            assert "BY_STAGE = True" in text


def test_equal_controls_at_all_stages_are_those_of_the_layer():
    own, one = (
        hf.network("resnet", "kutta3", 4, {"d": 3}, by_stage=by_stage, dtype=torch.float64)
        for by_stage in (True, False)
    )
    assert own.control("K").shape == (4, 3, 3, 3)
    y = torch.randn(6, 3, dtype=torch.float64)
    for name in ("K", "b"):
        with torch.no_grad():
            one.control(name).normal_()
            own.control(name).copy_(one.control(name)[:, None].expand_as(own.control(name)))
    assert torch.allclose(own(y), one(y), rtol=1e-14, atol=1e-15)
    (own(y) ** 2).sum().backward()
    (one(y) ** 2).sum().backward()
    for name in ("K", "b"):
        whole = one.control(name).grad
        assert (own.control(name).grad.sum(1) - whole).norm() < 1e-14 * whole.norm()
    assert own.pruned()(y).equal(own(y))


def test_bounds_of_controls_at_every_stage_are_those_of_the_worst():
    options = {"h": 2.0, "dtype": torch.float64, "by_stage": True}
    network = hf.network("gradient_flow", "rk4", 2, {"d": 3, "m": 5}, **options)
    with torch.no_grad():
        network.control("A")[1, 2] *= 3
    bounds = hf.contractivity(network)
    assert bounds.penalty(network) > 0
    norms = torch.linalg.matrix_norm(network.control("A"), 2).detach()
    assert np.allclose(bounds.largest, 2 * bounds.radius / (norms**2).amax(1).numpy())
    bounds.project_(network)
    assert hf.contractivity(network).contractive
    assert abs(float(hf.contractivity(network).penalty(network).detach())) < 1e-9


def test_a_field_without_controls_has_none_at_a_stage(tmp_path):
    path = tmp_path / "free.toml"
    text = 'kind = "field"\nname = "free"\ntitle = "T"\nreference = "R"\n'
    path.write_text(text + 'state = {y = ["d"]}\nf = "-y"\n', encoding="utf-8")
    with pytest.raises(DeclarationError, match="'free' has no controls"):
        hf.network(path, "rk4", 2, {"d": 2}, by_stage=True)


# --- regularisers and bounds ----------------------------------------------------------------------


def test_smoothness_and_its_derivatives_are_the_same_on_both_backends():
    options = {"h": [0.3, 0.1, 0.2, 0.4]}
    one = hf.network("resnet", "rk4", 4, {"d": 3}, steps="learned", dtype=torch.float64, **options)
    other = hf.network("resnet", "rk4", 4, {"d": 3}, backend="numba", **options)
    for name in ("K", "b"):
        control = torch.randn_like(one.control(name))
        one.control(name).data.copy_(control)
        other.controls[name][...] = control.numpy()
    value = one.smoothness()
    value.backward()
    found, by_control, by_step = other.smoothness()
    # written out, for one entry
    by_hand = sum(
        float(((other.controls[n][k + 1] - other.controls[n][k]) ** 2).sum()) / (2 * other.h[k])
        for n in ("K", "b")
        for k in range(3)
    )
    assert abs(by_hand - found) < 1e-13 * by_hand
    assert abs(float(value.detach()) - found) < 1e-13 * found
    for name in ("K", "b"):
        assert np.allclose(one.control(name).grad.numpy(), by_control[name], rtol=1e-13)
    assert np.allclose(one.step_sizes.grad.numpy(), by_step, rtol=1e-13)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["controls", "h"])
def test_costs_of_controls_take_no_array_of_another_shape(name):
    sizes = {"d": 3, "m": 2}
    network = hf.network("haber_ruthotto", "symplectic_euler_pair", 4, sizes, backend="numba")
    network.regulariser()
    if name == "h":
        network.h = np.ones(3)
    else:
        network.controls["b"] = np.ones((4, 1))
    for cost in (network.regulariser, network.smoothness):
        with pytest.raises(ValueError, match="real numbers of the shape"):
            cost()
    module = hf.network("haber_ruthotto", "symplectic_euler_pair", 4, sizes)
    module.control_b = torch.nn.Parameter(torch.ones(4, 1))
    for cost in (module.regulariser, module.smoothness):
        with pytest.raises(ValueError, match=r"the control b has the shape \(4, 1\); \(4, 3\)"):
            cost()


@pytest.mark.parametrize("by_stage", [False, True])
def test_the_derivative_of_a_norm_at_zero_is_zero(tmp_path, by_stage):
    path = tmp_path / "still.toml"
    head = 'kind = "field"\nname = "still"\ntitle = "T"\nreference = "R"\n'
    body = 'state = {y = ["d"]}\ncontrols = {b = ["d"]}\nf = "b*norm(y)"\n'
    cost = 'regulariser = "norm(rate(b)) + norm(b)"\n'
    path.write_text(head + body + cost, encoding="utf-8")
    options = {"by_stage": by_stage, "dtype": torch.float64, "steps": "learned"}
    network = hf.network(path, "heun2", 3, {"d": 2}, **options)
    still = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    for memory in ("all", "autograd"):
        network.memory = memory
        still.grad = None
        (network(still).sum() + network.regulariser()).backward()
        assert (still.grad == 1).all()  # the state itself
        for tensor in network.parameters():
            assert not tensor.grad.any()
    text = Written(numba_text(path, "heun2", by_stage=by_stage)).module("numba")
    twin = Network(text, 3, {"d": 2})
    cost, by_control, by_step = twin.regulariser()
    found = twin.gradient(np.zeros((2, 2)), costates=np.ones((2, 2)))
    assert (found.states[0] == 1).all()
    for array in (cost, by_control["b"], by_step, found.controls["b"]):
        assert not np.any(array)


def test_declared_regularisers_are_added_to_losses_and_refused_where_there_is_none():
    options = {"steps": "learned", "dtype": torch.float64}
    sizes = {"d": 2, "m": 3}
    network = hf.network("haber_ruthotto", "stormer_verlet_pair", 5, sizes, **options)
    with torch.no_grad():
        for name in network.CONTROLS:
            network.control(name).normal_()
    alpha = float(network.parameter_alpha)
    assert abs(network.regulariser() / alpha - network.smoothness()).item() < 1e-12
    loss = network(torch.randn(4, 5, dtype=torch.float64)).square().sum() + network.regulariser()
    loss.backward()
    assert all(one.grad is not None for one in network.parameters())
    with torch.no_grad():
        network.step_sizes[2] = 0
    with pytest.raises(ValueError, match="a step is not positive"):
        network.regulariser()
    assert network.pruned().regulariser() > 0
    for backend in ("torch", "numba"):
        plain_one = hf.network("resnet", "rk4", 2, {"d": 2}, backend=backend)
        with pytest.raises(ValueError, match="resnet__rk4 declares no regulariser"):
            plain_one.regulariser()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("field", EXPECTED["bounds"]["fields"])
def test_bounds_of_the_one_sided_lipschitz_constant_hold_and_are_attained_where_exact(field):
    generator = np.random.default_rng(3)
    sizes = {"d": 3, "m": 4} if "m" in str(products.load_field(field).controls) else {"d": 3}
    network = hf.network(field, "euler", 2, sizes, h=1.0, backend="numba")
    for value in network.controls.values():
        value[...] = generator.standard_normal(value.shape)
    bounds = hf.contractivity(network)
    for number in range(2):
        one = hf.network(field, "euler", 1, sizes, h=1.0, backend="numba")
        for name, value in network.controls.items():
            one.controls[name][0] = value[number]
        a = 4 * generator.standard_normal((20_000, 3))
        b = a + 1e-3 * generator.standard_normal(a.shape)
        rate = ((one(a) - a - one(b) + b) * (a - b)).sum(1) / ((a - b) ** 2).sum(1)
        assert rate.max() <= bounds.nu[number] + 1e-9
        if bounds.exact[number]:
            assert rate.max() > bounds.nu[number] - 0.35 * (1 + abs(bounds.nu[number]))


def test_projected_layers_bring_all_points_together_and_larger_steps_need_not():
    torch.manual_seed(0)
    network = hf.network("gradient_flow", "rk4", 3, {"d": 3, "m": 5}, h=2.0, dtype=torch.float64)
    bounds = hf.contractivity(network)
    assert not bounds.contractive
    assert (bounds.nu <= 1e-12).all()
    a = 0.1 * torch.randn(5000, 3, dtype=torch.float64)
    b = a + 1e-3 * torch.randn_like(a)

    def growth():
        with torch.no_grad():
            return ((network(a) - network(b)).norm(dim=1) / (a - b).norm(dim=1)).max()

    assert growth() > 1.05
    penalty = bounds.penalty(network)
    assert penalty > 0
    control = network.control("A")
    (slope,) = torch.autograd.grad(penalty, control)
    moved = 1e-6 * slope / slope.norm()
    with torch.no_grad():
        control += moved
        more = bounds.penalty(network)
        control -= 2 * moved
        less = bounds.penalty(network)
        control += moved
    assert abs((more - less) / 2e-6 - slope.norm()) < 1e-6 * slope.norm()
    bounds.project_(network)
    after = hf.contractivity(network)
    assert after.contractive
    assert growth() <= 1 + 1e-9
    assert abs(float(after.penalty(network).detach())) < 1e-9
    with pytest.raises(ValueError, match="no step is known to be contractive"):
        hf.contractivity(hf.network("resnet", "rk4", 2, {"d": 2})).project_(None)


@pytest.mark.usefixtures("kernels")
def test_a_corner_that_no_point_reaches_is_a_bound_and_not_the_constant():
    network = hf.network(
        "gradient_flow", "euler", 1, {"d": 1, "m": 2}, activation="relu(x)", backend="numba"
    )
    network.controls["A"][...] = [[1.0], [-1.0]]
    network.controls["b"][...] = 1.0  # one of the two is always active
    bounds = hf.contractivity(network)
    assert not bounds.exact[0]
    y = np.linspace(-5, 5, 2001)[:, None]
    rates = np.diff((network(y) - y)[:, 0]) / np.diff(y[:, 0])
    assert rates.max() <= bounds.nu[0] + 1e-12
    with pytest.raises(ValueError, match=r"hf\.network has made"):
        hf.contractivity(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="a penalty is for a network of torch"):
        bounds.penalty(network)


@pytest.mark.parametrize(
    "activation",
    [
        "x*abs(x)",
        "x*sin(x)",
        "x**3",
        "exp(x)",
        "x*log(1 + x**2)",
        "x*asinh(x)",
        "x + x*asinh(x)/10**5",
        "sqrt(abs(x))",
    ],
)
def test_slopes_that_are_not_bounded_have_no_bound(activation):
    found = pipeline.check(products.load_field("gradient_flow", activation=activation))
    assert found["one_sided_lipschitz"] is None
    assert "is not seen to be bounded" in found.finding("one_sided_lipschitz").why


@pytest.mark.parametrize(
    ("activation", "bound"),
    [
        ("tanh(x)", "nu <= 0"),
        ("relu(x) - relu(-x)/100", "nu <= -0.01*sigma_min(A)**2"),
        ("tanh(2*x)/2", "nu <= 0"),
        ("x/sqrt(1 + x**2)", "nu <= 0"),
        ("log(1 + exp(x))", "nu <= 0"),
        ("abs(x) - log(1 + abs(x))", "nu <= sup lambda_max(sym(A' D A)), D in [-1, 1]"),
        ("tanh(x) - x/10**7", "nu <= sup lambda_max(sym(A' D A)), D in [-1, 1e-07]"),
        ("x + sin(x)/2", "nu <= -0.5*sigma_min(A)**2"),
        ("sin(x)", "nu <= sup lambda_max(sym(A' D A)), D in [-1, 1]"),
        ("x**3/(1 + x**2)", "nu <= 0"),
        ("tanh(2*10**6*x)", "nu <= 0"),
        ("x*logistic(x)", "nu <= sup lambda_max(sym(A' D A)), D in [-1.09984, 0.0998393]"),
        ("gelu(x)", "nu <= sup lambda_max(sym(A' D A)), D in [-1.1289, 0.128904]"),
    ],
)
def test_reports_bound_the_slope_of_any_activation(activation, bound):
    found = pipeline.check(products.load_field("gradient_flow", activation=activation))
    assert found["one_sided_lipschitz"] == bound
