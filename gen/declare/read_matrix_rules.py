"""The reader of optimizers of matrices, on a manifold or without one.

In: the file of an optimizer with ``manifold = "stiefel"``, or with ``point = { X = ["n", "p"] }``,
``unknowns`` and ``assign``.  Out: a :class:`MatrixRule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.choices import Choices
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    ELEMENTWISE,
    GRADIENT,
    INNER,
    ON_MANIFOLDS,
    PROJECT,
    REPEAT,
    RETRACT,
    TRANSPORT,
    Expression,
    Name,
    Node,
    Operation,
    constant,
    walk,
)
from hamilforge.gen.declare.kinds import Assignment, Shape
from hamilforge.gen.declare.matrix_functions import ALONG, IDENTITY, UNIT, as_matrix, dimensions
from hamilforge.gen.declare.read_manifolds import FUNCTIONS, POINT, point
from hamilforge.gen.declare.read_manifolds import GRADIENT as SLOPES
from hamilforge.gen.declare.read_parts import (
    MEANINGS,
    Find,
    assignments,
    hyperparameters,
    names_at,
    reference,
)
from hamilforge.gen.declare.read_rules import OWN, options, refuse_unmet, requirements
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, infer_shape, written

_KEYS = ("unknowns", "assign", "vector", "hyperparameters", "options", "require")
#: What says where parameters lie, and how they move there.
GEOMETRY = ("manifold", "metric", "retraction")
#: The number of the step, from 1.
COUNT = "n"
#: The shape of an unknown that is one number for each matrix.
NUMBER = (ALONG, ALONG)


def matrix_rule(reader: Reader, head: kinds.Head, find: Find) -> kinds.MatrixRule:
    """An optimizer whose parameters are matrices.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The rule, its shapes checked.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    on_manifold = "manifold" in reader.source.tables
    reader.keys((*_KEYS, *(GEOMETRY if on_manifold else ("point",))))
    manifold: kinds.Manifold | None = None
    metric = retraction = ""
    if on_manifold:
        manifold, metric, retraction = geometry(reader, find, (kinds.FREE,))
        declared = manifold.shape
        is_vector = manifold.is_vector
    else:
        own = point(reader)
        if own is None:
            reader.finish()
        assert own is not None
        declared = as_matrix(own)
        is_vector = len(own) == 1
    numbers = hyperparameters(reader, OWN, (*kinds.DISCRETE, *kinds.OF_MATRICES))
    taken = {name for entry in numbers for name in (entry.name, entry.part_of, *entry.choices)}
    unknowns = _unknowns(reader, declared, {*taken, SLOPES})
    names = tuple(unknowns)
    lines = assignments(reader, names) or ()
    of_vectors = _of_vectors(reader, names, declared, is_vector, on_manifold)
    chosen, decay_at = options(reader, {entry.name for entry in numbers})
    if decay_at is not None:
        reader.problem("there is one gradient", "options", "decay_at")
    if chosen and manifold is not None:
        reader.problem("points of a manifold do not shrink: there is no weight decay", "options")
    required = _required(reader, numbers)
    reader.finish()
    refuse_unmet(reader, required, numbers)
    rule = kinds.MatrixRule(
        head,
        manifold,
        metric,
        retraction,
        declared,
        is_vector,
        numbers,
        names,
        (*unknowns.values(),),
        lines,
        of_vectors,
        chosen,
        required,
        _violations(reader, retraction),
    )
    _Check(reader, rule).run()
    reader.finish()
    resolved = Choices(numbers).resolved
    return replace(
        rule,
        assignments=tuple(replace(line, value=resolved(line.value)) for line in lines),
        of_vectors=tuple(replace(line, value=resolved(line.value)) for line in of_vectors),
        violations=tuple((name, resolved(value)) for name, value in rule.violations),
    )


def _of_vectors(
    reader: Reader, names: tuple[str, ...], declared: Shape, is_vector: bool, on_manifold: bool
) -> tuple[Assignment, ...]:
    """The table ``vector``: the lines of parameters with one axis; none where it is missing."""
    if "vector" not in reader.source.tables:
        return ()
    for key in reader.table("vector"):
        if key != "assign":
            message = "unknown key; expected assign" + did_you_mean(key, ("assign",))
            reader.problem(message, "vector", key)
    if is_vector:
        reader.problem(f"{POINT} is a vector already", "vector")
    elif on_manifold:
        reader.problem("points of this manifold are matrices", "vector")
    elif len({*declared}) < len(declared):
        message = f"a vector is {POINT} with one column, and {POINT} is {written(declared)}"
        reader.problem(message, "vector")
    return assignments(reader, names, "vector") or ()


def _required(
    reader: Reader, numbers: Iterable[kinds.Parameter]
) -> tuple[tuple[Expression, str], ...]:
    """``[require]``, in numbers."""
    choices = Choices(numbers)
    known = {entry.name: SCALAR for entry in numbers}
    required = []
    for condition, message in requirements(reader):
        try:
            choices.refuse_none(condition)
            compared = choices.compared(condition)
            infer_shape(compared, known, ELEMENTWISE)
            required.append((compared, message))
        except ExpressionError as error:
            reader.at_expression(condition.text, error, ("require", condition.text))
    return tuple(required)


