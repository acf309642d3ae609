"""The heavy half: everything that needs torch, run in a process of its own."""
