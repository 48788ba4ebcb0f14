"""The numba backend: kernels for the CPU."""

from hamilforge.gen.emit.numba.integrators import integrator
from hamilforge.gen.emit.numba.networks import network, target
from hamilforge.gen.emit.numba.optimizers import descent, matrix, optimizer
from hamilforge.gen.emit.numba.problems import problem

SUFFIX = "numba"
#: What makes the view of each kind of product: modules with TEMPLATE and ``view(product)``.
VIEWS = {
    "optimizer": optimizer,
    "matrix": matrix,
    "integrator": integrator,
    "network": network,
    "target": target,
    "problem": problem,
    "descent": descent,
}
