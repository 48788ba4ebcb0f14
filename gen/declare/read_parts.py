"""What declarations of several kinds have in common: parameters, named numbers, references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, did_you_mean
from hamilforge.gen.declare.expression import DIGITS, ELEMENTWISE, Expression, numerical
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.reader import Reader, inside, shortened
from hamilforge.gen.declare.shapes import SCALAR

#: What letters mean in rules, so that nothing else may be called so.
MEANINGS = frozenset("thn")
Find = Callable[[str, tuple[str, ...]], kinds.Declaration]


def names_at(
    reader: Reader, *path: str, taken: Container[str], optional: bool = False
) -> tuple[str, ...]:
    """A list of names.

    Args:
        reader: the file.
        path: where the list is.
        taken: names that are declared elsewhere.
        optional: whether it may be missing or empty.

    Returns:
        The names; problems are noted by the reader.
    """
    *tables, key = path
    table = reader.table(tables[0]) if tables else reader.source.tables
    names = table.get(key, [] if optional else None)
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not isinstance(names, list) or not texts or not (names or optional):
        reader.problem('a list of names was expected, such as ["theta", "m"]', *path)
        return ()
    for number, name in enumerate(names):
        reader.symbol(name, *path, taken=MEANINGS)
        if name in taken or name in names[:number]:
            reader.problem(f"'{name}' is declared twice", *path)
    return tuple(names)


def parameters(
    reader: Reader, table: str, check: Callable[..., None] | None = None
) -> tuple[kinds.Parameter, ...]:
    """A table of numbers that the user may choose.

    Args:
        reader: the file.
        table: the table's name.
        check: notes a name that cannot be one; what generated optimizers need if None.

    Returns:
        The parameters, in the order of the table; problems are noted by the reader.
    """
    declared = []
    for name, entry in reader.table(table).items():
        (check or reader.hyperparameter)(name, table, name)
        if not isinstance(entry, dict):
            entry = {"default": entry}
        for key in entry:
            if key not in ("default", "domain", "doc"):
                reader.problem("unknown key; expected default, domain or doc", table, name, key)
        declared.append(_parameter(reader, entry, name, (table, name)))
    return tuple(declared)


def hyperparameters(
    reader: Reader, own: frozenset[str] = frozenset(), more: tuple[str, ...] = ()
) -> tuple[kinds.Parameter, ...]:
    """``[hyperparameters]``: numbers, and tuples of numbers with a name for each.

    Those of the outer step may stand in ``[outer.hyperparameters]``; their names are all unlike.

    Args:
        reader: the file.
        own: names of options that hyper-parameters may have here.
        more: domains that there may be beside those of all kinds.

    Returns:
        The numbers, in the order of the tables; problems are noted by the reader.
    """
    declared: list[kinds.Parameter] = []
    for path, table in _tables_of_hyperparameters(reader):
        for name, entry in table.items():
            declared += _hyperparameter(reader, entry, (*path, name), own, more)
    groups = dict.fromkeys((place_of(reader, entry), entry.part_of) for entry in declared)
    taken = Counter([*(name for _, name in groups if name), *(entry.name for entry in declared)])
    for entry in declared:
        if taken[entry.name] > 1:
            at = place_of(reader, entry)
            reader.problem(
                f"'{entry.name}' is declared twice", *at, *("names",) * bool(entry.part_of)
            )
    return tuple(declared)


def _tables_of_hyperparameters(
    reader: Reader,
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The tables that hyper-parameters stand in, each after its key; none if it is no table."""
    yield ("hyperparameters",), reader.table("hyperparameters")
    path = ("outer", "hyperparameters")
    table = reader.table("outer").get("hyperparameters", {})
    if isinstance(table, dict):
        yield path, table
    else:
        reader.problem("a table was expected", *path)


def place_of(reader: Reader, parameter: kinds.Parameter) -> tuple[str, ...]:
    """Where in the file a hyper-parameter is declared, alone or in a tuple."""
    name = parameter.part_of or parameter.name
    places = ((*path, name) for path, table in _tables_of_hyperparameters(reader) if name in table)
    return next(places, ("hyperparameters", name))


