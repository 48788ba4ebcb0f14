"""Declarations: the catalogue is sound, and what is wrong is said, all of it, with its place."""

from __future__ import annotations

import functools
import operator
import re
import tomllib

import pytest

from hamilforge.gen import families
from hamilforge.gen.declare import catalogue, toml_source
from hamilforge.gen.declare.errors import DeclarationError

PATHS = catalogue.paths()


def keys(table, prefix=()):
    for key, value in table.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from keys(value, (*prefix, key))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_is_named_after_its_declaration_and_gives_title_and_reference(path):
    declaration = catalogue.load(path)
    assert declaration.head.name == path.stem
    assert declaration.head.title
    assert len(declaration.head.reference) > 20
    assert families.kind_of(declaration).folder == path.parent.name


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_scanner_finds_the_line_of_every_key_that_tomllib_reads(path):
    source = toml_source.read(path)
    tables = tomllib.loads(path.read_text(), parse_float=str)
    named = {
        key: line
        for key, line in source.lines.items()
        if all(isinstance(part, str) for part in key)
    }
    assert set(named) == set(keys(tables))
    lines = path.read_text().splitlines()
    for key, line in named.items():
        assert key[-1] in lines[line - 1]
    for key in source.lines.keys() - named.keys():
        entry = functools.reduce(operator.getitem, key, tables)
        text = str(entry).lower() if isinstance(entry, bool) else entry
        assert str(text if isinstance(text, str | int) else "") in lines[source.lines[key] - 1]


OPTIMIZER = {
    "kind": 'kind = "optimizer"',
    "name": 'name = "mine"',
    "title": 'title = "Mine"',
    "reference": 'reference = "none"',
    "system": 'system = "classical"',
    "method": 'method = "conformal_leapfrog"',
    "hyper": "[hyperparameters]\nlr = { default = 1e-3 }\nmomentum = { default = 0.9 }",
    "set": '[set]\nh = "sqrt(2*m*lr)"\ngamma = "-log(momentum)/h"',
}


def optimizer(tmp_path, **changes):
    path = tmp_path / "mine.toml"
    parts = {**OPTIMIZER, **changes}
    path.write_text("\n".join(part for part in parts.values() if part))
    return path


def errors(path):
    with pytest.raises(DeclarationError) as caught:
        catalogue.load(path)
    return str(caught.value)


def test_a_good_declaration_of_ones_own_is_read(tmp_path):
    assert catalogue.load(optimizer(tmp_path)).head.name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": 'system = "clasical"'}, r"mine.toml:5: system: .*did you mean 'classical'"),
        ({"method": ""}, "method: missing"),
        ({"set": ""}, "set: this table is missing"),
        ({"set": '[set]\nh = "sqrt(lr)"\nh = "lr"'}, r"mine.toml:\d+: not TOML"),
        ({"set": '[set]\nhh = "sqrt(lr)"'}, "'hh' is no parameter.*did you mean 'h'"),
        ({"set": '[set]\ngamma = "lr"'}, "the step h must be set"),
        ({"set": '[set]\nh = "sqrt(lrr)"'}, "unknown name 'lrr'.*did you mean 'lr'"),
        ({"set": '[set]\nh = "exec(lr)"'}, "'exec' is not a function"),
        ({"set": '[set]\nh = "9**9**9"'}, "tower of powers"),
        ({"name": 'name = "Mine!"'}, "is no name"),
        ({"name": 'name = "a__b"'}, "is no name"),
        ({"kind": 'kind = "optimiser"'}, "unknown kind.*did you mean 'optimizer'"),
        ({"extra": '[reduce]\nscope = "everything"'}, "unknown scope"),
        ({"extra": "[claimss]\norder = 2"}, "unknown key.*did you mean 'claims'"),
        ({"hyper": '[hyperparameters]\nlr = { default = -1, domain = "positive" }'}, "outside"),
        ({"hyper": "[hyperparameters]\nlr = { default = nan }"}, "not a number"),
        ({"hyper": "[hyperparameters]\nlr = { default = inf }"}, "not a number"),
        ({"hyper": '[hyperparameters]\nlr = { doc = "no default" }'}, "needs a default"),
        ({"hyper": "[hyperparameters]\nclass = { default = 1 }"}, "cannot be a name"),
        ({"hyper": '[hyperparameters]\n"a b" = { default = 1 }'}, "cannot be a name"),
        ({"title": "title = 3"}, "is not a text"),
        ({"extra": '[state]\nv = "h*h"'}, "p does not occur"),
        ({"extra": "[start]\nt = [1]"}, "not a number"),
    ],
)
def test_bad_input_gets_a_clear_error_with_its_place(tmp_path, changes, message):
    text = errors(optimizer(tmp_path, **changes))
    assert re.search(message, text.replace("\n", " ")), text


