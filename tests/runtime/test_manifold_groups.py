"""Groups of one optimizer on different manifolds, beside an optimizer for each of them."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from typing import Any

import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.optimizers.torch_optimizer import GeneratedOptimizer
from tests.samples import sampled

SIZES = torch.arange(1.0, 9.0, dtype=torch.float64)
#: What the groups have of their own, and the shapes of their parameters.
GROUPS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({}, (8, 3)),
    ({"manifold": "sphere"}, (8,)),
    ({"metric": "canonical"}, (8, 2)),
    ({"manifold": None}, (8, 2, 2)),
]
RULES = ["stiefel_momentum", "stiefel_adam", "stiefel_rattle"]


def parameters(dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for _, shape in GROUPS]
    for param, place in zip(made, ("stiefel", "sphere", "stiefel"), strict=False):
        hf.project_(param, place)
    return made


def loss(params: list[torch.nn.Parameter]) -> torch.Tensor:
    lengths = [(p.reshape(8, -1) ** 2).sum(1) @ SIZES.to(p.dtype) for p in params]
    linear = [(p.reshape(8, -1) @ p.new_ones(p.numel() // 8)) @ SIZES.to(p.dtype) for p in params]
    return torch.stack(lengths).sum() + torch.stack(linear).sum()


def grouped(rule: str, params: list[torch.nn.Parameter], **options: Any) -> Any:
    groups = [{"params": [p], **own} for p, (own, _) in zip(params, GROUPS, strict=True)]
    groups[1]["lr"] = 0.004
    return hf.optimizer(rule)(groups, **{"lr": 0.002, **options})


def alone(rule: str, params: list[torch.nn.Parameter]) -> list[Any]:
    """An optimizer for each group."""
    optimizers = []
    for number, (param, (own, _)) in enumerate(zip(params, GROUPS, strict=True)):
        place = {key: name or "flat" for key, name in own.items()}
        rate = 0.004 if number == 1 else 0.002
        optimizers.append(hf.optimizer(rule, **place)([param], lr=rate))
    return optimizers


def run(optimizers: list[Any], params: list[torch.nn.Parameter], steps: int) -> None:
    for _ in range(steps):
        for param in params:
            param.grad = None
        loss(params).backward()
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("rule", sampled(RULES, every=2))
def test_each_group_goes_as_by_an_optimizer_of_its_own(rule: str) -> None:
    together, apart = parameters(), parameters()
    flat = torch.nn.Parameter(apart[3].detach().reshape(-1, 1).clone())
    optimizer, optimizers = grouped(rule, together), alone(rule, [*apart[:3], flat])
    schedulers = [torch.optim.lr_scheduler.StepLR(o, 7, 0.5) for o in (optimizer, *optimizers)]
    start = [param.detach().clone() for param in together]
    for _ in range(20):
        run([optimizer], together, 1)
        for param in (*apart, flat):
            param.grad = None
        loss([*apart[:3], flat.reshape(8, 2, 2)]).backward()  # type: ignore[list-item]
        for own in optimizers:
            own.step()
        for scheduler in schedulers:
            scheduler.step()
    apart[3].data.copy_(flat.detach().reshape(8, 2, 2))
    for param, other, before in zip(together, apart, start, strict=True):
        torch.testing.assert_close(param, other, rtol=0, atol=1e-15)
        assert (param - before).abs().max() > 1e-3
    assert optimizer.violation() <= 1e-14
    with optimizer.solution():
        assert optimizer.violation() <= 1e-14
        torch.testing.assert_close(
            together[0], at_solution(optimizers[0], apart[0]), rtol=0, atol=0
        )


def at_solution(optimizer: Any, param: torch.nn.Parameter) -> torch.nn.Parameter:
    with optimizer.solution():
        return torch.nn.Parameter(param.detach().clone())


@pytest.mark.parametrize("rule", ["stiefel_momentum", "stiefel_adam"])
def test_checkpoints_copies_and_pickles_go_on_bit_for_bit(rule: str) -> None:
    params = parameters()
    optimizer = grouped(rule, params)
    run([optimizer], params, 5)
    loaded = [torch.nn.Parameter(param.detach().clone()) for param in params]
    other = grouped(rule, loaded, lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    copies = [
        (other, loaded),
        copy.deepcopy((optimizer, params)),
        pickle.loads(pickle.dumps((optimizer, params))),
    ]
    run([optimizer], params, 5)
    for own, its in copies:
        run([own], its, 5)
        assert all(torch.equal(p, q) for p, q in zip(params, its, strict=True))
        assert own.param_groups[1]["lr"] == 0.004


def test_a_state_of_other_manifolds_is_refused() -> None:
    params = parameters()
    optimizer = grouped("stiefel_momentum", params)
    run([optimizer], params, 1)
    stretched = {"params": [params[1]], "manifold": "sphere", "retraction": "exponential"}
    other = hf.optimizer("stiefel_momentum")(
        [{"params": [params[0]]}, stretched, {"params": [params[2]], "metric": "canonical"},
         {"params": [params[3]], "manifold": None}]
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"one of stiefel_momentum_on_sphere.*by_exponential"):
        other.load_state_dict(optimizer.state_dict())
    assert not other.state


def test_a_state_is_that_of_a_place_whoever_named_it(tmp_path: Any, monkeypatch: Any) -> None:
    text = (catalogue.root() / "manifolds" / "sphere.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace('"sphere"', '"own"', 1))
    monkeypatch.chdir(tmp_path)
    momentum = hf.optimizer("stiefel_momentum")
    ball = parameters()[1]
    makers = [
        lambda param: momentum([{"params": [param], "manifold": "own.toml"}]),
        lambda param: momentum([{"params": [param], "manifold": tmp_path / "own.toml"}]),
        lambda param: hf.optimizer("stiefel_momentum", manifold="./own.toml")([param]),
    ]
    optimizers = [(make(param), param) for make in makers for param in [ball.clone().detach()]]
    for optimizer, param in optimizers:
        param.grad = SIZES.clone()
        optimizer.step()
    monkeypatch.chdir("/")
    for saved, there in optimizers:
        for loaded, param in copy.deepcopy(optimizers):
            loaded.load_state_dict(saved.state_dict())
            for own, its in ((copy.deepcopy(saved), there.clone()), (loaded, param)):
                own.param_groups[0]["params"][0].grad = SIZES * 2
                own.step()
                its.copy_(own.param_groups[0]["params"][0])
            assert torch.equal(own.param_groups[0]["params"][0], its)


def test_a_group_that_is_refused_leaves_its_dictionary() -> None:
    params = parameters()
    optimizer = hf.optimizer("stiefel_momentum")([params[0]])
    for refused in (
        {"params": [params[1]], "manifold": "sphere", "rows": True},
        {"params": [torch.nn.Parameter(torch.ones(8))], "manifold": "sphere"},
        {"params": [params[2]], "weight_decay": 0.1},
        {"params": [params[2]], "lr": -1.0},
        {"params": torch.nn.Parameter(torch.ones(8)), "manifold": "sphere"},
        {"params": [("named", torch.nn.Parameter(torch.ones(8)))], "manifold": "sphere"},
        {"lr": 0.1},
        {"params": [params[0]]},
    ):
        before = dict(refused)
        with pytest.raises(
            (ValueError, KeyError),
            match=r"params|with/without|wants a matrix|not on the|shrink|lr|more than one",
        ):
            optimizer.add_param_group(refused)
        assert refused == before
    assert len(optimizer.param_groups) == 1


def test_the_optimizer_says_where_it_is() -> None:
    params = parameters()
    assert str(grouped("stiefel_momentum", params)).startswith("StiefelMomentum on stiefel (")
    flat = hf.optimizer("stiefel_momentum", manifold=None)([torch.nn.Parameter(torch.ones(3, 1))])
    assert str(flat).startswith("StiefelMomentumOnFlat on flat (")


def test_a_step_that_is_refused_in_one_group_changes_no_group() -> None:
    params = parameters()
    optimizer = grouped("stiefel_rattle", params)
    run([optimizer], params, 2)
    before = [param.detach().clone() for param in params]
    states = copy.deepcopy(optimizer.state_dict())
    optimizer.param_groups[1]["lr"] = 1e3
    loss(params).backward()
    with pytest.raises(ValueError, match="parameter 0 of group 1"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
    now = optimizer.state_dict()
    for number, entry in states["state"].items():
        assert torch.equal(entry["V"], now["state"][number]["V"])
    assert [g["clock"] for g in now["param_groups"]] == [g["clock"] for g in states["param_groups"]]
    optimizer.param_groups[1]["lr"] = 0.004
    other = parameters()
    undisturbed = grouped("stiefel_rattle", other)
    for own, its in ((undisturbed, other), (undisturbed, other), (optimizer, params)):
        run([own], its, 1)
    run([undisturbed], other, 1)
    assert all(torch.equal(p, q) for p, q in zip(params, other, strict=True))


def test_a_group_may_join_and_names_are_those_of_the_whole() -> None:
    params = parameters()
    optimizer = hf.optimizer("stiefel_momentum")([("first", params[0])], lr=0.002)
    run([optimizer], params[:1], 2)
    optimizer.add_param_group({"params": [("ball", params[1])], "manifold": "sphere"})
    assert len(optimizer.param_groups) == 2
    run([optimizer], params, 1)
    assert optimizer.violation() <= 1e-14
    off = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="parameter 'third' is not on the manifold sphere"):
        optimizer.add_param_group({"params": [("third", off)], "manifold": "sphere"})
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [("again", params[0])], "manifold": None})
    assert len(optimizer.param_groups) == 2
    run([optimizer], params, 1)


def test_what_a_group_does_not_name_is_what_the_class_was_made_with() -> None:
    ball = torch.nn.Parameter(torch.eye(3, dtype=torch.float64)[0].clone())
    frame = torch.nn.Parameter(torch.eye(3, dtype=torch.float64))
    made = hf.optimizer("stiefel_momentum", manifold="sphere", retraction="exponential")
    optimizer = made(
        [
            {"params": [ball], "retraction": "orthographic"},
            {"params": [frame], "manifold": "stiefel"},
        ],
        lr=0.1,
    )
    names = [optimizer._member(group).product.__doc__ for group in optimizer.param_groups]
    assert "on sphere, in the metric euclidean, by orthographic" in names[0]
    assert names[1].startswith("Momentum on the Stiefel manifold")


def test_a_declaration_is_found_from_another_folder(tmp_path: Any, monkeypatch: Any) -> None:
    text = (catalogue.root() / "optimizers" / "stiefel_descent.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace('"stiefel_descent"', '"own"'))
    monkeypatch.chdir(tmp_path)
    own = hf.optimizer("own.toml")
    monkeypatch.chdir("/")
    params = parameters()[:2]
    optimizer = own([{"params": params[:1]}, {"params": params[1:], "manifold": "sphere"}], lr=0.01)
    run([optimizer], params, 3)
    assert optimizer.violation() <= 1e-14


@pytest.mark.parametrize("shape", [(3, 1024, 128), (0, 1024, 128)])
def test_large_matrices_of_one_parameter_go_one_by_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(shape))
    if len(whole):
        hf.project_(whole, "stiefel")
    apart = [torch.nn.Parameter(matrix.clone()) for matrix in whole.detach()]
    whole.grad = torch.randn(shape)
    for param, slope in zip(apart, whole.grad, strict=True):
        param.grad = slope
    momentum = hf.optimizer("stiefel_momentum")
    momentum([whole], batched=True, lr=0.01).step()
    if apart:
        momentum(apart, lr=0.01).step()
        assert torch.equal(whole, torch.stack([*apart]))


def test_a_group_that_is_removed_or_changed_is_seen() -> None:
    params = parameters()
    optimizer = grouped("stiefel_momentum", params)
    run([optimizer], params, 2)
    optimizer.param_groups.pop(1)
    before = params[1].detach().clone()
    run([optimizer], params, 1)
    assert torch.equal(params[1], before)
    optimizer.param_groups[0]["manifold"] = "sphere"
    with pytest.raises(ValueError, match=r"says manifold = 'sphere', .*, and said rows = False"):
        run([optimizer], params, 1)
    del optimizer.param_groups[0]["manifold"]
    run([optimizer], params, 1)
    del optimizer.param_groups[-1]["manifold"]
    with pytest.raises(ValueError, match=r"and said manifold = None, .* when it was added"):
        run([optimizer], params, 1)


def test_plans_are_made_once(monkeypatch: Any) -> None:
    made: list[Any] = []
    scratch = GeneratedOptimizer._stage_from_scratch

    def counted(self: Any, *arguments: Any) -> Any:
        made.append(self)
        return scratch(self, *arguments)

    monkeypatch.setattr(GeneratedOptimizer, "_stage_from_scratch", counted)
    params = parameters()[:3]
    groups = [{"params": [p], **own} for p, (own, _) in zip(params, GROUPS, strict=False)]
    optimizer = hf.optimizer("stiefel_momentum")(groups, lr=0.002)
    run([optimizer], params, 5)
    assert len(made) == 3


@pytest.mark.parametrize("last", [1, 2])
def test_a_first_step_that_is_refused_leaves_no_state(last: int) -> None:
    params = parameters()[: last + 1]
    groups = [{"params": [p], **own} for p, (own, _) in zip(params, GROUPS, strict=False)]
    optimizer = hf.optimizer("stiefel_rattle")(groups, lr=0.002)
    optimizer.param_groups[last]["lr"] = 1e3
    before = [param.detach().clone() for param in params]
    loss(params).backward()
    with pytest.raises(ValueError, match=f"parameter 0 of group {last}"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
    assert all(not optimizer.state.get(param) for param in params[:last])


def test_all_groups_may_be_elsewhere() -> None:
    params = parameters()
    optimizer = hf.optimizer("stiefel_momentum")(
        [{"params": [params[1]], "manifold": "sphere"}, {"params": [params[3]], "manifold": None}],
        lr=0.002,
    )
    first = float(loss(params).detach())
    run([optimizer], params, 10)
    assert optimizer.violation() <= 1e-14
    assert float(loss(params).detach()) < first


def test_a_group_without_constraint_is_the_flat_rule_and_may_decay() -> None:
    flat, plain = (torch.nn.Parameter(torch.ones(4, 3, 2)) for _ in range(2))
    own = {"momentum": 0.8, "lr": 0.01}
    first = hf.optimizer("stiefel_momentum")(
        [{"params": [flat], "manifold": None, "weight_decay": 0.1}], **own
    )
    # whose step is sqrt(2 m lr), where the first has sqrt(m lr)
    second = hf.optimizer("conformal_leapfrog")([plain], weight_decay=0.1, lr=0.005, momentum=0.8)
    for _ in range(50):
        for param, optimizer in ((flat, first), (plain, second)):
            param.grad = None
            ((param - 2) ** 4).sum().backward()
            optimizer.step()
    with first.solution(), second.solution():
        torch.testing.assert_close(flat, plain, rtol=2e-6, atol=0)
    point = torch.nn.Parameter(torch.eye(3))
    with pytest.raises(ValueError, match="points of stiefel do not shrink"):
        hf.optimizer("stiefel_momentum")([{"params": [point], "weight_decay": 0.1}])


def test_a_differentiable_step_keeps_the_graph_of_all_groups() -> None:
    slopes = []
    for together in (True, False):
        rate = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
        start = parameters()[:2]
        params = [param.detach().clone() for param in start]
        options: dict[str, Any] = {"lr": rate, "differentiable": True}
        leapfrog = hf.optimizer("stiefel_leapfrog")
        if together:
            groups = [{"params": params[:1]}, {"params": params[1:], "manifold": "sphere"}]
            optimizers = [leapfrog(groups, **options)]
        else:
            on_sphere = hf.optimizer("stiefel_leapfrog", manifold="sphere")
            optimizers = [leapfrog(params[:1], **options), on_sphere(params[1:], **options)]
        for _ in range(3):
            for param in params:
                param.grad = torch.cos(param.clone())
            for optimizer in optimizers:
                optimizer.step()
        (slope,) = torch.autograd.grad(loss(params), rate)  # type: ignore[arg-type]
        slopes.append(float(slope))
    assert slopes[0] == slopes[1] != 0


def test_a_line_search_looks_at_all_groups() -> None:
    params = parameters()[:2]
    optimizer = hf.optimizer("stiefel_descent")(
        [{"params": [params[0]]}, {"params": [params[1]], "manifold": "sphere"}],
        lr=10.0,
        line_search="armijo",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(params)
        value.backward()
        return value

    values = [float(optimizer.step(closure)) for _ in range(10)]
    assert all(after < before for before, after in itertools.pairwise(values))
    assert 0 < optimizer.step_factor < 1


@pytest.mark.parametrize(
    ("rule", "group", "error", "message"),
    [
        ("stiefel_momentum", {"manifold": "nowhere"}, DeclarationError, "nowhere"),
        ("stiefel_momentum", {"retraction": "normalise"}, DeclarationError, "polar, qr, cayley"),
        ("stiefel_momentum", {"manifold": 3}, TypeError, "manifold = 3: a name was expected"),
        ("landing", {"manifold": "sphere"}, DeclarationError, "made for stiefel"),
        ("mec", {"manifold": "sphere"}, DeclarationError, "declares none"),
        ("muon", {"manifold": "stiefel"}, DeclarationError, "'muon' is no optimizer of points of"),
        ("adam", {"manifold": "stiefel"}, TypeError, "Adam is no optimizer of points"),
        ("stiefel_momentum", {"metric": "flat"}, DeclarationError, "^metric = 'flat': stiefel has"),
        ("stiefel_momentum", {"manifold": "sphere"}, ValueError, "rows=True its rows are"),
        ("stiefel_momentum", {"retracton": "qr"}, TypeError, "did you mean 'retraction'"),
        ("stiefel_momentum", {"row": True}, TypeError, "did you mean 'rows'"),
        ("adam", {"metric": "canonical"}, TypeError, "Adam is no optimizer of points"),
        ("adam", {"manifold": None}, TypeError, "manifold = None of a group has no meaning"),
        ("stiefel_momentum", {"manifold": None, "differentiable": True}, ValueError, "as they are"),
        ("stiefel_momentum", {"manifold": None, "rows": True}, ValueError, "no rows, no matrix"),
        ("stiefel_momentum", {"manifold": None, "fused": True}, RuntimeError, "manifold=None"),
    ],
)
def test_mistakes_are_named(
    rule: str, group: dict[str, Any], error: type[Exception], message: str
) -> None:
    param = torch.nn.Parameter(torch.eye(3))
    param.sum().backward()
    with pytest.raises(error, match=message):
        hf.optimizer(rule)([{"params": [param], **group}]).step()


def test_a_manifold_of_all_groups_is_said_to_the_class() -> None:
    with pytest.raises(TypeError, match=r"hf.optimizer\(..., manifold='sphere'\)"):
        hf.optimizer("stiefel_momentum")([torch.nn.Parameter(torch.eye(3))], manifold="sphere")


def test_rows_stay_as_they_are() -> None:
    optimizer = hf.optimizer("stiefel_momentum")([torch.nn.Parameter(torch.eye(3))])
    optimizer.param_groups[0]["rows"] = True
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3, 3)
    with pytest.raises(ValueError, match=r"says rows = True, .* and said rows = False"):
        optimizer.step()


def test_what_the_class_was_made_with_stays_on_its_own_manifold(tmp_path: Any) -> None:
    param = torch.nn.Parameter(torch.eye(5, 2, dtype=torch.float64))
    made = hf.optimizer("stiefel_momentum", retraction="qr")
    for group in ({}, {"manifold": "stiefel"}):
        optimizer = made([{"params": [param], **group}])
        assert optimizer._member(optimizer.param_groups[0]) is optimizer
    text = (catalogue.root() / "manifolds" / "stiefel.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace('"stiefel"', '"own"', 1))
    made = hf.optimizer("stiefel_momentum", manifold=tmp_path / "own.toml", retraction="qr")
    optimizer = made([{"params": [param], "manifold": tmp_path / "own.toml"}])
    assert optimizer._member(optimizer.param_groups[0]) is optimizer


def test_a_state_is_that_of_points_and_not_of_a_name(tmp_path: Any) -> None:
    text = (catalogue.root() / "manifolds" / "sphere.toml").read_text()
    assert 'constraint = "dot(X, X) - 1"' in text
    momentum = hf.optimizer("stiefel_momentum")
    ball = parameters()[1].detach()
    ball.grad = SIZES.clone()
    small = momentum([{"params": [ball], "manifold": "sphere"}])
    small.step()
    same = momentum([{"params": [ball], "manifold": "sphere", "metric": "euclidean"}])
    same.load_state_dict(small.state_dict())
    state = copy.deepcopy(small.state_dict())
    state["param_groups"][0]["constraint"] = "dot(X, X) - 4"
    with pytest.raises(ValueError, match=r"points where dot.X, X. - 4 vanishes"):
        same.load_state_dict(state)


def test_the_hint_does_what_it_says() -> None:
    for shape, options in (
        ((6, 1, 3, 3), {"matrix": ((1, 2, 3), (0,))}),
        ((3, 5), {"rows": True}),
        ((4, 2), {}),
    ):
        weight = torch.nn.Parameter(torch.randn(shape))
        with pytest.raises(ValueError, match="is not on the manifold") as refused:
            hf.optimizer("stiefel_momentum")([weight], **options)
        (call,) = re.findall(r"hf.project_\(.*\) moves", str(refused.value))
        eval(call.removesuffix(" moves"), {"hf": hf, "parameter": weight})
        hf.optimizer("stiefel_momentum")([weight], **options)
