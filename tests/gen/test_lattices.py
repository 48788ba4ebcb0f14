"""Lattices: one line for any number of sites, proved for all of them, in loops.

The reference is the same problem with a coordinate for each site, written out.
"""

from __future__ import annotations

import itertools
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.cli import main
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.variation import with_sites
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter

Write = Callable[..., Path]
COUNT = 5
#: Energies: of the ring, and what they are at a site i of one that is written out.
ENERGIES = {
    "a chain": (
        "sum(p**2)/2 + sum(exp(x - shift(x, 1)))",
        lambda i, s: f"p{i}**2/2 + exp(x{i} - x{s(i + 1)})",
    ),
    "further neighbours": (
        "sum(p**2)/2 + sum((x - shift(x, 2))**4)/4 + sum(cos(k*x*shift(x, -1)))",
        lambda i, s: f"p{i}**2/2 + (x{i} - x{s(i + 2)})**4/4 + cos(k*x{i}*x{s(i - 1)})",
    ),
    "coupled momenta": (
        "dot(p, shift(p, 1))/2 + sum(p**2) + sum(x**2*p*shift(p, -2))",
        lambda i, s: f"p{i}*p{s(i + 1)}/2 + p{i}**2 + x{i}**2*p{i}*p{s(i - 2)}",
    ),
    "a shifted expression": (
        "sum(p**2)/2 + sum(shift(x*shift(x, 1) + sin(x), -1)**2)",
        lambda i, s: f"p{i}**2/2 + (x{s(i - 1)}*x{i} + sin(x{s(i - 1)}))**2",
    ),
}


