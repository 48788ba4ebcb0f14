"""Stage 1: TOML files become checked, frozen dataclasses."""
