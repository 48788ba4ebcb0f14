"""Declarations that look right and are not: no report says more of them than is true."""

from __future__ import annotations

import numpy as np
import pytest

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError, DeclarationError
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.optimizer_cases import reference_cases
from hamilforge.runtime.core.loader import load
from hamilforge.runtime.optimizers.clock import latch, start, tick


def system(kinetic, friction="gamma"):
    return (
        'kind = "hamiltonian"\nname = "system"\ntitle = "t"\nreference = "r"\n'
        f'kinetic = "{kinetic}"\nfriction = "{friction}"\n'
        '[parameters]\nm = { default = 1, domain = "positive" }\n'
        'gamma = { default = 1, domain = "nonnegative" }\n'
    )


def update(*lines):
    text = ", ".join(f'"{line}"' for line in lines)
    return f'kind = "update"\nname = "update"\ntitle = "t"\nreference = "r"\nassign = [{text}]\n'


@pytest.fixture
def optimizer(tmp_path, monkeypatch):
    """A function that writes an optimizer with a system and a method of its own."""
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))

    def write(
        kinetic="dot(p, p)/(2*m)", method="symplectic_euler", friction="gamma", scope="all", h="lr"
    ):
        (tmp_path / "system.toml").write_text(system(kinetic, friction))
        if method.startswith("kind"):
            (tmp_path / "method.toml").write_text(method)
            method = "method.toml"
        path = tmp_path / "mine.toml"
        path.write_text(
            'kind = "optimizer"\nname = "mine"\ntitle = "t"\nreference = "r"\n'
            f'system = "system.toml"\nmethod = "{method}"\n'
            '[hyperparameters]\nlr = { default = 0.05, domain = "nonnegative" }\n'
            f'[set]\nh = "{h}"\n[reduce]\nscope = "{scope}"\n'
        )
        return path

    return write


def test_a_kick_by_a_function_of_the_gradient_is_no_shear(tmp_path):
    path = tmp_path / "update.toml"
    path.write_text(update("p = decay(h)*p - h*tanh(grad(q))", "q = q + h*velocity(p)"))
    assert pipeline.check(catalogue.load(path))["symplectic_form"] == "none"


def test_a_drift_with_a_sum_in_it_is_a_shear_only_if_its_jacobian_is_symmetric(tmp_path):
    path = tmp_path / "update.toml"
    drift = "q = q + h*velocity(p) + h**2*dot(p, p)*p**3"
    path.write_text(update("p = decay(h)*p - h*grad(q)", drift))
    assert pipeline.check(catalogue.load(path))["symplectic_form"] == "none"


def test_a_friction_that_may_vanish_is_divided_by_only_where_it_does_not(
    verifies, optimizer, tmp_path
):
    kick_drift_kick = 'steps = [["BD", "1/2"], ["A", 1], ["BD", "1/2"]]\n'
    method = f'kind = "splitting"\nname = "bab"\ntitle = "t"\nreference = "r"\n{kick_drift_kick}'
    path = optimizer(method=method)
    assert pipeline.check(catalogue.load(path))["order"] == 2
    assert verifies(path).holds
    product = load(path).module("numba")
    clock = tick(latch(product, start(product), {"lr": 0.1, "gamma": 0.0, "m": 1.0}))
    decay, kick, drift = latch(product, clock, {"lr": 0.1, "gamma": 0.0, "m": 1.0}).rows[0]
    assert (decay, kick, drift) == pytest.approx((1.0, 0.1, 0.1))


def test_a_mass_is_not_taken_for_a_friction(optimizer):
    method = update("p = (1 - h*m)*p - h*grad(q)", "q = q + h*velocity(p)")
    assert pipeline.check(catalogue.load(optimizer(method=method)))["order"] == 0


def test_a_step_that_is_never_stable_has_no_stability_limit(optimizer):
    for given in ({"friction": "-gamma"}, {"kinetic": "-dot(p, p)/(2*m)"}):
        report = pipeline.check(catalogue.load(optimizer(**given)))
        assert report["stability_limit"] is None


def test_a_step_that_leaves_every_position_in_place_has_no_isolated_rest(optimizer):
    method = update("v = velocity(p)", "p = decay(h)*p - h*grad(q)", "q = q + h*velocity(p) - h*v")
    assert pipeline.check(catalogue.load(optimizer(method=method)))["fixed_points"] is None


def test_a_scope_of_single_coordinates_has_the_energy_of_single_coordinates(optimizer):
    kinetic = "sqrt(1 + dot(p, p)) - 1"
    report = pipeline.check(catalogue.load(optimizer(kinetic, scope="coordinate")))
    assert report["energy_rate"] == "dH/dt = -gamma*sum(p**2/sqrt(1 + p**2))"


MANY_SUMS = "dot(p, p)/2 + sum(p**4)*sum(p**6)*sum(p**8)*sum(cosh(p))*sum(p**2)/1000"


def test_any_number_of_sums_is_taken(verifies, optimizer):
    path = optimizer(MANY_SUMS)
    assert verifies(path).holds
    assert load(path).module("numba").SUMS >= 5


