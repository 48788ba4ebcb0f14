"""Loads what was generated, runs it, and checks one backend against another."""
