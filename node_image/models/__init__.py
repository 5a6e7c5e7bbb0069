"""Models: one architecture a file."""
