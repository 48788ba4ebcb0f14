"""Whether a field can move points independently: what ``hf.controllability`` is given, made exact.

In: a field by name or path; points as numbers, a CSV file, or how many to draw; sizes, values of
parameters and held controls.  Out: the report of :mod:`prove.networks.controllability`.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError, did_you_mean
from hamilforge.gen.fields import draws
from hamilforge.gen.fields.declared import MOST_CONTROLS, Setting
from hamilforge.gen.prove.networks.controllability import prove_controllability
from hamilforge.gen.prove.report import Report

#: The dimension of states whose size nothing says.
WIDTH = 2
MOST_POINTS = 100_000
MOST_BYTES = 64_000_000


def controllability(
    field: str | Path,
    points: Any,
    sizes: Mapping[str, int] | None,
    parameters: Mapping[str, Any] | None,
    degree: int | None,
    prime: int,
    seed: int,
) -> Report:
    """The report; see :func:`hamilforge.facade.controllability`.

    Args:
        field: by name or path.
        points: `(N, width)`, a path to a CSV file, or N.
        sizes: of dimensions.
        parameters: values of parameters and of controls that are held.
        degree: the bound, or None.
        prime: modulo which ranks are computed.
        seed: of what is drawn.

    Returns:
        What was found.
    """
    where = field if "/" in str(field) or str(field).endswith(".toml") else f"field/{field}"
    declaration = catalogue.load(where)
    if not isinstance(declaration, kinds.Field):
        raise DeclarationError.single(str(field), "points are moved by a field, and this is none")
    if isinstance(prime, bool) or not isinstance(prime, int) or not 2 < prime < 2**31:
        raise ValueError(f"prime = {prime!r}: a prime below 2**31 was expected")
    if not sp.isprime(prime):
        raise ValueError(f"prime = {prime} is not prime")
    if degree is not None:
        _whole("degree", degree, 1, 400)
    _whole("seed", seed, 0, 2**63)
    places = _read(points)
    dimensions = _sizes(declaration, dict(sizes or {}), places)
    known = _known(declaration, dimensions, dict(parameters or {}))
    known |= draws.fixed(declaration, dimensions, seed)
    setting = Setting(declaration, dimensions, known, _entries(declaration, dimensions, known))
    if not setting.controls:
        raise DeclarationError.single(str(field), "it has no control that is free")
    if len(setting.controls) > MOST_CONTROLS:
        raise ValueError(f"{len(setting.controls)} free controls; at most {MOST_CONTROLS} are read")
    notes = []
    if any(array.draw is not None for array in declaration.arrays):
        notes.append(f"Fixed arrays are drawn from seed {seed}.")
    if isinstance(places, int):
        places = draws.points(places, setting.width, seed)
        notes.append(f"The points are drawn, from seed {seed}, in [-1, 1].")
    elif len(places[0]) != setting.width:
        raise ValueError(
            f"points have {len(places[0])} coordinates, and the states of "
            f"{declaration.head.name} have {setting.width}"
        )
    return prove_controllability(setting, places, degree, prime, notes)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < low:
        raise ValueError(f"{name} = {value!r}: a whole number from {low} was expected")
    if int(value) > high:
        raise ValueError(f"{name} = {value}: at most {high} is taken")


def _read(points: Any) -> int | list[list[Fraction]]:
    if isinstance(points, str | Path) and not str(points).strip().isdigit():
        return _file(Path(points))
    if isinstance(points, str):
        points = int(points)
    if isinstance(points, numbers.Number):
        _whole("points", points, 1, MOST_POINTS)
        return int(points)  # type: ignore[call-overload]
    rows = points.tolist() if hasattr(points, "tolist") else points
    if not isinstance(rows, Sequence) or not rows:
        raise ValueError("points: rows of coordinates, a CSV file, or how many to draw")
    return _table([row if isinstance(row, Sequence) else [row] for row in rows], "points")


def _file(path: Path) -> list[list[Fraction]]:
    if not path.is_file():
        raise ValueError(f"points: no file '{path}', and no whole number")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: at most {MOST_BYTES} bytes are read")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file") from error
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    if rows and not any(_is_number(entry) for entry in rows[0]):
        rows = rows[1:]  # the names of the columns
    if not rows:
        raise ValueError(f"{path}: no points")
    return _table([[entry.strip() for entry in row] for row in rows], str(path))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(rows: Sequence[Sequence[Any]], where: str) -> list[list[Fraction]]:
    if len(rows) > MOST_POINTS:
        raise ValueError(f"{where}: {len(rows)} points; at most {MOST_POINTS} are read")
    width = len(rows[0])
    table = []
    for number, row in enumerate(rows, 1):
        if len(row) != width or not width:
            raise ValueError(
                f"{where}: point {number} has {len(row)} coordinates, the first has {width}"
            )
        table.append([exact(entry, f"{where}: point {number}") for entry in row])
    return table


def exact(value: Any, where: str) -> Fraction:
    """A number as a fraction: floats are dyadic, texts decimal or quotients.

    Raises:
        ValueError: it is no finite rational number.
    """
    if isinstance(value, str) and len(value) > 60:
        raise ValueError(f"{where}: a number with more than 60 characters")
    try:
        if isinstance(value, str) and "e" in value.lower() and abs(float(value)) > 1e300:
            raise OverflowError
        small = isinstance(value, str) and "e-" in value.lower()
        if small and len(value.lower().partition("e-")[2]) > 3:
            raise OverflowError
        return Fraction(value.item() if isinstance(value, np.generic) else value)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise ValueError(f"{where}: {value!r} is no finite rational number") from None


def _sizes(
    field: kinds.Field, sizes: dict[str, int], places: int | list[list[Fraction]]
) -> dict[str, int]:
    """A size for every dimension that has a name."""
    shapes = [shape for _, shape in (*field.states, *field.controls)]
    shapes += [array.shape for array in field.arrays]
    known = list(dict.fromkeys(e for shape in shapes for e in shape if not e.isdigit()))
    for name, size in sizes.items():
        if name not in known:
            raise ValueError(
                f"no dimension '{name}'; those of {field.head.name} are: "
                f"{', '.join(known) or 'none'}" + did_you_mean(name, known)
            )
        _whole(f"the size of '{name}'", size, 1, 1000)
    of_states = [shape[0] for _, shape in field.states]
    for name in known:
        if name not in sizes:
            alone = of_states == [name]
            if alone and not isinstance(places, int):
                sizes[name] = len(places[0])
            elif alone:
                sizes[name] = WIDTH
            else:
                raise ValueError(f"a size for '{name}' is missing, as in sizes = {{'{name}': 2}}")
    return sizes


def _known(field: kinds.Field, sizes: Mapping[str, int], values: dict[str, Any]) -> dict[str, Any]:
    """Exact values of the parameters, and of the controls that are held."""
    names = [parameter.name for parameter in field.parameters]
    shapes = dict(field.controls)
    for name in values:
        if name not in names and name not in shapes:
            offered = [*names, *shapes]
            raise ValueError(
                f"no parameter or control '{name}'; those of {field.head.name} are: "
                f"{', '.join(offered)}" + did_you_mean(name, offered)
            )
    known: dict[str, Any] = {}
    for parameter in field.parameters:
        known[parameter.name] = exact(values.get(parameter.name, parameter.default), parameter.name)
    for name, declared in shapes.items():
        if name in values:
            array = np.array(values[name], dtype=object)
            shape = tuple(int(sizes.get(e, e)) for e in declared)
            if array.shape != shape:
                raise ValueError(f"'{name}' has shape {array.shape}; {shape} was expected")
            flat = np.empty(array.size, dtype=object)
            flat[:] = [exact(entry, name) for entry in array.ravel()]
            known[name] = flat.reshape(shape) if shape else flat.item()
    return known


def _entries(
    field: kinds.Field, sizes: Mapping[str, int], known: Mapping[str, Any]
) -> tuple[str, ...]:
    """The names of the entries of the controls that are free."""
    entries = []
    for name, declared in field.controls:
        if name not in known:
            shape = tuple(int(sizes.get(e, e)) for e in declared)
            if int(np.prod(shape)) > MOST_CONTROLS:
                raise ValueError(f"'{name}' has more than {MOST_CONTROLS} entries")
            entries += [
                name + (f"[{','.join(str(k + 1) for k in index)}]" if shape else "")
                for index in np.ndindex(*shape)
            ]
    return tuple(entries)
