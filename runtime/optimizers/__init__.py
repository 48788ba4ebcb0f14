"""Optimizers: clocks, kernels, the class behind every generated one, minimisation."""
