"""What is proved of optimizers: Hamiltonians with a method, and rules."""
