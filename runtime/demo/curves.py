"""The demo's picture: training loss and test accuracy against the epoch.

In: the curves of the contenders.  Out: a PNG (or whatever the suffix says).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hamilforge.runtime.core import pictures
from hamilforge.runtime.demo.training import Curve

#: Told apart by the colour-blind too (Okabe and Ito); what torch brings is grey.
GENERATED_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
OTHER_COLOURS = ("#555555", "#999999")


def draw(curves: Sequence[Curve], out: Path) -> None:
    """Draw the learning curves; generated optimizers in colour, torch's own in grey and dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    colours, greys = iter(GENERATED_COLOURS * 9), iter(OTHER_COLOURS * 9)
    for curve in curves:
        generated = curve.contender.generated
        look = {
            "color": next(colours) if generated else next(greys),
            "linestyle": "-" if generated else "--",
            "linewidth": 1.8,
            "zorder": 3 if generated else 2,
            "label": f"{curve.contender.label}: {curve.contender.settings()}",
        }
        epochs = range(len(curve.losses))
        losses.semilogy(epochs, curve.losses, **look)
        accuracies.plot(epochs, [100 * accuracy for accuracy in curve.accuracies], **look)
    losses.set_ylabel("training loss (mean cross-entropy, nats)")
    losses.set_title("Training loss at the solution")
    accuracies.set_ylabel("test digits recognised (%)")
    accuracies.set_title("Test accuracy at the solution")
    best = 100 * max(max(curve.accuracies) for curve in curves)
    last = 100 * min(curve.accuracies[-1] for curve in curves)
    accuracies.set_ylim(max(0.0, min(last, best - 8) - 4), min(100.5, best + 1.5))
    for axes in (losses, accuracies):
        axes.set_xlabel("epoch")
        axes.set_xlim(0, max(len(curve.losses) for curve in curves) - 1)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, which="major", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = losses.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle("Handwritten digits: same weights, same batches", fontsize=13)
    pictures.save(figure, out, dpi=150)
