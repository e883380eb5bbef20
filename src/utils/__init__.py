"""Helpers below every other layer: they import nothing else of this package."""
