"""Measures, in pure NumPy and SciPy."""
