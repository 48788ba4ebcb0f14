"""What is typed in a rule is what it computes: random rules beside NumPy's reading of their text.

The reference here reads assignments as Python does, and shares nothing with the generator; both
texts of a rule, run as Python, and the interpretation of its program are held to it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.runtime.optimizers import foreach, torch_sums
from hamilforge.runtime.optimizers.clock import latch, start
from hamilforge.runtime.optimizers.verify import in_place_backend, numba_backend, torch_backend
from tests.interpreted import Interpreted

Arrays = list[np.ndarray]
SHAPES = ((5,), (2, 3))
HYPER = {"lr": 0.3, "b": 0.7}
BACKENDS = {
    "numba": ("numba", numba_backend),
    "torch": ("torch", torch_backend),
    "torch, in place": ("torch", in_place_backend),
}
FUNCTIONS: Mapping[str, Any] = {
    "abs": np.abs,
    "cbrt": np.cbrt,
    "clip": lambda x, y, z: np.minimum(np.maximum(x, y), z),
    "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "max": np.maximum,
    "min": np.minimum,
    "relu": lambda x: np.maximum(x, 0),
    "sign": np.sign,
    "sqrt": np.sqrt,
    "step": lambda x: np.where(np.greater(x, 0), 1.0, 0.0),
    "tanh": np.tanh,
    "where": lambda x, y, z: np.where(np.greater(x, 0), y, z),
}


def read(assignments: Sequence[str], point: Arrays, state: Arrays, gradient: Arrays, n: int) -> Any:
    """The new point and state, entry by entry, as Python reads the assignments."""
    whole = [np.concatenate([array.ravel() for array in arrays]) for arrays in (point, state)]
    slope = np.concatenate([array.ravel() for array in gradient])

    def total(entries: Any) -> Any:
        return np.sum(np.broadcast_to(entries, slope.shape))

    space = {
        **FUNCTIONS,
        **HYPER,
        "n": n,
        "x": whole[0],
        "m": whole[1],
        "grad": lambda _: slope,
        "sum": total,
        "dot": lambda x, y: total(x * y),
        "norm": lambda x: np.sqrt(total(x**2)),
    }
    for assignment in assignments:
        target, _, text = assignment.partition(" = ")
        space[target] = eval(text, {"__builtins__": {}}, space)
    return [np.broadcast_to(space[name], slope.shape) for name in ("x", "m")]


@pytest.fixture(params=["looked at", "on a device"])
def sums(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums that are looked at, and such as would make a step wait for a device."""
    if request.param == "on a device":
        monkeypatch.setattr(torch_sums, "_is_known", lambda total: False)
        monkeypatch.setattr(foreach, "_on_devices", bool)
        monkeypatch.setattr(foreach, "_operand", lambda scalar, tensors: scalar)


def declared(folder: Path, assignments: Sequence[str]) -> Any:
    lines = ",\n".join(f'"{assignment}"' for assignment in assignments)
    used = [name for name in HYPER if re.search(rf"\b{name}\b", lines)]
    hyper = "\n".join(
        f'{name} = {{ default = {HYPER[name]}, domain = "nonnegative" }}' for name in used
    )
    path = folder / "mine.toml"
    path.write_text(
        'kind = "optimizer"\nname = "mine"\ntitle = "-"\nreference = "-"\n'
        f'unknowns = ["x", "m"]\nassign = [\n{lines}\n]\n[hyperparameters]\n{hyper}\n'
    )
    return catalogue.load(path, ("optimizer",)), {name: HYPER[name] for name in used}


def distances(folder: Path, assignments: Sequence[str], n: int = 1) -> dict[str, float]:
    """How far each form is from what is typed, by its name."""
    rule, hyper = declared(folder, assignments)
    program = derive_rule(rule).program
    product = Interpreted(pipeline.rendered((rule,)))
    generator = np.random.default_rng(1)
    point, state, gradient = (
        [generator.standard_normal(shape) for shape in SHAPES] for _ in range(3)
    )
    with np.errstate(all="ignore"):
        expected = read(assignments, point, state, gradient, n)
        machine = Interpreter(program, dict(hyper), [array.copy() for array in point], n=n)
        machine.states = {"m": [array.copy() for array in state]}
        machine.step(gradient)
        results = {"interpretation": [machine.x, machine.states["m"]]}
        for name, (key, backend) in BACKENDS.items():
            module = product.module(key)
            row = latch(module, start(module)._replace(n=n), hyper).row()
            results[name] = backend(module)(0, row, [point, state, gradient])
    far = {}
    for name, arrays in results.items():
        flat = [np.concatenate([array.ravel() for array in tensors]) for tensors in arrays]
        pairs = zip(flat, expected, strict=True)
        far[name] = max(float(np.max(abs(a - b) / (1 + abs(b)))) for a, b in pairs)
    return far


