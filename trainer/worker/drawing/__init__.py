"""Sampling from the model: class images, samples, comparisons."""