def test_all_errors_of_a_file_are_listed_together(tmp_path):
    text = errors(optimizer(tmp_path, name='name = "A"', title="title = 1", system="system = 2"))
    assert text.count("mine.toml:") == 3


def test_the_caret_stands_under_the_fault(tmp_path):
    text = errors(optimizer(tmp_path, set='[set]\nh = "sqrt(2*m*bad)"'))
    excerpt, marks = text.splitlines()[-2:]
    assert excerpt[marks.index("^") : marks.rindex("^") + 1] == "bad"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x = " + b"[" * 5000, "not TOML|nested"),
        (b"\xff\xfe", "UTF-8"),
        (b"kind = 'optimizer'" + b" " * 2_000_000, "at most"),
        (b"", "kind: missing"),
    ],
)
def test_files_that_are_no_declarations_are_refused_at_once(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(DeclarationError, match=message):
        catalogue.load(path)


@pytest.mark.parametrize("key", ["kinetic", "energy"])
def test_a_non_separable_hamiltonian_is_refused_saying_which_term_couples(tmp_path, key):
    path = tmp_path / "coupled.toml"
    term = "dot(p, p)/2*(1 + dot(q, q))"
    text = f'{key} = "{term}"' if key == "kinetic" else f'{key} = "{term} + J(q)"'
    path.write_text(
        f'kind = "hamiltonian"\nname = "coupled"\ntitle = "t"\nreference = "r"\n{text}\n'
    )
    assert "couples q and p" in errors(path)
    assert "not separable" in errors(path)


def test_an_energy_that_separates_is_the_same_as_its_kinetic_energy(tmp_path):
    path = tmp_path / "split.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "split"\ntitle = "t"\nreference = "r"\n'
        'energy = "dot(p, p)/2 + J(q)"\nfriction = "gamma"\n[parameters]\ngamma = { default = 1 }\n'
    )
    assert catalogue.load(path).kinetic.names() == {"p"}


def test_references_in_a_circle_are_refused(tmp_path):
    path = tmp_path / "loop.toml"
    path.write_text(
        'kind = "splitting"\nname = "loop"\ntitle = "t"\nreference = "r"\n'
        'compose = { block = "loop.toml", weights = ["1"] }\n'
    )
    assert "circle" in errors(path)


def test_a_reference_may_be_a_path_relative_to_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    block = (catalogue.root() / "splitting" / "conformal_leapfrog.toml").read_text()
    (tmp_path / "sub" / "conformal_leapfrog.toml").write_text(block)
    path = optimizer(tmp_path, method='method = "sub/conformal_leapfrog.toml"')
    assert catalogue.load(path).method.head.name == "conformal_leapfrog"


def test_a_file_is_read_again_only_if_it_or_what_it_refers_to_is_another(tmp_path):
    block = (catalogue.root() / "splitting" / "conformal_leapfrog.toml").read_text()
    (tmp_path / "sub").mkdir()
    below = tmp_path / "sub" / "conformal_leapfrog.toml"
    below.write_text(block)
    path = optimizer(tmp_path, method='method = "sub/conformal_leapfrog.toml"')
    first = catalogue.load(path)
    assert catalogue.load(path) is first
    assert catalogue.load(below) is first.method
    path.write_text(path.read_text() + "\n# more\n")
    second = catalogue.load(path)
    assert second is not first
    assert second.method is first.method
    below.write_text(block + "\n# more\n")
    third = catalogue.load(path)
    assert third.method.head.source.data.endswith(b"# more\n")
    below.unlink()
    for _ in range(2):
        with pytest.raises(DeclarationError, match="no file"):
            catalogue.load(path)
    below.write_text(block)
    assert catalogue.load(path) == second