def _hyperparameter(
    reader: Reader, entry: Any, at: tuple[str, ...], own: frozenset[str], more: tuple[str, ...]
) -> list[kinds.Parameter]:
    """A number, a choice among names, or the numbers of a tuple."""
    name = at[-1]
    reader.hyperparameter(name, *at, own=own)
    table = entry if isinstance(entry, dict) else {"default": entry}
    keys = ("default", "domain", "doc", "names", *("choices",) * (kinds.CHOICE in more))
    for key in table:
        if key not in keys:
            expected = f"{', '.join(keys[:-1])} or {keys[-1]}"
            reader.problem(f"unknown key; expected {expected}", *at, key)
    if "choices" in table and "choices" in keys:
        return _choice(reader, table, name, at)
    if "names" in table or isinstance(table.get("default"), list):
        return _parts(reader, table, name, at, more)
    return [_parameter(reader, table, name, at, more=more)]


def _choice(
    reader: Reader, table: dict[str, Any], name: str, at: tuple[str, ...]
) -> list[kinds.Parameter]:
    """One of several names."""
    choices, default, doc = (table.get(key, "") for key in ("choices", "default", "doc"))
    for key in ("domain", "names"):
        if key in table:
            reader.problem("a choice has names instead, in choices", *at, key)
    texts = isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
    if not texts or len({*choices}) < max(len(choices), 2):
        reader.problem("a list of two names or more was expected", *at, "choices")
        return []
    for choice in choices:
        reader.symbol(choice, *at, "choices", taken=MEANINGS)
    if default not in choices:
        expected = f"expected one of {', '.join(choices)}"
        message = f"no choice {shortened(default)}; {expected}" if "default" in table else expected
        reader.problem(message + did_you_mean(str(default), choices), *at, "default")
        return []
    number = Fraction(choices.index(default))
    return [kinds.Parameter(name, number, kinds.CHOICE, _doc(reader, doc, at), "", (*choices,))]


def _parts(
    reader: Reader, table: dict[str, Any], name: str, at: tuple[str, ...], more: tuple[str, ...]
) -> list[kinds.Parameter]:
    """The numbers of a tuple, each with its name."""
    names, defaults = table.get("names"), table.get("default")
    if not names or not isinstance(names, list) or not all(isinstance(part, str) for part in names):
        example = 'names = ["beta1", "beta2"]'
        reader.problem(f"a tuple needs {example}, one for each number", *at, "names")
        return []
    count = len(names)
    if "default" not in table:
        reader.problem(f"a tuple needs a default, a list of {count} numbers", *at)
        return []
    if not isinstance(defaults, list) or len(defaults) != count:
        there = f"{len(defaults)} numbers" if isinstance(defaults, list) else shortened(defaults)
        message = f"{there}; a list of {count} was expected, one for each name"
        reader.problem(message, *at, "default")
        return []
    parts = []
    for number, part in enumerate(names):
        reader.hyperparameter(part, *at, "names")
        own: dict[str, Any] = {"default": defaults[number]}
        for key in ("domain", "doc"):
            if key in table:
                value = table[key]
                if isinstance(value, list) and len(value) == count:
                    value = value[number]
                own[key] = value
        none = more if kinds.OR_NONE in more else ()
        parts.append(_parameter(reader, own, part, at, name, none))
    return parts


