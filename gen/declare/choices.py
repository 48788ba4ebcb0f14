"""Choices among names, and numbers that may be None, in the expressions of a rule.

In: hyper-parameters, and expressions that read them.  Out: the same expressions in numbers: beside
its hyper-parameter a name is its place among the choices, and what may be None is a number or the
epsilon of the type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import Expression, Name, Node, Number, Operation
from hamilforge.gen.declare.functions import CHOICE

#: In trees, where no declaration can write it: the distance from 1 to the next number of the type.
EPSILON = "the epsilon of the type"
_EQUAL = "equal"


class Choices:
    """What names mean that stand for no number of their own.

    Args:
        hyperparameters: of a rule.
    """

    def __init__(self, hyperparameters: Iterable[kinds.Parameter]) -> None:
        entries = [*hyperparameters]
        self._choices = {entry.name: entry.choices for entry in entries if entry.choices}
        self._none = {entry.name for entry in entries if entry.domain == kinds.OR_NONE}
        #: All names that are chosen from.
        self.names = {name for choices in self._choices.values() for name in choices}

    def compared(self, expression: Expression) -> Expression:
        """An expression with numbers for the names that choices are compared with.

        Args:
            expression: as it was declared.

        Raises:
            ExpressionError: a choice stands elsewhere than in ``choice == name`` or
                ``choice != name``, or the name is none of its own.
        """
        return Expression(expression.text, self._compared(expression.tree))

    def resolved(self, expression: Expression) -> Expression:
        """An expression in numbers: :meth:`compared`, and without None.

        Args:
            expression: as it was declared.

        Raises:
            ExpressionError: as :meth:`compared`.
        """
        return Expression(expression.text, self._numbers(self._compared(expression.tree)))

    def refuse_none(self, expression: Expression) -> None:
        """Refuse what may be None where no parameter is, whose type would say what it stands for.

        Args:
            expression: of hyper-parameters alone.

        Raises:
            ExpressionError: one of them may be None.
        """
        for name in sorted(self._none & expression.names()):
            message = f"'{name}' may be None, which is no number before there is a parameter"
            raise ExpressionError(message, 0, len(expression.text))

    def _compared(self, node: Node) -> Node:
        if isinstance(node, Name) and node.name in self._choices:
            listed = ", ".join(self._choices[node.name])
            message = f"'{node.name}' is a choice: it is compared by == or != with one of {listed}"
            raise ExpressionError(message, node.start, node.stop)
        if not isinstance(node, Operation):
            return node
        if node.op == _EQUAL:
            for choice, other in (node.args, node.args[::-1]):
                if isinstance(choice, Name) and choice.name in self._choices:
                    return replace(node, args=(choice, self._place(choice.name, other)))
        return replace(node, args=tuple(map(self._compared, node.args)))

    def _place(self, choice: str, node: Node) -> Number:
        """The place of a name among the choices."""
        choices = self._choices[choice]
        if isinstance(node, Name) and node.name in choices:
            return Number(Fraction(choices.index(node.name)), node.start, node.stop)
        message = f"'{choice}' is compared with one of {', '.join(choices)}"
        if isinstance(node, Name):
            message += did_you_mean(node.name, choices)
        raise ExpressionError(message, node.start, node.stop)

    def _numbers(self, node: Node) -> Node:
        if isinstance(node, Name) and node.name in self._none:
            at = node.start, node.stop
            zero = Number(Fraction(0), *at)
            test = Operation("at_least", (node, zero), *at)
            return Operation(CHOICE, (test, node, Name(EPSILON, *at)), *at)
        if isinstance(node, Operation):
            return replace(node, args=tuple(map(self._numbers, node.args)))
        return node
