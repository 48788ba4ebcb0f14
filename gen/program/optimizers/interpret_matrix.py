"""The interpretation of a rule for matrices: the reference of backends and proofs.

In: a derivation with hyper-parameters.  Out: its steps, one matrix at a time, over any algebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.interpret import EPSILON, results
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.optimizers.preparation import prepared_matrices
from hamilforge.gen.program.reference import FLOAT64


class MatrixInterpreter:
    """Steps of one matrix.

    Args:
        derivation: of a rule.
        hyper: hyper-parameters by name; defaults where nothing is said.
        algebra: what numbers are.
        vector: whether the matrix stands for a parameter with one axis.
        epsilon: the distance from 1 to the next number of the type that is meant.
    """

    def __init__(
        self,
        derivation: MatrixDerivation,
        hyper: Mapping[str, Any] | None = None,
        algebra: Algebra = FLOAT64,
        vector: bool = False,
        epsilon: float | None = None,
    ) -> None:
        self._derivation, self._algebra = derivation, algebra
        self._function = derivation.steps[int(vector)]
        self._known = {} if epsilon is None else {EPSILON: epsilon}
        self._hyper = {
            entry.name: algebra.constant(entry.default)
            for entry in derivation.program.hyperparameters
        } | dict(hyper or {})
        self.n = 0

    def scalars(self, n: int) -> dict[str, Any]:
        """The scalars of a step, by name.

        Args:
            n: its number, from 1.
        """
        values = self._host(n)
        (row,) = self._derivation.program.host.rows
        return dict(zip(self._function.scalars, (values[name] for name in row), strict=True))

    def _solution_scalars(self, n: int) -> dict[str, Any]:
        """The scalars of the map to the solution, by name.

        Args:
            n: the number of the last step.
        """
        program = self._derivation.program
        values, memory = self._host(n), dict(program.host.memory)
        row = (values[memory[name]] for name in program.host.solution)
        return dict(zip(program.solution.scalars, row, strict=True))

    def _host(self, n: int) -> dict[str, Any]:
        """All values of the host in a step, at constant hyper-parameters."""
        memory = self._derivation.program.host.memory
        zero = self._algebra.constant(Fraction(0))
        nothing = {name: zero for name, _ in memory}
        if n < 2 or not memory:
            return self._values(n, nothing)
        before = self._values(n - 1, nothing)
        return self._values(n, {name: before[place] for name, place in memory})

    def _values(self, n: int, memory: Mapping[str, Any]) -> dict[str, Any]:
        values = {**self._hyper, "n": self._algebra.constant(Fraction(n)), **memory}
        for line in self._derivation.program.host.body:
            values[line.name] = evaluate(line.value, values, self._algebra)
        return values

    def solution(self, arrays: Mapping[str, Any]) -> Any:
        """The solution after the last step.

        Args:
            arrays: point and states, by the names of the program.
        """
        function = self._derivation.program.solution
        values = {**arrays, **self._solution_scalars(self.n)}
        return results(function, values, self._algebra)[function.arrays[0]]

    def reach(self, arrays: Mapping[str, Any], gradient: Any) -> list[Any]:
        """What is positive, or positive definite, where the next step is not too long.

        Args:
            arrays: point and states, by the names of the program.
            gradient: at the point.

        Returns:
            The values; none where every step has an end.
        """
        function = self._derivation.reach
        if function is None:
            return []
        values = {**arrays, self._function.arrays[-1]: gradient, **self.scalars(self.n + 1)}
        return [*results(function, values, self._algebra).values()]

    def step(
        self, arrays: Mapping[str, Any], gradient: Any, preparation: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A step.

        Args:
            arrays: point and states, by the names of the program.
            gradient: at the point.
            preparation: ``sign``, ``l2`` and ``shrink``; as it comes if None.

        Returns:
            What point and states become.
        """
        self.n += 1
        function = self._function
        values = {**self._known, **arrays, function.arrays[-1]: gradient, **self.scalars(self.n)}
        if preparation is not None:
            function = prepared_matrices(function, self._derivation.optimizer.shrinks)
            own = [name for name in function.scalars if name not in values]
            values |= dict(zip(own, preparation.values(), strict=True))
        return {**arrays, **results(function, values, self._algebra)}
