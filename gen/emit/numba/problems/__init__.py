"""Minimization problems."""
