"""A discrete gradient as a method for gradient flows: the text that its generated files share.

In: nodes and weights, or directions.  Out: header, and docstring with the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.emit.text import alone_header, escaped, wrapped
from hamilforge.gen.program.integrators.integrator import DiscreteGradient
from hamilforge.gen.prove.report import Report


@dataclass(frozen=True)
class DescentProduct:
    """What the templates of all backends read of a discrete gradient."""

    gradient: DiscreteGradient
    method: kinds.DiscreteGradient
    report: Report
    template: str = ""
    kind: ClassVar[str] = "descent"

    @property
    def name(self) -> str:
        """``<discrete gradient>__descent``."""
        return f"{self.method.head.name}__descent"

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        return alone_header(self.method, self.template)

    @property
    def drawn(self) -> bool:
        """Whether each step draws the direction along which it moves."""
        return self.method.increments == "random"

    @cached_property
    def docstring(self) -> str:
        """Title, the step and what is proved of it, reference."""
        head, order = self.method.head, self.report["gradient_flow_order"]
        lines = [*wrapped(f"{escaped(head.title)}, as steps that descend."), ""]
        lines += ["    v = u - h grad(u, v),  grad(u, v) . (v - u) = J(v) - J(u)", ""]
        proved = "Proved: J(v) - J(u) = -|v - u|^2/h for every h"
        proved += "." if order is None else f"; order {order} on u' = -grad J(u)."
        lines += [*wrapped(proved), ""]
        lines += wrapped(f"Reference: {escaped(head.reference)}")
        return '"""' + "\n".join(lines) + '\n"""'
