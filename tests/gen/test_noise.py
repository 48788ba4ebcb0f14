"""Noise in rules: the generator of the interpretation, declarations, and what is proved of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Optimizer, draws_noise, without_noise
from hamilforge.gen.program.noise import key_of, normals, philox
from hamilforge.gen.program.optimizers.draws import draws, quiet
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of
from hamilforge.gen.prove.optimizers.reductions import reduction_findings
from tests.optimizers import ELEMENTWISE
from tests.samples import sampled

#: Words of Philox 4x32-10 that its authors publish, with counters and keys: Random123, kat_vectors.
ANSWERS = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
RULE = """
kind = "optimizer"
name = "mine"
title = "-"
reference = "-"
unknowns = ["theta", "v"]
assign = ["v = {v}", "theta = {theta}"]
[hyperparameters]
lr = {{ default = 0.1, domain = "nonnegative" }}
temperature = {{ default = 0.5, domain = "nonnegative" }}
"""
KICK = "v - lr*v - lr*grad(theta) + sqrt(2*lr*temperature)*noise()"
DRIFT = "theta + lr*v"


def mine(folder: Path, v: str = KICK, theta: str = DRIFT, more: str = "") -> Path:
    path = folder / "mine.toml"
    path.write_text(RULE.format(v=v, theta=theta) + more)
    return path


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS)
def test_words_are_those_of_philox(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: str
) -> None:
    found = philox(counter, key[0] | key[1] << 32)
    assert " ".join(f"{int(word):08x}" for word in found) == words


def test_numbers_are_box_and_mullers_of_their_words() -> None:
    key, step, occurrence, count = key_of(3, 1, "weight"), (1 << 40) + 7, 5, 40_000
    blocks = np.arange(count // 4, dtype=np.uint64)
    high = (step >> 32) | occurrence << 16
    words = philox((blocks, 0, step & 0xFFFFFFFF, high), key)
    numbers = normals(key, step, occurrence, 0, count).reshape(-1, 4)
    for k in (0, 2):
        radius = np.sqrt(-2 * np.log((words[k].astype(float) + 0.5) / 2**32))
        assert abs(np.hypot(numbers[:, k], numbers[:, k + 1]) - radius).max() < 5e-11
        eighth = (words[k + 1] & np.uint64(2**29 - 1)).astype(float) + 0.5
        angle = np.arctan2(*np.sort(abs(numbers[:, k : k + 2]), axis=1).T)
        swapped = (words[k + 1] >> np.uint64(29)) & np.uint64(1) == 1
        expected = eighth / 2**29 * np.pi / 4
        assert abs(angle - expected).max() < 5e-11
        larger = abs(numbers[:, k + 1]) > abs(numbers[:, k])
        assert (larger == swapped).all()
        assert (np.signbit(numbers[:, k]) == (words[k + 1] >> np.uint64(30)) % 2).all()
        assert (np.signbit(numbers[:, k + 1]) == (words[k + 1] >> np.uint64(31)) % 2).all()


@pytest.mark.parametrize(("first", "count"), [(0, 1), (1, 7), (3, 4096), (5, 9), (2**33 + 1, 6)])
def test_a_range_is_a_part_of_the_whole(first: int, count: int) -> None:
    key = key_of(0, 0, "0")
    before = first % 4
    whole = normals(key, 9, 2, first - before, before + count + 3)
    assert (normals(key, 9, 2, first, count) == whole[before : before + count]).all()


def test_every_part_of_the_counter_changes_every_number() -> None:
    base = {"key": key_of(0, 0, "w"), "step": 3, "occurrence": 1, "first": 0, "count": 1000}
    others = [
        {"key": key_of(1, 0, "w")},
        {"key": key_of(0, 1, "w")},
        {"key": key_of(0, 0, "b")},
        {"step": 4},
        {"step": 3 + (1 << 32)},
        {"occurrence": 0},
        {"first": 1000},
    ]
    here = normals(**base)
    for change in others:
        there = normals(**{**base, **change})
        assert (here != there).all()
        assert abs(np.corrcoef(here, there)[0, 1]) < 4 / np.sqrt(1000)


def test_keys_are_told_apart_by_what_they_are_made_of() -> None:
    keys = [key_of(*parts) for parts in ((1, 11, "w"), (11, 1, "w"), (1, 1, "1/w"), (1, 1, "w"))]
    assert len({*keys}) == 4
    assert all(0 <= key < 2**64 for key in keys)


# --- programs -------------------------------------------------------------------------------------


def test_an_occurrence_is_an_array_that_its_scalar_multiplies(tmp_path: Path) -> None:
    path = mine(
        tmp_path,
        theta="theta + lr*v + sqrt(temperature)*noise() - lr*noise()",
    )
    program = program_of(catalogue.load(path))
    assert program.noises == ("noise", "noise_2", "noise_3")
    (stage,) = program.functions
    found = draws(program, stage)
    assert [draw.occurrence for draw in found] == [0, 1, 2]
    host = dict(zip(stage.scalars, program.host.rows[0], strict=True))
    lines = {line.name: line for line in program.host.body}
    assert all(draw.amplitude in stage.scalars for draw in found)
    assert found[2].amplitude == "lr"
    assert "sqrt" in str(lines[host[found[1].amplitude]].value)


def test_what_is_multiplied_by_entries_is_always_drawn(tmp_path: Path) -> None:
    program = program_of(catalogue.load(mine(tmp_path, v="v*noise() - temperature*grad(theta)")))
    (found,) = draws(program, program.functions[0])
    assert found.amplitude == ""


def test_noise_has_a_name_beside_those_of_the_declaration(tmp_path: Path) -> None:
    path = mine(tmp_path)
    text = path.read_text().replace("temperature", "noise")
    assert "sqrt(2*lr*noise)*noise()" in text
    path.write_text(text)
    program = program_of(catalogue.load(path))
    assert program.noises == ("noise_",)


def test_a_step_draws_what_its_counters_say(tmp_path: Path) -> None:
    program = program_of(catalogue.load(mine(tmp_path)))
    start = [np.zeros((2, 3)), np.zeros(4)]
    keys = (key_of(5, 0, "a"), key_of(5, 0, "b"))
    machine = Interpreter(program, {"lr": 0.1, "temperature": 0.5}, start, keys=keys)
    for step in range(3):
        before = [array.copy() for array in machine.states["v"]]
        machine.step([np.zeros((2, 3)), np.zeros(4)])
        for key, old, new in zip(keys, before, machine.states["v"], strict=True):
            noise = normals(key, step, 0, 0, old.size).reshape(old.shape)
            assert np.allclose(new, 0.9 * old + np.sqrt(2 * 0.1 * 0.5) * noise, rtol=1e-14)


def test_at_temperature_0_a_step_is_the_quiet_one(tmp_path: Path) -> None:
    program = program_of(catalogue.load(mine(tmp_path)))
    hyper, gradients = {"lr": 0.1, "temperature": 0.0}, [np.linspace(-1, 1, 5)]
    ends = []
    for one in (program, quiet(program)):
        machine = Interpreter(one, dict(hyper), [np.ones(5)])
        for _ in range(3):
            machine.step(gradients)
        ends.append(machine.x[0])
    assert (ends[0] == ends[1]).all()
    assert quiet(program).noises == ()


def test_two_gradients_draw_in_their_stages(tmp_path: Path) -> None:
    path = mine(
        tmp_path,
        v="v - lr*grad(theta) + temperature*noise()",
        theta="theta - lr*grad(theta + v) + temperature*noise()",
    )
    program = program_of(catalogue.load(path))
    assert [
        [draw.occurrence for draw in draws(program, program.functions[index])]
        for index in program.stages
    ] == [[0], [1]]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": KICK.replace("noise()", "noise(v)")}, r"noise\(\) takes no arguments"),
        ({"v": KICK.replace("noise()", "noise")}, "unknown name 'noise'"),
        ({"more": '[start]\nv = "noise()"'}, r"noise\(...\) has no meaning here"),
        ({"more": '[require]\n"sum(noise()) > 0" = "-"'}, r"noise\(...\) has no meaning here"),
        ({"v": "temperature*lr*grad(theta + noise())"}, "taken at a point without noise"),
    ],
)
def test_noise_out_of_place_is_refused(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        program_of(catalogue.load(mine(tmp_path, **changes)))


def test_a_solution_is_without_noise(tmp_path: Path) -> None:
    path = mine(tmp_path)
    text = path.read_text().replace("[hyper", 'solution = "theta + noise()"\n[hyper')
    path.write_text(text)
    with pytest.raises(DeclarationError, match=r"noise\(...\) has no meaning here"):
        catalogue.load(path)


# --- what is proved -------------------------------------------------------------------------------


def variances(path: Path | str) -> dict[str, sp.Expr]:
    kind = () if isinstance(path, Path) else (("optimizer",),)
    report = pipeline.check(catalogue.load(path, *kind))
    value = report["stationary_variance"]
    assert isinstance(value, dict), report.finding("stationary_variance").why
    symbols = {"lambda": sp.Symbol("curvature")}
    return {
        key: sp.sympify(text.replace("lambda", "curvature"), symbols) for key, text in value.items()
    }


#: Stochastic gradient Langevin dynamics, typed.
TYPED = """
kind = "optimizer"
name = "typed"
title = "Langevin dynamics, typed"
reference = "-"
unknowns = ["theta"]
assign = ["theta = theta - lr*grad(theta) + sqrt(2*lr*temperature)*noise()"]
[hyperparameters]
lr = { default = 1e-3, domain = "nonnegative" }
temperature = { default = 1e-4, domain = "nonnegative" }
"""


def test_variances_of_the_catalogue_are_those_of_the_theory() -> None:
    """Of sgld T/(k (1 - h k/2)); of sghmc by its own recursion, solved by numbers below."""
    curvature, lr, heat, friction = sp.symbols("curvature lr temperature friction")
    found = variances("sgld")["theta"]
    assert sp.simplify(found - heat / (curvature * (1 - lr * curvature / 2))) == 0
    known = {curvature: 2.0, lr: 0.3, heat: 0.7, friction: 1.5}
    matrix = np.array([[1 - 0.3**2 * 2, 0.3 * (1 - 0.45)], [-0.3 * 2, 1 - 0.45]])
    noise = np.sqrt(2 * 1.5 * 0.3 * 0.7) * np.array([0.3, 1.0])
    covariance = np.zeros((2, 2))
    for _ in range(2000):
        covariance = matrix @ covariance @ matrix.T + np.outer(noise, noise)
    found_all = variances("sghmc")
    for key, exact in (
        ("theta", covariance[0, 0]),
        ("theta v", covariance[0, 1]),
        ("v", covariance[1, 1]),
    ):
        assert float(found_all[key].subs(known)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sqrt(2*lr*temperature)", "sqrt(lr*temperature)"),
        ("sqrt(2*lr*temperature)", "1.05*sqrt(2*lr*temperature)"),
        ("sqrt(2*lr*temperature)", "2*lr*temperature"),
        ("+ sqrt", "+ lr*sqrt"),
    ],
)
def test_a_wrong_amplitude_is_seen(old: str, new: str, tmp_path: Path) -> None:
    claim = '[claims]\nstationary_variance = ["temperature/(lambda*(1 - lr*lambda/2))"]\n'
    assert old in TYPED
    path = tmp_path / "typed.toml"
    path.write_text(TYPED + claim)
    assert pipeline.check(catalogue.load(path)).holds
    path.write_text(TYPED.replace(old, new) + claim)
    report = pipeline.check(catalogue.load(path))
    assert [claim.name for claim in report.claims if not claim.holds] == ["stationary_variance"]


def test_steps_that_do_not_forget_spread_without_end(tmp_path: Path) -> None:
    path = mine(tmp_path, v="v - lr*grad(theta)", theta="theta + 0*grad(theta) + noise()")
    text = path.read_text().replace("temperature = {", "unused = {")
    path.write_text(text.replace('"v = v - lr*grad(theta)"', '"v = unused*lr*grad(theta)"'))
    report = pipeline.check(catalogue.load(path))
    assert report["stationary_variance"] == {"theta": "oo"}


def test_steps_that_are_not_linear_have_no_variance_that_is_known(tmp_path: Path) -> None:
    path = mine(tmp_path, v="v - lr*grad(theta) + temperature*v*noise()")
    report = pipeline.check(catalogue.load(path))
    assert report["stationary_variance"] is None
    assert report.finding("stationary_variance").why


def test_what_is_said_of_the_step_is_said_of_the_one_without_noise(tmp_path: Path) -> None:
    with_noise = pipeline.check(catalogue.load(mine(tmp_path)))
    without = mine(tmp_path, v="v - lr*v - lr*grad(theta) + 0*temperature*v")
    plain = pipeline.check(catalogue.load(without))
    for name in ("spectrum", "stability_limit", "effective_lr", "first_steps"):
        assert with_noise[name] == plain[name]
    assert any("without" in note for note in with_noise.notes)
    assert not plain.notes


def test_different_noises_are_told_apart(tmp_path: Path) -> None:
    """Twice one number is not the sum of two, and the report says by what they differ."""
    twice = "theta = theta - lr*grad(theta) + temperature*noise() + temperature*noise()"
    once = "theta = theta - lr*grad(theta) + 2*temperature*noise()"
    for name, assign in (("two", twice), ("one", once)):
        text = TYPED.replace('"typed"', f'"{name}"')
        text = text.replace(text.split('assign = ["')[1].split('"]')[0], assign)
        (tmp_path / f"{name}.toml").write_text(text)
    path = tmp_path / "one.toml"
    path.write_text(path.read_text() + '[[reductions]]\nto = "two.toml"\n')
    (finding,) = reduction_findings(catalogue.load(path))
    assert finding.value is False
    difference = finding.evidence.split("ours - theirs = ")[1]
    assert "noise_2*temperature" in difference
    assert "- noise*temperature" in difference


def test_what_is_derived_is_what_was_typed(tmp_path: Path) -> None:
    path = tmp_path / "typed.toml"
    same = 'values = { lr = "lr", temperature = "temperature" }\n'
    path.write_text(TYPED + '[[reductions]]\nto = "sgld"\n' + same)
    (finding,) = reduction_findings(catalogue.load(path))
    assert finding.value is True, finding


def test_a_reduction_is_of_paths_with_equal_noise(tmp_path: Path) -> None:
    """With a friction of 1/lr, sghmc is sgld with the learning rate lr^2."""
    reduction = '[[reductions]]\nto = "sgld"\nvalues = { lr = "sqrt(lr)", friction = "1/sqrt(lr)", '
    text = catalogue.load("sghmc", ("optimizer",)).head.source.data.decode()
    for factor, holds in (("1", True), ("2", False)):
        path = tmp_path / "sghmc.toml"
        path.write_text(text + reduction + f'temperature = "{factor}*temperature" }}\n')
        (finding,) = reduction_findings(catalogue.load(path))
        assert finding.value is holds, finding
    assert "noise" in finding.evidence


# --- friction with noise --------------------------------------------------------------------------

SAMPLERS = [
    name
    for name in ELEMENTWISE
    if isinstance(optimizer := catalogue.load(name, ("optimizer",)), Optimizer)
    and draws_noise(optimizer.method)
]


def flows_of(name: str) -> list[tuple[str, float]]:
    """The letters of a sampler's splitting, each with its part of a step."""
    method = catalogue.load(name, ("optimizer",)).method
    return [(flow.letter, float(sp.sympify(flow.weight.text))) for flow in method.steps]


