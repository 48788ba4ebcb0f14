"""The numba files of optimizers: Hamiltonians with a method, and rules."""
