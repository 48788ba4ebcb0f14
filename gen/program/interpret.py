"""The meaning of a program: its evaluation over any algebra, line by line.

In: a program, values of its inputs, and an :class:`Algebra` that says what numbers are.  Out: what
the program computes.  With NumPy's floating-point numbers this is the reference to which every
backend is held; with exact series or jets it is what the proofs are about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from hamilforge.gen.program.ir import (
    Apply,
    Assign,
    Const,
    Expr,
    Function,
    Program,
    Reduce,
    Ref,
    Select,
)
from hamilforge.gen.program.preparation import NEUTRAL, prepared


@dataclass(frozen=True, slots=True)
class Algebra:
    """What numbers are and what functions do with them.

    Attributes:
        constant: an exact number as a number of the algebra.
        functions: the elementwise functions, the constants, and ``pow``, whose exponent is an exact
            number where the program has one; + - * / are the operators'.
        total: the sum of the entries of an array.
        select: ``select(subject, value, then, otherwise)``, entry by entry; the two values are
            functions, so that a scalar choice evaluates one of them.
        scalar: a scalar as it is kept between lines.
    """

    constant: Callable[[Fraction], Any]
    functions: Mapping[str, Callable[..., Any]]
    total: Callable[[Any], Any]
    select: Callable[[Any, Fraction, Callable[[], Any], Callable[[], Any]], Any]
    scalar: Callable[[Any], Any] = lambda value: value


def evaluate(expr: Expr, values: Mapping[str, Any], algebra: Algebra) -> Any:
    """The value of an expression.

    Args:
        expr: what is evaluated.
        values: the value of each name that occurs.
        algebra: what numbers are.

    Returns:
        A number of the algebra, or an array of them.

    Raises:
        NotImplementedError: the algebra has no such function, or the expression is of another kind.
    """

    def visit(part: Expr) -> Any:
        match part:
            case Const(value=value):
                return algebra.constant(value)
            case Ref(name=name):
                return values[name]
            case Reduce(arg=arg):
                return algebra.total(visit(arg))
            case Select(subject=subject, value=value, then=then, otherwise=otherwise):
                return algebra.select(
                    visit(subject), value, partial(visit, then), partial(visit, otherwise)
                )
            case Apply(op="add", args=args):
                result = visit(args[0])
                for term in args[1:]:
                    if isinstance(term, Apply) and term.op == "neg":
                        result = result - visit(term.args[0])
                    else:
                        result = result + visit(term)
                return result
            case Apply(op="mul", args=args):
                result = visit(args[0])
                for factor in args[1:]:
                    result = result * visit(factor)
                return result
            case Apply(op="neg", args=(arg,)):
                return -visit(arg)
            case Apply(op="div", args=(over, under)):
                return visit(over) / visit(under)
            case Apply(op="pow", args=(base, Const(value=value))):
                return algebra.functions["pow"](visit(base), value)
            case Apply(op="pow", args=(base, exponent)):
                return algebra.functions["pow"](visit(base), visit(exponent))
            case Apply(op=op, args=args):
                if op not in algebra.functions:
                    raise NotImplementedError(f"interpret: no function '{op}' on these numbers")
                return algebra.functions[op](*map(visit, args))
        raise NotImplementedError(f"interpret: {part}")

    return visit(expr)


def _select(
    subject: Any, value: Fraction, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    if np.ndim(subject) == 0:
        return then() if subject == float(value) else otherwise()
    return np.where(np.equal(subject, float(value)), then(), otherwise())


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, Fraction) else value


def _log_cosh(z: Any) -> Any:
    return abs(z) + np.log1p(np.exp(-2 * abs(z))) - math.log(2)


def _inverse(z: Any) -> Any:
    return np.where(z == 0, 0.0, 1 / np.where(z == 0, 1.0, z))


def _logistic(z: Any) -> Any:
    return np.exp(-np.logaddexp(0, -z))


#: The reference of every backend.  At a kink these are what the table of functions says.
NUMPY_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in "abs cbrt cos cosh exp expm1 log log1p sign sin sinh sqrt tan tanh".split()
    },
    **{f"a{name}": getattr(np, f"arc{name}") for name in "cos cosh sin sinh tan tanh".split()},
    "elu": lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
    "erf": special.erf,
    "erfc": special.erfc,
    "inverse": _inverse,
    "leaky_relu": lambda z: np.maximum(z, 0) + np.minimum(z, 0) / 100,
    "log_cosh": _log_cosh,
    "logistic": _logistic,
    "pi": lambda: math.pi,
    "pow": lambda base, exponent: np.power(base, _real(exponent)),
    "relu": lambda z: np.maximum(z, 0),
    "root": np.sqrt,
    "softplus": lambda z: np.logaddexp(z, 0),
    "step": lambda z: np.greater(z, 0).astype(np.result_type(z)),
}


def _python_float(value: Any) -> Any:
    """A scalar that leaves the precision of arrays as it is, which NumPy's own float64 does not."""
    return float(value) if np.ndim(value) == 0 else value


