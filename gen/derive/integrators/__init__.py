"""What is derived of integrators: problems with a method."""
