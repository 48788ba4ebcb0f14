"""The torch files of optimizers: Hamiltonians with a method, and rules."""
