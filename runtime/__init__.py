"""Loads what was generated, runs it, and checks one backend against another."""

from hamilforge.runtime.core.cache import give_numba_a_place

give_numba_a_place()
