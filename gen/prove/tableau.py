"""Everything known of a Runge–Kutta method or a partitioned pair, as a report.

In: a declaration.  Out: a :class:`Report`, with the author's claims compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.budget import PROOFS, Allowance, at
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.exact.numbers import Algebraic, Number, as_rational, written
from hamilforge.gen.exact.polynomials import Root
from hamilforge.gen.prove.report import Finding, Report, Value, attempted, compare_claims
from hamilforge.gen.tableau import contractivity, order, stability, structure
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.dense import continuous_weights
from hamilforge.gen.tableau.family import Family, family
from hamilforge.gen.tableau.order import Order
from hamilforge.gen.tableau.pair import build_pair, is_explicit_pair, is_symplectic_pair
from hamilforge.gen.tableau.tableau import Tableau

ANY = "any smooth right-hand side and dimension"
LINEAR = "y' = lambda y"
#: Seconds for what is proved of a table by its budget, of all that a declaration has.
TABLE_PROOFS = 5.0
SIGNS = "signs of polynomials decided by Sturm's theorem"


def prove_runge_kutta(declaration: kinds.RungeKutta) -> Report:
    """All properties of a tableau; those of a family at its defaults."""
    head = declaration.head
    with at("its coefficients"):
        table = build(declaration)
    with at("the proofs of its properties"):
        findings = tuple(_Proof(table, head.source.where, len(head.source.data)).findings())
    with at("the order conditions in its parameters"):
        families = family(declaration)
    notes: tuple[str, ...] = ()
    if declaration.parameters:
        chosen = ", ".join(
            f"{parameter.name} = {parameter.default}" for parameter in declaration.parameters
        )
        notes = (
            f"The properties are those at {chosen}.",
            *(_family_notes(families) if families else ()),
        )
    claims = compare_claims(head, findings)
    return Report(head.name, "runge-kutta", head.title, findings, claims, notes)


def _family_notes(families: tuple[Family, Family | None]) -> tuple[str, ...]:
    classical, control = families
    notes = [_family_note("Order", classical)]
    if control is not None:
        notes.append(_family_note("Control order", control))
    return tuple(notes)


def _family_note(name: str, method_family: Family) -> str:
    text = f"{name} {method_family.order} for all values of the parameters"
    if not method_family.equations:
        return text + "."
    needs = "; ".join(f"{equation} = 0" for equation in method_family.equations)
    text += f"; {method_family.order + 1} if {needs}"
    if method_family.solutions is None:
        return text + "."
    if not method_family.solutions:
        return text + ", which has no solution."
    values = " or ".join(
        ", ".join(f"{symbol} = {value}" for symbol, value in solution.items())
        for solution in method_family.solutions
    )
    return f"{text}, solved by {values}."


def order_evidence(found: Order, tableau: Tableau, what: str, arithmetic: str) -> str:
    """What was computed to find an order.

    Args:
        found: the order.
        tableau: the method, whose tolerance is 0 unless its coefficients are published digits.
        what: the conditions, as in "order conditions".
        arithmetic: what they were computed in.

    Returns:
        The evidence as a text: what vanishes, and the first condition that does not.
    """
    text = f"all {found.conditions} {what} to order {found.order} in {arithmetic}"
    if tableau.tolerance:
        gap = "none" if not found.within else f"{float(found.within):.0e}"
        text += f" (largest residual {gap}, one order later {float(found.beyond):.0e})"
    if found.failure is None:
        return text + f"; at least: no order above {found.order} is looked at"
    failure = found.failure
    residual = failure.residual
    size = (
        f"{float(residual):.3g}"
        if tableau.tolerance or len(written(residual)) > 40
        else written(residual)
    )
    return text + f"; the tree {failure.tree} of order {failure.order} leaves {size}"


def arithmetic_of(tableau: Tableau) -> str:
    """The numbers the proofs compute with."""
    if tableau.tolerance:
        return f"the published digits, zero within {float(tableau.tolerance):.0e}"
    if tableau.stages.modulus is not None:
        return "exact rationals modulo the polynomial of the nodes"
    for entry in (*(e for row in tableau.a for e in row), *tableau.b):
        if isinstance(entry, Algebraic):
            return f"exact arithmetic in Q({entry.field.name})"
    return "exact rationals"


def _exact(number: Number) -> str:
    text = written(number)
    return text if len(text) <= 120 else ""


def _known(number: Number, tableau: Tableau) -> tuple[float, str]:
    """A number as a float and, if it is exact, as a text."""
    rational = as_rational(number)
    value = float(rational) if rational is not None else float(number)
    return value, "" if tableau.tolerance else _exact(number)


def root_text(root: Root, square: bool = False) -> str:
    """A root in radicals if its degree is at most 2, else the polynomial it is a root of.

    Args:
        root: where it is.
        square: whether the square root of it is meant.
    """
    if root.lower == root.upper:
        value = sp.Rational(root.lower.numerator, root.lower.denominator)
        return str(sp.sqrt(value) if square else value)
    rationals = [as_rational(coefficient) for coefficient in reversed(root.polynomial)]
    falling = [sp.Rational(v.numerator, v.denominator) for v in rationals if v is not None]
    if len(falling) < len(rationals) or not falling:
        return ""
    near = float(root.middle)
    for factor, _ in sp.factor_list(sp.Poly(falling, sp.Symbol("x")))[1]:
        for exact in sp.real_roots(factor):
            if abs(float(sp.N(exact, 30)) - near) > 1e-12 * abs(near):
                continue
            if factor.degree() <= 2:
                return str(sp.sqrtdenest(sp.sqrt(exact)) if square else sp.radsimp(exact))
            text = f"root of {factor.as_expr()}"
            return (f"square root of a {text}" if square else text) if len(text) < 80 else ""
    return ""


def refuse_without_gap(found: Order, tableau: Tableau, where: str) -> None:
    """Published digits that do not decide an order are no table.

    Args:
        found: the order.
        tableau: the method; nothing is refused of exact coefficients.
        where: the file.

    Raises:
        DeclarationError: the residuals of conditions that hold are as large as those beyond.
    """
    if tableau.tolerance and found.undecided:
        raise DeclarationError.single(
            where,
            f"the digits do not decide the order: residuals reach {float(found.within):.0e} to "
            f"order {found.order}, and {float(found.beyond):.0e} one order later; more digits, or "
            "exact coefficients, were expected",
            "A",
        )


class _Proof:
    def __init__(self, tableau: Tableau, where: str, size: int) -> None:
        self._tableau, self._where = tableau, where
        self._allowance = Allowance(PROOFS, size, TABLE_PROOFS)
        self._reduced = structure.reduced(tableau)
        self._arithmetic = arithmetic_of(tableau)

    @cached_property
    def _main_order(self) -> Order:
        return order.classical_order(self._tableau)

    @cached_property
    def _embedded_order(self) -> Order:
        return order.classical_order(self._tableau, embedded=True)

    def findings(self) -> list[Finding]:
        """All properties, in the order of the report."""
        tableau = self._tableau
        classical = self._classical()
        self._order = classical.value if isinstance(classical.value, int) else 0
        explicit = "an order of the stages in which A is strictly lower triangular"
        # what is asked for last has what the others left of the budget
        linear, contractive, errors, adjoint = map(
            self._each,
            (
                self._stability(),
                self._contractivity(),
                self._errors(),
                {"adjoint": self._adjoint},
            ),
        )
        return [
            Finding("stages", tableau.size, "the table", ANY),
            Finding("explicit", tableau.is_explicit, explicit, ANY),
            classical,
            self._embedded(),
            self._dense(),
            self._control(),
            *self._simplifying(),
            *self._structure(),
            *adjoint,
            *linear,
            *contractive,
            *errors,
        ]

    def _each(self, proofs: Mapping[str, Callable[[], Finding]]) -> list[Finding]:
        """Findings by name, each within its budget; past it there is no value."""
        return [attempted(self._allowance, name, proof, ANY) for name, proof in proofs.items()]

    def _classical(self) -> Finding:
        tableau = self._tableau
        main_order = self._main_order
        if not tableau.row_sums:
            main_order = order.nonautonomous_order(tableau, order.MAX_PAIR_ORDER)
        refuse_without_gap(main_order, tableau, self._where)
        simple = structure.simplifying(tableau)
        if main_order.failure is None and simple.b <= min(
            simple.c + simple.d + 1, 2 * simple.c + 2
        ):
            by = f"B({simple.b}), C({simple.c}) and D({simple.d}) by Butcher's theorem"
            return Finding("order", int(simple.b), f"{by}; B({simple.b + 1}) does not hold", ANY)
        evidence = order_evidence(main_order, tableau, "order conditions", self._arithmetic)
        return Finding("order", main_order.order, evidence, ANY)

    def _embedded(self) -> Finding:
        if self._tableau.b_hat is None:
            return Finding("embedded_order", None, "the table", ANY, "there is no b_hat")
        embedded_order = self._embedded_order
        evidence = order_evidence(
            embedded_order, self._tableau, "order conditions", self._arithmetic
        )
        return Finding("embedded_order", embedded_order.order, evidence, ANY)

    def _dense(self) -> Finding:
        """The order of the values between the steps of an adaptive run."""
        name, reach = "dense_order", "values at given times in an adaptive run"
        if self._tableau.b_hat is None:
            return Finding(name, None, "the table", reach, "there is no b_hat: steps are fixed")
        try:
            curve = continuous_weights(self._tableau).order
        except NotDerivableError as error:
            return Finding(name, None, "the conditions of order one", reach, str(error))
        estimate = min(self._main_order.order, self._embedded_order.order)
        if curve >= estimate:
            by = f"continuous weights: the conditions of all trees to order {curve} on the stages"
            return Finding(name, curve, by, reach)
        by = (
            f"a step of its own to each time: continuous weights are of order {curve}, below the "
            f"{estimate} of the error estimate"
        )
        return Finding(name, self._order, by, reach)

    def _control(self) -> Finding:
        tableau, name = self._tableau, "control_order"
        reach = "optimal control with the controls eliminated by H_U = 0 at the stages"
        if structure.symplectic_defect(self._reduced) == 0:
            evidence = "M = 0: the method is its own adjoint, so this is its order"
            return Finding(name, self._order, evidence, reach)
        if tableau.transposed is None:
            return Finding(
                name,
                None,
                "a weight vanishes",
                reach,
                "a weight b_i vanishes, so the adjoint a^_ij = b_j - b_j a_ji/b_i does not exist",
            )
        highest = min(self._order, order.MAX_CONTROL_ORDER)
        control = order.control_order(tableau, tableau.transposed, highest)
        evidence = (
            f"all {control.conditions} conditions of oriented free trees to order {control.order}"
            f" in {self._arithmetic}"
        )
        if control.failure:
            failure, size = control.failure, float(control.failure.residual)
            evidence += f"; the tree {failure.tree} of order {failure.order} leaves {size:.3g}"
        elif highest < self._order:
            evidence += f"; at least: no order above {highest} is looked at"
        return Finding(name, control.order, evidence, reach)

    def _simplifying(self) -> list[Finding]:
        conditions = structure.simplifying(self._tableau)
        values: dict[str, Value] = {
            name: "inf" if math.isinf(value) else int(value)
            for name, value in zip("BCD", (conditions.b, conditions.c, conditions.d), strict=True)
        }
        by = f"sums over the stages in {self._arithmetic}"
        return [
            Finding("simplifying", values, by, ANY),
            Finding("stage_order", int(min(conditions.b, conditions.c, self._order)), by, ANY),
        ]

    def _structure(self) -> list[Finding]:
        tableau, least = self._tableau, self._reduced
        of = "" if least.size == tableau.size else f", of the reduced table ({least.size} stages)"
        defect = structure.symplectic_defect(least)
        verdict = "= 0" if defect == 0 else "is not zero"
        by = f"B A + A'B - b b' {verdict} in {arithmetic_of(least)}{of}"
        permutation = f"a search over the permutations of the stages{of}"
        findings = [
            Finding("symplectic", defect == 0, by, "any H and dimension"),
            Finding(
                "symplectic_defect",
                structure.largest_defect(least),
                f"the largest entry of B A + A'B - b b', stage by stage in 50 digits{of}",
                "any H and dimension",
            ),
            Finding("symmetric", structure.is_symmetric(least), permutation, ANY),
        ]
        tests = {
            "stiffly_accurate": (structure.is_stiffly_accurate, "the last row of A beside b"),
            "first_same_as_last": (
                structure.is_first_same_as_last,
                "the last row of A beside b, and the first",
            ),
            "confluent": (structure.is_confluent, "the differences of the nodes"),
            "dj_reducible": (structure.is_dj_reducible, "stages that reach the result"),
            "hs_reducible": (structure.is_hs_reducible, "a partition of the stages refined"),
        }
        findings += [Finding(name, test(tableau), by, ANY) for name, (test, by) in tests.items()]
        return findings

    @cached_property
    def _function(self) -> stability.StabilityFunction:
        return stability.stability_function(self._tableau, self._order)

    def _adjoint(self) -> Finding:
        """The adjoint table's own properties."""
        by = f"the same analysis of a^_ij = b_j - b_j a_ji/b_i in {self._arithmetic}"
        adjoint = self._tableau.adjoint()
        if adjoint is None:
            return Finding("adjoint", None, "the table", ANY, "a weight vanishes")
        own = stability.stability(adjoint, self._order, self._function.of_adjoint)
        simple = structure.simplifying(adjoint)
        classical = order.classical_order(adjoint).order
        values: dict[str, Value] = {
            "order": classical,
            "stage_order": int(min(simple.b, simple.c, classical)),
            "explicit": adjoint.is_explicit,
            "a_stable": own.a_stable,
            "l_stable": own.l_stable,
            "stiffly_accurate": structure.is_stiffly_accurate(adjoint),
        }
        return Finding("adjoint", values, by, ANY)

    @cached_property
    def _linear(self) -> stability.Stability:
        return stability.stability(self._tableau, self._order, self._function)

    def _stability(self) -> dict[str, Callable[[], Finding]]:
        tableau = self._tableau
        count = self._order + 2 * tableau.size + 4
        never = "none was found: the error is zero to all orders looked at"

        def function() -> Finding:
            polynomials: Value = {
                "numerator": [written(c) for c in self._function.numerator],
                "denominator": [written(c) for c in self._function.denominator],
            }
            by = "det(I - zA + z e b')/det(I - zA)"
            return Finding("stability_function", polynomials, by, LINEAR)

        def a_stable() -> Finding:
            by = "|Q|^2 >= |P|^2 on the imaginary axis by Sturm's theorem, poles by Routh's array"
            return Finding("a_stable", self._linear.a_stable, by, LINEAR)

        def l_stable() -> Finding:
            by = "A-stability and R(infinity)"
            return Finding("l_stable", self._linear.l_stable, by, LINEAR)

        def real() -> Finding:
            return self._root("real_stability", self._linear.real, SIGNS, LINEAR)

        def imaginary() -> Finding:
            root = self._linear.imaginary
            return self._root("imaginary_stability", root, SIGNS, LINEAR, square=True)

        def phase() -> Finding:
            order = stability.dispersion(self._function, count, tableau).order
            return Finding("dispersion_order", order, "log R(iy)", LINEAR, never)

        def amplitude() -> Finding:
            order = stability.dissipation(self._function, count, tableau).order
            return Finding("dissipation_order", order, "log R(iy)", LINEAR, never)

        return {
            "stability_function": function,
            "a_stable": a_stable,
            "l_stable": l_stable,
            "real_stability": real,
            "imaginary_stability": imaginary,
            "dispersion_order": phase,
            "dissipation_order": amplitude,
        }

    def _root(
        self,
        name: str,
        root: Root | None,
        by: str,
        reach: str,
        square: bool = False,
        exact: bool = True,
    ) -> Finding:
        """A radius or an interval; infinite if there is no root."""
        if root is None:
            return Finding(name, "inf", by, reach)
        value = math.sqrt(root.middle) if square else float(root.middle)
        known = exact and not self._tableau.tolerance
        return Finding(name, value, by, reach, exact=root_text(root, square) if known else "")

    def _contractivity(self) -> dict[str, Callable[[], Finding]]:
        tableau = self._reduced

        def algebraic() -> Finding:
            return Finding(
                "algebraically_stable",
                contractivity.is_algebraically_stable(tableau),
                "b >= 0 and the inertia of M by symmetric elimination",
                "<f(y) - f(z), y - z> <= 0",
            )

        def circle() -> Finding:
            return self._root(
                "circle_radius",
                contractivity.circle_radius(tableau),
                "the first root of det(diag(b) + r M)",
                "<f(y) - f(z), y - z> <= -nu |f(y) - f(z)|^2 in inner products",
            )

        def monotone() -> Finding:
            return self._root(
                "ssp_radius",
                contractivity.ssp_radius(tableau),
                "bisection of absolute monotonicity to a relative width of 2^-40",
                "convex functionals that a forward Euler step does not increase",
                exact=False,
            )

        return {"algebraically_stable": algebraic, "circle_radius": circle, "ssp_radius": monotone}

    def _errors(self) -> dict[str, Callable[[], Finding]]:
        tableau, p = self._tableau, self._order

        def constant() -> Finding:
            taylor = self._function.taylor(p + 2)[p + 1]
            value, exact = _known(stability.inverse_factorial(p + 1) - taylor, tableau)
            by = f"the coefficient of z^{p + 1} in exp(z) - R(z)"
            return Finding("error_constant", value, by, LINEAR, exact=exact)

        def norm() -> Finding:
            value = order.principal_error(tableau, p) if p < order.MAX_ORDER else None
            by = f"(Phi - 1/gamma)/sigma over the trees of order {p + 1}"
            why = "the order is the highest that is looked at"
            return Finding("principal_error_norm", value, by, ANY, why)

        return {"error_constant": constant, "principal_error_norm": norm}


