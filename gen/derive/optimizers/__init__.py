"""What is derived of optimizers: Hamiltonians with a method, and rules."""
