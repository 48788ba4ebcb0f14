"""Every elementwise function means one thing everywhere: functions x families x backends.

The values are mpmath's at forty digits, the derivatives mpmath's differences of these; at a kink
they are what is written here.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from numba import njit

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.functions import BY_NAME, CONSTANTS, DECLARABLE, PRIMITIVE, TABLE
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.derive.calculus import derivative, to_sympy
from hamilforge.gen.document.formats import LatexPrinter
from hamilforge.gen.emit.numba.arrays import EntryPrinter
from hamilforge.gen.emit.numba.printer import NumbaPrinter, WholePrinter
from hamilforge.gen.emit.printer import FormulaPrinter, HostPrinter
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.ir import Apply, Const, Ref, names, walk
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.reference import FLOAT64, NUMPY_FUNCTIONS
from hamilforge.gen.prove.optimizers.jets import _Jets
from hamilforge.gen.prove.series import FLOATS, Series, series_algebra
from hamilforge.runtime.core import elementary, torch_functions, vector_math

import sympy as sp  # isort: skip

X = sp.Symbol("x", real=True)
POINTS = (0.0, -0.0, 1e-9, -1e-9, 0.3, -0.3, 0.9, -0.9, 1.0, -1.0, 1.7, -1.7, 22.0, -22.0, 800.0)
POINTS += (-800.0, 1e30, -1e30)
mp = mpmath.mp.clone()
mp.dps = 40


#: Functions of several numbers as functions of one.
CALLS = {
    "at_least": "where({x} >= 1, 1, 0)",
    "equal": "where({x} == 1, 1, 0)",
    "greater": "where({x} > 1, 1, 0)",
    "clip": "clip({x}, -1/2, 3/4)",
    "max": "max({x}, 1/4)",
    "min": "min({x}, 1/4)",
    "where": "where({x}, {x}**2, -{x}**2/2)",
}


def call(name, x="x"):
    return CALLS.get(name, "{name}({x})").format(name=name, x=x)


def _relu(x):
    return max(x, mp.mpf(0))


#: Written out, independently of the table.
VALUES = {
    "abs": abs,
    "at_least": lambda x: mp.mpf(x >= 1),
    "equal": lambda x: mp.mpf(x == 1),
    "greater": lambda x: mp.mpf(x > 1),
    "clip": lambda x: min(max(x, -mp.mpf(1) / 2), 3 * mp.mpf(1) / 4),
    "max": lambda x: max(x, mp.mpf(1) / 4),
    "min": lambda x: min(x, mp.mpf(1) / 4),
    "where": lambda x: x**2 if x > 0 else -(x**2) / 2,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "gelu": lambda x: x * mp.ncdf(x) if x > -30 else x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "inverse": lambda x: 1 / x if x else mp.mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "log_cosh": lambda x: mp.log(mp.cosh(x)),
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "relu": _relu,
    "root": mp.sqrt,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)) if x < 50 else x + mp.log1p(mp.exp(-x)),
    "step": lambda x: mp.mpf(x > 0),
}
#: Derivatives at 0 where the function has a kink, or the definition says so.
KINKS = {
    "abs": 0,
    "inverse": 0,
    "leaky_relu": mp.mpf(1) / 100,
    "relu": 0,
    "root": 0,
    "sign": 0,
    "step": 0,
}
#: Where functions of COMPARISONS jump.
JUMPS = ("at_least", "equal", "greater")
#: Where a difference would reach over a kink.
CLOSE = 1e-6


def value(name, x):
    """The function at a point, or None where it is not real and finite."""
    try:
        result = VALUES.get(name, getattr(mp, name, None))(mp.mpf(x))
    except (ValueError, ZeroDivisionError, OverflowError, mpmath.libmp.ComplexResult):
        return None
    if isinstance(result, mp.mpc) or not mp.isfinite(result) or abs(result) > mp.mpf("1e300"):
        return None
    return result


@functools.cache
def slope(name, x):
    """The derivative at a point, or None."""
    if x == 0 and name in KINKS:
        return mp.mpf(KINKS[name])
    if x == 0 and name == "cbrt":
        return None
    if name in JUMPS:
        return mp.mpf(0)
    step = mp.mpf(10) ** -25 * max(1, abs(mp.mpf(x)))
    if name in KINKS and abs(x) < CLOSE:
        step = abs(mp.mpf(x)) * mp.mpf(10) ** -25
    with mp.workdps(90):
        ends = [value(name, mp.mpf(x) + k * step) for k in (-2, -1, 1, 2)]
        if None in ends:
            return None
        return (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)


def room(name, x, eps, of=value):
    """How far a value in floating point may be off: rounding of the argument, and a few more."""
    exact, change = of(name, x), slope(name, x)
    own = abs(exact) + (abs(change * mp.mpf(x)) if change is not None else 0)
    if of is slope:  # composed of several functions, as 1 - tanh(x)**2 is
        own = abs(exact) * (1 + abs(mp.mpf(x))) + 1
    extra = 1 if name == "log_cosh" else 0
    return float(16 * eps * (own + extra)) + 1e-300


def agree(name, x, result, eps=2.0**-52, of=value):
    exact = of(name, x)
    if exact is None:
        return
    assert abs(float(result) - float(exact)) <= room(name, x, eps, of), (name, x, result, exact)


def program(name):
    return lower(to_sympy(parse(call(name)), {"x": X}))


def program_of(name):
    """A function of x in the IR; of one that no declaration may call too."""
    if name in DECLARABLE:
        return program(name)
    return Apply(name, (Ref("x"), *([Const(Fraction(1))] if name in CALLS else [])))


def run(printer, expr, x, namespace):
    text = printer(expr)
    for number, meaning in getattr(printer, "numbers", {}).items():
        namespace = {**namespace, number: eval(meaning, {"np": np})}
    return eval(text, {**namespace, "x": x})


def jitted(printer, expr):
    text = printer(expr)
    numbers = {k: eval(v, {"np": np}) for k, v in getattr(printer, "numbers", {}).items()}
    space = {"np": np, "elementary": elementary, "vector_math": vector_math, **numbers}
    exec(f"def f(x):\n    return {text}", space)
    return njit(error_model="numpy")(space["f"])


def test_every_kind_of_number_and_every_printer_has_every_function():
    algebra = series_algebra(FLOATS, 4)
    jets = _Jets(__import__("random").Random(0), 2).algebra()
    for name in PRIMITIVE:
        applied = Apply(name, tuple(map(Ref, BY_NAME[name].arguments)))
        assert name in NUMPY_FUNCTIONS, name
        assert name in algebra.functions, name
        assert name in jets.functions, name
        for printer in (NumbaPrinter(), EntryPrinter({}), TensorPrinter(), HostPrinter()):
            assert printer(applied), name
        assert name in FormulaPrinter()(applied)
        assert LatexPrinter()(applied), name
    for name in CONSTANTS:
        for printer in (NumbaPrinter(), EntryPrinter({}), TensorPrinter(), HostPrinter()):
            assert printer(Apply(name, ())), name


def test_a_function_that_a_printer_lacks_is_named():
    with pytest.raises(NotImplementedError, match="NumbaPrinter: no function for 'bessel'"):
        NumbaPrinter()(Apply("bessel", (Ref("x"),)))


@pytest.mark.parametrize("name", BY_NAME)
def test_the_derivative_in_the_table_is_the_derivative(name):
    derived = lower(derivative(to_sympy(parse(call(name), BY_NAME), {"x": X}), X))
    forms = [derived]
    if name not in CALLS:
        (text,) = BY_NAME[name].derivatives
        forms.append(lower(to_sympy(parse(text, BY_NAME), {"x": X})))
    with np.errstate(all="ignore"):
        for x in POINTS:
            if abs(x) > 1e9 or slope(name, x) is None:
                continue
            for expr in forms:
                agree(name, x, evaluate(expr, {"x": x}, FLOAT64), of=slope)


@pytest.mark.parametrize("name", PRIMITIVE)
def test_derivatives_have_derivatives_that_are_functions(name):
    first = derivative(to_sympy(parse(f"{call(name)}**3", BY_NAME), {"x": X}), X, X)
    assert {part.op for part in walk(lower(first)) if isinstance(part, Apply)} <= {
        *PRIMITIVE, *CONSTANTS, "add", "mul", "div", "neg", "pow"
    }  # fmt: skip


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_values_in_every_backend(name):
    expr = program_of(name)
    if name == "sqrt":
        assert names(expr) == ("x",)
    kernel, entry = jitted(NumbaPrinter(), expr), jitted(EntryPrinter({}), expr)
    space = {"torch": torch, **vars(torch_functions)}
    with np.errstate(all="ignore"):
        array = evaluate(expr, {"x": np.array(POINTS)}, FLOAT64)
        outside = run(WholePrinter(), expr, np.array(POINTS), {"np": np, "elementary": elementary})
        tensor = run(TensorPrinter(), expr, torch.tensor(POINTS, dtype=torch.float64), space)
        for k, x in enumerate(POINTS):
            if value(name, x) is None:
                continue
            agree(name, x, evaluate(expr, {"x": x}, FLOAT64))
            for result in (array[k], outside[k], tensor[k], kernel(x), entry(x)):
                agree(name, x, result)
            try:
                agree(name, x, run(HostPrinter(), expr, x, {"math": math}))
            except OverflowError:
                assert abs(x) > 500


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_autograd_through_the_text_has_the_derivatives_of_the_table(name):
    """At kinks too: layers with memory = "autograd" are differentiated by torch."""
    space = {"torch": torch, "math": math, **vars(torch_functions)}
    for x in POINTS:
        if abs(x) > 1e9 or slope(name, x) is None or value(name, x) is None:
            continue
        leaf = torch.tensor([x], dtype=torch.float64, requires_grad=True)
        result = run(TensorPrinter(), program_of(name), leaf, space)
        if result.requires_grad:
            result.sum().backward()
            agree(name, x, leaf.grad[0], of=slope)
        else:
            assert slope(name, x) == 0


@pytest.mark.parametrize("name", PRIMITIVE)
def test_values_in_single_precision(name):
    expr, eps = program_of(name), 2.0**-23
    kernel, entry = jitted(NumbaPrinter(), expr), jitted(EntryPrinter({}), expr)
    space = {"torch": torch, **vars(torch_functions)}
    points = [float(np.float32(x)) for x in POINTS if abs(x) < 80]
    with np.errstate(all="ignore"):
        array = evaluate(expr, {"x": np.array(points, np.float32)}, FLOAT64)
        tensor = run(TensorPrinter(), expr, torch.tensor(points, dtype=torch.float32), space)
        assert array.dtype == np.float32
        assert tensor.dtype == torch.float32
        for k, x in enumerate(points):
            exact = value(name, x)
            if exact is None or abs(exact) > 1e37:
                continue
            single = np.float32(x)
            for result in (array[k], tensor[k], kernel(single), entry(single)):
                small = 1e-37 / room(name, x, eps) if room(name, x, eps) < 1e-37 else 1
                agree(name, x, result, eps * max(1, small))


@pytest.mark.parametrize("name", PRIMITIVE)
def test_series_satisfy_the_functions(name):
    """Two terms of f(x0 + h): the value and the derivative."""
    algebra = series_algebra(FLOATS, 4)
    for x in (0.3, 0.9, 1.7, -0.3):
        if value(name, x) is None or slope(name, x) is None:
            continue
        argument = Series(FLOATS, 0, [mpmath.mpf(x), mpmath.mpf(1)], 4)
        result = evaluate(program_of(name), {"x": argument}, algebra)
        agree(name, x, result[0])
        agree(name, x, result[1], of=slope)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in JUMPS])
def test_partial_derivatives_and_ties(name):
    """By every argument, beside differences; at a tie what the table says."""
    row = BY_NAME[name]
    symbols = sp.symbols(" ".join(row.arguments), real=True)
    expr = to_sympy(
        parse(f"{name}({', '.join(row.arguments)})"), dict(zip("xyz", symbols, strict=False))
    )
    function, random = lower(expr), np.random.default_rng(1)
    for by, letter in enumerate(row.arguments):
        partial = lower(derivative(expr, symbols[by]))
        for _ in range(40):
            point = dict(zip(row.arguments, random.uniform(-1, 1, len(symbols)), strict=True))
            ends = [
                evaluate(function, point | {letter: point[letter] + move}, FLOAT64)
                for move in (-1e-7, 1e-7)
            ]
            exact = evaluate(partial, point, FLOAT64)
            assert abs(exact - (ends[1] - ends[0]) / 2e-7) < 1e-6, (letter, point)
    tie = {"max": 0.5, "min": 0.5, "clip": 0.5, "where": 0.0}[name]
    at = {"x": 0.25, "y": 0.25, "z": 2.0} if name != "where" else {"x": 0.0, "y": 1.0, "z": 2.0}
    assert evaluate(lower(derivative(expr, symbols[0])), at, FLOAT64) == tie


@pytest.mark.parametrize("name", ["max", "min"])
def test_larger_and_smaller_of_arrays_and_numbers(name):
    """Beside NumPy's and torch's own: NaN where one is, types, autograd at ties."""
    x = np.array([1.0, -2.0, np.nan, 3.0, 0.5], np.float32)
    y = np.array([2.0, -3.0, 1.0, np.nan, 0.5], np.float32)
    expected = {"max": np.maximum, "min": np.minimum}[name](x, y)
    text = TensorPrinter()(Apply(name, (Ref("x"), Ref("y"))))
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, y)]
    others = [torch.tensor(array, requires_grad=True) for array in (x, y)]
    space = {"torch": torch, **vars(torch_functions)}
    result = eval(text, space | dict(zip("xy", tensors, strict=True)))
    reference = {"max": torch.maximum, "min": torch.minimum}[name](*others)
    assert result.dtype == torch.float32
    assert np.array_equal(result.detach().numpy(), expected, equal_nan=True)
    result.nansum().backward()
    reference.nansum().backward()
    for tensor, other in zip(tensors, others, strict=True):
        assert torch.equal(tensor.grad.nan_to_num(9), other.grad.nan_to_num(9))
    number = eval(text, space | {"x": 0.25, "y": tensors[1].detach()})
    assert number.dtype == torch.float32
    scalar = eval(text, space | {"x": torch.tensor(0.25), "y": tensors[1].detach().double()})
    assert scalar.dtype == torch.float64


# --- whole products -----------------------------------------------------------------------------

#: Functions by where they are defined, and points inside.
DOMAINS = {
    "line": ("abs asinh atan clip cos elu erf gelu leaky_relu logistic max min relu sign silu sin "
             "softplus step tanh where".split(), (0.0, -0.0, 0.4, -0.4, 1.3, -1.3, 25.0, -25.0)),
    "disc": ("acos asin atanh cosh erfc exp expm1 sinh tan".split(), (0.0, -0.0, 0.4, -0.7)),
    "right": ("acosh cbrt log log1p sqrt".split(), (1.25, 2.0, 30.0)),
}  # fmt: skip


def test_the_whole_products_take_every_function():
    assert sorted(name for group, _ in DOMAINS.values() for name in group) == sorted(DECLARABLE)


def table(entries):
    return "{ " + ", ".join(f'{key} = "{text}"' for key, text in entries.items()) + " }"


@pytest.fixture
def declared(tmp_path):
    def write(name, text):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'name = "{name}"\ntitle = "-"\nreference = "-"\n{text}\n')
        return path

    return write


def loaded(made, backend):
    import importlib.util
    import sys
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    for file, text in pipeline.generate(made).items():
        (folder / file).write_text(text)
        name = Path(file).stem
        if name.endswith(f"_{backend}"):
            spec = importlib.util.spec_from_file_location(name, folder / file)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            return module
    raise AssertionError(backend)


@pytest.mark.parametrize("domain", DOMAINS)
def test_fields_jacobians_and_products_of_integrators(declared, domain):
    functions, points = DOMAINS[domain]
    path = declared("grid", 'kind = "system"\nequations = ' + table(
        {f"y_{name}": call(name, f"y_{name}") for name in functions}))  # fmt: skip
    made = products.load_made(path, "implicit_midpoint")
    numba, torch_module = loaded(made, "numba"), loaded(made, "torch")
    size, inner = len(functions), numba.jacobian
    called = njit(lambda t, state, parameters, out: inner(t, state, parameters, out))
    flow = next(v for k, v in vars(torch_module).items() if k == "GridImplicitMidpoint")
    for x in points:
        state, out = np.full(size, x), np.zeros(size)
        numba.field(0.0, state, np.zeros(0), 1.0, out)
        jacobian = np.zeros((size, size))
        called(0.0, state, np.zeros(0), jacobian)
        columns = tuple(torch.full((1,), x, dtype=torch.float64) for _ in functions)
        time = torch.zeros(1, dtype=torch.float64)
        rates = torch_module.field(time, columns, ())
        ones = tuple(torch.ones(1, dtype=torch.float64) for _ in functions)
        adjoints = torch_module.field_product(time, columns, (), ones)
        for k, name in enumerate(functions):
            agree(name, x, out[k])
            agree(name, x, rates[k])
            agree(name, x, jacobian[k, k], of=slope)
            agree(name, x, adjoints[k], of=slope)
    assert flow.NAME == "grid__implicit_midpoint"


@pytest.mark.parametrize("domain", DOMAINS)
def test_energies_and_forces_on_numbers_and_trajectories(declared, domain):
    functions, points = DOMAINS[domain]
    q, p = [f"q_{name}" for name in functions], [f"p_{name}" for name in functions]
    energy = " + ".join(
        [f"{one}**2/2" for one in p] + [call(n, a) for n, a in zip(functions, q, strict=True)]
    )
    path = declared(
        "wells",
        f'kind = "hamiltonian"\ncoordinates = {{ q = {q}, p = {p} }}\nenergy = "{energy}"'.replace(
            "'", '"'
        ),
    )
    numba = loaded(products.load_made(path, "conformal_leapfrog"), "numba")
    size = len(functions)
    states = np.zeros((len(points), 2 * size))
    states[:, :size] = np.array(points)[:, None]
    along = np.zeros(len(points))
    numba.along_energy(np.zeros(len(points)), states, np.zeros(0), along)
    for x, total in zip(points, along, strict=True):
        exact = sum(value(name, x) for name in functions)
        assert abs(total - float(exact)) <= 1e-14 * float(sum(abs(value(n, x)) for n in functions))
        out = np.zeros(2 * size)
        numba.force(0.0, np.r_[np.full(size, x), np.zeros(size)], np.zeros(0), 1.0, out)
        for k, name in enumerate(functions):
            agree(name, x, -out[size + k], of=slope)


@pytest.mark.parametrize("by", ["numba", "torch"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_networks_and_their_adjoints(declared, domain, by):
    import hamilforge as hf

    functions, points = DOMAINS[domain]
    states = [f"y_{name}" for name in functions]
    path = declared("grid_field", 'kind = "field"\nstate = { ' + ", ".join(
        f'{s} = ["d"]' for s in states) + " }\nf = " + table(
        {s: call(n, s) for n, s in zip(functions, states, strict=True)}))  # fmt: skip
    network = hf.network(path, "euler", 1, {"d": 1}, backend=by, h=1.0, dtype="float64")
    column = np.array(points)[:, None]
    if by == "numba":
        start = tuple(column.copy() for _ in states)
        ends = network(*start)
        result = network.gradient(*start, costates=tuple(np.ones_like(column) for _ in states))
        costates = result.states
    else:
        start = tuple(torch.tensor(column, requires_grad=True) for _ in states)
        ends = network(*start)
        sum(end.sum() for end in ends).backward()
        ends = [end.detach() for end in ends]
        costates = [tensor.grad for tensor in start]
    for k, name in enumerate(functions):
        for n, x in enumerate(points):
            exact = value(name, x) + mp.mpf(x)
            assert abs(float(ends[k][n, 0]) - float(exact)) <= room(
                name, x, 2.0**-52
            ) + 1e-15 * abs(x)
            change = slope(name, x)
            if change is not None:
                near = room(name, x, 2.0**-52, slope) + 2e-16
                assert abs(float(costates[k][n, 0]) - 1 - float(change)) <= near, (name, x)


#: What brings any momentum into a domain, and its derivative.
INSIDE = {
    "line": ("p", lambda x: x, lambda x: 1),
    "disc": ("tanh(p)/2", lambda x: mp.tanh(x) / 2, lambda x: (1 - mp.tanh(x) ** 2) / 2),
    "right": ("2 + p**2", lambda x: 2 + x * x, lambda x: 2 * x),
}


#: How many functions one energy has: the proofs about it have a budget.
FEW = 12


@pytest.mark.parametrize(
    ("domain", "first"),
    [(domain, k) for domain, (names, _) in DOMAINS.items() for k in range(0, len(names), FEW)],
)
def test_optimizers_fused_functional_and_on_numpy(declared, domain, first):
    """A step from 0 with lr = 1 ends at the velocity, the derivative of the kinetic energy."""
    import hamilforge as hf

    functions = DOMAINS[domain][0][first : first + FEW]
    points = DOMAINS["line"][1]
    argument, inside, change = INSIDE[domain]
    kinetic = " + ".join(f"{k + 1}*sum({call(name, argument)})" for k, name in enumerate(functions))
    system = declared("grid_energy", f'kind = "hamiltonian"\nkinetic = "{kinetic}"\n'
                      'potential = "J(q)"\nfriction = "0"')  # fmt: skip
    path = declared("grid_optimizer", f'kind = "optimizer"\nsystem = "{system}"\n'
                    'method = "symplectic_euler"\n[hyperparameters]\nlr = 0.1\n[set]\nh = "lr"\n'
                    '[reduce]\nscope = "coordinate"')  # fmt: skip
    gradient = -torch.tensor(points, dtype=torch.float64)  # p becomes the point
    steps = []
    for fused in (True, False):
        x = torch.nn.Parameter(torch.zeros(len(points), dtype=torch.float64))
        optimizer = hf.optimizer(path)([x], lr=1.0, fused=fused)
        x.grad = gradient
        optimizer.step()
        with optimizer.solution():
            steps.append(x.detach().clone())
    steps.append(
        hf.minimize(
            lambda x: 0.0,
            np.zeros(len(points)),
            jac=lambda x: gradient.numpy(),
            method=path,
            options={"lr": 1.0, "maxiter": 1, "gtol": 0.0},
        ).x
    )
    for n, x in enumerate(points):
        place = inside(mp.mpf(x))
        changes = [
            (k + 1) * slope(name, place) * change(mp.mpf(x)) for k, name in enumerate(functions)
        ]
        exact, size = sum(changes), sum(map(abs, changes))
        for result in steps:
            assert abs(float(result[n]) - float(exact)) <= 1e-14 * float(1 + size) * (1 + abs(x)), x


@pytest.mark.parametrize("domain", DOMAINS)
def test_rules_fused_and_functional(declared, domain):
    """A step from 0: theta becomes a sum of functions of the gradient."""
    import hamilforge as hf

    functions, _ = DOMAINS[domain]
    points = DOMAINS["line"][1]
    argument, inside, _ = INSIDE[domain]
    terms = [f"{k + 1}*{call(name, 'm')}" for k, name in enumerate(functions)]
    path = declared("grid_rule", 'kind = "optimizer"\nunknowns = ["theta", "m"]\n'
                    f'assign = ["a = grad(theta)", "m = {argument.replace("p", "a")}", '
                    f'"theta = theta + lr*({" + ".join(terms)})"]\n'
                    '[hyperparameters]\nlr = 1')  # fmt: skip
    gradient = torch.tensor(points, dtype=torch.float64)
    for fused in (True, False):
        x = torch.nn.Parameter(torch.zeros(len(points), dtype=torch.float64))
        optimizer = hf.optimizer(path)([x], fused=fused)
        x.grad = gradient
        optimizer.step()
        for result, point in zip(x.tolist(), points, strict=True):
            place = inside(mp.mpf(point))
            values = [(k + 1) * value(name, place) for k, name in enumerate(functions)]
            size = float(1 + sum(map(abs, values))) * (1 + abs(point))
            assert abs(result - float(sum(values))) <= 1e-14 * size, point
