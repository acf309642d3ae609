"""The device: where and in what format to compute, its memory, its failures."""
