"""The training itself, from preparation to the last checkpoint."""
