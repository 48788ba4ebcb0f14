"""Stage 5: programs and reports become source files; one folder per backend."""
