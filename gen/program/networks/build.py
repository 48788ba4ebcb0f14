"""A declared field and a method become a network; a declared objective becomes its target.

In: declarations.  Out: :class:`Network` and :class:`Target`.  All right-hand sides are read into
one list of lines and reversed there; `cut.Cut` then says for each line how often it is computed
(once for each layer, at each stage, or after the sums over stages and samples), and each function
is what its results need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive import arrays
from hamilforge.gen.derive.adjoint import derivable, reverse
from hamilforge.gen.derive.arrays import Array, Map, Piece
from hamilforge.gen.derive.lines import Lines
from hamilforge.gen.derive.networks.tangent import forward
from hamilforge.gen.program.build_stages import build_stages
from hamilforge.gen.program.cut import MOMENTS, Cut, between
from hamilforge.gen.program.networks.build_regulariser import build_regulariser
from hamilforge.gen.program.networks.network import RUNNING, LayerPart, Network, Target
from hamilforge.gen.program.spelling import spelling
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.pair import build_pair
from hamilforge.gen.tableau.tableau import Tableau

TIME = Array("t", (), False)


@remembered
def build_network(field: kinds.Field, method: kinds.LayerMethod) -> Network:
    """The network of a field by a method.

    Raises:
        DeclarationError: the method does not fit the field, or f has no derivative.
    """
    own_names = [*(name for name, _ in (*field.states, *field.controls))]
    own_names += [array.name for array in field.arrays]
    names = spelling([*own_names, *(e.name for e in field.parameters)], field.by_stage)
    states = [Array(names[name], shape, True) for name, shape in field.states]
    rates = [value for _, value in field.rates]
    if field.running is not None:
        states.append(Array(RUNNING, (), True))
        rates.append(field.running)
    controls = tuple(Array(names[name], shape, False) for name, shape in field.controls)
    own = [Array(names[parameter.name], (), False) for parameter in field.parameters]
    fixed = tuple(Array(names[array.name], array.shape, False) for array in field.arrays)
    lines = Lines((*states, *controls, *own, *fixed, TIME), field.activation)
    lines.names |= names
    with derivable(field):
        results = [
            _batched(lines, lines.read(value), f"{state.name}_rate")
            for state, value in zip(states, rates, strict=True)
        ]
    forwards = len(lines.lines)
    costates = [
        lines.given("w" if len(states) == 1 else f"w_{state.name}", state.shape, True)
        for state in states
    ]
    wanted = tuple(array.name for array in (*states, *controls, TIME))
    with derivable(field):
        bars = [
            _distinct(lines, costates, forwards, reverse(lines, {result: costate}, wanted), states)
            for result, costate in zip(results, costates, strict=True)
        ]
        own_lines = len(lines.lines)
        ends = _added(lines, bars, controls)
        directions = {array.name: _direction(lines, array) for array in (*states, *controls)}
        tangents = forward(lines, forwards, directions, results)
        by_states = {state.name: directions[state.name] for state in states}
        slopes = forward(lines, forwards, by_states, results)
    cut = Cut(lines, own_lines, directions.values())
    parts = tuple(
        _part(cut, states, number, costates[number], result, bars[number], (tangents, slopes))
        for number, result in enumerate(results)
    )
    step = build_stages(
        [part.needs for part in parts],
        _tableaux(field, method, len(parts)),
        canonical=False,
        embedded=False,
    )
    return Network(
        name=f"{field.head.name}__{method.head.name}",
        dimensions=_dimensions([*states, *controls, *fixed]),
        controls=controls,
        fixed=fixed,
        draws=field.arrays,
        parameters=tuple(
            dataclasses.replace(parameter, name=names[parameter.name])
            for parameter in field.parameters
        ),
        declared={spelled: name for name, spelled in names.items()},
        parts=parts,
        prepare=cut.prepare(),
        finish=cut.finish(ends),
        timed=any(TIME in part.rate.inputs for part in parts),
        by_stage=field.by_stage,
        regulariser=build_regulariser(field, names),
        step=step,
    )


@remembered
def build_target(objective: kinds.Objective) -> Target:
    """Prediction, loss and gradient of an objective.

    Raises:
        DeclarationError: the loss has no derivative.
    """
    own_names = (*objective.states, *objective.weights, *objective.data)
    names = spelling([*(name for name, _ in own_names), *(e.name for e in objective.parameters)])
    states = tuple(Array(names[name], shape, True) for name, shape in objective.states)
    weights = tuple(Array(names[name], shape, False) for name, shape in objective.weights)
    data = tuple(Array(names[name], shape, True) for name, shape in objective.data)
    own = [Array(names[parameter.name], (), False) for parameter in objective.parameters]
    lines = Lines((*states, *weights, *data, *own), objective.activation)
    lines.names |= names
    prediction = _batched(lines, lines.read(objective.prediction), "readout")
    lines.names["prediction"] = prediction
    loss = _batched(lines, lines.read(objective.loss), "loss")
    seed = lines.given("seed", (), True)
    with derivable(objective):
        bars = reverse(lines, {loss: seed}, tuple(array.name for array in (*states, *weights)))
    cut = Cut(lines)
    value = cut.function("value", {"prediction": prediction, "loss": loss}, free=MOMENTS)
    batched = {line.target.name for line in value.lines if line.target.batched}
    gradient = cut.function("gradient", bars, batched, MOMENTS)
    return Target(
        name=objective.head.name,
        dimensions=_dimensions([*states, *weights, *data]),
        states=states,
        weights=weights,
        data=data,
        parameters=tuple(
            dataclasses.replace(parameter, name=names[parameter.name])
            for parameter in objective.parameters
        ),
        declared={spelled: name for name, spelled in names.items()},
        seed=lines.arrays[seed],
        value=value,
        gradient=gradient,
        kept=between(value, gradient),
    )


def _tableaux(field: kinds.Field, method: kinds.LayerMethod, count: int) -> Sequence[Tableau]:
    if isinstance(method, kinds.RungeKutta):
        return (build(method),) * count
    if len(field.states) != 2:
        raise DeclarationError.single(
            method.head.source.where,
            f"a pair needs two states, and '{field.head.name}' has {len(field.states)}; a "
            "Runge-Kutta method fits it",
        )
    first, second = build_pair(method)
    return (first, second, *(first,) * (count - 2))


def _dimensions(declared: Iterable[Array]) -> tuple[str, ...]:
    dimensions = dict.fromkeys(dimension for array in declared for dimension in array.shape)
    return tuple(dimension for dimension in dimensions if not dimension.isdigit())


def _batched(lines: Lines, piece: Piece, name: str) -> str:
    """A line for a result: one value for each sample, even where it is an input or shared."""
    if not piece.value.free_symbols:
        raise NotDerivableError(
            f"the {name.replace('_', ' ')} is the number {piece.value}: it depends on nothing"
        )
    target = lines.named(Piece(piece.value, piece.shape, True), name)
    computed = {line.target.name for line in lines.lines}
    if target in computed and lines.arrays[target].batched:
        return target
    return lines.add(Map(arrays.symbol(target)), piece.shape, True, name)


def _distinct(
    lines: Lines,
    costates: Sequence[str],
    forwards: int,
    bars: dict[str, str],
    states: Sequence[Array],
) -> dict[str, str]:
    """The same with the cotangent of each state an array that the way back computes."""
    seen = {*costates} | {line.target.name for line in lines.lines[:forwards]}
    distinct = dict(bars)
    for state in states:
        bar = distinct.get(state.name)
        if bar is not None:
            if bar in seen:
                distinct[state.name] = bar = lines.copy(bar, f"{state.name}_bar")
            seen.add(bar)
    return distinct


def _added(
    lines: Lines, bars: Sequence[Mapping[str, str]], wanted: Sequence[Array]
) -> dict[str, str]:
    """The cotangents of what all parts share, the parts' contributions added."""
    ends = {}
    for array in wanted:
        contributions = [bar[array.name] for bar in bars if array.name in bar]
        if contributions:
            value = sp.Add(*map(arrays.symbol, contributions))
            ends[array.name] = lines.named(Piece(value, array.shape, False), f"{array.name}_bar")
    return ends


