"""What a caller may set of a field, a lattice or a method instead of its declaration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from numbers import Integral
from typing import TypedDict

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, ExpressionError, Problem, caret
from hamilforge.gen.declare.expression import ELEMENTWISE
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_lattices import MOST_SITES
from hamilforge.gen.declare.shapes import SCALAR, infer_shape


class Place(TypedDict, total=False):
    """Where the points of an optimizer lie, and how they move; what is missing is as declared."""

    manifold: str | None
    metric: str | None
    retraction: str | None


class Variation(Place, total=False):
    """Choices of a caller; those that are missing are as declared.

    Attributes:
        activation: what sigma(x) is, an expression in x.
        sizes: of dimensions that code is made for.
        by_stage: whether every stage of a layer has controls of its own.
        order: of a method that has all of them.
    """

    activation: str | None
    sizes: Mapping[str, int] | None
    by_stage: bool
    order: int | None


def is_any(choices: Variation) -> bool:
    """Whether something was chosen."""
    return any(
        value is not None and value is not False and value != {} for value in choices.values()
    )


def with_sites(declaration: kinds.Mechanics, sizes: Mapping[str, int] | None) -> kinds.Mechanics:
    """The same lattice with a number of sites.

    Raises:
        DeclarationError: neither the caller nor the declaration says how many, or the declaration
            has no sites.
        ValueError: a size is that of something else, or no positive number.
    """
    where, sites = declaration.head.source.where, declaration.sites
    if sites is None:
        if sizes:
            raise DeclarationError.single(
                where, f"'{declaration.head.name}' has no sites: no size of it can be chosen"
            )
        return declaration
    if sizes is not None and not isinstance(sizes, Mapping):
        raise ValueError(f"sizes = {sizes!r}: numbers by name were expected, as in {{'N': 100}}")
    for name, size in (sizes or {}).items():
        if name != sites.name:
            raise ValueError(
                f"no dimension '{name}'; that of {declaration.head.name} is {sites.name}"
            )
        _check_size(name, size)
        if size > MOST_SITES:
            raise ValueError(f"{name} = {size}: at most {MOST_SITES} sites")
    count = (sizes or {}).get(sites.name, sites.count)
    if count is None:
        raise DeclarationError.single(
            where,
            f"how many sites there are is not said: --size {sites.name}=100, "
            f"sizes={{'{sites.name}': 100}}, or [sites] {sites.name} = 100",
            "coordinates",
        )
    varied = tuple(f"--size {name}={size}" for name, size in (sizes or {}).items())
    return dataclasses.replace(
        declaration, sites=dataclasses.replace(sites, count=int(count)), varied=varied
    )


def _check_size(name: str, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(f"the size of '{name}' is {size!r}: a positive whole number was expected")


def vary(declaration: kinds.Field, choices: Variation) -> kinds.Field:
    """The same field as a caller wants it.

    Raises:
        DeclarationError: the activation is no expression in x, or the field has no ``sigma``; or
            it has no controls to be set by stage.
        ValueError: a dimension is none of the field, or its size no positive number.
    """
    activation = choices.get("activation")
    if activation is not None:
        declaration = _with_activation(declaration, activation)
    if choices.get("by_stage"):
        declaration = _by_stage(declaration)
    sizes = choices.get("sizes")
    return _with_sizes(declaration, sizes) if sizes else declaration


def _by_stage(declaration: kinds.Field) -> kinds.Field:
    if not declaration.controls:
        raise DeclarationError.single(
            declaration.head.source.where, f"'{declaration.head.name}' has no controls"
        )
    return dataclasses.replace(
        declaration, varied=(*declaration.varied, "--by-stage"), by_stage=True
    )


def _with_activation(declaration: kinds.Field, text: str) -> kinds.Field:
    """The same field with another activation."""
    where = declaration.head.source.where
    if declaration.activation is None:
        raise DeclarationError.single(
            where, f"'{declaration.head.name}' does not use sigma(...): it has no activation to set"
        )
    try:
        activation = parse(text)
        infer_shape(activation, {"x": SCALAR}, ELEMENTWISE)
    except ExpressionError as error:
        problem = Problem(
            "", None, "activation", error.message, caret(text, error.start, error.stop)
        )
        raise DeclarationError((problem,)) from error
    varied = (*declaration.varied, f"--activation '{text}'")
    return dataclasses.replace(declaration, activation=activation, varied=varied)


def _with_sizes(declaration: kinds.Field, sizes: Mapping[str, int]) -> kinds.Field:
    """The same field with numbers for some of its dimensions."""
    arrays = (*declaration.states, *declaration.controls)
    shapes = [shape for _, shape in arrays] + [array.shape for array in declaration.arrays]
    known = dict.fromkeys(e for shape in shapes for e in shape if not e.isdigit())
    for name, size in sizes.items():
        if name not in known:
            raise ValueError(
                f"no dimension '{name}'; those of {declaration.head.name} are: "
                f"{', '.join(known) or 'none'}"
            )
        _check_size(name, size)

    def numbered(
        declared: tuple[tuple[str, Shape], ...],
    ) -> tuple[tuple[str, Shape], ...]:
        return tuple(
            (name, tuple(str(sizes.get(dimension, dimension)) for dimension in shape))
            for name, shape in declared
        )

    return dataclasses.replace(
        declaration,
        states=numbered(declaration.states),
        controls=numbered(declaration.controls),
        arrays=tuple(
            dataclasses.replace(array, shape=shape)
            for array, (_, shape) in zip(
                declaration.arrays,
                numbered(tuple((array.name, array.shape) for array in declaration.arrays)),
                strict=True,
            )
        ),
        varied=(*declaration.varied, *(f"--size {name}={size}" for name, size in sizes.items())),
        fixed=tuple(sizes.items()),
    )
