"""Curves of deep relaxation: losses and validation error by effective epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hamilforge.runtime.core import pictures
from hamilforge.runtime.reproduce.deep_relaxation import (
    EPOCHS,
    ERROR,
    TRAINING,
    VALIDATION,
    Outcome,
)

_LABELS = {
    TRAINING: "cross-entropy on images trained on",
    VALIDATION: "cross-entropy on the others",
    ERROR: "error on the others (%)",
}


def draw(outcomes: Mapping[str, Outcome], title: str, path: Path) -> None:
    """A line for each method, the mean over the seeds, in a band from the least to the largest.

    Args:
        outcomes: of one network, by method.
        title: above the picture.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(_LABELS), figsize=(4 * len(_LABELS), 3.4))
    for number, (method, outcome) in enumerate(outcomes.items()):
        histories, colour = outcome.histories, f"C{number}"
        epochs = histories[0, :, EPOCHS]
        for axis, column in zip(axes, _LABELS, strict=True):
            values = histories[:, :, column]
            axis.plot(epochs, values.mean(0), "o-", color=colour, lw=1.2, ms=2.5, label=method)
            axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
    for axis, (column, label) in zip(axes, _LABELS.items(), strict=True):
        positive = all((outcome.histories[:, :, column] > 0).all() for outcome in outcomes.values())
        scale = "log" if positive else "linear"
        axis.set(xlabel="effective epochs", ylabel=label, yscale=scale)
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    pictures.save(figure, path, dpi=90)
    plt.close(figure)