@pytest.mark.parametrize("name", SAMPLERS)
def test_variances_of_splittings_are_those_of_their_flows(name: str) -> None:
    """The flows as matrices on (q, p), one after the other, until the covariance stays."""
    k, h, heat, friction = 1.7, 0.9, 0.6, 0.8
    steps = []
    for letter, part in flows_of(name):
        s, fade = part * h, np.exp(-friction * part * h)
        matrix = {
            "A": np.array([[1, s], [0, 1]]),
            "B": np.array([[1, 0], [-s * k, 1]]),
            "O": np.array([[1, 0], [0, fade]]),
        }[letter]
        steps.append((matrix, heat * (1 - fade**2) * (letter == "O")))
    covariance = np.zeros((2, 2))
    for _ in range(3000):
        for matrix, source in steps:
            covariance = matrix @ covariance @ matrix.T + np.diag([0.0, source])
    found = variances(name)
    known = {"curvature": k, "lr": h, "temperature": heat, "friction": friction}
    for key, exact in (
        ("q", covariance[0, 0]),
        ("q p", covariance[0, 1]),
        ("p", covariance[1, 1]),
    ):
        assert float(found[key].subs(known)) == pytest.approx(exact, rel=1e-11, abs=1e-13), key


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_heat_a_step_is_that_with_friction_alone(name: str) -> None:
    """O at temperature 0 is D: positions of both programs agree, whatever their buffers hold."""
    optimizer = catalogue.load(name, ("optimizer",))
    cold = replace(optimizer, method=without_noise(optimizer.method))
    hyper = {"lr": 0.3, "friction": 0.7, "temperature": 0.0}
    ends = []
    for one in (program_of(optimizer), quiet(program_of(optimizer)), program_of(cold)):
        names = {entry.name for entry in one.hyperparameters}
        machine = Interpreter(
            one, {key: v for key, v in hyper.items() if key in names}, [np.ones(3)]
        )
        for number in range(6):
            machine.hyper["lr"] = 0.3 / (1 + number % 2)
            machine.step([np.sin(machine.x[0]) + np.arange(3)])
        ends.append(machine.solution()[0])
    assert (ends[0] == ends[1]).all()
    assert np.allclose(ends[0], ends[2], rtol=1e-13, atol=1e-13)