def _violations(reader: Reader, retraction: str) -> tuple[tuple[str, Expression], ...]:
    """Claims of the constraint after a step."""
    if retraction != kinds.FREE:
        return ()
    table = reader.table("claims")
    if kinds.VIOLATION not in table:
        reader.problem(
            "without a retraction points leave the manifold: a claim says by how much, such as "
            'violation = "lr**2*transpose(R) @ R"',
            "claims",
        )
    return tuple(
        (name, value)
        for name in (kinds.VIOLATION, kinds.VIOLATION_OFF)
        if name in table and (value := reader.expression(table[name], "claims", name))
    )


def _unknowns(reader: Reader, declared: Shape, taken: set[str]) -> dict[str, Shape]:
    """The point and the arrays of the state, with their shapes: that of the point in a list.

    Where nothing is said there is no state.
    """
    table = reader.source.tables.get("unknowns")
    if table is None:
        return {POINT: declared}
    if not isinstance(table, dict):
        names = names_at(reader, "unknowns", taken=taken)
        if names and names[0] != POINT:
            reader.problem(f"the first unknown is the point, and is called {POINT}", "unknowns")
        return dict.fromkeys(names, declared)
    known = dimensions(declared)
    shapes = {POINT: declared}
    for name, axes in table.items():
        at = ("unknowns", name)
        if name != POINT:
            reader.symbol(name, *at, taken={*taken, *MEANINGS})
        texts = [str(axis) for axis in axes] if isinstance(axes, list) else []
        if len(texts) != 2 or not {*texts} <= {*known, ALONG}:
            expected = f"of {', '.join(known)} and 1"
            reader.problem(f"a list of two dimensions was expected, {expected}", *at)
        elif name == POINT and tuple(texts) != declared:
            reader.problem(f"{POINT} is {written(declared)}", *at)
        else:
            shapes[name] = (texts[0], texts[1])
    return shapes


def geometry(
    reader: Reader, find: Find, others: tuple[str, ...] = ()
) -> tuple[kinds.Manifold, str, str]:
    """The manifold, and which of its metrics and retractions; its first ones if none is named.

    Args:
        reader: the file.
        find: reads another declaration, from its name or path and the kinds that will do.
        others: what may stand in the place of a retraction.

    Returns:
        The manifold, the name of the metric, that of the retraction.

    Raises:
        DeclarationError: there is no such manifold.
    """
    manifold = reference(reader, ("manifold",), find, "manifold")
    reader.finish()
    assert isinstance(manifold, kinds.Manifold)
    names = []
    for key, known in (
        ("metric", tuple(metric.name for metric in manifold.metrics)),
        ("retraction", (*(own.name for own in manifold.retractions), *others)),
    ):
        name = reader.text(key, default=known[0])
        if name not in known:
            reader.problem(
                f"{shortened(name)}; {manifold.head.name} has {', '.join(known)}"
                + did_you_mean(name, known),
                key,
            )
        names.append(name)
    metric, retraction = names
    return manifold, metric, retraction


