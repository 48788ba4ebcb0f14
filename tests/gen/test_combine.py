"""Linear combinations of matrices in few passes: the same numbers, and nothing given is changed."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch

from hamilforge.gen.derive.arrays import Array, Product, Transpose
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.combined import combined_view
from hamilforge.gen.emit.torch.matrices import matrix_view
from hamilforge.gen.program.combine import Combination, combined
from hamilforge.gen.program.ir import Apply, Const, Function, Line, Ref
from hamilforge.runtime.core import torch_matrices

SQUARE, NUMBERS = ("n", "n"), ("a", "b")
INPUTS = tuple(Array(name, SQUARE) for name in "XVG") + tuple(map(Array, NUMBERS))


def linear(draw, known):
    """A sum of multiples, as declarations have it."""
    terms = []
    for name in draw.sample(known, draw.randint(1, min(3, len(known)))):
        term = Ref(name)
        for change in draw.choices(("a", "half", "minus", "none"), k=2):
            if change == "a":
                term = Apply("mul", (Ref(draw.choice(NUMBERS)), term))
            elif change == "half":
                term = Apply("div", (term, Const(Fraction(2))))
            elif change == "minus":
                term = Apply("neg", (term,))
        terms.append(term)
    if len(terms) == 1:
        return terms[0]
    whole = Apply("add", tuple(terms))
    return Apply("mul", (whole, Ref("b"))) if draw.random() < 0.3 else whole


def value(draw, known):
    """A line: transposes and bare names let others see an array."""
    kind = draw.choice(
        ("linear", "linear", "linear", "product", "product", "turned", "square", "name")
    )
    first, second = draw.choice(known), draw.choice(known)
    if kind == "product":
        return Product(first, second, draw.random() < 0.4, draw.random() < 0.4)
    if kind == "turned":
        return Transpose(first)
    if kind == "square":
        return Apply("mul", (Ref(first), Ref(second)))
    return Ref(first) if kind == "name" else linear(draw, known)


def drawn(seed):
    """A function of up to a dozen lines that read the last ones mostly."""
    draw = random.Random(seed)
    known, lines = ["X", "V", "G"], []
    for k in range(draw.randint(3, 12)):
        own = value(draw, known[-5:] if draw.random() < 0.8 else known)
        lines.append(Line(Array(f"m{k}", SQUARE), own))
        known.append(f"m{k}")
    ends = (lines[-1].target, draw.choice(lines).target)
    return Function("step", INPUTS, tuple(lines), tuple(zip(("X", "V"), ends, strict=True)))


def run(view, arrays, numbers):
    text = f"def {view.name}({', '.join(view.arguments)}):\n"
    text += "".join(f"    {line}\n" for line in view.lines) + f"    return {view.returns}\n"
    space = {"torch": torch, "torch_matrices": torch_matrices}
    exec(text, space)
    return space[view.name](*arrays, *numbers), text


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("seed", range(40))
def test_combinations_are_what_their_lines_are(seed, batch):
    function = drawn(seed)
    generator = torch.Generator().manual_seed(seed)
    arrays = [
        torch.randn(*batch, 4, 4, generator=generator, dtype=torch.float64) / 4 for _ in range(3)
    ]
    numbers = (0.75, -1.25)
    plain, _ = run(matrix_view("step", "", function, Requirements()), arrays, numbers)
    before = [array.clone() for array in arrays]
    made, text = run(combined_view("step", "", function, Requirements()), arrays, numbers)
    for array, own in zip(arrays, before, strict=True):
        assert torch.equal(array, own), text
    for left, right in zip(plain, made, strict=True):
        assert torch.allclose(left, right, rtol=1e-11, atol=1e-13), text


def test_what_is_read_once_is_taken_in():
    """G - X S, kicked: one combination with a product."""
    lines = (
        Line(Array("product", SQUARE), Product("X", "V", True, False)),
        Line(Array("gradient", SQUARE), Apply("add", (Ref("G"), Apply("neg", (Ref("product"),))))),
        Line(
            Array("kicked", SQUARE),
            Apply("add", (Ref("V"), Apply("neg", (Apply("mul", (Ref("a"), Ref("gradient"))),)))),
        ),
    )
    function = Function("step", INPUTS, lines, (("V", lines[-1].target),))
    (only,) = combined(function)
    assert isinstance(only, Combination)
    assert dict((name, factor) for factor, name in only.arrays) == {
        "V": Const(Fraction(1)),
        "G": Apply("neg", (Ref("a"),)),
    }
    assert only.products == ((Ref("a"), lines[0].value),)
