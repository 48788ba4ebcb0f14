"""Networks on torch and numba: exact gradients, memory, steps, refusals."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
import types
from math import comb
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

import hamilforge as hf
import hamilforge.runtime
from hamilforge import verification
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.program.build_network import build_network
from hamilforge.runtime import checkpoints, descent, loader, vector_math, verify_network
from hamilforge.runtime.reproduce import data_sets, rk_networks
from hamilforge.runtime.simplex import projected
from hamilforge.runtime.solution import IntegrationError
from hamilforge.runtime.torch_network import Network

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "networks.toml").read_text(encoding="utf-8")
)
FIELDS = catalogue.names("field")
GRADIENTS = EXPECTED["gradients"]


def torch_text(field, method, **choices):
    texts = pipeline.rendered(pipeline.load_made(field, method, **choices))
    return next(text for name, text in texts.items() if name.endswith("_torch.py"))


def torch_class(text):
    scope = {}
    exec(compile(text, "<generated>", "exec"), scope)
    return next(
        value
        for value in scope.values()
        if isinstance(value, type) and issubclass(value, Network) and value is not Network
    )


def plain(text, name="plain"):
    """A generated numba module, or one of the runtime that kernels call, as plain Python."""
    module = types.ModuleType(name)
    text = re.sub(r"^from numba.*$", "njit = lambda *a, **k: lambda f: f", text, flags=re.M)
    text = re.sub(r"^from hamilforge.runtime.inner_functions .*$", SAME, text, flags=re.M)
    text = re.sub(r"^from hamilforge.runtime import .*$", "", text, flags=re.M)
    text = re.sub(r"^from hamilforge.runtime.linear import .*$", "", text, flags=re.M)
    module.__dict__.update(PLAIN)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


SAME = "inner_function = summing_function = borrowing_function = lambda f: f"
RUNTIME = Path(hamilforge.runtime.__file__).parent
PLAIN = {
    "vector_math": types.SimpleNamespace(
        tanh=np.tanh, exp=np.exp, logistic=lambda x: 1 / (1 + np.exp(-x))
    )
}
for source in ("linear", "layer_kernels", "stage_systems"):
    PLAIN[source] = plain((RUNTIME / f"{source}.py").read_text(encoding="utf-8"), source)
    PLAIN |= {n: vars(PLAIN[source])[n] for n in ("factored", "solved") if source == "linear"}


def numba_text(field, method, sizes=None, **choices):
    texts = pipeline.rendered(pipeline.load_made(field, method, sizes=sizes, **choices))
    return next(text for name, text in texts.items() if name.endswith("_numba.py"))


class Written:
    """A product as one of its texts says, not compiled."""

    name = "written"

    def __init__(self, text):
        self.backend = "torch" if "import torch" in text else "numba"
        self._made = torch_class(text) if self.backend == "torch" else plain(text)

    def module(self, _):
        return self._made

    def torch_class(self):
        return self._made


def written(text, cases):
    """A text beside the interpretation."""
    product = Written(text)
    return verify_network.compare(product, cases, [product.backend])


def is_seen(text, cases):
    """Whether a text differs from the interpretation, or fails."""
    try:
        product = Written(text)
        found = verify_network.deviations(product, cases, [product.backend])
        return not all(one.holds for one in found)
    except (RuntimeError, TypeError, IndexError, ValueError, ArithmeticError):
        return True


def cases_of(field, method, **choices):
    made = pipeline.load_made(field, method, **choices)
    return verification.network_cases(build_network(*made), ("float64",))


def drawn(made, layers=3, **options):
    """A network with drawn controls, and states for it."""
    dimensions = dict.fromkeys(
        entry for shape in (*made.STATES.values(), *made.CONTROLS.values()) for entry in shape
    )
    sizes = {e: 2 + number for number, e in enumerate(dimensions) if not e.isdigit()}
    generator = torch.Generator().manual_seed(3)
    network = made(
        layers, sizes, h=[0.3, 0.2, 0.25], steps="learned", t0=0.4, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for name in made.CONTROLS:
            control = network.control(name)
            control.copy_(0.6 * torch.randn(control.shape, generator=generator).double())
    states = [
        torch.randn(7, sizes[shape[0]], generator=generator).double()
        for shape in made.STATES.values()
        if shape
    ]
    return network, states


def gradients(network, states, memory):
    network.memory = memory
    network.zero_grad()
    inputs = [one.clone().requires_grad_() for one in states]
    t0 = network.t0.detach().clone().requires_grad_()
    network.t0 = t0
    found = network(*inputs)
    total = 0.0
    if network.RUNNING:
        found, cost = found
        total = (cost**2).sum()
    for end in found if isinstance(found, tuple) else (found,):
        total = total + torch.sin(end).sum() + (end**3).sum() / 3
    total.backward()
    named = {name: one.grad for name, one in network.named_parameters()}
    named |= {f"state {k}": one.grad for k, one in enumerate(inputs)}
    named["t0"] = t0.grad
    return float(total.detach()), named


def near(found, wanted, room):
    for name, value in wanted.items():
        here = torch.zeros(()) if found[name] is None else found[name]
        wanted_here = torch.zeros_like(here) if value is None else value
        assert (here - wanted_here).norm() <= room * wanted_here.norm(), name


def fitting(field):
    pairs = GRADIENTS["pairs"] if len(pipeline.load_field(field).states) == 2 else []
    return [*GRADIENTS["explicit"], *(f"partitioned/{name}" for name in pairs)]


# --- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
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


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("method", GRADIENTS["implicit"])
def test_implicit_adjoints_are_those_of_the_interpretation(field, method):
    found = written(torch_text(field, method), cases_of(field, method))
    assert found.holds, str(found)


@pytest.mark.parametrize("activation", GRADIENTS["activations"])
def test_any_activation_is_differentiated(activation):
    network, states = drawn(torch_class(torch_text("resnet", "rk4", activation=activation)))
    _, wanted = gradients(network, states, "autograd")
    _, found = gradients(network, states, "all")
    near(found, wanted, 1e-13)


@pytest.mark.parametrize("field", FIELDS)
def test_costate_times_tangent_is_constant_along_the_layers(field):
    made = torch_class(torch_text(field, "rk4"))
    network, states = drawn(made)
    if network.RUNNING:
        states.append(torch.zeros(7, 1, dtype=torch.float64))
    values = [getattr(network, f"parameter_{name}") for name in network.PARAMETERS]
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


# --- controls at every stage --------------------------------------------------------------------


@pytest.mark.parametrize("field", [name for name in FIELDS if pipeline.load_field(name).controls])
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
    assert torch.equal(own(y), one(y))
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


# --- the emitted text --------------------------------------------------------------------------


class Change(ast.NodeTransformer):
    """Change one operation of a function: a sign, an operation, a number, a transpose."""

    def __init__(self, number):
        self.number, self.count = number, -1

    def visit(self, node):
        node = self.generic_visit(node)
        changed = self._changed(node)
        if changed is None:
            return node
        self.count += 1
        return changed if self.count == self.number else node

    @staticmethod
    def _changed(node):
        match node:
            case ast.BinOp(op=ast.Add()):
                return ast.BinOp(node.left, ast.Sub(), node.right)
            case ast.BinOp(op=ast.Sub()):
                return ast.BinOp(node.left, ast.Add(), node.right)
            case ast.BinOp(op=ast.Mult()):
                minus = ast.UnaryOp(ast.USub(), node.left)
                return ast.BinOp(minus, ast.Mult(), node.right)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return ast.Constant(value * (1 + 1e-6) + (1e-6 if not value else 0))
            case ast.UnaryOp(op=ast.USub()):
                return node.operand
        return None


BACK = re.compile(r"states.*|shared.*|layer_adjoint|layer|rate.*")


@pytest.mark.parametrize(("field", "method"), EXPECTED["mutated"]["pairs"])
def test_every_changed_operation_of_a_layer_and_its_adjoint_is_seen(field, method):
    cases = cases_of(field, method)
    tree = ast.parse(torch_text(field, method))
    numbers = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and BACK.fullmatch(node.name))
        or (isinstance(node, ast.Assign) and node.targets[0].id[0] in "ABC")
    ]
    survived, seen = [], 0
    for place in numbers:
        for number in itertools.count():
            copy = ast.parse(ast.unparse(tree))
            twin = copy.body[tree.body.index(place)]
            change = Change(number)
            where = [*twin.body] if isinstance(twin, ast.FunctionDef) else [twin]
            for statement in where:
                change.visit(statement)
            if change.count < number:
                break
            text = ast.unparse(ast.fix_missing_locations(copy))
            if integer_index(ast.unparse(tree), text):
                continue
            seen += 1
            if not is_seen(text, cases):
                survived.append((ast.unparse(place)[:60], number))
    assert seen > 20
    assert not survived


def integer_index(before, after):
    """Whether the change is of the axis of a sum, which is no coefficient."""
    one, other = (re.findall(r"sum\([^()]*\)", text) for text in (before, after))
    return (one != other and "keepdim" in "".join({*other} - {*one})) or "sum(1e-06)" in after


def kernel_texts(field, methods):
    for method in methods:
        cases = cases_of(field, method)
        for sizes in (None, cases[0].sizes):
            text = numba_text(field, method, sizes)
            small = field in EXPECTED["texts"]["fused"] and "stage_systems" not in text
            assert ("layer_back" in text) == bool(sizes and small), (method, sizes)
            found = written(text, cases)
            assert found.holds, (method, sizes, str(found))


@pytest.mark.parametrize("field", FIELDS)
def test_the_text_of_kernels_is_the_interpretation_with_sizes_fixed_or_not(field):
    few = EXPECTED["texts"]["methods"]
    kernel_texts(field, [name for name in fitting(field) if name.split("/")[-1] in few])


@pytest.mark.full
@pytest.mark.parametrize("field", FIELDS)
def test_the_text_of_kernels_is_the_interpretation_by_every_method(field):
    kernel_texts(field, (*fitting(field), *GRADIENTS["implicit"]))


@pytest.mark.parametrize(
    ("field", "method", "fixed"),
    [
        (field, method, fixed)
        for field, method in EXPECTED["mutated"]["pairs"]
        for fixed in (False, True)
        # a layer of many numbers has the same text
        if not fixed or field in EXPECTED["texts"]["fused"]
    ],
)
def test_every_changed_operation_of_a_kernel_is_seen(field, method, fixed):
    cases = cases_of(field, method)
    text = numba_text(field, method, cases[0].sizes if fixed else None)
    assert ("layer_back" in text) == fixed
    tree = ast.parse(text)
    survived, seen = [], 0
    for place in [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.Assign)]:
        if isinstance(place, ast.Assign) and place.targets[0].id[0] not in "ABC":
            continue
        for number in itertools.count():
            copy = ast.parse(text)
            twin = copy.body[tree.body.index(place)]
            change = Change(number)
            for statement in twin.body if isinstance(twin, ast.FunctionDef) else [twin]:
                change.visit(statement)
            if change.count < number:
                break
            changed = ast.unparse(ast.fix_missing_locations(copy))
            if re.search(r"\[[^\]]*e-06|range\([^)]*e-06|shape\[", difference(text, changed)):
                continue
            seen += 1
            if not is_seen(changed, cases):
                survived.append(difference(text, changed))
    assert seen > 20
    assert not survived


def difference(before, after):
    """The lines of a text that were changed."""
    one, other = ast.unparse(ast.parse(before)).splitlines(), after.splitlines()
    return " / ".join(new for old, new in zip(one, other, strict=True) if old != new)


@pytest.mark.parametrize(("field", "method"), EXPECTED["verified"]["pairs"])
def test_kernels_and_modules_agree_with_the_interpretation(field, method):
    found = hf.verify(field, method)
    assert found.holds, str(found)


def test_compiled_kernels_with_controls_at_every_stage_agree_with_the_interpretation():
    made = EXPECTED["by_stage"]["verified"]
    cases = cases_of(*made, by_stage=True)
    kernels = loader.load(*made, sizes=cases[0].sizes, by_stage=True)
    found = verify_network.compare(kernels, cases, ["numba"])
    assert found.holds, str(found)


@pytest.mark.full
def test_all_backends_with_controls_at_every_stage_agree_with_the_interpretation():
    found = hf.verify(*EXPECTED["by_stage"]["verified"], by_stage=True)
    assert found.holds, str(found)
    assert "numba, fused" in {one.backend for one in found.deviations}


@pytest.mark.parametrize("name", EXPECTED["verified"]["objectives"])
def test_objectives_agree_with_the_interpretation(name):
    found = hf.verify(f"objective/{name}")
    assert found.holds, str(found)


@pytest.mark.parametrize("body", EXPECTED["objective_edges"]["bodies"])
def test_objectives_at_the_edges_agree(tmp_path, body):
    path = tmp_path / "edge.toml"
    head = 'kind = "objective"\nname = "edge"\ntitle = "T"\nreference = "R"\n'
    path.write_text(head + body + "\n", encoding="utf-8")
    found = hf.verify(path)
    assert found.holds, str(found)


@pytest.mark.full
@pytest.mark.parametrize("field", FIELDS)
def test_every_field_compiled_by_every_method_is_the_interpretation(field):
    for method in (*fitting(field), *GRADIENTS["implicit"]):
        found = hf.verify(field, method)
        assert found.holds, str(found)


@pytest.mark.parametrize("by_stage", [False, True])
@pytest.mark.parametrize("body", EXPECTED["edges"]["explicit"])
def test_fields_at_the_edges_have_exact_adjoints(tmp_path, body, by_stage):
    path = tmp_path / "edge.toml"
    head = 'kind = "field"\nname = "edge"\ntitle = "T"\nreference = "R"\n'
    path.write_text(head + body + "\n", encoding="utf-8")
    by_stage = by_stage and "controls" in body
    cases = cases_of(path, "heun2", by_stage=by_stage)
    texts = [torch_text(path, "heun2", by_stage=by_stage)]
    texts += [numba_text(path, "heun2", s, by_stage=by_stage) for s in (None, cases[0].sizes)]
    for text in texts:
        found = written(text, cases)
        assert found.holds, str(found)


def test_kernels_of_a_field_at_the_edge_agree(tmp_path):
    path = tmp_path / "edge.toml"
    head = 'kind = "field"\nname = "edge"\ntitle = "T"\nreference = "R"\n'
    path.write_text(head + EXPECTED["edges"]["explicit"][1] + "\n", encoding="utf-8")
    found = hf.verify(path, "euler")
    assert found.holds, str(found)


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
    ],
)
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_networks_refuse_what_does_not_fit(backend, options, message):
    given = {"layers": 3, "sizes": {"d": 2}, **options}
    with pytest.raises(ValueError, match=message):
        hf.network("resnet", "rk4", backend=backend, **given)


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


# --- training ---------------------------------------------------------------------------------


def test_descent_takes_a_step_only_where_the_cost_falls_enough():
    rule = descent.Rule(up=2.0, down=0.5, trials=30)
    matrix = np.diag([1.0, 10.0])
    arrays = {"x": np.array([3.0, 2.0]), "kept": np.ones(1)}
    lipschitz, costs = 0.1, []

    def cost(at):
        return float(at["x"] @ matrix @ at["x"]) / 2

    for _ in range(60):
        found = descent.step(
            arrays, cost(arrays), {"x": matrix @ arrays["x"]}, cost, lipschitz, rule
        )
        assert found.taken
        # accepted whenever the estimate is at least the largest eigenvalue
        assert found.lipschitz <= 10.0
        arrays, lipschitz = found.arrays, found.lipschitz
        costs.append(found.cost)
    assert all(b <= a for a, b in itertools.pairwise(costs))
    assert costs[-1] < 1e-6
    assert (arrays["kept"] == 1).all()
    with pytest.raises(ValueError, match="not finite"):
        descent.step(arrays, float("nan"), {"x": arrays["x"]}, cost, 1.0, rule)


def test_an_interrupted_reproduction_goes_on_where_it_was(tmp_path):
    settings = {**rk_networks.line_up(), "save_every": 5}
    settings["settings"]["steps"] |= {"points": 40, "layers": 4}
    (whole,) = rk_networks.runs(settings, ["donut2d"], ["ODENet on a simplex"], [1], 20)
    (part,) = rk_networks.runs(settings, ["donut2d"], ["ODENet on a simplex"], [1], 10)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    at_once = rk_networks.train(whole, settings, tmp_path / "a")
    rk_networks.train(part, settings, tmp_path / "b")
    resumed = rk_networks.train(whole, settings, tmp_path / "b")
    assert (at_once.history == resumed.history).all()
    assert (at_once.arrays["h"] == resumed.arrays["h"]).all()
    assert abs(at_once.arrays["h"].sum() - 1) < 1e-12
    assert at_once.history[-1, 0] < at_once.history[0, 0]
    with pytest.raises(ValueError, match="no network 'Transformer'"):
        rk_networks.runs(settings, ["spiral"], ["Transformer"])


@pytest.mark.parametrize("optimizer", ["rgd", "torch.Adam"])
def test_reproductions_train_with_any_optimizer_and_go_on_with_it(tmp_path, optimizer):
    settings = {**rk_networks.line_up(), "save_every": 5}
    settings["settings"]["methods"] |= {"points": 40, "layers": 3}
    changes = {"optimizer": optimizer, "lr": 0.01}
    histories = []
    for folder, counts in (("a", (20,)), ("b", (10, 20))):
        (tmp_path / folder).mkdir()
        for count in counts:
            (run,) = rk_networks.runs(settings, ["spiral"], ["Kutta 3"], [1], count, changes)
            found = rk_networks.train(run, settings, tmp_path / folder)
        histories.append(found.history)
    assert np.allclose(histories[0], histories[1], rtol=1e-12)
    assert histories[0][-1, 0] < histories[0][0, 0]
    (run,) = rk_networks.runs(
        settings, ["spiral"], ["Kutta 3"], [1], 2, {"optimizer": "torch.SGDX"}
    )
    with pytest.raises(ValueError, match=r"'torch\.SGDX' is no optimizer of torch"):
        rk_networks.train(run, settings, tmp_path / "a")
    with pytest.raises(ValueError, match="lr is for an optimizer"):
        rk_networks.runs(settings, changes={"lr": 0.1})


@pytest.mark.parametrize("name", data_sets.DATA_SETS)
def test_data_sets_are_points_in_two_classes(name):
    places, labels = data_sets.points(name, 100, 0)
    assert places.shape == (100, 2)
    assert abs(places).max() < 1.3
    assert set(labels[:, 0]) == {0, 1}
    assert 30 <= labels.sum() <= 70
    again, _ = data_sets.points(name, 100, 0)
    assert (again == places).all()


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
    with pytest.raises(ValueError, match="a step is zero"):
        network.regulariser()
    assert network.pruned().regulariser() > 0
    for backend in ("torch", "numba"):
        plain_one = hf.network("resnet", "rk4", 2, {"d": 2}, backend=backend)
        with pytest.raises(ValueError, match="resnet__rk4 declares no regulariser"):
            plain_one.regulariser()


@pytest.mark.parametrize("field", EXPECTED["bounds"]["fields"])
def test_bounds_of_the_one_sided_lipschitz_constant_hold_and_are_attained_where_exact(field):
    generator = np.random.default_rng(3)
    sizes = {"d": 3, "m": 4} if "m" in str(pipeline.load_field(field).controls) else {"d": 3}
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


@pytest.mark.parametrize("activation", ["x*abs(x)", "x*sin(x)", "x**3", "exp(x)"])
def test_slopes_that_are_not_bounded_have_no_bound(activation):
    found = pipeline.check(pipeline.load_field("gradient_flow", activation=activation))
    assert found["one_sided_lipschitz"] is None
    assert "is not bounded" in found.finding("one_sided_lipschitz").why


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
    ],
)
def test_reports_bound_the_slope_of_any_activation(activation, bound):
    found = pipeline.check(pipeline.load_field("gradient_flow", activation=activation))
    assert found["one_sided_lipschitz"] == bound
