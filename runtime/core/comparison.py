"""What a comparison of backends with the interpretation of a program found.

In: deviations.  Out: a verdict, and a table to read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one backend is from the reference."""

    backend: str
    case: str
    dtype: str
    ulps: float
    holds: bool


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
                f"{deviation.ulps:6.2f} ulp{verdict}"
            )
        return "\n".join(lines)
