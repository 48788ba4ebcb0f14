"""What is proved of integrators: problems with a method."""
