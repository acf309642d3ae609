"""The heavy half: everything that needs torch; it runs in its own process."""
