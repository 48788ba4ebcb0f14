"""The programs of integrators: problems with a method."""
