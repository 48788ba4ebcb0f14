"""The torch backend: optimizers and modules for any device."""

from hamilforge.gen.emit.torch.integrators import integrator
from hamilforge.gen.emit.torch.networks import network, target
from hamilforge.gen.emit.torch.optimizers import manifold, matrix, optimizer
from hamilforge.gen.emit.torch.problems import problem

SUFFIX = "torch"
#: What makes the view of each kind of product: modules with TEMPLATE and ``view(product)``.
VIEWS = {
    "optimizer": optimizer,
    "matrix": matrix,
    "manifold": manifold,
    "integrator": integrator,
    "network": network,
    "target": target,
    "problem": problem,
}
