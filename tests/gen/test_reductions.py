"""What ``[[reductions]]`` claim is proved of every declaration; what is not so is not, and why."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

from hamilforge import templates
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.program.optimizers.programs import AnyOptimizer
from hamilforge.gen.prove.optimizers.reductions import reduction_findings
from hamilforge.gen.prove.optimizers.symbolic_steps import limit, number
from hamilforge.gen.prove.report import Finding
from tests.optimizers import ELEMENTWISE
from tests.samples import sampled

TO = 'to = "heavy_ball"\n'
STATE = 'state = { v = "v" }\n'
HEAD = 'kind = "optimizer"\nname = "{name}"\ntitle = "Mine"\nreference = "-"\n'


REDUCTIONS = "# [[reductions]]"


def template(kind: str) -> str:
    """What ``hamilforge new`` writes."""
    folder = Path(templates.__file__).parent / "new"
    return (folder / f"{kind}.toml").read_text(encoding="utf-8")


def optimizers() -> Iterator[AnyOptimizer]:
    """The optimizers of the catalogue."""
    for name in ELEMENTWISE:
        declaration = catalogue.load(name, ("optimizer",))
        assert isinstance(declaration, AnyOptimizer)
        yield declaration


REDUCING = [one for one in optimizers() if one.reductions]


def found(optimizer: AnyOptimizer, *reductions: kinds.Reduction) -> Finding:
    """What is found of an optimizer with other reductions than it declares."""
    (finding,) = reduction_findings(replace(optimizer, reductions=reductions))
    return finding


@pytest.mark.parametrize("optimizer", REDUCING, ids=lambda one: one.head.name)
def test_every_reduction_is_proved_in_symbols(optimizer: AnyOptimizer) -> None:
    report = pipeline.check(optimizer)
    assert report.holds, str(report)
    for reduction in optimizer.reductions:
        finding = report.finding(f"is_{reduction.to.head.name}")
        assert finding.value is True
        assert "in symbols" in finding.evidence
        assert ("n -> oo" in finding.evidence) == reduction.late


def spoiled() -> Iterator[Any]:
    """Every reduction, with one after another of what it says a little wrong, a third in plain."""
    places = itertools.count()
    for optimizer in REDUCING:
        for reduction in optimizer.reductions:
            numbers = reduction.to.numbers
            flags = {entry.name for entry in numbers if entry.domain == kinds.FLAG}
            for part, added in (("values", "1/7"), ("at", "1/7"), ("state", optimizer.unknowns[0])):
                entries = getattr(reduction, part)
                for place, (name, value) in enumerate(entries):
                    extra = "1" if part == "at" and name in flags else added
                    wrong = (name, parse(f"({value.text}) + {extra}"))
                    changed = (*entries[:place], wrong, *entries[place + 1 :])
                    label = f"{optimizer.head.name}-{reduction.to.head.name}-{part}-{name}"
                    marks = [pytest.mark.full] * (next(places) % 3 > 0)
                    wrongly = replace(reduction, **{part: changed})
                    yield pytest.param(optimizer, wrongly, id=label, marks=marks)


@pytest.mark.parametrize(("optimizer", "reduction"), [*spoiled()])
def test_whatever_a_reduction_says_is_needed(
    optimizer: AnyOptimizer, reduction: kinds.Reduction
) -> None:
    assert found(optimizer, reduction).value is not True


@pytest.mark.parametrize("optimizer", sampled(REDUCING, every=3), ids=lambda one: one.head.name)
def test_a_limit_is_no_equality_of_steps(optimizer: AnyOptimizer) -> None:
    """Those of the catalogue that are declared in the limit hold at no step."""
    for reduction in optimizer.reductions:
        if reduction.late:
            assert found(optimizer, replace(reduction, late=False)).value is False
        else:
            depends = any("n" in value.names() for _, value in reduction.values)
            assert depends or found(optimizer, replace(reduction, late=True)).value is True


def beside(folder: Path, name: str, reduction: str, **changes: str) -> Any:
    """An optimizer of the catalogue with other reductions, and other changes of its text.

    Args:
        folder: where its file is written.
        name: of the optimizer.
        reduction: the text of its one reduction.
        changes: what stands for what, names of the catalogue's files included.
    """
    text = catalogue.load(name, ("optimizer",)).head.source.data.decode()
    text = text.split("[[reductions]]")[0]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text + f"[[reductions]]\n{reduction}\n")
    return catalogue.load(path)


def rule(folder: Path, name: str, unknowns: str, *assign: str, hyper: str) -> None:
    """Write the file of a rule."""
    lines = ", ".join(f'"{line}"' for line in assign)
    text = HEAD.format(name=name) + f"unknowns = {unknowns}\nassign = [{lines}]\n"
    declared = "".join(
        f'{key} = {{ default = 0.1, domain = "positive" }}\n' for key in hyper.split()
    )
    (folder / f"{name}.toml").write_text(f"{text}[hyperparameters]\n{declared}")


def test_what_begins_otherwise_is_another_method(tmp_path: Path) -> None:
    """BADAB is heavy ball at its points but for its first kick, which is half of the others."""
    reduction = (
        'to = "heavy_ball"\nvalues = { lr = "2*lr/(1 + momentum)", momentum = "momentum" }\n'
        'state = { v = "sqrt(lr*(1 + momentum)/2)*p" }'
    )
    optimizer = beside(tmp_path, "badab", reduction)
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is False
    assert finding.evidence.endswith(
        "the first step differs in the point after it: ours - theirs = g*lr/2"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"theta - psi/momentum": "theta - psi"},
            "where they begin differs in v of heavy_ball: ours - theirs = theta*(1 - momentum)",
        ),
        (
            {"theta - psi/momentum": "2*(theta - psi/momentum)"},
            "any step differs in the point after it: ours - theirs = ",
        ),
    ],
    ids=["state", "value"],
)
def test_a_false_reduction_says_what_differs(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    text = catalogue.load("inna", ("optimizer",)).head.source.data.decode()
    reduction = text.split("[[reductions]]")[1]
    for old, new in changes.items():
        assert old in reduction
        reduction = reduction.replace(old, new)
    optimizer = beside(tmp_path, "inna", reduction)
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is False
    assert message in finding.evidence
    formula = finding.evidence.split("ours - theirs = ")[1]
    assert "__" not in formula


FORWARD = ("y = u + lr*v", "u = u + lr*(1 - lr)*v", "v = (1 - lr)*v - lr*grad(y)")
BY_THE_NEW_VELOCITY = ("v = (1 - lr)*v - lr*grad(u + lr*v)", "u = u + lr*v")
#: Of SSA as n -> oo: the step that it becomes, and the determinant of that on lambda u^2/2.
LIMITS = {
    "ssa1": (FORWARD, "lr, tau = 0", "(1 - lr) - lambda_*lr**3"),
    "ssa2_printed": (FORWARD, "lr, q = 1, tau = 0", "(1 - lr) - lambda_*lr**3"),
    "ssa1_printed": (BY_THE_NEW_VELOCITY, "lr", "(1 - lr) - lambda_*lr**2"),
    "ssa2": (BY_THE_NEW_VELOCITY, "lr, q = 1, tau = 0", "(1 - lr) - lambda_*lr**2"),
}


@pytest.mark.parametrize("name", sampled(LIMITS, every=2))
def test_ssa_becomes_a_rule_of_constant_friction(name: str, tmp_path: Path) -> None:
    """Of C. D. Alecsa, T. Pinta and I. Boros, arXiv:1904.12952: where beta_n = n/(n + 3) is 1."""
    assign, values, determinant = LIMITS[name]
    rule(tmp_path, "late", '["u", "v"]', *assign, hyper="lr")
    values = values.replace("lr", 'lr = "lr"', 1)
    said = f'to = "late.toml"\nvalues = {{ {values} }}\nstate = {{ u = "u", v = "v" }}\n'
    optimizer = beside(tmp_path, name, said + 'limit = "n"')
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is True
    assert "points and solutions are the same" in finding.evidence
    assert found(optimizer, replace(optimizer.reductions[0], late=False)).value is False
    text = str(pipeline.check(optimizer)["spectrum"]).replace("lambda", "lambda_")
    # the gradient's point follows from the others, which is one eigenvalue 0
    polynomial = sp.Poly(sp.sympify(text).subs({"tau": 0, "q": 1}), sp.Symbol("z"))
    assert polynomial.degree() == 3
    assert polynomial.coeff_monomial(1) == 0
    constant = polynomial.coeff_monomial(sp.Symbol("z"))
    assert sp.simplify(constant - sp.sympify(determinant)) == 0


OUTSIDE = {"sqrt(m**2 + eps**2)": "(abs(m) + eps)"}


def test_with_eps_outside_the_root_momentum_is_not_normalised_relativistically(
    tmp_path: Path,
) -> None:
    said = catalogue.load("normalised_momentum").head.source.data.decode().split("[[reductions]]")
    for changes, holds in (({}, True), (OUTSIDE, False)):
        optimizer = beside(tmp_path, "normalised_momentum", said[1], **changes)
        assert found(optimizer, *optimizer.reductions).value is holds


def test_a_step_of_several_gradients_is_compared_at_each(tmp_path: Path) -> None:
    """A mean of slopes at two points, with weights and places of the other one."""
    slopes = "slope = grad(theta)"
    theirs = "theta = theta - lr*(slope + grad(theta - lr*slope))/2"
    ours = "theta = theta - lr*((1 - w)*slope + w*grad(theta - a*lr*slope))"
    rule(tmp_path, "theirs", '["theta"]', slopes, theirs, hyper="lr")
    rule(tmp_path, "ours", '["theta"]', slopes, ours, hyper="lr a w")
    path = tmp_path / "ours.toml"
    text = path.read_text()
    said = '[[reductions]]\nto = "theirs.toml"\nvalues = { lr = "lr", a = A, w = "1/2" }\n'
    for place, holds in (("1", True), ("2", False)):
        path.write_text(text + said.replace("A", place))
        optimizer = catalogue.load(path)
        assert isinstance(optimizer, kinds.Rule)
        assert found(optimizer, *optimizer.reductions).value is holds


MISTAKES = {
    "no array of theirs": (
        f'{TO}state = {{ w = "v" }}',
        r"'w' is no array of heavy_ball; .* one of v",
    ),
    "nothing about an array": (TO, "heavy_ball keeps 'v', of which nothing is said"),
    "no number of ours": (f'{TO}{STATE}values = {{ l = "lr" }}', "'l' is no hyper-parameter; exp"),
    "no number of theirs": (f'{TO}{STATE}values = {{ lr = "rate" }}', "unknown name 'rate'"),
    "no array of ours": (f'{TO}state = {{ v = "w" }}', "unknown name 'w'"),
    "nothing of theirs to fix": (
        f"{TO}{STATE}at = {{ mu = 0 }}",
        "'mu' is no hyper-parameter of h",
    ),
    "what is fixed by itself": (f'{TO}{STATE}at = {{ lr = "2*lr" }}', "unknown name 'lr'"),
    "a limit of a rate": (f'{TO}{STATE}limit = "lr"', "expected 'n'"),
    "a key that means nothing": (f"{TO}{STATE}vales = 1", "did you mean 'values'"),
    "a flag of a number": (f"{TO}{STATE}values = {{ lr = true }}", "True is not an expression"),
    "a number of a flag": (
        'to = "rmsprop"\nat = { centered = "1/7" }\nstate = { v = 0, average = 0, buffer = 0 }',
        "a flag is true or false, not '1/7'",
    ),
    "no value of the kind": (f"{TO}{STATE}values = {{ delta = -1 }}", "-1 is outside the domain"),
    "n in the limit": (f'{TO}state = {{ v = "v/n" }}\nlimit = "n"', "unknown name 'n'"),
    "the same twice": (f"{TO}{STATE}[[reductions]]\n{TO}{STATE}", "a reduction to 'heavy_ball' al"),
    "another number of gradients": (
        f'to = "yoshida4"\n{STATE}',
        "different numbers of gradients: 1 of rgd_euler and 3 of yoshida4",
    ),
    "a number that cancels": (f"{TO}{STATE}values = {{ m = 2 }}", "'m' cancels"),
    "where their gradient is taken": (
        'to = "gradient_descent"\nstate = { theta = "x" }',
        "'theta' is where gradients are taken",
    ),
    "the point of a Hamiltonian": (f'{TO}state = {{ v = "v", x = "x" }}', "'x' is no array of"),
}


@pytest.mark.parametrize(("reduction", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_line(reduction: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=message) as caught:
        pipeline.check(beside(tmp_path, "rgd_euler", reduction))
    first = (tmp_path / "mine.toml").read_text().splitlines().index("[[reductions]]") + 1
    line = re.search(r"mine\.toml:(\d+):", str(caught.value))
    assert line is not None
    assert int(line[1]) >= first
    assert "[reductions" in str(caught.value)


@pytest.mark.parametrize("kind", [k for k in templates.kinds() if REDUCTIONS in template(k)])
def test_the_example_of_a_new_file_is_proved(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = templates.write(kind, "mine")
    before, example = path.read_text().split(REDUCTIONS)
    example = (REDUCTIONS + example).replace("\n# ", "\n").removeprefix("# ")
    path.write_text(before + example)
    report = pipeline.check(catalogue.load(path))
    assert report.holds
    assert any(name.startswith("is_") for name in report)


def test_what_is_not_said_may_have_any_value(tmp_path: Path) -> None:
    """Hyper-parameters of the same name are not equal unless they are said to be."""
    optimizer = beside(tmp_path, "rgd_euler", f'{TO}{STATE}values = {{ lr = "lr", delta = 0 }}')
    assert found(optimizer, *optimizer.reductions).value is False


def test_an_array_may_be_called_as_a_number_of_theirs(tmp_path: Path) -> None:
    rule(tmp_path, "theirs", '["x", "w"]', "w = m*w + grad(x)", "x = x - lr*w", hyper="lr m")
    rule(tmp_path, "ours", '["x", "m"]', "m = c*m + grad(x)", "x = x - lr*m", hyper="lr c")
    path = tmp_path / "ours.toml"
    said = 'to = "theirs.toml"\nvalues = { lr = "lr", c = "m" }\nstate = { w = "m" }\n'
    path.write_text(f"{path.read_text()}[[reductions]]\n{said}")
    assert pipeline.check(catalogue.load(path))["is_theirs"] is True


def test_a_choice_of_theirs_is_fixed_or_undecided() -> None:
    """RMSprop has a momentum, and is another rule without it."""
    adam = catalogue.load("adam", ("optimizer",))
    assert isinstance(adam, kinds.Discretised)
    (reduction,) = adam.reductions
    finding = found(adam, replace(reduction, at=reduction.at[1:]))
    assert finding.value is None
    assert "another one for some momentum" in finding.why


def test_a_rule_for_positive_gradients_is_none_for_all(tmp_path: Path) -> None:
    """The root of a square is a number without its sign."""
    rule(tmp_path, "plain", '["theta"]', "theta = theta - lr*grad(theta)", hyper="lr")
    rule(tmp_path, "other", '["theta"]', "theta = theta - lr*sqrt(grad(theta)**2)", hyper="lr")
    path = tmp_path / "other.toml"
    path.write_text(
        path.read_text() + '[[reductions]]\nto = "plain.toml"\nvalues = { lr = "lr" }\n'
    )
    report = pipeline.check(catalogue.load(path))
    assert report["is_plain"] is False
    assert not report.holds


def test_sums_over_different_scopes_are_not_equal(tmp_path: Path) -> None:
    said = (
        'to = "rgd_euler"\nvalues = { lr = "lr", momentum = "momentum", delta = "delta" }\n' + STATE
    )
    for scope, holds in (("all", True), ("tensor", False)):
        optimizer = beside(tmp_path, "rgd_euler", said, **{'scope = "all"': f'scope = "{scope}"'})
        assert found(optimizer, *optimizer.reductions).value is holds


def test_the_point_is_looked_at_for_steps_ahead_of_it(tmp_path: Path) -> None:
    """The parameters of such a rule follow from its state, and no state says otherwise."""
    rule(tmp_path, "late", '["u", "v"]', *BY_THE_NEW_VELOCITY, hyper="lr")
    said = 'to = "inna"\nat = {{ alpha = 1, beta = "2*lr", power = 0 }}\nvalues = {{ lr = "lr" }}\n'
    path = tmp_path / "late.toml"
    text = path.read_text()
    for sign, holds in (("-", True), ("+", False)):
        state = f'state = {{ psi = "(1 - 2*lr)*(u {sign} lr*v)" }}\n'
        path.write_text(f"{text}[[reductions]]\n{said.format()}{state}")
        optimizer = catalogue.load(path)
        assert isinstance(optimizer, kinds.Rule)
        assert found(optimizer, *optimizer.reductions).value is holds


def test_two_files_of_one_name_keep_numbers_of_their_own(tmp_path: Path) -> None:
    """Numbers that fade at different rates are different from the third step on."""
    text = (
        'unknowns = ["theta"]\nscalars = ["s"]\n'
        'assign = ["s = RATE*s + 1", "theta = theta - lr*(1 + s)*grad(theta)"]\n'
        '[hyperparameters]\nlr = { default = 0.1, domain = "nonnegative" }\n'
    )
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, rate in ((ours, "0.9"), (theirs, "0.5")):
        folder.mkdir()
        (folder / "same.toml").write_text(HEAD.format(name="same") + text.replace("RATE", rate))
    with (ours / "same.toml").open("a") as file:
        file.write('[[reductions]]\nto = "../theirs/same.toml"\n')
    finding = pipeline.check(catalogue.load(ours / "same.toml")).finding("is_same")
    assert finding.value is not True


#: An identity of up to three numbers.
NEWTON = (
    "sum(theta)**4 - 6*sum(theta)**2*sum(theta**2) + 3*sum(theta**2)**2"
    " + 8*sum(theta)*sum(theta**3) - 6*sum(theta**4)"
)
#: Slopes that are the gradient in most states, or in all of them.
SLOPES = {
    "clip(grad(theta), -1000000, 1000000)": False,
    "min(grad(theta), 3)": False,
    "max(grad(theta), -1000)": False,
    "max(grad(theta), -1e200)": False,
    "grad(theta)*min(1, norm(grad(theta))/0.001)": False,
    "grad(theta)*min(norm(grad(theta)), 1000)/norm(grad(theta))": False,
    "grad(theta)/max(1, norm(grad(theta))/1000000)": False,
    "grad(theta)*max(norm(theta), 0.01)/norm(theta)": False,
    "grad(theta)*max(1, n/1000000)": False,
    "grad(theta)*sqrt((theta + 1)**2)/(theta + 1)": False,
    "abs(grad(theta) + 30) - 30": False,
    "tanh(1000*grad(theta))*abs(grad(theta))": False,
    "sum(theta)*theta/sum(theta*theta)*grad(theta)": False,
    "sum(grad(theta)*theta)/sum(theta)": False,
    "where(grad(theta) > 1000, 1000, grad(theta))": None,
    "grad(theta)*where(n > 100, 2, 1)": None,
    "grad(theta) + max(0, grad(theta) - 1000)*max((theta + 1)**2, theta**2 + 2*theta + 1)": False,
    "grad(theta)*sum(cos(theta)**2 + sin(theta)**2)/3": False,
    f"grad(theta) + {NEWTON}": False,
    "grad(theta) + leaky_relu(grad(theta) - 1000)": False,
    "grad(theta) + log(theta - 30) + log(theta - 20) - log((theta - 20)*(theta - 30))": True,
    "leaky_relu(grad(theta)) + 99*min(grad(theta), 0)/100": True,
    "elu(grad(theta)) - expm1(min(grad(theta), 0)) + min(grad(theta), 0)": True,
    "grad(theta)*sign(theta)**2": True,
    "grad(theta)*sum(max(theta, -100))/sum(theta)": None,
    "grad(theta)*sum(abs(theta))/sum(max(theta, -theta))": None,
    "grad(theta)*max(2 - 2*theta + theta**2, 0)/(2 - 2*theta + theta**2)": None,
    "grad(theta)*max(1 + theta**2, 1/2)/(1 + theta**2)": True,
    "max(grad(theta), 0) + min(grad(theta), 0)": True,
    "max(grad(theta), -grad(theta))*sign(grad(theta))": True,
    "clip(grad(theta), -1, 1) + max(grad(theta), 1) + min(grad(theta), -1)": True,
    "grad(theta)*max(1, norm(theta))/max(1, norm(theta))": True,
}


@pytest.mark.parametrize(("slope", "holds"), SLOPES.items(), ids=SLOPES)
def test_every_side_of_a_choice_is_looked_at(
    slope: str, holds: bool | None, tmp_path: Path
) -> None:
    """Where it is not known whether a side is met, nothing is claimed."""
    rule(tmp_path, "plain", '["theta"]', "theta = theta - lr*grad(theta)", hyper="lr")
    rule(tmp_path, "other", '["theta"]', f"theta = theta - lr*({slope})", hyper="lr")
    path = tmp_path / "other.toml"
    said = '[[reductions]]\nto = "plain.toml"\nvalues = { lr = "lr" }\n'
    path.write_text(path.read_text() + said)
    optimizer = catalogue.load(path)
    assert isinstance(optimizer, kinds.Rule)
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is holds, f"{finding.evidence} {finding.why}"
    assert "__" not in finding.why
    if holds is not None:
        assert not finding.why
    jumps = bool(holds) and ("sign(" in slope or "step(" in slope)
    assert jumps == ("but for entries or sums at which a step chooses" in finding.reach)


#: Rules that are gradient descent in some steps, or at most hyper-parameters.
FIRST_STEPS = {
    "the first step is none": ('"theta"', "theta = theta - lr*sign(n - 1)**2*grad(theta)"),
    "the first step is doubled": ('"theta"', "theta = theta - lr*(1 + 0**(n - 1))*grad(theta)"),
    "one late step is doubled": (
        '"theta"',
        "theta = theta - lr*(1 + 1/cosh(50*(n - 7)))*grad(theta)",
    ),
    "a state that begins at an edge": (
        '"theta", "v"',
        "s = grad(theta)",
        "theta = theta - lr*s*sign(v)**2",
        "v = v + abs(s)",
    ),
    "a default at an edge": ('"theta"', "theta = theta - lr*sign(a)*grad(theta)"),
    "a power of 0": ('"theta"', "theta = theta - lr*grad(theta)*(1 + 0**a)"),
    "what is soon 1": ('"theta"', "theta = theta - lr*(1 - exp(-n**2))*grad(theta)"),
}


@pytest.mark.parametrize("case", FIRST_STEPS)
def test_runs_from_the_start_are_alike(case: str, tmp_path: Path) -> None:
    unknowns, *assign = FIRST_STEPS[case]
    rule(tmp_path, "plain", '["theta"]', "theta = theta - lr*grad(theta)", hyper="lr")
    hyper = "lr a" if "(a)" in assign[0] or "**a" in assign[0] else "lr"
    rule(tmp_path, "other", f"[{unknowns}]", *assign, hyper=hyper)
    path = tmp_path / "other.toml"
    text = path.read_text().replace(
        'a = { default = 0.1, domain = "positive" }', 'a = { default = 0, domain = "nonnegative" }'
    )
    path.write_text(text + '[[reductions]]\nto = "plain.toml"\nvalues = { lr = "lr" }\n')
    optimizer = catalogue.load(path)
    assert isinstance(optimizer, kinds.Rule)
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is False
    assert "part in step" in finding.evidence or "differs" in finding.evidence


def test_a_limit_at_the_defaults_may_be_an_exception(tmp_path: Path) -> None:
    rule(tmp_path, "plain", '["theta"]', "theta = theta - lr*grad(theta)", hyper="lr")
    assign = "theta = theta - lr*grad(theta)*(1 + b**(a*n))"
    rule(tmp_path, "other", '["theta"]', assign, hyper="lr a b")
    path = tmp_path / "other.toml"
    text = path.read_text().replace(
        'b = { default = 0.1, domain = "positive" }',
        'b = { default = 0.5, domain = "unit-interval" }',
    )
    said = '[[reductions]]\nto = "plain.toml"\nvalues = { lr = "lr" }\nlimit = "n"\n'
    for default, holds in (("0.1", True), ("0", None)):
        domain = "positive" if holds else "nonnegative"
        a = f'a = {{ default = {default}, domain = "{domain}" }}'
        path.write_text(text.replace('a = { default = 0.1, domain = "positive" }', a) + said)
        optimizer = catalogue.load(path)
        assert isinstance(optimizer, kinds.Rule)
        assert found(optimizer, *optimizer.reductions).value is holds


#: What an array of a rule adds up for ever, and what of it is added to a step, while the scalars
#: of steps settle.
GROWING = {
    "as fast as scalars fade": ("v + s", "lr*v/n", None),
    "by what changes": ("v + (s - p)**2", "lr*v/n", None),
    "by squares beside 1": ("v + (1 - s**2)", "lr*v/n", None),
    "by one sign": ("v + min(s, 0)", "lr*v/n", None),
    "a little": ("v + s/2000", "lr*v/n", None),
    "more slowly": ("v + s", "lr*v/n**2", True),
    "not at all": ("(v + s)/2", "lr*v/n", True),
    "slowly": ("(v + s)/2", "lr*v/sqrt(n)", True),
    "with a long memory": ("b*v + (1 - b)*s", "lr*v*b**n/(1 - b**n)", True),
}


@pytest.mark.parametrize("case", GROWING)
def test_a_limit_is_also_looked_at_in_late_steps(case: str, tmp_path: Path) -> None:
    value, term, holds = GROWING[case]
    rule(tmp_path, "plain", '["theta"]', "theta = theta - lr*grad(theta)", hyper="lr")
    assign = ("s = grad(theta)", f"v = {value}", "p = s", f"theta = theta - lr*s - {term}")
    hyper = "lr b" if "b" in value else "lr"
    rule(tmp_path, "other", '["theta", "v", "p"]', *assign, hyper=hyper)
    path = tmp_path / "other.toml"
    said = '[[reductions]]\nto = "plain.toml"\nvalues = { lr = "lr" }\nlimit = "n"\n'
    text = path.read_text().replace(
        'b = { default = 0.1, domain = "positive" }',
        'b = { default = 0.999, domain = "open-unit-interval" }',
    )
    path.write_text(text + said)
    optimizer = catalogue.load(path)
    assert isinstance(optimizer, kinds.Rule)
    finding = found(optimizer, *optimizer.reductions)
    assert finding.value is holds
    assert bool(finding.why) == (not holds)


N, B, C = number, sp.Symbol("b", positive=True), sp.Symbol("c", positive=True)


@pytest.mark.parametrize(
    "value", [3**N * B**N, B**N * sp.exp(C * N), B**N / C**N, B**N * N**N, B ** (-N), C * N]
)
def test_what_may_grow_has_no_limit(value: Any) -> None:
    with pytest.raises(NotDerivableError):
        limit(value, {B, C})


@pytest.mark.parametrize(
    ("value", "end"),
    [(N * B**N, 0), ((1 - B ** (2 * N)) / (1 - B**N), 1), (N / (N + 3), 1), (C + B**N, C)],
)
def test_what_fades_has_one(value: Any, end: Any) -> None:
    assert limit(value, {B}) == end
