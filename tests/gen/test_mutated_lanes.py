"""Every changed operation of the kernels that take trajectories side by side is seen."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hamilforge.gen import pipeline, products
from hamilforge.runtime.core import lanes
from tests.interpreted import as_python

OTHER: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
}
LOADED = ("into_lane", "out_of_lane")
FIXED = (*LOADED, "side_by_side", "ensemble_in_lanes")
OWN = (*LOADED, "goes_on", "alone", "next_time", "enter", "leave", "adaptive_side_by_side")
#: Lanes as arrays of two.
TWO = types.SimpleNamespace(
    COUNT=2, in_lanes=lambda array: array, all_less=lanes.all_less, any_less=lanes.any_less,
    where_less=lanes.where_less,
)  # fmt: skip


def _text(problem: str, method: str, **choices: Any) -> str:
    texts = pipeline.rendered(products.load_made(problem, method, **choices))
    return next(text for name, text in texts.items() if name.endswith("_numba.py"))


def _changed(text: str, functions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What was changed, and the text."""
    for index in range(len(_places(ast.parse(text), functions))):
        tree = ast.parse(text)
        node, place = _places(tree, functions)[index]
        before = ast.unparse(node)
        if isinstance(node, ast.Compare):
            node.ops[place] = OTHER[type(node.ops[place])]()
        else:
            node.op = OTHER[type(node.op)]()
        yield f"{before} became {ast.unparse(node)}", ast.unparse(tree)


def _places(tree: ast.AST, functions: tuple[str, ...]) -> list[tuple[Any, int]]:
    found: list[tuple[Any, int]] = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Compare):
                    found += [(node, k) for k, op in enumerate(node.ops) if type(op) in OTHER]
                elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OTHER:
                    # the direction is 1 or -1: by it or over it is the same
                    if "direction" not in map(
                        ast.unparse, (getattr(node, "left", node), getattr(node, "right", node))
                    ):
                        found.append((node, 0))
    return found


def _refused(run: Callable[[], Any], expected: Any) -> bool:
    """Whether a run ends in an error or elsewhere."""
    try:
        with np.errstate(all="ignore"):
            results = run()
    except (ArithmeticError, IndexError, TypeError, ValueError, _EndlessError):
        return True
    pairs = zip(results, expected, strict=True)
    return not all(np.allclose(x, y, rtol=1e-12, atol=1e-14, equal_nan=True) for x, y in pairs)


class _EndlessError(Exception):
    """More steps were taken than there are."""


def _starts(product: Any, count: int) -> Any:
    spread = 1 + 0.03 * np.random.default_rng(0).normal(size=(count, product.SIZE))
    return np.array(product.START) * spread


def _table(product: Any, count: int) -> Any:
    values = [entry[0] for entry in product.PARAMETERS.values()]
    return np.array(values) * (1 + 0.1 * np.arange(count)[:, None])


def _rooms(product: Any, count: int) -> tuple[Any, ...]:
    size = product.SIZE
    return (
        np.zeros((count, product.ROWS, size)), np.zeros((count, 2, 1)), np.zeros((count, 0, 0)),
        np.zeros((count, 2), np.int64),
    )  # fmt: skip


def _fixed(text: str, broken: bool = False) -> Any:
    """States, low parts, kept states and success of three trajectories, two at a time."""
    product = as_python(text, "changed")
    product.lanes, product.LANES = TWO, 2
    y, table = _starts(product, 3), _table(product, 3)
    if broken:
        y[2, 0] = np.inf
    low, out, well = np.full_like(y, 1e-3), np.zeros((3, 2, product.SIZE)), np.zeros(2, bool)
    lines = 2 * product.SIZE + table.shape[1]
    _, square, slopes, flags = _rooms(product, 2)
    product.ensemble_in_lanes(
        0, 2, 0.1, 0.05, 0, 4, 2, y, low, table, square, slopes, flags, out,
        np.zeros((2, lines, 2)), np.zeros((2, product.ROWS, product.SIZE, 2)),
        np.zeros((2, 2, product.SIZE, 2)), well,
    )  # fmt: skip
    return y, low, out, well