def at(index: int) -> int:
    return index % COUNT


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a declaration."""
    numbers = itertools.count()

    def written(coordinates: str, energy: str, more: str = "", friction: str = "gamma") -> Path:
        path = tmp_path / f"mine{next(numbers)}.toml"
        path.write_text(
            f'kind = "hamiltonian"\nname = "mine"\ntitle = "Mine"\nreference = "None"\n'
            f'coordinates = {{ {coordinates} }}\nenergy = "{energy}"\nfriction = "{friction}"\n'
            "[parameters]\n"
            'k = { default = 0.7, domain = "real", doc = "a number" }\n'
            f'gamma = {{ default = 0, domain = "nonnegative", doc = "friction" }}\n{more}'
        )
        return path

    return written


RING = 'q = ["x[N]"], p = ["p[N]"]'


def written_out(write: Write, term: Callable[..., str]) -> Path:
    names = [", ".join(f'"{name}{i}"' for i in range(COUNT)) for name in "xp"]
    energy = " + ".join(term(i, at) for i in range(COUNT))
    return write(f"q = [{names[0]}], p = [{names[1]}]", energy)


def problem(path: Path, method: str, count: int | None = None) -> Any:
    declaration = products.load_problem(path)
    if count is not None:
        declaration = with_sites(declaration, {"N": count})
    return build_integrator(derive_field(declaration), products.load_method(method))


def state(seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(2 * COUNT) * 0.5


@pytest.mark.parametrize("energy", ENERGIES)
def test_a_ring_is_what_it_is_when_it_is_written_out(energy: str, write: Write) -> None:
    text, term = ENERGIES[energy]
    parameters = {"k": 0.7, "gamma": 0.0}
    ring = IntegratorInterpreter(problem(write(RING, text), "gauss2", COUNT), parameters)
    plain = IntegratorInterpreter(problem(written_out(write, term), "gauss2"), parameters)
    y = state()
    for one, other in zip(
        ring.integrator.problem.parts, plain.integrator.problem.parts, strict=True
    ):
        assert ring.call(one.field, 0.0, y) == pytest.approx(plain.call(other.field, 0.0, y))
    jacobians = (ring.integrator.problem.jacobian, plain.integrator.problem.jacobian)
    one, other = (m.matrix(j, 0.0, y) for m, j in zip((ring, plain), jacobians, strict=True))
    assert one == pytest.approx(other)
    assert abs(one).max() > 0.1
    assert ring.energy(0.0, y) == pytest.approx(plain.energy(0.0, y))
    assert ring.step(0.0, 0.1, y) == pytest.approx(plain.step(0.0, 0.1, y))


@pytest.mark.parametrize(
    ("method", "kernels"),
    [
        ("rk4", "compiled"),
        *((name, "interpreted") for name in ("gauss2", "lobatto_iiia_iiib3", "gonzalez")),
        *(
            pytest.param(name, "compiled", marks=pytest.mark.full)
            for name in ("gauss2", "lobatto_iiia_iiib3", "gonzalez")
        ),
    ],
    indirect=["kernels"],
)
def test_rings_are_what_they_are_when_they_are_written_out_and_run(
    method: str, kernels: None, write: Write
) -> None:
    text, term = ENERGIES["further neighbours"]
    paths = (write(RING, text), written_out(write, term))
    starts = [0.5 * state(), state(3) * 0.3]
    options: dict[str, Any] = {"t_span": (0, 0.5), "h": 0.1, "parameters": {"gamma": 0.2}}
    ring = hf.integrate(paths[0], method, np.array(starts), sizes={"N": COUNT}, **options)
    plain = hf.integrate(paths[1], method, np.array(starts), **options)
    assert ring.y == pytest.approx(plain.y, abs=1e-12)
    assert ring.energy == pytest.approx(plain.energy, abs=1e-12)
    flows = [
        hf.flow(
            path, method, 0.1, 5, sizes=sizes, trainable=("k", "gamma"), parameters={"gamma": 0.2}
        )
        for path, sizes in zip(paths, ({"N": COUNT}, None), strict=True)
    ]
    gradients = []
    for flow in flows:
        y0 = torch.tensor(np.array(starts)).requires_grad_()
        end = flow(y0)
        (end**2 * torch.arange(1.0, 11.0)).sum().backward()
        assert end.detach().numpy() == pytest.approx(plain.y[:, -1], abs=1e-12)
        gradients.append([y0.grad, flow.parameter_k.grad, flow.parameter_gamma.grad])
    for one, other in zip(*gradients, strict=True):
        assert abs(one).max() > 1e-3
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("kernels")
def test_sums_over_all_sites_may_stand_in_functions(write: Write) -> None:
    text = "sum(p**2)/2 + N/2 - (sum(cos(x))**2 + sum(sin(x))**2)/(2*N) + sum((x - sum(x)/N)**2)/4"
    terms = [f"x{i}" for i in range(COUNT)]
    mean = f"({' + '.join(terms)})/{COUNT}"
    cosines, sines = (" + ".join(f"{f}({x})" for x in terms) for f in ("cos", "sin"))
    energy = (
        " + ".join(f"p{i}**2/2 + (x{i} - {mean})**2/4" for i in range(COUNT))
        + f" + {COUNT}/2 - (({cosines})**2 + ({sines})**2)/{2 * COUNT}"
    )
    names = [", ".join(f'"{name}{i}"' for i in range(COUNT)) for name in "xp"]
    plain = write(f"q = [{names[0]}], p = [{names[1]}]", energy)
    ring = write(RING, text, '[invariants]\nmomentum = "sum(p)"\n', "0")
    options: dict[str, Any] = {"t_span": (0, 1), "h": 0.1}
    found = hf.integrate(ring, "yoshida6", state(), sizes={"N": COUNT}, **options)
    wanted = hf.integrate(plain, "yoshida6", state(), **options)
    assert found.y == pytest.approx(wanted.y, abs=1e-13)
    assert found.energy == pytest.approx(wanted.energy)
    assert hf.verify(ring, "rk4", sizes={"N": COUNT}).holds
    y0 = torch.tensor(state()[None]).requires_grad_()
    flow = hf.flow(ring, "yoshida6", 0.1, 3, sizes={"N": COUNT})
    assert torch.autograd.gradcheck(flow, y0)
    with pytest.raises(DeclarationError, match="sums over all sites"):
        hf.integrate(ring, "gauss2", state(), sizes={"N": COUNT}, **options)


def test_invariants_are_proved_for_every_number_of_sites(write: Write) -> None:
    claims = {
        "momentum": "sum(p)",
        "third": "sum(p**3)/3 + sum((p + shift(p, 1))*exp(x - shift(x, 1)))",
        "the same": "2*sum(shift(p, 3))",
        "square": "sum(p)**2 + sum(shift(p, 1)*p - p*shift(p, -1))",
    }
    more = "[invariants]\n" + "".join(
        f'{name.replace(" ", "_")} = "{text}"\n' for name, text in claims.items()
    )
    report = pipeline.check(catalogue.load(write(RING, ENERGIES["a chain"][0], more, "0")))
    assert [claim.holds for claim in report.claims] == [True] * len(claims)
    assert all(
        "N >= 3 sites" in finding.reach
        for finding in report.findings
        if finding.name.startswith("invariant")
    )
    assert report["dimension"] == "2*N"
    identities = {
        "angles": ("sum(p**2)/2 + sum(cos(3*x))/3 - 3*sum(cos(x))",
                   "sum(p**2)/2 + 4/3*sum(cos(x)**3) - 4*sum(cos(x))"),
        "a function": ("sum(p**2)/2 + sum(sin(x)**2)", "exp(sum(p**2)/2 - sum(cos(2*x))/2)"),
        "a power": ("sum(p**2)/2 + sum(x)**k", "sum(p**2)/2 + sum(x)**k"),
    }  # fmt: skip
    for energy, text in identities.values():
        path = write(RING, energy, f'[invariants]\nright = "{text}"\n', "0")
        report = pipeline.check(catalogue.load(path))
        assert report["energy_rate"] == "dH/dt = 0"
        assert report.holds
    path = write(RING, identities["a function"][0],
                 '[invariants]\nright = "(sum(p**2)/2 - sum(cos(2*x))/2)**2"\n', "0")  # fmt: skip
    undecided = pipeline.check(catalogue.load(path))
    assert undecided["invariant_right"] in (None, True)
    assert "is FALSE" not in str(undecided)
    for wrong in ("sum(p**3)/3", "sum(x)", "sum(p**3)/3 + sum(p*exp(x - shift(x, 1)))", "sum(p)*t"):
        path = write(RING, ENERGIES["a chain"][0], f'[invariants]\nwrong = "{wrong}"\n', "0")
        assert pipeline.check(catalogue.load(path))["invariant_wrong"] is False


def test_what_depends_on_time_at_every_site_changes_the_energy(write: Write) -> None:
    report = pipeline.check(catalogue.load(write(RING, "sum(p**2)/2 + sum(cos(x - t))", "", "0")))
    assert report["energy_rate"] == "dH/dt = sum(-sin(-x[i] + t))"
    assert report["autonomous"] is False


def test_friction_takes_energy_at_every_site(write: Write) -> None:
    report = pipeline.check(catalogue.load(write(RING, ENERGIES["a chain"][0])))
    assert report["energy_rate"] == "dH/dt = -gamma*sum(p[i]**2)"
    assert report["divergence"] == "-N*gamma"
    assert report["separable"] is True
    coupled = pipeline.check(catalogue.load(write(RING, ENERGIES["coupled momenta"][0])))
    assert coupled["separable"] is False


@pytest.mark.usefixtures("kernels")
def test_times_are_those_of_the_steps(write: Write) -> None:
    text = "sum(p**2)/2 + (1 + t)*sum(x**2)/2 + t*sum(x*shift(x, 1))"
    plain = written_out(write, lambda i, s: f"p{i}**2/2 + (1 + t)*x{i}**2/2 + t*x{i}*x{s(i + 1)}")
    y0 = torch.tensor(state()[None])
    for method in ("rk4", "gauss2"):
        path = write(RING, text)
        found = hf.integrate(path, method, state(), (0, 1), 0.1, sizes={"N": COUNT})
        assert found.y == pytest.approx(
            hf.integrate(plain, method, state(), (0, 1), 0.1).y, abs=1e-12
        )
        end = hf.flow(path, method, 0.1, 10, sizes={"N": COUNT})(y0)
        assert end.numpy()[0] == pytest.approx(found.y[-1], abs=1e-12)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", ["rk4", "itoh_abe"])
def test_an_energy_may_reach_around_the_ring(method: str, write: Write) -> None:
    far = write(RING, "sum(p**2)/2 + sum(x**2)/2 + sum(shift(x, 5)*shift(x, 4)*shift(p, 4))/100")
    near = write(RING, "sum(p**2)/2 + sum(x**2)/2 + sum(shift(x, 1)*x*p)/100")
    found, wanted = (
        hf.integrate(path, method, [0.1, 0.2, 0.4, 0.3, -0.5, 0.6], (0, 0.5), 0.1, sizes={"N": 3})
        for path in (far, near)
    )
    assert found.y == pytest.approx(wanted.y, abs=1e-12)
    assert found.energy == pytest.approx(wanted.energy, abs=1e-12)


@pytest.mark.usefixtures("kernels")
def test_forces_that_do_not_change_have_no_slopes(write: Write) -> None:
    path = write(RING, "sum(p) + sum(x)")
    assert hf.verify(path, "gauss2", sizes={"N": 3}).holds


@pytest.mark.usefixtures("kernels")
def test_a_splitting_of_coupled_terms_names_them(write: Write) -> None:
    path = write(RING, "sum(p**2)/2 + N*sum(x*p*shift(p, 1))")
    with pytest.raises(DeclarationError, match="couples q and p") as caught:
        hf.integrate(path, "yoshida6", sizes={"N": 5})
    line, marks = str(caught.value).splitlines()[-2:]
    assert line[marks.index("^") : marks.rindex("^") + 1].strip() == "N*sum(x*p*shift(p, 1))"


def test_the_terms_of_an_energy_have_sizes(write: Write) -> None:
    path = write(RING, "sum(p**2)/2 - sum(x) + cos(sum(x)) + 1/(1 + sum(x)**2)")
    machine = IntegratorInterpreter(problem(path, "rk4", 3), {"k": 0.0, "gamma": 0.0})
    y = np.array([np.pi / 2, -np.pi / 2, 0, 0, 0, 0])
    energy = machine.integrator.problem.energy
    assert machine.call(energy.size, 0.0, y)[0] == pytest.approx(np.pi + 2)


@pytest.mark.usefixtures("kernels")
def test_coordinates_may_have_the_names_of_sites(write: Write) -> None:
    energy = "sum(a**2 + b**2)/2 + sum((X - shift(X, 1))**2 + (Y - shift(Y, -1))**2)"
    one = write(
        'q = ["i[N]", "site[N]"], p = ["a[N]", "b[N]"]',
        energy.replace("X", "i").replace("Y", "site"),
    )
    other = write(
        'q = ["x[N]", "y[N]"], p = ["a[N]", "b[N]"]', energy.replace("X", "x").replace("Y", "y")
    )
    start = np.random.default_rng(4).standard_normal(12)
    runs = [hf.integrate(path, "rk4", start, (0, 1), 0.1, sizes={"N": 3}) for path in (one, other)]
    assert runs[0].y == pytest.approx(runs[1].y, abs=1e-14)


def test_code_takes_no_longer_for_another_order_of_terms(write: Write) -> None:
    text = (
        "from hamilforge.gen import pipeline, products\n"
        f"made = products.load_made({str(write(RING, ENERGIES['further neighbours'][0]))!r}, "
        "'rk4', sizes={'N': 9})\npipeline.rendered(made)"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", text], env=environment, check=True, timeout=60)


def test_code_does_not_grow_with_the_sites() -> None:
    lengths = []
    for count in (10, 100_000):
        made = products.load_made("toda_lattice", "yoshida6", sizes={"N": count})
        texts = pipeline.rendered(made)
        assert all("for i in range" in text for text in texts.values())
        lengths.append([text.count("\n") for text in texts.values()])
    assert lengths[0] == lengths[1]


@pytest.mark.usefixtures("kernels")
def test_a_ring_has_its_sites_by_name(write: Write, tmp_path: Path) -> None:
    path = write(RING, ENERGIES["a chain"][0], '[sites]\nN = 4\n[start]\nx = "i/N"\np = -1\n')
    own = hf.integrate(path, "rk4", t_span=(0, 0.2), h=0.1)
    assert own.y[0] == pytest.approx([0, 0.25, 0.5, 0.75, -1, -1, -1, -1])
    wave = np.linspace(0, 1, 6)
    run = hf.integrate(path, "rk4", {"x": wave, "p": 0}, (0, 0.2), 0.1, sizes={"N": 6})
    assert run["x"].shape == (3, 6)
    assert run["x"][0] == pytest.approx(wave)
    assert (run["x[2]"] == run["x"][:, 2]).all()
    assert (run["p"] == run.y[:, 6:]).all()
    many = hf.integrate(
        path, "rk4", {"x": np.array([wave, 2 * wave]), "p": 0}, (0, 0.2), 0.1, sizes={"N": 6}
    )
    assert many["x"].shape == (2, 3, 6)
    read = hf.Solution.read(run.save(tmp_path / "run"))
    assert (read["p"] == run["p"]).all()
    assert (pickle.loads(pickle.dumps(run)).energy == run.energy).all()
    with pytest.raises(KeyError, match=re.escape("x[0] to x[5], p[0] to p[5]")):
        run["y"]
    with pytest.raises(ValueError, match=re.escape("(6,) for each site")):
        hf.integrate(path, "rk4", {"x": [1, 2], "p": 0}, (0, 0.2), 0.1, sizes={"N": 6})
    with pytest.raises(ValueError, match="all of the components are needed: x, p"):
        hf.integrate(path, "rk4", {"x": wave}, (0, 0.2), 0.1, sizes={"N": 6})


@pytest.mark.parametrize(
    ("coordinates", "energy", "more", "what"),
    [
        ('q = ["x[N]"], p = ["p"]', "p**2", "", "or none has"),
        ('q = ["x[N]"], p = ["p[M]"]', "sum(p**2)", "", "or none has"),
        ('q = ["x[i]"], p = ["p[i]"]', "sum(p**2)", "", "i is the number of a site"),
        ('q = ["x[x]"], p = ["p[x]"]', "sum(p**2)", "", "'x' has a meaning already"),
        ('q = ["x[2N]"], p = ["p[2N]"]', "sum(p**2)", "", "'2N' cannot be a name"),
        ('q = ["x[N]", "y[N]"], p = ["p[N]"]', "sum(p**2)", "", "2 positions and 1 momenta"),
        (RING, "p**2", "", "a vector; a scalar was expected"),
        (RING, "sum(k)", "", "takes vectors"),
        (RING, "sum(shift(p, k))", "", "a whole number from -16 to 16"),
        (RING, "sum(shift(p, 1/2))", "", "a whole number from -16 to 16"),
        (RING, "sum(shift(p, 17))", "", "a whole number from -16 to 16"),
        (RING, "sum(shift(k, 1)*p)", "", "what has a value at each place"),
        (RING, "sum(shift(p))", "", "shift takes 2 arguments"),
        (RING, "sum(p**2)", "[sites]\nM = 3\n", "unknown key; expected N"),
        (RING, "sum(p**2)", "[sites]\nN = 0\n", "a number from 1 to 1000000"),
        (RING, "sum(p**2)", "[sites]\nN = 3.5\n", "a number from 1 to 1000000"),
        (RING, "sum(p**2)", "[start]\nx = \"k*i\"\n", "unknown name 'k'"),
        (RING, "sum(p**2)", "[start]\ny = 1\n", "expected t, x, p"),
        ('q = ["x[k]"], p = ["p[k]"]', "sum(p**2)", "", "'k' has a meaning already"),
        ('q = ["x"], p = ["p"]', "p**2 + shift(x, 1)", "", "shift(...) has no meaning here"),
        ('q = ["x"], p = ["p"]', "p**2", "[sites]\nN = 3\n", "sites: unknown key"),
    ],
)  # fmt: skip
def test_what_is_no_ring_is_refused(
    coordinates: str, energy: str, more: str, what: str, write: Write
) -> None:
    with pytest.raises(DeclarationError, match=re.escape(what)):
        pipeline.check(catalogue.load(write(coordinates, energy, more)))


@pytest.mark.usefixtures("kernels")
def test_sizes_that_do_not_fit_are_refused(write: Write, capsys: Any) -> None:
    path = write(RING, ENERGIES["further neighbours"][0])
    run = ("generate", str(path), "--method", "rk4", "--out", str(path.parent / "out"))
    assert main([*run]) == 2
    assert "how many sites there are is not said: --size N=100" in capsys.readouterr().err
    assert main([*run, "--size", "M=9"]) == 2
    assert "no dimension 'M'; that of mine is N" in capsys.readouterr().err
    assert main([*run, "--size", "N=4"]) == 2
    assert "reach 2 sites to either side, so there are 5 sites at least" in capsys.readouterr().err
    assert not (path.parent / "out").exists()
    assert main([*run, "--size", "N=9"]) == 0
    capsys.readouterr()
    assert main(["verify", str(path), "--method", "rk4", "--size", "N=9"]) == 0
    assert main(["show", str(path), "--method", "rk4", "--size", "M=9"]) == 2
    with pytest.raises(ValueError, match="at most 1000000 sites"):
        hf.integrate(path, "rk4", sizes={"N": 10**10})
    with pytest.raises(ValueError, match="numbers by name"):
        hf.integrate(path, "rk4", sizes=8)
    for start, what in {
        "1/i": "i = 0",
        "log(2 - i)": "i = 2",
        "sqrt(i - 1)": "i = 0",
        "exp(1000*i)": "i = 1",
        "1/0": "divides by zero",
    }.items():
        bad = write(RING, "sum(p**2)/2", f'[start]\nx = "{start}"\n')
        with pytest.raises(DeclarationError, match=re.escape(what)):
            hf.integrate(bad, "rk4", sizes={"N": 9})
    with pytest.raises(DeclarationError, match="4000 equations with a full matrix"):
        hf.integrate(path, "gauss2", sizes={"N": 1000})
    with pytest.raises(DeclarationError, match="has no sites"):
        hf.integrate("kepler", "rk4", sizes={"N": 10})


@pytest.mark.usefixtures("kernels")
def test_the_largest_rings_run() -> None:
    run = hf.integrate("toda_lattice", "rk4", t_span=(0, 0.2), h=0.1, sizes={"N": 100_000})
    assert run["x"].shape == (3, 100_000)
    assert abs(run.energy / run.energy[0] - 1).max() < 1e-6
    assert isinstance(products.load_problem("toda_lattice"), kinds.Mechanics)
