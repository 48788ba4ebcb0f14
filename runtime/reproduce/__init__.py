"""Experiments of papers, run again with their settings.

Each is a module with ``run`` and a line-up in TOML beside it.
"""
