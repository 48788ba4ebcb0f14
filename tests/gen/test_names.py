"""No declared name clashes with one of generated code: every name that occurs in any, tried.

The texts are run as they are printed, in plain Python, beside the interpretation.
"""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.functions import PRIMITIVE
from hamilforge.gen.declare.read_loops import RESERVED, WORKERS
from hamilforge.gen.declare.reader import MEANINGS, OPTIONS, SYMBOL
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.emit import files
from hamilforge.gen.emit.products.integrator import IntegratorProduct
from hamilforge.gen.emit.products.network import NetworkProduct, TargetProduct
from hamilforge.gen.emit.products.optimizer import Product
from hamilforge.gen.emit.products.problem import ProblemProduct
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.networks.build import build_network, build_target
from hamilforge.gen.program.networks.unroll import Unrolled
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.runtime.networks.torch_network import Network
from hamilforge.runtime.networks.torch_objective import Objective
from hamilforge.runtime.problems.problem import Problem
from hamilforge.runtime.problems.torch_problem import Problem as TorchProblem
from tests.interpreted import as_python, verified
from tests.samples import sampled

ROOT = Path(__file__).parents[2]


def _names():
    """Every name in generated code, every keyword, builtin and function, and some made of them."""
    names = {*keyword.kwlist, *dir(builtins), *PRIMITIVE}
    for path in sorted((ROOT / "generated").glob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.NAME:
                names.add(token.string)
    names |= {"factor", "loss", "cost", "none", "x_new", "d_a", "g_a", "w_a", "w_0", "last_lr"}
    return sorted(name for name in names if SYMBOL.fullmatch(name))


NAMES = _names()
BATCHES = [NAMES[k : k + 48] for k in range(0, len(NAMES), 48)]


@pytest.fixture
def declared(tmp_path):
    def write(text, name="problem"):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'name = "{name}"\ntitle = "-"\nreference = "-"\n{text}\n')
        return path

    return write


def integrator(path, method):
    """The texts of a problem with a method, without the proofs of the problem."""
    problem, method = catalogue.load(path), products.load_method(method)
    field = derive_field(problem)
    built = build_integrator(field, method)
    report = pipeline.check(method)
    return files.render(IntegratorProduct(built, problem, method, report, field.separable))


def plain(texts, backend):
    """A generated module with its kernels as plain Python."""
    text = next(text for name, text in texts.items() if name.endswith(f"_{backend}.py"))
    if backend == "numba":
        return as_python(text)
    module = types.ModuleType("plain")
    exec(compile(text, "<generated>", "exec"), module.__dict__)
    return module


def test_the_names_are_those_that_would_hurt():
    assert len(NAMES) > 600
    assert {"factor", "state", "np", "out", "lambda", "sum", "gradient", "rows"} <= {*NAMES}


@pytest.mark.parametrize("batch", sampled(range(len(BATCHES)), every=16))
def test_components_and_parameters_of_systems(declared, batch):
    names = [name for name in BATCHES[batch] if name != "t"]
    half = len(names) // 2
    own, parameters = names[:half], names[half:]
    equations = {
        name: f"{k}*sin({name})*{parameters[k]} - abs({name} + {own[k - 1]}) + softplus({name})"
        for k, name in enumerate(own)
    }
    path = declared(
        'kind = "system"\n[equations]\n'
        + "".join(f'{name} = "{text}"\n' for name, text in equations.items())
        + "[parameters]\n"
        + "".join(f"{name} = {k + 2}\n" for k, name in enumerate(parameters))
    )
    texts = integrator(path, "euler")
    state = np.linspace(-1.0, 1.0, half)
    values = np.arange(2.0, len(parameters) + 2)
    exact = np.arange(half) * np.sin(state) * values[:half] - abs(state + np.roll(state, 1))
    exact += np.logaddexp(state, 0)
    out = np.zeros(half)
    plain(texts, "numba").field(0.0, state, values, 1.0, out)
    assert np.allclose(out, exact, rtol=1e-13)
    module = plain(texts, "torch")
    columns = tuple(torch.tensor([entry], dtype=torch.float64) for entry in state)
    constants = tuple(torch.tensor(entry, dtype=torch.float64) for entry in values)
    rates = module.field(torch.zeros(1, dtype=torch.float64), columns, constants)
    assert np.allclose(torch.cat(rates).numpy(), exact, rtol=1e-13)
    ones = tuple(torch.ones(1, dtype=torch.float64) for _ in columns)
    product = module.field_product(torch.zeros(1, dtype=torch.float64), columns, constants, ones)
    signs = np.sign(state + np.roll(state, 1))
    slopes = np.arange(half) * np.cos(state) * values[:half] - signs - np.roll(signs, -1)
    slopes += 1 / (1 + np.exp(-state))
    assert np.allclose(torch.cat(product[:half]).numpy(), slopes, rtol=1e-12)


