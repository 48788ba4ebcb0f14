"""Linear combinations of matrices in few passes: the same numbers, and nothing given is changed."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch

from hamilforge.gen.derive.arrays import Array, Identity, Product, Transpose
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
    """A line: transposes and names let others see an array, an identity has no leading axes."""
    kind = draw.choice("linear linear linear product product turned square name identity".split())
    first, second = draw.choice(known), draw.choice(known)
    if kind == "product":
        return Product(first, second, draw.random() < 0.4, draw.random() < 0.4)
    if kind == "turned":
        return Transpose(first)
    if kind == "square":
        return Apply("mul", (Ref(first), Ref(second)))
    if kind == "identity":
        return Identity("n", None)
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


def linear_line(name, *terms):
    """Multiples of arrays, added up."""
    parts = [Apply("mul", (Const(Fraction(factor)), Ref(array))) for factor, array in terms]
    return Line(Array(name, SQUARE), Apply("add", tuple(parts)) if len(parts) > 1 else parts[0])


def ended(*lines):
    ends = (lines[-1].target, lines[-2].target)
    return Function("step", INPUTS, lines, tuple(zip(("X", "V"), ends, strict=True)))


HALF = Fraction(1, 2)
NAMED = {
    "twice the half of what is given": ended(
        linear_line("half", (HALF, "X")),
        linear_line("whole", (2, "half")),
        Line(Array("along", SQUARE), Product("whole", "G", True, False)),
        linear_line("more", (3, "whole"), (1, "G")),
        Line(Array("end", SQUARE), Product("X", "along")),
    ),
    "two names of one array": ended(
        linear_line("first", (2, "X"), (1, "V")),
        linear_line("same", (1, "first")),
        linear_line("smaller", (HALF, "first")),
        Line(Array("end", SQUARE), Product("same", "smaller")),
    ),
    "an identity that is added to": ended(
        Line(Array("one", SQUARE), Identity("n", None)),
        linear_line("less", (2, "one"), (-1, "V")),
        Line(Array("more", SQUARE), Product("one", "one")),
        linear_line("both", (3, "more"), (1, "X")),
        Line(Array("square", SQUARE), Product("V", "V")),
        linear_line("rest", (2, "one"), (1, "more"), (-1, "square")),
        Line(Array("end", SQUARE), Product("less", "rest")),
        Line(Array("other", SQUARE), Product("end", "both")),
    ),
    "what is given under another name": ended(
        Line(Array("same", SQUARE), Ref("X")),
        linear_line("moved", (1, "X"), (-1, "G")),
        Line(Array("turned", SQUARE), Transpose("X")),
    ),
    "what cancels": ended(
        linear_line("first", (1, "X"), (1, "V")),
        linear_line("second", (1, "first"), (-1, "X")),
        linear_line("third", (2, "V"), (1, "G")),
    ),
}


def run(view, arrays, numbers):
    text = f"def {view.name}({', '.join(view.arguments)}):\n"
    text += "".join(f"    {line}\n" for line in view.lines) + f"    return {view.returns}\n"
    space = {"torch": torch, "torch_matrices": torch_matrices}
    exec(text, space)
    return space[view.name](*arrays, *numbers), text


def assert_the_same(function, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    arrays = [
        torch.randn(*batch, 4, 4, generator=generator, dtype=torch.float64) / 4 for _ in range(3)
    ]
    numbers = (0.75, -1.25)
    names = [array.name for _, array in function.results]
    plain, _ = run(matrix_view("step", "", function, Requirements()), arrays, numbers)
    before = [array.clone() for array in arrays]
    view = combined_view("step", "", function, Requirements(), names)
    made, text = run(view, arrays, numbers)
    for array, own in zip(arrays, before, strict=True):
        assert torch.equal(array, own), text
    expected = [own.clone() for own in plain]
    for array in arrays:  # what is returned is no part of what was given
        array.zero_()
    for left, right in zip(expected, made, strict=True):
        assert torch.allclose(left.expand_as(right), right, rtol=1e-11, atol=1e-13), text


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("seed", range(0, 400, 25))
def test_combinations_are_what_their_lines_are(seed, batch):
    for own in range(seed, seed + 25):
        assert_the_same(drawn(own), batch, own)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("name", NAMED)
def test_what_is_given_or_shown_is_not_added_to(name, batch):
    assert_the_same(NAMED[name], batch, 0)


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
