"""Measures of how good a trained model is."""
