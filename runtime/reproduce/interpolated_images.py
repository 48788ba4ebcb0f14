"""Images by few trained numbers: drawn fields whose controls are trained, beside what is as large.

In: images in ten classes.  Out: the share of other images that is right, by how many numbers are
trained, for three kinds of models with one number for each class of an image x,

- ``lambda Q (X(x) - x)``, X the last state of a network of drawn fields: M d controls and lambda,
- the same with a network all of whose matrices and vectors are trained,
- a linear map of entries of the same drawn fields at x, V_i(x), without layers: as many weights as
  the first has numbers, or fewer.

Q has ten orthonormal rows that are drawn, and not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.reproduce import image_sets
from hamilforge.runtime.reproduce.image_sets import CLASSES

Tensor = torch.Tensor
Part = Mapping[str, Any]
#: A line of the table: trained numbers and the share of the other images that is right.
Score = tuple[int, float]
#: Of the linear read-out: steps, and what holds its weights.
STEPS, DECAY = 200, 1e-4


@dataclass(frozen=True, slots=True)
class Data:
    """Images as vectors of means of pixels.

    Attributes:
        name: what they are.
        x: `(count, side**2)`, to train on.
        classes: `(count,)`.
        others: of the validation, alike.
        other_classes: of the validation.
    """

    name: str
    x: Tensor
    classes: Tensor
    others: Tensor
    other_classes: Tensor


def data(part: Part, folder: Path | None) -> Data:
    """The images of a part of the line-up.

    Args:
        part: how small they become.
        folder: of the files of MNIST; None for what packages ship.

    Raises:
        ValueError: the folder is not what it should be, or images are no multiple of that side.
        ImportError: no package with images is installed.
    """
    side = part["side"]
    if side**2 < CLASSES:
        raise ValueError(f"images of {side} by {side} have fewer numbers than classes")
    found = image_sets.images("mnist", folder)

    def small(pixels: Any) -> Tensor:
        images = torch.from_numpy(pixels).mean(1)
        if images.shape[-1] % side:
            raise ValueError(f"images of {images.shape[-1]} columns have no {side} equal parts")
        means = torch.nn.functional.avg_pool2d(images[:, None], images.shape[-1] // side)
        return means.flatten(1)

    x, others = small(found.images), small(found.other_images)
    middle = x.mean(0)
    return Data(
        found.name,
        part["size"] * (x - middle),
        torch.from_numpy(found.classes),
        part["size"] * (others - middle),
        torch.from_numpy(found.other_classes),
    )


def _rows(width: int, seed: int) -> Tensor:
    """Q, `(10, width)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, CLASSES, generator=generator))[0].T


def by_controls(part: Part, images: Data, layers: int, seed: int) -> Score:
    """A network of drawn fields.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        seed: of fields, start and order.

    Returns:
        How many numbers were trained, and the share of the others that is right.
    """
    torch.manual_seed(seed)
    made = load(part["field"], part["method"]).torch_class()
    own = made(layers, {"d": images.x.shape[1]}, trainable=("u",), draw=seed)
    with torch.no_grad():
        own.control("u").normal_(0.0, 0.1)
    return _trained(part, images, own, part["rate"], seed)


def in_full(part: Part, images: Data, layers: int, seed: int) -> Score:
    """A network of the same depth all of whose controls are trained.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        seed: of start and order.

    Returns:
        How many numbers were trained, and the share of the others that is right.
    """
    torch.manual_seed(seed)
    made = load(part["full"], part["method"]).torch_class()
    own = made(layers, {"d": images.x.shape[1]})
    return _trained(part, images, own, part["full_rate"], seed)


def _trained(part: Part, images: Data, own: Any, rate: float, seed: int) -> Score:
    """Trained by Adam on cross-entropy, the rate rising and falling once."""
    rows = _rows(images.x.shape[1], seed)
    log_number = torch.nn.Parameter(torch.tensor(float(part["number"])).log())
    parameters = [*(one for one in own.parameters() if one.requires_grad), log_number]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    count, batch = len(images.x), part["batch"]
    total = part["epochs"] * -(-count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(part["epochs"]):
        for chosen in torch.randperm(count, generator=generator).split(batch):
            optimizer.zero_grad()
            x = images.x[chosen]
            scores = log_number.exp() * (own(x) - x) @ rows.T
            torch.nn.functional.cross_entropy(scores, images.classes[chosen]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        scores = (own(images.others) - images.others) @ rows.T
    return sum(one.numel() for one in parameters), _right(scores, images.other_classes)


def _right(scores: Tensor, classes: Tensor) -> float:
    return float((scores.argmax(1) == classes).double().mean())


def values(part: Part, x: Tensor, seed: int) -> Tensor:
    """V_i(x) of all fields, `(count, d * width)`: displacements of one Euler step by unit controls.

    Args:
        part: of the line-up.
        x: `(count, width)`.
        seed: of the fields.

    Returns:
        Field by field.
    """
    made = load(part["field"], "euler").torch_class()
    own = made(1, {"d": x.shape[1]}, h=1.0, trainable=("u",), draw=seed)
    found = []
    with torch.no_grad():
        for unit in torch.eye(own.control("u").shape[1]):
            own.control("u").copy_(unit[None])
            found.append(own(x) - x)
    return torch.cat(found, 1)


def by_read_out(part: Part, images: Data, count: int, seed: int) -> Score | None:
    """A linear map of drawn entries of the fields at the images.

    Args:
        part: of the line-up.
        images: to train on and others.
        count: how many numbers may be trained, at most.
        seed: of fields and entries.

    Returns:
        The score; None where not even one entry is to be had.
    """
    entries = min(count // CLASSES - 1, _width(part, images))
    if entries < 1:
        return None
    own = values(part, images.x, seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(own.shape[1], generator=generator)[:entries]
    x = own[:, chosen].double()
    middle, spread = x.mean(0), x.std(0) + 1e-9
    x = (x - middle) / spread
    weight = torch.zeros(CLASSES, entries + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = x @ weight[:, :-1].T + weight[:, -1]
        total = torch.nn.functional.cross_entropy(scores, images.classes)
        total = total + DECAY * weight.square().sum() / 2
        total.backward()
        return total

    optimizer.step(loss)
    others = (values(part, images.others, seed)[:, chosen].double() - middle) / spread
    with torch.no_grad():
        scores = others @ weight[:, :-1].T + weight[:, -1]
    return weight.numel(), _right(scores, images.other_classes)


def _width(part: Part, images: Data) -> int:
    """How many entries the fields have at an image."""
    (count,) = load(part["field"], "euler").torch_class().CONTROLS["u"]
    return int(count) * images.x.shape[1]


@dataclass(frozen=True, slots=True)
class Row:
    """What is compared at one depth: numbers, and shares for each seed.

    Attributes:
        layers: how many.
        models: for each kind of model how many numbers it trains, and its scores.
    """

    layers: int
    models: Mapping[str, tuple[int, tuple[float, ...]]]


#: The kinds of models, as tables call them.
CONTROLS, READ_OUT, FULL = "controls", "linear read-out", "all trained"


def compared(
    part: Part, images: Data, layers: int, progress: Callable[[int], None] = lambda _: None
) -> Row:
    """All models at one depth.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        progress: called after each seed with how many are done.

    Returns:
        The row.
    """
    found: dict[str, list[Score]] = {}
    for seed in range(part["seeds"]):
        own = by_controls(part, images, layers, seed)
        found.setdefault(CONTROLS, []).append(own)
        linear = by_read_out(part, images, own[0], seed)
        if linear is not None:
            found.setdefault(READ_OUT, []).append(linear)
        found.setdefault(FULL, []).append(in_full(part, images, layers, seed))
        progress(seed + 1)
    return Row(
        layers,
        {
            name: (scores[0][0], tuple(share for _, share in scores))
            for name, scores in found.items()
        },
    )
