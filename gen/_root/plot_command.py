"""``hamilforge plot``: an optimizer's phase portrait or its path on a problem, and more.

In: a declaration.  Out: a picture, drawn by :mod:`runtime.optimizers.plots` from the compiled
kernels; this module hands it the derived mechanics as plain functions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.visible import visible
from hamilforge.terminal import Picture, complain, of_sizes

if TYPE_CHECKING:
    from hamilforge.gen.declare.kinds import RungeKutta
    from hamilforge.gen.program.optimizers.build import Derivation
    from hamilforge.runtime.optimizers.plots import Mechanics

#: The step of the picture, a twentieth of the period of J = q^2/2 for m = 1: large enough for
#: single steps to be seen.  The first hyper-parameter that scales h (a learning rate) is chosen for
#: it; all others keep their defaults.
STEP = 0.3
#: The step of a problem's picture.
H = 0.05
#: How many gradients optimizers take on a problem.
GRADIENTS = 500
SUFFIXES = (".png", ".svg", ".pdf")
#: A picture that is of no declaration.
LOCAL_ENTROPY = "local-entropy"


def run(
    name: str,
    out: Path | None = None,
    methods: Sequence[str] = (),
    h: float | None = None,
    time: float | None = None,
    section: str | None = None,
    sizes: Mapping[str, int] | None = None,
) -> int:
    """Draw an optimizer's motion, a tableau's stability, or a problem integrated by methods.

    Args:
        name: a name in the catalogue, or a path to a declaration; or :data:`LOCAL_ENTROPY`.
        out: the file to write; ``<name>.png`` here if None.
        methods: for a problem, what integrates it.
        h: for a problem, the step; 1/20 if None.
        time: for a problem, how long; 2,000 steps if None.
        section: for a problem, the component of the Poincare section.
        sizes: of a lattice, the number of its sites by name.

    Returns:
        The exit status: 0 fine, 2 the picture cannot be drawn.

    Raises:
        DeclarationError: there is no such optimizer, or its declaration has problems.
        ClaimError: it claims what is not so.
    """
    hindrance = _hindrance(out)
    if hindrance:
        return complain(hindrance)
    if name == LOCAL_ENTROPY:
        if methods or sizes or any(given is not None for given in (h, time, section)):
            return complain(f"{LOCAL_ENTROPY} is one picture; only --out goes with it")
        from hamilforge.runtime.problems import smoothing_pictures

        picture = Picture(out or Path("local_entropy.png"))
        smoothing_pictures.draw(picture.path)
        picture.done()
        return 0
    if methods:
        return _trajectories(name, methods, h, time, section, sizes, out)
    from hamilforge.gen import families, products
    from hamilforge.gen.declare import catalogue, kinds
    from hamilforge.gen.program.optimizers.build import derive
    from hamilforge.runtime.core import loader
    from hamilforge.runtime.optimizers import plots

    declared = catalogue.load(
        name, ("optimizer", "runge-kutta", *families.serving(families.PROBLEM))
    )
    if isinstance(declared, kinds.Problem):
        return complain(f"a picture of '{name}' needs a method: hamilforge plot {name} --method M")
    if isinstance(declared, kinds.RungeKutta):
        return _stability(declared, Picture(out or Path(f"{declared.head.name}.png")))
    declaration = products.load_optimizer(name)
    picture = Picture(out or Path(f"{declaration.head.name}.png"))
    product = loader.load(name).module("numba")
    plots.draw(declaration.head.name, product, mechanics(derive(declaration)), picture.path)
    picture.done()
    return 0


def _hindrance(out: Path | None) -> str:
    """Why no picture can be drawn into a file; empty if one can."""
    if importlib.util.find_spec("matplotlib") is None:
        return 'a plot needs matplotlib; pip install "hamilforge[demo]" brings it'
    if out is not None and out.suffix not in SUFFIXES:
        return f"a picture's name ends in {', '.join(SUFFIXES)}, unlike {out.name}"
    if out is not None and not out.absolute().parent.is_dir():
        return f"there is no folder {out.absolute().parent} for the picture"
    return ""


def run_on(
    names: Sequence[str],
    problem: str,
    out: Path | None = None,
    gradients: int | None = None,
    rate: float | None = None,
    sizes: Mapping[str, int] | None = None,
) -> int:
    """Draw the paths of optimizers on a problem, and how the loss falls.

    Args:
        names: of optimizers in the catalogue, or paths.
        problem: what they minimise, by name or path.
        out: the file to write; ``<problem>.png`` here if None.
        gradients: how many each takes; :data:`GRADIENTS` if None.
        rate: the learning rate of all; for each the best of a grid if None.
        sizes: of the problem's dimensions.

    Returns:
        The exit status: 0 fine, 2 the picture cannot be drawn.

    Raises:
        DeclarationError: a name is not found, or its declaration has problems.
        ClaimError: one claims what is not so.
    """
    from hamilforge import facade
    from hamilforge.runtime.core import loader
    from hamilforge.runtime.optimizers import path_pictures, paths

    hindrance = _hindrance(out)
    count = GRADIENTS if gradients is None else gradients
    if count < 1:
        hindrance = f"--gradients {count}: a positive whole number was expected"
    if len(names) > len(path_pictures.COLOURS):
        hindrance = (
            f"{len(names)} optimizers; at most {len(path_pictures.COLOURS)} are drawn together"
        )
    if hindrance:
        return complain(hindrance)
    options: dict[str, Any] = {**(sizes or {})}
    try:
        loss = facade.problem(problem, **options)
    except ValueError as error:
        return complain(error)
    runs = []
    for name in dict.fromkeys(names):
        try:
            product, called = loader.load(name).module("numba"), visible(Path(name).stem)
        except DeclarationError:
            raise
        except ValueError as error:
            return complain(f"{name}: {error}")
        if not hasattr(product, "HYPERPARAMETERS"):
            return complain(f"'{name}' is no optimizer, and --on {problem} takes those")
        if hasattr(product, "SHAPE"):
            return complain(f"'{name}' is for matrices, and --on {problem} takes vectors")
        if rate is None:
            runs.append(paths.best(called, product, loss, count))
            continue
        if "lr" not in product.HYPERPARAMETERS:
            return complain(f"'{name}' has no hyper-parameter lr")
        try:
            runs.append(paths.path(called, product, loss, count, {"lr": rate}))
        except ValueError as error:
            return complain(f"{name}: {error}")
    dimensions = ", ".join(f"{key} = {size}" for key, size in loss.sizes.items())
    subtitle = f"{count} gradients each" + (f", {dimensions}" if dimensions else "")
    if rate is None:
        subtitle += (
            "; learning rates: of 1, 2 and 5 in each decade those whose largest loss in the last "
            "tenth is least"
        )
    picture = Picture(out or Path(f"{loss.name}.png"))
    path_pictures.draw(visible(loss.name), subtitle, loss, runs, picture.path)
    picture.done()
    return 0


def _trajectories(
    name: str,
    methods: Sequence[str],
    h: float | None,
    time: float | None,
    section: str | None,
    sizes: Mapping[str, int] | None,
    out: Path | None,
) -> int:
    """Draw a problem integrated by methods."""
    from hamilforge.gen import products
    from hamilforge.runtime.core import loader
    from hamilforge.runtime.core.errors import IntegrationError
    from hamilforge.runtime.integrators import trajectory_plots

    head = products.load_problem(name).head
    step = H if h is None else h
    request = trajectory_plots.Request(step, 2000 * step if time is None else time, section or "")

    def draw() -> int:
        loaded = [loader.load(name, method, sizes=sizes) for method in methods]
        products = [product.module("numba") for product in loaded]
        picture = Picture(out or Path(f"{head.name}.png"))
        title = visible(f"{head.name}: {head.title}")
        try:
            trajectory_plots.draw(title, products, request, picture.path)
        except IntegrationError as error:
            return complain(error)
        picture.done()
        return 0

    return of_sizes(draw)


def _stability(declaration: RungeKutta, picture: Picture) -> int:
    """Draw the stability function of a tableau."""
    from hamilforge.gen import pipeline
    from hamilforge.gen.tableau.build import build
    from hamilforge.gen.tableau.stability import (
        StabilityFunction,
        inverse_factorial,
        stability_function,
    )
    from hamilforge.runtime.integrators import stability_plots

    report = pipeline.check(declaration)
    pipeline.refuse_false_claims(report, declaration.head)
    tableau = build(declaration)

    def floats(function: StabilityFunction) -> tuple[list[float], list[float]]:
        return list(map(float, function.numerator)), list(map(float, function.denominator))

    order, embedded = report["order"], tableau.embedded()
    assert isinstance(order, int)
    embedded_function = floats(stability_function(embedded)) if embedded else None
    title = visible(f"{declaration.head.name}: {declaration.head.title}")
    function = stability_function(tableau, order)
    terms = enumerate(function.taylor(2 * tableau.size + 3))
    contact = next((k - 1 for k, c in terms if not tableau.is_zero(c - inverse_factorial(k))), 0)
    stability_plots.draw(title, *floats(function), contact, picture.path, embedded_function)
    picture.done()
    return 0


def mechanics(derivation: Derivation) -> Mechanics:
    """The derived system in one dimension, at the picture's hyper-parameters."""
    from hamilforge.gen.derive.calculus import derivative
    from hamilforge.gen.derive.optimizers.rotation import g, last_b
    from hamilforge.gen.derive.symbols import p, t
    from hamilforge.runtime.optimizers.plots import Mechanics

    hyper = _visible(derivation)
    known = _numbers(derivation, hyper)
    program = derivation.program
    kinetic = _one_dimensional(derivation.system.kinetic, known)
    velocity = _function((p,), derivative(kinetic, p))
    unit = _value(derivation.unit, known)
    # the noise that the next step draws for this one has the mean 0
    momentum = derivation.rotated.without(derivation.scheme.noises).momentum
    ending = _value(derivation.specialised(momentum), known)
    return Mechanics(
        title=visible(derivation.optimizer.head.title),
        hyper={name: float(value) for name, value in hyper.items()},
        h=float(known["h"]),
        start_time=float(known["h"] if "n" in program.host.inputs else program.start_time),
        kinetic=_function((p,), kinetic),
        velocity=lambda momentum: velocity(momentum) if momentum else 0.0,
        friction=_function((t,), _value(derivation.system.gamma, known)),
        momentum=_function((last_b, g, t), ending.xreplace({last_b: last_b / unit})),
    )


