"""Networks in tests: texts as modules, drawn numbers, and what they are compared with."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import torch

from hamilforge import verification
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.networks.build import build_network
from hamilforge.runtime.networks import verify_network
from hamilforge.runtime.networks.torch_network import Network
from tests.interpreted import as_python

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "networks.toml").read_text(encoding="utf-8")
)
FIELDS = [*catalogue.names("field")]
GRADIENTS = EXPECTED["gradients"]


@functools.lru_cache(maxsize=64)
def _rendered(made):
    return pipeline.rendered(made)


def texts_of(*request, **choices):
    """The texts of a product, rendered once in a process for one and the same declarations."""
    return _rendered(products.load_made(*request, **choices))


def torch_text(field, method, **choices):
    texts = texts_of(field, method, **choices)
    return next(text for name, text in texts.items() if name.endswith("_torch.py"))


def torch_class(text):
    scope = {}
    exec(compile(text, "<generated>", "exec"), scope)
    return next(
        value
        for value in scope.values()
        if isinstance(value, type) and issubclass(value, Network) and value is not Network
    )


def numba_text(field, method, sizes=None, **choices):
    texts = texts_of(field, method, sizes=sizes, **choices)
    return next(text for name, text in texts.items() if name.endswith("_numba.py"))


class Written:
    """A product as one of its texts says, not compiled."""

    name = "written"

    def __init__(self, text):
        self.backend = "torch" if "import torch" in text else "numba"
        self._made = torch_class(text) if self.backend == "torch" else as_python(text)

    def module(self, _):
        return self._made

    def torch_class(self):
        return self._made


def written(text, cases):
    """A text beside the interpretation."""
    product = Written(text)
    return verify_network.compare(product, cases, [product.backend])


def is_seen(text, cases):
    """Whether a text differs from the interpretation, or fails."""
    try:
        product = Written(text)
        found = verify_network.deviations(product, cases, [product.backend])
        return not all(one.holds for one in found)
    except (RuntimeError, TypeError, IndexError, ValueError, ArithmeticError):
        return True


@functools.lru_cache(maxsize=256)
def _cases(made, dtypes):
    return verification.network_cases(build_network(*made), dtypes)


def cases_of(field, method, dtypes=("float64",), **choices):
    """The interpretation's cases, run through once in a process."""
    return _cases(products.load_made(field, method, **choices), dtypes)


def drawn(made, layers=3, **options):
    """A network with drawn controls, and states for it."""
    dimensions = dict.fromkeys(
        entry
        for shape in (*made.STATES.values(), *made.CONTROLS.values(), *made.FIXED.values())
        for entry in shape
    )
    sizes = {e: 2 + number for number, e in enumerate(dimensions) if not e.isdigit()}
    generator = torch.Generator().manual_seed(3)
    network = made(
        layers, sizes, h=[0.3, 0.2, 0.25], steps="learned", t0=0.4, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for name in made.CONTROLS:
            control = network.control(name)
            # squares and cubes of what is drawn leave their range within three layers
            size = 0.075 if made.FIXED else 0.6
            control.copy_(size * torch.randn(control.shape, generator=generator).double())
    states = [
        torch.randn(7, sizes[shape[0]], generator=generator).double()
        for shape in made.STATES.values()
        if shape
    ]
    return network, states


def gradients(network, states, memory):
    network.memory = memory
    network.zero_grad()
    inputs = [one.clone().requires_grad_() for one in states]
    t0 = network.t0.detach().clone().requires_grad_()
    network.t0 = t0
    found = network(*inputs)
    total = 0.0
    if network.RUNNING:
        found, cost = found
        total = (cost**2).sum()
    for end in found if isinstance(found, tuple) else (found,):
        total = total + torch.sin(end).sum() + (end**3).sum() / 3
    total.backward()
    named = {name: one.grad for name, one in network.named_parameters()}
    named |= {f"state {k}": one.grad for k, one in enumerate(inputs)}
    named["t0"] = t0.grad
    return float(total.detach()), named


def near(found, wanted, room):
    for name, value in wanted.items():
        here = torch.zeros(()) if found[name] is None else found[name]
        wanted_here = torch.zeros_like(here) if value is None else value
        assert (here - wanted_here).norm() <= room * wanted_here.norm(), name


def fitting(field):
    pairs = GRADIENTS["pairs"] if len(products.load_field(field).states) == 2 else []
    return [*GRADIENTS["explicit"], *(f"partitioned/{name}" for name in pairs)]
