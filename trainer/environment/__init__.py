"""The private environment in which the worker runs."""