@pytest.mark.parametrize("name", ["start", "stop", "decay", "parameters", "math", "lambda"])
def test_friction_by_any_name(declared, name):
    path = declared(
        'kind = "hamiltonian"\ncoordinates = { q = ["out"], p = ["state"] }\n'
        f'energy = "state**2/2 + out**2/2"\nfriction = "{name}"\n[parameters]\n{name} = "1/2"\n'
    )
    texts = integrator(path, "conformal_leapfrog")
    assert np.isclose(plain(texts, "numba").decay(1.0, 3.0, np.array([0.5])), np.exp(-1.0))
    half = torch.tensor(0.5, dtype=torch.float64)
    span = plain(texts, "torch").decay(torch.tensor(1.0), torch.tensor(3.0), (half,))
    assert np.isclose(float(span), np.exp(-1.0))


HYPER = [name for name in NAMES if name not in {*MEANINGS, *OPTIONS, *keyword.kwlist}]


def optimizer(declared, names, buffer="v"):
    """Hyper-parameters and a buffer by given names; velocities are p times a sum of them."""
    weights = " + ".join(f"{k + 1}*{name}" for k, name in enumerate(names))
    rate = "rate" if "rate" not in names else "gamma"
    system = declared(
        f'kind = "hamiltonian"\nkinetic = "dot(p, p)*({weights})/2"\nfriction = "{rate}"\n'
        f'[parameters]\n{rate} = {{ default = "1/10", domain = "nonnegative" }}\n'
        + "".join(f'{name} = {{ default = "1/2", domain = "positive" }}\n' for name in names),
        "energy",
    )
    return declared(
        f'kind = "optimizer"\nsystem = "{system}"\nmethod = "conformal_leapfrog"\n'
        "[hyperparameters]\n"
        + "".join(f'{name} = {{ default = "1/2", domain = "positive" }}\n' for name in names)
        + f'[set]\nh = "{names[0]}/10"\n{rate} = "1"\n[state]\n{buffer} = "p"\n',
        "none",
    )


def compared(declaration, values):
    """Two steps by the functional text, beside the interpretation."""
    derivation = derive(declaration)
    program = derivation.program
    report = pipeline.check(catalogue.load("heavy_ball"))
    texts = files.render(Product(derivation, report))
    for text in texts.values():
        compile(text, "<generated>", "exec")
    module = plain(texts, "torch")
    names = [entry.name for entry in program.hyperparameters]
    interpreter = Interpreter(program, dict(zip(names, values, strict=True)), [np.zeros(5)])
    x, buffer = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    memory, t = tuple(0.0 for _ in module.MEMORY), 0.0
    for number, gradient in enumerate(np.random.default_rng(0).standard_normal((2, 5)), start=1):
        interpreter.step([gradient])
        rows, memory, step = module.coefficients(*values, t, float(number), *memory)
        t += step
        (x,), (buffer,) = module.kick_drift([x], [buffer], [torch.tensor(gradient)], *rows[0])
        assert np.allclose(x.numpy(), interpreter.x[0], rtol=1e-13)
    return module