def test_baoab_without_heat_is_badab() -> None:
    baoab, badab = (catalogue.load(name, ("splitting",)) for name in ("baoab", "badab"))
    assert without_noise(baoab).steps == badab.steps
    assert draws_noise(baoab)
    assert not draws_noise(badab)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_proved_of_the_friction_alone_is_so(name: str) -> None:
    optimizer = catalogue.load(name, ("optimizer",))
    cold = pipeline.check(
        replace(
            optimizer,
            head=replace(optimizer.head, claims={}),
            method=without_noise(optimizer.method),
        )
    )
    report = pipeline.check(optimizer)
    for key in ("order", "symplectic_form", "conformal_factor", "stability_limit", "points"):
        assert report[key] == cold[key], key
    assert any("O is D" in note for note in report.notes)


def sampler(folder: Path, system: str, steps: str = '[["B", 1], ["A", 1], ["O", 1]]') -> Path:
    """An optimizer of files of one's own."""
    head = 'title = "-"\nreference = "-"\n'
    (folder / "bath.toml").write_text(f'kind = "hamiltonian"\nname = "bath"\n{head}{system}')
    (folder / "word.toml").write_text(f'kind = "splitting"\nname = "word"\n{head}steps = {steps}\n')
    path = folder / "mine.toml"
    path.write_text(
        f'kind = "optimizer"\nname = "mine"\n{head}system = "bath.toml"\nmethod = "word.toml"\n'
        '[hyperparameters]\nlr = 0.1\n[set]\nh = "lr"\n'
    )
    return path