def _visible(derivation: Derivation) -> dict[str, Any]:
    """The hyper-parameters: exact defaults, but for the one that makes the step visible."""
    from hamilforge.gen.derive.symbols import h, parameter_symbol

    program = derivation.program
    hyper = {parameter.name: _exact(parameter.default) for parameter in program.hyperparameters}
    scales = derivation.values.get(h, h).free_symbols
    for parameter in program.hyperparameters:
        if (
            parameter.domain in ("positive", "nonnegative")
            and parameter_symbol(parameter) in scales
        ):
            return {**hyper, parameter.name: _for_step(derivation, hyper, parameter.name)}
    return hyper


def _for_step(derivation: Derivation, hyper: Mapping[str, Any], name: str) -> Any:
    """The value of a hyper-parameter at which h is :data:`STEP`; its default if there is none."""
    import sympy as sp
    from scipy.optimize import brentq

    def excess(value: float) -> float:
        return float(_numbers(derivation, {**hyper, name: sp.Float(value)})["h"]) - STEP

    low, high = 1e-8, 1e4
    if excess(low) * excess(high) > 0:
        return hyper[name]
    return sp.Float(brentq(excess, low, high, xtol=1e-13))


def _numbers(derivation: Derivation, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Every named scalar as a number: hyper-parameters, defaults of what cancels, ``[set]``."""
    optimizer = derivation.optimizer
    own = getattr(optimizer.method, "parameters", ())
    defaults = {
        parameter.name: _exact(parameter.default)
        for parameter in (*own, *optimizer.system.parameters)
    }
    known = {**defaults, **hyper}
    scalars = {symbol.name: _value(expr, known) for symbol, expr in derivation.values.items()}
    constants: dict[str, Any] = {}
    for symbol, expr in derivation.scheme.constants.items():
        constants[symbol.name] = _value(expr, constants)
    return {**known, **scalars, **constants}


def _exact(value: Fraction) -> Any:
    import sympy as sp

    return sp.Rational(value.numerator, value.denominator)


def _value(expr: Any, known: Mapping[str, Any]) -> Any:
    """An expression with numbers for names; what was in force in the last step is so still."""
    import sympy as sp

    from hamilforge.gen.derive.calculus import Coordinate
    from hamilforge.gen.derive.optimizers.rotation import present
    from hamilforge.gen.derive.symbols import t

    expr = present(sp.sympify(expr))
    scalars = {symbol for symbol in expr.free_symbols if not isinstance(symbol, Coordinate)}
    numbers = {symbol: known[symbol.name] for symbol in scalars if symbol.name in known}
    return expr.xreplace({symbol: t for symbol in scalars if symbol.name == t.name} | numbers)


def _one_dimensional(expr: Any, known: Mapping[str, Any]) -> Any:
    """A scalar in one dimension, where a sum over coordinates is its one term."""
    from hamilforge.gen.derive.calculus import Total, limit

    expr = expr.replace(Total, lambda term: term)
    for symbol in sorted(expr.free_symbols, key=str):
        if known.get(symbol.name) == 0:
            expr = limit(expr, symbol, 0)
    return _value(expr, known)


def _function(arguments: tuple[Any, ...], expr: Any) -> Callable[..., Any]:
    """An expression as a function of numbers or arrays."""
    import sympy as sp

    from hamilforge.gen.program.algebra import evaluate
    from hamilforge.gen.program.lower import lower
    from hamilforge.gen.program.reference import FLOAT64

    lowered = lower(expr.replace(lambda part: part.is_Float, lambda part: sp.Rational(part)))
    names = [symbol.name for symbol in arguments]
    return lambda *values: evaluate(lowered, dict(zip(names, values, strict=True)), FLOAT64)
