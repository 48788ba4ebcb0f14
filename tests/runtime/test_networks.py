"""Networks on torch and numba: exact gradients, memory, steps, refusals."""

from __future__ import annotations

import itertools
from math import comb

import numba
import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.runtime.core import vector_math
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.networks import checkpoints
from hamilforge.runtime.networks.simplex import projected
from tests.samples import sampled

from .networks import (
    EXPECTED,
    FIELDS,
    GRADIENTS,
    cases_of,
    drawn,
    fitting,
    gradients,
    near,
    numba_text,
    torch_class,
    torch_text,
    written,
)

# --- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sampled(FIELDS, every=2, first=1))
def test_explicit_adjoints_are_torchs_autograd_and_all_memories_agree(field):
    for method in fitting(field):
        network, states = drawn(torch_class(torch_text(field, method)))
        if "solved" in torch_text(field, method):
            continue
        value, wanted = gradients(network, states, "autograd")
        for memory in ("all", "states", "checkpoint"):
            found_value, found = gradients(network, states, memory)
            assert abs(found_value - value) <= 1e-13 * abs(value)
            near(found, wanted, 1e-13)


@pytest.mark.parametrize(
    ("field", "method"), sampled(itertools.product(FIELDS, GRADIENTS["implicit"]), every=5)
)
def test_implicit_adjoints_are_those_of_the_interpretation(field, method):
    found = written(torch_text(field, method), cases_of(field, method))
    assert found.holds, str(found)


@pytest.mark.parametrize("activation", GRADIENTS["activations"])
def test_any_activation_is_differentiated(activation):
    network, states = drawn(torch_class(torch_text("resnet", "rk4", activation=activation)))
    _, wanted = gradients(network, states, "autograd")
    _, found = gradients(network, states, "all")
    near(found, wanted, 1e-13)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", GRADIENTS["implicit"][::3])
@pytest.mark.parametrize("activation", ["sign(x)", "step(x)"])
def test_activations_that_only_jump_send_nothing_back(activation, method):
    sizes = {"d": 2, "m": 3}
    module, network = (
        hf.network("two_layer", method, 3, sizes, activation=activation, backend=backend, **options)
        for backend, options in (("torch", {"dtype": torch.float64}), ("numba", {}))
    )
    with torch.no_grad():  # no stage comes near a jump
        module.control("A1").mul_(0.01)
        module.control("b1").copy_(torch.tensor([3.0, -2.0, 4.0]).expand(3, 3))
    network.controls = {name: module.control(name).detach().numpy() for name in network.controls}
    start = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    end = module(start)
    (end**2).sum().backward()
    last = end.detach().numpy()
    found = network.gradient(start.detach().numpy(), costates=2 * last)
    assert np.allclose(found.ends[0], last, rtol=1e-14)
    assert np.array_equal(start.grad, 2 * last)
    for name, gradient in found.controls.items():
        slope = module.control(name).grad
        slope = np.zeros(gradient.shape) if slope is None else slope.numpy()
        assert np.allclose(slope, gradient, rtol=1e-13, atol=1e-14)
    assert not found.controls["A1"].any()
    assert found.controls["A2"].any()


@pytest.mark.parametrize("field", FIELDS)
def test_costate_times_tangent_is_constant_along_the_layers(field):
    made = torch_class(torch_text(field, "rk4"))
    network, states = drawn(made)
    if network.RUNNING:
        states.append(torch.zeros(7, 1, dtype=torch.float64))
    values = network.given()
    t, before, kept = network.t0, [tuple(states)], []
    tangents = [tuple(torch.randn_like(one) for one in states)]
    for number in range(network.layers):
        own = [network.control(name)[number].detach() for name in network.CONTROLS]

        def layer(*given, t=t, number=number, own=own):
            return network.layer(t, network.h[number].detach(), *given, *own, *values)[0]

        _, moved = torch.func.jvp(layer, before[-1], tangents[-1])
        ends, stages = network.layer(t, network.h[number].detach(), *before[-1], *own, *values)
        tangents.append(moved)
        kept.append((t, own, stages))
        before.append(ends)
        t = t + network.h[number].detach()
    costates = tuple(torch.randn_like(one) for one in before[-1])
    products = []
    for number in range(network.layers, -1, -1):
        products.append(
            sum(float((p * d).sum()) for p, d in zip(costates, tangents[number], strict=True))
        )
        if number:
            t, own, stages = kept[number - 1]
            h = network.h[number - 1].detach()
            costates, *_ = network.layer_adjoint(
                t, h, *before[number - 1], *own, *values, *costates, *stages
            )
    size = max(map(abs, products))
    assert max(products) - min(products) < 1e-13 * max(1.0, size) * 10


