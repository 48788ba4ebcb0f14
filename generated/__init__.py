"""What was generated from the catalogue; regenerate with ``hamilforge generate``."""
