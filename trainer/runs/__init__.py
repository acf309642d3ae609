"""A run: its folder, its worker process, and all that it reports."""
