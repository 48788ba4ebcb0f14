"""The programs of optimizers: Hamiltonians with a method, and rules."""
