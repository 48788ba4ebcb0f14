"""MNIST-1D: signals in ten classes, forty numbers each, drawn from formulas.

In: how many, and a seed.  Out: signals and classes.  A signal begins as one of ten templates of
twelve numbers, drawings of the digits.  It is followed by zeros, stretched, scaled, moved; where
it is still zero it gets correlated noise, everywhere noise, and a slope; then forty numbers are
read off.  Formulas, templates and defaults are those of S. Greydanus and D. Kobak, Scaling down
deep learning with MNIST-1D, arXiv:2011.14439, and of the authors' program.  Numbers are drawn in
its order, from the same generator of NumPy's, so the signals of a seed are the program's but for
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float64]

#: Heights of the ten digits, zero to nine, from top to bottom.
_DRAWN = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
#: What is added to a template, so that only what is put around it is zero.
_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Setting:
    """How signals are drawn; the defaults are those that were published.

    Attributes:
        padding: of how many zeros a template is followed, at least and at most.
        scale: how far apart the least and the largest factor are, around 1.
        shift: by how many places a signal is moved, at most, and one less.
        correlated: the standard deviation of the noise around it, before it is smoothed.
        noise: that of the noise everywhere.
        shear: how far apart the least and the largest slope are, around 0.
        length: how many numbers are read off.
    """

    padding: tuple[int, int] = (36, 60)
    scale: float = 0.4
    shift: int = 48
    correlated: float = 0.25
    noise: float = 2e-2
    shear: float = 0.75
    length: int = 40


def templates() -> Floats:
    """The digits, `(10, 12)`: of standard deviation 1/6, from 0 on."""
    drawn = np.array(_DRAWN)
    drawn /= drawn.std(1, keepdims=True)
    heights: Floats = (drawn - drawn[:, :1]) / 6
    return heights


def drawn(template: Floats, random: np.random.RandomState, setting: Setting) -> Floats:
    """One signal.

    Args:
        template: `(places,)`.
        random: where its numbers come from.
        setting: how.

    Returns:
        The signal, `(setting.length,)`.
    """
    least, most = setting.padding
    zeros = least + int(random.rand() * (most - least + 1))
    signal = _read_off(np.append(template + _TINY, np.zeros(zeros)), len(template) + most)
    signal *= 1 + setting.scale * (random.rand() - 0.5)
    signal = np.roll(signal, random.choice(setting.shift))
    around = gaussian_filter(setting.correlated * random.randn(len(signal)), 2)
    signal = np.where(signal != 0, signal, around)
    signal += setting.noise * random.randn(len(signal))
    slope = setting.shear * (random.rand() - 0.5)
    return _read_off(signal - slope * np.linspace(-0.5, 0.5, len(signal)), setting.length)


def _read_off(signal: Floats, count: int) -> Floats:
    """Numbers at so many equal distances along a signal, linear between its own."""
    own, wanted = np.linspace(0, 1, len(signal)), np.linspace(0, 1, count)
    return np.interp(wanted, own, signal)


def signals(
    count: int = 5000, seed: int = 42, setting: Setting | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Signals in a drawn order, of mean 0 and standard deviation 1 together.

    Args:
        count: how many; each class has a tenth.
        seed: of the draw.
        setting: how they are drawn.

    Returns:
        Signals `(count, length)`, and classes `(count,)`.

    Raises:
        ValueError: the count is no positive multiple of ten.
    """
    if count < 1 or count % 10:
        raise ValueError(f"{count} signals are no positive multiple of ten")
    setting = setting or Setting()
    random = np.random.RandomState(seed)
    classes = np.repeat(np.arange(10), count // 10)
    digits = templates()
    found = np.array([drawn(digits[one], random, setting) for one in classes])
    order = random.permutation(count)
    found = found[order]
    return (found - found.mean()) / found.std(), classes[order]
