"""Exact arithmetic: real algebraic numbers, polynomials and matrices over them."""