@pytest.mark.parametrize("batch", sampled(range(-(-len(HYPER) // 12)), every=32))
def test_hyper_parameters_of_optimizers(declared, batch):
    names = HYPER[12 * batch : 12 * batch + 12]
    path = optimizer(declared, names, "weights" if "weights" not in names else "v")
    module = compared(catalogue.load(path), tuple(np.linspace(0.1, 0.9, len(names))))
    assert "None_" in vars(module)


def test_names_of_loops_in_optimizers_without_one(declared):
    """A hyper-parameter called as the number of workers is one."""
    names = [name for name in RESERVED if name in HYPER]
    assert WORKERS in names
    compared(catalogue.load(optimizer(declared, names)), tuple(np.linspace(0.1, 0.9, len(names))))


@pytest.mark.parametrize("batch", sampled(range(-(-len(HYPER) // 12)), every=32))
def test_hyper_parameters_of_rules(declared, batch):
    names = HYPER[12 * batch : 12 * batch + 12]
    rate = " + ".join(f"{k + 1}*{name}" for k, name in enumerate(names))
    x, v = (name if name not in names else f"own_{name}" for name in ("theta", "momentum"))
    path = declared(
        f'kind = "optimizer"\nunknowns = ["{x}", "{v}"]\nassign = [\n'
        f'"{v} = {v}/2 + grad({x})*norm({x})",\n"{x} = {x} - ({rate})*{v}"]\n'
        f'[require]\n"{rate} >= 1" = "too little"\n[hyperparameters]\n'
        + "".join(f'{name} = {{ default = 1, domain = "positive" }}\n' for name in names),
        "none",
    )
    assert verified(path).holds


@pytest.mark.parametrize("buffer", "k rows math gradient xs np torch sum_over".split())
def test_buffers_of_optimizers(declared, buffer):
    module = compared(catalogue.load(optimizer(declared, ["vs", "new_xs"], buffer)), (0.1, 0.9))
    assert module.STATES == (buffer,)


@pytest.mark.parametrize("name", sorted({*MEANINGS, *OPTIONS, "lambda", "None"}))
def test_names_with_a_meaning_are_refused_as_hyper_parameters(declared, name):
    path = optimizer(declared, [name, "momentum"])
    with pytest.raises(pipeline.DeclarationError, match="cannot be a name here"):
        catalogue.load(path)


@pytest.mark.parametrize("name", ["g", "lambda", "np", "STATES", "coefficients", "kick", "math"])
def test_constants_of_methods_by_any_name(declared, name):
    method = declared(
        f'kind = "splitting"\nsteps = [["A", "{name}"], ["BD", 1], ["A", "1 - {name}"]]\n'
        f'[constants]\n{name} = "1/2 + sqrt(2)/100"\n',
        "halves",
    )
    path = declared(
        f'kind = "optimizer"\nsystem = "classical"\nmethod = "{method}"\n[hyperparameters]\n'
        'lr = { default = "1/10", domain = "positive" }\n'
        'momentum = { default = "9/10", domain = "unit-interval" }\n'
        '[set]\nh = "lr"\ngamma = "-log(momentum)/h"\nm = "1"\n',
        "half",
    )
    compared(catalogue.load(path), (0.1, 0.9))


def torch_class(texts, base):
    text = next(text for name, text in texts.items() if name.endswith("_torch.py"))
    scope = {}
    exec(compile(text, "<generated>", "exec"), scope)
    made = (v for v in scope.values() if isinstance(v, type) and issubclass(v, base))
    return next(value for value in made if value is not base)


def gradients(module, arrays, loss):
    """The gradient of a loss by all parameters and arrays."""
    leaves = [array.clone().requires_grad_() for array in arrays]
    return torch.autograd.grad(loss(module, leaves), [*module.parameters(), *leaves],
                               allow_unused=True, materialize_grads=True)  # fmt: skip


WIDE = [name for name in NAMES if name not in ("t", "x", "prediction", "running_cost")]


@pytest.mark.parametrize("batch", sampled(range(len(WIDE) // 20 + 1), every=16))
def test_states_controls_and_weights_of_networks(declared, batch):
    """The derived adjoint beside torch's autograd through the same layers."""
    names = [*WIDE, *WIDE][20 * batch : 20 * batch + 20]  # the last batch is filled up
    states, controls, parameters = names[:8], names[8:16], names[16:]
    rates = {
        name: f"tanh({controls[k % len(controls)]}*{name} + {states[k - 1]})"
        + "".join(f" + {k}*{other}*{name}" for other in parameters)
        for k, name in enumerate(states)
    }
    path = declared(
        'kind = "field"\n[state]\n' + "".join(f'{name} = ["d"]\n' for name in states)
        + "[controls]\n" + "".join(f'{name} = ["d"]\n' for name in controls)
        + "[f]\n" + "".join(f'{name} = "{text}"\n' for name, text in rates.items())
        + "[parameters]\n" + "".join(f"{name} = 0.1\n" for name in parameters),
        "field",
    )  # fmt: skip
    field, method = catalogue.load(path), products.load_layer_method("heun2")
    product = NetworkProduct(Unrolled(build_network(field, method)), field, method,
                             pipeline.check(method))  # fmt: skip
    made = torch_class(files.render(product), Network)
    torch.manual_seed(0)
    derived = made(2, {"d": 3}, dtype=torch.float64)
    plain_ = made(2, {"d": 3}, dtype=torch.float64, memory="autograd")
    plain_.load_state_dict(derived.state_dict())
    arrays = [torch.randn(4, 3, dtype=torch.float64) for _ in states]

    def loss(module, leaves):
        ends = module(*leaves)
        return sum((k + 1) * end.square().sum() for k, end in enumerate(ends))

    for one, other in zip(*(gradients(m, arrays, loss) for m in (derived, plain_)), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch", sampled(range(len(WIDE) // 12 + 1), every=16))
def test_states_weights_and_data_of_objectives(declared, batch):
    """The derived gradient beside torch's through the prediction."""
    names = [*WIDE, *WIDE][12 * batch : 12 * batch + 12]  # the last batch is filled up
    state, weights, data = names[0], names[1:8], names[8:]
    prediction = f"{state}*(" + " + ".join(weights or ["1"]) + ")"
    wanted = " + ".join(data or ["0"])
    path = declared(
        f'kind = "objective"\nprediction = "{prediction}"\n'
        f'loss = "sum((prediction - ({wanted}))**2)"\n[state]\n{state} = ["d"]\n'
        + "[weights]\n" + "".join(f'{name} = ["d"]\n' for name in weights)
        + "[data]\n" + "".join(f'{name} = ["d"]\n' for name in data),
        "objective",
    )  # fmt: skip
    declaration = catalogue.load(path)
    product = TargetProduct(build_target(declaration), declaration)
    module = torch_class(files.render(product), Objective)({"d": 3}, dtype=torch.float64)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_()
    arrays = [torch.randn(4, 3, dtype=torch.float64) for _ in (state, *data)]

    def derived(objective, leaves):
        return objective(*leaves).sum()

    def by_torch(objective, leaves):
        residual = objective.prediction(leaves[0]) - sum(leaves[1:])
        return residual.square().sum()

    pairs = zip(*(gradients(module, arrays, loss) for loss in (derived, by_torch)), strict=True)
    for one, other in [*pairs][: len(weights) + 1]:
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_the_constant_of_the_guide_is_a_name(declared):
    path = declared(
        'kind = "runge-kutta"\nA = [["g"]]\nb = [1]\n'
        '[constants]\ng = { root = "x**3 - 2", near = "1.2" }\n'
    )
    assert pipeline.check(catalogue.load(path))["order"] == 1


#: What names of problems cannot be.
UNUSABLE = ("i", "j", "pi", "backend", "dtype", "device")


@pytest.mark.parametrize("batch", sampled(range(len(NAMES) // 9 + 1), every=16))
def test_variables_data_parameters_and_sizes_of_problems(declared, batch):
    """The derived gradient of each backend beside torch's own."""
    names = [name for name in NAMES[9 * batch : 9 * batch + 9] if name not in UNUSABLE]
    size, first, second, number, *data = [*names, "size9", "first9", "second9", "number9"][:9]
    terms = " + ".join(data or ["1"])
    path = declared(
        f'kind = "problem"\nloss = "sum(exp({first}*({terms})/{size})) + {number}*{second}**2"\n'
        f'[variables]\n{first} = ["{size}"]\n{second} = []\n[sizes]\n{size} = 3\n'
        f'[parameters]\n{number} = 2\n[start]\n{first} = "1/({size} + i)"\n{second} = 0.5\n'
        + "[data]\n"
        + "".join(
            f'{name} = {{ shape = ["{size}"], value = "{k + 1} + i" }}\n'
            for k, name in enumerate(data)
        )
    )
    declaration = catalogue.load(path)
    product = ProblemProduct(build_problem(declaration), declaration)
    texts = files.render(product)
    compiled = next(text for name, text in texts.items() if name.endswith("_numba.py"))
    problem = Problem(as_python(compiled, "plain_problem"), {size: 4})
    value, slopes = problem.value_and_gradient(problem.start)
    module = torch_class(texts, TorchProblem)({size: 4}, torch.float64)
    loss = module()
    loss.backward()
    derived = module.derived_gradient()
    by_torch = torch.cat([module.variable(name).grad.flatten() for name in (first, second)])
    mine = torch.cat([derived[name].flatten() for name in (first, second)])
    assert torch.allclose(mine, by_torch, rtol=1e-12)
    assert torch.allclose(torch.from_numpy(slopes), by_torch, rtol=1e-12)
    assert value == pytest.approx(loss.item(), rel=1e-13)
