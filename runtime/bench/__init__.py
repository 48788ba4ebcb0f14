"""Benchmarks: what the generated code costs, beside what others offer for the same work.

A line-up is data in a TOML file; :mod:`timing` measures it, and :mod:`rows` says what came out.
"""
