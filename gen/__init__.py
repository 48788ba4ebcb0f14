"""From a declaration to generated source, in five stages.

1. :mod:`declare`: TOML -> checked, frozen dataclasses
2. :mod:`derive`: dataclasses -> SymPy: flows, updates, their rotation
3. :mod:`program`: SymPy -> functions over scalars and arrays (a small IR) in drivers
4. :mod:`prove`: program -> report: order, conformality, fixed points, stability
5. :mod:`emit`: program and report -> source text -> file

Each stage is a pure function of the one before, with a core and a room for each family.
"""