@pytest.mark.parametrize("scope", ["all", "group", "tensor", "coordinate"])
def test_every_scope_is_verified(verifies, optimizer, scope):
    assert verifies(optimizer("sqrt(1 + dot(p, p)) + sum(cosh(p))", scope=scope)).holds


@pytest.mark.parametrize(
    "kinetic",
    [
        "sum(p*atan(p) - log(1 + p**2)/2)",
        "sum(1 - cos(p))",
        "sum(softplus(p) + softplus(-p))",
        "dot(p, p)/2 + norm(p)*sum(p**4)",
    ],
)
def test_kinetic_energies_beyond_the_catalogue_are_proved(optimizer, kinetic):
    report = pipeline.check(catalogue.load(optimizer(kinetic, "conformal_leapfrog")))
    assert (report["order"], report["symplectic_form"]) == (2, "conformal")


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("lr**2", "the root of an odd power of h"),
        ("lr**3", "a root of a power of h"),
        ("exp(lr)", "log(0.0)"),
        ("lr + lr**5", "[set].h cannot be solved for 'lr'"),
        ("lr + lr*sin(lr)", "[set].h cannot be solved for 'lr'"),
        ("lr*exp(lr)", "no operation for LambertW"),
    ],
)
def test_a_step_that_is_no_series_in_h_has_no_order_but_has_code(verifies, optimizer, step, why):
    path = optimizer(method="conformal_leapfrog", h=step)
    report = pipeline.check(catalogue.load(path))
    found = report.to_dict()["properties"]
    assert found["order"] is None
    assert why in found["order_why"]
    assert report["symplectic_form"] == "conformal"
    texts = pipeline.generate(products.load_made(path))
    assert not any("Order None" in text for text in texts.values())
    assert verifies(path).holds
    path.write_text(f"{path.read_text()}[claims]\norder = 2\n")
    claimed = pipeline.check(catalogue.load(path))
    assert not claimed.holds
    assert "claim order = 2 is not shown: a step is not known as a series in h" in str(claimed)
    with pytest.raises(ClaimError, match="2 is claimed, but not shown: a step is not known"):
        pipeline.generate(products.load_made(path))


@pytest.mark.parametrize("step", ["sqrt(lr)", "sin(lr)", "log(1 + lr)", "lr + lr**2"])
def test_a_step_that_can_be_solved_for_its_hyper_parameter_has_an_order(optimizer, step):
    path = optimizer(method="conformal_leapfrog", h=step)
    assert pipeline.check(catalogue.load(path))["order"] == 2


@pytest.mark.parametrize("default", ["1e-30", "1e-9", "0", "1e30"])
def test_the_form_of_a_step_does_not_depend_on_what_it_is_by_default(tmp_path, default):
    text = next(p for p in catalogue.paths("optimizer") if p.stem == "nesterov_vanishing")
    path = tmp_path / "mine.toml"
    path.write_text(text.read_text().replace("default = 1e-3", f"default = {default}"))
    assert f"default = {default}" in path.read_text()
    assert pipeline.check(catalogue.load(path))["symplectic_form"] == "none"


def test_a_false_claim_of_a_part_is_refused(optimizer, tmp_path):
    method = update("p = (1 - h*gamma)*p - h*grad(q)", "q = q + h*velocity(p)")
    path = optimizer(method=method + "[claims]\norder = 2\n")
    with pytest.raises(DeclarationError, match="2 is claimed, but 1 is true"):
        pipeline.generate(products.load_made(path))


def test_scalar_locals_are_numbers(optimizer):
    method = update("s = 1/(1 + gamma*h)", "p = s*(p - h*grad(q))", "q = q + h*velocity(p)")
    report = pipeline.check(catalogue.load(optimizer(method=method)))
    assert (report["order"], report["conformal_factor"]) == (1, "1/(1 + gamma*lr)")


@pytest.mark.parametrize(
    "power", ["((((2*gamma)**64)**64)**64)**64", "(m + gamma + m**2 + m**3 + m**4 + 1)**64"]
)
def test_powers_that_would_explode_are_refused_at_once(optimizer, power):
    with pytest.raises(DeclarationError, match="power"):
        catalogue.load(optimizer(f"dot(p, p)/2*{power}"))


def test_the_reference_trajectories_move():
    program = derive(catalogue.load("rgd", ("optimizer",))).program
    cases = [case for case in reference_cases(program) if case.name in ("defaults", "drawn")]
    assert len(cases) == 4
    for case in cases:  # of others gradients are small beside points, or points beside gradients
        assert all(np.any(x[0] != y[0]) for x, (y, _) in zip(case.points, case.after, strict=True))


