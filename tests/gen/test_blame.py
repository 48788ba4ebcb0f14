"""Whose fault it is, and how long it may take: three exceptions, and budgets of work."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
import sympy as sp

from hamilforge.cli import main
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import budget, catalogue
from hamilforge.gen.declare.blame import blamed
from hamilforge.gen.declare.errors import DeclarationError, InternalError, NotDerivableError
from hamilforge.gen.prove.report import _same

HEAD = 'name = "mine"\ntitle = "t"\nreference = "r"\n'
OPTIMIZER = f"""kind = "optimizer"
{HEAD}system = {{}}
method = {{}}
[hyperparameters]
lr = {{{{ default = 1, domain = "positive" }}}}
[set]
h = "lr"
"""


def written(folder, text, name="mine"):
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def system(*equations, more=""):
    lines = "".join(f'{name} = "{text}"\n' for name, text in equations)
    return f'kind = "system"\n{HEAD}[equations]\n{lines}{more}'


def table(rows, b, more=""):
    return f'kind = "runge-kutta"\n{HEAD}A = {rows}\nb = {b}\n{more}'


REFUSED = {
    "empty kind": (f'kind = ""\n{HEAD}', "kind: an empty text"),
    "empty system": (OPTIMIZER.format('""', '"conformal_leapfrog"'), "system: an empty text"),
    "empty method": (OPTIMIZER.format('"classical"', '""'), "method: an empty text"),
    "empty q": (f'kind = "partitioned"\n{HEAD}q = ""\np = "adjoint"\n', "q: an empty text"),
    "empty p": (f'kind = "partitioned"\n{HEAD}q = "rk4"\np = ""\n', "p: an empty text"),
    "empty block": (
        f'kind = "splitting"\n{HEAD}compose = {{ block = "", weights = [1] }}\n',
        "block: an empty text",
    ),
    "empty block of a table": (
        f'kind = "runge-kutta"\n{HEAD}compose = {{ block = "", weights = [1] }}\n',
        "block: an empty text",
    ),
    "empty quadrature": (
        f'kind = "discrete-gradient"\n{HEAD}quadrature = ""\n',
        "quadrature: an empty text",
    ),
    "empty name": (
        f'kind = "system"\n{HEAD.replace("mine", "")}[equations]\nx = "x"\n',
        "name: an empty text",
    ),
    "empty expression": (system(("x", "")), "is not expected here"),
    "no kick": (f'kind = "splitting"\n{HEAD}steps = [["A", 1]]\n', "at least one kick"),
    "friction alone": (f'kind = "splitting"\n{HEAD}steps = [["D", 1]]\n', "at least one kick"),
    "domain of a list": (
        system(("x", "k*x"), more="[parameters]\nk = { default = 1, domain = [] }\n"),
        "unknown domain []",
    ),
    "domain of a table": (
        system(("x", "k*x"), more="[parameters]\nk = { default = 1, domain = {} }\n"),
        "unknown domain {}",
    ),
    "divisions": (system(("x", "x" + "/2" * 3000)), "more than 200 divisions"),
    "products": (
        f'kind = "field"\n{HEAD}state = {{ y = ["d"] }}\ncontrols = {{ A = ["d", "d"] }}\n'
        f'f = "{"A @ " * 1500}y"\n',
        "more than 200 divisions and matrix products",
    ),
    "a name of 300 letters": (OPTIMIZER.format(f'"{"x" * 300}"', '"leapfrog"'), "is named"),
    "a file of 300 letters": (
        OPTIMIZER.format(f'"{"x" * 300}.toml"', '"leapfrog"'),
        "File name too long",
    ),
    "a large default": (system(("x", "k*x"), more="[parameters]\nk = 1e600\n"), "beyond 300"),
    "a product of large numbers": (
        system(("x", "k*x"), more='[parameters]\nk = "1e300*1e300"\n'),
        "beyond the numbers of floating point",
    ),
    "a small start": (
        system(("x", "x"), more='[start]\nx = "1e-300*1e-300"\n'),
        "beyond the numbers of floating point",
    ),
    "a constant step": (
        OPTIMIZER.format('"classical"', '"conformal_leapfrog"').replace('h = "lr"', 'h = "0.26"'),
        "depends on no hyper-parameter",
    ),
    "a step that is no number": (
        OPTIMIZER.format('"classical"', '"conformal_leapfrog"').replace(
            'h = "lr"', 'h = "lr + log(lr - lr)"'
        ),
        "is no real number",
    ),
    "an imaginary weight": (
        f'kind = "splitting"\n{HEAD}steps = [["A", "sqrt(-1)"], ["B", 1]]\n',
        "not a real number",
    ),
    "an imaginary weight of an unknown": (
        f'kind = "splitting"\n{HEAD}steps = [["x", "sqrt(-1)"], ["v", 1]]\n',
        "not a real number",
    ),
    "a weight of an unknown by zero": (
        f'kind = "splitting"\n{HEAD}steps = [["x", "1/(1 - 1)"], ["v", 1]]\n',
        "divides by zero",
    ),
    "a large coefficient": (table('[[], ["1e300"]]', '["1e-300", 1]'), "between 1e-60 and 1e60"),
    "a root of a high degree": (
        table(
            '[[], ["zeta"]]',
            '["1 - zeta", "zeta"]',
            '[constants]\nzeta = { root = "x**64*x**64*x**64*x**64 - 2", near = 1 }\n',
        ),
        "a root of degree 256",
    ),
    "nested radicals": (
        table(
            '[[], ["zeta"]]',
            '["1 - zeta", "zeta"]',
            '[constants]\nzeta = "sqrt(2 + sqrt(3 + sqrt(5))) + sqrt(7 + sqrt(11))"\n',
        ),
        "a field of degree",
    ),
    "a formula of 100 stages": (
        f'kind = "runge-kutta"\n{HEAD}stages = "100"\nA = "1/(i + j)"\nb = "1/j"\n',
        "the proofs of its properties",
    ),
    "a key of thousands of parts": (
        f'kind = "system"\n{HEAD}{".".join("a" * 20_000)} = 1\n',
        "a key of 20000 parts",
    ),
    "quoted parts": (
        f'kind = "system"\n{HEAD}' + ".".join(['"a b"'] * 5000) + " = 1\n",
        "a key of 5000 parts",
    ),
    "thousands of keys": (
        system(*((f"x{k}", "0") for k in range(30_000))),
        "30000 components; at most 400",
    ),
    "a large array": (
        f'kind = "field"\n{HEAD}state = {{ y = ["999999999"] }}\nf = "tanh(y)"\n',
        "999999999 entries",
    ),
}
LIMITS = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
CHECK = LIMITS + "import sys; from hamilforge.cli import main; raise SystemExit(main(sys.argv[1:]))"


#: All of them in one process, which has these limits as well; the time is of each.
CHECK_ALL = (
    LIMITS
    + """