def _parameter(
    reader: Reader,
    entry: dict[str, Any],
    name: str,
    at: tuple[str, ...],
    part_of: str = "",
    more: tuple[str, ...] = (),
) -> kinds.Parameter:
    """A number with its domain and meaning."""
    special = {*kinds.DISCRETE, *kinds.OF_MATRICES} - {*more} | {kinds.CHOICE}
    domains = [domain for domain in kinds.DOMAINS if domain not in special]
    domain = entry.get("domain", "real")
    if not isinstance(domain, str) or domain not in domains:
        reader.problem(
            f"unknown domain {shortened(domain)}; expected one of {', '.join(domains)}"
            + did_you_mean(str(domain), domains),
            *at,
            "domain",
        )
        domain = "real"
    if "default" not in entry:
        reader.problem("a parameter needs a default", *at)
    before = len(reader.problems)
    none = domain == kinds.OR_NONE and entry.get("default") == kinds.NONE
    default = Fraction(-1) if none else _default(reader, entry, domain, at)
    if len(reader.problems) == before and not none and not inside(default, domain):
        reader.problem(
            f"the default {default} is outside the domain {kinds.DOMAINS[domain]}", *at, "default"
        )
    doc = _doc(reader, entry.get("doc", ""), at)
    return kinds.Parameter(name, default, domain, doc, part_of)


def _doc(reader: Reader, doc: Any, at: tuple[str, ...]) -> str:
    """What a hyper-parameter means."""
    if isinstance(doc, str):
        return doc
    reader.problem("a text was expected", *at, "doc")
    return ""


def _default(reader: Reader, entry: dict[str, Any], domain: str, at: tuple[str, ...]) -> Fraction:
    """A number; that of a flag is true or false, as 1 or 0."""
    if domain != kinds.FLAG:
        return reader.number(entry.get("default", 1), *at, "default")
    value = entry.get("default", False)
    if not isinstance(value, bool):
        reader.problem(f"a flag is true or false, not {shortened(value)}", *at, "default")
    return Fraction(value is True)


def named_numbers(
    reader: Reader, functions: tuple[str, ...]
) -> tuple[tuple[tuple[str, Expression], ...], dict[str, Shape]]:
    """``[constants]``: named numbers, each an expression in those before it; and their shapes."""
    constants: list[tuple[str, Expression]] = []
    known: dict[str, Shape] = {}
    for name, text in reader.table("constants").items():
        at = ("constants", name)
        reader.symbol(name, *at)
        if isinstance(text, dict):
            reader.problem("a text was expected; roots of polynomials are for tableaux", *at)
            continue
        value = reader.expression(text, *at)
        reader.typed(value, SCALAR, known, functions, *at)
        known[name] = SCALAR
        if value:
            constants.append((name, value))
    return tuple(constants), known


def real_values(
    reader: Reader,
    expressions: Iterable[tuple[str, Expression, tuple[str, ...]]],
    known: Mapping[str, Any],
) -> dict[str, Any]:
    """The values of expressions in order; what divides by zero or is not real is noted.

    Args:
        reader: the file.
        expressions: each with a name, which those after it may read, and its key.
        known: the values of other names.

    Returns:
        All values that there are, in mpmath.
    """
    values = dict(known)
    for name, expression, at in expressions:
        text = expression.text
        try:
            with mpmath.workdps(DIGITS + 10):
                value = numerical(expression.tree, values)
        except ZeroDivisionError:
            reader.problem(f"{text} divides by zero", *at)
        except (ArithmeticError, TypeError, ValueError, AttributeError):
            continue  # a name without a value, of which something is said already
        else:
            if not isinstance(value, mpmath.mpf):
                reader.problem(f"{text} is not a real number, or something in it is not", *at)
                continue
            values[name] = value
    return values


def default_numbers(parameters: Iterable[kinds.Parameter]) -> dict[str, Any]:
    """The defaults of parameters, in mpmath."""
    return {
        entry.name: mpmath.mpf(entry.default.numerator) / entry.default.denominator
        for entry in parameters
    }


def are_exact(reader: Reader) -> bool:
    """Whether ``coefficients`` are exact, as they are unless it says decimal."""
    coefficients = reader.text("coefficients", default="exact")
    if coefficients not in ("exact", "decimal"):
        reader.problem("expected 'exact' or 'decimal'", "coefficients")
    return coefficients == "exact"


