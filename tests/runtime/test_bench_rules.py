"""What the benchmark of rules runs is a step, in each of its forms."""

from __future__ import annotations

import pytest
import torch

from hamilforge.runtime.bench import rules

STEPS = 12


@pytest.mark.parametrize("name", [*rules.names({})])
def test_forms_take_the_same_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda stage: stage)
    gradients = [torch.linspace(-0.4, 0.5, 6, dtype=torch.float64).reshape(2, 3)]
    rule, other = (rules._Rule(name, gradients, "foreach") for _ in range(2))
    for optimizer in (rule.optimizer, other.optimizer):
        optimizer.param_groups[0]["weight_decay"] = 0.0  # is no part of what is compiled
    compiled = rules._compiled(other)
    for _ in range(STEPS):
        before = rule.optimizer.param_groups[0]["clock"].n
        rule.step()
        assert rule.optimizer.param_groups[0]["clock"].n == before + 1
        compiled()
    for own, theirs in zip(rule.params, other.params, strict=True):
        assert torch.allclose(own, theirs, rtol=1e-9, atol=1e-12)
