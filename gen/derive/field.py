"""The right-hand side of a declared first-order system in SymPy.

In: a declaration.  Out: its components, its field, and what of it holds for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.derive.system import parameter_symbol, t


@dataclass(frozen=True, slots=True)
class VectorField:
    """``y' = f(t, y)``.

    Attributes:
        components: the names of y.
        values: f.
        parameters: symbols of the parameters.
    """

    components: tuple[sp.Symbol, ...]
    values: tuple[Expr, ...]
    parameters: tuple[sp.Symbol, ...]

    @property
    def autonomous(self) -> bool:
        """Whether f does not depend on t."""
        return not any(value.has(t) for value in self.values)

    @property
    def divergence(self) -> Expr:
        """The trace of the Jacobian: zero where volume is preserved."""
        pairs = zip(self.components, self.values, strict=True)
        return sp.simplify(sum((sp.diff(value, name) for name, value in pairs), sp.S.Zero))


def derive_field(declaration: kinds.System) -> VectorField:
    """The field of a declared system."""
    components = {name: sp.Symbol(name, real=True) for name, _ in declaration.equations}
    parameters = {entry.name: parameter_symbol(entry) for entry in declaration.parameters}
    symbols = {**parameters, **components, "t": t}
    values = tuple(to_sympy(value, symbols) for _, value in declaration.equations)
    return VectorField(tuple(components.values()), values, tuple(parameters.values()))