#: Python's floating-point numbers and NumPy's arrays of them.
FLOAT64 = Algebra(
    float,
    NUMPY_FUNCTIONS,
    lambda array: np.sum(array, dtype=np.float64),
    _select,
    _python_float,
)


def host_values(
    program: Program,
    inputs: Mapping[str, Any],
    memory: Mapping[str, Any],
    algebra: Algebra = FLOAT64,
) -> dict[str, Any]:
    """All host lines of a step.

    Args:
        program: the program.
        inputs: the hyper-parameters, ``t`` and ``n``.
        memory: what the last step left; zeros before the first.
        algebra: what numbers are.

    Returns:
        The inputs, the memory, and the value of every line, by name.
    """
    values = {**inputs, **memory}
    for line in (*program.host.constants, *program.host.body):
        values[line.target] = algebra.scalar(evaluate(line.value, values, algebra))
    return values


def run_function(
    function: Function,
    arrays: Mapping[str, Sequence[Any]],
    scalars: Mapping[str, Any],
    algebra: Algebra,
    per_tensor: bool = False,
) -> dict[str, list[Any]]:
    """Run a function on several tensors; sums run over all of them, or over each.

    Args:
        function: what is run.
        arrays: for each array of the function, its tensors, one entry each; equally many of all.
        scalars: the host scalars by name.
        algebra: what numbers are.
        per_tensor: whether a sum runs over each tensor by itself; over all of them else.

    Returns:
        The new value of each array that the function changes.
    """
    count = len(next(iter(arrays.values())))
    values: list[dict[str, Any]] = [
        {**scalars, **{name: tensors[k] for name, tensors in arrays.items()}} for k in range(count)
    ]
    for line in function.body:
        found = [_line(line, one, algebra) for one in values]
        if isinstance(line.value, Reduce) and not per_tensor:
            found = [sum(found[1:], found[0])] * count
        if line.level != "array":
            found = list(map(algebra.scalar, found))
        for one, value in zip(values, found, strict=True):
            one[line.target] = value
    return {array: [one[local] for one in values] for array, local in function.results}


def _line(line: Assign, values: Mapping[str, Any], algebra: Algebra) -> Any:
    if isinstance(line.value, Reduce):
        values = {name: _wide(value) for name, value in values.items()}
    return evaluate(line.value, values, algebra)


