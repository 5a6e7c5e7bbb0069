"""Algorithms: who tells whom what, when."""
