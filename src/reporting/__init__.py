"""From checkpoints to reports: what `python -m src.evaluate` writes."""
