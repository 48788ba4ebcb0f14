"""Stage 2: declarations become SymPy: kinetic energies, flows, update schemes, their rotation."""
