"""The one program: types are checked where a function is made, one interpreter runs them all."""

import ast
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import hamilforge.gen
from hamilforge.gen.derive.arrays import Array, Outer, Product, Transpose
from hamilforge.gen.program.interpret import results, run, run_function
from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Function,
    Line,
    Reduce,
    Ref,
    Select,
    entries,
    names,
    renamed,
    type_of,
)
from hamilforge.gen.program.optimizers.preparation import PREPARATION

MATRIX = Array("A", ("d", "k"))
VECTOR = Array("v", ("k",), batched=True)
SHARED = Array("b", ("d",))
NUMBER = Array("c")
TYPES = {array.name: array for array in (MATRIX, VECTOR, SHARED, NUMBER)}
TWICE = Apply("mul", (Const(Fraction(2)), Ref("b")))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TWICE, (("d",), False)),
        (Apply("mul", (Ref("c"), Ref("v"))), (("k",), True)),
        (Select(Ref("c"), Fraction(0), Ref("b"), Ref("c")), (("d",), False)),
        (Product("A", "v"), (("d",), True)),
        (Product("A", "b", left_transposed=True), (("k",), False)),
        (Outer("b", "b"), (("d", "d"), False)),
        (Outer("v", "v"), (("k", "k"), False)),
        (Transpose("A"), (("k", "d"), False)),
        (Reduce(Ref("v")), ((), True)),
        (Reduce(Ref("v"), over="samples"), (("k",), False)),
        (Reduce(Ref("b"), "logsumexp"), ((), False)),
    ],
)
def test_the_type_of_every_operation(value, expected):
    assert type_of(value, TYPES) == expected


@pytest.mark.parametrize(
    "value",
    [
        Apply("add", (Ref("v"), Ref("b"))),
        Product("A", "b"),
        Product("b", "v"),
        Outer("A", "b"),
        Transpose("b"),
        Reduce(Ref("c")),
        Reduce(Ref("b"), over="samples"),
        Reduce(Ref("v"), "logsumexp", "samples"),
        Reduce(Ref("b"), "median"),
        Reduce(Ref("b"), over="nothing"),
    ],
    ids=str,
)
def test_operands_that_do_not_fit(value):
    with pytest.raises(TypeError):
        type_of(value, TYPES)


FAULTS = {
    "reads unknown": (Line(Array("w", ("d",)), Ref("z")),),
    "is set twice": (Line(Array("b", ("d",)), Ref("c")),),
    "sum inside": (Line(Array("w"), Apply("sqrt", (Reduce(Ref("b")),))),),
    "w is": (Line(Array("w", ("k",)), TWICE),),
    r"not \(\('k',\), True\)": (Line(Array("w", ("k",)), Ref("v")),),
}


@pytest.mark.parametrize(("message", "lines"), FAULTS.items(), ids=FAULTS)
def test_a_function_that_does_not_fit_is_not_made(message, lines):
    with pytest.raises(TypeError, match=message):
        Function("f", tuple(TYPES.values()), lines, ())


def test_inputs_and_results_are_there_once():
    with pytest.raises(TypeError, match="twice"):
        Function("f", (SHARED, replace(SHARED, shape=("k",))), (), ())
    with pytest.raises(TypeError, match="twice"):
        Function("f", (SHARED,), (), (("b", SHARED), ("b", SHARED)))


def test_a_result_is_an_array_of_the_function():
    with pytest.raises(TypeError, match="no array of the function"):
        Function("f", (SHARED,), (), (("b", replace(SHARED, shape=("k",))),))


def test_operations_on_arrays_as_numpy_computes_them():
    random = np.random.default_rng(1)
    a, v, b = random.standard_normal((3, 4)), random.standard_normal((5, 4)), np.arange(3.0)
    total = Array("total", (), batched=True)
    function = Function(
        "f",
        (MATRIX, VECTOR, SHARED),
        (
            Line(Array("Av", ("d",), batched=True), Product("A", "v")),
            Line(total, Reduce(Ref("Av"))),
            Line(Array("largest", (), batched=True), Reduce(Ref("Av"), "logsumexp")),
            Line(Array("sums", ("d",)), Reduce(Ref("Av"), over="samples")),
            Line(Array("outer", ("d", "k")), Outer("Av", "v")),
            Line(Array("wide", ("d",)), Const(Fraction(1))),
            Line(Array("AT", ("k", "d")), Transpose("A")),
            Line(Array("ATb", ("k",)), Product("AT", "b")),
        ),
        (("total", total),),
    )
    known = run(function, {"A": a, "v": v, "b": b})
    products = v @ a.T
    expected = {
        "Av": products,
        "total": products.sum(1, keepdims=True),
        "largest": np.log(np.exp(products).sum(1, keepdims=True)),
        "sums": products.sum(0),
        "outer": products.T @ v,
        "wide": np.ones(3),
        "ATb": a.T @ b,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(known[name], value, rtol=1e-14, err_msg=name)
        assert np.shape(known[name]) == value.shape
    total_of = results(function, {"A": a, "v": v, "b": b})["total"]
    np.testing.assert_allclose(total_of, expected["total"], rtol=1e-14)
    with pytest.raises(KeyError, match="f needs b"):
        run(function, {"A": a, "v": v})


def test_sums_run_over_all_tensors_or_over_each():
    from hamilforge.gen.program.reference import FLOAT64

    function = Function(
        "f",
        (entries("x"),),
        (
            Line(Array("total"), Reduce(Ref("x"))),
            Line(entries("x_new"), Apply("mul", (Ref("total"), Ref("x")))),
        ),
        (("x", entries("x_new")),),
    )
    tensors = {"x": [np.array([1.0, 2.0]), np.array([[3.0]])]}
    together = run_function(function, tensors, {}, FLOAT64)["x"]
    apart = run_function(function, tensors, {}, FLOAT64, per_tensor=True)["x"]
    assert [array.tolist() for array in together] == [[6.0, 12.0], [[18.0]]]
    assert [array.tolist() for array in apart] == [[3.0, 6.0], [[9.0]]]


def test_other_names_leave_the_meaning():
    other = renamed(PREPARATION, {"x": "y", "sign": "s"})
    assert names(other.lines[1].value) == ("shrink", "y")
    assert other.arrays == ("y", "g")
    assert other.scalars == ("s", "l2", "shrink")
    assert dict(other.results)["y"].name == "x_shrunk"


def test_there_is_one_class_of_functions():
    places = [
        path.name
        for path in Path(hamilforge.gen.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name in ("Function", "Reduce", "Outer")
    ]
    assert sorted(places) == ["arrays.py", "ir.py", "ir.py"]
