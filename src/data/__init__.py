"""Data sets: rendered toy scenes with full ground truth."""