BATH = (
    'kinetic = "dot(p, p)/2"\nfriction = "gamma"\ntemperature = "T"\n'
    "[parameters]\ngamma = 1\nT = 2\n"
)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (BATH.replace('temperature = "T"\n', "").replace("T = 2\n", ""), "needs a temperature"),
        (BATH.replace("dot(p, p)/2", "sum(p**4)"), "closed form for K = dot"),
        (BATH.replace("dot(p, p)/2", "sqrt(dot(p, p) + 1)"), "closed form for K = dot"),
        (BATH.replace('temperature = "T"', 'temperature = "dot(p, p)"'), "temperature"),
        (BATH.replace('temperature = "T"', 'temperature = "t"'), "unknown name 't'"),
    ],
    ids=["no temperature", "quartic", "relativistic", "a vector", "time"],
)
def test_heat_needs_a_bath_and_a_quadratic_energy(
    system: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        program_of(catalogue.load(sampler(tmp_path, system)))


def test_integrators_draw_nothing() -> None:
    with pytest.raises(DeclarationError, match="the letter O draws noise"):
        pipeline.render_integrator(
            catalogue.load("pendulum"), catalogue.load("baoab", ("splitting",))
        )


def test_a_bath_of_ones_own_has_the_variances_of_its_mass(tmp_path: Path) -> None:
    """With another mass: Var p is m T, and Var q T/k, to the error of the scheme."""
    system = BATH.replace("dot(p, p)/2", "dot(p, p)/(2*m)") + "m = 3\n"
    path = sampler(tmp_path, system, '[["A", "1/2"], ["B", 1], ["A", "1/2"], ["O", 1]]')
    found = variances(path)
    curvature, lr, heat, mass = sp.symbols("curvature lr T m")
    for key, exact in (("q", heat / curvature), ("p", mass * heat)):
        assert sp.simplify(sp.limit(found[key], lr, 0) - exact) == 0


@pytest.mark.parametrize("name", sampled(SAMPLERS, every=2))
def test_flows_in_another_order_are_seen(name: str) -> None:
    optimizer = catalogue.load(name, ("optimizer",))
    for other in {*SAMPLERS} - {name}:
        method = catalogue.load(other, ("optimizer",)).method
        report = pipeline.check(replace(optimizer, method=method))
        false = {claim.name for claim in report.claims if not claim.holds}
        assert "stationary_variance" in false, other


def test_noise_before_the_first_gradient_is_refused(tmp_path: Path) -> None:
    path = sampler(tmp_path, BATH, '[["O", 1], ["A", 1], ["B", 1]]')
    with pytest.raises(DeclarationError, match="begin the step after it"):
        program_of(catalogue.load(path))
