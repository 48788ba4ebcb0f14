"""Images by few trained numbers: drawn fields whose controls are trained, beside what is as large.

In: images in ten classes.  Out: the share of other images that is right, by how many numbers are
trained, for three kinds of models with one number for each class of an image x,

- ``lambda Q (X(x) - x)``, X the last state of a network of drawn fields: M d controls and lambda,
- the same with a network all of whose matrices and vectors are trained,
- a linear map of entries of the same drawn fields at x, V_i(x), without layers: as many weights as
  the first has numbers, or fewer.

Q has ten orthonormal rows that are drawn, and not trained.  Rates, and where lambda begins, are
chosen by images that are held out of those to train on; the others choose nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.reproduce import image_sets
from hamilforge.runtime.reproduce.image_sets import CLASSES, Images

Tensor = torch.Tensor
Part = Mapping[str, Any]
#: A line of the table: trained numbers and the share of the other images that is right.
Score = tuple[int, float]
#: Of the linear read-out: steps, and what holds its weights.
STEPS, DECAY = 200, 1e-4


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model is trained.

    Attributes:
        rate: of Adam, at its largest.
        number: where lambda begins.
    """

    rate: float
    number: float


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


def data(part: Part, name: str, folder: Path | None) -> Data:
    """The images of a part of the line-up.

    Args:
        part: how small those of MNIST become.
        name: of the data set.
        folder: of the files of MNIST; None for what packages ship.

    Returns:
        The vectors, around the mean of those to train on.

    Raises:
        ValueError: the folder is not what it should be, images are no multiple of that side, or
            there is no such data set.
        ImportError: no package with images is installed.
    """
    if name not in _SETS:
        raise ValueError(f"no images '{name}'; there are: {', '.join(_SETS)}")
    found, x, others = _SETS[name](part, folder)
    middle = x.mean(0)
    return Data(
        found.name,
        part["size"] * (x - middle),
        torch.from_numpy(found.classes),
        part["size"] * (others - middle),
        torch.from_numpy(found.other_classes),
    )


def _means(part: Part, folder: Path | None) -> tuple[Images, Tensor, Tensor]:
    """Images of MNIST, or of CIFAR-10 where that is what the folder has, as means of pixels."""
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

    return found, small(found.images), small(found.other_images)


def _whole(found: Images) -> tuple[Images, Tensor, Tensor]:
    """Images with all their numbers."""
    x, others = torch.from_numpy(found.images), torch.from_numpy(found.other_images)
    return found, x.flatten(1), others.flatten(1)


_SETS: Mapping[str, Callable[[Part, Path | None], tuple[Images, Tensor, Tensor]]] = {
    "mnist": _means,
    "digits": lambda part, folder: _whole(image_sets.small_digits()),
    "mnist1d": lambda part, folder: _whole(image_sets.signals()),
}


def held_out(images: Data, share: float) -> Data:
    """Images to train on alone, parted: the last of a drawn order take the place of the others.

    Args:
        images: that are parted.
        share: how many of them, of 1.

    Returns:
        The first to train on, and the last in the place of the others, which are not there.
    """
    order = torch.randperm(len(images.x), generator=torch.Generator().manual_seed(0))
    kept, last = order.split([len(order) - (count := round(share * len(order))), count])
    return Data(
        images.name, images.x[kept], images.classes[kept], images.x[last], images.classes[last]
    )


def _rows(width: int, seed: int) -> Tensor:
    """Q, `(10, width)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, CLASSES, generator=generator))[0].T


def by_controls(part: Part, images: Data, layers: int, seed: int, tuning: Tuning) -> Score:
    """A network of drawn fields.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        seed: of fields, start and order.
        tuning: how it is trained.

    Returns:
        How many numbers were trained, and the share of others that is right.
    """
    torch.manual_seed(seed)
    made = load(part["field"], part["method"]).torch_class()
    own = made(layers, {"d": images.x.shape[1]}, trainable=("u",), draw=seed)
    with torch.no_grad():
        own.control("u").normal_(0.0, 0.1)
    return _trained(part, images, own, tuning, seed)


def in_full(part: Part, images: Data, layers: int, seed: int, tuning: Tuning) -> Score:
    """A network of the same depth all of whose controls are trained.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        seed: of start and order.
        tuning: how it is trained.

    Returns:
        How many numbers were trained, and the share of others that is right.
    """
    torch.manual_seed(seed)
    made = load(part["full"], part["method"]).torch_class()
    own = made(layers, {"d": images.x.shape[1]})
    return _trained(part, images, own, tuning, seed)


def _trained(part: Part, images: Data, own: Any, tuning: Tuning, seed: int) -> Score:
    """Trained by Adam on cross-entropy, the rate rising and falling once."""
    rows = _rows(images.x.shape[1], seed)
    log_number = torch.nn.Parameter(torch.tensor(tuning.number).log())
    parameters = [*(one for one in own.parameters() if one.requires_grad), log_number]
    optimizer = torch.optim.Adam(parameters, lr=tuning.rate)
    count, batch = len(images.x), part["batch"]
    total = part["epochs"] * -(-count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, tuning.rate, total)
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
        The values.
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
#: For each kind that is trained by gradients how, and the line-up's name of the rates to try.
_BY_GRADIENTS = {CONTROLS: (by_controls, "rates"), FULL: (in_full, "full_rates")}
Tunings = Mapping[str, Tuning]


def tuned(part: Part, images: Data, progress: Callable[[int], None] = lambda _: None) -> Tunings:
    """How the models that are trained by gradients do best on held-out images to train on.

    Args:
        part: of the line-up; tried is what it lists, at its middle depth, with seed 0.
        images: of which those to train on are parted; the others are not looked at.
        progress: called after each try with how many are done.

    Returns:
        The best pair of a rate and a number, for each kind of model.
    """
    layers = part["layers"][len(part["layers"]) // 2]
    parted = held_out(images, part["held_out"])
    best: dict[str, Tuning] = {}
    done = 0
    for name, (train, rates) in _BY_GRADIENTS.items():
        scores = {}
        for rate, number in itertools.product(part[rates], part["numbers"]):
            tuning = Tuning(rate, number)
            scores[tuning] = train(part, parted, layers, 0, tuning)[1]
            done += 1
            progress(done)
        best[name] = max(scores, key=scores.__getitem__)
    return best


def tries(part: Part) -> int:
    """How many trainings `tuned` is."""
    rates = sum(len(part[rates]) for _, rates in _BY_GRADIENTS.values())
    return rates * len(part["numbers"])


def compared(
    part: Part,
    images: Data,
    layers: int,
    tunings: Tunings,
    progress: Callable[[int], None] = lambda _: None,
) -> Row:
    """All models at one depth.

    Args:
        part: of the line-up.
        images: to train on and others.
        layers: how many.
        tunings: how models are trained.
        progress: called after each seed with how many are done.

    Returns:
        The row.
    """
    found: dict[str, list[Score]] = {}
    for seed in range(part["seeds"]):
        own = by_controls(part, images, layers, seed, tunings[CONTROLS])
        found.setdefault(CONTROLS, []).append(own)
        linear = by_read_out(part, images, own[0], seed)
        if linear is not None:
            found.setdefault(READ_OUT, []).append(linear)
        full = in_full(part, images, layers, seed, tunings[FULL])
        found.setdefault(FULL, []).append(full)
        progress(seed + 1)
    return Row(
        layers,
        {
            name: (scores[0][0], tuple(share for _, share in scores))
            for name, scores in found.items()
        },
    )
