"""Errors that every solver of stages raises."""

from __future__ import annotations

from typing import Any


class IntegrationError(RuntimeError):
    """A step that could not be taken; never a wrong state.

    Attributes:
        t: where the step began.
        step: its number, from 0.
        residual: of the solve that failed; 0 if none did.
        solution: what was computed before.
    """

    def __init__(
        self, message: str, t: float, step: int, residual: float, solution: Any = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.t, self.step, self.residual, self.solution = t, step, residual, solution

    def __reduce__(self) -> tuple[Any, ...]:
        own = (self.message, self.t, self.step, self.residual, self.solution)
        return type(self), own, {"__notes__": self.__notes__} if hasattr(self, "__notes__") else {}
