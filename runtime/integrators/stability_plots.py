"""Pictures of a stability function: its region, its order star, its dispersion.

In: the coefficients of R(z) = P(z)/Q(z), rising powers.  Out: one figure in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSIDE, LINE, SECOND = "#cfe3f3", "#1f5f99", "#c2571a"
POINTS = 601
Complex = NDArray[np.complex128]


def ratio(numerator: Sequence[float], denominator: Sequence[float], z: NDArray[Any]) -> Complex:
    """R(z).

    Args:
        numerator: the coefficients of P, rising powers.
        denominator: those of Q, rising powers.
        z: where, in any shape.

    Returns:
        R at each z, of the shape of z; infinite or NaN at poles.
    """
    over = np.polynomial.polynomial.polyval(z, numerator)
    under = np.polynomial.polynomial.polyval(z, denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Complex = over / under
    return result


def draw(
    title: str,
    numerator: Sequence[float],
    denominator: Sequence[float],
    contact: int,
    out: Path,
    embedded: tuple[Sequence[float], Sequence[float]] | None = None,
) -> None:
    """Draw stability region, order star and dispersion.

    Args:
        title: the title.
        numerator: the coefficients of P.
        denominator: those of Q.
        contact: R agrees with exp to this power of z: the star has contact + 1 fingers.
        out: a PNG, SVG or PDF file.
        embedded: numerator and denominator of the embedded method, if any.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    region, star, error = figure.subplots(1, 3)
    methods = [(numerator, denominator), *([embedded] if embedded else [])]
    left, height = (
        max(sizes) for sizes in zip(*(_window(*method) for method in methods), strict=True)
    )
    explicit = len(denominator) == 1
    right = 0.35 * left if explicit else left
    _region(region, (numerator, denominator), embedded, (-left, right, height))
    _star(star, numerator, denominator, contact)
    _oscillation(error, numerator, denominator)
    figure.suptitle(title.replace("$", r"\$"), fontsize=13)
    pictures.save(figure, out, dpi=150)


def _window(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, float]:
    """How far to the left and up the picture has to reach to hold the bounded part."""
    if len(denominator) > 1:
        poles = abs(np.polynomial.polynomial.polyroots(denominator))
        extent = 2.2 * float(poles.max())
        return extent, extent
    radii = np.linspace(0.05, 60.0, 1200)
    angles = np.linspace(np.pi / 2, np.pi, 91)
    z = radii[None, :] * np.exp(1j * angles[:, None])
    inside = abs(ratio(numerator, denominator, z)) <= 1
    far_left = float(-(z.real[inside]).min(initial=-1.0))
    far_up = float((z.imag[inside]).max(initial=1.0))
    return 1.25 * far_left, 1.25 * far_up


def _plane(window: tuple[float, float, float]) -> tuple[Any, Any, Complex]:
    left, right, height = window
    x, y = np.linspace(left, right, POINTS), np.linspace(-height, height, POINTS)
    real, imaginary = np.meshgrid(x, y)
    return real, imaginary, real + 1j * imaginary


def _region(
    axes: Axes,
    method: tuple[Sequence[float], Sequence[float]],
    embedded: tuple[Sequence[float], Sequence[float]] | None,
    window: tuple[float, float, float],
) -> None:
    x, y, z = _plane(window)
    modulus = np.nan_to_num(abs(ratio(*method, z)), nan=1e9, posinf=1e9)
    axes.contourf(x, y, modulus, levels=[0, 1], colors=[INSIDE])
    axes.contour(x, y, modulus, levels=[1], colors=[LINE], linewidths=1.4)
    if embedded is not None:
        embedded_modulus = np.nan_to_num(abs(ratio(*embedded, z)), nan=1e9, posinf=1e9)
        axes.contour(
            x, y, embedded_modulus, levels=[1], colors=[SECOND], linewidths=1.2, linestyles="--"
        )
        axes.set_xlabel("Re z (dashed: the embedded method)")
    else:
        axes.set_xlabel("Re z")
    _cross(axes)
    axes.set_aspect("equal")
    axes.set_ylabel("Im z")
    axes.set_title("Stability region, |R(z)| ≤ 1", fontsize=11)


def _star(
    axes: Axes, numerator: Sequence[float], denominator: Sequence[float], contact: int
) -> None:
    x, y, z = _plane((-4.5, 4.5, 4.5))
    star = np.nan_to_num(abs(ratio(numerator, denominator, z) * np.exp(-z)), nan=1e9, posinf=1e9)
    axes.contourf(x, y, star, levels=[1, max(float(star.max()), 2.0)], colors=[INSIDE])
    axes.contour(x, y, star, levels=[1], colors=[LINE], linewidths=1.0)
    if len(denominator) > 1:
        poles = np.polynomial.polynomial.polyroots(denominator)
        near = poles[(abs(poles.real) < 4.5) & (abs(poles.imag) < 4.5)]
        axes.plot(near.real, near.imag, "x", color="black", markersize=6)
    _cross(axes)
    axes.set_aspect("equal")
    axes.set_xlabel("Re z (crosses: poles)" if len(denominator) > 1 else "Re z")
    axes.set_title(f"Order star, |R(z)| > |exp z|: {contact + 1} fingers at 0", fontsize=11)


def _oscillation(axes: Axes, numerator: Sequence[float], denominator: Sequence[float]) -> None:
    y = np.linspace(1e-3, np.pi, 800)
    values = ratio(numerator, denominator, 1j * y)
    phase = y - np.unwrap(np.angle(values))
    modulus = abs(values)
    axes.plot(y, phase, color=LINE, label="phase error, y − arg R(iy)")
    axes.plot(y, 1 - modulus, color=SECOND, label="amplitude error, 1 − |R(iy)|")
    limit = 1.05 * float(max(abs(phase).max(), min(abs(1 - modulus).max(), 2.0)))
    axes.set_ylim(-limit, limit)
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_xlabel("y = ωh")
    axes.set_title("Dispersion and dissipation on exp(iy)", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _cross(axes: Axes) -> None:
    axes.axhline(0, color="#888888", linewidth=0.7)
    axes.axvline(0, color="#888888", linewidth=0.7)