import contextlib, io, json, sys, time
from hamilforge.cli import main
from hamilforge.gen.declare import budget
budget.SLOWEST = 1.0  # seconds are seconds, on a slow machine too
for path in sys.argv[1:]:
    begun, said = time.process_time(), io.StringIO()
    with contextlib.redirect_stderr(said):
        status = main(["check", path])
    print(json.dumps([status, said.getvalue(), time.process_time() - begun]), flush=True)
"""
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What is said of each declaration, with the status and the seconds that it took."""
    paths = []
    for text, _ in REFUSED.values():
        paths.append(str(written(tmp_path_factory.mktemp("refused"), text)))
    done = subprocess.run(
        [sys.executable, "-c", CHECK_ALL, *paths],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return dict(zip(REFUSED, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_declaration_is_the_users_within_seconds(answers, name):
    status, said, seconds = answers[name]
    assert status == 2, said
    assert REFUSED[name][1] in said
    assert "Traceback" not in said
    assert seconds < 10


@pytest.mark.parametrize("deep", [1, 9])
def test_references_that_fan_out_are_counted(tmp_path, deep):
    for level in range(deep + 1):
        names = ", ".join([f'"m{level + 1}.toml"'] * 60)
        body = f"mean = [{names}]\n" if level < deep else "A = [[]]\nb = [1]\n"
        written(tmp_path, f'kind = "runge-kutta"\n{HEAD}{body}', f"m{level}")
    if deep == 1:
        assert catalogue.load(tmp_path / "m0.toml")
        return
    with pytest.raises(DeclarationError, match="more than 2000 declarations"):
        catalogue.load(tmp_path / "m0.toml")


def test_a_decimal_weight_beside_cube_roots_with_friction_ends_with_its_stage(tmp_path):
    written(
        tmp_path,
        f'kind = "splitting"\n{HEAD}steps = [["D", "0.123456789012345"], ["A", "w"], ["B", "1/2"], '
        '["D", "0.876543210987655"], ["A", "1 - w"], ["B", "1/2"]]\n'
        '[constants]\nw = "1/(2 - 2**(1/3))"\n',
        "cubes",
    )
    text = OPTIMIZER.format('"classical"', '"cubes.toml"').replace(
        'h = "lr"', 'h = "sqrt(2*m*lr)"\ngamma = "lr/h"'
    )
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "check", str(written(tmp_path, text))],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 2), done.stderr
    assert done.returncode == 0 or "'mine' takes more" in done.stderr  # time or memory


def test_a_setting_that_follows_from_another_leaves_no_order(tmp_path):
    """Friction lr/h is h/(2 m) where h is sqrt(2 m lr): at a constant friction there is no step."""
    text = OPTIMIZER.format('"classical"', '"conformal_leapfrog"').replace(
        'h = "lr"', 'h = "sqrt(2*m*lr)"\ngamma = "lr/h"'
    )
    order = pipeline.check(catalogue.load(written(tmp_path, text))).finding("order")
    assert order.value is None
    assert "[set].gamma follows from lr" in order.why


GATES = system(
    ("v", "-g*m**3*n*(v - 50)"),
    ("m", "(0.1*(v + 40)/(1 - exp(-(v + 40)/10)))*(1 - m) - 4*exp(-(v + 65)/18)*m"),
    ("n", "(0.01*(v + 55)/(1 - exp(-(v + 55)/10)))*(1 - n) - 0.125*exp(-(v + 65)/80)*n"),
    more="[parameters]\ng = 120\n",
)


@pytest.fixture
def endless_divergence(monkeypatch):
    """A proof that ends only with its budget, which is a short one."""
    monkeypatch.setattr(budget, "SLOWEST", 2.0)
    monkeypatch.setattr(
        "hamilforge.gen.derive.integrators.field.VectorField.divergence", property(lambda _: busy())
    )


@pytest.mark.usefixtures("endless_divergence")
def test_a_proof_past_its_budget_has_no_value_and_says_why(tmp_path):
    report = pipeline.check(catalogue.load(written(tmp_path, GATES)))
    assert report["dimension"] == 3
    finding = report.finding("divergence")
    assert finding.value is None
    assert "the proof of divergence takes more than its budget" in finding.why
    assert report.holds


def test_code_waits_for_no_proof_that_it_does_not_need(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("asked for")

    monkeypatch.setattr(
        "hamilforge.gen.derive.integrators.field.VectorField.divergence", property(never)
    )
    assert pipeline.rendered(products.load_made(written(tmp_path, GATES), "rk4"))


@pytest.mark.usefixtures("endless_divergence")
def test_a_claim_on_what_was_not_decided_is_not_believed(tmp_path):
    path = written(tmp_path, GATES + "[claims]\ndivergence = 0\n")
    with pytest.raises(DeclarationError, match="takes more than its budget"):
        pipeline.rendered(products.load_made(path, "rk4"))


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "9e400", "nan", "inf", "-", "１"])
@pytest.mark.parametrize("found", [1, 1.5, float("inf"), float("nan")])
def test_a_claim_on_a_number_that_overflows_is_only_false(text, found):
    assert _same(text, found) is (text == str(found))


