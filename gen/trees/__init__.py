"""Rooted and free trees, and the tables by which weights over all of them are computed."""
