"""The generated text of networks: against the interpretation, and every operation changed."""

from __future__ import annotations

import ast
import itertools
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import pytest

import hamilforge as hf
from hamilforge.runtime.core import loader
from hamilforge.runtime.networks import verify_network
from tests.samples import sampled

from .networks import (
    EXPECTED,
    FIELDS,
    GRADIENTS,
    cases_of,
    fitting,
    is_seen,
    numba_text,
    torch_text,
    written,
)

# --- the emitted text --------------------------------------------------------------------------


def name_of(made):
    """What a case is called."""
    return made["field"] if isinstance(made, dict) else str(made)


#: Fields with costs of their controls.
COSTS = [
    f'{EXPECTED["regularisers"]["head"]}\nregulariser = "{cost}"'
    for cost in EXPECTED["regularisers"]["costs"]
]


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


COEFFICIENT = re.compile(r"[QP]?[AB]_\d+(_\d+)?|C\d?_\d+")
BACK = re.compile(r"states.*|shared.*|layer_adjoint|layer|rate.*|prepare|finish|regulariser")


@pytest.mark.parametrize("made", EXPECTED["mutated"]["pairs"], ids=name_of)
def test_every_changed_operation_of_a_layer_and_its_adjoint_is_seen(made):
    cases = cases_of(**made)
    tree = ast.parse(torch_text(**made))
    numbers = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and BACK.fullmatch(node.name))
        or (isinstance(node, ast.Assign) and COEFFICIENT.fullmatch(node.targets[0].id))
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
    ("made", "fixed"),
    [
        pytest.param(made, fixed, marks=[pytest.mark.full] * slow)
        for made in EXPECTED["mutated"]["pairs"]
        for fixed in (False, True)
        for slow in [[made["field"], fixed] in EXPECTED["mutated"]["slow"]]
        # a layer of many numbers has the same text
        if not fixed or made["field"] in EXPECTED["texts"]["fused"]
    ],
    ids=name_of,
)
def test_every_changed_operation_of_a_kernel_is_seen(made, fixed):
    cases = cases_of(**made)
    text = numba_text(sizes=cases[0].sizes if fixed else None, **made)
    assert ("layer_back" in text) == fixed
    tree = ast.parse(text)
    survived, seen = [], 0
    for place in [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.Assign)]:
        if isinstance(place, ast.Assign) and not COEFFICIENT.fullmatch(place.targets[0].id):
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


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("field", "method"), [part[:2] for part in EXPECTED["verified"]["parts"]])
def test_every_form_of_a_product_agrees_with_the_interpretation(field, method):
    found = hf.verify(field, method)
    assert found.holds, str(found)


@pytest.mark.parametrize(("field", "method", "dtype", "fused"), EXPECTED["verified"]["parts"])
def test_one_form_compiled_agrees_with_the_interpretation(field, method, dtype, fused):
    cases = cases_of(field, method, dtypes=(dtype,))
    kernels = loader.load(field, method, sizes=cases[0].sizes if fused else None)
    found = verify_network.compare(kernels, cases, ["numba"])
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


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", EXPECTED["verified"]["objectives"])
def test_objectives_agree_with_the_interpretation(name):
    found = hf.verify(f"objective/{name}")
    assert found.holds, str(found)


@pytest.mark.usefixtures("kernels")
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
    """In a process of its own, since compiled code is kept to the end of one."""
    methods = (*fitting(field), *GRADIENTS["implicit"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        for found in process.map(hf.verify, itertools.repeat(field), methods):
            assert found.holds, str(found)


@pytest.mark.parametrize(
    ("body", "by_stage"),
    sampled(
        (
            (body, by_stage)
            for body in (*EXPECTED["edges"]["explicit"], *COSTS)
            for by_stage in ((False, True) if "controls" in body else (False,))
        ),
        every=2,
    ),
)
def test_fields_at_the_edges_have_exact_adjoints(tmp_path, body, by_stage):
    path = tmp_path / "edge.toml"
    head = 'kind = "field"\nname = "edge"\ntitle = "T"\nreference = "R"\n'
    path.write_text(head + body + "\n", encoding="utf-8")
    cases = cases_of(path, "heun2", by_stage=by_stage)
    texts = [torch_text(path, "heun2", by_stage=by_stage)]
    texts += [numba_text(path, "heun2", s, by_stage=by_stage) for s in (None, cases[0].sizes)]
    for text in texts:
        found = written(text, cases)
        assert found.holds, str(found)


@pytest.mark.usefixtures("kernels")
def test_kernels_of_a_field_at_the_edge_agree(tmp_path):
    path = tmp_path / "edge.toml"
    head = 'kind = "field"\nname = "edge"\ntitle = "T"\nreference = "R"\n'
    path.write_text(head + EXPECTED["edges"]["explicit"][1] + "\n", encoding="utf-8")
    found = hf.verify(path, "euler")
    assert found.holds, str(found)