def reference(
    reader: Reader, wanted: tuple[str, ...], find: Find, *path: str
) -> kinds.Declaration | None:
    """Another declaration, by the name or path at a key.

    Args:
        reader: the file.
        wanted: the kinds that will do.
        find: reads another declaration, from its name or path and the kinds that will do.
        path: the key, from the outermost table on.

    Returns:
        The declaration; None if there is none, with the problem noted by the reader.
    """
    name = reader.text(*path)
    return another(reader, name, wanted, find, *path) if name else None


def another(
    reader: Reader, name: Any, wanted: tuple[str, ...], find: Find, *path: str | int
) -> kinds.Declaration | None:
    """Another declaration, by its name or path.

    Args:
        reader: the file.
        name: what stands there.
        wanted: the kinds that will do.
        find: reads another declaration, from its name or path and the kinds that will do.
        path: the key, from the outermost table on.

    Returns:
        The declaration; None if there is none, with the problem noted by the reader.
    """
    if not isinstance(name, str):
        reader.problem(f"{shortened(name)} is not the name of a declaration", *path)
        return None
    try:
        return find(name, wanted)
    except DeclarationError as error:
        for problem in error.problems:
            if problem.where == "":
                reader.problem(problem.message, *path)
            else:
                reader.problems.append(problem)
        return None


def assignments(
    reader: Reader, own: Container[str] = (), table: str = ""
) -> tuple[kinds.Assignment, ...] | None:
    """The list ``assign``; None where there is none, which is noted.

    Args:
        reader: the file.
        own: targets that have a meaning already and may be assigned.
        table: in which the list stands; the file itself if empty.

    Returns:
        The assignments that could be read.
    """
    path = (table, "assign") if table else ("assign",)
    lines = (reader.table(table) if table else reader.source.tables).get("assign")
    if not isinstance(lines, list) or not lines:
        reader.problem("a list of 'name = expression' was expected", *path)
        return None
    declared = []
    for number, line in enumerate(lines):
        target, equals, text = (line if isinstance(line, str) else "").partition("=")
        if not equals:
            message = f"{shortened(line)} is not of the form 'name = expression'"
            reader.problem(message, *path, number)
            continue
        target = target.strip()
        if target.endswith(("+", "-", "*", "/")):
            name = target.rstrip("+-*/ ")
            message = f"'{target}=' is no assignment; write {name} = {name} {target[-1]} ..."
            reader.problem(message, *path, number)
            continue
        if target not in own:
            reader.symbol(target, *path, number)
        value = reader.expression(text.strip(), *path, number)
        if value:
            declared.append(kinds.Assignment(target, value, number))
    return tuple(declared)


def scope(reader: Reader) -> str:
    """Over what sums run; ``all`` if nothing is said."""
    over = reader.text("reduce", "scope", default="all")
    if over not in kinds.SCOPES:
        reader.problem(
            f"unknown scope '{over}'; expected one of {', '.join(kinds.SCOPES)}"
            + did_you_mean(over, kinds.SCOPES),
            "reduce",
            "scope",
        )
    return over


def settings_of(
    reader: Reader,
    table: Mapping[str, Any],
    inner: Collection[str],
    types: dict[str, Shape],
    stepped: bool = True,
) -> tuple[tuple[str, Expression], ...]:
    """``[set]``: what h and the parameters of system and method are; each may use those before.

    Args:
        reader: the file.
        table: what it says.
        inner: the names that may be set.
        types: of the names that may be used; those that are set are noted.
        stepped: whether there is a step, which must be set.

    Returns:
        Names and values, in their order.
    """
    settings = []
    for name, text in table.items():
        if name not in inner:
            reader.problem(
                f"'{name}' is no parameter of the system or the method; expected one of "
                f"{', '.join(sorted(inner))}" + did_you_mean(name, inner),
                "set",
                name,
            )
        value = reader.expression(text, "set", name)
        reader.typed(value, SCALAR, types, ELEMENTWISE, "set", name)
        types[name] = SCALAR
        if value:
            settings.append((name, value))
    if "h" not in table and stepped:
        reader.problem("the step h must be set", "set")
    return tuple(settings)
