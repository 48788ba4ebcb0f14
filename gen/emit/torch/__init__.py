"""The torch backend: optimizers and modules for any device."""

from hamilforge.gen.emit.torch import integrator, network, optimizer, target

SUFFIX = "torch"
#: What makes the view of each kind of product: modules with TEMPLATE and ``view(product)``.
VIEWS = {
    "optimizer": optimizer,
    "integrator": integrator,
    "network": network,
    "target": target,
}
