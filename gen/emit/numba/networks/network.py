"""Layers of a network in numba: the file's template, and which writer fills it."""

from __future__ import annotations

from hamilforge.gen.emit.numba.networks.fused import FusedWriter, fits
from hamilforge.gen.emit.numba.networks.network_view import View
from hamilforge.gen.emit.numba.networks.network_writer import NetworkWriter
from hamilforge.gen.emit.products.network import NetworkProduct

TEMPLATE = "numba/networks/network.py.jinja"


def view(product: NetworkProduct) -> View:
    """The view of a network's numba file."""
    writer = FusedWriter if fits(product) else NetworkWriter
    return writer(product).view()