CASES = {
    "a local read after its array": ("u = m**2", "m = m + grad(x)", "x = x - lr*norm(m)*u"),
    "the sign of a sum": ("m = m + grad(x)", "x = x - lr*m*sign(sum(m))"),
    "the size of a sum": ("m = m + grad(x)", "x = x - lr*m*abs(sum(m**3))"),
    "a root of a square": ("m = m + grad(x)", "x = x - lr*m*sqrt(sum(m)**2)"),
    "a step of a product": ("m = m + grad(x)", "x = x - lr*m*step(dot(m, grad(x)))"),
    "a choice of numbers": ("m = m + grad(x)", "x = x - lr*where(m, 1/10, 2/10)*m"),
    "a choice by a sum": ("m = m + grad(x)", "x = x - lr*m*where(dot(m, grad(x)), 1, -1)"),
    "a choice by the step": ("m = where(n - 2, m, grad(x))", "x = x - lr*m"),
    "a comparison of entries": ("m = m + grad(x)", "x = x - lr*where(m >= grad(x), m, -m)"),
    "a comparison of numbers": (
        "m = where(lr != b, m + grad(x), m)",
        "x = x - where(n < 3, lr*m, where(n == 3, 2*m, m/sqrt(n - 3)))",
    ),
    "a comparison after a sum": ("m = m + grad(x)", "x = x - lr*m*where(norm(m) < b, 1, -1)"),
    "a sum among entries": ("m = m + grad(x)", "x = x - lr*m/(abs(m) + norm(m))"),
    "a sum and entries": ("m = max(m, norm(m)/10) + grad(x)", "x = x - lr*tanh(m*norm(m))"),
}


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("assignments", CASES.values(), ids=CASES)
def test_what_is_typed_is_computed(assignments: tuple[str, ...], tmp_path: Path) -> None:
    for n in (1, 3):
        far = distances(tmp_path, assignments, n)
        assert max(far.values()) <= 1e-13, far


def used(lines: Sequence[str]) -> list[str]:
    """Assignments without locals that nothing reads."""
    kept: list[str] = []
    for line in reversed(lines):
        target = line.partition(" = ")[0]
        if target in ("x", "m") or any(re.search(rf"\b{target}\b", later) for later in kept):
            kept.insert(0, line)
    return kept


SIGNS = (">", "<", ">=", "<=", "==", "!=")


class Grammar:
    """Random assignments."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.vectors, self.scalars = ["x", "m", "grad(x)"], ["lr", "1/3", "2", "b"]

    def vector(self, depth: int) -> str:
        if depth == 0 or self.draw.random() < 0.3:
            return self.draw.choice(self.vectors)
        first, second = (self.vector(depth - 1) for _ in range(2))
        scalar = self.scalar(depth - 1)
        either = self.draw.choice((second, scalar))
        return self.draw.choice(
            (
                f"({first} + {second})",
                f"({first} - {second})",
                f"({first} * {second})",
                f"{scalar}*{first}",
                f"{self.draw.choice(('tanh', 'abs', 'relu', 'logistic'))}({first})",
                f"sqrt(1 + ({first})**2)",
                f"{self.draw.choice(('max', 'min'))}({first}, {either})",
                f"clip({first}, -1/3, lr)",
                f"where({first}, {either}, {second})",
                f"where(n - 2, {first}, {either})",
                f"where({first} {self.draw.choice(SIGNS)} {either}, {second}, {first})",
                f"where({scalar} {self.draw.choice(SIGNS)} lr, {first}, {either})",
                f"{scalar}*({first})**2",
                f"{scalar}*{first}/(1 + ({second})**2)",
                first,
            )
        )

    def scalar(self, depth: int) -> str:
        if depth <= 0 or self.draw.random() < 0.4:
            return self.draw.choice(self.scalars)
        plain = [name for name in self.vectors if name != "grad(x)"]
        return self.draw.choice(
            (
                f"norm({self.draw.choice(plain)})",
                f"dot({self.draw.choice(plain)}, {self.draw.choice(plain)})",
                f"(1 + sum(tanh({self.draw.choice(plain)})))",
                "log1p(b)",
            )
        )

    def assignments(self) -> list[str]:
        order = ["local", "local", "m", "x"]
        self.draw.shuffle(order)
        lines = []
        for number, target in enumerate(order):
            value = self.vector(2)
            if target == "local":
                lines.append(f"u{number} = {value}")
                self.vectors.append(f"u{number}")
            elif target == "m":
                lines.append(f"m = b*m + {value}")
            else:
                lines.append(f"x = x - lr*{value}")
                self.vectors.remove("grad(x)")
        return used(lines)


def rules(seeds: Sequence[int]) -> Sequence[int]:
    return [seed for seed in seeds if any("grad" in line for line in Grammar(seed).assignments())]


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize(
    "seed",
    [*rules(range(12)), *(pytest.param(s, marks=pytest.mark.full) for s in rules(range(12, 400)))],
)
def test_random_rules_mean_what_is_typed(seed: int, tmp_path: Path) -> None:
    assignments = Grammar(seed).assignments()
    far = distances(tmp_path, assignments)
    assert max(far.values()) <= 1e-11, (assignments, far)


def test_a_sum_of_numbers_is_refused(tmp_path: Path) -> None:
    rule, _ = declared(tmp_path, ("m = m + grad(x)", "x = x - lr*sum(m**2 + 1)*m"))
    with pytest.raises(NotDerivableError, match="sum what has entries"):
        derive_rule(rule)


def test_signs_of_hyperparameters_that_may_vanish(tmp_path: Path) -> None:
    rule, _ = declared(tmp_path, ("m = m + grad(x)", "x = x - (1 + sign(lr))*m"))
    program = derive_rule(rule).program
    machine = Interpreter(program, {"lr": 0.0}, [np.zeros(2)])
    machine.step([np.ones(2)])
    assert machine.x[0].tolist() == [-1.0, -1.0]
