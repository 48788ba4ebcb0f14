"""The three networks on which deep relaxation was tried, in torch's layers.

In: a name, the shape of an image, a factor of all widths.  Out: a module from `(batch, channels,
rows, columns)` to `(batch, 10)`.  Hidden layers of ``mnistfc`` and ``lenet`` are followed by their
activation, pooling, a batch normalisation and dropout; ``allcnn`` normalises before it activates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from hamilforge.runtime.reproduce.image_sets import CLASSES

Shape = tuple[int, int, int]


def _dense(inputs: int, width: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Dropout(dropout)]


def mnistfc(shape: Shape, factor: float) -> nn.Module:
    """Two dense layers of 1,024, dropout of 0.2 before each layer."""
    channels, rows, columns = shape
    width = round(1024 * factor)
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.2),
        *_dense(channels * rows * columns, width, 0.2),
        *_dense(width, width, 0.2),
        nn.Linear(width, CLASSES),
    )


def lenet(shape: Shape, factor: float) -> nn.Module:
    """Convolutions of 20 and 50 channels (5 by 5, pooled by 3 and by 2), a dense layer of 500."""

    def convolution(inputs: int, width: int, pool: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, width, 5), nn.ReLU(), nn.MaxPool2d(pool), nn.BatchNorm2d(width),
            nn.Dropout(0.25),
        ]  # fmt: skip

    first, second, dense = (round(width * factor) for width in (20, 50, 500))
    convolutions = nn.Sequential(
        *convolution(shape[0], first, 3), *convolution(first, second, 2), nn.Flatten()
    )
    features = _outputs(convolutions, shape)
    return nn.Sequential(
        convolutions, *_dense(features, dense, 0.25), nn.Linear(dense, CLASSES)
    )  # fmt: skip


def allcnn(shape: Shape, factor: float) -> nn.Module:
    """All-CNN-C: seven convolutions of 3 by 3, two of 1 by 1, two of them with a stride of 2.

    J. T. Springenberg et al., Striving for simplicity: the all convolutional net, ICLR Workshop
    2015, with batch normalisation before each activation.
    """

    def convolution(inputs: int, width: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, width, size, stride, padding=size // 2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]

    narrow, wide = (round(width * factor) for width in (96, 192))
    return nn.Sequential(
        nn.Dropout(0.2),
        *convolution(shape[0], narrow),
        *convolution(narrow, narrow),
        *convolution(narrow, narrow, stride=2),
        nn.Dropout(0.5),
        *convolution(narrow, wide),
        *convolution(wide, wide),
        *convolution(wide, wide, stride=2),
        nn.Dropout(0.5),
        *convolution(wide, wide),
        *convolution(wide, wide, 1),
        *convolution(wide, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def _outputs(module: nn.Module, shape: Shape) -> int:
    """How many numbers a module makes of an image."""
    module.eval()
    with torch.no_grad():
        size = module(torch.zeros(1, *shape)).shape[1]
    module.train()
    return int(size)


NETWORKS: Mapping[str, Callable[[Shape, float], nn.Module]] = {
    "mnistfc": mnistfc,
    "LeNet": lenet,
    "All-CNN": allcnn,
}
