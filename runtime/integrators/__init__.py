"""Integrators: steps fixed and adaptive, solutions, flows in torch."""
