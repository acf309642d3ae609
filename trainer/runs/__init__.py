"""A run: its folder, its worker process and what it reports."""
