"""What reaches the terminal: every character visible, brackets as brackets, in any encoding."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from hamilforge import listing, terminal
from hamilforge.cli import main
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ExpressionError, caret
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.visible import visible
from hamilforge.gen.prove.report import _same
from tests.samples import diagonal

EVIL = {
    "clipboard": "\x1b]52;c;bHM=\x07",
    "colour": "\x1b[31mred",
    "line": "x\n  claim order = 2 holds",
    "carriage": "x\rclaim order = 2 holds",
    "backspace": "x\b\b",
    "c1": "\x9b31m",
    "bidi": "\u202eevil\u2066",
    "width": "zero\u200bwidth\ufeff\u2060\u034f",
    "separator": "a\u2028b",
}
HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\u034f]"
)
SYSTEM = """kind = "system"
name = "mine"
title = {title}
reference = {title}
[equations]
x = "-x"
"""


def quoted(text):
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize(
    "command", ["check", "show", "show --format latex", "show --format markdown"]
)
def test_a_title_steers_nothing(tmp_path, monkeypatch, capsys, text, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(SYSTEM.format(title=quoted(text)))
    first, *rest = command.split()
    assert main([first, "mine.toml", *rest]) == 0
    out = capsys.readouterr().out
    assert not HIDDEN.search(out)
    assert not re.search("^ *claim order = 2 holds", out, re.MULTILINE)


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize(
    "place",
    [
        "kind = {0}", "{0} = 1", 'kind = "system"\nname = {0}', 'kind = "optimizer"\nsystem = {0}',
        'kind = "system"\n[equations]\n{0} = "x"', 'kind = "system"\n[equations]\nx = {0}',
        'kind = "splitting"\nsteps = [[{0}, 1]]', 'kind = "runge-kutta"\nA = [[{0}]]\nb = [{0}]',
        'kind = "system"\n[equations]\nx = "x"\n[parameters]\nk = {{ default = 1, domain = {0} }}',
        'kind = "system"\n[equations]\nx = "x"\n[claims]\n{0} = {0}',
    ],
)  # fmt: skip
def test_an_error_steers_nothing(tmp_path, monkeypatch, capsys, text, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(place.format(quoted(text)))
    assert main(["check", "mine.toml"]) == 2
    error = capsys.readouterr().err
    assert not HIDDEN.search(error)
    assert not re.search("^ *claim order = 2 holds", error, re.MULTILINE)


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["list", "--kind"],
        ["list", "--where"],
        ["new"],
        ["show"],
        ["plot"],
    ],
)
def test_what_was_typed_steers_nothing(tmp_path, monkeypatch, capsys, text, command):
    monkeypatch.chdir(tmp_path)
    assert main([*command, text, *(["mine"] if command == ["new"] else [])]) == 2
    assert not HIDDEN.search(capsys.readouterr().err)


def test_json_has_what_was_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = SYSTEM.format(title='"t"') + f"[claims]\ndimension = {quoted(EVIL['colour'])}\n"
    (tmp_path / "mine.toml").write_text(text)
    assert main(["check", "mine.toml", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["claims"]["dimension"]["declared"] == EVIL["colour"]


def test_letters_of_all_scripts_are_left_as_they_are():
    text = "Störmer–Verlet, Гаусс, 龍格, γ ≤ 1"
    assert visible(text) == text


def test_carets_stand_under_what_is_shown():
    text = "1 + \x1b[31m*2"
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    line, marks = caret(text, caught.value.start, caught.value.stop).split("\n")
    assert line[marks.index("^") :].startswith(r"\x1b")


@pytest.mark.parametrize(
    ("command", "environment"),
    diagonal(
        ["check", "show", "list --kind system"],
        [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}],
    ),
)
def test_a_terminal_of_ascii_gets_escapes(tmp_path, environment, command):
    (tmp_path / "mine.toml").write_text(SYSTEM.format(title='"Störmer γ"'), encoding="utf-8")
    words = command.split() + ([] if "list" in command else ["mine.toml"])
    done = subprocess.run(
        [sys.executable, "-m", "hamilforge", *words],
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment},
        cwd=tmp_path, capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    if "list" not in command:
        assert b"St\\xf6rmer" in done.stdout


def test_brackets_are_brackets(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "systems"
    folder.mkdir()
    title = "[bold]x[/y] :smile:"
    (folder / "mine.toml").write_text(SYSTEM.format(title=f'"{title}"'))
    monkeypatch.setattr(catalogue, "paths", lambda kind=None: (folder / "mine.toml",))
    assert title in listing.table("system", None)
    console = terminal.console(width=100)
    console.print(title)
    assert title in capsys.readouterr().out


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("command", [["reproduce"], ["bench"]])
def test_what_was_typed_for_one_of_some_names_steers_nothing(capsys, text, command):
    with pytest.raises(SystemExit):
        main([*command, text])
    assert not HIDDEN.search(capsys.readouterr().err)


def test_a_folder_of_a_reproduction_may_have_brackets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["reproduce", "rk-networks", "--out", "o[/x]", "--data", "donut1d", "--network"]
    assert main([*given, "ResNet", "--iterations", "1"]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("digit", ["\u09ea", "\u0664", "\uff14", "\u2074", "\u00b2"])
def test_digits_are_those_of_ascii(digit, capsys):
    for text in (digit, f"1{digit}", f"1.{digit}", f"1e{digit}"):
        with pytest.raises(ExpressionError):
            parse(text)
    assert not _same(digit, 4)
    for command in (
        ["generate", "resnet", "--method", "rk4", "--size", f"d={digit}"],
        ["reproduce", "rk-networks", "--seeds", digit],
        ["plot", "pendulum", "--h", digit],
    ):
        with pytest.raises(SystemExit):
            main(command)
    assert main(["list", "--where", f"order >= {digit}"]) == 2
    capsys.readouterr()


def test_a_byte_order_mark_is_named(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SYSTEM.format(title='"t"').encode())
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "not TOML: Invalid statement (at line 1, column 1)" in error
    assert "byte-order mark" in error


def test_a_picture_that_replaces_one_says_so(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "rk4"]) == 0
    assert "replaced" not in capsys.readouterr().out
    (tmp_path / "rk4.png").write_bytes(b"mine")
    assert main(["plot", "rk4"]) == 0
    assert "rk4.png (replaced)" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["rk4.png"]
