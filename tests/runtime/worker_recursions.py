"""The recursions of rules with means over workers, as papers print them, in NumPy and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .worker_problem import slope


def easgd(x: Any, p: int, steps: int, eta: float, rho: float, tau: int) -> Any:
    """``x_i <- x_i - eta (g_i(x_i) + rho (x_i - c))``, ``c <- c + eta rho sum (x_i - c)``."""
    xs, c = [x.copy() for _ in range(p)], x.copy()
    for step in range(steps):
        olds = xs
        xs = [own - eta * slope(own, i, step) for i, own in enumerate(xs)]
        if (step + 1) % tau == 0:
            xs = [new - eta * rho * (old - c) for new, old in zip(xs, olds, strict=True)]
            c = c + eta * rho * sum(old - c for old in olds)
    return xs, [c] * p


def eamsgd(x: Any, p: int, steps: int, eta: float, rho: float, tau: int, delta: float) -> Any:
    """``v <- delta v - eta g(x + delta v)``, ``x <- x + v - eta rho (x - c)``."""
    xs, vs, c = [x.copy() for _ in range(p)], [0 * x] * p, x.copy()
    for step in range(steps):
        vs = [
            delta * v - eta * slope(own + delta * v, i, step)
            for i, (own, v) in enumerate(zip(xs, vs, strict=True))
        ]
        olds, xs = xs, [own + v for own, v in zip(xs, vs, strict=True)]
        if (step + 1) % tau == 0:
            xs = [new - eta * rho * (old - c) for new, old in zip(xs, olds, strict=True)]
            c = c + eta * rho * sum(old - c for old in olds)
    return [own + delta * v for own, v in zip(xs, vs, strict=True)], [c] * p


def parle(
    x: Any, p: int, steps: int, lr: float, L: int, eta: float, gamma: float, rho: float, rate: float
) -> Any:
    """Deep relaxation in each worker; every L steps ``x - lr (x - z) - (lr/rho)(x - mean)``."""
    a, floor, rho_floor = 0.75, 0.1, 0.1
    xs, ys, zs, c = [x.copy() for _ in range(p)], [x] * p, [x] * p, x
    for step in range(steps):
        k = step // L
        wide = max(gamma * (1 - rate) ** k, floor)
        spring = max(rho * (1 - rate) ** k, rho_floor)
        ys = [
            y - eta * (slope(y, i, step) + (y - own) / wide)
            for i, (y, own) in enumerate(zip(ys, xs, strict=True))
        ]
        zs = [a * z + (1 - a) * y for z, y in zip(zs, ys, strict=True)]
        if (step + 1) % L == 0:
            mean, mean_z = sum(xs) / p, sum(zs) / p
            xs = [
                own - lr * (own - z) - lr / spring * (own - mean)
                for own, z in zip(xs, zs, strict=True)
            ]
            c = mean - lr * (mean - mean_z)
            ys, zs = [*xs], [*xs]
    return ys, [c] * p


def local_sgd(x: Any, p: int, steps: int, lr: float, momentum: float, tau: int) -> Any:
    """torch's SGD in each worker; every tau steps their mean."""
    xs, vs = [x.copy() for _ in range(p)], [0 * x] * p
    for step in range(steps):
        vs = [
            momentum * v + slope(own, i, step)
            for i, (own, v) in enumerate(zip(xs, vs, strict=True))
        ]
        xs = [own - lr * v for own, v in zip(xs, vs, strict=True)]
        if (step + 1) % tau == 0:
            xs = [sum(xs) / p] * p
    return xs, xs


def diloco(x: Any, p: int, steps: int, lr: float, H: int, outer_lr: float, mu: float) -> Any:
    """torch's AdamW in each worker; every H steps torch's SGD with Nesterov of the mean way."""
    params = [torch.nn.Parameter(torch.tensor(x)) for _ in range(p)]
    inner = [torch.optim.AdamW([own], lr=lr, weight_decay=0.1, foreach=False) for own in params]
    anchor = torch.nn.Parameter(torch.tensor(x))
    outer = torch.optim.SGD([anchor], lr=outer_lr, momentum=mu, nesterov=mu > 0)
    for step in range(steps):
        for i, (own, optimizer) in enumerate(zip(params, inner, strict=True)):
            own.grad = torch.tensor(slope(own.detach().numpy(), i, step))
            optimizer.step()
        if (step + 1) % H == 0:
            anchor.grad = anchor.detach() - sum(own.detach() for own in params) / p
            outer.step()
            with torch.no_grad():
                for own in params:
                    own.copy_(anchor)
    return [own.detach().numpy() for own in params], [anchor.detach().numpy()] * p


RECURSIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "easgd": (easgd, {"eta": 0.2, "rho": 0.7, "tau": 3}),
    "eamsgd": (eamsgd, {"eta": 0.05, "rho": 1.5, "tau": 3, "delta": 0.9}),
    "parle": (
        parle,
        {"lr": 0.15, "L": 4, "eta": 0.15, "gamma": 0.8, "rho": 1.3, "rate": 0.1},
    ),
    "local_sgd": (local_sgd, {"lr": 0.1, "momentum": 0.5, "tau": 3}),
    "diloco": (diloco, {"lr": 0.05, "H": 4, "outer_lr": 0.7, "mu": 0.9}),
}
