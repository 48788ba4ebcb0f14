"""What a comparison of backends with the interpretation of a program found.

In: deviations.  Out: a verdict, and a table to read.
"""

from __future__ import annotations

from dataclasses import dataclass

#: From how many units in the last place on it is said why that may be so.
MUCH = 10.0


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one backend is from the reference.

    Attributes:
        ulps: in units in the last place.
        bounds: in what rounding may do to it, at most 1 where it holds; None where that is not
            computed.
    """

    backend: str
    case: str
    dtype: str
    ulps: float
    holds: bool
    bounds: float | None = None

    @property
    def size(self) -> str:
        """How far, as text; with what rounding may do where that is much."""
        ulps = f"{self.ulps:6.2f}" if self.ulps < 1e4 else f"{self.ulps:6.1e}"
        if self.bounds is None or self.ulps < MUCH:
            return f"{ulps} ulp"
        return f"{ulps} ulp, {self.bounds:.2g} of the bound of rounding errors"


@dataclass(frozen=True, slots=True)
class Verification:
    """All deviations of a product."""

    name: str
    deviations: tuple[Deviation, ...]

    @property
    def holds(self) -> bool:
        """Whether every backend agrees."""
        return all(deviation.holds for deviation in self.deviations)

    def __str__(self) -> str:
        lines = [f"verify {self.name}: {'agree' if self.holds else 'DISAGREE'}"]
        for deviation in self.deviations:
            verdict = "" if deviation.holds else "  TOO FAR"
            lines.append(
                f"  {deviation.backend:<18} {deviation.dtype:<8} {deviation.case:<22} "
                f"{deviation.size}{verdict}"
            )
        return "\n".join(lines)