def _wide(value: Any) -> Any:
    """Sums are taken of float64 numbers, whatever the arrays hold."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value.astype(np.float64)
    return value


def _terms(expr: Expr) -> tuple[Expr, ...]:
    return expr.args if isinstance(expr, Apply) and expr.op == "add" else (expr,)


@dataclass(slots=True)
class Interpreter:
    """A program run by the book, on NumPy arrays: the reference of every cross-check.

    Attributes:
        hyper: the hyper-parameters in force; read at a step's first stage.
        x: the point, a list of arrays.
        states: the state's arrays by name, alike.
        preparation: the gradient's sign, the L2 factor, the factor of decoupled decay, which acts
            in a step's first stage.
    """

    program: Program
    hyper: dict[str, float]
    x: list[Any]
    states: dict[str, list[Any]] = field(default_factory=dict)
    preparation: tuple[float, float, float] = NEUTRAL
    t: float = 0.0
    n: int = 1
    stage: int = 0
    memory: dict[str, float] = field(default_factory=dict)
    _host: dict[str, float] = field(default_factory=dict)
    _functions: tuple[Function, ...] = ()

    def __post_init__(self) -> None:
        self.states = {
            name: [np.zeros_like(tensor) for tensor in self.x] for name in self.program.states
        }
        self._functions = tuple(map(prepared, self.program.functions))
        self.t = float(self.program.start_time)
        self.memory = {name: 0.0 for name, _ in self.program.host.memory}

    def step(self, gradients: Sequence[Any]) -> None:
        """One stage, with the gradients at the point."""
        arrays = {"x": self.x, **self.states, "g": list(gradients)}
        function, scalars = self._next()
        found = self._run(function, arrays, scalars)
        self.x = found.pop("x")
        self.states = {**self.states, **found}
        self.stage += 1
        if self.stage == len(self.program.stages):
            self._end_of_step()

    def operands(self, gradients: Sequence[Any]) -> dict[str, list[Any]]:
        """For each entry of point and state, the largest operand of the next stage's last sum."""
        program = self.program
        function, scalars = self._next()
        arrays = {"x": self.x, **self.states, "g": list(gradients)}
        found: dict[str, list[Any]] = {}
        for array, local in function.results:
            line = next(line for line in function.body if line.target == local)
            terms = _terms(line.value)
            sizes = []
            for term in (*terms, line.value):
                probe = Assign("operand", term, "array")
                body = (*function.body, probe)
                whole = Function(
                    "probe", function.arrays, function.scalars, body, ((array, "operand"),)
                )
                values = run_function(
                    whole, arrays, scalars, FLOAT64, per_tensor=program.scope == "tensor"
                )[array]
                sizes.append([abs(np.asarray(value, np.float64)) for value in values])
            found[array] = [np.maximum.reduce(entries) for entries in zip(*sizes, strict=True)]
        return found

    def solution(self) -> list[Any]:
        """The solution at the end of a step."""
        if not self.program.shifted:
            return self.x
        function = self.program.solution
        scalars = {
            name: self.memory[line]
            for name, line in zip(function.scalars, self.program.host.solution, strict=True)
        }
        arrays = {"x": self.x, **self.states}
        return self._run(function, arrays, scalars)["x"]

    def row(self) -> tuple[float, ...]:
        """The scalars of the next stage: of its preparation, then those of the host.

        The host lines are computed at a step's first stage.
        """
        program = self.program
        if self.stage == 0:
            inputs = {**self.hyper, "t": self.t, "n": float(self.n)}
            self._host = host_values(program, inputs, self.memory)
        sign, l2, shrink = self.preparation
        own = (self._host[line] for line in program.host.rows[self.stage])
        return (sign, l2, 1.0 if self.stage else shrink, *own)

    def _next(self) -> tuple[Function, dict[str, float]]:
        """The function of the next stage, after its preparation, and its scalars."""
        function = self._functions[self.program.stages[self.stage]]
        return function, dict(zip(function.scalars, self.row(), strict=True))

    def _end_of_step(self) -> None:
        self.memory = {name: self._host[line] for name, line in self.program.host.memory}
        if self.program.host.step:
            self.t += float(self._host[self.program.host.step])
        self.n += 1
        self.stage = 0

    def _run(
        self, function: Function, arrays: Mapping[str, Sequence[Any]], scalars: Mapping[str, float]
    ) -> dict[str, list[Any]]:
        dtype = self.x[0].dtype
        cast = {name: dtype.type(value) for name, value in scalars.items()}
        reduced = any(isinstance(line.value, Reduce) for line in function.body)
        found = run_function(
            function,
            arrays,
            dict(scalars) if reduced else cast,
            FLOAT64,
            per_tensor=self.program.scope == "tensor",
        )
        return {
            name: [np.asarray(value, dtype=dtype) for value in values]
            for name, values in found.items()
        }