# --- budgets ----------------------------------------------------------------------------------


def busy():
    while True:
        pass


def test_work_past_its_budget_ends_and_names_the_innermost_part():
    def work():
        with budget.at("[equations].x"), budget.at("'x**2'"):
            busy()

    with pytest.raises(budget.BudgetError, match=r"^mine takes .* of 0\.1 s, at 'x\*\*2'$"):
        budget.within(0.1, "mine", work)
    assert budget.within(5.0, "mine", lambda: 3) == 3


def test_budgets_are_of_the_thread_and_nest():
    found = []

    def work():
        try:
            budget.within(5.0, "outer", lambda: budget.within(0.1, "inner", busy))
        except budget.BudgetError as error:
            found.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [text.split()[0] for text in found] == ["inner"] * 3
    with pytest.raises(budget.BudgetError, match="outer"):
        budget.within(0.1, "outer", lambda: budget.within(5.0, "inner", busy))


def test_waiting_costs_no_budget():
    budget.within(0.05, "mine", lambda: time.sleep(0.3))


def test_what_follows_ended_work_is_as_before():
    x = sp.Symbol("x", real=True)

    def work():
        while True:
            sp.simplify(sp.sin(x) ** 2 + sp.cos(x) ** 2 + sp.Dummy())

    for _ in range(5):
        with pytest.raises(budget.BudgetError):
            budget.within(0.05, "mine", work)
        assert sp.simplify(sp.sin(x) ** 2 + sp.cos(x) ** 2) == 1


