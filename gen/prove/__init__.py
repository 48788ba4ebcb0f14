"""Stage 4: what can be proved about a program, with its evidence and its reach."""