@pytest.mark.parametrize(
    ("problem", "method"), [("driven_pendulum", "rk4"), ("driven_pendulum", "dormand_prince54")]
)
def test_fixed_steps(problem: str, method: str) -> None:
    text = _text(problem, method)
    product = as_python(text, "kernels")
    y, table = _starts(product, 3), _table(product, 3)
    low, out = np.full_like(y, 1e-3), np.zeros((3, 2, product.SIZE))
    rooms = _rooms(product, 3)
    for m in range(3):
        arrays = (array[m] for array in (y, low, table, *rooms, out))
        product.trajectory(0.1, 0.05, 0, 4, 2, *arrays)
    expected = (y, low, out, [True, True])
    assert not _refused(lambda: _fixed(text), expected)
    with np.errstate(all="ignore"):
        broken = _fixed(text, broken=True)
    assert broken[-1].tolist() == [True, False]
    assert broken[0][2, 0] == np.inf  # as it was
    changes = 0
    for change, changed in _changed(text, FIXED):
        seen = _refused(lambda text=changed: _fixed(text), expected)
        assert seen or _refused(lambda text=changed: _fixed(text, broken=True), broken), change
        changes += 1
    assert changes > 10


def _own(text: str, stop: float, budgets: tuple[int, ...]) -> tuple[Any, ...]:
    """Where four trajectories with steps of their own come, in one lane, and who steps alone."""
    product = as_python(text, "changed")
    counts = {"coefficients": 0, "adaptive": 0}

    def counted(name: str) -> Callable[..., Any]:
        plain = getattr(product, name)

        def call(*arguments: Any) -> Any:
            counts[name] += 1
            if counts[name] > 2000:
                raise _EndlessError
            return plain(*arguments)

        return call

    for name in counts:
        setattr(product, name, counted(name))
    arrays = _arrays_of(product, stop, budgets, product.adaptive_in_lanes)
    return *arrays, list(counts.values())


#: A time whose neighbours are 1e-10 apart.
BEGIN = 1e6


def _arrays_of(
    product: Any, stop: float, budgets: tuple[int, ...], in_lanes: Any = None
) -> tuple[Any, ...]:
    """Where four trajectories come, in lanes or one by one."""
    count = 4
    y, table = _starts(product, count), _table(product, count)
    times = BEGIN + np.array([0.3, 0.7, 1.0]) * (stop - BEGIN)
    low, control = np.zeros_like(y), np.zeros((count, 14))
    control[:, 8] = np.inf
    t, moments = np.full(count, BEGIN), np.zeros((count, 3))
    out, residuals = np.zeros((count, 3, product.SIZE)), np.zeros(count)
    shared = (np.full(product.SIZE, 1e-9), np.full(product.SIZE, 1e-12), times)
    rooms = _rooms(product, count)
    lines = 2 * product.SIZE + table.shape[1] + product.CLOCK_LINES
    states, series = np.zeros((1, lines, 1)), np.zeros((1, *rooms[0].shape[1:], 1))
    arrays = (y, low, table)
    for budget in budgets:  # a call for each
        control[:, 6] = budget
        if in_lanes is not None:
            in_lanes(
                0, 1, t, stop, control, *arrays, *shared, moments, out, *rooms, residuals, states,
                series,
            )  # fmt: skip
            continue
        for m in range(count):
            t[m], residuals[m] = product.adaptive(
                t[m], stop, control[m], *(array[m] for array in arrays), *shared, moments[m],
                out[m], *(room[m] for room in rooms), None,
            )  # fmt: skip
    return t, y, low, out, moments, control[:, :9], residuals


#: Parts of what matters for steps that no trajectory takes here: much longer or shorter ones.
EQUAL = ("16 * 2.3e-16", "4.0 * times_of[BEFORE]")


def test_steps_of_their_own() -> None:
    text = _text("driven_pendulum", "taylor", order=8)
    product = as_python(text, "kernels")
    cases = [
        (BEGIN + span, budget) for span in (4.0, -4.0) for budget in ((1000,), (6,), (6, 1000))
    ]
    for case in cases:
        alone = _arrays_of(product, *case)
        assert not _refused(lambda case=case: _own(text, *case)[:-1], alone), case
    expected = {case: _own(text, *case) for case in cases}
    unseen = [
        change
        for change, changed in _changed(text, OWN)
        if not any(
            _refused(lambda c=case, x=changed: _own(x, *c), expected[case]) for case in cases
        )
    ]
    assert [change for change in unseen if not any(part in change for part in EQUAL)] == []
    _, steps = expected[cases[0]][-1]
    assert steps < 4 * 5  # most go in lanes
