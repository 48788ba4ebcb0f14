"""The demo: a declaration of one's own, and handwritten digits learnt with what came out of it.

``speed_limit.toml`` is the declaration, ``demo_lineup.toml`` says who is trained and how.
"""
