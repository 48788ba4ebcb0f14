"""Runge–Kutta tableaux as exact objects, and what follows from them."""
