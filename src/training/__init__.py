"""Training: two phases over one loop, checkpoints to resume from, and what a run leaves behind."""
