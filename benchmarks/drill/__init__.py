"""What is done to the system so that it breaks, and whether it does: see __main__.py."""
