"""The numba backend: kernels for the CPU."""

from hamilforge.gen.emit.numba import integrator, network, optimizer, target

SUFFIX = "numba"
#: What makes the view of each kind of product: modules with TEMPLATE and ``view(product)``.
VIEWS = {
    "optimizer": optimizer,
    "integrator": integrator,
    "network": network,
    "target": target,
}
