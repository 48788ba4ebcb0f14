"""Networks of fields with arrays that are drawn: which numbers, and what of it all is trained."""

from __future__ import annotations

import ast
import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen import products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.fields import draws as exact_draws
from hamilforge.runtime.networks import draws
from tests.interpreted import as_python

from .networks import cases_of, is_seen, numba_text, torch_class, torch_text, written

DRAWN = [name for name in catalogue.names("field") if catalogue.load(f"field/{name}").arrays]
SIZES = {"universal5": {"d": 3}, "random_polynomial": {"d": 2, "n": 4}}


def sizes_of(field):
    return SIZES.get(field, {"d": 2})


def module_of(field, method="euler", **options):
    made = torch_class(torch_text(field, method))
    kind = {"dtype": torch.float64, **options}
    return made(kind.pop("layers", 4), sizes_of(field), **kind)


OWN = """kind = "field"
name = "own"
title = "T"
reference = "R"
state = { y = ["3"] }
controls = { u = ["4"], v = ["3"] }
f = "u[1]*A@y + u[3]*y[2]*e + u[4]*sin(y[3])*y + y[1]*v + sum(u)*s + v[2]*b"
[fixed]
b = { shape = ["3"], draw = "integers(0, 5)", where = "(b - sum(b)/7)/8 + dot(b, b)/999" }
s = { shape = ["3"], draw = "integers(-1, 1)", where = "s**2/3" }
e = "unit(2)"
[fixed.A]
shape = ["3", "3"]
draw = "integers(-3, 3)"
where = "sym(A) - trace(A)/3*skew(A)/5 + transpose(A)/4"
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    return path


# --- which numbers ----------------------------------------------------------------------------


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("seed", [0, 7, 2**62])
@pytest.mark.parametrize("field", DRAWN)
def test_the_generated_code_draws_the_fractions_that_are_proved_of(field, seed):
    declared = products.load_field(field)
    wanted = exact_draws.fixed(declared, sizes_of(field), seed)
    for text in (torch_text(field, "euler"), numba_text(field, "euler")):
        product = torch_class(text) if "import torch" in text else as_python(text)
        found = draws.fixed(product, sizes_of(field), seed)
        assert [*found] == [*wanted] == [array.name for array in declared.arrays]
        for name, array in wanted.items():
            assert found[name].shape == array.shape
            assert all(isinstance(entry, Fraction) for entry in found[name].ravel())
            assert (found[name] == array).all()


def test_numbers_are_the_same_on_every_machine():
    network = module_of("universal5", draw=7)
    a = network.fixed["A"].numpy()
    assert a.tolist() == PINNED
    assert abs(np.trace(a)) < 1e-15
    assert network.fixed["em"].tolist() == [0.0, 0.0, 1.0]


#: Of SHA-256 of "7/A/0" … "7/A/8": whole numbers less a third of their trace.
PINNED = [
    [5.333333333333333, -2.0, -2.0],
    [8.0, -2.6666666666666665, 7.0],
    [7.0, -8.0, -2.6666666666666665],
]


def test_every_entry_is_rounded_once():
    between = 1 + Fraction(1, 2**24)  # half way between two numbers of float32
    entries = np.array([between, between + Fraction(1, 2**70), Fraction(1, 3)], dtype=object)
    found = draws.rounded(entries, np.float32)
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 1 + 2.0**-23, float(np.float32(1 / 3))]
    assert np.float32(float(entries[1])) == 1.0  # by way of float64 it would be another
    assert draws.rounded(entries, np.float64)[2] == 1 / 3


def test_a_field_of_ones_own_with_entries_of_states_and_all_that_where_may_call(own):
    declared = products.load_field(own)
    wanted = exact_draws.fixed(declared, {}, 5)
    network = torch_class(torch_text(own, "euler"))(2, {}, draw=5, dtype=torch.float64)
    for name, array in wanted.items():
        assert (network.fixed[name].numpy() == array.astype(float)).all(), name
    for by_stage in (False, True):
        cases = cases_of(own, "kutta3", by_stage=by_stage)
        for text in (torch_text, numba_text):
            found = written(text(own, "kutta3", by_stage=by_stage), cases)
            assert found.holds, str(found)
    fused = numba_text(own, "rk4", sizes={})
    assert written(fused, cases_of(own, "rk4")).holds


@pytest.mark.parametrize("field", ["random_tanh", "universal5"])
def test_bounds_are_of_controls_and_not_of_what_is_drawn(field):
    network = hf.network(field, "euler", 2, {"d": 2}, trainable=("u",), draw=3)
    with pytest.raises(DeclarationError, match=r"fixed array .* has numbers once it is drawn"):
        hf.contractivity(network)


def loops_of(text, name):
    """The loops over samples of a function."""
    (function,) = [
        one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef) and one.name == name
    ]
    return [one for one in function.body if isinstance(one, ast.For)]


def rows_in(loop, context):
    return {
        ast.unparse(one)
        for line in loop.body
        for one in ast.walk(line)
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, context)
    }


@pytest.mark.parametrize(("field", "kept"), [("random_tanh", 5 * 4), ("random7", 7 * 4)])
def test_small_layers_fill_each_row_in_a_loop_that_reads_few(field, kept):
    text = numba_text(field, "rk4", sizes={"d": 4})
    for stage in (1, 4):
        loops = loops_of(text, f"set_k_{stage}")
        filled = [rows_in(loop, ast.Store) for loop in loops]
        assert all(len(rows) == 1 for rows in filled)
        assert len(filled) == len(set.union(*filled)) == kept + 4 + (4 if stage == 4 else 0)
        assert all(len(rows_in(loop, ast.Load)) <= 8 for loop in loops)
        assert sum(ast.unparse(loop).count("tanh(") for loop in loops) == (
            20 if field == "random_tanh" else 0
        )


def test_a_layer_that_reads_many_rows_has_one_loop_a_stage():
    text = numba_text("random_tanh", "rk4", sizes={"d": 5})
    assert len(loops_of(text, "set_k_1")) == 10 * 3  # five rows are read
    assert len(loops_of(text, "set_k_2")) == 1  # five of y and five of k_1 would be


def test_no_function_is_evaluated_in_two_loops(tmp_path):
    path = tmp_path / "shared.toml"
    path.write_text(
        'kind = "field"\nname = "shared"\ntitle = "One value for two"\nreference = "none"\n'
        'state = { y = ["d"] }\ncontrols = { u = ["2"] }\nf = "u[1]*exp(-dot(y, y))*y + u[2]*y"\n',
        encoding="utf-8",
    )
    text = numba_text(path, "rk4", sizes={"d": 2})
    for stage in (1, 2):
        source = ast.unparse(ast.Module(loops_of(text, f"set_k_{stage}"), []))
        assert source.count("exp(") == 1
    assert written(text, cases_of(path, "rk4")).holds


# --- what is trained --------------------------------------------------------------------------


@pytest.mark.parametrize("field", DRAWN)
def test_nothing_is_trained_but_the_controls_that_are_named(field):
    network = module_of(field, "rk4", trainable=("u",), draw=3, layers=6)
    (parameter,) = [one for one in network.parameters() if one.requires_grad]
    count = 6 * int(network.CONTROLS["u"][0])
    assert parameter is network.control("u")
    assert parameter.numel() == count
    assert network.trained_numbers == count
    assert f"trained numbers={count}" in repr(network)
    assert "draw=3" in repr(network)
    assert not [name for name in network.state_dict() if name.startswith("fixed_")]
    network(0.1 * torch.randn(5, sizes_of(field)["d"], dtype=torch.float64)).sum().backward()
    assert all(array.grad is None for array in network.fixed.values())


@pytest.mark.parametrize(
    ("trainable", "text"),
    [
        (
            ("A",),
            "'A' is a fixed array of universal5__euler and is not trained; its controls are: u",
        ),
        (("w",), "'w' is no control of universal5__euler; those are: u"),
    ],
)
def test_what_is_no_control_is_not_trained(trainable, text):
    with pytest.raises(ValueError, match=text):
        module_of("universal5", trainable=trainable)
    kernels = as_python(numba_text("universal5", "euler"))
    with pytest.raises(ValueError, match=text):
        draws.trained(kernels, trainable)


@pytest.mark.parametrize("draw", [-1, 1.5, True, 2**63, "seed"])
def test_a_seed_is_a_whole_number(draw):
    with pytest.raises(ValueError, match="draw = "):
        module_of("universal5", draw=draw)


@pytest.mark.usefixtures("kernels")
def test_controls_that_are_held_are_a_function_of_the_seed():
    sizes, both = {"d": 3}, {}
    for backend, kind in (("torch", torch.float64), ("numba", float)):
        both[backend] = hf.network(
            "resnet", "euler", 4, sizes, backend=backend, dtype=kind, trainable=("b",), draw=11
        )
    module, network = both["torch"], both["numba"]
    held = network.controls["K"]
    assert (module.control("K").detach().numpy() == held).all()
    assert abs(held).max() <= 1
    assert 0.3 < held.std() * math.sqrt(3) < 2
    assert not module.control("K").requires_grad
    assert module.control("b").requires_grad
    y = np.random.default_rng(0).standard_normal((5, 3))
    found = network.gradient(y, costates=np.ones((5, 3)))
    assert [*found.controls] == ["b"] == [*network.trainable]
    module(torch.from_numpy(y)).sum().backward()
    assert np.allclose(module.control("b").grad.numpy(), found.controls["b"], rtol=1e-13)
    assert "trained numbers=12" in repr(network)
    assert "trained" not in repr(hf.network("resnet", "euler", 4, sizes, backend="numba"))


# --- what is kept -----------------------------------------------------------------------------


def test_a_state_that_is_loaded_brings_its_seed_and_not_the_arrays():
    first, second = (module_of("random7", "rk4", draw=seed) for seed in (1, 2))
    with torch.no_grad():
        first.control("u").normal_(0, 0.1)
    y = torch.rand(4, 2, dtype=torch.float64)
    assert not torch.equal(first(y), second(y))
    second.load_state_dict(first.state_dict())
    assert second.draw == 1
    assert torch.equal(first(y), second(y))
    for same in (copy.deepcopy(first), first.pruned()):
        assert same.draw == 1
        assert torch.equal(same(y), first(y))


def test_another_type_is_drawn_anew_and_not_rounded_twice():
    double = module_of("random7", draw=4)
    single = module_of("random7", draw=4, dtype=torch.float32)
    exact = draws.fixed(single, {"d": 2}, 4)["C1"]
    assert (single.fixed["C1"].numpy() == draws.rounded(exact, np.float32)).all()
    for name, array in single.double().fixed.items():
        assert torch.equal(array, double.fixed[name]), name


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("field", "method"), [("universal5", "rk4"), ("random_polynomial", "gauss2")]
)
def test_both_backends_and_all_memories_move_points_alike(field, method):
    sizes = sizes_of(field)
    module = hf.network(field, method, 5, sizes, trainable=("u",), draw=9, dtype=torch.float64)
    network = hf.network(field, method, 5, sizes, backend="numba", trainable=("u",), draw=9)
    generator = np.random.default_rng(0)
    network.controls["u"][...] = 0.1 * generator.standard_normal(network.controls["u"].shape)
    with torch.no_grad():
        module.control("u").copy_(torch.from_numpy(network.controls["u"]))
    y, p = generator.uniform(-1, 1, (2, 7, sizes["d"]))
    for name, array in network.fixed.items():
        assert (array == module.fixed[name].numpy()).all()
    again = pickle.loads(pickle.dumps(network))
    for name, array in again.fixed.items():
        assert (array == network.fixed[name]).all()
        assert not array.flags.writeable
    memories = ("all", "states", "checkpoint", *(("reversible",) if method == "gauss2" else ()))
    for memory in memories:
        network.memory = module.memory = memory
        found = network.gradient(y, costates=p)
        start = torch.tensor(y, requires_grad=True)
        module.zero_grad()
        (module(start) * torch.from_numpy(p)).sum().backward()
        assert np.allclose(
            module.control("u").grad.numpy(), found.controls["u"], rtol=1e-11, atol=1e-13
        )
        assert np.allclose(start.grad.numpy(), found.states[0], rtol=1e-11, atol=1e-13)


# --- planted faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", DRAWN)
def test_faults_in_what_is_drawn_or_sent_back_are_seen(field):
    text, cases = torch_text(field, "euler"), cases_of(field, "euler")
    assert written(text, cases).holds
    faults = [
        (", -9, 9)", ", -9, 8)"),  # another range
        ("integers(seed, ", "integers(seed + 1, "),  # another seed
        ("u_entry2 = u[1]", "u_entry2 = u[0]"),  # another entry
        ("u_bar = torch.stack((", "u_bar = -torch.stack(("),  # a sign of the adjoint
    ]
    for old, new in faults:
        assert old in text, (old, field)
        assert is_seen(text.replace(old, new), cases), (old, field)
