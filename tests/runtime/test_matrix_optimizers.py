"""Optimizers of matrices and on manifolds at work: forms, constraints over many steps, refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy import linalg

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from tests.optimizers import FLAT, MATRICES, ON_MANIFOLDS
from tests.samples import covered, sampled

SHAPES = {"sphere": (7,), "orthogonal": (5, 5)}
#: Retractions that multiply let rounding add up like a random walk.
MULTIPLY = [name for name in ON_MANIFOLDS if name.endswith("leapfrog")] + ["mec"]
#: Walks of the plain suite: both precisions, products of rotations, projections, multipliers.
WALKED = [("stiefel_leapfrog", "float64"), ("sphere_leapfrog", "float32")]
WALKED += [("mec", "float32"), ("stiefel_rattle", "float32")]


def manifold_of(name):
    return catalogue.load(name, ("optimizer",)).manifold.head.name


def start(name, count=1, dtype=torch.float64, seed=0):
    """Parameters on the manifold of an optimizer, contiguous; any matrices if it has none."""
    generator = torch.Generator().manual_seed(seed)
    if name in FLAT:
        drawn = torch.randn(count, 7, 3, generator=generator, dtype=dtype)
        return [torch.nn.Parameter(matrix.clone()) for matrix in drawn]
    on = manifold_of(name)
    shape = SHAPES.get(on, (7, 3))
    manifold = hf.manifold(on)
    return [
        torch.nn.Parameter(
            manifold.random(*shape, generator=generator, dtype=dtype).contiguous().clone(
                memory_format=torch.contiguous_format
            )
        )
        for _ in range(count)
    ]  # fmt: skip


def loss(params):
    matrix = torch.linspace(-1, 2, 49, dtype=params[0].dtype).reshape(7, 7)
    total = 0.0
    for p in params:
        rows = p.shape[0]
        total = total + (p * ((matrix + matrix.T)[:rows, :rows] @ p)).sum() + (p**3).sum()
    return total


def run(name, params, steps, **options):
    optimizer = hf.optimizer(name)(params, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(params).backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(("name", "kernels"), covered(MATRICES), indirect=["kernels"])
def test_all_forms_take_the_same_steps(name, kernels):
    results = []
    for options in ({"fused": True}, {"foreach": True}, {"foreach": False, "fused": False}):
        params = start(name, 3)
        run(name, params, 15, **options)
        results.append(torch.stack([p.detach() for p in params]))
    assert (results[0] - results[1]).abs().max() < 1e-13
    assert (results[1] - results[2]).abs().max() < 1e-14


@pytest.mark.parametrize(
    ("name", "dtype", "steps"),
    [
        *sampled([(name, dtype, 2_000) for name, dtype in WALKED], every=2),
        *(
            pytest.param(name, dtype, 10_000, marks=pytest.mark.full)
            for name in ON_MANIFOLDS
            for dtype in ("float64", "float32")
        ),
    ],
)
def test_many_steps_stay_on_the_manifold(name, dtype, steps):
    dtype = getattr(torch, dtype)
    params = start(name, dtype=dtype)
    optimizer = hf.optimizer(name)(params, lr=0.01)
    generator = torch.Generator().manual_seed(1)
    slopes = torch.randn(64, *params[0].shape, generator=generator, dtype=dtype)
    for k in range(steps):
        params[0].grad = slopes[k % 64]
        optimizer.step()
    unit = torch.finfo(dtype).eps / 2
    point = params[0].detach().double()
    if manifold_of(name) in ("sphere", "oblique"):
        off = ((point**2).sum(0) - 1).abs().max()
    else:
        off = torch.linalg.matrix_norm(point.T @ point - torch.eye(point.shape[1]), 2)
    bound = 30 * unit * steps**0.5 if name in MULTIPLY else 20 * unit
    assert off <= bound
    for state in optimizer.state.values():
        if "V" not in state:
            continue
        velocity = state["V"].double()
        along = (point * velocity).sum(0) if point.ndim == 1 else point.T @ velocity
        if manifold_of(name) == "oblique":
            along = torch.diagonal(along)
        normal = along + along.T if along.ndim == 2 else 2 * along
        assert normal.abs().max() <= bound * float(velocity.norm())


@pytest.mark.parametrize(
    ("name", "lr"),
    [
        ("stiefel_momentum", 0.02),
        ("stiefel_leapfrog", 0.02),
        ("stiefel_descent", 0.02),
        ("stiefel_rattle", 0.002),
        ("mec", 0.1),
    ],
)
def test_the_smallest_eigenvectors_in_order_are_found(name, lr):
    """Brockett: sum(X*(A X N)) is least where the columns of X are eigenvectors of A, sorted."""
    generator = np.random.default_rng(0)
    rotation = linalg.qr(generator.standard_normal((8, 8)))[0]
    values = np.array([-3.0, -1.5, -0.5, 0.2, 1.0, 2.0, 3.0, 4.0])
    matrix = torch.from_numpy(rotation @ np.diag(values) @ rotation.T)
    weights = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    point = hf.manifold("stiefel").random(8, 3, dtype=torch.float64).contiguous()
    param = torch.nn.Parameter(point)
    optimizer = hf.optimizer(name)([param], lr=lr)
    for _ in range(3000):
        optimizer.zero_grad()
        ((param * (matrix @ param)).sum(0) * weights).sum().backward()
        optimizer.step()
    found = (param.detach() * (matrix @ param.detach())).sum(0)
    assert torch.allclose(found, torch.from_numpy(values[:3]), atol=1e-9)


WEIGHTS = [(1.0, -2.0, 3.0), (3.0, 2.0, 1.0), (-1.0, -0.5), (0.5, -1.5)]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("weights", sampled(((own,) for own in WEIGHTS), every=2))
def test_a_rigid_body_comes_to_rest_at_the_minimum_for_weights_of_either_sign(weights):
    """The p smallest values ascending with weights descending; beside negative ones the largest.

    Weights are padded with zeros: the least of sum(weights*values) over all orders.
    """
    generator = np.random.default_rng(2)
    rotation = linalg.qr(generator.standard_normal((6, 6)))[0]
    values = np.array([-3.0, -1.5, 0.2, 1.0, 2.5, 4.0])
    padded = np.sort(np.append(weights, np.zeros(6 - len(weights))))[::-1]
    least = (padded * values).sum() / 2
    matrix = torch.from_numpy(rotation @ np.diag(values) @ rotation.T)
    factors = torch.tensor(weights, dtype=torch.float64)
    drawn = torch.Generator().manual_seed(4)
    point = hf.manifold("stiefel").random(6, len(weights), dtype=torch.float64, generator=drawn)
    param = torch.nn.Parameter(point.contiguous())
    optimizer = hf.optimizer("mec")([param], lr=0.1, friction=1.0)

    def energy():
        return ((param * (matrix @ param)).sum(0) * factors).sum() / 2

    for _ in range(1500):
        optimizer.zero_grad()
        energy().backward()
        optimizer.step()
    assert abs(energy().item() - least) <= 1e-13 * abs(least)
    rayleigh = (param.detach() * (matrix @ param.detach())).sum(0).numpy()
    at = [values[list(padded).index(weight)] for weight in weights]
    assert rayleigh == pytest.approx(at, abs=1e-11)


@pytest.mark.usefixtures("kernels")
def test_momentum_is_what_a_page_of_numpy_computes():
    """V <- V - lr grad; X <- polar(X + s V), s = (1 + momentum)/2; V <- momentum P(V)."""
    lr, momentum = 0.03, 0.8
    (param,) = start("stiefel_momentum")
    x, v = param.detach().numpy().copy(), np.zeros((7, 3))

    def project(at, vector):
        along = at.T @ vector
        return vector - at @ (along + along.T) / 2

    optimizer = hf.optimizer("stiefel_momentum")([param], lr=lr, momentum=momentum)
    for _ in range(100):
        optimizer.zero_grad()
        loss([param]).backward()
        slopes = param.grad.numpy().copy()
        optimizer.step()
        v = v - lr * project(x, slopes)
        left, _, right = np.linalg.svd(x + (1 + momentum) / 2 * v, full_matrices=False)
        x = left @ right
        v = momentum * project(x, v)
    assert abs(param.detach().numpy() - x).max() < 1e-12


@pytest.mark.usefixtures("kernels")
def test_without_a_gradient_the_leapfrog_goes_along_a_great_circle():
    """After a kick: steps of the angles s, s mu, s mu^2, ...; s = |lr g| (1 + mu)/2."""
    point = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    param = torch.nn.Parameter(point.clone())
    optimizer = hf.optimizer("sphere_leapfrog")([param], lr=0.1, momentum=0.5)
    param.grad = torch.tensor([5.0, -2.0, 0.0], dtype=torch.float64)
    optimizer.step()
    angle = 0.1 * 2 * 0.75
    for k in range(3):
        expected = torch.tensor([np.cos(angle), np.sin(angle), 0.0], dtype=torch.float64)
        assert (param.detach() - expected).abs().max() < 1e-15
        param.grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
        angle += 0.1 * 2 * 0.75 * 0.5 ** (k + 1)
    with optimizer.solution():
        assert abs(float(param.detach().norm()) - 1) < 1e-15


@pytest.mark.usefixtures("kernels")
def test_the_solution_of_the_leapfrog_lies_half_a_drift_back():
    (param,) = start("stiefel_leapfrog")
    optimizer = run("stiefel_leapfrog", [param], 5)
    point, velocity = param.detach().clone(), optimizer.state[param]["V"].clone()
    with optimizer.solution():
        solution = param.detach().clone()
    assert torch.equal(param.detach(), point)
    expected = hf.manifold("stiefel").geodesic(point, -velocity / 2)
    assert (solution - expected).abs().max() < 1e-14
    assert (solution - point).abs().max() > 1e-3


@pytest.mark.parametrize("name", MATRICES)
def test_steps_are_differentiable(name):
    """The derivative of the loss after two steps by the first gradient, beside differences."""
    (begin,) = start(name)
    slopes = torch.linspace(-1, 1, begin.numel(), dtype=torch.float64).reshape(begin.shape)

    def after(gradient):
        param = begin.detach().clone().requires_grad_()
        optimizer = hf.optimizer(name)([param], lr=0.05, differentiable=True)
        point = param.clone()
        optimizer.param_groups[0]["params"] = [point]
        for _ in range(2):
            point.grad = gradient
            optimizer.step()
        return (point * slopes.flip(0)).sum()

    whole = slopes.clone().requires_grad_()
    value = after(whole)
    (derivative,) = torch.autograd.grad(value, whole)
    h = 1e-6
    direction = torch.cos(7 * slopes)
    difference = (after(slopes + h * direction) - after(slopes - h * direction)) / (2 * h)
    assert abs(float((derivative * direction).sum() - difference.detach())) < 1e-9


@pytest.mark.parametrize("name", ["stiefel_momentum", "sphere_leapfrog"])
def test_a_state_goes_on_bit_for_bit(name):
    params = start(name, 2)
    optimizer = run(name, params, 4)
    saved, points = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in params]
    again = pickle.loads(pickle.dumps(optimizer))
    other = [torch.nn.Parameter(p.clone()) for p in points]
    loaded = hf.optimizer(name)(other)
    loaded.load_state_dict(saved)
    third = again.param_groups[0]["params"]
    for own, its in ((params, optimizer), (other, loaded), (third, again)):
        for _ in range(3):
            its.zero_grad()
            loss(own).backward()
            its.step()
    assert all(torch.equal(a, b) for a, b in zip(params, other, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(params, third, strict=True))


def test_a_schedule_and_groups_of_their_own():
    params = start("stiefel_descent", 2)
    groups = [{"params": params[:1], "lr": 0.1}, {"params": params[1:], "lr": 0.0}]
    optimizer = hf.optimizer("stiefel_descent")(groups)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    before = [p.detach().clone() for p in params]
    loss(params).backward()
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert not torch.equal(params[0], before[0])
    assert (params[1] - before[1]).abs().max() < 1e-15


def test_many_matrices_in_one_parameter_are_many_matrices():
    params = start("stiefel_momentum", 4)
    whole = torch.nn.Parameter(torch.stack([p.detach() for p in params]))
    run("stiefel_momentum", params, 6)
    optimizer = hf.optimizer("stiefel_momentum")([whole], batched=True)
    for _ in range(6):
        optimizer.zero_grad()
        loss([*whole]).backward()
        optimizer.step()
    assert (whole.detach() - torch.stack([p.detach() for p in params])).abs().max() < 1e-14


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}], ids=str)
@pytest.mark.parametrize("name", ON_MANIFOLDS)
def test_nothing_moves_without_a_gradient(name, options, kernels):
    for dtype in (torch.float64, torch.float32):
        (param,) = start(name, dtype=dtype)
        before = param.detach().clone()
        optimizer = hf.optimizer(name)([param], **options)
        for _ in range(3):
            param.grad = torch.zeros_like(param)
            optimizer.step()
        assert (param.detach() - before).abs().max() <= 8 * torch.finfo(dtype).eps


@pytest.mark.usefixtures("kernels")
def test_a_momentum_that_fades_below_the_smallest_number():
    param = torch.nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))
    optimizer = hf.optimizer("sphere_leapfrog")([param])
    param.grad = torch.tensor([0.0, 1.0, 0.0])
    for _ in range(1500):
        optimizer.step()
        param.grad = torch.zeros(3)
    assert param.detach().isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("size", [1e2, 1e5, 1e9])
def test_a_gradient_of_one_sample_does_not_lead_off_the_manifold(size, dtype, tmp_path, kernels):
    """X + V has then columns that are nearly dependent: the Gram matrix loses what tells them."""
    path = tmp_path / "own.toml"
    path.write_text(
        (catalogue.root() / "optimizers" / "stiefel_descent.toml")
        .read_text()
        .replace('retraction = "polar"', 'retraction = "qr"')
        .replace("stiefel_descent", "own")
    )
    generator = torch.Generator().manual_seed(4)
    sample = torch.randn(20, generator=generator, dtype=dtype)
    for name in ("stiefel_descent", path):
        param = torch.nn.Parameter(torch.eye(20, 5, dtype=dtype))
        optimizer = hf.optimizer(name)([param], lr=0.1, fused=True)
        for _ in range(3):
            param.grad = size * torch.outer(sample, sample[:5])
            optimizer.step()
        assert optimizer.violation() <= 50 * torch.finfo(dtype).eps


def test_what_is_not_finite_stays_with_its_matrix():
    params = start("stiefel_leapfrog", 2)
    optimizer = hf.optimizer("stiefel_leapfrog")(params, foreach=True)
    loss(params).backward()
    params[0].grad[0, 0] = float("inf")
    optimizer.step()
    assert not params[0].detach().isfinite().all()
    assert params[1].detach().isfinite().all()
    assert np.isnan(optimizer.violation())


def test_a_single_column_and_a_zero_gradient():
    param = torch.nn.Parameter(torch.tensor([[0.6], [0.8]], dtype=torch.float64))
    optimizer = hf.optimizer("stiefel_momentum")([param])
    param.grad = torch.zeros(2, 1, dtype=torch.float64)
    optimizer.step()
    assert torch.allclose(param.detach(), torch.tensor([[0.6], [0.8]], dtype=torch.float64))


def test_what_is_no_point_is_refused():
    descent = hf.optimizer("stiefel_descent")
    good = start("stiefel_descent")[0]
    for tensor, message in (
        (torch.randn(5, 3), 'hf.project_\\(parameter, "stiefel"\\)'),
        (torch.randn(3, 5), "5 columns and 3 rows"),
        (torch.eye(4, 2, dtype=torch.bfloat16), "one of float32, float64 was"),
        (torch.randn(3), "a matrix was expected"),
        (torch.stack([good.detach()] * 2), "batched=True"),
        (torch.full((4, 2), float("nan")), "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            descent([torch.nn.Parameter(tensor)])
    named = [("layer.weight", torch.nn.Parameter(torch.randn(4, 2)))]
    with pytest.raises(ValueError, match=r"layer\.weight"):
        descent(named)
    reflection = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match="det"):
        hf.optimizer("orthogonal_descent")([torch.nn.Parameter(reflection)])
    with pytest.raises(ValueError, match="square"):
        hf.optimizer("orthogonal_descent")([torch.nn.Parameter(torch.eye(4, 3))])
    with pytest.raises(ValueError, match="do not shrink"):
        descent([good], weight_decay=0.1)
    optimizer = descent([good])
    optimizer.param_groups[0]["weight_decay"] = 0.1
    good.grad = torch.ones_like(good)
    with pytest.raises(ValueError, match="do not shrink"):
        optimizer.step()
    optimizer.param_groups[0]["weight_decay"] = 0.0
    with pytest.raises(ValueError, match="manifold"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.randn(4, 2))]})
    assert len(optimizer.param_groups) == 1


def test_what_takes_vectors_of_any_length_refuses_matrices():
    with pytest.raises(ValueError, match="matrices"):
        hf.minimize(lambda x: float(x @ x), [1.0, 2.0], method="stiefel_descent")
    with pytest.raises(ValueError, match="is a manifold"):
        hf.optimizer("manifold/stiefel")
    with pytest.raises(ValueError, match="is none"):
        hf.manifold("problem/sphere")


def test_tensors_are_moved_onto_manifolds_or_left_as_they_are():
    tensor = torch.randn(6, 3, dtype=torch.float64)
    nearest = linalg.polar(tensor.numpy())[0]
    assert hf.project_(tensor, "stiefel") is tensor
    assert abs(tensor.numpy() - nearest).max() < 1e-14
    deficient = torch.ones(4, 2)
    for bad in (torch.zeros(4, 2), deficient, torch.randn(2, 4), torch.full((4, 2), float("inf"))):
        before = bad.clone()
        with pytest.raises(ValueError, match="no point"):
            hf.project_(bad, "stiefel")
        assert torch.equal(bad, before)
    with pytest.raises(ValueError, match="no point"):
        hf.project_(torch.zeros(3), "sphere")
    parameter = torch.nn.Parameter(torch.randn(5))
    hf.project_(parameter, "sphere")
    assert hf.manifold("sphere").contains(parameter)


def test_maps_of_a_manifold_take_axes_in_front():
    manifold = hf.manifold("stiefel")
    point = manifold.random(4, 6, 2, dtype=torch.float64)
    vector = manifold.project(point, torch.randn(4, 6, 2, dtype=torch.float64))
    assert manifold.inner(point, vector, vector, "canonical").shape == (4,)
    for name in manifold.retractions:  # some have no value for longer ones
        assert manifold.violation(manifold.retract(point, vector / 10, name)) < 1e-14
    for k in range(4):
        one = manifold.geodesic(point[k], vector[k])
        assert (manifold.geodesic(point, vector)[k] - one).abs().max() < 1e-14
    with pytest.raises(ValueError, match="no other"):
        manifold.retract(point, vector, "other")
    gradient = manifold.gradient(point, torch.ones_like(point), "canonical")
    inner = manifold.inner(point, gradient, vector, "canonical")
    assert torch.allclose(inner, vector.sum((-2, -1)))


def test_a_rule_on_a_manifold_of_ones_own(tmp_path, kernels):
    (tmp_path / "ellipsoid.toml").write_text(
        """
