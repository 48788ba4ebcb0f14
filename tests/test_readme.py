"""The README keeps its promises: its table comes from the proofs, and its code runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from hamilforge import listing, templates
from hamilforge.cli import main

ROOT = Path(__file__).parents[1]
#: The README, and those of the rooms.
READMES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("[!.]*/**/README.md")))
    if not {"build", "env"} & {*path.parts}
}
README = READMES["README.md"]
OPTIMIZERS = "runtime/optimizers/README.md"


def blocks(language, *names):
    """The blocks of a language in some of the READMEs, or in all."""
    texts = "\n".join(READMES[name] for name in names or READMES)
    return re.findall(rf"```{language}\n(.*?)```", texts, re.DOTALL)


def test_the_readme_is_short():
    assert README.count("\n") <= 220


def test_links_lead_to_files():
    for name, text in READMES.items():
        for target in re.findall(r"\]\((?!https?:)([^)#]*)[^)]*\)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), (name, target)


def test_rows_are_those_of_the_tables():
    tables = READMES["tableaux/README.md"].splitlines()
    rows = [
        line for line in README.splitlines() if re.match(r"\| [a-z_]+[0-9]* \|.*(none|\d)", line)
    ]
    assert len(rows) >= 10
    assert {*rows} <= {*tables}


def declared(name, folder):
    """The declaration of a name, in a file."""
    (text,) = (block for block in blocks("toml") if f'name = "{name}"' in block)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", ["optimizer", "runge-kutta", "partitioned"])
def test_the_table_is_the_one_the_proofs_give(kind):
    text = READMES["tableaux/README.md"]
    table = text.split(f"<!-- {kind}: begin -->")[1].split(f"<!-- {kind}: end -->")[0].strip()
    assert table == listing.markdown(kind).strip(), f"hamilforge list --kind {kind} --markdown"


@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


COMMANDS = dict.fromkeys(
    line for block in blocks("sh") for line in block.splitlines() if line.startswith("hamilforge ")
)


#: What makes long commands short in the plain suite; as they stand they run in ``-m full``.
SHORT = {
    "hamilforge reproduce stiefel-learning": "--steps 20",
    "hamilforge reproduce rk-networks": "--iterations 2",
    "hamilforge reproduce deep-relaxation": "--epochs 1",
    "hamilforge reproduce universal-interpolation": "--seeds 1",
}


def with_option(command, text):
    """A command with an option, in the place of its own value of it if it has one."""
    option, _ = text.split()
    return re.sub(rf"( {option}) \S+|$", f" {text}", command, count=1)


def shortened():
    """All commands; those that are long also with less to do."""
    for command in COMMANDS:
        less = [text for begin, text in SHORT.items() if command.startswith(begin)]
        for text in less:
            yield with_option(command, text)
        yield pytest.param(command, marks=[pytest.mark.full] if less else [])


@pytest.mark.parametrize("command", shortened())
def test_a_command_runs(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0


def test_the_declaration_gives_the_report_and_the_formulas_it_is_said_to_give(tmp_path):
    import hamilforge as hf

    path = declared("mine", tmp_path)
    report, formulas = blocks("text", "README.md")[:2]
    found = str(hf.check(path))
    for line in report.splitlines():
        assert line.strip() in [one.strip() for one in found.splitlines()], line
    (kernel,) = (
        file.read_text()
        for file in hf.generate(path, tmp_path / "out")
        if file.name.endswith("_numba.py")
    )
    for line in formulas.splitlines():
        assert line.strip() in kernel, line


def test_splittings_err_by_the_commutators_they_are_said_to_err_by():
    import hamilforge as hf

    said = re.findall(
        r"`hamilforge check (\w+)` finds that one step errs by\n`(.*?)`.*`(O.*?)`", README
    )
    assert said
    for name, commutator, in_time in said:
        report = hf.check(name)
        assert (report["leading_commutator"], report["global_error"]) == (commutator, in_time)


def test_the_problem_is_proved_and_minimised(tmp_path):
    import hamilforge as hf

    path = declared("bent_valley", tmp_path)
    assert hf.check(path).holds
    loss = hf.problem(path, d=4)
    found = hf.minimize(
        loss.value_and_gradient, loss.start, jac=True, method="nesterov",
        options={"lr": 0.05, "momentum": 0.9, "maxiter": 5000},
    )  # fmt: skip
    assert found.success
    assert found.fun - loss.minimum < 1e-11


def test_the_tableau_gives_the_report_it_is_said_to_give(tmp_path):
    import hamilforge as hf

    path = declared("kutta3", tmp_path)
    found = str(hf.check(path)).splitlines()
    for line in blocks("text", "tableaux/README.md")[0].splitlines():
        assert line in found, line


def test_the_hamiltonian_in_coordinates_is_integrated(tmp_path):
    import hamilforge as hf

    path = declared("swing", tmp_path)
    assert hf.check(path).holds
    found = hf.integrate(path, "gauss2", t_span=(0, 10), h=0.1)
    assert found.energy[-1] < found.energy[0]


def test_the_bead_stays_in_its_bowl(tmp_path):
    import hamilforge as hf

    path = declared("bead", tmp_path)
    assert hf.check(path)["start_on_constraints"] is True
    found = hf.integrate(path, "rattle", t_span=(0, 10), h=0.01)
    assert abs(found.energy - found.energy[0]).max() < 1e-4
    assert abs(found.invariant("bowl")).max() < 1e-14
    assert abs(found.invariant("bowl_rate")).max() < 1e-14


def test_the_lattice_has_as_many_sites_as_are_wanted(tmp_path):
    import hamilforge as hf

    path = declared("chain", tmp_path)
    assert hf.check(path)["energy_rate"] == "dH/dt = 0"
    found = hf.integrate(path, "yoshida4", t_span=(0, 1), h=0.1, sizes={"N": 7})
    assert found["x"].shape == (11, 7)


def test_the_field_is_a_network(tmp_path):
    import torch

    import hamilforge as hf

    path = declared("leaky", tmp_path)
    assert hf.check(path).holds
    network = hf.network(path, "kutta3", 3, {"d": 2, "m": 3})
    end, cost = network(torch.randn(5, 2))
    (end.sum() + cost.sum()).backward()
    assert network.control("A").grad.shape == (3, 3, 2)


def test_systems_with_a_gradient_are_optimizers(tmp_path):
    import hamilforge as hf

    assert hf.check(declared("signed", tmp_path)).holds
    declared("damped_by_hessian", tmp_path)
    path = declared("hessian_damping", tmp_path)
    report = hf.check(path)
    assert report.holds
    assert report["gradients_per_step"] == 2
    found = hf.minimize(
        lambda x: float(x @ x), [1.0, -2.0], jac=lambda x: 2 * x, method=str(path),
        options={"maxiter": 400},
    )  # fmt: skip
    assert abs(found.x).max() < 0.05


def test_arrays_are_called_as_the_test_beside_torch_calls_them():
    """Ours, and torch's for them."""
    from tests.runtime.test_torch_rules import TWINS

    rows = re.findall(r"^\| ([a-z, ]+) \| [A-Z].* \| (.*) \| .*\|$", READMES[OPTIMIZERS], re.M)
    told = {
        name: dict(pair.split(": ") for pair in arrays.split(", "))
        for names, arrays in rows
        for name in names.split(", ")
    }
    for twin in TWINS:
        assert dict(twin.arrays).items() <= told[twin.name].items()


def test_the_rule_is_that_of_the_template(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = tomllib.loads(declared("mine_adam", tmp_path).read_text())
    begun = tomllib.loads(templates.write("rule", "begun").read_text())
    assert {**shown, "name": "", "title": "", "reference": ""} == {
        **begun,
        "name": "",
        "title": "",
        "reference": "",
    }
