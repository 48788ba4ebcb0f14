"""Minimization problems at work."""