# --- blame ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotDerivableError("of something"), "cannot be read: of something"),
        (ZeroDivisionError(), "divides by zero"),
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "memory"),
    ],
)
def test_what_a_stage_knows_it_cannot_do_is_the_users(error, message):
    def work():
        raise error

    with pytest.raises(DeclarationError, match=message):
        blamed(work, "'mine'", "mine.toml", "read")


@pytest.mark.parametrize(
    "error", [TypeError, ValueError, IndexError, NotImplementedError, KeyError]
)
def test_everything_else_is_a_fault_of_ours_with_what_to_report(
    tmp_path, monkeypatch, capsys, error
):
    def work(_):
        raise error("odd\x1b[31m")

    monkeypatch.setattr("hamilforge.gen.prove.integrators.problem.derive_field", work)
    path = written(tmp_path, system(("x", "x")))
    with pytest.raises(InternalError):
        pipeline.check(catalogue.load(path))
    assert main(["check", str(path)]) == 3
    told = capsys.readouterr().err
    for part in (
        "this is a bug in hamilforge",
        "mine.toml",
        error.__name__,
        "test_blame.py",
        "SymPy",
    ):
        assert part in told
    assert "\x1b" not in told
    assert "Traceback" not in told


def test_a_fault_outside_of_the_stages_is_one_too(monkeypatch, capsys):
    monkeypatch.setattr("hamilforge.listing.table", lambda *_: [][0])
    assert main(["list"]) == 3
    assert "the command list ended in IndexError" in capsys.readouterr().err


def test_an_error_of_two_declarations_names_both(tmp_path, monkeypatch):
    def work(*_):
        raise NotDerivableError("of its own")

    monkeypatch.setattr("hamilforge.gen.pipeline.build_integrator", work)
    path = written(tmp_path, table("[[]]", "[1]", ""))
    with pytest.raises(DeclarationError) as caught:
        pipeline.rendered(products.load_made("henon_heiles", path))
    assert str(path) in str(caught.value)
    assert "'henon_heiles' with 'mine' cannot be" in str(caught.value)