def test_second_derivatives_are_torchs_or_refused():
    network, states = drawn(torch_class(torch_text("resnet", "rk4")), memory="autograd")
    point = states[0][:2].requires_grad_()
    assert torch.autograd.gradgradcheck(network, (point,))
    network.memory = "all"
    (slope,) = torch.autograd.grad(network(point).sum(), point)
    assert torch.isfinite(slope).all()
    with pytest.raises(RuntimeError, match='with memory="autograd"'):
        torch.autograd.grad(network(point).sum(), point, create_graph=True)


def test_hessian_vector_products_are_the_differences_of_gradients():
    network, states = drawn(torch_class(torch_text("gradient_flow", "kutta3")), memory="autograd")
    control = network.control("A")
    direction = torch.randn_like(control)

    def slope(create_graph=False):
        value = (network(*states) ** 2).sum()
        return torch.autograd.grad(value, control, create_graph=create_graph)[0]

    (found,) = torch.autograd.grad((slope(create_graph=True) * direction).sum(), control)
    network.memory = "all"
    with torch.no_grad():
        control += 1e-5 * direction
    after = slope()
    with torch.no_grad():
        control -= 2e-5 * direction
    before = slope()
    assert (found - (after - before) / 2e-5).norm() < 1e-7 * found.norm()


def test_a_network_is_a_layer_of_a_model_and_compiles():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 2), hf.network("resnet", "rk4", 4, {"d": 2}), torch.nn.Linear(2, 1)
    )
    x = torch.randn(6, 5)
    wanted = model(x)
    assert torch.allclose(torch.compile(model, backend="aot_eager")(x), wanted)
    wanted.sum().backward()
    assert all(entry.grad is not None for entry in model.parameters())
    state = model.state_dict()
    model.load_state_dict(state)


# --- numba ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 6, 16])  # fused, loops along rows, BLAS
def test_kernels_give_the_same_bits_on_any_number_of_threads_and_the_same_sums_in_any_memory(size):
    network = hf.network("resnet", "rk4", 6, {"d": size}, backend="numba", block=5)
    y = np.random.default_rng(0).standard_normal((23, size))

    def run():
        return network.gradient(y, loss=lambda end, rows: ((end**2).sum(1) / 2, end))

    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = run()
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        two = run()
    finally:
        numba.set_num_threads(before)
    for name in ("K", "b"):
        assert (one.controls[name] == two.controls[name]).all()
    assert (one.h == two.h).all()
    for memory in ("states", "checkpoint"):
        network.memory = memory
        other = run()
        for name in ("K", "b"):
            assert np.allclose(other.controls[name], one.controls[name], rtol=1e-13, atol=1e-15)
        assert (other.ends[0] == one.ends[0]).all()
    network.block, network.memory = None, "all"
    whole = run()
    assert np.allclose(whole.controls["K"], one.controls["K"], rtol=1e-12)
    assert np.allclose(whole.losses, one.losses, rtol=1e-13)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_functions_of_kernels_are_within_three_units_in_the_last_place(kind):
    @numba.njit
    def values(x, tanh, exp, logistic):
        for n in range(x.size):
            tanh[n] = vector_math.tanh(x[n])
            exp[n] = vector_math.exp(x[n])
            logistic[n] = vector_math.logistic(x[n])

    generator = np.random.default_rng(0)
    x = np.concatenate([generator.normal(0, s, 20_000) for s in (0.01, 1, 10, 60)]).astype(kind)
    x[:6] = [0.0, -0.0, 1e-30, np.inf, -np.inf, np.nan]
    found = [np.empty_like(x) for _ in range(3)]
    values(x, *found)
    exact = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        wanted = [np.tanh(exact), np.exp(exact), 1 / (1 + np.exp(-exact))]
        least, most = np.finfo(kind).tiny, np.finfo(kind).max
        for one, other in zip(found, wanted, strict=True):
            assert np.isnan(one[5])
            normal = (abs(other) > least) & (abs(other) < most)
            ulp = np.spacing(abs(other[normal]).astype(kind)).astype(np.longdouble)
            assert (abs(one[normal] - other[normal]) <= 3 * ulp).all()
            assert (one[3:5] == other[3:5].astype(kind)).all()