def _direction(lines: Lines, array: Array) -> str:
    """An array for the direction in which another one changes."""
    return lines.given(f"{array.name}_dot", array.shape, array.batched)


def _part(
    cut: Cut,
    states: Sequence[Array],
    number: int,
    costate: str,
    result: str,
    bars: Mapping[str, str],
    forwards: tuple[Mapping[str, str | None], Mapping[str, str | None]],
) -> LayerPart:
    tangent, slope = (derivative[result] for derivative in forwards)
    rate = cut.function("rate", {"rate": result})
    needs = tuple(k for k, state in enumerate(states) if state in rate.inputs)
    batched = {line.target.name for line in rate.lines if line.target.batched}
    early = [*(states[k].name for k in needs), TIME.name]
    own = {name: bars[name] for name in early if name in bars}
    before = cut.function("states", own, batched)
    batched |= {line.target.name for line in before.lines if line.target.batched}
    sums = cut.sums(bars[name] for name in bars if name not in own)
    shared = cut.function("shared", {name: name for name in sums}, batched)
    return LayerPart(
        state=states[number],
        costate=cut.array(costate),
        needs=needs,
        rate=rate,
        states=before,
        shared=shared,
        tangent=cut.function("tangent", {"rate": tangent} if tangent else {}),
        slope=cut.function("slope", {"rate": slope} if slope else {}),
        kept=between(rate, before, shared),
        passed=between(before, shared),
    )
