"""The numba files of integrators: problems with a method."""
