"""Reports of networks' fields: shapes, dependence on time, and whether they are Hamiltonian.

With two states Y and Z and the Jacobian ((A, B), (C, D)) by them, the field is Y' = dH/dZ,
Z' = -dH/dY for some H exactly where B and C are symmetric and D = -A'.  The Jacobian is a
polynomial in matrices that do not commute, so equality is proved for all dimensions at once; that
it fails is shown by numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.shapes import written
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.lines import Lines
from hamilforge.gen.derive.networks.words import NoWordsError, Words, jacobian, negative, transposed
from hamilforge.gen.program.cut import lower_line
from hamilforge.gen.program.interpret import run_lines
from hamilforge.gen.prove.networks import contraction
from hamilforge.gen.prove.report import Finding, Report, compare_claims

#: The largest dimension at which numbers are drawn.
DRAWN = 64
THIS = "all dimensions and controls"


def prove(field: kinds.Field) -> Report:
    """What is known of a field."""
    expressions = [value for _, value in field.rates]
    if field.running is not None:
        expressions.append(field.running)
    timed = any("t" in value.names() for value in expressions)
    findings = [
        Finding("states", _listed(field.states), "the declaration", THIS),
        Finding("controls", _listed(field.controls), "the declaration", THIS),
        Finding("autonomous", not timed, "t in f", THIS),
        _hamiltonian(field),
        *_contraction(field),
    ]
    head = field.head
    claims = compare_claims(head, tuple(findings))
    return Report(head.name, "field", head.title, tuple(findings), claims)


def prove_objective(objective: kinds.Objective) -> Report:
    """What an objective reads and has to learn."""
    findings = (
        Finding("states", _listed(objective.states), "the declaration", THIS),
        Finding("weights", _listed(objective.weights), "the declaration", THIS),
        Finding("data", _listed(objective.data), "the declaration", THIS),
    )
    head = objective.head
    return Report(head.name, "objective", head.title, findings, compare_claims(head, findings))


def _listed(entries: Sequence[tuple[str, kinds.Shape]]) -> str:
    return ", ".join(f"{name} {written(shape)}" for name, shape in entries) or "none"


def _hamiltonian(field: kinds.Field) -> Finding:
    """Whether the two states are positions and momenta of some H(Y, Z, t)."""
    if len(field.states) != 2:
        return Finding("hamiltonian", False, "the number of states, which come in pairs", THIS)
    (first, first_shape), (second, second_shape) = field.states
    if first_shape != second_shape:
        by = (
            f"the shapes: {first} is {written(first_shape)}, "
            f"and {second} is {written(second_shape)}"
        )
        return Finding("hamiltonian", False, by, "dimensions of different names may differ")
    lines, results = _lines(field)
    names = [name for name, _ in field.states]
    try:
        blocks = [[jacobian(lines, result, name) for name in names] for result in results]
    except NoWordsError as error:
        proved, reason = False, str(error)
    else:
        (a, b), (c, d) = blocks
        proved = _equal(b, transposed(b)) and _equal(c, transposed(c))
        proved = proved and _equal(d, negative(transposed(a)))
        reason = "the Jacobian's words"
    if proved:
        by = "the Jacobian as a polynomial in matrices that do not commute: J' W + W J = 0"
        return Finding("hamiltonian", True, by, THIS)
    if any(
        int(dimension) > DRAWN for dimension in (*first_shape, *second_shape) if dimension.isdigit()
    ):
        why = f"{reason} does not decide, and numbers are drawn up to a dimension of {DRAWN}"
        return Finding("hamiltonian", None, "drawn numbers", THIS, why)
    defect = _defect(field, lines, results)
    if defect > 1e-6:
        by = (
            f"the Jacobian at drawn numbers, both states of dimension 3: J' W + W J is {defect:.2g}"
        )
        return Finding("hamiltonian", False, by, "these numbers")
    return Finding("hamiltonian", None, f"neither {reason} nor drawn numbers decide", THIS)


def _contraction(field: kinds.Field) -> tuple[Finding, Finding]:
    """How fast solutions may move apart, and which steps bring them together."""
    names = ("one_sided_lipschitz", "contractive_step")
    by = "the Jacobian's words; the range of the activation's slope, by samples"
    try:
        bound, step = contraction.text(contraction.slopes(field))
    except NoWordsError as error:
        lipschitz, contractive = (Finding(name, None, by, THIS, str(error)) for name in names)
        return lipschitz, contractive
    why = "" if step else "solutions are not known to move together for all controls"
    of = "y' = f; r is the radius of the method's circle of contractivity"
    return Finding(names[0], bound, by, THIS), Finding(names[1], step, by, of, why)


def _equal(left: Words, right: Words) -> bool:
    return dict(left) == dict(right)


def _lines(field: kinds.Field) -> tuple[Lines, list[str]]:
    arrays = [Array(name, shape, True) for name, shape in field.states]
    arrays += [Array(name, shape, False) for name, shape in field.controls]
    arrays += [Array(array.name, array.shape, False) for array in field.arrays]
    arrays += [Array(parameter.name, (), False) for parameter in field.parameters]
    lines = Lines((*arrays, Array("t", (), False)), field.activation)
    results = [lines.named(lines.read(value), f"{name}_rate") for name, value in field.rates]
    return lines, results


def _sized(dimension: str, field: kinds.Field, size: int) -> int:
    """The size of a dimension: that of the states, or another one."""
    if dimension.isdigit():
        return int(dimension)
    return size if any(dimension in shape for _, shape in field.states) else size + 1


def _defect(field: kinds.Field, lines: Lines, results: Sequence[str]) -> float:
    """The largest entry of J' W + W J at drawn numbers, by differences."""
    numbers = [
        int(dimension) for _, shape in field.states for dimension in shape if dimension.isdigit()
    ]
    size = numbers[0] if numbers else 3
    random = np.random.default_rng(0)
    shared: dict[str, Any] = {
        name: random.standard_normal([_sized(dimension, field, size) for dimension in shape])
        for name, shape in (*field.controls, *((own.name, own.shape) for own in field.arrays))
    }
    shared |= {parameter.name: float(parameter.default) for parameter in field.parameters} | {
        "t": 0.7
    }
    names = [name for name, _ in field.states]
    point = random.standard_normal(2 * size)

    def rates(z: np.ndarray) -> np.ndarray:
        known = {**shared, names[0]: z[None, :size], names[1]: z[None, size:]}
        (values,) = run_lines(map(lower_line, lines.lines), lines.arrays, [known])
        return np.concatenate([np.broadcast_to(values[result], (1, size))[0] for result in results])

    step = 1e-5
    columns = [
        (rates(point + step * unit) - rates(point - step * unit)) / (2 * step)
        for unit in np.eye(2 * size)
    ]
    slope = np.array(columns).T
    form = np.block(
        [[np.zeros((size, size)), np.eye(size)], [-np.eye(size), np.zeros((size, size))]]
    )
    return float(abs(slope.T @ form + form @ slope).max())