def _symmetric_pair(q: Tableau, p: Tableau) -> Finding:
    by = "a search over the permutations of the stages, the same for both tables"
    if structure.is_symmetric(q, p):
        return Finding("symmetric", True, by, ANY)
    return Finding("symmetric", None, by, ANY, "no permutation of the stages shows it")


def prove_partitioned(declaration: kinds.Partitioned) -> Report:
    """Order and structure of a pair."""
    head = declaration.head
    q, p = build_pair(declaration)
    arithmetic = " and ".join(dict.fromkeys((arithmetic_of(q), arithmetic_of(p))))
    coupled = order.pair_order(q, p, order.COUPLED, order.MAX_PAIR_ORDER)
    alternating = order.pair_order(q, p, order.SEPARABLE, order.MAX_ORDER)
    nystrom = order.pair_order(q, p, order.NYSTROM, order.MAX_ORDER)
    symplectic = is_symplectic_pair(q, p)
    findings = [
        Finding("stages", q.size, "the tables", ANY),
        Finding(
            "explicit",
            is_explicit_pair(q, p),
            "the orders in which stages can be computed",
            "q' = f(p), p' = g(q)",
        ),
        Finding(
            "order",
            coupled.order,
            order_evidence(coupled, q, "conditions of trees in two colours", arithmetic),
            "q' = f(q, p), p' = g(q, p)",
        ),
        Finding(
            "separable_order",
            alternating.order,
            order_evidence(alternating, q, "conditions of alternating trees", arithmetic),
            "q' = f(p), p' = g(q)",
        ),
        Finding(
            "nystrom_order",
            nystrom.order,
            order_evidence(nystrom, q, "conditions of alternating trees", arithmetic),
            "q' = p, p' = g(q)",
        ),
        Finding(
            "symplectic",
            symplectic,
            f"b = b^ and b_i a^_ij + b^_j a_ji = b_i b^_j in {arithmetic}",
            "any H and dimension",
        ),
        Finding(
            "symplectic_separable",
            symplectic or is_symplectic_pair(q, p, separable=True),
            f"b_i a^_ij + b^_j a_ji = b_i b^_j in {arithmetic}",
            "H = T(p) + V(q)",
        ),
        _symmetric_pair(q, p),
    ]
    if symplectic and q.transposed is not None:
        control = order.control_order(q, q.transposed, min(coupled.order, order.MAX_CONTROL_ORDER))
        findings.append(
            Finding(
                "free_tree_conditions",
                control.conditions,
                f"the conditions of oriented free trees to order {control.order}, one for each, "
                "which suffice for a symplectic pair",
                "any H and dimension",
            )
        )
    claims = compare_claims(head, tuple(findings))
    return Report(head.name, "partitioned", head.title, tuple(findings), claims)
