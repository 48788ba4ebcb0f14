"""Declarations of the catalogue, changed at random: what users might write, and what would hurt.

In: a seed.  Out: a declaration's text, whatever has become of it; always the same.
"""

from __future__ import annotations

import random
import re
import tomllib
from functools import cache
from typing import Any

from hamilforge.gen.declare import catalogue

#: Values that no reader expects.
HOSTILE: tuple[Any, ...] = (
    "", " ", 0, 1, -1, 2, 1e-300, "1e300", "1e600", "nan", "inf", -7, 10**30, True, False, [], {},
    [[]], [[], []], [1], ["x"], {"default": 1}, "x" * 300, "q", "p", "t", "h", "0", "1/0", "-",
    "sqrt(-1)", "1/(x - x)", "2**2**2**2", "9**9**9", "x" + "/2" * 400, "(" * 60 + "1" + ")" * 60,
    "\x1b]52;c;YQ==\x07", "\u202etxt", "\u200b", "\u09ea", "Ünïcödé", "[bold]x[/x]", "a\nb", "\x00",
    "log(0)", "exp(1000)", "abs(x)", "sign(p)", "dot(p, p)", "sum(p)", "J(q)", "grad(q)", "1e-400",
    "root", "b", "adjoint", "decimal", "legendre(2)", "legendre(40)", "x**64", "tanh(x)", "gauss2",
    "rk4", "leapfrog", "classical", "../x.toml", "/dev/null", ["D", "1/2"], [["A", 1], ["B", 1]],
    "1/3", "0.333333", "sqrt(2)", "(1 + sqrt(5))/2", 3, 100, 101, "-1/2", [["1/2"]],
    [["1/2", "1/2"]],
)  # fmt: skip
_TOKEN = re.compile(r"\s+|[A-Za-z_0-9.]+|\*\*|.", re.DOTALL)
_SPLICES = "+ - * / ** @ ( ) , 0 1 2 1/2 x y p q t h exp sqrt log sin tanh sum dot".split()


@cache
def originals() -> tuple[dict[str, Any], ...]:
    """The tables of every declaration of the catalogue."""
    return tuple(
        tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
        for path in catalogue.paths()
    )


def mutated(seed: int) -> str:
    """A declaration with one to four changes."""
    generator = random.Random(seed)
    tables = _copied(generator.choice(originals()))
    for _ in range(generator.choice((1, 1, 1, 2, 2, 3, 4))):
        generator.choice(_MUTATIONS)(generator, tables)
    text = written(tables)
    if generator.random() < 0.03:
        at = generator.randrange(len(text) + 1)
        text = text[:at] + generator.choice(('"', "[", "=", "\ufeff", "\x1b", "\n")) + text[at:]
    return text


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    found = [(value, key) for key in keys]
    for key in keys:
        found += _places(value[key])
    return found


def _texts(tables: Any) -> list[tuple[Any, Any]]:
    return [(box, key) for box, key in _places(tables) if isinstance(box[key], str)]


def _delete(generator: random.Random, tables: Any) -> None:
    if places := _places(tables):
        box, key = generator.choice(places)
        del box[key]


def _duplicate(generator: random.Random, tables: Any) -> None:
    if places := _places(tables):
        box, key = generator.choice(places)
        if isinstance(box, list):
            box.insert(key, _copied(box[key]))
        else:
            box[f"{key}{generator.choice(('2', '_', 'x', ''))}"] = _copied(box[key])


def _hostile(generator: random.Random, tables: Any) -> None:
    if places := _places(tables):
        box, key = generator.choice(places)
        box[key] = _copied(generator.choice(HOSTILE))


def _swap(generator: random.Random, tables: Any) -> None:
    """A value from another declaration."""
    if (places := _places(tables)) and (others := _places(generator.choice(originals()))):
        (box, key), (other, its) = generator.choice(places), generator.choice(others)
        box[key] = _copied(other[its])


def _splice(generator: random.Random, tables: Any) -> None:
    """Tokens of a text deleted, doubled, exchanged or inserted."""
    if texts := _texts(tables):
        box, key = generator.choice(texts)
        tokens = _TOKEN.findall(box[key])
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(tokens) + 1)
            match generator.randrange(3):
                case 0:
                    tokens[at:at] = [generator.choice(_SPLICES)]
                case 1:
                    del tokens[at : at + 1]
                case _:
                    tokens[at : at + 1] = tokens[at : at + 2] * generator.choice((1, 2))
        box[key] = "".join(tokens)


def _rename(generator: random.Random, tables: Any) -> None:
    """A letter of a key, or of a text, becomes another."""
    if places := _places(tables):
        box, key = generator.choice(places)
        letter = generator.choice("abcxyzpqthEI_0 9é")
        if isinstance(box, dict) and generator.random() < 0.6:
            at = generator.randrange(len(key) + 1)
            box[key[:at] + letter + key[at + 1 :]] = box.pop(key)
        elif isinstance(box[key], str):
            at = generator.randrange(len(box[key]) + 1)
            box[key] = box[key][:at] + letter + box[key][at + 1 :]


def _nest(generator: random.Random, tables: Any) -> None:
    if places := _places(tables):
        box, key = generator.choice(places)
        for _ in range(generator.choice((1, 2, 40))):
            box[key] = [box[key]] if generator.random() < 0.5 else {"a": box[key]}


def _repeat(generator: random.Random, tables: Any) -> None:
    """A long list, or a long expression."""
    if places := _places(tables):
        box, key = generator.choice(places)
        value, count = box[key], generator.choice((3, 10, 60))
        if isinstance(value, list):
            box[key] = _copied(value) * count
        elif isinstance(value, str):
            box[key] = generator.choice("+*/-@").join([f"({value})"] * count)


_MUTATIONS = (
    _delete, _duplicate, _hostile, _hostile, _hostile, _swap, _swap, _splice, _splice, _splice,
    _rename, _rename, _nest, _repeat,
)  # fmt: skip


def written(tables: dict[str, Any]) -> str:
    """Tables as TOML."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in tables.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'
