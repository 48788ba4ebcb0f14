"""Networks: shapes, reverse rules, the partner theorem, what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import hamilforge as hf
from hamilforge import document, verification
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError, DeclarationError
from hamilforge.gen.program.networks.build import build_network
from hamilforge.gen.program.networks.interpret import NetworkInterpreter
from hamilforge.gen.tableau.build import build
from tests.samples import sampled

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "networks.toml").read_text(encoding="utf-8")
)
FIELDS = [*catalogue.names("field")]


def network_of(field, method, **choices):
    return build_network(*products.load_made(field, method, **choices))


def given(case, network):
    """Parameters and fixed arrays, by the names of the program."""
    spelled = {name: own for own, name in network.declared.items()}
    return {**{spelled[name]: value for name, value in case.parameters.items()}, **case.fixed}


def write(tmp_path, body, name="own"):
    path = tmp_path / f"{name}.toml"
    path.write_text(
        f'kind = "field"\nname = "{name}"\ntitle = "T"\nreference = "R"\n{body}', encoding="utf-8"
    )
    return path


# --- derivatives ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "method", "by_stage"),
    [
        # each field with one method in turn, and not the longest by iteration, in the plain suite
        pytest.param(field, method, by_stage, marks=[pytest.mark.full] * ((index + 1) % 3 != turn))
        for index, field in enumerate(FIELDS)
        for turn, (method, by_stage) in enumerate(
            [("rk4", False), ("gauss2", False), ("kutta3", True)]
        )
    ],
)
def test_the_interpreted_adjoint_is_the_derivative(field, method, by_stage):
    network = network_of(field, method, by_stage=by_stage)
    (case,) = verification.network_cases(network, ("float64",))
    spelled = {name: own for own, name in network.declared.items()}
    running = [np.zeros((9, 1))] * (len(network.parts) - len(case.states))

    def objective(controls, h, t0, states):
        own = {spelled[name]: value for name, value in controls.items()}
        machine = NetworkInterpreter(network, own, given(case, network), h, t0)
        ends = machine.forward([*states, *running])[-1]
        costates = [*case.costates, *(np.ones((9, 1)) for _ in running)]
        return sum(float((end * p).sum()) for end, p in zip(ends, costates, strict=True))

    generator = np.random.default_rng(0)
    inputs = {"the steps": case.h, "the time": np.array(case.t0), **case.controls}
    inputs |= {f"state {k}": one for k, one in enumerate(case.states)}
    for name, value in inputs.items():
        direction = generator.standard_normal(value.shape)

        def moved(step, name=name, direction=direction):
            new = dict(inputs)
            new[name] = new[name] + step * direction
            states = [new[f"state {k}"] for k in range(len(case.states))]
            controls = {key: new[key] for key in case.controls}
            return objective(controls, new["the steps"], float(new["the time"]), states)

        e = 2e-5  # small, lest a relu turns within it
        slopes = [(moved(k * e) - moved(-k * e)) / (2 * k * e) for k in (1, 2, 3)]
        measured = (15 * slopes[0] - 6 * slopes[1] + slopes[2]) / 10
        state_names = [part.state.name for part in network.parts]
        key = f"by {state_names[int(name[6:])]}" if name.startswith("state") else f"by {name}"
        derived = float((case.found[key] * direction).sum())
        assert abs(measured - derived) <= 1e-8 * max(1.0, abs(measured), abs(derived)), name


@pytest.mark.parametrize("by_stage", [False, True])
@pytest.mark.parametrize("cost", EXPECTED["regularisers"]["costs"])
def test_the_interpreted_regulariser_is_a_sum_over_layers_with_its_derivatives(
    tmp_path, cost, by_stage
):
    path = write(tmp_path, EXPECTED["regularisers"]["head"] + f'regulariser = "{cost}"\n')
    network = network_of(path, "kutta3", by_stage=by_stage)
    (case,) = verification.network_cases(network, ("float64",))

    def machine(controls, h):
        return NetworkInterpreter(network, controls, given(case, network), h, 0.0)

    total, by_control, by_step = machine(case.controls, case.h).regulariser()
    if cost == "sum(rate(K)**2)/2":
        steps = case.h[:-1].reshape(-1, *(1,) * (case.controls["K"].ndim - 1))
        squares = np.diff(case.controls["K"], axis=0) ** 2 / (2 * steps)
        by_hand = squares.sum() / (3 if by_stage else 1)
        assert abs(total - by_hand) < 1e-14 * by_hand
    generator = np.random.default_rng(0)
    for name in (*case.controls, "h"):
        value = case.h if name == "h" else case.controls[name]
        direction = generator.standard_normal(value.shape)

        def moved(step, name=name, value=value, direction=direction):
            new = value + step * direction
            if name == "h":
                return machine(case.controls, new).regulariser()[0]
            return machine({**case.controls, name: new}, case.h).regulariser()[0]

        e = 1e-4
        measured = (8 * (moved(e) - moved(-e)) - (moved(2 * e) - moved(-2 * e))) / (12 * e)
        derived = float(((by_step if name == "h" else by_control[name]) * direction).sum())
        assert abs(measured - derived) <= 1e-8 * max(1.0, abs(measured)), name


def test_a_regulariser_without_controls_is_refused_and_so_is_one_in_a_control_problem(tmp_path):
    head = EXPECTED["regularisers"]["head"]
    path = write(tmp_path, head + 'regulariser = "0*sum(K) + alpha"\n')
    with pytest.raises(DeclarationError, match="the regulariser depends on no control"):
        pipeline.generate(products.load_made(path, "euler"))
    path = write(tmp_path, head + 'running = "u**2"\nregulariser = "u**2"\n')
    with pytest.raises(DeclarationError, match="minimises the running cost alone"):
        hf.optimal_control(path, "rk4", [1.0], 2)


def test_choices_of_a_field_are_refused_elsewhere():
    for made in (("heavy_ball",), ("kepler", "rk4"), ("objective/logistic_classifier",)):
        products.load_made(*made, sizes={}, by_stage=False, activation=None)
        for choice in ({"by_stage": True}, {"activation": ""}, {"sizes": {"d": 2}}):
            what = r"belong to the field of a network|has no sites"
            with pytest.raises(DeclarationError, match=what):
                products.load_made(*made, **choice)
    with pytest.raises(DeclarationError, match="are shown of a field with a method"):
        document.show("resnet", by_stage=True)


@pytest.mark.parametrize("case", EXPECTED["regularisers"]["refused"])
def test_regularisers_that_mean_nothing_are_refused(tmp_path, case):
    path = write(tmp_path, EXPECTED["regularisers"]["head"] + f'regulariser = "{case[0]}"\n')
    with pytest.raises(DeclarationError, match=case[1]):
        products.load_field(path)


@pytest.mark.parametrize("method", EXPECTED["partner"]["methods"])
def test_the_derived_adjoint_is_the_symplectic_partner(method):
    # y' = f, p' = -f_y' p by the tableau and Hager's adjoint tableau, both forwards in time
    network = network_of("resnet", method)
    (case,) = verification.network_cases(network, ("float64",))
    machine = NetworkInterpreter(network, case.controls, given(case, network), case.h, case.t0)
    states = machine.forward(case.states)
    costate, _, _, _ = machine.gradient(case.states, case.costates)
    a, b, _ = build(catalogue.load(method, ("runge-kutta",))).by_stages.floats
    partner = b[None, :] - b[None, :] * a.T / b[:, None]
    size = len(b)
    p = costate[0]
    for number, h in enumerate(case.h):
        K, shift = case.controls["K"][number], case.controls["b"][number]
        y = states[number][0]
        k = np.zeros((size, *y.shape))
        for _ in range(400):
            values = [y + h * np.tensordot(a[i], k, 1) for i in range(size)]
            k = np.array([np.tanh(value @ K.T + shift) for value in values])
        slopes = [(1 - rate**2)[:, :, None] * K for rate in k]
        ends = np.empty_like(p)
        for n in range(len(p)):
            d = p.shape[1]
            # P_i = p - h sum_j partner_ij J_j' P_j
            matrix = np.eye(size * d)
            for i in range(size):
                for j in range(size):
                    block = h * partner[i, j] * slopes[j][n].T
                    matrix[i * d : (i + 1) * d, j * d : (j + 1) * d] += block
            stages = np.linalg.solve(matrix, np.tile(p[n], size)).reshape(size, d)
            ends[n] = p[n] - h * sum(b[i] * slopes[i][n].T @ stages[i] for i in range(size))
        p = ends
    assert np.linalg.norm(p - case.costates[0]) < 1e-12 * np.linalg.norm(p)


@pytest.mark.parametrize("method", EXPECTED["partner"]["symbolic"])
def test_discretise_then_optimise_is_optimise_then_discretise_symbolically(method):
    tableau = build(catalogue.load(method, ("runge-kutta",))).by_stages
    size = len(tableau.b)
    if tableau.stages.modulus is None:
        a = [[sp.nsimplify(str(entry)) for entry in row] for row in tableau.a]
        b = [sp.nsimplify(str(entry)) for entry in tableau.b]
    else:
        a = sp.MatrixSymbol("a", size, size).as_explicit().tolist()
        b = [sp.Symbol(f"b_{i}", positive=True) for i in range(size)]
    h, p = sp.symbols("h p")
    slopes = sp.symbols(f"J_:{size}")
    w = sp.symbols(f"w_:{size}")
    # the recursion without divisions, for y' with the slope J_i at stage i
    recursion = [
        w[i] - b[i] * p - h * sum(a[j][i] * slopes[j] * w[j] for j in range(size))
        for i in range(size)
    ]
    found = sp.solve(recursion, w, dict=True)[0]
    before = p + h * sum(slopes[i] * found[w[i]] for i in range(size))
    # the partner, from that costate forwards
    stage = sp.symbols(f"P_:{size}")
    partner = [
        stage[i]
        - before
        + h * sum((b[j] - b[j] * a[j][i] / b[i]) * slopes[j] * stage[j] for j in range(size))
        for i in range(size)
    ]
    stages = sp.solve(partner, stage, dict=True)[0]
    after = before - h * sum(b[i] * slopes[i] * stages[stage[i]] for i in range(size))
    assert sp.simplify(after - p) == 0


# --- declarations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'state = { y = ["d"] }\ncontrols = { K = ["m", "d"] }\nf = "K @ y"\n',
            r"f is \(m\), and its state 'y' is \(d\)",
        ),
        (
            'state = { y = ["d"] }\ncontrols = { K = ["d", "m"] }\nf = "K @ y"\n',
            r"'K' is \(d, m\) and 'y' is \(d\): m and d do not fit",
        ),
        (
            'state = { y = ["d"] }\ncontrols = { b = ["m"] }\nf = "y + b"\n',
            r"'y' is \(d\) and 'b' is \(m\): the shapes do not fit",
        ),
        ('state = { y = ["d"] }\nf = "K @ y"\n', "unknown name 'K'"),
        ('state = { y = ["d"] }\nf = "sigma(y)"\n', "none is declared"),
        ('state = { y = ["d"] }\nf = "swish(y)"\n', "not a function of the expression language"),
        ('state = { y = ["d", "d"] }\nf = "y"\n', "a shape was expected"),
        ('state = { y = ["d"] }\nf = "y"\nactivation = "y"\n', "unknown name 'y'"),
        ('state = { y = ["d"] }\nf = "y"\nrunning = "y"\n', "a scalar was expected"),
        ('state = { y = ["d"], z = ["d"] }\n[f]\ny = "z"\n', "the right-hand side of 'z'"),
        ('state = { t = ["d"] }\nf = "t"\n', "'t' cannot be a name here"),
        ('state = { y = ["d"] }\nf = "transpose(y)"\n', "transpose takes a matrix"),
        ('state = { y = ["d"] }\ncontrols = { y = ["d"] }\nf = "y"\n', "has a meaning already"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_the_users_names(tmp_path, body, message):
    with pytest.raises(DeclarationError, match=message):
        products.load_field(write(tmp_path, body))


def test_a_pair_needs_two_states():
    with pytest.raises(DeclarationError, match="a pair needs two states"):
        network_of("resnet", "stormer_verlet_pair")


def test_a_field_that_depends_on_nothing_is_refused(tmp_path):
    path = write(tmp_path, 'state = { y = ["d"] }\nf = "0*y + 1"\n')
    with pytest.raises(DeclarationError, match="it depends on nothing"):
        pipeline.generate(products.load_made(path, "euler"))


def test_a_false_claim_about_a_field_is_refused(tmp_path):
    path = write(tmp_path, 'state = { y = ["d"] }\nf = "cos(t)*y"\n[claims]\nautonomous = true\n')
    with pytest.raises(ClaimError, match="autonomous"):
        pipeline.generate(products.load_made(path, "euler"))


def test_an_activation_given_by_hand_is_an_expression_in_x_and_another_product():
    own = products.load_made("resnet", "euler", activation="x*logistic(x)")
    assert products.key(*own) != products.key(*products.load_made("resnet", "euler"))
    assert any("logistic" in text for text in pipeline.rendered(own).values())
    with pytest.raises(DeclarationError, match="unknown name 'y'"):
        products.load_field("resnet", activation="tanh(y)")
    with pytest.raises(DeclarationError, match="it has no activation to set"):
        products.load_field("controlled", activation="tanh(x)")


def test_names_that_generated_code_needs_are_spelled_differently(tmp_path):
    path = write(
        tmp_path,
        'state = { w = ["n"] }\ncontrols = { h = ["n", "n"], lambda = ["n"], k_1 = ["n"] }\n'
        'f = "tanh(h @ w + lambda) - k_1*w"\n',
    )
    network = build_network(products.load_field(path), products.load_layer_method("rk4"))
    declared = [network.declared[array.name] for array in network.controls]
    assert declared == ["h", "lambda", "k_1"]
    for name, text in pipeline.rendered(products.load_made(path, "rk4")).items():
        compile(text, name, "exec")


# --- structure and control ---------------------------------------------------------------------

PAIR = """state = { Y = ["d"], Z = ["d"] }
controls = { K = ["d", "d"], M = ["m", "d"], b = ["m"], c = ["d"] }
activation = "softplus(x)"
"""


@pytest.mark.parametrize(
    ("rates", "hamiltonian"),
    [
        ('Y = "(K + transpose(K)) @ Z"\nZ = "-transpose(M) @ sigma(M @ Y + b)"', True),
        ('Y = "(K - transpose(K)) @ Z"\nZ = "-transpose(M) @ sigma(M @ Y + b)"', False),
        ('Y = "K @ Y + Z"\nZ = "-transpose(K) @ Z"', True),
        ('Y = "K @ Y + Z"\nZ = "transpose(K) @ Z"', False),
        ('Y = "sigma(Z + c)"\nZ = "-t*tanh(Y)"', True),
        ('Y = "transpose(K) @ (K @ Z)"\nZ = "cos(t)*c"', True),
        ('Y = "K @ (K @ Z)"\nZ = "c"', False),
        ('Y = "sigma(K @ Z)"\nZ = "-Y"', False),
        ('Y = "(K + 1) @ Y + Z"\nZ = "-transpose(K) @ Z"', False),
    ],
)
def test_a_field_is_hamiltonian_by_proof_or_not_by_numbers(tmp_path, rates, hamiltonian):
    path = write(tmp_path, f"{PAIR}[f]\n{rates}\n")
    report = pipeline.check(catalogue.load(path))
    assert report["hamiltonian"] is hamiltonian


def test_states_of_different_shapes_are_no_positions_and_momenta(tmp_path):
    body = 'state = { Y = ["d"], Z = ["m"] }\ncontrols = { b = ["d"], c = ["m"] }\n'
    path = write(tmp_path, body + '[f]\nY = "b"\nZ = "c"\n')
    assert pipeline.check(catalogue.load(path))["hamiltonian"] is False


def test_a_matrix_for_each_sample_is_refused(tmp_path):
    path = write(
        tmp_path,
        'state = { y = ["d"] }\ncontrols = { A = ["d", "d"] }\nf = "(A*norm(y)) @ y"\n',
    )
    with pytest.raises(DeclarationError, match="a matrix for each sample"):
        pipeline.generate(products.load_made(path, "euler"))


def exact_state(t):
    return (2 * np.exp(3 * t) + np.exp(3)) / (np.exp(1.5 * t) * (2 + np.exp(3)))


def control_errors(method):
    errors = []
    for steps in (4, 8):
        found = hf.optimal_control("hager", method, [1.0], steps)
        errors.append(abs(found.y[0][:, 0] - exact_state(found.t)).max())
    return errors


@pytest.mark.parametrize(
    ("method", "order"), sampled(map(tuple, EXPECTED["control"]["orders"]), every=2)
)
def test_hagers_problem_shows_the_control_order_that_is_proved(method, order):
    assert pipeline.check(products.load_layer_method(method))["control_order"] == order
    coarse, fine = control_errors(method)
    assert abs(np.log2(coarse / fine) - order) < 0.2


@pytest.mark.parametrize("method", EXPECTED["control"]["stalls"])
def test_a_vanishing_weight_makes_the_control_problem_stall(method):
    coarse, fine = control_errors(method)
    assert abs(coarse - 0.426) < 1e-3
    assert abs(fine - 0.426) < 1e-3


def test_a_control_problem_needs_a_running_cost_and_a_start_that_fits():
    with pytest.raises(DeclarationError, match="needs a running cost"):
        hf.optimal_control("resnet", "rk4", [1.0], 4)
    with pytest.raises(ValueError, match="a vector for each of the states y"):
        hf.optimal_control("hager", "rk4", 1.0, 4)
    with pytest.raises(ValueError, match="a positive whole number was expected"):
        hf.optimal_control("hager", "rk4", [1.0], 0)


def test_a_control_problem_takes_parameters_and_refuses_what_does_not_fit(tmp_path):
    path = tmp_path / "weighted.toml"
    path.write_text(
        'kind = "field"\nname = "weighted"\ntitle = "T"\nreference = "R"\n'
        'state = { y = [1] }\ncontrols = { u = [1] }\nf = "a*y + u"\n'
        'running = "sum(u**2)/2 + sum(y**2)/2"\n[parameters]\na = 0.0\n',
        encoding="utf-8",
    )
    # y' = a y + u: the cost is y0^2 S(0)/2 with S' = S^2 - 2 a S - 1, S(1) = 0
    for a in (0.0, 0.5):
        found = hf.optimal_control(path, "rk4", [1.0], 8, parameters={"a": a})
        root = np.sqrt(1 + a * a)
        wanted = 1 / (2 * (root / np.tanh(root) - a))
        assert abs(found.cost - wanted) < 1e-6
    with pytest.raises(ValueError, match="no parameter 'b'; those of weighted are: a"):
        hf.optimal_control(path, "rk4", [1.0], 8, parameters={"b": 1.0})
    with pytest.raises(ValueError, match=r"'y' is \[1\.0, 2\.0\]: 1 finite numbers were expected"):
        hf.optimal_control(path, "rk4", [1.0, 2.0], 8)
