"""Armijo's rule on manifolds: what it accepts, what it leaves, what it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import hamilforge as hf
from tests.optimizers import ON_MANIFOLDS

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")

DESCENTS = [name for name in ON_MANIFOLDS if name.endswith("_descent")]
SHAPES = {"sphere": (6,), "orthogonal": (4, 4)}


def problem(name, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    on = name.partition("_")[0]
    shape = SHAPES.get(on, (6, 2))
    point = hf.manifold(on).random(*shape, generator=generator, dtype=dtype)
    param = torch.nn.Parameter(point.contiguous())
    matrix = torch.randn(shape[0], shape[0], generator=generator, dtype=dtype)
    matrix = matrix + matrix.T

    def value(x):
        return 5 * (x * (matrix @ x)).sum()

    return param, value


def closure_of(optimizer, param, value, calls=None):
    def closure():
        optimizer.zero_grad()
        loss = value(param)
        loss.backward()
        if calls is not None:
            calls.append(float(loss))
        return loss

    return closure


@pytest.mark.parametrize("name", DESCENTS)
def test_each_step_keeps_its_promise_and_half_as_many_would_not(name):
    param, value = problem(name)
    manifold = hf.manifold(name.partition("_")[0])
    optimizer = hf.optimizer(name)([param], lr=2.0, line_search="armijo")
    closure = closure_of(optimizer, param, value)
    factors = set()
    for _ in range(30):
        before = param.detach().clone()
        optimizer.zero_grad()
        value(param).backward()
        gradient = manifold.gradient(before, param.grad)
        square = float(manifold.inner(before, gradient, gradient))
        loss = float(optimizer.step(closure))
        assert loss == float(value(before))
        rate = 2.0 * optimizer.step_factor
        factors.add(optimizer.step_factor)
        if optimizer.step_factor == 0:  # as low as rounding lets it
            assert square < 1e-10
            break
        assert float(value(param)) <= loss - 1e-4 * rate * square
        if optimizer.step_factor < 1 and rate * square > 1e-9 * abs(loss):  # twice was too much
            twice = torch.nn.Parameter(before.clone())
            other = hf.optimizer(name)([twice], lr=2 * rate)
            value(twice).backward()
            other.step()
            assert float(value(twice)) > loss - 1e-4 * 2 * rate * square
    assert min(factors) < 1
    assert optimizer.param_groups[0]["lr"] == 2.0
    assert optimizer.violation() < 1e-13


def test_a_rate_that_is_good_is_taken_at_once():
    param, value = problem("stiefel_descent")
    optimizer = hf.optimizer("stiefel_descent")([param], lr=1e-3, line_search="armijo")
    other = torch.nn.Parameter(param.detach().clone())
    plain = hf.optimizer("stiefel_descent")([other], lr=1e-3)
    calls = []
    optimizer.step(closure_of(optimizer, param, value, calls))
    value(other).backward()
    plain.step()
    assert len(calls) == 2
    assert torch.equal(param, other)
    assert optimizer.step_factor == 1


def test_with_maximize_the_loss_rises():
    param, value = problem("sphere_descent")
    options = {"lr": 4.0, "line_search": "armijo", "maximize": True}
    optimizer = hf.optimizer("sphere_descent")([param], **options)
    closure = closure_of(optimizer, param, value)
    losses = [float(optimizer.step(closure)) for _ in range(20)]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]


def test_what_fails_changes_nothing():
    param, value = problem("stiefel_descent")
    optimizer = hf.optimizer("stiefel_descent")([param], lr=1.0, line_search="armijo")
    before = param.detach().clone()
    clock = optimizer.param_groups[0]["clock"]
    calls = 0

    def breaks():
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyError("data")
        optimizer.zero_grad()
        loss = value(param)
        loss.backward()
        return loss

    with pytest.raises(KeyError, match="data"):
        optimizer.step(breaks)
    assert torch.equal(param, before)
    assert optimizer.param_groups[0]["clock"] == clock
    assert optimizer.param_groups[0]["lr"] == 1.0

    with pytest.raises(ValueError, match="the loss is nan"):
        optimizer.step(closure_of(optimizer, param, lambda x: value(x) * math.nan))
    assert torch.equal(param, before)

    def uphill():  # no step lowers it: the gradient has the other sign
        optimizer.zero_grad()
        loss = value(param)
        loss.backward()
        param.grad.neg_()
        return loss

    optimizer.param_groups[0]["lr"] = 1e-4
    optimizer.step(uphill)
    assert optimizer.step_factor == 0
    assert torch.equal(param, before)
    assert optimizer.param_groups[0]["clock"] == clock


def test_what_is_no_loss_or_no_gradient_is_told():
    param, value = problem("stiefel_descent")
    before = param.detach().clone()
    optimizer = hf.optimizer("stiefel_descent")([param], lr=1.0, line_search="armijo")
    with pytest.raises(ValueError, match="no gradient"):
        optimizer.step(lambda: value(param))
    closure = closure_of(optimizer, param, value)
    with pytest.raises(ValueError, match="returned None"):
        optimizer.step(lambda: closure() and None)

    def broken():
        loss = closure()
        param.grad[0, 0] = math.nan
        return loss

    with pytest.raises(ValueError, match="a gradient is not finite"):
        optimizer.step(broken)
    assert torch.equal(param, before)
    other, _ = problem("stiefel_descent", seed=1)
    groups = [{"params": [param], "maximize": True}, {"params": [other]}]
    mixed = hf.optimizer("stiefel_descent")(groups, line_search="armijo")
    with pytest.raises(ValueError, match="maximize is one"):
        mixed.step(closure)
    with pytest.raises(ValueError, match="line_search is one for all groups"):
        hf.optimizer("stiefel_descent")([{"params": [param], "line_search": "armijo"}])


def test_steps_that_are_too_long_for_a_retraction_are_halved(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'kind = "optimizer"\nname = "own"\ntitle = "t"\nreference = "r"\nmanifold = "sphere"\n'
        'retraction = "orthographic"\nunknowns = ["X"]\n'
        'assign = ["X = retract(-lr*gradient(grad(X)))"]\n'
        '[hyperparameters]\nlr = { default = 0.1, domain = "nonnegative" }\n'
    )
    param, value = problem("sphere_descent")
    optimizer = hf.optimizer(path)([param], lr=100.0)
    value(param).backward()
    with pytest.raises(ValueError, match="too long"):
        optimizer.step()
    searching = hf.optimizer(path)([param], lr=100.0, line_search="armijo")
    closure = closure_of(searching, param, value)
    before = float(value(param))
    searching.step(closure)
    assert 0 < searching.step_factor < 1
    assert float(value(param)) < before


def test_refusals():
    param, _ = problem("stiefel_descent")
    with pytest.raises(ValueError, match="'wolfe'"):
        hf.optimizer("stiefel_descent")([param], line_search="wolfe")
    with pytest.raises(ValueError, match="without a state"):
        hf.optimizer("stiefel_momentum")([param], line_search="armijo")
    with pytest.raises(ValueError, match="no line_search"):
        hf.optimizer("stiefel_descent")([param], line_search="armijo", differentiable=True)
    optimizer = hf.optimizer("stiefel_descent")([param], line_search="armijo")
    param.grad = torch.zeros_like(param)
    with pytest.raises(ValueError, match=r"step\(closure\)"):
        optimizer.step()
    again = copy.deepcopy(optimizer)
    with pytest.raises(ValueError, match=r"step\(closure\)"):
        again.step()