kind = "manifold"
name = "ellipsoid"
title = "An ellipsoid"
reference = "own"
point = { X = ["n"] }
constraint = "dot(X, N) - 1"
project = "V - dot(N, V)/dot(N, N)*N"

[shorthands]
N = "X + 3*dot(X, unit(n, 0))*unit(n, 0)"

[retractions]
scale = "(X + V)/sqrt(dot(X + V, X + V) + 3*dot(X + V, unit(n, 0))**2)"

[metrics.euclidean]
inner = "dot(U, V)"
gradient = "project(G)"

[sample]
point = "Z/sqrt(dot(Z, Z) + 3*dot(Z, unit(n, 0))**2)"
"""
    )
    path = tmp_path / "own.toml"
    path.write_text(
        """
kind = "optimizer"
name = "own"
title = "Descent with an average, and a rate that falls"
reference = "own"
manifold = "ellipsoid.toml"
unknowns = ["X", "M"]
assign = [
    "average = beta*M + (1 - beta)*gradient(grad(X))",
    "X = retract(-lr/sqrt(n)*average/(1 - beta**n))",
    "M = transport(average)",
]

[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
beta = { default = 0.5, domain = "unit-interval" }
"""
    )
    assert hf.verify(path).holds
    report = hf.check(path)
    assert report["stays"] == {"point": True, "M tangent": True}
    param = torch.nn.Parameter(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64))
    optimizer = hf.optimizer(path)([param], lr=2.0)
    for _ in range(300):
        optimizer.zero_grad()
        (-param[0]).backward()
        optimizer.step()
    assert (param.detach() - torch.tensor([0.5, 0, 0], dtype=torch.float64)).abs().max() < 1e-6
    assert optimizer.violation() < 1e-15


@pytest.mark.usefixtures("kernels")
def test_names_of_ones_own_meet_none_of_the_code(tmp_path):
    """Dimensions, states and locals that are called as what generated code has for itself."""
    path = tmp_path / "own.toml"
    path.write_text(
        """
kind = "optimizer"
name = "own"
title = "Names"
reference = "own"
point = { X = ["at", "way"] }
unknowns = ["X", "p", "room"]
assign = [
    "X_n = transpose(X) @ grad(X)",
    "set_A = X @ X_n",
    "p = 0.5*p + set_A",
    "room = room + p*step",
    "X = X - step*p - work*room",
]

[hyperparameters]
step = { default = 0.1, domain = "nonnegative" }
work = { default = 0.01, domain = "nonnegative" }
"""
    )
    assert hf.verify(path).holds
    wide = torch.nn.Parameter(torch.randn(2, 6))
    optimizer = hf.optimizer(path)([wide])
    wide.grad = torch.ones(2, 6)
    optimizer.step()
    assert wide.detach().isfinite().all()


def test_wide_matrices_have_no_orthonormal_columns(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        """
kind = "optimizer"
name = "own"
title = "Polar factors"
reference = "own"
point = { X = ["n", "p"] }
unknowns = ["X"]
assign = ["X = X - lr*polar(grad(X))"]

[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
"""
    )
    with pytest.raises(ValueError, match="rows=True takes its rows"):
        hf.optimizer(path)([torch.nn.Parameter(torch.randn(3, 6))])


def test_a_rule_of_matrices_without_a_manifold_decays(tmp_path, kernels):
    path = tmp_path / "plain.toml"
    path.write_text(
        """
kind = "optimizer"
name = "plain"
title = "The sign of a matrix"
reference = "own"
point = { X = ["n", "p"] }
unknowns = ["X", "M"]
assign = [
    "M = beta*M + (1 - beta)*grad(X)",
    "X = X - lr*polar(M)",
]

[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
beta = { default = 0.5, domain = "unit-interval" }

[options]
weight_decay = 0.1
decoupled_weight_decay = true
"""
    )
    assert hf.verify(path).holds
    generator = np.random.default_rng(1)
    x, slopes = generator.standard_normal((2, 6, 3))
    param = torch.nn.Parameter(torch.from_numpy(x.copy()))
    optimizer = hf.optimizer(path)([param])
    param.grad = torch.from_numpy(slopes)
    optimizer.step()
    expected = (1 - 0.1 * 0.1) * x - 0.1 * linalg.polar(slopes)[0]
    assert abs(param.detach().numpy() - expected).max() < 1e-14
    with pytest.raises(ValueError, match="no manifold"):
        optimizer.violation()
