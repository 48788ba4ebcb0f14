"""The report: properties, how each was proved, and what became of the author's claims.

A property that does not exist is None, with its reason under ``<name>_why``.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare.budget import PROOF, Allowance, BudgetError, within
from hamilforge.gen.declare.errors import (
    DeclarationError,
    ExpressionError,
    NotDerivableError,
    Problem,
    caret,
    did_you_mean,
)
from hamilforge.gen.declare.expression import ELEMENTWISE, FUNCTIONS, Name, numerical, walk
from hamilforge.gen.declare.kinds import Head
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.shapes import SCALAR, infer_shape
from hamilforge.gen.declare.visible import visible
from hamilforge.gen.derive.calculus import to_sympy

#: The evidence of a proof that took longer than its budget.
UNFINISHED = "a proof that was not finished"
#: At how many drawn points two formulas are compared.
POINTS = 4
#: A decimal number, with the digits of ASCII.
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?")

Value = int | float | str | bool | dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One property.

    Attributes:
        evidence: what was computed.
        reach: for which systems, dimensions and points it holds.
        why: why there is no value, if there is none.
        exact: the value as an exact text, if it is known in one.
        brief: what is shown to readers where the value is a long text.
        where: what letters in it stand for.
    """

    name: str
    value: Value
    evidence: str
    reach: str
    why: str = ""
    exact: str = ""
    brief: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the author beside what was found."""

    name: str
    declared: object
    found: Value
    holds: bool
    because: str = ""


@dataclass(frozen=True)
class Report:
    """What is known of one declaration.

    Attributes:
        of_inner_steps: whether what is proved is of the steps inside a loop.
        parabola: the loss of stability limits and variances.
    """

    name: str
    kind: str
    title: str
    findings: tuple[Finding, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...] = ()
    of_inner_steps: bool = False
    parabola: str = "lambda q^2/2"

    def __getitem__(self, name: str) -> Value:
        """The value of a property."""
        return self.finding(name).value

    def __contains__(self, name: object) -> bool:
        """Whether there is a property of that name."""
        return any(finding.name == name for finding in self.findings)

    def __iter__(self) -> Iterator[str]:
        """The names of the properties."""
        return (finding.name for finding in self.findings)

    def finding(self, name: str) -> Finding:
        """A property with its evidence.

        Raises:
            KeyError: there is no such property.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    @property
    def holds(self) -> bool:
        """Whether every claim is true."""
        return all(claim.holds for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, as ``check --json`` prints it."""
        properties: dict[str, Any] = {}
        for finding in self.findings:
            properties[finding.name] = finding.value
            if finding.value is None:
                properties[f"{finding.name}_why"] = finding.why
            if finding.exact:
                properties[f"{finding.name}_exact"] = finding.exact
            if finding.where:
                properties[f"{finding.name}_where"] = finding.where
        return {
            "name": self.name,
            "kind": self.kind,
            "properties": properties,
            "claims": {
                claim.name: {
                    "declared": claim.declared,
                    "found": claim.found,
                    "holds": claim.holds,
                }
                for claim in self.claims
            },
            "evidence": {
                finding.name: {"by": finding.evidence, "reach": finding.reach}
                for finding in self.findings
            },
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """A card to read."""
        lines = [visible(f"{self.kind} {self.name}: {self.title}"), ""]
        width = max((len(finding.name) for finding in self.findings), default=0)
        for finding in self.findings:
            value = shown(finding)
            lines.append(f"  {finding.name:<{width}}  {value}")
            if finding.where:
                lines.append(f"  {'':<{width}}    where {finding.where}")
            lines.append(f"  {'':<{width}}    by {finding.evidence}")
            lines.append(f"  {'':<{width}}    for {finding.reach}")
        for note in self.notes:
            lines += ["", f"  {note}"]
        if self.claims:
            lines.append("")
        for claim in self.claims:
            verdict = "holds"
            if not claim.holds:
                verdict = f"is FALSE: found {claim.found!r} by {claim.because}"
            if claim.found is None:  # undecided, or there is no such thing
                verdict = f"is not shown: {claim.because}"
            lines.append(f"  claim {claim.name} = {claim.declared!r} {verdict}")
        return "\n".join(lines)

    def sentence(self) -> str:
        """What was proved, in a line or two, for docstrings."""
        parts = []
        known = {finding.name: finding for finding in self.findings}
        if "origin" in known:
            origin = str(known["origin"].value)
            parts.append(f"{origin[0].upper()}{origin[1:]}.")
        variance = known.get("stationary_variance")
        of = ["inside a loop"] * self.of_inner_steps + ["without its noise"] * (
            variance is not None
        )
        if of:
            parts.append(f"Of the step {', '.join(of)}:")
        order = known.get("order")
        if order is not None and order.value is not None:
            parts.append(f"Order {order.value}.")
        form = known.get("symplectic_form")
        if form is not None and form.value == "conformal":
            parts.append(
                f"Conformal symplectic, factor {known['conformal_factor'].value} per step."
            )
        elif form is not None and "defect" in known:
            parts.append(f"Not conformal symplectic: {known['defect'].value}.")
        limit = known.get("stability_limit")
        if limit is not None and limit.value:
            where = f", {limit.where}" if limit.where else ""
            parts.append(f"Stable on {self.parabola} for {limit.value}{where}.")
        if variance is not None and isinstance(variance.value, dict):
            texts = "; ".join(f"{name}: {text}" for name, text in variance.value.items())
            parts.append(f"With it, variances on {self.parabola} tend to {texts}.")
        return " ".join(parts)


def compare_claims(head: Head, findings: tuple[Finding, ...]) -> tuple[Claim, ...]:
    """Compare the author's claims with findings.

    Raises:
        DeclarationError: a claim about a property that no finding is about.
    """
    by_name = {finding.name: finding for finding in findings}
    unknown = [
        Problem(
            head.source.where,
            head.source.line("claims", name),
            f"[claims].{name}",
            f"no such property{did_you_mean(name, by_name)}"
            f"; those of this declaration are {', '.join(by_name)}",
        )
        for name in head.claims
        if name not in by_name
    ]
    unknown += _unreadable(head, by_name)
    if unknown:
        raise DeclarationError(unknown)
    return tuple(
        Claim(
            name,
            declared,
            by_name[name].value,
            _same(declared, by_name[name].value)
            or (isinstance(declared, str) and _same(declared, by_name[name].exact)),
            by_name[name].evidence if by_name[name].value is not None else by_name[name].why,
        )
        for name, declared in head.claims.items()
    )


def _unreadable(head: Head, by_name: Mapping[str, Finding]) -> list[Problem]:
    """Formulas in claimed lists that are none."""
    problems = []
    for name, declared in head.claims.items():
        if not isinstance(declared, list) or not isinstance(by_name.get(name), Finding):
            continue
        for number, text in enumerate(declared):
            try:
                parse(str(text), FUNCTIONS)
            except ExpressionError as error:
                excerpt = caret(str(text), error.start, error.stop)
                line, key = head.source.line("claims", name), f"[claims].{name}[{number + 1}]"
                problems.append(Problem(head.source.where, line, key, error.message, excerpt))
    return problems


def attempted(allowance: Allowance, name: str, proof: Callable[[], Finding], reach: str) -> Finding:
    """The finding of a proof within its budget; past it there is no value, and that is why.

    Args:
        allowance: what is left for proofs.
        name: of the property.
        proof: finds it; called once.
        reach: of the finding where the proof does not end in time.

    Returns:
        The finding of the proof, or one without a value.
    """
    try:
        return allowance.within(f"the proof of {name}", proof)
    except BudgetError as error:
        return Finding(name, None, UNFINISHED, reach, str(error))


def shown(finding: Finding) -> str:
    """The value of a finding as text."""
    if finding.value is None:
        return f"none ({finding.why})"
    if finding.brief:
        return finding.brief
    if isinstance(finding.value, dict):
        return ", ".join(f"{name} {value}" for name, value in finding.value.items())
    text = f"{finding.value:.10g}" if isinstance(finding.value, float) else str(finding.value)
    return f"{text} = {finding.exact}" if finding.exact and finding.exact != text else text


def _same(declared: object, proved: Value) -> bool:
    if isinstance(declared, bool) or isinstance(proved, bool):
        return declared is proved
    if isinstance(declared, str) and isinstance(proved, str):
        return "".join(declared.split()) == "".join(proved.split()) or _same_formula(
            declared, proved
        )
    if isinstance(declared, dict) and isinstance(proved, dict):  # what is claimed, of all there is
        return all(key in proved and _same(part, proved[key]) for key, part in declared.items())
    if isinstance(declared, list) and isinstance(proved, dict):
        texts = [*proved.values()]
        return len(declared) == len(texts) and all(map(_agree, declared, texts))
    if isinstance(declared, str) and isinstance(proved, int | float):
        return declared == str(proved) or _same_digits(declared, proved)
    return declared == proved


def _same_digits(declared: str, proved: float) -> bool:
    """Whether a decimal number is the one found, rounded or cut to the digits it has."""
    if not _DECIMAL.fullmatch(declared) or not math.isfinite(proved):
        return False
    value = Decimal(declared)
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if abs(exponent) > 400 or abs(value.adjusted()) > 400:
        return False  # beyond floating point
    unit = Fraction(10) ** exponent
    if exponent >= 0:
        return Fraction(value) == Fraction(proved)
    whole = Fraction(proved) / unit
    return Fraction(value) / unit in (round(whole), math.trunc(whole))


def _agree(declared: object, proved: str) -> bool:
    """Whether two texts are the same number at drawn values of all names, to 40 digits."""
    try:
        trees = [parse(str(text), FUNCTIONS).tree for text in (declared, proved)]
    except ExpressionError:
        return False
    names = {node.name for tree in trees for node in walk(tree) if isinstance(node, Name)}
    generator = random.Random(0)
    with mpmath.workdps(50):
        for _ in range(POINTS):
            drawn = {name: mpmath.mpf(generator.uniform(0.05, 0.95)) for name in sorted(names)}
            try:
                values = [numerical(tree, drawn) for tree in trees]
                size = max(map(abs, values))
                if abs(values[0] - values[1]) > size * mpmath.mpf(10) ** -40:
                    return False
            except (ArithmeticError, TypeError, ValueError):
                return False
    return True


def _same_formula(declared: str, proved: str) -> bool:
    """Whether two texts are expressions of one scalar."""
    try:
        left, right = parse(declared), parse(proved)
        for side in (left, right):
            infer_shape(side, dict.fromkeys(side.names(), SCALAR), ELEMENTWISE)
    except ExpressionError:
        return False
    symbols = {name: sp.Symbol(name, positive=True) for name in left.names() | right.names()}

    def equal() -> bool:
        return bool(sp.simplify(to_sympy(left, symbols) - to_sympy(right, symbols)) == 0)

    try:
        return within(PROOF, f"the claim {declared[:60]}", equal)
    except (NotDerivableError, ZeroDivisionError):
        return False
