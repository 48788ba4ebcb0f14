"""Systems with constraints on which programs are proved: polynomials drawn once and for all.

Out: fields with polynomials for energy and constraints through a rational point, so that it lies on
the constraints, and its momentum beside them, exactly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import sympy as sp

from hamilforge.gen.declare import kinds, read_kinds, toml_source
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import derivative
from hamilforge.gen.derive.integrators.constraints import constraint_curvatures
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.program.integrators.build_problem import build_problem
from hamilforge.gen.program.integrators.integrator import Problem
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.straight import straight


@dataclass(frozen=True)
class DrawnSystem:
    """A system with polynomials for its energy and constraints, and a rational point of T*M.

    Attributes:
        count: of its constraints.
    """

    field: VectorField
    point: tuple[Fraction, ...]
    count: int

    @cached_property
    def problem(self) -> Problem:
        """Its functions."""
        return build_problem(self.field, False)

    @cached_property
    def curvature(self) -> Function:
        """``dK/dp' g'' dK/dp`` for each constraint."""
        names = ("t", *map(str, self.field.components), *map(str, self.field.parameters))
        return straight("curvature", names, constraint_curvatures(self.field))

    def __str__(self) -> str:
        """How large it is."""
        return f"{len(self.point) // 2} positions, {self.count}"


@cache
def drawn_systems() -> tuple[DrawnSystem, ...]:
    """One with a cubic constraint, and one with two quadratic constraints and a quartic K."""
    return (_drawn(3, 1, 3, "{square}", 1), _drawn(4, 2, 2, "{square} + ({square})**2/3", 2))


def _drawn(size: int, count: int, degree: int, kinetic: str, seed: int) -> DrawnSystem:
    generator = random.Random(seed)

    def number(most: int = 5) -> Fraction:
        return Fraction(generator.randint(1, most), 2)

    def polynomial(names: Sequence[str], degree: int) -> str:
        terms = []
        for power in range(1, degree + 1):
            for _ in range(2):
                factors = "*".join(generator.choice(names) for _ in range(power))
                terms.append(f"({number()})*{factors}")
        return " + ".join(terms)

    q, p = ([f"{letter}{k}" for k in range(1, size + 1)] for letter in "qp")
    square = " + ".join(f"({number()})*{name}**2/2" for name in p)
    energy = f"{kinetic.format(square=square)} + {polynomial(q, 3)}"
    constraints = [polynomial(q, degree) for _ in range(count)]
    lists = (", ".join(f'"{name}"' for name in names) for names in (q, p))
    text = (
        'kind = "hamiltonian"\nname = "drawn"\ntitle = "drawn"\nreference = "drawn"\n'
        f'coordinates = {{ q = [{next(lists)}], p = [{next(lists)}] }}\nenergy = "{energy}"\n'
        'friction = "gamma"\n[parameters]\ngamma = "1/3"\n[constraints]\n'
        + "".join(f'g{k} = "{value}"\n' for k, value in enumerate(constraints, start=1))
    )
    source = toml_source.from_bytes("a drawn system", text.encode())
    declared = read_kinds.read(source, _nothing_else)
    assert isinstance(declared, kinds.Mechanics)
    field = derive_field(declared)
    place = {name: Fraction(generator.randint(-3, 3), 2) for name in q}
    return _through(field, place, [number() for _ in p], count)


def _nothing_else(name: str, _: tuple[str, ...]) -> kinds.Declaration:
    raise DeclarationError.single("a drawn system", f"no '{name}' here")


def _through(
    field: VectorField, place: dict[str, Fraction], momentum: list[Fraction], count: int
) -> DrawnSystem:
    """The constraints moved to vanish at a place; a momentum there whose velocity is along them."""
    positions, momenta = (part.components for part in field.parts)
    at = {x: sp.Rational(place[x.name].numerator, place[x.name].denominator) for x in positions}
    constraints = tuple((name, value - value.xreplace(at)) for name, value in field.constraints)
    slopes = sp.Matrix([[derivative(value, x) for x in positions] for _, value in constraints])
    slopes = slopes.xreplace(at)
    mass = sp.Matrix([[derivative(v, x) for x in momenta] for v in field.parts[0].values])
    mass = mass.xreplace(dict.fromkeys(momenta, sp.S.Zero))  # dK/dp is along it, for K of a square
    p = sp.Matrix([sp.Rational(entry.numerator, entry.denominator) for entry in momentum])
    p = p - slopes.T * (slopes * mass * slopes.T).LUsolve(slopes * mass * p)
    numbers = (*(at[x] for x in positions), *p)
    point = tuple(Fraction(int(entry.p), int(entry.q)) for entry in numbers)
    moved = VectorField(
        field.problem, field.parts, field.parameters, field.energy, field.friction, None, (),
        constraints=constraints,
    )  # fmt: skip
    return DrawnSystem(moved, point, count)
