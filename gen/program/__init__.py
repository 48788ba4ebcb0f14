"""Stage 3: SymPy becomes programs: straight-line functions over scalars and arrays, in drivers."""