class _Check:
    """Shapes, and that everything that is kept is assigned.

    Args:
        reader: the file.
        rule: what it says.
    """

    def __init__(self, reader: Reader, rule: kinds.MatrixRule) -> None:
        self._reader, self._rule = reader, rule
        self._numbers = {entry.name: SCALAR for entry in rule.hyperparameters}
        self._choices = Choices(rule.hyperparameters)
        self._dimensions = dimensions(rule.shape)
        self._known = {**self._numbers, COUNT: SCALAR}
        self._known |= dict.fromkeys(set(self._dimensions) - {*self._known}, SCALAR)
        own: tuple[str, ...] = ()
        if rule.manifold is not None:
            own = (*ON_MANIFOLDS, INNER)
            if rule.retraction == kinds.FREE:
                own = (PROJECT, GRADIENT, INNER)
        self._functions = (*FUNCTIONS, "grad", REPEAT, *own)

    def run(self) -> None:
        """Note what is wrong."""
        rule, reader = self._rule, self._reader
        self._choice_names()
        self._assignments(rule.assignments, ())
        if rule.of_vectors:
            self._assignments(rule.of_vectors, ("vector",))
        lines = (*rule.assignments, *rule.of_vectors)
        read = {name for line in lines for name in line.value.names()}
        read |= {name for condition, _ in rule.requirements for name in condition.names()}
        for entry in rule.hyperparameters:
            if entry.name not in read:
                reader.problem(f"nothing reads '{entry.name}'", "hyperparameters", entry.name)

    def _choice_names(self) -> None:
        """What is chosen from means nothing else."""
        taken = {*self._numbers, *self._rule.unknowns, *self._dimensions, SLOPES, COUNT}
        for entry in self._rule.hyperparameters:
            for name in taken.intersection(entry.choices):
                message = f"'{name}' cannot be a choice: it has a meaning already"
                self._reader.problem(message, "hyperparameters", entry.name, "choices")

    def _assignments(self, lines: Iterable[Assignment], table: tuple[str, ...]) -> None:
        """The lines of a step."""
        rule, reader = self._rule, self._reader
        own = rule.shapes_of_vectors if table else rule.shapes
        unknowns = dict(zip(rule.unknowns, own, strict=True))
        sizes = dimensions(own[0])  # of a vector there is no name for how many columns it has
        lacking = {*self._dimensions} - {*sizes, *self._numbers, COUNT}
        known = {name: shape for name, shape in self._known.items() if name not in lacking}
        shapes: dict[str, Shape] = {**known, **unknowns}
        assigned: set[str] = set()
        for line in lines:
            place: tuple[str | int, ...] = (*table, "assign", line.number)
            if line.target in assigned:
                reader.problem(f"'{line.target}' is assigned twice", *place)
            if line.target in {*self._known, *self._choices.names, SLOPES}:
                message = f"'{line.target}' cannot be assigned: it has a meaning already"
                reader.problem(message, *place)
            try:
                self._count(line.value.tree)
                value = self._choices.compared(line.value)
                shape = infer_shape(value, shapes, self._functions, sizes)
                wanted = unknowns.get(line.target, shape)
                if not shape and wanted == NUMBER:
                    shape = NUMBER
                if shape != wanted:
                    message = f"{written(shape)}; {written(wanted)} was expected"
                    raise ExpressionError(message, 0, len(line.value.text))
                self._calls(line)
            except ExpressionError as error:
                reader.at_expression(line.value.text, error, place)
                return
            self._order(line, assigned, place)
            shapes[line.target] = shape
            assigned.add(line.target)
        if not table:
            self._violations(shapes, sizes)
        for name in rule.unknowns[: 1 if table else None]:
            if name not in assigned:
                reader.problem(f"'{name}' is never assigned", *table, "assign")
        if not any("grad" in line.value.functions() for line in lines):
            reader.problem(f"a rule needs grad({POINT})", *table, "assign")

    def _violations(self, shapes: Mapping[str, Shape], sizes: tuple[str, ...]) -> None:
        """Claims of the constraint after a step have its shape."""
        rule, reader = self._rule, self._reader
        if rule.manifold is None or not rule.violations:
            return
        of_point = {POINT: rule.shape}
        wanted = infer_shape(rule.manifold.constraint, of_point, FUNCTIONS, sizes)
        for name, value in rule.violations:
            try:
                compared = self._choices.compared(value)
                shape = infer_shape(compared, shapes, FUNCTIONS, sizes)
                if shape != wanted:
                    message = f"{written(shape)}; the constraint is {written(wanted)}"
                    raise ExpressionError(message, 0, len(value.text))
            except ExpressionError as error:
                reader.at_expression(value.text, error, ("claims", name))

    def _count(self, node: Node) -> None:
        """Refuse the number of the step where it looks like a dimension of the declaration's own.

        Raises:
            ExpressionError: it does.
        """
        if self._rule.manifold is not None or COUNT not in self._dimensions:
            return
        if isinstance(node, Name) and node.name == COUNT:
            message = f"'{COUNT}' is the number of the step; call the dimension otherwise"
            raise ExpressionError(message, node.start, node.stop)
        if isinstance(node, Operation) and node.op not in (IDENTITY, UNIT):
            for arg in node.args:
                self._count(arg)

    def _calls(self, line: Assignment) -> None:
        """What functions are called with.

        Raises:
            ExpressionError: one has no meaning.
        """
        counts = {e.name for e in self._rule.hyperparameters if e.domain == kinds.COUNT}
        for node in walk(line.value.tree):
            if not isinstance(node, Operation):
                continue
            first = node.args[0]
            if node.op == "grad" and not (isinstance(first, Name) and first.name == POINT):
                message = f"the gradient is taken at {POINT}: grad({POINT})"
                raise ExpressionError(message, node.start, node.stop)
            if node.op != REPEAT:
                continue
            number = constant(first)
            whole = number is not None and number >= 1 and number.denominator == 1
            if not (whole or (isinstance(first, Name) and first.name in counts)):
                message = 'a whole number or a hyper-parameter with domain = "count" was expected'
                raise ExpressionError(message, first.start, first.stop)

    def _order(self, line: Assignment, assigned: set[str], place: tuple[str | int, ...]) -> None:
        """Before and after the point moves."""
        rule, reader, called = self._rule, self._reader, line.value.functions()
        if TRANSPORT in called and POINT not in assigned:
            reader.problem(f"transport(...) leads to the new {POINT}, so it comes after", *place)
        if {"grad", GRADIENT, RETRACT} & called and POINT in assigned:
            reader.problem(
                f"grad, gradient and retract are taken at the {POINT} before the step: once "
                f"{POINT} is assigned they have no meaning",
                *place,
            )
        if line.target == POINT and rule.retraction not in ("", kinds.FREE):
            whole = line.value.tree
            if getattr(whole, "op", "") != RETRACT:
                reader.problem("a point of a manifold moves by retract(...)", *place)