def test_numbers_that_rounding_hides_decide_no_order(tmp_path):
    """A kick of 1e30 and one back; a friction of exp(1000)."""
    text = (catalogue.root() / "splitting" / "blanes_moan_s6.toml").read_text()
    path = tmp_path / "far.toml"
    constant = text.partition("b1 = ")[2].partition("\n")[0]
    path.write_text(text.replace(f"b1 = {constant}", "b1 = 1000000000000000000000000000000"))
    with pytest.raises(DeclarationError, match="rounding hides the order"):
        pipeline.check(catalogue.load(path))
    text = (catalogue.root() / "optimizers" / "aboba.toml").read_text()
    friction = text.partition("gamma = ")[2].partition("\n")[0]
    path.write_text(text.replace(f"gamma = {friction}", 'gamma = "exp(1000)"'))
    with np.errstate(all="ignore"):
        order = pipeline.check(catalogue.load(path)).finding("order")
    assert order.value is None
    assert "rounding hides" in order.why


def test_a_limit_that_is_not_known_is_the_users_to_avoid(tmp_path):
    text = (catalogue.root() / "optimizers" / "relativistic_coordinate_euler.toml").read_text()
    friction = text.partition("gamma = ")[2].partition("\n")[0]
    path = tmp_path / "powers.toml"
    path.write_text(text.replace(f"gamma = {friction}", 'gamma = "(-log(momentum)/h)**10"'))
    with pytest.raises(DeclarationError, match=r"no limit of .* is known"):
        pipeline.check(catalogue.load(path))


@pytest.mark.parametrize("slope", ["clip(grad(q), -10, 10)", "max(grad(q), 0)", "abs(grad(q))"])
def test_a_bound_of_a_gradient_has_no_symmetric_slope(optimizer, slope):
    """Where one coordinate is bounded and another not; at two points it may be all or none."""
    method = update(f"p = decay(h)*p - h*{slope}", "q = q + h*velocity(p)")
    report = pipeline.check(catalogue.load(optimizer(method=method)))
    assert report["symplectic_form"] == "none"
    assert "N - N'" in report["defect"]


# --- choices that depend on gradients, points and losses ------------------------------------------


def rule(*assign, scalars=(), claims=()):
    lines, kept = (", ".join(f'"{text}"' for text in texts) for texts in (assign, scalars))
    claimed = f"[claims]\nfirst_steps = {list(claims)}\n" if claims else ""
    return (
        'kind = "optimizer"\nname = "mine"\ntitle = "t"\nreference = "r"\n'
        f'unknowns = ["theta"]\nscalars = [{kept}]\nassign = [{lines}]\n'
        f'[hyperparameters]\nlr = {{ default = 0.1, domain = "nonnegative", doc = "-" }}\n{claimed}'
    )


GROWN = ("size = norm(grad(theta))", "theta = theta - lr*where(size > last, 0.5, 1)*grad(theta)")


@pytest.mark.parametrize(
    ("assign", "scalars", "steps"),
    [
        (
            (*GROWN, "last = size"),
            ("last",),
            ["-g1*lr/2", "-g2*lr*where(g2 > g1, 1/2, 1)"],
        ),
        (
            ("theta = theta - lr*where(theta > 1, 2, 1)*grad(theta)",),
            (),
            ["-g1*lr*where(theta0 > 1, 2, 1)", "-g2*lr*where(theta1 > 1, 2, 1)"],
        ),
        (
            ("theta = theta - lr*where(2 >= norm(theta), 3, 4)*grad(theta)",),
            (),
            ["-g1*lr*where(2 >= theta0, 3, 4)", "-g2*lr*where(2 >= theta1, 3, 4)"],
        ),
        (
            ("theta = theta - lr*where(n > 1, 2, 1)*grad(theta)",),  # the same for all data
            (),
            ["-g1*lr", "-2*g2*lr"],
        ),
    ],
    ids=["grown", "entry", "norm", "number"],
)
def test_first_steps_leave_open_what_the_data_decide(tmp_path, assign, scalars, steps):
    path = tmp_path / "mine.toml"
    path.write_text(rule(*assign, scalars=scalars, claims=steps))
    report = pipeline.check(catalogue.load(path))
    assert report["first_steps"] == dict(zip("12", steps, strict=True))
    assert all(claim.holds for claim in report.claims)
    wrong = [step.replace("where(g2 > g1, 1/2, 1)", "1") for step in steps]
    path.write_text(rule(*assign, scalars=scalars, claims=wrong))
    claims = pipeline.check(catalogue.load(path)).claims
    assert all(claim.holds for claim in claims) == (wrong == steps)


def test_gradients_of_one_step_may_cancel_where_neither_vanishes(tmp_path):
    """At lr = 0.01 the rule rests at 10 on theta^4/4, whose slope there is 1000."""
    path = tmp_path / "mine.toml"
    path.write_text(rule("y = theta - lr*grad(theta)", "theta = theta - lr*grad(y)"))
    finding = pipeline.check(catalogue.load(path)).finding("fixed_points")
    assert finding.value == "grad J(theta) = 0"
    assert "others are not excluded" in finding.reach
    path.write_text(rule("theta = theta - lr*grad(theta)"))
    finding = pipeline.check(catalogue.load(path)).finding("fixed_points")
    assert "others are not excluded" not in finding.reach
