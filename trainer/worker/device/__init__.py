"""The device: where and in what number format to compute, its memory and its failures."""