# --- steps and memory -------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 7, 30])
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_checkpoints_recompute_the_least_that_is_possible(layers, slots):
    cost = int(checkpoints.costs(layers, slots)[0][layers])
    repeats = next(r for r in itertools.count() if comb(slots + 1 + r, r) >= layers)
    if layers > 1:
        # Griewank and Walther, with the initial state as one more checkpoint
        assert cost == repeats * layers - comb(slots + 1 + repeats, repeats - 1)
    taken, advanced = [], 0

    def advance(state, first, last):
        nonlocal advanced
        assert state == first
        advanced += last - first
        return last

    kept = checkpoints.placed(layers, slots)
    assert len(kept) <= slots + 1
    for number, state in checkpoints.backwards(layers, slots, kept, advance):
        assert number == state
        taken.append(number)
    assert taken == [*range(layers - 1, -1, -1)]
    assert advanced <= cost


@pytest.mark.parametrize("steps", ["softmax", "simplex"])
def test_steps_on_a_simplex_keep_their_sum(steps):
    network = hf.network("resnet", "euler", 5, {"d": 2}, h=0.4, steps=steps, dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    x = torch.randn(20, 2, dtype=torch.float64)
    for _ in range(5):
        optimizer.zero_grad()
        (network(x) ** 2).sum().backward()
        optimizer.step()
        network.project_()
        assert abs(float(network.h.sum()) - 2.0) < 1e-12
        assert (network.h >= 0).all()


def test_the_projection_is_the_nearest_point_of_the_simplex():
    generator = np.random.default_rng(1)
    for _ in range(50):
        vector, total = generator.normal(0, 2, 6), generator.uniform(0.1, 3)
        found = projected(vector, total)
        assert abs(found.sum() - total) < 1e-12
        assert (found >= 0).all()
        # v - x is a multiple of one where x > 0, and not more elsewhere
        slack = vector - found
        level = slack[found > 0]
        assert np.ptp(level) < 1e-12
        assert (slack[found == 0] <= level[0] + 1e-12).all()


def test_layers_whose_step_is_zero_can_be_dropped():
    network = hf.network("resnet", "rk4", 4, {"d": 2}, steps="simplex", dtype=torch.float64)
    with torch.no_grad():
        network.step_sizes.copy_(torch.tensor([0.5, 0.0, 0.5, 0.0]))
    x = torch.randn(9, 2, dtype=torch.float64)
    pruned = network.pruned()
    assert pruned.layers == 2
    assert torch.allclose(pruned(x), network(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("by_stage", [False, True])
@pytest.mark.parametrize(("field", "method"), EXPECTED["reversible"]["pairs"])
def test_symmetric_methods_go_back_without_keeping_anything(field, method, by_stage):
    network, states = drawn(torch_class(torch_text(field, method, by_stage=by_stage)))
    value, wanted = gradients(network, states, "all")
    found_value, found = gradients(network, states, "reversible")
    assert found_value == value
    near(found, wanted, 1e-12)
    found = written(
        numba_text(field, method, by_stage=by_stage), cases_of(field, method, by_stage=by_stage)
    )
    assert found.holds, str(found)
    assert any("reversible" in one.case for one in found.deviations)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_digits_that_contracting_layers_take_away_are_an_error(backend):
    network = hf.network("resnet", "implicit_midpoint", 30, {"d": 4}, h=0.5, backend=backend)
    y = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    pull = basis @ np.diag([-3.0, -3.0, 0.0, 0.0]) @ basis.T

    def run():
        if backend == "numba":
            network.gradient(y, costates=y)
        else:
            network(torch.from_numpy(y)).sum().backward()

    control = network.controls["K"] if backend == "numba" else network.control("K").data.numpy()
    control[...] = pull
    run()
    network.memory = "reversible"
    with pytest.raises(IntegrationError, match="the gradient would be wrong"):
        run()


def test_methods_that_are_not_symmetric_are_not_reversible():
    for backend in ("torch", "numba"):
        network = hf.network("resnet", "rk4", 2, {"d": 2}, backend=backend)
        with pytest.raises(ValueError, match=r"has to be symmetric; that of resnet__rk4 is not"):
            network.memory = "reversible"


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers = 0: a positive whole number"),
        ({"sizes": {}}, r"the size of the dimension 'd' \(of y, K, b\) is None"),
        ({"sizes": {"d": 2, "m": 3}}, "no dimension 'm'; those of resnet\\w* are: d"),
        ({"h": 0.0}, "the step of layer 0 is 0.0"),
        ({"h": [0.1, 0.1, -0.1]}, "the step of layer 2 is -0.1"),
        ({"h": [0.1]}, "1 steps for 3 layers"),
        ({"memory": "none"}, "memory = 'none'"),
        ({"parameters": {"gamma": 1.0}}, "no parameter 'gamma'"),
        ({"parameters": [1]}, r"parameters = \[1\]: names with numbers"),
        ({"sizes": 4}, "sizes = 4: names with numbers"),
        ({"sizes": {"d": True}}, "a positive whole number"),
        ({"h": "x"}, "h = 'x': a number was expected"),
        ({"h": True}, "h = True: a number was expected"),
        ({"h": np.ones((3, 1))}, "a number was expected"),
        ({"t0": float("nan")}, "t0 = nan: a finite number"),
        ({"dtype": "int32"}, "dtype = "),
        ({"dtype": "float46"}, "dtype = 'float46'"),
        (
            {"checkpoint": 3},
            "no option 'checkpoint' of a network for .* did you mean 'checkpoints'",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_networks_refuse_what_does_not_fit(backend, options, message):
    given = {"layers": 3, "sizes": {"d": 2}, **options}
    with pytest.raises(ValueError, match=message):
        hf.network("resnet", "rk4", backend=backend, **given)


def test_options_of_one_backend_are_none_of_the_other():
    with pytest.raises(ValueError, match="no option 'seed' of a network for torch"):
        hf.network("resnet", "rk4", 3, {"d": 2}, seed=1)
    with pytest.raises(ValueError, match="no option 'steps' of a network for numba"):
        hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba", steps="learned")


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_networks_say_what_they_are(backend):
    network = hf.network("resnet", "heun2", 3, {"d": 6}, backend=backend, memory="states")
    assert "layers=3, d=6, memory=states" in repr(network)


def test_inputs_that_do_not_fit_are_refused():
    network = hf.network("resnet", "rk4", 3, {"d": 2})
    with pytest.raises(ValueError, match=r"takes y of the shape \(batch, 2\), not \(4, 3\)"):
        network(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"its input is torch\.float64"):
        network(torch.zeros(4, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="not finite"):
        network(torch.full((4, 2), float("nan")))
    kernels = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    with pytest.raises(ValueError, match=r"y has the shape \(4, 3\); \(samples, 2\)"):
        kernels(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not finite"):
        kernels(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="either costates or a loss"):
        kernels.gradient(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="backend = 'jax'"):
        hf.network("resnet", "rk4", 3, {"d": 2}, backend="jax")


def test_kernels_are_given_no_array_of_another_shape():
    network = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    y = np.ones((4, 2))
    network.controls["K"] = np.ones((2, 2, 2))
    with pytest.raises(ValueError, match=r"the control K has the shape \(2, 2, 2\)"):
        network(y)
    network.controls["K"] = np.full((3, 2, 2), np.nan)
    with pytest.raises(ValueError, match="the control K has numbers that are not finite"):
        network(y)
    network.controls["K"] = np.ones((3, 2, 2))
    with pytest.raises(ValueError, match="5 costates for 4 samples"):
        network.gradient(y, costates=np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"the loss gives costates of the shapes \[\(1, 2\)\]"):
        network.gradient(y, loss=lambda end, rows: (None, np.ones((1, 2))))
    network.h = np.array([0.1])
    with pytest.raises(ValueError, match=r"h has the shape \(1,\)"):
        network(y)
    with pytest.raises(ValueError, match="takes a field"):
        hf.network("henon_heiles", "gauss2", 3, {"d": 2}, backend="numba")


def test_the_sum_of_the_steps_is_part_of_the_state():
    one = hf.network("resnet", "rk4", 3, {"d": 2}, h=1.0, steps="softmax")
    other = hf.network("resnet", "rk4", 3, {"d": 2}, h=0.1, steps="softmax")
    other.load_state_dict(one.state_dict())
    x = torch.randn(5, 2)
    assert torch.equal(one(x), other(x))


@pytest.mark.usefixtures("kernels")
def test_stages_that_cannot_be_solved_for_are_an_error(tmp_path):
    path = tmp_path / "explosive.toml"
    path.write_text(
        'kind = "field"\nname = "explosive"\ntitle = "T"\nreference = "R"\n'
        'state = { y = ["d"] }\nf = "exp(y**2)"\n',
        encoding="utf-8",
    )
    network = hf.network(path, "implicit_euler", 2, {"d": 1}, h=5.0, dtype=torch.float64)
    with pytest.raises(IntegrationError, match="did not converge"):
        network(torch.ones(1, 1, dtype=torch.float64))
    kernels = hf.network(path, "implicit_euler", 2, {"d": 1}, h=5.0, backend="numba")
    with pytest.raises(IntegrationError, match="layer 0 of explosive__implicit_euler"):
        kernels(np.ones((1, 1)))
