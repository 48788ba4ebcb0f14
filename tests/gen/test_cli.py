"""The command line: exit status, errors on standard error, nothing half-done."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hamilforge import templates
from hamilforge.cli import main
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.optimizers.build import derive
from tests.optimizers import MECHANICAL


@pytest.mark.parametrize("kind", templates.kinds())
def test_a_new_declaration_checks_and_is_not_overwritten(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", kind, "mine"]) == 0
    assert main(["check", "mine.toml"]) == 0
    before = (tmp_path / "mine.toml").read_text()
    assert main(["new", kind, "mine"]) == 2
    assert (tmp_path / "mine.toml").read_text() == before
    assert "exists" in capsys.readouterr().err


def test_check_prints_json_that_says_what_is_claimed_and_found(capsys):
    assert main(["check", "rgd", "splitting/yoshida4", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["claims"]["order"] == {"declared": 2, "found": 2, "holds": True}
    wanted = (
        "order conformal_factor symplectic_form defect fixed_points energy_rate stability_limit "
        "points gradients_per_step state_buffers bytes_per_parameter passes"
    ).split()
    assert set(wanted) <= set(first["properties"])
    assert first["properties"]["defect"] is None
    assert first["properties"]["defect_why"]
    assert second["kind"] == "splitting"


def test_a_false_claim_exits_with_1_and_a_bad_name_with_2(tmp_path, capsys):
    text = (catalogue.root() / "optimizers" / "heavy_ball.toml").read_text()
    path = tmp_path / "liar.toml"
    path.write_text(text.replace("order = 1", "order = 7"))
    assert main(["check", str(path)]) == 1
    assert "is FALSE" in capsys.readouterr().out
    assert main(["generate", str(path), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
    assert main(["check", "heavy_bal"]) == 2
    assert "did you mean 'heavy_ball'" in capsys.readouterr().err


def test_generated_files_of_ones_own_go_where_they_are_asked_to(tmp_path, capsys):
    assert main(["generate", "heavy_ball", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "heavy_ball_numba.py",
        "heavy_ball_torch.py",
    ]
    assert main(["generate", "heavy_ball", "--check", "--out", str(tmp_path)]) == 0
    (tmp_path / "heavy_ball_numba.py").write_text("")
    assert main(["generate", "heavy_ball", "--check", "--out", str(tmp_path)]) == 1


def test_the_list_is_filtered_by_what_was_proved(capsys):
    assert main(["list", "--kind", "splitting", "--where", "order >= 4 and not (order == 6)"]) == 0
    out = capsys.readouterr().out
    for path in catalogue.paths("splitting"):
        order = catalogue.load(path).head.claims.get("order")
        assert (path.stem in out.split()) == (order == 4)


@pytest.mark.parametrize(
    "where",
    ["order >", "order >= 2)", "(order >= 2", "os.system('x')", "", "order >= 'a'", "1 < 2"],
)
def test_a_filter_that_cannot_be_read_is_refused(where, capsys):
    status = main(["list", "--kind", "splitting", "--where", where or "("])
    assert status == 2
    assert "--where" in capsys.readouterr().err


def test_an_unknown_property_is_answered_with_those_there_are(capsys):
    assert main(["list", "--kind", "update", "--where", "foo > 2"]) == 2
    assert "no property is named 'foo'; there are conformal_factor, " in capsys.readouterr().err


def test_of_two_values_of_an_option_none_is_dropped(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["show", "kepler", "--method", "rk4", "--method", "gauss2"])
    assert stopped.value.code == 2
    assert "--method: is given twice" in capsys.readouterr().err
    assert main(["list", "--kind", "update"]) == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check", "rgdd"], "no declaration is named 'rgdd'; a path to a declaration ends in "
         ".toml; did you mean 'rgd'?"),
        (["check", "problem/rosenbrok"], "no problem is named 'rosenbrok'; a path to a declaration "
         "ends in .toml; did you mean 'rosenbrock'?"),
        (["show", "rgd", "--on", "kepler"], "no runge-kutta is named 'rgd'; a path to a "
         "declaration ends in .toml; 'rgd' is declared as optimizer"),
        (["generate", "resnet", "--method", "rk4", "--activation", "1/0"],
         "'resnet' --activation '1/0': the y rate is the number zoo"),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_what_is_refused(command, message, capsys):
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_unknown_kinds_are_refused_with_a_suggestion(capsys):
    assert main(["list", "--kind", "spliting"]) == 2
    assert main(["new", "optimiser", "mine"]) == 2
    assert capsys.readouterr().err.count("did you mean") == 2


def test_no_command_prints_help_and_exits_with_2(capsys):
    assert main([]) == 2
    assert "commands" in capsys.readouterr().out


def test_verify_agrees(capsys):
    assert main(["verify", "heavy_ball"]) == 0
    assert "agree" in capsys.readouterr().out


def test_a_field_is_generated_for_sizes_and_with_another_activation(tmp_path, capsys):
    given = ["resnet", "--method", "euler", "--activation", "sin(x)"]
    assert main(["show", *given]) == 0
    assert "sigma(x) = sin(x)" in capsys.readouterr().out
    out = ["--size", "d=2", "--out", str(tmp_path)]
    assert main(["generate", *given, *out]) == 0
    text = (tmp_path / "resnet__euler_numba.py").read_text()
    command = (
        "# Command: hamilforge generate resnet --method euler --activation 'sin(x)' --size d=2"
    )
    assert command in text
    assert main(["generate", *given, *out, "--check"]) == 0
    assert main(["generate", *given, "--size", "e=2"]) == 2
    assert "no dimension 'e'; those of resnet are: d" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["generate", *given, "--size", "d=-1"])


@pytest.mark.parametrize("name", MECHANICAL)
def test_the_functions_of_a_picture_are_numbers(name):
    from hamilforge import plot_command

    drawn = plot_command.mechanics(derive(catalogue.load(name, ("optimizer",))))
    assert np.isfinite(drawn.velocity(0.5))
    assert np.isfinite(drawn.momentum(0.5, 0.25, drawn.start_time + 1))
